//! scrypt (RFC 7914).

use base64ct::{Base64, Base64Unpadded, Encoding};
use scrypt::Params;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{decimal, key};
use crate::password::{
    Candidate, HasherError, PasswordHash, PasswordVerifier, Scratch, WeakParameters,
};

/// Verifies scrypt: PHC strings, which passlib writes too, and Django's.
///
/// The ceilings are 256 MiB of memory (`128 · N · r` bytes), which is twice what OWASP asks for,
/// 1 MiB beside it (`128 · r · (p + 1)` bytes), and 1 GiB that is worked through in all
/// (`128 · N · r · p` bytes).
#[derive(Clone, Copy, Debug)]
pub struct Scrypt {
    max_memory: u64,
    max_work: u64,
}

/// For what is not the table: 1,024 blocks of the usual size, where OWASP's strongest has 11.
const MAX_LANES: u64 = 1 << 20;

impl Scrypt {
    /// Lowers the ceilings: memory in KiB, and `p`, how often a hash may work through so much of
    /// it. Higher values than the present ones change nothing.
    ///
    /// # Errors
    ///
    /// [`WeakParameters::AboveCeiling`] if one of them is 0: nothing could be verified.
    pub fn ceilings(self, max_kib: u32, max_p: u32) -> Result<Self, WeakParameters> {
        if max_kib == 0 || max_p == 0 {
            return Err(WeakParameters::AboveCeiling);
        }
        let max_memory = self.max_memory.min(u64::from(max_kib) * 1024);
        let max_work = self
            .max_work
            .min(max_memory.saturating_mul(u64::from(max_p)));
        Ok(Self {
            max_memory,
            max_work,
        })
    }
}

impl Default for Scrypt {
    fn default() -> Self {
        Self {
            max_memory: 256 << 20,
            max_work: 1 << 30,
        }
    }
}

impl PasswordVerifier for Scrypt {
    fn recognizes(&self, stored: &PasswordHash) -> bool {
        let stored = stored.expose();
        stored.starts_with("$scrypt$") || stored.starts_with("scrypt$")
    }

    fn verify(
        &self,
        candidate: &Candidate,
        stored: &PasswordHash,
        _: &mut Scratch,
    ) -> Result<bool, HasherError> {
        let stored = Stored::parse(stored.expose())?;
        // What is allocated: the table, a block for each lane, and one to work in (RFC 7914, 5).
        let block = 128 * u64::from(stored.r);
        let table = block.saturating_mul(1 << stored.log_n);
        let lanes = block.saturating_mul(u64::from(stored.p) + 1);
        let work = table.saturating_mul(u64::from(stored.p));
        if table > self.max_memory || lanes > MAX_LANES || work > self.max_work {
            return Err(HasherError::OverCeiling);
        }
        let params =
            Params::new(stored.log_n, stored.r, stored.p).map_err(|_| HasherError::Malformed)?;
        let mut tag = Zeroizing::new(vec![0; stored.tag.len()]);
        let secret = key(candidate)?;
        scrypt::scrypt(secret, &stored.salt, &params, &mut tag)
            .map_err(|error| HasherError::Backend(Box::new(error)))?;
        Ok(tag.ct_eq(&stored.tag).into())
    }
}

/// A stored hash, read but not yet worked on.
struct Stored {
    /// At most 63, so that 2 to its power is a number.
    log_n: u8,
    r: u32,
    p: u32,
    salt: Vec<u8>,
    tag: Zeroizing<Vec<u8>>,
}

impl Stored {
    fn parse(stored: &str) -> Result<Self, HasherError> {
        let fields: Vec<&str> = stored.split('$').collect();
        let malformed = |_| HasherError::Malformed;
        let stored = match *fields.as_slice() {
            ["", "scrypt", params, salt, tag] => {
                let params: Vec<&str> = params.split(',').collect();
                let [log_n, r, p] = *params.as_slice() else {
                    return Err(HasherError::Malformed);
                };
                Self {
                    log_n: small(named("ln=", log_n)?)?,
                    r: named("r=", r)?,
                    p: named("p=", p)?,
                    salt: Base64Unpadded::decode_vec(salt).map_err(malformed)?,
                    tag: Base64Unpadded::decode_vec(tag).map_err(malformed)?.into(),
                }
            }
            // Django uses the characters of the salt as they are.
            ["scrypt", n, salt, r, p, tag] => {
                let n = decimal(n)?;
                if n < 2 || !n.is_power_of_two() {
                    return Err(HasherError::Malformed);
                }
                Self {
                    log_n: small(n.ilog2())?,
                    r: decimal(r)?,
                    p: decimal(p)?,
                    salt: salt.as_bytes().to_vec(),
                    tag: Base64::decode_vec(tag).map_err(malformed)?.into(),
                }
            }
            ["", "scrypt", ..] | ["scrypt", ..] => return Err(HasherError::Malformed),
            _ => return Err(HasherError::Unsupported),
        };
        // What each of them writes. A shorter one was cut off, and would be easier to hit.
        let tag_bytes = if fields.len() == 5 { 32 } else { 64 };
        if stored.salt.is_empty() || stored.tag.len() != tag_bytes {
            return Err(HasherError::Malformed);
        }
        Ok(stored)
    }
}

fn named(name: &str, field: &str) -> Result<u32, HasherError> {
    decimal(field.strip_prefix(name).ok_or(HasherError::Malformed)?)
}

fn small(log_n: u32) -> Result<u8, HasherError> {
    match u8::try_from(log_n) {
        Ok(log_n) if log_n < 64 => Ok(log_n),
        _ => Err(HasherError::Malformed),
    }
}
