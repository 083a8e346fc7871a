//! Somebody asks for a link, or for a code.

use std::time::Duration;

use crate::account::{Client, Identifier};
use crate::audit::{Event, EventKind, Step};
use crate::error::{Backend, BackendError};
use crate::flow::ResetFlow;
use crate::flow::gate::Halt;
use crate::human::Proof;
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
    /// This source has asked too often, or its network, or everybody together; for whomever.
    #[error("too many requests from this source")]
    RateLimited {
        /// When it may ask again.
        retry_after: Duration,
    },
    /// There was no proof that a human asks, or it was refused: ask again, with a new one
    /// ([`ResetFlow::request_with_proof`]). Only flows with a check answer this; see
    /// [`Builder::human`](crate::flow::Builder::human).
    #[error("a proof is needed that a human asks")]
    Challenge,
    /// The flow was not built for what was asked: see [`Builder::codes`](crate::flow::Builder::codes)
    /// and [`Builder::sms`](crate::flow::Builder::sms).
    #[error("not offered by this service")]
    NotOffered,
    /// The source of randomness failed. Ask to try again.
    #[error("not available at this moment")]
    Unavailable(#[source] BackendError),
}

/// What a request is charged to.
pub(super) struct Asked<'a> {
    pub(super) identifier: &'a Identifier,
    pub(super) client: &'a Client,
    /// The label of the identifier's bucket. Links and codes have one each, so that who uses up the
    /// one leaves the other to the owner.
    pub(super) bucket: &'static str,
    /// Whether a text message was asked for.
    pub(super) text: bool,
    /// What shows that a human asks.
    pub(super) proof: Option<&'a Proof>,
}

impl ResetFlow {
    /// Takes a request for a link.
    ///
    /// Does the same work for every identifier: charges limits, appends one job, answers. The
    /// account is looked up later, by a [`Worker`](crate::flow::Worker). Changes nothing on the
    /// account (R18).
    ///
    /// Charged are, in this order, the source, its network, all requests together, and the
    /// identifier; see [`Limits`](crate::flow::Limits). Who is over one of the first three costs
    /// fewer calls, and is not charged to what comes behind it.
    ///
    /// When a part of the flow fails, nothing is queued and the answer is the same; the audit
    /// trail says what failed (R38).
    ///
    /// # Errors
    ///
    /// - [`RequestError::RateLimited`] when the client's address is over its limit, or its network,
    ///   or everybody together. An *identifier* over its limit is not an error: the answer would
    ///   tell that its owner has just asked.
    /// - [`RequestError::Challenge`] when a proof is needed that a human asks.
    pub async fn request(
        &self,
        identifier: &Identifier,
        client: &Client,
    ) -> Result<Accepted, RequestError> {
        self.request_with_proof(identifier, None, client).await
    }

    /// The same, with the proof that a human asks, if there is one. It is looked at once the source
    /// and its network are within their limits, and before anything else is spent.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    pub async fn request_with_proof(
        &self,
        identifier: &Identifier,
        proof: Option<&Proof>,
        client: &Client,
    ) -> Result<Accepted, RequestError> {
        let asked = Asked {
            identifier,
            client,
            bucket: "request-identifier",
            text: false,
            proof,
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
        let mut event = self.event(EventKind::Challenged);
        event.identifier = Some(self.pseudonym(asked.identifier));
        event.source = asked.client.prefix();
        let answer = match self.try_request(&asked, task, &mut event).await {
            Ok(()) => Ok(()),
            Err(Halt::Limited {
                kind,
                retry_after,
                proof_helps,
            }) => {
                event.kind = kind;
                let proof_helps = proof_helps && asked.proof.is_none();
                Err(match proof_helps && self.takes_proof_for_limits() {
                    true => RequestError::Challenge,
                    false => RequestError::RateLimited { retry_after },
                })
            }
            Err(Halt::Challenge(kind)) => {
                event.kind = kind;
                Err(RequestError::Challenge)
            }
            Err(Halt::Failed(failure)) => {
                event.kind = EventKind::BackendFailed {
                    backend: failure.backend(),
                    step: Step::Request,
                };
                Ok(())
            }
        };
        self.record(event);
        answer
    }

    async fn try_request(
        &self,
        asked: &Asked<'_>,
        task: impl FnOnce(Identifier, bool) -> Task,
        event: &mut Event,
    ) -> Result<(), Halt> {
        self.let_in(asked, event).await?;
        let canonical = asked.identifier.canonical();
        let key = self.limit_key(asked.bucket, canonical.as_bytes());
        let quota = &self.core.settings.limits.identifier;
        let suppressed = self.count(&key, quota).await? != Decision::Allow;

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
        Ok(())
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

    /// Tells a worker of this process that a job was queued.
    pub(super) fn wake(&self, job: &Job) {
        #[cfg(feature = "tokio")]
        self.core.alarm.set(job.due);
        #[cfg(not(feature = "tokio"))]
        let _ = job;
    }
}
