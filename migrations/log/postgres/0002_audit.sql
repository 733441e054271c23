-- Who did what. Rows are chained by hashes within their lane, so that a change of one is found; see docs/audit.md.
CREATE TABLE audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    lane smallint NOT NULL,
    -- Which row of its lane: 1, 2, 3, without holes.
    number bigint NOT NULL CHECK (number > 0),
    "time" timestamptz NOT NULL,
    user_id text NOT NULL,
    action text NOT NULL,
    resource text NOT NULL,
    result text NOT NULL,
    metadata jsonb NOT NULL,
    source_address text NOT NULL,
    user_agent text,
    previous_hash bytea NOT NULL,
    hash bytea NOT NULL,
    UNIQUE (lane, number)
);
CREATE INDEX audit_log_by_user ON audit_log (user_id, id);

-- Signed words about how far the lanes had come: what was there then cannot be rewritten without the key.
CREATE TABLE audit_checkpoints (
    id bigint PRIMARY KEY,
    "time" timestamptz NOT NULL,
    -- For each lane that has rows: its number and hash then.
    heads jsonb NOT NULL,
    row_count bigint NOT NULL,
    signature bytea NOT NULL,
    public_key bytea NOT NULL
);
