//! Postmark: `POST /email`.

use async_trait::async_trait;
use password_reset::mail::{Mailer, Message, SendError};
use secrecy::SecretString;
use serde::Serialize;

use crate::api::{Api, JSON, json, nameless};
use crate::endpoint::{check_key, check_name};
use crate::error::{ConfigError, Words};
use crate::mail::{HeaderLine, header_lines};
use crate::mailbox;
use crate::post::HttpPost;

const BASE: &str = "https://api.postmarkapp.com";
const PATH: &str = "/email";
const WORDS: Words = Words {
    code: "/ErrorCode",
    // Maintenance; the sender is not confirmed; the account may not send, or is pending; too fast.
    ours: &["100", "400", "401", "405", "412", "413", "429"],
};
/// The transactional stream that every server has from the start.
const STREAM: &str = "outbound";

/// Mail through Postmark's API.
///
/// Click tracking and open tracking are off in each request (R87). There is no idempotency key:
/// after a lost answer the mail may come twice, with the same Message-ID.
///
/// ```no_run
/// use password_reset_http::{Postmark, ReqwestPost};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let token = std::env::var("POSTMARK_SERVER_TOKEN")?;
/// let mailer = Postmark::new(ReqwestPost::new()?, token.into())?.stream("password-reset")?;
/// # drop(mailer); Ok(()) }
/// ```
pub struct Postmark {
    api: Api,
    token: SecretString,
    stream: Box<str>,
}

nameless!(Postmark);

impl Postmark {
    /// With the token of a server; in the message stream `outbound`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Key`].
    pub fn new(http: impl HttpPost, token: SecretString) -> Result<Self, ConfigError> {
        check_key(&token)?;
        let api = Api::new(http, BASE, PATH, WORDS)?;
        let stream = STREAM.into();
        Ok(Self { api, token, stream })
    }

    /// In another message stream, by its id. It has to be a transactional one.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Name`].
    pub fn stream(self, stream: &str) -> Result<Self, ConfigError> {
        check_name("message stream", stream)?;
        let stream = stream.into();
        Ok(Self { stream, ..self })
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
impl Mailer for Postmark {
    async fn send(&self, message: &Message) -> Result<(), SendError> {
        let mut headers = header_lines(message);
        headers.push(HeaderLine {
            name: "Message-ID",
            value: message.id(),
        });
        // Otherwise Postmark replaces the Message-ID.
        headers.push(HeaderLine {
            name: "X-PM-KeepID",
            value: "true",
        });
        let body = json(&Body {
            from: mailbox::header(message.from()),
            reply_to: message.reply_to().map(mailbox::header),
            to: message.to().as_str(),
            subject: message.subject(),
            text_body: message.text(),
            html_body: message.html(),
            headers,
            track_opens: false,
            track_links: "None",
            message_stream: &self.stream,
        })?;
        let token = ("x-postmark-server-token", self.token.clone());
        self.api.send(&self.token, JSON, vec![token], body).await
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    from: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<String>,
    to: &'a str,
    subject: &'a str,
    text_body: &'a str,
    html_body: &'a str,
    headers: Vec<HeaderLine<'a>>,
    track_opens: bool,
    track_links: &'a str,
    message_stream: &'a str,
}
