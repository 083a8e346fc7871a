//! A login's password check: the same cost for everyone, and a better hash on the way out.

use std::fmt;

use base64ct::{Base64Unpadded, Encoding};
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::{
    Candidate, HashPool, HasherError, NewPassword, PasswordHash, PasswordHasher, PoolError, Scratch,
};

/// Checks what somebody typed to log in, on the threads of a [`HashPool`].
///
/// For an identifier that nobody has, it verifies a hash of the same cost that nobody has either,
/// so that the time of the answer does not tell who has an account (W47). Where the password is
/// right and its hash is not as strong as the present hasher makes them, the same call makes the
/// new one. With a [`MigratingHasher`](super::MigratingHasher) in the pool, a table of bcrypt and
/// PBKDF2 becomes one of Argon2id as people log in.
///
/// ```
/// use password_reset::account::{Credential, UserId, UserStore};
/// use password_reset::error::BoxError;
/// use password_reset::password::{Candidate, Login, LoginVerifier, PasswordHash};
/// use password_reset::account::Swap;
///
/// /// `stored`: of the account that may log in, if there is one.
/// async fn log_in(
///     verifier: &LoginVerifier,
///     users: &dyn UserStore,
///     stored: Option<(UserId, PasswordHash)>,
///     typed: &str,
/// ) -> Result<Option<(UserId, PasswordHash)>, BoxError> {
///     // Too long is too long for everyone: no work hides anything here.
///     let Ok(candidate) = Candidate::parse(typed) else {
///         return Ok(None);
///     };
///     let hash = stored.as_ref().map(|(_, hash)| hash);
///     let login = verifier.verify(candidate, hash).await?;
///     let (Login::Right { rehashed }, Some((user, hash))) = (login, stored) else {
///         return Ok(None);
///     };
///     let Some(new) = rehashed else {
///         return Ok(Some((user, hash)));
///     };
///     // Compare and swap: only over the hash that was checked.
///     match users.set_password(&user, &Credential::Password(hash), &new).await? {
///         Swap::Done => Ok(Some((user, new))),
///         // A reset came first, or another login of the same person. Read the account again, and
///         // begin anew.
///         Swap::Stale => Ok(None),
///     }
/// }
/// ```
///
/// # Your part
///
/// - Pass `None` for an account that may not log in with a password: disabled, unknown, or without
///   one (Django's hashes that begin with `!`).
/// - Store a new hash only **over the hash that was checked** (`UPDATE … WHERE id = ? AND
///   password_hash = ?`, or [`UserStore::set_password`](crate::account::UserStore::set_password)).
///   Otherwise a login that was under way when its owner reset the password puts the old one back.
/// - Start the session only while the hash of the row is the one that you checked, or the new one.
/// - Answer an error like a wrong password, and tell the operator: it may say that the account
///   exists. [`PoolError::is_transient`] tells overload from what no later try can cure.
///
/// # What a new hash does to links
///
/// To this crate a changed hash is a changed credential, so the account's links and codes that are
/// on their way die with it (promise *bound*). That is meant: the one who logged in had no need of
/// them, and if somebody else asked for them, so much the better. Who logs in at the very moment of
/// their own reset may see it refused as "no longer valid".
///
/// One rare case is loud: a process that died between claiming a link and changing the password. If
/// the owner then logs in with an old hash before the worker's sweep has freed the link, the sweep
/// finds another credential and takes the change for done: sessions end, and a notice goes out.
///
/// # While the table is mixed
///
/// A wrong password costs as much as *that* account's hash, and an unknown identifier as much as
/// the one hash this verifier was made with. As long as accounts differ in cost, time tells them
/// apart: whose hash is not of the usual kind has an account, and has not logged in since. Keep that
/// time short and the difference small:
///
/// - begin with [`like`](LoginVerifier::like) and a hash of the kind that most rows have, and change
///   to [`new`](LoginVerifier::new) when most have moved;
/// - choose the new cost near the old one's time, and raise it later ([`calibrate`](super::calibrate()));
/// - after some months, empty the password of the rows that are left. Their owners reset it.
///
/// The limits on logins bound how many answers can be timed at all.
#[derive(Clone)]
pub struct LoginVerifier {
    pool: HashPool,
    /// Checked where there is no account.
    nobody: PasswordHash,
}

impl LoginVerifier {
    /// Unknown identifiers cost as much as a hash that the pool's hasher makes today.
    ///
    /// # Errors
    ///
    /// As for [`HashPool::hash`], and [`PoolError::Hasher`] without a random generator.
    pub async fn new(pool: HashPool) -> Result<Self, PoolError> {
        let mut random = Zeroizing::new([0_u8; 32]);
        getrandom::fill(random.as_mut_slice())
            .map_err(|error| PoolError::Hasher(HasherError::Randomness(Box::new(error))))?;
        let random = Base64Unpadded::encode_string(random.as_slice());
        let nobody = pool.hash(NewPassword(SecretString::from(random))).await?;
        Ok(Self { pool, nobody })
    }

    /// Unknown identifiers cost as much as `usual`: a hash of the kind that most accounts have, such
    /// as one that was made for nobody with the old system. It opens no door, whoever knows its
    /// password.
    ///
    /// # Errors
    ///
    /// [`PoolError::Hasher`] if the pool's hasher cannot verify it; [`PoolError::Busy`].
    pub async fn like(pool: HashPool, usual: PasswordHash) -> Result<Self, PoolError> {
        pool.verify(stand_in(), usual.clone()).await?;
        Ok(Self {
            pool,
            nobody: usual,
        })
    }

    /// Checks a candidate against the account's hash; `None` where there is no such account.
    ///
    /// Takes one place in the pool's queue, with the new hash and without. A candidate that the old
    /// scheme cannot read whole (bcrypt: over 72 bytes, or with a NUL) is [`Login::Wrong`], after
    /// the same work.
    ///
    /// # Errors
    ///
    /// - [`PoolError::Busy`] at once, if the queue is full.
    /// - [`PoolError::Hasher`] if the stored hash cannot be judged: unknown, damaged, too costly,
    ///   or of a key that is not at hand. It has cost as much as any other then.
    /// - [`PoolError::Lost`] if the hasher panics.
    pub async fn verify(
        &self,
        candidate: Candidate,
        stored: Option<&PasswordHash>,
    ) -> Result<Login, PoolError> {
        self.pool
            .login(candidate, stored.cloned(), self.nobody.clone())
            .await
    }

    /// The pool that it was made with.
    pub fn pool(&self) -> &HashPool {
        &self.pool
    }
}

impl fmt::Debug for LoginVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginVerifier")
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}

/// What a login's password check found.
#[derive(Debug)]
#[must_use]
pub enum Login {
    /// Not the password, or no such account.
    Wrong,
    /// The password of the account.
    Right {
        /// A hash of the same password as the present hasher makes them, to be stored over the one
        /// that was checked, **and over no other**. `None`: the stored one is as good, or no new one
        /// could be made this time.
        rehashed: Option<PasswordHash>,
    },
}

/// One login, on a thread of the pool.
pub(super) fn verify(
    hasher: &dyn PasswordHasher,
    candidate: Candidate,
    stored: Option<&PasswordHash>,
    nobody: &PasswordHash,
    scratch: &mut Scratch,
) -> Result<Login, HasherError> {
    let hash = stored.unwrap_or(nobody);
    match hasher.verify(&candidate, hash, scratch) {
        Ok(right) if right && stored.is_some() => {}
        Ok(_) => return Ok(Login::Wrong),
        // Refused for what was typed, before any work. The same hash is worked on with something
        // that it can read, or the time would tell which accounts have such a hash.
        Err(HasherError::TooManyBytes { .. } | HasherError::Nul) => {
            let _ = hasher.verify(&stand_in(), hash, scratch);
            return Ok(Login::Wrong);
        }
        // This row cannot be worked on, so another one is.
        Err(error) => {
            if stored.is_some() {
                let _ = hasher.verify(&stand_in(), nobody, scratch);
            }
            return Err(error);
        }
    }
    if !hasher.needs_rehash(hash) {
        return Ok(Login::Right { rehashed: None });
    }
    // Proven to be the account's present password, so it is no new one and no policy is asked (W60).
    // It leaves this function as a hash only.
    let proven = NewPassword(candidate.0);
    let rehashed = match hasher.hash(&proven, scratch) {
        Ok(new) => Some(new),
        // The old hash still opens the door. The next login tries again.
        Err(error) => {
            tracing::warn!(%error, "a password hash could not be renewed");
            None
        }
    };
    Ok(Login::Right { rehashed })
}

/// What every scheme can read, for work whose outcome is not looked at.
fn stand_in() -> Candidate {
    Candidate(SecretString::from("stand-in"))
}

#[cfg(test)]
mod tests;
