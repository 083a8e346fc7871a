//! What only databases on a network do to a backend: many writers, lost connections, lost servers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
#[path = "common/proxy.rs"]
mod proxy;
#[path = "common/servers.rs"]
mod servers;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use common::{at, fresh, job, token};
use password_reset::account::Client;
use password_reset::audit::{AuditSink, EventKind};
use password_reset::error::Backend;
use password_reset::flow::{Parts, ResetFlow};
use password_reset::limit::{Decision, LimitKey, Quota, RateLimiter, Tats, Unlimited, gcra};
use password_reset::mail::{LinkBase, Mailbox, Site};
use password_reset::queue::JobQueue;
use password_reset::store::{Insert, Live, TokenStore};
use password_reset::testing::{MemoryUsers, Outbox, Recorder};
use password_reset::token::Keyring;
use password_reset_sqlx::{
    ConnectError, Driver, Error, MigrateError, MySqlBackend, MySqlOptions, PostgresBackend,
    PostgresOptions, Server, ServerOptions, SqlAudit, SqlBackend,
};
use proxy::Proxy;
use servers::Isolation;

/// One test on PostgreSQL and one on MariaDB.
macro_rules! on_servers {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        mod postgres { $(
            $(#[$doc])*
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                super::$name(super::Postgres).await;
            }
        )+ }
        mod mysql { $(
            $(#[$doc])*
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                super::$name(super::MySql).await;
            }
        )+ }
    };
}

on_servers! {
    many_processes_may_create_the_same_tables,
    tables_of_a_newer_version_are_refused,
    /// sqlx forgets a transaction whose `BEGIN` was dropped before it was answered.
    a_dropped_call_leaves_no_transaction_behind,
    the_limiter_is_the_cores_gcra,
    a_trail_is_complete_in_order_and_never_rewritten,
    a_server_that_is_not_there_is_an_error_in_time,
    a_server_that_goes_away_comes_back_by_itself,
    a_server_that_does_not_answer_is_an_error_in_time,
    a_flow_outlives_its_database,
}

struct Postgres;
struct MySql;

/// Which of the two servers a test runs on.
trait On {
    type Database: Server;

    async fn pair(&self) -> Option<[SqlBackend<Self::Database>; 2]>;
    fn url(&self) -> String;
    /// Statements that put a version into the table of versions, and that edit the trail.
    fn quote(&self) -> char;
}

impl On for Postgres {
    type Database = sqlx::Postgres;

    async fn pair(&self) -> Option<[PostgresBackend; 2]> {
        servers::postgres_processes(Isolation::ReadCommitted).await
    }

    fn url(&self) -> String {
        servers::postgres_url()
    }

    fn quote(&self) -> char {
        '"'
    }
}

impl On for MySql {
    type Database = sqlx::MySql;

    async fn pair(&self) -> Option<[MySqlBackend; 2]> {
        servers::mysql_processes().await
    }

    fn url(&self) -> String {
        servers::mysql_url()
    }

    fn quote(&self) -> char {
        '`'
    }
}
