-- The session servers that this person uses. A session's id, in every table, has been the id on its
-- server; from here on it is SERVER/SESSION, which the program writes right after this migration.
CREATE TABLE servers (
    n         INTEGER PRIMARY KEY AUTOINCREMENT,
    id        TEXT NOT NULL UNIQUE,
    name      TEXT NOT NULL,
    -- NULL: the one inside this computer.
    url       TEXT,
    -- Removed by the person, who kept its sessions.
    forgotten INTEGER NOT NULL DEFAULT 0
);
