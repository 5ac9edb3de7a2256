-- The first schema: sessions and what one person keeps locally about them.

CREATE TABLE sessions (
    -- Never used again: rows of a deleted session must not become another's.
    n             INTEGER PRIMARY KEY AUTOINCREMENT,
    id            TEXT NOT NULL UNIQUE,
    -- What the summary shows; everything here can be rebuilt from the stream.
    title         TEXT,
    created_at    TEXT,
    last_activity TEXT,
    preview       TEXT,
    state         TEXT NOT NULL DEFAULT 'idle',
    -- Where to go on reading. NULL: never read, or to be read from the start.
    stream_offset TEXT,
    synced_at     TEXT,
    closed        INTEGER NOT NULL DEFAULT 0,
    -- A lasting remark for the person, e.g. that the stream came back different.
    notice        TEXT,
    -- The server has (or had) this session; a local one waits for its creation.
    remote        INTEGER NOT NULL DEFAULT 0,
    -- Deleted by the person; the row goes when the server has agreed.
    deleted       INTEGER NOT NULL DEFAULT 0,
    -- The first position that this person has not seen.
    read_position INTEGER NOT NULL DEFAULT 0,
    -- How many commits the stream has made here; tells a reader which of them it sees.
    commits       INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE messages (
    session  INTEGER NOT NULL,
    id       TEXT NOT NULL,
    position INTEGER NOT NULL,
    hidden   INTEGER NOT NULL,
    role     TEXT NOT NULL,
    actor    TEXT,
    -- 1: `row` is older than the message's segments and must be refolded from them.
    stale    INTEGER NOT NULL DEFAULT 0,
    row      TEXT NOT NULL,
    PRIMARY KEY (session, id)
) WITHOUT ROWID;

CREATE INDEX messages_in_order ON messages (session, hidden, position);

-- The raw log of a message, one segment for each commit that added to it.
CREATE TABLE segments (
    session INTEGER NOT NULL,
    message TEXT NOT NULL,
    n       INTEGER NOT NULL,
    log     BLOB NOT NULL,
    PRIMARY KEY (session, message, n)
) WITHOUT ROWID;

-- Small collections, one JSON row each.
CREATE TABLE rows (
    session    INTEGER NOT NULL,
    collection TEXT NOT NULL,
    key        TEXT NOT NULL,
    json       TEXT NOT NULL,
    PRIMARY KEY (session, collection, key)
) WITHOUT ROWID;

-- What the person asked for and the stream has not shown yet: the only local truth.
CREATE TABLE outbox (
    n          INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,
    session    TEXT NOT NULL,
    intent     TEXT NOT NULL,
    created_at TEXT NOT NULL,
    -- Not NULL: refused for good, with the reason; waits for the person.
    wedged     TEXT,
    -- A request for it was begun and not surely refused: the server may have it.
    tried      INTEGER NOT NULL DEFAULT 0
);

CREATE INDEX outbox_by_session ON outbox (session, n);

CREATE TABLE drafts (
    session  TEXT PRIMARY KEY,
    text     TEXT NOT NULL,
    saved_at TEXT NOT NULL
) WITHOUT ROWID;
