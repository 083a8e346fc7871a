//! Promise "once", afterwards: a change is settled in full, by whomever, and told to its owner.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Backends, GOOD, World, client, typed, user};
use password_reset::audit::EventKind;
use password_reset::flow::Retry;
use password_reset::memory::MemoryTokens;
use password_reset::store::TokenStore;
use password_reset::testing::{MemoryUsers, block_on};
use password_reset::{ResetFlow, Verified};

const LEASE: Duration = Duration::from_secs(121);

async fn verified(flow: &ResetFlow, token: &str) -> Verified {
    flow.verify(token, &client()).await.unwrap()
}

/// A change that is settled late, by the sweep, kills its siblings and not the link that the owner
/// has asked for since.
#[test]
fn a_late_settlement_spares_a_later_link() {
    let world = World::unlimited();
    let sibling = block_on(world.mailed("ada@example.com")).unwrap();
    let token = block_on(world.mailed("ada@example.com")).unwrap();
    let verified = block_on(verified(&world.flow, &token));
    let password = verified.parse_password(GOOD).unwrap();
    world.faults.fail(5); // behind the swap
    assert!(!block_on(verified.complete(password)).unwrap().settled);
    let later = block_on(world.mailed("ada@example.com")).unwrap();
    world.clock.advance(LEASE);
    block_on(async {
        world.work().await;
        assert_eq!(
            world.saw(|kind| kind == EventKind::Settled { by_sweep: true }),
            1
        );
        assert!(
            world
                .reset(&sibling, "another good password")
                .await
                .is_err()
        );
        assert!(world.reset(&token, "another good password").await.is_err());
        assert_eq!(world.reset(&later, "another good password").await, Ok(true));
    });
}

/// W29, W28 (Vikunja): only what is dead is purged, and a token that was claimed is not dead until
/// the sweep has closed it, a day after its expiry.
#[test]
fn purge_takes_what_is_dead_and_closed() {
    let day = Duration::from_secs(86_400);
    let world = World::unlimited();
    block_on(async {
        let token = world.mailed("ada@example.com").await.unwrap();
        let verified = verified(&world.flow, &token).await;
        let password = verified.parse_password(GOOD).unwrap();
        world.faults.fail(2); // claimed, then the look at the account fails, then it is released
        assert!(verified.complete(password).await.is_err());
        world.mailed("nobody@example.com").await;
        assert_eq!(world.flow.purge(100).await.unwrap(), 0);
        world.clock.advance(8 * day);
        assert_eq!(
            world.flow.purge(100).await.unwrap(),
            1,
            "the decoy, but not the watched one"
        );
        world.work().await;
        assert_eq!(
            world.flow.purge(100).await.unwrap(),
            1,
            "after the sweep's last look"
        );
    });
}

/// R71: whoever has the new password, and changes the addresses before the worker comes, does not
/// choose who is told.
#[test]
fn the_notice_goes_to_the_addresses_from_before_the_change() {
    for call in 5..=7 {
        let world = World::unlimited();
        let token = block_on(world.mailed("ada@example.com")).unwrap();
        let verified = block_on(verified(&world.flow, &token));
        let password = verified.parse_password(GOOD).unwrap();
        world.faults.fail(call); // behind the swap
        block_on(verified.complete(password)).unwrap();
        let eve = vec![common::address("eve@example.org")];
        assert!(world.users.set_addresses(&user("1"), eve, vec![]));
        world.clock.advance(LEASE);
        block_on(world.work());
        let told: Vec<_> = world
            .outbox
            .messages()
            .into_iter()
            .skip(1)
            .map(|sent| sent.to)
            .collect();
        assert_eq!(told, [common::address("ada@example.com")], "call {call}");
    }
}

/// Waiting for the change is not a try: a notice that may be tried once only is sent all the same,
/// however late the change comes.
#[test]
fn a_notice_waits_without_using_up_its_tries() {
    let world = World::with(Backends::unlimited(), |builder| {
        builder.notice_retry(Retry {
            attempts: 1,
            first: Duration::from_secs(10),
            longest: Duration::from_secs(60),
        })
    });
    let token = block_on(world.mailed("ada@example.com")).unwrap();
    let verified = block_on(verified(&world.flow, &token));
    let password = verified.parse_password(GOOD).unwrap();
    world.faults.fail(4); // the swap, which lands later
    assert!(block_on(verified.complete(password)).is_err());
    for _ in 0..10 {
        world.clock.advance(Duration::from_secs(60));
        block_on(world.work());
    }
    assert_eq!(world.outbox.messages().len(), 1);
    assert!(
        world
            .users
            .set_credential(&user("1"), common::credential("$insecure$01$late"))
    );
    for _ in 0..10 {
        world.clock.advance(Duration::from_secs(600));
        block_on(world.work());
    }
    assert_eq!(
        world.outbox.messages().len(),
        2,
        "the notice of the late change"
    );
}

/// A notice whose change never comes is dropped without a word.
#[test]
fn a_notice_without_a_change_is_never_sent() {
    let world = World::unlimited();
    let token = block_on(world.mailed("ada@example.com")).unwrap();
    let verified = block_on(verified(&world.flow, &token));
    let password = verified.parse_password(GOOD).unwrap();
    world.faults.fail(4); // the swap itself
    assert!(block_on(verified.complete(password)).is_err());
    for _ in 0..60 {
        world.clock.advance(Duration::from_secs(3_600));
        block_on(world.work());
    }
    assert_eq!(world.outbox.messages().len(), 1);
    assert_eq!(
        world.saw(|kind| matches!(kind, EventKind::DeadLetter { .. })),
        0
    );
    assert_eq!(
        block_on(world.flow.worker().run_due()),
        Default::default(),
        "and it is gone"
    );
}

/// One change, one notice, however long ending the sessions fails; and the tries grow rarer.
#[test]
fn a_settlement_that_keeps_failing_is_no_storm() {
    let world = World::unlimited();
    let token = block_on(world.mailed("ada@example.com")).unwrap();
    let verified = block_on(verified(&world.flow, &token));
    let password = verified.parse_password(GOOD).unwrap();
    world.faults.fail(6); // end_sessions
    assert!(!block_on(verified.complete(password)).unwrap().settled);
    world.clock.advance(Duration::from_secs(2));
    block_on(world.flow.worker().run_due());
    assert_eq!(world.outbox.messages().len(), 2, "the link and the notice");
    for _ in 0..(24 * 30) {
        world.clock.advance(Duration::from_secs(120));
        // Its calls: abandoned, account, revoke_all, end_sessions.
        world.faults.fail(4);
        block_on(world.flow.worker().run_due());
        world.faults.heal();
    }
    assert_eq!(world.outbox.messages().len(), 2);
    let tries = world.saw(|kind| kind == EventKind::SettlePending);
    assert!((3..=20).contains(&tries), "{tries} tries in a day");
}

/// One account whose look-up panics does not keep the others from being settled.
#[test]
fn a_poisoned_account_does_not_stop_the_sweep() {
    let world = World::unlimited();
    for id in ["7", "8"] {
        world
            .users
            .add(common::account(id, &format!("u{id}@example.com")));
    }
    for id in ["7", "8"] {
        let token = block_on(world.mailed(&format!("u{id}@example.com"))).unwrap();
        let verified = block_on(verified(&world.flow, &token));
        let password = verified.parse_password(GOOD).unwrap();
        world.faults.fail(6);
        assert!(!block_on(verified.complete(password)).unwrap().settled);
    }
    world.clock.advance(LEASE);
    world.faults.panic(2); // abandoned, then the first account
    block_on(world.work());
    assert_eq!(
        world.saw(|kind| kind == EventKind::Settled { by_sweep: true }),
        1
    );
}

/// R90: a worker without the token's key leaves it alone, loudly; one with the key settles.
#[test]
fn a_worker_without_the_key_spends_nothing() {
    use password_reset::token::{Key, KeyId, Keyring};
    let tokens = Arc::new(MemoryTokens::default());
    let users = MemoryUsers::default();
    users.add(common::account("1", "ada@example.com"));
    users.open_session(&user("1"));
    let (new, old) = (
        || Key::new(KeyId(2), &[8; 32]).unwrap(),
        Key::new(KeyId(1), &[7; 32]).unwrap(),
    );
    let both = Keyring::new(new()).with_older(old).unwrap();
    let (with_new, outbox, clock) = common::with_keyring(both, users.clone(), tokens.clone());
    let (without, _, other_clock) =
        common::with_keyring(common::keyring(), users.clone(), tokens.clone());
    block_on(async {
        with_new
            .request(&typed("ada@example.com"), &client())
            .await
            .unwrap();
        clock.advance(common::SPREAD);
        with_new.worker().run_due().await;
        let token = outbox.last_token().unwrap();
        let verified = verified(&with_new, &token).await;
        let password = verified.parse_password(GOOD).unwrap();
        // Somebody claimed it and never came back.
        let _ = tokens
            .claim(
                &verified.token(),
                password_reset::token::state::ClaimId::from_bytes([1; 16]),
                password_reset::clock::Clock::now(&clock),
                password_reset::clock::Clock::now(&clock),
            )
            .await
            .unwrap();
        other_clock.set(password_reset::clock::Clock::now(&clock) + LEASE);
        without.worker().run_due().await;
        assert_eq!(
            users.sessions(&user("1")),
            1,
            "nothing was changed, nothing is ended"
        );
        clock.advance(LEASE);
        assert!(verified.complete(password).await.unwrap().settled);
    });
}
