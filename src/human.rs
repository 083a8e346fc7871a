//! Whether a human asks: [`HumanCheck`] (a captcha) or [`ProofOfWork`], [`When`] it is asked for,
//! and the switch [`Demand`].
//!
//! A proof does not replace a limit. It lets in whoever is over the limits that strangers share, up
//! to limits of the same size that only the proven use; what one identifier and one account may get
//! stays as it is. Whether a proof is asked for depends on the switch, the source and the service as
//! a whole, never on what was typed.
//!
//! ```
//! use password_reset::account::Client;
//! use password_reset::error::BoxError;
//! use password_reset::flow::Builder;
//! use password_reset::human::{Demand, Flaw, HumanCheck, Proof, Verdict, When};
//!
//! /// A riddle for a service with one user.
//! struct Riddle;
//!
//! #[password_reset::async_trait]
//! impl HumanCheck for Riddle {
//!     async fn check(&self, proof: &Proof, _: &Client) -> Result<Verdict, BoxError> {
//!         Ok(match proof.expose() {
//!             "a-map" => Verdict::Accept,
//!             _ => Verdict::Refuse(Flaw::Wrong),
//!         })
//!     }
//! }
//!
//! /// `demand` stays with whoever watches: `demand.until(at)` turns the check on.
//! fn guarded(flow: Builder, demand: &Demand) -> Builder {
//!     flow.human(Riddle, When::Demanded(demand.clone()))
//! }
//! ```

#[cfg(feature = "proof-of-work")]
mod work;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;

use crate::account::Client;
use crate::clock::Timestamp;
use crate::error::{BoxError, words};

#[cfg(feature = "proof-of-work")]
pub use work::{Challenge, ProofOfWork};

/// The longest proof, in bytes. Those of the large services have up to about two thousand.
pub const MAX_PROOF_BYTES: usize = 8 * 1024;

/// What a browser or an app brings along to show that a human asks. `Debug` does not print it:
/// until it is checked, whoever reads it can use it.
///
/// ```
/// use password_reset::human::Proof;
///
/// assert!(Proof::parse("eyJhbGdvcml0aG0iOiJTSEEtMjU2In0=").is_ok());
/// for bad in ["", "two words", "a\r\nb", &"a".repeat(8_193)] {
///     assert!(Proof::parse(bad).is_err());
/// }
/// ```
pub struct Proof(Box<str>);

/// Not a proof: empty, over 8 KiB, or not all printable ASCII.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not 1 to {MAX_PROOF_BYTES} printable ASCII characters")]
pub struct InvalidProof;

impl Proof {
    /// Takes the text of one field. The length is looked at first.
    ///
    /// # Errors
    ///
    /// [`InvalidProof`] when it is empty, over 8 KiB, or not all printable ASCII.
    pub fn parse(text: &str) -> Result<Self, InvalidProof> {
        let fits = (1..=MAX_PROOF_BYTES).contains(&text.len());
        if !fits || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidProof);
        }
        Ok(Self(text.into()))
    }

    /// The text.
    ///
    /// # Security
    ///
    /// For the check; not for a log.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Proof").field(&"[REDACTED]").finish()
    }
}

/// What a check makes of a proof.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum Verdict {
    /// Take the request.
    Accept,
    /// Do not; ask for another proof.
    Refuse(Flaw),
}

words! {
    /// What is wrong with a proof; for the audit trail.
    Flaw {
        /// Malformed, forged or not solved.
        Wrong = "wrong",
        /// Too old, or used before.
        Stale = "stale",
        /// Made for another site, page or action.
        Elsewhere = "elsewhere",
        /// The service behind the check takes it for a program's.
        LowScore = "low_score",
    }
}

/// Tells humans from programs: a captcha, a score, a piece of work.
///
/// [`Builder::proof_of_work`](crate::flow::Builder::proof_of_work) needs none of these;
/// `password-reset-http` has them for Turnstile, hCaptcha and reCAPTCHA.
///
/// # Contract
///
/// - MUST accept a proof once only, whichever process it is brought to. Otherwise one human opens
///   the door for a whole flood.
/// - MUST accept only what was made for this site and this form. Otherwise a page elsewhere has its
///   visitors make proofs.
/// - MUST come to an end by itself, and soon: somebody waits for it.
/// - An error refuses the request without a word, and the audit trail names the backend `human`
///   (R38). An outage of the service behind the check is an error, a bad proof is not.
/// - MUST NOT keep, log or put into an error what the proof says.
#[async_trait]
pub trait HumanCheck: Send + Sync + 'static {
    /// Judges one proof.
    async fn check(&self, proof: &Proof, client: &Client) -> Result<Verdict, BoxError>;
}

macro_rules! forward {
    ($($pointer:ident),+) => { $(
        #[async_trait]
        impl<T: HumanCheck + ?Sized> HumanCheck for $pointer<T> {
            async fn check(&self, proof: &Proof, client: &Client) -> Result<Verdict, BoxError> {
                (**self).check(proof, client).await
            }
        }
    )+ };
}
forward!(Arc, Box);

/// When a proof is asked for.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum When {
    /// Never; a proof that comes all the same is not looked at.
    #[default]
    Never,
    /// Of every request.
    Always,
    /// While the switch is on; and of whoever is over a limit of the source, of its network, or of
    /// all requests together, instead of being told to wait.
    Demanded(Demand),
}

/// A switch that a monitor turns on: until a given moment every request needs a proof.
///
/// Clones are one switch. It is kept in memory, so every process has its own.
///
/// ```
/// use std::time::Duration;
/// use password_reset::Timestamp;
/// use password_reset::human::Demand;
///
/// let demand = Demand::default();
/// let now = Timestamp::from_unix_micros(0);
/// assert!(!demand.is_on(now));
///
/// demand.until(now + Duration::from_secs(600));
/// demand.until(now + Duration::from_secs(60)); // the later moment stands
/// assert!(demand.is_on(now + Duration::from_secs(599)));
/// assert!(!demand.is_on(now + Duration::from_secs(600)));
///
/// demand.off();
/// assert!(!demand.is_on(now));
/// ```
#[derive(Clone)]
pub struct Demand(Arc<AtomicI64>);

const OFF: i64 = i64::MIN;

impl Demand {
    /// Turns it on until this moment, or leaves it on if it is on for longer.
    pub fn until(&self, at: Timestamp) {
        self.0.fetch_max(at.unix_micros(), Ordering::Relaxed);
    }

    /// Turns it off.
    pub fn off(&self) {
        self.0.store(OFF, Ordering::Relaxed);
    }

    /// Whether it is on.
    pub fn is_on(&self, now: Timestamp) -> bool {
        now.unix_micros() < self.0.load(Ordering::Relaxed)
    }

    /// Until when it was turned on, if ever; that may be over.
    pub fn ends(&self) -> Option<Timestamp> {
        let micros = self.0.load(Ordering::Relaxed);
        (micros != OFF).then(|| Timestamp::from_unix_micros(micros))
    }
}

impl Default for Demand {
    /// Off.
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(OFF)))
    }
}

impl fmt::Debug for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Demand")
            .field("ends", &self.ends())
            .finish()
    }
}
