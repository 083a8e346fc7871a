//! Codes on two backends that share their tables, and what they leave in them.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "../../../tests/support/codes.rs"]
mod codes;
mod common;
#[path = "common/pairs.rs"]
mod pairs;
#[path = "common/servers.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod servers;

use codes::processes::{ADA, Shared};
use codes::{codes, tried_in_vain};
use servers::{Isolation, Server};
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

codes! { sqlite, crate::pairs::sqlite().await }
codes! { postgres, crate::pairs::postgres(crate::servers::Isolation::ReadCommitted).await }
codes! { postgres_repeatable_read, crate::pairs::postgres(crate::servers::Isolation::RepeatableRead).await }
codes! { postgres_serializable, crate::pairs::postgres(crate::servers::Isolation::Serializable).await }
codes! { mysql, crate::pairs::mysql().await }

/// R27, W48: who reads the tables finds as many rows for a stranger, and the same in them. Of what
/// is random, or names the account, the length and whether two of them are equal.
mod rows {
    use super::*;

    const KNOWN: &str = "known_";
    const UNKNOWN: &str = "unknown_";
    const NOBODY: &str = "nobody@example.com";

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn sqlite() {
        let mut rows = Vec::new();
        for identifier in [ADA, NOBODY] {
            let (scratch, backends) = pairs::sqlite().await.unwrap();
            tried_in_vain(backends, identifier).await;
            let mut connection = SqliteConnection::connect(&scratch.url()).await.unwrap();
            let query = AssertSqlSafe(query("password_reset_tokens"));
            let read = sqlx::query_scalar(query).fetch_all(&mut connection).await;
            rows.push(read.unwrap());
        }
        check(&rows);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn postgres() {
        let mut rows = Vec::new();
        for (prefix, identifier) in [(KNOWN, ADA), (UNKNOWN, NOBODY)] {
            let Some((_, backends)) = pairs::postgres(Isolation::ReadCommitted).await else {
                return;
            };
            let backends = backends.map(|backend| backend.prefix(prefix).unwrap());
            backends[0].migrate().await.unwrap();
            rows.push(left(backends, identifier, Server::Postgres, prefix).await);
        }
        check(&rows);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn mysql() {
        let mut rows = Vec::new();
        for (prefix, identifier) in [(KNOWN, ADA), (UNKNOWN, NOBODY)] {
            let Some(backends) = servers::mysql_processes().await else {
                return;
            };
            let backends = backends.map(|backend| backend.prefix(prefix).unwrap());
            backends[0].migrate().await.unwrap();
            rows.push(left(backends, identifier, Server::MySql, prefix).await);
        }
        check(&rows);
    }

    async fn left<B: Shared>(
        backends: [B; 2],
        identifier: &str,
        server: Server,
        prefix: &str,
    ) -> Vec<String> {
        tried_in_vain(backends, identifier).await;
        servers::texts(&server.url(), &query(&format!("{prefix}tokens"))).await
    }

    fn query(table: &str) -> String {
        let columns = [
            "purpose",
            "attempts",
            "issued_at",
            "expires_at",
            "key_id",
            "length(selector)",
            "length(epoch)",
            "length(digest)",
            "CASE WHEN epoch = digest THEN 'equal' ELSE 'distinct' END",
            "CASE WHEN length(user_id) > 0 THEN 'user' END",
            "coalesce(tenant, '-')",
            "CASE WHEN claim IS NULL THEN '-' ELSE 'claim' END",
            "coalesce(hold_until, 0)",
            "coalesce(spent_at, 0)",
            "coalesce(revoked_at, 0)",
            "coalesce(revoked_why, '-')",
        ]
        .join(", ");
        format!("SELECT CAST(concat_ws(' ', {columns}) AS CHAR(400)) FROM {table} ORDER BY purpose")
    }

    fn check(rows: &[Vec<String>]) {
        let [known, unknown] = rows else {
            panic!("two identifiers")
        };
        assert_eq!(known, unknown);
        let [code, tries] = &known[..] else {
            panic!("{known:?}")
        };
        assert!(code.starts_with("code 6 "), "{code}");
        assert!(tries.starts_with("code-tries 5 "), "{tries}");
    }
}
