//! The file: how it is opened, what it keeps, and what it keeps exactly.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Scratch, at, fresh, job, token, token_between};
use password_reset::account::{Tenant, UserId};
use password_reset::queue::JobQueue;
use password_reset::store::{Live, Reach, TokenStore};
use password_reset::token::state::{Claim, ClaimId, Revocation, Settlement};
use password_reset_sqlx::{ConnectError, MigrateError, SqliteBackend, SqliteOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

async fn peek(scratch: &Scratch) -> SqlitePool {
    let options = SqliteConnectOptions::new().filename(scratch.file());
    SqlitePool::connect_with(options).await.unwrap()
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_restart() {
    let scratch = Scratch::new("restart");
    let (record, job) = (token("ada"), job(5));
    let claim = ClaimId::from_bytes(fresh());
    {
        let backend = scratch.backend().await;
        let _ = backend.insert(&record, Live::default()).await.unwrap();
        let _ = backend
            .claim(&record.selector, claim, at(1), at(2))
            .await
            .unwrap();
        backend.push(&job).await.unwrap();
        backend.close().await;
    }
    let backend = scratch.backend().await;
    let stored = backend.find(&record.selector).await.unwrap().unwrap();
    assert_eq!(stored.state.hold.due(), Some(at(2)));
    let spent = Settlement::Spent { at: at(3) };
    assert!(
        backend
            .settle(&record.selector, claim, spent)
            .await
            .unwrap()
    );
    let leased = backend.lease(at(5), at(6), 9).await.unwrap();
    assert_eq!(leased.first().map(|leased| &leased.job), Some(&job));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_processes_may_create_the_same_file() {
    let scratch = Scratch::new("create");
    let connecting: tokio::task::JoinSet<_> = (0..8)
        .map(|_| {
            let url = scratch.url();
            async move { SqliteBackend::connect(&url).await.map(drop) }
        })
        .collect();
    for connected in connecting.join_all().await {
        connected.unwrap();
    }
    let steps: i64 = sqlx::query_scalar("SELECT count(*) FROM password_reset_schema")
        .fetch_one(&peek(&scratch).await)
        .await
        .unwrap();
    assert_eq!(steps, 1);
}

#[tokio::test]
async fn tables_of_a_newer_version_are_refused() {
    let scratch = Scratch::new("newer");
    scratch.backend().await.close().await;
    sqlx::query("INSERT INTO password_reset_schema VALUES (99)")
        .execute(&peek(&scratch).await)
        .await
        .unwrap();
    let refused = SqliteBackend::connect(&scratch.url()).await.unwrap_err();
    assert!(matches!(
        refused,
        ConnectError::Migrate(MigrateError::Newer {
            found: 99,
            known: 1
        })
    ));
}

#[tokio::test]
async fn what_is_not_a_database_is_refused() {
    let scratch = Scratch::new("refused");
    let other = SqliteBackend::connect("postgres://localhost").await;
    assert!(matches!(
        other,
        Err(ConnectError::Url(_)) | Err(ConnectError::Open(_))
    ));
    std::fs::write(scratch.file(), [7; 8_192]).unwrap();
    let garbage = SqliteBackend::connect(&scratch.url()).await.unwrap_err();
    assert!(matches!(garbage, ConnectError::Open(_)));
    let path = scratch.file().display().to_string();
    assert!(!format!("{garbage} {garbage:?}").contains(&path));
}

#[tokio::test]
async fn debug_does_not_say_where_the_file_is() {
    let scratch = Scratch::new("debug");
    let backend = scratch.backend().await;
    let options = SqliteOptions::new(&scratch.url());
    assert!(!format!("{backend:?} {options:?}").contains("resets.db"));
}

/// W25: nothing in an id means anything to the database.
#[tokio::test]
async fn w25_metacharacters_are_ordinary_characters() {
    let backend = SqliteBackend::in_memory().await.unwrap();
    let ids = [
        "ada",
        "Ada",
        "ADA",
        "%",
        "_",
        "*",
        "a%",
        "a_a",
        "' OR 1=1--",
        "{\"$ne\":null}",
        "ä",
        "a\u{308}",
        "?1",
    ];
    let mut records = Vec::new();
    for id in ids {
        let mut record = token(id);
        record.tenant = Some(Tenant::parse(id).unwrap());
        let _ = backend
            .insert(&record, Live::at_most(1.try_into().unwrap()))
            .await
            .unwrap();
        records.push(record);
    }
    for (revoked, id) in (1_u64..).zip(ids) {
        let user = UserId::parse(id).unwrap();
        let reached = backend
            .revoke_all(&user, Reach::All, at(1_500), Revocation::Requested)
            .await
            .unwrap();
        assert_eq!(reached, 1, "{id}");
        let mut gone = 0;
        for record in &records {
            let stored = backend.find(&record.selector).await.unwrap().unwrap();
            assert_eq!(
                (&stored.user, &stored.tenant),
                (&record.user, &record.tenant)
            );
            gone += u64::from(!stored.state.is_open());
        }
        assert_eq!(gone, revoked, "{id}");
    }
}

#[tokio::test]
async fn the_ends_of_time_are_kept() {
    let backend = SqliteBackend::in_memory().await.unwrap();
    let (first, last) = (at(i64::MIN), at(i64::MAX));
    let record = token_between("ada", first, last);
    let _ = backend.insert(&record, Live::default()).await.unwrap();
    let claim = ClaimId::from_bytes([0xff; 16]);
    let won = backend
        .claim(&record.selector, claim, first, last)
        .await
        .unwrap();
    assert_eq!(won, Claim::Won);
    let stored = backend.find(&record.selector).await.unwrap().unwrap();
    assert_eq!((stored.issued_at, stored.expires_at), (first, last));
    assert_eq!(stored.state.hold.due(), Some(last));
    // Due at the very last moment, and only then.
    let next = ClaimId::from_bytes([0; 16]);
    let early = backend
        .abandoned(next, at(i64::MAX - 1), last, 9)
        .await
        .unwrap();
    assert!(early.is_empty());
    let swept = backend.abandoned(next, last, last, 9).await.unwrap();
    assert_eq!(swept.len(), 1);
    assert!(
        backend
            .settle(
                &record.selector,
                next,
                Settlement::Released { check_at: first }
            )
            .await
            .unwrap()
    );
    assert_eq!(
        backend.purge(last, 9).await.unwrap(),
        0,
        "expires at that moment, not before"
    );
}

/// Rows of a newer version stay as they are; rows that nobody can read do not stand in the way.
#[tokio::test]
async fn the_sweep_passes_over_what_it_cannot_read() {
    let scratch = Scratch::new("unreadable");
    let backend = scratch.backend().await;
    let claim = ClaimId::from_bytes(fresh());
    for (user, until) in [("newer", 1), ("odd", 2), ("ada", 3)] {
        let record = token(user);
        let _ = backend.insert(&record, Live::default()).await.unwrap();
        let won = backend.claim(&record.selector, claim, at(0), at(until));
        assert_eq!(won.await.unwrap(), Claim::Won);
    }
    for edit in [
        "UPDATE password_reset_tokens SET purpose = 'confirm' WHERE user_id = 'newer'",
        "UPDATE password_reset_tokens SET revoked_at = 1, revoked_why = 'no such reason'
            WHERE user_id = 'odd'",
    ] {
        sqlx::query(edit)
            .execute(&peek(&scratch).await)
            .await
            .unwrap();
    }
    let sweep = |now| {
        let backend = backend.clone();
        async move {
            let claim = ClaimId::from_bytes(fresh());
            let swept = backend.abandoned(claim, at(now), at(now + 100), 1).await;
            let swept = swept.unwrap();
            swept
                .iter()
                .map(|r| r.user.as_str().to_owned())
                .collect::<Vec<_>>()
        }
    };
    assert!(sweep(10).await.is_empty(), "the odd one is set aside");
    assert_eq!(sweep(10).await, ["ada"]);
    assert!(sweep(10).await.is_empty());
    let newer: (Vec<u8>, i64) = sqlx::query_as(
        "SELECT claim, hold_until FROM password_reset_tokens WHERE purpose = 'confirm'",
    )
    .fetch_one(&peek(&scratch).await)
    .await
    .unwrap();
    assert_eq!(newer, (claim.as_bytes().to_vec(), 1));
}
