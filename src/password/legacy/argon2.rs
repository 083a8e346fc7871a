//! Argon2 that is not version 19 of Argon2id.

use subtle::ConstantTimeEq;

use crate::password::hasher::Stored;
use crate::password::{Candidate, Ceilings, HasherError, PasswordHash, PasswordVerifier, Scratch};

/// Verifies Argon2i, Argon2d and the first version (16) of Argon2id, and any of them as Django
/// writes it, with `argon2` before the string.
///
/// A string without a version is of version 16. Strings with a `keyid` or `data` ask for inputs
/// that nobody has here, and are [`HasherError::Unsupported`].
///
/// ```
/// use password_reset::password::legacy::Argon2;
/// use password_reset::password::{Candidate, PasswordHash, PasswordVerifier, Scratch};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let stored = PasswordHash::parse(
///     "$argon2i$m=256,t=2,p=1$c29tZXNhbHQ$/U3YPXYsSb3q9XxHvc0MLxur+GP960kN9j7emXX8zwY",
/// )?;
/// let typed = Candidate::parse("password")?;
/// assert!(Argon2::default().recognizes(&stored));
/// assert!(Argon2::default().verify(&typed, &stored, &mut Scratch::new())?);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Argon2 {
    ceilings: Ceilings,
}

impl Argon2 {
    /// With lower ceilings than [`Ceilings::default`].
    pub fn new(ceilings: Ceilings) -> Self {
        Self { ceilings }
    }
}

impl PasswordVerifier for Argon2 {
    fn recognizes(&self, stored: &PasswordHash) -> bool {
        let stored = stored.expose();
        let old = ["$argon2i$", "$argon2d$", "$argon2id$", "argon2$argon2"];
        old.iter().any(|prefix| stored.starts_with(prefix)) && !stored.starts_with(PRESENT)
    }

    fn verify(
        &self,
        candidate: &Candidate,
        stored: &PasswordHash,
        scratch: &mut Scratch,
    ) -> Result<bool, HasherError> {
        if !self.recognizes(stored) {
            return Err(HasherError::Unsupported);
        }
        let stored = stored.expose();
        let stored = Stored::parse(stored.strip_prefix("argon2").unwrap_or(stored))?;
        // Nothing is kept: these get fewer every day.
        let tag = stored.tag_of(candidate, &self.ceilings, 0, scratch)?;
        Ok(tag.as_bytes().ct_eq(stored.tag.as_bytes()).into())
    }
}

const PRESENT: &str = "$argon2id$v=19$";
