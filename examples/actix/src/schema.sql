CREATE TABLE users (
    -- Never used for another person, even when the account is gone: old links name it.
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    -- In lower case.
    email         TEXT    NOT NULL UNIQUE,
    password_hash TEXT    NOT NULL,
    verified      INTEGER NOT NULL,
    disabled      INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE sessions (
    -- SHA-256 of what is in the cookie: who reads this table can log in nowhere.
    id         BLOB    NOT NULL PRIMARY KEY,
    user_id    INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    expires_at INTEGER NOT NULL
) STRICT;
