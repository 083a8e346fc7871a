//! Promise "once", for mails: a link that was mailed works, and a mail that failed is tried again.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod common;

use std::time::Duration;

use common::{Backends, GOOD, World, client, typed};
use password_reset::audit::EventKind;
use password_reset::testing::{Behaviour, block_on};

/// W40: a mail that fails takes its own token along and leaves older links alone.
#[test]
fn w40_a_failed_mail_kills_no_link_that_was_delivered() {
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
async fn w40_a_cut_off_mail_neither_kills_its_link_nor_locks_the_owner_out() {
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

        // It is kept, and an operator can have it tried again.
        let dead = world.flow.dead_letters(10).await.unwrap();
        assert_eq!(dead.len(), 1);
        let letter = dead.first().unwrap();
        assert_eq!(letter.attempts, 3);
        assert_eq!(world.flow.queue_length().await.unwrap().dead, 1);
        world.outbox.fail_next(0);
        let revived = world.flow.revive(&letter.id).await.unwrap().unwrap();
        assert_ne!(revived, letter.id);
        assert_eq!(world.flow.revive(&letter.id).await.unwrap(), None);
        world.work().await;
        assert_eq!(world.outbox.messages().len(), 2, "it is mailed after all");
        assert_eq!(world.saw(|kind| kind == EventKind::Revived), 1);
        assert_eq!(world.flow.queue_length().await.unwrap().dead, 0);
    });
}

#[test]
fn dead_letters_do_not_stay_for_ever() {
    let world = World::with(Backends::unlimited(), |builder| builder);
    block_on(async {
        world.outbox.fail_next(1_000);
        assert!(world.mailed("ada@example.com").await.is_none());
        for _ in 0..20 {
            world.clock.advance(Duration::from_secs(1_200));
            world.work().await;
        }
        assert_eq!(world.flow.queue_length().await.unwrap().dead, 1);
        world.clock.advance(Duration::from_secs(29 * 86_400));
        assert_eq!(world.flow.purge_dead_letters(10).await.unwrap(), 0);
        world.clock.advance(Duration::from_secs(2 * 86_400));
        assert_eq!(world.flow.purge_dead_letters(10).await.unwrap(), 1);
        assert_eq!(world.flow.queue_length().await.unwrap().dead, 0);
    });
}
