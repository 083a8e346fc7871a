//! Job queues, all but one broken.

use std::sync::Mutex;

use async_trait::async_trait;
use password_reset::Timestamp;
use password_reset::error::BoxError;
use password_reset::queue::{
    DeadLetter, Job, JobId, JobQueue, Lease, LeasedJob, QueueLength, Task,
};
use tokio::task::yield_now;

#[derive(Clone)]
struct Row {
    job: Job,
    next: Timestamp,
    attempt: u32,
    leased: bool,
    dead: Option<Timestamp>,
}

impl Row {
    fn held_by(&self, lease: &Lease) -> bool {
        self.job.id == lease.job && self.leased && self.attempt == lease.attempt
    }

    fn letter(&self, at: Timestamp) -> DeadLetter {
        DeadLetter {
            id: self.job.id,
            task: self.job.task.clone(),
            attempts: self.attempt,
            at,
        }
    }
}

pub(crate) struct Queue {
    defect: &'static str,
    rows: Mutex<Vec<Row>>,
}

impl Queue {
    pub(crate) fn with(defect: &'static str) -> Self {
        Self {
            defect,
            rows: Mutex::default(),
        }
    }

    fn is(&self, defect: &str) -> bool {
        self.defect == defect
    }

    fn rows<T>(&self, work: impl FnOnce(&mut Vec<Row>) -> T) -> T {
        work(&mut self.rows.lock().unwrap())
    }

    fn holds(&self, row: &Row, lease: &Lease) -> bool {
        match self.defect {
            "any_lease_settles" => row.job.id == lease.job && row.leased,
            _ => row.held_by(lease),
        }
    }
}

#[async_trait]
impl JobQueue for Queue {
    async fn push(&self, job: &Job) -> Result<(), BoxError> {
        let mut job = job.clone();
        if let ("suppression_is_lost", Task::Deliver { suppressed, .. }) =
            (self.defect, &mut job.task)
        {
            *suppressed = false;
        }
        let row = Row {
            next: job.due,
            job,
            attempt: 0,
            leased: false,
            dead: None,
        };
        if self.is("push_reads_then_writes") {
            let mut all = self.rows(|rows| rows.clone());
            all.push(row);
            yield_now().await;
            self.rows(|rows| *rows = all);
        } else {
            self.rows(|rows| rows.push(row));
        }
        Ok(())
    }

    async fn lease(
        &self,
        now: Timestamp,
        until: Timestamp,
        max: u32,
    ) -> Result<Vec<LeasedJob>, BoxError> {
        let is_due = |row: &Row| match self.defect {
            _ if row.dead.is_some() && !self.is("the_dead_are_leased") => false,
            "due_is_ignored" => !row.leased || row.next <= now,
            "leased_for_ever" => !row.leased && row.next <= now,
            "leases_do_not_hold" => row.job.due <= now,
            _ => row.next <= now,
        };
        let racy = self.is("lease_reads_then_writes") || self.is("take_over_reads_then_writes");
        let mut due: Vec<Row> =
            self.rows(|rows| rows.iter().filter(|row| is_due(row)).cloned().collect());
        due.sort_by_key(|row| row.next);
        if self.is("youngest_first") {
            due.reverse();
        }
        if !self.is("max_is_ignored") {
            due.truncate(max as usize);
        }
        if self.is("lease_takes_jobs_out") {
            let out = |row: &Row| due.iter().any(|due| due.job.id == row.job.id);
            self.rows(|rows| rows.retain(|row| !out(row)));
            yield_now().await;
            self.rows(|rows| rows.extend(due.iter().cloned()));
        }
        let taken_over = due.iter().any(|row| row.attempt > 0);
        if self.is("lease_reads_then_writes")
            || (self.is("take_over_reads_then_writes") && taken_over)
        {
            yield_now().await;
        }
        Ok(self.rows(|rows| {
            let mut leased = Vec::new();
            for row in due {
                let Some(row) = rows.iter_mut().find(|r| r.job.id == row.job.id) else {
                    continue;
                };
                let stolen = racy && (taken_over || self.is("lease_reads_then_writes"));
                if !is_due(row) && !stolen {
                    continue;
                }
                if !self.is("attempts_are_not_counted") || row.attempt == 0 {
                    row.attempt += 1;
                }
                row.leased = true;
                row.next = until;
                leased.push(LeasedJob {
                    lease: Lease {
                        job: row.job.id,
                        attempt: row.attempt,
                    },
                    job: row.job.clone(),
                });
            }
            leased
        }))
    }

    async fn ack(&self, lease: &Lease) -> Result<bool, BoxError> {
        if self.is("ack_keeps_the_job") {
            return Ok(self.rows(|rows| rows.iter().any(|row| self.holds(row, lease))));
        }
        if self.is("ack_reads_then_writes") {
            let held = self.rows(|rows| rows.iter().any(|row| self.holds(row, lease)));
            yield_now().await;
            if held {
                self.rows(|rows| rows.retain(|row| row.job.id != lease.job));
            }
            return Ok(held);
        }
        Ok(self.rows(|rows| {
            let before = rows.len();
            rows.retain(|row| !self.holds(row, lease));
            rows.len() < before
        }))
    }

    async fn retry(&self, lease: &Lease, due: Timestamp) -> Result<bool, BoxError> {
        Ok(self.rows(|rows| {
            let Some(row) = rows.iter_mut().find(|row| self.holds(row, lease)) else {
                return false;
            };
            row.leased = self.is("retry_keeps_the_lease");
            row.next = match self.defect {
                "retry_is_at_once" => Timestamp::from_unix_micros(0),
                _ => due,
            };
            if self.is("retry_starts_over") {
                row.attempt = 0;
            }
            true
        }))
    }

    async fn bury(&self, lease: &Lease, at: Timestamp) -> Result<bool, BoxError> {
        Ok(self.rows(|rows| {
            let any = self.is("any_lease_buries");
            let mut held = rows.iter_mut().filter(|row| row.dead.is_none());
            let held = held.find(|row| self.holds(row, lease) || (any && row.job.id == lease.job));
            let Some(row) = held else {
                return false;
            };
            row.leased = false;
            row.dead = Some(at);
            if self.is("the_dead_lose_their_attempts") {
                row.attempt = 0;
            }
            let id = row.job.id;
            if self.is("burying_forgets") {
                rows.retain(|row| row.job.id != id);
            }
            true
        }))
    }

    async fn dead_letters(&self, max: u32) -> Result<Vec<DeadLetter>, BoxError> {
        let mut dead: Vec<_> = self.rows(|rows| {
            let dead = rows.iter().filter_map(|row| Some(row.letter(row.dead?)));
            dead.collect()
        });
        dead.sort_by_key(|dead| dead.at);
        if self.is("latest_dead_first") {
            dead.reverse();
        }
        dead.truncate(max as usize);
        Ok(dead)
    }

    async fn revive(&self, dead: &JobId, id: &JobId, due: Timestamp) -> Result<bool, BoxError> {
        let is_dead = |row: &Row| {
            row.job.id == *dead && (row.dead.is_some() || self.is("the_living_are_revived"))
        };
        if self.is("revive_reads_then_writes") {
            let found = self.rows(|rows| rows.iter().find(|row| is_dead(row)).cloned());
            yield_now().await;
            let Some(mut row) = found else {
                return Ok(false);
            };
            row.job.id = *id;
            (row.next, row.attempt, row.dead) = (due, 0, None);
            self.rows(|rows| {
                rows.retain(|row| row.job.id != *dead);
                rows.push(row);
            });
            return Ok(true);
        }
        Ok(self.rows(|rows| {
            let Some(row) = rows.iter_mut().find(|row| is_dead(row)) else {
                return false;
            };
            if !self.is("revived_under_its_old_name") {
                row.job.id = *id;
            }
            if !self.is("attempts_survive_death") {
                row.attempt = 0;
            }
            (row.next, row.dead) = (due, None);
            true
        }))
    }

    async fn purge_dead(&self, before: Timestamp, limit: u32) -> Result<u64, BoxError> {
        let mut left = match self.defect {
            "dead_purge_ignores_its_limit" => u32::MAX,
            _ => limit,
        };
        let old = |row: &Row| match self.defect {
            "purge_takes_the_living" => row.dead.is_none_or(|at| at < before),
            _ => row.dead.is_some_and(|at| at < before),
        };
        Ok(self.rows(|rows| {
            rows.sort_by_key(|row| row.dead);
            let all = rows.len();
            rows.retain(|row| {
                let purged = left > 0 && old(row);
                left -= u32::from(purged);
                !purged
            });
            (all - rows.len()) as u64
        }))
    }

    async fn length(&self, now: Timestamp) -> Result<QueueLength, BoxError> {
        let leased = self.is("leased_jobs_are_not_counted");
        Ok(self.rows(|rows| {
            let count = |is: &dyn Fn(&&Row) -> bool| rows.iter().filter(is).count() as u64;
            QueueLength {
                due: count(&|row| row.dead.is_none() && row.next <= now),
                waiting: count(&|row| {
                    row.dead.is_none() && row.next > now && !(leased && row.leased)
                }),
                dead: count(&|row| row.dead.is_some()),
            }
        }))
    }
}
