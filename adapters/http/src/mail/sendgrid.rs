//! SendGrid: `POST /v3/mail/send`.

use std::collections::BTreeMap;

use async_trait::async_trait;
use password_reset::mail::{Mailbox, Mailer, Message, SendError};
use secrecy::SecretString;
use serde::Serialize;

use crate::api::{Api, JSON, bearer, json, nameless};
use crate::endpoint::check_key;
use crate::error::{ConfigError, PLAIN};
use crate::post::HttpPost;

const BASE: &str = "https://api.sendgrid.com";
const PATH: &str = "/v3/mail/send";

/// Mail through SendGrid's API, version 3.
///
/// Click tracking, open tracking, the unsubscribe footer and Google Analytics are off in each
/// request (R87). There is no idempotency key: after a lost answer the mail may come twice.
///
/// ```no_run
/// use password_reset_http::{ReqwestPost, SendGrid};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let key = std::env::var("SENDGRID_API_KEY")?;
/// let mailer = SendGrid::new(ReqwestPost::new()?, key.into())?;
/// # drop(mailer); Ok(()) }
/// ```
pub struct SendGrid {
    api: Api,
    key: SecretString,
}

nameless!(SendGrid);

impl SendGrid {
    /// With an API key that may do no more than send mail.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Key`].
    pub fn new(http: impl HttpPost, key: SecretString) -> Result<Self, ConfigError> {
        check_key(&key)?;
        // Its errors have no code, only words.
        let api = Api::new(http, BASE, PATH, PLAIN)?;
        Ok(Self { api, key })
    }

    /// At another address: `https://api.eu.sendgrid.com` for subusers in the EU.
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
impl Mailer for SendGrid {
    async fn send(&self, message: &Message) -> Result<(), SendError> {
        let mut headers: BTreeMap<_, _> = message.headers().collect();
        headers.insert("Message-ID", message.id());
        let off = Off { enable: false };
        let body = json(&Body {
            personalizations: [Personalization {
                to: [Party {
                    email: message.to().as_str(),
                    name: None,
                }],
            }],
            from: party(message.from()),
            reply_to: message.reply_to().map(party),
            subject: message.subject(),
            content: [
                Content {
                    kind: "text/plain",
                    value: message.text(),
                },
                Content {
                    kind: "text/html",
                    value: message.html(),
                },
            ],
            headers,
            tracking_settings: TrackingSettings {
                click_tracking: Clicks {
                    enable: false,
                    enable_text: false,
                },
                open_tracking: off,
                subscription_tracking: off,
                ganalytics: off,
            },
        })?;
        self.api
            .send(&self.key, JSON, vec![bearer(&self.key)], body)
            .await
    }
}

fn party(mailbox: &Mailbox) -> Party<'_> {
    Party {
        email: mailbox.address().as_str(),
        name: mailbox.name(),
    }
}

#[derive(Serialize)]
struct Body<'a> {
    personalizations: [Personalization<'a>; 1],
    from: Party<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<Party<'a>>,
    subject: &'a str,
    content: [Content<'a>; 2],
    headers: BTreeMap<&'a str, &'a str>,
    tracking_settings: TrackingSettings,
}

#[derive(Serialize)]
struct Personalization<'a> {
    to: [Party<'a>; 1],
}

#[derive(Serialize)]
struct Party<'a> {
    email: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

#[derive(Serialize)]
struct Content<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    value: &'a str,
}

#[derive(Serialize)]
struct TrackingSettings {
    click_tracking: Clicks,
    open_tracking: Off,
    subscription_tracking: Off,
    ganalytics: Off,
}

#[derive(Serialize)]
struct Clicks {
    enable: bool,
    enable_text: bool,
}

#[derive(Clone, Copy, Serialize)]
struct Off {
    enable: bool,
}
