//! The audit trail, read again and shortened: [`AuditLog`] on SQL.

use std::net::IpAddr;

use async_trait::async_trait;
use password_reset::Timestamp;
use password_reset::account::{Tenant, UserId};
use password_reset::audit::log::{
    Arrival, AuditLog, Count, Entry, EntryId, MAX_ENTRIES, Order, Page, Position, Query, Spans,
};
use password_reset::audit::{Actor, Event, EventKind, Pseudonym, Severity};
use password_reset::error::BoxError;
use password_reset::queue::JobId;
use password_reset::token::Selector;

use super::SqlAudit;
use crate::backend::SqlBackend;
use crate::driver::{Driver, Flavour};
use crate::error::Error;
use crate::session::Session;
use crate::statement::{Statement, Value, values};
use crate::tokens::{bytes, int};

const READ: &str = "SELECT id, entry, at, kind, number, tenant, user_id, identifier, source, job,
    token, parent, actor FROM {audit}";
/// How many jobs or tokens one statement names.
const BATCH: usize = 100;
/// The names of an account that no other one has had. Each is looked up once, however many events
/// carry it.
const NAMES: &str = "SELECT thread FROM
    (SELECT DISTINCT identifier AS thread FROM {audit}
        WHERE user_id = ?1 AND identifier IS NOT NULL) AS names
    WHERE NOT EXISTS (SELECT 1 FROM {audit} AS others
        WHERE others.identifier = names.thread AND others.user_id <> ?1)";

/// `SELECT` with as many conditions as a query has.
struct Select {
    conditions: Vec<String>,
    values: Vec<Value>,
}

impl Select {
    /// The place of a value.
    fn place(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("?{}", self.values.len())
    }

    fn only(&mut self, column: &str, is: &str, value: impl Into<Value>) {
        let place = self.place(value);
        self.conditions.push(format!("{column} {is} {place}"));
    }

    fn among(&mut self, column: &str, values: impl IntoIterator<Item = String>) {
        let places: Vec<_> = values.into_iter().map(|value| self.place(value)).collect();
        if !places.is_empty() {
            self.conditions
                .push(format!("{column} IN ({})", places.join(", ")));
        }
    }

    fn of(query: &Query) -> Self {
        let mut select = Self {
            conditions: Vec::new(),
            values: Vec::new(),
        };
        if let Some(from) = query.from {
            select.only("at", ">=", from);
        }
        if let Some(until) = query.until {
            select.only("at", "<", until);
        }
        if let Some(code) = &query.code {
            let code = code.as_str();
            // The length is a number of this program's, and a text function's must be an integer.
            let (whole, head) = (select.place(code), select.place(format!("{code}.")));
            let length = code.len() + 1;
            let begins = format!("substr(kind, 1, {length}) = {head}");
            select
                .conditions
                .push(format!("(kind = {whole} OR {begins})"));
        }
        if let Some(least) = query.severity {
            let severe = Severity::ALL.iter().filter(|severity| **severity >= least);
            select.among("severity", severe.map(|it| it.as_str().to_owned()));
        }
        for (column, value) in [
            ("tenant", query.tenant.as_ref().map(ToString::to_string)),
            ("user_id", query.user.as_ref().map(ToString::to_string)),
            ("source", query.source.as_ref().map(ToString::to_string)),
            ("job", query.job.as_ref().map(ToString::to_string)),
        ] {
            if let Some(value) = value {
                select.only(column, "=", value);
            }
        }
        if let Some(token) = &query.token {
            let token = select.place(token.to_string());
            select
                .conditions
                .push(format!("(token = {token} OR parent = {token})"));
        }
        let pseudonyms = query.identifiers().iter().map(ToString::to_string);
        select.among("identifier", pseudonyms);
        if let Some(Position { at, id }) = query.beyond {
            let sign = match query.order {
                Order::Newest => "<",
                Order::Oldest => ">",
            };
            let (at, id) = (select.place(at), select.place(id.as_bytes().to_vec()));
            select.conditions.push(format!(
                "at {sign}= {at} AND (at {sign} {at} OR entry {sign} {id})"
            ));
        }
        select
    }

    fn conditions(&self) -> String {
        match self.conditions.is_empty() {
            true => String::new(),
            false => format!("WHERE {}", self.conditions.join(" AND ")),
        }
    }

    /// The spans are counted from their first one.
    fn count<D: Driver>(
        mut self,
        backend: &SqlBackend<D>,
        spans: &Spans,
    ) -> (Statement, Vec<Value>) {
        self.only("at", ">=", spans.from());
        self.only("at", "<", spans.until());
        let (from, width) = (self.place(spans.from()), self.place(spans.micros()));
        let divided = match D::SYNTAX.flavour {
            Flavour::MySql => "DIV",
            Flavour::Postgres | Flavour::Sqlite => "/",
        };
        let mut statement = backend.statement(&format!(
            "SELECT span, kind, count(*) AS events
            FROM (SELECT (at - {from}) {divided} {width} AS span, kind FROM {{audit}} {}) AS found
            GROUP BY span, kind",
            self.conditions()
        ));
        statement.persistent = false;
        (statement, self.values)
    }

    fn write<D: Driver>(
        mut self,
        backend: &SqlBackend<D>,
        order: Order,
        limit: u32,
    ) -> (Statement, Vec<Value>) {
        let limit = self.place(limit);
        let conditions = self.conditions();
        let order = match order {
            Order::Newest => "at DESC, entry DESC",
            Order::Oldest => "at, entry",
        };
        let text = format!("{READ} {conditions} ORDER BY {order} LIMIT {limit}");
        let mut statement = backend.statement(&text);
        statement.persistent = false;
        (statement, self.values)
    }
}

/// One row more than was asked for, to see whether there is one.
pub(crate) fn select<D: Driver>(backend: &SqlBackend<D>, query: &Query) -> (Statement, Vec<Value>) {
    let limit = query.limit().saturating_add(1);
    Select::of(query).write(backend, query.order, limit)
}

pub(crate) fn counting<D: Driver>(
    backend: &SqlBackend<D>,
    query: &Query,
    spans: &Spans,
) -> (Statement, Vec<Value>) {
    Select::of(query).count(backend, spans)
}

pub(crate) fn following<D: Driver>(backend: &SqlBackend<D>) -> Statement {
    backend.statement(&format!("{READ} WHERE id > ?1 ORDER BY id LIMIT ?2"))
}

#[async_trait]
impl<D: Driver> AuditLog for SqlBackend<D> {
    async fn read(&self, query: &Query) -> Result<Page, BoxError> {
        let limit = query.limit();
        let (select, values) = select(self, query);
        let mut session = self.reader().await?;
        let rows = session.rows(&select, values).await?;
        Ok(page::<D>(&rows, limit)?)
    }

    async fn count(&self, query: &Query, spans: &Spans) -> Result<Vec<Count>, BoxError> {
        let mut query = query.clone();
        query.beyond = None;
        let (select, values) = counting(self, &query, spans);
        let mut session = self.reader().await?;
        let rows = session.rows(&select, values).await?;
        let counts = rows.iter().map(|row| count::<D>(row, spans));
        Ok(counts.collect::<Result<_, _>>()?)
    }

    async fn arrived(&self, after: Arrival, limit: u32) -> Result<Page, BoxError> {
        let limit = limit.min(MAX_ENTRIES);
        let select = following(self);
        let after = i64::try_from(after.0).unwrap_or(i64::MAX);
        let mut session = self.reader().await?;
        let rows = session.rows(&select, values![after, limit.saturating_add(1)]);
        Ok(page::<D>(&rows.await?, limit)?)
    }

    async fn latest(&self) -> Result<Arrival, BoxError> {
        let select = self.statement("SELECT coalesce(max(id), 0) AS id FROM {audit}");
        let mut session = self.reader().await?;
        let rows = session.rows(&select, values![]).await?;
        let latest = rows.first().map(arrival::<D>).transpose()?;
        Ok(latest.unwrap_or_default())
    }

    async fn purge(&self, before: Timestamp, limit: u32) -> Result<u64, BoxError> {
        Ok(self.purge_audit(before, limit).await?)
    }

    async fn forget(&self, user: &UserId) -> Result<u64, BoxError> {
        Ok(self.forget_audit(user).await?)
    }
}

impl<D: Driver> SqlBackend<D> {
    pub(super) async fn purge_audit(&self, before: Timestamp, limit: u32) -> Result<u64, Error> {
        let purge = D::SYNTAX.delete_first("{audit}", "id", "at < ?1", "at");
        let purge = self.statement(&purge);
        let mut session = self.writer().await?;
        Ok(session.execute(&purge, values![before, limit]).await?.rows)
    }

    async fn forget_audit(&self, user: &UserId) -> Result<u64, Error> {
        let mut session = self.writer().await?;
        let mut forgotten = 0_u64;
        // The account's own entries last: until then they lead to the others, also when this is
        // done again after it was cut.
        for column in ["job", "token", "parent", "identifier"] {
            let threads = match column {
                // A name that stands beside another account too belongs to neither: whoever takes over
                // a name must not erase what happened under it before.
                "identifier" => NAMES.to_owned(),
                _ => format!(
                    "SELECT DISTINCT {column} AS thread FROM {{audit}}
                    WHERE user_id = ?1 AND {column} IS NOT NULL"
                ),
            };
            let rows = session
                .rows(&self.statement(&threads), values![user])
                .await?;
            let mut threads = Vec::with_capacity(rows.len());
            for row in &rows {
                threads.extend(D::text(row, "thread")?);
            }
            for some in threads.chunks(BATCH) {
                let column = if column == "parent" { "token" } else { column };
                let gone = self.delete_threads(&mut session, column, some).await?;
                forgotten = forgotten.saturating_add(gone);
            }
        }
        let own = self.statement("DELETE FROM {audit} WHERE user_id = ?1");
        let gone = session.execute(&own, values![user]).await?.rows;
        Ok(forgotten.saturating_add(gone))
    }

    /// Deletes what names a job, a token or a pseudonym, and nobody.
    async fn delete_threads(
        &self,
        session: &mut Session<D>,
        column: &str,
        threads: &[String],
    ) -> Result<u64, Error> {
        let places: Vec<_> = (1..=threads.len()).map(|n| format!("?{n}")).collect();
        let mut delete = self.statement(&format!(
            "DELETE FROM {{audit}} WHERE user_id IS NULL AND {column} IN ({})",
            places.join(", ")
        ));
        delete.persistent = false;
        let threads = threads.iter().cloned().map(Value::from).collect();
        Ok(session.execute(&delete, threads).await?.rows)
    }
}

/// On the sink's database.
#[async_trait]
impl<D: Driver> AuditLog for SqlAudit<D> {
    async fn read(&self, query: &Query) -> Result<Page, BoxError> {
        self.backend.read(query).await
    }

    async fn count(&self, query: &Query, spans: &Spans) -> Result<Vec<Count>, BoxError> {
        self.backend.count(query, spans).await
    }

    async fn arrived(&self, after: Arrival, limit: u32) -> Result<Page, BoxError> {
        self.backend.arrived(after, limit).await
    }

    async fn latest(&self) -> Result<Arrival, BoxError> {
        self.backend.latest().await
    }

    async fn purge(&self, before: Timestamp, limit: u32) -> Result<u64, BoxError> {
        Ok(self.backend.purge_audit(before, limit).await?)
    }

    async fn forget(&self, user: &UserId) -> Result<u64, BoxError> {
        Ok(self.backend.forget_audit(user).await?)
    }
}

/// One row more than the limit was asked for, to see whether there is one.
fn page<D: Driver>(rows: &[D::Row], limit: u32) -> Result<Page, Error> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut page = Page::of(rows.len() > limit);
    for row in rows.iter().take(limit) {
        let id = bytes::<D>(row, "entry")?;
        let id = id.try_into().map(EntryId::from_bytes);
        let id = id.map_err(|_| Error::Unreadable { column: "entry" })?;
        let at = Timestamp::from_unix_micros(int::<D>(row, "at")?);
        let arrival = arrival::<D>(row)?;
        page.last = Some((Position { at, id }, arrival));
        match event::<D>(row, at)? {
            Some(event) => page.entries.push(Entry::new(id, arrival, event)),
            None => page.unreadable = page.unreadable.saturating_add(1),
        }
    }
    Ok(page)
}

fn count<D: Driver>(row: &D::Row, spans: &Spans) -> Result<Count, Error> {
    let into = int::<D>(row, "span")?.saturating_mul(spans.micros());
    let at = spans.from().unix_micros().saturating_add(into);
    let code = D::text(row, "kind")?.unwrap_or_default();
    let events = u64::try_from(int::<D>(row, "events")?).unwrap_or(0);
    Ok(Count::new(Timestamp::from_unix_micros(at), code, events))
}

fn arrival<D: Driver>(row: &D::Row) -> Result<Arrival, Error> {
    let id = int::<D>(row, "id")?;
    let id = u64::try_from(id).map_err(|_| Error::Unreadable { column: "id" })?;
    Ok(Arrival(id))
}

/// The event of a row; `None` when a newer version wrote it.
fn event<D: Driver>(row: &D::Row, at: Timestamp) -> Result<Option<Event>, Error> {
    let text = |column| D::text(row, column);
    let number = D::int(row, "number")?.map(u64::try_from).transpose();
    let (Ok(number), Some(code)) = (number, text("kind")?) else {
        return Ok(None);
    };
    let Some(kind) = EventKind::from_code(&code, number) else {
        return Ok(None);
    };
    let mut event = Event::new(at, kind);
    macro_rules! fields {
        ($($field:ident = $column:literal, $read:expr;)+) => { $(
            if let Some(text) = text($column)? {
                event.$field = $read(&text);
                if event.$field.is_none() {
                    return Ok(None);
                }
            }
        )+ };
    }
    fields! {
        tenant = "tenant", |text: &str| Tenant::parse(text).ok();
        user = "user_id", |text: &str| UserId::parse(text).ok();
        identifier = "identifier", Pseudonym::parse;
        source = "source", |text: &str| text.parse::<IpAddr>().ok();
        job = "job", JobId::parse;
        token = "token", Selector::parse;
        parent = "parent", Selector::parse;
        actor = "actor", |text: &str| Actor::parse(text).ok();
    }
    Ok(Some(event))
}
