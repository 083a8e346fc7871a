//! What is handled leaves nothing behind in the server's memory.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use common::{Scratch, at, fresh, job, token};
use password_reset::queue::{JobId, JobQueue};
use password_reset::store::{Live, Reach, TokenStore};
use password_reset::token::state::{Claim, ClaimId, Revocation, Settlement};
use password_reset_redis::redis::cmd;

#[tokio::test]
async fn what_is_purged_leaves_nothing() {
    let Some(scratch) = Scratch::new().await else {
        return;
    };
    let backend = scratch.backend().await;
    for number in 0..30 {
        let record = token(["ada", "grace", "edsger"][number % 3]);
        let live = Live::at_most(100.try_into().unwrap());
        let _ = backend.insert(&record, live).await.unwrap();
        let claim = ClaimId::from_bytes(fresh());
        if number % 2 == 0 {
            let won = backend
                .claim(&record.selector, claim, at(1_200), at(1_250))
                .await;
            assert_eq!(won.unwrap(), Claim::Won);
        }
        if number % 4 == 0 {
            let spent = Settlement::Spent { at: at(1_300) };
            assert!(
                backend
                    .settle(&record.selector, claim, spent)
                    .await
                    .unwrap()
            );
        }
        if number % 5 == 0 {
            let why = Revocation::Requested;
            let _ = backend
                .revoke(&record.selector, at(1_350), why)
                .await
                .unwrap();
        }
    }
    let sweep = ClaimId::from_bytes(fresh());
    for record in backend
        .abandoned(sweep, at(1_400), at(1_500), 100)
        .await
        .unwrap()
    {
        let closed = backend.settle(&record.selector, sweep, Settlement::Closed);
        assert!(closed.await.unwrap());
    }
    assert_eq!(backend.purge(at(2_000), 100).await.unwrap(), 0);
    assert_eq!(backend.purge(at(2_001), 100).await.unwrap(), 30);
    assert_eq!(scratch.left().await, []);
}

#[tokio::test]
async fn more_than_one_batch_is_purged_at_once() {
    let Some(scratch) = Scratch::new().await else {
        return;
    };
    let backend = scratch.backend().await;
    for number in 0..2_100 {
        let record = token(&format!("user-{number}"));
        let _ = backend.insert(&record, Live::default()).await.unwrap();
    }
    assert_eq!(backend.purge(at(3_000), 2_050).await.unwrap(), 2_050);
    assert_eq!(backend.purge(at(3_000), 2_050).await.unwrap(), 50);
    assert_eq!(scratch.left().await, []);
}

#[tokio::test]
async fn finished_jobs_and_purged_letters_leave_nothing() {
    let Some(scratch) = Scratch::new().await else {
        return;
    };
    let backend = scratch.backend().await;
    for due in 0..40 {
        backend.push(&job(due)).await.unwrap();
    }
    let leased = backend.lease(at(100), at(200), 100).await.unwrap();
    assert_eq!(leased.len(), 40);
    assert!(
        scratch.left().await.iter().all(|(_, ttl)| *ttl == -1),
        "a job may be forgotten"
    );
    for (number, leased) in leased.iter().enumerate() {
        let done = match number % 2 {
            0 => backend.ack(&leased.lease).await,
            _ => backend.bury(&leased.lease, at(150)).await,
        };
        assert!(done.unwrap());
    }
    let dead = backend.dead_letters(1).await.unwrap();
    let revived = JobId::from_bytes(fresh());
    assert!(
        backend
            .revive(&dead[0].id, &revived, at(300))
            .await
            .unwrap()
    );
    assert_eq!(backend.length(at(300)).await.unwrap().dead, 19);
    let leased = backend.lease(at(300), at(400), 100).await.unwrap();
    assert!(backend.ack(&leased[0].lease).await.unwrap());
    assert_eq!(backend.purge_dead(at(151), 100).await.unwrap(), 19);
    assert_eq!(scratch.left().await, []);
}

/// A record that went without its indexes: by hand, or at the end of its time to live.
#[tokio::test]
async fn a_record_that_vanished_stands_in_nobodys_way() {
    let Some(scratch) = Scratch::new().await else {
        return;
    };
    let backend = scratch.backend().await;
    let mut connection = common::connection().await.unwrap();
    let vanish = async |selector: &[u8], connection: &mut _| {
        let name = [format!("{{{}}}:t:", scratch.prefix()).as_bytes(), selector].concat();
        cmd("DEL").arg(name).exec_async(connection).await.unwrap();
    };
    let [held, free, present] = ["ada", "ada", "ada"].map(token);
    for record in [&held, &free] {
        let _ = backend.insert(record, Live::default()).await.unwrap();
    }
    let claim = ClaimId::from_bytes(fresh());
    let won = backend
        .claim(&held.selector, claim, at(1_000), at(1_100))
        .await;
    assert_eq!(won.unwrap(), Claim::Won);
    vanish(held.selector.as_bytes(), &mut connection).await;
    vanish(free.selector.as_bytes(), &mut connection).await;

    // What comes next clears it away.
    let _ = backend
        .insert(&present, Live::at_most(3.try_into().unwrap()))
        .await
        .unwrap();
    let sweep = backend
        .abandoned(claim, at(1_200), at(1_300), 10)
        .await
        .unwrap();
    assert!(sweep.is_empty());
    let all = backend.revoke_all(&present.user, Reach::All, at(1_200), Revocation::Requested);
    assert_eq!(all.await.unwrap(), 1);
    assert_eq!(backend.purge(at(3_000), 10).await.unwrap(), 1);
    assert_eq!(scratch.left().await, []);
}

#[tokio::test]
async fn entries_without_a_record_do_not_pile_up() {
    let Some(scratch) = Scratch::new().await else {
        return;
    };
    let backend = scratch.backend().await;
    let mut connection = common::connection().await.unwrap();
    let live = Live::at_most(100.try_into().unwrap());
    for _ in 0..10 {
        let record = token("ada");
        let _ = backend.insert(&record, live).await.unwrap();
        let name = format!("{{{}}}:t:", scratch.prefix());
        let name = [name.as_bytes(), record.selector.as_bytes()].concat();
        cmd("DEL")
            .arg(name)
            .exec_async(&mut connection)
            .await
            .unwrap();
    }
    for index in ["u:ada", "purge"] {
        let name = format!("{{{}}}:{index}", scratch.prefix());
        let left: u32 = cmd("ZCARD")
            .arg(name)
            .query_async(&mut connection)
            .await
            .unwrap();
        assert_eq!(left, 1, "{index}");
    }
}
