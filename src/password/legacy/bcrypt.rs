//! bcrypt, in its three sound spellings.

use base64ct::{Base64Bcrypt, Encoding};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use zeroize::Zeroizing;

use crate::password::{Candidate, HasherError, PasswordHash, PasswordVerifier, Scratch};

/// Verifies bcrypt: `$2a$`, `$2b$` and `$2y$`, and Django's two forms of it.
///
/// The three prefixes name one function for every password that is let in here; they tell apart
/// the bugs of old implementations, which showed above 72 bytes. Not read:
///
/// - `$2x$`: a crypt_blowfish before 1.1 made it with a bug by which different passwords with
///   non-ASCII characters have one hash. Its owners reset their password. (Hashes that this bug
///   made under the name `$2a$` no longer verify, where the password is not ASCII.)
/// - `$2$`: older still, and without the closing NUL.
///
/// bcrypt reads 72 bytes and stops at a NUL. A longer candidate, and one with a NUL, is *refused*
/// ([`HasherError::TooManyBytes`], [`HasherError::Nul`]): cut, it would open the door to everybody
/// who knows the beginning (W59; CVE-2025-22228). Whoever chose such a password where it was cut
/// resets it once. Django's `bcrypt_sha256` hashes a SHA-256 of the password, in hexadecimal, and
/// has no such limit.
///
/// The ceiling is a cost of 16, some seconds of one core. A table with the usual 12 can say so:
///
/// ```
/// use password_reset::password::legacy::Bcrypt;
///
/// let verifier = Bcrypt::default().max_cost(12);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Bcrypt {
    max_cost: u32,
}

impl Bcrypt {
    /// Lowers the ceiling: the binary logarithm of the rounds, 4 to 16. A higher value than the
    /// present one changes nothing.
    #[must_use]
    pub fn max_cost(self, cost: u32) -> Self {
        let max_cost = self.max_cost.min(cost);
        Self { max_cost }
    }
}

impl Default for Bcrypt {
    fn default() -> Self {
        Self { max_cost: 16 }
    }
}

impl PasswordVerifier for Bcrypt {
    fn recognizes(&self, stored: &PasswordHash) -> bool {
        split(stored.expose()).is_some()
    }

    fn verify(
        &self,
        candidate: &Candidate,
        stored: &PasswordHash,
        _: &mut Scratch,
    ) -> Result<bool, HasherError> {
        let (input, hash) = split(stored.expose()).ok_or(HasherError::Unsupported)?;
        if cost(hash)? > self.max_cost {
            return Err(HasherError::OverCeiling);
        }
        let digest;
        let secret = match input {
            Input::Password => candidate.expose(),
            Input::Sha256 => {
                digest = sha256_hex(candidate.expose());
                &digest
            }
        };
        if secret.len() > MAX_BYTES {
            return Err(HasherError::TooManyBytes { max: MAX_BYTES });
        }
        if secret.contains('\0') {
            return Err(HasherError::Nul);
        }
        // Nothing is left to cut. (`non_truncating_verify` refuses 72 bytes as well, all of which
        // are read.) It compares in constant time.
        bcrypt::verify(secret, hash).map_err(|error| HasherError::Backend(Box::new(error)))
    }
}

/// The most that bcrypt reads.
const MAX_BYTES: usize = 72;
/// `$2b$12$`, 22 characters of salt, 31 of hash.
const HASH_BYTES: usize = 60;
const SALT: std::ops::Range<usize> = 7..29;

/// What bcrypt was given.
enum Input {
    Password,
    Sha256,
}

/// Takes Django's prefix off. `None`: another scheme.
fn split(stored: &str) -> Option<(Input, &str)> {
    let (input, hash) = if let Some(hash) = stored.strip_prefix("bcrypt_sha256$") {
        (Input::Sha256, hash)
    } else {
        let hash = stored.strip_prefix("bcrypt$").unwrap_or(stored);
        (Input::Password, hash)
    };
    let known = ["$2a$", "$2b$", "$2y$"];
    known
        .iter()
        .any(|prefix| hash.starts_with(prefix))
        .then_some((input, hash))
}

/// The cost, if the whole string is sound.
fn cost(hash: &str) -> Result<u32, HasherError> {
    let cost = hash.get(4..6).ok_or(HasherError::Malformed)?;
    // Always two digits.
    let cost = super::decimal(cost.strip_prefix('0').unwrap_or(cost))?;
    let sound = hash.len() == HASH_BYTES
        && hash.get(6..7) == Some("$")
        && cost >= 4
        && decodes::<16>(hash.get(SALT))
        && decodes::<23>(hash.get(SALT.end..));
    if sound {
        Ok(cost)
    } else {
        Err(HasherError::Malformed)
    }
}

/// Whether this is `N` bytes in the one spelling that bcrypt's base64 has for them.
fn decodes<const N: usize>(text: Option<&str>) -> bool {
    let mut bytes = Zeroizing::new([0; N]);
    text.is_some_and(|text| {
        Base64Bcrypt::decode(text, bytes.as_mut_slice()).is_ok_and(|bytes| bytes.len() == N)
    })
}

fn sha256_hex(password: &str) -> Zeroizing<String> {
    let digest = Zeroizing::new(<[u8; 32]>::from(Sha256::digest(password)));
    let mut hex = Zeroizing::new(String::with_capacity(64));
    for byte in digest.iter() {
        // Writing to a `String` does not fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}
