//! How safe a server keeps what it answered: [`Durability`].

use redis::{Value, cmd};

use crate::RedisBackend;
use crate::error::Error;
use crate::reply::{text, unreadable};

/// What a server says about how it keeps its data. Ask with [`RedisBackend::durability`].
///
/// What it does *not* say: how often the log is flushed (`appendfsync`), and whether a replica may
/// take over without the last writes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Durability {
    /// Every write goes to an append-only file. Without it a restart loses tokens and jobs.
    pub appendonly: bool,
    /// The server has a limit of memory and drops keys to stay below it: a token, a job, or the
    /// trace of a changed password may vanish.
    pub evicts: bool,
}

impl RedisBackend {
    /// What the server says about how it keeps its data, so that an application can warn about, or
    /// refuse, a server that may lose tokens and jobs.
    ///
    /// # Errors
    ///
    /// [`Error`], also when the account may not call `INFO`, or when a managed service leaves the
    /// lines out.
    pub async fn durability(&self) -> Result<Durability, Error> {
        let info = self.link.send(&cmd("INFO")).await?;
        let info = match info {
            Value::VerbatimString { text, .. } => text,
            other => text(other, "info")?,
        };
        read(&info)
    }
}

fn read(info: &str) -> Result<Durability, Error> {
    let line = |name: &'static str| {
        info.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(str::trim)
            .ok_or(unreadable(name))
    };
    Ok(Durability {
        appendonly: line("aof_enabled")? == "1",
        evicts: line("maxmemory")? != "0" && line("maxmemory_policy")? != "noeviction",
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn info(aof: u8, maxmemory: u32, policy: &str) -> String {
        format!(
            "# Memory\r\nused_memory:9\r\nmaxmemory:{maxmemory}\r\nmaxmemory_human:x\r\n\
             maxmemory_policy:{policy}\r\n# Persistence\r\naof_enabled:{aof}\r\n"
        )
    }

    #[test]
    fn a_server_is_judged_by_its_own_words() {
        for (text, appendonly, evicts) in [
            (info(1, 0, "noeviction"), true, false),
            (info(0, 100, "noeviction"), false, false),
            (info(1, 100, "allkeys-lru"), true, true),
            (info(1, 100, "volatile-ttl"), true, true),
            (info(1, 0, "allkeys-lru"), true, false),
        ] {
            let expected = Durability { appendonly, evicts };
            assert_eq!(read(&text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn a_missing_line_is_no_good_news() {
        assert!(read("# Memory\r\nmaxmemory:0\r\n").is_err());
    }
}
