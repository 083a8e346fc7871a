//! "This wasn't me": the weaker capability in the mails can cancel, and nothing else.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

#[path = "cancel/letters.rs"]
mod letters;
#[path = "cancel/pause.rs"]
mod pause;
#[path = "cancel/races.rs"]
mod races;
#[path = "cancel/sealed.rs"]
mod sealed;

mod common;

use base64ct::{Base64UrlUnpadded, Encoding};
use common::{Backends, GOOD, World, client, typed, user};
use letters::world;
use password_reset::account::{Account, Client, Tenant};
use password_reset::audit::{EventKind, Refused, Severity};
use password_reset::flow::{CancelError, Cancelable};
use password_reset::testing::block_on;
use std::time::Duration;

const ADA: &str = "ada@example.com";

async fn refused(world: &World, token: &str) -> bool {
    let looked = world.flow.look_at_cancel(token, &client()).await;
    matches!(looked, Err(CancelError::Invalid))
}

async fn cancel(world: &World, token: &str) -> password_reset::flow::Cancelled {
    let looked = world.flow.look_at_cancel(token, &client()).await.unwrap();
    looked.cancel(Cancelable::PAUSE).await.unwrap()
}

#[test]
fn the_link_in_the_mail_cancels_and_raises_the_alarm() {
    let world = world();
    block_on(async {
        let token = world.mailed(ADA).await.unwrap();
        let other = world.mailed(ADA).await.unwrap();
        let not_me = world.outbox.last_cancel_token().unwrap();
        let done = cancel(&world, &not_me).await;
        assert_eq!(done.revoked, 2);
        for dead in [token, other] {
            assert!(world.flow.verify(&dead, &client()).await.is_err());
        }
        let events = world.recorder.events();
        let alarm = EventKind::Disowned { revoked: 2 };
        let alarms: Vec<_> = events.iter().filter(|event| event.kind == alarm).collect();
        assert_eq!(alarms.len(), 1);
        let event = alarms.first().unwrap();
        assert_eq!(event.kind.severity(), Severity::Critical);
        assert_eq!(event.user, Some(user("1")));
        assert_eq!(event.source, client().prefix());
        let shown = event.token.map(|selector| selector.to_string());
        let raw = Base64UrlUnpadded::decode_vec(&not_me).unwrap();
        let selector: String = raw.iter().take(16).map(|b| format!("{b:02x}")).collect();
        assert_eq!(shown, Some(selector));
        // R18: nothing else happened to the account.
        assert_eq!(world.hash("1"), common::OLD_HASH);
        assert_eq!(world.users.calls().end_sessions, 0);
        // And nothing more is mailed.
        assert_eq!(world.mailed(ADA).await, None);
    });
}

/// The token of the notice is spent, and the account's password is another one: that is the point.
#[test]
fn the_link_in_the_notice_cancels_what_came_later() {
    let world = world();
    block_on(async {
        let token = world.mailed(ADA).await.unwrap();
        let of_mail = world.outbox.last_cancel_token().unwrap();
        world.reset(&token, GOOD).await.unwrap();
        world.work().await;
        let of_notice = world.outbox.last_cancel_token().unwrap();
        // Whoever kept the mail of a link that was used must not keep its owner out with it.
        assert_ne!(of_mail, of_notice);
        assert!(
            world
                .flow
                .look_at_cancel(&of_mail, &client())
                .await
                .is_err()
        );
        assert_eq!(world.outbox.cancel_links().len(), 2);
        let later = world.mailed(ADA).await.unwrap();
        let done = cancel(&world, &of_notice).await;
        assert_eq!(done.revoked, 1);
        assert!(world.flow.verify(&later, &client()).await.is_err());
        assert!(world.logs_in("1", GOOD));
    });
}

#[test]
fn cancelling_twice_is_harmless() {
    let world = world();
    block_on(async {
        world.mailed(ADA).await.unwrap();
        let token = world.outbox.last_cancel_token().unwrap();
        let first = cancel(&world, &token).await;
        let second = cancel(&world, &token).await;
        assert_eq!((first.revoked, second.revoked), (1, 0));
        assert_eq!(first.paused_until, second.paused_until);
    });
}

/// It works for as long as the record is kept: a week after the link's end.
#[test]
fn an_expired_or_revoked_token_can_still_be_disowned() {
    let world = world();
    block_on(async {
        world.mailed(ADA).await.unwrap();
        let token = world.outbox.last_cancel_token().unwrap();
        world.flow.revoke_all(&user("1")).await.unwrap();
        cancel(&world, &token).await;
        world.clock.advance(Duration::from_secs(6 * 86_400));
        world.flow.purge(1_000).await.unwrap();
        cancel(&world, &token).await;
        world.clock.advance(Duration::from_secs(2 * 86_400));
        world.flow.purge(1_000).await.unwrap();
        assert!(refused(&world, &token).await);
    });
}

/// W41: a link token cancels nothing, and a cancel token opens nothing, whatever is called.
#[test]
fn w41_neither_token_passes_for_the_other() {
    let world = world();
    block_on(async {
        let link = world.mailed(ADA).await.unwrap();
        let not_me = world.outbox.last_cancel_token().unwrap();
        assert_ne!(link, not_me);
        assert_eq!(link.get(..21), not_me.get(..21), "one selector");
        assert!(refused(&world, &link).await);
        assert!(world.flow.verify(&not_me, &client()).await.is_err());
        assert!(world.reset(&not_me, GOOD).await.is_err());
        let wrong = EventKind::Refused(Refused::WrongVerifier);
        assert_eq!(world.saw(|kind| kind == wrong), 3);
        // Neither attempt hurt the right use.
        assert!(world.flow.verify(&link, &client()).await.is_ok());
        cancel(&world, &not_me).await;
        assert!(refused(&world, &link).await);
        assert!(world.flow.verify(&not_me, &client()).await.is_err());
    });
}

/// W42: the proof of one token under the selector of another, of one's own account or a stranger's.
#[test]
fn w42_a_proof_belongs_to_one_token() {
    let world = world();
    world.users.add(common::account("6", "eve@example.com"));
    block_on(async {
        let mut tokens = Vec::new();
        for who in [ADA, ADA, "eve@example.com"] {
            world.mailed(who).await.unwrap();
            tokens.push(world.outbox.last_cancel_token().unwrap());
        }
        for (at, own) in tokens.iter().enumerate() {
            for (other, foreign) in tokens.iter().enumerate() {
                let raw = |text: &str| Base64UrlUnpadded::decode_vec(text).unwrap();
                let (own, foreign) = (raw(own), raw(foreign));
                let mixed = [own.split_at(16).0, foreign.split_at(16).1].concat();
                let mixed = Base64UrlUnpadded::encode_string(&mixed);
                assert_eq!(refused(&world, &mixed).await, at != other);
            }
        }
    });
}

/// W43: of another tenant, or of none.
#[test]
fn w43_another_tenant_knows_no_such_token() {
    let world = world();
    let acme = Tenant::parse("acme").unwrap();
    let mut account: Account = common::account("7", "tenant@example.com");
    account.tenant = Some(acme.clone());
    world.users.add(account);
    block_on(async {
        let inside = world.flow.for_tenant(acme);
        let asked = typed("tenant@example.com");
        inside.request(&asked, &client()).await.unwrap();
        world.work().await;
        let token = world.outbox.last_cancel_token().unwrap();
        assert!(refused(&world, &token).await);
        let elsewhere = world.flow.for_tenant(Tenant::parse("emca").unwrap());
        assert!(elsewhere.look_at_cancel(&token, &client()).await.is_err());
        let wrong = EventKind::Refused(Refused::WrongTenant);
        assert_eq!(world.saw(|kind| kind == wrong), 2);
        let looked = inside.look_at_cancel(&token, &client()).await.unwrap();
        assert_eq!(looked.cancel(Cancelable::PAUSE).await.unwrap().revoked, 1);
    });
}

/// W35: the account is gone.
#[test]
fn w35_nothing_is_cancelled_for_an_account_that_is_gone() {
    let world = world();
    block_on(async {
        world.mailed(ADA).await.unwrap();
        let token = world.outbox.last_cancel_token().unwrap();
        assert!(world.users.delete(&user("1")));
        assert!(refused(&world, &token).await);
        let gone = EventKind::Refused(Refused::AccountGone);
        assert_eq!(world.saw(|kind| kind == gone), 1);
    });
}

/// R41, W36, W37: a mail scanner opens the link a hundred times; nothing is written anywhere.
#[test]
fn w36_looking_a_hundred_times_changes_nothing() {
    let world = letters::with(Backends::unlimited());
    block_on(async {
        let link = world.mailed(ADA).await.unwrap();
        let token = world.outbox.last_cancel_token().unwrap();
        let start = world.faults.log().len();
        for _ in 0..100 {
            let looked = world.flow.look_at_cancel(&token, &client()).await;
            drop(looked.unwrap());
        }
        let log = world.faults.log();
        let reads = ["limiter.check", "tokens.find", "users.account"];
        let calls = log.get(start..).unwrap();
        assert_eq!(calls, reads.repeat(100));
        assert_eq!(
            world.saw(|kind| matches!(kind, EventKind::Disowned { .. })),
            0
        );
        assert!(world.flow.verify(&link, &client()).await.is_ok());
        assert!(world.mailed(ADA).await.is_some());
    });
}

/// W21, W23, W26: malformed text reaches no backend.
#[test]
fn malformed_text_is_refused_without_a_call() {
    let world = world();
    let long = "A".repeat(10_000_000);
    for text in ["", "null", " ", "AAAA", &long, &"+".repeat(64)] {
        assert!(block_on(refused(&world, text)));
    }
    assert_eq!(world.faults.calls(), 0);
    let malformed = EventKind::Refused(Refused::Malformed);
    assert_eq!(world.saw(|kind| kind == malformed), 6);
}

/// R33, W53: guessing is limited by source, apart from the limit of the reset links.
#[test]
fn a_source_may_present_so_many_tokens() {
    let world = world();
    let unknown = "A".repeat(64);
    block_on(async {
        for _ in 0..60 {
            assert!(refused(&world, &unknown).await);
        }
        let looked = world.flow.look_at_cancel(&unknown, &client()).await;
        let error = looked.unwrap_err();
        assert!(matches!(error, CancelError::RateLimited { .. }) && error.is_transient());
        // Neither another source nor the link of this one is affected.
        let other = Client::from_ip([192, 0, 2, 8].into());
        let looked = world.flow.look_at_cancel(&unknown, &other).await;
        assert!(matches!(looked, Err(CancelError::Invalid)));
        let verified = world.flow.verify(&unknown, &client()).await;
        assert!(matches!(
            verified,
            Err(password_reset::flow::VerifyError::Invalid)
        ));
    });
}

/// Without a page for it, mails carry no such link.
#[test]
fn without_a_page_there_is_no_link() {
    let world = World::with(Backends::default(), |builder| {
        builder.templates(letters::WithCancel)
    });
    block_on(async {
        world.mailed(ADA).await.unwrap();
        assert!(world.outbox.cancel_links().is_empty());
    });
}
