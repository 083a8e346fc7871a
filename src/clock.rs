//! Time as a seam: [`Timestamp`], [`Clock`], [`SystemClock`].
//!
//! Nothing in this crate reads the time of day except through a [`Clock`], so that tests can move
//! it (`testing::ManualClock`) and so that a token's life never depends on a database server's
//! clock or time zone.

use std::fmt;
use std::ops::{Add, Sub};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;

/// A moment in UTC, counted in whole microseconds since 1970-01-01.
///
/// Microseconds are what every bundled database keeps without loss. A token's digest covers its
/// expiry, so a store that rounded the time would break every token: with an integer there is
/// nothing to round.
///
/// Arithmetic saturates; it never wraps and never panics.
///
/// ```
/// use std::time::Duration;
/// use password_reset::Timestamp;
///
/// let issued = Timestamp::from_unix_micros(1_000_000);
/// assert_eq!((issued + Duration::from_secs(1)).unix_micros(), 2_000_000);
/// assert_eq!(issued.to_string(), "1970-01-01T00:00:01Z");
/// ```
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment `micros` microseconds after the Unix epoch.
    pub const fn from_unix_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch; what a backend stores.
    pub const fn unix_micros(self) -> i64 {
        self.0
    }

    /// How long after `earlier` this moment is; zero when it is not after it.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// This moment as a date of the `time` crate, in UTC.
    ///
    /// Moments that the `time` crate cannot express (beyond the year 9999) become the Unix epoch.
    pub fn to_offset_date_time(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

impl From<SystemTime> for Timestamp {
    fn from(at: SystemTime) -> Self {
        let micros = match at.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
            Err(before) => {
                i64::try_from(before.duration().as_micros()).map_or(i64::MIN, i64::saturating_neg)
            }
        };
        Self(micros)
    }
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;

    fn add(self, span: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(micros(span)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Timestamp;

    fn sub(self, span: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(micros(span)))
    }
}

/// RFC 3339 in UTC, to the second.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.to_offset_date_time();
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute(),
            at.second()
        )
    }
}

/// The date for people, the number for machines: no two moments print alike.
impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timestamp({self}, {})", self.0)
    }
}

/// A span in whole microseconds, saturating.
pub(crate) fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// Where the time comes from.
///
/// # Contract
///
/// - MUST be the same clock, within seconds, on every machine that shares a store: a machine that
///   runs late lets an expired token live that much longer.
pub trait Clock: Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

macro_rules! forward {
    ($($pointer:ident),+) => { $(
        impl<T: Clock + ?Sized> Clock for $pointer<T> {
            fn now(&self) -> Timestamp {
                (**self).now()
            }
        }
    )+ };
}
forward!(Arc, Box);

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }
}
