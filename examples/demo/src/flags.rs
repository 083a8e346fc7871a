//! What can be chosen on the command line.
#![allow(rustdoc::bare_urls, reason = "the texts are what `--help` prints")]

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// A web application that shows a password reset from beginning to end.
#[derive(Parser)]
#[command(name = "demo", version)]
pub(crate) struct Flags {
    /// Where to listen; port 0 takes a free one. What is under /dev, the mailbox for one, is shown on
    /// loopback addresses only.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:3000")]
    pub(crate) addr: SocketAddr,

    /// A database to keep: sqlite:demo.db, postgres://user@host/name, or mysql://user@host/name for
    /// MySQL and MariaDB. The key of a SQLite file is kept beside it, the others need --key-file.
    /// Without this flag every start makes a fresh file, target/demo/demo.db. A URL with a password
    /// belongs into the environment, where no list of processes shows it.
    #[arg(
        long,
        value_name = "URL",
        env = "DEMO_DATABASE",
        hide_env_values = true
    )]
    pub(crate) database: Option<String>,

    /// Keeps limits and the queue in Redis or Valkey, such as redis://127.0.0.1/; everything else
    /// stays in the database.
    #[arg(long, value_name = "URL", env = "DEMO_REDIS", hide_env_values = true)]
    pub(crate) redis: Option<String>,

    /// What the keys in Redis begin with. Two demos on one server need two prefixes.
    #[arg(long, value_name = "TEXT", default_value = "demo")]
    pub(crate) redis_prefix: String,

    /// Seeds user-0@example.com, user-1@example.com and so on, so many of them.
    #[arg(long, value_name = "N", default_value_t = 0,
          value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub(crate) accounts: u32,

    /// Whether requests are limited.
    #[arg(long, value_enum, default_value_t = Switch::On)]
    pub(crate) limits: Switch,

    /// When a browser has to do some work before its request is taken, which one request does not
    /// feel and a flood does. `demanded` is while an alarm says so, and for whoever is over a limit.
    #[arg(long, value_enum, default_value_t = Work::Demanded)]
    pub(crate) proof_of_work: Work,

    /// Mails start at a random moment within so many milliseconds, instead of 2000. Below 200,
    /// whoever measures can tell from the next answer whether an account exists.
    #[arg(long, value_name = "MS")]
    pub(crate) spread: Option<u64>,

    /// What this process does. Several processes on one database share its queue: with `worker`
    /// nothing is listened to, with `web` nothing is mailed.
    #[arg(long, value_enum, default_value_t = Role::All)]
    pub(crate) role: Role,

    /// Also writes every mail into this folder, as a JSON file of its own. The mailbox then shows
    /// the folder: its mails survive a restart, and several processes share it.
    #[arg(long, value_name = "DIR")]
    pub(crate) mail_dir: Option<PathBuf>,

    /// The page that links lead to, such as https://app.example.com/reset-password. Without this
    /// flag it is the page at --addr.
    #[arg(long, value_name = "URL")]
    pub(crate) link_base: Option<String>,

    /// How many proxies stand between the clients and this server. The last so many entries of
    /// `X-Forwarded-For` are believed; without this flag, none.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) proxies: usize,

    /// Where the key is kept, created at the first start. All processes on one database need the
    /// same.
    #[arg(long, value_name = "PATH")]
    pub(crate) key_file: Option<PathBuf>,
}

/// What a process does.
#[derive(Clone, Copy, Eq, PartialEq, ValueEnum)]
pub(crate) enum Role {
    /// Serves pages and sends mails.
    All,
    /// Serves pages.
    Web,
    /// Sends mails.
    Worker,
}

/// When work is asked for.
#[derive(Clone, Copy, Eq, PartialEq, ValueEnum)]
pub(crate) enum Work {
    /// Never.
    Off,
    /// While an alarm, or a limit, says so.
    Demanded,
    /// Of every request.
    Always,
}

#[derive(Clone, Copy, Eq, PartialEq, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

impl Flags {
    /// Not clap's own check: it would print the URL, and a password with it.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let known = [
            "sqlite:",
            "postgres://",
            "postgresql://",
            "mysql://",
            "mariadb://",
        ];
        let rest = |url: &str| {
            known
                .iter()
                .any(|scheme| url.len() > scheme.len() && url.starts_with(scheme))
        };
        match self.database.as_deref().is_none_or(rest) {
            true => Ok(()),
            false => {
                Err("--database begins with sqlite:, postgres:// or mysql://, as in sqlite:demo.db")
            }
        }
    }
}
