//! First passwords: invited by an operator, or asked for where the service allows it (W68).

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

use common::{
    Backends, GOOD, KINDS, OLD_HASH, SPREAD, World, account, address, client, credential, keyring,
    typed, user, with_keyring,
};
use facts::Facts;
use password_reset::account::{Account, Credential, Status};
use password_reset::audit::{Actor, EventKind, Refused, Withheld};
use password_reset::flow::{CodeError, Codes, CompleteError, ExternalAccounts, VerifyError};
use password_reset::mail::Kind;
use password_reset::memory::MemoryTokens;
use password_reset::queue::Channel;
use password_reset::store::{Live, TokenStore};
use password_reset::testing::{MemoryUsers, block_on};
use password_reset::token::{PresentedToken, Purpose};

const DAY: Duration = Duration::from_secs(86_400);
const WHO: &str = "external@example.com";

fn world(external: ExternalAccounts) -> World {
    World::with(Backends::unlimited(), |builder| {
        builder.templates(Facts).external(external)
    })
}

/// Invites account 4, which has no password.
async fn invited(world: &World) -> String {
    let operator = world.flow.operator(Actor::parse("grace").unwrap());
    operator.invite(&user("4"), 7 * DAY).await.unwrap();
    world.work().await;
    world.outbox.last_token().unwrap()
}

#[test]
fn an_invitation_sets_the_first_password_once() {
    let world = world(ExternalAccounts::Nothing);
    block_on(async {
        let sibling = invited(&world).await;
        let token = invited(&world).await;
        let mail = world.outbox.messages().pop().unwrap();
        assert!(mail.text.starts_with("First 604800 https://"));
        assert_eq!((mail.kind, mail.to.as_str()), (Kind::ResetLink, WHO));
        world.clock.advance(7 * DAY - 3 * SPREAD);
        world.users.open_session(&user("4"));
        let verified = world.flow.verify(&token, &client()).await.unwrap();
        assert!(verified.is_first());
        let password = verified.parse_password(GOOD).unwrap();
        assert!(verified.complete(password).await.unwrap().settled);
        assert!(world.logs_in("4", GOOD));
        assert_eq!(world.users.sessions(&user("4")), 0);
        // R8, R63: neither it nor its sibling works again.
        for token in [&token, &sibling] {
            let again = world.flow.verify(token, &client()).await;
            assert!(matches!(again, Err(VerifyError::Invalid)));
        }
        // R71: its owner is told.
        world.work().await;
        let told = world.outbox.messages().pop().unwrap();
        assert_eq!((told.kind, told.to.as_str()), (Kind::PasswordChanged, WHO));
        // From now on it is an account like others.
        let token = world.mailed(WHO).await.unwrap();
        let verified = world.flow.verify(&token, &client()).await.unwrap();
        assert!(!verified.is_first());
        assert_eq!(world.reset(&token, "another quiet harbour").await, Ok(true));
    });
}

#[test]
fn an_invitation_expires() {
    let world = world(ExternalAccounts::Nothing);
    let token = block_on(invited(&world));
    world.clock.advance(7 * DAY);
    let late = block_on(world.flow.verify(&token, &client()));
    assert!(matches!(late, Err(VerifyError::Expired)));
    assert_eq!(world.hash_or_none("4"), None);
}

/// W27: of two invitations that are used at once, one sets the password.
#[test]
fn two_racers_set_one_first_password() {
    for same in [true, false] {
        let world = world(ExternalAccounts::Nothing);
        block_on(async {
            let first = invited(&world).await;
            let second = if same {
                first.clone()
            } else {
                invited(&world).await
            };
            let first = world.flow.verify(&first, &client()).await.unwrap();
            let second = world.flow.verify(&second, &client()).await.unwrap();
            let (one, two) = ("a first quiet harbour", "a second quiet harbour");
            let passwords = (first.parse_password(one), second.parse_password(two));
            world.faults.yield_each_call();
            let (first, second) = tokio::join!(
                first.complete(passwords.0.unwrap()),
                second.complete(passwords.1.unwrap()),
            );
            let won = [&first, &second].map(|done| done.is_ok());
            assert_eq!(
                won.iter().filter(|won| **won).count(),
                1,
                "{first:?} {second:?}"
            );
            assert_eq!([world.logs_in("4", one), world.logs_in("4", two)], won);
        });
    }
}

/// R6, W33, W68: who has got a password since needs no first one, whatever way it came; and a
/// disabled or deleted account gets none.
#[test]
fn an_invitation_dies_with_what_it_was_made_for() {
    type Change = (fn(&MemoryUsers), Refused);
    let changes: [Change; 5] = [
        (
            |u| assert!(u.set_credential(&user("4"), credential(OLD_HASH))),
            Refused::CredentialChanged,
        ),
        (
            |u| assert!(u.set_credential(&user("4"), Credential::Stamp("1".into()))),
            Refused::CredentialChanged,
        ),
        (
            |u| assert!(u.set_status(&user("4"), Status::Disabled)),
            Refused::AccountDisabled,
        ),
        (|u| assert!(u.delete(&user("4"))), Refused::AccountGone),
        (
            |u| assert!(u.set_addresses(&user("4"), vec![], vec![address(WHO)])),
            Refused::AddressGone,
        ),
    ];
    for (change, why) in changes {
        // Before the click.
        let here = world(ExternalAccounts::Nothing);
        let token = block_on(invited(&here));
        change(&here.users);
        let dead = block_on(here.flow.verify(&token, &client()));
        assert!(matches!(dead, Err(VerifyError::Invalid)));
        assert_eq!(
            here.saw(|kind| kind == EventKind::Refused(why)),
            1,
            "{why:?}"
        );
        // Between the click and the change.
        let here = world(ExternalAccounts::Nothing);
        let token = block_on(invited(&here));
        let verified = block_on(here.flow.verify(&token, &client())).unwrap();
        change(&here.users);
        let before = here.hash_or_none("4");
        let password = verified.parse_password(GOOD).unwrap();
        let dead = block_on(verified.complete(password));
        assert!(
            matches!(dead, Err(CompleteError::Invalid)),
            "{why:?}: {dead:?}"
        );
        assert_eq!(here.hash_or_none("4"), before, "{why:?}");
    }
}

/// W68: a reset that was asked for gives no password to an account that has lost its own.
#[test]
fn w68_a_reset_link_is_no_invitation() {
    // A stamp that says nothing is the same to the epoch as no password; it is told apart all the
    // same, in both directions.
    for before in [credential(OLD_HASH), Credential::Stamp("".into())] {
        let world = world(ExternalAccounts::FirstPassword);
        world.users.set_credential(&user("1"), before);
        let token = block_on(world.mailed("ada@example.com")).unwrap();
        let none = Credential::External;
        assert!(world.users.set_credential(&user("1"), none));
        let dead = block_on(world.flow.verify(&token, &client()));
        assert!(matches!(dead, Err(VerifyError::Invalid)));
    }
    let world = world(ExternalAccounts::Nothing);
    let token = block_on(invited(&world));
    let empty = Credential::Stamp("".into());
    assert!(world.users.set_credential(&user("4"), empty));
    let dead = block_on(world.flow.verify(&token, &client()));
    assert!(matches!(dead, Err(VerifyError::Invalid)));
}

/// W41: a record whose purpose was edited proves nothing.
#[test]
fn the_purpose_is_part_of_the_proof() {
    for (wanted, edited) in [
        (Purpose::First, Purpose::Reset),
        (Purpose::Reset, Purpose::First),
    ] {
        let users = MemoryUsers::default();
        users.add(match wanted {
            Purpose::First => {
                Account::new(user("1"), Credential::External).verified(address("ada@example.com"))
            }
            _ => account("1", "ada@example.com"),
        });
        let tokens = Arc::new(MemoryTokens::default());
        let (flow, outbox, clock) = with_keyring(keyring(), users.clone(), tokens.clone());
        let operator = flow.operator(Actor::parse("grace").unwrap());
        block_on(async {
            match wanted {
                Purpose::First => operator.invite(&user("1"), DAY).await.unwrap(),
                _ => operator.start_reset(&user("1"), DAY).await.unwrap(),
            }
            flow.worker().run_due().await;
            let token = outbox.last_token().unwrap();
            assert!(flow.verify(&token, &client()).await.is_ok());
            let selector = PresentedToken::parse(&token).unwrap().selector;
            let mut record = tokens.find(&selector).await.unwrap().unwrap();
            assert_eq!(record.purpose, wanted);
            record.purpose = edited;
            let tampered = Arc::new(MemoryTokens::default());
            let _ = tampered.insert(&record, Live::default()).await.unwrap();
            let (flow, _, later) = with_keyring(keyring(), users, tampered);
            later.set(password_reset::clock::Clock::now(&clock));
            let refused = flow.verify(&token, &client()).await;
            assert!(matches!(refused, Err(VerifyError::Invalid)));
        });
    }
}

/// A crash at any call leaves either no password and a good invitation, or a password and a dead
/// one; and the account can always be finished.
#[test]
fn a_crash_neither_loses_nor_doubles_a_first_password() {
    for call in 1..=12 {
        let world = world(ExternalAccounts::Nothing);
        block_on(async {
            let token = invited(&world).await;
            let verified = world.flow.verify(&token, &client()).await.unwrap();
            let password = verified.parse_password(GOOD).unwrap();
            world.faults.fail(call);
            let _ = verified.complete(password).await;
            world.faults.heal();
            world.clock.advance(Duration::from_secs(150));
            world.work().await;
            world.work().await;
            match world.hash_or_none("4") {
                Some(_) => assert!(
                    world.flow.verify(&token, &client()).await.is_err(),
                    "{call}"
                ),
                None => assert_eq!(world.reset(&token, GOOD).await, Ok(true), "{call}"),
            }
            assert!(world.logs_in("4", GOOD), "{call}");
        });
    }
}

/// By default an account without a password gets nothing; see `blind.rs` for the rest.
#[test]
fn who_asks_may_be_told_of_the_provider() {
    let world = world(ExternalAccounts::UseProvider);
    world
        .users
        .edit(&user("4"), |account| account.locale = Some("de".into()));
    assert!(block_on(world.mailed(WHO)).is_none());
    let mail = world.outbox.messages().pop().unwrap();
    assert_eq!((mail.kind, mail.to.as_str()), (Kind::UseProvider, WHO));
    assert_eq!(mail.text, "Some(\"de\")");
    let event = world.recorder.events().pop().unwrap();
    assert_eq!(
        (event.kind, event.user),
        (EventKind::HintSent, Some(user("4")))
    );
    assert_eq!((event.token, event.actor), (None, None));
    // The account holds no token: there is nothing to revoke.
    assert_eq!(block_on(world.flow.revoke_all(&user("4"))).unwrap(), 0);
}

/// A code sets no first password; whoever asks for one is told all the same.
#[test]
fn who_asks_for_a_code_by_mail_is_told_of_the_provider() {
    for (external, told) in [
        (ExternalAccounts::Nothing, false),
        (ExternalAccounts::UseProvider, true),
        (ExternalAccounts::FirstPassword, true),
    ] {
        let world = World::with(Backends::unlimited(), |builder| {
            let builder = builder.codes(Codes::default());
            builder.templates(Facts).external(external)
        });
        block_on(async {
            let (who, client) = (typed(WHO), client());
            let accepted = world.flow.request_code(&who, Channel::Mail, &client).await;
            world.work().await;
            let handle = accepted.unwrap().handle.to_string();
            let refused = world.flow.redeem_code(&handle, "12345678", &client).await;
            assert!(matches!(refused, Err(CodeError::Invalid)));
        });
        let sent = world.outbox.messages();
        let sent = sent.iter().map(|mail| (mail.kind, mail.to.as_str()));
        let expected = told.then_some((Kind::UseProvider, WHO));
        assert!(sent.eq(expected), "{external:?}");
        let hints = world.saw(|kind| kind == EventKind::HintSent);
        assert_eq!(hints, usize::from(told));
        let silent = world.saw(|kind| kind == EventKind::Withheld(Withheld::External));
        assert_eq!(silent, usize::from(!told));
    }
}

#[test]
fn who_asks_may_choose_a_first_password() {
    let world = world(ExternalAccounts::FirstPassword);
    let token = block_on(world.mailed(WHO)).unwrap();
    let mail = world.outbox.messages().pop().unwrap();
    assert!(mail.text.starts_with("FirstAsked 1800 "));
    assert_eq!(block_on(world.reset(&token, GOOD)), Ok(true));
    assert!(world.logs_in("4", GOOD));
}

/// R86: "somebody asked" and "if it was not you", and not the letter of an invitation.
#[test]
fn r86_who_was_asked_for_reads_that_somebody_asked_and_not_of_an_invitation() {
    let world = World::with(Backends::unlimited(), |builder| {
        builder.external(ExternalAccounts::FirstPassword)
    });
    assert!(block_on(world.mailed(WHO)).is_some());
    let mail = world.outbox.messages().pop().unwrap();
    let text = mail.text.replace('\n', " ");
    assert!(text.contains("Somebody asked for a new password"), "{text}");
    assert!(text.contains("If you did not ask for this"), "{text}");
    assert!(!text.contains("An account was made for you"), "{text}");
}

/// R14, R68, W5, W50: only a confirmed address of an active account is told, within its budget.
#[test]
fn a_hint_is_bound_like_a_link() {
    for external in [
        ExternalAccounts::UseProvider,
        ExternalAccounts::FirstPassword,
    ] {
        for withheld in [Withheld::Unverified, Withheld::Disabled] {
            let world = world(external);
            world.users.edit(&user("4"), |account| match withheld {
                Withheld::Disabled => account.status = Status::Disabled,
                _ => account.unverified = std::mem::take(&mut account.verified),
            });
            block_on(world.mailed(WHO));
            assert_eq!(world.outbox.attempts(), 0);
            assert_eq!(world.saw(|kind| kind == EventKind::Withheld(withheld)), 1);
        }
        let world = World::with(Backends::default(), |builder| {
            let mut limits = password_reset::flow::Limits::default();
            limits.identifier = password_reset::limit::Quota::new(1_000, SPREAD);
            limits.source = limits.identifier;
            let live = Live::at_most(100.try_into().unwrap());
            builder
                .templates(Facts)
                .external(external)
                .limits(limits)
                .live(live)
        });
        block_on(async {
            for _ in 0..9 {
                world.flow.request(&typed(WHO), &client()).await.unwrap();
            }
            world.work().await;
        });
        assert_eq!(world.outbox.messages().len(), 5);
        assert_eq!(
            world.saw(|kind| kind == EventKind::Withheld(Withheld::MailLimit)),
            4
        );
    }
}

/// R27, W48: whatever is mailed, everybody's request makes the same calls.
#[test]
fn hints_and_first_passwords_make_the_same_calls() {
    for external in [
        ExternalAccounts::Nothing,
        ExternalAccounts::UseProvider,
        ExternalAccounts::FirstPassword,
    ] {
        let logs = KINDS.map(|identifier| {
            let world = World::with(Backends::default(), |builder| {
                builder.templates(Facts).external(external)
            });
            block_on(world.mailed(identifier));
            let log = world.faults.log();
            let store = log.into_iter().filter(|call| *call != "mailer.send");
            store.collect::<Vec<_>>()
        });
        assert!(
            logs.iter().all(|log| *log == logs[0]),
            "{external:?}: {logs:?}"
        );
    }
}
