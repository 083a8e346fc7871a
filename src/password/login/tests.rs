//! Tests of `login`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

use std::sync::{Arc, Mutex};

use super::*;
use crate::password::pool::tests::block_on;

/// Writes down its work. Hashes are `$new$password`; `$old$password` needs a rehash, of
/// `$short$password` only five bytes are read, and `$broken$` is damaged.
#[derive(Clone, Default)]
struct Ledger {
    work: Arc<Mutex<Vec<String>>>,
    cannot_hash: bool,
}

impl Ledger {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.work.lock().unwrap())
    }

    fn note(&self, work: &str, hash: &str) {
        let scheme = hash.split('$').nth(1).unwrap_or_default();
        self.work.lock().unwrap().push(format!("{work} {scheme}"));
    }
}

impl PasswordHasher for Ledger {
    fn hash(&self, new: &NewPassword, _: &mut Scratch) -> Result<PasswordHash, HasherError> {
        if self.cannot_hash && new.expose().len() < 43 {
            return Err(HasherError::OutOfMemory);
        }
        let hash = format!("$new${}", new.expose());
        self.note("hash", &hash);
        Ok(PasswordHash::parse(&hash).unwrap())
    }

    fn verify(
        &self,
        candidate: &Candidate,
        stored: &PasswordHash,
        _: &mut Scratch,
    ) -> Result<bool, HasherError> {
        let stored = stored.expose();
        let (scheme, password) = stored.trim_start_matches('$').split_once('$').unwrap();
        match scheme {
            "broken" => return Err(HasherError::Malformed),
            "short" if candidate.expose().len() > 9 => {
                return Err(HasherError::TooManyBytes { max: 9 });
            }
            "short" if candidate.expose().contains('\0') => return Err(HasherError::Nul),
            _ => {}
        }
        self.note("verify", stored);
        Ok(password == candidate.expose())
    }

    fn needs_rehash(&self, stored: &PasswordHash) -> bool {
        !stored.expose().starts_with("$new$")
    }

    fn max_bytes(&self) -> Option<usize> {
        None
    }
}

fn stored(hash: &str) -> PasswordHash {
    PasswordHash::parse(hash).unwrap()
}

fn typed(raw: &str) -> Candidate {
    Candidate::parse(raw).unwrap()
}

fn logins(ledger: &Ledger) -> LoginVerifier {
    let pool = HashPool::new(ledger.clone()).unwrap();
    let logins = block_on(LoginVerifier::new(pool)).unwrap();
    assert_eq!(ledger.take(), ["hash new"]);
    logins
}

fn log_in(
    logins: &LoginVerifier,
    raw: &str,
    hash: Option<&PasswordHash>,
) -> Result<Login, PoolError> {
    block_on(logins.verify(typed(raw), hash))
}

/// W47: an identifier that nobody has costs one verification, like a wrong password.
#[test]
fn nobody_costs_as_much_as_somebody() {
    let ledger = Ledger::default();
    let logins = logins(&ledger);
    assert!(matches!(log_in(&logins, "owls", None), Ok(Login::Wrong)));
    assert_eq!(ledger.take(), ["verify new"]);
    let wrong = log_in(&logins, "owls", Some(&stored("$new$cats")));
    assert!(matches!(wrong, Ok(Login::Wrong)));
    assert_eq!(ledger.take(), ["verify new"]);
}

#[test]
fn the_usual_hash_opens_no_door() {
    let ledger = Ledger::default();
    let pool = HashPool::new(ledger.clone()).unwrap();
    let usual = block_on(LoginVerifier::like(pool.clone(), stored("$old$owls"))).unwrap();
    ledger.take();
    assert!(matches!(log_in(&usual, "owls", None), Ok(Login::Wrong)));
    // And makes no new hash, which would be time.
    assert_eq!(ledger.take(), ["verify old"]);
    let broken = block_on(LoginVerifier::like(pool, stored("$broken$")));
    assert!(matches!(
        broken.unwrap_err(),
        PoolError::Hasher(HasherError::Malformed)
    ));
}

/// R57.
#[test]
fn an_old_hash_is_renewed_in_the_same_job() {
    let ledger = Ledger::default();
    let logins = logins(&ledger);
    let before = logins.pool().stats().started;
    let right = log_in(&logins, "owls", Some(&stored("$old$owls"))).unwrap();
    let Login::Right {
        rehashed: Some(new),
    } = right
    else {
        panic!("{right:?}");
    };
    assert_eq!(new.expose(), "$new$owls");
    assert_eq!(ledger.take(), ["verify old", "hash new"]);
    assert_eq!(logins.pool().stats().started, before + 1);

    let right = log_in(&logins, "owls", Some(&new)).unwrap();
    assert!(matches!(right, Login::Right { rehashed: None }));
    assert_eq!(ledger.take(), ["verify new"]);
    // W60: what is not proven is not hashed.
    let wrong = log_in(&logins, "cats", Some(&stored("$old$owls"))).unwrap();
    assert!(matches!(wrong, Login::Wrong));
    assert_eq!(ledger.take(), ["verify old"]);
}

/// W59: what bcrypt would cut is wrong, and the refusal takes the time of a check.
#[test]
fn what_the_scheme_cannot_read_is_wrong_after_the_same_work() {
    let ledger = Ledger::default();
    let logins = logins(&ledger);
    let short = stored("$short$owls");
    for raw in ["owls and cats", "owls\0"] {
        assert!(matches!(
            log_in(&logins, raw, Some(&short)),
            Ok(Login::Wrong)
        ));
        assert_eq!(ledger.take(), ["verify short"], "{raw:?}");
    }
    // Even where the password is the stand-in.
    let unlucky = stored(&format!("$short${}", stand_in().expose()));
    let answer = log_in(&logins, "far too long for it", Some(&unlucky));
    assert!(matches!(answer, Ok(Login::Wrong)));
}

#[test]
fn a_damaged_row_costs_as_much_and_is_an_error() {
    let ledger = Ledger::default();
    let logins = logins(&ledger);
    let answer = log_in(&logins, "owls", Some(&stored("$broken$owls")));
    assert!(matches!(
        answer,
        Err(PoolError::Hasher(HasherError::Malformed))
    ));
    assert_eq!(ledger.take(), ["verify new"]);
}

#[test]
fn a_hash_that_cannot_be_renewed_still_opens_the_door() {
    let ledger = Ledger {
        cannot_hash: true,
        ..Ledger::default()
    };
    let logins = logins(&ledger);
    let right = log_in(&logins, "owls", Some(&stored("$old$owls"))).unwrap();
    assert!(matches!(right, Login::Right { rehashed: None }));
}

#[test]
fn nothing_of_it_is_printed() {
    let ledger = Ledger::default();
    let logins = logins(&ledger);
    let right = log_in(&logins, "owls", Some(&stored("$old$owls"))).unwrap();
    let printed = format!("{logins:?} {right:?}");
    assert!(
        !printed.contains("owls") && !printed.contains("$new$"),
        "{printed}"
    );
}
