-- What people chose of agents of this computer: told to the agent when its program starts.
CREATE TABLE acp_choices (
    session_id TEXT NOT NULL,
    agent_id TEXT NOT NULL,
    option_id TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (session_id, agent_id, option_id)
) WITHOUT ROWID;
-- The folder that a session's agents work in, and those that were chosen lately in any.
CREATE TABLE acp_folders (
    session_id TEXT PRIMARY KEY,
    folder TEXT NOT NULL,
    chosen_at TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE acp_recent (
    folder TEXT PRIMARY KEY,
    chosen_at TEXT NOT NULL
) WITHOUT ROWID;
-- Programs that the owner added, sealed as the headers of agents are.
CREATE TABLE acp_commands (
    name TEXT PRIMARY KEY,
    spec TEXT NOT NULL
);
