//! Who is logged in.

use std::time::{Duration, SystemTime};

use axum_extra::extract::CookieJar;
use axum_extra::extract::cookie::{Cookie, SameSite};
use password_reset::Timestamp;
use password_reset::account::UserId;
use password_reset::error::BoxError;
use password_reset::password::PasswordHash;
use sha2::{Digest, Sha256};

use crate::database::{Pools, Value};
use crate::keys::{hex, random};
use crate::users;

const COOKIE: &str = "session";
const LIFE: Duration = Duration::from_secs(12 * 60 * 60);

const FORGET: &str = "DELETE FROM sessions WHERE user_id = ?1 AND expires_at <= ?2";
// Only while the password is still the one that was just checked: otherwise a login with the old
// password, begun before a reset, could put its session behind the reset that ended all others.
//
// It is not enough that one statement does both. Where many write at once it reads the user as of
// its beginning, and a reset could change the password *and* end all sessions before this one is
// committed. So it locks the user's row: either it waits for the reset and then finds another hash,
// or the reset waits for it and then ends this session too.
const START: &str = "
    INSERT INTO sessions (id, user_id, expires_at)
    SELECT ?1, id, ?2 FROM users WHERE id = ?3 AND password_hash = ?4 AND NOT disabled {lock}";
const WHO: &str = "
    SELECT email FROM sessions JOIN users ON users.id = sessions.user_id
    WHERE sessions.id = ?1 AND expires_at > ?2 AND NOT disabled";
const END: &str = "DELETE FROM sessions WHERE id = ?1";

/// The table `sessions`. Resets end sessions through [`users`].
#[derive(Clone)]
pub(crate) struct Sessions {
    pools: Pools,
}

impl Sessions {
    pub(crate) fn new(pools: &Pools) -> Self {
        Self {
            pools: pools.clone(),
        }
    }

    /// A new session under a new id, whatever cookie the browser had before. `None` when the
    /// password has changed since it was checked.
    pub(crate) async fn start(
        &self,
        user: &UserId,
        checked: &PasswordHash,
    ) -> Result<Option<Cookie<'static>>, BoxError> {
        let Some(user) = users::key(user) else {
            return Ok(None);
        };
        let id = hex(&random::<32>()?);
        let now = Timestamp::from(SystemTime::now());
        let expired = [Value::Int(user), Value::Int(now.unix_micros())];
        self.pools.execute(FORGET, expired).await?;
        let session = [
            digest(&id),
            Value::Int((now + LIFE).unix_micros()),
            Value::Int(user),
            Value::Text(checked.expose().to_owned()),
        ];
        let started = self.pools.execute(START, session).await?;
        Ok((started > 0).then(|| cookie(id)))
    }

    /// The address of who is logged in.
    pub(crate) async fn who(&self, jar: &CookieJar) -> Result<Option<String>, BoxError> {
        let Some(cookie) = jar.get(COOKIE) else {
            return Ok(None);
        };
        let now = Timestamp::from(SystemTime::now());
        let session = [digest(cookie.value()), Value::Int(now.unix_micros())];
        Ok(self.pools.text(WHO, session).await?)
    }

    /// Logs out; answers the cookies without the session's.
    pub(crate) async fn end(&self, jar: CookieJar) -> Result<CookieJar, BoxError> {
        if let Some(cookie) = jar.get(COOKIE) {
            self.pools.execute(END, [digest(cookie.value())]).await?;
        }
        Ok(jar.remove(cookie(String::new())))
    }
}

/// A site on https adds `.secure(true)` and calls it `__Host-session`. The demo speaks plain http,
/// where browsers drop such a cookie.
fn cookie(id: String) -> Cookie<'static> {
    Cookie::build((COOKIE, id))
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .build()
}

fn digest(id: &str) -> Value {
    Value::Bytes(Sha256::digest(id).to_vec())
}

/// A login that has checked the old password meets a reset. (SQLite has one writer at a time.)
#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used, reason = "tests may panic")]

    use password_reset_sqlx::sqlx::{AssertSqlSafe, Executor};
    use tokio::time::timeout;

    use super::*;
    use crate::database::tests::Scratch;

    /// Long enough for a statement that waits for nobody.
    const SOON: Duration = Duration::from_millis(500);
    const OLD: &str = "$test$old";
    const CHANGE: &str =
        "UPDATE users SET password_hash = '$test$new' WHERE password_hash = '$test$old'";

    /// A user with the old password.
    async fn user(pools: &Pools) -> UserId {
        let insert = "INTO users (email, password_hash) VALUES ('ada@example.com', ?1)";
        let values = [Value::Text(OLD.to_owned())];
        assert_eq!(pools.insert_missing(insert, values).await.unwrap(), 1);
        UserId::parse("1").unwrap()
    }

    /// The statement of a login, with its values in it.
    fn login(lock: &str, id: &str) -> AssertSqlSafe<String> {
        let start = START.replace("{lock}", lock).replace("?1", id);
        let start = start.replace("?2", "9000000000000000").replace("?3", "1");
        AssertSqlSafe(start.replace("?4", "'$test$old'"))
    }

    macro_rules! races {
        ($database:ident, $variant:ident, $id:expr) => {
            mod $database {
                use super::*;

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn a_login_waits_for_a_reset_and_fails() {
                    let Some(scratch) = Scratch::$database().await else {
                        return;
                    };
                    let user = user(&scratch.pools).await;
                    let Pools::$variant(pool) = scratch.pools.clone() else {
                        panic!("another database");
                    };
                    let mut reset = pool.begin().await.unwrap();
                    reset.execute(CHANGE).await.unwrap();

                    let sessions = Sessions::new(&scratch.pools);
                    let old = PasswordHash::parse(OLD).unwrap();
                    let login = async move { sessions.start(&user, &old).await.unwrap() };
                    let mut login = tokio::spawn(login);
                    assert!(timeout(SOON, &mut login).await.is_err(), "it did not wait");
                    reset.commit().await.unwrap();
                    assert!(login.await.unwrap().is_none());
                }

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn a_reset_waits_for_a_login_and_ends_its_session() {
                    let Some(scratch) = Scratch::$database().await else {
                        return;
                    };
                    user(&scratch.pools).await;
                    let Pools::$variant(pool) = scratch.pools.clone() else {
                        panic!("another database");
                    };
                    let mut session = pool.begin().await.unwrap();
                    let started = session
                        .execute(login(scratch.pools.lock(), $id))
                        .await
                        .unwrap();
                    assert_eq!(started.rows_affected(), 1);

                    let reset = async move {
                        pool.execute(CHANGE).await.unwrap();
                        pool.execute("DELETE FROM sessions WHERE user_id = 1")
                            .await
                            .unwrap()
                    };
                    let mut reset = tokio::spawn(reset);
                    assert!(timeout(SOON, &mut reset).await.is_err(), "it did not wait");
                    session.commit().await.unwrap();
                    assert_eq!(reset.await.unwrap().rows_affected(), 1);
                }
            }
        };
    }

    races!(
        postgres,
        Postgres,
        "'0123456789abcdef0123456789abcdef'::bytea"
    );
    races!(mysql, MySql, "'0123456789abcdef0123456789abcdef'");
}
