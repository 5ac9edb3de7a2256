-- Standing rows lie together, with what they hold: a session with many of them is shown by reading a few neighbouring
-- pages (L13).
DROP INDEX rows_standing;
CREATE INDEX rows_standing ON rows (session, collection, key, json) WHERE standing = 1;
