//! Job queues, all but one broken.

use std::sync::Mutex;

use async_trait::async_trait;
use password_reset::Timestamp;
use password_reset::error::BoxError;
use password_reset::queue::{Job, JobQueue, Lease, LeasedJob, Task};
use tokio::task::yield_now;

#[derive(Clone)]
struct Row {
    job: Job,
    next: Timestamp,
    attempt: u32,
    leased: bool,
}

impl Row {
    fn held_by(&self, lease: &Lease) -> bool {
        self.job.id == lease.job && self.leased && self.attempt == lease.attempt
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
}
