//! What connecting answers: a backend, or an error that says why and gives nothing away.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use std::error::Error as _;
use std::time::{Duration, Instant};

use common::{Scratch, at, job};
use password_reset::queue::JobQueue;
use password_reset_redis::{ConnectError, Error, RedisBackend, RedisOptions};
use tokio::net::TcpListener;

const WAIT: Duration = Duration::from_millis(500);
/// What connecting may take beyond [`WAIT`] on a busy machine.
const SLACK: Duration = Duration::from_millis(1_500);

#[tokio::test]
async fn a_server_that_refuses_is_a_typed_error() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    let start = Instant::now();
    let error = RedisBackend::connect(&format!("redis://:secret@{address}/")).await;
    let error = error.unwrap_err();
    assert!(start.elapsed() < SLACK);
    let ConnectError::Open(open) = &error else {
        panic!("{error:?}");
    };
    assert!(open.is_transient());
    assert_silent(&error);
}

#[tokio::test]
async fn a_server_that_never_answers_is_a_typed_error() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}/", silent.local_addr().unwrap());
    let start = Instant::now();
    let error = RedisOptions::new(&url).wait(WAIT).connect().await;
    assert!(
        matches!(error, Err(ConnectError::Open(Error::Busy))),
        "{error:?}"
    );
    assert!(start.elapsed() < WAIT + SLACK);
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_before_connecting() {
    for odd in [
        "",
        "localhost",
        "https://:secret@example.com",
        "redis://:secret@",
    ] {
        let error = RedisBackend::connect(odd).await.unwrap_err();
        assert!(matches!(error, ConnectError::Url(_)), "{error:?}");
        assert_silent(&error);
    }
    let options = RedisOptions::new("redis://:secret@127.0.0.1/").prefix("a{b");
    assert!(!format!("{options:?}").contains("secret"));
    let error = options.connect().await.unwrap_err();
    assert!(matches!(error, ConnectError::Prefix), "{error:?}");
}

#[cfg(not(feature = "tls"))]
#[tokio::test]
async fn tls_without_its_feature_is_refused() {
    let error = RedisBackend::connect("rediss://:secret@127.0.0.1/").await;
    let error = error.unwrap_err();
    assert!(matches!(error, ConnectError::Url(_)), "{error:?}");
    assert_silent(&error);
}

#[tokio::test]
async fn a_wrong_password_is_not_repeated() {
    let Some(scratch) = Scratch::new().await else {
        return;
    };
    let url = common::url().replace("redis://", "redis://nobody:secret@");
    let error = scratch.options(&url).connect().await.unwrap_err();
    let ConnectError::Open(open) = &error else {
        panic!("{error:?}");
    };
    assert!(!open.is_transient(), "{open:?}");
    assert_silent(&error);
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn a_server_without_tls_is_a_typed_error() {
    let Some(_) = Scratch::new().await else {
        return;
    };
    let url = common::url().replace("redis://", "rediss://:secret@");
    let start = Instant::now();
    let error = RedisOptions::new(&url).wait(WAIT).connect().await;
    let error = error.unwrap_err();
    assert!(start.elapsed() < WAIT + SLACK);
    assert!(matches!(error, ConnectError::Open(_)), "{error:?}");
    assert_silent(&error);
}

/// Neither the password nor where it goes.
fn assert_silent(error: &ConnectError) {
    let mut said = format!("{error:?} {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        said += &format!(" {cause:?} {cause}");
        source = cause.source();
    }
    assert!(!said.contains("secret"), "{said}");
}

#[tokio::test]
async fn the_applications_own_connection_works() {
    let Some(scratch) = Scratch::new().await else {
        return;
    };
    let client = password_reset_redis::redis::Client::open(common::url()).unwrap();
    let manager = client.get_connection_manager().await.unwrap();
    let odd = RedisBackend::with_connection(manager.clone(), "a b");
    assert!(matches!(odd, Err(ConnectError::Prefix)));
    let backend = RedisBackend::with_connection(manager, scratch.prefix()).unwrap();
    let other = scratch.backend().await;
    backend.push(&job(5)).await.unwrap();
    assert_eq!(other.lease(at(5), at(6), 10).await.unwrap().len(), 1);
    assert_eq!(format!("{backend:?}"), "RedisBackend { .. }");
}

#[tokio::test]
async fn the_server_says_how_safe_it_is() {
    let Some(scratch) = Scratch::new().await else {
        return;
    };
    assert!(scratch.backend().await.durability().await.is_ok());
}
