//! Promise "blind": nobody learns who has an account. (Time is measured by `benches/blind.rs`.)

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod common;

use common::{KINDS, World, client, typed};
use password_reset::account::Client;
use password_reset::audit::{EventKind, Withheld};
use password_reset::flow::RequestError;
use password_reset::limit::RateLimiter;
use password_reset::testing::{Behaviour, block_on};

/// The calls that one request makes, and those that the worker makes for it.
fn calls(world: &World, identifier: &str) -> (Vec<&'static str>, Vec<&'static str>) {
    block_on(async {
        let start = world.faults.log().len();
        world
            .flow
            .request(&typed(identifier), &client())
            .await
            .unwrap();
        let requested = world.faults.log().len();
        world.work().await;
        let log = world.faults.log();
        let (head, worker) = log.split_at(requested);
        (head.get(start..).unwrap().to_vec(), worker.to_vec())
    })
}

/// R27, W48: hit, miss, disabled, unverified and SSO-only make the same calls in the same order.
#[test]
fn w48_a_request_makes_the_same_calls_for_everyone() {
    for identifier in KINDS {
        let (request, worker) = calls(&World::new(), identifier);
        assert_eq!(
            request,
            [
                "limiter.check", // the source
                "limiter.check", // its network
                "limiter.check", // all together
                "limiter.check", // the identifier
                "queue.push",
            ],
            "{identifier}"
        );
        let store: Vec<_> = worker
            .into_iter()
            .filter(|call| *call != "mailer.send")
            .collect();
        assert_eq!(
            store,
            [
                "tokens.abandoned",
                "queue.lease",
                "users.find",
                "limiter.check",
                "tokens.insert",
                "tokens.find",
                "queue.ack",
                "queue.lease",
            ],
            "{identifier}"
        );
    }
}

/// R26, W45: the answer is one value. The cause is in the audit trail, and only there.
#[test]
fn w45_the_answer_is_the_same_and_the_audit_trail_knows_better() {
    let expected = [
        None,
        Some(Withheld::Unknown),
        Some(Withheld::Disabled),
        Some(Withheld::Unverified),
        Some(Withheld::External),
    ];
    for (identifier, why) in KINDS.into_iter().zip(expected) {
        let world = World::new();
        let mailed = block_on(world.mailed(identifier));
        assert_eq!(mailed.is_some(), why.is_none(), "{identifier}");
        if let Some(why) = why {
            assert_eq!(
                world.saw(|kind| kind == EventKind::Withheld(why)),
                1,
                "{identifier}"
            );
        }
    }
}

/// R28, W46: the limit on an identifier is not heard, and is the same for known and unknown ones.
#[test]
fn w46_an_identifier_over_its_limit_is_accepted_and_gets_nothing() {
    for identifier in ["ada@example.com", "nobody@example.com"] {
        let world = World::new();
        let first = calls(&world, identifier);
        let second = calls(&world, identifier);
        assert_eq!(first.0, second.0);
        assert_eq!(
            world.saw(|kind| kind == EventKind::Requested { suppressed: true }),
            1
        );
        let limited = EventKind::Withheld(Withheld::IdentifierLimit);
        assert_eq!(world.saw(|kind| kind == limited), 1);
        assert!(world.outbox.messages().len() <= 1);
    }
}

/// R28: a source over its limit hears the same hint for known and unknown identifiers.
#[test]
fn a_source_over_its_limit_is_told_so_alike() {
    let heard = ["ada@example.com", "nobody@example.com"].map(|identifier| {
        let world = World::new();
        block_on(async {
            for number in 0..20 {
                let other = typed(&format!("user-{number}@example.com"));
                world.flow.request(&other, &client()).await.unwrap();
            }
            world
                .flow
                .request(&typed(identifier), &client())
                .await
                .unwrap_err()
        })
    });
    let [known, unknown] = heard;
    let hint = |error| match error {
        RequestError::RateLimited { retry_after } => Some(retry_after),
        _ => None,
    };
    let (known, unknown) = (hint(known), hint(unknown));
    assert!(known.is_some() && known == unknown);
}

/// W51: respellings of an identifier share one bucket.
#[test]
fn w51_respellings_share_a_bucket() {
    let world = World::new();
    block_on(async {
        for spelling in [
            "ada@example.com",
            "ADA@Example.COM",
            " ada@example.com ",
            "ada@example.com.",
            "\u{ff41}da@example.com",
        ] {
            world
                .flow
                .request(&typed(spelling), &client())
                .await
                .unwrap();
        }
    });
    assert_eq!(
        world.saw(|kind| kind == EventKind::Requested { suppressed: false }),
        1
    );
    assert_eq!(
        world.saw(|kind| kind == EventKind::Requested { suppressed: true }),
        4
    );
}

/// W53: a v4-mapped address is the IPv4 address, an IPv6 /64 is one source, and clients without an
/// address share a bucket instead of going free.
#[test]
fn w53_sources_are_folded() {
    let of = |text: &str| Client::from_ip(text.parse().unwrap()).prefix();
    assert_eq!(of("::ffff:192.0.2.7"), of("192.0.2.7"));
    assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
    assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
    let world = World::new();
    block_on(async {
        for number in 0..20 {
            let other = typed(&format!("user-{number}@example.com"));
            world
                .flow
                .request(&other, &Client::unknown())
                .await
                .unwrap();
        }
        assert!(
            world
                .flow
                .request(&typed("x@example.com"), &Client::unknown())
                .await
                .is_err()
        );
        // W56: another source is not affected.
        assert!(
            world
                .flow
                .request(&typed("x@example.com"), &client())
                .await
                .is_ok()
        );
    });
}

/// W47: whatever the mailer does, the request is over before it is asked.
#[test]
fn w47_a_broken_mailer_is_not_heard() {
    for behaviour in [
        Behaviour::FailTransient,
        Behaviour::FailPermanent,
        Behaviour::Panic,
    ] {
        let world = World::new();
        world.outbox.behave(behaviour);
        for identifier in KINDS {
            assert!(block_on(world.flow.request(&typed(identifier), &client())).is_ok());
        }
        block_on(world.work());
        let failed = |kind| {
            matches!(
                kind,
                EventKind::MailFailed { .. } | EventKind::WorkerPanicked
            )
        };
        assert_eq!(world.saw(failed), 1, "{behaviour:?}");
        assert_eq!(world.outbox.messages().len(), 0);
    }
}

/// W50: many sources, one account: the account's own budget holds.
#[test]
fn w50_one_account_gets_a_bounded_number_of_mails() {
    let world = World::with(common::Backends::default(), |builder| {
        let mut limits = password_reset::flow::Limits::default();
        limits.identifier = password_reset::limit::Quota::new(1_000, common::SPREAD);
        let live = password_reset::store::Live::newest(1.try_into().unwrap());
        builder.limits(limits).live(live)
    });
    block_on(async {
        for number in 0..50 {
            let from = Client::from_ip([198, 51, 100, number].into());
            world
                .flow
                .request(&typed("ada@example.com"), &from)
                .await
                .unwrap();
        }
        world.work().await;
    });
    assert_eq!(world.outbox.messages().len(), 5);
    assert_eq!(
        world.saw(|kind| kind == EventKind::Withheld(Withheld::MailLimit)),
        45
    );
}

/// R18, W38: asking writes nothing to the users, and a hit leaves what a miss leaves.
#[test]
fn w38_asking_changes_nothing_on_the_account() {
    let world = World::unlimited();
    let before = world.hash("1");
    block_on(async {
        for _ in 0..1_000 {
            world
                .flow
                .request(&typed("ada@example.com"), &client())
                .await
                .unwrap();
        }
        world.work().await;
    });
    assert_eq!(world.hash("1"), before);
    assert_eq!(world.users.calls().set_password, 0);
    assert_eq!(world.users.calls().end_sessions, 0);
    // W32: the owner's places are bounded, whoever asks.
    assert_eq!(world.outbox.messages().len(), 3);
}

/// The trait is object-safe; a host may hold it as one.
#[allow(dead_code, reason = "compiles or does not")]
fn object_safe(limiter: Box<dyn RateLimiter>) -> impl RateLimiter {
    limiter
}
