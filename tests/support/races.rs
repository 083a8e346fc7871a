//! 64 tasks on two backends that share what they keep: what two processes would do to each other.
//! For every adapter.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::collections::HashSet;
use std::future::Future;
use std::time::Duration;

use password_reset::limit::{Decision, LimitKey, Quota, RateLimiter};
use password_reset::queue::JobQueue;
use password_reset::store::{Insert, Live, TokenStore};
use password_reset::token::state::{Claim, ClaimId, Settlement};
use tokio::task::JoinSet;

use crate::common::{at, fresh, job, token};

const TASKS: usize = 64;

pub(crate) trait Backend: TokenStore + JobQueue + RateLimiter + Clone {}

impl<B: TokenStore + JobQueue + RateLimiter + Clone> Backend for B {}

/// Every race on one kind of backend. `$pair` answers, if there is a server, two backends and what
/// has to live as long as they do.
macro_rules! races {
    ($database:ident, $pair:expr) => {
        races! { $database, $pair,
            a_claim_has_one_winner_across_processes
            places_are_not_oversold_across_processes
            the_newest_supersede_the_others_across_processes
            a_limit_is_never_overrun_across_processes
            every_try_is_counted_across_processes
            a_job_is_leased_once_across_processes
            an_abandoned_claim_has_one_finder_across_processes
            an_answered_write_is_seen_by_every_reader
        }
    };
    ($database:ident, $pair:expr, $($race:ident)+) => {
        mod $database { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $race() {
                if let Some((_kept, backends)) = $pair {
                    crate::races::$race(backends).await;
                }
            }
        )+ }
    };
}
pub(crate) use races;

/// Runs `act` in 64 tasks at once, half of them on each backend.
async fn race<B, A, F>(backends: &[B; 2], act: impl Fn(B) -> F) -> Vec<A>
where
    B: Backend,
    A: Send + 'static,
    F: Future<Output = A> + Send + 'static,
{
    let tasks: JoinSet<A> = backends
        .iter()
        .cycle()
        .take(TASKS)
        .map(|backend| act(backend.clone()))
        .collect();
    tasks.join_all().await
}

pub(crate) async fn a_claim_has_one_winner_across_processes<B: Backend>(backends: [B; 2]) {
    for _ in 0..30 {
        let record = token("ada");
        let live = Live::at_most(100.try_into().unwrap());
        assert_eq!(
            backends[0].insert(&record, live).await.unwrap(),
            Insert::Done
        );
        let selector = record.selector;
        let won = race(&backends, |backend| async move {
            let claim = ClaimId::from_bytes(fresh());
            let answer = backend.claim(&selector, claim, at(1_100), at(1_200)).await;
            (answer.unwrap() == Claim::Won).then_some(claim)
        })
        .await;
        let winners: Vec<ClaimId> = won.into_iter().flatten().collect();
        let [winner] = winners[..] else {
            panic!("{} winners", winners.len());
        };
        // And one of 64 settlements by that one winner counts.
        let settled = race(&backends, |backend| {
            let spent = Settlement::Spent { at: at(1_150) };
            async move { backend.settle(&selector, winner, spent).await.unwrap() }
        })
        .await;
        assert_eq!(settled.into_iter().filter(|settled| *settled).count(), 1);
    }
}

pub(crate) async fn places_are_not_oversold_across_processes<B: Backend>(backends: [B; 2]) {
    for user in ["ada", "Ada", "grace"] {
        let stored = race(&backends, |backend| async move {
            backend.insert(&token(user), Live::default()).await.unwrap()
        })
        .await;
        let done = stored.iter().filter(|answer| **answer == Insert::Done);
        assert_eq!(done.count(), 3, "{user}");
    }
}

pub(crate) async fn the_newest_supersede_the_others_across_processes<B: Backend>(backends: [B; 2]) {
    let records = race(&backends, |backend| async move {
        let record = token("ada");
        let live = Live::newest(2.try_into().unwrap());
        assert_eq!(backend.insert(&record, live).await.unwrap(), Insert::Done);
        record.selector
    })
    .await;
    let mut open = 0;
    for selector in records {
        let record = backends[0].find(&selector).await.unwrap().unwrap();
        open += usize::from(record.state.is_open());
    }
    assert_eq!(open, 2);
}

pub(crate) async fn a_limit_is_never_overrun_across_processes<B: Backend>(backends: [B; 2]) {
    let quota = Quota::new(5, Duration::from_secs(3_600));
    for round in 0..10 {
        let key = LimitKey::from_bytes([round; 32]);
        let answers = race(&backends, |backend| async move {
            backend.check(&key, &quota, at(0)).await.unwrap()
        })
        .await;
        let allowed = answers.iter().filter(|answer| **answer == Decision::Allow);
        assert_eq!(allowed.count(), 5);
    }
}

pub(crate) async fn every_try_is_counted_across_processes<B: Backend>(backends: [B; 2]) {
    let record = token("ada");
    let _ = backends[0].insert(&record, Live::default()).await.unwrap();
    let selector = record.selector;
    let counted = race(&backends, |backend| async move {
        backend.count_attempt(&selector).await.unwrap().unwrap()
    })
    .await;
    let distinct: HashSet<u32> = counted.into_iter().collect();
    assert_eq!(distinct, (1..=64).collect());
}

pub(crate) async fn a_job_is_leased_once_across_processes<B: Backend>(backends: [B; 2]) {
    let jobs = 200;
    for due in 0..jobs {
        backends[0].push(&job(due)).await.unwrap();
    }
    let mut leased = race(&backends, |backend| async move {
        backend.lease(at(1_000), at(2_000), 4).await.unwrap()
    })
    .await;
    // Workers that met may have left some behind.
    leased.push(backends[0].lease(at(1_000), at(2_000), 200).await.unwrap());
    let names: Vec<_> = leased.iter().flatten().map(|job| job.lease.job).collect();
    let distinct: HashSet<_> = names.iter().collect();
    assert_eq!(names.len(), 200);
    assert_eq!(distinct.len(), 200);
    assert!(leased.iter().flatten().all(|job| job.lease.attempt == 1));
}

pub(crate) async fn an_abandoned_claim_has_one_finder_across_processes<B: Backend>(
    backends: [B; 2],
) {
    for number in 0..20 {
        let record = token(&format!("user-{number}"));
        let claim = ClaimId::from_bytes(fresh());
        let until = at(1_100 - i64::from(number));
        let _ = backends[0].insert(&record, Live::default()).await.unwrap();
        let won = backends[0].claim(&record.selector, claim, at(1_000), until);
        assert_eq!(won.await.unwrap(), Claim::Won);
    }
    let found = race(&backends, |backend| async move {
        let claim = ClaimId::from_bytes(fresh());
        backend
            .abandoned(claim, at(1_500), at(1_600), 3)
            .await
            .unwrap()
    })
    .await;
    let rest = ClaimId::from_bytes(fresh());
    let rest = backends[0].abandoned(rest, at(1_500), at(1_600), 20);
    let found = [found, vec![rest.await.unwrap()]].concat();
    let selectors: Vec<_> = found
        .iter()
        .flatten()
        .map(|record| record.selector)
        .collect();
    let distinct: HashSet<_> = selectors.iter().collect();
    assert_eq!((selectors.len(), distinct.len()), (20, 20));
}

pub(crate) async fn an_answered_write_is_seen_by_every_reader<B: Backend>(backends: [B; 2]) {
    for _ in 0..200 {
        let record = token("ada");
        let live = Live::newest(1.try_into().unwrap());
        let _ = backends[0].insert(&record, live).await.unwrap();
        assert!(backends[0].find(&record.selector).await.unwrap().is_some());
        assert!(backends[1].find(&record.selector).await.unwrap().is_some());
    }
}
