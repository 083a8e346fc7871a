//! What is plugged into a flow, and its numbers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand_core::TryCryptoRng;

use crate::account::{UserId, UserStore};
use crate::audit::{AuditSink, TracingSink};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::error::BoxError;
use crate::flow::gate::{Check, Gate};
use crate::flow::{Codes, Core, ExternalAccounts, ResetFlow, Settings, Strangers, TextLimits};
#[cfg(feature = "proof-of-work")]
use crate::human::ProofOfWork;
use crate::human::{HumanCheck, When};
use crate::limit::{Quota, RateLimiter};
use crate::mail::{Mailer, Site, StandardLetters, Templates};
use crate::password::{
    Argon2id, BreachCheck, HashPool, MAX_HISTORY, PasswordHistory, Policy, Unanswered,
};
use crate::queue::JobQueue;
use crate::random::{self, Random, Shared, SystemRandom};
use crate::recovery::{AllowAll, RecoveryPolicy, SecondFactorCheck};
use crate::sms::SmsSender;
use crate::store::{Live, TokenStore};
use crate::token::{Epoch, KeyId, Keyring, Purpose, Selector, TokenDigest, TokenRecord};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// What no flow can do without. A missing one is a missing field, and does not compile.
///
/// To go without limits, write [`Unlimited`](crate::limit::Unlimited) where the limiter stands.
pub struct Parts {
    /// The service's name, link base, support contact and sender.
    pub site: Site,
    /// The keys for digests; from the host's secret store.
    pub keyring: Keyring,
    /// The application's users.
    pub users: Arc<dyn UserStore>,
    /// Where tokens are kept.
    pub tokens: Arc<dyn TokenStore>,
    /// Where work waits.
    pub queue: Arc<dyn JobQueue>,
    /// Who carries the mail.
    pub mailer: Arc<dyn Mailer>,
    /// Where uses are counted.
    pub limiter: Arc<dyn RateLimiter>,
}

/// How often things may happen. The defaults are those of the crate's front page.
///
/// ```
/// use std::time::Duration;
/// use password_reset::flow::Limits;
/// use password_reset::limit::Quota;
///
/// let mut limits = Limits::default();
/// limits.source = Quota::new(200, Duration::from_secs(3_600));
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Requests for one identifier, known or not: 1 a minute, 3 an hour, 10 a day; for links and for
    /// codes, each by itself.
    pub identifier: Quota,
    /// Requests from one IPv4 address or IPv6 /64, over all tenants: 20 an hour.
    pub source: Quota,
    /// Requests from one network, an IPv4 /24 or IPv6 /48, over all tenants: as many as this number
    /// of its sources may make; 5, so 100 an hour. Otherwise whoever has a /48 has 65,536 sources.
    pub sources_per_network: u32,
    /// Requests from everywhere, over all tenants: 2,000 an hour (R31).
    pub global: Quota,
    /// What is kept back when those are used up: 500 an hour, of which each network gets one. So a
    /// flood has to come from as many networks as that to keep out somebody elsewhere (W56).
    pub reserve: Quota,
    /// Tokens presented from one IPv4 address or IPv6 /64, over all tenants: 60 a minute. Codes are
    /// counted apart, and from one network too: as many as
    /// [`sources_per_network`](Self::sources_per_network) of its sources may try, so 300. Links of
    /// "this wasn't me" are counted apart as well. Links have no limit for a network: they cannot be
    /// guessed, and a look-up is cheap; a flood of them is the gateway's.
    pub verifications: Quota,
    /// Mails to one account, whatever was typed: 5 an hour. Those with codes, and those of operators,
    /// are counted apart, under the same quota.
    pub mails: Quota,
    /// Tries at one account's second factor, whatever the token and the source: 20 an hour, 50 a day
    /// (RFC 4226, 7.3). One token has five beside that.
    pub step_ups: Quota,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            identifier: Quota::new(1, MINUTE).and(3, HOUR).and(10, DAY),
            source: Quota::new(20, HOUR),
            sources_per_network: 5,
            global: Quota::new(2_000, HOUR),
            reserve: Quota::new(500, HOUR),
            verifications: Quota::new(60, MINUTE),
            mails: Quota::new(5, HOUR),
            step_ups: Quota::new(20, HOUR).and(50, DAY),
        }
    }
}

impl Limits {
    /// What a whole network may, of what one of its sources may.
    pub(super) fn of_network(&self, of_source: Quota) -> Quota {
        of_source.times(self.sources_per_network.max(1))
    }
}

/// How often a mail is tried, and how long to wait in between.
///
/// The wait doubles from `first` to at most `longest`, each time shortened by a random part of up
/// to a half so that many failures do not come back as one wave.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Retry {
    /// Tries in all; at least 1.
    pub attempts: u32,
    /// The wait after the first failure.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
}

impl Retry {
    /// The full wait after the `attempt`-th try, before it is shortened; `None` after the last.
    pub(crate) fn wait(&self, attempt: u32) -> Option<Duration> {
        if attempt >= self.attempts {
            return None;
        }
        let doublings = attempt.saturating_sub(1).min(32);
        Some(
            self.first
                .saturating_mul(1 << doublings.min(31))
                .min(self.longest),
        )
    }
}

/// Why a flow cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The link life is zero, or over an hour without
    /// [`long_link_life`](Builder::long_link_life), or over 24 hours (R7).
    #[error("a link lives from 1 second to 60 minutes, or to 24 hours by an explicit call")]
    LinkLife,
    /// The spread is under 200 ms without [`Danger::spread`], or over 60 s.
    #[error("the spread of the worker's start is 200 ms to 60 s")]
    Spread,
    /// The claim lease is not within 5 s to 15 min.
    #[error("a claim's lease is 5 s to 15 min")]
    ClaimLease,
    /// A number of [`Codes`] is out of its bounds.
    #[error(
        "codes have 6 to 12 digits, 1 to 10 minutes, 1 to 10 tries, and 1 to 100 for each account"
    )]
    Codes,
    /// A number of [`ProofOfWork`] is out of its bounds.
    #[error("work hides a number of up to 1,000 to 10,000,000, for 1 to 60 minutes")]
    ProofOfWork,
    /// Text messages carry codes only, and there are none.
    #[error("text messages need codes")]
    SmsWithoutCodes,
    /// The hashing threads could not be started.
    #[error("the hashing threads could not be started")]
    Threads(#[source] std::io::Error),
    /// The source of randomness failed.
    #[error("the source of randomness failed")]
    Random(#[source] BoxError),
}

/// Collects what differs from the defaults.
#[must_use]
pub struct Builder {
    parts: Parts,
    templates: Box<dyn Templates>,
    recovery: Box<dyn RecoveryPolicy>,
    second_factor: Option<Box<dyn SecondFactorCheck>>,
    audit: Box<dyn AuditSink>,
    hashing: Option<HashPool>,
    policy: Policy,
    breach: Option<(Box<dyn BreachCheck>, Unanswered)>,
    history: Option<(Box<dyn PasswordHistory>, u8)>,
    clock: Box<dyn Clock>,
    random: Box<dyn Random>,
    sms: Option<Arc<dyn SmsSender>>,
    gate: Option<Gate>,
    link_life: Duration,
    link_life_limit: Duration,
    spread_floor: Duration,
    settings: Settings,
}

impl Builder {
    pub(super) fn new(parts: Parts) -> Self {
        let link_life = 30 * MINUTE;
        Self {
            parts,
            templates: Box::new(StandardLetters::default()),
            recovery: Box::new(AllowAll),
            second_factor: None,
            audit: Box::new(TracingSink),
            hashing: None,
            policy: Policy::default(),
            breach: None,
            history: None,
            clock: Box::new(SystemClock),
            random: Box::new(SystemRandom),
            sms: None,
            gate: None,
            link_life,
            link_life_limit: HOUR,
            spread_floor: Duration::from_millis(200),
            settings: Settings {
                link_life,
                live: Live::default(),
                spread: Duration::from_secs(2),
                claim_lease: 2 * MINUTE,
                grant_life: 10 * MINUTE,
                tombstones: 7 * DAY,
                limits: Limits::default(),
                codes: None,
                text_limits: TextLimits::default(),
                link_retry: Retry {
                    attempts: 8,
                    first: Duration::from_secs(10),
                    longest: 10 * MINUTE,
                },
                notice_retry: Retry {
                    attempts: 36,
                    first: Duration::from_secs(10),
                    longest: HOUR,
                },
                external: ExternalAccounts::default(),
                strangers: None,
            },
        }
    }

    /// Other letters than the built-in ones.
    pub fn templates(mut self, templates: impl Templates) -> Self {
        self.templates = Box::new(templates);
        self
    }

    /// Whose password may be set this way. By default everybody's; but whoever has a second factor
    /// has to prove it, whatever is decided here (R67).
    pub fn recovery(mut self, policy: impl RecoveryPolicy) -> Self {
        self.recovery = Box::new(policy);
        self
    }

    /// Who checks second factors. Without one, and without a proof by
    /// [`Verified::begin_step_up`](crate::Verified::begin_step_up), accounts that have a second
    /// factor are refused (R67).
    pub fn second_factor(mut self, check: impl SecondFactorCheck) -> Self {
        self.second_factor = Some(Box::new(check));
        self
    }

    /// Where audit events go; by default to `tracing`.
    pub fn audit(mut self, sink: impl AuditSink) -> Self {
        self.audit = Box::new(sink);
        self
    }

    /// A hashing pool that the application shares with its sign-up and login.
    pub fn hashing(mut self, pool: HashPool) -> Self {
        self.hashing = Some(pool);
        self
    }

    /// Other rules for new passwords.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Looks every new password up in a collection of leaked ones, and says what happens when that
    /// fails.
    pub fn breach_check(mut self, check: impl BreachCheck, unanswered: Unanswered) -> Self {
        self.breach = Some((Box::new(check), unanswered));
        self
    }

    /// Refuses the account's last passwords, at most [`MAX_HISTORY`] of them; by default only the
    /// present one. Each costs a hash. Read [`PasswordHistory`] before you want this.
    pub fn password_history(mut self, history: impl PasswordHistory, last: u8) -> Self {
        self.history = Some((Box::new(history), last.min(MAX_HISTORY)));
        self
    }

    /// Another clock.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// Another source of randomness; tokens, due times and ids come from it.
    pub fn random<R>(mut self, random: R) -> Self
    where
        R: TryCryptoRng + Send + 'static,
        R::Error: Send + Sync + 'static,
    {
        self.random = Box::new(Shared(Mutex::new(random)));
        self
    }

    /// How long a link works: 30 minutes by default, an hour at most.
    pub fn link_life(mut self, life: Duration) -> Self {
        self.link_life = life;
        self.link_life_limit = HOUR;
        self
    }

    /// A link life over an hour, 24 hours at most (R7). The longer a link lives in a mailbox, the
    /// more people can find it there.
    pub fn long_link_life(mut self, life: Duration) -> Self {
        self.link_life = life;
        self.link_life_limit = DAY;
        self
    }

    /// How many links of one account work at once; see [`Live`].
    pub fn live(mut self, live: Live) -> Self {
        self.settings.live = live;
        self
    }

    /// Every job starts at a random moment within this span: 2 s by default, at least 200 ms.
    ///
    /// This hides, from whoever times the *next* request, whether the one before it caused a mail.
    pub fn spread(mut self, spread: Duration) -> Self {
        self.settings.spread = spread;
        self
    }

    /// Offers codes beside links, for mobile apps and for mail programs whose scanners open links:
    /// [`ResetFlow::request_code`](crate::ResetFlow::request_code).
    ///
    /// The live codes and links of one account then share nine places, of which codes take six at
    /// most. Requests and mails of both kinds are counted apart, five mails an hour each, so that
    /// nobody uses up the one with the other.
    pub fn codes(mut self, codes: Codes) -> Self {
        self.settings.codes = Some(codes);
        self
    }

    /// Lets codes travel by text message too, to the account's confirmed number (R16). Needs
    /// [`codes`](Self::codes).
    ///
    /// Text messages can be diverted by whoever talks a telephone company into it. Offer mail
    /// beside them.
    pub fn sms(mut self, sender: impl SmsSender, limits: TextLimits) -> Self {
        self.sms = Some(Arc::new(sender));
        self.settings.text_limits = limits;
        self
    }

    /// Who tells humans from programs, and when a proof is asked for: a captcha. By default nobody
    /// does.
    ///
    /// Requests for links and for codes that come without a proof hear
    /// [`RequestError::Challenge`](crate::flow::RequestError::Challenge);
    /// [`request_with_proof`](crate::ResetFlow::request_with_proof) brings it along.
    pub fn human(mut self, check: impl HumanCheck, when: When) -> Self {
        self.gate = Some(Gate {
            check: Check::Foreign(Box::new(check)),
            when,
        });
        self
    }

    /// Asks for work instead of a captcha: no other service is asked, and nobody is watched. The
    /// riddles are [`ResetFlow::challenge`](crate::ResetFlow::challenge). In place of
    /// [`human`](Self::human): a flow has one check.
    ///
    /// An answer is taken once, on whichever process it arrives, because the limiter remembers it;
    /// with [`Unlimited`](crate::limit::Unlimited) nobody does.
    #[cfg(feature = "proof-of-work")]
    pub fn proof_of_work(mut self, work: ProofOfWork, when: When) -> Self {
        self.gate = Some(Gate {
            check: Check::Work(work),
            when,
        });
        self
    }

    /// Other limits.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.settings.limits = limits;
        self
    }

    /// How long one completion may take before another may try: 2 minutes by default.
    pub fn claim_lease(mut self, lease: Duration) -> Self {
        self.settings.claim_lease = lease;
        self
    }

    /// How often the mail with the link is tried.
    pub fn link_retry(mut self, retry: Retry) -> Self {
        self.settings.link_retry = retry;
        self
    }

    /// How often the mail with the notice of a changed password is tried: 36 times by default, which
    /// is about a day. Waiting for the change itself is not a try.
    pub fn notice_retry(mut self, retry: Retry) -> Self {
        self.settings.notice_retry = retry;
        self
    }

    /// What is mailed to the owner of an account that has no password of its own, when a link or a
    /// code by mail is asked for (W68); by default nothing.
    pub fn external(mut self, external: ExternalAccounts) -> Self {
        self.settings.external = external;
        self
    }

    /// Mails "you have no account here" to whoever was named and is unknown, when a link or a code by
    /// mail is asked for; by default they get nothing, and somebody who signed up with another
    /// address waits for a mail that never comes. Who asks for a code by text message gets nothing.
    /// An address of an account, unverified or former, still gets nothing, as long as the
    /// [`UserStore`] finds the account by it.
    ///
    /// # Security
    ///
    /// Anyone can then have this letter sent to **any** address, within the limits of
    /// [`Strangers`]: it is the only mail that goes to an address that was typed (R12, W2), and so
    /// it is off unless asked for. The letter holds no link and nothing that the asker wrote. Who
    /// asks hears what everybody hears; only who reads the mailbox learns that it has no account.
    pub fn tell_strangers(mut self, limits: Strangers) -> Self {
        self.settings.strangers = Some(limits);
        self
    }

    /// Settings that weaken a promise.
    pub fn danger(self) -> Danger {
        Danger { builder: self }
    }

    /// Checks the numbers and starts the hashing threads.
    ///
    /// # Errors
    ///
    /// [`BuildError`] names the number that is out of its bounds.
    pub fn build(mut self) -> Result<ResetFlow, BuildError> {
        if self.link_life < Duration::from_secs(1) || self.link_life > self.link_life_limit {
            return Err(BuildError::LinkLife);
        }
        if self.settings.spread < self.spread_floor || self.settings.spread > MINUTE {
            return Err(BuildError::Spread);
        }
        if !(Duration::from_secs(5)..=15 * MINUTE).contains(&self.settings.claim_lease) {
            return Err(BuildError::ClaimLease);
        }
        if self
            .settings
            .codes
            .is_some_and(|codes| !codes.are_bounded())
        {
            return Err(BuildError::Codes);
        }
        if self.gate.as_ref().is_some_and(|gate| !gate.is_bounded()) {
            return Err(BuildError::ProofOfWork);
        }
        if self.sms.is_some() && self.settings.codes.is_none() {
            return Err(BuildError::SmsWithoutCodes);
        }
        self.settings.link_life = self.link_life;
        let hashing = match self.hashing {
            Some(pool) => pool,
            None => HashPool::new(Argon2id::default()).map_err(BuildError::Threads)?,
        };
        // A longer password than the hasher takes is refused, never cut (W59).
        let policy = self.policy.max_bytes_of_hasher(hashing.max_bytes());
        let dummy = dummy(self.random.as_ref()).map_err(BuildError::Random)?;
        let Parts {
            site,
            keyring,
            users,
            tokens,
            queue,
            mailer,
            limiter,
        } = self.parts;
        let core = Core {
            site,
            keyring,
            users,
            tokens,
            queue,
            mailer,
            sms: self.sms,
            limiter,
            templates: self.templates,
            recovery: self.recovery,
            second_factor: self.second_factor,
            audit: self.audit,
            audit_failures: 0.into(),
            gate: self.gate,
            hashing,
            policy,
            breach: self.breach,
            history: self.history,
            dummy,
            clock: self.clock,
            random: self.random,
            settings: self.settings,
            #[cfg(feature = "tokio")]
            alarm: super::worker::Alarm::default(),
        };
        Ok(ResetFlow {
            core: Arc::new(core),
            tenant: None,
        })
    }
}

/// What an unknown selector is compared with: a record that no token can match.
fn dummy(random: &dyn Random) -> Result<TokenRecord, BoxError> {
    let digest = TokenDigest::from_bytes(random::id(random)?);
    let user = UserId::parse("0000000000000000")?;
    let at = Timestamp::from_unix_micros(0);
    let selector = Selector::from_bytes([0; 16]);
    let epoch = Epoch::from_bytes([0; 32]);
    let key = KeyId(0);
    Ok(TokenRecord::new(
        selector,
        Purpose::Reset,
        None,
        user,
        epoch,
        key,
        digest,
        at,
        at,
    ))
}

/// Settings that weaken a promise; each says which.
#[must_use]
pub struct Danger {
    builder: Builder,
}

impl Danger {
    /// Any spread, zero included.
    ///
    /// # Security
    ///
    /// Weakens "blind": below 200 ms, whoever times requests can tell which accounts exist.
    pub fn spread(mut self, spread: Duration) -> Builder {
        self.builder.spread_floor = Duration::ZERO;
        self.builder.settings.spread = spread;
        self.builder
    }
}
