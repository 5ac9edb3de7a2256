-- Parts of identifiers that are written without a sign between them (`getUserName`): a second index, so that it changes
-- no rank in the first. What was stored before is indexed by the program right after this, also in its composed form.

CREATE VIRTUAL TABLE search_parts USING fts5(
    parts,
    content = '',
    contentless_delete = 1,
    tokenize = 'unicode61 remove_diacritics 2'
);
