//! The seam to an HTTP client: [`HttpPost`], [`Post`], [`Answer`].

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use password_reset::error::BoxError;
use secrecy::{ExposeSecret, SecretString};

use crate::endpoint::Endpoint;
use crate::error::ConfigError;

/// How much of an answer is kept, in bytes.
pub const MAX_ANSWER_BYTES: usize = 65_536;
/// The one header of an answer that counts: where Amazon says what is wrong.
pub const ERROR_TYPE: &str = "x-amzn-errortype";

/// An HTTP client that can do one thing: one POST, one answer.
///
/// `ReqwestPost` (feature `reqwest`) is a ready one.
///
/// # Contract
///
/// - MUST send the request to [`Post::url`] and nowhere else: no redirect is followed, because it
///   would carry the key and a live link to wherever an answer points.
/// - MUST verify the server's certificate, and MUST NOT fall back to plain HTTP.
/// - MUST send the request once. Whoever tries again is the worker.
/// - MUST come to an end by itself, within two minutes: a worker holds a job no longer.
/// - MUST answer [`PostError::NotSent`] only when no byte of the request can have arrived.
///   Otherwise a link that is in somebody's mailbox may be revoked.
/// - MUST NOT log, store or trace headers and body, and MUST NOT put them, or what the provider
///   answered, into an error (R76, W13).
/// - SHOULD hand over the header [`ERROR_TYPE`] ([`Answer::with_error_type`]): otherwise a mail that
///   Amazon SES throttles is taken for one that it refuses.
/// - Every status is an [`Answer`], also 4xx and 5xx. Once a status is known, an answer that breaks
///   off or takes too long is answered as far as it came.
///
/// ```
/// use password_reset_http::{Answer, HttpPost, Post, PostError};
///
/// struct Unplugged;
///
/// #[password_reset::async_trait]
/// impl HttpPost for Unplugged {
///     async fn post(&self, post: &Post) -> Result<Answer, PostError> {
///         // The headers hold a key, the body holds a link. `Debug` shows neither.
///         println!("would post {post:?}");
///         Err(PostError::not_sent("unplugged"))
///     }
/// }
/// ```
#[async_trait]
pub trait HttpPost: Send + Sync + 'static {
    /// Posts, and reads at most [`MAX_ANSWER_BYTES`] of the answer.
    ///
    /// # Errors
    ///
    /// - [`PostError::NotSent`] when the request did not go out.
    /// - [`PostError::NoAnswer`] when it may have gone out, and no status came back.
    async fn post(&self, post: &Post) -> Result<Answer, PostError>;
}

macro_rules! forward {
    ($($pointer:ident),+) => { $(
        #[async_trait]
        impl<T: HttpPost + ?Sized> HttpPost for $pointer<T> {
            async fn post(&self, post: &Post) -> Result<Answer, PostError> {
                (**self).post(post).await
            }
        }
    )+ };
}
forward!(Arc, Box);

/// One request, ready to be sent. `Debug` shows nothing of it.
pub struct Post {
    url: Endpoint,
    headers: Vec<(&'static str, SecretString)>,
    body: SecretString,
}

impl Post {
    /// A request. The providers make theirs; this is for the tests of a client.
    ///
    /// ```
    /// use password_reset_http::Post;
    ///
    /// assert!(Post::new("https://api.example.org/v1/mail", "{}".into()).is_ok());
    /// assert!(Post::new("http://127.0.0.1:8080/v1/mail", "{}".into()).is_ok());
    /// // A key and a link never travel in the open.
    /// assert!(Post::new("http://api.example.org/v1/mail", "{}".into()).is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] when the URL is not `https`, or `http` to a loopback host, or has a
    /// query, a fragment or user information.
    pub fn new(url: &str, body: SecretString) -> Result<Self, ConfigError> {
        Ok(Self::to(Endpoint::parse(url)?, Vec::new(), body))
    }

    /// With one more header: its name in lower case, its value in visible ASCII.
    pub fn header(mut self, name: &'static str, value: impl Into<SecretString>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn to(
        url: Endpoint,
        headers: Vec<(&'static str, SecretString)>,
        body: SecretString,
    ) -> Self {
        Self { url, headers, body }
    }

    /// Where to. Holds no secret.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// The headers, names in lower case; `host` and `content-length` are the client's business.
    ///
    /// # Security
    ///
    /// They hold the provider's key. Send them; do not log, store or trace them.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let headers = self.headers.iter();
        headers.map(|(name, value)| (*name, value.expose_secret()))
    }

    /// The body.
    ///
    /// # Security
    ///
    /// Holds a live link or code, and an address. Send it; do not log, store or trace it (R76).
    pub fn body(&self) -> &[u8] {
        self.body.expose_secret().as_bytes()
    }

    /// Whether a text stands in the body.
    pub(crate) fn mentions(&self, text: &str) -> bool {
        let in_headers = self.headers().any(|(_, value)| value.contains(text));
        in_headers || self.body.expose_secret().contains(text)
    }
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL is not shown either: in it are names of accounts.
        f.debug_struct("Post").finish_non_exhaustive()
    }
}

/// What came back.
pub struct Answer {
    status: u16,
    error_type: Option<Box<str>>,
    body: Vec<u8>,
}

impl Answer {
    /// An answer; of the body the first [`MAX_ANSWER_BYTES`] are kept.
    pub fn new(status: u16, mut body: Vec<u8>) -> Self {
        body.truncate(MAX_ANSWER_BYTES);
        Self {
            status,
            error_type: None,
            body,
        }
    }

    /// With the value of the header [`ERROR_TYPE`], if there was one.
    pub fn with_error_type(self, value: &str) -> Self {
        let error_type = Some(value.into());
        Self { error_type, ..self }
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    pub(crate) fn error_type(&self) -> Option<&str> {
        self.error_type.as_deref()
    }

    /// The body, at most [`MAX_ANSWER_BYTES`].
    ///
    /// # Security
    ///
    /// It may quote an address, or the mail. Do not log it.
    pub fn body(&self) -> &[u8] {
        &self.body
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The body is not shown: it may quote what was sent.
        f.debug_struct("Answer")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// There is no answer. Prints its own layer only; the client's words are in `source()`.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum PostError {
    /// No byte of the request left: no such host, connection refused, a bad certificate.
    #[error("the request was not sent")]
    NotSent(#[source] BoxError),
    /// The connection broke, or time ran out, when the request may have been out already.
    #[error("the request was sent and not answered")]
    NoAnswer(#[source] BoxError),
}

impl PostError {
    /// The request did not go out.
    pub fn not_sent(source: impl Into<BoxError>) -> Self {
        Self::NotSent(source.into())
    }

    /// Nobody knows whether the provider got it.
    pub fn no_answer(source: impl Into<BoxError>) -> Self {
        Self::NoAnswer(source.into())
    }
}

impl fmt::Debug for PostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The source is not shown: it is a foreign type.
        f.write_str(match self {
            Self::NotSent(_) => "NotSent(..)",
            Self::NoAnswer(_) => "NoAnswer(..)",
        })
    }
}
