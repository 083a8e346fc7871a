-- For MySQL and MariaDB. The usual collations find "A" equal to "a" and "é" to "e", and so one
-- person's address or password hash equal to another's: these columns compare code by code.

CREATE TABLE IF NOT EXISTS users (
    -- Never used for another person, even when the account is gone: old links name it.
    id            BIGINT       NOT NULL PRIMARY KEY AUTO_INCREMENT,
    -- In lower case.
    email         VARCHAR(254) NOT NULL UNIQUE,
    -- Null: logs in through another provider.
    password_hash VARCHAR(255),
    verified      BOOLEAN      NOT NULL DEFAULT true,
    disabled      BOOLEAN      NOT NULL DEFAULT false,
    -- Of an authenticator app, in Base32. Null: no second factor.
    totp_secret   VARCHAR(64),
    -- The last half minute whose code was taken.
    totp_step     BIGINT       NOT NULL DEFAULT 0
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS sessions (
    -- SHA-256 of what is in the cookie: who reads this table can log in nowhere.
    id         BINARY(32) NOT NULL PRIMARY KEY,
    user_id    BIGINT     NOT NULL,
    expires_at BIGINT     NOT NULL,
    INDEX sessions_user (user_id),
    FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
) ENGINE = InnoDB;
