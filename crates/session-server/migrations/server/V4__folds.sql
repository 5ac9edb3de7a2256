-- Folds of streams that go on where they stopped. All of it can be made again from the streams.
CREATE TABLE folds (
    session_id TEXT NOT NULL, kind INTEGER NOT NULL, format INTEGER NOT NULL,
    place TEXT,                -- a place in the stream; NULL is its beginning
    behind INTEGER NOT NULL,   -- items behind the place that are in the fold
    proof BLOB NOT NULL,       -- hash of these items
    head TEXT NOT NULL,        -- what is not of a single message
    digest BLOB NOT NULL,      -- hash of the row
    PRIMARY KEY (session_id, kind)
) STRICT, WITHOUT ROWID;
CREATE TABLE folded (
    session_id TEXT NOT NULL, kind INTEGER NOT NULL, position INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    standing INTEGER NOT NULL, -- it is in memory as long as the session is
    size INTEGER NOT NULL,     -- bytes of what an agent is given of it; 0 for a message that it is not
    agent_id TEXT,             -- the agent that wrote it
    complete INTEGER NOT NULL,
    shown TEXT,                -- what an agent is given of it
    shown_digest BLOB,         -- hash of that
    fold TEXT NOT NULL,        -- what goes on with the next row of it
    digest BLOB NOT NULL,      -- hash of the rest of the row
    PRIMARY KEY (session_id, kind, position)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX folded_by_message ON folded (session_id, kind, message_id);
CREATE INDEX folded_standing ON folded (session_id, kind) WHERE standing;
-- Wishes that were granted, by the transaction ids of those who asked.
CREATE TABLE granted (
    session_id TEXT NOT NULL, txid TEXT NOT NULL, wish INTEGER NOT NULL,
    message_id TEXT NOT NULL, about INTEGER NOT NULL,
    PRIMARY KEY (session_id, txid, wish)
) STRICT, WITHOUT ROWID;
