-- In braces: names, see `Statement`.
-- Keys are BLOBs and texts carry BINARY by name: no collation may ever make two of them equal.
-- Times are microseconds since 1970 in UTC, as integers: there is nothing to round.

CREATE TABLE {tokens} (
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

CREATE INDEX {tokens_open} ON {tokens} (user_id, expires_at)
    WHERE spent_at IS NULL AND revoked_at IS NULL;
CREATE INDEX {tokens_held} ON {tokens} (hold_until)
    WHERE spent_at IS NULL AND hold_until IS NOT NULL;
CREATE INDEX {tokens_expiry} ON {tokens} (expires_at);

CREATE TABLE {jobs} (
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
CREATE INDEX {jobs_due} ON {jobs} (due, leased_until);

CREATE INDEX {jobs_dead} ON {jobs} (dead_at) WHERE dead_at IS NOT NULL;

CREATE TABLE {limits} (
    limit_key  BLOB    NOT NULL PRIMARY KEY CHECK (length(limit_key) = 32),
    tat0       INTEGER NOT NULL,
    tat1       INTEGER NOT NULL,
    tat2       INTEGER NOT NULL,
    forget_at  INTEGER NOT NULL,
    -- How many microseconds too early the last use came; 0 when it was allowed.
    denied_for INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX {limits_forget} ON {limits} (forget_at);

CREATE TABLE {audit} (
    -- Never given twice, also after the latest were deleted: readers go on behind it.
    id         INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    -- The event's own name: whoever did not hear that it is here sends it again.
    entry      BLOB    NOT NULL UNIQUE CHECK (length(entry) = 16),
    at         INTEGER NOT NULL,
    name       TEXT    NOT NULL,
    severity   TEXT    NOT NULL,
    -- What happened and why, in stable words, and the number that belongs to it.
    kind       TEXT    NOT NULL,
    number     INTEGER,
    tenant     TEXT,
    user_id    TEXT,
    identifier TEXT,
    source     TEXT,
    job        TEXT,
    token      TEXT,
    -- The code that the token was exchanged for.
    parent     TEXT,
    -- The operator who did it.
    actor      TEXT
) STRICT;

CREATE INDEX {audit_at} ON {audit} (at, entry);
CREATE INDEX {audit_user} ON {audit} (user_id, at, entry) WHERE user_id IS NOT NULL;
CREATE INDEX {audit_identifier} ON {audit} (identifier, at, entry) WHERE identifier IS NOT NULL;
CREATE INDEX {audit_job} ON {audit} (job) WHERE job IS NOT NULL;
CREATE INDEX {audit_token} ON {audit} (token) WHERE token IS NOT NULL;
CREATE INDEX {audit_parent} ON {audit} (parent) WHERE parent IS NOT NULL;

-- Deleting is left to retention; rewriting is nobody's business.
CREATE TRIGGER {audit_append_only} BEFORE UPDATE ON {audit}
BEGIN
    SELECT RAISE(ABORT, 'the audit trail is append-only');
END;
