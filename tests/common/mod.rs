//! One small service, whole: every promise is tested on it.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "shared by several test binaries, each uses a part; tests may panic"
)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use password_reset::account::{
    Account, Address, Client, Credential, Identifier, Status, UserId, UserStore,
};
use password_reset::audit::EventKind;
use password_reset::flow::{Builder, Parts, ResetFlow};
use password_reset::limit::{RateLimiter, Unlimited};
use password_reset::mail::{LinkBase, Mailbox, Mailer, Site};
use password_reset::memory::{MemoryLimiter, MemoryQueue, MemoryTokens};
use password_reset::password::{Candidate, HashPool, PasswordHash, PasswordHasher, Scratch};
use password_reset::queue::JobQueue;
use password_reset::recovery::SecondFactor;
use password_reset::store::TokenStore;
use password_reset::testing::{
    Faults, Faulty, InsecureHasher, ManualClock, MemoryUsers, Outbox, Recorder, SeededRandom,
};
use password_reset::token::{Key, KeyId, Keyring};

pub const GOOD: &str = "a quiet harbour at dawn";
pub const OLD_HASH: &str = "$insecure$00$the-hash-before";
/// Longer than the spread of a job's start.
pub const SPREAD: Duration = Duration::from_secs(3);

pub struct World {
    pub flow: ResetFlow,
    pub users: MemoryUsers,
    pub outbox: Outbox,
    pub clock: ManualClock,
    pub recorder: Recorder,
    /// Around every backend.
    pub faults: Faults,
}

pub struct Backends {
    pub tokens: Arc<dyn TokenStore>,
    pub queue: Arc<dyn JobQueue>,
    pub limiter: Arc<dyn RateLimiter>,
}

impl Default for Backends {
    fn default() -> Self {
        Self {
            tokens: Arc::new(MemoryTokens::default()),
            queue: Arc::new(MemoryQueue::default()),
            limiter: Arc::new(MemoryLimiter::default()),
        }
    }
}

impl Backends {
    pub fn unlimited() -> Self {
        Self {
            limiter: Arc::new(Unlimited),
            ..Self::default()
        }
    }
}

pub fn site() -> Site {
    Site::new(
        "Example",
        LinkBase::parse("https://app.example.com/reset").unwrap(),
        "support@example.com",
        Mailbox::new(address("noreply@example.com")),
    )
    .unwrap()
}

pub fn keyring() -> Keyring {
    Keyring::new(Key::new(KeyId(1), &[7; 32]).unwrap())
}

pub fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

pub fn user(text: &str) -> UserId {
    UserId::parse(text).unwrap()
}

pub fn typed(text: &str) -> Identifier {
    Identifier::parse(text).unwrap()
}

pub fn client() -> Client {
    Client::from_ip([192, 0, 2, 7].into())
}

pub fn credential(text: &str) -> Credential {
    Credential::Password(PasswordHash::parse(text).unwrap())
}

pub fn account(id: &str, mail: &str) -> Account {
    Account::new(user(id), credential(OLD_HASH)).verified(address(mail))
}

pub fn cheap_pool() -> HashPool {
    HashPool::new(InsecureHasher).unwrap()
}

/// A fresh database file in the test's own folder.
pub struct File(pub std::path::PathBuf);

impl File {
    pub fn new(name: &str) -> Self {
        let unique = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        let folder = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let folder = folder.join(format!(
            "{name}-{}-{}",
            std::process::id(),
            unique.as_nanos()
        ));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    /// Tokens, queue and limits on the file; without limits where the test is about something
    /// else.
    pub async fn backends(&self, limited: bool) -> Backends {
        let path = self.0.join("reset.db");
        let url = format!("sqlite://{}", path.display());
        // The tests ask for what survives a crash of the process, not of the machine.
        let options = password_reset_sqlx::SqliteOptions::new(&url).synchronous_normal();
        let file = options.connect().await.unwrap();
        let limiter: Arc<dyn RateLimiter> = if limited {
            Arc::new(file.clone())
        } else {
            Arc::new(Unlimited)
        };
        Backends {
            tokens: Arc::new(file.clone()),
            queue: Arc::new(file),
            limiter,
        }
    }

    /// Everything that is on the disk, the write-ahead log included.
    pub fn bytes(&self) -> Vec<u8> {
        let files = std::fs::read_dir(&self.0).unwrap();
        files
            .flat_map(|file| std::fs::read(file.unwrap().path()).unwrap())
            .collect()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl World {
    pub fn new() -> Self {
        Self::with(Backends::default(), |builder| builder)
    }

    pub fn unlimited() -> Self {
        Self::with(Backends::unlimited(), |builder| builder)
    }

    pub fn with(backends: Backends, change: impl FnOnce(Builder) -> Builder) -> Self {
        Self::at(site(), backends, change)
    }

    pub fn at(site: Site, backends: Backends, change: impl FnOnce(Builder) -> Builder) -> Self {
        let users = accounts();
        let (outbox, clock) = (Outbox::default(), ManualClock::default());
        let (recorder, faults) = (Recorder::default(), Faults::default());
        let users_seam: Arc<dyn UserStore> = Arc::new(Faulty::sharing(users.clone(), &faults));
        let mailer: Arc<dyn Mailer> = Arc::new(Faulty::sharing(outbox.clone(), &faults));
        let builder = ResetFlow::builder(Parts {
            site,
            keyring: keyring(),
            users: users_seam,
            tokens: Arc::new(Faulty::sharing(backends.tokens, &faults)),
            queue: Arc::new(Faulty::sharing(backends.queue, &faults)),
            mailer,
            limiter: Arc::new(Faulty::sharing(backends.limiter, &faults)),
        })
        .clock(clock.clone())
        .audit(recorder.clone())
        .hashing(cheap_pool())
        .random(SeededRandom::new(1));
        let flow = change(builder).build().unwrap();
        Self {
            flow,
            users,
            outbox,
            clock,
            recorder,
            faults,
        }
    }

    /// Asks for a link and lets the worker mail it.
    pub async fn mailed(&self, identifier: &str) -> Option<String> {
        self.flow
            .request(&typed(identifier), &client())
            .await
            .unwrap();
        let before = self.outbox.messages().len();
        self.work().await;
        let links: Vec<_> = self.outbox.messages().into_iter().skip(before).collect();
        links.last().and_then(|_| self.outbox.last_token())
    }

    /// Lets the worker do everything that the spread holds back.
    pub async fn work(&self) {
        self.clock.advance(SPREAD);
        self.flow.worker().run_due().await;
    }

    pub async fn reset(&self, token: &str, password: &str) -> Result<bool, String> {
        let verified = self
            .flow
            .verify(token, &client())
            .await
            .map_err(|error| format!("{error:?}"))?;
        let password = verified
            .parse_password(password)
            .map_err(|error| error.to_string())?;
        let completed = verified.complete(password).await;
        completed
            .map(|done| done.settled)
            .map_err(|error| format!("{error:?}"))
    }

    pub fn logs_in(&self, id: &str, password: &str) -> bool {
        let Some(stored) = self.users.hash_of(&user(id)) else {
            return false;
        };
        let stored = PasswordHash::parse(&stored).unwrap();
        let candidate = Candidate::parse(password).unwrap();
        InsecureHasher
            .verify(&candidate, &stored, &mut Scratch::new())
            .unwrap_or(false)
    }

    pub fn saw(&self, wanted: impl Fn(EventKind) -> bool) -> usize {
        self.recorder
            .kinds()
            .into_iter()
            .filter(|kind| wanted(*kind))
            .count()
    }

    pub fn hash_or_none(&self, id: &str) -> Option<String> {
        self.users.hash_of(&user(id))
    }

    pub fn hash(&self, id: &str) -> String {
        self.users.hash_of(&user(id)).unwrap()
    }
}

/// One account of every kind.
fn accounts() -> MemoryUsers {
    let users = MemoryUsers::default();
    users.add(account("1", "ada@example.com"));
    let mut disabled = account("2", "disabled@example.com");
    disabled.status = Status::Disabled;
    users.add(disabled);
    let mut unverified = Account::new(user("3"), credential(OLD_HASH));
    unverified
        .unverified
        .push(address("unverified@example.com"));
    users.add(unverified);
    let external = Account::new(user("4"), Credential::External);
    users.add(external.verified(address("external@example.com")));
    let guarded = account("5", "guarded@example.com");
    users.add(guarded.second_factor(SecondFactor::Device));
    users
}

/// Every kind of identifier that gets no link, and one that does.
pub const KINDS: [&str; 5] = [
    "ada@example.com",
    "nobody@example.com",
    "disabled@example.com",
    "unverified@example.com",
    "external@example.com",
];

/// A flow on given users and tokens, for tests that build several.
pub fn with_keyring(
    keyring: Keyring,
    users: MemoryUsers,
    tokens: Arc<dyn TokenStore>,
) -> (ResetFlow, Outbox, ManualClock) {
    let (outbox, clock) = (Outbox::default(), ManualClock::default());
    let flow = ResetFlow::builder(Parts {
        site: site(),
        keyring,
        users: Arc::new(users),
        tokens,
        queue: Arc::new(MemoryQueue::default()),
        mailer: Arc::new(outbox.clone()),
        limiter: Arc::new(Unlimited),
    })
    .clock(clock.clone())
    .hashing(cheap_pool())
    .build()
    .unwrap();
    (flow, outbox, clock)
}

/// What a subscriber writes, to be read again.
#[derive(Clone, Default)]
pub struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

impl std::io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
