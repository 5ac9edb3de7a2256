-- Takes a database back to the version before there were several servers.
UPDATE sessions SET id = substr(id, instr(id, '/') + 1), parent = substr(parent, instr(parent, '/') + 1);
UPDATE outbox SET session = substr(session, instr(session, '/') + 1);
UPDATE drafts SET session = substr(session, instr(session, '/') + 1);
DROP TABLE search_parts;
DROP TABLE servers;
DROP INDEX rows_standing;
DROP INDEX rows_of_requests;
ALTER TABLE rows DROP COLUMN standing;
DELETE FROM refinery_schema_history WHERE version > 3;
PRAGMA user_version = 3;
