//! Work that waits: [`JobQueue`], [`Job`], [`Lease`].
//!
//! A request only appends a job; everything that depends on whether an account exists happens in a
//! worker. A job holds what was typed and where it came from, never a token: the worker mints the
//! token at the moment of sending, so a copy of the queue is worth nothing (W13, R19).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::account::{Address, Identifier, Seen, Tenant, UserId};
use crate::audit::Actor;
use crate::clock::Timestamp;
use crate::error::BoxError;
use crate::token::{Epoch, KeyId, Purpose, Selector};
use crate::wire::{Fields, Reader};

/// The name of a job; random. It is also the correlation id of the audit events it causes.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct JobId([u8; 16]);

impl JobId {
    /// A job's id from random bytes, or read back from a queue.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Reads what [`Display`](fmt::Display) writes: 32 lower-case hexadecimal digits, as an audit
    /// trail keeps them.
    pub fn parse(text: &str) -> Option<Self> {
        crate::token::unhex(text).map(Self)
    }

    /// The bytes to store.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::token::hex(f, &self.0)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobId({self})")
    }
}

/// How a code travels.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Channel {
    /// By mail, to the address that a link would go to.
    Mail,
    /// By text message, to the account's confirmed number.
    Sms,
}

impl Channel {
    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Sms => "sms",
        }
    }

    /// Reads a stable name.
    pub fn parse(name: &str) -> Option<Self> {
        let all = [Self::Mail, Self::Sms];
        all.into_iter().find(|channel| channel.as_str() == name)
    }
}

/// What a job is about.
#[derive(Clone, Eq, PartialEq)]
#[non_exhaustive]
pub enum Task {
    /// Somebody asked for a link.
    Deliver {
        /// What they typed.
        identifier: Identifier,
        /// Over the identifier's limit: everything is done but the mail.
        suppressed: bool,
    },
    /// Somebody asked for a code.
    Code {
        /// What they typed.
        identifier: Identifier,
        /// How the code travels.
        channel: Channel,
        /// What they were answered: where the code's record will be found. Proves nothing.
        handle: Selector,
        /// Over the identifier's limit: everything is done but the message.
        suppressed: bool,
    },
    /// An operator started a reset, or invites somebody to choose a first password.
    Start {
        /// The account.
        user: UserId,
        /// Its tenant.
        tenant: Option<Tenant>,
        /// [`Purpose::Reset`] or [`Purpose::First`].
        purpose: Purpose,
        /// How long the link works from the moment it is mailed.
        life: Duration,
        /// Who started it, for the audit trail.
        actor: Actor,
    },
    /// A password is being changed; tell its owner at one address, as soon as it has changed.
    ///
    /// Queued *before* the change, so that no crash loses the notice and nobody who has just taken
    /// the account over chooses who is told.
    Notice {
        /// The account.
        user: UserId,
        /// Its tenant.
        tenant: Option<Tenant>,
        /// One of the verified addresses that the account had at the time.
        address: Address,
        /// The account's language.
        locale: Option<String>,
        /// When.
        at: Timestamp,
        /// The key of `epoch`.
        key: KeyId,
        /// The account before the change, digested.
        epoch: Epoch,
        /// The token that changes it: what "this wasn't me" leads back to.
        token: Selector,
        /// A keyed digest, so that nobody who writes to the queue gets that link mailed.
        seal: [u8; 16],
        /// Where the change came from, if the application says so.
        seen: Option<Seen>,
    },
    /// Bytes that this version of the crate cannot read, perhaps of a newer version. A worker puts
    /// the job back until its tries are used up.
    Unreadable(Vec<u8>),
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whom it is about is not shown, nor bytes that may say so.
        f.write_str(match self {
            Self::Deliver { .. } => "Deliver(..)",
            Self::Code { .. } => "Code(..)",
            Self::Start { .. } => "Start(..)",
            Self::Notice { .. } => "Notice(..)",
            Self::Unreadable(_) => "Unreadable(..)",
        })
    }
}

const FORMAT: u8 = 1;
const DELIVER: u8 = 1;
const NOTICE: u8 = 2;
const CODE: u8 = 3;
const START: u8 = 4;

impl Task {
    /// The stable bytes that a queue stores. They name a person, so treat them as personal data;
    /// they hold no secret.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        let text = |text: Option<&str>, out: &mut Vec<u8>| out.optional(text.map(str::as_bytes));
        match self {
            Self::Deliver {
                identifier,
                suppressed,
            } => {
                out.bytes(&[DELIVER, u8::from(*suppressed)]);
                text(identifier.tenant().map(Tenant::as_str), &mut out);
                out.field(identifier.as_str().as_bytes());
            }
            Self::Code {
                identifier,
                channel,
                handle,
                suppressed,
            } => {
                out.bytes(&[CODE, u8::from(*suppressed)]);
                text(identifier.tenant().map(Tenant::as_str), &mut out);
                out.field(identifier.as_str().as_bytes());
                out.field(channel.as_str().as_bytes());
                out.field(handle.as_bytes());
            }
            Self::Start {
                user,
                tenant,
                purpose,
                life,
                actor,
            } => {
                out.bytes(&[START]);
                text(tenant.as_ref().map(Tenant::as_str), &mut out);
                out.field(user.as_str().as_bytes());
                out.field(purpose.as_str().as_bytes());
                out.number(i64::try_from(life.as_secs()).unwrap_or(i64::MAX));
                out.field(actor.as_str().as_bytes());
            }
            Self::Notice {
                user,
                tenant,
                address,
                locale,
                at,
                key,
                epoch,
                token,
                seal,
                seen,
            } => {
                out.bytes(&[NOTICE]);
                text(tenant.as_ref().map(Tenant::as_str), &mut out);
                out.field(user.as_str().as_bytes());
                out.field(address.as_str().as_bytes());
                text(locale.as_deref(), &mut out);
                out.number(at.unix_micros());
                out.number(i64::from(key.0));
                out.field(epoch.as_bytes());
                out.field(token.as_bytes());
                out.field(seal);
                text(seen.as_ref().and_then(Seen::device_text), &mut out);
                text(seen.as_ref().and_then(Seen::place_text), &mut out);
            }
            Self::Unreadable(bytes) => return bytes.clone(),
        }
        out
    }

    /// Reads stored bytes; total. What this version of the crate does not know becomes
    /// [`Task::Unreadable`], so that one odd row never blocks a queue.
    pub fn decode(bytes: &[u8]) -> Self {
        Self::read(bytes).unwrap_or_else(|| Self::Unreadable(bytes.to_vec()))
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        if reader.byte()? != FORMAT {
            return None;
        }
        let kind = reader.byte()?;
        let task = match kind {
            DELIVER => {
                let suppressed = reader.byte()? != 0;
                Self::Deliver {
                    identifier: identifier(&mut reader)?,
                    suppressed,
                }
            }
            CODE => {
                let suppressed = reader.byte()? != 0;
                Self::Code {
                    identifier: identifier(&mut reader)?,
                    channel: Channel::parse(reader.text()?)?,
                    handle: Selector::from_bytes(reader.field()?.try_into().ok()?),
                    suppressed,
                }
            }
            START => Self::Start {
                tenant: tenant(&mut reader)?,
                user: UserId::parse(reader.text()?).ok()?,
                purpose: Purpose::parse(reader.text()?)?,
                life: Duration::from_secs(u64::try_from(reader.number()?).ok()?),
                actor: Actor::parse(reader.text()?).ok()?,
            },
            NOTICE => Self::Notice {
                tenant: tenant(&mut reader)?,
                user: UserId::parse(reader.text()?).ok()?,
                address: Address::parse(reader.text()?).ok()?,
                locale: reader.optional_text()?.map(str::to_owned),
                at: Timestamp::from_unix_micros(reader.number()?),
                key: KeyId(u32::try_from(reader.number()?).ok()?),
                epoch: Epoch::from_bytes(reader.field()?.try_into().ok()?),
                token: Selector::from_bytes(reader.field()?.try_into().ok()?),
                seal: reader.field()?.try_into().ok()?,
                seen: seen(&mut reader)?,
            },
            _ => return None,
        };
        reader.end()?;
        Some(task)
    }
}

fn identifier(reader: &mut Reader<'_>) -> Option<Identifier> {
    let tenant = tenant(reader)?;
    let identifier = Identifier::parse(reader.text()?).ok()?;
    Some(identifier.within(tenant.as_ref()))
}

fn seen(reader: &mut Reader<'_>) -> Option<Option<Seen>> {
    let (device, place) = (reader.optional_text()?, reader.optional_text()?);
    let mut seen = Seen::default();
    if let Some(device) = device {
        seen = seen.device(device).ok()?;
    }
    if let Some(place) = place {
        seen = seen.place(place).ok()?;
    }
    Some((seen != Seen::default()).then_some(seen))
}

fn tenant(reader: &mut Reader<'_>) -> Option<Option<Tenant>> {
    reader
        .optional_text()?
        .map(|text| Tenant::parse(text).ok())
        .map_or(Some(None), |t| t.map(Some))
}

/// One piece of work.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Job {
    /// Its name; unique.
    pub id: JobId,
    /// When it may start.
    pub due: Timestamp,
    /// What it is about.
    pub task: Task,
}

/// The right to work on a job for a while. `attempt` tells one lease of a job from the next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lease {
    /// The job.
    pub job: JobId,
    /// How often the job has been leased, this time included: 1 at the first try.
    pub attempt: u32,
}

/// A job together with the lease on it.
#[derive(Clone, Debug)]
pub struct LeasedJob {
    /// The lease.
    pub lease: Lease,
    /// The job.
    pub job: Job,
}

/// A job that was given up, kept until somebody has looked at it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeadLetter {
    /// The name that the job had.
    pub id: JobId,
    /// What it was about.
    pub task: Task,
    /// How often it had been leased.
    pub attempts: u32,
    /// When it was given up.
    pub at: Timestamp,
}

/// How many jobs a queue holds, each counted once.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct QueueLength {
    /// Could be leased at this moment. When this number grows, workers are missing.
    pub due: u64,
    /// Wait for their time, or for the end of a lease.
    pub waiting: u64,
    /// Were given up.
    pub dead: u64,
}

/// Where jobs wait.
///
/// # Contract
///
/// Each line names the check of `testing::kit::queue` that shows it.
///
/// - A pushed job MUST come back exactly as it was (`a_job_comes_back_as_it_went_in`), and MUST
///   survive what the application's accepted requests must survive. Otherwise a mail is lost.
/// - `push` MUST take the same work for every job. Otherwise its time tells who asked.
/// - `lease` MUST give a job to one caller only while its lease lasts
///   (`a_job_is_leased_to_one_worker`), never before it is due
///   (`a_job_is_not_leased_before_it_is_due`), and again once the lease is over
///   (`a_lost_lease_is_handed_over`, `a_lost_lease_is_handed_to_one_worker`,
///   `a_dropped_lease_loses_no_job`); the longest due first, at most `max`
///   (`the_longest_due_are_leased_first`). Otherwise mails are sent twice, or never.
/// - Pushing and leasing at once MUST lose nothing (`no_job_is_lost_under_contention`).
/// - `lease` MUST count the attempt (`every_lease_counts_an_attempt`). Otherwise a job that kills
///   its worker is tried for ever.
/// - `ack`, `retry` and `bury` MUST act for the present lease only
///   (`an_old_lease_settles_nothing`), and end it (`a_lease_is_settled_once`,
///   `a_retried_job_waits_for_its_time`). A lease that is over stays the present one until
///   somebody else takes the job. Otherwise a slow worker removes a job that another one has taken
///   over.
/// - `ack` MUST remove the job (`an_acknowledged_job_never_returns`).
/// - `bury` MUST keep the job and MUST NOT let it be leased again (`a_dead_letter_is_never_leased`,
///   `dead_letters_come_back_as_they_were`). Otherwise a poison job is tried for ever, or nobody
///   learns whose mail was not sent.
/// - `revive` MUST make one job of one dead letter, under the new name and with no attempt counted
///   (`a_revived_job_starts_over`, `a_dead_letter_is_revived_once`). Under the old name the lease of
///   a worker that was paused since could remove it.
/// - `purge_dead` MUST delete only dead letters from before the given moment, and at most `limit`
///   (`purging_dead_letters_spares_the_others`). They name people, so they must not stay for ever.
/// - `length` MUST count every job once (`the_length_counts_every_job`).
#[async_trait]
pub trait JobQueue: Send + Sync + 'static {
    /// Appends a job.
    async fn push(&self, job: &Job) -> Result<(), BoxError>;

    /// Leases up to `max` jobs that are due at `now`, until `until`.
    async fn lease(
        &self,
        now: Timestamp,
        until: Timestamp,
        max: u32,
    ) -> Result<Vec<LeasedJob>, BoxError>;

    /// Removes a finished job; `false` when the lease is not the present one.
    async fn ack(&self, lease: &Lease) -> Result<bool, BoxError>;

    /// Ends the lease and makes the job due again at `due`; `false` when the lease is not the
    /// present one.
    async fn retry(&self, lease: &Lease, due: Timestamp) -> Result<bool, BoxError>;

    /// Ends the lease and sets the job aside as a dead letter; `false` when the lease is not the
    /// present one.
    async fn bury(&self, lease: &Lease, at: Timestamp) -> Result<bool, BoxError>;

    /// Up to `max` dead letters, those that were given up first.
    async fn dead_letters(&self, max: u32) -> Result<Vec<DeadLetter>, BoxError>;

    /// Makes the dead letter `dead` a job again that is called `id` and due at `due`; `false` when
    /// there is no such dead letter.
    async fn revive(&self, dead: &JobId, id: &JobId, due: Timestamp) -> Result<bool, BoxError>;

    /// Deletes up to `limit` dead letters that were given up before `before`; answers how many.
    async fn purge_dead(&self, before: Timestamp, limit: u32) -> Result<u64, BoxError>;

    /// How many jobs there are at `now`. For operators; it may read the whole queue.
    async fn length(&self, now: Timestamp) -> Result<QueueLength, BoxError>;
}

macro_rules! forward {
    ($($pointer:ident),+) => { $(
        #[async_trait]
        impl<T: JobQueue + ?Sized> JobQueue for $pointer<T> {
            async fn push(&self, job: &Job) -> Result<(), BoxError> {
                (**self).push(job).await
            }
            async fn lease(
                &self,
                now: Timestamp,
                until: Timestamp,
                max: u32,
            ) -> Result<Vec<LeasedJob>, BoxError> {
                (**self).lease(now, until, max).await
            }
            async fn ack(&self, lease: &Lease) -> Result<bool, BoxError> {
                (**self).ack(lease).await
            }
            async fn retry(&self, lease: &Lease, due: Timestamp) -> Result<bool, BoxError> {
                (**self).retry(lease, due).await
            }
            async fn bury(&self, lease: &Lease, at: Timestamp) -> Result<bool, BoxError> {
                (**self).bury(lease, at).await
            }
            async fn dead_letters(&self, max: u32) -> Result<Vec<DeadLetter>, BoxError> {
                (**self).dead_letters(max).await
            }
            async fn revive(
                &self,
                dead: &JobId,
                id: &JobId,
                due: Timestamp,
            ) -> Result<bool, BoxError> {
                (**self).revive(dead, id, due).await
            }
            async fn purge_dead(
                &self,
                before: Timestamp,
                limit: u32,
            ) -> Result<u64, BoxError> {
                (**self).purge_dead(before, limit).await
            }
            async fn length(&self, now: Timestamp) -> Result<QueueLength, BoxError> {
                (**self).length(now).await
            }
        }
    )+ };
}
forward!(Arc, Box);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use proptest::prelude::*;

    use super::*;

    fn tasks() -> Vec<Task> {
        let identifier = Identifier::parse("ada@example.com").unwrap();
        let tenant = Tenant::parse("acme").unwrap();
        vec![
            Task::Deliver {
                identifier: identifier.clone(),
                suppressed: false,
            },
            Task::Deliver {
                identifier: identifier.clone().in_tenant(tenant.clone()),
                suppressed: true,
            },
            Task::Notice {
                user: UserId::parse("42").unwrap(),
                tenant: Some(tenant),
                address: Address::parse("ada@example.com").unwrap(),
                locale: Some("en".into()),
                at: Timestamp::from_unix_micros(-1),
                key: KeyId(u32::MAX),
                epoch: Epoch::from_bytes([7; 32]),
                token: Selector::from_bytes([8; 16]),
                seal: [4; 16],
                seen: Some(Seen::default().place("Lyon, France").unwrap()),
            },
            Task::Code {
                identifier,
                channel: Channel::Sms,
                handle: Selector::from_bytes([9; 16]),
                suppressed: true,
            },
            Task::Start {
                user: UserId::parse("42").unwrap(),
                tenant: None,
                purpose: Purpose::First,
                life: Duration::from_secs(86_400),
                actor: Actor::parse("ticket 7").unwrap(),
            },
        ]
    }

    #[test]
    fn a_task_comes_back_as_it_was_encoded() {
        for task in tasks() {
            assert_eq!(Task::decode(&task.encode()), task);
        }
    }

    #[test]
    fn a_cut_or_longer_task_is_unreadable_and_kept() {
        for task in tasks() {
            let bytes = task.encode();
            let cut = bytes.split_last().unwrap().1.to_vec();
            let longer = [bytes, vec![0]].concat();
            for odd in [cut, longer] {
                assert_eq!(Task::decode(&odd), Task::Unreadable(odd.clone()));
                assert_eq!(Task::decode(&odd).encode(), odd);
            }
        }
    }

    proptest! {
        #[test]
        fn decoding_is_total(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(Task::decode(&bytes).encode().len(), bytes.len());
        }
    }
}
