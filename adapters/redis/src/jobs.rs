//! [`JobQueue`] on Redis.

use std::sync::LazyLock;

use async_trait::async_trait;
use password_reset::Timestamp;
use password_reset::error::BoxError;
use password_reset::queue::{
    DeadLetter, Job, JobId, JobQueue, Lease, LeasedJob, QueueLength, Task,
};
use redis::{Script, Value};

use crate::RedisBackend;
use crate::error::Error;
use crate::keys::digits;
use crate::reply::{array, at, bytes, count, exactly, integer, list, text, yes};
use crate::tokens::AT_ONCE;

static PUSH: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/push.lua")));
static LEASE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/lease.lua")));
static SETTLE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/settle_job.lua")));
static DEAD: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/dead_letters.lua")));
static REVIVE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/revive.lua")));
static PURGE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/purge_dead.lua")));
static LENGTH: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/length.lua")));

#[async_trait]
impl JobQueue for RedisBackend {
    async fn push(&self, job: &Job) -> Result<(), BoxError> {
        let mut script = PUSH.key(self.keys.job(&job.id));
        script
            .key(&self.keys.jobs)
            .arg(job.id.as_bytes().as_slice())
            .arg(digits(job.due))
            .arg(job.task.encode());
        match text(self.link.run(&script).await?, "push")?.as_str() {
            "done" => Ok(()),
            _ => Err(Error::Taken.into()),
        }
    }

    /// At most 1,000 at once: the server does nothing else in the meantime.
    async fn lease(
        &self,
        now: Timestamp,
        until: Timestamp,
        max: u32,
    ) -> Result<Vec<LeasedJob>, BoxError> {
        let mut script = LEASE.key(&self.keys.jobs);
        script
            .arg(digits(now))
            .arg(digits(until))
            .arg(max.min(AT_ONCE))
            .arg(&self.keys.each_job);
        let leased = list(self.link.run(&script).await?, "lease")?;
        Ok(leased.into_iter().map(job).collect::<Result<_, _>>()?)
    }

    async fn ack(&self, lease: &Lease) -> Result<bool, BoxError> {
        Ok(self.settle_job(lease, "ack", None).await?)
    }

    async fn retry(&self, lease: &Lease, due: Timestamp) -> Result<bool, BoxError> {
        Ok(self.settle_job(lease, "retry", Some(due)).await?)
    }

    async fn bury(&self, lease: &Lease, at: Timestamp) -> Result<bool, BoxError> {
        Ok(self.settle_job(lease, "bury", Some(at)).await?)
    }

    async fn dead_letters(&self, max: u32) -> Result<Vec<DeadLetter>, BoxError> {
        let mut script = DEAD.key(&self.keys.dead);
        script.arg(max).arg(&self.keys.each_job);
        let dead = list(self.link.run(&script).await?, "dead")?;
        Ok(dead
            .into_iter()
            .map(dead_letter)
            .collect::<Result<_, _>>()?)
    }

    async fn revive(&self, dead: &JobId, id: &JobId, due: Timestamp) -> Result<bool, BoxError> {
        let mut script = REVIVE.key(self.keys.job(dead));
        script
            .key(self.keys.job(id))
            .key(&self.keys.jobs)
            .key(&self.keys.dead)
            .arg(dead.as_bytes().as_slice())
            .arg(id.as_bytes().as_slice())
            .arg(digits(due));
        match text(self.link.run(&script).await?, "revive")?.as_str() {
            "done" => Ok(true),
            "none" => Ok(false),
            _ => Err(Error::Taken.into()),
        }
    }

    async fn purge_dead(&self, before: Timestamp, limit: u32) -> Result<u64, BoxError> {
        let before = digits(before);
        let purged = self.in_batches(limit, |size| {
            let mut script = PURGE.key(&self.keys.dead);
            script.arg(&before).arg(size).arg(&self.keys.each_job);
            script
        });
        Ok(purged.await?)
    }

    async fn length(&self, now: Timestamp) -> Result<QueueLength, BoxError> {
        let mut script = LENGTH.key(&self.keys.jobs);
        script.key(&self.keys.dead).arg(digits(now));
        let [due, jobs, dead] = exactly(self.link.run(&script).await?, "length")?;
        let due = integer(due, "length")?;
        Ok(QueueLength {
            due,
            waiting: integer(jobs, "length")?.saturating_sub(due),
            dead: integer(dead, "length")?,
        })
    }
}

impl RedisBackend {
    async fn settle_job(
        &self,
        lease: &Lease,
        how: &'static str,
        at: Option<Timestamp>,
    ) -> Result<bool, Error> {
        let mut script = SETTLE.key(self.keys.job(&lease.job));
        script
            .key(&self.keys.jobs)
            .key(&self.keys.dead)
            .arg(lease.job.as_bytes().as_slice())
            .arg(lease.attempt)
            .arg(how)
            .arg(at.map(digits).unwrap_or_default());
        yes(self.link.run(&script).await?, "settle")
    }
}

fn job(value: Value) -> Result<LeasedJob, Error> {
    let [id, due, attempt, task] = exactly(value, "job")?;
    let id = JobId::from_bytes(array(id, "id")?);
    Ok(LeasedJob {
        lease: Lease {
            job: id,
            attempt: count(attempt, "attempt")?,
        },
        job: Job {
            id,
            due: at(due, "due")?,
            task: Task::decode(&bytes(task, "task")?),
        },
    })
}

fn dead_letter(value: Value) -> Result<DeadLetter, Error> {
    let [id, given_up, attempts, task] = exactly(value, "dead")?;
    Ok(DeadLetter {
        id: JobId::from_bytes(array(id, "id")?),
        task: Task::decode(&bytes(task, "task")?),
        attempts: count(attempts, "attempt")?,
        at: at(given_up, "dead")?,
    })
}
