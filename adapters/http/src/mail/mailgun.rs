//! Mailgun: `POST /v3/{domain}/messages`.

use async_trait::async_trait;
use password_reset::mail::{Mailer, Message, SendError};
use secrecy::SecretString;

use crate::api::{Api, FORM, basic, form, nameless};
use crate::endpoint::{check_key, check_name};
use crate::error::{ConfigError, PLAIN};
use crate::mailbox;
use crate::post::HttpPost;

const BASE: &str = "https://api.mailgun.net";

/// Mail through Mailgun's API, version 3.
///
/// Click tracking and open tracking are off in each request (R87). There is no idempotency key:
/// after a lost answer the mail may come twice, with the same Message-ID.
///
/// ```no_run
/// use password_reset_http::{Mailgun, ReqwestPost};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let key = std::env::var("MAILGUN_API_KEY")?;
/// let mailer = Mailgun::new(ReqwestPost::new()?, "mg.example.org", key.into())?
///     .base_url(Mailgun::EU)?;
/// # drop(mailer); Ok(()) }
/// ```
pub struct Mailgun {
    api: Api,
    key: SecretString,
}

nameless!(Mailgun);

impl Mailgun {
    /// The address for domains in the EU region.
    pub const EU: &'static str = "https://api.eu.mailgun.net";

    /// With the sending key of a domain.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::Key`].
    /// - [`ConfigError::Name`] when the domain is not letters, digits and `-._`.
    pub fn new(http: impl HttpPost, domain: &str, key: SecretString) -> Result<Self, ConfigError> {
        check_key(&key)?;
        check_name("domain", domain)?;
        // Its errors have no code, only words.
        let api = Api::new(http, BASE, &format!("/v3/{domain}/messages"), PLAIN)?;
        Ok(Self { api, key })
    }

    /// At another address, such as [`EU`](Self::EU).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`].
    pub fn base_url(self, base: &str) -> Result<Self, ConfigError> {
        let api = self.api.at(base)?;
        Ok(Self { api, ..self })
    }
}

#[async_trait]
impl Mailer for Mailgun {
    async fn send(&self, message: &Message) -> Result<(), SendError> {
        let from = mailbox::header(message.from());
        let reply_to = message.reply_to().map(mailbox::header);
        let headers: Vec<(String, &str)> = message
            .headers()
            .map(|(name, value)| (format!("h:{name}"), value))
            .collect();
        let mut fields = vec![
            ("from", from.as_str()),
            ("to", message.to().as_str()),
            ("subject", message.subject()),
            ("text", message.text()),
            ("html", message.html()),
            ("o:tracking", "no"),
            ("o:tracking-clicks", "no"),
            ("o:tracking-opens", "no"),
            ("h:Message-Id", message.id()),
        ];
        fields.extend(reply_to.iter().map(|value| ("h:Reply-To", value.as_str())));
        fields.extend(headers.iter().map(|(name, value)| (name.as_str(), *value)));
        let key = basic("api", &self.key);
        self.api
            .send(&self.key, FORM, vec![key], form(fields))
            .await
    }
}
