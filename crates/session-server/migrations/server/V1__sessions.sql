-- Earlier versions made some of these tables and left the version as it was, so that each may be there.
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS sessions (
    session_id TEXT PRIMARY KEY, title TEXT, created_at TEXT, last_activity_at TEXT,
    epoch INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE IF NOT EXISTS agents (
    session_id TEXT NOT NULL, agent_id TEXT NOT NULL, spec TEXT NOT NULL, inline INTEGER NOT NULL,
    PRIMARY KEY (session_id, agent_id)
) STRICT;
CREATE TABLE IF NOT EXISTS runs (
    run_id TEXT PRIMARY KEY, session_id TEXT NOT NULL, plan TEXT NOT NULL, started INTEGER NOT NULL
) STRICT;
