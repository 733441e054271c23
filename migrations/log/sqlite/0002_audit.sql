-- Who did what. Rows are chained by hashes within their lane, so that a change of one is found; see docs/audit.md.
CREATE TABLE audit_log (
    -- Hashed with the row, so it is chosen before the row is put in.
    id INTEGER PRIMARY KEY,
    lane INTEGER NOT NULL,
    -- Which row of its lane: 1, 2, 3, without holes.
    number INTEGER NOT NULL CHECK (number > 0),
    "time" TEXT NOT NULL,
    user_id TEXT NOT NULL,
    action TEXT NOT NULL,
    resource TEXT NOT NULL,
    result TEXT NOT NULL,
    metadata TEXT NOT NULL CHECK (json_valid(metadata)),
    source_address TEXT NOT NULL,
    user_agent TEXT,
    previous_hash BLOB NOT NULL,
    hash BLOB NOT NULL,
    UNIQUE (lane, number)
);
CREATE INDEX audit_log_by_user ON audit_log (user_id, id);

-- Signed words about how far the lanes had come: what was there then cannot be rewritten without the key.
CREATE TABLE audit_checkpoints (
    id INTEGER PRIMARY KEY,
    "time" TEXT NOT NULL,
    -- For each lane that has rows: its number and hash then.
    heads TEXT NOT NULL CHECK (json_valid(heads)),
    row_count INTEGER NOT NULL,
    signature BLOB NOT NULL,
    public_key BLOB NOT NULL
);
