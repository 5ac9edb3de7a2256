CREATE TABLE streams (
    id INTEGER PRIMARY KEY,
    name TEXT UNIQUE,                       -- NULL: removed, its messages are being deleted
    content_type TEXT NOT NULL,
    ttl INTEGER,                            -- seconds, renewed by reads and writes
    expires_at INTEGER,                     -- Unix time in ms, as all times here
    created_closed INTEGER NOT NULL,
    closed INTEGER NOT NULL,
    hidden INTEGER NOT NULL DEFAULT 0,      -- deleted by its owner, kept for its forks
    next_seq INTEGER NOT NULL,
    next_byte INTEGER NOT NULL,
    bytes INTEGER NOT NULL,                 -- own messages only
    writer_seq TEXT,                        -- the last Stream-Seq
    created_at INTEGER NOT NULL,
    updated_at INTEGER,
    source INTEGER,                         -- a fork's stream before fork_seq
    fork_seq INTEGER NOT NULL DEFAULT 0,    -- the first sequence number of its own
    fork_part INTEGER NOT NULL DEFAULT 0    -- bytes of the message at fork_seq that were taken over
) STRICT;
CREATE INDEX streams_by_source ON streams (source) WHERE source IS NOT NULL;
CREATE INDEX streams_by_expiry ON streams (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX streams_removed ON streams (id) WHERE name IS NULL;
CREATE TABLE messages (id INTEGER PRIMARY KEY, start INTEGER NOT NULL, data BLOB NOT NULL) STRICT;
CREATE TABLE producers (
    stream INTEGER NOT NULL, producer TEXT NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
    at INTEGER NOT NULL, PRIMARY KEY (stream, producer)
) STRICT, WITHOUT ROWID;
