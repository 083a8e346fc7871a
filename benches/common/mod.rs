//! What the benches share: one small service, and how numbers are printed.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "shared by several benches, each uses a part; a bench may panic"
)]

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use password_reset::account::{
    Account, Address, Credential, Identifier, SessionScope, Swap, UserId, UserStore,
};
use password_reset::async_trait;
use password_reset::audit::{AuditSink, Event};
use password_reset::error::BoxError;
use password_reset::flow::{Builder, Limits, Parts, ResetFlow};
use password_reset::limit::{Quota, RateLimiter, Unlimited};
use password_reset::mail::{LinkBase, Mailbox, Mailer, Site};
use password_reset::memory::{MemoryLimiter, MemoryQueue, MemoryTokens};
use password_reset::password::PasswordHash;
use password_reset::queue::JobQueue;
use password_reset::store::TokenStore;
use password_reset::testing::Outbox;
use password_reset::token::Keyring;
use password_reset_sqlx::sqlx::{self, AssertSqlSafe, Connection, PgConnection};
use password_reset_sqlx::{PostgresOptions, SqliteBackend};

/// Of nothing, and as long as a real one: what is shorter is refused before any work.
pub const STORED: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g";
pub const ADDRESS: &str = "ada.lovelace@example.com";

/// Whether cargo asks only if the bench runs (`-- --test`).
pub fn is_test() -> bool {
    std::env::args().any(|arg| arg == "--test")
}

/// A number from the environment.
pub fn number(name: &str, default: usize) -> usize {
    let given = std::env::var(name).ok().and_then(|text| text.parse().ok());
    given.unwrap_or(default)
}

/// The value below which the share `p` of the samples lies.
pub fn percentile(sorted: &[f64], p: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let place = (p * sorted.len() as f64).ceil() as usize;
    sorted[place.saturating_sub(1).min(last)]
}

pub fn sorted(mut samples: Vec<f64>) -> Vec<f64> {
    samples.sort_unstable_by(f64::total_cmp);
    samples
}

pub fn median(samples: &[f64]) -> f64 {
    percentile(&sorted(samples.to_vec()), 0.5)
}

pub fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

pub fn user(text: &str) -> UserId {
    UserId::parse(text).unwrap()
}

pub fn account(id: &str, mail: &str) -> Account {
    let stored = PasswordHash::parse(STORED).unwrap();
    Account::new(user(id), Credential::Password(stored)).verified(address(mail))
}

/// Hears everything and keeps nothing.
pub struct NoAudit;

impl AuditSink for NoAudit {
    fn record(&self, _: &Event) -> Result<(), BoxError> {
        Ok(())
    }

    fn lost(&self) -> u64 {
        0
    }
}

/// Every id is an account, and all accounts look alike until their password is set. Costs nothing
/// but what the trait asks for, the copy of an account.
pub struct Everyone {
    template: Account,
    passwords: Mutex<HashMap<UserId, Credential>>,
}

impl Default for Everyone {
    fn default() -> Self {
        Self {
            template: account("template", ADDRESS),
            passwords: Mutex::default(),
        }
    }
}

impl Everyone {
    /// The account with this id, before its password was changed.
    pub fn fresh(id: &str) -> Account {
        account(id, ADDRESS)
    }
}

#[async_trait]
impl UserStore for Everyone {
    async fn find(&self, _: &Identifier) -> Result<Option<Account>, BoxError> {
        Ok(None)
    }

    async fn account(&self, user: &UserId) -> Result<Option<Account>, BoxError> {
        let changed = self.passwords.lock().unwrap().get(user).cloned();
        let credential = changed.unwrap_or_else(|| self.template.credential.clone());
        let mut account = Account::new(user.clone(), credential);
        account.verified.clone_from(&self.template.verified);
        Ok(Some(account))
    }

    async fn set_password(
        &self,
        user: &UserId,
        expected: &Credential,
        new: &PasswordHash,
    ) -> Result<Swap, BoxError> {
        let mut passwords = self.passwords.lock().unwrap();
        let present = passwords.get(user).unwrap_or(&self.template.credential);
        if present.expose() != expected.expose() {
            return Ok(Swap::Stale);
        }
        passwords.insert(user.clone(), Credential::Password(new.clone()));
        Ok(Swap::Done)
    }

    async fn end_sessions(&self, _: &UserId, _: SessionScope) -> Result<(), BoxError> {
        Ok(())
    }
}

/// Where tokens and jobs are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Store {
    Memory,
    /// A file in a temporary directory, with SQLite's default durability.
    Sqlite,
    /// A schema of its own on the server that the tests use.
    Postgres,
}

impl Store {
    /// Those that this machine has: PostgreSQL only where a server answers.
    pub async fn all() -> Vec<Self> {
        let mut all = vec![Self::Memory, Self::Sqlite];
        match PgConnection::connect(&postgres_url()).await {
            Ok(_) => all.push(Self::Postgres),
            Err(error) => eprintln!("without PostgreSQL: {error}"),
        }
        all
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

fn postgres_url() -> String {
    std::env::var("PASSWORD_RESET_TEST_POSTGRES")
        .unwrap_or_else(|_| "postgres://postgres@127.0.0.1:5432/test".to_owned())
}

/// An empty schema of its own. Those of an earlier bench go with the first.
async fn fresh_schema() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let mut connection = PgConnection::connect(&postgres_url()).await.unwrap();
    if number == 0 {
        let left =
            "SELECT nspname::text FROM pg_namespace WHERE nspname ~ '^password_reset_bench_'";
        let left: Vec<String> = sqlx::query_scalar(left)
            .fetch_all(&mut connection)
            .await
            .unwrap();
        for schema in left {
            let drop = AssertSqlSafe(format!("DROP SCHEMA {schema} CASCADE"));
            sqlx::raw_sql(drop).execute(&mut connection).await.unwrap();
        }
    }
    let schema = format!("password_reset_bench_{number}");
    let create = AssertSqlSafe(format!("CREATE SCHEMA {schema}"));
    sqlx::raw_sql(create)
        .execute(&mut connection)
        .await
        .unwrap();
    schema
}

pub struct Backends {
    pub tokens: Arc<dyn TokenStore>,
    pub queue: Arc<dyn JobQueue>,
    pub limiter: Arc<dyn RateLimiter>,
    /// The limiter of the same database.
    counting: Option<Arc<dyn RateLimiter>>,
    _file: Option<TempDir>,
}

impl Backends {
    /// Empty backends without limits. Memory has room for `capacity` records and jobs.
    pub async fn new(store: Store, capacity: usize) -> Self {
        match store {
            Store::Memory => Self {
                tokens: Arc::new(MemoryTokens::with_capacity(capacity)),
                queue: Arc::new(MemoryQueue::with_capacity(capacity)),
                limiter: Arc::new(Unlimited),
                counting: None,
                _file: None,
            },
            Store::Postgres => {
                let options = PostgresOptions::new(&postgres_url());
                let options = options.schema(&fresh_schema().await).unwrap();
                let backend = options.connect().await.unwrap();
                Self {
                    tokens: Arc::new(backend.clone()),
                    queue: Arc::new(backend.clone()),
                    limiter: Arc::new(Unlimited),
                    counting: Some(Arc::new(backend)),
                    _file: None,
                }
            }
            Store::Sqlite => {
                let directory = TempDir::new();
                let file = directory.0.join("resets.db");
                let url = format!("sqlite://{}", file.display());
                let backend = SqliteBackend::connect(&url).await.unwrap();
                Self {
                    tokens: Arc::new(backend.clone()),
                    queue: Arc::new(backend.clone()),
                    limiter: Arc::new(Unlimited),
                    counting: Some(Arc::new(backend)),
                    _file: Some(directory),
                }
            }
        }
    }

    /// The same with a limiter that counts.
    pub fn limited(mut self, capacity: usize) -> Self {
        self.limiter = match &self.counting {
            Some(limiter) => Arc::clone(limiter),
            None => Arc::new(MemoryLimiter::with_capacity(capacity)),
        };
        self
    }

    pub fn flow(
        &self,
        users: Arc<dyn UserStore>,
        mailer: Arc<dyn Mailer>,
        change: impl FnOnce(Builder) -> Builder,
    ) -> ResetFlow {
        let builder = ResetFlow::builder(Parts {
            site: site(),
            keyring: Keyring::ephemeral().unwrap(),
            users,
            tokens: Arc::clone(&self.tokens),
            queue: Arc::clone(&self.queue),
            mailer,
            limiter: Arc::clone(&self.limiter),
        });
        // Counted as by default, but never reached: a bench asks more often than a service is asked.
        let mut limits = Limits::default();
        limits.global = Quota::new(100_000_000, Duration::from_secs(3_600));
        change(builder.audit(NoAudit).limits(limits))
            .build()
            .unwrap()
    }
}

pub fn outbox() -> Arc<dyn Mailer> {
    Arc::new(Outbox::default())
}

fn site() -> Site {
    Site::new(
        "Example",
        LinkBase::parse("https://app.example.com/reset").unwrap(),
        "support@example.com",
        Mailbox::new(address("noreply@example.com")),
    )
    .unwrap()
}

/// A directory that goes away with the bench.
struct TempDir(PathBuf);

impl TempDir {
    fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("password-reset-bench-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn nanos(span: Duration, count: u64) -> f64 {
    span.as_secs_f64() * 1e9 / count as f64
}

/// A fast generator for orders and samples; nothing here is secret.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// `splitmix64`.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.roll()) * bound as u128) >> 64) as usize
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}
