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
        let row = self.pools.texts(WHO, session).await?;
        Ok(row.into_iter().flatten().next().flatten())
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
