-- Named tokens. Earlier versions made the table where the first token was made, in a file of any version.
CREATE TABLE IF NOT EXISTS tokens (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, role TEXT NOT NULL, sessions TEXT,
    hash BLOB NOT NULL, created_at TEXT NOT NULL
) STRICT;
