//! The routes, and what their handlers share.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum_extra::extract::CookieJar;
use password_reset::account::UserStore;
use password_reset_web::{MAX_BODY_BYTES, ResetWeb, add_page_headers};

use crate::login::Logins;
use crate::mailbox::{self, Mailbox};
use crate::problem::Problem;
use crate::sessions::Sessions;
use crate::totp::Totp;
use crate::{activity, login, pages, totp};

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct App {
    /// The pages for a forgotten password, ready-made.
    pub(crate) web: ResetWeb,
    pub(crate) users: Arc<dyn UserStore>,
    pub(crate) sessions: Sessions,
    pub(crate) logins: Logins,
    pub(crate) totp: Totp,
}

/// What only the demo has, for this machine only: everybody's mail, everything that happened, and a
/// telephone.
pub(crate) struct Dev {
    pub(crate) mailbox: Mailbox,
    pub(crate) activity: activity::View,
    pub(crate) totp: Totp,
}

impl Dev {
    fn router(self) -> Router {
        mailbox::router(self.mailbox)
            .merge(activity::router(self.activity))
            .merge(totp::router(self.totp))
    }
}

/// All routes; those for the developer only where they may be shown.
pub(crate) fn router(app: App, dev: Option<Dev>) -> Router {
    let own = Router::new()
        .route("/", get(home))
        .route("/login", get(login::form).post(login::log_in))
        .route("/logout", post(login::log_out))
        .route("/robots.txt", get(robots))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(app.clone());
    own.merge(dev.map(Dev::router).unwrap_or_default())
        .fallback(async || Problem::NotFound)
        .layer(from_fn_with_state(app.clone(), guard))
        // Merged last: these pages guard themselves.
        .merge(password_reset_web::axum::router(app.web))
}

/// What surrounds the demo's own pages: the same as the ready-made ones have.
async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut response = if request.method().is_safe() || app.web.is_own_origin(request.headers()) {
        next.run(request).await
    } else {
        Problem::CrossSite.into_response()
    };
    add_page_headers(response.headers_mut(), app.web.is_https());
    response
}

async fn home(State(app): State<App>, jar: CookieJar) -> Result<Html<String>, Problem> {
    Ok(pages::home(app.sessions.who(&jar).await?.as_deref()))
}

/// Names paths only; a token in here would be an invitation (R79).
async fn robots(State(app): State<App>) -> String {
    format!(
        "User-agent: *\nDisallow: /login\n{}",
        app.web.paths().robots()
    )
}
