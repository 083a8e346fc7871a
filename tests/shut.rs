//! Promise "shut": a failing part opens no door, is not heard in public, and is heard in private.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use common::{Backends, GOOD, World, account, client, typed};
use password_reset::audit::EventKind;
use password_reset::error::{Backend, BoxError};
use password_reset::flow::{BuildError, CompleteError, VerifyError};
use password_reset::mail::StandardLetters;
use password_reset::memory::MemoryQueue;
use password_reset::password::HashPool;
use password_reset::recovery::{Recovery, RecoveryAttempt, RecoveryPolicy};
use password_reset::testing::{
    FailingRandom, Faults, Faulty, InsecureHasher, Recorder, block_on, poll_once,
};

fn backend_failures(world: &World) -> Vec<Backend> {
    let failed = |kind| match kind {
        EventKind::BackendFailed { backend, .. } => Some(backend),
        _ => None,
    };
    world
        .recorder
        .kinds()
        .into_iter()
        .filter_map(failed)
        .collect()
}

/// R38: each call of a request failing in turn: accepted, nothing queued, one event.
#[test]
fn a_request_fails_silently_and_loudly() {
    let limiter = Backend::Limiter;
    let expected = [limiter, limiter, limiter, limiter, Backend::Queue];
    for (nth, backend) in (1..).zip(expected) {
        let world = World::new();
        world.faults.fail(nth);
        block_on(async {
            let answer = world
                .flow
                .request(&typed("ada@example.com"), &client())
                .await;
            assert!(answer.is_ok());
            assert_eq!(backend_failures(&world), [backend]);
            assert_eq!(world.recorder.kinds().len(), 1, "one event, no more");
            world.work().await;
        });
        assert_eq!(world.outbox.messages().len(), 0);
        assert_eq!(
            world.saw(|kind| matches!(kind, EventKind::Requested { .. })),
            0
        );
    }
}

/// R38: each call of the worker failing in turn: no mail leaves twice, one event, and the next
/// round mails it.
#[test]
fn a_worker_that_fails_at_any_call_mails_in_the_end() {
    // abandoned, lease, find, limiter, insert, send, ack (, lease)
    for nth in 1..=6 {
        let world = World::new();
        block_on(async {
            world
                .flow
                .request(&typed("ada@example.com"), &client())
                .await
                .unwrap();
            world.clock.advance(common::SPREAD);
            world.faults.fail(nth);
            world.flow.worker().run_due().await;
            assert_eq!(backend_failures(&world).len(), 1, "call {nth}");
            world.clock.advance(Duration::from_secs(130));
            world.work().await;
        });
        assert_eq!(world.outbox.messages().len(), 1, "call {nth}");
        assert_eq!(world.hash("1"), common::OLD_HASH);
    }
}

/// R38: each call of a verification failing in turn: refused, untouched, one event.
#[test]
fn a_verification_fails_closed() {
    for (nth, backend) in (1..).zip([Backend::Limiter, Backend::Tokens, Backend::Users]) {
        let world = World::new();
        let token = block_on(world.mailed("ada@example.com")).unwrap();
        world.recorder.clear();
        world.faults.fail(nth);
        let refused = block_on(world.flow.verify(&token, &client())).unwrap_err();
        assert!(matches!(refused, VerifyError::Unavailable(_)) && refused.is_transient());
        // The public text names no part; the source does.
        assert_eq!(refused.to_string(), "not available at this moment");
        assert_eq!(backend_failures(&world), [backend]);
        assert_eq!(world.recorder.kinds().len(), 1);
        assert_eq!(block_on(world.reset(&token, GOOD)), Ok(true));
    }
}

/// R38: each call of a completion before the change failing in turn: no change, one event, and
/// the token is good again, at once or after the lease.
#[test]
fn a_completion_fails_closed() {
    for (nth, backend) in (1..).zip([Backend::Tokens, Backend::Users, Backend::Queue]) {
        let world = World::new();
        let token = block_on(world.mailed("ada@example.com")).unwrap();
        let verified = block_on(world.flow.verify(&token, &client())).unwrap();
        let password = verified.parse_password(GOOD).unwrap();
        world.recorder.clear();
        world.faults.fail(nth);
        let failed = block_on(verified.complete(password)).unwrap_err();
        assert!(
            matches!(failed, CompleteError::Unavailable(_)),
            "{failed:?}"
        );
        assert_eq!(backend_failures(&world), [backend]);
        assert_eq!(world.recorder.kinds().len(), 1);
        assert_eq!(world.hash("1"), common::OLD_HASH);
        assert_eq!(block_on(world.reset(&token, GOOD)), Ok(true));
    }
}

/// An error of the swap itself is an unknown outcome, and says so.
#[test]
fn a_failing_swap_is_uncertain() {
    let world = World::new();
    let token = block_on(world.mailed("ada@example.com")).unwrap();
    let verified = block_on(world.flow.verify(&token, &client())).unwrap();
    let password = verified.parse_password(GOOD).unwrap();
    world.faults.fail_after(4);
    let failed = block_on(verified.complete(password)).unwrap_err();
    assert!(matches!(failed, CompleteError::Uncertain(_)));
    assert_eq!(world.saw(|kind| kind == EventKind::ChangeUncertain), 1);
    // It had happened; the sweep settles it.
    assert!(world.logs_in("1", GOOD));
    world.clock.advance(Duration::from_secs(121));
    block_on(world.work());
    assert_eq!(
        world.saw(|kind| kind == EventKind::Settled { by_sweep: true }),
        1
    );
}

/// R62: what fails after the change does not turn it into "reset failed".
#[test]
fn a_failure_after_the_change_is_not_a_failed_reset() {
    for nth in 5..=7 {
        let world = World::new();
        let token = block_on(world.mailed("ada@example.com")).unwrap();
        world.faults.fail(nth + 3); // behind the three calls of `verify`
        assert_eq!(block_on(world.reset(&token, GOOD)), Ok(false), "call {nth}");
        assert!(world.logs_in("1", GOOD));
        assert_eq!(world.saw(|kind| kind == EventKind::SettlePending), 1);
    }
}

/// A backend that panics in the worker does not end the worker (W47).
#[test]
fn a_panic_anywhere_does_not_end_the_worker() {
    for nth in 1..=7 {
        let world = World::new();
        block_on(async {
            world
                .flow
                .request(&typed("ada@example.com"), &client())
                .await
                .unwrap();
            world.clock.advance(common::SPREAD);
            world.faults.panic(nth);
            world.flow.worker().run_due().await;
            world.clock.advance(Duration::from_secs(130));
            world.work().await;
        });
        assert!(!world.outbox.messages().is_empty(), "call {nth}");
        let loud = |kind| {
            matches!(
                kind,
                EventKind::WorkerPanicked | EventKind::BackendFailed { .. }
            )
        };
        assert!(world.saw(loud) >= 1, "call {nth}");
    }
}

/// R1: without randomness nothing is stored and nothing is sent.
#[test]
fn no_randomness_no_token() {
    for nth in 2..=8 {
        let world = World::with(Backends::default(), |builder| {
            builder.random(FailingRandom::new(nth))
        });
        let calls = block_on(async {
            assert!(
                world
                    .flow
                    .request(&typed("ada@example.com"), &client())
                    .await
                    .is_ok()
            );
            world.clock.advance(common::SPREAD);
            world.flow.worker().run_due().await;
            world.faults.log()
        });
        if world.saw(|kind| kind == EventKind::LinkSent) == 0 {
            assert!(!calls.contains(&"tokens.insert"), "draw {nth}");
            assert!(
                backend_failures(&world).contains(&Backend::Random),
                "draw {nth}"
            );
        }
    }
}

/// A hasher that fails or panics changes nothing, says so once, and leaves the token good.
#[test]
fn a_broken_hasher_changes_nothing() {
    for panics in [false, true] {
        let faults = Faults::default();
        let pool = HashPool::new(Faulty::sharing(InsecureHasher, &faults)).unwrap();
        let world = World::with(Backends::default(), |builder| builder.hashing(pool));
        block_on(async {
            let token = world.mailed("ada@example.com").await.unwrap();
            // The first look is at the present password.
            if panics {
                faults.panic(2);
            } else {
                faults.fail(2);
            }
            let failed = world.reset(&token, GOOD).await.unwrap_err();
            assert!(failed.starts_with("Unavailable"), "{failed}");
            assert_eq!(backend_failures(&world), [Backend::Hasher]);
            assert_eq!(world.hash("1"), common::OLD_HASH);
            assert_eq!(world.reset(&token, GOOD).await, Ok(true));
        });
    }
}

/// Letters that cannot be written: the job is given up with its event, and nothing is left live.
#[test]
fn broken_templates_are_loud_and_leave_nothing_live() {
    let faults = Faults::default();
    let letters = Faulty::sharing(StandardLetters::default(), &faults);
    let world = World::with(Backends::default(), |builder| builder.templates(letters));
    faults.always_fail();
    block_on(async {
        assert!(world.mailed("ada@example.com").await.is_none());
        assert_eq!(backend_failures(&world), [Backend::Templates]);
        assert_eq!(
            world.saw(|kind| matches!(kind, EventKind::DeadLetter { .. })),
            1
        );
        let user = common::user("1");
        assert_eq!(
            world.flow.revoke_all(&user).await.unwrap(),
            0,
            "its token is revoked"
        );
    });
}

/// R77: a sink that fails is counted and stops nothing.
#[test]
fn a_failing_audit_sink_is_counted_and_stops_nothing() {
    let faults = Faults::default();
    faults.always_fail();
    let sink = Faulty::sharing(Recorder::default(), &faults);
    let world = World::with(Backends::default(), |builder| builder.audit(sink));
    block_on(async {
        let token = world.mailed("ada@example.com").await.unwrap();
        assert_eq!(world.reset(&token, GOOD).await, Ok(true));
    });
    assert_eq!(world.flow.audit_failures(), faults.calls());
    assert!(world.flow.audit_failures() >= 5);
}

/// A queue without room loses nothing silently: the event says that the request was lost.
#[test]
fn a_full_queue_is_accepted_in_public_and_loud_in_private() {
    let queue = std::sync::Arc::new(MemoryQueue::with_capacity(1));
    let world = World::with(
        Backends {
            queue,
            ..Backends::unlimited()
        },
        |builder| builder,
    );
    block_on(async {
        for _ in 0..3 {
            assert!(
                world
                    .flow
                    .request(&typed("ada@example.com"), &client())
                    .await
                    .is_ok()
            );
        }
    });
    assert_eq!(backend_failures(&world), [Backend::Queue, Backend::Queue]);
}

struct Broken;

#[password_reset::async_trait]
impl RecoveryPolicy for Broken {
    async fn decide(&self, _: &RecoveryAttempt<'_>) -> Result<Recovery, BoxError> {
        Err("the policy's database is down".into())
    }
}

/// The decision hook fails closed, and its error is not in the public text.
#[test]
fn a_failing_recovery_policy_refuses() {
    let world = World::with(Backends::default(), |builder| builder.recovery(Broken));
    block_on(async {
        let token = world.mailed("ada@example.com").await.unwrap();
        let refused = world.reset(&token, GOOD).await.unwrap_err();
        assert!(refused.starts_with("Unavailable"), "{refused}");
        assert!(!refused.contains("database"), "{refused}");
        assert_eq!(world.users.calls().set_password, 0);
    });
}

/// A hanging backend hangs its own caller only, and a dropped caller leaves nothing behind.
#[test]
fn a_hanging_backend_harms_nobody_else() {
    let world = World::new();
    world.users.add(account("9", "eve@example.com"));
    let (ada, eve) = (typed("ada@example.com"), typed("eve@example.com"));
    world.faults.hang(1);
    let from = client();
    let mut hung = Box::pin(world.flow.request(&ada, &from));
    assert!(poll_once(&mut hung).is_none());
    assert!(block_on(world.flow.request(&eve, &from)).is_ok());
    drop(hung);
    assert_eq!(block_on(world.flow.worker().run_due()).failures, 0);
}

/// R7, section 9: numbers out of their bounds do not build.
#[test]
fn bad_numbers_do_not_build() {
    let minutes = |count: u64| Duration::from_secs(60 * count);
    let build = |change: fn(password_reset::flow::Builder) -> password_reset::flow::Builder| {
        catch_unwind(AssertUnwindSafe(|| {
            World::with(Backends::default(), change)
        }))
        .is_ok()
    };
    assert!(build(
        |builder| builder.link_life(Duration::from_secs(3_600))
    ));
    assert!(!build(
        |builder| builder.link_life(Duration::from_secs(3_601))
    ));
    assert!(build(
        |builder| builder.long_link_life(Duration::from_secs(86_400))
    ));
    assert!(!build(
        |builder| builder.long_link_life(Duration::from_secs(86_401))
    ));
    assert!(!build(|builder| builder.spread(Duration::from_millis(199))));
    assert!(build(|builder| builder.danger().spread(Duration::ZERO)));
    assert!(!build(|builder| builder.claim_lease(Duration::from_secs(1))));
    let _ = (minutes(1), BuildError::LinkLife.to_string());
}
