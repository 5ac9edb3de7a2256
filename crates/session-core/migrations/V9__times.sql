-- Times by which sessions are ordered: one form, UTC with milliseconds, so that they sort as text. What is no time goes.
UPDATE sessions SET
    created_at = strftime('%Y-%m-%dT%H:%M:%fZ', created_at),
    last_activity = strftime('%Y-%m-%dT%H:%M:%fZ', last_activity);
