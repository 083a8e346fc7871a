//! Operators act for others: named in the trail, bounded, and without seeing a secret (R24, W69).

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests may panic"
)]

mod common;
#[path = "support/facts.rs"]
mod facts;

use std::sync::Arc;
use std::time::Duration;

use common::{Backends, GOOD, OLD_HASH, World, account, client, credential, typed, user};
use facts::Facts;
use password_reset::account::{Credential, Status, Tenant, UserId};
use password_reset::audit::{Actor, AuditSink, Event, EventKind, Severity, Withheld};
use password_reset::error::BoxError;
use password_reset::flow::{Limits, Operator, OperatorError};
use password_reset::limit::Quota;
use password_reset::memory::MemoryQueue;
use password_reset::queue::{Job, JobId, JobQueue, Task};
use password_reset::store::Live;
use password_reset::testing::block_on;
use password_reset::token::Purpose;
use secrecy::ExposeSecret;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const NOBODY: &str = "9";
/// One more than an account has places for.
const MORE: usize = 4;

fn grace() -> Actor {
    Actor::parse("grace, ticket 7").unwrap()
}

fn world() -> World {
    World::with(Backends::unlimited(), |builder| builder.templates(Facts))
}

fn operator(world: &World) -> Operator {
    world.flow.operator(grace())
}

fn token_of(link: &str) -> &str {
    link.split_once("?token=").unwrap().1
}

type Acted = Result<(), OperatorError>;

/// Every act there is.
async fn acts(operator: &Operator, id: &UserId) -> [(&'static str, Acted); 8] {
    let danger = operator.danger();
    [
        ("start_reset", operator.start_reset(id, HOUR).await),
        ("invite", operator.invite(id, HOUR).await),
        ("resume", operator.resume(id).await),
        ("revoke", operator.revoke(id).await.map(|_| ())),
        ("end_sessions", operator.end_sessions(id).await),
        ("force_reset", operator.force_reset(id, HOUR).await),
        ("link", danger.link(id, HOUR).await.map(|_| ())),
        ("first_link", danger.first_link(id, HOUR).await.map(|_| ())),
    ]
}

/// R24, W69: the owner gets the link, the operator gets nothing, and every event names the operator.
#[test]
fn w69_a_reset_is_mailed_to_the_owner_and_names_the_operator() {
    let world = world();
    block_on(async {
        let () = operator(&world)
            .start_reset(&user("1"), HOUR)
            .await
            .unwrap();
        world.work().await;
    });
    let kinds = [EventKind::Started, EventKind::Issued, EventKind::LinkSent];
    assert_eq!(world.recorder.kinds(), kinds);
    let events = world.recorder.events();
    for event in &events {
        assert_eq!(event.actor, Some(grace()), "{:?}", event.kind);
        assert_eq!(event.user, Some(user("1")), "{:?}", event.kind);
        assert_eq!(event.job, events[0].job, "{:?}", event.kind);
    }
    let mail = world.outbox.messages().remove(0);
    assert_eq!(mail.to.as_str(), "ada@example.com");
    assert!(mail.text.starts_with("Operator 3600 https://"));
    let token = world.outbox.last_token().unwrap();
    world.clock.advance(HOUR - Duration::from_secs(4));
    assert_eq!(block_on(world.reset(&token, GOOD)), Ok(true));
}

#[test]
fn every_act_names_the_operator() {
    for id in ["1", "4"] {
        let world = world();
        let acted = block_on(acts(&operator(&world), &user(id)));
        assert!(acted.iter().filter(|(_, acted)| acted.is_ok()).count() >= 4);
        block_on(world.work());
        let events = world.recorder.events();
        assert!(events.len() >= 6);
        for event in events {
            assert_eq!(event.actor, Some(grace()), "{:?}", event.kind);
        }
    }
}

/// W43: an account that is not of this flow's tenant does not exist, whatever is done to it.
#[test]
fn nobody_and_other_tenants_are_no_account() {
    let world = world();
    let mut tenants = account("7", "eve@example.com");
    tenants.tenant = Some(Tenant::parse("acme").unwrap());
    world.users.add(tenants);
    let acme = world.flow.for_tenant(Tenant::parse("acme").unwrap());
    for (flow, id) in [(&world.flow, NOBODY), (&world.flow, "7"), (&acme, "1")] {
        let before = world.faults.log().len();
        for (act, acted) in block_on(acts(&flow.operator(grace()), &user(id))) {
            let refused = matches!(acted, Err(OperatorError::NoAccount));
            assert!(refused, "{act}: {acted:?}");
        }
        // Looked at, and nothing else.
        let log = world.faults.log();
        assert!(log[before..].iter().all(|call| *call == "users.account"));
    }
    assert_eq!(world.recorder.events().len(), 0);
    block_on(async {
        acme.operator(grace())
            .start_reset(&user("7"), HOUR)
            .await
            .unwrap();
        world.work().await;
    });
    assert_eq!(world.outbox.messages().len(), 1);
    let token = world.outbox.last_token().unwrap();
    assert!(block_on(acme.verify(&token, &client())).is_ok());
    let event = world.recorder.events().remove(0);
    assert_eq!(event.tenant, Tenant::parse("acme").ok());
}

/// R7: a life out of bounds is refused before anything is looked at.
#[test]
fn a_life_has_bounds() {
    let world = world();
    let operator = operator(&world);
    let (ada, external) = (user("1"), user("4"));
    let tick = Duration::from_nanos(1);
    let second = Duration::from_secs(1);
    block_on(async {
        for life in [Duration::ZERO, second - tick, DAY + tick, Duration::MAX] {
            for acted in [
                operator.start_reset(&ada, life).await,
                operator.force_reset(&ada, life).await,
                operator.danger().link(&ada, life).await.map(|_| ()),
            ] {
                assert!(matches!(acted, Err(OperatorError::Life)), "{life:?}");
            }
        }
        for life in [second - tick, 7 * DAY + tick] {
            let acted = operator.invite(&external, life).await;
            assert!(matches!(acted, Err(OperatorError::Life)), "{life:?}");
            let acted = operator.danger().first_link(&external, life).await;
            assert!(matches!(acted, Err(OperatorError::Life)), "{life:?}");
        }
        assert_eq!(world.faults.calls(), 0);
        operator.start_reset(&ada, second).await.unwrap();
        operator.start_reset(&ada, DAY).await.unwrap();
        operator.invite(&external, 7 * DAY).await.unwrap();
    });
}

/// R14, R68, W68: who cannot be mailed a link is refused, before anything else is done.
#[test]
fn an_operator_hears_why_not() {
    for (id, reset, first) in [
        ("2", OperatorError::Disabled, OperatorError::Disabled),
        ("3", OperatorError::Unverified, OperatorError::HasPassword),
        ("4", OperatorError::External, OperatorError::Life),
        ("1", OperatorError::Life, OperatorError::HasPassword),
    ] {
        let world = world();
        world.users.open_session(&user(id));
        let acted = block_on(acts(&operator(&world), &user(id)));
        for (act, acted) in acted {
            let expected = match act {
                "start_reset" | "force_reset" | "link" => reset.to_string(),
                "invite" | "first_link" => first.to_string(),
                _ => continue,
            };
            // `Life` stands for an act that is carried out.
            let said = acted.map_or_else(|e| e.to_string(), |()| OperatorError::Life.to_string());
            assert_eq!(said, expected, "{id} {act}");
        }
    }
    // Nothing was done on the way to a refusal.
    let world = world();
    world.users.open_session(&user("2"));
    assert!(block_on(operator(&world).force_reset(&user("2"), HOUR)).is_err());
    assert_eq!(world.users.sessions(&user("2")), 1);
    assert_eq!(world.recorder.events().len(), 0);
}

/// What was right when the operator asked is judged again when it is mailed.
#[test]
fn the_worker_looks_again() {
    type Change = (&'static str, fn(&World), Withheld);
    let cases: [Change; 5] = [
        (
            "1",
            |w| assert!(w.users.delete(&user("1"))),
            Withheld::Unknown,
        ),
        (
            "1",
            |w| assert!(w.users.set_status(&user("1"), Status::Disabled)),
            Withheld::Disabled,
        ),
        (
            "1",
            |w| assert!(w.users.set_addresses(&user("1"), vec![], vec![])),
            Withheld::Unverified,
        ),
        (
            "1",
            |w| assert!(w.users.set_credential(&user("1"), Credential::External)),
            Withheld::External,
        ),
        (
            "4",
            |w| assert!(w.users.set_credential(&user("4"), credential(OLD_HASH))),
            Withheld::HasPassword,
        ),
    ];
    for (id, change, why) in cases {
        let world = world();
        block_on(async {
            let operator = operator(&world);
            match id {
                "4" => operator.invite(&user(id), DAY).await.unwrap(),
                _ => operator.start_reset(&user(id), HOUR).await.unwrap(),
            }
            change(&world);
            world.work().await;
        });
        assert_eq!(world.outbox.messages().len(), 0, "{why:?}");
        let last = world.recorder.events().pop().unwrap();
        assert_eq!(
            (last.kind, last.actor),
            (EventKind::Withheld(why), Some(grace()))
        );
    }
}

/// W32: who fills an account's places keeps no operator's link from its owner; and operators'
/// links have an end too.
#[test]
fn an_operators_link_has_room() {
    let world = world();
    block_on(async {
        for _ in 0..MORE {
            world.mailed("ada@example.com").await;
        }
        assert_eq!(world.outbox.messages().len(), 3);
        for _ in 0..15 {
            operator(&world)
                .start_reset(&user("1"), HOUR)
                .await
                .unwrap();
        }
        world.work().await;
    });
    // Five, and as many as the tries of one request may leave behind.
    assert_eq!(world.outbox.messages().len(), 3 + 5 + 8);
    let full = EventKind::Withheld(Withheld::LiveTokens);
    assert_eq!(world.saw(|kind| kind == full), 1 + 2);
}

/// W50: neither the owner's mails nor the operators' can be used up by the other.
#[test]
fn operators_have_a_budget_of_their_own() {
    let limits = || {
        let mut limits = Limits::default();
        limits.identifier = Quota::new(1_000, HOUR);
        limits
    };
    let world = World::with(Backends::default(), |builder| {
        let live = Live::newest(1.try_into().unwrap());
        builder.templates(Facts).limits(limits()).live(live)
    });
    let count = |subject: &str| {
        let mails = world.outbox.messages();
        mails
            .iter()
            .filter(|mail| mail.text.starts_with(subject))
            .count()
    };
    block_on(async {
        for _ in 0..7 {
            world
                .flow
                .request(&typed("ada@example.com"), &client())
                .await
                .unwrap();
        }
        world.work().await;
        assert_eq!((count("Asked"), count("Operator")), (5, 0));
        for _ in 0..7 {
            operator(&world)
                .start_reset(&user("1"), HOUR)
                .await
                .unwrap();
        }
        world.work().await;
        assert_eq!((count("Asked"), count("Operator")), (5, 5));
        world.clock.advance(HOUR / 4);
        world.mailed("ada@example.com").await;
        assert_eq!(count("Asked"), 6);
    });
    assert_eq!(
        world.saw(|kind| kind == EventKind::Withheld(Withheld::MailLimit)),
        4
    );
}

/// R89: links die, sessions end, the owner gets a link, and the password stays what it was (R68).
#[test]
fn a_forced_reset_leaves_the_password_alone() {
    let world = world();
    block_on(async {
        let old = world.mailed("ada@example.com").await.unwrap();
        world.users.open_session(&user("1"));
        let before = world.faults.log().len();
        operator(&world)
            .force_reset(&user("1"), HOUR)
            .await
            .unwrap();
        let order = [
            "users.account",
            "tokens.revoke_all",
            "users.end_sessions",
            "queue.push",
        ];
        assert_eq!(world.faults.log()[before..], order);
        assert_eq!(world.users.sessions(&user("1")), 0);
        assert!(world.flow.verify(&old, &client()).await.is_err());
        world.work().await;
        assert_eq!(world.hash("1"), OLD_HASH);
        let mail = world.outbox.messages().pop().unwrap();
        assert!(mail.text.starts_with("Operator 3600 "));
        let token = world.outbox.last_token().unwrap();
        assert_eq!(world.reset(&token, GOOD).await, Ok(true));
    });
}

/// A part that fails is heard, and the event of it names the operator.
#[test]
fn a_failing_part_is_heard() {
    for call in 1..=4 {
        let world = world();
        world.faults.fail(call);
        let acted = block_on(operator(&world).force_reset(&user("1"), HOUR));
        let Err(OperatorError::Unavailable(error)) = &acted else {
            panic!("{call}: {acted:?}");
        };
        assert!(error.is_transient());
        let last = world.recorder.events().pop().unwrap();
        assert!(
            matches!(last.kind, EventKind::BackendFailed { .. }),
            "{call}"
        );
        assert_eq!(last.actor, Some(grace()), "{call}");
        assert!(block_on(operator(&world).force_reset(&user("1"), HOUR)).is_ok());
    }
}

/// Whoever can write to the queue makes no link that lives for years, and none for a code.
#[test]
fn a_forged_job_is_given_up() {
    let queue = Arc::new(MemoryQueue::default());
    let backends = Backends {
        queue: queue.clone(),
        ..Backends::unlimited()
    };
    let world = World::with(backends, |builder| builder.templates(Facts));
    for (name, purpose, life) in [
        (1, Purpose::Reset, 365 * DAY),
        (2, Purpose::First, 8 * DAY),
        (3, Purpose::Code, HOUR),
        (4, Purpose::Reset, Duration::ZERO),
    ] {
        let task = Task::Start {
            user: user("1"),
            tenant: None,
            purpose,
            life,
            actor: grace(),
        };
        let (id, due) = (
            JobId::from_bytes([name; 16]),
            password_reset::Timestamp::from_unix_micros(0),
        );
        block_on(queue.push(&Job { id, due, task })).unwrap();
    }
    block_on(world.work());
    assert_eq!(world.outbox.messages().len(), 0);
    assert_eq!(block_on(queue.dead_letters(10)).unwrap().len(), 4);
}

/// Takes every event but one, in one of two ways.
struct Refusing(bool);

impl AuditSink for Refusing {
    fn record(&self, event: &Event) -> Result<(), BoxError> {
        match event.kind {
            EventKind::LinkHandedOver if self.0 => panic!("the sink panics"),
            EventKind::LinkHandedOver => Err("full".into()),
            _ => Ok(()),
        }
    }

    fn lost(&self) -> u64 {
        0
    }
}

/// R24: a link is handed over only after the trail has it, and loudly.
#[test]
fn a_link_is_handed_over_only_after_it_was_written_down() {
    let world = world();
    let danger = operator(&world);
    let link = block_on(danger.danger().link(&user("1"), HOUR)).unwrap();
    let event = world.recorder.events().pop().unwrap();
    assert_eq!(event.kind, EventKind::LinkHandedOver);
    assert_eq!(event.kind.severity(), Severity::Critical);
    assert_eq!((event.actor, event.user), (Some(grace()), Some(user("1"))));
    let token = token_of(link.expose_secret());
    let verified = block_on(world.flow.verify(token, &client())).unwrap();
    assert_eq!(Some(verified.token()), event.token);
    assert_eq!(block_on(world.reset(token, GOOD)), Ok(true));
    assert_eq!(world.outbox.attempts(), 0);

    for panics in [false, true] {
        let world = World::with(Backends::unlimited(), |builder| {
            builder.audit(Refusing(panics))
        });
        let operator = operator(&world);
        let refused = block_on(operator.danger().link(&user("1"), HOUR));
        assert!(matches!(refused, Err(OperatorError::Unaudited)));
        assert!(
            world
                .faults
                .log()
                .ends_with(&["tokens.insert", "tokens.revoke"])
        );
        assert_eq!(world.flow.audit_failures(), 1);
        assert_eq!(
            block_on(operator.revoke(&user("1"))).unwrap(),
            0,
            "none is left"
        );
    }
}

/// W32: what is handed over voids no link that the owner holds, and has a bound.
#[test]
fn a_handed_over_link_stands_beside_the_owners() {
    for live in [Live::newest(1.try_into().unwrap()), Live::default()] {
        let world = World::with(Backends::unlimited(), |builder| builder.live(live));
        let operator = operator(&world);
        let own = block_on(world.mailed("ada@example.com")).unwrap();
        let links: Vec<_> = (0..20)
            .map_while(|_| block_on(operator.danger().link(&user("1"), HOUR)).ok())
            .collect();
        assert_eq!(links.len() + 1, if live == Live::default() { 8 } else { 6 });
        let full = block_on(operator.danger().link(&user("1"), HOUR));
        assert!(matches!(full, Err(OperatorError::TooManyLinks)));
        assert!(block_on(world.flow.verify(&own, &client())).is_ok());
        // One success kills them all.
        assert_eq!(block_on(world.reset(&own, GOOD)), Ok(true));
        for link in links {
            let dead = block_on(world.flow.verify(token_of(link.expose_secret()), &client()));
            assert!(dead.is_err());
        }
    }
}

/// Neither type prints what it holds.
#[test]
fn debug_shows_the_actor_and_no_backend() {
    let world = world();
    let operator = operator(&world);
    let shown = format!("{operator:?} {:?}", operator.danger());
    assert!(shown.contains("grace") && !shown.contains("ada@"));
}
