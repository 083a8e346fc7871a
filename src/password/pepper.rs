//! A key over the hash, kept where the hashes are not.

use std::fmt;

use base64ct::{Base64Unpadded, Encoding};
use hmac::Mac;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::hasher::{Stored, TAG_BYTES};
use super::{Argon2id, Candidate, HasherError, NewPassword, PasswordHash, PasswordHasher, Scratch};
use crate::token::{Key, KeyId, Keyring};

/// Argon2id under a key of the application, a "pepper": who steals the table alone can guess
/// nothing (NIST SP 800-63B-4 §3.1.1.2, R59).
///
/// The key comes after the slow hash: what is stored is HMAC-SHA-256 of the Argon2id tag. So the
/// password itself meets nothing but Argon2id, there is no limit of bytes and no NUL to trip over,
/// and the loss of the key makes the hashes as strong as plain Argon2id, no weaker. (Hashing the
/// password with the key *first*, and encoding it for a bcrypt after it, has been a source of
/// truncation bugs.)
///
/// # The stored string
///
/// ```text
/// $hmac-sha256$keyid=ATV8vJRCuBI$argon2id$v=19$m=19456,t=2,p=1$<salt>$<sealed tag>
/// ```
///
/// `keyid` is base64 of eight bytes: the [`KeyId`], big-endian, and the first four bytes of
/// `HMAC(check, "")`, which tell another key of the same id from a wrong password. The sealed tag is
/// `HMAC(seal, tag)`. `seal` and `check` are `HMAC(secret, "password-reset v1 pepper")` and
/// `HMAC(secret, "password-reset v1 pepper check")`. The string is 30 characters longer than a
/// plain one: the column needs room for 140.
///
/// # Keys
///
/// Give it a [`Keyring`] of its own, not the flow's: these keys live as long as the hashes do. **A
/// key that is lost takes every password made with it along**; [`Keyring::ephemeral`] therefore has
/// no place here. Keep the secrets apart from the database and from its backups, in a secret store
/// or a module that hands them to the process.
///
/// To rotate: add the new key as an older one on every process, then make it the active one. Hashes
/// of other keys [need a rehash](PasswordHasher::needs_rehash) and get one as people log in.
/// An old key can go when no row names its `keyid` any more; the people of the last rows reset
/// their password.
///
/// ```
/// use password_reset::password::{
///     Argon2id, Candidate, Context, HasherError, PasswordHasher, Peppered, Policy, Scratch,
/// };
/// use password_reset::token::{Key, KeyId, Keyring};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (new_secret, old_secret) = ([1; 32], [2; 32]);
/// let (new, old) = (Key::new(KeyId(2), &new_secret)?, Key::new(KeyId(1), &old_secret)?);
/// let before = Peppered::new(Argon2id::default(), Keyring::new(old.clone()));
/// let after = Peppered::new(Argon2id::default(), Keyring::new(new.clone()).with_older(old)?);
///
/// let password = Policy::default().parse("seven quiet owls at noon", &Context::default())?;
/// let stored = before.hash(&password, &mut Scratch::new())?;
/// let typed = Candidate::parse("seven quiet owls at noon")?;
/// assert!(after.verify(&typed, &stored, &mut Scratch::new())?);
/// assert!(after.needs_rehash(&stored));
///
/// // Without the key nothing can be said, and it is not "wrong password".
/// let lost = Peppered::new(Argon2id::default(), Keyring::new(new));
/// let answer = lost.verify(&typed, &stored, &mut Scratch::new());
/// assert!(matches!(answer, Err(HasherError::UnknownKey)));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Peppered {
    argon2id: Argon2id,
    keys: Keyring,
    plain: bool,
}

impl Peppered {
    /// Seals with the active key, verifies with any of the ring.
    ///
    /// Hashes without a key are [`HasherError::Unsupported`]: a row that somebody wrote who has no
    /// key does not open the door.
    pub fn new(argon2id: Argon2id, keys: Keyring) -> Self {
        Self {
            argon2id,
            keys,
            plain: false,
        }
    }

    /// Verifies plain Argon2id too, from the time before there was a key. It needs a rehash.
    ///
    /// For as long as there are such rows: meanwhile, who can write to the table needs no key.
    #[must_use]
    pub fn accept_plain(self) -> Self {
        Self {
            plain: true,
            ..self
        }
    }
}

impl PasswordHasher for Peppered {
    fn hash(
        &self,
        password: &NewPassword,
        scratch: &mut Scratch,
    ) -> Result<PasswordHash, HasherError> {
        let key = self.keys.active();
        let inner = self.argon2id.hash_sealed(password, scratch, |tag| {
            *tag = *seal(key, tag);
        })?;
        let [a, b, c, d] = key.id.0.to_be_bytes();
        let [e, f, g, h] = key.pepper_check;
        let keyid = Base64Unpadded::encode_string(&[a, b, c, d, e, f, g, h]);
        let sealed = Zeroizing::new(format!("{PREFIX}{keyid}{}", *inner));
        PasswordHash::parse(&sealed).map_err(|error| HasherError::Backend(Box::new(error)))
    }

    fn verify(
        &self,
        candidate: &Candidate,
        stored: &PasswordHash,
        scratch: &mut Scratch,
    ) -> Result<bool, HasherError> {
        let Some(sealed) = Sealed::parse(stored.expose())? else {
            return if self.plain {
                self.argon2id.verify(candidate, stored, scratch)
            } else {
                Err(HasherError::Unsupported)
            };
        };
        let key = self.keys.get(sealed.key).ok_or(HasherError::UnknownKey)?;
        if key.pepper_check != sealed.check {
            return Err(HasherError::UnknownKey);
        }
        let tag = self.argon2id.tag_of(candidate, &sealed.argon2id, scratch)?;
        let expected = sealed.argon2id.tag.as_bytes();
        Ok(seal(key, tag.as_bytes()).as_slice().ct_eq(expected).into())
    }

    /// Also true for a hash of another key than the active one, and for one without a key.
    fn needs_rehash(&self, stored: &PasswordHash) -> bool {
        match Sealed::parse(stored.expose()) {
            Ok(Some(sealed)) => {
                let active = self.keys.active();
                sealed.key != active.id
                    || sealed.check != active.pepper_check
                    || self.argon2id.is_outdated(&sealed.argon2id)
            }
            Ok(None) | Err(_) => true,
        }
    }

    fn max_bytes(&self) -> Option<usize> {
        self.argon2id.max_bytes()
    }
}

/// The ids of the keys are in [`Keyring`]'s own output, the keys are not.
impl fmt::Debug for Peppered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peppered")
            .field("argon2id", &self.argon2id)
            .field("keys", &self.keys)
            .field("plain", &self.plain)
            .finish()
    }
}

const PREFIX: &str = "$hmac-sha256$keyid=";
/// Eight bytes in base64.
const KEYID: usize = 11;

fn seal(key: &Key, tag: &[u8]) -> Zeroizing<[u8; TAG_BYTES]> {
    let mut mac = key.pepper.clone();
    mac.update(tag);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// A sealed hash, read but not yet worked on.
struct Sealed {
    key: KeyId,
    check: [u8; 4],
    argon2id: Stored,
}

impl Sealed {
    /// `None`: no sealed hash.
    fn parse(stored: &str) -> Result<Option<Self>, HasherError> {
        let Some(rest) = stored.strip_prefix("$hmac-sha256$") else {
            return Ok(None);
        };
        let rest = rest.strip_prefix("keyid=").ok_or(HasherError::Malformed)?;
        let (keyid, inner) = rest.split_at_checked(KEYID).ok_or(HasherError::Malformed)?;
        let mut bytes = [0; 8];
        let decoded = Base64Unpadded::decode(keyid, &mut bytes);
        if decoded.map_err(|_| HasherError::Malformed)?.len() != bytes.len() {
            return Err(HasherError::Malformed);
        }
        let [a, b, c, d, e, f, g, h] = bytes;
        let argon2id = Stored::present(inner)?;
        if argon2id.tag.len() != TAG_BYTES {
            return Err(HasherError::Malformed);
        }
        Ok(Some(Self {
            key: KeyId(u32::from_be_bytes([a, b, c, d])),
            check: [e, f, g, h],
            argon2id,
        }))
    }
}

#[cfg(test)]
mod tests;
