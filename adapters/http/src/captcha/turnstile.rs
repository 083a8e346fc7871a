//! Cloudflare Turnstile: `POST /turnstile/v0/siteverify`.

use async_trait::async_trait;
use password_reset::account::Client;
use password_reset::error::BoxError;
use password_reset::human::{HumanCheck, Proof, Verdict};
use secrecy::SecretString;

use super::{SiteVerify, made_for, told};
use crate::api::nameless;
use crate::endpoint::check_name;
use crate::error::ConfigError;
use crate::post::HttpPost;

const BASE: &str = "https://challenges.cloudflare.com";
const PATH: &str = "/turnstile/v0/siteverify";

/// A [`HumanCheck`] by Cloudflare Turnstile.
///
/// ```no_run
/// use std::time::Duration;
///
/// use password_reset::flow::Builder;
/// use password_reset::human::When;
/// use password_reset_http::{ReqwestPost, Turnstile};
///
/// fn guarded(flow: Builder) -> Result<Builder, Box<dyn std::error::Error>> {
///     // Somebody waits for the answer: five seconds are enough.
///     let http = ReqwestPost::with_timeout(Duration::from_secs(5))?;
///     let secret = std::env::var("TURNSTILE_SECRET")?;
///     let check = Turnstile::new(http, secret.into(), "app.example.com")?.action("reset")?;
///     Ok(flow.human(check, When::Always))
/// }
/// ```
pub struct Turnstile {
    verify: SiteVerify,
    action: Option<Box<str>>,
    cdata: Option<Box<str>>,
}

nameless!(Turnstile);
told!(Turnstile);

impl Turnstile {
    /// With the widget's secret key, and the host whose pages have the widget.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::Key`].
    /// - [`ConfigError::Name`] for anything but a plain host name.
    pub fn new(http: impl HttpPost, secret: SecretString, host: &str) -> Result<Self, ConfigError> {
        Ok(Self {
            verify: SiteVerify::new(http, BASE, PATH, secret, host)?,
            action: None,
            cdata: None,
        })
    }

    /// Takes proofs only that the widget made under this `data-action`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Name`].
    pub fn action(mut self, action: &str) -> Result<Self, ConfigError> {
        check_name("action", action)?;
        self.action = Some(action.into());
        Ok(self)
    }

    /// Takes proofs only that the widget made with this `data-cdata`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Name`].
    pub fn cdata(mut self, cdata: &str) -> Result<Self, ConfigError> {
        check_name("cdata", cdata)?;
        self.cdata = Some(cdata.into());
        Ok(self)
    }
}

#[async_trait]
impl HumanCheck for Turnstile {
    async fn check(&self, proof: &Proof, client: &Client) -> Result<Verdict, BoxError> {
        let said = match self.verify.ask(proof, client, &[]).await? {
            Ok(said) => said,
            Err(flaw) => return Ok(Verdict::Refuse(flaw)),
        };
        let action = made_for(said.action.as_deref(), self.action.as_deref());
        match action {
            Verdict::Accept => Ok(made_for(said.cdata.as_deref(), self.cdata.as_deref())),
            refused => Ok(refused),
        }
    }
}
