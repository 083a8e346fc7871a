//! Faults on demand: [`Faulty`] around any backend, planned through [`Faults`].

use std::collections::BTreeMap;
use std::fmt;
use std::future::{pending, poll_fn};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use async_trait::async_trait;
use secrecy::SecretString;

use crate::account::{
    Account, Client, Credential, Identifier, SessionScope, Swap, UserId, UserStore,
};
use crate::audit::{AuditSink, Event};
use crate::clock::Timestamp;
use crate::error::BoxError;
use crate::human::{HumanCheck, Proof, Verdict};
use crate::limit::{Decision, LimitKey, Quota, RateLimiter};
use crate::mail::{
    Hint, Letter, Mailer, Message, PasswordChanged, ResetCode, ResetLink, SendError, Templates,
};
use crate::password::{
    Breach, BreachCheck, Candidate, HasherError, NewPassword, PasswordHash, PasswordHasher,
    PasswordHistory, Scratch,
};
use crate::queue::{DeadLetter, Job, JobId, JobQueue, Lease, LeasedJob, QueueLength};
use crate::recovery::{Recovery, RecoveryAttempt, RecoveryPolicy};
use crate::store::{Insert, Live, Reach, TokenStore};
use crate::testing::lock;
use crate::token::state::{Claim, ClaimId, Revocation, Settlement};
use crate::token::{Selector, TokenRecord};

/// How many names of calls are kept; later calls are counted only.
const MAX_LOG: usize = 100_000;

/// The error of a fault that a test asked for. A [`SendError`] made of it is transient.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("injected fault in {call}")]
pub struct InjectedFault {
    call: &'static str,
}

impl InjectedFault {
    pub(crate) const fn new(call: &'static str) -> Self {
        Self { call }
    }
}

impl From<InjectedFault> for HasherError {
    fn from(fault: InjectedFault) -> Self {
        Self::Backend(fault.into())
    }
}

impl From<InjectedFault> for SendError {
    fn from(fault: InjectedFault) -> Self {
        Self::transient(fault)
    }
}

/// What goes wrong, and when; and a record of every call. Clones share the plan, and several
/// [`Faulty`] can share one, so that "the third call of whatever backend" can be hit.
///
/// Calls are counted from 1: `fail(1)` is the next one. A later plan for the same call replaces the
/// earlier one.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<Script>>);

#[derive(Debug, Default)]
struct Script {
    calls: u64,
    log: Vec<&'static str>,
    planned: BTreeMap<u64, Fault>,
    always_fails: bool,
    yields: bool,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Fail,
    FailAfter,
    Hang,
    Panic,
}

impl Faults {
    /// The `nth` call from now is an error; nothing was done.
    pub fn fail(&self, nth: u64) {
        self.plan(nth, Fault::Fail);
    }

    /// The `nth` call from now is carried out *and then* is an error: the answer was lost on its
    /// way.
    pub fn fail_after(&self, nth: u64) {
        self.plan(nth, Fault::FailAfter);
    }

    /// The `nth` call from now never answers; nothing was done. A method that is not `async` cannot
    /// hang: there it is an error.
    pub fn hang(&self, nth: u64) {
        self.plan(nth, Fault::Hang);
    }

    /// The `nth` call from now panics; nothing was done.
    pub fn panic(&self, nth: u64) {
        self.plan(nth, Fault::Panic);
    }

    /// Every call that has no other plan is an error, until [`heal`](Self::heal).
    pub fn always_fail(&self) {
        lock(&self.0).always_fails = true;
    }

    /// Nothing goes wrong any more. What was counted stays.
    pub fn heal(&self) {
        let mut script = lock(&self.0);
        script.planned.clear();
        script.always_fails = false;
    }

    /// From now on every `async` call is pending once before it does its work and once after, so
    /// that [`cut_after`](crate::testing::cut_after) can stop on either side of each effect.
    pub fn yield_each_call(&self) {
        lock(&self.0).yields = true;
    }

    /// How many calls were made.
    pub fn calls(&self) -> u64 {
        lock(&self.0).calls
    }

    /// The calls by name, such as `tokens.claim`, in order.
    pub fn log(&self) -> Vec<&'static str> {
        lock(&self.0).log.clone()
    }

    fn plan(&self, nth: u64, fault: Fault) {
        let mut script = lock(&self.0);
        let call = script.calls.saturating_add(nth.max(1));
        script.planned.insert(call, fault);
    }

    /// Counts a call; answers what goes wrong with it, and whether it is to yield.
    fn begin(&self, call: &'static str) -> (Option<Fault>, bool) {
        let mut script = lock(&self.0);
        script.calls += 1;
        if script.log.len() < MAX_LOG {
            script.log.push(call);
        }
        let number = script.calls;
        let always = script.always_fails.then_some(Fault::Fail);
        (script.planned.remove(&number).or(always), script.yields)
    }

    async fn guard<T, E: From<InjectedFault>>(
        &self,
        call: &'static str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let (fault, yields) = self.begin(call);
        pending_once(yields).await;
        match fault {
            Some(Fault::Fail) => return Err(InjectedFault::new(call).into()),
            Some(Fault::Hang) => pending().await,
            Some(Fault::Panic) => explode(call),
            Some(Fault::FailAfter) | None => {}
        }
        let answer = work.await;
        pending_once(yields).await;
        match fault {
            Some(_) => Err(InjectedFault::new(call).into()),
            None => answer,
        }
    }

    fn guard_sync<T, E: From<InjectedFault>>(
        &self,
        call: &'static str,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        match self.begin(call).0 {
            Some(Fault::Fail | Fault::Hang) => return Err(InjectedFault::new(call).into()),
            Some(Fault::Panic) => explode(call),
            Some(Fault::FailAfter) => {
                work()?;
                return Err(InjectedFault::new(call).into());
            }
            None => {}
        }
        work()
    }
}

/// Pending one time, if asked to; wakes itself.
async fn pending_once(mut asked: bool) {
    poll_fn(|context| {
        if std::mem::take(&mut asked) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await;
}

#[allow(
    clippy::panic,
    reason = "a backend that panics is what the test asked for"
)]
fn explode(call: &'static str) {
    panic!("{}", InjectedFault::new(call));
}

/// Any backend, with faults on demand. It implements every trait of this crate that `T` implements.
///
/// ```
/// use password_reset::account::{UserId, UserStore};
/// use password_reset::testing::{Faulty, MemoryUsers, block_on};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let users = Faulty::new(MemoryUsers::default());
/// let plan = users.plan();
/// plan.fail(2);
/// let nobody = UserId::parse("1")?;
/// assert!(block_on(users.account(&nobody)).is_ok());
/// assert!(block_on(users.account(&nobody)).is_err());
/// assert!(block_on(users.account(&nobody)).is_ok());
/// assert_eq!(plan.log(), ["users.account"; 3]);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Faulty<T> {
    inner: T,
    plan: Faults,
}

impl<T> Faulty<T> {
    /// A backend with a plan of its own.
    pub fn new(inner: T) -> Self {
        Self::sharing(inner, &Faults::default())
    }

    /// A backend that follows, and is counted in, a plan that others share.
    pub fn sharing(inner: T, plan: &Faults) -> Self {
        Self {
            inner,
            plan: plan.clone(),
        }
    }

    /// The plan: a handle on it.
    pub fn plan(&self) -> Faults {
        self.plan.clone()
    }

    /// The backend itself; calls of it are neither counted nor disturbed.
    pub fn inner(&self) -> &T {
        &self.inner
    }
}

impl<T> fmt::Debug for Faulty<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The backend is not shown: its Debug may print what it holds.
        f.debug_struct("Faulty")
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

/// Implements a trait by guarding each of its methods.
macro_rules! guarded {
    ($role:literal, $trait:ident { $(
        fn $method:ident($($argument:ident: $type:ty),*) -> $answer:ty, $error:ty;
    )+ }) => {
        #[async_trait]
        impl<T: $trait> $trait for Faulty<T> { $(
            async fn $method(&self $(, $argument: $type)*) -> Result<$answer, $error> {
                let call = concat!($role, ".", stringify!($method));
                self.plan.guard(call, self.inner.$method($($argument),*)).await
            }
        )+ }
    };
}

guarded!("human", HumanCheck {
    fn check(proof: &Proof, client: &Client) -> Verdict, BoxError;
});

guarded!("users", UserStore {
    fn find(identifier: &Identifier) -> Option<Account>, BoxError;
    fn account(user: &UserId) -> Option<Account>, BoxError;
    fn set_password(user: &UserId, expected: &Credential, new: &PasswordHash) -> Swap, BoxError;
    fn end_sessions(user: &UserId, scope: SessionScope) -> (), BoxError;
});

guarded!("tokens", TokenStore {
    fn insert(record: &TokenRecord, live: Live) -> Insert, BoxError;
    fn find(selector: &Selector) -> Option<TokenRecord>, BoxError;
    fn claim(
        selector: &Selector, claim: ClaimId, now: Timestamp, until: Timestamp
    ) -> Claim, BoxError;
    fn settle(selector: &Selector, claim: ClaimId, settlement: Settlement) -> bool, BoxError;
    fn abandoned(
        claim: ClaimId, now: Timestamp, until: Timestamp, max: u32
    ) -> Vec<TokenRecord>, BoxError;
    fn count_attempt(selector: &Selector) -> Option<u32>, BoxError;
    fn revoke(selector: &Selector, at: Timestamp, why: Revocation) -> bool, BoxError;
    fn revoke_all(
        user: &UserId, reach: Reach<'_>, at: Timestamp, why: Revocation
    ) -> u64, BoxError;
    fn purge(expired_before: Timestamp, limit: u32) -> u64, BoxError;
});

guarded!("queue", JobQueue {
    fn push(job: &Job) -> (), BoxError;
    fn lease(now: Timestamp, until: Timestamp, max: u32) -> Vec<LeasedJob>, BoxError;
    fn ack(lease: &Lease) -> bool, BoxError;
    fn retry(lease: &Lease, due: Timestamp) -> bool, BoxError;
    fn bury(lease: &Lease, at: Timestamp) -> bool, BoxError;
    fn dead_letters(max: u32) -> Vec<DeadLetter>, BoxError;
    fn revive(dead: &JobId, id: &JobId, due: Timestamp) -> bool, BoxError;
    fn purge_dead(before: Timestamp, limit: u32) -> u64, BoxError;
    fn length(now: Timestamp) -> QueueLength, BoxError;
});

guarded!("limiter", RateLimiter {
    fn check(key: &LimitKey, quota: &Quota, now: Timestamp) -> Decision, BoxError;
    fn clear(key: &LimitKey) -> (), BoxError;
});

guarded!("mailer", Mailer {
    fn send(message: &Message) -> (), SendError;
});

guarded!("recovery", RecoveryPolicy {
    fn decide(attempt: &RecoveryAttempt<'_>) -> Recovery, BoxError;
});

guarded!("breach", BreachCheck {
    fn look_up(password: &NewPassword) -> Breach, BoxError;
});

guarded!("history", PasswordHistory {
    fn former(user: &UserId, max: u8) -> Vec<PasswordHash>, BoxError;
});

impl<T: AuditSink> AuditSink for Faulty<T> {
    fn record(&self, event: &Event) -> Result<(), BoxError> {
        self.plan
            .guard_sync("audit.record", || self.inner.record(event))
    }

    fn lost(&self) -> u64 {
        self.inner.lost()
    }
}

impl<T: Templates> Templates for Faulty<T> {
    fn reset_link(&self, letter: &ResetLink<'_>) -> Result<Letter, BoxError> {
        self.plan
            .guard_sync("templates.reset_link", || self.inner.reset_link(letter))
    }

    fn reset_code(&self, letter: &ResetCode<'_>) -> Result<Letter, BoxError> {
        self.plan
            .guard_sync("templates.reset_code", || self.inner.reset_code(letter))
    }

    fn code_text(&self, letter: &ResetCode<'_>) -> Result<SecretString, BoxError> {
        self.plan
            .guard_sync("templates.code_text", || self.inner.code_text(letter))
    }

    fn no_account(&self, letter: &Hint<'_>) -> Result<Letter, BoxError> {
        self.plan
            .guard_sync("templates.no_account", || self.inner.no_account(letter))
    }

    fn use_provider(&self, letter: &Hint<'_>) -> Result<Letter, BoxError> {
        self.plan
            .guard_sync("templates.use_provider", || self.inner.use_provider(letter))
    }

    fn password_changed(&self, letter: &PasswordChanged<'_>) -> Result<Letter, BoxError> {
        let work = || self.inner.password_changed(letter);
        self.plan.guard_sync("templates.password_changed", work)
    }
}

/// Questions that cannot fail (`needs_rehash`, `max_bytes`) are neither counted nor disturbed.
impl<T: PasswordHasher> PasswordHasher for Faulty<T> {
    fn hash(&self, new: &NewPassword, scratch: &mut Scratch) -> Result<PasswordHash, HasherError> {
        self.plan
            .guard_sync("hasher.hash", || self.inner.hash(new, scratch))
    }

    fn verify(
        &self,
        candidate: &Candidate,
        stored: &PasswordHash,
        scratch: &mut Scratch,
    ) -> Result<bool, HasherError> {
        let work = || self.inner.verify(candidate, stored, scratch);
        self.plan.guard_sync("hasher.verify", work)
    }

    fn needs_rehash(&self, stored: &PasswordHash) -> bool {
        self.inner.needs_rehash(stored)
    }

    fn max_bytes(&self) -> Option<usize> {
        self.inner.max_bytes()
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "tests may panic"
    )]

    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::time::Duration;

    use super::*;
    use crate::audit::EventKind;
    use crate::limit::Unlimited;
    use crate::testing::{MemoryUsers, Recorder, block_on, cut_after, poll_once};

    fn user() -> UserId {
        UserId::parse("1").unwrap()
    }

    fn users() -> Faulty<MemoryUsers> {
        let users = MemoryUsers::default();
        users.add(Account::new(user(), Credential::External));
        Faulty::new(users)
    }

    fn end(users: &Faulty<MemoryUsers>) -> Result<(), BoxError> {
        block_on(users.end_sessions(&user(), SessionScope::All))
    }

    #[test]
    fn the_nth_call_from_now_fails_and_only_that() {
        let users = users();
        let plan = users.plan();
        end(&users).unwrap();
        plan.fail(2);
        end(&users).unwrap();
        let error = end(&users).unwrap_err();
        assert_eq!(error.to_string(), "injected fault in users.end_sessions");
        end(&users).unwrap();
        assert_eq!(users.inner().ended(&user()), 3);
        assert_eq!(plan.calls(), 4);
    }

    #[test]
    fn a_lost_answer_comes_after_the_effect() {
        let users = users();
        users.plan().fail_after(1);
        assert!(end(&users).is_err());
        assert_eq!(users.inner().ended(&user()), 1);
    }

    #[test]
    fn a_call_hangs_or_panics_without_any_effect() {
        let users = users();
        users.plan().hang(1);
        users.plan().panic(2);
        assert!(poll_once(&mut users.end_sessions(&user(), SessionScope::All)).is_none());
        assert!(catch_unwind(AssertUnwindSafe(|| end(&users))).is_err());
        assert_eq!(users.inner().ended(&user()), 0);
        end(&users).unwrap();
    }

    #[test]
    fn everything_fails_until_healed() {
        let users = users();
        users.plan().always_fail();
        users.plan().fail(9);
        assert!(end(&users).is_err() && end(&users).is_err());
        users.plan().heal();
        for _ in 0..10 {
            end(&users).unwrap();
        }
    }

    #[test]
    fn one_plan_counts_the_calls_of_several_backends() {
        let users = users();
        let plan = users.plan();
        let limiter = Faulty::sharing(Unlimited, &plan);
        let audit = Faulty::sharing(Recorder::default(), &plan);
        let key = LimitKey::from_bytes([0; 32]);
        plan.fail(2);
        plan.fail_after(3);
        end(&users).unwrap();
        assert!(block_on(limiter.clear(&key)).is_err());
        let event = Event::new(Timestamp::from_unix_micros(0), EventKind::Issued);
        assert!(audit.record(&event).is_err());
        assert_eq!(audit.inner().kinds(), [EventKind::Issued]);
        let quota = Quota::new(1, Duration::from_secs(1));
        let _ = block_on(limiter.check(&key, &quota, event.at)).unwrap();
        let names = [
            "users.end_sessions",
            "limiter.clear",
            "audit.record",
            "limiter.check",
        ];
        assert_eq!(plan.log(), names);
    }

    #[test]
    fn a_cut_stops_on_either_side_of_each_effect() {
        let mut left_behind = Vec::new();
        for polls in 0.. {
            let users = users();
            users.plan().yield_each_call();
            let done = cut_after(
                async {
                    users.end_sessions(&user(), SessionScope::All).await?;
                    users.end_sessions(&user(), SessionScope::All).await
                },
                polls,
            );
            left_behind.push((users.plan().calls(), users.inner().ended(&user())));
            if done.is_some() {
                break;
            }
        }
        // (calls begun, effects): never polled, before and after the first, before and after the
        // second, and to the end.
        assert_eq!(
            left_behind,
            [(0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (2, 2)]
        );
    }

    #[test]
    fn debug_does_not_show_the_backend() {
        #[derive(Debug)]
        #[allow(dead_code, reason = "only its Debug could be read")]
        struct Leaky(&'static str);
        assert!(!format!("{:?}", Faulty::new(Leaky("s3cret"))).contains("s3cret"));
    }
}
