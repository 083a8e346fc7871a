//! Google reCAPTCHA, versions 2 and 3: `POST /recaptcha/api/siteverify`.

use async_trait::async_trait;
use password_reset::account::Client;
use password_reset::error::BoxError;
use password_reset::human::{Flaw, HumanCheck, Proof, Verdict};
use secrecy::SecretString;

use super::{SiteVerify, made_for, told};
use crate::api::nameless;
use crate::endpoint::check_name;
use crate::error::ConfigError;
use crate::post::HttpPost;

const BASE: &str = "https://www.google.com";
const PATH: &str = "/recaptcha/api/siteverify";

/// A [`HumanCheck`] by reCAPTCHA: the box of version 2, or the score of version 3.
///
/// ```no_run
/// use std::time::Duration;
///
/// use password_reset_http::{Recaptcha, ReqwestPost};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let http = ReqwestPost::with_timeout(Duration::from_secs(5))?;
/// let secret = std::env::var("RECAPTCHA_SECRET")?;
/// let check = Recaptcha::v3(http, secret.into(), "app.example.com", "reset", 0.5)?;
/// # drop(check); Ok(()) }
/// ```
pub struct Recaptcha {
    verify: SiteVerify,
    scored: Option<(Box<str>, f64)>,
}

nameless!(Recaptcha);
told!(Recaptcha);

impl Recaptcha {
    /// Version 2, with the secret key, and the host whose pages have the box.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::Key`].
    /// - [`ConfigError::Name`] for anything but a plain host name.
    pub fn v2(http: impl HttpPost, secret: SecretString, host: &str) -> Result<Self, ConfigError> {
        Ok(Self {
            verify: SiteVerify::new(http, BASE, PATH, secret, host)?,
            scored: None,
        })
    }

    /// Version 3: only proofs made for this action, with at least this score. The score goes from
    /// 0, a program, to 1, a human; 0.5 is where Google starts.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::Key`].
    /// - [`ConfigError::Name`] for a host or an action that is no plain name, and for a score that
    ///   is not from 0 to 1.
    pub fn v3(
        http: impl HttpPost,
        secret: SecretString,
        host: &str,
        action: &str,
        score: f64,
    ) -> Result<Self, ConfigError> {
        check_name("action", action)?;
        if !(0.0..=1.0).contains(&score) {
            return Err(ConfigError::Name { what: "score" });
        }
        Ok(Self {
            scored: Some((action.into(), score)),
            ..Self::v2(http, secret, host)?
        })
    }
}

#[async_trait]
impl HumanCheck for Recaptcha {
    async fn check(&self, proof: &Proof, client: &Client) -> Result<Verdict, BoxError> {
        let said = match self.verify.ask(proof, client, &[]).await? {
            Ok(said) => said,
            Err(flaw) => return Ok(Verdict::Refuse(flaw)),
        };
        let Some((action, least)) = &self.scored else {
            return Ok(Verdict::Accept);
        };
        match said.score {
            Some(score) if score >= *least => Ok(made_for(said.action.as_deref(), Some(action))),
            // A key of version 2 gives no score.
            _ => Ok(Verdict::Refuse(Flaw::LowScore)),
        }
    }
}
