//! The conformance kit: a backend written by a stranger proves itself.
//!
//! One `async` function for each promise of a contract, in [`tokens`], [`queue`], [`limiter`], [`log`]
//! and [`users`]. Each panics with a message that says what broke and what an attacker gains from it.
//! The kit is itself tested: `tests/mutants.rs` holds a broken backend for every check.
//!
//! What it is *not*: a proof of durability. It cannot pull the plug of your database server.
//!
//! One macro for each trait writes one named test for each promise. It takes the attribute that
//! makes an `async` function a test, and a function that makes a **fresh, empty** store for each
//! test: a temporary file, a schema or a key prefix of its own. Sweeps and purges work on whatever
//! is in a store, so checks that shared one would see each other's records.
//!
//! ```
//! mod my_store {
//!     password_reset::conformance_tokens! {
//!         #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
//!         async fn store() -> password_reset::memory::MemoryTokens {
//!             password_reset::memory::MemoryTokens::default()
//!         }
//!     }
//! }
//! ```
//!
//! Races need more than one thread, and they need luck, so they are repeated: 25 rounds, or what
//! the environment variable `PASSWORD_RESET_KIT_ROUNDS` says. Run 1,000 before a release.
//!
//! The macros race on `tokio`. For another runtime, say how it spawns:
//!
//! ```ignore
//! password_reset::conformance_tokens! {
//!     spawn = |task| smol::spawn(task).detach();
//!     #[macro_rules_attribute::apply(smol_macros::test!)]
//!     async fn store() -> MyTokens { MyTokens::open().await }
//! }
//! ```
//!
//! A backend whose server is not always there may answer `Option<MyStore>`; a check without a store
//! is skipped. The function must then say so where it is seen, and must not answer `None` where the
//! server is expected: a skipped check has shown nothing.
//!
//! ```
//! mod my_store {
//!     # use password_reset::memory::MemoryQueue;
//!     password_reset::conformance_queue! {
//!         #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
//!         async fn store() -> Option<MemoryQueue> {
//!             assert!(std::env::var_os("CI").is_none(), "no server");
//!             eprintln!("skipped: no server at MY_STORE_URL");
//!             None
//!         }
//!     }
//! }
//! ```
//!
//! Without macros, run a list of [`Check`]s, as `examples/custom_store.rs` does.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a check reports by panicking"
)]

pub mod limiter;
pub mod log;
pub mod queue;
pub mod tokens;
pub mod users;

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use futures_channel::oneshot;

use crate::clock::Timestamp;
use crate::error::BoxError;
use crate::random::{self, SystemRandom};

/// How many calls race each other.
pub const RACERS: usize = 64;

const ROUNDS: u32 = 25;

/// Work for a runtime.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send + 'static>>;

/// Where and how often the checks race: a runtime's `spawn` and a number of rounds.
///
/// ```
/// # async fn example() {
/// use std::sync::Arc;
/// use password_reset::memory::MemoryTokens;
/// use password_reset::testing::kit::{Race, tokens};
///
/// let race = Race::on(tokio::spawn).rounds(1_000);
/// tokens::one_claim_wins(Arc::new(MemoryTokens::default()), race).await;
/// # }
/// ```
#[derive(Clone)]
pub struct Race {
    spawn: Arc<dyn Fn(Task) + Send + Sync>,
    rounds: u32,
}

impl Race {
    /// Races on the runtime behind `spawn`, whose answer is dropped: it must not cancel the task.
    /// The runtime needs several threads, or little is proven.
    ///
    /// # Panics
    ///
    /// When `PASSWORD_RESET_KIT_ROUNDS` is set to something that is not a number.
    pub fn on<R>(spawn: impl Fn(Task) -> R + Send + Sync + 'static) -> Self {
        let rounds = std::env::var("PASSWORD_RESET_KIT_ROUNDS").map_or(ROUNDS, |text| {
            text.parse().expect("PASSWORD_RESET_KIT_ROUNDS is a number")
        });
        Self {
            spawn: Arc::new(move |task| drop(spawn(task))),
            rounds,
        }
    }

    /// How often each race is run.
    pub fn rounds(mut self, rounds: u32) -> Self {
        self.rounds = rounds;
        self
    }

    /// The rounds, counted up to [`RACERS`] over and over, so that racers can swap their parts.
    fn turns(&self) -> impl Iterator<Item = usize> {
        (0..self.rounds)
            .zip((0..RACERS).cycle())
            .map(|(_, turn)| turn)
    }

    /// Runs all of them at once, each on a task of its own; answers in their order.
    async fn run<T, F>(&self, racers: impl IntoIterator<Item = F>) -> Vec<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let racers: Vec<F> = racers.into_iter().collect();
        let gate = Arc::new(Gate::new(racers.len()));
        let mut answers = Vec::with_capacity(racers.len());
        for racer in racers {
            let (sender, receiver) = oneshot::channel();
            let gate = Arc::clone(&gate);
            (self.spawn)(Box::pin(async move {
                gate.pass().await;
                // Whoever opens the gate is already running; the others must not always be second.
                let [late] = fresh();
                for _ in 0..late % 4 {
                    breathe().await;
                }
                // Nobody listens once the check has failed.
                let _ = sender.send(racer.await);
            }));
            answers.push(receiver);
        }
        let mut all = Vec::with_capacity(answers.len());
        for answer in answers {
            all.push(answer.await.expect("a racing call panicked"));
        }
        all
    }
}

impl fmt::Debug for Race {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Race")
            .field("rounds", &self.rounds)
            .finish_non_exhaustive()
    }
}

/// Opens when everyone has arrived, so that the first racer is not done before the last exists.
struct Gate {
    missing: AtomicUsize,
}

impl Gate {
    fn new(racers: usize) -> Self {
        Self {
            missing: AtomicUsize::new(racers),
        }
    }

    async fn pass(&self) {
        self.missing.fetch_sub(1, Ordering::AcqRel);
        while self.missing.load(Ordering::Acquire) > 0 {
            breathe().await;
        }
    }
}

/// Lets other tasks run, on any runtime.
async fn breathe() {
    let mut rested = false;
    poll_fn(|context| {
        if rested {
            return Poll::Ready(());
        }
        rested = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Polls a call `polls` times and drops it if it is not done by then, as the future of a client
/// that hangs up is dropped.
async fn cut<T>(call: impl Future<Output = T>, polls: u32) -> Option<T> {
    let mut call = pin!(call);
    for _ in 0..polls {
        let polled = poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await;
        if let Poll::Ready(answer) = polled {
            return Some(answer);
        }
        breathe().await;
    }
    None
}

/// One check by name, for programs that run the kit without a test harness.
pub struct Check<S: ?Sized> {
    name: &'static str,
    run: fn(Arc<S>, Race) -> Task,
}

impl<S: ?Sized> Check<S> {
    const fn new(name: &'static str, run: fn(Arc<S>, Race) -> Task) -> Self {
        Self { name, run }
    }

    /// The promise, as the contract calls it.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Runs the check on a fresh store.
    ///
    /// # Panics
    ///
    /// When the store breaks the promise.
    pub async fn run(&self, store: Arc<S>, race: Race) {
        (self.run)(store, race).await;
    }
}

impl<S: ?Sized> fmt::Debug for Check<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Check").field(&self.name).finish()
    }
}

/// A backend that fails has not broken a promise, and has not kept it either.
trait Answered<T> {
    fn answered(self, call: &str) -> T;
}

impl<T> Answered<T> for Result<T, BoxError> {
    fn answered(self, call: &str) -> T {
        self.unwrap_or_else(|error| panic!("the backend failed in `{call}`: {error}"))
    }
}

/// Fresh bytes, so that leftovers of an earlier run are never mistaken for this one's.
fn fresh<const N: usize>() -> [u8; N] {
    random::id(&SystemRandom).expect("the operating system's generator works")
}

/// A fresh word of 32 letters and digits.
fn word() -> String {
    format!("{:032x}", u128::from_be_bytes(fresh()))
}

/// A moment in 2027, `seconds` after the story of a check began. Odd to the microsecond.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_micros((1_800_000_000 + seconds) * 1_000_000 + 123_457)
}

/// The last moment before this one.
fn just_before(moment: Timestamp) -> Timestamp {
    Timestamp::from_unix_micros(moment.unix_micros() - 1)
}

/// Lists the promises of one trait: names for readers, checks for programs.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_checks {
    ([$($promise:ident)+] $store:ty) => {
        /// The names of all checks, as the contract calls them.
        pub const PROMISES: &[&str] = &[$(stringify!($promise)),+];

        /// All checks.
        pub const CHECKS: &[super::Check<$store>] = &[$(super::Check::new(
            stringify!($promise),
            |store, race| Box::pin($promise(store, race)),
        )),+];
    };
}

/// One test for each promise of a list.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    (
        [$($promise:ident)+] $kit:ident
        spawn = $spawn:expr;
        $(#[$test:meta])+
        async fn $factory:ident() -> Option<$store:ty> $body:block
    ) => {
        async fn $factory() -> ::core::option::Option<$store> $body

        $crate::__conformance_tests! { @each [$($promise)+] $kit $factory [$spawn] [$(#[$test])+] }
    };
    (
        [$($promise:ident)+] $kit:ident
        spawn = $spawn:expr;
        $(#[$test:meta])+
        async fn $factory:ident() -> $store:ty $body:block
    ) => {
        async fn $factory() -> ::core::option::Option<$store> {
            async fn always() -> $store $body

            ::core::option::Option::Some(always().await)
        }

        $crate::__conformance_tests! { @each [$($promise)+] $kit $factory [$spawn] [$(#[$test])+] }
    };
    (
        [$($promise:ident)+] $kit:ident
        $(#[$test:meta])+
        async fn $($factory:tt)+
    ) => {
        $crate::__conformance_tests! {
            [$($promise)+] $kit
            spawn = ::tokio::spawn;
            $(#[$test])+
            async fn $($factory)+
        }
    };
    (@each [$($promise:ident)+] $kit:ident $factory:ident $spawn:tt $test:tt) => {
        $($crate::__conformance_tests! { @one $promise $kit $factory $spawn $test })+
    };
    (@one $promise:ident $kit:ident $factory:ident [$spawn:expr] [$(#[$test:meta])+]) => {
        $(#[$test])+
        async fn $promise() {
            let ::core::option::Option::Some(store) = $factory().await else {
                return;
            };
            let race = $crate::testing::kit::Race::on($spawn);
            $crate::testing::kit::$kit::$promise(::std::sync::Arc::new(store), race).await;
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names in backquotes on the lines of a trait's "Contract" section that could be checks.
    fn promised(source: &'static str) -> Vec<&'static str> {
        source
            .lines()
            .skip_while(|line| !line.contains("# Contract"))
            .take_while(|line| line.starts_with("///"))
            .flat_map(|line| line.split('`').skip(1).step_by(2))
            .filter(|name| {
                name.matches('_').count() >= 2
                    && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
            })
            .collect()
    }

    fn compare(source: &'static str, checks: &[&str]) {
        let promised = promised(source);
        for name in &promised {
            assert!(checks.contains(name), "the kit has no check `{name}`");
        }
        for name in checks {
            assert!(promised.contains(name), "no contract promises `{name}`");
        }
    }

    #[test]
    fn contracts_and_checks_agree() {
        compare(include_str!("../store.rs"), tokens::PROMISES);
        compare(include_str!("../queue.rs"), queue::PROMISES);
        compare(include_str!("../limit.rs"), limiter::PROMISES);
        compare(include_str!("../audit/log.rs"), log::PROMISES);
        compare(include_str!("../account.rs"), users::PROMISES);
    }
}
