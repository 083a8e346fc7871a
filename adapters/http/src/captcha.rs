//! Captchas of other services: Turnstile, hCaptcha, reCAPTCHA.
//!
//! All three answer one question, `siteverify`, in one format. What differs is which codes they have
//! and what else they say of a proof; both is judged in one place.

mod hcaptcha;
mod recaptcha;
mod turnstile;

pub use hcaptcha::HCaptcha;
pub use recaptcha::Recaptcha;
pub use turnstile::Turnstile;

use std::sync::Arc;

use password_reset::account::Client;
use password_reset::human::{Flaw, Proof, Verdict};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::api::{FORM, JSON, USER_AGENT, form};
use crate::endpoint::{Endpoint, check_host, check_key};
use crate::error::ConfigError;
use crate::post::{Answer, HttpPost, Post, PostError};

/// What a service did not do. An error of a check holds this, or, where there was no answer at all,
/// a [`PostError`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SiteVerifyError {
    /// It answered with a status that says nothing about the proof.
    #[error("the service answered {status}")]
    Status {
        /// The HTTP status.
        status: u16,
    },
    /// Its answer cannot be read.
    #[error("the service's answer cannot be read")]
    Garbled,
    /// It refuses our secret, or the way we ask. Nothing is wrong with the proof.
    #[error("the service refuses to judge: {code}")]
    Refused {
        /// Its own word for it.
        code: &'static str,
    },
}

/// Words about the request and its secret, and not about the proof.
const OURS: [&str; 8] = [
    "bad-request",
    "internal-error",
    "invalid-input-secret",
    "invalid-sitekey",
    "missing-input-secret",
    "missing-remoteip",
    "not-using-dummy-secret",
    "sitekey-secret-mismatch",
];
/// Words for a proof that was good once.
const STALE: [&str; 4] = [
    "already-seen-response",
    "expired-input-response",
    "invalid-or-already-seen-response",
    "timeout-or-duplicate",
];

/// One `siteverify` of one service.
struct SiteVerify {
    http: Arc<dyn HttpPost>,
    endpoint: Endpoint,
    secret: SecretString,
    /// Where the page may have been that made the proof.
    hosts: Vec<Box<str>>,
    tells_address: bool,
}

/// What the service says of a proof; other members are passed over.
#[derive(Deserialize)]
struct Said {
    success: bool,
    #[serde(default)]
    hostname: Option<String>,
    #[serde(default)]
    action: Option<String>,
    #[serde(default)]
    cdata: Option<String>,
    #[serde(default)]
    score: Option<f64>,
    #[serde(default, rename = "error-codes")]
    codes: Vec<String>,
}

impl SiteVerify {
    fn new(
        http: impl HttpPost,
        base: &str,
        path: &str,
        secret: SecretString,
        host: &str,
    ) -> Result<Self, ConfigError> {
        check_key(&secret)?;
        let mut verify = Self {
            http: Arc::new(http),
            endpoint: Endpoint::under(base, path)?,
            secret,
            hosts: Vec::new(),
            tells_address: false,
        };
        verify.also_at(host)?;
        Ok(verify)
    }

    fn at(&mut self, base: &str) -> Result<(), ConfigError> {
        self.endpoint = Endpoint::under(base, self.endpoint.path())?;
        Ok(())
    }

    fn also_at(&mut self, host: &str) -> Result<(), ConfigError> {
        check_host(host)?;
        self.hosts.push(host.to_ascii_lowercase().into());
        Ok(())
    }

    /// What the service says of a good proof, or what is wrong with it.
    async fn ask(
        &self,
        proof: &Proof,
        client: &Client,
        more: &[(&str, &str)],
    ) -> Result<Result<Said, Flaw>, SiteVerifyFailed> {
        let address = client.address().filter(|_| self.tells_address);
        let address = address.map(|address| address.to_canonical().to_string());
        let fields = [
            ("secret", self.secret.expose_secret()),
            ("response", proof.expose()),
        ];
        let address = address.iter().map(|address| ("remoteip", address.as_str()));
        let fields = fields.into_iter().chain(address);
        let body = form(fields.chain(more.iter().copied()));
        let headers = vec![
            ("accept", JSON.into()),
            ("content-type", FORM.into()),
            ("user-agent", USER_AGENT.into()),
        ];
        let post = Post::to(self.endpoint.clone(), headers, body);
        let said = read(&self.http.post(&post).await?)?;
        if !said.success {
            return Ok(Err(flaw_of(&said.codes)?));
        }
        let host = said.hostname.as_deref().unwrap_or_default();
        let host = host.to_ascii_lowercase();
        if !self.hosts.iter().any(|known| **known == *host) {
            return Ok(Err(Flaw::Elsewhere));
        }
        Ok(Ok(said))
    }
}

/// Why there is no verdict.
enum SiteVerifyFailed {
    Silent(PostError),
    Said(SiteVerifyError),
}

impl From<PostError> for SiteVerifyFailed {
    fn from(error: PostError) -> Self {
        Self::Silent(error)
    }
}

impl From<SiteVerifyError> for SiteVerifyFailed {
    fn from(error: SiteVerifyError) -> Self {
        Self::Said(error)
    }
}

impl From<SiteVerifyFailed> for password_reset::error::BoxError {
    fn from(failed: SiteVerifyFailed) -> Self {
        match failed {
            SiteVerifyFailed::Silent(error) => error.into(),
            SiteVerifyFailed::Said(error) => error.into(),
        }
    }
}

fn read(answer: &Answer) -> Result<Said, SiteVerifyError> {
    match answer.status() {
        // Some say what is wrong with a 4xx.
        200..=299 | 400 | 422 => {
            serde_json::from_slice(answer.body()).map_err(|_| SiteVerifyError::Garbled)
        }
        status => Err(SiteVerifyError::Status { status }),
    }
}

fn flaw_of(codes: &[String]) -> Result<Flaw, SiteVerifyError> {
    let said = |words: &[&'static str]| {
        let mut words = words.iter().copied();
        words.find(|word| codes.iter().any(|code| code == word))
    };
    if let Some(code) = said(&OURS) {
        return Err(SiteVerifyError::Refused { code });
    }
    Ok(match said(&STALE) {
        Some(_) => Flaw::Stale,
        None => Flaw::Wrong,
    })
}

/// A good proof, if it was made for what is expected.
fn made_for(said: Option<&str>, expected: Option<&str>) -> Verdict {
    match expected.is_none() || said == expected {
        true => Verdict::Accept,
        false => Verdict::Refuse(Flaw::Elsewhere),
    }
}

/// What every check can be told besides.
macro_rules! told {
    ($check:ty) => {
        impl $check {
            /// A further host whose pages may have made the proof.
            ///
            /// # Errors
            ///
            /// [`ConfigError::Name`] for anything but a plain host name.
            pub fn also_at(mut self, host: &str) -> Result<Self, ConfigError> {
                self.verify.also_at(host)?;
                Ok(self)
            }

            /// Tells the service the address of whoever asks. By default it is not told.
            pub fn tell_address(mut self) -> Self {
                self.verify.tells_address = true;
                self
            }

            /// At another address, such as that of a stand-in.
            ///
            /// # Errors
            ///
            /// [`ConfigError::Url`].
            pub fn base_url(mut self, base: &str) -> Result<Self, ConfigError> {
                self.verify.at(base)?;
                Ok(self)
            }
        }
    };
}
use told;
