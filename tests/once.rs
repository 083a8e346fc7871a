//! Promise "once": one token changes at most one password, and is never lost.
//!
//! Races and cuts, on memory and on a SQLite file. `tests/model.rs` explores the protocol
//! exhaustively.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Backends, File, GOOD, World, client, typed, user};
use password_reset::audit::{EventKind, Refused};
use password_reset::memory::MemoryTokens;
use password_reset::password::NewPassword;
use password_reset::store::TokenStore;
use password_reset::testing::{Behaviour, MemoryUsers, block_on, cut_after};
use password_reset::{ResetFlow, Verified};

const LEASE: Duration = Duration::from_secs(121);

async fn verified(flow: &ResetFlow, token: &str) -> Verified {
    flow.verify(token, &client()).await.unwrap()
}

async fn complete(flow: ResetFlow, token: String, password: String) -> bool {
    let Ok(verified) = flow.verify(&token, &client()).await else {
        return false;
    };
    let password = verified.parse_password(&password).unwrap();
    verified.complete(password).await.is_ok()
}

/// A world on memory, or on a SQLite file that lives as long as the world.
async fn world_on(store: Store) -> (World, Option<File>) {
    match store {
        Store::Memory => (World::unlimited(), None),
        Store::Sqlite => {
            let file = File::new("once");
            (
                World::with(file.backends(false).await, |builder| builder),
                Some(file),
            )
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Store {
    Memory,
    Sqlite,
}

/// R61, W27: 64 callers, one token, 64 different passwords; many rounds.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn w27_one_of_64_callers_wins() {
    race(Store::Memory, 50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn w27_one_of_64_callers_wins_on_sqlite() {
    race(Store::Sqlite, 10).await;
}

async fn race(store: Store, rounds: u32) {
    for round in 0..rounds {
        let (world, _file) = world_on(store).await;
        let token = world.mailed("ada@example.com").await.unwrap();
        let gate = Arc::new(tokio::sync::Barrier::new(64));
        let tasks: Vec<_> = (0..64)
            .map(|number| {
                let (flow, token) = (world.flow.clone(), token.clone());
                let gate = Arc::clone(&gate);
                tokio::spawn(async move {
                    gate.wait().await;
                    let password = format!("password number {number:04} of many");
                    complete(flow, token, password.clone())
                        .await
                        .then_some(password)
                })
            })
            .collect();
        let mut winners = Vec::new();
        for task in tasks {
            winners.extend(task.await.unwrap());
        }
        assert_eq!(winners.len(), 1, "round {round}");
        assert!(world.logs_in("1", &winners.concat()));
        assert_eq!(world.users.calls().end_sessions, 1);
        assert_eq!(world.saw(|kind| kind == EventKind::Completed), 1);
        world.work().await;
        // The link and one notice, whoever lost.
        assert_eq!(world.outbox.messages().len(), 2);
    }
}

/// W28, R8, R63: after a success neither the token nor its siblings work.
#[test]
fn w28_a_token_and_its_siblings_are_spent() {
    let world = World::unlimited();
    block_on(async {
        let sibling = world.mailed("ada@example.com").await.unwrap();
        let token = world.mailed("ada@example.com").await.unwrap();
        assert_eq!(world.reset(&token, GOOD).await, Ok(true));
        assert_eq!(world.reset(&token, GOOD).await, Err("Invalid".into()));
        assert_eq!(world.reset(&sibling, GOOD).await, Err("Invalid".into()));
        assert_eq!(
            world.saw(|kind| kind == EventKind::Refused(Refused::Spent)),
            1
        );
        assert_eq!(
            world.saw(|kind| kind == EventKind::Refused(Refused::Revoked)),
            1
        );
    });
}

/// R52: a refused password does not burn the token, nor does looking at it (R41, W36).
#[test]
fn looking_and_refusing_burn_nothing() {
    let world = World::unlimited();
    block_on(async {
        let token = world.mailed("ada@example.com").await.unwrap();
        for _ in 0..100 {
            let _ = verified(&world.flow, &token).await;
        }
        for weak in ["short", "ada@example.com ada", "aaaaaaaaaaaaaaaaaaaa"] {
            assert!(world.reset(&token, weak).await.is_err());
        }
        assert_eq!(world.reset(&token, GOOD).await, Ok(true));
    });
}

/// What must hold however a completion was interrupted, once the sweep has been.
async fn check_after_sweep(world: &World, token: &str, what: &str) {
    {
        world.faults.heal();
        world.clock.advance(LEASE);
        world.work().await;
        let changed = world.logs_in("1", GOOD);
        if changed {
            assert!(
                world.users.ended(&user("1")) >= 1,
                "{what}: sessions live on"
            );
            let notices = world.outbox.messages().len().saturating_sub(1);
            assert!(notices >= 1, "{what}: nobody was told");
            assert!(
                world.reset(token, "another good password").await.is_err(),
                "{what}: reused"
            );
            assert!(
                world.saw(|kind| matches!(kind, EventKind::Settled { .. })) >= 1,
                "{what}"
            );
        } else {
            assert_eq!(
                world.outbox.messages().len(),
                1,
                "{what}: told of no change"
            );
            assert_eq!(world.reset(token, GOOD).await, Ok(true), "{what}: lost");
        }
        // Quiet afterwards: nothing is settled for ever.
        let events = world.recorder.kinds().len();
        world.clock.advance(LEASE);
        world.work().await;
        let again = world.recorder.kinds().split_off(events);
        assert!(
            !again
                .iter()
                .any(|kind| matches!(kind, EventKind::Settled { .. })),
            "{what}: settled twice: {again:?}"
        );
    }
}

/// A link that was mailed, verified and waits for its new password.
async fn ready(store: Store) -> (World, Option<File>, String, Verified, NewPassword) {
    let (world, file) = world_on(store).await;
    let token = world.mailed("ada@example.com").await.unwrap();
    let verified = verified(&world.flow, &token).await;
    let password = verified.parse_password(GOOD).unwrap();
    (world, file, token, verified, password)
}

/// The client hangs up: the future is dropped at every await, before and after the effect.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_completion_dropped_at_any_await_is_finished_or_undone() {
    for store in [Store::Memory, Store::Sqlite] {
        let mut polls = 1;
        loop {
            let (world, _file, token, verified, password) = ready(store).await;
            world.faults.yield_each_call();
            let done = cut_after(verified.complete(password), polls);
            let what = format!("{store:?}: dropped after {polls} polls");
            check_after_sweep(&world, &token, &what).await;
            if done.is_some() {
                break;
            }
            polls += 1;
        }
        assert!(polls > 12, "only {polls} places to cut");
    }
}

/// A backend fails at every call, before its effect or after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_completion_that_fails_at_any_call_is_finished_or_undone() {
    for (store, after) in [
        (Store::Memory, false),
        (Store::Memory, true),
        (Store::Sqlite, false),
        (Store::Sqlite, true),
    ] {
        for nth in 1.. {
            let (world, _file, token, verified, password) = ready(store).await;
            let before = world.faults.calls();
            if after {
                world.faults.fail_after(nth);
            } else {
                world.faults.fail(nth);
            }
            let _ = verified.complete(password).await;
            let calls = world.faults.calls() - before;
            let what = format!("{store:?}: call {nth}, after: {after}");
            check_after_sweep(&world, &token, &what).await;
            if nth > calls {
                assert!(nth > 6, "only {calls} calls");
                break;
            }
        }
    }
}

/// The sweep itself is cut at every await; the next one goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_dropped_at_any_await_is_taken_up_again() {
    for store in [Store::Memory, Store::Sqlite] {
        let mut polls = 1;
        loop {
            let (world, _file, token, verified, password) = ready(store).await;
            // Dies right behind the swap: calls are claim, account, push, set_password, then
            // revoke_all.
            world.faults.panic(5);
            let died = tokio::spawn(verified.complete(password)).await;
            assert!(died.is_err() && world.logs_in("1", GOOD));
            world.clock.advance(LEASE);
            world.faults.yield_each_call();
            let worker = world.flow.worker();
            let over = cut_after(worker.run_due(), polls).is_some();
            let what = format!("{store:?}: sweep dropped after {polls} polls");
            check_after_sweep(&world, &token, &what).await;
            if over {
                break;
            }
            polls += 1;
        }
        assert!(polls > 12, "only {polls} places to cut");
    }
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

/// W40: a mail that fails takes its own token along and leaves older links alone.
#[test]
fn a_failed_mail_kills_no_link_that_was_delivered() {
    let world = World::unlimited();
    block_on(async {
        let delivered = world.mailed("ada@example.com").await.unwrap();
        world.outbox.fail_next(10);
        for _ in 0..5 {
            assert!(world.mailed("ada@example.com").await.is_none());
        }
        assert!(world.flow.verify(&delivered, &client()).await.is_ok());
        // The failed ones take no place, so the retries arrive, as far as the account's places and
        // its mails go.
        world.outbox.fail_next(0);
        world.clock.advance(Duration::from_secs(60));
        world.work().await;
        let links = world.outbox.links().len();
        assert!((3..=5).contains(&links), "{links}");
        assert_eq!(world.reset(&delivered, GOOD).await, Ok(true));
    });
}

/// W40, W47: a mail that was cut off may have arrived, so its link stays good; and it takes no
/// place away from the next try, however often that happens.
#[tokio::test]
async fn a_cut_off_mail_neither_kills_its_link_nor_locks_the_owner_out() {
    for behaviour in [Behaviour::Panic, Behaviour::Uncertain] {
        let world = World::unlimited();
        world.outbox.behave(behaviour);
        world
            .flow
            .request(&typed("ada@example.com"), &client())
            .await
            .unwrap();
        for _ in 0..5 {
            world.clock.advance(Duration::from_secs(120));
            world.work().await;
        }
        assert_eq!(world.outbox.attempts(), 5, "{behaviour:?}");
        world.outbox.behave(Behaviour::Accept);
        world.clock.advance(Duration::from_secs(200));
        world.work().await;
        let token = world.outbox.last_token().unwrap();
        let ids: std::collections::HashSet<_> = world
            .outbox
            .messages()
            .into_iter()
            .map(|sent| sent.id)
            .collect();
        let mails = world.outbox.messages().len();
        assert_eq!(
            ids.len(),
            mails,
            "{behaviour:?}: another link, another mail"
        );
        if behaviour == Behaviour::Uncertain {
            // Those that arrived although the mailer was not sure.
            assert_eq!(mails, 6);
            let first = world.outbox.links().first().unwrap().clone();
            let first = first.split_once("token=").unwrap().1.to_owned();
            assert!(world.flow.verify(&first, &client()).await.is_ok());
        }
        assert_eq!(world.reset(&token, GOOD).await, Ok(true));
    }
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

/// H: one account whose look-up panics does not keep the others from being settled.
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
        // Hangs up behind the claim: hash and claim are the first polls.
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

/// Retry with back-off, then a dead letter with its event.
#[test]
fn a_mail_is_retried_and_then_given_up_loudly() {
    let world = World::with(Backends::unlimited(), |builder| {
        builder.link_retry(password_reset::flow::Retry {
            attempts: 3,
            first: Duration::from_secs(10),
            longest: Duration::from_secs(60),
        })
    });
    block_on(async {
        world.outbox.fail_next(2);
        assert!(world.mailed("ada@example.com").await.is_none());
        assert_eq!(world.outbox.attempts(), 1);
        world.flow.worker().run_due().await;
        assert_eq!(world.outbox.attempts(), 1, "not before its time");
        for _ in 0..2 {
            world.clock.advance(Duration::from_secs(30));
            world.work().await;
        }
        assert_eq!(world.outbox.attempts(), 3);
        assert_eq!(world.outbox.messages().len(), 1, "the third try arrives");

        world.outbox.fail_next(100);
        world
            .flow
            .request(&typed("ada@example.com"), &client())
            .await
            .unwrap();
        for _ in 0..5 {
            world.clock.advance(Duration::from_secs(120));
            world.work().await;
        }
        assert_eq!(world.outbox.attempts(), 6);
        assert_eq!(
            world.saw(|kind| kind == EventKind::DeadLetter { attempts: 3 }),
            1
        );
    });
}
