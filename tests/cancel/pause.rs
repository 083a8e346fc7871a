//! The pause: who is paused, for how long, and how it ends early.

use std::sync::Arc;
use std::time::Duration;

use password_reset::ResetFlow;
use password_reset::audit::{Actor, EventKind, Withheld};
use password_reset::flow::{CancelError, Cancelable, Cancelled};
use password_reset::memory::MemoryTokens;
use password_reset::store::TokenStore;
use password_reset::testing::{ManualClock, MemoryUsers, Outbox, block_on};
use password_reset::token::{Key, KeyId, Keyring};

use crate::common::{KINDS, SPREAD, World, client, typed, user};
use crate::{ADA, letters};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// A world, and a token that cancels its account's resets.
async fn world() -> (World, String) {
    let world = letters::world();
    world.mailed(ADA).await.unwrap();
    let token = world.outbox.last_cancel_token().unwrap();
    (world, token)
}

fn actor() -> Actor {
    Actor::parse("grace, ticket 7").unwrap()
}

async fn pause(world: &World, token: &str, span: Duration) -> Result<Cancelled, CancelError> {
    let looked = world.flow.look_at_cancel(token, &client()).await;
    looked.unwrap().cancel(span).await
}

fn withheld(world: &World) -> usize {
    world.saw(|kind| kind == EventKind::Withheld(Withheld::Paused))
}

#[test]
fn nothing_is_mailed_until_the_pause_ends() {
    block_on(async {
        let (world, token) = world().await;
        let done = pause(&world, &token, Cancelable::PAUSE).await.unwrap();
        // Three seconds past midnight, rounded up to the hour.
        let ends = done.paused_until.unwrap();
        assert_eq!(ends.to_string(), "2026-01-02T01:00:00Z");
        assert_eq!(world.mailed(ADA).await, None);
        world.clock.set(ends - SPREAD - Duration::from_micros(1));
        assert_eq!(world.mailed(ADA).await, None);
        assert_eq!(withheld(&world), 2);
        world.clock.set(ends - SPREAD);
        assert!(world.mailed(ADA).await.is_some());
        assert_eq!(withheld(&world), 2);
    });
}

#[test]
fn a_pause_covers_every_day_up_to_its_bound() {
    for started in ["2026-01-01T00:00:00Z", "2026-01-01T23:59:59Z"] {
        block_on(async {
            let (world, token) = world().await;
            if started.contains("23:59") {
                world.clock.advance(DAY - SPREAD - Duration::from_secs(1));
            }
            let week = Cancelable::LONGEST_PAUSE;
            let ends = pause(&world, &token, week).await.unwrap().paused_until;
            let ends = ends.unwrap();
            let mut asked = 0;
            let mut now = ends - week;
            while now < ends - 4 * HOUR {
                world.clock.set(now);
                assert_eq!(world.mailed(ADA).await, None, "{now}");
                asked += 1;
                now = now + 3 * HOUR;
            }
            assert!(asked > 50 && withheld(&world) == asked);
            world.clock.set(ends);
            assert!(world.mailed(ADA).await.is_some());
        });
    }
}

/// R44: bounds.
#[test]
fn a_pause_is_bounded_and_may_be_none() {
    block_on(async {
        let (world, token) = world().await;
        let long = Cancelable::LONGEST_PAUSE + Duration::from_micros(1);
        let error = pause(&world, &token, long).await.unwrap_err();
        assert!(matches!(error, CancelError::PauseTooLong) && !error.is_transient());
        assert_eq!(
            world.saw(|kind| matches!(kind, EventKind::Disowned { .. })),
            0
        );
        let done = pause(&world, &token, Duration::ZERO).await.unwrap();
        assert_eq!((done.revoked, done.paused_until), (1, None));
        assert!(world.mailed(ADA).await.is_some());
    });
}

#[test]
fn the_longest_pause_counts_and_a_short_one_can_be_made_longer() {
    block_on(async {
        let (world, token) = world().await;
        let short = pause(&world, &token, HOUR).await.unwrap();
        let long = pause(&world, &token, 3 * DAY).await.unwrap();
        let again = pause(&world, &token, HOUR).await.unwrap();
        assert!(short.paused_until < long.paused_until);
        assert_eq!(again.paused_until, long.paused_until);
        world.clock.advance(2 * DAY);
        assert_eq!(world.mailed(ADA).await, None);
    });
}

#[test]
fn an_account_is_resumed_and_paused_again_on_the_same_day() {
    block_on(async {
        let (world, token) = world().await;
        for _ in 0..10 {
            pause(&world, &token, 2 * DAY).await.unwrap();
            assert_eq!(world.mailed(ADA).await, None);
            world
                .flow
                .operator(actor())
                .resume(&user("1"))
                .await
                .unwrap();
            assert!(world.mailed(ADA).await.is_some());
        }
        // The day after is resumed too, and paused again by the last one.
        pause(&world, &token, DAY).await.unwrap();
        world
            .flow
            .operator(actor())
            .resume(&user("1"))
            .await
            .unwrap();
        world.clock.advance(DAY - HOUR);
        assert!(world.mailed(ADA).await.is_some());
        let resumed = |kind| kind == EventKind::Resumed;
        assert_eq!(world.saw(resumed), 11);
    });
}

/// Too many rounds for one day is an error that is heard, and the rest is done all the same.
#[test]
fn a_day_has_an_end_to_its_rounds() {
    block_on(async {
        let (world, token) = world().await;
        for _ in 0..64 {
            pause(&world, &token, HOUR).await.unwrap();
            world
                .flow
                .operator(actor())
                .resume(&user("1"))
                .await
                .unwrap();
            world.clock.advance(Duration::from_secs(2));
        }
        let link = world.mailed(ADA).await.unwrap();
        let error = pause(&world, &token, HOUR).await.unwrap_err();
        assert!(matches!(error, CancelError::Unavailable(_)));
        assert!(world.flow.verify(&link, &client()).await.is_err());
        // Asking for the same pause over and over uses up nothing.
        world.clock.advance(DAY);
        for _ in 0..100 {
            world.clock.advance(Duration::from_secs(1));
            pause(&world, &token, DAY).await.unwrap();
        }
        assert_eq!(world.mailed(ADA).await, None);
    });
}

/// Pausing one account is nothing to another, nor to the same id in another tenant.
#[test]
fn a_pause_is_of_one_account() {
    block_on(async {
        let (world, token) = world().await;
        let other = crate::common::account("6", "eve@example.com");
        world.users.add(other);
        pause(&world, &token, DAY).await.unwrap();
        assert!(world.mailed("eve@example.com").await.is_some());
        // Revoking an account's tokens, as an operator may, does not end it; resuming another
        // account neither.
        world.flow.revoke_all(&user("1")).await.unwrap();
        world
            .flow
            .operator(actor())
            .resume(&user("6"))
            .await
            .unwrap();
        assert_eq!(world.mailed(ADA).await, None);
    });
}

/// R27, W48: while one account is paused, a request and its job make the same calls for everyone,
/// but for the freeing of the one record that nobody got.
#[test]
fn r27_a_paused_account_looks_like_every_other() {
    for identifier in KINDS {
        let calls = block_on(async {
            let (world, token) = world().await;
            pause(&world, &token, DAY).await.unwrap();
            let start = world.faults.log().len();
            let asked = world.flow.request(&typed(identifier), &client()).await;
            asked.unwrap();
            world.work().await;
            assert_eq!(world.outbox.messages().len(), 1);
            let log = world.faults.log();
            log.get(start..).unwrap().to_vec()
        });
        let calls: Vec<_> = calls
            .into_iter()
            .filter(|c| *c != "tokens.revoke")
            .collect();
        assert_eq!(
            calls,
            [
                "limiter.check",
                "limiter.check",
                "limiter.check",
                "limiter.check",
                "queue.push",
                "tokens.abandoned",
                "queue.lease",
                "users.find",
                "limiter.check",
                "tokens.insert",
                "tokens.find",
                "queue.ack",
                "queue.lease",
            ],
            "{identifier}"
        );
    }
}

/// A pause takes none of the account's places: three links at once, before and after.
#[test]
fn a_pause_takes_no_place() {
    block_on(async {
        let (world, token) = world().await;
        pause(&world, &token, 7 * DAY).await.unwrap();
        for _ in 0..10 {
            assert_eq!(world.mailed(ADA).await, None);
        }
        assert_eq!(withheld(&world), 10);
        world
            .flow
            .operator(actor())
            .resume(&user("1"))
            .await
            .unwrap();
        for _ in 0..3 {
            assert!(world.mailed(ADA).await.is_some());
        }
        assert_eq!(world.mailed(ADA).await, None);
    });
}

/// R90: a pause holds while keys are rotated, as long as its key is in the ring.
#[test]
fn r90_a_pause_survives_a_rotation() {
    let tokens = MemoryTokens::default();
    let users = MemoryUsers::default();
    users.add(crate::common::account("1", ADA));
    let key = |id: u32| Key::new(KeyId(id), &[u8::try_from(id).unwrap(); 32]).unwrap();
    let ring = |active: u32, older: u32| Keyring::new(key(active)).with_older(key(older)).unwrap();
    let flow = |ring: Keyring| {
        let tokens: Arc<dyn TokenStore> = Arc::new(tokens.clone());
        letters::build(ring, users.clone(), tokens)
    };
    let mailed = async |flow: &ResetFlow, outbox: &Outbox, clock: &ManualClock| {
        let before = outbox.messages().len();
        flow.request(&typed(ADA), &client()).await.unwrap();
        clock.advance(SPREAD);
        flow.worker().run_due().await;
        outbox.messages().len() > before
    };
    block_on(async {
        let (old, outbox, clock) = flow(ring(1, 2));
        assert!(mailed(&old, &outbox, &clock).await);
        let token = outbox.last_cancel_token().unwrap();
        let looked = old.look_at_cancel(&token, &client()).await.unwrap();
        looked.cancel(2 * DAY).await.unwrap();
        let (new, outbox, clock) = flow(ring(2, 1));
        assert!(!mailed(&new, &outbox, &clock).await);
        // The token of the old key is still good, and resuming reaches the old pause.
        assert!(new.look_at_cancel(&token, &client()).await.is_ok());
        new.operator(actor()).resume(&user("1")).await.unwrap();
        assert!(mailed(&new, &outbox, &clock).await);
    });
}
