-- Up to where each generation of each projection has read the log. Not logged, like everything that can be made again
-- from the log: a crash of the server empties these tables together, and the projections begin anew.
CREATE UNLOGGED TABLE projections (
    name text NOT NULL,
    generation bigint NOT NULL,
    -- The generation that is read from. Another one is being built beside it.
    active boolean NOT NULL,
    transaction_id bigint NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (name, generation)
);
