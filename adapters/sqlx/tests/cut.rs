//! Calls that end in the middle: dropped futures, full disks, connections in a bad state.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use common::{Scratch, at, fresh, job, token};
use password_reset::limit::{LimitKey, Quota, RateLimiter};
use password_reset::queue::JobQueue;
use password_reset::store::{Insert, Live, TokenStore};
use password_reset::token::Selector;
use password_reset::token::state::{Claim, ClaimId, Hold};
use password_reset_sqlx::{Error, SqliteBackend};
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions};

/// Polls `call` so many times and drops it right then, whatever is on its way.
async fn cut_after<F: Future>(polls: usize, call: F) {
    let mut call = pin!(call);
    let mut left = polls;
    poll_fn(move |context| {
        if left == 0 || call.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        left -= 1;
        if left == 0 {
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
}

/// Returns when the writer has done, or undone, whatever was cut off.
async fn drain(backend: &SqliteBackend) {
    let unknown = Selector::from_bytes([0; 16]);
    assert_eq!(backend.count_attempt(&unknown).await.unwrap(), None);
}

async fn one_connection(scratch: &Scratch) -> SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(scratch.file())
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal);
    let pool = SqlitePoolOptions::new().max_connections(1);
    pool.connect_with(options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_dropped_insert_leaves_all_or_nothing() {
    let scratch = Scratch::new("dropped-insert");
    let backend = scratch.backend().await;
    let live = Live::newest(2.try_into().unwrap());
    let mut all = Vec::new();
    for polls in (0..40).chain(0..40).chain(0..40) {
        let record = token("ada");
        all.push(record.selector);
        cut_after(polls, backend.insert(&record, live)).await;
        drain(&backend).await;
        let mut open = 0;
        for selector in &all {
            let stored = backend.find(selector).await.unwrap();
            open += usize::from(stored.is_some_and(|record| record.state.is_open()));
        }
        assert!(open <= 2, "{open} live tokens after a cut at {polls}");
    }
    // The writer is not stuck in anybody's transaction.
    let record = token("ada");
    assert_eq!(backend.insert(&record, live).await.unwrap(), Insert::Done);
    assert!(backend.find(&record.selector).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_dropped_sweep_leaves_whole_claims() {
    let scratch = Scratch::new("dropped-sweep");
    let backend = scratch.backend().await;
    let first = ClaimId::from_bytes(fresh());
    let mut selectors = Vec::new();
    for number in 0..8 {
        let record = token(&format!("user-{number}"));
        let _ = backend.insert(&record, Live::default()).await.unwrap();
        let won = backend.claim(&record.selector, first, at(0), at(10));
        assert_eq!(won.await.unwrap(), Claim::Won);
        selectors.push(record.selector);
    }
    let mut now = 10;
    for polls in 0..60 {
        now += 10;
        let sweep = ClaimId::from_bytes(fresh());
        let call = backend.abandoned(sweep, at(now), at(now + 5), 100);
        cut_after(polls, call).await;
        drain(&backend).await;
        let mut mine = 0;
        for selector in &selectors {
            let record = backend.find(selector).await.unwrap().unwrap();
            mine += usize::from(
                matches!(record.state.hold, Hold::Claimed { claim, .. } if claim == sweep),
            );
        }
        assert!(mine == 0 || mine == 8, "{mine} of 8 after a cut at {polls}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_writer_survives_any_dropped_call() {
    let scratch = Scratch::new("dropped-any");
    let backend = scratch.backend().await;
    let quota = Quota::new(1_000, Duration::from_secs(1_000));
    for polls in 0..30 {
        let (record, job) = (token("ada"), job(0));
        let claim = ClaimId::from_bytes(fresh());
        let key = LimitKey::from_bytes([1; 32]);
        let _ = backend
            .insert(&record, Live::newest(1.try_into().unwrap()))
            .await
            .unwrap();
        backend.push(&job).await.unwrap();
        cut_after(polls, backend.claim(&record.selector, claim, at(0), at(1))).await;
        cut_after(polls, backend.count_attempt(&record.selector)).await;
        cut_after(polls, backend.lease(at(0), at(1), 1)).await;
        cut_after(polls, backend.check(&key, &quota, at(0))).await;
        cut_after(polls, backend.push(&job)).await;
    }
    backend.push(&job(0)).await.unwrap();
    let _ = backend
        .insert(&token("eve"), Live::default())
        .await
        .unwrap();
}

/// SQLite ends a transaction by itself on some failures; sqlx then believes the connection to be
/// inside one for ever and refuses to begin another.
#[tokio::test]
async fn a_transaction_that_the_database_ended_does_not_block_the_writer() {
    let scratch = Scratch::new("ended");
    let pool = one_connection(&scratch).await;
    let backend = SqliteBackend::with_pools(pool.clone(), pool.clone());
    backend.migrate().await.unwrap();

    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    sqlx::query("ROLLBACK")
        .execute(&mut *transaction)
        .await
        .unwrap();
    drop(transaction);
    let mut connection = pool.acquire().await.unwrap();
    assert!(connection.begin_with("BEGIN IMMEDIATE").await.is_err());
    drop(connection);

    let live = Live::newest(1.try_into().unwrap());
    assert_eq!(
        backend.insert(&token("ada"), live).await.unwrap(),
        Insert::Done
    );
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_the_writer_recovers() {
    let scratch = Scratch::new("full");
    // One connection, so the pragma is set on the very writer.
    let pool = one_connection(&scratch).await;
    let backend = SqliteBackend::with_pools(pool.clone(), pool.clone());
    backend.migrate().await.unwrap();
    let live = Live::newest(1_000.try_into().unwrap());
    let full = sqlx::query("PRAGMA max_page_count = 40");
    full.execute(&pool).await.unwrap();
    let mut answered = Vec::new();
    let failure = loop {
        let record = token("ada");
        match backend.insert(&record, live).await {
            Ok(_) => answered.push(record.selector),
            Err(failure) => break failure,
        }
    };
    let failure = failure.downcast::<Error>().unwrap();
    assert!(matches!(*failure, Error::Database(_)), "{failure:?}");
    sqlx::query("PRAGMA max_page_count = 100000")
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(
        backend.insert(&token("ada"), live).await.unwrap(),
        Insert::Done
    );
    for selector in answered {
        assert!(backend.find(&selector).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn waiting_for_a_stuck_process_ends_as_busy() {
    let scratch = Scratch::new("busy");
    let backend = password_reset_sqlx::SqliteOptions::new(&scratch.url())
        .wait(Duration::from_millis(50))
        .connect()
        .await
        .unwrap();
    let stuck = one_connection(&scratch).await;
    let lock = stuck.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let failure = backend.push(&job(0)).await.unwrap_err();
    let failure = failure.downcast::<Error>().unwrap();
    assert!(matches!(*failure, Error::Busy(_)) && failure.is_transient());
    // Reading goes on.
    assert!(
        backend
            .find(&token("ada").selector)
            .await
            .unwrap()
            .is_none()
    );
    lock.rollback().await.unwrap();
    backend.push(&job(0)).await.unwrap();
}

#[tokio::test]
async fn a_name_is_never_taken_twice() {
    let backend = SqliteBackend::in_memory().await.unwrap();
    let (record, job) = (token("ada"), job(0));
    let _ = backend.insert(&record, Live::default()).await.unwrap();
    backend.push(&job).await.unwrap();
    for failure in [
        backend.insert(&record, Live::default()).await.unwrap_err(),
        backend
            .insert(&record, Live::newest(1.try_into().unwrap()))
            .await
            .unwrap_err(),
        backend.push(&job).await.unwrap_err(),
    ] {
        let failure = failure.downcast::<Error>().unwrap();
        assert!(matches!(*failure, Error::Taken(_)), "{failure:?}");
        assert_eq!(failure.to_string(), "the key is taken");
    }
    // The refused insert superseded nothing.
    let kept = backend.find(&record.selector).await.unwrap().unwrap();
    assert!(kept.state.is_open());
}
