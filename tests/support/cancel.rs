//! "This wasn't me" on a store that two processes share. For every adapter.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use password_reset::ResetFlow;
use password_reset::account::{Account, Address, Client, Credential, Identifier, UserId};
use password_reset::audit::Actor;
use password_reset::flow::{CancelError, Cancelable, Cancelled, Limits, Parts};
use password_reset::limit::{Quota, Unlimited};
use password_reset::mail::{LinkBase, Mailbox, Site};
use password_reset::queue::JobQueue;
use password_reset::store::TokenStore;
use password_reset::testing::{ManualClock, MemoryUsers, Outbox};
use password_reset::token::{Key, KeyId, Keyring};
use tokio::task::JoinSet;

const SPREAD: Duration = Duration::from_secs(3);
const RACERS: usize = 16;
const RACES: usize = 10;

fn actor() -> Actor {
    Actor::parse("grace, ticket 7").unwrap()
}

/// One process: its flow, and the mails that it sent.
#[derive(Clone)]
struct Process {
    flow: ResetFlow,
    outbox: Outbox,
    clock: ManualClock,
}

impl Process {
    fn new<B>(backend: B, users: &MemoryUsers, clock: &ManualClock) -> Self
    where
        B: TokenStore + JobQueue + Clone,
    {
        let page = |path: &str| LinkBase::parse(&format!("https://app.example.com{path}")).unwrap();
        let sender = Mailbox::new(Address::parse("noreply@example.com").unwrap());
        let site = Site::new("Example", page("/reset"), "help", sender).unwrap();
        let outbox = Outbox::default();
        let mut limits = Limits::default();
        limits.mails = Quota::new(10_000, SPREAD);
        let flow = ResetFlow::builder(Parts {
            site: site.cancel_page(page("/reset/not-me")),
            keyring: Keyring::new(Key::new(KeyId(1), &[7; 32]).unwrap()),
            users: Arc::new(users.clone()),
            tokens: Arc::new(backend.clone()),
            queue: Arc::new(backend),
            mailer: Arc::new(outbox.clone()),
            limiter: Arc::new(Unlimited),
        })
        .limits(limits)
        .clock(clock.clone())
        .build()
        .unwrap();
        let clock = clock.clone();
        Self {
            flow,
            outbox,
            clock,
        }
    }

    async fn ask(&self) {
        let typed = Identifier::parse("ada@example.com").unwrap();
        self.flow.request(&typed, &client()).await.unwrap();
        self.clock.advance(SPREAD);
    }

    /// Whether a request is answered by a mail.
    async fn is_mailed(&self) -> bool {
        let before = self.outbox.messages().len();
        self.ask().await;
        self.flow.worker().run_due().await;
        self.outbox.messages().len() > before
    }

    async fn cancel(&self, token: &str, pause: Duration) -> Result<Cancelled, CancelError> {
        let looked = self.flow.look_at_cancel(token, &client()).await?;
        looked.cancel(pause).await
    }

    async fn works(&self, token: &str) -> bool {
        self.flow.verify(token, &client()).await.is_ok()
    }
}

fn client() -> Client {
    Client::from_ip([192, 0, 2, 7].into())
}

fn ada() -> UserId {
    UserId::parse("ada's id").unwrap()
}

fn processes<B: TokenStore + JobQueue + Clone>(backends: [B; 2]) -> [Process; 2] {
    let (users, clock) = (MemoryUsers::default(), ManualClock::default());
    let account = Account::new(ada(), Credential::Stamp("1".into()));
    users.add(account.verified(Address::parse("ada@example.com").unwrap()));
    backends.map(|backend| Process::new(backend, &users, &clock))
}

/// The story, with every step seen by the other process.
pub(crate) async fn a_pause_holds_across_processes<B>(backends: [B; 2])
where
    B: TokenStore + JobQueue + Clone,
{
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
pub(crate) async fn many_may_cancel_at_once<B>(backends: [B; 2])
where
    B: TokenStore + JobQueue + Clone,
{
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
pub(crate) async fn no_link_outlives_a_cancel_of_the_other_process<B>(backends: [B; 2])
where
    B: TokenStore + JobQueue + Clone,
{
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

/// Each of these on one kind of backend. `$pair` answers two of them, if there is a server.
macro_rules! cancels {
    ($database:ident, $pair:expr) => {
        cancels! { $database, $pair,
            a_pause_holds_across_processes
            many_may_cancel_at_once
            no_link_outlives_a_cancel_of_the_other_process
        }
    };
    ($database:ident, $pair:expr, $($story:ident)+) => {
        mod $database { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $story() {
                if let Some((_kept, backends)) = $pair {
                    crate::cancel::$story(backends).await;
                }
            }
        )+ }
    };
}
pub(crate) use cancels;
