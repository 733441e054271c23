-- Keys of single pieces of data. What is deleted here makes its data unreadable wherever a copy of that is.
CREATE TABLE data_keys (
    id BLOB PRIMARY KEY,
    -- The key, sealed with one that is derived from the master key.
    sealed BLOB NOT NULL,
    created_at TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE vault_heartbeat (id INTEGER PRIMARY KEY CHECK (id = 1), at TEXT NOT NULL);
-- Which master key everything is sealed with, so that another one is noticed at the start.
CREATE TABLE master_key (id INTEGER PRIMARY KEY CHECK (id = 1), fingerprint TEXT NOT NULL);
