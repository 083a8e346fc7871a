//! Somebody asks for a link, or for a code.

use std::time::Duration;

use crate::account::{Client, Identifier};
use crate::audit::{Event, EventKind, Step};
use crate::error::{Backend, BackendError};
use crate::flow::ResetFlow;
use crate::flow::gate::Halt;
use crate::human::Proof;
use crate::limit::Decision;
use crate::queue::{Channel, Job, JobId, Task};
use crate::random;
use crate::token::Selector;

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

/// One request.
pub(super) struct Asked<'a> {
    /// `None`: what was typed cannot be one.
    pub(super) identifier: Option<&'a Identifier>,
    pub(super) means: Means,
    pub(super) client: &'a Client,
    /// What shows that a human asks.
    pub(super) proof: Option<&'a Proof>,
}

/// What is asked for.
#[derive(Clone, Copy)]
pub(super) enum Means {
    Link,
    Code { channel: Channel, handle: Selector },
}

impl Means {
    /// The label of the identifier's bucket. Links and codes have one each, so that who uses up the
    /// one leaves the other to the owner.
    const fn bucket(self) -> &'static str {
        match self {
            Self::Link => "request-identifier",
            Self::Code { .. } => "request-identifier-code",
        }
    }

    pub(super) fn is_text(self) -> bool {
        matches!(self, Self::Code { channel, .. } if channel == Channel::Sms)
    }

    fn task(self, identifier: Identifier, suppressed: bool) -> Task {
        match self {
            Self::Link => Task::Deliver {
                identifier,
                suppressed,
            },
            Self::Code { channel, handle } => Task::Code {
                identifier,
                channel,
                handle,
                suppressed,
            },
        }
    }
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

    /// The same, with the proof that a human asks, if there is one. Work is judged and taken first, so
    /// that work which was done before, or never, takes nothing that others share; work that was taken
    /// is used up, also when a limit then turns the request away. Any other proof is looked at once the
    /// source and its network are within their limits, and before anything else is spent.
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
            identifier: Some(identifier),
            means: Means::Link,
            client,
            proof,
        };
        self.ask(asked).await?;
        Ok(Accepted)
    }

    /// The same where what was typed cannot be an identifier, and so belongs to nobody. Charged and
    /// answered as any other, so that such text is no way around a limit; nothing is queued.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    pub async fn request_unreadable(
        &self,
        proof: Option<&Proof>,
        client: &Client,
    ) -> Result<Accepted, RequestError> {
        let asked = Asked {
            identifier: None,
            means: Means::Link,
            client,
            proof,
        };
        self.ask(asked).await?;
        Ok(Accepted)
    }

    /// Charges the limits and queues one job.
    pub(super) async fn ask(&self, asked: Asked<'_>) -> Result<(), RequestError> {
        let mut event = self.event(EventKind::Challenged);
        event.identifier = asked.identifier.map(|known| self.pseudonym(known));
        event.source = asked.client.prefix();
        let answer = match self.try_request(&asked, &mut event).await {
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

    async fn try_request(&self, asked: &Asked<'_>, event: &mut Event) -> Result<(), Halt> {
        self.let_in(asked, event).await?;
        let Some(identifier) = asked.identifier else {
            event.kind = EventKind::Unreadable;
            return Ok(());
        };
        let canonical = identifier.canonical();
        let key = self.limit_key(asked.means.bucket(), canonical.as_bytes());
        let quota = &self.core.settings.limits.identifier;
        let suppressed = self.count(&key, quota).await? != Decision::Allow;

        let identifier = identifier.clone().within(self.tenant.as_ref());
        let job = self.job(asked.means.task(identifier, suppressed), true)?;
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
