//! Two processes: flows that share their stores, their users and their clock. For every adapter.
#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "each test file uses a part"
)]
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;
use std::time::Duration;

use password_reset::ResetFlow;
use password_reset::account::{Account, Address, Client, Credential, Identifier, UserId};
use password_reset::audit::EventKind;
use password_reset::flow::{Builder, Limits, Parts};
use password_reset::limit::{Quota, RateLimiter, Unlimited};
use password_reset::mail::{LinkBase, Mailbox, Site};
use password_reset::password::HashPool;
use password_reset::queue::JobQueue;
use password_reset::store::TokenStore;
use password_reset::testing::{InsecureHasher, ManualClock, MemoryUsers, Outbox, Recorder};
use password_reset::token::{Key, KeyId, Keyring};

/// Longer than the spread of a job's start.
pub(crate) const SPREAD: Duration = Duration::from_secs(3);
pub(crate) const ADA: &str = "ada@example.com";

/// What two processes share.
pub(crate) trait Shared: TokenStore + JobQueue + Clone {}

impl<B: TokenStore + JobQueue + Clone> Shared for B {}

/// One process: its flow, the mails that it sent and the events that it saw.
#[derive(Clone)]
pub(crate) struct Process {
    pub(crate) flow: ResetFlow,
    pub(crate) outbox: Outbox,
    pub(crate) recorder: Recorder,
    pub(crate) clock: ManualClock,
    users: MemoryUsers,
}

/// Two of them, and Ada has an account.
pub(crate) fn processes<B: Shared>(backends: [B; 2]) -> [Process; 2] {
    processes_with(backends, |builder| builder)
}

pub(crate) fn processes_with<B: Shared>(
    backends: [B; 2],
    change: impl Fn(Builder) -> Builder,
) -> [Process; 2] {
    processes_within(
        backends,
        |_| Arc::new(Unlimited),
        |_, builder| change(builder),
    )
}

/// The same, with limits.
pub(crate) fn processes_within<B: Shared>(
    backends: [B; 2],
    limiter: impl Fn(&B) -> Arc<dyn RateLimiter>,
    change: impl Fn(&B, Builder) -> Builder,
) -> [Process; 2] {
    let (users, clock) = (MemoryUsers::default(), ManualClock::default());
    let processes = backends.map(|backend| {
        let change = |builder| change(&backend, builder);
        Process::new(backend.clone(), limiter(&backend), &users, &clock, change)
    });
    processes[0].add("ada's id", ADA);
    processes
}

impl Process {
    fn new<B: Shared>(
        backend: B,
        limiter: Arc<dyn RateLimiter>,
        users: &MemoryUsers,
        clock: &ManualClock,
        change: impl Fn(Builder) -> Builder,
    ) -> Self {
        let page = |path: &str| LinkBase::parse(&format!("https://app.example.com{path}")).unwrap();
        let sender = Mailbox::new(Address::parse("noreply@example.com").unwrap());
        let site = Site::new("Example", page("/reset"), "help", sender).unwrap();
        let (outbox, recorder) = (Outbox::default(), Recorder::default());
        let mut limits = Limits::default();
        limits.mails = Quota::new(10_000, SPREAD);
        let hashing = HashPool::builder(InsecureHasher).queue(1_000);
        let builder = ResetFlow::builder(Parts {
            site: site.cancel_page(page("/reset/not-me")),
            keyring: Keyring::new(Key::new(KeyId(1), &[7; 32]).unwrap()),
            users: Arc::new(users.clone()),
            tokens: Arc::new(backend.clone()),
            queue: Arc::new(backend),
            mailer: Arc::new(outbox.clone()),
            limiter,
        })
        .limits(limits)
        .clock(clock.clone())
        .audit(recorder.clone())
        .hashing(hashing.build().unwrap());
        Self {
            flow: change(builder).build().unwrap(),
            outbox,
            recorder,
            clock: clock.clone(),
            users: users.clone(),
        }
    }

    /// Opens an account, in both processes.
    pub(crate) fn add(&self, id: &str, address: &str) {
        let account = Account::new(UserId::parse(id).unwrap(), Credential::Stamp("1".into()));
        let account = account.verified(Address::parse(address).unwrap());
        self.users.add(account);
    }

    /// Asks for a link, whose job is due then.
    pub(crate) async fn ask(&self) {
        self.flow.request(&typed(ADA), &client()).await.unwrap();
        self.clock.advance(SPREAD);
    }

    /// Whether a request is answered by a mail.
    pub(crate) async fn is_mailed(&self) -> bool {
        let before = self.outbox.messages().len();
        self.ask().await;
        self.flow.worker().run_due().await;
        self.outbox.messages().len() > before
    }

    /// How often it saw this.
    pub(crate) fn saw(&self, kind: EventKind) -> usize {
        let kinds = self.recorder.kinds();
        kinds.into_iter().filter(|seen| *seen == kind).count()
    }
}

pub(crate) fn client() -> Client {
    Client::from_ip([192, 0, 2, 7].into())
}

pub(crate) fn typed(text: &str) -> Identifier {
    Identifier::parse(text).unwrap()
}

/// Each story of one file on one kind of backend. `$pair` answers two of them, if there is a
/// server, and what has to live as long as they do.
macro_rules! across_processes {
    ($file:ident, $database:ident, $pair:expr, $($story:ident)+) => {
        mod $database { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $story() {
                if let Some((_kept, backends)) = $pair {
                    crate::$file::$story(backends).await;
                }
            }
        )+ }
    };
}
pub(crate) use across_processes;
