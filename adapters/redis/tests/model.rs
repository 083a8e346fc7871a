//! Random calls on this store and on the core's own: every answer and every record is the same.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use common::{Random, Scratch, at, token};
use password_reset::memory::MemoryTokens;
use password_reset::store::{Live, Reach, TokenStore};
use password_reset::token::state::{ClaimId, Revocation, Settlement};
use password_reset::token::{Epoch, TokenRecord};

/// One random call, the same on every store; what it answered, as a text.
async fn act(store: &dyn TokenStore, records: &[TokenRecord], mut random: Random) -> String {
    let now = at(i64::try_from(1_000 + random.below(2_000)).unwrap());
    let until = at(now.unix_micros() + i64::try_from(random.below(600)).unwrap());
    let [first, last] = [random.below(256), random.below(4)].map(|n| u8::try_from(n).unwrap());
    let claim = ClaimId::from_bytes([last; 16]);
    let record = records.get(usize::from(first) % records.len()).unwrap();
    let selector = &record.selector;
    let why = [Revocation::Requested, Revocation::Undelivered][usize::from(last % 2)];
    match random.below(14) {
        0..4 => {
            let places = (1 + u32::from(last)).try_into().unwrap();
            let live = match random.below(2) {
                0 => Live::at_most(places),
                _ => Live::newest(places),
            };
            // What a taken selector answers is each store's own word.
            let answer = store.insert(record, live).await.ok();
            format!("insert {answer:?}")
        }
        4..7 => format!(
            "claim {:?}",
            store.claim(selector, claim, now, until).await.unwrap()
        ),
        7..9 => {
            let how = match random.below(3) {
                0 => Settlement::Spent { at: now },
                1 => Settlement::Released { check_at: until },
                _ => Settlement::Closed,
            };
            format!(
                "settle {}",
                store.settle(selector, claim, how).await.unwrap()
            )
        }
        9 => {
            let max = u32::from(first) % 4;
            let found = store.abandoned(claim, now, until, max).await.unwrap();
            let mut found: Vec<_> = found.iter().map(text).collect();
            found.sort();
            format!("abandoned {found:?}")
        }
        10 => format!("tries {:?}", store.count_attempt(selector).await.unwrap()),
        11 => format!("revoke {}", store.revoke(selector, now, why).await.unwrap()),
        12 => {
            let reach = match random.below(2) {
                0 => Reach::All,
                _ => Reach::SameCredential(&record.epoch),
            };
            let revoked = store
                .revoke_all(&record.user, reach, now, why)
                .await
                .unwrap();
            format!("revoke all {revoked}")
        }
        _ => format!("purge {}", store.purge(now, u32::from(last)).await.unwrap()),
    }
}

fn text(record: &TokenRecord) -> String {
    format!(
        "{:?} {:?} {}",
        record.selector, record.state, record.attempts
    )
}

#[tokio::test]
async fn every_call_answers_what_the_core_says() {
    let Some(scratch) = Scratch::new().await else {
        return;
    };
    let mut seeds = Random(7);
    for story in 0..25 {
        let memory = MemoryTokens::default();
        let redis = scratch.options(&common::url());
        let redis = redis.prefix(&format!("{}-{story}", scratch.prefix()));
        let redis = redis.connect().await.unwrap();
        // Each made at a moment of its own, some good for no time at all.
        let records: Vec<TokenRecord> = (0..12)
            .map(|number| {
                let mut record = token(if number % 3 == 0 { "ada" } else { "grace" });
                let credential = u8::try_from(seeds.below(2)).unwrap();
                record.epoch = Epoch::from_bytes([credential; 32]);
                record.issued_at = at(1_000 + number * 100);
                let life = i64::try_from(seeds.below(1_500)).unwrap();
                record.expires_at = at(1_000 + number * 100 + life);
                record
            })
            .collect();
        for step in 0..80 {
            let seed = seeds.below(u64::MAX);
            let expected = act(&memory, &records, Random(seed)).await;
            let answer = act(&redis, &records, Random(seed)).await;
            assert_eq!(answer, expected, "story {story}, step {step}");
            for record in &records {
                let expected = memory.find(&record.selector).await.unwrap();
                let found = redis.find(&record.selector).await.unwrap();
                let expected = expected.as_ref().map(text);
                assert_eq!(
                    found.as_ref().map(text),
                    expected,
                    "story {story}, step {step}: {answer}"
                );
            }
        }
    }
}
