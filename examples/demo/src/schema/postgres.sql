-- What is sent together is one transaction, so the lock lasts to the end. Without it two programs
-- that start at once could both find no table, and one of them would fail.
SELECT pg_advisory_xact_lock(6021839905);

CREATE TABLE IF NOT EXISTS users (
    -- Never used for another person, even when the account is gone: old links name it.
    id            BIGINT  PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    -- In lower case.
    email         TEXT    NOT NULL UNIQUE COLLATE "C",
    -- Null: logs in through another provider.
    password_hash TEXT             COLLATE "C",
    verified      BOOLEAN NOT NULL DEFAULT true,
    disabled      BOOLEAN NOT NULL DEFAULT false,
    -- Of an authenticator app, in Base32. Null: no second factor.
    totp_secret   TEXT             COLLATE "C",
    -- The last half minute whose code was taken.
    totp_step     BIGINT  NOT NULL DEFAULT 0
);

CREATE TABLE IF NOT EXISTS sessions (
    -- SHA-256 of what is in the cookie: who reads this table can log in nowhere.
    id         BYTEA  NOT NULL PRIMARY KEY,
    user_id    BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    expires_at BIGINT NOT NULL
);

CREATE INDEX IF NOT EXISTS sessions_user ON sessions (user_id);
