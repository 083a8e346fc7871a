//! What only databases on a network do to a backend: many writers, lost connections, lost servers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
#[path = "../../../tests/support/proxy.rs"]
mod proxy;
#[path = "common/servers.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod servers;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use common::{at, fresh, job, token};
use password_reset::account::Client;
use password_reset::audit::{Actor, AuditSink, Event, EventKind};
use password_reset::error::Backend;
use password_reset::flow::{Parts, ResetFlow};
use password_reset::limit::{LimitKey, Quota, RateLimiter, Tats, Unlimited, gcra};
use password_reset::mail::{LinkBase, Mailbox, Site};
use password_reset::queue::JobQueue;
use password_reset::store::{Insert, Live, TokenStore};
use password_reset::testing::{MemoryUsers, Outbox, Recorder};
use password_reset::token::Keyring;
use password_reset_sqlx::{
    ConnectError, Driver, Error, MigrateError, MySqlBackend, PostgresBackend, Server,
    ServerOptions, SqlAudit, SqlBackend,
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

/// At most starts there is nothing to make, and the application's role may be allowed to make
/// nothing.
#[tokio::test]
async fn a_role_that_makes_no_tables_can_start() {
    let Some([backend, _]) = Postgres.pair().await else {
        return;
    };
    let backend = backend.prefix("granted_").unwrap();
    backend.migrate().await.unwrap();
    let (url, schema) = (servers::Server::Postgres.url(), servers::own_name());
    let role = format!("prt_role_{}", std::process::id());
    servers::run_in_schema(
        &url,
        &format!(
            "CREATE ROLE {role} LOGIN;
            GRANT USAGE ON SCHEMA {schema} TO {role};
            GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}"
        ),
    )
    .await;
    let (_, server) = url.split_once('@').unwrap();
    let options = ServerOptions::<sqlx::Postgres>::new(&format!("postgres://{role}@{server}"));
    let options = options.schema(&schema).unwrap().connections(1);
    let restricted = options.clone().prefix("granted_").unwrap();
    let restricted = restricted.connect().await.unwrap();
    restricted.push(&job(0)).await.unwrap();
    assert_eq!(restricted.lease(at(0), at(1), 1).await.unwrap().len(), 1);
    restricted.close().await;
    let refused = options.prefix("forbidden_").unwrap().connect().await;
    assert!(matches!(refused, Err(ConnectError::Migrate(_))));
    let undo = format!("DROP OWNED BY {role}; DROP ROLE {role}");
    servers::run_in_schema(&url, &undo).await;
}

#[tokio::test]
async fn a_server_that_keeps_other_than_it_answers_is_refused() {
    if MySql.pair().await.is_none() {
        return;
    }
    for told in [
        "SET SESSION autocommit = 0",
        "SET SESSION sql_mode = 'SIMULTANEOUS_ASSIGNMENT'",
    ] {
        let backend = MySqlBackend::with_pool(servers::mysql_options(told).await);
        let refused = backend.migrate().await;
        assert!(
            matches!(refused, Err(MigrateError::Unsuitable { .. })),
            "{told}"
        );
    }
}

#[tokio::test]
async fn without_its_locks_nothing_is_counted_and_nothing_stored() {
    let Some([backend, _]) = Postgres.pair().await else {
        return;
    };
    let backend = backend.prefix("unlocked_").unwrap();
    backend.migrate().await.unwrap();
    let url = servers::Server::Postgres.url();
    servers::run_in_schema(&url, "TRUNCATE unlocked_locks").await;
    let record = token("ada");
    assert!(backend.insert(&record, Live::default()).await.is_err());
    assert!(backend.find(&record.selector).await.unwrap().is_none());
}

struct Postgres;
struct MySql;

/// Which of the two servers a test runs on.
trait On {
    type Database: Server;

    async fn pair(&self) -> Option<[SqlBackend<Self::Database>; 2]>;
    fn url(&self) -> String;
    /// Around names.
    fn quote(&self) -> char;
}

impl On for Postgres {
    type Database = sqlx::Postgres;

    async fn pair(&self) -> Option<[PostgresBackend; 2]> {
        servers::postgres_processes(Isolation::ReadCommitted).await
    }

    fn url(&self) -> String {
        servers::Server::Postgres.url()
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
        servers::Server::MySql.url()
    }

    fn quote(&self) -> char {
        '`'
    }
}

/// A backend behind a network that the test can break.
async fn behind<O: On>(on: &O, prefix: &str) -> (Proxy, ServerOptions<O::Database>) {
    let url = on.url();
    let (_, rest) = url.split_once('@').unwrap();
    let (server, _) = rest.split_once('/').unwrap();
    let proxy = Proxy::start(server).await;
    let url = url.replace(server, &proxy.address().to_string());
    let options = ServerOptions::new(&url).wait(Duration::from_millis(700));
    let options = options.schema(&servers::own_name()).unwrap();
    (proxy, options.prefix(prefix).unwrap())
}

async fn many_processes_may_create_the_same_tables<O: On>(on: O) {
    let Some([backend, other]) = on.pair().await else {
        return;
    };
    // Both have the tables already; eight newcomers are to make others.
    let newcomers: tokio::task::JoinSet<_> = [backend, other]
        .iter()
        .cycle()
        .take(8)
        .map(|backend| {
            let backend = backend.clone().prefix("newcomers_").unwrap();
            async move { backend.migrate().await }
        })
        .collect();
    for migrated in newcomers.join_all().await {
        migrated.unwrap();
    }
}

async fn tables_of_a_newer_version_are_refused<O: On>(on: O) {
    let Some([backend, _]) = on.pair().await else {
        return;
    };
    let backend = backend.prefix("newer_").unwrap();
    backend.migrate().await.unwrap();
    backend.migrate().await.unwrap();
    servers::run_in_schema(
        &on.url(),
        &format!("INSERT INTO {0}newer_schema{0} VALUES (99)", on.quote()),
    )
    .await;
    let refused = backend.migrate().await.unwrap_err();
    let expected = |error: &MigrateError| {
        matches!(
            error,
            MigrateError::Newer {
                found: 99,
                known: 1
            }
        )
    };
    assert!(expected(&refused), "{refused:?}");
}

async fn a_dropped_call_leaves_no_transaction_behind<O: On>(on: O) {
    let Some([backend, other]) = on.pair().await else {
        return;
    };
    let live = Live::newest(1.try_into().unwrap());
    for polls in 0..40 {
        let record = token("ada");
        cut_after(polls, backend.insert(&record, live)).await;
        let sweep = password_reset::token::state::ClaimId::from_bytes(fresh());
        cut_after(polls, backend.abandoned(sweep, at(0), at(1), 10)).await;
        cut_after(polls, backend.lease(at(-1), at(0), 10)).await;
        // What is answered as done is there for everybody: nobody's connection is inside a
        // transaction that will never be committed.
        let jobs: Vec<_> = (0..20).map(|_| job(0)).collect();
        for job in &jobs {
            backend.push(job).await.unwrap();
        }
        let seen = other.length(at(0)).await.unwrap();
        assert_eq!(seen.due, 20, "after a cut at {polls}");
        for leased in other.lease(at(0), at(1), 100).await.unwrap() {
            assert!(other.ack(&leased.lease).await.unwrap());
        }
    }
    let record = token("ada");
    assert_eq!(backend.insert(&record, live).await.unwrap(), Insert::Done);
    assert!(other.find(&record.selector).await.unwrap().is_some());
}

async fn the_limiter_is_the_cores_gcra<O: On>(on: O) {
    let Some([backend, _]) = on.pair().await else {
        return;
    };
    let mut random = common::Random(3);
    for key in 0..40 {
        let key = LimitKey::from_bytes([key; 32]);
        let (mut now, mut kept) = (1_800_000_000_000_000_i64, Tats::default());
        for _ in 0..40 {
            let mut span = || Duration::from_micros(1 + random.up_to_a_power(1, 40));
            let spans = [span(), span(), span()];
            let mut count = || 1 + u32::try_from(random.up_to_a_power(1, 8)).unwrap();
            let mut quota = Quota::new(count(), spans[0]);
            for span in &spans[1..] {
                let count = count();
                if count % 3 > 0 {
                    quota = quota.and(count, *span);
                }
            }
            // Clocks step back too.
            let step = i64::try_from(random.up_to_a_power(1, 40)).unwrap();
            now += if random.below(8) == 0 { -step } else { step };
            let (expected, next) = gcra(&quota, kept, at(now));
            let answer = backend.check(&key, &quota, at(now)).await.unwrap();
            // A key whose time is over may have been forgotten, which is the same.
            assert_eq!(answer, expected, "{quota:?} at {now}, {kept:?}");
            kept = next;
        }
    }
}

async fn a_trail_is_complete_in_order_and_never_rewritten<O: On>(on: O) {
    let Some([backend, _]) = on.pair().await else {
        return;
    };
    let backend = backend.prefix("trail_").unwrap();
    backend.migrate().await.unwrap();
    let audit = SqlAudit::spawn(&backend).unwrap();
    let recorder = Recorder::default();
    let flow = flow(&backend, (audit.clone(), recorder.clone()));
    for number in 0..300 {
        let typed = format!("größe{number}@example.com").parse_identifier();
        let _ = flow.request(&typed, &Client::unknown()).await.unwrap();
    }
    audit.flush().await.unwrap();
    let q = on.quote();
    let rows = servers::texts(
        &on.url(),
        &format!("SELECT CAST(job AS CHAR(32)) FROM {q}trail_audit{q} ORDER BY id"),
    )
    .await;
    let jobs: Vec<_> = recorder
        .events()
        .iter()
        .map(|e| e.job.unwrap().to_string())
        .collect();
    assert_eq!(rows, jobs);
    // Who did it is written down, as it was given.
    let actor = Actor::parse("größe, ticket 7").unwrap();
    let mut event = Event::new(at(0), EventKind::LinkHandedOver);
    event.actor = Some(actor.clone());
    audit.record(&event).unwrap();
    audit.flush().await.unwrap();
    let actors = format!("SELECT actor FROM {q}trail_audit{q} WHERE actor IS NOT NULL");
    assert_eq!(
        servers::texts(&on.url(), &actors).await,
        [actor.as_str().to_owned()]
    );
    let rewrite = format!("UPDATE {q}trail_audit{q} SET name = 'other'");
    assert!(
        servers::fails(&on.url(), &rewrite).await,
        "the trail was rewritten"
    );
    let all = password_reset::Timestamp::from_unix_micros(i64::MAX);
    assert_eq!(audit.purge(all, 100).await.unwrap(), 100);
    assert_eq!(audit.purge(all, 1_000).await.unwrap(), 201);
}

async fn a_server_that_is_not_there_is_an_error_in_time<O: On>(on: O) {
    let (proxy, options) = behind(&on, "absent_").await;
    proxy.switch(proxy::Mode::Refuse).await;
    let begun = Instant::now();
    let refused = options.clone().connect().await.unwrap_err();
    assert!(
        matches!(refused, ConnectError::Open(Error::Unreachable(_))),
        "{refused:?}"
    );
    let other = ServerOptions::<O::Database>::new("sqlite://resets.db").connect();
    assert!(matches!(other.await, Err(ConnectError::Url(_))));
    let secret = on.url();
    assert!(!format!("{refused} {refused:?} {options:?}").contains(&secret));
    proxy.switch(proxy::Mode::Silent).await;
    let refused = options.connect().await.unwrap_err();
    assert!(matches!(refused, ConnectError::Open(_)), "{refused:?}");
    assert!(begun.elapsed() < Duration::from_secs(20), "it never ends");
}

async fn a_server_that_goes_away_comes_back_by_itself<O: On>(on: O) {
    if on.pair().await.is_none() {
        return;
    }
    let (proxy, options) = behind(&on, "away_").await;
    let backend = options.connect().await.unwrap();
    for _ in 0..3 {
        proxy.switch(proxy::Mode::Refuse).await;
        let failed = backend.push(&job(0)).await.unwrap_err();
        let failed = failed.downcast::<Error>().unwrap();
        assert!(failed.is_transient(), "{failed:?}");
        proxy.switch(proxy::Mode::Pass).await;
        // Each of the connections that were cut may cost a call.
        let mut tries = 0;
        while let Err(failed) = backend.push(&job(0)).await {
            let failed = failed.downcast::<Error>().unwrap();
            assert!(failed.is_transient(), "{failed:?}");
            tries += 1;
            assert!(tries < 12, "it does not come back");
        }
    }
    for leased in backend.lease(at(0), at(1), 100).await.unwrap() {
        assert!(backend.ack(&leased.lease).await.unwrap());
    }
}

async fn a_server_that_does_not_answer_is_an_error_in_time<O: On>(on: O) {
    if on.pair().await.is_none() {
        return;
    }
    let (proxy, options) = behind(&on, "silent_").await;
    let backend = options.connections(2).connect().await.unwrap();
    backend.push(&job(i64::MAX)).await.unwrap();
    proxy.switch(proxy::Mode::Silent).await;
    for _ in 0..3 {
        let begun = Instant::now();
        let failed = backend.push(&job(i64::MAX)).await.unwrap_err();
        let failed = failed.downcast::<Error>().unwrap();
        assert!(failed.is_transient(), "{failed:?}");
        assert!(begun.elapsed() < Duration::from_secs(10), "it never ends");
    }
    // Connections that have gone silent stay so: they must be given up.
    proxy.switch(proxy::Mode::Pass).await;
    let mut tries = 0;
    while backend.push(&job(i64::MAX)).await.is_err() {
        tries += 1;
        assert!(tries < 20, "it does not come back");
    }
}

async fn a_flow_outlives_its_database<O: On>(on: O) {
    if on.pair().await.is_none() {
        return;
    }
    let (proxy, options) = behind(&on, "outage_").await;
    let backend = options.connect().await.unwrap();
    let recorder = Recorder::default();
    let flow = flow(&backend, recorder.clone());
    let typed = "ada@example.com".parse_identifier();
    let client = Client::unknown();
    proxy.switch(proxy::Mode::Refuse).await;
    // The same public answer, nothing done, and an event (R38).
    assert!(flow.request(&typed, &client).await.is_ok());
    let failed = |event: &EventKind| {
        matches!(
            event,
            EventKind::BackendFailed {
                backend: Backend::Queue,
                ..
            }
        )
    };
    assert!(recorder.kinds().iter().any(failed));
    assert!(flow.worker().run_due().await.failures > 0);
    assert!(flow.verify(&"A".repeat(64), &client).await.is_err());
    proxy.switch(proxy::Mode::Pass).await;
    for _ in 0..12 {
        let _ = flow.request(&typed, &client).await;
    }
    recorder.clear();
    assert!(flow.request(&typed, &client).await.is_ok());
    assert!(
        !recorder.kinds().iter().any(failed),
        "no recovery without a restart"
    );
}

/// A flow that keeps its jobs and tokens in `backend`.
fn flow<D: Driver>(backend: &SqlBackend<D>, audit: impl AuditSink) -> ResetFlow {
    let site = Site::new(
        "Example",
        LinkBase::parse("https://app.example.com/reset-password").unwrap(),
        "support@example.com",
        Mailbox::new(password_reset::account::Address::parse("noreply@example.com").unwrap()),
    );
    ResetFlow::builder(Parts {
        site: site.unwrap(),
        keyring: Keyring::ephemeral().unwrap(),
        users: Arc::new(MemoryUsers::default()),
        tokens: Arc::new(backend.clone()),
        queue: Arc::new(backend.clone()),
        mailer: Arc::new(Outbox::default()),
        limiter: Arc::new(Unlimited),
    })
    .audit(audit)
    .build()
    .unwrap()
}

trait ParseIdentifier {
    fn parse_identifier(&self) -> password_reset::account::Identifier;
}

impl ParseIdentifier for str {
    fn parse_identifier(&self) -> password_reset::account::Identifier {
        password_reset::account::Identifier::parse(self).unwrap()
    }
}

/// Polls `call` so many times and drops it right then, whatever is on its way.
async fn cut_after<F: Future>(polls: usize, call: F) {
    let mut call = pin!(call);
    let mut left = polls;
    poll_fn(move |context| {
        if left == 0 || call.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        left -= 1;
        Poll::Pending
    })
    .await;
}
