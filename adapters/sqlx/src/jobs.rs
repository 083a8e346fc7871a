//! [`JobQueue`] on SQL.

use async_trait::async_trait;
use password_reset::Timestamp;
use password_reset::error::BoxError;
use password_reset::queue::{DeadLetter, Job, JobId, JobQueue, Lease, LeasedJob, QueueLength};

use crate::backend::SqlBackend;
use crate::columns::JobColumns;
use crate::driver::{Driver, Flavour, Syntax};
use crate::error::Error;
use crate::session::{Again, Session, Transaction};
use crate::statement::{Statement, values};
use crate::tokens::{bytes, int};

pub(crate) struct JobSql {
    pub(crate) push: Statement,
    /// Leases and answers, where one statement can.
    pub(crate) lease: Statement,
    /// The same in two steps.
    pub(crate) due: Statement,
    pub(crate) take: Statement,
    pub(crate) ack: Statement,
    pub(crate) retry: Statement,
    pub(crate) bury: Statement,
    pub(crate) dead: Statement,
    pub(crate) revive: Statement,
    pub(crate) purge_dead: Statement,
    pub(crate) length: Statement,
}

impl JobSql {
    pub(crate) fn new(syntax: &Syntax, write: impl Fn(&str) -> Statement) -> Self {
        let free = "due <= ?1 AND dead_at IS NULL AND (leased_until IS NULL OR leased_until <= ?1)";
        let first = format!("FROM {{jobs}} WHERE {free} ORDER BY due LIMIT");
        let own = "id = ?1 AND attempt = ?2 AND leased_until IS NOT NULL";
        let among = syntax.among(&format!("SELECT id {first} ?3"));
        Self {
            push: write(
                "INSERT INTO {jobs} (id, due, leased_until, attempt, task, dead_at)
                VALUES (?1, ?2, NULL, 0, ?3, NULL)",
            ),
            lease: write(&format!(
                "UPDATE {{jobs}} SET leased_until = ?2, attempt = attempt + 1
                WHERE id {among} RETURNING id, due, attempt, task"
            )),
            due: write(&format!(
                "SELECT id, due, attempt, task {first} ?2 {}",
                syntax.skip_locked
            )),
            take: write("UPDATE {jobs} SET leased_until = ?2, attempt = attempt + 1 WHERE id = ?1"),
            ack: write(&format!("DELETE FROM {{jobs}} WHERE {own}")),
            retry: write(&format!(
                "UPDATE {{jobs}} SET due = ?3, leased_until = NULL WHERE {own}"
            )),
            // Dead letters are due at the end of time, so that no lease meets them.
            bury: write(&format!(
                "UPDATE {{jobs}} SET due = 9223372036854775807, leased_until = NULL, dead_at = ?3
                WHERE {own}"
            )),
            dead: write(
                "SELECT id, task, attempt, dead_at FROM {jobs}
                WHERE dead_at IS NOT NULL ORDER BY dead_at LIMIT ?1",
            ),
            revive: write(
                "UPDATE {jobs} SET id = ?2, due = ?3, leased_until = NULL, attempt = 0,
                    dead_at = NULL
                WHERE id = ?1 AND dead_at IS NOT NULL",
            ),
            purge_dead: write(&syntax.delete_first(
                "{jobs}",
                "id",
                "dead_at IS NOT NULL AND dead_at < ?1",
                "dead_at",
            )),
            length: write(&format!(
                "SELECT count(CASE WHEN {free} THEN 1 END) AS due,
                    count(*) AS jobs, count(dead_at) AS dead
                FROM {{jobs}}"
            )),
        }
    }
}

#[async_trait]
impl<D: Driver> JobQueue for SqlBackend<D> {
    async fn push(&self, job: &Job) -> Result<(), BoxError> {
        let values = values![&job.id, job.due, job.task.encode()];
        self.writer()
            .await?
            .execute(&self.sql.jobs.push, values)
            .await?;
        Ok(())
    }

    async fn lease(
        &self,
        now: Timestamp,
        until: Timestamp,
        max: u32,
    ) -> Result<Vec<LeasedJob>, BoxError> {
        let mut session = self.writer().await?;
        let mut leased = if D::SYNTAX.flavour == Flavour::MySql {
            self.lease_locked(&mut session, now, until, max).await?
        } else {
            let values = values![now, until, max];
            let rows = session.rows(&self.sql.jobs.lease, values).await?;
            rows.iter().map(job::<D>).collect::<Result<Vec<_>, _>>()?
        };
        // Changed rows are answered in no order.
        leased.sort_by_key(|leased| (leased.job.due, leased.job.id));
        Ok(leased)
    }

    async fn ack(&self, lease: &Lease) -> Result<bool, BoxError> {
        let values = values![&lease.job, lease.attempt];
        let mut session = self.writer().await?;
        Ok(session.execute(&self.sql.jobs.ack, values).await?.rows == 1)
    }

    async fn retry(&self, lease: &Lease, due: Timestamp) -> Result<bool, BoxError> {
        let values = values![&lease.job, lease.attempt, due];
        let mut session = self.writer().await?;
        Ok(session.execute(&self.sql.jobs.retry, values).await?.rows == 1)
    }

    async fn bury(&self, lease: &Lease, at: Timestamp) -> Result<bool, BoxError> {
        let values = values![&lease.job, lease.attempt, at];
        let mut session = self.writer().await?;
        Ok(session.execute(&self.sql.jobs.bury, values).await?.rows == 1)
    }

    async fn dead_letters(&self, max: u32) -> Result<Vec<DeadLetter>, BoxError> {
        let mut session = self.reader().await?;
        let rows = session.rows(&self.sql.jobs.dead, values![max]).await?;
        let dead = rows.iter().map(dead_letter::<D>);
        Ok(dead.collect::<Result<_, _>>()?)
    }

    async fn revive(&self, dead: &JobId, id: &JobId, due: Timestamp) -> Result<bool, BoxError> {
        let mut session = self.writer().await?;
        let revived = session.execute(&self.sql.jobs.revive, values![dead, id, due]);
        Ok(revived.await?.rows == 1)
    }

    async fn purge_dead(&self, before: Timestamp, limit: u32) -> Result<u64, BoxError> {
        let mut session = self.writer().await?;
        let purged = session.execute(&self.sql.jobs.purge_dead, values![before, limit]);
        Ok(purged.await?.rows)
    }

    async fn length(&self, now: Timestamp) -> Result<QueueLength, BoxError> {
        let mut session = self.reader().await?;
        let rows = session.rows(&self.sql.jobs.length, values![now]).await?;
        let Some(row) = rows.first() else {
            return Ok(QueueLength::default());
        };
        let number = |column| int::<D>(row, column).map(|n| u64::try_from(n).unwrap_or(0));
        let (due, dead) = (number("due")?, number("dead")?);
        let waiting = number("jobs")?.saturating_sub(due).saturating_sub(dead);
        Ok(QueueLength { due, waiting, dead })
    }
}

impl<D: Driver> SqlBackend<D> {
    async fn lease_locked(
        &self,
        session: &mut Session<D>,
        now: Timestamp,
        until: Timestamp,
        max: u32,
    ) -> Result<Vec<LeasedJob>, Error> {
        let mut again = Again::default();
        loop {
            let mut transaction = session.begin().await?;
            let leased = self.lease_in(&mut transaction, now, until, max).await;
            let leased = transaction.end(leased).await;
            if !again.is_worth_it(&leased).await {
                return leased;
            }
        }
    }

    async fn lease_in(
        &self,
        transaction: &mut Transaction<'_, D>,
        now: Timestamp,
        until: Timestamp,
        max: u32,
    ) -> Result<Vec<LeasedJob>, Error> {
        let sql = &self.sql.jobs;
        let mut leased = Vec::new();
        for row in transaction.rows(&sql.due, values![now, max]).await? {
            let mut due = job::<D>(&row)?;
            due.lease.attempt = due.lease.attempt.saturating_add(1);
            let take = transaction.execute(&sql.take, values![&due.job.id, until]);
            take.await?;
            leased.push(due);
        }
        Ok(leased)
    }
}

fn job<D: Driver>(row: &D::Row) -> Result<LeasedJob, Error> {
    JobColumns {
        id: bytes::<D>(row, "id")?,
        due: int::<D>(row, "due")?,
        attempt: int::<D>(row, "attempt")?,
        task: bytes::<D>(row, "task")?,
    }
    .try_into()
}

fn dead_letter<D: Driver>(row: &D::Row) -> Result<DeadLetter, Error> {
    let columns = JobColumns {
        id: bytes::<D>(row, "id")?,
        due: int::<D>(row, "dead_at")?,
        attempt: int::<D>(row, "attempt")?,
        task: bytes::<D>(row, "task")?,
    };
    let LeasedJob { lease, job } = columns.try_into()?;
    Ok(DeadLetter {
        id: job.id,
        task: job.task,
        attempts: lease.attempt,
        at: job.due,
    })
}
