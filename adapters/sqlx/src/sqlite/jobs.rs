//! [`JobQueue`] on SQLite.

use async_trait::async_trait;
use password_reset::Timestamp;
use password_reset::error::BoxError;
use password_reset::queue::{Job, JobQueue, Lease, LeasedJob};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::SqliteBackend;
use crate::columns::JobColumns;
use crate::error::Error;

pub(super) const PUSH: &str =
    "INSERT INTO password_reset_jobs (id, due, leased_until, attempt, task)
VALUES (?1, ?2, NULL, 0, ?3)";

pub(super) const LEASE: &str = "UPDATE password_reset_jobs
SET leased_until = ?2, attempt = attempt + 1
WHERE id IN (
    SELECT id FROM password_reset_jobs
    WHERE due <= ?1 AND (leased_until IS NULL OR leased_until <= ?1)
    ORDER BY due LIMIT ?3)
RETURNING id, due, attempt, task";

pub(super) const ACK: &str = "DELETE FROM password_reset_jobs
WHERE id = ?1 AND attempt = ?2 AND leased_until IS NOT NULL";

pub(super) const RETRY: &str = "UPDATE password_reset_jobs
SET due = ?3, leased_until = NULL
WHERE id = ?1 AND attempt = ?2 AND leased_until IS NOT NULL";

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
