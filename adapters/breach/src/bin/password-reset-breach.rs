//! Makes and checks filter files: `password-reset-breach --help`.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use password_reset_breach::{BreachFilter, Build, Lines, Progress};

/// Makes and checks files of leaked passwords for the crate `password-reset`.
#[derive(Parser)]
#[command(version)]
struct Flags {
    #[command(subcommand)]
    act: Act,
}

#[derive(Subcommand)]
enum Act {
    /// Makes a filter from a list.
    Build {
        /// The list: lines of `SHA-1:count`. `-` reads standard input.
        list: PathBuf,
        /// The filter to be written.
        filter: PathBuf,
        /// The lines are the passwords themselves.
        #[arg(long)]
        plain: bool,
        /// Leaves out what was seen less often.
        #[arg(long, default_value_t = 0)]
        min_count: u64,
        /// Tells nothing while it runs.
        #[arg(long)]
        quiet: bool,
    },
    /// Reads a filter from end to end and checks it.
    Verify {
        /// The filter.
        filter: PathBuf,
    },
}

fn main() -> ExitCode {
    match run(Flags::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            let mut source = error.source();
            while let Some(error) = source {
                eprintln!("  because: {error}");
                source = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn run(flags: Flags) -> Result<(), Box<dyn Error>> {
    match flags.act {
        Act::Build {
            list,
            filter,
            plain,
            min_count,
            quiet,
        } => {
            let lines = if plain { Lines::Plain } else { Lines::Sha1 };
            let (list, size) = open(&list)?;
            let mut teller = Teller::new(size, quiet);
            let build = Build::new(lines).min_count(min_count);
            let built = build.from(list, &filter, |progress| teller.tell(progress))?;
            teller.end();
            let rate = BreachFilter::open(&filter)?.false_positive_rate();
            println!(
                "{} passwords of {} lines, {} lines left out; 1 good password in {:.0} is taken for one of them",
                built.entries,
                built.lines,
                built.skipped,
                1.0 / rate,
            );
        }
        Act::Verify { filter } => {
            let entries = BreachFilter::verify(&filter)?;
            println!("sound: {entries} passwords");
        }
    }
    Ok(())
}

/// The list, and its size where it has one.
fn open(path: &Path) -> io::Result<(Box<dyn BufRead>, Option<u64>)> {
    if path == Path::new("-") {
        return Ok((Box::new(io::stdin().lock()), None));
    }
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    Ok((
        Box::new(BufReader::with_capacity(1 << 20, file)),
        Some(size),
    ))
}

/// Says how far it has come: one line that is written over on a terminal, a line every ten seconds
/// in a log.
struct Teller {
    size: Option<u64>,
    quiet: bool,
    terminal: bool,
    started: Instant,
    told: Option<Instant>,
}

impl Teller {
    fn new(size: Option<u64>, quiet: bool) -> Self {
        Self {
            size,
            quiet,
            terminal: io::stderr().is_terminal(),
            started: Instant::now(),
            told: None,
        }
    }

    fn tell(&mut self, progress: Progress) {
        let pause = Duration::from_secs(if self.terminal { 1 } else { 10 });
        let is_last = matches!(progress, Progress::Writing { done, of } if done == of);
        let is_due = self.told.is_none_or(|told| told.elapsed() >= pause);
        if self.quiet || !(is_due || is_last) {
            return;
        }
        self.told = Some(Instant::now());
        let line = match progress {
            Progress::Reading { bytes, lines } => self.reading(bytes, lines),
            Progress::Writing { done, of } => format!("sorting and writing: {done} of {of} parts"),
            _ => return,
        };
        if self.terminal {
            eprint!("\r\x1b[K{line}");
            let _ = io::stderr().flush();
        } else {
            eprintln!("{line}");
        }
    }

    fn reading(&self, bytes: u64, lines: u64) -> String {
        const MIB: u64 = 1 << 20;
        let read = bytes / MIB;
        let Some(size) = self.size.filter(|size| *size > 0) else {
            return format!("reading: {read} MiB, {lines} lines");
        };
        let spent = self.started.elapsed().as_secs();
        let left = size.saturating_sub(bytes);
        let left = u128::from(spent) * u128::from(left) / u128::from(bytes.max(1));
        format!(
            "reading: {read} of {} MiB ({} %), {lines} lines, {left} s left",
            size / MIB,
            u128::from(bytes) * 100 / u128::from(size),
        )
    }

    fn end(&self) {
        if self.terminal && !self.quiet {
            eprintln!();
        }
    }
}
