-- Up to where each generation of each projection has read the log. This file can be made again from the log.
CREATE TABLE projections (
    name TEXT NOT NULL,
    generation INTEGER NOT NULL,
    -- The generation that is read from. Another one is being built beside it.
    active BOOLEAN NOT NULL,
    transaction_id INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (name, generation)
) WITHOUT ROWID;
CREATE TABLE heartbeat (id INTEGER PRIMARY KEY CHECK (id = 1), at TEXT NOT NULL);
