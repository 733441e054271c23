-- Who may come in, and who no longer; see docs/auth.md. No key, token, code or secret stands here as its holder has it.
CREATE TABLE api_keys (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    subject TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('USER', 'ADMIN')),
    digest BLOB NOT NULL,
    created_by TEXT NOT NULL,
    created_at TEXT NOT NULL,
    expires_at TEXT,
    revoked_at TEXT,
    revoked_by TEXT,
    CHECK ((revoked_at IS NULL) = (revoked_by IS NULL))
);

-- Tokens that count no more, until they would have ended. Numbers grow in the order of commits, and a change is a new
-- row, so that every node reads on from where it was.
CREATE TABLE revoked_tokens (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    -- A digest, of what the token's signature signs or of its `jti`.
    mark BLOB NOT NULL UNIQUE,
    subject TEXT,
    expires_at TEXT NOT NULL,
    revoked_at TEXT NOT NULL
);
CREATE INDEX revoked_tokens_by_end ON revoked_tokens (expires_at);

-- Subjects whose tokens issued before some moment count no more.
CREATE TABLE revoked_subjects (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    subject TEXT NOT NULL UNIQUE,
    issued_before TEXT NOT NULL,
    revoked_at TEXT NOT NULL
);

-- What a subject's authenticator app shares with us, sealed. A new one is pending until a code of it was shown; the one
-- before counts until then.
CREATE TABLE second_factors (
    subject TEXT PRIMARY KEY,
    secret BLOB,
    pending_secret BLOB,
    confirmed_at TEXT,
    last_used_step INTEGER,
    created_at TEXT NOT NULL,
    CHECK ((secret IS NULL) = (confirmed_at IS NULL)),
    CHECK ((secret IS NULL) = (last_used_step IS NULL))
) WITHOUT ROWID;

CREATE TABLE recovery_codes (
    subject TEXT NOT NULL REFERENCES second_factors (subject) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    hash BLOB NOT NULL,
    used_at TEXT,
    PRIMARY KEY (subject, number)
) WITHOUT ROWID;
