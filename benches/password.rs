//! What it costs to judge a new password: a look-up in the blocklist, and a whole check by the
//! policy, of what people type and of the worst that is let in.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench may panic"
)]

mod common;

use std::hint::black_box;
use std::time::{Duration, Instant};

use common::{is_test, median, nanos};
use criterion::Criterion;
use password_reset::password::{Blocklist, Context, Policy, Strength};

const GOOD: &str = "a quiet harbour at dawn";

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .sample_size(30)
        .configure_from_args();
    let list = Blocklist::default();
    println!(
        "{{\"bench\":\"password\",\"case\":\"blocklist\",\"entries\":{},\"bytes\":{},\"heap_bytes\":0}}",
        list.len(),
        list.len() * 5,
    );

    for (name, password) in [
        ("listed", "masterofpuppets".to_owned()),
        ("listed_with_changes", "M4ster 0f Puppets (1986)".to_owned()),
        ("not_listed", GOOD.to_owned()),
        ("longest", longest()),
    ] {
        let case = format!("look_up/{name}");
        report(&mut criterion, &case, 1_000, 1_000, || {
            black_box(list.contains(black_box(&password)));
        });
    }

    let address = Context::default().word("ada.lovelace@example.com");
    let worst = worst_context();
    let strict = || Policy::default().context_words(["Example"]);
    let scored = strict().min_strength(Strength::Strong);
    let roomy = strict().max_chars(1_024).unwrap();
    for (name, policy, context, password) in [
        ("usual", strict(), &address, GOOD.to_owned()),
        ("longest", strict(), &address, longest()),
        ("longest_worst_context", strict(), &worst, longest()),
        // Made of the account's words from end to end, so that nothing ends the search early.
        ("longest_of_words", strict(), &worst, "oi".repeat(128)),
        ("1024_of_words", roomy, &worst, "oi".repeat(512)),
        ("too_long", strict(), &worst, "oi".repeat(5_000_000)),
        ("usual_zxcvbn", scored.clone(), &address, GOOD.to_owned()),
        (
            "longest_zxcvbn",
            scored.clone(),
            &address,
            "4@6917$5203".repeat(23),
        ),
    ] {
        let case = format!("policy/{name}");
        report(&mut criterion, &case, 1_000_000, 100, || {
            let _ = black_box(policy.parse(black_box(&password), context));
        });
    }
}

/// 256 code points of four bytes each: the most that the default policy takes.
fn longest() -> String {
    let emoji = (0..256_u32).map(|n| char::from_u32(0x1f300 + n * 7 % 251).unwrap());
    emoji.collect()
}

/// As many words as are kept, as long as they may be, of few letters, so that all go on fitting.
fn worst_context() -> Context {
    (1..40).fold(Context::default(), |context, n| {
        context.word(format!("{}{}", "oi".repeat(110), "o".repeat(n)))
    })
}

fn report(criterion: &mut Criterion, case: &str, goal: u64, batch: u64, mut work: impl FnMut()) {
    criterion.bench_function(case, |b| b.iter(&mut work));
    let rounds = if is_test() { 2 } else { 300 };
    let rounds = (0..rounds).map(|_| {
        let start = Instant::now();
        for _ in 0..batch {
            work();
        }
        nanos(start.elapsed(), batch)
    });
    let median = median(&rounds.collect::<Vec<_>>());
    println!(
        "{{\"bench\":\"password\",\"case\":\"{case}\",\"median_ns\":{median:.0},\"goal_ns\":{goal}}}"
    );
}
