-- Memories that were not forgotten, in plain words, so that they can be listed and searched.
CREATE TABLE memories (
    row INTEGER PRIMARY KEY,
    generation INTEGER NOT NULL,
    id BLOB NOT NULL,
    owner TEXT NOT NULL,
    -- The number of its event: newer memories have larger ones.
    number INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    UNIQUE (generation, id)
);
CREATE INDEX memories_of_owner ON memories (generation, owner, number);
-- The words, by the row above.
CREATE VIRTUAL TABLE memory_words USING fts5 (content, tokenize = "porter unicode61 remove_diacritics 2");
-- Nothing of a deleted row stays in the index.
INSERT INTO memory_words (memory_words, rank) VALUES ('secure-delete', 1);
