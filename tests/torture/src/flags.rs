//! What can be chosen on the command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Kills, cuts and stops the demo under load, and checks that nothing got lost.
#[derive(Clone, Parser)]
#[command(name = "torture", version)]
pub(crate) struct Flags {
    /// What the demo stands on.
    #[arg(long, value_enum, default_value_t = Database::Sqlite, global = true)]
    pub(crate) database: Database,

    /// How long faults happen; the quiet phase that follows takes what it needs.
    #[arg(long, value_name = "N", default_value_t = 15.0)]
    pub(crate) minutes: f64,

    /// Repeats the same faults and users, as far as the machine allows. Without it, one is drawn.
    #[arg(long, value_name = "N", global = true)]
    pub(crate) seed: Option<u64>,

    /// How many demo processes.
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(crate) processes: usize,

    /// How many accounts.
    #[arg(long, value_name = "N", default_value_t = 400)]
    pub(crate) accounts: u32,

    /// How many users reset passwords at the same time.
    #[arg(long, value_name = "N", default_value_t = 250)]
    pub(crate) in_flight: u32,

    /// How long the quiet phase may take, in minutes, until what is not settled counts as lost.
    #[arg(long, value_name = "N", default_value_t = 20.0, global = true)]
    pub(crate) quiet: f64,

    /// The demo's binary. Without it, the one beside this program.
    #[arg(long, value_name = "PATH", global = true)]
    pub(crate) demo: Option<PathBuf>,

    /// Keeps database, mails and logs; they are always kept when something was violated.
    #[arg(long, global = true)]
    pub(crate) keep: bool,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Clone, Subcommand)]
pub(crate) enum Command {
    /// Many requests to two processes: each is mailed exactly once, or, with --kill, at least once.
    Mails {
        /// How many, each for an account of its own.
        #[arg(long, value_name = "N", default_value_t = 5_000)]
        requests: u32,

        /// Kills one of the two every few seconds.
        #[arg(long)]
        kill: bool,
    },
    /// Attacks on the demo with its default limits, and an ordinary morning: what gets through, and
    /// how soon it rings. On SQLite; the other flags do not matter here.
    Siege {
        /// Draws what happened into this file, as SVG.
        #[arg(long, value_name = "PATH")]
        chart: Option<PathBuf>,
    },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Database {
    /// One file that all processes share.
    Sqlite,
    /// A server of its own, on a free port, which is stopped and started.
    Postgres,
}

impl Database {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}
