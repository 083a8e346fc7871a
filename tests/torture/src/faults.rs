//! What goes wrong, at random moments.

use std::sync::Arc;
use std::time::Duration;

use password_reset::error::BoxError;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::book::{Book, FaultKind};
use crate::cluster::Stop;
use crate::fleet::{Fleet, Order};
use crate::store::{Postgres, Store};

/// Claims and jobs are held for two minutes.
const OVER_A_LEASE: Duration = Duration::from_secs(130);
const BETWEEN_LONG_PAUSES: Duration = Duration::from_secs(240);

pub(crate) struct Storm {
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) book: Arc<Book>,
    pub(crate) store: Arc<Store>,
    pub(crate) chance: fastrand::Rng,
    pub(crate) stop: watch::Receiver<bool>,
}

impl Storm {
    /// One fault every few seconds, until told to stop.
    pub(crate) async fn rage(mut self) -> Result<(), BoxError> {
        let mut next_long_pause = Instant::now() + BETWEEN_LONG_PAUSES / 4;
        while !*self.stop.borrow() {
            let pause = Duration::from_millis(self.chance.u64(1_000..5_000));
            tokio::select! {
                () = sleep(pause) => {}
                _ = self.stop.wait_for(|stopped| *stopped) => break,
            }
            let slot = self.chance.usize(0..self.fleet.len().max(1));
            match self.chance.u8(0..100) {
                0..50 => {
                    let millis = self.chance.u64(0..4_000);
                    let restart_after = Duration::from_millis(millis);
                    self.fleet.order(slot, Order::Kill { restart_after });
                }
                50..65 => {
                    let lasting = self.seconds(1..8);
                    let kind = FaultKind::Paused;
                    self.fleet.order(slot, Order::Pause { kind, lasting });
                }
                65..70 if next_long_pause < Instant::now() => {
                    let kind = FaultKind::PausedOverItsLease;
                    let lasting = OVER_A_LEASE;
                    if self.fleet.order(slot, Order::Pause { kind, lasting }) {
                        next_long_pause = Instant::now() + BETWEEN_LONG_PAUSES;
                    }
                }
                65..70 => {}
                _ => self.harm_the_database().await?,
            }
        }
        Ok(())
    }

    async fn harm_the_database(&mut self) -> Result<(), BoxError> {
        let store = Arc::clone(&self.store);
        match &*store {
            Store::Sqlite(sqlite) => {
                let lasting = self.seconds(1..9);
                let fault = self.book.fault(FaultKind::WriteLockHeld, None);
                // Somebody else may hold it for long.
                let _ = sqlite.hold_the_write_lock(lasting).await;
                self.book.fault_over(fault);
            }
            Store::Postgres(postgres) => self.harm_the_server(postgres).await?,
        }
        Ok(())
    }

    async fn harm_the_server(&mut self, postgres: &Postgres) -> Result<(), BoxError> {
        let kind = match self.chance.u8(0..100) {
            0..25 => FaultKind::ConnectionsCut,
            25..55 => FaultKind::AnswersCut,
            55..75 => FaultKind::Silence,
            75..87 => FaultKind::StoppedFast,
            _ => FaultKind::StoppedAtOnce,
        };
        let fault = self.book.fault(kind, None);
        match kind {
            FaultKind::ConnectionsCut => postgres.proxy.cut(),
            FaultKind::AnswersCut => postgres.proxy.cut_answers(),
            FaultKind::Silence => {
                postgres.proxy.silence(true);
                sleep(self.seconds(1..9)).await;
                postgres.proxy.silence(false);
            }
            FaultKind::StoppedFast => {
                postgres
                    .stop_and_start(Stop::Fast, self.seconds(0..5))
                    .await?;
            }
            _ => {
                postgres
                    .stop_and_start(Stop::Immediate, self.seconds(0..5))
                    .await?
            }
        }
        self.book.fault_over(fault);
        Ok(())
    }

    fn seconds(&mut self, range: std::ops::Range<u64>) -> Duration {
        let millis = range.start.saturating_mul(1_000)..range.end.saturating_mul(1_000);
        Duration::from_millis(self.chance.u64(millis))
    }
}
