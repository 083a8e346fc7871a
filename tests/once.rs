//! Promise "once": one token changes at most one password, and is never lost.
//!
//! Races and cuts, on memory and on a SQLite file. `tests/model.rs` explores the protocol
//! exhaustively.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{File, GOOD, World, client, user};
use password_reset::audit::{EventKind, Refused};
use password_reset::password::NewPassword;
use password_reset::testing::{block_on, cut_after};
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
fn w36_looking_and_refusing_burn_nothing() {
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
