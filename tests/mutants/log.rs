//! Audit trails, all but one broken.

use std::time::Duration;

use async_trait::async_trait;
use password_reset::Timestamp;
use password_reset::account::UserId;
use password_reset::audit::log::{
    Arrival, AuditLog, Count, MAX_ENTRIES, Order, Page, Query, Spans,
};
use password_reset::audit::{AuditSink, Event, EventKind};
use password_reset::error::BoxError;
use password_reset::memory::MemoryLog;
use password_reset::testing::kit::log::LogFixture;

pub(crate) struct Log {
    defect: &'static str,
    inner: MemoryLog,
}

impl Log {
    pub(crate) fn with(defect: &'static str) -> Self {
        Self {
            defect,
            inner: MemoryLog::default(),
        }
    }

    fn is(&self, defect: &str) -> bool {
        self.defect == defect
    }
}

#[async_trait]
impl LogFixture for Log {
    fn sink(&self) -> &dyn AuditSink {
        self
    }

    fn log(&self) -> &dyn AuditLog {
        self
    }

    async fn written(&self) {}
}

impl AuditSink for Log {
    fn record(&self, event: &Event) -> Result<(), BoxError> {
        let mut event = event.clone();
        match self.defect {
            "actors_are_lost" => event.actor = None,
            "names_are_trimmed" => {
                let trimmed = event.user.as_ref().map(|user| user.as_str().trim_end());
                event.user = trimmed.map(|user| UserId::parse(user).unwrap());
            }
            "numbers_are_lost" => {
                if let EventKind::MailFailed { attempt, .. } = &mut event.kind {
                    *attempt = 1;
                }
            }
            "noise_is_dropped" if event.kind == EventKind::RateLimited => return Ok(()),
            _ => {}
        }
        self.inner.record(&event)
    }

    fn lost(&self) -> u64 {
        self.inner.lost()
    }
}

#[async_trait]
impl AuditLog for Log {
    async fn read(&self, query: &Query) -> Result<Page, BoxError> {
        let mut query = query.clone();
        match self.defect {
            "the_end_is_included" => {
                let until = query.until.map(Timestamp::unix_micros);
                query.until = until.map(|at| Timestamp::from_unix_micros(at + 1));
            }
            "severity_is_exact" => {
                let (wanted, mut page) = (query.severity, self.inner.read(&query).await?);
                let exact = |kind: EventKind| wanted.is_none_or(|it| kind.severity() == it);
                page.entries.retain(|entry| exact(entry.event.kind));
                return Ok(page);
            }
            "one_pseudonym_is_looked_for" => query.identifiers.truncate(1),
            "always_the_newest_first" => query.order = Order::Newest,
            "tenants_are_mixed" => query.tenant = None,
            "pages_go_by_time_alone" => {
                if let (Some(place), Order::Oldest) = (query.beyond.take(), query.order) {
                    query.from = Some(Timestamp::from_unix_micros(place.at.unix_micros() + 1));
                }
            }
            "limits_are_ignored" => query.limit = 1_000,
            _ => {}
        }
        self.inner.read(&query).await
    }

    async fn count(&self, query: &Query, spans: &Spans) -> Result<Vec<Count>, BoxError> {
        let spans = match self.defect {
            "the_last_span_is_lost" => {
                let width = Duration::from_micros(u64::try_from(spans.micros()).unwrap());
                Spans::new(spans.from(), width, spans.number().saturating_sub(1).max(1))
            }
            _ => *spans,
        };
        let mut counts = self.inner.count(query, &spans).await?;
        if self.is("causes_are_lumped_together") {
            for count in &mut counts {
                count.code = count.code.split('.').next().unwrap().to_owned();
            }
        }
        Ok(counts)
    }

    async fn arrived(&self, after: Arrival, limit: u32) -> Result<Page, BoxError> {
        let mut page = self.inner.arrived(after, limit).await?;
        if self.is("arrivals_are_numbered_anew") {
            // As a table without AUTOINCREMENT: the next one takes the first free place.
            page = self.inner.arrived(Arrival(0), limit).await?;
            for (place, entry) in (1..).zip(&mut page.entries) {
                entry.arrival = Arrival(place);
            }
            page.entries.retain(|entry| entry.arrival > after);
        }
        if self.is("the_latest_come_first") {
            page.entries.reverse();
        }
        Ok(page)
    }

    async fn latest(&self) -> Result<Arrival, BoxError> {
        self.inner.latest().await
    }

    async fn purge(&self, before: Timestamp, limit: u32) -> Result<u64, BoxError> {
        match self.defect {
            "purge_ignores_its_limit" => self.inner.purge(before, u32::MAX).await,
            "purge_takes_the_moment_too" => {
                let after = Timestamp::from_unix_micros(before.unix_micros() + 1);
                self.inner.purge(after, limit).await
            }
            _ => self.inner.purge(before, limit).await,
        }
    }

    async fn forget(&self, user: &UserId) -> Result<u64, BoxError> {
        match self.defect {
            "forget_takes_everybody" => {
                let end = Timestamp::from_unix_micros(i64::MAX);
                self.inner.purge(end, u32::MAX).await
            }
            "forget_takes_the_like" => {
                let other = UserId::parse(&format!("{user} ")).unwrap();
                Ok(self.inner.forget(user).await? + self.inner.forget(&other).await?)
            }
            "forget_leaves_what_was_turned_away" => {
                let page = self.inner.read(&Query::oldest(MAX_ENTRIES)).await?;
                let gone = self.inner.forget(user).await?;
                let left = self.inner.read(&Query::oldest(MAX_ENTRIES)).await?;
                let left: Vec<_> = left.entries.iter().map(|entry| entry.id).collect();
                for entry in page.entries {
                    if entry.event.kind == EventKind::RateLimited && !left.contains(&entry.id) {
                        self.inner.record(&entry.event)?;
                    }
                }
                Ok(gone)
            }
            "forget_takes_shared_names" => {
                let mut events = Vec::new();
                let mut query = Query::oldest(MAX_ENTRIES);
                loop {
                    let page = self.inner.read(&query).await?;
                    events.extend(page.entries.into_iter().map(|entry| entry.event));
                    query.beyond = page.last.map(|(position, _)| position);
                    if !page.more {
                        break;
                    }
                }
                // As if nobody else had ever had a name.
                let end = Timestamp::from_unix_micros(i64::MAX);
                let _ = self.inner.purge(end, u32::MAX).await?;
                let (others, mine): (Vec<_>, Vec<_>) = events
                    .into_iter()
                    .partition(|event| event.user.as_ref().is_some_and(|it| it != user));
                for event in &mine {
                    self.inner.record(event)?;
                }
                let gone = self.inner.forget(user).await?;
                for event in &others {
                    self.inner.record(event)?;
                }
                Ok(gone)
            }
            "forget_answers_only" => {
                let page = self.inner.read(&Query::newest(1_000)).await?;
                Ok(u64::try_from(page.entries.len()).unwrap())
            }
            _ => self.inner.forget(user).await,
        }
    }
}
