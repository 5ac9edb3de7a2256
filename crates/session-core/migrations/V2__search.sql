-- Full-text search over what messages say. A document's rowid is its session's number, shifted left
-- by 40 bits, plus its message's position. The text itself stays in `messages`; what was stored
-- before this migration is indexed by the program right after it.

CREATE VIRTUAL TABLE search USING fts5(
    said, tools, thought,
    content = '',
    contentless_delete = 1,
    tokenize = 'unicode61 remove_diacritics 2'
);
