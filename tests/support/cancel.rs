//! "This wasn't me" on a store that two processes share. For every adapter.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "processes.rs"]
pub(crate) mod processes;

use std::time::Duration;

use password_reset::account::UserId;
use password_reset::audit::Actor;
use password_reset::flow::{CancelError, Cancelable, Cancelled};
use processes::{Process, Shared, client, processes};
use tokio::task::JoinSet;

const RACERS: usize = 16;
const RACES: usize = 10;

fn actor() -> Actor {
    Actor::parse("grace, ticket 7").unwrap()
}

impl Process {
    async fn cancel(&self, token: &str, pause: Duration) -> Result<Cancelled, CancelError> {
        let looked = self.flow.look_at_cancel(token, &client()).await?;
        looked.cancel(pause).await
    }

    async fn works(&self, token: &str) -> bool {
        self.flow.verify(token, &client()).await.is_ok()
    }
}

fn ada() -> UserId {
    UserId::parse("ada's id").unwrap()
}

/// The story, with every step seen by the other process.
pub(crate) async fn a_pause_holds_across_processes<B: Shared>(backends: [B; 2]) {
    let [one, other] = processes(backends);
    assert!(one.is_mailed().await);
    let link = one.outbox.last_token().unwrap();
    let token = one.outbox.last_cancel_token().unwrap();
    assert!(other.works(&link).await);

    let week = Cancelable::LONGEST_PAUSE;
    let done = other.cancel(&token, week).await.unwrap();
    assert_eq!(done.revoked, 1);
    assert!(!one.works(&link).await);
    for _ in 0..3 {
        assert!(!one.is_mailed().await && !other.is_mailed().await);
        one.clock.advance(2 * Cancelable::PAUSE);
    }
    // Resumed, and paused again on the same day.
    other.flow.operator(actor()).resume(&ada()).await.unwrap();
    assert!(one.is_mailed().await);
    let until = one.cancel(&token, Cancelable::PAUSE).await.unwrap();
    let until = until.paused_until.unwrap();
    assert!(!other.is_mailed().await);
    other.clock.set(until);
    assert!(other.is_mailed().await);
}

/// Many at once write the same pause, and each of them is told that it stands.
pub(crate) async fn many_may_cancel_at_once<B: Shared>(backends: [B; 2]) {
    let [one, other] = processes(backends);
    assert!(one.is_mailed().await);
    let token = one.outbox.last_cancel_token().unwrap();
    let mut racers = JoinSet::new();
    for racer in 0..RACERS {
        let process = if racer % 2 == 0 { &one } else { &other };
        let (process, token) = (process.clone(), token.clone());
        // Half of them for longer.
        let days = if racer % 4 < 2 { 1 } else { 3 };
        racers.spawn(async move { process.cancel(&token, days * Cancelable::PAUSE).await });
    }
    let mut revoked = 0;
    for done in racers.join_all().await {
        let done = done.unwrap();
        revoked += done.revoked;
        assert!(done.paused_until.is_some());
    }
    assert_eq!(revoked, 1);
    one.clock.advance(2 * Cancelable::PAUSE);
    assert!(!one.is_mailed().await);
    one.clock.advance(2 * Cancelable::PAUSE);
    assert!(other.is_mailed().await);
}

/// A mail that is made in one process while the other cancels: its link never works afterwards.
pub(crate) async fn no_link_outlives_a_cancel_of_the_other_process<B: Shared>(backends: [B; 2]) {
    let [one, other] = processes(backends);
    assert!(one.is_mailed().await);
    let token = one.outbox.last_cancel_token().unwrap();
    for _ in 0..RACES {
        one.flow.operator(actor()).resume(&ada()).await.unwrap();
        one.ask().await;
        let (sender, canceler) = (one.clone(), other.clone());
        let sending = tokio::spawn(async move { sender.flow.worker().run_due().await });
        canceler.cancel(&token, Cancelable::PAUSE).await.unwrap();
        sending.await.unwrap();
        let last = one.outbox.last_token().unwrap();
        assert!(!one.works(&last).await);
    }
}

/// Each of these on one kind of backend.
macro_rules! cancels {
    ($database:ident, $pair:expr) => {
        $crate::cancel::processes::across_processes! { cancel, $database, $pair,
            a_pause_holds_across_processes
            many_may_cancel_at_once
            no_link_outlives_a_cancel_of_the_other_process
        }
    };
}
pub(crate) use cancels;
