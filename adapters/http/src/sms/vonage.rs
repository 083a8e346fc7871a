//! Vonage, Messages API: `POST /v1/messages`.

use async_trait::async_trait;
use password_reset::sms::{SendError, SmsSender, TextMessage};
use secrecy::SecretString;
use serde::Serialize;

use crate::api::{Api, JSON, basic, json, nameless};
use crate::endpoint::{check_key, check_name};
use crate::error::{ConfigError, Words};
use crate::post::HttpPost;
use crate::sms::check_sender;

const BASE: &str = "https://api.nexmo.com";
const PATH: &str = "/v1/messages";
/// A URL with the code as fragment.
const WORDS: Words = Words {
    code: "/type",
    ours: &[],
};

/// Text messages through Vonage's Messages API, version 1.
///
/// There is no idempotency key: after a lost answer the message may come twice. Both carry the
/// message's id as `client_ref`, so that reports show them as one. Restrict the countries that the
/// account may send to (W58).
///
/// ```no_run
/// use password_reset_http::{ReqwestPost, Vonage};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let key = std::env::var("VONAGE_API_KEY")?;
/// let secret = std::env::var("VONAGE_API_SECRET")?;
/// let sms = Vonage::new(ReqwestPost::new()?, &key, secret.into(), "Example")?;
/// # drop(sms); Ok(()) }
/// ```
pub struct Vonage {
    api: Api,
    key: Box<str>,
    secret: SecretString,
    from: Box<str>,
}

nameless!(Vonage);

impl Vonage {
    /// With an account's API key and secret, and the number or name that messages come from.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::Key`].
    /// - [`ConfigError::Name`] when the API key or the sender is not a plain name.
    pub fn new(
        http: impl HttpPost,
        api_key: &str,
        api_secret: SecretString,
        from: &str,
    ) -> Result<Self, ConfigError> {
        check_name("api key", api_key)?;
        check_key(&api_secret)?;
        check_sender(from)?;
        Ok(Self {
            api: Api::new(http, BASE, PATH, WORDS)?,
            key: api_key.into(),
            secret: api_secret,
            // Vonage takes numbers without their plus.
            from: from.strip_prefix('+').unwrap_or(from).into(),
        })
    }

    /// At another address, such as that of a region.
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
impl SmsSender for Vonage {
    async fn send(&self, message: &TextMessage) -> Result<(), SendError> {
        let to = message.to().as_str();
        let id = message.id().to_string();
        let body = json(&Body {
            message_type: "text",
            channel: "sms",
            to: to.strip_prefix('+').unwrap_or(to),
            from: &self.from,
            text: message.text(),
            client_ref: &id,
        })?;
        let key = basic(&self.key, &self.secret);
        self.api.send(&self.secret, JSON, vec![key], body).await
    }
}

#[derive(Serialize)]
struct Body<'a> {
    message_type: &'a str,
    channel: &'a str,
    to: &'a str,
    from: &'a str,
    text: &'a str,
    client_ref: &'a str,
}
