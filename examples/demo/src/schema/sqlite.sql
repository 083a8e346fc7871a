CREATE TABLE IF NOT EXISTS users (
    -- Never used for another person, even when the account is gone: old links name it.
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    -- In lower case.
    email         TEXT    NOT NULL UNIQUE COLLATE BINARY,
    -- Null: logs in through another provider.
    password_hash TEXT             COLLATE BINARY,
    verified      INTEGER NOT NULL DEFAULT 1,
    disabled      INTEGER NOT NULL DEFAULT 0,
    -- Of an authenticator app, in Base32. Null: no second factor.
    totp_secret   TEXT             COLLATE BINARY,
    -- The last half minute whose code was taken.
    totp_step     INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE IF NOT EXISTS sessions (
    -- SHA-256 of what is in the cookie: who reads this table can log in nowhere.
    id         BLOB    NOT NULL PRIMARY KEY,
    user_id    INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS sessions_user ON sessions (user_id);
