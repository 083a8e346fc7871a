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

    /// Fills `tag`. Keeps no more memory than this hasher's own cost, so one costly stored hash
    /// does not stay resident.
    fn digest(
        &self,
        cost: Cost,
        secret: &[u8],
        salt: &[u8],
        tag: &mut [u8],
        scratch: &mut Scratch,
    ) -> Result<(), HasherError> {
        let params = cost.params(tag.len())?;
        let keep = self.cost.params(TAG_BYTES)?.block_count();
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
        scratch.with_blocks(params.block_count(), keep, |blocks| {
            argon2
                .hash_password_into_with_memory(secret, salt, tag, blocks)
                .map_err(|error| HasherError::Backend(Box::new(error)))
        })?
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
        let mut salt = [0_u8; SALT_BYTES];
        getrandom::fill(&mut salt).map_err(|error| HasherError::Randomness(Box::new(error)))?;
        let mut tag = Zeroizing::new([0_u8; TAG_BYTES]);
        self.digest(
            self.cost,
            password.expose().as_bytes(),
            &salt,
            tag.as_mut_slice(),
            scratch,
        )?;

        let Cost { m_kib, t, p } = self.cost;
        let salt = Base64Unpadded::encode_string(&salt);
        let tag = Zeroizing::new(Base64Unpadded::encode_string(tag.as_slice()));
        let mut phc = Zeroizing::new(String::with_capacity(PHC_BYTES));
        // Writing to a `String` does not fail; a half-written one would not parse.
        let _ = write!(phc, "$argon2id$v=19$m={m_kib},t={t},p={p}${salt}${}", *tag);
        PasswordHash::parse(&phc).map_err(|error| HasherError::Backend(Box::new(error)))
    }

    fn verify(
        &self,
        candidate: &Candidate,
        stored: &PasswordHash,
        scratch: &mut Scratch,
    ) -> Result<bool, HasherError> {
        let stored = Stored::parse(stored)?;
        if stored.cost.exceeds(&self.ceilings) {
            return Err(HasherError::OverCeiling);
        }
        let mut tag = Zeroizing::new([0_u8; phc::Output::MAX_LENGTH]);
        let tag = tag
            .get_mut(..stored.tag.len())
            .ok_or(HasherError::Malformed)?;
        let secret = candidate.expose().as_bytes();
        self.digest(stored.cost, secret, stored.salt.as_ref(), tag, scratch)?;
        Ok(tag.ct_eq(stored.tag.as_bytes()).into())
    }

    /// Also true for what cannot be parsed, and for a salt or a tag shorter than ours. False for a
    /// hash that costs more. Lanes alone are no reason.
    fn needs_rehash(&self, stored: &PasswordHash) -> bool {
        let Ok(stored) = Stored::parse(stored) else {
            return true;
        };
        stored.cost.m_kib < self.cost.m_kib
            || stored.cost.t < self.cost.t
            || stored.salt.as_ref().len() < SALT_BYTES
            || stored.tag.len() < TAG_BYTES
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
    /// The password is longer than this scheme reads. A [`Policy`](super::Policy) that knows the
    /// hasher's limit refuses it earlier.
    #[error("the password is longer than {max} bytes")]
    TooManyBytes {
        /// What the scheme reads.
        max: usize,
    },
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
const TAG_BYTES: usize = 32;
/// Room for the longest string that `hash` writes.
const PHC_BYTES: usize = 128;

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
            && [(47_104, 1), (19_456, 2), (12_288, 3)]
                .iter()
                .any(|&(m_kib, t)| self.m_kib >= m_kib && self.t >= t)
    }

    fn exceeds(&self, ceilings: &Ceilings) -> bool {
        self.m_kib > ceilings.m_kib || self.t > ceilings.t || self.p > ceilings.p
    }

    fn params(&self, tag_bytes: usize) -> Result<Params, HasherError> {
        Params::new(self.m_kib, self.t, self.p, Some(tag_bytes)).map_err(|_| HasherError::Malformed)
    }
}

/// A stored Argon2id hash, read but not yet worked on.
struct Stored {
    cost: Cost,
    salt: phc::Salt,
    tag: phc::Output,
}

impl Stored {
    fn parse(stored: &PasswordHash) -> Result<Self, HasherError> {
        // By the prefix and not by the parser's errors: other schemes fail to parse in ways that
        // look like damage (a bcrypt string is "salt too short").
        if !stored.expose().starts_with("$argon2id$") {
            return Err(HasherError::Unsupported);
        }
        let phc = phc::PasswordHash::new(stored.expose()).map_err(|_| HasherError::Malformed)?;
        if phc.version != Some(VERSION) {
            return Err(HasherError::Unsupported);
        }
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
        Ok(Self { cost, salt, tag })
    }
}

/// Argon2 version 1.3.
const VERSION: u32 = 19;

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "tests may panic"
    )]

    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::password::{Context, Policy};

    const RAW: &str = "seven quiet owls at noon";

    fn password() -> NewPassword {
        Policy::default().parse(RAW, &Context::default()).unwrap()
    }

    fn candidate(raw: &str) -> Candidate {
        Candidate::parse(raw).unwrap()
    }

    fn stored(phc: &str) -> PasswordHash {
        PasswordHash::parse(phc).unwrap()
    }

    fn hashed() -> PasswordHash {
        Argon2id::default()
            .hash(&password(), &mut Scratch::new())
            .unwrap()
    }

    fn verify(raw: &str, phc: &str) -> Result<bool, HasherError> {
        Argon2id::default().verify(&candidate(raw), &stored(phc), &mut Scratch::new())
    }

    /// As if made at another cost: same shape, other numbers.
    fn with_cost(m: u64, t: u64, p: u64) -> PasswordHash {
        let salt = "c29tZXNhbHRzb21lc2FsdA";
        let tag = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE";
        stored(&format!("$argon2id$v=19$m={m},t={t},p={p}${salt}${tag}"))
    }

    #[test]
    fn the_cost_is_written_into_the_hash() {
        // R55, R57.
        let hash = hashed();
        assert!(
            hash.expose().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{}",
            hash.expose()
        );
    }

    #[test]
    fn salts_differ_and_lengths_are_16_and_32() {
        // R56.
        let (first, second) = (hashed(), hashed());
        let parts = |hash: &PasswordHash| -> (Vec<u8>, Vec<u8>) {
            let mut fields = hash.expose().rsplit('$');
            let tag = Base64Unpadded::decode_vec(fields.next().unwrap()).unwrap();
            (
                Base64Unpadded::decode_vec(fields.next().unwrap()).unwrap(),
                tag,
            )
        };
        let ((salt, tag), (other_salt, other_tag)) = (parts(&first), parts(&second));
        assert_eq!((salt.len(), tag.len()), (16, 32));
        assert!(salt != other_salt && tag != other_tag);
    }

    #[test]
    fn the_right_password_verifies_and_no_other() {
        // R48: whole, and case matters.
        let hash = hashed();
        let mut scratch = Scratch::new();
        let mut check = |raw: &str| {
            Argon2id::default()
                .verify(&candidate(raw), &hash, &mut scratch)
                .unwrap()
        };
        assert!(check(RAW));
        for wrong in [
            "Seven quiet owls at noon",
            "seven quiet owls at noo",
            "seven quiet owls at noon ",
            "",
        ] {
            assert!(!check(wrong), "{wrong}");
        }
    }

    #[test]
    fn the_longest_preset_makes_what_it_verifies() {
        let hasher = Argon2id::rfc9106_low_memory();
        let mut scratch = Scratch::new();
        let hash = hasher.hash(&password(), &mut scratch).unwrap();
        assert!(hash.expose().contains("$m=65536,t=3,p=4$"));
        assert!(hash.expose().len() <= PHC_BYTES);
        assert!(hasher.verify(&candidate(RAW), &hash, &mut scratch).unwrap());
        let priciest = Cost {
            m_kib: u32::MAX,
            t: u32::MAX,
            p: u32::MAX,
        };
        let longest =
            format!("$argon2id$v=19$m={0},t={0},p={0}$", priciest.m_kib).len() + 22 + 1 + 43;
        assert!(longest <= PHC_BYTES);
    }

    #[test]
    fn parameters_below_the_table_are_refused() {
        // R55.
        for (m, t) in [
            (8_192, 1),
            (47_103, 1),
            (19_455, 2),
            (12_287, 3),
            (12_287, 16),
            (65_536, 0),
        ] {
            assert_eq!(
                Argon2id::new(m, t, 1).unwrap_err(),
                WeakParameters::BelowTable,
                "{m} {t}"
            );
        }
        assert_eq!(
            Argon2id::new(19_456, 2, 0).unwrap_err(),
            WeakParameters::BelowTable
        );
        for (m, t) in [(47_104, 1), (19_456, 2), (12_288, 3), (12_288, 16)] {
            assert!(Argon2id::new(m, t, 1).is_ok(), "{m} {t}");
        }
    }

    #[test]
    fn parameters_above_the_ceilings_are_refused() {
        for (m, t, p) in [(1_048_577, 2, 1), (19_456, 17, 1), (19_456, 2, 17)] {
            assert_eq!(
                Argon2id::new(m, t, p).unwrap_err(),
                WeakParameters::AboveCeiling
            );
            assert_eq!(
                Ceilings::new(m, t, p).unwrap_err(),
                WeakParameters::AboveCeiling
            );
        }
        let low = Ceilings::new(19_455, 2, 1).unwrap();
        assert_eq!(
            Argon2id::default().ceilings(low).unwrap_err(),
            WeakParameters::AboveCeiling
        );
    }

    #[test]
    fn a_hostile_stored_cost_is_refused_before_any_work() {
        // A PHC string may ask for 4 TiB, or for a week.
        let mut scratch = Scratch::new();
        let mut check = |hasher: &Argon2id, stored: &PasswordHash| {
            hasher
                .verify(&candidate(RAW), stored, &mut scratch)
                .unwrap_err()
        };
        let hasher = Argon2id::default();
        for (m, t, p) in [
            (4_294_967_295, 1, 1),
            (1_048_577, 1, 1),
            (19_456, 17, 1),
            (19_456, 4_294_967_295, 1),
            (19_456, 2, 17),
            (19_456, 2, 4_294_967_295),
        ] {
            let error = check(&hasher, &with_cost(m, t, p));
            assert!(
                matches!(error, HasherError::OverCeiling),
                "{m} {t} {p}: {error:?}"
            );
        }
        let lower = hasher
            .ceilings(Ceilings::new(19_456, 2, 1).unwrap())
            .unwrap();
        assert!(matches!(
            check(&lower, &with_cost(19_457, 2, 1)),
            HasherError::OverCeiling
        ));
        assert!(scratch.blocks.is_empty(), "nothing was allocated");
    }

    #[test]
    fn other_schemes_are_unsupported_not_malformed() {
        for phc in [
            "$argon2i$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$MDEyMzQ1Njc4OTAxMjM0NQ",
            "$argon2d$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$MDEyMzQ1Njc4OTAxMjM0NQ",
            "$argon2id$v=16$m=19456,t=2,p=1$c29tZXNhbHQ$MDEyMzQ1Njc4OTAxMjM0NQ",
            "$argon2id$m=19456,t=2,p=1$c29tZXNhbHQ$MDEyMzQ1Njc4OTAxMjM0NQ",
            "$argon2id$v=19$m=19456,t=2,p=1,data=c2FsdA$c29tZXNhbHQ$MDEyMzQ1Njc4OTAxMjM0NQ",
            "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
            "$scrypt$ln=17,r=8,p=1$c29tZXNhbHQ$MDEyMzQ1Njc4OTAxMjM0NQ",
            "pbkdf2_sha256$600000$salt$hash",
            "$argon2idx",
            "plain text",
        ] {
            let answer = verify(RAW, phc);
            assert!(
                matches!(answer, Err(HasherError::Unsupported)),
                "{phc}: {answer:?}"
            );
        }
    }

    #[test]
    fn a_damaged_hash_is_an_error_not_a_wrong_password() {
        let whole = with_cost(19_456, 2, 1);
        let whole = whole.expose();
        for phc in [
            "$argon2id$",
            "$argon2id$v=19$m=19456,t=2,p=1",
            "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ",
            "$argon2id$v=19$t=2,p=1$c29tZXNhbHQ$MDEyMzQ1Njc4OTAxMjM0NQ",
            "$argon2id$v=19$c29tZXNhbHQ$MDEyMzQ1Njc4OTAxMjM0NQ",
            "$argon2id$v=19$m=0,t=2,p=1$c29tZXNhbHQ$MDEyMzQ1Njc4OTAxMjM0NQ",
            "$argon2id$v=19$m=8,t=2,p=16$c29tZXNhbHQ$MDEyMzQ1Njc4OTAxMjM0NQ",
            "$argon2id$v=19$m=19456,t=2,p=1$c2Fs$MDEyMzQ1Njc4OTAxMjM0NQ",
            "$argon2id$v=19$m=4294967296,t=2,p=1$c29tZXNhbHQ$MDEyMzQ1Njc4OTAxMjM0NQ",
            &format!("{whole}$x"),
            &format!("{whole}="),
        ] {
            let answer = verify(RAW, phc);
            assert!(
                matches!(
                    answer,
                    Err(HasherError::Malformed | HasherError::Unsupported)
                ),
                "{phc}: {answer:?}"
            );
            assert!(Argon2id::default().needs_rehash(&stored(phc)), "{phc}");
        }
        // No cut-off hash passes for a whole one.
        for end in 1..whole.len() {
            assert!(!matches!(Stored::parse(&stored(&whole[..end])), Ok(s) if s.tag.len() == 32));
        }
    }

    #[test]
    fn hashes_of_other_implementations_verify() {
        for (raw, phc) in KNOWN {
            assert!(verify(raw, phc).unwrap(), "{phc}");
            assert!(!verify("password2", phc).unwrap(), "{phc}");
        }
    }

    #[test]
    fn an_old_cost_needs_a_rehash_and_the_present_one_does_not() {
        // R57.
        let hasher = Argon2id::default();
        assert!(!hasher.needs_rehash(&hashed()));
        for (m, t) in [(19_455, 2), (47_104, 1), (8, 1)] {
            assert!(hasher.needs_rehash(&with_cost(m, t, 1)), "{m} {t}");
        }
        for (m, t, p) in [(19_456, 2, 1), (65_536, 3, 4), (19_456, 2, 2)] {
            assert!(!hasher.needs_rehash(&with_cost(m, t, p)), "{m} {t} {p}");
        }
        for phc in [
            "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
            "$argon2i$v=19$m=65536,t=3,p=1$c29tZXNhbHRzb21lc2FsdA$MDEyMzQ1Njc4OTAxMjM0NQ",
            "$argon2id$v=19$m=65536,t=3,p=1$c29tZXNhbHRzb21lc2FsdA$MDEyMzQ1Njc4OTAxMjM0NQ",
        ] {
            assert!(hasher.needs_rehash(&stored(phc)), "{phc}");
        }
    }

    #[test]
    fn memory_is_reused_and_wiped() {
        let hasher = Argon2id::default();
        let mut scratch = Scratch::new();
        hasher.hash(&password(), &mut scratch).unwrap();
        let address = scratch.blocks.as_ptr();
        assert_eq!(scratch.blocks.len(), 19_456);
        for _ in 0..2 {
            hasher.hash(&password(), &mut scratch).unwrap();
            assert_eq!(
                scratch.blocks.as_ptr(),
                address,
                "the second hash allocates nothing"
            );
        }
        // A cheaper one fits into what is there.
        hasher
            .verify(&candidate(RAW), &with_cost(8, 1, 1), &mut scratch)
            .unwrap();
        assert_eq!(scratch.blocks.as_ptr(), address);
        assert!(is_wiped(&scratch));
    }

    #[test]
    fn the_surplus_of_a_costly_stored_hash_is_given_back() {
        let hasher = Argon2id::default();
        let mut scratch = Scratch::new();
        assert!(
            !hasher
                .verify(&candidate(RAW), &with_cost(65_536, 1, 1), &mut scratch)
                .unwrap()
        );
        assert_eq!(scratch.blocks.capacity(), 0);
    }

    #[test]
    fn a_panic_wipes_too() {
        let mut scratch = Scratch::new();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            scratch.with_blocks(8, 8, |blocks| {
                blocks[3].as_mut()[7] = 0x5ec2e7;
                panic!("in the middle of a hash");
            })
        }));
        assert!(outcome.is_err());
        assert_eq!(scratch.blocks.len(), 8);
        assert!(is_wiped(&scratch));
    }

    #[test]
    fn memory_that_cannot_be_had_is_a_transient_error() {
        let error = Scratch::new()
            .with_blocks(usize::MAX / 1024, 0, |_| ())
            .unwrap_err();
        assert!(matches!(error, HasherError::OutOfMemory) && error.is_transient());
        assert!(!HasherError::Unsupported.is_transient());
    }

    #[test]
    fn a_pointer_to_a_hasher_is_a_hasher() {
        fn takes(hasher: impl PasswordHasher) -> bool {
            hasher.needs_rehash(&stored("x")) && hasher.max_bytes().is_none()
        }
        let shared: Arc<dyn PasswordHasher> = Arc::new(Argon2id::default());
        let boxed: Box<dyn PasswordHasher> = Box::new(Argon2id::default());
        assert!(takes(Arc::clone(&shared)) && takes(boxed) && takes(Box::new(shared)));
    }

    fn is_wiped(scratch: &Scratch) -> bool {
        scratch
            .blocks
            .iter()
            .all(|block| block.as_ref().iter().all(|word| *word == 0))
    }

    /// One of the reference implementation's own vectors, and one made with the crate argon2 0.5.3,
    /// as many tables hold them.
    const KNOWN: [(&str, &str); 2] = [
        (
            "password",
            "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ\
             $CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        ),
        (
            "password",
            "$argon2id$v=19$m=19456,t=2,p=1$c2l4dGVlbiBieXRlIHNhbA\
             $l4p/ZrdyMFYcwAD0z12OQANgSLUoKsJeRf0Hq1mAD3s",
        ),
    ];
}
