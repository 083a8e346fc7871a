//! The spawned worker: wake-up, time limits, back-off, graceful shutdown. Real time here, because
//! that is what it works with; every wait ends as soon as the thing happens.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{account, client, keyring, site, typed};
use password_reset::account::UserId;
use password_reset::audit::EventKind;
use password_reset::flow::{Parts, WorkerOptions};
use password_reset::limit::Unlimited;
use password_reset::memory::{MemoryQueue, MemoryTokens};
use password_reset::queue::JobQueue;
use password_reset::store::{Live, TokenStore};
use password_reset::testing::{Behaviour, Faults, Faulty, MemoryUsers, Outbox, Recorder};
use password_reset::token::{Epoch, KeyId, Purpose, Selector, TokenDigest, TokenRecord};
use password_reset::{ResetFlow, Timestamp};

struct Service {
    flow: ResetFlow,
    outbox: Outbox,
    recorder: Recorder,
    faults: Faults,
    queue: MemoryQueue,
    tokens: MemoryTokens,
}

fn service() -> Service {
    let users = MemoryUsers::default();
    users.add(account("1", "ada@example.com"));
    let (outbox, recorder, faults) = (Outbox::default(), Recorder::default(), Faults::default());
    let (queue, tokens) = (MemoryQueue::default(), MemoryTokens::default());
    let flow = ResetFlow::builder(Parts {
        site: site(),
        keyring: keyring(),
        users: Arc::new(users),
        tokens: Arc::new(tokens.clone()),
        queue: Arc::new(Faulty::sharing(queue.clone(), &faults)),
        mailer: Arc::new(outbox.clone()),
        limiter: Arc::new(Unlimited),
    })
    .audit(recorder.clone())
    .hashing(common::cheap_pool())
    .danger()
    .spread(Duration::from_millis(20))
    .build()
    .unwrap();
    Service {
        flow,
        outbox,
        recorder,
        faults,
        queue,
        tokens,
    }
}

/// Waits for something that has to happen; the limit only ends a test that has failed.
async fn until(what: &str, happened: impl Fn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        while !happened() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what} never happened");
}

/// With a poll of an hour, only the wake-up can have done it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_wakes_the_worker_when_its_job_is_due() {
    let service = service();
    let options = WorkerOptions::default().poll(Duration::from_secs(3_600));
    let worker = service.flow.worker().spawn(options);
    // Idle first, so that the wake-up and not the start finds the job.
    until("the first look", || !service.faults.log().is_empty()).await;
    service
        .flow
        .request(&typed("ada@example.com"), &client())
        .await
        .unwrap();
    until("the mail", || service.outbox.messages().len() == 1).await;
    assert_eq!(worker.shutdown().await.done, 1);
}

/// Every job rings, not only the first; three requests, three mails, with a poll of an hour.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_job_wakes_the_worker() {
    let service = service();
    let options = WorkerOptions::default().poll(Duration::from_secs(3_600));
    let worker = service.flow.worker().spawn(options);
    until("the first look", || !service.faults.log().is_empty()).await;
    for _ in 0..3 {
        service
            .flow
            .request(&typed("ada@example.com"), &client())
            .await
            .unwrap();
    }
    until("three mails", || service.outbox.messages().len() == 3).await;
    worker.shutdown().await;
}

/// What another process queued is found by polling.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_of_another_process_is_found() {
    let (service, other) = (service(), service());
    other
        .flow
        .request(&typed("ada@example.com"), &client())
        .await
        .unwrap();
    let later =
        password_reset::Timestamp::from(std::time::SystemTime::now()) + Duration::from_secs(60);
    let jobs = other.queue.lease(later, later, 1).await.unwrap();
    let worker = service
        .flow
        .worker()
        .spawn(WorkerOptions::default().poll(Duration::from_millis(5)));
    service
        .queue
        .push(&jobs.first().unwrap().job)
        .await
        .unwrap();
    until("the mail", || service.outbox.messages().len() == 1).await;
    worker.shutdown().await;
}

/// A mailer that hangs is cut off and the job is put back; the worker goes on with the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_mailer_is_cut_off() {
    let service = service();
    service.outbox.behave(Behaviour::Hang);
    let options = WorkerOptions::default()
        .poll(Duration::from_millis(5))
        .job_limit(Duration::from_millis(50));
    let worker = service.flow.worker().spawn(options);
    service
        .flow
        .request(&typed("ada@example.com"), &client())
        .await
        .unwrap();
    let cut = |kind: &EventKind| matches!(kind, EventKind::BackendFailed { .. });
    until("the cut", || service.recorder.kinds().iter().any(cut)).await;
    let report = worker.shutdown().await;
    assert_eq!((report.retried, report.done), (1, 0));
}

/// A queue that fails is asked again, and the mail is not lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_queue_is_asked_again() {
    let service = service();
    service
        .flow
        .request(&typed("ada@example.com"), &client())
        .await
        .unwrap();
    service.faults.fail(1);
    service.faults.panic(2);
    let options = WorkerOptions::default().poll(Duration::from_millis(5));
    let worker = service.flow.worker().spawn(options);
    until("the mail", || service.outbox.messages().len() == 1).await;
    assert_eq!(worker.shutdown().await.failures, 2);
}

/// A queue that hangs is cut off and asked again, even with a poll above the longest back-off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_queue_is_asked_again() {
    let service = service();
    service
        .flow
        .request(&typed("ada@example.com"), &client())
        .await
        .unwrap();
    service.faults.hang(1);
    let options = WorkerOptions::default()
        .poll(Duration::from_millis(5))
        .job_limit(Duration::from_millis(50));
    let worker = service.flow.worker().spawn(options);
    until("the mail", || service.outbox.messages().len() == 1).await;
    assert_eq!(worker.shutdown().await.failures, 1);
}

/// Shutting down finishes what was begun and leaves the rest in the queue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_is_graceful() {
    let service = service();
    let worker = service
        .flow
        .worker()
        .spawn(WorkerOptions::default().parallel(2));
    for _ in 0..3 {
        service
            .flow
            .request(&typed("ada@example.com"), &client())
            .await
            .unwrap();
    }
    until("three mails", || service.outbox.messages().len() == 3).await;
    let report = worker.shutdown().await;
    assert_eq!((report.done, report.failures), (3, 0));
    service
        .flow
        .request(&typed("ada@example.com"), &client())
        .await
        .unwrap();
    let dropped = service.flow.worker().spawn(WorkerOptions::default());
    drop(dropped);
}

/// A thousand at a time, so that nobody waits behind a large purge; one batch after the other, so
/// that none piles up.
#[tokio::test(start_paused = true)]
async fn dead_records_are_purged_in_batches_until_none_is_left() {
    let Service {
        flow,
        tokens,
        outbox,
        ..
    } = service();
    let dead: Vec<_> = (0..2_500_u32).map(dead_record).collect();
    for record in &dead {
        let _ = tokens.insert(record, Live::default()).await.unwrap();
    }
    let left = || async {
        let mut left = 0;
        for record in &dead {
            left += u32::from(tokens.find(&record.selector).await.unwrap().is_some());
        }
        left
    };
    let worker = flow.worker().spawn(WorkerOptions::default());
    tokio::time::sleep(Duration::from_millis(599_500)).await;
    assert_eq!(left().await, 2_500);
    for expected in [1_500, 500, 0] {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(left().await, expected);
    }
    worker.shutdown().await;
    assert!(outbox.messages().is_empty());
}

/// A token that expired ten years ago.
fn dead_record(number: u32) -> TokenRecord {
    let mut selector = [0; 16];
    selector[..4].copy_from_slice(&number.to_be_bytes());
    let past = Timestamp::from_unix_micros(1_400_000_000_000_000);
    TokenRecord::new(
        Selector::from_bytes(selector),
        Purpose::Reset,
        None,
        UserId::parse(&number.to_string()).unwrap(),
        Epoch::from_bytes([1; 32]),
        KeyId(1),
        TokenDigest::from_bytes([2; 32]),
        past,
        past + Duration::from_secs(60),
    )
}
