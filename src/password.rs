//! Passwords: judged, normalised, hashed, and never printed.
//!
//! A new password goes through three hands. [`Policy::parse`] bounds, normalises and judges it,
//! which is cheap and happens before anything is spent. [`HashPool`] hashes it on threads of its
//! own, so that the application's executor keeps running. [`PasswordHash`] is what the application
//! stores.
//!
//! A login asks a [`LoginVerifier`], on the same pool. A table that holds bcrypt, scrypt, PBKDF2 or
//! older Argon2 moves to today's Argon2id as people log in, with a [`MigratingHasher`];
//! [`Peppered`] adds a key that the database does not know; [`calibrate()`] finds the cost for a
//! machine.
//!
//! This module is not a strength meter, and it has no composition rules: "one digit, one symbol"
//! makes passwords weaker and people unhappy (NIST SP 800-63B-4, R47).
//!
//! The policy knows a [`Blocklist`]; what has to be looked up elsewhere is a [`BreachCheck`] or a
//! [`PasswordHistory`], which the flow asks.
//! [`ResetFlow::screen`](crate::ResetFlow::screen) and
//! [`screen_change`](crate::ResetFlow::screen_change) ask the same for other forms.
//!
//! Registration, password change and login should use the same parts, or a password that was
//! accepted in one place is refused in another (R54). Give the same pool to the flow with
//! [`Builder::hashing`](crate::flow::Builder::hashing): two pools would each take the bound of one.
//!
//! ```
//! use password_reset::password::{
//!     Argon2id, Candidate, Context, HashPool, Login, LoginVerifier, Policy,
//! };
//!
//! # fn block_on<F: Future>(future: F) -> F::Output {
//! #     use std::{pin::pin, sync::Arc, task, thread};
//! #     struct Unpark(thread::Thread);
//! #     impl task::Wake for Unpark { fn wake(self: Arc<Self>) { self.0.unpark() } }
//! #     let waker = Arc::new(Unpark(thread::current())).into();
//! #     let mut future = pin!(future);
//! #     loop {
//! #         match future.as_mut().poll(&mut task::Context::from_waker(&waker)) {
//! #             task::Poll::Ready(output) => return output,
//! #             task::Poll::Pending => thread::park(),
//! #         }
//! #     }
//! # }
//! # block_on(async {
//! let policy = Policy::default().context_words(["Acme"]);
//! let context = Context::default().word("jane@example.com");
//! let pool = HashPool::new(Argon2id::default())?;
//! let logins = LoginVerifier::new(pool.clone()).await?;
//!
//! // Registration, change and reset.
//! assert!(policy.parse("acme-acme-acme-1", &context).is_err());
//! let password = policy.parse("seven quiet owls at noon", &context)?;
//! let stored = pool.hash(password).await?;
//!
//! // Login. The policy is not asked: older passwords stay valid.
//! let candidate = Candidate::parse("seven quiet owls at noon")?;
//! let login = logins.verify(candidate, Some(&stored)).await?;
//! assert!(matches!(login, Login::Right { rehashed: None }));
//!
//! // Nobody there: the same work, the same answer.
//! let candidate = Candidate::parse("seven quiet owls at noon")?;
//! assert!(matches!(logins.verify(candidate, None).await?, Login::Wrong));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};
use zeroize::Zeroizing;

mod blocklist;
mod breach;
mod calibrate;
mod fold;
mod hasher;
mod history;
pub mod legacy;
mod login;
mod migrating;
mod pepper;
mod policy;
mod pool;
#[cfg(feature = "zxcvbn")]
mod strength;

pub use blocklist::{Blocklist, BlocklistError};
pub use breach::{Breach, BreachCheck, Unanswered};
pub use calibrate::{Budget, Calibration, InvalidBudget, Measurement, calibrate, calibrate_with};
pub use hasher::{Argon2id, Ceilings, HasherError, PasswordHasher, Scratch, WeakParameters};
pub use history::{MAX_HISTORY, PasswordHistory};
pub use login::{Login, LoginVerifier};
pub use migrating::{MigratingHasher, PasswordVerifier};
pub use pepper::Peppered;
pub use policy::{Context, PasswordRejected, Policy, PolicyError, Violation};
pub(crate) use pool::Share;
pub use pool::{HashPool, HashPoolBuilder, PoolError, PoolStats};
#[cfg(feature = "zxcvbn")]
pub use strength::Strength;

/// The most bytes a password may have, before and after normalisation.
///
/// Checked before any other work: a megabyte of combining marks must cost a comparison, not a
/// normalisation (R44; Django CVE-2013-1443, CVE-2023-46695).
pub const MAX_PASSWORD_BYTES: usize = 1024;

/// The most bytes a stored hash may have.
const MAX_HASH_BYTES: usize = 512;

/// NFC makes a UTF-8 string at most this many times longer (Unicode Standard Annex 15).
const NFC_GROWTH: usize = 3;

/// A password that a [`Policy`] accepted, in Unicode normalisation form C.
///
/// Only [`Policy::parse`] makes one, so whoever holds it need not judge again. (A
/// [`PasswordHasher`] also gets an older password as one, when a login has just proven it and its
/// hash is renewed.) It is wiped on drop, it cannot be cloned, compared or printed.
///
/// ```compile_fail
/// # fn takes(password: password_reset::password::NewPassword) {
/// println!("{password}");
/// # }
/// ```
pub struct NewPassword(SecretString);

impl NewPassword {
    /// The normalised password.
    ///
    /// # Security
    ///
    /// This is the secret itself. Hand it to a hash function and to nothing else: not to a log, not
    /// to an error, not to a mail.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for NewPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewPassword([REDACTED])")
    }
}

/// A password that somebody typed to log in: bounded and normalised, not judged.
///
/// The policy is left out on purpose. A password from before a stricter policy must still open the
/// door; what it must not do is reach the hash function in another spelling than at the time it was
/// set (W61), or at a length that stalls it (R44).
pub struct Candidate(SecretString);

impl Candidate {
    /// Bounds and normalises what was typed.
    ///
    /// ```
    /// use password_reset::password::Candidate;
    ///
    /// assert!(Candidate::parse("hunter2").is_ok());
    /// assert!(Candidate::parse(&"a".repeat(1025)).is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// [`TooLong`] over [`MAX_PASSWORD_BYTES`], before or after normalisation. Answer it like a
    /// wrong password.
    pub fn parse(raw: &str) -> Result<Self, TooLong> {
        bounded(raw).map(|normalized| Self(SecretString::from(normalized.as_str())))
    }

    /// The normalised candidate.
    ///
    /// # Security
    ///
    /// This may be somebody's password. Hand it to a hash function and to nothing else.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Candidate([REDACTED])")
    }
}

/// To ask whether a new password is the present one.
impl From<&NewPassword> for Candidate {
    fn from(password: &NewPassword) -> Self {
        Self(SecretString::from(password.expose()))
    }
}

/// More than [`MAX_PASSWORD_BYTES`] were typed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("longer than {MAX_PASSWORD_BYTES} bytes")]
#[non_exhaustive]
pub struct TooLong;

/// A stored password hash: one PHC string, such as `$argon2id$v=19$m=19456,t=2,p=1$…$…`.
///
/// Any scheme is allowed here, because an application may plug in its own [`PasswordHasher`].
/// Whether a scheme is known is for the hasher to say.
#[derive(Clone)]
pub struct PasswordHash(SecretString);

impl PasswordHash {
    /// Takes a stored hash as it came from the database.
    ///
    /// ```
    /// use password_reset::password::PasswordHash;
    ///
    /// assert!(PasswordHash::parse("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$dGFn").is_ok());
    /// assert!(PasswordHash::parse("").is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// [`UnknownHash`] if it is empty, longer than 512 bytes, or holds a control character.
    pub fn parse(stored: &str) -> Result<Self, UnknownHash> {
        let plausible = !stored.is_empty()
            && stored.len() <= MAX_HASH_BYTES
            && !stored.chars().any(char::is_control);
        plausible
            .then(|| Self(SecretString::from(stored)))
            .ok_or(UnknownHash)
    }

    /// The string to store.
    ///
    /// # Security
    ///
    /// Whoever reads it can guess at leisure. It belongs in the users' table, not in a log.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash([REDACTED])")
    }
}

/// This string cannot be a password hash: empty, too long, or with control characters in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a password hash")]
#[non_exhaustive]
pub struct UnknownHash;

/// Puts a password into Unicode normalisation form C.
///
/// Keyboards differ: one sends "é", another "e" and a combining accent. Both must open the same
/// door, so the password is normalised when it is set and when it is checked, by the same function
/// (R49, W61). Compatibility forms are left alone: "ﬁ" is not "fi".
///
/// [`Policy::parse`] and [`Candidate::parse`] call it. Call it yourself only where you keep your
/// own login path, and bound the input first ([`MAX_PASSWORD_BYTES`]).
///
/// ```
/// use password_reset::password::normalize;
///
/// assert_eq!(*normalize("cafe\u{301}"), *normalize("caf\u{e9}"));
/// assert_ne!(*normalize("\u{fb01}sh"), *normalize("fish"));
/// ```
pub fn normalize(raw: &str) -> Zeroizing<String> {
    if is_nfc_quick(raw.chars()) == IsNormalized::Yes {
        return Zeroizing::new(String::from(raw));
    }
    // Room for the worst case: a string that grows by reallocation leaves unwiped copies behind.
    let capacity = raw.len().saturating_mul(NFC_GROWTH);
    let mut normalized = Zeroizing::new(String::with_capacity(capacity));
    normalized.extend(raw.nfc());
    normalized
}

/// Normalises within the bound. Bytes are counted before, so that the work is bounded, and after,
/// because normalising can make a string longer (W26).
fn bounded(raw: &str) -> Result<Zeroizing<String>, TooLong> {
    if raw.len() > MAX_PASSWORD_BYTES {
        return Err(TooLong);
    }
    let normalized = normalize(raw);
    if normalized.len() > MAX_PASSWORD_BYTES {
        Err(TooLong)
    } else {
        Ok(normalized)
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "tests may panic"
    )]

    use super::*;

    /// R49, W61.
    #[test]
    fn w61_composed_and_decomposed_are_one_password() {
        let composed = Candidate::parse("caf\u{e9}").unwrap();
        let decomposed = Candidate::parse("cafe\u{301}").unwrap();
        assert_eq!(composed.expose(), decomposed.expose());
    }

    #[test]
    fn a_ligature_is_not_its_letters() {
        // R49: NFC, not NFKC.
        assert_ne!(*normalize("\u{fb01}"), *normalize("fi"));
    }

    #[test]
    fn normalising_never_reallocates() {
        // U+1D160 becomes three code points of four bytes each: the worst growth there is.
        for raw in [
            "\u{1d160}".repeat(85),
            "e\u{301}".repeat(300),
            "\u{390}\u{1f82}\u{fb2c}".repeat(90),
        ] {
            let normalized = normalize(&raw);
            assert!(normalized.len() <= raw.len() * NFC_GROWTH);
            assert!(normalized.capacity() <= raw.len() * NFC_GROWTH);
            assert_eq!(
                *normalize(&normalized),
                *normalized,
                "normalising is idempotent"
            );
        }
    }

    #[test]
    fn a_candidate_that_grows_past_the_bound_is_refused() {
        // W26: 400 bytes of this become 1,200.
        assert_eq!(
            Candidate::parse(&"\u{1d160}".repeat(100)).unwrap_err(),
            TooLong
        );
        assert_eq!(
            Candidate::parse(&"a".repeat(MAX_PASSWORD_BYTES + 1)).unwrap_err(),
            TooLong
        );
        assert!(Candidate::parse(&"a".repeat(MAX_PASSWORD_BYTES)).is_ok());
    }

    #[test]
    fn a_stored_hash_is_bounded_and_printable() {
        assert!(PasswordHash::parse(&"x".repeat(512)).is_ok());
        for bad in [
            String::new(),
            "x".repeat(513),
            "$2b$12$abc\n".into(),
            "a\0b".into(),
        ] {
            assert_eq!(PasswordHash::parse(&bad).unwrap_err(), UnknownHash);
        }
    }

    #[test]
    fn debug_prints_no_secret() {
        let candidate = Candidate::parse("correct horse").unwrap();
        let hash = PasswordHash::parse("$argon2id$secret").unwrap();
        let printed = format!("{candidate:?} {hash:?}");
        assert!(
            !printed.contains("horse") && !printed.contains("secret"),
            "{printed}"
        );
    }
}
