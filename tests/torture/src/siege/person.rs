//! Somebody who has forgotten a password, and wants to get in.

use std::time::Duration;

use password_reset::error::BoxError;
use tokio::time::sleep;

use crate::facts::address;
use crate::siege::site::{Method, Outcome, Site};

/// How long a mail is waited for.
const PATIENCE: f64 = 30.0;
const EVERY: Duration = Duration::from_millis(100);

/// How it went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visit {
    /// When they asked, in seconds since the beginning.
    pub(crate) asked: f64,
    /// What they were answered.
    pub(crate) outcome: Outcome,
    /// How long until they were logged in; `None` when they were not.
    pub(crate) lasted: Option<f64>,
}

/// Asks, waits for the mail, sets a new password, and logs in.
pub(crate) async fn visit(site: &Site, account: u32, source: &str) -> Result<Visit, BoxError> {
    let asked = site.seconds();
    let address = address(account);
    let (outcome, _) = site.ask(source, &address, Method::Link, true).await;
    let token = match outcome {
        Outcome::Accepted => link(site, &address).await?,
        _ => None,
    };
    let is_in = match token {
        Some(token) => choose(site, &address, source, &token).await,
        None => false,
    };
    Ok(Visit {
        asked,
        outcome,
        lasted: is_in.then(|| site.seconds() - asked),
    })
}

/// With a link that was mailed before.
pub(crate) async fn return_later(
    site: &Site,
    account: u32,
    source: &str,
) -> Result<Visit, BoxError> {
    let asked = site.seconds();
    let address = address(account);
    let is_in = match link(site, &address).await? {
        Some(token) => choose(site, &address, source, &token).await,
        None => false,
    };
    Ok(Visit {
        asked,
        outcome: Outcome::Accepted,
        lasted: is_in.then(|| site.seconds() - asked),
    })
}

/// Waits for a link.
async fn link(site: &Site, address: &str) -> Result<Option<String>, BoxError> {
    let began = site.seconds();
    while site.seconds() - began < PATIENCE {
        let letters = site.letters().await?;
        let mine = letters.iter().find(|letter| letter.to == address);
        if let Some(token) = mine.and_then(|letter| letter.token()) {
            return Ok(Some(token.to_owned()));
        }
        sleep(EVERY).await;
    }
    Ok(None)
}

/// Whether the new password was set, and logs in.
async fn choose(site: &Site, address: &str, source: &str, token: &str) -> bool {
    let password = format!("{:032x}", fastrand::u128(..));
    site.set_password(source, token, &password).await
        && site.logs_in(source, address, &password).await
}
