//! A web application that embeds `password-reset`: axum, a SQL database, and a mailbox to look into.
//!
//! `cargo demo`, then open the address that it prints. What an application of your own would copy:
//!
//! - [`users`]: its users table, described to the ready-made user store. Most applications then
//!   write no store at all; for users that are elsewhere, the page of `UserStore` holds one to copy,
//!   and `examples/custom_store.rs` shows how a store proves itself.
//! - [`sessions`]: no session begins behind the reset that ended all others.
//! - [`app`]: the ready-made pages beside its own.
//! - [`activity`]: the operators' page, which an application puts behind their login.
//! - [`totp`]: a second factor, each code once, at login and at a reset.
//! - [`start`]: how the parts are put together, started and stopped.
//!
//! What not to copy: [`mailbox`], which shows everybody's mail. It stands in for a mail server, and
//! only on a loopback address.

mod activity;
mod app;
mod database;
mod flags;
mod form;
mod keys;
mod login;
mod mailbox;
mod origin;
mod pages;
mod problem;
mod redis;
mod sessions;
mod start;
mod stop;
mod totp;
mod users;

use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::filter::LevelFilter;

use crate::flags::Flags;

#[tokio::main]
async fn main() -> ExitCode {
    let flags = Flags::parse();
    // Failures only: what people do here is in the audit trail, not in a log.
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_max_level(LevelFilter::WARN)
        .init();
    match start::run(flags).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(error.as_ref());
            ExitCode::FAILURE
        }
    }
}

/// Prints a line on stdout. A reader that has gone is no reason to stop serving.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Prints an error and its causes on stderr.
fn complain(error: &(dyn Error + 'static)) {
    let mut text = format!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        // Some errors repeat what their cause says.
        if !text.contains(&said) {
            text.push_str(&format!(": {said}"));
        }
        cause = error.source();
    }
    let _ = writeln!(io::stderr(), "{text}");
}
