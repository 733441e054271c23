-- Keys of single pieces of data. What is deleted here makes its data unreadable wherever a copy of that is.
CREATE TABLE data_keys (
    id uuid PRIMARY KEY,
    -- The key, sealed with one that is derived from the master key.
    sealed bytea NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE TABLE vault_heartbeat (id integer PRIMARY KEY CHECK (id = 1), at timestamptz NOT NULL);
-- Which master key everything is sealed with, so that another one is noticed at the start.
CREATE TABLE master_key (id integer PRIMARY KEY CHECK (id = 1), fingerprint text NOT NULL);
