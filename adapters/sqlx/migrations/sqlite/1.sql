-- Keys are BLOBs and texts carry BINARY by name: no collation may ever make two of them equal.
-- Times are microseconds since 1970 in UTC, as integers: there is nothing to round.

CREATE TABLE password_reset_tokens (
    selector    BLOB    NOT NULL PRIMARY KEY CHECK (length(selector) = 16),
    purpose     TEXT    NOT NULL COLLATE BINARY,
    tenant      TEXT             COLLATE BINARY,
    user_id     TEXT    NOT NULL COLLATE BINARY,
    epoch       BLOB    NOT NULL CHECK (length(epoch) = 32),
    key_id      INTEGER NOT NULL CHECK (key_id BETWEEN 0 AND 4294967295),
    digest      BLOB    NOT NULL CHECK (length(digest) = 32),
    issued_at   INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    attempts    INTEGER NOT NULL CHECK (attempts BETWEEN 0 AND 4294967295),
    -- Both null: never claimed. Both set: claimed until then. Only hold_until: watched.
    claim       BLOB             CHECK (length(claim) = 16),
    hold_until  INTEGER          CHECK (claim IS NULL OR hold_until IS NOT NULL),
    spent_at    INTEGER,
    revoked_at  INTEGER,
    revoked_why TEXT             COLLATE BINARY
                                 CHECK ((revoked_at IS NULL) = (revoked_why IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX password_reset_tokens_open ON password_reset_tokens (user_id, expires_at)
    WHERE spent_at IS NULL AND revoked_at IS NULL;
CREATE INDEX password_reset_tokens_held ON password_reset_tokens (hold_until)
    WHERE spent_at IS NULL AND hold_until IS NOT NULL;
CREATE INDEX password_reset_tokens_expiry ON password_reset_tokens (expires_at);

CREATE TABLE password_reset_jobs (
    id           BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    due          INTEGER NOT NULL,
    leased_until INTEGER,
    attempt      INTEGER NOT NULL CHECK (attempt BETWEEN 0 AND 4294967295),
    task         BLOB    NOT NULL,
    -- Set for dead letters; their `due` is the end of time, so that no lease meets them.
    dead_at      INTEGER
) STRICT, WITHOUT ROWID;

-- Read in the order of `due`; jobs under a lease are skipped in the index itself. They are never
-- more than what all workers together hold.
CREATE INDEX password_reset_jobs_due ON password_reset_jobs (due, leased_until);

CREATE INDEX password_reset_jobs_dead ON password_reset_jobs (dead_at) WHERE dead_at IS NOT NULL;

CREATE TABLE password_reset_limits (
    key       BLOB    NOT NULL PRIMARY KEY CHECK (length(key) = 32),
    tat0      INTEGER NOT NULL,
    tat1      INTEGER NOT NULL,
    tat2      INTEGER NOT NULL,
    forget_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX password_reset_limits_forget ON password_reset_limits (forget_at);

CREATE TABLE password_reset_audit (
    id         INTEGER NOT NULL PRIMARY KEY,
    at         INTEGER NOT NULL,
    name       TEXT    NOT NULL,
    severity   TEXT    NOT NULL,
    detail     TEXT    NOT NULL,
    tenant     TEXT,
    user_id    TEXT,
    identifier TEXT,
    source     TEXT,
    job        TEXT,
    token      TEXT
) STRICT;

CREATE INDEX password_reset_audit_at ON password_reset_audit (at);

-- Deleting is left to retention; rewriting is nobody's business.
CREATE TRIGGER password_reset_audit_append_only BEFORE UPDATE ON password_reset_audit
BEGIN
    SELECT RAISE(ABORT, 'the audit trail is append-only');
END;
