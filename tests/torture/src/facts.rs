//! What the database says in the end: [`Facts`]. Times are microseconds since 1970; ids are
//! hexadecimal digits.

use std::collections::BTreeMap;

/// Read from the tables, and from the ledger that triggers wrote: in the same transaction as what
/// they tell of, so what was committed is in it and nothing else.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// The number of each account's row, by its address.
    pub(crate) users: BTreeMap<String, String>,
    pub(crate) jobs: Vec<Job>,
    pub(crate) changes: Vec<Change>,
    /// Those that are still in the table.
    pub(crate) sessions: Vec<Row>,
    pub(crate) tokens: Vec<Token>,
    pub(crate) audit: Audit,
    /// What the database found wrong with itself.
    pub(crate) damage: Vec<String>,
}

/// A job that was queued.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) what: Task,
    /// When it was taken out of the queue, done.
    pub(crate) gone: Option<i64>,
    pub(crate) waiting: Option<Waiting>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Task {
    /// The identifier as it was typed.
    Link {
        spelling: String,
    },
    Notice {
        user: String,
        at: i64,
    },
    Other,
}

/// A job that is still in the queue.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Waiting {
    pub(crate) due: i64,
    pub(crate) dead: bool,
}

/// A password was changed.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// Its place in the ledger.
    pub(crate) seq: i64,
    pub(crate) at: i64,
    pub(crate) user: String,
    pub(crate) hash: String,
    /// The attempt that it was, by its place in the book.
    pub(crate) attempt: Option<usize>,
}

/// A session in the table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) digest: String,
    pub(crate) user: String,
    /// Its place in the ledger.
    pub(crate) begun: i64,
}

/// A token's record.
#[derive(Clone, Debug, Default)]
pub(crate) struct Token {
    pub(crate) selector: String,
    pub(crate) user: String,
    pub(crate) issued_at: i64,
    pub(crate) expires_at: i64,
    pub(crate) claimed: bool,
    pub(crate) hold_until: Option<i64>,
    pub(crate) spent_at: Option<i64>,
    pub(crate) revoked_at: Option<i64>,
}

impl Token {
    pub(crate) fn lives_at(&self, at: i64) -> bool {
        let over = |end: Option<i64>| end.is_some_and(|end| end <= at);
        let begun = self.issued_at <= at && at < self.expires_at;
        begun && !over(self.spent_at) && !over(self.revoked_at)
    }
}

/// The audit trail: of a killed process its last moments are not in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Audit {
    pub(crate) counts: BTreeMap<String, u64>,
    /// How often each token changed a password.
    pub(crate) changes: BTreeMap<String, u64>,
    /// Why each job mailed nothing.
    pub(crate) withheld: BTreeMap<String, String>,
    pub(crate) settled_by_sweep: u64,
}

pub(crate) fn address(account: u32) -> String {
    format!("user-{account}@example.com")
}

/// The number in an address, however it is spelled.
pub(crate) fn account(address: &str) -> Option<u32> {
    let lower = address.to_ascii_lowercase();
    let rest = lower.strip_prefix("user-")?;
    rest.strip_suffix("@example.com")?.parse().ok()
}

/// One of 16,384 spellings of an address. The demo's accounts do not mind the case of letters, and
/// jobs hold what was typed, so a spelling of its own marks each request.
pub(crate) fn spelling(address: &str, number: u32) -> String {
    let mut bits = number;
    let spell = |letter: char| {
        if !letter.is_ascii_lowercase() {
            return letter;
        }
        let upper = bits & 1 == 1;
        bits >>= 1;
        if upper {
            letter.to_ascii_uppercase()
        } else {
            letter
        }
    };
    address.chars().map(spell).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_request_has_a_spelling_of_its_own() {
        let spellings: BTreeSet<_> = (0..16_384).map(|n| spelling(&address(7), n)).collect();
        assert_eq!(spellings.len(), 16_384);
        assert!(
            spellings
                .iter()
                .all(|spelling| account(spelling) == Some(7))
        );
    }
}
