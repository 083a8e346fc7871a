//! Every hot statement finds its rows by an index, among a million.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use password_reset::Timestamp;
use password_reset::account::UserId;
use password_reset::audit::log::{Query, Spans};
use password_reset::audit::{Pseudonym, Severity};
use password_reset::limit::{LimitKey, MAX_RATES};
use password_reset::queue::JobId;
use password_reset::token::Selector;
use password_reset::token::state::{ClaimId, Revocation};

use crate::audit::log::{counting, following, select};
use crate::backend::SqlBackend;
use crate::driver::Driver;
use crate::statement::{Statement, Value, values};

#[path = "../tests/common/servers.rs"]
#[allow(dead_code, reason = "each test uses a part")]
mod servers;

const MILLION: i64 = 1_000_000;

/// A statement, what it may be given, and the index that finds its rows.
struct Hot<'s> {
    statement: &'s Statement,
    values: Vec<Value>,
    index: &'static str,
}

/// A statement about the audit trail, which is written for each query.
type OfTrail = (Statement, Vec<Value>, &'static str);

/// What operators' pages and alarms read again and again.
fn trail<D: Driver>(backend: &SqlBackend<D>) -> Vec<OfTrail> {
    let at = |micros| Timestamp::from_unix_micros(micros);
    let day = || {
        Query::newest(100)
            .from(at(MILLION - 1_000))
            .until(at(MILLION))
    };
    let spans = Spans::new(at(MILLION / 2), Duration::from_secs(1), 1);
    let with = |set: &dyn Fn(&mut Query)| {
        let mut query = Query::oldest(100);
        set(&mut query);
        query
    };
    let who = Pseudonym::from_bytes([1; 16]);
    let read = |query: Query, index| {
        let (statement, values) = select(backend, &query);
        (statement, values, index)
    };
    let (count, counted) = counting(backend, &day(), &spans);
    let purge = D::SYNTAX.delete_first("{audit}", "id", "at < ?1", "at");
    vec![
        read(day(), "audit_at"),
        read(day().severity(Severity::Critical), "audit_at"),
        read(
            with(&|it| it.user = UserId::parse("user-77").ok()),
            "audit_user",
        ),
        read(with(&|it| it.identifiers = vec![who]), "audit_identifier"),
        read(
            with(&|it| it.job = Some(JobId::from_bytes([9; 16]))),
            "audit_job",
        ),
        read(
            with(&|it| it.token = Some(Selector::from_bytes([7; 16]))),
            "audit_token",
        ),
        (count, counted, "audit_at"),
        (following(backend), values![MILLION - 10, 100_u32], "KEY"),
        (
            backend.statement(&purge),
            values![at(MILLION / 2), 1_000_u32],
            "audit_at",
        ),
        (
            backend.statement("DELETE FROM {audit} WHERE user_id IS NULL AND job IN (?1, ?2)"),
            values!["1", "2"],
            "audit_job",
        ),
        // Whether somebody else has had a name.
        (
            backend.statement(
                "SELECT 1 FROM {audit} AS others
                WHERE others.identifier = ?1 AND others.user_id <> ?2",
            ),
            values!["1", "user-77"],
            "audit_identifier",
        ),
        (
            backend
                .statement("DELETE FROM {audit} WHERE user_id IS NULL AND identifier IN (?1, ?2)"),
            values!["1", "2"],
            "audit_identifier",
        ),
        (
            backend.statement("DELETE FROM {audit} WHERE user_id = ?1"),
            values!["user-77"],
            "audit_user",
        ),
    ]
}

/// Those that run for every request, every job and every round of a worker.
fn hot<'s, D: Driver>(backend: &'s SqlBackend<D>, trail: &'s [OfTrail]) -> Vec<Hot<'s>> {
    let hot = |statement, values, index| Hot {
        statement,
        values,
        index,
    };
    let (tokens, jobs, limits) = (&backend.sql.tokens, &backend.sql.jobs, &backend.sql.limits);
    let selector = &Selector::from_bytes([7; 16]);
    let claim = ClaimId::from_bytes([8; 16]);
    let user = &UserId::parse("user-77").unwrap();
    let id = &JobId::from_bytes([9; 16]);
    let now = Timestamp::from_unix_micros(MILLION / 2);
    let why = Revocation::Superseded;
    let none = None::<i64>;
    let mut record = values![
        selector,
        "reset",
        None::<String>,
        user,
        vec![1_u8; 32],
        1_i64,
        vec![2_u8; 32],
        now,
        now,
        0_i64,
        None::<Vec<u8>>,
        none,
        none,
        none,
        None::<String>,
    ];
    record.push(3_u32.into());
    let key = &LimitKey::from_bytes([3; 32]);
    let mut charge = values![key, 1_i64, 1_i64, 1_i64, 1_i64, now];
    charge.extend((0..3 * MAX_RATES).map(|_| Value::from(1_i64)));
    let mut all = vec![
        hot(&tokens.find, values![selector], "KEY"),
        hot(&tokens.insert_at_most, record, "tokens_open"),
        hot(
            &tokens.superseded,
            values![user, selector, now, 1_u32],
            "tokens_open",
        ),
        hot(&tokens.claim, values![selector, claim, now, now], "KEY"),
        hot(&tokens.spend, values![selector, claim, now], "KEY"),
        hot(&tokens.release, values![selector, claim, now], "KEY"),
        hot(&tokens.overdue, values![now, 10_u32], "tokens_held"),
        hot(&tokens.take_over, values![selector, claim, now], "KEY"),
        hot(&tokens.count_attempt, values![selector], "KEY"),
        hot(&tokens.revoke, values![selector, now, why], "KEY"),
        hot(
            &tokens.revoke_all,
            values![user, now, why, None::<Vec<u8>>],
            "tokens_open",
        ),
        hot(&tokens.purge, values![now, 1_000_u32], "tokens_expiry"),
        hot(&jobs.lease, values![now, now, 8_u32], "jobs_due"),
        hot(&jobs.ack, values![id, 1_u32], "KEY"),
        hot(&jobs.retry, values![id, 1_u32, now], "KEY"),
        hot(&jobs.bury, values![id, 1_u32, now], "KEY"),
        hot(&jobs.dead, values![10_u32], "jobs_dead"),
        hot(&jobs.revive, values![id, id, now], "KEY"),
        hot(&jobs.purge_dead, values![now, 1_000_u32], "jobs_dead"),
        hot(&limits.charge, charge, "KEY"),
        hot(&limits.clear, values![key], "KEY"),
        hot(&limits.sweep, values![now, 64_u32], "limits_forget"),
    ];
    let trail = trail.iter();
    all.extend(trail.map(|(statement, values, index)| hot(statement, values.clone(), *index)));
    all
}

/// A million tokens of every state, jobs, limits and events. `{n}` is the row's number, `{key}` 16
/// bytes made of it.
fn rows(numbers: &str, key: &str, text: &str) -> [String; 4] {
    let digest = format!("{key} || {key}");
    [
        // One in a hundred is claimed, one in ten open, the others are spent.
        format!(
            "INSERT INTO {{tokens}} (selector, purpose, tenant, user_id, epoch, key_id, digest,
                issued_at, expires_at, attempts, claim, hold_until, spent_at, revoked_at,
                revoked_why)
            SELECT {key}, 'reset', NULL, 'user-' || {text}, {digest}, 1, {digest}, n, n + 1000, 0,
                CASE WHEN n % 100 = 0 THEN {key} END, CASE WHEN n % 100 = 0 THEN n END,
                CASE WHEN n % 10 > 0 THEN n END, NULL, NULL
            FROM {numbers}"
        ),
        // One in a thousand is a dead letter.
        format!(
            "INSERT INTO {{jobs}} (id, due, leased_until, attempt, task, dead_at)
            SELECT {key}, CASE WHEN n % 1000 = 0 THEN 9223372036854775807 ELSE n END,
                CASE WHEN n % 500 = 1 THEN n END, 1, {key}, CASE WHEN n % 1000 = 0 THEN n END
            FROM {numbers}"
        ),
        format!(
            "INSERT INTO {{limits}} (limit_key, tat0, tat1, tat2, forget_at, denied_for)
            SELECT {digest}, n, n, n, n, 0 FROM {numbers}"
        ),
        format!(
            "INSERT INTO {{audit}} (entry, at, name, severity, kind, user_id, identifier, job, token)
            SELECT {key}, n, 'name', 'info', 'kind',
                CASE WHEN n % 3 > 0 THEN 'user-' || {text} END, {text}, {text}, {text}
            FROM {numbers}"
        ),
    ]
}

async fn run<D: Driver>(backend: &SqlBackend<D>, template: &str) {
    let mut session = backend.writer().await.unwrap();
    session.take_your_time();
    let statement = backend.statement(template);
    session.execute(&statement, values![]).await.unwrap();
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use super::*;
    use crate::SqliteBackend;

    async fn plan(backend: &SqliteBackend, statement: &Statement) -> Vec<String> {
        let syntax = &<sqlx::Sqlite as Driver>::SYNTAX;
        let sql = |_: &str| statement.sql().as_str().to_owned();
        let explain = Statement::new("EXPLAIN QUERY PLAN {it}", syntax, sql);
        let mut session = backend.writer().await.unwrap();
        let rows = session.rows(&explain, values![]).await.unwrap();
        let detail = |row| {
            <sqlx::Sqlite as Driver>::text(row, "detail")
                .unwrap()
                .unwrap()
        };
        rows.iter().map(detail).collect()
    }

    #[tokio::test]
    async fn no_statement_scans_a_table() {
        let backend = SqliteBackend::in_memory().await.unwrap();
        let numbers = format!(
            "(WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers
                WHERE n < {MILLION}) SELECT n FROM numbers)"
        );
        let key = "CAST(printf('%016d', n) AS BLOB)";
        let key = format!("CAST({key} AS BLOB)");
        for insert in rows(&numbers, &key, "(n % 300000)") {
            // A concatenation is a text here.
            let insert = insert.replace(
                &format!("{key} || {key}"),
                &format!("CAST({key} || {key} AS BLOB)"),
            );
            run(&backend, &insert).await;
        }
        run(&backend, "ANALYZE").await;
        let trail = trail(&backend);
        for Hot {
            statement, index, ..
        } in hot(&backend, &trail)
        {
            let sql = statement.sql();
            let steps = plan(&backend, statement).await;
            // What meets its row by a unique index, without looking for it, has no step.
            let by_conflict = sql.as_str().contains("ON CONFLICT");
            assert!(
                by_conflict || steps.iter().any(|step| step.contains(index)),
                "{index} is not used by {}: {steps:?}",
                sql.as_str()
            );
            // INSERT .. SELECT without a table shows as a scan of a constant row.
            let scans = |step: &&String| {
                step.contains("SCAN") && !step.contains("CONSTANT ROW")
                // The first of an index, in its own order.
                && !step.contains("USING INDEX") && !step.contains("USING COVERING INDEX")
            };
            assert_eq!(steps.iter().find(scans), None, "{}", sql.as_str());
            // A user has a handful of live tokens; everything else is read in the index's order.
            // Of one job or token there are a few events, and counts are grouped.
            let few = ["audit_job", "audit_token"].contains(&index);
            if !few && !sql.as_str().contains("OFFSET") && !sql.as_str().contains("GROUP BY") {
                let sorts = steps.iter().any(|step| step.contains("TEMP B-TREE"));
                assert!(!sorts, "{}: {steps:?}", sql.as_str());
            }
        }
    }

    #[tokio::test]
    async fn statements_are_prepared_once() {
        let backend = SqliteBackend::in_memory().await.unwrap();
        let lease = || async {
            let now = Timestamp::from_unix_micros(0);
            password_reset::queue::JobQueue::lease(&backend, now, now, 1)
                .await
                .unwrap()
        };
        lease().await;
        let cached = || async {
            let connection = backend.writer.acquire().await.unwrap();
            sqlx::Connection::cached_statements_size(&*connection)
        };
        let before = cached().await;
        assert!(lease().await.is_empty());
        assert_eq!(cached().await, before);
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use super::*;
    use crate::PostgresBackend;

    /// The plan for these values, and the one that is made once for all values.
    async fn plans(backend: &PostgresBackend, hot: &Hot<'_>) -> [String; 2] {
        let sql = hot.statement.sql();
        let with = |head: &str| {
            let template = format!("{head} {{it}}");
            let syntax = &<sqlx::Postgres as Driver>::SYNTAX;
            let mut statement = Statement::new(&template, syntax, |_| sql.as_str().to_owned());
            statement.persistent = false;
            statement
        };
        let types: Vec<_> = hot
            .values
            .iter()
            .map(|value| match value {
                Value::Int(_) => "bigint",
                Value::Bytes(_) => "bytea",
                Value::Text(_) => "text",
            })
            .collect();
        let nulls = vec!["NULL"; types.len()].join(", ");
        let mut session = backend.writer().await.unwrap();
        let own = with("EXPLAIN (COSTS OFF)");
        let own = session.rows(&own, hot.values.clone()).await.unwrap();
        let always = backend.statement("SET plan_cache_mode = force_generic_plan");
        session.execute(&always, values![]).await.unwrap();
        let prepare = with(&format!("PREPARE hot ({}) AS", types.join(", ")));
        session.execute(&prepare, values![]).await.unwrap();
        let execute = backend.statement(&format!("EXPLAIN (COSTS OFF) EXECUTE hot ({nulls})"));
        let generic = session.rows(&execute, values![]).await.unwrap();
        let done = backend.statement("DEALLOCATE hot");
        session.execute(&done, values![]).await.unwrap();
        let text = |rows: Vec<sqlx::postgres::PgRow>| {
            let line = |row: &_| <sqlx::Postgres as Driver>::text(row, "QUERY PLAN").unwrap();
            rows.iter().filter_map(line).collect::<Vec<_>>().join("\n")
        };
        [text(own), text(generic)]
    }

    #[tokio::test]
    async fn no_statement_scans_a_table() {
        let Some(backend) = servers::postgres(servers::Isolation::ReadCommitted).await else {
            return;
        };
        // What is only looked at needs no log.
        for table in ["tokens", "jobs", "limits", "audit"] {
            run(&backend, &format!("ALTER TABLE {{{table}}} SET UNLOGGED")).await;
        }
        let numbers = format!("generate_series(1, {MILLION}) AS n");
        let key = "decode(md5(n::text), 'hex')";
        for insert in rows(&numbers, key, "(n % 300000)") {
            run(&backend, &insert).await;
        }
        for table in ["tokens", "jobs", "limits", "audit"] {
            run(&backend, &format!("ANALYZE {{{table}}}")).await;
        }
        let trail = trail(&backend);
        for hot in hot(&backend, &trail) {
            let index = match hot.index {
                "KEY" => "pkey",
                index => index,
            };
            for plan in plans(&backend, &hot).await {
                let sql = hot.statement.sql();
                let sql = sql.as_str();
                assert!(
                    plan.contains(index),
                    "{index} is not used by {sql}:\n{plan}"
                );
                assert!(!plan.contains("Seq Scan"), "{sql}:\n{plan}");
            }
        }
        for table in ["tokens", "jobs", "limits", "audit"] {
            run(&backend, &format!("TRUNCATE {{{table}}}")).await;
        }
    }
}
