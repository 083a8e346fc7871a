//! Promise "bound": a token dies with what it was made for, and is nothing anywhere else.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Backends, GOOD, World, account, address, client, credential, typed, user};
use password_reset::account::{Account, Credential, Status, Tenant};
use password_reset::audit::{EventKind, Refused, Withheld};
use password_reset::flow::{CompleteError, VerifyError};
use password_reset::memory::MemoryTokens;
use password_reset::recovery::SecondFactor;
use password_reset::store::Live;
use password_reset::testing::{MemoryUsers, block_on};
use password_reset::token::{Key, KeyId, Keyring};

const LIFE: Duration = Duration::from_secs(30 * 60);
const TICK: Duration = Duration::from_micros(1);

/// What happens to the account between the mail and the click, and what the audit trail says.
type Change = (&'static str, fn(&MemoryUsers), Refused);

const CHANGES: [Change; 7] = [
    (
        "w33 password changed elsewhere",
        |users| assert!(users.set_credential(&user("1"), credential("$insecure$01$other"))),
        Refused::CredentialChanged,
    ),
    (
        "w34 address changed",
        |users| {
            let moved = vec![address("new@example.com")];
            assert!(users.set_addresses(&user("1"), moved, vec![]));
        },
        Refused::AddressGone,
    ),
    (
        "w05 address no longer verified",
        |users| {
            let lost = vec![address("ada@example.com")];
            assert!(users.set_addresses(&user("1"), vec![], lost));
        },
        Refused::AddressGone,
    ),
    (
        "w35 account disabled",
        |users| assert!(users.set_status(&user("1"), Status::Disabled)),
        Refused::AccountDisabled,
    ),
    (
        "w35 account deleted",
        |users| assert!(users.delete(&user("1"))),
        Refused::AccountGone,
    ),
    (
        "w35 account made again under another id",
        |users| {
            assert!(users.delete(&user("1")));
            users.add(account("9", "ada@example.com"));
        },
        Refused::AccountGone,
    ),
    (
        "w68 account moved to another provider",
        |users| assert!(users.set_credential(&user("1"), Credential::External)),
        Refused::CredentialChanged,
    ),
];

/// R6, W05, W33, W34, W35, W68: before the click, and between the click and the change.
#[test]
fn w33_w34_w35_a_token_dies_with_what_it_was_made_for() {
    for (what, change, why) in CHANGES {
        let world = World::unlimited();
        let token = block_on(world.mailed("ada@example.com")).unwrap();
        change(&world.users);
        assert_eq!(
            block_on(world.reset(&token, GOOD)),
            Err("Invalid".into()),
            "{what}"
        );
        assert_eq!(
            world.saw(|kind| kind == EventKind::Refused(why)),
            1,
            "{what}"
        );

        let world = World::unlimited();
        let token = block_on(world.mailed("ada@example.com")).unwrap();
        let verified = block_on(world.flow.verify(&token, &client())).unwrap();
        let password = verified.parse_password(GOOD).unwrap();
        change(&world.users);
        let refused = block_on(verified.complete(password)).unwrap_err();
        assert!(
            matches!(refused, CompleteError::Invalid),
            "{what}: {refused:?}"
        );
        assert_eq!(world.users.calls().set_password, 0, "{what}");
        assert!(
            !world.logs_in("1", GOOD) && !world.logs_in("9", GOOD),
            "{what}"
        );
    }
}

/// W29, R7: good until the last moment and never after, with no collector ever run.
#[test]
fn w29_expiry_is_exact_in_verify_and_complete() {
    let world = World::unlimited();
    block_on(async {
        world
            .flow
            .request(&typed("ada@example.com"), &client())
            .await
            .unwrap();
        world.work().await;
        let token = world.outbox.last_token().unwrap();
        world.clock.advance(LIFE - TICK);
        let verified = world.flow.verify(&token, &client()).await.unwrap();
        let password = verified.parse_password(GOOD).unwrap();
        world.clock.advance(TICK);
        let late = world.flow.verify(&token, &client()).await.unwrap_err();
        assert!(matches!(late, VerifyError::Expired));
        let late = verified.complete(password).await.unwrap_err();
        assert!(matches!(late, CompleteError::Expired));
        assert!(!world.logs_in("1", GOOD));
        // W37: looking at an expired token a thousand times causes nothing.
        for _ in 0..59 {
            let _ = world.flow.verify(&token, &client()).await;
        }
        world.work().await;
        assert_eq!(world.outbox.messages().len(), 1);
    });
}

/// R43: the grant is good for ten minutes, whatever the token's own life.
#[test]
fn a_verification_is_good_for_ten_minutes() {
    let world = World::unlimited();
    block_on(async {
        let token = world.mailed("ada@example.com").await.unwrap();
        let verified = world.flow.verify(&token, &client()).await.unwrap();
        let password = verified.parse_password(GOOD).unwrap();
        world.clock.advance(Duration::from_secs(600));
        assert!(matches!(
            verified.complete(password).await,
            Err(CompleteError::Expired)
        ));
        assert_eq!(world.reset(&token, GOOD).await, Ok(true));
    });
}

/// W43: the same address in two tenants; a token of one is nothing in the other.
#[test]
fn w43_a_token_of_one_tenant_is_nothing_in_another() {
    let world = World::unlimited();
    let tenants = ["red", "blue"].map(|name| Tenant::parse(name).unwrap());
    for (id, tenant) in ["r", "b"].into_iter().zip(&tenants) {
        let mut account = account(id, "both@example.com");
        account.tenant = Some(tenant.clone());
        world.users.add(account);
    }
    let [red, blue] = tenants.map(|tenant| world.flow.for_tenant(tenant));
    block_on(async {
        red.request(&typed("both@example.com"), &client())
            .await
            .unwrap();
        world.work().await;
        let token = world.outbox.last_token().unwrap();
        for foreign in [&blue, &world.flow] {
            let refused = foreign.verify(&token, &client()).await.unwrap_err();
            assert!(matches!(refused, VerifyError::Invalid));
        }
        let verified = red.verify(&token, &client()).await.unwrap();
        assert_eq!(verified.user(), &user("r"));
        assert_eq!(
            world.saw(|kind| kind == EventKind::Refused(Refused::WrongTenant)),
            2
        );
    });
}

/// W42: over many users, only the token's owner changes; `complete` takes no user.
#[test]
fn w42_only_the_owner_of_a_token_changes() {
    let world = World::unlimited();
    for number in 100..400 {
        world.users.add(account(
            &number.to_string(),
            &format!("u{number}@example.com"),
        ));
    }
    let before: Vec<_> = (100..400).map(|n| world.hash(&n.to_string())).collect();
    block_on(async {
        let token = world.mailed("u250@example.com").await.unwrap();
        assert_eq!(world.reset(&token, GOOD).await, Ok(true));
    });
    let changed: Vec<_> = (100..400)
        .zip(before)
        .filter(|(n, hash)| world.hash(&n.to_string()) != *hash)
        .map(|(n, _)| n)
        .collect();
    assert_eq!(changed, [250]);
}

/// W31, W32: bounded and, by default, not to be voided by a stranger.
#[test]
fn w31_w32_live_tokens_are_bounded_and_follow_the_setting() {
    let default = World::unlimited();
    let newest = World::with(Backends::unlimited(), |builder| {
        builder.live(Live::newest(1.try_into().unwrap()))
    });
    for (world, first_survives) in [(default, true), (newest, false)] {
        block_on(async {
            let first = world.mailed("ada@example.com").await.unwrap();
            for _ in 0..1_000 {
                world
                    .flow
                    .request(&typed("ada@example.com"), &client())
                    .await
                    .unwrap();
            }
            world.work().await;
            let links = world.outbox.messages().len();
            let withheld = |kind| {
                matches!(
                    kind,
                    EventKind::Withheld(Withheld::LiveTokens | Withheld::MailLimit)
                )
            };
            assert_eq!(links + world.saw(withheld), 1_001);
            assert_eq!(
                world.flow.verify(&first, &client()).await.is_ok(),
                first_survives
            );
        });
    }
}

/// R90: a token of an older key is honoured while the key is in the ring, and not after.
#[test]
fn r90_rotation_breaks_no_live_token() {
    let old = || Key::new(KeyId(1), &[7; 32]).unwrap();
    let new = || Key::new(KeyId(2), &[8; 32]).unwrap();
    let store = MemoryTokens::default();
    let users = MemoryUsers::default();
    users.add(account("1", "ada@example.com"));
    let build = |keyring| common::with_keyring(keyring, users.clone(), Arc::new(store.clone()));
    let (before, outbox, clock) = build(Keyring::new(old()));
    let token = block_on(async {
        before
            .request(&typed("ada@example.com"), &client())
            .await
            .unwrap();
        clock.advance(common::SPREAD);
        before.worker().run_due().await;
        outbox.last_token().unwrap()
    });
    let (rotated, _, _) = build(Keyring::new(new()).with_older(old()).unwrap());
    assert!(block_on(rotated.verify(&token, &client())).is_ok());
    let (dropped, _, _) = build(Keyring::new(new()));
    assert!(block_on(dropped.verify(&token, &client())).is_err());
}

/// R67, W64: a second factor is not bypassed; the token stays usable.
#[test]
fn w64_an_account_with_a_second_factor_needs_a_policy() {
    let world = World::unlimited();
    block_on(async {
        let token = world.mailed("guarded@example.com").await.unwrap();
        for _ in 0..3 {
            assert_eq!(world.reset(&token, GOOD).await, Err("StepUp".into()));
        }
        assert_eq!(world.users.calls().set_password, 0);
        assert!(world.flow.verify(&token, &client()).await.is_ok());
    });
}

/// The addresses that are looked at are the same when mailing and when proving.
#[test]
fn an_address_beyond_the_bound_is_not_one_that_counts() {
    let world = World::unlimited();
    let mut many = Account::new(user("7"), credential(common::OLD_HASH));
    for number in 0..9 {
        many = many.verified(address(&format!("a{number}@example.com")));
    }
    world.users.add(many);
    for number in [0, 7, 8] {
        let token = block_on(world.mailed(&format!("a{number}@example.com")));
        let good =
            token.is_some_and(|token| block_on(world.flow.verify(&token, &client())).is_ok());
        assert!(
            good,
            "address {number}: the link works, whichever address it went to"
        );
    }
}

/// A second factor that is enrolled between verification and change counts.
#[test]
fn a_factor_enrolled_meanwhile_is_not_bypassed() {
    let world = World::unlimited();
    let token = block_on(world.mailed("ada@example.com")).unwrap();
    let verified = block_on(world.flow.verify(&token, &client())).unwrap();
    let password = verified.parse_password(GOOD).unwrap();
    assert!(world.users.edit(&user("1"), |account| {
        account.second_factors.push(SecondFactor::Device)
    }));
    let refused = block_on(verified.complete(password)).unwrap_err();
    assert!(matches!(refused, CompleteError::StepUp), "{refused:?}");
    assert_eq!(world.users.calls().set_password, 0);
}

/// An account may have several addresses: the mail goes to the one that was meant, as stored (W2).
#[test]
fn w02_mail_goes_to_the_stored_address() {
    let world = World::unlimited();
    let mut two = Account::new(user("7"), credential(common::OLD_HASH));
    two = two
        .verified(address("First@example.com"))
        .verified(address("second@example.com"));
    world.users.add(two);
    for (typed, stored) in [
        ("first@example.com", "First@example.com"),
        ("SECOND@EXAMPLE.COM", "second@example.com"),
    ] {
        block_on(world.mailed(typed)).unwrap();
        let to = world.outbox.messages().last().unwrap().to.clone();
        assert_eq!(to.as_str(), stored);
    }
}
