//! What a new password must not be, beyond its length: known from a breach, the present one, or one
//! of those before it. Each refusal has its reason and leaves the token as it is (R50..R54).

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests may panic")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{Backends, GOOD, World, account, client};
use password_reset::account::{Credential, UserId};
use password_reset::async_trait;
use password_reset::audit::{EventKind, Refused, Step};
use password_reset::error::{Backend, BoxError};
use password_reset::flow::{Builder, CompleteError, ScreenError};
use password_reset::password::{
    Breach, BreachCheck, Candidate, Context, HashPool, HasherError, NewPassword, PasswordHash,
    PasswordHasher, PasswordHistory, Policy, Scratch, Unanswered, Violation,
};
use password_reset::testing::{Faulty, InsecureHasher, block_on};

const LEAKED: &str = "an old harbour in the fog";

/// Knows one password, and how often it was asked.
#[derive(Clone, Default)]
struct OneLeak {
    asked: Arc<AtomicU64>,
}

#[async_trait]
impl BreachCheck for OneLeak {
    async fn look_up(&self, password: &NewPassword) -> Result<Breach, BoxError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Ok(match password.expose() {
            LEAKED => Breach::Found,
            _ => Breach::NotFound,
        })
    }
}

struct Down;

#[async_trait]
impl BreachCheck for Down {
    async fn look_up(&self, _: &NewPassword) -> Result<Breach, BoxError> {
        Err("no answer".into())
    }
}

/// The same hashes for everybody.
struct Before(Vec<PasswordHash>);

#[async_trait]
impl PasswordHistory for Before {
    async fn former(&self, _: &UserId, max: u8) -> Result<Vec<PasswordHash>, BoxError> {
        Ok(self.0.iter().take(usize::from(max)).cloned().collect())
    }
}

fn hash_of(raw: &str) -> PasswordHash {
    let password = Policy::default().danger_without_blocklist();
    let password = password.parse(raw, &Context::default()).unwrap();
    InsecureHasher.hash(&password, &mut Scratch::new()).unwrap()
}

fn world(change: impl FnOnce(Builder) -> Builder) -> World {
    World::with(Backends::unlimited(), change)
}

/// Opens the link again and sets this password.
async fn set(world: &World, token: &str, raw: &str) -> Result<(), CompleteError> {
    let verified = world.flow.verify(token, &client()).await.unwrap();
    let password = verified
        .parse_password(raw)
        .map_err(CompleteError::Password);
    verified.complete(password?).await.map(|_| ())
}

fn reasons(outcome: Result<(), CompleteError>) -> Vec<Violation> {
    match outcome {
        Err(CompleteError::Password(rejected)) => rejected.violations().to_vec(),
        other => {
            assert!(other.is_ok(), "{other:?}");
            Vec::new()
        }
    }
}

/// R52: three refusals for three reasons, and then a good one through the same link.
#[test]
fn no_refused_password_burns_the_token() {
    let world = world(|builder| {
        builder
            .breach_check(OneLeak::default(), Unanswered::Refuse)
            .password_history(Before(vec![hash_of("the harbour before the fog")]), 4)
    });
    world.users.add({
        let mut ada = account("9", "grace@example.com");
        ada.credential = Credential::Password(hash_of("my present passphrase"));
        ada
    });
    block_on(async {
        let token = world.mailed("grace@example.com").await.unwrap();
        for (raw, why) in [
            ("seven owls", Violation::TooShort { min: 15 }),
            ("masterofpuppets", Violation::Common),
            (LEAKED, Violation::Breached),
            ("my present passphrase", Violation::Unchanged),
            ("the harbour before the fog", Violation::Reused),
        ] {
            assert_eq!(reasons(set(&world, &token, raw).await), [why], "{raw}");
        }
        assert_eq!(
            world.saw(|kind| kind == EventKind::Refused(Refused::Password)),
            3,
            "the policy's own refusals are told before `complete`"
        );
        assert!(world.logs_in("9", "my present passphrase"));
        set(&world, &token, GOOD).await.unwrap();
        assert!(world.logs_in("9", GOOD));
        assert!(world.flow.verify(&token, &client()).await.is_err());
    });
}

/// W60: what was judged by a laxer policy is judged again.
#[test]
fn w60_no_path_to_the_hash_goes_round_the_list() {
    let world = world(|builder| builder);
    block_on(async {
        let token = world.mailed("ada@example.com").await.unwrap();
        let lax = Policy::with_second_factor_enforced().danger_without_blocklist();
        let password = lax.parse("masterofpuppets", &Context::default()).unwrap();
        let verified = world.flow.verify(&token, &client()).await.unwrap();
        let refused = verified.complete(password).await.map(|_| ());
        assert_eq!(reasons(refused), [Violation::Common]);
        set(&world, &token, GOOD).await.unwrap();
    });
}

#[test]
fn a_breach_is_looked_up_once_a_change_and_behind_everything_that_is_cheap() {
    let check = OneLeak::default();
    let asked = || check.asked.load(Ordering::Relaxed);
    let pool = HashPool::new(InsecureHasher).unwrap();
    let world = world(|builder| {
        let builder = builder.hashing(pool.clone());
        builder.breach_check(check.clone(), Unanswered::Refuse)
    });
    block_on(async {
        // Not for who may not change the password at all (R67).
        let token = world.mailed("guarded@example.com").await.unwrap();
        let refused = set(&world, &token, GOOD).await.unwrap_err();
        assert!(matches!(refused, CompleteError::StepUp));
        // Not for what the policy refuses.
        let token = world.mailed("ada@example.com").await.unwrap();
        let _ = set(&world, &token, "masterofpuppets").await.unwrap_err();
        assert_eq!(asked(), 0);
        // Before anything is hashed.
        assert_eq!(
            reasons(set(&world, &token, LEAKED).await),
            [Violation::Breached]
        );
        assert_eq!((asked(), pool.stats().started), (1, 0));
        set(&world, &token, GOOD).await.unwrap();
        // The present password, and the new one.
        assert_eq!((asked(), pool.stats().started), (2, 2));
    });
}

#[test]
fn a_check_that_fails_is_loud_and_does_what_the_builder_said() {
    let failed = EventKind::BackendFailed {
        backend: Backend::Breach,
        step: Step::Complete,
    };
    for (unanswered, accepted) in [(Unanswered::Accept, true), (Unanswered::Refuse, false)] {
        let world = world(|builder| builder.breach_check(Down, unanswered));
        block_on(async {
            let token = world.mailed("ada@example.com").await.unwrap();
            let outcome = set(&world, &token, GOOD).await;
            assert_eq!(world.saw(|kind| kind == failed), 1);
            assert_eq!(world.logs_in("1", GOOD), accepted);
            if accepted {
                return outcome.unwrap();
            }
            let error = outcome.unwrap_err();
            assert!(
                matches!(error, CompleteError::Unavailable(e) if e.backend() == Backend::Breach)
            );
            // The link is as good as before.
            assert!(world.flow.verify(&token, &client()).await.is_ok());
        });
    }
}

/// What an old table holds: a scheme of which nobody has the code any more, damage, and a verifier
/// that panics.
#[test]
fn a_stored_hash_that_cannot_be_read_keeps_nobody_out() {
    struct Panics;
    impl PasswordHasher for Panics {
        fn hash(&self, new: &NewPassword, s: &mut Scratch) -> Result<PasswordHash, HasherError> {
            InsecureHasher.hash(new, s)
        }
        fn verify(
            &self,
            _: &Candidate,
            stored: &PasswordHash,
            _: &mut Scratch,
        ) -> Result<bool, HasherError> {
            match stored.expose() {
                "$md5$panic" => panic!("a legacy verifier"),
                "$md5$damaged" => Err(HasherError::Malformed),
                _ => Err(HasherError::Unsupported),
            }
        }
        fn needs_rehash(&self, _: &PasswordHash) -> bool {
            true
        }
        fn max_bytes(&self) -> Option<usize> {
            None
        }
    }
    for (stored, events) in [("$md5$old", 0), ("$md5$damaged", 1), ("$md5$panic", 1)] {
        let pool = HashPool::new(Panics).unwrap();
        let world = world(|builder| builder.hashing(pool));
        let mut old = account("9", "grace@example.com");
        old.credential = common::credential(stored);
        world.users.add(old);
        block_on(async {
            let token = world.mailed("grace@example.com").await.unwrap();
            set(&world, &token, GOOD).await.unwrap();
        });
        assert!(world.logs_in("9", GOOD));
        let failed = |kind| {
            let backend = Backend::Hasher;
            kind == EventKind::BackendFailed {
                backend,
                step: Step::Complete,
            }
        };
        assert_eq!(world.saw(failed), events, "{stored}");
    }
}

/// R53: off by default; PCI's last four where asked for.
#[test]
fn only_as_many_former_passwords_count_as_was_asked_for() {
    let former = |n: u32| format!("the harbour of the year {n}");
    let hashes: Vec<_> = (1..=6).map(|n| hash_of(&former(n))).collect();
    block_on(async {
        let world = world(|builder| builder.password_history(Before(hashes.clone()), 4));
        let token = world.mailed("ada@example.com").await.unwrap();
        for n in 1..=4 {
            let refused = set(&world, &token, &former(n)).await;
            assert_eq!(reasons(refused), [Violation::Reused]);
        }
        set(&world, &token, &former(5)).await.unwrap();
    });
    block_on(async {
        let world = world(|builder| builder);
        let token = world.mailed("ada@example.com").await.unwrap();
        set(&world, &token, &former(1)).await.unwrap();
    });
}

#[test]
fn a_history_that_fails_closes() {
    let faults = password_reset::testing::Faults::default();
    let history = Faulty::sharing(Before(Vec::new()), &faults);
    let world = world(|builder| builder.password_history(history, 4));
    block_on(async {
        let token = world.mailed("ada@example.com").await.unwrap();
        faults.fail(1);
        let refused = set(&world, &token, GOOD).await.unwrap_err();
        assert!(
            matches!(refused, CompleteError::Unavailable(e) if e.backend() == Backend::History)
        );
        assert!(!world.logs_in("1", GOOD));
        set(&world, &token, GOOD).await.unwrap();
    });
}

/// R54: one call each for the forms beside the reset.
#[test]
fn sign_up_and_change_are_held_to_the_same() {
    let world = world(|builder| {
        builder
            .breach_check(OneLeak::default(), Unanswered::Refuse)
            .password_history(Before(vec![hash_of("the harbour before the fog")]), 4)
    });
    let why = |outcome: Result<NewPassword, ScreenError>| match outcome {
        Err(ScreenError::Password(rejected)) => rejected.violations().to_vec(),
        other => {
            assert!(other.is_ok(), "{other:?}");
            Vec::new()
        }
    };
    block_on(async {
        let context = Context::default().word("grace@example.com");
        for (raw, expected) in [
            ("masterofpuppets", vec![Violation::Common]),
            ("grace-grace-grace-1", vec![Violation::ContextWord]),
            (LEAKED, vec![Violation::Breached]),
            (GOOD, vec![]),
        ] {
            assert_eq!(
                why(world.flow.screen(raw, &context).await),
                expected,
                "{raw}"
            );
        }

        let mut grace = account("9", "grace@example.com");
        grace.credential = Credential::Password(hash_of("my present passphrase"));
        for (raw, expected) in [
            ("grace-grace-grace-1", vec![Violation::ContextWord]),
            (LEAKED, vec![Violation::Breached]),
            ("my present passphrase", vec![Violation::Unchanged]),
            ("the harbour before the fog", vec![Violation::Reused]),
            (GOOD, vec![]),
        ] {
            assert_eq!(
                why(world.flow.screen_change(raw, &grace).await),
                expected,
                "{raw}"
            );
        }
    });
}
