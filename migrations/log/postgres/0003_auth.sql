-- Who may come in, and who no longer; see docs/auth.md. No key, token, code or secret stands here as its holder has it.
CREATE TABLE api_keys (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text NOT NULL UNIQUE,
    name text NOT NULL,
    subject text NOT NULL,
    role text NOT NULL CHECK (role IN ('USER', 'ADMIN')),
    digest bytea NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    revoked_by text,
    CHECK ((revoked_at IS NULL) = (revoked_by IS NULL))
);

-- Tokens that count no more, until they would have ended. Numbers grow in the order of commits, as whoever adds one holds
-- a lock until then, and a change is a new row, so that every node reads on from where it was.
CREATE TABLE revoked_tokens (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- A digest, of what the token's signature signs or of its `jti`.
    mark bytea NOT NULL UNIQUE,
    subject text,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz NOT NULL
);
CREATE INDEX revoked_tokens_by_end ON revoked_tokens (expires_at);

-- Subjects whose tokens issued before some moment count no more.
CREATE TABLE revoked_subjects (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subject text NOT NULL UNIQUE,
    issued_before timestamptz NOT NULL,
    revoked_at timestamptz NOT NULL
);

-- What a subject's authenticator app shares with us, sealed. A new one is pending until a code of it was shown; the one
-- before counts until then.
CREATE TABLE second_factors (
    subject text PRIMARY KEY,
    secret bytea,
    pending_secret bytea,
    confirmed_at timestamptz,
    last_used_step bigint,
    created_at timestamptz NOT NULL,
    CHECK ((secret IS NULL) = (confirmed_at IS NULL)),
    CHECK ((secret IS NULL) = (last_used_step IS NULL))
);

CREATE TABLE recovery_codes (
    subject text NOT NULL REFERENCES second_factors (subject) ON DELETE CASCADE,
    number integer NOT NULL,
    hash bytea NOT NULL,
    used_at timestamptz,
    PRIMARY KEY (subject, number)
);
