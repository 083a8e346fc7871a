//! Logging in and out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum_extra::extract::CookieJar;
use password_reset::Timestamp;
use password_reset::account::{Client, Credential, Identifier, Status, Swap, UserId, UserStore};
use password_reset::error::BoxError;
use password_reset::limit::{Decision, LimitKey, Quota, RateLimiter};
use password_reset::password::{Candidate, HashPool, Login, LoginVerifier, PasswordHash};
use password_reset::recovery::FactorResponse;
use password_reset::secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::app::App;
use crate::form::{StrictForm, secret};
use crate::keys;
use crate::pages;
use crate::problem::Problem;
use crate::totp::Factor;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// A code is one of a million, and three are good at a time: who guesses for a year finds one in
/// one case of a hundred.
const CODES_A_DAY: u32 = 8;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoginForm {
    identifier: String,
    #[serde(deserialize_with = "secret")]
    password: SecretString,
    /// Of the second factor; empty where there is none.
    #[serde(default)]
    code: String,
}

pub(crate) async fn form() -> Html<String> {
    pages::login(false)
}

pub(crate) async fn log_in(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    jar: CookieJar,
    StrictForm(form): StrictForm<LoginForm>,
) -> Result<Response, Problem> {
    // Never an account, whoever asks: no hash has to be spent to hide that.
    let Ok(identifier) = Identifier::parse(&form.identifier) else {
        return Ok(wrong());
    };
    let client = app.web.client(&headers, Some(peer.ip()));
    app.logins.charge(&identifier, &client).await?;
    // Once more, where another login of the same person renewed the hash at that moment.
    for _ in 0..2 {
        let Ok(candidate) = Candidate::parse(form.password.expose_secret()) else {
            break;
        };
        match app
            .logins
            .check(&*app.users, &identifier, candidate)
            .await?
        {
            Checked::Wrong => break,
            Checked::Stale => {}
            Checked::Right(user, stored) => {
                // One form, one answer: who has the password hears nothing of it without the code,
                // and there is no half of a login to be stolen.
                if let Some(factor) = app.totp.of(&user).await?
                    && !app.logins.prove(&factor, &form.code, &stored).await?
                {
                    break;
                }
                let Some(session) = app.sessions.start(&user, &stored).await? else {
                    break;
                };
                return Ok((jar.add(session), Redirect::to("/")).into_response());
            }
        }
    }
    Ok(wrong())
}

pub(crate) async fn log_out(
    State(app): State<App>,
    jar: CookieJar,
) -> Result<(CookieJar, Redirect), Problem> {
    Ok((app.sessions.end(jar).await?, Redirect::to("/")))
}

fn wrong() -> Response {
    let page = pages::login(true);
    (StatusCode::UNAUTHORIZED, page).into_response()
}

/// What there is to say about a password.
enum Checked {
    Wrong,
    /// Whose it is, and the hash that the account has now.
    Right(UserId, PasswordHash),
    /// It was right, and the account has changed since.
    Stale,
}

/// Checks passwords, not too often.
#[derive(Clone)]
pub(crate) struct Logins {
    limiter: Arc<dyn RateLimiter>,
    /// On the pool of the reset, so that a flood of logins and one of resets have one bound.
    passwords: LoginVerifier,
    /// Keys the limiter's buckets, so that its table names nobody. An application takes it from where
    /// its other secrets are: what was counted then outlives a restart, and counts in every process.
    secret: [u8; 32],
}

impl Logins {
    pub(crate) async fn new(
        limiter: Arc<dyn RateLimiter>,
        hashing: HashPool,
    ) -> Result<Self, BoxError> {
        Ok(Self {
            limiter,
            passwords: LoginVerifier::new(hashing).await?,
            secret: keys::random()?,
        })
    }

    /// Charges the source and the identifier, known or not.
    async fn charge(&self, identifier: &Identifier, client: &Client) -> Result<(), Problem> {
        let source = format!("{:?}", client.prefix());
        let name = identifier.canonical();
        for (label, subject, quota) in [
            ("source", source, Quota::new(60, MINUTE)),
            // Grows back by one in six seconds, so guessing is slow. Whoever knocks all the time
            // takes the owner's turns as well; a real login asks for more than a counter then.
            ("identifier", name, Quota::new(10, MINUTE)),
        ] {
            match self.turn(label, &subject, quota).await? {
                Decision::Allow => {}
                Decision::Deny { retry_after } => return Err(Problem::TooMany { retry_after }),
            }
        }
        Ok(())
    }

    /// Whether this is the code of the second factor. Who asks knows the password already, so tries
    /// are few, and right ones count too. When they are used up, the right code is a wrong one: any
    /// other answer would tell that the password was right.
    async fn prove(
        &self,
        factor: &Factor,
        typed: &str,
        checked: &PasswordHash,
    ) -> Result<bool, Problem> {
        // An empty field is no try.
        let Ok(typed) = FactorResponse::parse(typed) else {
            return Ok(false);
        };
        // The hash has its salt, so it is one account's. With a new password the owner begins anew,
        // and whoever used up the tries cannot follow.
        let quota = Quota::new(CODES_A_DAY, DAY);
        let turn = self.turn("code", checked.expose(), quota).await?;
        Ok(turn == Decision::Allow && factor.take(&typed).await?)
    }

    /// A limiter that fails denies.
    async fn turn(&self, label: &str, subject: &str, quota: Quota) -> Result<Decision, Problem> {
        let now = Timestamp::from(SystemTime::now());
        let key = self.key(label, subject);
        Ok(self.limiter.check(&key, &quota, now).await?)
    }

    /// Takes as long where there is no account (W47). An old hash is replaced by a new one.
    async fn check(
        &self,
        users: &dyn UserStore,
        identifier: &Identifier,
        candidate: Candidate,
    ) -> Result<Checked, Problem> {
        let account = users.find(identifier).await?;
        let known = account.and_then(|account| match account.credential {
            Credential::Password(hash) if account.status == Status::Active => {
                Some((account.id, hash))
            }
            _ => None,
        });
        let stored = known.as_ref().map(|(_, hash)| hash);
        let login = match self.passwords.verify(candidate, stored).await {
            Ok(login) => login,
            Err(error) if error.is_transient() => return Err(Problem::Unavailable),
            Err(error) => {
                // Only an account has a hash that cannot be judged: the operator is told, and the
                // visitor what everyone is told.
                tracing::error!(error = &error as &dyn std::error::Error, "login");
                Login::Wrong
            }
        };
        let (Login::Right { rehashed }, Some((user, old))) = (login, known) else {
            return Ok(Checked::Wrong);
        };
        let Some(new) = rehashed else {
            return Ok(Checked::Right(user, old));
        };
        // Only over the hash that was checked: a reset that came meanwhile stays.
        let expected = Credential::Password(old);
        Ok(match users.set_password(&user, &expected, &new).await? {
            Swap::Done => Checked::Right(user, new),
            Swap::Stale => Checked::Stale,
        })
    }

    fn key(&self, label: &str, subject: &str) -> LimitKey {
        let digest = Sha256::new()
            .chain_update(self.secret)
            .chain_update(label)
            .chain_update([0])
            .chain_update(subject)
            .finalize();
        LimitKey::from_bytes(digest.into())
    }
}

/// A row of an older system meets a login.
#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used, reason = "tests may panic")]

    use password_reset::limit::Unlimited;
    use password_reset::password::legacy::Bcrypt;
    use password_reset::password::{Argon2id, MigratingHasher};

    use super::*;
    use crate::database::Pools;
    use crate::database::tests::Scratch;
    use crate::users;

    const HASH: &str = "SELECT password_hash FROM users WHERE email = 'grace@example.com'";

    fn store(pools: Pools) -> Arc<dyn UserStore> {
        match pools {
            Pools::Sqlite { writer, reader } => Arc::new(users::store(writer).reader(reader)),
            Pools::Postgres(pool) => Arc::new(users::store(pool)),
            Pools::MySql(pool) => Arc::new(users::store(pool)),
        }
    }

    async fn renewed(scratch: Option<Scratch>) {
        let Some(scratch) = scratch else { return };
        let pools = &scratch.pools;
        let bcrypt = bcrypt::hash("a quiet harbour", 4).unwrap();
        assert!(users::seed_grace(pools, bcrypt.clone()).await.unwrap());
        let hash = async || pools.text(HASH, []).await.unwrap().unwrap();

        let users = store(pools.clone());
        let hasher = MigratingHasher::new(Argon2id::default()).accept(Bcrypt::default());
        let hashing = HashPool::new(hasher).unwrap();
        let logins = Logins::new(Arc::new(Unlimited), hashing).await.unwrap();
        let grace = Identifier::parse("grace@example.com").unwrap();
        let log_in = async |typed: &str| {
            let candidate = Candidate::parse(typed).unwrap();
            let checked = logins.check(&*users, &grace, candidate).await;
            checked.unwrap_or_else(|_| panic!("unavailable"))
        };

        assert!(matches!(log_in("a quiet harbor").await, Checked::Wrong));
        assert_eq!(hash().await, bcrypt);
        let Checked::Right(_, new) = log_in("a quiet harbour").await else {
            panic!("refused");
        };
        assert!(new.expose().starts_with("$argon2id$"));
        assert_eq!(hash().await, new.expose());
        // And that is that: the next login changes nothing.
        assert!(matches!(
            log_in("a quiet harbour").await,
            Checked::Right(..)
        ));
        assert_eq!(hash().await, new.expose());
        assert!(matches!(log_in("a quiet harbor").await, Checked::Wrong));
    }

    #[tokio::test]
    async fn an_old_hash_is_renewed_when_its_owner_logs_in() {
        renewed(Some(Scratch::sqlite().await)).await;
    }

    #[tokio::test]
    async fn an_old_hash_is_renewed_when_its_owner_logs_in_on_postgresql() {
        renewed(Scratch::postgres().await).await;
    }

    #[tokio::test]
    async fn an_old_hash_is_renewed_when_its_owner_logs_in_on_mariadb() {
        renewed(Scratch::mysql().await).await;
    }
}
