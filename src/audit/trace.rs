//! Events as `tracing` events.

use tracing::Level;

use crate::audit::{AuditSink, Event, Severity};
use crate::error::BoxError;

/// Writes every event to `tracing` under the target `password_reset::audit`; the default sink.
///
/// Fields: `event` (the stable name), `kind` (its code), `number`, `at`, `tenant`, `user.id`,
/// `enduser.pseudo.id`, `source`, `job`, `token`, `parent`, `actor`. They are part of the crate's public interface. Info and warning keep
/// their level; critical events are errors.
#[derive(Clone, Copy, Debug, Default)]
pub struct TracingSink;

impl AuditSink for TracingSink {
    fn record(&self, event: &Event) -> Result<(), BoxError> {
        macro_rules! emit {
            ($level:expr) => {
                tracing::event!(
                    target: "password_reset::audit",
                    $level,
                    event = event.kind.name(),
                    kind = event.kind.code(),
                    number = event.kind.number(),
                    at = %event.at,
                    tenant = event.tenant.as_ref().map(tracing::field::debug),
                    user.id = event.user.as_ref().map(tracing::field::debug),
                    enduser.pseudo.id = event.identifier.map(tracing::field::display),
                    source = event.source.map(tracing::field::display),
                    job = event.job.map(tracing::field::display),
                    token = event.token.map(tracing::field::display),
                    parent = event.parent.map(tracing::field::display),
                    actor = event.actor.as_ref().map(tracing::field::debug),
                )
            };
        }
        match event.kind.severity() {
            Severity::Info => emit!(Level::INFO),
            Severity::Warn => emit!(Level::WARN),
            Severity::Critical => emit!(Level::ERROR),
        }
        Ok(())
    }

    fn lost(&self) -> u64 {
        0
    }
}
