//! Every hot statement finds its rows by an index.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use sqlx::{AssertSqlSafe, Row};

use super::{SqliteBackend, audit, jobs, limits, tokens};

async fn plan(backend: &SqliteBackend, sql: &str) -> Vec<String> {
    let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
    let steps = sqlx::query(explain)
        .fetch_all(&backend.writer)
        .await
        .unwrap();
    steps.iter().map(|step| step.get("detail")).collect()
}

#[tokio::test]
async fn no_statement_scans_a_table() {
    let backend = SqliteBackend::in_memory().await.unwrap();
    let statements = [
        (tokens::FIND, "PRIMARY KEY"),
        (tokens::INSERT_AT_MOST, "password_reset_tokens_open"),
        (tokens::SUPERSEDE, "password_reset_tokens_open"),
        (tokens::SWAP, "PRIMARY KEY"),
        (tokens::OVERDUE, "password_reset_tokens_held"),
        (tokens::TAKE_OVER, "PRIMARY KEY"),
        (tokens::COUNT_ATTEMPT, "PRIMARY KEY"),
        (tokens::REVOKE_ALL, "password_reset_tokens_open"),
        (tokens::PURGE, "password_reset_tokens_expiry"),
        (jobs::LEASE, "password_reset_jobs_due"),
        (jobs::ACK, "PRIMARY KEY"),
        (jobs::RETRY, "PRIMARY KEY"),
        (limits::FIND, "PRIMARY KEY"),
        (limits::SWAP, "PRIMARY KEY"),
        (limits::CLEAR, "PRIMARY KEY"),
        (limits::SWEEP, "password_reset_limits_forget"),
        (audit::PURGE, "password_reset_audit_at"),
    ];
    for (sql, index) in statements {
        let steps = plan(&backend, sql).await;
        assert!(
            steps.iter().any(|step| step.contains(index)),
            "{index} is not used by {sql}: {steps:?}"
        );
        // INSERT .. SELECT without a table shows as a scan of a constant row.
        let scans = |step: &&String| step.contains("SCAN") && !step.contains("CONSTANT ROW");
        assert_eq!(steps.iter().find(scans), None, "{sql}");
        // A user has a handful of live tokens; everything else is read in the index's own order.
        if sql != tokens::SUPERSEDE {
            let sorts = steps.iter().any(|step| step.contains("TEMP B-TREE"));
            assert!(!sorts, "{sql}: {steps:?}");
        }
    }
}

#[tokio::test]
async fn statements_are_prepared_once() {
    let backend = SqliteBackend::in_memory().await.unwrap();
    let lease = || async {
        let now = password_reset::Timestamp::from_unix_micros(0);
        password_reset::queue::JobQueue::lease(&backend, now, now, 1)
            .await
            .unwrap()
    };
    lease().await;
    let mut connection = backend.writer.acquire().await.unwrap();
    let cached = sqlx::Connection::cached_statements_size(&*connection);
    drop(connection);
    assert!(lease().await.is_empty());
    connection = backend.writer.acquire().await.unwrap();
    assert_eq!(
        sqlx::Connection::cached_statements_size(&*connection),
        cached
    );
}
