//! Which attempt changed which password: each sent a password of its own, and the table has the
//! hashes.

use std::collections::BTreeMap;

use password_reset::error::BoxError;
use password_reset::password::{Argon2id, Candidate, HashPool, PasswordHash};

use crate::book::{Attempt, Tried};
use crate::facts::Facts;

/// Remembers what it found, so that it can be asked again and again.
pub(crate) struct Attribution {
    hashing: HashPool,
    known: BTreeMap<i64, usize>,
}

impl Attribution {
    pub(crate) fn new() -> Result<Self, BoxError> {
        Ok(Self {
            hashing: HashPool::new(Argon2id::default())?,
            known: BTreeMap::new(),
        })
    }

    /// Writes the attempt beside each change that one can be found for.
    pub(crate) async fn of(
        &mut self,
        facts: &mut Facts,
        attempts: &[Attempt],
    ) -> Result<(), BoxError> {
        let mut by_account: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (place, attempt) in attempts.iter().enumerate() {
            by_account.entry(attempt.account).or_default().push(place);
        }
        let accounts: BTreeMap<String, u32> = facts
            .users
            .iter()
            .filter_map(|(address, user)| Some((user.clone(), crate::facts::account(address)?)))
            .collect();
        for change in &mut facts.changes {
            if !self.known.contains_key(&change.seq) {
                let account = accounts.get(&change.user);
                let mine = account.and_then(|account| by_account.get(account));
                let mut mine = mine.cloned().unwrap_or_default();
                // What is likely comes first: hashing is slow.
                mine.sort_by_key(|place| {
                    let attempt = attempts.get(*place);
                    let done = attempt.is_some_and(|attempt| attempt.outcome == Tried::Done);
                    let away = attempt.map_or(0, |attempt| change.at.abs_diff(attempt.at));
                    (away > 60 * 1_000_000, !done, away)
                });
                for place in mine {
                    let Some(attempt) = attempts.get(place) else {
                        continue;
                    };
                    let candidate = Candidate::parse(&attempt.password)?;
                    let stored = PasswordHash::parse(&change.hash)?;
                    if self.hashing.verify(candidate, stored).await? {
                        self.known.insert(change.seq, place);
                        break;
                    }
                }
            }
            change.attempt = self.known.get(&change.seq).copied();
        }
        Ok(())
    }
}
