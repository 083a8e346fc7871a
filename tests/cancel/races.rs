//! What happens at the same time, and what fails.

use std::future::Future;
use std::pin::Pin;

use password_reset::audit::{EventKind, Step, Withheld};
use password_reset::error::Backend;
use password_reset::flow::{CancelError, Cancelable};
use password_reset::testing::{block_on, cut_after, poll_once};

use crate::common::{GOOD, SPREAD, World, client, typed};
use crate::{ADA, letters};

/// A world with one mail out and a second request waiting; the tokens of the mail.
fn waiting() -> (World, String, String) {
    let world = letters::world();
    let (link, not_me) = block_on(async {
        let link = world.mailed(ADA).await.unwrap();
        world.flow.request(&typed(ADA), &client()).await.unwrap();
        (link, world.outbox.last_cancel_token().unwrap())
    });
    world.clock.advance(SPREAD);
    (world, link, not_me)
}

type Running<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

fn canceling<'a>(world: &'a World, not_me: &'a str) -> Running<'a> {
    Box::pin(async {
        let looked = world.flow.look_at_cancel(not_me, &client()).await;
        let done = looked.unwrap().cancel(Cancelable::PAUSE).await;
        done.unwrap();
    })
}

/// So many polls, or until it is over.
fn run(running: &mut Running<'_>, polls: usize) -> bool {
    (0..polls).any(|_| poll_once(running).is_some())
}

/// A mail that is being made while its owner cancels: cut at every await of one, the other goes up
/// to every await of its own, then both to their ends, in both orders. However it falls, no link
/// that anybody holds works afterwards.
#[test]
fn no_link_outlives_a_cancel_that_races_with_its_mail() {
    let (mut withheld, mut mailed, mut stories) = (0, 0, 0);
    for cancel_first in [true, false] {
        for first_polls in 0..60 {
            for second_polls in (0..60).step_by(3) {
                let (world, link, not_me) = waiting();
                world.faults.yield_each_call();
                let worker = world.flow.worker();
                let cancel = canceling(&world, &not_me);
                let deliver: Running<'_> = Box::pin(async {
                    worker.run_due().await;
                });
                let (mut one, mut two) = match cancel_first {
                    true => (cancel, deliver),
                    false => (deliver, cancel),
                };
                let one_over = run(&mut one, first_polls);
                let two_over = run(&mut two, second_polls);
                if !one_over {
                    block_on(one);
                }
                if !two_over {
                    block_on(two);
                }
                let last = world.outbox.last_token().unwrap();
                for token in [&link, &last] {
                    let verified = block_on(world.flow.verify(token, &client()));
                    assert!(verified.is_err(), "{first_polls} {second_polls}");
                }
                stories += 1;
                mailed += usize::from(last != link);
                withheld += world.saw(|kind| kind == EventKind::Withheld(Withheld::Paused));
                assert_eq!(world.saw(|k| matches!(k, EventKind::Disowned { .. })), 1);
            }
        }
    }
    // Both ends of the race were seen.
    assert!(withheld > 100 && mailed > 100 && withheld + mailed == stories);
}

/// W27: a cancel between the look at a link and its use stops the use.
#[test]
fn a_cancel_between_verification_and_claim_stops_the_change() {
    let (world, link, not_me) = waiting();
    block_on(async {
        let verified = world.flow.verify(&link, &client()).await.unwrap();
        let password = verified.parse_password(GOOD).unwrap();
        canceling(&world, &not_me).await;
        assert!(verified.complete(password).await.is_err());
        assert!(!world.logs_in("1", GOOD));
        // Nothing is left for the sweep, either.
        world.clock.advance(SPREAD * 600);
        world.flow.worker().run_due().await;
        assert_eq!(world.saw(|kind| kind == EventKind::Completed), 0);
    });
}

/// Each call of cancelling fails once, before its effect or after it. The others are made all the
/// same, the alarm is raised, and asking again brings the rest.
#[test]
fn a_store_that_fails_stops_neither_the_rest_nor_the_alarm() {
    for after in [false, true] {
        for call in 1_u64.. {
            let (world, link, not_me) = waiting();
            let hit = block_on(async {
                let looked = world.flow.look_at_cancel(&not_me, &client()).await.unwrap();
                let start = world.faults.log().len();
                match after {
                    true => world.faults.fail_after(call),
                    false => world.faults.fail(call),
                }
                let done = looked.cancel(Cancelable::PAUSE).await;
                world.faults.heal();
                let log = world.faults.log();
                let last = log.last().unwrap();
                assert_eq!(*last, "tokens.revoke_all");
                let hit = log.len() - start >= usize::try_from(call).unwrap();
                // An insert whose answer is lost has happened, and is found again.
                assert!(done.is_err() == hit || (after && done.is_ok()));
                if let Err(error) = done {
                    assert!(matches!(&error, CancelError::Unavailable(_)));
                    assert!(error.is_transient());
                    let failed = EventKind::BackendFailed {
                        backend: Backend::Tokens,
                        step: Step::Cancel,
                    };
                    assert!(world.saw(|kind| kind == failed) >= 1);
                }
                assert_eq!(world.saw(|k| matches!(k, EventKind::Disowned { .. })), 1);
                canceling(&world, &not_me).await;
                assert!(world.flow.verify(&link, &client()).await.is_err());
                assert_eq!(world.mailed(ADA).await, None);
                assert_eq!(world.outbox.links().len(), 1);
                hit
            });
            if !hit {
                assert!(call > 6);
                break;
            }
        }
    }
}

/// With a dead store every step is tried, and the alarm says so.
#[test]
fn the_alarm_is_raised_with_a_dead_store() {
    let (world, _, not_me) = waiting();
    block_on(async {
        let looked = world.flow.look_at_cancel(&not_me, &client()).await.unwrap();
        world.faults.always_fail();
        assert!(looked.cancel(Cancelable::PAUSE).await.is_err());
    });
    let alarm = EventKind::Disowned { revoked: 0 };
    assert_eq!(world.saw(|kind| kind == alarm), 1);
}

/// A client that hangs up at any moment has raised the alarm, and can come back.
#[test]
fn the_alarm_is_raised_when_the_client_hangs_up() {
    let mut polls = 0;
    loop {
        let (world, _, not_me) = waiting();
        let looked = block_on(world.flow.look_at_cancel(&not_me, &client())).unwrap();
        world.faults.yield_each_call();
        let done = cut_after(looked.cancel(Cancelable::PAUSE), polls);
        let alarms = world.saw(|kind| matches!(kind, EventKind::Disowned { .. }));
        assert_eq!(alarms, usize::from(polls > 0));
        block_on(canceling(&world, &not_me));
        assert_eq!(block_on(world.mailed(ADA)), None);
        polls += 1;
        if done.is_some() {
            break;
        }
    }
    assert!(polls > 8);
}

/// Looking fails closed, whatever fails.
#[test]
fn looking_fails_closed() {
    for call in 1..=3 {
        let (world, _, not_me) = waiting();
        world.faults.fail(call);
        let looked = block_on(world.flow.look_at_cancel(&not_me, &client()));
        assert!(matches!(looked, Err(CancelError::Unavailable(_))));
    }
}

/// R38: a store that cannot say whether an account is paused: nothing is mailed, and the job comes
/// again.
#[test]
fn who_cannot_tell_mails_nothing_and_tries_again() {
    let (world, _, _) = waiting();
    // abandoned, lease, find, check, insert, and then the look for a pause.
    world.faults.fail(6);
    block_on(async {
        world.flow.worker().run_due().await;
        assert_eq!(world.outbox.messages().len(), 1);
        let failed = EventKind::BackendFailed {
            backend: Backend::Tokens,
            step: Step::Deliver,
        };
        assert_eq!(world.saw(|kind| kind == failed), 1);
        world.clock.advance(SPREAD * 10);
        world.flow.worker().run_due().await;
        assert_eq!(world.outbox.messages().len(), 2);
    });
}
