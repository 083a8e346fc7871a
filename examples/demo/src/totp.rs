//! The second factor: an authenticator app's codes (RFC 6238), at login and between a link and the
//! new password.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::State;
use axum::middleware::from_fn;
use axum::response::Html;
use axum::routing::get;
use password_reset::account::UserId;
use password_reset::async_trait;
use password_reset::error::BoxError;
use password_reset::recovery::{FactorResponse, RecoveryAttempt, SecondFactor, SecondFactorCheck};
use totp_rs::{Builder, Secret};

use crate::database::{Pools, Value};
use crate::problem::Problem;
use crate::{keys, origin, pages, users};

/// Who has one from the start.
pub(crate) const OWNER: &str = "hedy@example.com";

const SECRET: &str =
    "SELECT totp_secret FROM users WHERE id = ?1 AND totp_secret IS NOT NULL AND NOT disabled";
const OWNERS: &str = "SELECT totp_secret FROM users WHERE email = ?1 AND totp_secret IS NOT NULL";
// Compares and marks as used in one statement: of two who come with one code at the same time, one
// gets on, and what somebody saw over a shoulder is worth nothing (RFC 6238, 5.2).
const USE: &str = "UPDATE users SET totp_step = ?1 WHERE id = ?2 AND totp_step < ?3";

/// The columns `totp_secret` and `totp_step`. An application encrypts the secrets with a key that the
/// database does not know.
#[derive(Clone)]
pub(crate) struct Totp {
    pools: Pools,
}

impl Totp {
    pub(crate) fn new(pools: &Pools) -> Self {
        Self {
            pools: pools.clone(),
        }
    }

    /// The second factor of an account, if it has one.
    pub(crate) async fn of(&self, user: &UserId) -> Result<Option<Factor>, BoxError> {
        let owner = users::key(user).ok_or("an id that is no number")?;
        let Some(secret) = self.pools.text(SECRET, [Value::Int(owner)]).await? else {
            return Ok(None);
        };
        Ok(Some(Factor {
            pools: self.pools.clone(),
            owner,
            app: app(&secret)?,
        }))
    }
}

/// One account's second factor, at login and at a reset.
pub(crate) struct Factor {
    pools: Pools,
    owner: i64,
    app: totp_rs::Totp,
}

impl Factor {
    /// Takes each code once, from half a minute before its time to half a minute after it, with
    /// spaces in it or without.
    pub(crate) async fn take(&self, typed: &FactorResponse) -> Result<bool, BoxError> {
        let Some(code) = typed.digits() else {
            return Ok(false);
        };
        let Some(step) = self.app.check(&code, now()) else {
            return Ok(false);
        };
        let step = i64::try_from(step)?;
        let values = [Value::Int(step), Value::Int(self.owner), Value::Int(step)];
        Ok(self.pools.execute(USE, values).await? > 0)
    }
}

/// The flow counts the tries, and binds the proof to the link.
#[async_trait]
impl SecondFactorCheck for Totp {
    async fn check(
        &self,
        attempt: &RecoveryAttempt<'_>,
        response: &FactorResponse,
    ) -> Result<Option<SecondFactor>, BoxError> {
        let Some(factor) = self.of(&attempt.account.id).await? else {
            return Ok(None);
        };
        let right = factor.take(response).await?;
        Ok(right.then_some(SecondFactor::Device))
    }
}

/// A new secret, in Base32 as apps take it.
pub(crate) fn secret() -> Result<String, BoxError> {
    Ok(Secret::from(keys::random::<20>()?).to_base32())
}

/// What an authenticator app reads out of a QR code.
pub(crate) fn url(secret: &str) -> String {
    format!("otpauth://totp/Demo:{OWNER}?secret={secret}&issuer=Demo")
}

/// The app, as far as the demo has one: SHA-1, six digits, half a minute, as all of them have.
fn app(secret: &str) -> Result<totp_rs::Totp, BoxError> {
    let secret = Secret::try_from_base32(secret)?;
    Ok(Builder::new().with_secret(secret).build()?)
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Stands in for a telephone: on a loopback address only, as with the mailbox.
pub(crate) fn router(totp: Totp) -> Router {
    Router::new()
        .route("/dev/totp", get(telephone))
        .layer(from_fn(origin::refuse_other_hosts))
        .with_state(totp)
}

async fn telephone(State(totp): State<Totp>) -> Result<Html<String>, Problem> {
    let owner = Value::Text(OWNER.to_owned());
    let secret = totp.pools.text(OWNERS, [owner]).await;
    let secret = secret.map_err(BoxError::from)?;
    let code = match secret {
        Some(secret) => Some(app(&secret)?.generate(now()).to_string()),
        None => None,
    };
    Ok(pages::telephone(OWNER, code.as_deref()))
}
