//! What rings: [`Alarm`], and where it goes: [`AlarmSink`].

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::Timestamp;
use crate::account::UserId;
use crate::audit::{Pseudonym, RuleName, Severity};
use crate::error::BoxError;

/// Whom an alarm is about.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Subject {
    /// Everybody together.
    All,
    /// One source: an IPv4 address, or the first address of an IPv6 /64.
    Source(IpAddr),
    /// One network: the first address of an IPv4 /24 or an IPv6 /48.
    Network(IpAddr),
    /// One identifier, known or not.
    Identifier(Pseudonym),
    /// One account.
    User(UserId),
    /// More than are told apart: either 20 subjects of this rule are ringing already, or it has more
    /// groups to count than the monitor holds, which is no ordinary traffic either.
    Many,
}

/// One line without anything that a person typed.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Source(source) => write!(f, "source {source}"),
            Self::Network(IpAddr::V4(network)) => write!(f, "network {network}/24"),
            Self::Network(IpAddr::V6(network)) => write!(f, "network {network}/48"),
            Self::Identifier(pseudonym) => write!(f, "identifier {pseudonym}"),
            // Escaped: an account's key is the application's own.
            Self::User(user) => write!(f, "user {:?}", user.as_str()),
            Self::Many => f.write_str("many"),
        }
    }
}

/// A rule's threshold was reached.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Alarm {
    /// Which rule.
    pub rule: RuleName,
    /// How much attention it asks for.
    pub severity: Severity,
    /// When the event happened that reached it.
    pub at: Timestamp,
    /// About whom.
    pub subject: Subject,
    /// What was counted.
    pub count: u64,
    /// From which count on it rings.
    pub threshold: u64,
    /// Within which span.
    pub window: Duration,
    /// When the first of what was counted happened; for events, to a sixtieth of the window.
    pub first_seen: Timestamp,
    /// How long the same is not told again.
    pub cool_down: Duration,
    /// Where the event came from that reached it, if it came from somewhere.
    pub source: Option<IpAddr>,
    /// For how long a proof that a human asks is demanded, if the rule demands it.
    pub challenge: Option<Duration>,
}

/// One line: `identifiers_of_a_source: 50 in 3600 s, source 192.0.2.7, since 2026-01-05T08:00:00Z`.
impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} in {} s, {}, since {}",
            self.rule,
            self.count,
            self.window.as_secs(),
            self.subject,
            self.first_seen
        )
    }
}

/// Where alarms go: a pager, a chat, a ticket.
///
/// # Contract
///
/// - An error is tried again in the next round, so an alarm may be told twice; it MUST NOT be
///   answered for an alarm that cannot be told at all, or it comes back until 100 newer ones have
///   pushed it out.
/// - MUST come to an end by itself, and soon: the watcher waits for it, and reads nothing meanwhile.
///
/// ```
/// use password_reset::async_trait;
/// use password_reset::audit::monitor::{Alarm, AlarmSink};
/// use password_reset::error::BoxError;
///
/// struct Terminal;
///
/// #[async_trait]
/// impl AlarmSink for Terminal {
///     async fn raise(&self, alarm: &Alarm) -> Result<(), BoxError> {
///         eprintln!("ALARM {alarm}");
///         Ok(())
///     }
/// }
/// ```
#[async_trait]
pub trait AlarmSink: Send + Sync + 'static {
    /// Tells whoever must know.
    ///
    /// # Errors
    ///
    /// Any error when nobody was told, and the next round shall try again.
    async fn raise(&self, alarm: &Alarm) -> Result<(), BoxError>;
}

macro_rules! forward {
    ($($pointer:ident),+) => { $(
        #[async_trait]
        impl<T: AlarmSink + ?Sized> AlarmSink for $pointer<T> {
            async fn raise(&self, alarm: &Alarm) -> Result<(), BoxError> {
                (**self).raise(alarm).await
            }
        }
    )+ };
}
forward!(Arc, Box);

/// Writes every alarm to `tracing` under the target `password_reset::alarm`; the default sink.
///
/// Critical alarms are errors, the others warnings. Fields: `rule`, `subject`, `count`, `threshold`,
/// `window_s`, `at`, `first_seen`, `source`. They are part of the crate's public interface.
#[derive(Clone, Copy, Debug, Default)]
pub struct TracingAlarms;

#[async_trait]
impl AlarmSink for TracingAlarms {
    async fn raise(&self, alarm: &Alarm) -> Result<(), BoxError> {
        macro_rules! emit {
            ($level:expr) => {
                tracing::event!(
                    target: "password_reset::alarm",
                    $level,
                    rule = %alarm.rule,
                    subject = %alarm.subject,
                    count = alarm.count,
                    threshold = alarm.threshold,
                    window_s = alarm.window.as_secs(),
                    at = %alarm.at,
                    first_seen = %alarm.first_seen,
                    source = alarm.source.map(tracing::field::display),
                )
            };
        }
        match alarm.severity {
            Severity::Critical => emit!(tracing::Level::ERROR),
            _ => emit!(tracing::Level::WARN),
        }
        Ok(())
    }
}
