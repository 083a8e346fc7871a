//! The names of keys, and moments as they are kept.

use password_reset::Timestamp;
use password_reset::account::UserId;
use password_reset::limit::LimitKey;
use password_reset::queue::JobId;
use password_reset::token::Selector;

use crate::error::ConnectError;

const LONGEST_PREFIX: usize = 64;

/// Every key of a backend. See the table on the crate's front page.
pub(crate) struct Keys {
    /// Before a selector.
    pub(crate) records: String,
    /// Before a user's id.
    pub(crate) users: String,
    /// Before a job's id.
    pub(crate) each_job: String,
    /// Before a limiter's key. Without braces: limits spread over all slots.
    limits: String,
    pub(crate) purgeable: String,
    pub(crate) sweep: String,
    pub(crate) jobs: String,
    pub(crate) dead: String,
}

impl Keys {
    pub(crate) fn new(prefix: &str) -> Result<Self, ConnectError> {
        let odd = |c: char| matches!(c, '{' | '}') || c.is_whitespace() || c.is_control();
        if prefix.is_empty() || prefix.len() > LONGEST_PREFIX || prefix.contains(odd) {
            return Err(ConnectError::Prefix);
        }
        let one_slot = |rest: &str| format!("{{{prefix}}}:{rest}");
        Ok(Self {
            records: one_slot("t:"),
            users: one_slot("u:"),
            each_job: one_slot("j:"),
            limits: format!("{prefix}:l:"),
            purgeable: one_slot("purge"),
            sweep: one_slot("sweep"),
            jobs: one_slot("jobs"),
            dead: one_slot("dead"),
        })
    }

    pub(crate) fn record(&self, selector: &Selector) -> Vec<u8> {
        join(&self.records, selector.as_bytes())
    }

    pub(crate) fn user(&self, user: &UserId) -> Vec<u8> {
        join(&self.users, user.as_str().as_bytes())
    }

    pub(crate) fn job(&self, id: &JobId) -> Vec<u8> {
        join(&self.each_job, id.as_bytes())
    }

    pub(crate) fn limit(&self, key: &LimitKey) -> Vec<u8> {
        join(&self.limits, key.as_bytes())
    }
}

fn join(prefix: &str, name: &[u8]) -> Vec<u8> {
    [prefix.as_bytes(), name].concat()
}

/// What turns the order of signed numbers into that of unsigned ones.
const SIGN: u64 = 1 << 63;

/// A moment as 20 digits. They sort like the moments, also before 1970, in every locale.
pub(crate) fn digits(at: Timestamp) -> String {
    format!("{:020}", at.unix_micros().cast_unsigned() ^ SIGN)
}

/// The moment of 20 digits.
pub(crate) fn moment(digits: &[u8]) -> Option<Timestamp> {
    if digits.len() != 20 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let micros = (number ^ SIGN).cast_signed();
    Some(Timestamp::from_unix_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_sort_like_moments_and_lose_nothing() {
        let micros = [
            i64::MIN,
            -9_007_199_254_740_993,
            -1,
            0,
            1,
            1_800_000_000_123_457,
            9_007_199_254_740_993,
            i64::MAX,
        ];
        let moments = micros.map(Timestamp::from_unix_micros);
        let texts = moments.map(digits);
        assert!(texts.is_sorted());
        for (text, at) in texts.iter().zip(moments) {
            assert_eq!(text.len(), 20);
            assert_eq!(moment(text.as_bytes()), Some(at));
        }
    }

    #[test]
    fn what_is_not_a_moment_is_refused() {
        for odd in ["", "1", "-9223372036854775808", "99999999999999999999"] {
            assert_eq!(moment(odd.as_bytes()), None, "{odd}");
        }
    }

    #[test]
    fn a_prefix_leaves_no_doubt_about_the_slot() {
        for good in ["password-reset", "p", "app:eu:resets", &"p".repeat(64)] {
            assert!(Keys::new(good).is_ok(), "{good}");
        }
        let long = "p".repeat(65);
        for odd in ["", "a{b", "a}b", "{a}", "a b", "a\n", "a\u{0}", &long] {
            assert!(Keys::new(odd).is_err(), "{odd}");
        }
    }
}
