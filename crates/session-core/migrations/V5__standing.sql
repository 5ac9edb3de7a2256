-- 1: the session cannot be shown without the row. The others are read when something is applied.
ALTER TABLE rows ADD COLUMN standing INTEGER NOT NULL DEFAULT 0;

-- Of what was stored before, a few too many.
UPDATE rows SET standing = 1 WHERE collection IN ('meta', 'active', 'presence', 'agents')
    OR (collection = 'signals' AND json LIKE '%"k":"config"%')
    OR (collection = 'requests' AND json LIKE '%"pending"%');

CREATE INDEX rows_standing ON rows (session) WHERE standing = 1;

-- Requests are counted without being read.
CREATE INDEX rows_of_requests ON rows (session) WHERE collection = 'requests';
