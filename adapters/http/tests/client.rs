//! The ready client: what it waits for, what it keeps, and where it does not go.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{Act, KEY, Provider, TOKEN, answer, assert_discreet, client, impatient, told};
use password_reset_http::{Answer, HttpPost, MAX_ANSWER_BYTES, Post, PostError, ReqwestPost};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::time::timeout;

/// What a call may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

fn post(base: &str) -> Post {
    let post = Post::new(&format!("{base}/v1/mail"), TOKEN.into()).unwrap();
    post.header("authorization", format!("Bearer {KEY}"))
}

/// Posts, and comes to an end by itself.
async fn soon(client: &ReqwestPost, post: &Post) -> Result<Answer, PostError> {
    timeout(PATIENCE, client.post(post)).await.unwrap()
}

#[tokio::test]
async fn silence_after_the_request_ends_in_time_and_is_uncertain() {
    let provider = Provider::start([Act::Stall(Vec::new())]).await;
    let error = soon(&impatient(), &post(&provider.base)).await.unwrap_err();
    assert!(matches!(error, PostError::NoAnswer(_)));
    assert_discreet(&told(&error));
    // In some URLs are names of accounts.
    assert!(!told(&error).contains("/v1/mail"));
    assert_eq!(provider.seen().len(), 1);
}

#[tokio::test]
async fn half_a_head_is_no_answer() {
    for act in [
        Act::Raw(b"HTTP/1.1 200".to_vec()),
        Act::Stall(b"HTTP/1.1 200 OK\r\ncontent-".to_vec()),
        Act::Raw(b"no http\r\n\r\n".to_vec()),
    ] {
        let provider = Provider::start([act]).await;
        let error = soon(&impatient(), &post(&provider.base)).await.unwrap_err();
        assert!(matches!(error, PostError::NoAnswer(_)));
    }
}

#[tokio::test]
async fn a_status_counts_whatever_becomes_of_the_body() {
    let head = b"HTTP/1.1 202 Accepted\r\ncontent-length: 100\r\n\r\n{\"a\":";
    for act in [Act::Raw(head.to_vec()), Act::Stall(head.to_vec())] {
        let provider = Provider::start([act]).await;
        let answer = soon(&impatient(), &post(&provider.base)).await.unwrap();
        assert_eq!((answer.status(), answer.body()), (202, &b"{\"a\":"[..]));
    }
}

#[tokio::test]
async fn a_huge_answer_is_cut() {
    let huge = "a".repeat(10 * MAX_ANSWER_BYTES);
    let provider = Provider::start([Act::Answer(400, huge)]).await;
    let answer = soon(&client(), &post(&provider.base)).await.unwrap();
    assert_eq!(answer.status(), 400);
    assert_eq!(answer.body().len(), MAX_ANSWER_BYTES);
}

#[tokio::test]
async fn an_endless_answer_ends() {
    let mut endless = b"HTTP/1.1 400 x\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..20 {
        endless.extend(b"2000\r\n");
        endless.extend([b'a'; 0x2000]);
        endless.extend(b"\r\n");
    }
    let provider = Provider::start([Act::Stall(endless)]).await;
    // The patient client: it stops because it has enough, not because time runs out.
    let answer = soon(&client(), &post(&provider.base)).await.unwrap();
    assert_eq!(answer.body().len(), MAX_ANSWER_BYTES);
}

#[tokio::test]
async fn no_redirect_carries_key_and_link_away() {
    let elsewhere = Provider::start([answer(200)]).await;
    for status in [301, 302, 303, 307, 308] {
        let redirect = format!(
            "HTTP/1.1 {status} x\r\nlocation: {}/v1/mail\r\ncontent-length: 0\r\n\r\n",
            elsewhere.base,
        );
        let provider = Provider::start([Act::Raw(redirect.into())]).await;
        let answer = soon(&client(), &post(&provider.base)).await.unwrap();
        assert_eq!(answer.status(), status);
    }
    assert!(elsewhere.seen().is_empty());
}

#[tokio::test]
async fn a_refusal_is_not_tried_again_by_the_client() {
    for act in [answer(503), answer(429), answer(408), Act::Raw(Vec::new())] {
        let provider = Provider::start([act]).await;
        let _ = soon(&client(), &post(&provider.base)).await;
        assert_eq!(provider.seen().len(), 1);
    }
}

#[tokio::test]
async fn a_client_that_speaks_tls_shows_nothing_to_who_does_not() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut first = vec![0; 4_096];
        let length = socket.read(&mut first).await.unwrap();
        first.truncate(length);
        first
    });
    let error = soon(&impatient(), &post(&url)).await.unwrap_err();
    assert!(matches!(error, PostError::NotSent(_)));
    let first = server.await.unwrap();
    // A handshake record, and nothing of the request.
    assert_eq!(first.first(), Some(&0x16));
    for secret in [TOKEN, KEY, "authorization"] {
        let hit = first
            .windows(secret.len())
            .any(|part| part == secret.as_bytes());
        assert!(!hit, "{secret}");
    }
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_nothing_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        while socket.read(&mut [0; 4_096]).await.unwrap_or(0) > 0 {}
    });
    let error = soon(&impatient(), &post(&url)).await.unwrap_err();
    assert!(matches!(error, PostError::NotSent(_)));
    server.await.unwrap();
}

#[tokio::test]
async fn w9_a_header_value_with_a_line_break_is_not_sent() {
    let provider = Provider::start([answer(200)]).await;
    let post = post(&provider.base).header("idempotency-key", "a\r\nbcc: eve@evil.example.org");
    let error = soon(&client(), &post).await.unwrap_err();
    assert!(matches!(error, PostError::NotSent(_)));
    assert!(!told(&error).contains("eve"));
    assert!(provider.seen().is_empty());
}
