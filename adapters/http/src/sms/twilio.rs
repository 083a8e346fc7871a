//! Twilio: `POST /2010-04-01/Accounts/{sid}/Messages.json`.

use async_trait::async_trait;
use password_reset::sms::{SendError, SmsSender, TextMessage};
use secrecy::SecretString;

use crate::api::{Api, FORM, basic, form, nameless};
use crate::endpoint::{check_key, check_name};
use crate::error::{ConfigError, PLAIN};
use crate::post::HttpPost;
use crate::sms::check_sender;

const BASE: &str = "https://api.twilio.com";

/// Who a text message comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TwilioSender {
    /// A number of the account, a short code or an alphanumeric sender: Twilio's `From`.
    From(String),
    /// A messaging service, by its SID (`MG..`). Its link shortening has to be off.
    MessagingService(String),
}

/// Text messages through Twilio.
///
/// There is no idempotency key: after a lost answer the message may come twice. Restrict the
/// countries that the account may send to in its geo permissions (W58).
///
/// ```no_run
/// use password_reset_http::{ReqwestPost, Twilio, TwilioSender};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let account = std::env::var("TWILIO_ACCOUNT_SID")?;
/// let token = std::env::var("TWILIO_AUTH_TOKEN")?;
/// let from = TwilioSender::From("+15005550006".into());
/// let sms = Twilio::new(ReqwestPost::new()?, &account, token.into(), from)?;
/// # drop(sms); Ok(()) }
/// ```
pub struct Twilio {
    api: Api,
    user: Box<str>,
    secret: SecretString,
    sender: TwilioSender,
}

nameless!(Twilio);

impl Twilio {
    /// With the SID and the auth token of an account.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::Key`].
    /// - [`ConfigError::Name`] when the SID or the sender is not a plain name.
    pub fn new(
        http: impl HttpPost,
        account_sid: &str,
        auth_token: SecretString,
        sender: TwilioSender,
    ) -> Result<Self, ConfigError> {
        check_name("account sid", account_sid)?;
        check_key(&auth_token)?;
        match &sender {
            TwilioSender::From(from) => check_sender(from)?,
            TwilioSender::MessagingService(sid) => check_name("messaging service sid", sid)?,
        }
        let path = format!("/2010-04-01/Accounts/{account_sid}/Messages.json");
        Ok(Self {
            api: Api::new(http, BASE, &path, PLAIN)?,
            user: account_sid.into(),
            secret: auth_token,
            sender,
        })
    }

    /// With an API key of the account (`SK..`) and its secret, in the place of the auth token. It
    /// can be withdrawn by itself, and can be restricted to sending.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn api_key(self, key_sid: &str, secret: SecretString) -> Result<Self, ConfigError> {
        check_name("key sid", key_sid)?;
        check_key(&secret)?;
        let user = key_sid.into();
        Ok(Self {
            user,
            secret,
            ..self
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
impl SmsSender for Twilio {
    async fn send(&self, message: &TextMessage) -> Result<(), SendError> {
        let sender = match &self.sender {
            TwilioSender::From(from) => ("From", from.as_str()),
            TwilioSender::MessagingService(sid) => ("MessagingServiceSid", sid.as_str()),
        };
        let fields = [
            ("To", message.to().as_str()),
            sender,
            ("Body", message.text()),
        ];
        let key = basic(&self.user, &self.secret);
        self.api
            .send(&self.secret, FORM, vec![key], form(fields))
            .await
    }
}
