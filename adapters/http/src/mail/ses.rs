//! Amazon SES, version 2: `POST /v2/email/outbound-emails`.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use password_reset::clock::{Clock, SystemClock};
use password_reset::error::BoxError;
use password_reset::mail::{Mailer, Message, SendError};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use crate::api::{Api, JSON, json, nameless};
use crate::endpoint::{check_key, check_name};
use crate::error::{ApiError, ConfigError, Words};
use crate::mail::{HeaderLine, header_lines};
use crate::mailbox;
use crate::post::HttpPost;
use crate::sigv4::{Request, Scope, authorization};

const PATH: &str = "/v2/email/outbound-emails";
const SERVICE: &str = "ses";
/// The code is in a header (`ERROR_TYPE`), seldom in the body.
const WORDS: Words = Words {
    code: "/__type",
    ours: &[
        "AccountSuspendedException",
        "ExpiredTokenException",
        "LimitExceededException",
        "MailFromDomainNotVerifiedException",
        // Of a sender that nobody verified as well as of a message.
        "MessageRejected",
        "RequestExpired",
        "SendingPausedException",
        "ThrottlingException",
    ],
};

/// Keys of an AWS account, or of a role for a while. `Debug` shows none of them.
pub struct AwsCredentials {
    key_id: SecretString,
    secret: SecretString,
    session_token: Option<SecretString>,
}

impl AwsCredentials {
    /// An access key's id and its secret.
    ///
    /// It needs two permissions: `ses:SendEmail`, and, because each request switches tracking off,
    /// `ses:ApplyTrackingConfigurationOverrides` on the resource `*`. Without the second one Amazon
    /// refuses every mail.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Key`].
    pub fn new(key_id: SecretString, secret: SecretString) -> Result<Self, ConfigError> {
        check_key(&key_id)?;
        check_key(&secret)?;
        let session_token = None;
        Ok(Self {
            key_id,
            secret,
            session_token,
        })
    }

    /// With the token of a session, for temporary keys.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Key`].
    pub fn session_token(self, token: SecretString) -> Result<Self, ConfigError> {
        check_key(&token)?;
        let session_token = Some(token);
        Ok(Self {
            session_token,
            ..self
        })
    }
}

impl fmt::Debug for AwsCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsCredentials").finish_non_exhaustive()
    }
}

/// Where keys come from that change while the application runs: those of a role.
///
/// # Contract
///
/// - MUST answer keys that are good now. Asked once for each mail, so keep them.
/// - MUST come to an end by itself.
#[async_trait]
pub trait AwsCredentialSource: Send + Sync + 'static {
    /// The keys to sign with.
    ///
    /// # Errors
    ///
    /// Any. The mail is tried again later; the error's words are dropped, so log them here.
    async fn credentials(&self) -> Result<Arc<AwsCredentials>, BoxError>;
}

struct Fixed(Arc<AwsCredentials>);

#[async_trait]
impl AwsCredentialSource for Fixed {
    async fn credentials(&self) -> Result<Arc<AwsCredentials>, BoxError> {
        Ok(self.0.clone())
    }
}

/// Mail through Amazon SES, API version 2.
///
/// Each request switches click tracking and open tracking off, whatever the account and the
/// configuration set say (R87); the credentials must be allowed to
/// ([`AwsCredentials::new`]). There is no idempotency key: after a lost answer the mail may come
/// twice. SES makes a Message-ID of its own.
///
/// ```no_run
/// use password_reset_http::{AmazonSes, AwsCredentials, ReqwestPost};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let id = std::env::var("AWS_ACCESS_KEY_ID")?;
/// let secret = std::env::var("AWS_SECRET_ACCESS_KEY")?;
/// let credentials = AwsCredentials::new(id.into(), secret.into())?;
/// let http = ReqwestPost::new()?;
/// let mailer = AmazonSes::new(http, "eu-central-1", credentials)?
///     .configuration_set("password-reset")?;
/// # drop(mailer); Ok(()) }
/// ```
pub struct AmazonSes {
    api: Api,
    region: Box<str>,
    credentials: Box<dyn AwsCredentialSource>,
    configuration_set: Option<Box<str>>,
    clock: Box<dyn Clock>,
}

nameless!(AmazonSes);

impl AmazonSes {
    /// In one region, with keys that stay.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Name`] when the region is not letters, digits and `-._`.
    pub fn new(
        http: impl HttpPost,
        region: &str,
        credentials: AwsCredentials,
    ) -> Result<Self, ConfigError> {
        let source = Fixed(Arc::new(credentials));
        Self::with_source(http, region, source)
    }

    /// In one region, with keys that change.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn with_source(
        http: impl HttpPost,
        region: &str,
        source: impl AwsCredentialSource,
    ) -> Result<Self, ConfigError> {
        check_name("region", region)?;
        let base = format!("https://email.{region}.amazonaws.com");
        Ok(Self {
            api: Api::new(http, &base, PATH, WORDS)?,
            region: region.into(),
            credentials: Box::new(source),
            configuration_set: None,
            clock: Box::new(SystemClock),
        })
    }

    /// With a configuration set.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Name`].
    pub fn configuration_set(self, name: &str) -> Result<Self, ConfigError> {
        check_name("configuration set", name)?;
        let configuration_set = Some(name.into());
        Ok(Self {
            configuration_set,
            ..self
        })
    }

    /// At another address, such as one inside a private network.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`].
    pub fn base_url(self, base: &str) -> Result<Self, ConfigError> {
        let api = self.api.at(base)?;
        Ok(Self { api, ..self })
    }

    /// With another clock. A signature is good for minutes around the moment that it names.
    pub fn clock(self, clock: impl Clock) -> Self {
        let clock = Box::new(clock);
        Self { clock, ..self }
    }

    /// The headers that say who sends this body, and when.
    fn sign(
        &self,
        keys: &AwsCredentials,
        body: &SecretString,
    ) -> Option<Vec<(&'static str, SecretString)>> {
        let at = self.clock.now().to_string().replace(['-', ':'], "");
        let token = keys.session_token.as_ref();
        let host = self.api.endpoint().host();
        let mut headers = vec![
            ("content-type", JSON),
            ("host", host.as_str()),
            ("x-amz-date", at.as_str()),
        ];
        headers.extend(token.map(|token| ("x-amz-security-token", token.expose_secret())));
        let request = Request {
            method: "POST",
            path: self.api.endpoint().path(),
            query: "",
            headers: &headers,
            body: body.expose_secret().as_bytes(),
        };
        let scope = Scope {
            at: &at,
            region: &self.region,
            service: SERVICE,
        };
        let signed = authorization(&request, &scope, keys.key_id.expose_secret(), &keys.secret)?;
        let mut signed = vec![
            ("authorization", signed.into()),
            ("x-amz-date", at.as_str().into()),
        ];
        signed.extend(token.map(|token| ("x-amz-security-token", token.clone())));
        Some(signed)
    }
}

#[async_trait]
impl Mailer for AmazonSes {
    async fn send(&self, message: &Message) -> Result<(), SendError> {
        let body = json(&Body {
            from_email_address: mailbox::header(message.from()),
            reply_to_addresses: message.reply_to().map(|mailbox| [mailbox::header(mailbox)]),
            destination: Destination {
                to_addresses: [message.to().as_str()],
            },
            content: Content {
                simple: Simple {
                    subject: utf8(message.subject()),
                    body: Parts {
                        text: utf8(message.text()),
                        html: utf8(message.html()),
                    },
                    headers: header_lines(message),
                },
            },
            configuration_set_name: self.configuration_set.as_deref(),
            configuration_overrides: Overrides {
                tracking: TrackingOverrides {
                    click_tracking_enabled: "DISABLED",
                    open_tracking_enabled: "DISABLED",
                },
            },
        })?;
        // The source's words are dropped: nobody knows what is in them.
        let keys = self.credentials.credentials().await;
        let keys = keys.map_err(|_| SendError::transient(ApiError::Credentials))?;
        let headers = self.sign(&keys, &body);
        let headers = headers.ok_or_else(|| SendError::permanent(ApiError::Request))?;
        self.api.send(&keys.secret, JSON, headers, body).await
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    from_email_address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to_addresses: Option<[String; 1]>,
    destination: Destination<'a>,
    content: Content<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    configuration_set_name: Option<&'a str>,
    configuration_overrides: Overrides,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Destination<'a> {
    to_addresses: [&'a str; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Content<'a> {
    simple: Simple<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Simple<'a> {
    subject: Text<'a>,
    body: Parts<'a>,
    headers: Vec<HeaderLine<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Parts<'a> {
    text: Text<'a>,
    html: Text<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Text<'a> {
    data: &'a str,
    charset: &'a str,
}

fn utf8(data: &str) -> Text<'_> {
    let charset = "UTF-8";
    Text { data, charset }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Overrides {
    tracking: TrackingOverrides,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct TrackingOverrides {
    click_tracking_enabled: &'static str,
    open_tracking_enabled: &'static str,
}
