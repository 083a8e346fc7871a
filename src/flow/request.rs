//! Somebody asks for a link, or for a code.

use std::time::Duration;

use crate::account::{Client, Identifier};
use crate::audit::{Event, EventKind, Step};
use crate::error::{Backend, BackendError};
use crate::flow::ResetFlow;
use crate::limit::Decision;
use crate::queue::{Job, JobId, Task};
use crate::random;

/// The request was taken. Says nothing about whether there is such an account.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Accepted;

/// Why a request was not taken. No variant depends on whether an account exists.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// This source has asked too often, for whomever.
    #[error("too many requests from this source")]
    RateLimited {
        /// When it may ask again.
        retry_after: Duration,
    },
    /// The flow was not built for what was asked: see [`Builder::codes`](crate::flow::Builder::codes)
    /// and [`Builder::sms`](crate::flow::Builder::sms).
    #[error("not offered by this service")]
    NotOffered,
    /// The source of randomness failed. Ask to try again.
    #[error("not available at this moment")]
    Unavailable(#[source] BackendError),
}

/// The label of a source's text messages.
const TEXTS: &str = "text-source";

/// What a request is charged to.
pub(super) struct Asked<'a> {
    pub(super) identifier: &'a Identifier,
    pub(super) client: &'a Client,
    /// The label of the identifier's bucket. Links and codes have one each, so that who uses up the
    /// one leaves the other to the owner.
    pub(super) bucket: &'static str,
    /// Whether a text message was asked for.
    pub(super) text: bool,
}

impl ResetFlow {
    /// Takes a request for a link.
    ///
    /// Does the same work for every identifier: charges two limits, appends one job, answers. The
    /// account is looked up later, by a [`Worker`](crate::flow::Worker). Changes nothing on the
    /// account (R18).
    ///
    /// When a part of the flow fails, nothing is queued and the answer is the same; the audit
    /// trail says what failed (R38).
    ///
    /// # Errors
    ///
    /// [`RequestError::RateLimited`] when the client's address is over its limit. An *identifier*
    /// over its limit is not an error: the answer would tell that its owner has just asked.
    pub async fn request(
        &self,
        identifier: &Identifier,
        client: &Client,
    ) -> Result<Accepted, RequestError> {
        let asked = Asked {
            identifier,
            client,
            bucket: "request-identifier",
            text: false,
        };
        self.ask(asked, |identifier, suppressed| Task::Deliver {
            identifier,
            suppressed,
        })
        .await?;
        Ok(Accepted)
    }

    /// Charges the limits and queues one job.
    pub(super) async fn ask(
        &self,
        asked: Asked<'_>,
        task: impl FnOnce(Identifier, bool) -> Task,
    ) -> Result<(), RequestError> {
        let mut event = self.event(EventKind::RateLimited);
        event.identifier = Some(self.pseudonym(asked.identifier));
        event.source = asked.client.prefix();
        match self.try_request(&asked, task, &mut event).await {
            Ok(Decision::Allow) => {}
            Ok(Decision::Deny { retry_after }) => {
                event.kind = EventKind::RateLimited;
                self.record(event);
                return Err(RequestError::RateLimited { retry_after });
            }
            Err(failure) => {
                let backend = failure.backend();
                event.kind = EventKind::BackendFailed {
                    backend,
                    step: Step::Request,
                };
            }
        }
        self.record(event);
        Ok(())
    }

    async fn try_request(
        &self,
        asked: &Asked<'_>,
        task: impl FnOnce(Identifier, bool) -> Task,
        event: &mut Event,
    ) -> Result<Decision, BackendError> {
        let now = self.now();
        let limits = &self.core.settings.limits;
        let limiter = &self.core.limiter;
        let limited = |source| BackendError::new(Backend::Limiter, source);

        let source = [("request-source", limits.source)];
        let text = [(TEXTS, self.core.settings.text_limits.source)];
        let text = asked.text.then_some(text).into_iter().flatten();
        for (label, quota) in source.into_iter().chain(text) {
            // Telephones know no tenants.
            let key = match label {
                TEXTS => self.of(None).source_key(label, asked.client),
                _ => self.source_key(label, asked.client),
            };
            let denied = limiter.check(&key, &quota, now).await.map_err(limited)?;
            if denied != Decision::Allow {
                return Ok(denied);
            }
        }
        let canonical = asked.identifier.canonical();
        let key = self.limit_key(asked.bucket, canonical.as_bytes());
        let decision = limiter
            .check(&key, &limits.identifier, now)
            .await
            .map_err(limited)?;
        let suppressed = decision != Decision::Allow;

        let identifier = asked.identifier.clone().within(self.tenant.as_ref());
        let job = self.job(task(identifier, suppressed), true)?;
        self.core
            .queue
            .push(&job)
            .await
            .map_err(|e| BackendError::new(Backend::Queue, e))?;
        self.wake(&job);
        event.kind = EventKind::Requested { suppressed };
        event.job = Some(job.id);
        Ok(Decision::Allow)
    }

    /// A job that starts now, or at a random moment of the spread.
    pub(super) fn job(&self, task: Task, spread: bool) -> Result<Job, BackendError> {
        let failed = |source| BackendError::new(Backend::Random, source);
        let id = JobId::from_bytes(self.id().map_err(failed)?);
        let mut due = self.now();
        if spread {
            let span = u64::try_from(self.core.settings.spread.as_micros()).unwrap_or(u64::MAX);
            let wait = random::below(self.core.random.as_ref(), span).map_err(failed)?;
            due = due + Duration::from_micros(wait);
        }
        Ok(Job { id, due, task })
    }

    /// Clients without an address share one bucket.
    pub(super) fn source_key(&self, label: &str, client: &Client) -> crate::limit::LimitKey {
        match client.prefix() {
            Some(std::net::IpAddr::V4(v4)) => self.limit_key(label, &v4.octets()),
            Some(std::net::IpAddr::V6(v6)) => self.limit_key(label, &v6.octets()),
            None => self.limit_key(label, &[]),
        }
    }

    /// Tells a worker of this process that a job was queued.
    pub(super) fn wake(&self, job: &Job) {
        #[cfg(feature = "tokio")]
        self.core.alarm.set(job.due);
        #[cfg(not(feature = "tokio"))]
        let _ = job;
    }
}
