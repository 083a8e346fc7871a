//! Servers that may not be there, and names that no other test has. For every test.
#![allow(dead_code, reason = "no test uses all of this")]

use std::fmt::Display;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long a server may take to answer before it counts as missing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// What everything is called that tests leave on a server.
pub(crate) const OURS: &str = "prt_";

#[derive(Clone, Copy)]
pub(crate) enum Server {
    Postgres,
    /// MariaDB or MySQL.
    MySql,
    Redis,
}

impl Server {
    const fn title(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL",
            Self::MySql => "MariaDB or MySQL",
            Self::Redis => "Redis or Valkey",
        }
    }

    const fn variable(self) -> &'static str {
        match self {
            Self::Postgres => "PASSWORD_RESET_TEST_POSTGRES",
            Self::MySql => "PASSWORD_RESET_TEST_MYSQL",
            Self::Redis => "PASSWORD_RESET_TEST_REDIS",
        }
    }

    /// From the environment, or where a server of this machine would be.
    pub(crate) fn url(self) -> String {
        std::env::var(self.variable()).unwrap_or_else(|_| {
            match self {
                Self::Postgres => "postgres://postgres@127.0.0.1:5432/test",
                Self::MySql => "mysql://root@127.0.0.1:3306/test",
                Self::Redis => "redis://127.0.0.1:6379/",
            }
            .to_owned()
        })
    }

    /// Says loudly that tests did not run, past the harness that keeps quiet about what passes: once
    /// for each program. Where everything must be there, that is a failure.
    pub(crate) fn missing(self, why: &dyn Display) {
        let (title, variable) = (self.title(), self.variable());
        let text = format!(
            "\nSKIPPED: no {title} ({why}). Tests that need it did not run; start one, or name it \
            in {variable}.\n"
        );
        assert!(std::env::var_os("CI").is_none(), "{text}");
        static SAID: AtomicU32 = AtomicU32::new(0);
        let bit = 1 << self as u32;
        if SAID.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            let _ = std::io::stderr().write_all(text.as_bytes());
        }
    }
}

/// What this process calls what it makes.
pub(crate) fn own_name() -> String {
    format!("{OURS}{}", std::process::id())
}

/// The same, for one of several.
pub(crate) fn next_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{}_{}", own_name(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Left behind by a process that is gone.
pub(crate) fn is_orphan(name: &str) -> bool {
    let owner = name.strip_prefix(OURS);
    let owner = owner.and_then(|rest| rest.split(['_', '-']).next());
    owner.is_some_and(|pid| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists())
}
