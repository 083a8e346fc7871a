//! What an operator reads in the audit trail, and deletes from it.

use std::io::Write;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use password_reset::Timestamp;
use password_reset::account::UserId;
use password_reset::audit::log::{AuditLog, Entry, Query, Thread, journey};
use password_reset::audit::{AuditSink, Event, EventKind, Severity};
use password_reset::error::BoxError;
use password_reset::queue::JobId;
use password_reset::token::Selector;

use super::acts::Who;

#[derive(Subcommand)]
pub(crate) enum Trail {
    /// Prints events, the latest first.
    List {
        /// Only what is at least this severe.
        #[arg(long, value_name = "HOW", default_value = "info")]
        severity: Severe,
        /// Only what is about this account.
        #[arg(long, value_name = "USER", value_parser = UserId::parse)]
        user: Option<UserId>,
        /// At most so many, up to 1,000.
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u32,
    },
    /// Prints the whole journey that a job or a token belongs to, the earliest event first.
    Journey {
        /// `job` or `token`, as `audit list` prints it.
        #[arg(value_name = "ID", value_parser = thread)]
        id: Thread,
    },
    /// Deletes events. How long they must be kept is your decision.
    Purge {
        /// From so many days ago, or longer.
        #[arg(long, value_name = "DAYS")]
        older_than: u32,
    },
    /// Deletes what the trail holds of one account, and cannot be undone. It is evidence too: first
    /// be sure that who asks is its owner, and that you need not keep it.
    Forget(Who),
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Severe {
    Info,
    Warn,
    Critical,
}

pub(crate) async fn run(
    command: Trail,
    log: &dyn AuditLog,
    audit: &dyn AuditSink,
    now: Timestamp,
    out: &mut (dyn Write + Send),
) -> Result<(), BoxError> {
    match command {
        Trail::List {
            severity,
            user,
            limit,
        } => {
            let mut query = Query::newest(limit).severity(match severity {
                Severe::Info => Severity::Info,
                Severe::Warn => Severity::Warn,
                Severe::Critical => Severity::Critical,
            });
            query.user = user;
            let page = log.read(&query).await?;
            for entry in &page.entries {
                writeln!(out, "{}", line(entry))?;
            }
            if page.unreadable > 0 {
                writeln!(out, "{} events of a newer version", page.unreadable)?;
            }
        }
        Trail::Journey { id } => {
            for entry in journey(log, id).await? {
                writeln!(out, "{}", line(&entry))?;
            }
        }
        Trail::Purge { older_than } => {
            let before = now - Duration::from_secs(86_400).saturating_mul(older_than);
            let mut count = 0;
            loop {
                match log.purge(before, super::BATCH).await? {
                    0 => break,
                    purged => count += purged,
                }
            }
            audit.record(&Event::new(now, EventKind::Purged { count }))?;
            writeln!(out, "{count} events deleted")?;
        }
        Trail::Forget(Who { user, actor }) => {
            let count = log.forget(&user).await?;
            // Who did it, and not to whom: that would be remembered again.
            let mut event = Event::new(now, EventKind::Forgotten { count });
            event.actor = Some(actor);
            audit.record(&event)?;
            writeln!(out, "{count} events deleted")?;
        }
    }
    Ok(())
}

fn thread(id: &str) -> Result<Thread, String> {
    let read = match id.split_once('=') {
        Some(("job", id)) => JobId::parse(id).map(Thread::Job),
        Some(("token", id)) => Selector::parse(id).map(Thread::Token),
        _ => None,
    };
    read.ok_or_else(|| "job=… or token=…, as `audit list` prints it".to_owned())
}

/// Names are the application's own, so they are quoted.
fn line(entry: &Entry) -> String {
    let event = &entry.event;
    let severity = event.kind.severity().as_str();
    let mut line = format!("{} {severity} {}", event.at, event.kind);
    let mut field = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            line.push_str(&format!(" {name}={value}"));
        }
    };
    field(
        "user",
        event.user.as_ref().map(|it| format!("{:?}", it.as_str())),
    );
    field("source", event.source.map(|it| it.to_string()));
    field("job", event.job.map(|it| it.to_string()));
    field("token", event.token.map(|it| it.to_string()));
    field(
        "actor",
        event.actor.as_ref().map(|it| format!("{:?}", it.as_str())),
    );
    line
}
