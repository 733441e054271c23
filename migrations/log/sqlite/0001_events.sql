-- What happened, in order. Nothing here is ever changed; see docs/events.md.
CREATE TABLE events (
    -- There is one writer at a time, so that this is the order of commits.
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    aggregate_id TEXT NOT NULL,
    aggregate_type TEXT NOT NULL,
    -- Which event of its aggregate: 1, 2, 3, without holes.
    event_version INTEGER NOT NULL CHECK (event_version > 0),
    event_type TEXT NOT NULL,
    -- In which form `data` is written.
    schema_version INTEGER NOT NULL CHECK (schema_version > 0),
    data TEXT NOT NULL CHECK (json_valid(data)),
    metadata TEXT NOT NULL CHECK (json_valid(metadata)),
    created_at TEXT NOT NULL,
    UNIQUE (aggregate_id, event_version)
);

-- The last known state of long streams; may be deleted at any time.
CREATE TABLE snapshots (
    aggregate_id TEXT PRIMARY KEY,
    aggregate_type TEXT NOT NULL,
    event_version INTEGER NOT NULL,
    schema_version INTEGER NOT NULL,
    state TEXT NOT NULL,
    state_hash BLOB NOT NULL,
    created_at TEXT NOT NULL
) WITHOUT ROWID;

-- What callers asked for under a key of their own, so that a retry finds what the first try did.
CREATE TABLE commands (
    subject TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    result TEXT NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (subject, key)
) WITHOUT ROWID;
CREATE INDEX commands_by_age ON commands (created_at);

-- One row that is written to find out whether writing works.
CREATE TABLE heartbeat (id INTEGER PRIMARY KEY CHECK (id = 1), at TEXT NOT NULL);
