//! The reset itself: [`ResetFlow`].
//!
//! One file a step, in the order of the story: [`builder`](ResetFlow::builder) (what is plugged
//! in), `request` (somebody asks), `gate` (whether they may), `outgoing` (who gets what), `deliver` (a worker mints and
//! mails), `hint` (letters without a link), `verify` (the link is opened), `code` (the same with a
//! code that is typed), `step_up` (a second factor is proven), `screen` (what has to be looked up
//! about a new password), `complete` (the password is changed), `settle` (what follows, and what
//! others left unfinished), `cancel` ("this wasn't me"), `worker` (who does the waiting work),
//! `operator` (revoking and purging, and acting for others).
//!
//! Only this module awaits backends. Everything that can be decided without them is decided in
//! pure functions elsewhere.

mod builder;
mod cancel;
mod code;
mod complete;
mod deliver;
mod gate;
mod hint;
mod operator;
mod outgoing;
mod request;
mod screen;
mod settle;
mod step_up;
mod verify;
mod watch;
mod worker;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hmac::Mac;

use crate::account::{Account, Identifier, Tenant, UserStore};
use crate::audit::{AuditSink, Event, EventKind, Pseudonym, Step};
use crate::clock::{Clock, Timestamp};
use crate::error::{Backend, BackendError, BoxError};
use crate::flow::gate::Gate;
use crate::limit::{LimitKey, RateLimiter};
use crate::mail::{Mailer, Site, Templates};
use crate::password::{BreachCheck, Context, HashPool, PasswordHistory, Policy, Unanswered};
use crate::queue::{JobId, JobQueue};
use crate::random::{self, Random};
use crate::recovery::{RecoveryPolicy, SecondFactorCheck};
use crate::sms::SmsSender;
use crate::store::{Live, TokenStore};
use crate::token::{Key, Keyring, TokenRecord};
use crate::wire::Fields;

pub use builder::{BuildError, Builder, Danger, Limits, Parts, Retry};
pub use cancel::{CancelError, Cancelable, Cancelled};
pub use code::{CodeAccepted, CodeError, Codes, Redeemed, TextLimits};
pub use complete::{CompleteError, Completed};
pub use hint::{ExternalAccounts, Strangers};
pub use operator::{Operator, OperatorDanger, OperatorError};
pub use request::{Accepted, RequestError};
pub use screen::ScreenError;
pub use step_up::{StepUp, StepUpError};
pub use verify::{Verified, VerifyError};
pub use watch::{WatchReport, Watcher};
#[cfg(feature = "tokio")]
pub use watch::{WatcherHandle, WatcherOptions};
pub use worker::{RunReport, Worker};
#[cfg(feature = "tokio")]
pub use worker::{WorkerHandle, WorkerOptions};

/// The whole reset, from "I forgot" to the new password.
///
/// Cheap to clone; all clones share everything. Has no type parameters, and its `Debug` prints
/// nothing of what is plugged in.
///
/// ```
/// # #[cfg(feature = "testing")]
/// # password_reset::testing::block_on(async {
/// use std::sync::Arc;
/// use password_reset::account::{Account, Address, Client, Credential, Identifier, UserId};
/// use password_reset::flow::{Parts, ResetFlow};
/// use password_reset::mail::{LinkBase, Mailbox, Site};
/// use password_reset::memory::{MemoryLimiter, MemoryQueue, MemoryTokens};
/// use password_reset::password::PasswordHash;
/// use password_reset::testing::{ManualClock, MemoryUsers, Outbox};
/// use password_reset::token::Keyring;
///
/// let users = MemoryUsers::default();
/// let stored = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2E$aGFzaGhhc2hoYXNoaGFzaA";
/// users.add(
///     Account::new(
///         UserId::parse("42")?,
///         Credential::Password(PasswordHash::parse(stored)?),
///     )
///     .verified(Address::parse("ada@example.com")?),
/// );
/// let outbox = Outbox::default();
/// let clock = ManualClock::default();
/// let flow = ResetFlow::builder(Parts {
///     site: Site::new(
///         "Example",
///         LinkBase::parse("https://app.example.com/reset-password")?,
///         "support@example.com",
///         Mailbox::new(Address::parse("noreply@example.com")?),
///     )?,
///     keyring: Keyring::ephemeral()?,
///     users: Arc::new(users),
///     tokens: Arc::new(MemoryTokens::default()),
///     queue: Arc::new(MemoryQueue::default()),
///     mailer: Arc::new(outbox.clone()),
///     limiter: Arc::new(MemoryLimiter::default()),
/// })
/// .clock(clock.clone())
/// .build()?;
///
/// // Somebody asks. The answer is the same for everyone.
/// let client = Client::from_ip([192, 0, 2, 7].into());
/// flow.request(&Identifier::parse("ada@example.com")?, &client).await?;
///
/// // A worker mails, a random moment later.
/// clock.advance(std::time::Duration::from_secs(2));
/// flow.worker().run_due().await;
///
/// // The link is opened, and a new password is chosen.
/// let token = outbox.last_token().ok_or("no mail")?;
/// let verified = flow.verify(&token, &client).await?;
/// let password = verified.parse_password("a quiet harbour at dawn")?;
/// verified.complete(password).await?;
///
/// // The link is spent.
/// assert!(flow.verify(&token, &client).await.is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct ResetFlow {
    core: Arc<Core>,
    tenant: Option<Tenant>,
}

/// Everything that all clones of a flow share.
struct Core {
    site: Site,
    keyring: Keyring,
    users: Arc<dyn UserStore>,
    tokens: Arc<dyn TokenStore>,
    queue: Arc<dyn JobQueue>,
    mailer: Arc<dyn Mailer>,
    sms: Option<Arc<dyn SmsSender>>,
    limiter: Arc<dyn RateLimiter>,
    templates: Box<dyn Templates>,
    recovery: Box<dyn RecoveryPolicy>,
    second_factor: Option<Box<dyn SecondFactorCheck>>,
    audit: Box<dyn AuditSink>,
    audit_failures: AtomicU64,
    gate: Option<Gate>,
    hashing: HashPool,
    policy: Policy,
    breach: Option<(Box<dyn BreachCheck>, Unanswered)>,
    history: Option<(Box<dyn PasswordHistory>, u8)>,
    /// What an unknown selector is compared with.
    dummy: TokenRecord,
    clock: Box<dyn Clock>,
    random: Box<dyn Random>,
    settings: Settings,
    #[cfg(feature = "tokio")]
    alarm: worker::Alarm,
}

/// Numbers, checked by the builder.
struct Settings {
    link_life: Duration,
    live: Live,
    spread: Duration,
    claim_lease: Duration,
    grant_life: Duration,
    tombstones: Duration,
    limits: Limits,
    codes: Option<Codes>,
    text_limits: TextLimits,
    link_retry: Retry,
    notice_retry: Retry,
    external: ExternalAccounts,
    strangers: Option<Strangers>,
}

impl Settings {
    /// How many live tokens a further link may find. Where there are codes, both count as one
    /// number, and each kind leaves the other room: links and codes of one account are mailed five
    /// times an hour at most, so codes alone never fill what links may have, nor links what codes
    /// may have.
    fn live_links(&self) -> Live {
        match self.codes {
            Some(_) => self.live.widened(2 * LIVE_CODES),
            None => self.live,
        }
    }

    /// The same for a further code, which never supersedes a link.
    fn live_codes(&self) -> Live {
        match self.live {
            Live::AtMost(places) | Live::Newest(places) => {
                Live::at_most(places).widened(LIVE_CODES)
            }
        }
    }
}

/// How many of an account's live tokens may be codes, beside those that may be either.
const LIVE_CODES: u32 = 3;

impl ResetFlow {
    /// Starts a flow from its mandatory parts.
    pub fn builder(parts: Parts) -> Builder {
        Builder::new(parts)
    }

    /// The same flow for one tenant: its requests look into this tenant only, and it honours only
    /// tokens that were made in it (W43).
    pub fn for_tenant(&self, tenant: Tenant) -> Self {
        Self {
            core: Arc::clone(&self.core),
            tenant: Some(tenant),
        }
    }

    /// The rules for new passwords, for sign-up and change forms too (R54).
    pub fn policy(&self) -> &Policy {
        &self.core.policy
    }

    /// The hashing pool, for sign-up and login too, so that all hashing shares one bound.
    pub fn hashing(&self) -> &HashPool {
        &self.core.hashing
    }

    /// The service, as its letters present it; for the pages too.
    pub fn site(&self) -> &Site {
        &self.core.site
    }

    /// How long a link that somebody asked for works from the moment it is mailed; also the life of
    /// a hand-off cookie. Operators give theirs a life of its own.
    pub fn link_life(&self) -> Duration {
        self.core.settings.link_life
    }

    /// How long a token works that a code was exchanged for: 10 minutes.
    pub fn grant_life(&self) -> Duration {
        self.core.settings.grant_life
    }

    /// Whether there is somebody to check second factors:
    /// [`Builder::second_factor`](Builder::second_factor).
    pub fn checks_second_factors(&self) -> bool {
        self.core.second_factor.is_some()
    }

    /// How many audit events the sink did not take since the start, or took and lost.
    pub fn audit_failures(&self) -> u64 {
        let not_taken = self.core.audit_failures.load(Ordering::Relaxed);
        let lost = catch_unwind(AssertUnwindSafe(|| self.core.audit.lost()));
        not_taken.saturating_add(lost.unwrap_or_default())
    }

    /// What the audit trail calls this identifier, in this flow's tenant: one pseudonym for each key
    /// of the ring, the active key's first. For operators who look for somebody's events: ask for
    /// the address in a form, never in a URL.
    pub fn pseudonyms(&self, identifier: &Identifier) -> Vec<Pseudonym> {
        let keys = self.core.keyring.all();
        keys.map(|key| self.pseudonym_by(key, identifier)).collect()
    }

    fn now(&self) -> Timestamp {
        self.core.clock.now()
    }

    /// Hands an event to the sink. Whatever the sink does, the flow goes on (R77).
    fn record(&self, event: Event) {
        let _ = self.is_recorded(&event);
    }

    /// The same, and whether the sink took it.
    fn is_recorded(&self, event: &Event) -> bool {
        let taken = catch_unwind(AssertUnwindSafe(|| self.core.audit.record(event)));
        let taken = matches!(taken, Ok(Ok(())));
        if !taken {
            self.core.audit_failures.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    fn event(&self, kind: EventKind) -> Event {
        let mut event = Event::new(self.now(), kind);
        event.tenant = self.tenant.clone();
        event
    }

    /// Names the failed part in the audit trail and hands the error on.
    fn failed(&self, backend: Backend, step: Step, source: impl Into<BoxError>) -> BackendError {
        self.record(self.event(EventKind::BackendFailed { backend, step }));
        BackendError::new(backend, source)
    }

    /// The same for one job, so that its events can be read together.
    fn failed_in(
        &self,
        job: JobId,
        backend: Backend,
        step: Step,
        source: impl Into<BoxError>,
    ) -> BackendError {
        let mut event = self.event(EventKind::BackendFailed { backend, step });
        event.job = Some(job);
        self.record(event);
        BackendError::new(backend, source)
    }

    /// The quotas' buckets are named by keyed digests, so a limiter's table names nobody.
    fn limit_key(&self, label: &str, subject: &[u8]) -> LimitKey {
        let mut mac = self.core.keyring.active().limit.clone();
        mac.field(label.as_bytes());
        mac.optional(
            self.tenant
                .as_ref()
                .map(|tenant| tenant.as_str().as_bytes()),
        );
        mac.field(subject);
        LimitKey::from_bytes(mac.finalize().into_bytes().into())
    }

    fn pseudonym(&self, identifier: &Identifier) -> Pseudonym {
        self.pseudonym_by(self.core.keyring.active(), identifier)
    }

    fn pseudonym_by(&self, key: &Key, identifier: &Identifier) -> Pseudonym {
        let mut mac = key.audit.clone();
        mac.optional(
            self.tenant
                .as_ref()
                .map(|tenant| tenant.as_str().as_bytes()),
        );
        mac.field(identifier.canonical().as_bytes());
        let full: [u8; 32] = mac.finalize().into_bytes().into();
        let mut half = [0; 16];
        half.copy_from_slice(full.split_at(16).0);
        Pseudonym::from_bytes(half)
    }

    /// Words that nobody of this service should have as a password.
    fn context(&self) -> Context {
        Context::default().word(self.core.site.service_name())
    }

    /// The same, and this account's own.
    fn context_of(&self, account: &Account) -> Context {
        let addresses = account.verified.iter().chain(&account.unverified);
        let words = addresses
            .map(|address| address.as_str())
            .chain(account.context_words.iter().map(String::as_str))
            .chain([account.id.as_str()]);
        words.fold(self.context(), Context::word)
    }

    fn id(&self) -> Result<[u8; 16], BoxError> {
        random::id(self.core.random.as_ref())
    }
}

impl fmt::Debug for ResetFlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No backend is shown: a foreign `Debug` may print what it holds, tokens included.
        f.debug_struct("ResetFlow")
            .field("tenant", &self.tenant)
            .finish_non_exhaustive()
    }
}
