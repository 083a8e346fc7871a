//! The seam for reading: [`HttpGet`], [`Get`], [`Page`].

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::endpoint::Endpoint;
use crate::error::ConfigError;
use crate::post::PostError;

/// The longest page that is read, in bytes. A range of a thousand million passwords is about 40 KiB,
/// with its padding.
pub const MAX_PAGE_BYTES: usize = 1_048_576;

/// An HTTP client that can fetch one page. `ReqwestPost` (feature `reqwest`) is a ready one.
///
/// # Contract
///
/// - MUST send the request to [`Get::url`] and nowhere else: no redirect is followed.
/// - MUST verify the server's certificate, and MUST NOT fall back to plain HTTP: whoever can change
///   the page decides which passwords are leaked.
/// - MUST come to an end by itself, within seconds: somebody waits for it, and nobody else has a
///   timer.
/// - MUST answer the whole page or an error, and an error for one over [`MAX_PAGE_BYTES`]. Half a
///   page does not tell what is in the other half.
/// - MUST NOT log the URL: it holds the beginning of a password's digest.
/// - Every status is a [`Page`], also 4xx and 5xx.
#[async_trait]
pub trait HttpGet: Send + Sync + 'static {
    /// Fetches a page.
    ///
    /// # Errors
    ///
    /// Any [`PostError`]; which one makes no difference, because a GET changes nothing.
    async fn get(&self, get: &Get) -> Result<Page, PostError>;
}

macro_rules! forward {
    ($($pointer:ident),+) => { $(
        #[async_trait]
        impl<T: HttpGet + ?Sized> HttpGet for $pointer<T> {
            async fn get(&self, get: &Get) -> Result<Page, PostError> {
                (**self).get(get).await
            }
        }
    )+ };
}
forward!(Arc, Box);

/// One request, ready to be sent. `Debug` shows nothing of it.
pub struct Get {
    url: Endpoint,
    headers: Vec<(&'static str, &'static str)>,
}

impl Get {
    /// A request. The checks make theirs; this is for the tests of a client.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`], as for [`Post::new`](crate::Post::new).
    pub fn new(url: &str) -> Result<Self, ConfigError> {
        Ok(Self {
            url: Endpoint::parse(url)?,
            headers: Vec::new(),
        })
    }

    /// With one more header: its name in lower case, its value in visible ASCII.
    pub fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Where to.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// The headers, names in lower case; `host` is the client's business.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.headers.iter().copied()
    }
}

impl fmt::Debug for Get {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL is not shown: it holds the beginning of a digest.
        f.debug_struct("Get").finish_non_exhaustive()
    }
}

/// What came back: a status, and the whole body.
pub struct Page {
    status: u16,
    body: Vec<u8>,
}

impl Page {
    /// A page, whole. `None` when it is over [`MAX_PAGE_BYTES`].
    pub fn new(status: u16, body: Vec<u8>) -> Option<Self> {
        (body.len() <= MAX_PAGE_BYTES).then_some(Self { status, body })
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}
