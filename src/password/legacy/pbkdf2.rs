//! PBKDF2 (RFC 8018) with HMAC-SHA-256 and HMAC-SHA-512.

use base64ct::{Base64, Base64Unpadded, Encoding};
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{decimal, key};
use crate::password::{Candidate, HasherError, PasswordHash, PasswordVerifier, Scratch};

/// Verifies PBKDF2 with SHA-256 and SHA-512: PHC strings, passlib's, and Django's.
///
/// The ceiling is ten million iterations, some seconds of one core; OWASP asks for 600,000 and
/// Django for a little more each year. SHA-1 is not read.
///
/// ```
/// use password_reset::password::legacy::Pbkdf2;
/// use password_reset::password::{Candidate, HasherError, PasswordHash, PasswordVerifier, Scratch};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let verifier = Pbkdf2::default().max_iterations(1_500_000);
/// let hostile = PasswordHash::parse(
///     "pbkdf2_sha256$4000000000$salt$MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
/// )?;
/// let refused = verifier.verify(&Candidate::parse("x")?, &hostile, &mut Scratch::new());
/// assert!(matches!(refused, Err(HasherError::OverCeiling)));
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Pbkdf2 {
    max_iterations: u32,
}

impl Pbkdf2 {
    /// Lowers the ceiling. A higher value than the present one changes nothing.
    #[must_use]
    pub fn max_iterations(self, iterations: u32) -> Self {
        let max_iterations = self.max_iterations.min(iterations);
        Self { max_iterations }
    }
}

impl Default for Pbkdf2 {
    fn default() -> Self {
        Self {
            max_iterations: 10_000_000,
        }
    }
}

impl PasswordVerifier for Pbkdf2 {
    fn recognizes(&self, stored: &PasswordHash) -> bool {
        let prefixes = [
            "$pbkdf2-sha256$",
            "$pbkdf2-sha512$",
            "pbkdf2_sha256$",
            "pbkdf2_sha512$",
        ];
        let stored = stored.expose();
        prefixes.iter().any(|prefix| stored.starts_with(prefix))
    }

    fn verify(
        &self,
        candidate: &Candidate,
        stored: &PasswordHash,
        _: &mut Scratch,
    ) -> Result<bool, HasherError> {
        let stored = Stored::parse(stored.expose())?;
        if stored.iterations > self.max_iterations {
            return Err(HasherError::OverCeiling);
        }
        let Stored {
            hash,
            iterations,
            salt,
            tag: expected,
        } = stored;
        let secret = key(candidate)?;
        let mut tag = Zeroizing::new(vec![0; expected.len()]);
        match hash {
            Hash::Sha256 => pbkdf2::pbkdf2_hmac::<Sha256>(secret, &salt, iterations, &mut tag),
            Hash::Sha512 => pbkdf2::pbkdf2_hmac::<Sha512>(secret, &salt, iterations, &mut tag),
        }
        Ok(tag.ct_eq(&expected).into())
    }
}

#[derive(Clone, Copy)]
enum Hash {
    Sha256,
    Sha512,
}

impl Hash {
    fn bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

/// A stored hash, read but not yet worked on.
struct Stored {
    hash: Hash,
    iterations: u32,
    salt: Vec<u8>,
    tag: Zeroizing<Vec<u8>>,
}

impl Stored {
    fn parse(stored: &str) -> Result<Self, HasherError> {
        let fields: Vec<&str> = stored.split('$').collect();
        let (hash, fields) = match fields.as_slice() {
            ["", "pbkdf2-sha256", fields @ ..] => (Hash::Sha256, fields),
            ["", "pbkdf2-sha512", fields @ ..] => (Hash::Sha512, fields),
            ["pbkdf2_sha256", fields @ ..] => return Self::django(Hash::Sha256, fields),
            ["pbkdf2_sha512", fields @ ..] => return Self::django(Hash::Sha512, fields),
            _ => return Err(HasherError::Unsupported),
        };
        let [params, salt, tag] = *fields else {
            return Err(HasherError::Malformed);
        };
        match params.strip_prefix("i=") {
            Some(params) => Self::phc(hash, params, salt, tag),
            None => Self::passlib(hash, params, salt, tag),
        }
    }

    /// `i=600000,l=32`. Without `l` the tag has the length of the hash function's.
    fn phc(hash: Hash, params: &str, salt: &str, tag: &str) -> Result<Self, HasherError> {
        let (iterations, tag_bytes) = match params.split_once(",l=") {
            Some((iterations, bytes)) => (iterations, decimal(bytes)?),
            None => (params, u32::try_from(hash.bytes()).unwrap_or(0)),
        };
        let salt = Base64Unpadded::decode_vec(salt).map_err(|_| HasherError::Malformed)?;
        let tag = Base64Unpadded::decode_vec(tag).map_err(|_| HasherError::Malformed)?;
        Self::checked(hash, decimal(iterations)?, salt, tag, tag_bytes)
    }

    /// Its base64 has a full stop for the plus sign.
    fn passlib(hash: Hash, rounds: &str, salt: &str, tag: &str) -> Result<Self, HasherError> {
        let decode = |text: &str| {
            if text.contains('+') {
                return Err(HasherError::Malformed);
            }
            let text = Zeroizing::new(text.replace('.', "+"));
            Base64Unpadded::decode_vec(&text).map_err(|_| HasherError::Malformed)
        };
        let tag_bytes = u32::try_from(hash.bytes()).unwrap_or(0);
        Self::checked(
            hash,
            decimal(rounds)?,
            decode(salt)?,
            decode(tag)?,
            tag_bytes,
        )
    }

    /// Django uses the characters of the salt as they are.
    fn django(hash: Hash, fields: &[&str]) -> Result<Self, HasherError> {
        let [iterations, salt, tag] = *fields else {
            return Err(HasherError::Malformed);
        };
        let tag = Base64::decode_vec(tag).map_err(|_| HasherError::Malformed)?;
        let salt = salt.as_bytes().to_vec();
        let tag_bytes = u32::try_from(hash.bytes()).unwrap_or(0);
        Self::checked(hash, decimal(iterations)?, salt, tag, tag_bytes)
    }

    /// A tag that was cut off would verify all the same, and be easier to hit.
    fn checked(
        hash: Hash,
        iterations: u32,
        salt: Vec<u8>,
        tag: Vec<u8>,
        tag_bytes: u32,
    ) -> Result<Self, HasherError> {
        let tag = Zeroizing::new(tag);
        let whole = usize::try_from(tag_bytes) == Ok(tag.len());
        if !whole || !(16..=hash.bytes()).contains(&tag.len()) || salt.is_empty() {
            return Err(HasherError::Malformed);
        }
        Ok(Self {
            hash,
            iterations,
            salt,
            tag,
        })
    }
}
