//! What can be chosen on the command line.

use std::net::SocketAddr;

use clap::{Parser, ValueEnum};

/// A web application that shows a password reset from beginning to end.
#[derive(Parser)]
#[command(name = "demo", version)]
pub(crate) struct Flags {
    /// Where to listen; port 0 takes a free one. The mailbox is shown on loopback addresses only.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:3000")]
    pub(crate) addr: SocketAddr,

    /// A database to keep, such as sqlite:demo.db; its key is kept in a file beside it. Without
    /// this flag every start makes a fresh one, target/demo/demo.db.
    #[arg(long, value_name = "URL", value_parser = sqlite_url)]
    pub(crate) database: Option<String>,

    /// Seeds user-0@example.com, user-1@example.com and so on, so many of them.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) accounts: u32,

    /// Whether requests are limited.
    #[arg(long, value_enum, default_value_t = Switch::On)]
    pub(crate) limits: Switch,

    /// Mails start at a random moment within so many milliseconds, instead of 2000. Below 200,
    /// whoever measures can tell from the next answer whether an account exists.
    #[arg(long, value_name = "MS")]
    pub(crate) spread: Option<u64>,
}

#[derive(Clone, Copy, Eq, PartialEq, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

fn sqlite_url(text: &str) -> Result<String, &'static str> {
    match text.strip_prefix("sqlite:") {
        Some(rest) if !rest.is_empty() => Ok(text.to_owned()),
        _ => Err("this build supports sqlite only, as in sqlite:demo.db"),
    }
}
