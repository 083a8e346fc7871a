//! The demo's users, and what the library may ask and do: [`UserStore`].

use password_reset::account::{
    Account, Address, Credential, Identifier, SessionScope, Status, Swap, UserId, UserStore,
};
use password_reset::async_trait;
use password_reset::error::BoxError;
use password_reset::password::PasswordHash;
use password_reset_sqlx::sqlx;

use crate::database::{Pools, Value};

const BY_EMAIL: &str = "
    SELECT CAST(id AS CHAR(20)), email, password_hash, CASE WHEN verified THEN 'yes' ELSE 'no' END,
    CASE WHEN disabled THEN 'yes' ELSE 'no' END, CASE WHEN second_factor THEN 'yes' ELSE 'no' END
    FROM users WHERE email = ?1";
const BY_ID: &str = "
    SELECT CAST(id AS CHAR(20)), email, password_hash, CASE WHEN verified THEN 'yes' ELSE 'no' END,
    CASE WHEN disabled THEN 'yes' ELSE 'no' END, CASE WHEN second_factor THEN 'yes' ELSE 'no' END
    FROM users WHERE id = ?1";
const SWAP: &str = "UPDATE users SET password_hash = ?1 WHERE id = ?2 AND password_hash = ?3";
const END_SESSIONS: &str = "DELETE FROM sessions WHERE user_id = ?1";

const SEED_ADA: &str = "INTO users (email, password_hash) VALUES ('ada@example.com', ?1)";
// The numbers are a thousand times a thousand, because databases limit how deep they recurse.
const SEED_OTHERS: &str = "INTO users (email, password_hash)
    WITH RECURSIVE digits (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM digits WHERE n < 999)
    SELECT concat('user-', high.n * 1000 + low.n, '@example.com'), ?1
    FROM digits AS high CROSS JOIN digits AS low WHERE high.n * 1000 + low.n < ?2";

/// The table `users`.
#[derive(Clone)]
pub(crate) struct Users {
    pools: Pools,
}

/// What [`Users::seed`] created.
pub(crate) struct Seeded {
    pub(crate) ada: bool,
    pub(crate) others: u64,
}

impl Users {
    pub(crate) fn new(pools: &Pools) -> Self {
        Self {
            pools: pools.clone(),
        }
    }

    /// Creates `ada@example.com` and so many others, where they are missing.
    pub(crate) async fn seed(
        &self,
        hash: &PasswordHash,
        others: u32,
    ) -> Result<Seeded, sqlx::Error> {
        let hash = || Value::Text(hash.expose().to_owned());
        let ada = self.pools.insert_missing(SEED_ADA, [hash()]).await?;
        let others = match others {
            0 => 0,
            _ => {
                let values = [hash(), Value::Int(others.into())];
                self.pools.insert_missing(SEED_OTHERS, values).await?
            }
        };
        Ok(Seeded {
            ada: ada > 0,
            others,
        })
    }
}

#[async_trait]
impl UserStore for Users {
    async fn find(&self, identifier: &Identifier) -> Result<Option<Account>, BoxError> {
        // The demo's rule of equality: the case of ASCII letters does not matter. Nothing else is
        // folded, or somebody's look-alike address would find another person's account (W2).
        let email = identifier.as_str().to_ascii_lowercase();
        let row = self.pools.texts(BY_EMAIL, [Value::Text(email)]).await?;
        row.map(account).transpose()
    }

    async fn account(&self, user: &UserId) -> Result<Option<Account>, BoxError> {
        let Some(id) = key(user) else {
            return Ok(None);
        };
        let row = self.pools.texts(BY_ID, [Value::Int(id)]).await?;
        row.map(account).transpose()
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
        let values = [
            Value::Text(new.expose().to_owned()),
            Value::Int(id),
            Value::Text(expected.expose().to_owned()),
        ];
        Ok(match self.pools.execute(SWAP, values).await? {
            0 => Swap::Stale,
            _ => Swap::Done,
        })
    }

    async fn end_sessions(&self, user: &UserId, _: SessionScope) -> Result<(), BoxError> {
        // The demo has sessions and nothing else. An application ends whatever logs in without the
        // password: refresh tokens, remembered devices, API tokens.
        if let Some(id) = key(user) {
            self.pools.execute(END_SESSIONS, [Value::Int(id)]).await?;
        }
        Ok(())
    }
}

/// The row's number; an id that is none belongs to nobody.
pub(crate) fn key(user: &UserId) -> Option<i64> {
    user.as_str().parse().ok()
}

fn account(row: Vec<Option<String>>) -> Result<Account, BoxError> {
    let row: [Option<String>; 6] = row.try_into().map_err(|_| "six columns")?;
    let [id, email, hash, verified, disabled, second_factor] = row;
    let credential = match hash {
        Some(hash) => Credential::Password(PasswordHash::parse(&hash)?),
        None => Credential::External,
    };
    let address = Address::parse(&email.unwrap_or_default())?;
    let id = UserId::parse(id.unwrap_or_default().trim_end())?;
    let mut account = Account::new(id, credential);
    if verified.as_deref() == Some("yes") {
        account.verified.push(address);
    } else {
        account.unverified.push(address);
    }
    if disabled.as_deref() != Some("no") {
        account.status = Status::Disabled;
    }
    account.second_factor = second_factor.as_deref() != Some("no");
    Ok(account)
}

/// The library's kit proves that the table above keeps the contract of [`UserStore`].
#[cfg(test)]
mod tests {
    #![allow(clippy::unreachable, clippy::unwrap_used, reason = "tests may panic")]

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
            let Pools::Sqlite { writer, .. } = &self.users.pools else {
                unreachable!()
            };
            let id: i64 = sqlx::query_scalar(insert)
                .bind(address.as_str().to_ascii_lowercase())
                .bind(format!("$test${number}"))
                .fetch_one(writer)
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
            let database = crate::database::Database::open(Some(&url), None).await.unwrap();
            Fixture {
                users: Users::new(&database.pools),
                next: Default::default(),
                _folder: folder,
            }
        }
    }
}
