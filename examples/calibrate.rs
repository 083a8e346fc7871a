//! What Argon2id may cost here: `cargo run --release --example calibrate`.
//!
//! Run it on a machine like the one that serves, and write the row that it chooses into the
//! application: `Argon2id::new(memory, passes, lanes)`.
//!
//! ```text
//! cargo run --release --example calibrate -- --time-ms 100 --memory-mib 64
//! ```
//!
//! It ends with 0 when a row was chosen, with 1 when the machine is too slow for the floor, and
//! with 2 when it was called in a way that it does not know.

use std::error::Error;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::Parser;
use password_reset::password::{Budget, calibrate};

/// Finds Argon2id parameters for this machine, never below the table of ASVS 5.0.
#[derive(Parser)]
#[command(name = "calibrate", version)]
struct Flags {
    /// How long one hash may take, in milliseconds, at most 1000.
    #[arg(long, default_value_t = 100)]
    time_ms: u64,
    /// How much memory one hash may take, in MiB, 12 to 1024.
    #[arg(long, default_value_t = 64)]
    memory_mib: u32,
    /// How many threads will hash: only to print what they take together. By default those of a
    /// hashing pool: one for each core but one.
    #[arg(long)]
    threads: Option<NonZeroUsize>,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let flags = Flags::parse();
    let memory_kib = flags.memory_mib.saturating_mul(1024);
    let budget = match Budget::new(Duration::from_millis(flags.time_ms), memory_kib) {
        Ok(budget) => budget,
        Err(error) => {
            eprintln!("calibrate: {error}");
            return Ok(ExitCode::from(2));
        }
    };
    if cfg!(debug_assertions) {
        eprintln!("not a release build: the times may be too long");
    }
    let calibration = calibrate(budget)?;
    print!("{calibration}");
    let Some(row) = calibration.chosen() else {
        return Ok(ExitCode::FAILURE);
    };
    let threads = flags.threads.map_or_else(pool_threads, NonZeroUsize::get);
    let hashes = threads as f64 / row.time.as_secs_f64().max(f64::EPSILON);
    let mib = threads as u64 * u64::from(row.m_kib) / 1024;
    println!("Argon2id::new({}, {}, {})", row.m_kib, row.t, row.p);
    println!("a pool of {threads}: {hashes:.0} hashes a second, {mib} MiB");
    Ok(ExitCode::SUCCESS)
}

fn pool_threads() -> usize {
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    cores.saturating_sub(1).max(1)
}
