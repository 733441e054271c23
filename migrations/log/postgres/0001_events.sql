-- What happened, in order. Nothing here is ever changed; see docs/events.md.
CREATE TABLE events (
    -- Grows with every event, but not in the order of commits: readers order by transaction first.
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transaction_id xid8 NOT NULL DEFAULT pg_current_xact_id(),
    id uuid NOT NULL UNIQUE,
    aggregate_id text NOT NULL,
    aggregate_type text NOT NULL,
    -- Which event of its aggregate: 1, 2, 3, without holes.
    event_version bigint NOT NULL CHECK (event_version > 0),
    event_type text NOT NULL,
    -- In which form `data` is written.
    schema_version integer NOT NULL CHECK (schema_version > 0),
    data jsonb NOT NULL,
    metadata jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    UNIQUE (aggregate_id, event_version)
);
CREATE INDEX events_in_order ON events (transaction_id, position);

-- The last known state of long streams; may be deleted at any time.
CREATE TABLE snapshots (
    aggregate_id text PRIMARY KEY,
    aggregate_type text NOT NULL,
    event_version bigint NOT NULL,
    schema_version integer NOT NULL,
    state jsonb NOT NULL,
    state_hash bytea NOT NULL,
    created_at timestamptz NOT NULL
);

-- What callers asked for under a key of their own, so that a retry finds what the first try did.
CREATE TABLE commands (
    subject text NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    result jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (subject, key)
);
CREATE INDEX commands_by_age ON commands (created_at);

-- One row that is written to find out whether writing works.
CREATE TABLE heartbeat (id integer PRIMARY KEY CHECK (id = 1), at timestamptz NOT NULL);
