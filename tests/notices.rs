//! The notice of a changed password: to whom, saying what, and however long it takes (R71, R72).

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests may panic"
)]

mod common;
#[path = "support/facts.rs"]
mod facts;

use std::time::Duration;

use common::{Backends, File, GOOD, World, address, client, user};
use facts::Facts;
use password_reset::account::Seen;
use password_reset::audit::{Actor, EventKind};
use password_reset::mail::Kind;
use password_reset::testing::{Behaviour, block_on};

const DAY: Duration = Duration::from_secs(86_400);

fn world() -> World {
    World::with(Backends::unlimited(), |builder| builder.templates(Facts))
}

async fn change(world: &World, seen: Option<Seen>) {
    let token = world.mailed("ada@example.com").await.unwrap();
    let mut verified = world.flow.verify(&token, &client()).await.unwrap();
    if let Some(seen) = seen {
        verified = verified.seen(seen);
    }
    let password = verified.parse_password(GOOD).unwrap();
    verified.complete(password).await.unwrap();
}

fn notices(world: &World) -> Vec<(String, String)> {
    let mails = world.outbox.messages().into_iter();
    let notices = mails.filter(|mail| mail.kind == Kind::PasswordChanged);
    let mut notices: Vec<_> = notices
        .map(|mail| (mail.to.as_str().to_owned(), mail.text))
        .collect();
    notices.sort();
    notices
}

/// R71: whoever took the account over has changed its address first; the owner is told all the same.
#[test]
fn a_former_address_is_told_and_gets_nothing_else() {
    let world = world();
    let twice = ["ada@example.com", "old@example.com", "older@example.com"];
    world.users.edit(&user("1"), |ada| {
        ada.former.extend(twice.map(address));
    });
    block_on(async {
        assert!(world.mailed("old@example.com").await.is_none());
        change(&world, None).await;
        world.work().await;
    });
    let told: Vec<_> = notices(&world).into_iter().map(|(to, _)| to).collect();
    assert_eq!(told, twice, "each once, also where it is verified again");
    let others = world.outbox.messages().into_iter();
    let others = others.filter(|mail| mail.kind != Kind::PasswordChanged);
    assert!(others.map(|mail| mail.to).eq([address("ada@example.com")]));
}

/// Where the change came from is its owner's business, and no longer that of who has the mailbox.
#[test]
fn a_former_address_learns_neither_device_nor_place() {
    let world = world();
    world.users.edit(&user("1"), |ada| {
        ada.former.push(address("old@example.com"))
    });
    let seen = Seen::default().device("Firefox on Windows").unwrap();
    let seen = seen.place("Lyon, France").unwrap();
    block_on(async {
        change(&world, Some(seen)).await;
        world.work().await;
    });
    let [ada, old] = notices(&world).try_into().unwrap();
    assert_eq!(
        (old.0.as_str(), old.1.as_str()),
        ("old@example.com", "None None")
    );
    assert!(ada.1.contains("Lyon"), "{}", ada.1);
}

/// Device and place reach the letter, through the bytes of a real queue.
#[tokio::test]
async fn device_and_place_reach_the_letter() {
    let file = File::new("notices");
    let world = World::with(file.backends(false).await, |builder| {
        builder.templates(Facts)
    });
    let seen = Seen::default().device("Firefox on Windows").unwrap();
    let seen = seen.place("Lyon, France").unwrap();
    change(&world, Some(seen)).await;
    world.work().await;
    let expected = (
        "ada@example.com",
        "Some(\"Firefox on Windows\") Some(\"Lyon, France\")",
    );
    let expected = (expected.0.to_owned(), expected.1.to_owned());
    assert_eq!(notices(&world), [expected]);

    let unsaid = self::world();
    change(&unsaid, None).await;
    unsaid.work().await;
    assert_eq!(notices(&unsaid)[0].1, "None None");
}

/// A notice that fails is tried again for about a day, each failure is in the trail, and so is its
/// end; it stays to be looked at.
#[test]
fn r73_a_failing_notice_is_tried_for_a_day_and_kept() {
    let world = world();
    block_on(async {
        change(&world, None).await;
        world.outbox.behave(Behaviour::FailTransient);
        for _ in 0..30 {
            world.work().await;
            world.clock.advance(Duration::from_secs(3_600));
        }
    });
    // R73: seen to be a notice, and not one of the mails that people ask for again.
    let code = |kind: EventKind| kind.code() == "mail_failed.notice";
    let failed = world.saw(code);
    assert!(failed >= 24, "{failed}");
    assert_eq!(world.saw(|kind| kind == EventKind::NoticeSent), 0);
    block_on(async {
        for _ in 0..30 {
            world.clock.advance(Duration::from_secs(3_600));
            world.work().await;
        }
    });
    let given_up = EventKind::DeadLetter { attempts: 36 };
    assert_eq!(world.saw(|kind| kind == given_up), 1);
    world.outbox.behave(Behaviour::Accept);
    block_on(async {
        let letter = world.flow.dead_letters(9).await.unwrap().remove(0);
        world.flow.revive(&letter.id).await.unwrap().unwrap();
        world.work().await;
    });
    assert_eq!(notices(&world).len(), 1);
    assert_eq!(world.saw(|kind| kind == EventKind::NoticeSent), 1);
}

/// A process that claimed an invitation and was paused may change the password after a week; the
/// notice still waits for it then, and is dropped a day after the last token is dead.
#[test]
fn a_notice_outwaits_the_longest_life() {
    let waits = |days: u32| {
        let world = world();
        block_on(async {
            let operator = world.flow.operator(Actor::parse("grace").unwrap());
            operator.invite(&user("4"), 7 * DAY).await.unwrap();
            world.work().await;
            let token = world.outbox.last_token().unwrap();
            let verified = world.flow.verify(&token, &client()).await.unwrap();
            let password = verified.parse_password(GOOD).unwrap();
            // Decided, hashed, claimed, queued: and then the swap is heard of no more.
            let calls = world.faults.calls();
            world.faults.fail(4);
            assert!(verified.complete(password).await.is_err());
            assert_eq!(world.faults.calls(), calls + 4);
            world.faults.heal();
            for _ in 0..days * 24 {
                world.clock.advance(Duration::from_secs(3_600));
                world.work().await;
            }
            world
                .users
                .set_credential(&user("4"), common::credential("$insecure$01$late"));
            for _ in 0..24 * 9 {
                world.clock.advance(Duration::from_secs(3_600));
                world.work().await;
            }
        });
        notices(&world).len()
    };
    assert_eq!(waits(3), 1);
    assert_eq!(waits(7), 1);
    assert_eq!(waits(30), 0);
}
