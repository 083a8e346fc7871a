//! What the application does outside the journey: revoking, purging, looking after dead letters;
//! and, in `acting`, what its operators do for the owners of accounts.

mod acting;

use std::time::Duration;

use crate::account::UserId;
use crate::audit::{EventKind, Step};
use crate::error::{Backend, BackendError};
use crate::flow::ResetFlow;
use crate::queue::{DeadLetter, JobId, QueueLength};
use crate::random;
use crate::store::Reach;
use crate::token::state::Revocation;

pub use acting::{Operator, OperatorDanger, OperatorError};

/// How many live links of operators an account may have beyond its own places, so that nobody who
/// fills those keeps an operator's link from its owner.
pub(super) const OPERATORS_ROOM: u32 = 5;
/// Long enough for somebody to come back from a holiday.
const DEAD_LETTERS_STAY: Duration = Duration::from_secs(30 * 86_400);

impl ResetFlow {
    /// Revokes every open token of an account; answers how many there were.
    ///
    /// Tokens die by themselves when the password, the address or the account's status changes;
    /// this is for everything else (R89).
    ///
    /// # Errors
    ///
    /// The token store failed.
    pub async fn revoke_all(&self, user: &UserId) -> Result<u64, BackendError> {
        let revoked = self
            .core
            .tokens
            .revoke_all(user, Reach::All, self.now(), Revocation::Requested)
            .await;
        let count = revoked.map_err(|e| self.failed(Backend::Tokens, Step::Operate, e))?;
        let mut event = self.event(EventKind::Revoked { count });
        event.user = Some(user.clone());
        self.record(event);
        Ok(count)
    }

    /// Deletes up to `limit` records that expired more than seven days ago; answers how many.
    ///
    /// Until then they stay, so that a used token can be told from an unknown one and a late
    /// change still finds its record. A spawned worker purges by itself.
    ///
    /// # Errors
    ///
    /// The token store failed.
    pub async fn purge(&self, limit: u32) -> Result<u64, BackendError> {
        let before = self.now() - self.core.settings.tombstones;
        let purged = self.core.tokens.purge(before, limit).await;
        let count = purged.map_err(|e| self.failed(Backend::Tokens, Step::Operate, e))?;
        if count > 0 {
            self.record(self.event(EventKind::Purged { count }));
        }
        Ok(count)
    }

    /// Up to `max` jobs that were given up, the first one first. They stay for 30 days.
    ///
    /// # Errors
    ///
    /// The queue failed.
    pub async fn dead_letters(&self, max: u32) -> Result<Vec<DeadLetter>, BackendError> {
        let dead = self.core.queue.dead_letters(max).await;
        dead.map_err(|e| self.failed(Backend::Queue, Step::Operate, e))
    }

    /// Makes a dead letter a job again, due at once and with all its tries before it; answers its
    /// new name, or `None` when there is no such dead letter.
    ///
    /// The mail then goes out however long ago it was asked for.
    ///
    /// # Errors
    ///
    /// The queue, or the generator that names the job, failed.
    pub async fn revive(&self, dead: &JobId) -> Result<Option<JobId>, BackendError> {
        let now = self.now();
        let id = random::id(self.core.random.as_ref()).map(JobId::from_bytes);
        let id = id.map_err(|e| self.failed(Backend::Random, Step::Operate, e))?;
        let revived = self.core.queue.revive(dead, &id, now).await;
        let revived = revived.map_err(|e| self.failed(Backend::Queue, Step::Operate, e))?;
        if !revived {
            return Ok(None);
        }
        let mut event = self.event(EventKind::Revived);
        event.job = Some(id);
        self.record(event);
        Ok(Some(id))
    }

    /// Deletes up to `limit` dead letters that were given up more than 30 days ago; answers how
    /// many. They name people, so they do not stay for ever. A spawned worker does this by itself.
    ///
    /// # Errors
    ///
    /// The queue failed.
    pub async fn purge_dead_letters(&self, limit: u32) -> Result<u64, BackendError> {
        let before = self.now() - DEAD_LETTERS_STAY;
        let purged = self.core.queue.purge_dead(before, limit).await;
        let count = purged.map_err(|e| self.failed(Backend::Queue, Step::Operate, e))?;
        if count > 0 {
            self.record(self.event(EventKind::Purged { count }));
        }
        Ok(count)
    }

    /// How many jobs are due, wait, and were given up.
    ///
    /// # Errors
    ///
    /// The queue failed.
    pub async fn queue_length(&self) -> Result<QueueLength, BackendError> {
        let length = self.core.queue.length(self.now()).await;
        length.map_err(|e| self.failed(Backend::Queue, Step::Operate, e))
    }
}
