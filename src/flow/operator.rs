//! What the application does outside the journey: revoking and purging.

use crate::account::UserId;
use crate::audit::{EventKind, Step};
use crate::error::{Backend, BackendError};
use crate::flow::ResetFlow;
use crate::store::Reach;
use crate::token::state::Revocation;

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
}
