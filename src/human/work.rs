//! Work instead of a captcha: [`ProofOfWork`], in the format of ALTCHA, version 1.
//!
//! The service hides a number in a SHA-256 and signs the riddle; a browser finds the number by
//! trying. Nobody else is asked, nobody is watched, nothing is stored while the riddle is out. It
//! does not tell humans from programs: it makes a flood cost what one request does not.

use std::fmt::{self, Write};
use std::ops::RangeInclusive;
use std::time::Duration;

use base64ct::{Base64, Encoding};
use hmac::Mac;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::account::Tenant;
use crate::clock::Timestamp;
use crate::error::BoxError;
use crate::human::{Flaw, Proof};
use crate::limit::Quota;
use crate::random::{self, Random};
use crate::token::{HmacSha256, Key, Keyring};
use crate::wire::Fields;

/// How hard the work may be.
pub(crate) const MAX_NUMBERS: RangeInclusive<u32> = 1_000..=10_000_000;
/// How long a challenge may be open.
pub(crate) const LIVES: RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(3_600);
/// The longest answer to a challenge, in bytes; a true one has about 400.
const MAX_ANSWER_BYTES: usize = 1_024;
const ALGORITHM: &str = "SHA-256";
const SALT_BYTES: usize = 12;
const EXPIRES: &str = "?expires=";
/// Behind the salt, so that its digits and those of the number cannot be shifted into each other
/// (CVE-2025-68113).
const END: &str = "&";

/// How hard the work is, and how long there is time for it.
///
/// ```
/// use password_reset::flow::Builder;
/// use password_reset::human::{ProofOfWork, When};
///
/// fn guarded(flow: Builder) -> Builder {
///     let mut work = ProofOfWork::default();
///     work.max_number = 200_000;
///     flow.proof_of_work(work, When::Always)
/// }
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ProofOfWork {
    /// The number is drawn from 0 to this one, so that half as many digests are computed on
    /// average: 50,000; from 1,000 to 10,000,000. The default takes a computer a fraction of a
    /// second, and an old telephone some seconds.
    pub max_number: u32,
    /// How long an answer is taken: 20 minutes, for whoever leaves the form open for a while; from
    /// 1 to 60 minutes.
    pub life: Duration,
}

impl Default for ProofOfWork {
    fn default() -> Self {
        Self {
            max_number: 50_000,
            life: Duration::from_secs(1_200),
        }
    }
}

/// A riddle for one request: [`ResetFlow::challenge`](crate::ResetFlow::challenge).
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Challenge {
    algorithm: &'static str,
    challenge: String,
    maxnumber: u32,
    salt: String,
    signature: String,
}

impl Challenge {
    /// The JSON that ALTCHA's widgets and libraries take: the members `algorithm`, `challenge`,
    /// `maxnumber`, `salt` and `signature`. Letters, digits and `":,{}?=&-` only.
    ///
    /// The answer is their `payload`, in Base64, which is a [`Proof`]. It is found by computing
    /// SHA-256 of the salt followed by 0, 1, 2 and so on in decimal, until its hexadecimal digits
    /// are `challenge`.
    pub fn to_json(&self) -> String {
        // Texts and a number are always JSON.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_json())
    }
}

/// What comes back: members that are not named here, such as how long it took, are passed over.
#[derive(Deserialize)]
struct Answer {
    algorithm: String,
    challenge: String,
    number: u64,
    salt: String,
    signature: String,
}

impl ProofOfWork {
    pub(crate) fn is_bounded(&self) -> bool {
        MAX_NUMBERS.contains(&self.max_number) && LIVES.contains(&self.life)
    }

    /// Draws a riddle for one tenant.
    pub(crate) fn draw(
        &self,
        key: &Key,
        tenant: Option<&Tenant>,
        random: &dyn Random,
        now: Timestamp,
    ) -> Result<Challenge, BoxError> {
        let drawn = random::id::<SALT_BYTES>(random)?;
        let number = random::below(random, u64::from(self.max_number).saturating_add(1))?;
        let expires = (now + self.life).unix_micros().div_euclid(1_000_000);
        let salt = format!("{}{EXPIRES}{expires}{END}", hex_of(&drawn));
        let challenge = riddle(&salt, number);
        let signature = signed(key, tenant, &salt, &challenge);
        Ok(Challenge {
            algorithm: ALGORITHM,
            maxnumber: self.max_number,
            signature: hex_of(&signature.finalize().into_bytes()),
            challenge,
            salt,
        })
    }

    /// What names an answer that is right and in time: charge it once, under [`Self::seen`], in a
    /// limiter that all processes share, and it is taken once. A limiter's `check` reads, decides
    /// and writes in one step, which is all that a set of used answers has to do.
    pub(crate) fn judge(
        keyring: &Keyring,
        tenant: Option<&Tenant>,
        proof: &Proof,
        now: Timestamp,
    ) -> Result<[u8; 32], Flaw> {
        let answer = answer(proof.expose()).ok_or(Flaw::Wrong)?;
        let signature = unhex(&answer.signature).ok_or(Flaw::Wrong)?;
        let ours = keyring.all().any(|key| {
            let mac = signed(key, tenant, &answer.salt, &answer.challenge);
            let mac: [u8; 32] = mac.finalize().into_bytes().into();
            mac.ct_eq(&signature).into()
        });
        if !ours || answer.algorithm != ALGORITHM {
            return Err(Flaw::Wrong);
        }
        // Nothing of what is compared here is secret: the asker was told it.
        if riddle(&answer.salt, answer.number) != answer.challenge {
            return Err(Flaw::Wrong);
        }
        let expires = expires(&answer.salt).ok_or(Flaw::Wrong)?;
        if now >= expires {
            return Err(Flaw::Stale);
        }
        Ok(signature)
    }

    /// One use in the longest life that a challenge can have.
    pub(crate) fn seen() -> Quota {
        Quota::new(1, *LIVES.end())
    }
}

fn answer(text: &str) -> Option<Answer> {
    if text.len() > MAX_ANSWER_BYTES {
        return None;
    }
    let json = Base64::decode_vec(text).ok()?;
    serde_json::from_slice(&json).ok()
}

fn riddle(salt: &str, number: u64) -> String {
    let mut hash = Sha256::new();
    hash.update(salt.as_bytes());
    hash.update(number.to_string().as_bytes());
    hex_of(&hash.finalize())
}

fn signed(key: &Key, tenant: Option<&Tenant>, salt: &str, challenge: &str) -> HmacSha256 {
    let mut mac = key.human.clone();
    mac.optional(tenant.map(|tenant| tenant.as_str().as_bytes()));
    mac.field(salt.as_bytes());
    mac.field(challenge.as_bytes());
    mac
}

fn expires(salt: &str) -> Option<Timestamp> {
    let (_, rest) = salt.split_once(EXPIRES)?;
    let seconds: i64 = rest.strip_suffix(END)?.parse().ok()?;
    Some(Timestamp::from_unix_micros(seconds.checked_mul(1_000_000)?))
}

fn hex_of(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().saturating_mul(2));
    for byte in bytes {
        // Writing into a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}
