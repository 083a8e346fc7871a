//! A server that goes away, falls silent, and comes back.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::future::Future;
use std::time::{Duration, Instant};

use common::proxied;
use common::proxy::Mode;
use common::{Scratch, at, job, token};
use password_reset::error::BoxError;
use password_reset::limit::{LimitKey, Quota, RateLimiter};
use password_reset::queue::JobQueue;
use password_reset::store::{Live, TokenStore};
use password_reset_redis::{Error, RedisBackend};

const WAIT: Duration = Duration::from_millis(500);
/// What a call may take beyond [`WAIT`] on a busy machine.
const SLACK: Duration = Duration::from_millis(1_500);

/// Fails within its time, for now, and says so.
async fn fails<T>(call: impl Future<Output = Result<T, BoxError>>) -> Error {
    let start = Instant::now();
    let error = *call.await.err().unwrap().downcast::<Error>().unwrap();
    assert!(start.elapsed() < WAIT + SLACK, "{:?}", start.elapsed());
    assert!(error.is_transient(), "{error:?}");
    error
}

/// One call of each trait.
async fn all_fail(backend: &RedisBackend) {
    let quota = Quota::new(1, Duration::from_secs(60));
    let key = LimitKey::from_bytes([1; 32]);
    fails(backend.insert(&token("ada"), Live::default())).await;
    fails(backend.find(&token("ada").selector)).await;
    fails(backend.push(&job(0))).await;
    fails(backend.lease(at(0), at(1), 1)).await;
    fails(backend.check(&key, &quota, at(0))).await;
    fails(backend.clear(&key)).await;
}

/// The same backend works again, after a failed call or two.
async fn recovers(backend: &RedisBackend) {
    let start = Instant::now();
    while backend.push(&job(0)).await.is_err() {
        assert!(start.elapsed() < WAIT + SLACK, "still down");
    }
    for _ in 0..100 {
        backend.push(&job(0)).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_goes_away_comes_back() {
    let Some(scratch) = Scratch::new().await else {
        return;
    };
    let (proxy, url) = proxied().await;
    let options = scratch.options(&url).wait(WAIT);
    let backend = options.connect().await.unwrap();
    for _ in 0..3 {
        backend.push(&job(0)).await.unwrap();
        proxy.switch(Mode::Refuse).await;
        all_fail(&backend).await;
        proxy.switch(Mode::Pass).await;
        recovers(&backend).await;
    }
}

#[tokio::test]
async fn a_connection_that_falls_silent_is_replaced() {
    let Some(scratch) = Scratch::new().await else {
        return;
    };
    let (proxy, url) = proxied().await;
    let options = scratch.options(&url).wait(WAIT);
    let backend = options.connect().await.unwrap();
    backend.push(&job(0)).await.unwrap();
    proxy.switch(Mode::Silent).await;
    assert!(matches!(fails(backend.push(&job(0))).await, Error::Busy));
    all_fail(&backend).await;
    // The old connections stay silent for ever; a new one is heard.
    proxy.switch(Mode::Pass).await;
    recovers(&backend).await;
}
