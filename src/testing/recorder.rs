//! Audit events, kept.

use std::sync::{Arc, Mutex};

use crate::audit::{AuditSink, Event, EventKind};
use crate::error::BoxError;
use crate::testing::lock;

/// How many events are kept; a further one is an error.
const MAX_EVENTS: usize = 100_000;

/// An [`AuditSink`] that keeps what it is given, oldest first. Clones share their events.
#[derive(Clone, Debug, Default)]
pub struct Recorder(Arc<Mutex<Vec<Event>>>);

impl Recorder {
    /// Everything that happened.
    pub fn events(&self) -> Vec<Event> {
        lock(&self.0).clone()
    }

    /// Everything that happened, without who and when.
    pub fn kinds(&self) -> Vec<EventKind> {
        lock(&self.0).iter().map(|event| event.kind).collect()
    }

    /// Forgets everything.
    pub fn clear(&self) {
        lock(&self.0).clear();
    }
}

impl AuditSink for Recorder {
    fn record(&self, event: &Event) -> Result<(), BoxError> {
        let mut events = lock(&self.0);
        if events.len() >= MAX_EVENTS {
            return Err("the recorder is full".into());
        }
        events.push(event.clone());
        Ok(())
    }

    fn lost(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "tests may panic"
    )]

    use super::*;
    use crate::clock::Timestamp;

    #[test]
    fn a_recorder_keeps_events_in_order_and_is_bounded() {
        let recorder = Recorder::default();
        let at = Timestamp::from_unix_micros(1);
        let event = |kind| Event::new(at, kind);
        recorder.record(&event(EventKind::Issued)).unwrap();
        recorder.record(&event(EventKind::LinkSent)).unwrap();
        assert_eq!(recorder.kinds(), [EventKind::Issued, EventKind::LinkSent]);
        assert_eq!(recorder.clone().events()[0].at, at);
        for _ in 2..MAX_EVENTS {
            recorder.record(&event(EventKind::Issued)).unwrap();
        }
        assert!(recorder.record(&event(EventKind::Issued)).is_err());
        recorder.clear();
        assert!(recorder.events().is_empty());
    }
}
