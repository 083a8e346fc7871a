//! Hashing and verifying: Argon2id, or what the application plugs in.
//!
//! Everything here is synchronous and slow on purpose. Call it through a
//! [`HashPool`](super::HashPool), not from an async function.

use std::error::Error;
use std::fmt::{self, Write};
use std::sync::Arc;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64ct::{Base64Unpadded, Encoding};
use password_hash::phc;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use super::{Candidate, NewPassword, PasswordHash};

/// How passwords are hashed and checked.
///
/// [`Argon2id`] is the one to use. Implement the trait for an application whose hashes have another
/// form, or to verify old ones while [`needs_rehash`](PasswordHasher::needs_rehash) moves them
/// over.
///
/// # Contract
///
/// - It MUST salt every hash anew. If not, equal passwords show in a stolen table, and one guess
///   tests them all.
/// - It MUST NOT cut a password. What is beyond [`max_bytes`](PasswordHasher::max_bytes) is refused
///   with [`HasherError::TooManyBytes`]; otherwise two passwords with one beginning open the same
///   door.
/// - It MUST bound the cost that a stored hash asks for *before* paying it. If not, whoever can
///   write one row can stop the service at the next login.
/// - It MUST compare in constant time, and answer `Ok(false)` only for a wrong password. A hash it
///   cannot read is an error; otherwise a damaged table looks like a thousand mistyped passwords.
///
/// # Example
///
/// A wrapper that still verifies the hashes of an older system:
///
/// ```
/// use password_reset::password::{
///     Argon2id, Candidate, HasherError, NewPassword, PasswordHash, PasswordHasher, Scratch,
/// };
///
/// struct WithLegacy(Argon2id);
///
/// impl PasswordHasher for WithLegacy {
///     fn hash(
///         &self,
///         password: &NewPassword,
///         scratch: &mut Scratch,
///     ) -> Result<PasswordHash, HasherError> {
///         self.0.hash(password, scratch)
///     }
///
///     fn verify(
///         &self,
///         candidate: &Candidate,
///         stored: &PasswordHash,
///         scratch: &mut Scratch,
///     ) -> Result<bool, HasherError> {
///         // Choose by the prefix, never by the error of the wrong parser.
///         match stored.expose().strip_prefix("$legacy$") {
///             Some(rest) => legacy_verify(candidate.expose(), rest),
///             None => self.0.verify(candidate, stored, scratch),
///         }
///     }
///
///     fn needs_rehash(&self, stored: &PasswordHash) -> bool {
///         self.0.needs_rehash(stored)
///     }
///
///     fn max_bytes(&self) -> Option<usize> {
///         self.0.max_bytes()
///     }
/// }
/// # fn legacy_verify(_: &str, _: &str) -> Result<bool, HasherError> {
/// #     Err(HasherError::Unsupported)
/// # }
/// ```
pub trait PasswordHasher: Send + Sync + 'static {
    /// Hashes a new password with a fresh salt.
    ///
    /// # Errors
    ///
    /// Any [`HasherError`]; nothing has been stored then.
    fn hash(
        &self,
        password: &NewPassword,
        scratch: &mut Scratch,
    ) -> Result<PasswordHash, HasherError>;

    /// Whether this is the password that `stored` was made from.
    ///
    /// # Errors
    ///
    /// Any [`HasherError`]. A wrong password is not an error, it is `Ok(false)`.
    fn verify(
        &self,
        candidate: &Candidate,
        stored: &PasswordHash,
        scratch: &mut Scratch,
    ) -> Result<bool, HasherError>;

    /// Whether `stored` should be replaced at the next successful login, because it was made by
    /// another scheme or at a lower cost (R57). Reads the string only, so it may be called
    /// anywhere.
    fn needs_rehash(&self, stored: &PasswordHash) -> bool;

    /// The most bytes of a password that this scheme reads, if there is such a limit (bcrypt: 72).
    fn max_bytes(&self) -> Option<usize>;
}

macro_rules! forward {
    ($($pointer:ident),*) => {$(
        impl<T: PasswordHasher + ?Sized> PasswordHasher for $pointer<T> {
            fn hash(
                &self,
                password: &NewPassword,
                scratch: &mut Scratch,
            ) -> Result<PasswordHash, HasherError> {
                (**self).hash(password, scratch)
            }

            fn verify(
                &self,
                candidate: &Candidate,
                stored: &PasswordHash,
                scratch: &mut Scratch,
            ) -> Result<bool, HasherError> {
                (**self).verify(candidate, stored, scratch)
            }

            fn needs_rehash(&self, stored: &PasswordHash) -> bool {
                (**self).needs_rehash(stored)
            }

            fn max_bytes(&self) -> Option<usize> {
                (**self).max_bytes()
            }
        }
    )*};
}

forward!(Arc, Box);

/// Argon2id version 19, with a 16-byte salt and a 32-byte tag (R55, R56).
///
/// The default costs 19 MiB and two passes. Stored hashes name their own cost, which is held
/// against [`Ceilings`] before any work: a row that asks for four tebibytes is an error, not an
/// outage.
///
/// It verifies `$argon2id$v=19$` strings and nothing else. Argon2d and Argon2i are other schemes,
/// although the library underneath would quietly follow whatever variant the string names.
#[derive(Clone, Debug)]
pub struct Argon2id {
    cost: Cost,
    ceilings: Ceilings,
}

impl Argon2id {
    /// Chooses the cost: memory in KiB, passes, lanes.
    ///
    /// Lanes run one after another on one thread. They are for compatibility, not for speed.
    ///
    /// ```
    /// use password_reset::password::{Argon2id, WeakParameters};
    ///
    /// assert!(Argon2id::new(47_104, 1, 1).is_ok());
    /// assert_eq!(Argon2id::new(8_192, 1, 1).unwrap_err(), WeakParameters::BelowTable);
    /// ```
    ///
    /// # Errors
    ///
    /// - [`WeakParameters::BelowTable`] if it is weaker than every line of ASVS 5.0, appendix C:
    ///   m=47104 t=1, m=19456 t=2, m=12288 t=3 (R55).
    /// - [`WeakParameters::AboveCeiling`] over 1 GiB, 16 passes or 16 lanes.
    pub fn new(m_kib: u32, t: u32, p: u32) -> Result<Self, WeakParameters> {
        let cost = Cost { m_kib, t, p };
        if !cost.meets_table() {
            return Err(WeakParameters::BelowTable);
        }
        Self {
            cost,
            ceilings: Ceilings::default(),
        }
        .checked()
    }

    /// 64 MiB, three passes, four lanes: the second recommendation of RFC 9106, for hosts with
    /// memory to spare.
    pub fn rfc9106_low_memory() -> Self {
        Self {
            cost: Cost {
                m_kib: 65_536,
                t: 3,
                p: 4,
            },
            ceilings: Ceilings::default(),
        }
    }

    /// Lowers what a stored hash may cost to verify.
    ///
    /// # Errors
    ///
    /// [`WeakParameters::AboveCeiling`] if this hasher could not verify its own hashes then.
    pub fn ceilings(self, ceilings: Ceilings) -> Result<Self, WeakParameters> {
        Self { ceilings, ..self }.checked()
    }

    fn checked(self) -> Result<Self, WeakParameters> {
        if self.cost.exceeds(&self.ceilings) {
            Err(WeakParameters::AboveCeiling)
        } else {
            Ok(self)
        }
    }

    /// This hasher's cost over a secret that is not a password.
    pub(super) fn stretch(
        &self,
        secret: &[u8],
        salt: &[u8; SALT_BYTES],
        tag: &mut [u8; TAG_BYTES],
        scratch: &mut Scratch,
    ) -> Result<(), HasherError> {
        let keep = self.keep()?;
        self.cost
            .digest(Variant::PRESENT, secret, salt, tag, keep, scratch)
    }

    /// A fresh salt, and the PHC string around what `seal` makes of the tag.
    pub(super) fn hash_sealed(
        &self,
        password: &NewPassword,
        scratch: &mut Scratch,
        seal: impl FnOnce(&mut [u8; TAG_BYTES]),
    ) -> Result<Zeroizing<String>, HasherError> {
        let mut salt = [0_u8; SALT_BYTES];
        getrandom::fill(&mut salt).map_err(|error| HasherError::Randomness(Box::new(error)))?;
        let mut tag = Zeroizing::new([0_u8; TAG_BYTES]);
        let secret = password.expose().as_bytes();
        self.stretch(secret, &salt, &mut tag, scratch)?;
        seal(&mut tag);

        let Cost { m_kib, t, p } = self.cost;
        let salt = Base64Unpadded::encode_string(&salt);
        let tag = Zeroizing::new(Base64Unpadded::encode_string(tag.as_slice()));
        let mut phc = Zeroizing::new(String::with_capacity(PHC_BYTES));
        // Writing to a `String` does not fail; a half-written one would not parse.
        let _ = write!(phc, "$argon2id$v=19$m={m_kib},t={t},p={p}${salt}${}", *tag);
        Ok(phc)
    }

    /// The tag that this password has under the cost and salt of `stored`.
    pub(super) fn tag_of(
        &self,
        candidate: &Candidate,
        stored: &Stored,
        scratch: &mut Scratch,
    ) -> Result<Tag, HasherError> {
        stored.tag_of(candidate, &self.ceilings, self.keep()?, scratch)
    }

    /// Whether it is weaker than what this hasher makes.
    pub(super) fn is_outdated(&self, stored: &Stored) -> bool {
        stored.variant != Variant::PRESENT
            || stored.cost.m_kib < self.cost.m_kib
            || stored.cost.t < self.cost.t
            || stored.salt.as_ref().len() < SALT_BYTES
            || stored.tag.len() < TAG_BYTES
    }

    /// Keeps no more memory than this hasher's own cost, so one costly stored hash does not stay
    /// resident.
    fn keep(&self) -> Result<usize, HasherError> {
        Ok(self.cost.params(TAG_BYTES)?.block_count())
    }
}

impl Default for Argon2id {
    fn default() -> Self {
        Self {
            cost: Cost {
                m_kib: 19_456,
                t: 2,
                p: 1,
            },
            ceilings: Ceilings::default(),
        }
    }
}

impl PasswordHasher for Argon2id {
    fn hash(
        &self,
        password: &NewPassword,
        scratch: &mut Scratch,
    ) -> Result<PasswordHash, HasherError> {
        let phc = self.hash_sealed(password, scratch, |_| {})?;
        PasswordHash::parse(&phc).map_err(|error| HasherError::Backend(Box::new(error)))
    }

    fn verify(
        &self,
        candidate: &Candidate,
        stored: &PasswordHash,
        scratch: &mut Scratch,
    ) -> Result<bool, HasherError> {
        let stored = Stored::present(stored.expose())?;
        let tag = self.tag_of(candidate, &stored, scratch)?;
        Ok(tag.as_bytes().ct_eq(stored.tag.as_bytes()).into())
    }

    /// Also true for what cannot be parsed, and for a salt or a tag shorter than ours. False for a
    /// hash that costs more. Lanes alone are no reason.
    fn needs_rehash(&self, stored: &PasswordHash) -> bool {
        Stored::present(stored.expose()).map_or(true, |stored| self.is_outdated(&stored))
    }

    fn max_bytes(&self) -> Option<usize> {
        None
    }
}

/// What a stored hash may cost to verify, at most: by default 1 GiB, 16 passes and 16 lanes.
///
/// They can be lowered, not raised. Whoever can write one row of the users' table chooses these
/// numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ceilings {
    m_kib: u32,
    t: u32,
    p: u32,
}

impl Ceilings {
    /// Sets the ceilings: memory in KiB, passes, lanes.
    ///
    /// # Errors
    ///
    /// [`WeakParameters::AboveCeiling`] over 1 GiB, 16 passes or 16 lanes.
    pub fn new(m_kib: u32, t: u32, p: u32) -> Result<Self, WeakParameters> {
        if (Cost { m_kib, t, p }).exceeds(&Self::default()) {
            return Err(WeakParameters::AboveCeiling);
        }
        Ok(Self { m_kib, t, p })
    }
}

impl Default for Ceilings {
    fn default() -> Self {
        Self {
            m_kib: 1024 * 1024,
            t: 16,
            p: 16,
        }
    }
}

/// These parameters would make hashes that are too weak to store, or too costly to verify.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WeakParameters {
    /// Weaker than every line of the table in ASVS 5.0, appendix C.
    #[error("weaker than m=47104 t=1, m=19456 t=2 and m=12288 t=3")]
    BelowTable,
    /// Above what may be verified.
    #[error("above the ceiling for memory, passes or lanes")]
    AboveCeiling,
}

/// Why a password could not be hashed or checked. Nothing in it tells anything about the password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HasherError {
    /// The stored hash is of a scheme, variant or version that this hasher does not verify.
    #[error("the stored hash is of an unsupported scheme")]
    Unsupported,
    /// The stored hash names a supported scheme and is damaged.
    #[error("the stored hash is malformed")]
    Malformed,
    /// The stored hash asks for more than the [`Ceilings`].
    #[error("the stored hash costs more than the ceilings allow")]
    OverCeiling,
    /// The stored hash was made with a key that is not in the ring, or with another one of that
    /// id: see [`Peppered`](super::Peppered). Nothing is known about the password.
    #[error("the stored hash was made with a key that is not at hand")]
    UnknownKey,
    /// The password is longer than this scheme reads. A [`Policy`](super::Policy) that knows the
    /// hasher's limit refuses it earlier.
    #[error("the password is longer than {max} bytes")]
    TooManyBytes {
        /// What the scheme reads.
        max: usize,
    },
    /// The password holds a NUL, which this scheme cannot tell from its end.
    #[error("the password holds a character that the scheme of its hash cannot read")]
    Nul,
    /// The memory for one hash could not be had.
    #[error("out of memory")]
    OutOfMemory,
    /// No salt: the system's generator failed.
    #[error("the random generator failed")]
    Randomness(#[source] Box<dyn Error + Send + Sync>),
    /// The implementation failed.
    #[error("the password hasher failed")]
    Backend(#[source] Box<dyn Error + Send + Sync>),
}

impl HasherError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::OutOfMemory | Self::Randomness(_))
    }
}

/// Working memory that one thread of the pool uses for one hash after another.
///
/// Fresh memory for every hash would be slower by half, and leaves many times its size resident
/// under common allocators. It grows at first use, is wiped after every use, through a panic as
/// well, and gives back what only a costlier stored hash needed.
///
/// A hasher that is not Argon2 has no use for it and ignores it.
#[derive(Default)]
pub struct Scratch {
    blocks: Vec<Block>,
}

impl Scratch {
    /// No memory yet.
    pub const fn new() -> Self {
        Self { blocks: Vec::new() }
    }

    /// Runs `work` on `count` blocks; afterwards they are wiped, and freed if there are more than
    /// `keep`.
    fn with_blocks<R>(
        &mut self,
        count: usize,
        keep: usize,
        work: impl FnOnce(&mut [Block]) -> R,
    ) -> Result<R, HasherError> {
        if self.blocks.len() < count {
            // Everything in it is wiped, so there is nothing to carry over: free first, then
            // allocate.
            self.blocks = Vec::new();
            self.blocks
                .try_reserve_exact(count)
                .map_err(|_| HasherError::OutOfMemory)?;
            self.blocks.resize(count, Block::new());
        }
        let mut wipe = Wipe {
            scratch: self,
            count,
            keep,
        };
        let blocks = wipe.blocks()?;
        Ok(work(blocks))
    }
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch")
            .field("kib", &self.blocks.len())
            .finish()
    }
}

/// Wipes on drop, so that a panic in the hash function leaves nothing of a password behind.
struct Wipe<'a> {
    scratch: &'a mut Scratch,
    count: usize,
    keep: usize,
}

impl Wipe<'_> {
    fn blocks(&mut self) -> Result<&mut [Block], HasherError> {
        self.scratch
            .blocks
            .get_mut(..self.count)
            .ok_or(HasherError::OutOfMemory)
    }
}

impl Drop for Wipe<'_> {
    fn drop(&mut self) {
        if let Ok(blocks) = self.blocks() {
            blocks.iter_mut().for_each(Zeroize::zeroize);
        }
        if self.scratch.blocks.len() > self.keep {
            self.scratch.blocks = Vec::new();
        }
    }
}

const SALT_BYTES: usize = 16;
pub(super) const TAG_BYTES: usize = 32;
/// Room for the longest string that `hash` writes.
const PHC_BYTES: usize = 128;

/// One of the six Argon2s.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Variant {
    algorithm: Algorithm,
    version: Version,
}

impl Variant {
    const PRESENT: Self = Self {
        algorithm: Algorithm::Argon2id,
        version: Version::V0x13,
    };
}

#[derive(Clone, Copy, Debug)]
struct Cost {
    m_kib: u32,
    t: u32,
    p: u32,
}

impl Cost {
    /// ASVS 5.0, appendix C: at least as strong as one of its lines (R55).
    fn meets_table(&self) -> bool {
        self.p >= 1
            && FLOOR
                .iter()
                .any(|&(m_kib, t)| self.m_kib >= m_kib && self.t >= t)
    }

    fn exceeds(&self, ceilings: &Ceilings) -> bool {
        self.m_kib > ceilings.m_kib || self.t > ceilings.t || self.p > ceilings.p
    }

    fn params(&self, tag_bytes: usize) -> Result<Params, HasherError> {
        Params::new(self.m_kib, self.t, self.p, Some(tag_bytes)).map_err(|_| HasherError::Malformed)
    }

    /// Fills `tag`; the scratch keeps at most `keep` blocks.
    fn digest(
        &self,
        variant: Variant,
        secret: &[u8],
        salt: &[u8],
        tag: &mut [u8],
        keep: usize,
        scratch: &mut Scratch,
    ) -> Result<(), HasherError> {
        let params = self.params(tag.len())?;
        let argon2 = Argon2::new(variant.algorithm, variant.version, params.clone());
        scratch.with_blocks(params.block_count(), keep, |blocks| {
            argon2
                .hash_password_into_with_memory(secret, salt, tag, blocks)
                .map_err(|error| HasherError::Backend(Box::new(error)))
        })?
    }
}

/// ASVS 5.0, appendix C: memory in KiB, and passes.
pub(super) const FLOOR: [(u32, u32); 3] = [(12_288, 3), (19_456, 2), (47_104, 1)];

/// What a hash function made of a candidate, wiped on drop.
pub(super) struct Tag {
    bytes: Zeroizing<[u8; phc::Output::MAX_LENGTH]>,
    len: usize,
}

impl Tag {
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// A stored Argon2 hash, read but not yet worked on.
pub(super) struct Stored {
    variant: Variant,
    cost: Cost,
    salt: phc::Salt,
    pub(super) tag: phc::Output,
}

impl Stored {
    /// Argon2id of version 19 only.
    pub(super) fn present(stored: &str) -> Result<Self, HasherError> {
        // By the prefix and not by the parser's errors: other schemes fail to parse in ways that
        // look like damage (a bcrypt string is "salt too short").
        if !stored.starts_with("$argon2id$") {
            return Err(HasherError::Unsupported);
        }
        let stored = Self::parse(stored)?;
        if stored.variant == Variant::PRESENT {
            Ok(stored)
        } else {
            Err(HasherError::Unsupported)
        }
    }

    /// Any Argon2.
    pub(super) fn parse(stored: &str) -> Result<Self, HasherError> {
        let algorithm = match stored.split('$').nth(1) {
            Some("argon2id") => Algorithm::Argon2id,
            Some("argon2i") => Algorithm::Argon2i,
            Some("argon2d") => Algorithm::Argon2d,
            _ => return Err(HasherError::Unsupported),
        };
        let phc = phc::PasswordHash::new(stored).map_err(|_| HasherError::Malformed)?;
        let version = match phc.version {
            // The first version did not write its number.
            None | Some(16) => Version::V0x10,
            Some(19) => Version::V0x13,
            Some(_) => return Err(HasherError::Unsupported),
        };
        let mut cost = Cost {
            m_kib: 0,
            t: 0,
            p: 0,
        };
        for (name, value) in phc.params.iter() {
            let place = match name.as_str() {
                "m" => &mut cost.m_kib,
                "t" => &mut cost.t,
                "p" => &mut cost.p,
                // `data` and `keyid` ask for inputs that we do not have.
                _ => return Err(HasherError::Unsupported),
            };
            *place = value.decimal().map_err(|_| HasherError::Malformed)?;
        }
        // None of the three has a default here: a string that lost its cost is damaged.
        if cost.m_kib == 0 || cost.t == 0 || cost.p == 0 {
            return Err(HasherError::Malformed);
        }
        let salt = phc.salt.ok_or(HasherError::Malformed)?;
        let tag = phc.hash.ok_or(HasherError::Malformed)?;
        // What software writes. Any other length was cut off on the way into the table, or by its
        // column.
        if !matches!(tag.len(), 16 | 32 | 64) {
            return Err(HasherError::Malformed);
        }
        let variant = Variant { algorithm, version };
        Ok(Self {
            variant,
            cost,
            salt,
            tag,
        })
    }

    /// The tag that this password has under this cost and salt.
    pub(super) fn tag_of(
        &self,
        candidate: &Candidate,
        ceilings: &Ceilings,
        keep: usize,
        scratch: &mut Scratch,
    ) -> Result<Tag, HasherError> {
        if self.cost.exceeds(ceilings) {
            return Err(HasherError::OverCeiling);
        }
        let mut tag = Tag {
            bytes: Zeroizing::new([0; phc::Output::MAX_LENGTH]),
            len: self.tag.len(),
        };
        let bytes = tag.bytes.get_mut(..tag.len).ok_or(HasherError::Malformed)?;
        let secret = candidate.expose().as_bytes();
        let salt = self.salt.as_ref();
        self.cost
            .digest(self.variant, secret, salt, bytes, keep, scratch)?;
        Ok(tag)
    }
}

#[cfg(test)]
mod tests;
