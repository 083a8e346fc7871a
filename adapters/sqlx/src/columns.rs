//! Records as columns and back: the same for every database.
//!
//! Writing cannot fail. Reading can: a row may be of a newer version of the crate.

use password_reset::Timestamp;
use password_reset::account::{Tenant, UserId};
use password_reset::queue::{Job, JobId, Lease, LeasedJob, Task};
use password_reset::token::state::{ClaimId, Hold, Revocation, State};
use password_reset::token::{Epoch, KeyId, Purpose, Selector, TokenDigest, TokenRecord};

use crate::error::Error;

/// Every column of a token, in the order of the table.
pub(crate) struct TokenColumns {
    pub(crate) selector: Vec<u8>,
    pub(crate) purpose: String,
    pub(crate) tenant: Option<String>,
    pub(crate) user_id: String,
    pub(crate) epoch: Vec<u8>,
    pub(crate) key_id: i64,
    pub(crate) digest: Vec<u8>,
    pub(crate) issued_at: i64,
    pub(crate) expires_at: i64,
    pub(crate) attempts: i64,
    pub(crate) state: StateColumns,
}

/// The columns that a token's life is written in; the others are written once.
pub(crate) struct StateColumns {
    pub(crate) claim: Option<Vec<u8>>,
    pub(crate) hold_until: Option<i64>,
    pub(crate) spent_at: Option<i64>,
    pub(crate) revoked_at: Option<i64>,
    pub(crate) revoked_why: Option<String>,
}

/// Every column of a job that a lease answers.
pub(crate) struct JobColumns {
    pub(crate) id: Vec<u8>,
    pub(crate) due: i64,
    pub(crate) attempt: i64,
    pub(crate) task: Vec<u8>,
}

impl From<&TokenRecord> for TokenColumns {
    fn from(record: &TokenRecord) -> Self {
        Self {
            selector: record.selector.as_bytes().to_vec(),
            purpose: record.purpose.as_str().to_owned(),
            tenant: record.tenant.as_ref().map(|t| t.as_str().to_owned()),
            user_id: record.user.as_str().to_owned(),
            epoch: record.epoch.as_bytes().to_vec(),
            key_id: i64::from(record.key.0),
            digest: record.digest.as_bytes().to_vec(),
            issued_at: record.issued_at.unix_micros(),
            expires_at: record.expires_at.unix_micros(),
            attempts: i64::from(record.attempts),
            state: StateColumns::from(record.state),
        }
    }
}

impl TryFrom<TokenColumns> for TokenRecord {
    type Error = Error;

    fn try_from(columns: TokenColumns) -> Result<Self, Error> {
        let tenant = columns
            .tenant
            .map(|tenant| Tenant::parse(&tenant).map_err(|_| unreadable("tenant")))
            .transpose()?;
        let mut record = TokenRecord::new(
            Selector::from_bytes(array(&columns.selector, "selector")?),
            Purpose::parse(&columns.purpose).ok_or(unreadable("purpose"))?,
            tenant,
            UserId::parse(&columns.user_id).map_err(|_| unreadable("user_id"))?,
            Epoch::from_bytes(array(&columns.epoch, "epoch")?),
            KeyId(count(columns.key_id, "key_id")?),
            TokenDigest::from_bytes(array(&columns.digest, "digest")?),
            Timestamp::from_unix_micros(columns.issued_at),
            Timestamp::from_unix_micros(columns.expires_at),
        );
        record.attempts = count(columns.attempts, "attempts")?;
        record.state = columns.state.try_into()?;
        Ok(record)
    }
}

impl From<State> for StateColumns {
    fn from(state: State) -> Self {
        Self {
            claim: match state.hold {
                Hold::Claimed { claim, .. } => Some(claim.as_bytes().to_vec()),
                Hold::Free | Hold::Watched { .. } => None,
            },
            hold_until: state.hold.due().map(Timestamp::unix_micros),
            spent_at: state.spent_at.map(Timestamp::unix_micros),
            revoked_at: state.revoked.map(|(at, _)| at.unix_micros()),
            revoked_why: state.revoked.map(|(_, why)| why.as_str().to_owned()),
        }
    }
}

impl TryFrom<StateColumns> for State {
    type Error = Error;

    fn try_from(columns: StateColumns) -> Result<Self, Error> {
        let hold = match (columns.claim, columns.hold_until) {
            (None, None) => Hold::Free,
            (None, Some(until)) => Hold::Watched {
                until: Timestamp::from_unix_micros(until),
            },
            (Some(claim), Some(until)) => Hold::Claimed {
                claim: ClaimId::from_bytes(array(&claim, "claim")?),
                until: Timestamp::from_unix_micros(until),
            },
            (Some(_), None) => return Err(unreadable("hold_until")),
        };
        let revoked = match (columns.revoked_at, columns.revoked_why) {
            (None, None) => None,
            (Some(at), Some(why)) => Some((
                Timestamp::from_unix_micros(at),
                Revocation::parse(&why).ok_or(unreadable("revoked_why"))?,
            )),
            _ => return Err(unreadable("revoked_at")),
        };
        Ok(State {
            spent_at: columns.spent_at.map(Timestamp::from_unix_micros),
            revoked,
            hold,
        })
    }
}

impl TryFrom<JobColumns> for LeasedJob {
    type Error = Error;

    fn try_from(columns: JobColumns) -> Result<Self, Error> {
        let id = JobId::from_bytes(array(&columns.id, "id")?);
        Ok(Self {
            lease: Lease {
                job: id,
                attempt: count(columns.attempt, "attempt")?,
            },
            job: Job {
                id,
                due: Timestamp::from_unix_micros(columns.due),
                task: Task::decode(&columns.task),
            },
        })
    }
}

/// A number that is never negative and fits 32 bits.
pub(crate) fn count(number: i64, column: &'static str) -> Result<u32, Error> {
    u32::try_from(number).map_err(|_| unreadable(column))
}

fn array<const N: usize>(bytes: &[u8], column: &'static str) -> Result<[u8; N], Error> {
    bytes.try_into().map_err(|_| unreadable(column))
}

fn unreadable(column: &'static str) -> Error {
    Error::Unreadable { column }
}
