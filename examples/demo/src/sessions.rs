//! Who is logged in.

use std::time::{Duration, SystemTime};

use axum_extra::extract::CookieJar;
use axum_extra::extract::cookie::{Cookie, SameSite};
use password_reset::Timestamp;
use password_reset::account::UserId;
use password_reset::error::BoxError;
use password_reset::password::PasswordHash;
use password_reset_sqlx::sqlx::sqlite::SqlitePool;
use password_reset_sqlx::sqlx::{self, Row};
use sha2::{Digest, Sha256};

use crate::database::Database;
use crate::keys::{hex, random};
use crate::users;

const COOKIE: &str = "session";
const LIFE: Duration = Duration::from_secs(12 * 60 * 60);

const FORGET: &str = "DELETE FROM sessions WHERE user_id = ? AND expires_at <= ?";
// Only while the password is still the one that was just checked. Otherwise a login with the old
// password, begun before a reset, could put its session behind the reset that ended all others.
const START: &str = "
    INSERT INTO sessions (id, user_id, expires_at)
    SELECT ?, id, ? FROM users WHERE id = ? AND password_hash = ? AND disabled = 0";
const WHO: &str = "
    SELECT email FROM sessions JOIN users ON users.id = sessions.user_id
    WHERE sessions.id = ? AND expires_at > ? AND disabled = 0";
const END: &str = "DELETE FROM sessions WHERE id = ?";

/// The table `sessions`. Resets end sessions through [`users`].
#[derive(Clone)]
pub(crate) struct Sessions {
    writer: SqlitePool,
    reader: SqlitePool,
}

impl Sessions {
    pub(crate) fn new(database: &Database) -> Self {
        Self {
            writer: database.writer.clone(),
            reader: database.reader.clone(),
        }
    }

    /// A new session under a new id, whatever cookie the browser had before. `None` when the
    /// password has changed since it was checked.
    pub(crate) async fn start(
        &self,
        user: &UserId,
        checked: &PasswordHash,
    ) -> Result<Option<Cookie<'static>>, BoxError> {
        let id = hex(&random::<32>()?);
        let now = Timestamp::from(SystemTime::now());
        sqlx::query(FORGET)
            .bind(users::key(user))
            .bind(now.unix_micros())
            .execute(&self.writer)
            .await?;
        let started = sqlx::query(START)
            .bind(digest(&id))
            .bind((now + LIFE).unix_micros())
            .bind(users::key(user))
            .bind(checked.expose())
            .execute(&self.writer)
            .await?;
        Ok((started.rows_affected() > 0).then(|| cookie(id)))
    }

    /// The address of who is logged in.
    pub(crate) async fn who(&self, jar: &CookieJar) -> Result<Option<String>, BoxError> {
        let Some(cookie) = jar.get(COOKIE) else {
            return Ok(None);
        };
        let row = sqlx::query(WHO)
            .bind(digest(cookie.value()))
            .bind(Timestamp::from(SystemTime::now()).unix_micros())
            .fetch_optional(&self.reader)
            .await?;
        Ok(row.map(|row| row.try_get("email")).transpose()?)
    }

    /// Logs out; answers the cookies without the session's.
    pub(crate) async fn end(&self, jar: CookieJar) -> Result<CookieJar, BoxError> {
        if let Some(cookie) = jar.get(COOKIE) {
            sqlx::query(END)
                .bind(digest(cookie.value()))
                .execute(&self.writer)
                .await?;
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

fn digest(id: &str) -> Vec<u8> {
    Sha256::digest(id).to_vec()
}
