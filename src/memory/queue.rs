//! Jobs in a map and in the order in which they are due.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::{NoRoom, lock};
use crate::clock::Timestamp;
use crate::error::BoxError;
use crate::queue::{DeadLetter, Job, JobId, JobQueue, Lease, LeasedJob, QueueLength};

/// A [`JobQueue`] in memory. Clones share their jobs.
///
/// A restart loses what waits in it: people who asked for a link get none and ask again.
#[derive(Clone)]
pub struct MemoryQueue(Arc<Mutex<Inner>>);

impl MemoryQueue {
    /// An empty queue for at most `jobs` jobs, dead letters included. When it is full, a new job
    /// takes the place of the oldest dead letter; if there is none, `push` fails.
    pub fn with_capacity(jobs: usize) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            capacity: jobs,
            ..Inner::default()
        })))
    }
}

impl Default for MemoryQueue {
    /// Room for 10,000 jobs.
    fn default() -> Self {
        Self::with_capacity(10_000)
    }
}

impl fmt::Debug for MemoryQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The jobs are not shown: they name people.
        f.debug_struct("MemoryQueue").finish_non_exhaustive()
    }
}

#[async_trait]
impl JobQueue for MemoryQueue {
    async fn push(&self, job: &Job) -> Result<(), BoxError> {
        lock(&self.0).push(job)
    }

    async fn lease(
        &self,
        now: Timestamp,
        until: Timestamp,
        max: u32,
    ) -> Result<Vec<LeasedJob>, BoxError> {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        Ok(lock(&self.0).lease(now, until, max))
    }

    async fn ack(&self, lease: &Lease) -> Result<bool, BoxError> {
        Ok(lock(&self.0).ack(lease))
    }

    async fn retry(&self, lease: &Lease, due: Timestamp) -> Result<bool, BoxError> {
        Ok(lock(&self.0).retry(lease, due))
    }

    async fn bury(&self, lease: &Lease, at: Timestamp) -> Result<bool, BoxError> {
        Ok(lock(&self.0).bury(lease, at))
    }

    async fn dead_letters(&self, max: u32) -> Result<Vec<DeadLetter>, BoxError> {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        Ok(lock(&self.0).dead.values().take(max).cloned().collect())
    }

    async fn revive(&self, dead: &JobId, id: &JobId, due: Timestamp) -> Result<bool, BoxError> {
        lock(&self.0).revive(dead, id, due)
    }

    async fn purge_dead(&self, before: Timestamp, limit: u32) -> Result<u64, BoxError> {
        Ok(lock(&self.0).purge_dead(before, limit))
    }

    async fn length(&self, now: Timestamp) -> Result<QueueLength, BoxError> {
        Ok(lock(&self.0).length(now))
    }
}

#[derive(Default)]
struct Inner {
    capacity: usize,
    pushed: u64,
    jobs: HashMap<JobId, Waiting>,
    order: BTreeSet<(Timestamp, u64, JobId)>,
    dead: BTreeMap<(Timestamp, JobId), DeadLetter>,
}

struct Waiting {
    job: Job,
    /// Jobs that are due at the same moment keep their order.
    number: u64,
    /// When it may be leased (again).
    next: Timestamp,
    attempt: u32,
    leased: bool,
}

impl Waiting {
    fn place(&self) -> (Timestamp, u64, JobId) {
        (self.next, self.number, self.job.id)
    }

    fn is_held_by(&self, lease: &Lease) -> bool {
        self.leased && self.attempt == lease.attempt
    }
}

impl Inner {
    fn push(&mut self, job: &Job) -> Result<(), BoxError> {
        if self.jobs.contains_key(&job.id) || self.grave(&job.id).is_some() {
            return Err("the job's id is taken".into());
        }
        // Those who ask now go before those who were given up.
        if self.jobs.len() + self.dead.len() >= self.capacity {
            self.dead.pop_first();
        }
        if self.jobs.len() + self.dead.len() >= self.capacity {
            return Err(NoRoom { what: "job" }.into());
        }
        let waiting = Waiting {
            job: job.clone(),
            number: self.pushed,
            next: job.due,
            attempt: 0,
            leased: false,
        };
        self.pushed = self.pushed.wrapping_add(1);
        self.order.insert(waiting.place());
        self.jobs.insert(job.id, waiting);
        Ok(())
    }

    fn lease(&mut self, now: Timestamp, until: Timestamp, max: usize) -> Vec<LeasedJob> {
        let last = (now, u64::MAX, JobId::from_bytes([u8::MAX; 16]));
        let due: Vec<_> = self.order.range(..=last).take(max).copied().collect();
        let mut leased = Vec::with_capacity(due.len());
        for place in due {
            let Some(waiting) = self.jobs.get_mut(&place.2) else {
                continue;
            };
            self.order.remove(&place);
            waiting.attempt = waiting.attempt.saturating_add(1);
            waiting.leased = true;
            waiting.next = until;
            self.order.insert(waiting.place());
            leased.push(LeasedJob {
                lease: Lease {
                    job: waiting.job.id,
                    attempt: waiting.attempt,
                },
                job: waiting.job.clone(),
            });
        }
        leased
    }

    fn ack(&mut self, lease: &Lease) -> bool {
        self.take(lease).is_some()
    }

    /// Takes a job out whose lease is this one.
    fn take(&mut self, lease: &Lease) -> Option<Waiting> {
        let held = self.jobs.get(&lease.job).filter(|w| w.is_held_by(lease));
        let place = held.map(Waiting::place)?;
        self.order.remove(&place);
        self.jobs.remove(&lease.job)
    }

    fn retry(&mut self, lease: &Lease, due: Timestamp) -> bool {
        let Some(waiting) = self
            .jobs
            .get_mut(&lease.job)
            .filter(|w| w.is_held_by(lease))
        else {
            return false;
        };
        self.order.remove(&waiting.place());
        waiting.leased = false;
        waiting.next = due;
        self.order.insert(waiting.place());
        true
    }

    fn bury(&mut self, lease: &Lease, at: Timestamp) -> bool {
        let Some(Waiting { job, attempt, .. }) = self.take(lease) else {
            return false;
        };
        let letter = DeadLetter {
            id: job.id,
            task: job.task,
            attempts: attempt,
            at,
        };
        self.dead.insert((at, job.id), letter);
        true
    }

    /// Where a dead letter is kept. There are few.
    fn grave(&self, dead: &JobId) -> Option<(Timestamp, JobId)> {
        self.dead.keys().find(|(_, id)| id == dead).copied()
    }

    fn revive(&mut self, dead: &JobId, id: &JobId, due: Timestamp) -> Result<bool, BoxError> {
        let Some((grave, letter)) = self.grave(dead).and_then(|g| self.dead.remove_entry(&g))
        else {
            return Ok(false);
        };
        let job = Job {
            id: *id,
            due,
            task: letter.task.clone(),
        };
        let pushed = self.push(&job);
        if pushed.is_err() {
            self.dead.insert(grave, letter);
        }
        pushed.map(|()| true)
    }

    fn purge_dead(&mut self, before: Timestamp, limit: u32) -> u64 {
        let mut purged = 0;
        while purged < u64::from(limit)
            && let Some(first) = self.dead.first_entry()
            && first.key().0 < before
        {
            first.remove();
            purged += 1;
        }
        purged
    }

    fn length(&self, now: Timestamp) -> QueueLength {
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let due = self.order.iter().take_while(|(next, ..)| *next <= now);
        let due = count(due.count());
        QueueLength {
            due,
            waiting: count(self.jobs.len()).saturating_sub(due),
            dead: count(self.dead.len()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::queue::Task;

    fn job(number: u8) -> Job {
        Job {
            id: JobId::from_bytes([number; 16]),
            due: Timestamp::from_unix_micros(0),
            task: Task::Unreadable(vec![number]),
        }
    }

    #[test]
    fn dead_letters_give_way() {
        let mut queue = Inner {
            capacity: 2,
            ..Inner::default()
        };
        let now = Timestamp::from_unix_micros(1);
        for number in [1, 2] {
            queue.push(&job(number)).unwrap();
            let leased = queue.lease(now, now, 1);
            assert!(queue.bury(&leased.first().unwrap().lease, now));
        }
        queue.push(&job(3)).unwrap();
        assert_eq!((queue.jobs.len(), queue.dead.len()), (1, 1));
        queue.push(&job(4)).unwrap();
        assert!(queue.push(&job(5)).is_err());
        assert_eq!((queue.jobs.len(), queue.dead.len()), (2, 0));
    }

    #[test]
    fn a_full_queue_takes_no_job_and_loses_none() {
        let mut queue = Inner {
            capacity: 2,
            ..Inner::default()
        };
        assert!(queue.push(&job(1)).is_ok());
        assert!(queue.push(&job(2)).is_ok());
        assert!(queue.push(&job(3)).is_err());
        let now = Timestamp::from_unix_micros(1);
        let leased = queue.lease(now, now, 10);
        // In the order in which they came.
        assert_eq!(
            leased.iter().map(|l| l.job.id).collect::<Vec<_>>(),
            [job(1).id, job(2).id]
        );
        assert!(leased.iter().all(|leased| queue.ack(&leased.lease)));
        assert!(queue.order.is_empty() && queue.jobs.is_empty());
        assert!(queue.push(&job(3)).is_ok());
    }
}
