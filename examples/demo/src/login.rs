//! Logging in and out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum_extra::extract::CookieJar;
use password_reset::Timestamp;
use password_reset::account::{Account, Client, Credential, Identifier, Status};
use password_reset::error::BoxError;
use password_reset::limit::{Decision, LimitKey, Quota, RateLimiter};
use password_reset::password::{Candidate, HashPool, PasswordHash, Policy, PoolError};
use password_reset::secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::app::App;
use crate::form::{StrictForm, secret};
use crate::keys;
use crate::pages;
use crate::problem::Problem;

const MINUTE: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoginForm {
    identifier: String,
    #[serde(deserialize_with = "secret")]
    password: SecretString,
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
    let (Ok(identifier), Ok(candidate)) = (
        Identifier::parse(&form.identifier),
        Candidate::parse(form.password.expose_secret()),
    ) else {
        return Ok(wrong());
    };
    let client = app.web.client(&headers, Some(peer.ip()));
    app.logins.charge(&identifier, &client).await?;
    let account = app.users.find(&identifier).await?;
    let Some((account, stored)) = app.logins.check(account, candidate).await? else {
        return Ok(wrong());
    };
    match app.sessions.start(&account.id, &stored).await? {
        Some(session) => Ok((jar.add(session), Redirect::to("/")).into_response()),
        None => Ok(wrong()),
    }
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

/// Checks passwords, not too often.
#[derive(Clone)]
pub(crate) struct Logins {
    limiter: Arc<dyn RateLimiter>,
    /// Shared with the reset, so that a flood of logins and one of resets have one bound.
    hashing: HashPool,
    /// What is checked where there is no account.
    nobody: PasswordHash,
    /// Keys the limiter's buckets, so that its table names nobody.
    secret: [u8; 32],
}

impl Logins {
    pub(crate) async fn new(
        limiter: Arc<dyn RateLimiter>,
        hashing: HashPool,
        policy: &Policy,
    ) -> Result<Self, BoxError> {
        let nobodys = policy.parse(&keys::readable_password()?, &Default::default())?;
        Ok(Self {
            limiter,
            nobody: hashing.hash(nobodys).await?,
            hashing,
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
            let key = self.key(label, &subject);
            let now = Timestamp::from(SystemTime::now());
            // A limiter that fails denies.
            match self.limiter.check(&key, &quota, now).await? {
                Decision::Allow => {}
                Decision::Deny { retry_after } => return Err(Problem::TooMany { retry_after }),
            }
        }
        Ok(())
    }

    /// The account, if this is its password. Takes as long where there is no account (W47).
    async fn check(
        &self,
        account: Option<Account>,
        candidate: Candidate,
    ) -> Result<Option<(Account, PasswordHash)>, Problem> {
        let known = account.and_then(|account| match &account.credential {
            Credential::Password(hash) if account.status == Status::Active => {
                let hash = hash.clone();
                Some((account, hash))
            }
            _ => None,
        });
        let stored = known.as_ref().map_or(&self.nobody, |(_, hash)| hash);
        match self.hashing.verify(candidate, stored.clone()).await {
            Ok(right) => Ok(known.filter(|_| right)),
            Err(PoolError::Busy) => Err(Problem::Unavailable),
            Err(error) => Err(BoxError::from(error).into()),
        }
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
