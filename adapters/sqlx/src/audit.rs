//! The audit trail: [`SqlAudit`].

pub(crate) mod log;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use password_reset::Timestamp;
use password_reset::audit::{AuditSink, Event};
use password_reset::error::BoxError;
use tokio::sync::{mpsc, oneshot};

use crate::backend::SqlBackend;
use crate::driver::{Driver, Flavour};
use crate::error::Error;
use crate::statement::{Statement, Value};

const CAPACITY: usize = 4_096;
/// One in so many places is kept for events that strangers cannot cause at will.
const RESERVED: usize = 4;
/// Events in one statement: a dozen columns each, far below any database's limit of values.
const BATCH: usize = 128;
const TRIES: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(50);

const COLUMNS: usize = 14;
const APPEND: &str = "INTO {audit} (
    entry, at, name, severity, kind, number, tenant, user_id, identifier, source, job, token, parent,
    actor) VALUES ";

/// An audit trail in the table `password_reset_audit`, which refuses every `UPDATE`: `SqliteAudit`,
/// `PostgresAudit` or `MySqlAudit`. An [`AuditSink`], and an
/// [`AuditLog`](password_reset::audit::AuditLog) that reads it back; a process that only reads takes
/// the backend, which is one too.
///
/// [`record`](AuditSink::record) hands the event to a background task and returns at once; the
/// task writes what has gathered in one statement. When it falls 4,096 events behind, further
/// events are refused, and the flow counts them; malformed and unknown tokens and refused requests,
/// which anybody can send without end, are refused at 3,072. A statement whose answer was lost is
/// sent again; each event has a name of its own, so it still stands there once.
///
/// Call [`flush`](Self::flush) before the program ends. Without it the task writes what is left
/// after the last clone is gone, if the runtime lives long enough.
pub struct SqlAudit<D: Driver> {
    outbox: mpsc::Sender<Item>,
    backend: SqlBackend<D>,
    lost: Arc<AtomicU64>,
    names: Arc<Names>,
}

/// Names for events: what this sink drew when it was made, and a number.
struct Names {
    sink: [u8; 8],
    next: AtomicU64,
}

impl Names {
    fn draw() -> Result<Self, AuditError> {
        let mut sink = [0; 8];
        getrandom::fill(&mut sink).map_err(|_| AuditError::NoRandomness)?;
        Ok(Self {
            sink,
            next: AtomicU64::new(0),
        })
    }

    fn next(&self) -> Vec<u8> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        [self.sink, number.to_be_bytes()].concat()
    }
}

/// What became of an audit event.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// There is no Tokio runtime for the task that writes.
    #[error("no tokio runtime to write the audit trail in")]
    NoRuntime,
    /// The operating system's generator failed.
    #[error("no randomness to name the audit events")]
    NoRandomness,
    /// The task is too far behind; the event was not taken.
    #[error("the audit trail is too far behind")]
    Full,
    /// The task is gone, and its runtime with it; the event was not taken.
    #[error("the audit trail is closed")]
    Closed,
    /// Events that were taken before could not be written, see [`SqlAudit::lost`].
    #[error("audit events could not be written")]
    Lost,
}

enum Item {
    Entry(Box<Entry>),
    Flush(oneshot::Sender<bool>),
}

impl<D: Driver> SqlAudit<D> {
    /// Starts the task that writes, on the present Tokio runtime and the backend's database.
    ///
    /// # Errors
    ///
    /// - [`AuditError::NoRuntime`] outside a Tokio runtime.
    /// - [`AuditError::NoRandomness`] when the operating system's generator fails.
    pub fn spawn(backend: &SqlBackend<D>) -> Result<Self, AuditError> {
        Self::with_capacity(backend, CAPACITY)
    }

    /// Waits until everything recorded before this call is written.
    ///
    /// # Errors
    ///
    /// - [`AuditError::Lost`] when some of it, since the last flush, could not be written.
    /// - [`AuditError::Closed`] when the task is gone.
    pub async fn flush(&self) -> Result<(), AuditError> {
        let (done, written) = oneshot::channel();
        let flush = Item::Flush(done);
        self.outbox
            .send(flush)
            .await
            .map_err(|_| AuditError::Closed)?;
        match written.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(AuditError::Lost),
            Err(_) => Err(AuditError::Closed),
        }
    }

    /// How many events were taken and then given up, because the database kept failing.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Deletes up to `limit` events from before `before`, the oldest first; answers how many. How
    /// long a trail must be kept is the application's decision, so nobody else calls this.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn purge(&self, before: Timestamp, limit: u32) -> Result<u64, Error> {
        self.backend.purge_audit(before, limit).await
    }

    fn with_capacity(backend: &SqlBackend<D>, capacity: usize) -> Result<Self, AuditError> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| AuditError::NoRuntime)?;
        let (outbox, inbox) = mpsc::channel(capacity);
        let lost = Arc::<AtomicU64>::default();
        let names = Arc::new(Names::draw()?);
        let backend = backend.clone();
        runtime.spawn(write(inbox, backend.clone(), Arc::clone(&lost)));
        Ok(Self {
            outbox,
            backend,
            lost,
            names,
        })
    }

    fn take(&self, entry: Entry) -> Result<(), AuditError> {
        self.outbox
            .try_send(Item::Entry(Box::new(entry)))
            .map_err(|refused| match refused {
                mpsc::error::TrySendError::Full(_) => AuditError::Full,
                mpsc::error::TrySendError::Closed(_) => AuditError::Closed,
            })
    }
}

impl<D: Driver> AuditSink for SqlAudit<D> {
    fn record(&self, event: &Event) -> Result<(), BoxError> {
        let left = self.outbox.capacity();
        if event.kind.is_noise() && left < self.outbox.max_capacity() / RESERVED {
            return Err(AuditError::Full.into());
        }
        Ok(self.take(Entry::new(self.names.next(), event))?)
    }

    fn lost(&self) -> u64 {
        SqlAudit::lost(self)
    }
}

impl<D: Driver> Clone for SqlAudit<D> {
    fn clone(&self) -> Self {
        Self {
            outbox: self.outbox.clone(),
            backend: self.backend.clone(),
            lost: Arc::clone(&self.lost),
            names: Arc::clone(&self.names),
        }
    }
}

impl<D: Driver> fmt::Debug for SqlAudit<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither the database nor what waits to be written is shown.
        f.debug_struct("SqlAudit")
            .field("lost", &self.lost())
            .finish_non_exhaustive()
    }
}

/// One row: words, numbers and digests.
struct Entry {
    /// Its own name, so that it can be sent twice.
    entry: Vec<u8>,
    at: i64,
    name: &'static str,
    severity: &'static str,
    kind: String,
    number: Option<i64>,
    tenant: Option<String>,
    user: Option<String>,
    identifier: Option<String>,
    source: Option<String>,
    job: Option<String>,
    token: Option<String>,
    parent: Option<String>,
    actor: Option<String>,
}

impl Entry {
    fn new(entry: Vec<u8>, event: &Event) -> Self {
        Self {
            entry,
            at: event.at.unix_micros(),
            name: event.kind.name(),
            severity: event.kind.severity().as_str(),
            kind: event.kind.code(),
            number: event
                .kind
                .number()
                .map(|number| i64::try_from(number).unwrap_or(i64::MAX)),
            tenant: event.tenant.as_ref().map(ToString::to_string),
            user: event.user.as_ref().map(ToString::to_string),
            identifier: event.identifier.as_ref().map(ToString::to_string),
            source: event.source.as_ref().map(ToString::to_string),
            job: event.job.as_ref().map(ToString::to_string),
            token: event.token.as_ref().map(ToString::to_string),
            parent: event.parent.as_ref().map(ToString::to_string),
            actor: event.actor.as_ref().map(ToString::to_string),
        }
    }
}

impl Entry {
    fn values(&self) -> [Value; COLUMNS] {
        [
            self.entry.clone().into(),
            self.at.into(),
            self.name.into(),
            self.severity.into(),
            self.kind.clone().into(),
            self.number.into(),
            self.tenant.clone().into(),
            self.user.clone().into(),
            self.identifier.clone().into(),
            self.source.clone().into(),
            self.job.clone().into(),
            self.token.clone().into(),
            self.parent.clone().into(),
            self.actor.clone().into(),
        ]
    }
}

/// The task. Ends when the last sender is gone and everything is written.
async fn write<D: Driver>(
    mut inbox: mpsc::Receiver<Item>,
    backend: SqlBackend<D>,
    lost: Arc<AtomicU64>,
) {
    let mut items = Vec::with_capacity(BATCH);
    let mut complete = true;
    while inbox.recv_many(&mut items, BATCH).await > 0 {
        let mut entries = Vec::with_capacity(items.len());
        let mut flushes = Vec::new();
        for item in items.drain(..) {
            match item {
                Item::Entry(entry) => entries.push(*entry),
                Item::Flush(done) => flushes.push(done),
            }
        }
        if !append_with_patience(&backend, &entries).await {
            complete = false;
            let given_up = u64::try_from(entries.len()).unwrap_or(u64::MAX);
            lost.fetch_add(given_up, Ordering::Relaxed);
        }
        for done in flushes {
            // Whoever asked may have gone.
            let _ = done.send(std::mem::replace(&mut complete, true));
        }
    }
}

/// Tries for about three seconds beyond the pool's own patience.
async fn append_with_patience<D: Driver>(backend: &SqlBackend<D>, entries: &[Entry]) -> bool {
    let mut pause = FIRST_PAUSE;
    for _ in 1..TRIES {
        if append(backend, entries).await.is_ok() {
            return true;
        }
        tokio::time::sleep(pause).await;
        pause = pause.saturating_mul(2);
    }
    append(backend, entries).await.is_ok()
}

async fn append<D: Driver>(backend: &SqlBackend<D>, entries: &[Entry]) -> Result<(), Error> {
    if entries.is_empty() {
        return Ok(());
    }
    let statement = append_statement(backend, entries.len());
    let values = entries.iter().flat_map(Entry::values).collect();
    backend.writer().await?.execute(&statement, values).await?;
    Ok(())
}

fn append_statement<D: Driver>(backend: &SqlBackend<D>, rows: usize) -> Statement {
    let row = |row: usize| {
        let first = row * COLUMNS + 1;
        let places: Vec<_> = (first..first + COLUMNS).map(|n| format!("?{n}")).collect();
        format!("({})", places.join(", "))
    };
    let rows: Vec<_> = (0..rows).map(row).collect();
    let places = rows.join(", ");
    let mut statement = backend.statement(&match D::SYNTAX.flavour {
        // Not `ON DUPLICATE KEY UPDATE`: the table refuses every update.
        Flavour::MySql => format!("INSERT IGNORE {APPEND}{places}"),
        Flavour::Postgres | Flavour::Sqlite => {
            format!("INSERT {APPEND}{places} ON CONFLICT (entry) DO NOTHING")
        }
    });
    // Only the text for a single event comes often enough to be prepared.
    statement.persistent = rows.len() == 1;
    statement
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use sqlx::{Row, SqlitePool};

    use password_reset::audit::{Actor, EventKind, Refused};

    use super::*;
    use crate::{SqliteAudit, SqliteBackend};

    fn entry(at: i64) -> Entry {
        Entry {
            entry: [[0; 8], at.to_be_bytes()].concat(),
            at,
            name: "authn_token_created",
            severity: "info",
            kind: "issued".to_owned(),
            number: None,
            tenant: None,
            user: Some("ada".to_owned()),
            identifier: None,
            source: Some("192.0.2.1".to_owned()),
            job: None,
            token: Some("00ff".to_owned()),
            parent: None,
            actor: None,
        }
    }

    async fn moments(pool: &SqlitePool) -> Vec<i64> {
        let select = "SELECT at FROM password_reset_audit ORDER BY id";
        let rows = sqlx::query(select).fetch_all(pool).await.unwrap();
        rows.iter().map(|row| row.get("at")).collect()
    }

    #[tokio::test]
    async fn a_flushed_trail_is_complete_and_in_order() {
        let backend = SqliteBackend::in_memory().await.unwrap();
        let audit = SqliteAudit::spawn(&backend).unwrap();
        for at in 0..1_000 {
            audit.take(entry(at)).unwrap();
        }
        audit.flush().await.unwrap();
        let expected: Vec<i64> = (0..1_000).collect();
        assert_eq!(moments(&backend.writer).await, expected);
    }

    #[tokio::test]
    async fn an_event_that_is_sent_twice_stands_there_once() {
        let backend = SqliteBackend::in_memory().await.unwrap();
        append(&backend, &[entry(1), entry(2)]).await.unwrap();
        append(&backend, &[entry(2), entry(3)]).await.unwrap();
        append(&backend, &[entry(3)]).await.unwrap();
        assert_eq!(moments(&backend.writer).await, [1, 2, 3]);
        // Events of the same moment are events of their own, and so are those of two sinks.
        for audit in [
            SqliteAudit::spawn(&backend).unwrap(),
            SqliteAudit::spawn(&backend).unwrap(),
        ] {
            let event = Event::new(Timestamp::from_unix_micros(4), EventKind::Completed);
            audit.record(&event).unwrap();
            audit.record(&event).unwrap();
            audit.flush().await.unwrap();
        }
        assert_eq!(moments(&backend.writer).await, [1, 2, 3, 4, 4, 4, 4]);
    }

    #[tokio::test]
    async fn an_event_names_the_operator() {
        let backend = SqliteBackend::in_memory().await.unwrap();
        let audit = SqliteAudit::spawn(&backend).unwrap();
        let mut event = Event::new(Timestamp::from_unix_micros(1), EventKind::LinkHandedOver);
        event.actor = Some(Actor::parse("grace, ticket 7").unwrap());
        audit.record(&event).unwrap();
        audit.flush().await.unwrap();
        let select = "SELECT actor, severity FROM password_reset_audit";
        let row = sqlx::query(select)
            .fetch_one(&backend.writer)
            .await
            .unwrap();
        let row: (String, String) = (row.get("actor"), row.get("severity"));
        assert_eq!(row, ("grace, ticket 7".to_owned(), "critical".to_owned()));
    }

    #[tokio::test]
    async fn a_trail_that_falls_behind_refuses_at_once() {
        let backend = SqliteBackend::in_memory().await.unwrap();
        let audit = SqliteAudit::with_capacity(&backend, 2).unwrap();
        audit.take(entry(0)).unwrap();
        audit.take(entry(1)).unwrap();
        // One thread, no await since: the task had no turn.
        assert!(matches!(audit.take(entry(2)), Err(AuditError::Full)));
        audit.flush().await.unwrap();
        audit.take(entry(3)).unwrap();
        audit.flush().await.unwrap();
        assert_eq!(moments(&backend.writer).await, [0, 1, 3]);
    }

    #[tokio::test]
    async fn a_flood_leaves_room_for_what_matters() {
        let backend = SqliteBackend::in_memory().await.unwrap();
        let audit = SqliteAudit::with_capacity(&backend, 8).unwrap();
        let record = |kind| audit.record(&Event::new(Timestamp::from_unix_micros(0), kind));
        let noise = EventKind::Refused(Refused::Unknown);
        // One thread, no await since: the task had no turn.
        let taken = (0..100).filter(|_| record(noise).is_ok()).count();
        assert_eq!(taken, 7);
        assert!(record(EventKind::Refused(Refused::Spent)).is_ok());
        audit.flush().await.unwrap();
        assert!(record(noise).is_ok());
    }

    #[tokio::test]
    async fn what_was_taken_is_written_after_the_last_clone_is_gone() {
        let backend = SqliteBackend::in_memory().await.unwrap();
        let audit = SqliteAudit::spawn(&backend).unwrap();
        let clone = audit.clone();
        audit.take(entry(0)).unwrap();
        drop(audit);
        clone.take(entry(1)).unwrap();
        drop(clone);
        while moments(&backend.writer).await != [0, 1] {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_trail_is_never_rewritten_and_purged_only_by_age() {
        let backend = SqliteBackend::in_memory().await.unwrap();
        let audit = SqliteAudit::spawn(&backend).unwrap();
        for at in [5, 1, 4, 2, 3] {
            audit.take(entry(at)).unwrap();
        }
        audit.flush().await.unwrap();
        let rewrite = sqlx::query("UPDATE password_reset_audit SET user_id = 'eve'");
        assert!(rewrite.execute(&backend.writer).await.is_err());
        let before = Timestamp::from_unix_micros(4);
        assert_eq!(audit.purge(before, 2).await.unwrap(), 2);
        assert_eq!(moments(&backend.writer).await, [5, 4, 3]);
        assert_eq!(audit.purge(before, 9).await.unwrap(), 1);
        assert_eq!(moments(&backend.writer).await, [5, 4]);
    }

    #[tokio::test]
    async fn lost_events_are_counted_and_told_once() {
        let backend = SqliteBackend::in_memory().await.unwrap();
        let audit = SqliteAudit::spawn(&backend).unwrap();
        sqlx::query("DROP TABLE password_reset_audit")
            .execute(&backend.writer)
            .await
            .unwrap();
        audit.take(entry(0)).unwrap();
        tokio::time::pause();
        assert!(matches!(audit.flush().await, Err(AuditError::Lost)));
        assert_eq!(audit.lost(), 1);
        assert!(audit.flush().await.is_ok());
    }

    #[test]
    fn without_a_runtime_there_is_an_error_and_no_panic() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let backend = runtime.block_on(SqliteBackend::in_memory()).unwrap();
        assert!(matches!(
            SqliteAudit::spawn(&backend),
            Err(AuditError::NoRuntime)
        ));
    }
}
