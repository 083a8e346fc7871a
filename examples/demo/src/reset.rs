//! The link is opened, and a new password is chosen.

use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum_extra::extract::CookieJar;
use axum_extra::extract::cookie::{Cookie, SameSite};
use password_reset::flow::{CompleteError, VerifyError};
use password_reset::password::{PasswordRejected, Policy};
use password_reset::secrecy::{ExposeSecret, SecretString};
use password_reset::token::PresentedToken;
use serde::Deserialize;

use crate::app::App;
use crate::forgot::client;
use crate::form::{StrictForm, secret};
use crate::pages;
use crate::problem::Problem;

const COOKIE: &str = "reset";
const PATH: &str = "/reset-password";

// Other fields are let through: mail providers add their own to links.
#[derive(Deserialize)]
pub(crate) struct Link {
    token: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResetForm {
    #[serde(deserialize_with = "secret")]
    password: SecretString,
}

/// Shows the form, and spends nothing: mail scanners open every link before its owner does (W36).
///
/// A link comes here twice. First with the token in its address, which is moved into a cookie at
/// once, so that it stays in no history, log or `Referer` (R81). Then without it.
pub(crate) async fn open(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    jar: CookieJar,
    link: Result<Query<Link>, QueryRejection>,
) -> Result<Response, Problem> {
    let token = match link {
        Ok(Query(Link { token })) => token,
        // Two tokens are no token.
        Err(_) => return Ok((StatusCode::GONE, pages::dead_link(false)).into_response()),
    };
    if let Some(token) = token {
        // Only what has the form of a token goes into a cookie; whether it is one is found out on
        // the clean address.
        return Ok(match PresentedToken::parse(&token) {
            Ok(_) => {
                let jar = jar.add(cookie(token, app.flow.link_life()));
                (jar, Redirect::to(PATH)).into_response()
            }
            // A cookie from before stays: any page can send a browser here with nonsense.
            Err(_) => (StatusCode::GONE, pages::dead_link(false)).into_response(),
        });
    }
    let Some(token) = jar.get(COOKIE) else {
        return Ok(dead_link(jar, false));
    };
    match app.flow.verify(token.value(), &client(peer)).await {
        Ok(verified) => {
            let owner = verified.masked_address();
            Ok(pages::reset(app.flow.policy(), owner.as_deref(), None).into_response())
        }
        Err(error) => not_verified(error, jar),
    }
}

/// Sets the new password. Logs nobody in: who can read the mail has not shown to know the password,
/// nor a second factor (R65).
pub(crate) async fn complete(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    jar: CookieJar,
    StrictForm(form): StrictForm<ResetForm>,
) -> Result<Response, Problem> {
    let Some(token) = jar.get(COOKIE) else {
        return Ok(dead_link(jar, false));
    };
    let verified = match app.flow.verify(token.value(), &client(peer)).await {
        Ok(verified) => verified,
        Err(error) => return not_verified(error, jar),
    };
    let owner = verified.masked_address();
    // Judged before anything is spent: the link survives every password that is refused.
    let password = match verified.parse_password(form.password.expose_secret()) {
        Ok(password) => password,
        Err(rejected) => return Ok(try_another(app.flow.policy(), owner.as_deref(), &rejected)),
    };
    // On a task of its own: when the browser hangs up, the change is not cut in the middle. (The
    // worker would finish it, two minutes later.)
    let completed = tokio::spawn(verified.complete(password)).await;
    match completed.map_err(|_| Problem::Uncertain)? {
        // Whatever is not settled yet, such as a notice that could not be queued, the worker
        // finishes. The password is changed.
        Ok(_) => {
            let jar = jar.remove(cookie(String::new(), Duration::ZERO));
            Ok((jar, Redirect::to("/login?reset=done")).into_response())
        }
        Err(CompleteError::Password(rejected)) => {
            Ok(try_another(app.flow.policy(), owner.as_deref(), &rejected))
        }
        Err(CompleteError::Invalid) => Ok(dead_link(jar, false)),
        Err(CompleteError::Expired) => Ok(dead_link(jar, true)),
        Err(CompleteError::InProgress) => Err(Problem::InUse),
        Err(CompleteError::Denied | CompleteError::StepUp) => Err(Problem::Refused),
        Err(CompleteError::Uncertain(_)) => Err(Problem::Uncertain),
        // Busy, and whatever a later version adds. The link is as good as before.
        Err(_) => Err(Problem::Unavailable),
    }
}

fn not_verified(error: VerifyError, jar: CookieJar) -> Result<Response, Problem> {
    match error {
        VerifyError::Invalid => Ok(dead_link(jar, false)),
        VerifyError::Expired => Ok(dead_link(jar, true)),
        VerifyError::InProgress => Err(Problem::InUse),
        VerifyError::RateLimited { retry_after } => Err(Problem::TooMany { retry_after }),
        _ => Err(Problem::Unavailable),
    }
}

/// The end of a link, and the way to a new one.
fn dead_link(jar: CookieJar, expired: bool) -> Response {
    let jar = jar.remove(cookie(String::new(), Duration::ZERO));
    (StatusCode::GONE, jar, pages::dead_link(expired)).into_response()
}

fn try_another(policy: &Policy, owner: Option<&str>, rejected: &PasswordRejected) -> Response {
    let page = pages::reset(policy, owner, Some(rejected));
    (StatusCode::UNPROCESSABLE_ENTITY, page).into_response()
}

/// Holds the token between the link and the form, out of sight of scripts and other sites.
///
/// `Lax`, not `Strict`: the way here begins in a mail, and browsers send no `Strict` cookie along a
/// way that begins elsewhere. A site on https adds `.secure(true)` and calls it `__Secure-reset`
/// (or `__Host-reset`, with the path `/`); over the demo's plain http browsers would drop it.
fn cookie(token: String, life: Duration) -> Cookie<'static> {
    let life = password_reset::time::Duration::try_from(life).unwrap_or_default();
    Cookie::build((COOKIE, token))
        .path(PATH)
        .max_age(life)
        .http_only(true)
        .same_site(SameSite::Lax)
        .build()
}
