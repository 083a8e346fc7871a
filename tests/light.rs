//! Promise "light": it never stalls or starves its host. (Speed and memory are measured by
//! `benches/light.rs`.)

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod common;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{Backends, GOOD, World, client, typed};
use password_reset::account::{Address, Identifier, InvalidText, UserId};
use password_reset::flow::VerifyError;
use password_reset::password::{
    Argon2id, Candidate, HashPool, HasherError, NewPassword, PasswordHash, PasswordHasher, Scratch,
    Violation,
};
use password_reset::testing::{InsecureHasher, block_on};

const TEN_MIB: usize = 10 << 20;

/// R39: bad tokens never reach the hasher, however many.
#[test]
fn ten_thousand_bad_tokens_cost_no_hash() {
    let pool = HashPool::new(Argon2id::default()).unwrap();
    let world = World::with(Backends::unlimited(), |builder| {
        builder.hashing(pool.clone())
    });
    block_on(async {
        let token = world.mailed("ada@example.com").await.unwrap();
        let tail = token.split_at(22).1;
        for number in 0..10_000 {
            // Half of them well formed, and some with the true selector.
            let bad = match number % 3 {
                0 => format!("{number:064}"),
                1 => format!("{number:022}{tail}"),
                _ => "x".repeat(number % 70),
            };
            let refused = world.flow.verify(&bad, &client()).await.unwrap_err();
            assert!(matches!(refused, VerifyError::Invalid));
        }
        assert_eq!(pool.stats().started, 0);
    });
}

/// R39: under 32 completions at once, no more hashes run than the pool has threads; who does not
/// fit hears `Busy` and keeps the token.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_hashes_never_exceed_the_pool() {
    let two = NonZeroUsize::new(2).unwrap();
    let cheapest = Argon2id::new(12_288, 3, 1).unwrap();
    let pool = HashPool::builder(cheapest)
        .threads(two)
        .queue(6)
        .build()
        .unwrap();
    let world = World::with(Backends::unlimited(), |builder| {
        builder.hashing(pool.clone())
    });
    let mut ready = Vec::new();
    for number in 0..32 {
        let (id, mail) = (
            format!("many-{number}"),
            format!("many-{number}@example.com"),
        );
        world.users.add(common::account(&id, &mail));
        ready.push(world.mailed(&mail).await.unwrap());
    }
    let gate = Arc::new(tokio::sync::Barrier::new(32));
    let tasks: Vec<_> = ready
        .iter()
        .cloned()
        .map(|token| {
            let (flow, gate) = (world.flow.clone(), Arc::clone(&gate));
            tokio::spawn(async move {
                let verified = flow.verify(&token, &client()).await.unwrap();
                let password = verified.parse_password(GOOD).unwrap();
                gate.wait().await;
                verified
                    .complete(password)
                    .await
                    .map_err(|error| error.to_string())
            })
        })
        .collect();
    let mut busy = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error, "too busy at this moment");
                busy += 1;
            }
        }
    }
    assert!(busy >= 1, "two threads and a queue of six took 32 at once");
    assert!(pool.stats().peak <= 2, "{:?}", pool.stats());
    // Whoever was refused can try again.
    let mut good = 0;
    for token in &ready {
        good += u32::from(world.flow.verify(token, &client()).await.is_ok());
    }
    assert_eq!(good, busy);
}

#[derive(Default)]
struct Counting(Arc<AtomicU64>);

impl PasswordHasher for Counting {
    fn hash(&self, new: &NewPassword, scratch: &mut Scratch) -> Result<PasswordHash, HasherError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        InsecureHasher.hash(new, scratch)
    }
    fn verify(
        &self,
        candidate: &Candidate,
        stored: &PasswordHash,
        scratch: &mut Scratch,
    ) -> Result<bool, HasherError> {
        InsecureHasher.verify(candidate, stored, scratch)
    }
    fn needs_rehash(&self, _: &PasswordHash) -> bool {
        false
    }
    fn max_bytes(&self) -> Option<usize> {
        None
    }
}

/// R39: a refused password, a denied account and a lost race cost no hash either; a change costs
/// exactly one.
#[test]
fn only_a_change_costs_a_hash() {
    let hashes = Arc::new(AtomicU64::new(0));
    let pool = HashPool::new(Counting(Arc::clone(&hashes))).unwrap();
    let world = World::with(Backends::unlimited(), |builder| builder.hashing(pool));
    block_on(async {
        let guarded = world.mailed("guarded@example.com").await.unwrap();
        assert!(world.reset(&guarded, GOOD).await.is_err());
        let token = world.mailed("ada@example.com").await.unwrap();
        assert!(world.reset(&token, "short").await.is_err());
        assert_eq!(hashes.load(Ordering::Relaxed), 0);
        world.reset(&token, GOOD).await.unwrap();
        assert_eq!(hashes.load(Ordering::Relaxed), 1);
    });
}

/// R44, W26: ten mebibytes of anything are refused by their length, before any work.
#[test]
fn w26_oversized_input_is_refused_by_its_length() {
    let world = World::unlimited();
    let huge = "a".repeat(TEN_MIB);
    assert_eq!(
        Identifier::parse(&huge).unwrap_err(),
        InvalidText::TooLong { max: 254 }
    );
    assert!(Address::parse(&huge).is_err() && UserId::parse(&huge).is_err());
    block_on(async {
        let token = world.mailed("ada@example.com").await.unwrap();
        let calls = world.faults.calls();
        let refused = world.flow.verify(&huge, &client()).await.unwrap_err();
        assert!(matches!(refused, VerifyError::Invalid));
        assert_eq!(world.faults.calls(), calls, "no backend was asked");
        let verified = world.flow.verify(&token, &client()).await.unwrap();
        let rejected = verified.parse_password(&huge).unwrap_err();
        assert!(matches!(
            rejected.violations(),
            [Violation::TooManyBytes { .. }]
        ));
    });
    assert!(Candidate::parse(&huge).is_err());
}

/// R20, W9, W23, W24, W25: typed refusals and generic answers; nothing breaks and nothing is lost.
#[test]
fn w25_bad_input_is_refused_or_answered_like_any_other() {
    let world = World::unlimited();
    for bad in [
        "",
        "   ",
        "a\0b",
        "ada@example.com\r\nBcc: eve@example.org",
        "ada@example.com\u{2028}x",
        "\u{202e}ada@example.com",
    ] {
        assert!(Identifier::parse(bad).is_err(), "{bad:?}");
    }
    for odd in [
        "' OR 1=1--",
        "%",
        "_",
        "*",
        "{\"$ne\":null}",
        "a,b@example.com",
        "ada|eve",
    ] {
        let answer = block_on(world.flow.request(&typed(odd), &client()));
        assert!(answer.is_ok(), "{odd:?}");
    }
    block_on(async {
        world.work().await;
        assert_eq!(world.outbox.messages().len(), 0);
        for bad in ["", "null", "undefined", " ", "[]", "{}", "\0", "🦀"] {
            assert!(world.flow.verify(bad, &client()).await.is_err());
        }
    });
}

/// Shared freely: the flow, and what it answers, may cross threads.
#[test]
fn everything_is_send_and_sync() {
    fn check<T: Send + Sync + 'static>(_: &T) {}
    fn check_send<T: Send>(_: &T) {}
    let world = World::unlimited();
    check(&world.flow);
    let (identifier, from) = (typed("ada@example.com"), client());
    check_send(&world.flow.request(&identifier, &from));
    check_send(&world.flow.verify("token", &from));
    let worker = world.flow.worker();
    check_send(&worker.run_due());
}
