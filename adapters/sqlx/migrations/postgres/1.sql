-- In braces: names, see `Statement`.
-- Keys are BYTEA and texts carry the collation "C": no collation may ever make two of them equal.
-- Times are microseconds since 1970 in UTC, as integers: no server's or session's time zone counts.

CREATE TABLE {tokens} (
    selector    BYTEA  NOT NULL PRIMARY KEY CHECK (octet_length(selector) = 16),
    purpose     TEXT   NOT NULL COLLATE "C",
    tenant      TEXT            COLLATE "C",
    user_id     TEXT   NOT NULL COLLATE "C",
    epoch       BYTEA  NOT NULL CHECK (octet_length(epoch) = 32),
    key_id      BIGINT NOT NULL CHECK (key_id BETWEEN 0 AND 4294967295),
    digest      BYTEA  NOT NULL CHECK (octet_length(digest) = 32),
    issued_at   BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL,
    attempts    BIGINT NOT NULL CHECK (attempts BETWEEN 0 AND 4294967295),
    -- Both null: never claimed. Both set: claimed until then. Only hold_until: watched.
    claim       BYTEA           CHECK (octet_length(claim) = 16),
    hold_until  BIGINT          CHECK (claim IS NULL OR hold_until IS NOT NULL),
    spent_at    BIGINT,
    revoked_at  BIGINT,
    revoked_why TEXT            COLLATE "C"
                                CHECK ((revoked_at IS NULL) = (revoked_why IS NULL))
);

CREATE INDEX {.tokens_open} ON {tokens} (user_id, expires_at)
    WHERE spent_at IS NULL AND revoked_at IS NULL;
CREATE INDEX {.tokens_held} ON {tokens} (hold_until)
    WHERE spent_at IS NULL AND hold_until IS NOT NULL;
CREATE INDEX {.tokens_expiry} ON {tokens} (expires_at);

-- Whoever counts the tokens of an account before adding one changes one of these rows first.
CREATE TABLE {locks} (
    id   BIGINT NOT NULL PRIMARY KEY,
    turn BIGINT NOT NULL
) WITH (fillfactor = 50);

INSERT INTO {locks} (id, turn) SELECT id, 0 FROM generate_series(0, 255) AS id;

CREATE TABLE {jobs} (
    id           BYTEA  NOT NULL PRIMARY KEY CHECK (octet_length(id) = 16),
    due          BIGINT NOT NULL,
    leased_until BIGINT,
    attempt      BIGINT NOT NULL CHECK (attempt BETWEEN 0 AND 4294967295),
    task         BYTEA  NOT NULL,
    -- Set for dead letters; their `due` is the end of time, so that no lease meets them.
    dead_at      BIGINT
);

-- Read in the order of `due`; jobs under a lease are skipped. They are never more than what all
-- workers together hold.
CREATE INDEX {.jobs_due} ON {jobs} (due, leased_until);
CREATE INDEX {.jobs_dead} ON {jobs} (dead_at) WHERE dead_at IS NOT NULL;

CREATE TABLE {limits} (
    limit_key  BYTEA  NOT NULL PRIMARY KEY CHECK (octet_length(limit_key) = 32),
    tat0       BIGINT NOT NULL,
    tat1       BIGINT NOT NULL,
    tat2       BIGINT NOT NULL,
    forget_at  BIGINT NOT NULL,
    -- How many microseconds too early the last use came; 0 when it was allowed.
    denied_for BIGINT NOT NULL
);

CREATE INDEX {.limits_forget} ON {limits} (forget_at);

CREATE TABLE {audit} (
    id         BIGINT NOT NULL PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    -- The event's own name: whoever did not hear that it is here sends it again.
    entry      BYTEA  NOT NULL UNIQUE CHECK (octet_length(entry) = 16),
    at         BIGINT NOT NULL,
    name       TEXT   NOT NULL,
    severity   TEXT   NOT NULL,
    -- What happened and why, in stable words, and the number that belongs to it.
    kind       TEXT   NOT NULL COLLATE "C",
    number     BIGINT,
    tenant     TEXT            COLLATE "C",
    user_id    TEXT            COLLATE "C",
    identifier TEXT            COLLATE "C",
    source     TEXT            COLLATE "C",
    job        TEXT            COLLATE "C",
    token      TEXT            COLLATE "C",
    -- The code that the token was exchanged for.
    parent     TEXT            COLLATE "C",
    -- The operator who did it.
    actor      TEXT
);

CREATE INDEX {.audit_at} ON {audit} (at, entry);
CREATE INDEX {.audit_user} ON {audit} (user_id, at, entry) WHERE user_id IS NOT NULL;
CREATE INDEX {.audit_identifier} ON {audit} (identifier, at, entry) WHERE identifier IS NOT NULL;
CREATE INDEX {.audit_job} ON {audit} (job) WHERE job IS NOT NULL;
CREATE INDEX {.audit_token} ON {audit} (token) WHERE token IS NOT NULL;
CREATE INDEX {.audit_parent} ON {audit} (parent) WHERE parent IS NOT NULL;

-- Deleting is left to retention; rewriting is nobody's business.
CREATE FUNCTION {audit_append_only}() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    RAISE EXCEPTION 'the audit trail is append-only';
END
$body$;
CREATE TRIGGER {.audit_append_only} BEFORE UPDATE ON {audit}
    FOR EACH STATEMENT EXECUTE FUNCTION {audit_append_only}();
