//! "Once", in every interleaving: completers, sweepers, the host, an operator and the clock take
//! turns in every order, each may crash or be paused at every step, and the worlds that can come of
//! it are finitely many, so all of them are looked at. The transitions are the crate's own
//! (`token::state`). Every defect that the protocol guards against is explored too, and must break
//! a promise: a model that cannot fail shows nothing.
//!
//! Not modelled: what a backend does wrong (the conformance kit), several accounts (nothing is
//! shared between them but the store), and a host that sets a credential which it had before.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a model that leaves its own bounds should stop the test"
)]

#[path = "model/explore.rs"]
mod explore;
#[path = "model/protocol.rs"]
mod protocol;
#[path = "model/record.rs"]
mod record;
#[path = "model/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::thread;

use explore::explore;
use protocol::{Promise, Protocol, Scenario};

const SOUND: Scenario = Scenario::of(Protocol::Sound);

#[test]
fn the_protocol_holds_in_every_interleaving() {
    let seen = holds(&[
        (
            "three completers",
            Scenario {
                completers: 3,
                ..SOUND
            },
        ),
        (
            "two sweepers, skewed clocks",
            Scenario {
                sweepers: 2,
                skewed_clocks: true,
                ..SOUND
            },
        ),
        ("two tokens", Scenario { tokens: 2, ..SOUND }),
        (
            "a token issued at any moment",
            Scenario {
                issues_later: true,
                operator_revokes: false,
                ..SOUND
            },
        ),
        (
            "two sweepers and a purge",
            Scenario {
                sweepers: 2,
                purges: true,
                ..SOUND
            },
        ),
    ]);

    // The worlds that the protocol was made for are among them.
    for what in [
        "swaps: done, though its claim is gone",
        "swaps: stale",
        "swaps: stale, and its claim is gone",
        "lets its claim go",
        "finds the credential unchanged",
        "finds the credential changed",
        "revokes every token",
        "purges",
    ] {
        assert!(seen.contains(what), "nobody ever {what}");
    }
}

#[test]
#[ignore = "takes a minute or two and about 2 GB: cargo test --release --test model -- --ignored"]
fn the_protocol_holds_in_larger_worlds() {
    holds(&[
        (
            "two tokens, two sweepers",
            Scenario {
                tokens: 2,
                sweepers: 2,
                ..SOUND
            },
        ),
        (
            "two tokens, skewed clocks",
            Scenario {
                tokens: 2,
                skewed_clocks: true,
                ..SOUND
            },
        ),
        (
            "a token issued at any moment, an operator",
            Scenario {
                issues_later: true,
                ..SOUND
            },
        ),
    ]);
}

#[test]
fn releasing_to_free_loses_a_late_swap() {
    breaks(
        Scenario::of(Protocol::ReleaseFrees),
        Promise::ChangesAreSettled,
    );
}

#[test]
fn a_stale_claimant_that_spends_the_token_hides_a_late_swap() {
    breaks(
        Scenario::of(Protocol::StaleMarksSpent),
        Promise::SpentIsSettled,
    );
}

#[test]
fn claiming_after_the_swap_leaves_no_trace_of_a_crash() {
    breaks(
        Scenario::of(Protocol::ClaimAfterSwap),
        Promise::ChangesAreSettled,
    );
}

#[test]
fn a_notice_behind_the_swap_is_lost_in_a_crash() {
    breaks(
        Scenario::of(Protocol::NoticeAfterSwap),
        Promise::SpentIsSettled,
    );
}

#[test]
fn spending_first_hides_what_is_left_to_settle() {
    breaks(Scenario::of(Protocol::SpentFirst), Promise::SpentIsSettled);
}

#[test]
fn a_swap_that_does_not_compare_overwrites_the_hosts_change() {
    breaks(
        Scenario::of(Protocol::NoCompare),
        Promise::NothingIsOverwritten,
    );
}

#[test]
fn a_swap_that_does_not_compare_happens_twice() {
    let alone = Scenario {
        host_changes: false,
        ..Scenario::of(Protocol::NoCompare)
    };
    breaks(alone, Promise::OneChangePerToken);
}

#[test]
fn without_a_recheck_an_expired_token_changes_the_password() {
    breaks(
        Scenario::of(Protocol::NoRecheck),
        Promise::ExpiredChangesNothing,
    );
}

#[test]
fn a_revocation_that_drops_the_claim_hides_a_change() {
    breaks(
        Scenario::of(Protocol::RevokeFrees),
        Promise::ChangesAreSettled,
    );
}

#[test]
fn a_sweep_that_passes_revoked_tokens_by_misses_a_change() {
    breaks(
        Scenario::of(Protocol::SweepSkipsRevoked),
        Promise::ChangesAreSettled,
    );
}

#[test]
fn a_claim_that_ignores_revocation_is_won() {
    breaks(
        Scenario::of(Protocol::ClaimIgnoresRevocation),
        Promise::RevokedIsNeverClaimed,
    );
}

#[test]
fn a_sweep_that_kills_unchanged_tokens_loses_them() {
    breaks(
        Scenario::of(Protocol::UnchangedIsDead),
        Promise::UnchangedStaysUsable,
    );
}

#[test]
fn settling_by_user_kills_a_link_asked_for_after_the_change() {
    let asks_again = Scenario {
        host_changes: false,
        operator_revokes: false,
        issues_later: true,
        ..Scenario::of(Protocol::RevokesByUser)
    };
    breaks(asks_again, Promise::UnchangedStaysUsable);
}

#[test]
fn purging_a_claimed_token_forgets_a_crash() {
    breaks(purging(Protocol::PurgesClaimed), Promise::ChangesAreSettled);
}

#[test]
fn purging_a_watched_token_forgets_a_late_swap() {
    breaks(purging(Protocol::PurgesWatched), Promise::ChangesAreSettled);
}

#[test]
fn a_last_look_at_expiry_is_too_early() {
    breaks(
        purging(Protocol::LastLookAtExpiry),
        Promise::ChangesAreSettled,
    );
}

fn purging(protocol: Protocol) -> Scenario {
    Scenario {
        purges: true,
        ..Scenario::of(protocol)
    }
}

/// Explores each scenario to its end and answers what was done in any of them.
fn holds(scenarios: &[(&str, Scenario)]) -> BTreeSet<&'static str> {
    let found = thread::scope(|scope| {
        let running: Vec<_> = (scenarios.iter())
            .map(|(name, scenario)| (*name, scope.spawn(|| explore(scenario))))
            .collect();
        (running.into_iter())
            .map(|(name, found)| (name, found.join().unwrap()))
            .collect::<Vec<_>>()
    });
    let mut seen = BTreeSet::new();
    for (name, found) in &found {
        println!("{:>9} states: {name}", found.states);
        if let Some((promise, trace)) = &found.broken {
            println!("{trace}");
            assert_eq!(None, Some(promise), "broken: {name}");
        }
        seen.extend(found.steps.iter().map(|(_, what)| *what));
    }
    let states: usize = found.iter().map(|(_, found)| found.states).sum();
    println!("{states:>9} states in all");
    seen
}

/// Explores until a promise is broken, which must be this one.
fn breaks(scenario: Scenario, expected: Promise) {
    let found = explore(&scenario);
    let (promise, trace) = found.broken.unwrap();
    println!("{:?} breaks {promise:?}:\n{trace}", scenario.protocol);
    assert_eq!(promise, expected);
}
