//! The watcher as a tokio task: rounds, time limits, back-off, graceful shutdown.

use std::fmt;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::flow::watch::{WatchReport, Watcher};

/// The longest pause after a failure.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(30);

/// Numbers of a spawned watcher.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct WatcherOptions {
    /// How often the trail is read: every second by default.
    pub poll: Duration,
    /// How long one round may take before it is cut off and made again: 60 s by default.
    pub round_limit: Duration,
}

impl Default for WatcherOptions {
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(1),
            round_limit: Duration::from_secs(60),
        }
    }
}

impl WatcherOptions {
    /// How often the trail is read.
    pub fn poll(mut self, every: Duration) -> Self {
        self.poll = every;
        self
    }

    /// How long one round may take.
    pub fn round_limit(mut self, limit: Duration) -> Self {
        self.round_limit = limit;
        self
    }
}

/// A running watcher. Dropping it stops the watcher after a last round.
#[must_use]
pub struct WatcherHandle {
    stop: watch::Sender<bool>,
    task: JoinHandle<WatchReport>,
}

impl WatcherHandle {
    /// Makes a last round, and answers what was done since the start.
    pub async fn shutdown(self) -> WatchReport {
        let _ = self.stop.send(true);
        self.task.await.unwrap_or_default()
    }
}

impl fmt::Debug for WatcherHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatcherHandle").finish_non_exhaustive()
    }
}

impl Watcher {
    /// Runs in the background of the present tokio runtime until shut down.
    ///
    /// Makes a round every [`poll`](WatcherOptions::poll), at once while there is more to read. When
    /// something fails it waits, twice as long each time up to 30 seconds.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn spawn(self, options: WatcherOptions) -> WatcherHandle {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(self.work(options, stopped));
        WatcherHandle { stop, task }
    }

    async fn work(
        mut self,
        options: WatcherOptions,
        mut stopped: watch::Receiver<bool>,
    ) -> WatchReport {
        let poll = options.poll.max(Duration::from_millis(1));
        let limit = options.round_limit.max(Duration::from_secs(1));
        let mut total = WatchReport::default();
        let mut back_off = Duration::ZERO;
        loop {
            // Before the round, so that one round follows the stop.
            let last = *stopped.borrow_and_update();
            let round = timeout(limit, self.run_once()).await;
            let cut_off = WatchReport {
                failures: 1,
                ..WatchReport::default()
            };
            let round = round.unwrap_or(cut_off);
            total.events = total.events.saturating_add(round.events);
            total.alarms = total.alarms.saturating_add(round.alarms);
            total.failures = total.failures.saturating_add(round.failures);
            total.behind = round.behind;
            if last {
                return total;
            }
            let wait = if round.failures > 0 {
                back_off = back_off.saturating_mul(2).max(poll).min(LONGEST_BACK_OFF);
                back_off
            } else {
                back_off = Duration::ZERO;
                if round.behind { Duration::ZERO } else { poll }
            };
            tokio::select! {
                // The handle was told to stop, or was dropped: one more round.
                changed = stopped.changed() => if changed.is_err() {
                    let _ = timeout(limit, self.run_once()).await;
                    return total;
                },
                () = sleep(wait) => {}
            }
        }
    }
}
