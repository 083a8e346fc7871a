//! Kills the demo's processes, cuts their database off and stops it, for a quarter of an hour and
//! under hundreds of resets; then reads the database and counts what got lost. See the README.

mod attribute;
mod book;
mod check;
mod client;
mod cluster;
mod demo;
mod facts;
mod faults;
mod flags;
mod fleet;
mod mails;
mod post;
mod proxy;
mod report;
mod run;
mod siege;
mod store;
mod users;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser;
use password_reset::error::BoxError;
use tokio::signal::unix::{SignalKind, signal};

use crate::flags::{Command, Flags};

#[tokio::main]
async fn main() -> ExitCode {
    let flags = Flags::parse();
    let outcome = tokio::select! {
        outcome = start(flags) => outcome,
        // Everything that was started ends with the future that is dropped here, and the runtime.
        () = interrupted() => Err("interrupted".into()),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Ctrl-c or SIGTERM.
async fn interrupted() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

/// Whether everything held.
async fn start(flags: Flags) -> Result<bool, BoxError> {
    match flags.command.clone() {
        None => run::run(flags).await,
        Some(Command::Mails { requests, kill }) => mails::run(flags, requests, kill).await,
        Some(Command::Siege { chart }) => siege::run(flags, chart).await,
    }
}

/// Prints a line on stdout.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Microseconds since 1970, as the database counts.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    })
}

const SECOND: i64 = 1_000_000;
