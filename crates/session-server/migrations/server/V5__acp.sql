-- Sessions that agents of this computer keep by themselves: what they are called there, and what their agent was told.
CREATE TABLE acp_sessions (
    session_id TEXT NOT NULL,
    agent_id TEXT NOT NULL,
    agent TEXT NOT NULL,
    folder TEXT NOT NULL,
    acp_id TEXT NOT NULL,
    told TEXT,
    PRIMARY KEY (session_id, agent_id)
) WITHOUT ROWID;
