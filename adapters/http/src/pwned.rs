//! Leaked passwords, by k-anonymity: [`PwnedPasswords`].

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use password_reset::error::BoxError;
use password_reset::password::{Breach, BreachCheck, NewPassword};
use sha1::{Digest, Sha1};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use crate::api::USER_AGENT;
use crate::endpoint::Endpoint;
use crate::error::ConfigError;
use crate::get::{Get, HttpGet};

const BASE: &str = "https://api.pwnedpasswords.com";
const PREFIX_CHARS: usize = 5;
const DIGEST_CHARS: usize = 40;

/// Asks Have I Been Pwned, or a mirror of it, whether a password is in a breach.
///
/// It is told the first five of the forty hexadecimal digits of the password's SHA-1, and answers
/// all that begin so, some thousand; what is looked for is picked out here. It learns neither the
/// password nor whether it was found: `Add-Padding` hides even the length of the range from whoever
/// watches the line.
///
/// Give it a client that waits two or three seconds (`ReqwestPost::with_timeout`): somebody waits
/// for it. Any other answer than a whole range is an error, and the flow's
/// [`Unanswered`](password_reset::password::Unanswered) says what becomes of the password.
///
/// ```no_run
/// use std::time::Duration;
///
/// use password_reset::flow::Builder;
/// use password_reset::password::Unanswered;
/// use password_reset_http::{PwnedPasswords, ReqwestPost};
///
/// fn with_breaches(builder: Builder) -> Result<Builder, Box<dyn std::error::Error>> {
///     let http = ReqwestPost::with_timeout(Duration::from_secs(2))?;
///     Ok(builder.breach_check(PwnedPasswords::new(http)?, Unanswered::Accept))
/// }
/// ```
pub struct PwnedPasswords {
    http: Arc<dyn HttpGet>,
    base: Endpoint,
}

impl PwnedPasswords {
    /// At `https://api.pwnedpasswords.com`. It needs no key.
    ///
    /// # Errors
    ///
    /// None with the address that is built in.
    pub fn new(http: impl HttpGet) -> Result<Self, ConfigError> {
        Ok(Self {
            http: Arc::new(http),
            base: Endpoint::parse(&format!("{BASE}/range/"))?,
        })
    }

    /// At a mirror: what stands before `/range/`, with a path or without.
    ///
    /// ```
    /// # use password_reset_http::{PwnedPasswords, ReqwestPost};
    /// # let http = ReqwestPost::new()?;
    /// let check = PwnedPasswords::new(http)?.base_url("https://mirror.example.org/pwned")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] when it is not `https`, or `http` to a loopback host, or has a query, a
    /// fragment or user information.
    pub fn base_url(self, base: &str) -> Result<Self, ConfigError> {
        let base = base.strip_suffix('/').unwrap_or(base);
        Ok(Self {
            base: Endpoint::parse(&format!("{base}/range/"))?,
            ..self
        })
    }

    async fn range(&self, prefix: &str) -> Result<Vec<u8>, RangeError> {
        let url = format!("{}{prefix}", self.base.as_str());
        let get = Get::new(&url).map_err(|_| RangeError::NoRange)?;
        let get = get
            .header("accept", "text/plain")
            .header("add-padding", "true")
            .header("user-agent", USER_AGENT);
        let page = self.http.get(&get).await;
        let page = page.map_err(|error| RangeError::NoAnswer(error.into()))?;
        match page.status() {
            200 => Ok(page.body().to_vec()),
            status => Err(RangeError::Status { status }),
        }
    }
}

#[async_trait]
impl BreachCheck for PwnedPasswords {
    async fn look_up(&self, password: &NewPassword) -> Result<Breach, BoxError> {
        let digest = digest(password.expose());
        // Hexadecimal digits, so it is cut between characters.
        let (prefix, suffix) = digest.split_at(PREFIX_CHARS);
        let range = self.range(prefix).await?;
        Ok(match holds(&range, suffix)? {
            true => Breach::Found,
            false => Breach::NotFound,
        })
    }
}

impl fmt::Debug for PwnedPasswords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client is not shown.
        f.debug_struct("PwnedPasswords").finish_non_exhaustive()
    }
}

/// Why there is no range. Tells nothing about the password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RangeError {
    /// The service did not answer in time, or not wholly.
    #[error("the range of leaked passwords was not answered")]
    NoAnswer(#[source] BoxError),
    /// It answered with another status than 200.
    #[error("the range of leaked passwords was answered with {status}")]
    Status {
        /// The HTTP status.
        status: u16,
    },
    /// What it answered is not a range, such as the login page of a network.
    #[error("the answer is not a range of leaked passwords")]
    NoRange,
}

/// Forty digits in upper case.
fn digest(password: &str) -> Zeroizing<String> {
    let digest = Zeroizing::new(<[u8; 20]>::from(Sha1::digest(password)));
    let mut text = Zeroizing::new(String::with_capacity(DIGEST_CHARS));
    for byte in digest.iter() {
        for half in [byte >> 4, byte & 0xf] {
            let digit = char::from_digit(half.into(), 16).unwrap_or('0');
            text.push(digit.to_ascii_uppercase());
        }
    }
    text
}

/// Whether the suffix is in the range, other than as padding, of which the count is 0.
///
/// Every line is looked at, and each is compared in constant time: how long it takes says nothing
/// about where, or whether, it was found.
fn holds(range: &[u8], suffix: &str) -> Result<bool, RangeError> {
    let mut found = Choice::from(0);
    let mut lines = 0_usize;
    for line in range.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        let (candidate, count) = line
            .split_at_checked(DIGEST_CHARS - PREFIX_CHARS)
            .ok_or(RangeError::NoRange)?;
        let count = count.strip_prefix(b":").ok_or(RangeError::NoRange)?;
        let well_formed = candidate.iter().all(u8::is_ascii_hexdigit)
            && (1..=19).contains(&count.len())
            && count.iter().all(u8::is_ascii_digit);
        if !well_formed {
            return Err(RangeError::NoRange);
        }
        let mut upper = [0; DIGEST_CHARS - PREFIX_CHARS];
        upper.copy_from_slice(candidate);
        upper.make_ascii_uppercase();
        let seen = Choice::from(u8::from(count.iter().any(|digit| *digit != b'0')));
        found |= upper.ct_eq(suffix.as_bytes()) & seen;
        lines += 1;
    }
    // No range is empty, with or without padding.
    if lines == 0 {
        return Err(RangeError::NoRange);
    }
    Ok(found.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    #[test]
    fn a_known_digest() {
        // FIPS 180-2, appendix A.1.
        assert_eq!(*digest("abc"), "A9993E364706816ABA3E25717850C26C9CD0D89D");
    }

    #[test]
    fn padding_is_not_a_find_and_what_is_no_range_is_no_answer() {
        let suffix = "E364706816ABA3E25717850C26C9CD0D89D".get(..35).unwrap();
        let other = "0".repeat(35);
        for (range, expected) in [
            (format!("{suffix}:1"), true),
            (format!("{other}:0\r\n{suffix}:4711\r\n"), true),
            (format!("{}:2\n{other}:1", suffix.to_lowercase()), true),
            (format!("{suffix}:0\r\n{other}:12"), false),
            (format!("{suffix}:000"), false),
            (format!("{other}:9\n"), false),
        ] {
            assert_eq!(
                holds(range.as_bytes(), suffix).unwrap(),
                expected,
                "{range}"
            );
        }
        for range in [
            "",
            "\r\n\r\n",
            "<html>please log in</html>",
            suffix,
            &format!("{suffix}:"),
            &format!("{suffix}:-1"),
            &format!("{suffix}:1x"),
            &format!("{suffix};1"),
            &format!("{suffix}:{}", "9".repeat(20)),
            &format!("A{suffix}:1"),
            &format!("{}:1", "g".repeat(35)),
            // The find does not hide what is wrong behind it.
            &format!("{suffix}:1\nand so on"),
        ] {
            assert!(
                matches!(holds(range.as_bytes(), suffix), Err(RangeError::NoRange)),
                "{range}"
            );
        }
    }
}
