//! The worker as a tokio task: wake-up, time limits, back-off, graceful shutdown.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use crate::Timestamp;
use crate::audit::Step;
use crate::error::{Backend, BackendError};
use crate::flow::worker::{Ended, RunReport, Undone, Worker, contain};
use crate::queue::LeasedJob;

const TOO_LONG: &str = "it took too long";
/// How often the sweep looks for abandoned claims.
const SWEEP_EVERY: Duration = Duration::from_secs(15);
/// How often dead records are purged, and how many at once.
const PURGE_EVERY: Duration = Duration::from_secs(600);
const PURGE_BATCH: u32 = 1_000;
/// The longest pause after the queue failed.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(30);

/// How many due times are kept; what is beyond is found by polling.
const MAX_ALARMS: usize = 4_096;

/// Tells the workers of this process when the jobs that this process knows of are due.
#[derive(Default)]
pub(in crate::flow) struct Alarm {
    due: Mutex<BinaryHeap<Reverse<Timestamp>>>,
    changed: Notify,
}

impl Alarm {
    pub(in crate::flow) fn set(&self, due: Timestamp) {
        let mut known = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let first = known.peek().is_none_or(|Reverse(next)| due < *next);
        if known.len() < MAX_ALARMS {
            known.push(Reverse(due));
        }
        drop(known);
        if first {
            self.changed.notify_one();
        }
    }

    /// How long until the next one rings. Past alarms ring now, all at once.
    fn until(&self, now: Timestamp) -> Option<Duration> {
        let mut known = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let mut past = false;
        while known.peek().is_some_and(|Reverse(due)| *due <= now) {
            known.pop();
            past = true;
        }
        match past {
            true => Some(Duration::ZERO),
            false => known.peek().map(|Reverse(due)| due.since(now)),
        }
    }
}

/// Numbers of a spawned worker.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct WorkerOptions {
    /// Jobs that run at the same time: 8 by default.
    pub parallel: u32,
    /// How often the queue is asked when nothing is known to be due: every second by default.
    pub poll: Duration,
    /// How long one job may take before it is cut off and tried again: 30 s by default, at most
    /// 100 s, which is below the job's lease.
    pub job_limit: Duration,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            parallel: 8,
            poll: Duration::from_secs(1),
            job_limit: Duration::from_secs(30),
        }
    }
}

impl WorkerOptions {
    /// How many jobs may run at the same time.
    pub fn parallel(mut self, jobs: u32) -> Self {
        self.parallel = jobs.max(1);
        self
    }

    /// How often the queue is asked.
    pub fn poll(mut self, every: Duration) -> Self {
        self.poll = every;
        self
    }

    /// How long one job may take.
    pub fn job_limit(mut self, limit: Duration) -> Self {
        self.job_limit = limit;
        self
    }
}

/// A running worker. Dropping it stops the worker after the jobs it is at.
#[must_use]
pub struct WorkerHandle {
    stop: watch::Sender<bool>,
    task: JoinHandle<RunReport>,
}

impl WorkerHandle {
    /// Leases no further jobs, finishes those that run, and answers what was done since the start.
    pub async fn shutdown(self) -> RunReport {
        let _ = self.stop.send(true);
        self.task.await.unwrap_or_default()
    }
}

impl fmt::Debug for WorkerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerHandle").finish_non_exhaustive()
    }
}

impl Worker {
    /// Runs in the background of the present tokio runtime until shut down.
    ///
    /// Wakes up when a job that this process queued is due, and asks the queue every
    /// [`poll`](WorkerOptions::poll) for what other processes queued; sweeps every 15 seconds and
    /// purges every 10 minutes, a thousand records
    /// at a time. When the queue fails it waits, twice as long each time up to 30
    /// seconds.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn spawn(self, options: WorkerOptions) -> WorkerHandle {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(self.work(options, stopped));
        WorkerHandle { stop, task }
    }

    async fn work(self, options: WorkerOptions, mut stopped: watch::Receiver<bool>) -> RunReport {
        let limit = options.job_limit.min(Duration::from_secs(100));
        let poll = options.poll.max(Duration::from_millis(1));
        let mut report = RunReport::default();
        let mut running = JoinSet::new();
        let mut back_off = Duration::ZERO;
        let mut next_sweep = Instant::now();
        let mut next_purge = Instant::now() + PURGE_EVERY;
        while !*stopped.borrow() {
            if next_sweep <= Instant::now() {
                self.sweep_within(limit, &mut report).await;
                next_sweep = Instant::now() + SWEEP_EVERY;
            }
            if next_purge <= Instant::now() {
                // One batch at a time, so that nobody waits behind a large one; more of them
                // while there is more.
                let more = self.purge_within(limit).await;
                next_purge = Instant::now() + if more { poll } else { PURGE_EVERY };
            }
            // Before the queue is asked: a job that is pushed from now on rings again.
            let rings = self.flow.core.alarm.until(self.flow.now());
            let sweep_in = next_sweep.saturating_duration_since(Instant::now());
            let pause = poll.min(sweep_in);
            let mut wait = rings.unwrap_or(pause).min(pause);
            let busy = u32::try_from(running.len()).unwrap_or(u32::MAX);
            let free = options.parallel.max(1).saturating_sub(busy);
            if free > 0 {
                match self.lease_within(limit, free).await {
                    Ok(jobs) => {
                        back_off = Duration::ZERO;
                        if u32::try_from(jobs.len()).is_ok_and(|count| count == free) {
                            wait = Duration::ZERO;
                        }
                        for leased in jobs {
                            running.spawn(self.clone().run_within(limit, leased));
                        }
                    }
                    Err(_) => {
                        report.failures = report.failures.saturating_add(1);
                        back_off = back_off.saturating_mul(2).max(poll).min(LONGEST_BACK_OFF);
                        wait = back_off;
                    }
                }
            } else {
                wait = pause;
            }
            tokio::select! {
                _ = stopped.changed() => break,
                Some(ended) = running.join_next(), if !running.is_empty() => {
                    report.count(ended.unwrap_or(Ended::Unknown));
                }
                () = self.flow.core.alarm.changed.notified(), if back_off.is_zero() => {}
                () = sleep(wait) => {}
            }
        }
        while let Some(ended) = running.join_next().await {
            report.count(ended.unwrap_or(Ended::Unknown));
        }
        report
    }

    /// A sweep that hangs is cut off; its claims run out and are found again.
    async fn sweep_within(&self, limit: Duration, report: &mut RunReport) {
        if timeout(limit, self.sweep_into(report)).await.is_err() {
            let _ = self.flow.failed(Backend::Tokens, Step::Sweep, TOO_LONG);
            report.failures = report.failures.saturating_add(1);
        }
    }

    /// Whether a batch was full.
    async fn purge_within(&self, limit: Duration) -> bool {
        let records = timeout(limit, contain(self.flow.purge(PURGE_BATCH))).await;
        let letters = contain(self.flow.purge_dead_letters(PURGE_BATCH));
        let letters = timeout(limit, letters).await;
        [records, letters]
            .iter()
            .any(|purged| matches!(purged, Ok(Some(Ok(count))) if *count >= u64::from(PURGE_BATCH)))
    }

    async fn lease_within(
        &self,
        limit: Duration,
        max: u32,
    ) -> Result<Vec<LeasedJob>, BackendError> {
        let leased = timeout(limit, self.lease(self.flow.now(), max)).await;
        leased.unwrap_or_else(|_| Err(self.flow.failed(Backend::Queue, Step::Work, TOO_LONG)))
    }

    /// A job that takes too long is cut off at its present await, which is a crash like any other:
    /// it is put back and tried again.
    async fn run_within(self, limit: Duration, leased: LeasedJob) -> Ended {
        if let Ok(ended) = timeout(limit, self.run(leased.clone())).await {
            return ended;
        }
        let _ = self.flow.failed(Backend::Mailer, Step::Work, TOO_LONG);
        let told = timeout(limit, contain(self.conclude(&leased, Some(Undone::Later)))).await;
        match told {
            Ok(Some(ended)) => ended,
            Ok(None) => {
                self.panicked(Some(leased.job.id));
                Ended::Unknown
            }
            Err(_) => Ended::Unknown,
        }
    }
}
