//! What Argon2id may cost on this machine.

use std::fmt;
use std::time::{Duration, Instant};

use super::hasher::{FLOOR, TAG_BYTES};
use super::{Argon2id, HasherError, Scratch};

/// What one hash may take: time of one core, and memory.
///
/// The memory is that of one hash. A [`HashPool`](super::HashPool) keeps as much for each of its
/// threads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Budget {
    time: Duration,
    memory_kib: u32,
}

impl Budget {
    /// Time of one hash, at most one second (R60), and its memory in KiB, 12,288 to 1,048,576.
    ///
    /// People wait for it at each login, and so does everyone behind them in the queue: 50 to 250
    /// ms are usual.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use password_reset::password::{Budget, InvalidBudget};
    ///
    /// assert!(Budget::new(Duration::from_millis(100), 65_536).is_ok());
    /// let tiny = Budget::new(Duration::from_millis(100), 8_192);
    /// assert_eq!(tiny.unwrap_err(), InvalidBudget::Memory);
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidBudget`], naming the one that is out of its bounds.
    pub fn new(time: Duration, memory_kib: u32) -> Result<Self, InvalidBudget> {
        if time.is_zero() || time > Duration::from_secs(1) {
            return Err(InvalidBudget::Time);
        }
        if least_passes(memory_kib).is_none() || memory_kib > MAX_KIB {
            return Err(InvalidBudget::Memory);
        }
        Ok(Self { time, memory_kib })
    }
}

/// Why a [`Budget`] is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidBudget {
    /// Nothing, or over a second.
    #[error("a hash takes more than nothing and at most one second")]
    Time,
    /// Below what the table of ASVS 5.0, appendix C, starts with, or over 1 GiB.
    #[error("a hash takes 12288 to 1048576 KiB")]
    Memory,
}

/// Measures Argon2id on this machine and finds the strongest parameters within the budget.
///
/// It hashes for some seconds on the calling thread: run it on a machine like the one that serves,
/// with its usual load, and write the numbers into the configuration. `examples/calibrate.rs` prints
/// the table.
///
/// As RFC 9106, section 4, says: as much memory as the budget has, then as many passes as the time
/// has room for; less memory if not even the least number of passes fits. Every row is at or above
/// the table of ASVS 5.0, appendix C, so on a slow machine the answer may be that
/// [nothing fits](Calibration::chosen), and never something weaker (R55). One lane, because this
/// crate computes lanes one after another.
///
/// ```no_run
/// use std::time::Duration;
///
/// use password_reset::password::{Argon2id, Budget, calibrate};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let calibration = calibrate(Budget::new(Duration::from_millis(100), 65_536)?)?;
/// println!("{calibration}");
/// let chosen = calibration.chosen().ok_or("too slow a machine")?;
/// let argon2id = Argon2id::new(chosen.m_kib, chosen.t, chosen.p)?;
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// [`HasherError::OutOfMemory`] if the machine has not the memory of the budget.
pub fn calibrate(budget: Budget) -> Result<Calibration, HasherError> {
    let mut scratch = Scratch::new();
    calibrate_with(budget, |argon2id| {
        let mut run = || {
            let start = Instant::now();
            let mut tag = [0; TAG_BYTES];
            argon2id.stretch(b"not a password", &[0; 16], &mut tag, &mut scratch)?;
            std::hint::black_box(tag);
            Ok::<_, HasherError>(start.elapsed())
        };
        // The first one also fetches the memory.
        run()?;
        let mut runs = [run()?, run()?, run()?, run()?, run()?];
        runs.sort();
        let [_, _, median, ..] = runs;
        Ok(median)
    })
}

/// [`calibrate`] with another way to measure: `measure` answers how long one hash takes.
///
/// For tests, and for who wants to measure through a loaded pool.
///
/// ```
/// use std::convert::Infallible;
/// use std::time::Duration;
///
/// use password_reset::password::{Budget, calibrate_with};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // A machine that takes 20 ms for every hash.
/// let budget = Budget::new(Duration::from_millis(50), 65_536)?;
/// let calibration = calibrate_with(budget, |_| Ok::<_, Infallible>(Duration::from_millis(20)))?;
/// assert_eq!(calibration.chosen().map(|row| row.m_kib), Some(65_536));
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// The first one of `measure`.
pub fn calibrate_with<E>(
    budget: Budget,
    mut measure: impl FnMut(&Argon2id) -> Result<Duration, E>,
) -> Result<Calibration, E> {
    let mut rows: Vec<Measurement> = Vec::new();
    let mut fits = |m_kib: u32, t: u32| {
        // Never below the table; the ladder has no such step.
        let Ok(argon2id) = Argon2id::new(m_kib, t, 1) else {
            return Ok(None);
        };
        let time = measure(&argon2id)?;
        let fits = time <= budget.time;
        rows.push(Measurement {
            m_kib,
            t,
            p: 1,
            time,
            fits,
        });
        Ok(Some((fits, time)))
    };
    for m_kib in ladder(budget.memory_kib) {
        let least = least_passes(m_kib).unwrap_or(MAX_PASSES);
        let Some((true, time)) = fits(m_kib, least)? else {
            // From here on every step costs more than the one before it. (Below, 19 MiB twice can
            // be over a budget that 46 MiB once is under.)
            if least == 1 {
                break;
            }
            continue;
        };
        // Passes cost alike, so the number that fits is known but for noise.
        let pass = (time / least).max(Duration::from_nanos(1));
        let most = u32::try_from(budget.time.as_nanos() / pass.as_nanos()).unwrap_or(MAX_PASSES);
        for t in (least + 1..=most.min(MAX_PASSES)).rev() {
            if let Some((true, _)) = fits(m_kib, t)? {
                break;
            }
        }
    }
    Ok(Calibration { budget, rows })
}

/// What [`calibrate`] found. `Display` prints the table.
#[derive(Clone, Debug)]
pub struct Calibration {
    budget: Budget,
    rows: Vec<Measurement>,
}

impl Calibration {
    /// The strongest row within the budget: the most memory, and with it the most passes. `None` if
    /// this machine is too slow for the weakest allowed one: give it more time, not less work.
    pub fn chosen(&self) -> Option<&Measurement> {
        let fitting = self.rows.iter().filter(|row| row.fits);
        fitting.max_by_key(|row| (row.m_kib, row.t))
    }

    /// Everything that was measured, in the order of the measurements.
    pub fn measurements(&self) -> &[Measurement] {
        &self.rows
    }
}

/// One row of a [`Calibration`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Measurement {
    /// Memory in KiB.
    pub m_kib: u32,
    /// Passes.
    pub t: u32,
    /// Lanes.
    pub p: u32,
    /// Of one hash.
    pub time: Duration,
    /// Whether that is within the budget.
    pub fits: bool,
}

impl fmt::Display for Calibration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Budget { time, memory_kib } = self.budget;
        writeln!(
            f,
            "budget: {:.1} ms and {memory_kib} KiB a hash",
            millis(time)
        )?;
        writeln!(f, "  memory KiB  passes  lanes  time ms  hashes/s a thread")?;
        let chosen = self.chosen();
        for row in &self.rows {
            let Measurement { m_kib, t, p, .. } = row;
            let remark = match (chosen == Some(row), row.fits) {
                (true, _) => "  <- chosen",
                (false, true) => "",
                (false, false) => "  over the budget",
            };
            let time = millis(row.time);
            let rate = 1_000.0 / time.max(0.001);
            writeln!(
                f,
                "  {m_kib:>10}  {t:>6}  {p:>5}  {time:>7.1}  {rate:>17.1}{remark}"
            )?;
        }
        if chosen.is_none() {
            writeln!(
                f,
                "nothing fits, and nothing weaker is allowed: give it more time"
            )?;
        }
        Ok(())
    }
}

/// The ceiling for stored hashes.
const MAX_KIB: u32 = 1024 * 1024;
const MAX_PASSES: u32 = 16;

/// Steps of memory up to the budget: the lines of the table, then doubling.
fn ladder(memory_kib: u32) -> Vec<u32> {
    let mut steps: Vec<u32> = FLOOR.iter().map(|&(m_kib, _)| m_kib).collect();
    steps.extend((16..=20).map(|power| 1 << power));
    steps.retain(|&step| step < memory_kib);
    steps.push(memory_kib);
    steps
}

/// The fewest passes that the table allows with so much memory.
fn least_passes(m_kib: u32) -> Option<u32> {
    let lines = FLOOR.iter().filter(|&&(least, _)| m_kib >= least);
    lines.map(|&(_, t)| t).min()
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests;
