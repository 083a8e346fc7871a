//! Resend: `POST /emails`.

use std::collections::BTreeMap;

use async_trait::async_trait;
use password_reset::mail::{Mailer, Message, SendError};
use secrecy::SecretString;
use serde::Serialize;

use crate::api::{Api, JSON, bearer, json, nameless};
use crate::endpoint::check_key;
use crate::error::{ConfigError, Words};
use crate::mail::Tracking;
use crate::mailbox;
use crate::post::HttpPost;

const BASE: &str = "https://api.resend.com";
const PATH: &str = "/emails";
const WORDS: Words = Words {
    code: "/name",
    ours: &[],
};

/// Mail through Resend's API.
///
/// Tracking is a setting of the domain at Resend, and no request can switch it off: whoever makes
/// this says whether somebody looked ([`Tracking`], R87).
///
/// Each request carries the message's id as `Idempotency-Key`, which Resend remembers for 24 hours:
/// a notice that is tried again after a lost answer comes once. Resend makes a Message-ID of its
/// own. Display names go out without the characters that would need quotes, because Resend takes
/// neither quotes nor encoded words in a sender: `Example, Inc.` becomes `Example Inc.`
///
/// ```no_run
/// use password_reset_http::{ReqwestPost, Resend, Tracking};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let key = std::env::var("RESEND_API_KEY")?;
/// let mailer = Resend::new(ReqwestPost::new()?, key.into(), Tracking::ConfirmedOff)?;
/// # drop(mailer); Ok(()) }
/// ```
pub struct Resend {
    api: Api,
    key: SecretString,
    tracking: Tracking,
}

nameless!(Resend);

impl Resend {
    /// With an API key that may do no more than send mail.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Key`].
    pub fn new(
        http: impl HttpPost,
        key: SecretString,
        tracking: Tracking,
    ) -> Result<Self, ConfigError> {
        check_key(&key)?;
        let api = Api::new(http, BASE, PATH, WORDS)?;
        Ok(Self { api, key, tracking })
    }

    /// At another address.
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
impl Mailer for Resend {
    async fn send(&self, message: &Message) -> Result<(), SendError> {
        self.tracking.check(message)?;
        let body = json(&Body {
            from: mailbox::bare(message.from()),
            reply_to: message.reply_to().map(|mailbox| [mailbox::bare(mailbox)]),
            to: [message.to().as_str()],
            subject: message.subject(),
            text: message.text(),
            html: message.html(),
            headers: message.headers().collect(),
        })?;
        let once = ("idempotency-key", message.id().into());
        let headers = vec![bearer(&self.key), once];
        self.api.send(&self.key, JSON, headers, body).await
    }
}

#[derive(Serialize)]
struct Body<'a> {
    from: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<[String; 1]>,
    to: [&'a str; 1],
    subject: &'a str,
    text: &'a str,
    html: &'a str,
    headers: BTreeMap<&'a str, &'a str>,
}
