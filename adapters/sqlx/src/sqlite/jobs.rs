//! [`JobQueue`] on SQLite.

use async_trait::async_trait;
use password_reset::Timestamp;
use password_reset::error::BoxError;
use password_reset::queue::{DeadLetter, Job, JobId, JobQueue, Lease, LeasedJob, QueueLength};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::SqliteBackend;
use crate::columns::JobColumns;
use crate::error::Error;

pub(super) const PUSH: &str =
    "INSERT INTO password_reset_jobs (id, due, leased_until, attempt, task, dead_at)
VALUES (?1, ?2, NULL, 0, ?3, NULL)";

pub(super) const LEASE: &str = "UPDATE password_reset_jobs
SET leased_until = ?2, attempt = attempt + 1
WHERE id IN (
    SELECT id FROM password_reset_jobs
    WHERE due <= ?1 AND dead_at IS NULL AND (leased_until IS NULL OR leased_until <= ?1)
    ORDER BY due LIMIT ?3)
RETURNING id, due, attempt, task";

pub(super) const ACK: &str = "DELETE FROM password_reset_jobs
WHERE id = ?1 AND attempt = ?2 AND leased_until IS NOT NULL";

pub(super) const RETRY: &str = "UPDATE password_reset_jobs
SET due = ?3, leased_until = NULL
WHERE id = ?1 AND attempt = ?2 AND leased_until IS NOT NULL";

pub(super) const BURY: &str = "UPDATE password_reset_jobs
SET due = 9223372036854775807, leased_until = NULL, dead_at = ?3
WHERE id = ?1 AND attempt = ?2 AND leased_until IS NOT NULL";

pub(super) const DEAD: &str = "SELECT id, task, attempt, dead_at FROM password_reset_jobs
WHERE dead_at IS NOT NULL ORDER BY dead_at LIMIT ?1";

pub(super) const REVIVE: &str = "UPDATE password_reset_jobs
SET id = ?2, due = ?3, attempt = 0, dead_at = NULL
WHERE id = ?1 AND dead_at IS NOT NULL";

pub(super) const PURGE_DEAD: &str = "DELETE FROM password_reset_jobs
WHERE id IN (
    SELECT id FROM password_reset_jobs
    WHERE dead_at IS NOT NULL AND dead_at < ?1
    ORDER BY dead_at LIMIT ?2)";

pub(super) const LENGTH: &str = "SELECT
    count(*) FILTER (WHERE dead_at IS NULL AND due <= ?1
        AND (leased_until IS NULL OR leased_until <= ?1)) AS due,
    count(*) AS jobs,
    count(dead_at) AS dead
FROM password_reset_jobs";

#[async_trait]
impl JobQueue for SqliteBackend {
    async fn push(&self, job: &Job) -> Result<(), BoxError> {
        let push = sqlx::query(PUSH)
            .bind(job.id.as_bytes().as_slice())
            .bind(job.due.unix_micros())
            .bind(job.task.encode());
        self.writer().await?.execute(push).await?;
        Ok(())
    }

    async fn lease(
        &self,
        now: Timestamp,
        until: Timestamp,
        max: u32,
    ) -> Result<Vec<LeasedJob>, BoxError> {
        let lease = sqlx::query(LEASE)
            .bind(now.unix_micros())
            .bind(until.unix_micros())
            .bind(i64::from(max));
        let rows = self.writer().await?.rows(lease).await?;
        let mut leased = rows.iter().map(job).collect::<Result<Vec<_>, _>>()?;
        // RETURNING answers in no order.
        leased.sort_by_key(|leased| (leased.job.due, leased.job.id));
        Ok(leased)
    }

    async fn ack(&self, lease: &Lease) -> Result<bool, BoxError> {
        let ack = sqlx::query(ACK)
            .bind(lease.job.as_bytes().as_slice())
            .bind(i64::from(lease.attempt));
        Ok(self.writer().await?.execute(ack).await? == 1)
    }

    async fn retry(&self, lease: &Lease, due: Timestamp) -> Result<bool, BoxError> {
        let retry = sqlx::query(RETRY)
            .bind(lease.job.as_bytes().as_slice())
            .bind(i64::from(lease.attempt))
            .bind(due.unix_micros());
        Ok(self.writer().await?.execute(retry).await? == 1)
    }

    async fn bury(&self, lease: &Lease, at: Timestamp) -> Result<bool, BoxError> {
        let bury = sqlx::query(BURY)
            .bind(lease.job.as_bytes().as_slice())
            .bind(i64::from(lease.attempt))
            .bind(at.unix_micros());
        Ok(self.writer().await?.execute(bury).await? == 1)
    }

    async fn dead_letters(&self, max: u32) -> Result<Vec<DeadLetter>, BoxError> {
        let dead = sqlx::query(DEAD).bind(i64::from(max));
        let rows = dead.fetch_all(&self.reader).await.map_err(Error::from)?;
        Ok(rows.iter().map(dead_letter).collect::<Result<_, _>>()?)
    }

    async fn revive(&self, dead: &JobId, id: &JobId, due: Timestamp) -> Result<bool, BoxError> {
        let revive = sqlx::query(REVIVE)
            .bind(dead.as_bytes().as_slice())
            .bind(id.as_bytes().as_slice())
            .bind(due.unix_micros());
        Ok(self.writer().await?.execute(revive).await? == 1)
    }

    async fn purge_dead(&self, before: Timestamp, limit: u32) -> Result<u64, BoxError> {
        let purge = sqlx::query(PURGE_DEAD)
            .bind(before.unix_micros())
            .bind(i64::from(limit));
        Ok(self.writer().await?.execute(purge).await?)
    }

    async fn length(&self, now: Timestamp) -> Result<QueueLength, BoxError> {
        let length = sqlx::query(LENGTH).bind(now.unix_micros());
        let row = length.fetch_one(&self.reader).await.map_err(Error::from)?;
        let number = |column| -> Result<u64, Error> {
            let number: i64 = row.try_get(column)?;
            Ok(u64::try_from(number).unwrap_or_default())
        };
        let (due, dead) = (number("due")?, number("dead")?);
        let waiting = number("jobs")?.saturating_sub(due).saturating_sub(dead);
        Ok(QueueLength { due, waiting, dead })
    }
}

fn job(row: &SqliteRow) -> Result<LeasedJob, Error> {
    JobColumns {
        id: row.try_get("id")?,
        due: row.try_get("due")?,
        attempt: row.try_get("attempt")?,
        task: row.try_get("task")?,
    }
    .try_into()
}

fn dead_letter(row: &SqliteRow) -> Result<DeadLetter, Error> {
    let at: i64 = row.try_get("dead_at")?;
    let columns = JobColumns {
        id: row.try_get("id")?,
        due: at,
        attempt: row.try_get("attempt")?,
        task: row.try_get("task")?,
    };
    let LeasedJob { lease, job } = columns.try_into()?;
    Ok(DeadLetter {
        id: job.id,
        task: job.task,
        attempts: lease.attempt,
        at: job.due,
    })
}
