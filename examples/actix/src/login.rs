//! A login, and sessions that a reset ends. Left out: second factors, logging out, and the removal
//! of sessions that have expired. `examples/demo` has all three.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use actix_web::cookie::{Cookie, SameSite};
use actix_web::error::ErrorServiceUnavailable;
use actix_web::http::{StatusCode, header};
use actix_web::web::{Data, Form};
use actix_web::{Error, HttpRequest, HttpResponse};
use password_reset::account::{
    Account, Client, Credential, Identifier, Status, Swap, UserId, UserStore,
};
use password_reset::error::BoxError;
use password_reset::limit::{Decision, LimitKey, Quota, RateLimiter};
use password_reset::password::{Candidate, HashPool, Login, LoginVerifier, PasswordHash};
use password_reset_sqlx::SqliteBackend;
use password_reset_sqlx::sqlx::{SqlitePool, query, query_scalar};
use password_reset_web::ResetWeb;
use password_reset_web::actix::headers;
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// Only while the password is still the checked one: a login that began before a reset must not put
/// its session behind the reset that ended all others. SQLite has one writer at a time; in other
/// databases this must lock the user's row too, see `examples/demo/src/sessions.rs`.
const START: &str = "INSERT INTO sessions (id, user_id, expires_at)
    SELECT ?1, id, unixepoch() + 43200 FROM users
    WHERE id = ?2 AND password_hash = ?3 AND NOT disabled";
const WHO: &str = "SELECT users.id FROM sessions JOIN users ON users.id = user_id
    WHERE sessions.id = ?1 AND expires_at > unixepoch() AND NOT disabled";
const MINUTE: Duration = Duration::from_secs(60);

/// What a login needs.
pub(crate) struct Logins {
    web: ResetWeb,
    pool: SqlitePool,
    users: Arc<dyn UserStore>,
    limiter: SqliteBackend,
    /// On the pool of the resets. Takes as long where there is no account.
    passwords: LoginVerifier,
    /// Keys the limiter's buckets, so that its table names nobody.
    secret: String,
}

/// No `Debug`, which would show the password.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoginForm {
    identifier: String,
    password: String,
}

pub(crate) async fn home(at: Data<Logins>, request: HttpRequest) -> Result<HttpResponse, Error> {
    let id = request.cookie(at.cookie()).map(|id| digest(id.value()));
    let who = query_scalar::<_, i64>(WHO).bind(id);
    let who = who.fetch_optional(&at.pool).await.map_err(failed)?;
    let content = match who {
        Some(_) => "<p>You are logged in.</p>",
        None => "<p>You are not logged in.</p><p><a href=\"/login\">Log in</a></p>",
    };
    Ok(at.page(StatusCode::OK, content))
}

pub(crate) async fn form(at: Data<Logins>) -> HttpResponse {
    at.page(StatusCode::OK, include_str!("login.html"))
}

pub(crate) async fn log_in(
    at: Data<Logins>,
    request: HttpRequest,
    Form(form): Form<LoginForm>,
) -> Result<HttpResponse, Error> {
    let peer = request.peer_addr().map(|peer| peer.ip());
    let client = at.web.client(&headers(request.headers()), peer);
    let Ok(identifier) = Identifier::parse(&form.identifier) else {
        return Ok(at.wrong());
    };
    if !at.charge(&identifier, &client).await.map_err(failed)? {
        let wait = "<p>Please wait a minute, then try again.</p>";
        return Ok(at.page(StatusCode::TOO_MANY_REQUESTS, wait));
    }
    let session = at.start(&identifier, &form.password).await;
    let Some(session) = session.map_err(failed)? else {
        return Ok(at.wrong());
    };
    let cookie = Cookie::build(at.cookie(), session)
        .path("/")
        .http_only(true)
        .secure(at.web.is_https())
        .same_site(SameSite::Lax);
    Ok(HttpResponse::SeeOther()
        .cookie(cookie.finish())
        .insert_header((header::LOCATION, "/"))
        .finish())
}

impl Logins {
    pub(crate) async fn new(
        web: ResetWeb,
        pool: SqlitePool,
        users: Arc<dyn UserStore>,
        limiter: SqliteBackend,
        hashing: HashPool,
    ) -> Result<Self, BoxError> {
        Ok(Self {
            passwords: LoginVerifier::new(hashing).await?,
            secret: random::<32>()?,
            web,
            pool,
            users,
            limiter,
        })
    }

    /// Charges the source and the identifier, known or not. A limiter that fails denies.
    async fn charge(&self, who: &Identifier, client: &Client) -> Result<bool, BoxError> {
        for (subject, turns) in [
            (format!("source {:?}", client.prefix()), 60),
            (format!("identifier {}", who.canonical()), 10),
        ] {
            let keyed = Sha256::new()
                .chain_update(&self.secret)
                .chain_update(subject);
            let key = LimitKey::from_bytes(keyed.finalize().into());
            let (quota, now) = (Quota::new(turns, MINUTE), SystemTime::now().into());
            if self.limiter.check(&key, &quota, now).await? != Decision::Allow {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The id of a new session, if this is the account's password; an old hash becomes a new one.
    async fn start(&self, who: &Identifier, typed: &str) -> Result<Option<String>, BoxError> {
        // Once more, where another login of the same person renewed the hash at that moment.
        for _ in 0..2 {
            let Ok(candidate) = Candidate::parse(typed) else {
                break;
            };
            let known = self.users.find(who).await?.and_then(credential);
            let stored = known.as_ref().map(|(_, hash)| hash);
            let login = match self.passwords.verify(candidate, stored).await {
                Err(error) if !error.is_transient() => {
                    // Only an account has a hash that cannot be judged: the visitor is not told.
                    tracing::error!(error = &error as &dyn std::error::Error, "a login failed");
                    Login::Wrong
                }
                login => login?,
            };
            let (Login::Right { rehashed }, Some((user, mut hash))) = (login, known) else {
                break;
            };
            if let Some(new) = rehashed {
                // Only over the hash that was checked: a reset that came meanwhile stays.
                let expected = Credential::Password(hash);
                match self.users.set_password(&user, &expected, &new).await? {
                    Swap::Done => hash = new,
                    Swap::Stale => continue,
                }
            }
            let id = random::<32>()?;
            let start = query(START).bind(digest(&id)).bind(user.as_str());
            let started = start.bind(hash.expose()).execute(&self.pool).await?;
            return Ok((started.rows_affected() > 0).then_some(id));
        }
        Ok(None)
    }

    /// `__Host-`: taken over https only, and from nobody but this host.
    fn cookie(&self) -> &'static str {
        match self.web.is_https() {
            true => "__Host-session",
            false => "session",
        }
    }

    fn wrong(&self) -> HttpResponse {
        let wrong = "<p role=\"alert\">The address or the password is wrong.</p>";
        let content = format!("{wrong}{}", include_str!("login.html"));
        self.page(StatusCode::UNAUTHORIZED, &content)
    }

    /// Nothing that anybody typed is put into a page; escape it if you do.
    fn page(&self, status: StatusCode, content: &str) -> HttpResponse {
        let page = include_str!("page.html").replace("{style}", self.web.style());
        HttpResponse::build(status)
            .content_type("text/html; charset=utf-8")
            .body(page.replace("{content}", content))
    }
}

fn credential(account: Account) -> Option<(UserId, PasswordHash)> {
    match (account.status, account.credential) {
        (Status::Active, Credential::Password(hash)) => Some((account.id, hash)),
        _ => None,
    }
}

/// Who reads the table of sessions can log in nowhere.
fn digest(id: &str) -> Vec<u8> {
    Sha256::digest(id).to_vec()
}

/// Random bytes from the operating system, as hexadecimal digits.
pub(crate) fn random<const N: usize>() -> Result<String, BoxError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The operator is told what failed, the visitor that something did.
fn failed(error: impl Into<BoxError>) -> Error {
    let error = error.into();
    tracing::error!(
        error = &*error as &(dyn std::error::Error + 'static),
        "a login failed"
    );
    ErrorServiceUnavailable("Not available at this moment; please try again.")
}

#[cfg(test)]
mod tests;
