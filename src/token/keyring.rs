//! Keys: one active, any number of older ones, each with an id (R90).

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::error::{Backend, BackendError};
use crate::random::{self, SystemRandom};

pub(crate) type HmacSha256 = Hmac<Sha256>;

/// The shortest and the longest secret of a [`Key`], in bytes.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 32..=1024;

/// The name of a key, stored beside every digest made with it. A date does well: `20261122`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KeyId(pub u32);

/// Why a [`Keyring`] cannot be made.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKeyring {
    /// A secret is shorter than 32 or longer than 1,024 bytes.
    #[error("a key needs 32 to 1024 secret bytes")]
    KeyLength,
    /// Two keys have the same id.
    #[error("two keys have the id {}", .0.0)]
    DuplicateId(KeyId),
}

/// One secret of the application. Only keys derived from it are kept; the bytes are wiped.
#[derive(Clone)]
pub struct Key {
    pub(crate) id: KeyId,
    pub(crate) token: HmacSha256,
    pub(crate) epoch: HmacSha256,
    pub(crate) limit: HmacSha256,
    pub(crate) audit: HmacSha256,
    pub(crate) code: HmacSha256,
    pub(crate) cancel: HmacSha256,
    pub(crate) step_up: HmacSha256,
    #[cfg(feature = "proof-of-work")]
    pub(crate) human: HmacSha256,
    pub(crate) pepper: HmacSha256,
    /// Tells another key of the same id from this one; 32 bits of a digest give nothing away.
    pub(crate) pepper_check: [u8; 4],
}

impl Key {
    /// A key from the host's secret store: 32 to 1,024 bytes that nobody else knows.
    ///
    /// # Errors
    ///
    /// [`InvalidKeyring::KeyLength`] for any other length.
    pub fn new(id: KeyId, secret: &[u8]) -> Result<Self, InvalidKeyring> {
        if !KEY_BYTES.contains(&secret.len()) {
            return Err(InvalidKeyring::KeyLength);
        }
        let derive = |label: &str| {
            let mut mac = keyed(secret)?;
            mac.update(b"password-reset v1 ");
            mac.update(label.as_bytes());
            let derived = Zeroizing::new(<[u8; 32]>::from(mac.finalize().into_bytes()));
            keyed(derived.as_ref())
        };
        let check = derive("pepper check")?.finalize().into_bytes();
        let [a, b, c, d, ..] = <[u8; 32]>::from(check);
        Ok(Self {
            id,
            token: derive("token")?,
            epoch: derive("epoch")?,
            limit: derive("limit")?,
            audit: derive("audit")?,
            code: derive("code")?,
            cancel: derive("cancel")?,
            step_up: derive("step-up")?,
            #[cfg(feature = "proof-of-work")]
            human: derive("human")?,
            pepper: derive("pepper")?,
            pepper_check: [a, b, c, d],
        })
    }
}

fn keyed(secret: &[u8]) -> Result<HmacSha256, InvalidKeyring> {
    // HMAC takes keys of any length; the error cannot happen and is passed on all the same.
    HmacSha256::new_from_slice(secret).map_err(|_| InvalidKeyring::KeyLength)
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The derived keys are not shown.
        f.debug_struct("Key")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// The keys that tokens, limiter buckets and audit pseudonyms are made with.
///
/// New tokens use the active key; tokens of older keys are honoured for as long as the key stays in
/// the ring. To rotate, in three steps, each on every process before the next: add the new key as
/// an older one; make it the active one; a link's life and 25 hours later, drop the old one. Until
/// then the worker may still have to settle a change that a token of the old key made.
/// Limiter buckets and pseudonyms follow the active key, so they start afresh at a rotation. A pause
/// that an owner asked for ends early when the key it was made with is dropped.
///
/// A ring of its own, kept longer, seals password hashes: [`Peppered`](crate::password::Peppered).
///
/// There is no default key: a key that ships with a library is known to everyone.
///
/// ```
/// use password_reset::token::{Key, KeyId, Keyring};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (new_secret, old_secret) = ([1; 32], [2; 32]);
/// let ring = Keyring::new(Key::new(KeyId(20261122), &new_secret)?)
///     .with_older(Key::new(KeyId(20260801), &old_secret)?)?;
/// // Refused: a secret that is too short.
/// assert!(Key::new(KeyId(1), b"secret").is_err());
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Keyring {
    active: Key,
    older: Vec<Key>,
}

impl Keyring {
    /// A ring of one key.
    pub fn new(active: Key) -> Self {
        Self {
            active,
            older: Vec::new(),
        }
    }

    /// Adds a key that made tokens which may still be on their way.
    ///
    /// # Errors
    ///
    /// [`InvalidKeyring::DuplicateId`] when the ring has a key of that id.
    pub fn with_older(mut self, key: Key) -> Result<Self, InvalidKeyring> {
        if self.get(key.id).is_some() {
            return Err(InvalidKeyring::DuplicateId(key.id));
        }
        self.older.push(key);
        Ok(self)
    }

    /// A random key that dies with the process, for tests and demonstrations: every link stops
    /// working at a restart, and two processes do not know each other's links.
    ///
    /// # Errors
    ///
    /// The operating system's generator failed.
    pub fn ephemeral() -> Result<Self, BackendError> {
        let failed = |source| BackendError::new(Backend::Random, source);
        let secret = random::secret::<32>(&SystemRandom).map_err(failed)?;
        let key = Key::new(KeyId(0), secret.as_ref()).map_err(|e| failed(e.into()))?;
        Ok(Self::new(key))
    }

    pub(crate) fn active(&self) -> &Key {
        &self.active
    }

    pub(crate) fn get(&self, id: KeyId) -> Option<&Key> {
        self.all().find(|key| key.id == id)
    }

    /// The active key first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.active).chain(&self.older)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("active", &self.active.id)
            .finish_non_exhaustive()
    }
}
