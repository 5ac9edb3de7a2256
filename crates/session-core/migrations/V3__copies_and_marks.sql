-- Which session a copy was made of, by its id.
ALTER TABLE sessions ADD COLUMN parent TEXT;

-- With the actor, counting what is unread touches nothing but the index.
DROP INDEX messages_in_order;
CREATE INDEX messages_in_order ON messages (session, hidden, position, actor);
