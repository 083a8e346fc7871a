//! Work instead of a captcha: the riddles, and their answers.

use crate::audit::Step;
use crate::error::{Backend, BackendError};
use crate::flow::gate::{Check, Gate};
use crate::flow::{RequestError, ResetFlow};
use crate::human::{Challenge, Flaw, Proof, ProofOfWork, Verdict, When};
use crate::limit::Decision;

impl ResetFlow {
    /// A riddle for one request, where the flow was built with
    /// [`proof_of_work`](crate::flow::Builder::proof_of_work); its answer is the proof. Anybody may
    /// have any number of them: nothing is stored.
    ///
    /// # Errors
    ///
    /// [`RequestError::Unavailable`] when there is no randomness.
    pub fn challenge(&self) -> Result<Option<Challenge>, RequestError> {
        let Some(Gate { check, when }) = &self.core.gate else {
            return Ok(None);
        };
        let (Check::Work(work), When::Always | When::Demanded(_)) = (check, when) else {
            return Ok(None);
        };
        let core = &self.core;
        let (key, tenant, random) = (core.keyring.active(), self.tenant.as_ref(), &core.random);
        let drawn = work.draw(key, tenant, random.as_ref(), self.now());
        drawn.map(Some).map_err(|source| {
            RequestError::Unavailable(self.failed(Backend::Random, Step::Request, source))
        })
    }

    pub(super) fn judge_work(&self, proof: &Proof) -> Result<[u8; 32], Flaw> {
        let (ring, tenant) = (&self.core.keyring, self.tenant.as_ref());
        ProofOfWork::judge(ring, tenant, proof, self.now())
    }

    /// Takes an answer, once.
    pub(super) async fn take_work(&self, answer: &[u8; 32]) -> Result<Verdict, BackendError> {
        let key = self.limit_key("work-seen", answer);
        Ok(match self.count(&key, &ProofOfWork::seen()).await? {
            Decision::Allow => Verdict::Accept,
            Decision::Deny { .. } => Verdict::Refuse(Flaw::Stale),
        })
    }
}
