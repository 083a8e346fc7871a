//! Codes on two backends with a connection each, and what they leave on the server.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "../../../tests/support/codes.rs"]
mod codes;
mod common;

use std::collections::BTreeMap;

use codes::processes::ADA;
use codes::{codes, tried_in_vain};
use common::Scratch;
use password_reset_redis::RedisBackend;
use password_reset_redis::redis::cmd;

codes! { redis, crate::pair().await }

async fn pair() -> Option<(Scratch, [RedisBackend; 2])> {
    let scratch = Scratch::new().await?;
    let backends = [scratch.backend().await, scratch.backend().await];
    Some((scratch, backends))
}

const DAY: i64 = 24 * 60 * 60 * 1_000;
/// Time passes between a command and the look at it, and the server's clock may be set back between.
const SLACK: i64 = 5_000;

/// One record: its fields, random ones by their length only, and its time to live.
type Record = (BTreeMap<String, String>, i64);

/// R27, W48: a stranger leaves the same keys and fields behind; and a count of tries outlives the
/// month that it is good for.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stranger_leaves_the_same_keys_behind() {
    let mut left = Vec::new();
    for identifier in [ADA, "nobody@example.com"] {
        let Some((scratch, backends)) = pair().await else {
            return;
        };
        tried_in_vain(backends, identifier).await;
        left.push(look(&scratch).await);
    }
    let ((known, known_records), (unknown, unknown_records)) = (&left[0], &left[1]);
    assert_eq!(known, unknown);
    for records in [known_records, unknown_records] {
        let [(code, code_life), (tries, tries_life)] = &records[..] else {
            panic!("{records:?}");
        };
        assert_eq!((&*code["purpose"], &*code["attempts"]), ("code", "6"));
        assert_eq!(
            (&*tries["purpose"], &*tries["attempts"]),
            ("code-tries", "5")
        );
        let ten_minutes = DAY / 144;
        for (life, own) in [(code_life, ten_minutes), (tries_life, 30 * DAY)] {
            let expected = 60 * DAY + own;
            assert!(
                (expected - SLACK..=expected + SLACK).contains(life),
                "{life}"
            );
        }
    }
    let fields = |records: &[Record]| -> Vec<_> {
        records.iter().map(|(fields, _)| fields.clone()).collect()
    };
    assert_eq!(fields(known_records), fields(unknown_records));
}

/// How many keys there are of each kind, and the records.
async fn look(scratch: &Scratch) -> (BTreeMap<String, usize>, Vec<Record>) {
    let mut connection = common::connection().await.unwrap();
    let mut kinds = BTreeMap::new();
    let mut records = Vec::new();
    for (key, life) in scratch.left_exactly().await {
        let text = String::from_utf8_lossy(&key);
        let kind = text.split(':').nth(1).unwrap().to_owned();
        let set = cmd("TYPE").arg(&key).query_async(&mut connection).await;
        let set: String = set.unwrap();
        if kind == "t" {
            let all = cmd("HGETALL").arg(&key).query_async(&mut connection).await;
            let all: BTreeMap<String, Vec<u8>> = all.unwrap();
            records.push((all.into_iter().map(shown).collect(), life));
        } else {
            let members = cmd("ZCARD").arg(&key).query_async(&mut connection).await;
            let members: usize = members.unwrap();
            *kinds.entry(format!("{kind} {set} {members}")).or_default() += 1;
        }
    }
    records.sort_by_key(|(fields, _): &Record| fields["purpose"].clone());
    (kinds, records)
}

fn shown((name, value): (String, Vec<u8>)) -> (String, String) {
    let shown = match &*name {
        "user" => "somebody".to_owned(),
        "epoch" | "digest" if value.iter().any(|byte| *byte != 0) => {
            format!("{} bytes", value.len())
        }
        "epoch" | "digest" => format!("{} zeros", value.len()),
        _ => String::from_utf8(value).unwrap(),
    };
    (name, shown)
}
