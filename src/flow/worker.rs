//! Who does the waiting work.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::time::Duration;

use crate::audit::{EventKind, Step};
use crate::error::{Backend, BackendError};
use crate::flow::code::CodeJob;
use crate::flow::deliver::Undone;
use crate::flow::{ResetFlow, Retry};
use crate::queue::{JobId, LeasedJob, Task};
use crate::random;

#[cfg(feature = "tokio")]
mod spawned;
#[cfg(feature = "tokio")]
pub(super) use spawned::Alarm;
#[cfg(feature = "tokio")]
pub use spawned::{WorkerHandle, WorkerOptions};

/// How long a worker may take over one job before another may have it.
pub(super) const JOB_LEASE: Duration = Duration::from_secs(120);

/// What one round of a worker did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct RunReport {
    /// Jobs done.
    pub done: u32,
    /// Jobs put back for another try.
    pub retried: u32,
    /// Jobs given up; the queue keeps them as dead letters.
    pub dead: u32,
    /// Abandoned claims looked at.
    pub swept: u32,
    /// Calls to the queue, or sweeps, that failed, and jobs whose lease was lost.
    pub failures: u32,
}

/// Does the work that requests leave: mails, notices, and the tokens that somebody claimed and
/// never finished.
///
/// Any number of workers, on any number of machines, may share one queue. Without a runtime, call
/// [`run_due`](Worker::run_due) every second or so; with feature `tokio`, [`spawn`](Worker::spawn)
/// does it.
#[derive(Clone, Debug)]
pub struct Worker {
    flow: ResetFlow,
}

impl ResetFlow {
    /// A worker of this flow, for all tenants.
    pub fn worker(&self) -> Worker {
        Worker {
            flow: Self {
                core: self.core.clone(),
                tenant: None,
            },
        }
    }
}

/// How one job ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ended {
    Done,
    Retried,
    Dead,
    /// The queue would not take the outcome; the lease runs out.
    Unknown,
}

impl Worker {
    /// Sweeps, then does everything that is due, one job after the other.
    ///
    /// Never fails and never panics: what goes wrong is in the report and in the audit trail, and
    /// is tried again. Needs no runtime and no timer, so it cannot cut off a mailer that hangs:
    /// give the mailer time limits of its own.
    pub async fn run_due(&self) -> RunReport {
        let mut report = RunReport::default();
        // First, so that the notices of what it settles go out in this round.
        self.sweep_into(&mut report).await;
        let now = self.flow.now();
        loop {
            // One at a time: a lease that waits behind slow mails would run out.
            match self.lease(now, 1).await {
                Ok(jobs) if jobs.is_empty() => break,
                Ok(jobs) => {
                    for leased in jobs {
                        report.count(self.run(leased).await);
                    }
                }
                Err(_) => {
                    report.failures = report.failures.saturating_add(1);
                    break;
                }
            }
        }
        report
    }

    async fn sweep_into(&self, report: &mut RunReport) {
        loop {
            match contain(self.flow.sweep()).await {
                Some(Ok((count, more))) => {
                    report.swept = report.swept.saturating_add(count);
                    if !more {
                        return;
                    }
                }
                failed => {
                    if failed.is_none() {
                        self.panicked(None);
                    }
                    report.failures = report.failures.saturating_add(1);
                    return;
                }
            }
        }
    }

    async fn lease(&self, now: crate::Timestamp, max: u32) -> Result<Vec<LeasedJob>, BackendError> {
        let until = self.flow.now() + JOB_LEASE;
        match contain(self.flow.core.queue.lease(now, until, max)).await {
            Some(leased) => leased.map_err(|e| self.flow.failed(Backend::Queue, Step::Work, e)),
            None => Err(self
                .flow
                .failed(Backend::Queue, Step::Work, "the queue panicked")),
        }
    }

    /// Runs one job and tells the queue how it ended.
    async fn run(&self, leased: LeasedJob) -> Ended {
        // Before the work: a job that ends its worker's process cannot be given up after it.
        let undone = if leased.lease.attempt > self.retry_of(&leased).attempts {
            Some(Undone::Never)
        } else {
            match contain(self.attempt(&leased)).await {
                Some(Ok(())) => None,
                Some(Err(undone)) => Some(undone),
                None => {
                    self.panicked(Some(leased.job.id));
                    Some(Undone::Later)
                }
            }
        };
        match contain(self.conclude(&leased, undone)).await {
            Some(ended) => ended,
            None => {
                self.panicked(Some(leased.job.id));
                Ended::Unknown
            }
        }
    }

    fn panicked(&self, job: Option<JobId>) {
        let mut event = self.flow.event(EventKind::WorkerPanicked);
        event.job = job;
        self.flow.record(event);
    }

    async fn attempt(&self, leased: &LeasedJob) -> Result<(), Undone> {
        match &leased.job.task {
            Task::Deliver {
                identifier,
                suppressed,
            } => self.flow.deliver(leased, identifier, *suppressed).await,
            Task::Notice { .. } => self.flow.notice(leased).await,
            Task::Code {
                identifier,
                channel,
                handle,
                suppressed,
            } => {
                let code = CodeJob {
                    identifier,
                    channel: *channel,
                    handle: *handle,
                    suppressed: *suppressed,
                };
                self.flow.deliver_code(leased, &code).await
            }
            Task::Start { .. } => self.flow.start(leased).await,
            Task::Unreadable(_) => Err(Undone::Later),
        }
    }

    async fn conclude(&self, leased: &LeasedJob, undone: Option<Undone>) -> Ended {
        let queue = &self.flow.core.queue;
        let attempt = leased.lease.attempt;
        let wait = match undone {
            Some(Undone::Later) => self.retry_of(leased).wait(attempt),
            _ => None,
        };
        let (told, ended) = match (&undone, wait) {
            (None, _) => (queue.ack(&leased.lease).await, Ended::Done),
            (Some(_), Some(wait)) => {
                let due = self.flow.now() + self.jittered(wait);
                self.schedule(due);
                (queue.retry(&leased.lease, due).await, Ended::Retried)
            }
            (Some(_), None) => {
                let mut event = self.flow.event(EventKind::DeadLetter { attempts: attempt });
                event.job = Some(leased.job.id);
                self.flow.record(event);
                let buried = queue.bury(&leased.lease, self.flow.now()).await;
                (buried, Ended::Dead)
            }
        };
        match told {
            Ok(true) => ended,
            // Somebody else has the lease by now.
            Ok(false) => Ended::Unknown,
            Err(source) => {
                let _ = self.flow.failed(Backend::Queue, Step::Work, source);
                Ended::Unknown
            }
        }
    }

    fn retry_of(&self, leased: &LeasedJob) -> Retry {
        let settings = &self.flow.core.settings;
        match leased.job.task {
            Task::Notice { .. } => settings.notice_retry,
            _ => settings.link_retry,
        }
    }

    /// Shortened by up to a half; in full where the generator fails.
    fn jittered(&self, wait: Duration) -> Duration {
        let half = u64::try_from(wait.as_micros() / 2).unwrap_or(u64::MAX);
        let off = random::below(self.flow.core.random.as_ref(), half).unwrap_or(0);
        wait.saturating_sub(Duration::from_micros(off))
    }

    fn schedule(&self, due: crate::Timestamp) {
        #[cfg(feature = "tokio")]
        self.flow.core.alarm.set(due);
        #[cfg(not(feature = "tokio"))]
        let _ = due;
    }
}

impl RunReport {
    fn count(&mut self, ended: Ended) {
        let counter = match ended {
            Ended::Done => &mut self.done,
            Ended::Retried => &mut self.retried,
            Ended::Dead => &mut self.dead,
            Ended::Unknown => &mut self.failures,
        };
        *counter = counter.saturating_add(1);
    }
}

/// Awaits a future; `None` when it panics. A backend that panics must not end the worker (W47).
pub(super) async fn contain<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(poll) => poll.map(Some),
            Err(_) => std::task::Poll::Ready(None),
        }
    })
    .await
}
