//! A hash that costs nothing, for tests that are not about hashing.

use sha2::{Digest, Sha256};

use crate::error::BoxError;
use crate::password::{Candidate, HasherError, NewPassword, PasswordHash, PasswordHasher, Scratch};
use crate::random::{self, SystemRandom};

/// Salted SHA-256 in place of Argon2id: thousands of hashes in the time of one.
///
/// Never outside tests: who steals such hashes has the passwords by the evening.
#[derive(Clone, Copy, Debug, Default)]
pub struct InsecureHasher;

const SCHEME: &str = "$insecure$";

fn digest(salt: &str, password: &str) -> String {
    let digest: [u8; 32] = Sha256::digest(format!("{salt}${password}")).into();
    hex(&digest)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn failed(error: impl Into<BoxError>) -> HasherError {
    HasherError::Backend(error.into())
}

impl PasswordHasher for InsecureHasher {
    fn hash(&self, password: &NewPassword, _: &mut Scratch) -> Result<PasswordHash, HasherError> {
        let salt = hex(&random::id::<16>(&SystemRandom).map_err(failed)?);
        let digest = digest(&salt, password.expose());
        PasswordHash::parse(&format!("{SCHEME}{salt}${digest}")).map_err(failed)
    }

    fn verify(
        &self,
        password: &Candidate,
        stored: &PasswordHash,
        _: &mut Scratch,
    ) -> Result<bool, HasherError> {
        let parts = stored
            .expose()
            .strip_prefix(SCHEME)
            .and_then(|rest| rest.split_once('$'));
        let (salt, expected) = parts.ok_or(HasherError::Unsupported)?;
        Ok(digest(salt, password.expose()) == expected)
    }

    fn needs_rehash(&self, _: &PasswordHash) -> bool {
        false
    }

    fn max_bytes(&self) -> Option<usize> {
        None
    }
}
