-- What people decided about the tools of tool servers, for one session or ('') for all. `digest` is of what the tool
-- said of itself then: another tool of the name is asked about anew.
CREATE TABLE tool_rules (
    id INTEGER PRIMARY KEY,
    server TEXT NOT NULL,
    tool TEXT NOT NULL,
    session_id TEXT NOT NULL,
    rule TEXT NOT NULL,
    digest TEXT NOT NULL,
    set_by TEXT NOT NULL,
    set_at TEXT NOT NULL,
    UNIQUE (server, tool, session_id)
) STRICT;

-- Servers that are switched on or off in a session, where that is not what they are by themselves.
CREATE TABLE tool_servers (
    session_id TEXT NOT NULL,
    server TEXT NOT NULL,
    is_on INTEGER NOT NULL,
    PRIMARY KEY (session_id, server)
) STRICT, WITHOUT ROWID;

-- Calls that were begun and have no result in the stream yet. `wants` is what a call that asked people something is made
-- again with, as JSON: it is the tool server's, and nobody else's business.
CREATE TABLE tool_calls (
    session_id TEXT NOT NULL,
    call_id TEXT NOT NULL,
    server TEXT NOT NULL,
    tool TEXT NOT NULL,
    wants TEXT,
    PRIMARY KEY (session_id, call_id)
) STRICT, WITHOUT ROWID;
