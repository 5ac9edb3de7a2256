-- Presence came while the version was 1.
CREATE TABLE IF NOT EXISTS attended (session_id TEXT PRIMARY KEY) STRICT;
UPDATE sessions SET last_activity_at = created_at WHERE created_at IS NOT NULL AND last_activity_at IS NULL;
CREATE INDEX IF NOT EXISTS sessions_by_activity ON sessions (last_activity_at, session_id)
    WHERE created_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS runs_by_session ON runs (session_id);
CREATE TABLE IF NOT EXISTS forks (
    number INTEGER PRIMARY KEY, session_id TEXT NOT NULL UNIQUE, source TEXT NOT NULL, message_id TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS forks_by_source ON forks (source, number);
