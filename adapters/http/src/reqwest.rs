//! A ready client: [`ReqwestPost`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::HeaderValue;
use reqwest::redirect::Policy;
use reqwest::{Body, Client, Response, retry};
use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls_platform_verifier::BuilderVerifierExt;

use crate::get::{Get, HttpGet, MAX_PAGE_BYTES, Page};
use crate::post::{Answer, ERROR_TYPE, HttpPost, MAX_ANSWER_BYTES, Post, PostError};

const TIMEOUT: Duration = Duration::from_secs(30);
/// Under a worker's lease of a job.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60);
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(10);
/// Of the whole time, so that who cannot connect is told apart from who does not answer.
const CONNECT_SHARE: u32 = 3;

/// An [`HttpPost`], and an [`HttpGet`], on reqwest: TLS by rustls, with the root certificates of the operating system.
///
/// Follows no redirect, takes no proxy from the environment, tries nothing twice, keeps no cookie.
/// Cheap to clone; clones share their connections. Needs Tokio.
#[derive(Clone)]
pub struct ReqwestPost {
    client: Client,
}

/// The client cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No TLS: the operating system's root certificates cannot be read.
    #[error("tls cannot be set up")]
    Tls(#[source] rustls::Error),
    /// Anything else.
    #[error("the http client cannot be made")]
    Client(#[source] reqwest::Error),
}

impl ReqwestPost {
    /// A client that waits 30 s for a whole answer, and 10 s of them for a connection.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub fn new() -> Result<Self, ClientError> {
        Self::with_timeout(TIMEOUT)
    }

    /// A client that waits this long for a whole answer, and a third of it for a connection; at
    /// least 10 ms and at most 60 s.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub fn with_timeout(timeout: Duration) -> Result<Self, ClientError> {
        let timeout = timeout.clamp(SHORTEST_TIMEOUT, LONGEST_TIMEOUT);
        // Handed over ready-made: without it the client takes whatever cryptography the process
        // has chosen, and panics when it has chosen none.
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|tls| tls.with_platform_verifier())
            .map_err(ClientError::Tls)?
            .with_no_client_auth();
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(Policy::none())
            .retry(retry::never())
            .no_proxy()
            .timeout(timeout)
            .connect_timeout(timeout / CONNECT_SHARE)
            .build()
            .map_err(ClientError::Client)?;
        Ok(Self { client })
    }
}

#[async_trait]
impl HttpPost for ReqwestPost {
    async fn post(&self, post: &Post) -> Result<Answer, PostError> {
        let mut request = self.client.post(post.url());
        for (name, value) in post.headers() {
            let mut value = HeaderValue::from_str(value).map_err(PostError::not_sent)?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        let body = Body::from(post.body().to_vec());
        let response = request.body(body).send().await.map_err(unanswered)?;
        let status = response.status().as_u16();
        let error_type = response.headers().get(ERROR_TYPE).cloned();
        let answer = Answer::new(status, read(response).await);
        Ok(
            match error_type.as_ref().and_then(|value| value.to_str().ok()) {
                Some(error_type) => answer.with_error_type(error_type),
                None => answer,
            },
        )
    }
}

#[async_trait]
impl HttpGet for ReqwestPost {
    async fn get(&self, get: &Get) -> Result<Page, PostError> {
        let mut request = self.client.get(get.url());
        for (name, value) in get.headers() {
            request = request.header(name, value);
        }
        let mut response = request.send().await.map_err(unanswered)?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unanswered)? {
            if body.len() + chunk.len() > MAX_PAGE_BYTES {
                return Err(PostError::no_answer("the page is too long"));
            }
            body.extend_from_slice(&chunk);
        }
        Page::new(status, body).ok_or_else(|| PostError::no_answer("the page is too long"))
    }
}

impl fmt::Debug for ReqwestPost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestPost").finish_non_exhaustive()
    }
}

/// As much of the body as came and is kept. The status counts; the rest is for the operator.
async fn read(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = MAX_ANSWER_BYTES.saturating_sub(body.len());
        body.extend(chunk.iter().take(room));
        if chunk.len() >= room {
            break;
        }
    }
    body
}

/// Only an error of connecting says that nothing was sent.
fn unanswered(error: reqwest::Error) -> PostError {
    let sent = !(error.is_connect() || error.is_builder());
    let error = error.without_url();
    if sent {
        PostError::no_answer(error)
    } else {
        PostError::not_sent(error)
    }
}
