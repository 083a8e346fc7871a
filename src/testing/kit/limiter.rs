//! Checks of the [`RateLimiter`] contract.
//!
//! Time only moves forward here, and spans are minutes or more: a limiter may forget a key by its
//! server's own clock.

use std::sync::Arc;
use std::time::Duration;

use super::{Answered, RACERS, Race, at, cut, fresh};
use crate::clock::Timestamp;
use crate::limit::{Decision, LimitKey, Quota, RateLimiter, Tats, gcra};

/// The one list of this trait's promises.
#[doc(hidden)]
#[macro_export]
macro_rules! __limiter_promises {
    ($then:ident $($rest:tt)*) => {
        $crate::$then! { [
            a_limiter_follows_gcra
            every_rate_of_a_quota_holds
            contention_never_allows_too_much
            a_denied_use_is_free
            the_retry_hint_is_exact
            keys_are_independent
            clearing_forgets_the_key
            a_dropped_check_never_blocks_the_key
        ] $($rest)* }
    };
}

/// Writes one test for each promise of a [`RateLimiter`]; see
/// [`testing::kit`](crate::testing::kit).
#[macro_export]
macro_rules! conformance_limiter {
    ($($tests:tt)+) => { $crate::__limiter_promises! { __conformance_tests limiter $($tests)+ } };
}

crate::__limiter_promises! { __conformance_checks dyn RateLimiter }

type Store = Arc<dyn RateLimiter>;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

fn key() -> LimitKey {
    LimitKey::from_bytes(fresh())
}

/// The limiter, with every failure a panic.
#[derive(Clone)]
struct Probe(Store);

impl Probe {
    async fn check(&self, key: &LimitKey, quota: &Quota, now: Timestamp) -> Decision {
        self.0.check(key, quota, now).await.answered("check")
    }

    async fn allows(&self, key: &LimitKey, quota: &Quota, now: Timestamp) -> bool {
        self.check(key, quota, now).await == Decision::Allow
    }

    async fn clear(&self, key: &LimitKey) {
        self.0.clear(key).await.answered("clear");
    }
}

/// A random walk of uses: each answer is the pure function's, hints to the microsecond.
pub async fn a_limiter_follows_gcra(store: Store, _: Race) {
    let store = Probe(store);
    let quotas = [
        Quota::new(1, MINUTE),
        Quota::new(7, HOUR),
        Quota::new(1, MINUTE).and(3, HOUR).and(10, 24 * HOUR),
    ];
    let keys: [LimitKey; 3] = [key(), key(), key()];
    let mut kept = [Tats::default(); 3];
    // The present, then the last days of the year 9999.
    let far = Timestamp::from_unix_micros(253_402_200_000_000_001);
    for mut now in [at(0), far] {
        for _ in 0..100 {
            let [which, quota, coarse, fine] = fresh();
            let micros = u64::from(coarse % 8) * 11_000_000 + u64::from(fine);
            now = now + Duration::from_micros(micros);
            // The quota of a key may change from use to use: settings do.
            let quota = quotas.iter().cycle().nth(usize::from(quota));
            let key = keys.iter().zip(&mut kept).nth(usize::from(which % 3));
            let (Some(quota), Some((key, kept))) = (quota, key) else {
                continue;
            };
            let (expected, next) = gcra(quota, *kept, now);
            let answer = store.check(key, quota, now).await;
            assert_eq!(
                answer, expected,
                "the limit in force is not the limit that was set"
            );
            *kept = next;
        }
    }
    // And back: a clock may have been wrong, and its owner knocks meanwhile.
    let (key, quota, mut kept) = (key(), Quota::new(1, HOUR), Tats::default());
    for now in [far, at(0), at(1_800), at(3_599), at(3_600), at(3_601)] {
        let (expected, next) = gcra(&quota, kept, now);
        let answer = store.check(&key, &quota, now).await;
        assert_eq!(
            answer, expected,
            "a clock that was wrong keeps its owner out for ever"
        );
        kept = next;
    }
}

/// A use needs the leave of every rate, also of the third.
pub async fn every_rate_of_a_quota_holds(store: Store, _: Race) {
    let store = Probe(store);
    let quota = Quota::new(1, MINUTE).and(3, HOUR).and(10, 24 * HOUR);
    let key = key();
    let mut passed = Vec::new();
    for minute in (0..20).chain((20..24 * 60).step_by(10)) {
        if store.allows(&key, &quota, at(minute * 60)).await {
            passed.push(minute);
        }
    }
    assert_eq!(
        passed.iter().filter(|minute| **minute < 20).count(),
        3,
        "the second rate"
    );
    // Ten at once, and what grows back in a day: one each 144 minutes.
    assert_eq!(
        passed.len(),
        19,
        "the third rate: a mailbox can be flooded (W50)"
    );
}

/// 64 uses at once: as many pass as one after the other.
pub async fn contention_never_allows_too_much(store: Store, race: Race) {
    let store = Probe(store);
    for _ in 0..race.rounds {
        let key = key();
        let quota = Quota::new(5, HOUR).and(5, 24 * HOUR);
        let allowed = race
            .run((0..RACERS).map(|_| {
                let store = store.clone();
                async move { store.allows(&key, &quota, at(0)).await }
            }))
            .await;
        let allowed = allowed.into_iter().filter(|allowed| *allowed).count();
        assert_eq!(
            allowed, 5,
            "{allowed} parallel requests pass a limit of 5 (W18), or its owner is shut out"
        );
    }
}

/// Knocking at a closed door does not keep it closed.
pub async fn a_denied_use_is_free(store: Store, _: Race) {
    let store = Probe(store);
    let (quota, key) = (Quota::new(1, MINUTE).and(3, HOUR), key());
    let why = "an attacker keeps the owner out for ever by knocking";
    assert!(store.allows(&key, &quota, at(0)).await);
    for second in 1..60 {
        assert!(
            !store.allows(&key, &quota, at(second)).await,
            "the limit does not hold"
        );
    }
    assert!(store.allows(&key, &quota, at(60)).await, "{why}");
    assert!(store.allows(&key, &quota, at(120)).await, "{why}");
    assert!(
        !store.allows(&key, &quota, at(180)).await,
        "the limit does not hold"
    );
    assert!(store.allows(&key, &quota, at(1_200)).await, "{why}");
}

/// Denied a microsecond before the hint is over, allowed when it is.
pub async fn the_retry_hint_is_exact(store: Store, _: Race) {
    let store = Probe(store);
    let (quota, key) = (Quota::new(1, MINUTE).and(3, HOUR), key());
    let mut now = at(0);
    for _ in 0..5 {
        assert!(
            store.allows(&key, &quota, now).await,
            "the hint was too short"
        );
        now = now + Duration::from_micros(1_234_567);
        let Decision::Deny { retry_after } = store.check(&key, &quota, now).await else {
            panic!("the limit does not hold");
        };
        let early = now + retry_after.saturating_sub(Duration::from_micros(1));
        assert!(
            !store.allows(&key, &quota, early).await,
            "the hint was too long"
        );
        now = now + retry_after;
    }
}

/// Keys that look alike as text, as a prefix or padded are different.
pub async fn keys_are_independent(store: Store, _: Race) {
    let store = Probe(store);
    let quota = Quota::new(1, HOUR);
    let mut family = vec![*b"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF", [0x00; 32], [0xff; 32]];
    for last in [b'f', b'F', b' ', 0x00, 0x7f, 0x80, 0xff] {
        let mut key = *b"abcdefghijklmnopqrstuvwxyzabcdef";
        let [.., end] = &mut key;
        *end = last;
        family.push(key);
    }
    for key in &family {
        let key = LimitKey::from_bytes(*key);
        assert!(
            store.allows(&key, &quota, at(0)).await,
            "one person uses up another's limit"
        );
    }
    for key in &family {
        let key = LimitKey::from_bytes(*key);
        assert!(
            !store.allows(&key, &quota, at(1)).await,
            "one person's use frees another's"
        );
    }
}

/// A key that was cleared is new; the others are as they were.
pub async fn clearing_forgets_the_key(store: Store, _: Race) {
    let store = Probe(store);
    let quota = Quota::new(2, HOUR);
    let (target, other, unknown) = (key(), key(), key());
    for key in [&target, &other] {
        assert!(store.allows(key, &quota, at(0)).await);
        assert!(store.allows(key, &quota, at(0)).await);
    }
    store.clear(&unknown).await;
    assert!(
        !store.allows(&target, &quota, at(1)).await,
        "clearing one key cleared another"
    );
    store.clear(&target).await;
    store.clear(&target).await;
    let why = "the owner stays shut out after an operator cleared the way";
    assert!(store.allows(&target, &quota, at(1)).await, "{why}");
    assert!(store.allows(&target, &quota, at(1)).await, "{why}");
    assert!(
        !store.allows(&target, &quota, at(1)).await,
        "a cleared key has no limit any more"
    );
    assert!(
        !store.allows(&other, &quota, at(1)).await,
        "clearing one key cleared another"
    );
}

/// A client that hangs up during `check` costs one use at most, and the key still works.
pub async fn a_dropped_check_never_blocks_the_key(store: Store, race: Race) {
    let store = Probe(store);
    let quota = Quota::new(2, HOUR);
    for round in 0..race.rounds {
        let key = key();
        let _ = cut(store.0.check(&key, &quota, at(0)), 1 + round % 8).await;
        let mut allowed = 0;
        for _ in 0..4 {
            allowed += u32::from(store.allows(&key, &quota, at(0)).await);
        }
        assert!(
            (1..=2).contains(&allowed),
            "a check that was cut off charged more than one use, or none counts any more"
        );
    }
}
