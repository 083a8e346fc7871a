//! One hasher for a table that holds the hashes of several years.

use std::fmt;
use std::sync::Arc;

use super::{Candidate, HasherError, NewPassword, PasswordHash, PasswordHasher, Scratch};

/// Hashes new passwords with one scheme, and verifies the old ones that are named.
///
/// Each stored hash is given to the one verifier that knows its prefix. What none knows goes to the
/// present hasher, which refuses what is not its own, so an unknown prefix is
/// [`HasherError::Unsupported`] and never a wrong password.
///
/// Old schemes are named here one by one, also where the features of this crate bring more of
/// them: whoever can write a row of the table would choose the weakest.
///
/// ```
/// use password_reset::password::legacy::Argon2;
/// use password_reset::password::{Argon2id, HashPool, MigratingHasher, PasswordHash};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hasher = MigratingHasher::new(Argon2id::default()).accept(Argon2::default());
/// # #[cfg(all(feature = "bcrypt", feature = "pbkdf2"))]
/// # let hasher = {
/// use password_reset::password::legacy::{Bcrypt, Pbkdf2};
/// // With the features `bcrypt` and `pbkdf2`:
/// let hasher = hasher.accept(Bcrypt::default()).accept(Pbkdf2::default());
/// # hasher };
/// let pool = HashPool::new(hasher)?;
///
/// // Whatever is not today's Argon2id is to be replaced.
/// let old = PasswordHash::parse("$argon2i$v=19$m=512,t=2,p=2$c29tZXNhbHQ$MDEyMzQ1Njc4OTAxMjM0NQ")?;
/// assert!(pool.needs_rehash(&old));
/// # Ok(()) }
/// ```
///
/// [`LoginVerifier`](super::LoginVerifier) does the rest: at each right password it makes the new
/// hash.
pub struct MigratingHasher {
    present: Box<dyn PasswordHasher>,
    old: Vec<Box<dyn PasswordVerifier>>,
}

impl MigratingHasher {
    /// New passwords are hashed by `present`, usually an [`Argon2id`](super::Argon2id) or a
    /// [`Peppered`](super::Peppered) one.
    pub fn new(present: impl PasswordHasher) -> Self {
        Self {
            present: Box::new(present),
            old: Vec::new(),
        }
    }

    /// Verifies old hashes of this scheme too. Where two know a prefix, the first that was named is
    /// asked.
    #[must_use]
    pub fn accept(mut self, old: impl PasswordVerifier) -> Self {
        self.old.push(Box::new(old));
        self
    }

    fn verifier(&self, stored: &PasswordHash) -> Option<&dyn PasswordVerifier> {
        let mut verifiers = self.old.iter().map(AsRef::as_ref);
        verifiers.find(|old| old.recognizes(stored))
    }
}

impl PasswordHasher for MigratingHasher {
    fn hash(
        &self,
        password: &NewPassword,
        scratch: &mut Scratch,
    ) -> Result<PasswordHash, HasherError> {
        self.present.hash(password, scratch)
    }

    fn verify(
        &self,
        candidate: &Candidate,
        stored: &PasswordHash,
        scratch: &mut Scratch,
    ) -> Result<bool, HasherError> {
        match self.verifier(stored) {
            Some(old) => old.verify(candidate, stored, scratch),
            None => self.present.verify(candidate, stored, scratch),
        }
    }

    /// True for every old scheme, and for what the present hasher wants replaced.
    fn needs_rehash(&self, stored: &PasswordHash) -> bool {
        self.verifier(stored).is_some() || self.present.needs_rehash(stored)
    }

    /// The limit for new passwords. An old scheme may read less, and refuses the rest.
    fn max_bytes(&self) -> Option<usize> {
        self.present.max_bytes()
    }
}

/// Only how many: the present hasher may hold a key.
impl fmt::Debug for MigratingHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MigratingHasher")
            .field("old", &self.old.len())
            .finish_non_exhaustive()
    }
}

/// How the hashes of an old scheme are checked. It makes none.
///
/// The module [`legacy`](super::legacy) has those of the common schemes. Implement it for what an
/// application once wrote itself.
///
/// # Contract
///
/// - It MUST choose by the beginning of the string. Two verifiers that claim one string are asked
///   in the order in which they were named.
/// - It MUST keep the contract of [`PasswordHasher`] for `verify`: bound the cost before paying it,
///   cut no password, compare in constant time, and answer `Ok(false)` for a wrong password only.
///
/// # Example
///
/// SHA-1 with a salt, as it once was common. (A bound on the cost is not needed where the string
/// does not choose it.)
///
/// ```
/// use password_reset::password::{
///     Candidate, HasherError, PasswordHash, PasswordVerifier, Scratch,
/// };
///
/// struct SaltedSha1;
///
/// impl PasswordVerifier for SaltedSha1 {
///     fn recognizes(&self, stored: &PasswordHash) -> bool {
///         stored.expose().starts_with("sha1$")
///     }
///
///     fn verify(
///         &self,
///         candidate: &Candidate,
///         stored: &PasswordHash,
///         _: &mut Scratch,
///     ) -> Result<bool, HasherError> {
///         let rest = stored.expose().strip_prefix("sha1$").ok_or(HasherError::Unsupported)?;
///         let (salt, digest) = rest.split_once('$').ok_or(HasherError::Malformed)?;
///         equal_in_constant_time(&sha1_hex(salt, candidate.expose()), digest)
///     }
/// }
/// # fn sha1_hex(_: &str, _: &str) -> String { String::new() }
/// # fn equal_in_constant_time(_: &str, _: &str) -> Result<bool, HasherError> {
/// #     Err(HasherError::Unsupported)
/// # }
/// ```
pub trait PasswordVerifier: Send + Sync + 'static {
    /// Whether this string is of the scheme, by its prefix. It may be damaged all the same.
    fn recognizes(&self, stored: &PasswordHash) -> bool;

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
}

macro_rules! forward {
    ($($pointer:ident),*) => {$(
        impl<T: PasswordVerifier + ?Sized> PasswordVerifier for $pointer<T> {
            fn recognizes(&self, stored: &PasswordHash) -> bool {
                (**self).recognizes(stored)
            }

            fn verify(
                &self,
                candidate: &Candidate,
                stored: &PasswordHash,
                scratch: &mut Scratch,
            ) -> Result<bool, HasherError> {
                (**self).verify(candidate, stored, scratch)
            }
        }
    )*};
}

forward!(Arc, Box);
