//! What a reset needs beside the token: a second factor where the account has one, and the
//! application's own word.
//!
//! A reset proves control of a mailbox or of a telephone number, nothing more (R15). So an account
//! with a second factor keeps it: between the proof of the token and the change the factor is asked
//! for (ASVS 5.0, 6.4.3; NIST SP 800-63B-4, 4.2), and nothing that a request carries switches that
//! off (W64). This module never enrols, changes or removes a factor (R68): there is no method for
//! it. Losing a factor is a process of its own, as strict as enrolling one.
//!
//! 1. The account says which kinds of factors it has:
//!    [`Account::second_factors`](crate::account::Account::second_factors).
//! 2. [`Verified::prove_factor`](crate::Verified::prove_factor) hands what the person typed to the
//!    application's [`SecondFactorCheck`], not too often, and answers a [`StepUpProof`]. An
//!    application with a ceremony of its own, such as a passkey's, calls
//!    [`begin_step_up`](crate::Verified::begin_step_up) instead.
//! 3. [`Verified::with_proof`](crate::Verified::with_proof) brings the proof along to the change.
//!
//! # What a proof is good for
//!
//! A proof is a keyed digest over the token's selector, tenant, account, credential, the kind of
//! factor and its end, ten minutes away at most. It is kept by whoever proved the factor, in a cookie
//! of its own or the memory of an app, and in no store: every process with the same
//! [`Keyring`](crate::token::Keyring) can check it.
//!
//! - **This reset only.** For another token, even of the same account, it is nothing.
//! - **Once.** A token sets one password, so its proof is good for one change: it is spent with the
//!   token, by the same atomic claim. While the token is unspent the proof may be shown again, as
//!   after a password that was refused.
//! - **This person only.** Somebody else who reads the same mail holds the same token, and not the
//!   proof.
//! - **Another way than the token's.** A code by text message does not count behind a code by text
//!   message, nor a mail behind a mail (NIST SP 800-63B-4, 4.2.2.2: two different methods). The core
//!   sees to it, whatever the application answers: how a token travelled is part of what its digest
//!   covers.
//!
//! # Example
//!
//! ```
//! use password_reset::Verified;
//! use password_reset::account::Account;
//! use password_reset::error::BoxError;
//! use password_reset::recovery::{
//!     FactorResponse, RecoveryAttempt, SecondFactor, SecondFactorCheck, StepUpProof,
//! };
//!
//! struct Totp;
//!
//! #[password_reset::async_trait]
//! impl SecondFactorCheck for Totp {
//!     async fn check(
//!         &self,
//!         attempt: &RecoveryAttempt<'_>,
//!         response: &FactorResponse,
//!     ) -> Result<Option<SecondFactor>, BoxError> {
//!         // One statement that compares and marks as used; see the contract.
//!         let right = accept(attempt.account, response.expose()).await?;
//!         Ok(right.then_some(SecondFactor::Device))
//!     }
//! }
//!
//! async fn accept(account: &Account, code: &str) -> Result<bool, BoxError> {
//! #   let rows = u64::from(account.has_second_factor() && code.is_empty());
//!     // let rows = UPDATE users SET totp_step = ?1 WHERE id = ?2 AND totp_step < ?1
//!     Ok(rows > 0)
//! }
//!
//! /// POST /reset-password/factor: the proof goes into a cookie.
//! async fn prove(verified: Verified, typed: &str) -> Result<StepUpProof, BoxError> {
//!     Ok(verified.prove_factor(&FactorResponse::parse(typed)?).await?)
//! }
//!
//! /// POST /reset-password.
//! async fn choose(verified: Verified, cookie: &str, new: &str) -> Result<(), BoxError> {
//!     let verified = verified.with_proof(cookie);
//!     let password = verified.parse_password(new)?;
//!     verified.complete(password).await?;
//!     Ok(())
//! }
//! ```

mod proof;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};

use crate::account::{Account, Client, InvalidText};
use crate::error::BoxError;
use crate::queue::Channel;
use crate::token::{Purpose, Selector};

pub use proof::StepUpProof;
pub(crate) use proof::{ProofClaims, proven};

/// The longest [`FactorResponse`], in bytes.
const MAX_RESPONSE_BYTES: usize = 1_024;

/// A kind of second factor, by the way on which it reaches its owner.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum SecondFactor {
    /// What its owner holds and no message carries: an authenticator app (TOTP), a security key, a
    /// passkey, printed codes.
    Device,
    /// A code or link that is mailed. Not an authenticator by NIST SP 800-63B-4, 3.1.3.1, but there
    /// are applications that have it.
    Mail,
    /// A code by text message or call.
    Phone,
}

impl SecondFactor {
    /// Every kind.
    pub const ALL: &[Self] = &[Self::Device, Self::Mail, Self::Phone];

    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Mail => "mail",
            Self::Phone => "phone",
        }
    }

    /// Reads a stable name.
    pub fn parse(name: &str) -> Option<Self> {
        let all = Self::ALL.iter().copied();
        all.into_iter().find(|factor| factor.as_str() == name)
    }

    /// The channel that carries it, if one does.
    pub const fn channel(self) -> Option<Channel> {
        match self {
            Self::Device => None,
            Self::Mail => Some(Channel::Mail),
            Self::Phone => Some(Channel::Sms),
        }
    }

    /// Whether it is another way to its owner than this channel.
    ///
    /// By kind, not by number or mailbox: whoever has taken over one number of a person often has
    /// the others.
    pub fn is_independent_of(self, channel: Channel) -> bool {
        self.channel() != Some(channel)
    }
}

/// How a token came to its owner.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Means {
    /// A link that was mailed, or one that an operator handed over.
    Link,
    /// A code that was mailed.
    MailedCode,
    /// A code by text message.
    TextedCode,
}

impl Means {
    /// The channel.
    pub const fn channel(self) -> Channel {
        match self {
            Self::Link | Self::MailedCode => Channel::Mail,
            Self::TextedCode => Channel::Sms,
        }
    }

    pub(crate) fn of(purpose: Purpose, went_to_phone: bool) -> Self {
        match (purpose, went_to_phone) {
            (_, true) => Self::TextedCode,
            (Purpose::Redeemed, false) => Self::MailedCode,
            (_, false) => Self::Link,
        }
    }
}

/// One attempt to set a password.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RecoveryAttempt<'a> {
    /// The account.
    pub account: &'a Account,
    /// The token.
    pub token: Selector,
    /// How the token came to its owner.
    pub means: Means,
    /// The second factor that was proven for this very token and still counts. `None` while it is
    /// being checked.
    pub proven: Option<SecondFactor>,
    /// Where the attempt comes from.
    pub client: Client,
}

/// What the application decides.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum Recovery {
    /// Nothing more is needed. An account with a second factor needs that all the same.
    Allow,
    /// This account's password may not be set this way.
    Deny,
    /// A second factor has to be proven first; the token stays usable. An account that has none is
    /// refused.
    StepUp,
}

/// Decides whether a proven token may set a password. Asked after the token, and the factor if there
/// is one, is proven, and before the password is hashed.
///
/// It can ask for more than the flow does, never for less: an account with a second factor is refused
/// without a proof of it, whatever is answered here.
///
/// # Contract
///
/// - MUST NOT take the caller's word for anything: what a browser sends is not a proof (W64).
/// - An error refuses the change and leaves the token usable.
#[async_trait]
pub trait RecoveryPolicy: Send + Sync + 'static {
    /// Decides about one attempt.
    async fn decide(&self, attempt: &RecoveryAttempt<'_>) -> Result<Recovery, BoxError>;
}

/// Checks what a person answered when asked for the second factor: the one thing about factors that
/// the application does for the flow.
///
/// The flow counts tries before it asks (five for one token, and
/// [`Limits::step_ups`](crate::flow::Limits::step_ups) for one account), writes the audit trail,
/// refuses a factor that travels as the token did, and binds the proof to the token.
///
/// # Contract
///
/// - MUST check against what is enrolled for `attempt.account`, and MUST answer only a kind that is
///   in its [`second_factors`](Account::second_factors).
/// - MUST accept each one-time password once, at login and here together (RFC 6238, 5.2): compare and
///   mark as used in one atomic statement, such as
///   `UPDATE users SET totp_step = ?1 WHERE id = ?2 AND totp_step < ?1`. Otherwise whoever looks
///   over a shoulder uses it again.
/// - MUST NOT enrol, change or remove a factor (R68). A printed code that is used up is the one
///   exception.
/// - MUST compare in constant time where it compares secrets.
/// - An error is no proof. The try was counted.
#[async_trait]
pub trait SecondFactorCheck: Send + Sync + 'static {
    /// Which factor the response proves; `None` where it proves none.
    async fn check(
        &self,
        attempt: &RecoveryAttempt<'_>,
        response: &FactorResponse,
    ) -> Result<Option<SecondFactor>, BoxError>;
}

macro_rules! forward {
    ($($pointer:ident),+) => { $(
        #[async_trait]
        impl<T: RecoveryPolicy + ?Sized> RecoveryPolicy for $pointer<T> {
            async fn decide(&self, attempt: &RecoveryAttempt<'_>) -> Result<Recovery, BoxError> {
                (**self).decide(attempt).await
            }
        }

        #[async_trait]
        impl<T: SecondFactorCheck + ?Sized> SecondFactorCheck for $pointer<T> {
            async fn check(
                &self,
                attempt: &RecoveryAttempt<'_>,
                response: &FactorResponse,
            ) -> Result<Option<SecondFactor>, BoxError> {
                (**self).check(attempt, response).await
            }
        }
    )+ };
}
forward!(Arc, Box);

/// What a person typed when asked for the second factor. `Debug` is redacted.
///
/// ```
/// use password_reset::recovery::FactorResponse;
///
/// assert_eq!(FactorResponse::parse(" 123 456 ")?.digits().as_deref(), Some("123456"));
/// assert_eq!(FactorResponse::parse("horse-battery")?.digits(), None);
/// assert!(FactorResponse::parse(" ").is_err());
/// assert!(FactorResponse::parse(&"1".repeat(1_025)).is_err());
/// # Ok::<(), password_reset::account::InvalidText>(())
/// ```
pub struct FactorResponse(SecretString);

impl FactorResponse {
    /// Takes the text of one form field, white space at the ends removed.
    ///
    /// # Errors
    ///
    /// [`InvalidText`] when it is empty, over 1,024 bytes, or holds a control character.
    pub fn parse(text: &str) -> Result<Self, InvalidText> {
        let text = crate::account::bounded(text, MAX_RESPONSE_BYTES)?;
        Ok(Self(SecretString::from(text)))
    }

    /// The text.
    ///
    /// # Security
    ///
    /// Do not log it: as long as it is not marked as used it is good.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// A code of 6 to 12 digits, without the spaces and hyphens that people put between them; `None`
    /// where it is anything else.
    pub fn digits(&self) -> Option<String> {
        let code = crate::token::PresentedCode::parse(self.expose()).ok()?;
        std::str::from_utf8(code.expose()).ok().map(str::to_owned)
    }
}

impl fmt::Debug for FactorResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FactorResponse([REDACTED])")
    }
}

/// The default policy: the flow's own rule is enough.
pub(crate) struct AllowAll;

#[async_trait]
impl RecoveryPolicy for AllowAll {
    async fn decide(&self, _: &RecoveryAttempt<'_>) -> Result<Recovery, BoxError> {
        Ok(Recovery::Allow)
    }
}
