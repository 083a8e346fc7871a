//! The demo's users: which table they are in, and who is there from the start.

use password_reset::account::UserId;
use password_reset::password::PasswordHash;
use password_reset::recovery::SecondFactor;
use password_reset_sqlx::sqlx::{self, Pool};
use password_reset_sqlx::{Driver, EndSessions, Flag, IdType, SqlUserStore, UserTable};

use crate::database::{Pools, Value};

const SEED_ADA: &str = "INTO users (email, password_hash) VALUES ('ada@example.com', ?1)";
// The numbers are a thousand times a thousand, because databases limit how deep they recurse.
const SEED_GRACE: &str = "INTO users (email, password_hash) VALUES ('grace@example.com', ?1)";
const SEED_HEDY: &str =
    "INTO users (email, password_hash, totp_secret) VALUES ('hedy@example.com', ?1, ?2)";
const SEED_OTHERS: &str = "INTO users (email, password_hash)
    WITH RECURSIVE digits (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM digits WHERE n < 999)
    SELECT concat('user-', high.n * 1000 + low.n, '@example.com'), ?1
    FROM digits AS high CROSS JOIN digits AS low WHERE high.n * 1000 + low.n < ?2";

/// What the library may ask and do. Most applications describe their table like this and write no
/// [`UserStore`](password_reset::account::UserStore) at all.
pub(crate) fn store<D: Driver>(pool: Pool<D>) -> SqlUserStore<D> {
    let table = UserTable::new("users", Flag::Truth("verified"))
        .id("id", IdType::Integer)
        .email("email")
        .password("password_hash")
        .disabled(Flag::Truth("disabled"))
        .second_factor(SecondFactor::Device, Flag::NotNull("totp_secret"));
    // The demo has sessions and nothing else. An application ends whatever logs in without the
    // password: refresh tokens, remembered devices, API tokens.
    let sessions = EndSessions::statement("DELETE FROM sessions WHERE user_id = ?1");
    SqlUserStore::new(pool, table, sessions)
}

/// The row's number; an id that is none belongs to nobody.
pub(crate) fn key(user: &UserId) -> Option<i64> {
    user.as_str().parse().ok()
}

/// What [`seed`] created.
pub(crate) struct Seeded {
    pub(crate) ada: bool,
    pub(crate) others: u64,
}

/// Creates `ada@example.com` and so many others, where they are missing. Several programs may do so
/// at once: each address is created by one of them.
pub(crate) async fn seed(
    pools: &Pools,
    hash: &PasswordHash,
    others: u32,
) -> Result<Seeded, sqlx::Error> {
    let hash = || Value::Text(hash.expose().to_owned());
    let ada = pools.insert_missing(SEED_ADA, [hash()]).await? > 0;
    let others = match others {
        0 => 0,
        _ => {
            let values = [hash(), Value::Int(others.into())];
            pools.insert_missing(SEED_OTHERS, values).await?
        }
    };
    Ok(Seeded { ada, others })
}

/// Creates `grace@example.com`, if she is missing, with a hash from the time of an older system.
pub(crate) async fn seed_grace(pools: &Pools, bcrypt: String) -> Result<bool, sqlx::Error> {
    let created = pools
        .insert_missing(SEED_GRACE, [Value::Text(bcrypt)])
        .await?;
    Ok(created > 0)
}

/// Creates `hedy@example.com`, if she is missing, with a second factor.
pub(crate) async fn seed_hedy(
    pools: &Pools,
    hash: &PasswordHash,
    secret: &str,
) -> Result<bool, sqlx::Error> {
    let values = [
        Value::Text(hash.expose().to_owned()),
        Value::Text(secret.to_owned()),
    ];
    Ok(pools.insert_missing(SEED_HEDY, values).await? > 0)
}

/// The library's kit proves that the table and its description fit, in each database.
#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use password_reset::account::{Address, Identifier, UserStore};
    use password_reset::async_trait;
    use password_reset::testing::kit::users::UsersFixture;

    use super::*;
    use crate::database::tests::Scratch;

    struct Fixture {
        users: Arc<dyn UserStore>,
        scratch: Scratch,
        next: AtomicU32,
    }

    impl Fixture {
        fn new(scratch: Scratch) -> Self {
            let users: Arc<dyn UserStore> = match scratch.pools.clone() {
                Pools::Sqlite { writer, reader } => Arc::new(store(writer).reader(reader)),
                Pools::Postgres(pool) => Arc::new(store(pool)),
                Pools::MySql(pool) => Arc::new(store(pool)),
            };
            Self {
                users,
                scratch,
                next: AtomicU32::new(0),
            }
        }
    }

    #[async_trait]
    impl UsersFixture for Fixture {
        fn store(&self) -> Arc<dyn UserStore> {
            Arc::clone(&self.users)
        }

        async fn create(&self, address: &Address) -> UserId {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let insert = "INSERT INTO users (email, password_hash) VALUES (?1, ?2)";
            let values = [
                Value::Text(address.as_str().to_ascii_lowercase()),
                Value::Text(format!("$test${number}")),
            ];
            self.scratch.pools.execute(insert, values).await.unwrap();
            let identifier = Identifier::parse(address.as_str()).unwrap();
            self.users.find(&identifier).await.unwrap().unwrap().id
        }

        async fn create_without_password(&self, address: &Address) -> Option<UserId> {
            let id = self.create(address).await;
            let update = "UPDATE users SET password_hash = NULL WHERE id = ?1";
            let values = [Value::Int(key(&id).unwrap())];
            self.scratch.pools.execute(update, values).await.unwrap();
            Some(id)
        }
    }

    mod sqlite {
        use super::*;

        password_reset::conformance_users! {
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn store() -> Fixture {
                Fixture::new(Scratch::sqlite().await)
            }
        }
    }

    mod postgres {
        use super::*;

        password_reset::conformance_users! {
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn store() -> Option<Fixture> {
                Scratch::postgres().await.map(Fixture::new)
            }
        }
    }

    mod mysql {
        use super::*;

        password_reset::conformance_users! {
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn store() -> Option<Fixture> {
                Scratch::mysql().await.map(Fixture::new)
            }
        }
    }
}
