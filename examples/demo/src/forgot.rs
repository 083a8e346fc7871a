//! "I forgot my password."

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, State};
use axum::response::Html;
use password_reset::account::{Client, Identifier};
use password_reset::flow::RequestError;
use serde::Deserialize;

use crate::app::App;
use crate::form::StrictForm;
use crate::pages;
use crate::problem::Problem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForgotForm {
    identifier: String,
}

pub(crate) async fn form() -> Html<String> {
    pages::forgot()
}

/// Takes the request, and answers everybody alike. Who has an account is found out later, by the
/// worker, and told to nobody but the account's own mailbox.
pub(crate) async fn request(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    StrictForm(form): StrictForm<ForgotForm>,
) -> Result<Html<String>, Problem> {
    // What cannot be an identifier belongs to nobody, and nobody gets this same answer.
    if let Ok(identifier) = Identifier::parse(&form.identifier) {
        match app.flow.request(&identifier, &client(peer)).await {
            Ok(_) => {}
            Err(RequestError::RateLimited { retry_after }) => {
                return Err(Problem::TooMany { retry_after });
            }
            Err(_) => return Err(Problem::Unavailable),
        }
    }
    Ok(pages::asked())
}

/// The address of the connection. No header is read: `X-Forwarded-For` says what its sender likes
/// (R37, W53). Behind a proxy, take the field that *your* proxy sets and strips.
pub(crate) fn client(peer: SocketAddr) -> Client {
    Client::from_ip(peer.ip())
}
