-- In braces: names, see `Statement`.
-- Keys and the texts that are compared are VARBINARY and BINARY: no collation may ever make two of
-- them equal, nor ignore a space at the end.
-- Times are microseconds since 1970 in UTC, as integers: no server's or session's time zone counts.
-- MySQL commits at each CREATE, so every statement can be run again.

CREATE TABLE IF NOT EXISTS {tokens} (
    selector    BINARY(16)     NOT NULL PRIMARY KEY,
    purpose     VARBINARY(32)  NOT NULL,
    tenant      VARBINARY(255),
    user_id     VARBINARY(255) NOT NULL,
    epoch       BINARY(32)     NOT NULL,
    key_id      BIGINT         NOT NULL CHECK (key_id BETWEEN 0 AND 4294967295),
    digest      BINARY(32)     NOT NULL,
    issued_at   BIGINT         NOT NULL,
    expires_at  BIGINT         NOT NULL,
    attempts    BIGINT         NOT NULL CHECK (attempts BETWEEN 0 AND 4294967295),
    -- Both null: never claimed. Both set: claimed until then. Only hold_until: watched.
    claim       BINARY(16),
    hold_until  BIGINT         CHECK (claim IS NULL OR hold_until IS NOT NULL),
    spent_at    BIGINT,
    revoked_at  BIGINT,
    revoked_why VARBINARY(32)  CHECK ((revoked_at IS NULL) = (revoked_why IS NULL)),
    INDEX {.tokens_open} (user_id, expires_at),
    INDEX {.tokens_held} (spent_at, hold_until),
    INDEX {.tokens_expiry} (expires_at)
) ENGINE = InnoDB;

-- Whoever counts the tokens of an account before adding one changes one of these rows first.
CREATE TABLE IF NOT EXISTS {locks} (
    id   BIGINT NOT NULL PRIMARY KEY,
    turn BIGINT NOT NULL
) ENGINE = InnoDB;

INSERT IGNORE INTO {locks} (id, turn)
WITH RECURSIVE numbers (id) AS (SELECT 0 UNION ALL SELECT id + 1 FROM numbers WHERE id < 255)
SELECT id, 0 FROM numbers;

CREATE TABLE IF NOT EXISTS {jobs} (
    id           BINARY(16) NOT NULL PRIMARY KEY,
    due          BIGINT     NOT NULL,
    leased_until BIGINT,
    attempt      BIGINT     NOT NULL CHECK (attempt BETWEEN 0 AND 4294967295),
    task         MEDIUMBLOB NOT NULL,
    -- Set for dead letters; their `due` is the end of time, so that no lease meets them.
    dead_at      BIGINT,
    -- Read in the order of `due`; jobs under a lease are skipped. They are never more than what
    -- all workers together hold.
    INDEX {.jobs_due} (due, leased_until),
    INDEX {.jobs_dead} (dead_at)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS {limits} (
    limit_key  BINARY(32) NOT NULL PRIMARY KEY,
    tat0       BIGINT     NOT NULL,
    tat1       BIGINT     NOT NULL,
    tat2       BIGINT     NOT NULL,
    forget_at  BIGINT     NOT NULL,
    -- How many microseconds too early the last use came; 0 when it was allowed.
    denied_for BIGINT     NOT NULL,
    INDEX {.limits_forget} (forget_at)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS {audit} (
    id         BIGINT       NOT NULL PRIMARY KEY AUTO_INCREMENT,
    -- The event's own name: whoever did not hear that it is here sends it again.
    entry      BINARY(16)   NOT NULL UNIQUE,
    at         BIGINT       NOT NULL,
    name       VARCHAR(64)  NOT NULL,
    severity   VARCHAR(16)  NOT NULL,
    -- What happened and why, in stable words, and the number that belongs to it.
    kind       VARCHAR(128) NOT NULL,
    number     BIGINT,
    tenant     VARBINARY(255),
    user_id    VARBINARY(255),
    identifier VARCHAR(255),
    source     VARCHAR(255),
    job        VARCHAR(255),
    token      VARCHAR(255),
    -- The code that the token was exchanged for.
    parent     VARCHAR(255),
    -- The operator who did it.
    actor      VARCHAR(255),
    INDEX {.audit_at} (at, entry),
    INDEX {.audit_user} (user_id, at, entry),
    INDEX {.audit_identifier} (identifier, at, entry),
    INDEX {.audit_job} (job),
    INDEX {.audit_token} (token),
    INDEX {.audit_parent} (parent)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Deleting is left to retention; rewriting is nobody's business.
CREATE TRIGGER IF NOT EXISTS {audit_append_only} BEFORE UPDATE ON {audit}
    FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the audit trail is append-only';
