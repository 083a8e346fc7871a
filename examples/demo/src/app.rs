//! The routes, and what their handlers share.

use std::sync::Arc;

use axum::extract::State;
use axum::middleware::{from_fn, map_response};
use axum::response::{Html, IntoResponse, Redirect};
use axum::routing::{get, post};
use axum::{Router, http::header};
use axum_extra::extract::CookieJar;
use password_reset::ResetFlow;
use password_reset::account::UserStore;

use crate::login::Logins;
use crate::mailbox::{self, Mailbox};
use crate::problem::Problem;
use crate::sessions::Sessions;
use crate::{forgot, headers, login, origin, pages, reset};

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) flow: ResetFlow,
    pub(crate) users: Arc<dyn UserStore>,
    pub(crate) sessions: Sessions,
    pub(crate) logins: Logins,
}

/// All routes; the mailbox's only where there is one to show.
pub(crate) fn router(app: App, mailbox: Option<Mailbox>) -> Router {
    let router = Router::new()
        .route("/", get(home))
        .route("/login", get(login::form).post(login::log_in))
        .route("/logout", post(login::log_out))
        .route("/forgot-password", get(forgot::form).post(forgot::request))
        .route("/reset-password", get(reset::open).post(reset::complete))
        .route("/.well-known/change-password", get(change_password))
        .route("/robots.txt", get(robots))
        .route("/style.css", get(style))
        .with_state(app);
    router
        .merge(mailbox.map(mailbox::router).unwrap_or_default())
        .fallback(async || Problem::NotFound)
        .layer(from_fn(origin::refuse_cross_site))
        // Last, so that it is outermost: no answer leaves without the headers.
        .layer(map_response(headers::add))
}

async fn home(State(app): State<App>, jar: CookieJar) -> Result<Html<String>, Problem> {
    Ok(pages::home(app.sessions.who(&jar).await?.as_deref()))
}

/// Where password managers look for the page that changes a password. Never permanent: the page
/// may move (R84).
async fn change_password() -> Redirect {
    Redirect::to("/forgot-password")
}

/// Names paths only; a token in here would be an invitation (R79).
async fn robots() -> &'static str {
    "User-agent: *\nDisallow: /login\nDisallow: /forgot-password\nDisallow: /reset-password\n"
}

async fn style() -> impl IntoResponse {
    let css = [(header::CONTENT_TYPE, "text/css; charset=utf-8")];
    (css, include_str!("style.css"))
}
