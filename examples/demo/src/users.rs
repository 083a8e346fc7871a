//! The demo's users, and what the library may ask and do: [`UserStore`].

use password_reset::account::{
    Account, Address, Credential, Identifier, SessionScope, Status, Swap, UserId, UserStore,
};
use password_reset::async_trait;
use password_reset::error::BoxError;
use password_reset::password::PasswordHash;
use password_reset_sqlx::sqlx::sqlite::{SqlitePool, SqliteRow};
use password_reset_sqlx::sqlx::{self, Row};

use crate::database::{Database, begin};

const BY_EMAIL: &str = "SELECT * FROM users WHERE email = ?";
const BY_ID: &str = "SELECT * FROM users WHERE id = ?";
const SWAP: &str = "UPDATE users SET password_hash = ? WHERE id = ? AND password_hash = ?";
const END_SESSIONS: &str = "DELETE FROM sessions WHERE user_id = ?";

const SEED_ADA: &str =
    "INSERT INTO users (email, password_hash) VALUES ('ada@example.com', ?) ON CONFLICT DO NOTHING";
const SEED_OTHERS: &str = "
    WITH RECURSIVE number (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM number WHERE n + 1 < ?1)
    INSERT OR IGNORE INTO users (email, password_hash)
    SELECT 'user-' || n || '@example.com', ?2 FROM number WHERE n < ?1";

/// The table `users`.
#[derive(Clone)]
pub(crate) struct Users {
    writer: SqlitePool,
    reader: SqlitePool,
}

/// What [`Users::seed`] created.
pub(crate) struct Seeded {
    pub(crate) ada: bool,
    pub(crate) others: u64,
}

impl Users {
    pub(crate) fn new(database: &Database) -> Self {
        Self {
            writer: database.writer.clone(),
            reader: database.reader.clone(),
        }
    }

    /// Creates `ada@example.com` and so many others, where they are missing.
    pub(crate) async fn seed(
        &self,
        hash: &PasswordHash,
        others: u32,
    ) -> Result<Seeded, sqlx::Error> {
        let mut transaction = begin(&self.writer).await?;
        let ada = sqlx::query(SEED_ADA)
            .bind(hash.expose())
            .execute(&mut *transaction)
            .await?;
        let others = sqlx::query(SEED_OTHERS)
            .bind(others)
            .bind(hash.expose())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(Seeded {
            ada: ada.rows_affected() > 0,
            others: others.rows_affected(),
        })
    }
}

#[async_trait]
impl UserStore for Users {
    async fn find(&self, identifier: &Identifier) -> Result<Option<Account>, BoxError> {
        // The demo's rule of equality: the case of ASCII letters does not matter. Nothing else is
        // folded, or somebody's look-alike address would find another person's account (W2).
        let email = identifier.as_str().to_ascii_lowercase();
        let row = sqlx::query(BY_EMAIL).bind(email);
        row.fetch_optional(&self.reader)
            .await?
            .map(account)
            .transpose()
    }

    async fn account(&self, user: &UserId) -> Result<Option<Account>, BoxError> {
        let Some(id) = key(user) else {
            return Ok(None);
        };
        let row = sqlx::query(BY_ID).bind(id);
        row.fetch_optional(&self.reader)
            .await?
            .map(account)
            .transpose()
    }

    /// Compares and swaps in one statement: of two resets at the same moment one finds the old hash
    /// gone, and changes nothing.
    async fn set_password(
        &self,
        user: &UserId,
        expected: &Credential,
        new: &PasswordHash,
    ) -> Result<Swap, BoxError> {
        let (Some(id), Credential::Password(expected)) = (key(user), expected) else {
            return Ok(Swap::Stale);
        };
        let swapped = sqlx::query(SWAP)
            .bind(new.expose())
            .bind(id)
            .bind(expected.expose())
            .execute(&self.writer)
            .await?;
        Ok(match swapped.rows_affected() {
            0 => Swap::Stale,
            _ => Swap::Done,
        })
    }

    async fn end_sessions(&self, user: &UserId, _: SessionScope) -> Result<(), BoxError> {
        // The demo has sessions and nothing else. An application ends whatever logs in without the
        // password: refresh tokens, remembered devices, API tokens.
        sqlx::query(END_SESSIONS)
            .bind(key(user))
            .execute(&self.writer)
            .await?;
        Ok(())
    }
}

/// The row's number; an id that is none belongs to nobody.
pub(crate) fn key(user: &UserId) -> Option<i64> {
    user.as_str().parse().ok()
}

fn account(row: SqliteRow) -> Result<Account, BoxError> {
    let id: i64 = row.try_get("id")?;
    let hash: Option<String> = row.try_get("password_hash")?;
    let credential = match hash {
        Some(hash) => Credential::Password(PasswordHash::parse(&hash)?),
        None => Credential::External,
    };
    let address = Address::parse(row.try_get("email")?)?;
    let mut account = Account::new(UserId::parse(&id.to_string())?, credential);
    if row.try_get("verified")? {
        account.verified.push(address);
    } else {
        account.unverified.push(address);
    }
    if row.try_get("disabled")? {
        account.status = Status::Disabled;
    }
    account.second_factor = row.try_get("second_factor")?;
    Ok(account)
}

/// The library's kit proves that the table above keeps the contract of [`UserStore`].
#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use password_reset::testing::kit::users::UsersFixture;

    use super::*;

    struct Fixture {
        users: Users,
        next: AtomicU32,
        _folder: tempfile::TempDir,
    }

    #[async_trait]
    impl UsersFixture for Fixture {
        fn store(&self) -> Arc<dyn UserStore> {
            Arc::new(self.users.clone())
        }

        async fn create(&self, address: &Address) -> UserId {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let insert = "INSERT INTO users (email, password_hash) VALUES (?, ?) RETURNING id";
            let id: i64 = sqlx::query_scalar(insert)
                .bind(address.as_str().to_ascii_lowercase())
                .bind(format!("$test${number}"))
                .fetch_one(&self.users.writer)
                .await
                .unwrap();
            UserId::parse(&id.to_string()).unwrap()
        }
    }

    password_reset::conformance_users! {
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn store() -> Fixture {
            let folder = tempfile::tempdir().unwrap();
            let url = format!("sqlite://{}", folder.path().join("demo.db").display());
            let database = crate::database::Database::open(Some(&url)).await.unwrap();
            Fixture {
                users: Users::new(&database),
                next: Default::default(),
                _folder: folder,
            }
        }
    }
}
