//! What is in old tables: Argon2 of every variant, bcrypt, scrypt, PBKDF2. Verified, never made.
//!
//! Name the ones that the table holds to [`MigratingHasher`](super::MigratingHasher), and it empties
//! itself of them as people log in. Each has ceilings that are held against the string before any
//! work, because whoever can write one row chooses the numbers in it; like those of
//! [`Argon2id`](super::Argon2id) they can be lowered and not raised.
//!
//! | verifier | feature | reads |
//! |---|---|---|
//! | [`Argon2`] | | `$argon2i$…`, `$argon2d$…`, `$argon2id$…` of version 16; Django's `argon2$argon2id$…` |
//! | `Bcrypt` | `bcrypt` | `$2a$…`, `$2b$…`, `$2y$…`; Django's `bcrypt$$2b$…` and `bcrypt_sha256$$2b$…` |
//! | `Scrypt` | `scrypt` | `$scrypt$ln=…,r=…,p=…$…` (PHC strings and passlib); Django's `scrypt$…` |
//! | `Pbkdf2` | `pbkdf2` | `$pbkdf2-sha256$i=…$…` (PHC strings), `$pbkdf2-sha256$29000$…` (passlib), Django's `pbkdf2_sha256$…`; each with SHA-512 too |
//!
//! `$argon2id$v=19$…` is today's scheme and the business of [`Argon2id`](super::Argon2id).
//!
//! Parsing is strict: one spelling, whole tags, no field too many. What was cut off by a column
//! that is too narrow is [`HasherError::Malformed`](super::HasherError::Malformed), not a wrong
//! password. (One cut cannot be told: an Argon2 tag of 32 bytes that became one of 16. No password
//! makes it.)
//!
//! A candidate is in Unicode normalisation form C (R49). An old system that hashed what the
//! keyboard sent, or form KC, made other bytes of a few passwords with accents; those people are
//! told that the password is wrong, and reset it.

mod argon2;
#[cfg(feature = "bcrypt")]
mod bcrypt;
#[cfg(feature = "pbkdf2")]
mod pbkdf2;
#[cfg(feature = "scrypt")]
mod scrypt;

pub use self::argon2::Argon2;
#[cfg(feature = "bcrypt")]
pub use self::bcrypt::Bcrypt;
#[cfg(feature = "pbkdf2")]
pub use self::pbkdf2::Pbkdf2;
#[cfg(feature = "scrypt")]
pub use self::scrypt::Scrypt;

/// A number as software writes it: digits, no sign, no leading zero.
#[cfg(any(feature = "bcrypt", feature = "pbkdf2", feature = "scrypt"))]
fn decimal(text: &str) -> Result<u32, super::HasherError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits && !text.starts_with('0') => Ok(number),
        _ => Err(super::HasherError::Malformed),
    }
}

/// HMAC fills a short key up with NULs, so in PBKDF2 and scrypt "secret" and "secret\0" are one
/// password. The second is refused (W59).
#[cfg(any(feature = "pbkdf2", feature = "scrypt"))]
fn key(candidate: &super::Candidate) -> Result<&[u8], super::HasherError> {
    match candidate.expose() {
        password if password.ends_with('\0') => Err(super::HasherError::Nul),
        password => Ok(password.as_bytes()),
    }
}
