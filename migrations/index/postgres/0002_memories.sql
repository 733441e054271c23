-- Memories that were not forgotten, in plain words, so that they can be listed and searched. Not logged: neither the
-- server's journal nor a backup of its files holds these words.
CREATE UNLOGGED TABLE memories (
    generation bigint NOT NULL,
    id uuid NOT NULL,
    owner text NOT NULL,
    -- The number of its event: newer memories have larger ones.
    number bigint NOT NULL,
    created_at timestamptz NOT NULL,
    content text NOT NULL,
    words tsvector NOT NULL GENERATED ALWAYS AS (to_tsvector('english', content)) STORED,
    PRIMARY KEY (generation, id)
);
CREATE INDEX memories_of_owner ON memories (generation, owner, number);
CREATE INDEX memory_words ON memories USING gin (words);
