//! The limiter's script against the core's function, on many random uses.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{Random, Scratch, at};
use password_reset::Timestamp;
use password_reset::limit::{Decision, LimitKey, Quota, RateLimiter, Tats, gcra};

/// One to three rates.
fn quota(random: &mut Random) -> Quota {
    let (mut quota, mut first) = (Quota::new(1, Duration::MAX), true);
    for _ in 0..=random.below(3) {
        let count = 1 + random.below(12);
        let each = 1 + random.up_to_a_power(1, 48);
        let per = Duration::from_micros(each * count + random.below(count));
        let count = u32::try_from(count).unwrap();
        quota = if first {
            Quota::new(count, per)
        } else {
            quota.and(count, per)
        };
        first = false;
    }
    quota
}

#[tokio::test]
async fn the_script_decides_and_keeps_what_the_function_says() {
    let Some(scratch) = Scratch::new().await else {
        return;
    };
    let backend = scratch.backend().await;
    // The server's own clock runs meanwhile; it leaves a limit a minute longer than it needs.
    let mut random = Random(0x6c61_7374_5f63_616c);
    let (mut allowed, mut denied) = (0, 0);
    // Today, around 1970, beyond the numbers that a script holds exactly, and the ends of time.
    let starts = [
        1_800_000_000_123_457,
        -5_000_000,
        9_007_199_254_740_990,
        253_402_200_000_000_001,
        i64::MIN + 1,
        i64::MAX - 1_000_000_000,
    ];
    for walk in 0..120 {
        let key = LimitKey::from_bytes([walk; 32]);
        let start = starts.get(usize::from(walk) % starts.len()).unwrap();
        let (mut now, mut kept) = (at(*start), Tats::default());
        let quotas = [quota(&mut random), quota(&mut random)];
        for _ in 0..40 {
            let quota = quotas.get(usize::from(random.below(8) == 0)).unwrap();
            let (expected, next) = gcra(quota, kept, now);
            let answer = backend.check(&key, quota, now).await.unwrap();
            assert_eq!(answer, expected, "{quota:?} at {now:?} with {kept:?}");
            kept = next;
            now = match expected {
                // A clock that was set back.
                Decision::Allow if random.below(10) == 0 => now - step(&mut random),
                Decision::Allow => now + step(&mut random),
                // To the microsecond, just before it, or somewhere.
                Decision::Deny { retry_after } => match random.below(3) {
                    0 => now + retry_after,
                    1 => now + retry_after.saturating_sub(Duration::from_micros(1)),
                    _ => now + step(&mut random),
                },
            };
            allowed += u32::from(expected == Decision::Allow);
            denied += u32::from(expected != Decision::Allow);
        }
    }
    assert!(allowed > 1_000 && denied > 1_000, "{allowed} and {denied}");
}

fn step(random: &mut Random) -> Duration {
    Duration::from_micros(random.up_to_a_power(1, 40))
}

#[tokio::test]
async fn spans_beyond_a_life_are_bounded() {
    let Some(scratch) = Scratch::new().await else {
        return;
    };
    let backend = scratch.backend().await;
    let key = LimitKey::from_bytes([1; 32]);
    let quota = Quota::new(2, Duration::MAX).and(u32::MAX, Duration::MAX);
    for now in [at(0), at(1_800_000_000_123_457)] {
        let answer = backend.check(&key, &quota, now).await.unwrap();
        assert_eq!(answer, Decision::Allow);
        backend.clear(&key).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_not_a_limit_denies() {
    let Some(scratch) = Scratch::new().await else {
        return;
    };
    let backend = scratch.backend().await;
    let (key, quota) = (LimitKey::from_bytes([2; 32]), Quota::new(1, Duration::MAX));
    let mut connection = common::connection().await.unwrap();
    let name = [scratch.prefix().as_bytes(), b":l:", key.as_bytes()].concat();
    for odd in ["", "12", &"x".repeat(60)] {
        let set = password_reset_redis::redis::cmd("SET")
            .arg(&name)
            .arg(odd)
            .to_owned();
        set.exec_async(&mut connection).await.unwrap();
        let error = backend
            .check(&key, &quota, Timestamp::from_unix_micros(0))
            .await;
        assert_eq!(
            error.unwrap_err().to_string(),
            "the field limit cannot be read"
        );
    }
}
