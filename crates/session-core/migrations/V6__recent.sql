-- The most recent sessions of each server are read first.
CREATE INDEX IF NOT EXISTS sessions_recent
    ON sessions (substr(id, 1, instr(id, '/')), coalesce(last_activity, created_at) DESC)
    WHERE deleted = 0;
