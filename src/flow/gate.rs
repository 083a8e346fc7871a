//! Who may ask: the limits that strangers share, and the proof that a human asks.
//!
//! From narrow to wide, so that whoever is over a limit of their own takes nothing of what they
//! share with others; and the identifier last, in `request`, so that nobody who is turned away here
//! uses up what its owner may ask for. A request that a wider limit turns away has been charged to
//! its own source and its own network only.

#[cfg(feature = "proof-of-work")]
mod work;

use std::net::IpAddr;
use std::time::Duration;

use crate::account::Client;
use crate::audit::{Event, EventKind};
use crate::error::{Backend, BackendError};
use crate::flow::ResetFlow;
use crate::flow::request::Asked;
#[cfg(feature = "proof-of-work")]
use crate::human::ProofOfWork;
use crate::human::{Demand, Flaw, HumanCheck, Proof, Verdict, When};
use crate::limit::{Decision, LimitKey, Quota};

/// A check, and when it is asked for.
pub(super) struct Gate {
    pub(super) check: Check,
    pub(super) when: When,
}

/// Who tells humans from programs.
pub(super) enum Check {
    Foreign(Box<dyn HumanCheck>),
    #[cfg(feature = "proof-of-work")]
    Work(ProofOfWork),
}

impl Gate {
    pub(super) fn is_bounded(&self) -> bool {
        match &self.check {
            Check::Foreign(_) => true,
            #[cfg(feature = "proof-of-work")]
            Check::Work(work) => work.is_bounded(),
        }
    }
}

/// Why a request goes no further.
pub(super) enum Halt {
    /// Over a limit. A proof helps, unless the limit is there for another reason.
    Limited {
        kind: EventKind,
        retry_after: Duration,
        proof_helps: bool,
    },
    /// A proof is missing, or no good.
    Challenge(EventKind),
    Failed(BackendError),
}

impl From<BackendError> for Halt {
    fn from(error: BackendError) -> Self {
        Self::Failed(error)
    }
}

/// A proof, as far as it can be judged without asking anybody.
enum Judged<'a> {
    /// Its service has to be asked.
    Foreign(&'a dyn HumanCheck, &'a Proof),
    /// Right and in time; by this name it is taken once.
    #[cfg(feature = "proof-of-work")]
    Work([u8; 32]),
}

/// Names of buckets. Who brings a proof has others, of the same size: a flood without proofs leaves
/// them alone. What pretends to come from a captcha's service takes of its own source and network.
struct Lane {
    source: &'static str,
    network: &'static str,
    global: &'static str,
    reserve: &'static str,
    reserve_network: &'static str,
}

const PLAIN: Lane = Lane {
    source: "request-source",
    network: "request-network",
    global: "request-global",
    reserve: "request-reserve",
    reserve_network: "request-reserve-network",
};
const PROVEN: Lane = Lane {
    source: "proven-source",
    network: "proven-network",
    global: "proven-global",
    reserve: "proven-reserve",
    reserve_network: "proven-reserve-network",
};
/// The label of a source's text messages, with or without a proof: they cost money either way.
const TEXTS: &str = "text-source";
/// How often one network may draw on the reserve.
const HOUR: Duration = Duration::from_secs(3_600);

fn accepted(verdict: Verdict) -> Result<(), Halt> {
    match verdict {
        Verdict::Accept => Ok(()),
        Verdict::Refuse(flaw) => Err(Halt::Challenge(EventKind::ProofRefused(flaw))),
    }
}

impl ResetFlow {
    /// Whether a request without a proof will not be taken at this moment: what a page has to know
    /// before it asks. The same for everyone.
    ///
    /// `false` is no promise: a limit may ask for a proof all the same, see
    /// [`When::Demanded`].
    pub fn asks_for_proof(&self) -> bool {
        match self.core.gate.as_ref().map(|gate| &gate.when) {
            None | Some(When::Never) => false,
            Some(When::Always) => true,
            Some(When::Demanded(demand)) => demand.is_on(self.now()),
        }
    }

    /// What turns the demand for a proof on, if it can be turned on.
    pub(super) fn switch(&self) -> Option<&Demand> {
        match self.core.gate.as_ref().map(|gate| &gate.when) {
            Some(When::Demanded(demand)) => Some(demand),
            _ => None,
        }
    }

    /// Whether a proof helps whoever is over a limit.
    pub(super) fn takes_proof_for_limits(&self) -> bool {
        matches!(
            self.core.gate.as_ref().map(|gate| &gate.when),
            Some(When::Demanded(_))
        )
    }

    /// Lets a request in, or says why not. Nothing in here knows what was typed.
    pub(super) async fn let_in(&self, asked: &Asked<'_>, event: &Event) -> Result<(), Halt> {
        if asked.proof.is_none() && self.asks_for_proof() {
            return Err(Halt::Challenge(EventKind::Challenged));
        }
        let gate = self.core.gate.as_ref();
        let gate = gate.filter(|gate| !matches!(gate.when, When::Never));
        let proven = gate.zip(asked.proof);
        let judged = proven.map(|(gate, proof)| self.judge(gate, proof));
        // Like no proof at all, what pretends to be work costs no call, and takes nothing of those who
        // did theirs.
        let judged = judged.transpose();
        let judged = judged.map_err(|flaw| Halt::Challenge(EventKind::ProofRefused(flaw)))?;
        let lane = if judged.is_some() { &PROVEN } else { &PLAIN };
        // Before anything is charged that others share: one answer, brought again and again, takes
        // nothing of those who did their own work.
        #[cfg(feature = "proof-of-work")]
        if let Some(Judged::Work(answer)) = &judged {
            accepted(self.take_work(answer).await?)?;
        }
        self.charge_source(lane, asked).await?;
        if let Some(Judged::Foreign(check, proof)) = judged {
            let verdict = check.check(proof, asked.client).await;
            accepted(verdict.map_err(|source| BackendError::new(Backend::Human, source))?)?;
        }
        self.charge_all(lane, asked.client, event).await
    }

    fn judge<'a>(&self, gate: &'a Gate, proof: &'a Proof) -> Result<Judged<'a>, Flaw> {
        match &gate.check {
            Check::Foreign(check) => Ok(Judged::Foreign(check.as_ref(), proof)),
            #[cfg(feature = "proof-of-work")]
            Check::Work(_) => self.judge_work(proof).map(Judged::Work),
        }
    }

    /// What belongs to the client alone. Asked before a proof is looked at that somebody else's service
    /// has to judge.
    async fn charge_source(&self, lane: &Lane, asked: &Asked<'_>) -> Result<(), Halt> {
        let limits = &self.core.settings.limits;
        let key = self.source_key(lane.source, asked.client);
        self.charge_request(&key, &limits.source, EventKind::RateLimited)
            .await?;
        if let Some(network) = asked.client.network() {
            let key = self.of(None).address_key(lane.network, Some(network));
            let quota = limits.of_network(limits.source);
            self.charge_request(&key, &quota, EventKind::NetworkLimited)
                .await?;
        }
        if asked.means.is_text() {
            // Telephones know no tenants.
            let key = self.of(None).source_key(TEXTS, asked.client);
            let quota = &self.core.settings.text_limits.source;
            if let Decision::Deny { retry_after } = self.count(&key, quota).await? {
                return Err(Halt::Limited {
                    kind: EventKind::RateLimited,
                    retry_after,
                    proof_helps: false,
                });
            }
        }
        Ok(())
    }

    /// What everybody shares, and the reserve behind it: one use an hour for each network.
    async fn charge_all(&self, lane: &Lane, client: &Client, event: &Event) -> Result<(), Halt> {
        let limits = &self.core.settings.limits;
        let flow = self.of(None);
        let key = flow.limit_key(lane.global, &[]);
        let Decision::Deny { retry_after } = self.count(&key, &limits.global).await? else {
            return Ok(());
        };
        let limited = Halt::Limited {
            kind: EventKind::GlobalLimited,
            retry_after,
            proof_helps: true,
        };
        // Clients of whom nothing is known cannot be told from each other.
        let Some(network) = client.network() else {
            return Err(limited);
        };
        let key = flow.address_key(lane.reserve_network, Some(network));
        if self.count(&key, &Quota::new(1, HOUR)).await? != Decision::Allow {
            return Err(limited);
        }
        let key = flow.limit_key(lane.reserve, &[]);
        if self.count(&key, &limits.reserve).await? != Decision::Allow {
            return Err(limited);
        }
        let mut event = event.clone();
        event.kind = EventKind::GlobalLimited;
        self.record(event);
        Ok(())
    }

    async fn charge_request(
        &self,
        key: &LimitKey,
        quota: &Quota,
        kind: EventKind,
    ) -> Result<(), Halt> {
        match self.count(key, quota).await? {
            Decision::Allow => Ok(()),
            Decision::Deny { retry_after } => Err(Halt::Limited {
                kind,
                retry_after,
                proof_helps: true,
            }),
        }
    }

    pub(super) async fn count(
        &self,
        key: &LimitKey,
        quota: &Quota,
    ) -> Result<Decision, BackendError> {
        let decision = self.core.limiter.check(key, quota, self.now()).await;
        decision.map_err(|source| BackendError::new(Backend::Limiter, source))
    }

    /// Over all tenants, like a network's: otherwise one source in five tenants would use up what five
    /// sources of its network have. Clients without an address share one bucket in each tenant.
    pub(super) fn source_key(&self, label: &str, client: &Client) -> LimitKey {
        match client.prefix() {
            Some(address) => self.of(None).address_key(label, Some(address)),
            None => self.address_key(label, None),
        }
    }

    pub(super) fn address_key(&self, label: &str, address: Option<IpAddr>) -> LimitKey {
        match address {
            Some(IpAddr::V4(v4)) => self.limit_key(label, &v4.octets()),
            Some(IpAddr::V6(v6)) => self.limit_key(label, &v6.octets()),
            None => self.limit_key(label, &[]),
        }
    }
}
