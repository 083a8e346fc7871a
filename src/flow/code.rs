//! Codes, for whoever types rather than clicks: `request_code`, and the numbers that bound them.
//!
//! The handle that the asker gets is drawn before anything is looked up, and leads to a record for
//! every identifier alike: for a real account, or for a decoy. So trying, counting and expiring
//! look the same for both (R27). A right code is exchanged for a token that sets the password, and
//! from there on everything is as with a link.

mod deliver;
mod redeem;

use std::time::Duration;

use crate::account::{Client, Identifier};
use crate::audit::Step;
use crate::error::Backend;
use crate::flow::ResetFlow;
use crate::flow::request::{Asked, Means, RequestError};
use crate::human::Proof;
use crate::limit::Quota;
use crate::queue::Channel;
use crate::token::{CODE_DIGITS, CodeHandle};

pub(super) use deliver::CodeJob;
pub use redeem::{CodeError, Redeemed};

/// How codes are made and how often they may be tried. The defaults are those of the crate's front
/// page.
///
/// ```
/// use password_reset::flow::Codes;
///
/// let mut codes = Codes::default();
/// codes.digits = 6;
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Codes {
    /// How many digits: 8; from 6 to 12.
    pub digits: u32,
    /// How long a code works from the moment it is made: 10 minutes, and never longer (R16).
    pub life: Duration,
    /// How often one code may be tried: 5; from 1 to 10.
    pub tries: u32,
    /// How many codes may be tried for one account, right ones included, until its password is
    /// changed: 20; from 1 to 100 (R32). A new code does not reset the count (R33). Then no code
    /// works for this account, and none is sent; links work as before (R35). The count
    /// begins with the first code and is forgotten about 37 days later, however late its last try
    /// was; it starts afresh when the active key is replaced.
    pub tries_per_account: u32,
}

impl Default for Codes {
    fn default() -> Self {
        Self {
            digits: 8,
            life: LONGEST_LIFE,
            tries: 5,
            tries_per_account: 20,
        }
    }
}

const LONGEST_LIFE: Duration = Duration::from_secs(600);

impl Codes {
    pub(super) fn are_bounded(&self) -> bool {
        CODE_DIGITS.contains(&self.digits)
            && (Duration::from_secs(60)..=LONGEST_LIFE).contains(&self.life)
            && (1..=10).contains(&self.tries)
            && (1..=100).contains(&self.tries_per_account)
    }
}

/// How often codes may go out by text message, which cost money (W58). Over all tenants, and counted
/// at every try. Beside these, every limit of [`Limits`](crate::flow::Limits) holds too.
///
/// All clients of whom no address is known are one source.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct TextLimits {
    /// To one number: 3 an hour, 5 a day.
    pub number: Quota,
    /// To all numbers of one country: 100 an hour.
    pub country: Quota,
    /// Asked for by one IPv4 address or IPv6 /64, for whomever: 5 an hour.
    pub source: Quota,
}

impl Default for TextLimits {
    fn default() -> Self {
        const HOUR: Duration = Duration::from_secs(3_600);
        Self {
            number: Quota::new(3, HOUR).and(5, 24 * HOUR),
            country: Quota::new(100, HOUR),
            source: Quota::new(5, HOUR),
        }
    }
}

/// The request for a code was taken. Says nothing about whether there is such an account.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct CodeAccepted {
    /// What leads back to the code's record; hand it to
    /// [`redeem_code`](ResetFlow::redeem_code) with the code.
    pub handle: CodeHandle,
}

impl ResetFlow {
    /// The numbers of codes, if this flow has them.
    pub fn codes(&self) -> Option<&Codes> {
        self.core.settings.codes.as_ref()
    }

    /// Whether codes may travel by text message.
    pub fn has_sms(&self) -> bool {
        self.core.sms.is_some()
    }

    /// Takes a request for a code, to be typed on the device that asks for it.
    ///
    /// As blind as [`request`](Self::request): the same work and the same answer, handle included,
    /// for every identifier.
    ///
    /// # Errors
    ///
    /// - [`RequestError::RateLimited`] and [`RequestError::Challenge`], as for
    ///   [`request`](Self::request).
    /// - [`RequestError::NotOffered`] when the flow has no codes, or no text messages.
    /// - [`RequestError::Unavailable`] when there is no randomness for a handle.
    pub async fn request_code(
        &self,
        identifier: &Identifier,
        channel: Channel,
        client: &Client,
    ) -> Result<CodeAccepted, RequestError> {
        self.request_code_with_proof(identifier, channel, None, client)
            .await
    }

    /// The same, with the proof that a human asks, if there is one.
    ///
    /// # Errors
    ///
    /// As [`request_code`](Self::request_code).
    pub async fn request_code_with_proof(
        &self,
        identifier: &Identifier,
        channel: Channel,
        proof: Option<&Proof>,
        client: &Client,
    ) -> Result<CodeAccepted, RequestError> {
        self.ask_code(Some(identifier), channel, proof, client)
            .await
    }

    /// The same where what was typed cannot be an identifier, and so belongs to nobody. Charged and
    /// answered as any other; the handle leads nowhere.
    ///
    /// # Errors
    ///
    /// As [`request_code`](Self::request_code).
    pub async fn request_code_unreadable(
        &self,
        channel: Channel,
        proof: Option<&Proof>,
        client: &Client,
    ) -> Result<CodeAccepted, RequestError> {
        self.ask_code(None, channel, proof, client).await
    }

    async fn ask_code(
        &self,
        identifier: Option<&Identifier>,
        channel: Channel,
        proof: Option<&Proof>,
        client: &Client,
    ) -> Result<CodeAccepted, RequestError> {
        let offered = match channel {
            Channel::Mail => self.codes().is_some(),
            Channel::Sms => self.codes().is_some() && self.has_sms(),
        };
        if !offered {
            return Err(RequestError::NotOffered);
        }
        let core = &self.core;
        let drawn = CodeHandle::draw(core.keyring.active(), core.random.as_ref());
        let drawn = drawn.map_err(|e| self.failed(Backend::Random, Step::Request, e));
        let drawn = drawn.map_err(RequestError::Unavailable)?;
        let asked = Asked {
            identifier,
            means: Means::Code {
                channel,
                handle: drawn.selector(),
            },
            client,
            proof,
        };
        self.ask(asked).await?;
        Ok(CodeAccepted { handle: drawn })
    }
}

#[cfg(test)]
mod tests;
