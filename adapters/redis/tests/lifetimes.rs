//! How long the server keeps what nobody deletes.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use std::time::Duration;

use common::{Scratch, at, fresh, token};
use password_reset::limit::{LimitKey, Quota, RateLimiter};
use password_reset::store::{Live, TokenStore};
use password_reset::token::state::{Claim, ClaimId, Settlement};

const DAYS_60: i64 = 60 * 24 * 60 * 60 * 1_000;
/// Time passes between a command and the look at it, and the server's clock may be set back between.
const SLACK: i64 = 5_000;

/// The time to live of the keys whose name has this part.
async fn ttls(scratch: &Scratch, part: &str) -> Vec<i64> {
    let left = scratch.left().await;
    let named = left.into_iter().filter(|(name, _)| name.contains(part));
    named.map(|(_, ttl)| ttl).collect()
}

#[tokio::test]
async fn a_limit_lives_as_long_as_it_decides() {
    let Some(scratch) = Scratch::new().await else {
        return;
    };
    let backend = scratch.backend().await;
    let quota = Quota::new(1, Duration::from_secs(60)).and(3, Duration::from_secs(3_600));
    let key = LimitKey::from_bytes([7; 32]);
    // And a minute for clocks that do not agree.
    let minute = 60_000;
    // However far the application's clock is from the server's. Denied uses keep it as long.
    for (start, expected) in [(0, 1_200_000), (1, 1_199_000), (1_200, 1_200_000)] {
        let now = at(7_000_000_000_000_000 + start * 1_000_000);
        let _ = backend.check(&key, &quota, now).await.unwrap();
        let ttl = ttls(&scratch, ":l:").await;
        let expected = expected + minute;
        let [ttl] = ttl[..] else {
            panic!("{ttl:?}");
        };
        assert!(
            (expected - SLACK..=expected + SLACK).contains(&ttl),
            "{ttl}"
        );
    }
    backend.clear(&key).await.unwrap();
    assert!(scratch.left().await.is_empty());
}

#[tokio::test]
async fn a_token_that_is_claimed_or_watched_lives_until_it_is_settled() {
    let Some(scratch) = Scratch::new().await else {
        return;
    };
    let backend = scratch.backend().await;
    let bounded = |ttls: &[i64]| {
        let enough = ttls
            .iter()
            .all(|ttl| (DAYS_60 - SLACK..=DAYS_60 + SLACK).contains(ttl));
        assert!(enough && !ttls.is_empty(), "{ttls:?}");
    };
    let record = token("ada");
    let _ = backend.insert(&record, Live::default()).await.unwrap();
    bounded(&ttls(&scratch, ":t:").await);
    bounded(&ttls(&scratch, ":u:").await);

    for how in [
        Settlement::Released {
            check_at: at(1_300),
        },
        Settlement::Closed,
        Settlement::Spent { at: at(1_500) },
    ] {
        let claim = ClaimId::from_bytes(fresh());
        let won = backend
            .claim(&record.selector, claim, at(1_200), at(1_250))
            .await;
        assert_eq!(won.unwrap(), Claim::Won);
        assert_eq!(ttls(&scratch, ":t:").await, [-1]);
        assert_eq!(ttls(&scratch, ":u:").await, [-1]);
        assert!(backend.settle(&record.selector, claim, how).await.unwrap());
        let ttls = ttls(&scratch, ":t:").await;
        match how {
            Settlement::Released { .. } => assert_eq!(ttls, [-1]),
            _ => bounded(&ttls),
        }
    }
}

#[tokio::test]
async fn a_new_token_does_not_let_its_users_claimed_one_be_forgotten() {
    let Some(scratch) = Scratch::new().await else {
        return;
    };
    let backend = scratch.backend().await;
    let record = token("ada");
    let _ = backend.insert(&record, Live::default()).await.unwrap();
    let claim = ClaimId::from_bytes(fresh());
    let won = backend
        .claim(&record.selector, claim, at(1_200), at(1_250))
        .await;
    assert_eq!(won.unwrap(), Claim::Won);
    let _ = backend
        .insert(&token("ada"), Live::default())
        .await
        .unwrap();
    assert_eq!(ttls(&scratch, ":u:").await, [-1]);
}
