//! hCaptcha: `POST /siteverify`.

use async_trait::async_trait;
use password_reset::account::Client;
use password_reset::error::BoxError;
use password_reset::human::{HumanCheck, Proof, Verdict};
use secrecy::SecretString;

use super::{SiteVerify, told};
use crate::api::nameless;
use crate::endpoint::check_name;
use crate::error::ConfigError;
use crate::post::HttpPost;

const BASE: &str = "https://api.hcaptcha.com";
const PATH: &str = "/siteverify";

/// A [`HumanCheck`] by hCaptcha.
///
/// ```no_run
/// use std::time::Duration;
///
/// use password_reset_http::{HCaptcha, ReqwestPost};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let http = ReqwestPost::with_timeout(Duration::from_secs(5))?;
/// let secret = std::env::var("HCAPTCHA_SECRET")?;
/// let site = "10000000-ffff-ffff-ffff-000000000001";
/// let check = HCaptcha::new(http, secret.into(), site, "app.example.com")?;
/// # drop(check); Ok(()) }
/// ```
pub struct HCaptcha {
    verify: SiteVerify,
    site_key: Box<str>,
}

nameless!(HCaptcha);
told!(HCaptcha);

impl HCaptcha {
    /// With the account's secret, the key of the site, so that proofs for the account's other sites
    /// are refused, and the host whose pages have the widget.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::Key`].
    /// - [`ConfigError::Name`] for a site key or a host that is no plain name.
    pub fn new(
        http: impl HttpPost,
        secret: SecretString,
        site_key: &str,
        host: &str,
    ) -> Result<Self, ConfigError> {
        check_name("site key", site_key)?;
        Ok(Self {
            verify: SiteVerify::new(http, BASE, PATH, secret, host)?,
            site_key: site_key.into(),
        })
    }
}

#[async_trait]
impl HumanCheck for HCaptcha {
    async fn check(&self, proof: &Proof, client: &Client) -> Result<Verdict, BoxError> {
        let site = [("sitekey", &*self.site_key)];
        Ok(match self.verify.ask(proof, client, &site).await? {
            Ok(_) => Verdict::Accept,
            Err(flaw) => Verdict::Refuse(flaw),
        })
    }
}
