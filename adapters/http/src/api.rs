//! What all providers share: [`Api`], one address at one provider.

use std::fmt::Write;
use std::sync::Arc;

use base64ct::{Base64, Encoding};
use password_reset::error::SendError;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use crate::endpoint::Endpoint;
use crate::error::{ApiError, ConfigError, Words, judge};
use crate::post::{HttpPost, Post};

pub(crate) const JSON: &str = "application/json";
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";
/// Some providers refuse requests without one.
pub(crate) const USER_AGENT: &str = concat!("password-reset-http/", env!("CARGO_PKG_VERSION"));

pub(crate) struct Api {
    http: Arc<dyn HttpPost>,
    endpoint: Endpoint,
    words: Words,
}

impl Api {
    pub(crate) fn new(
        http: impl HttpPost,
        base: &str,
        path: &str,
        words: Words,
    ) -> Result<Self, ConfigError> {
        Ok(Self {
            http: Arc::new(http),
            endpoint: Endpoint::under(base, path)?,
            words,
        })
    }

    /// The same path at another base.
    pub(crate) fn at(self, base: &str) -> Result<Self, ConfigError> {
        Ok(Self {
            endpoint: Endpoint::under(base, self.endpoint.path())?,
            ..self
        })
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// `key` is what the provider knows us by; it stands in `headers` as the provider wants it.
    pub(crate) async fn send(
        &self,
        key: &SecretString,
        content_type: &'static str,
        mut headers: Vec<(&'static str, SecretString)>,
        body: SecretString,
    ) -> Result<(), SendError> {
        headers.push(("accept", JSON.into()));
        headers.push(("content-type", content_type.into()));
        headers.push(("user-agent", USER_AGENT.into()));
        let post = Post::to(self.endpoint.clone(), headers, body);
        let answer = self.http.post(&post).await;
        judge(&post, answer, self.words, key)
    }
}

/// `Authorization: Bearer ..`
pub(crate) fn bearer(key: &SecretString) -> (&'static str, SecretString) {
    let key = key.expose_secret();
    let mut value = String::with_capacity("Bearer ".len() + key.len());
    value.push_str("Bearer ");
    value.push_str(key);
    ("authorization", value.into())
}

/// `Authorization: Basic ..`
pub(crate) fn basic(user: &str, key: &SecretString) -> (&'static str, SecretString) {
    let pair = SecretString::from(format!("{user}:{}", key.expose_secret()));
    let pair = Base64::encode_string(pair.expose_secret().as_bytes());
    let pair = SecretString::from(pair);
    let value = format!("Basic {}", pair.expose_secret());
    ("authorization", value.into())
}

pub(crate) fn json(body: &impl Serialize) -> Result<SecretString, SendError> {
    let body = serde_json::to_string(body);
    // The serializer's words are not kept: they could quote what it was given.
    body.map(SecretString::from)
        .map_err(|_| SendError::permanent(ApiError::Request))
}

pub(crate) fn form<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> SecretString {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(fields);
    form.finish().into()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing into a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// `Debug` for a provider: its name and nothing that is inside.
macro_rules! nameless {
    ($($provider:ty),+) => { $(
        impl std::fmt::Debug for $provider {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                // Neither the key nor the client is shown.
                f.debug_struct(stringify!($provider)).finish_non_exhaustive()
            }
        }
    )+ };
}
pub(crate) use nameless;
