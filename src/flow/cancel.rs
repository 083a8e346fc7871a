//! "This wasn't me": the owner of an account cancels what somebody else started.
//!
//! The link for it stands in every mail beside a token, and in the notice of a changed password. It
//! can revoke the account's open tokens, pause its requests and raise an alarm, and nothing else:
//! whoever finds it can annoy the owner for a while, never become them.
//!
//! A pause is a set of records in the token store that no token belongs to, one for each day it
//! covers, under selectors computed from the account and the day. So asking whether an account is
//! paused is one look-up, for everyone alike, and needs no table of its own.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use base64ct::{Base64UrlUnpadded, Encoding};
use hmac::Mac;
use secrecy::SecretString;

use crate::account::{Account, Client, UserId};
use crate::audit::{Event, EventKind, Refused, Step};
use crate::clock::Timestamp;
use crate::error::{Backend, BackendError, BoxError};
use crate::flow::ResetFlow;
use crate::flow::verify::Presented;
use crate::store::{Insert, Live, Reach};
use crate::token::state::Revocation;
use crate::token::{
    Beside, CancelClaims, Epoch, Freshness, Key, KeyId, PresentedToken, Purpose, Selector,
    TokenDigest, TokenRecord,
};
use crate::wire::Fields;

/// Apart from links and codes, so that whoever uses up those of a source leaves this to its owner.
const CANCEL: Presented = Presented {
    source: "cancel-source",
    network: None,
};
const HOUR: Duration = Duration::from_secs(3_600);
const HOUR_MICROS: i64 = 3_600_000_000;
const DAY_MICROS: i64 = 24 * HOUR_MICROS;
/// Machines that share a store may differ by seconds; a pause that begins at midnight begins for
/// one that is still in the day before, too.
const SKEW: Duration = Duration::from_secs(60);
/// How often one day's pause can be ended and begun again. A pause ends on a full hour, so without
/// an operator's [`resume`](crate::flow::Operator::resume) a day needs 24.
const ROUNDS: u32 = 64;

/// Why nothing was cancelled, or not everything.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CancelError {
    /// Malformed, unknown, wrong, of another tenant, or the account is gone or has changed since the
    /// mail: one word for all.
    #[error("the link is not valid")]
    Invalid,
    /// The pause is longer than [`Cancelable::LONGEST_PAUSE`]. Nothing was done.
    #[error("a pause lasts 7 days at most")]
    PauseTooLong,
    /// Too many tokens were presented from this source.
    #[error("too many attempts from this source")]
    RateLimited {
        /// When it may try again.
        retry_after: Duration,
    },
    /// A part of the flow failed. While cancelling: the rest was done, and the alarm was raised. Ask
    /// to try again; doing it twice is harmless.
    #[error("not available at this moment")]
    Unavailable(#[source] BackendError),
}

impl CancelError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Invalid | Self::PauseTooLong => false,
            Self::RateLimited { .. } => true,
            Self::Unavailable(error) => error.is_transient(),
        }
    }
}

/// Proof that a cancel token is good: the only way to [`cancel`](Cancelable::cancel).
#[must_use]
pub struct Cancelable {
    flow: ResetFlow,
    record: TokenRecord,
    locale: Option<String>,
    client: Client,
}

impl Cancelable {
    /// The usual pause: 24 hours.
    pub const PAUSE: Duration = Duration::from_secs(24 * 3_600);
    /// The longest pause: 7 days.
    pub const LONGEST_PAUSE: Duration = Duration::from_secs(7 * 24 * 3_600);

    /// Whose account it is.
    pub fn user(&self) -> &UserId {
        &self.record.user
    }

    /// The account's language, as a BCP 47 tag. For a page that only who holds the link sees.
    pub fn locale(&self) -> Option<&str> {
        self.locale.as_deref()
    }

    /// Pauses the account's requests, revokes its open tokens and raises the alarm
    /// ([`EventKind::Disowned`]). May be done again; the longest pause counts.
    ///
    /// The pause lasts for the time given, rounded up to the full hour in UTC; zero is no pause. It
    /// is written first, so that a mail which is being made at this moment finds either the pause or
    /// its token revoked. A change that is under way, its token claimed, is not stopped: the notice
    /// tells its owner.
    ///
    /// A step that fails does not stop the others, and the alarm is raised in any case, also when
    /// this future is dropped.
    ///
    /// # Errors
    ///
    /// - [`CancelError::PauseTooLong`] for more than [`LONGEST_PAUSE`](Self::LONGEST_PAUSE).
    /// - [`CancelError::Unavailable`] when the token store failed in some step.
    pub async fn cancel(self, pause: Duration) -> Result<Cancelled, CancelError> {
        if pause > Self::LONGEST_PAUSE {
            return Err(CancelError::PauseTooLong);
        }
        let (flow, user, now) = (&self.flow, &self.record.user, self.flow.now());
        let mut alarm = self.alarm();
        let paused = match pause {
            Duration::ZERO => Ok(None),
            pause => flow
                .pause(user, now, full_hour(now + pause))
                .await
                .map(Some),
        };
        let revoked = flow
            .core
            .tokens
            .revoke_all(user, Reach::All, flow.now(), Revocation::Disowned)
            .await;
        let revoked = revoked.map_err(|e| flow.failed(Backend::Tokens, Step::Cancel, e));
        if let Ok(revoked) = revoked {
            alarm.event.kind = EventKind::Disowned { revoked };
        }
        drop(alarm);
        let paused_until = paused.map_err(CancelError::Unavailable)?;
        let revoked = revoked.map_err(CancelError::Unavailable)?;
        Ok(Cancelled {
            revoked,
            paused_until,
        })
    }

    fn alarm(&self) -> Alarm<'_> {
        let mut event = self.flow.event(EventKind::Disowned { revoked: 0 });
        event.user = Some(self.record.user.clone());
        event.token = Some(self.record.selector);
        event.source = self.client.prefix();
        Alarm {
            flow: &self.flow,
            event,
        }
    }
}

impl fmt::Debug for Cancelable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancelable")
            .field("user", &self.record.user)
            .field("token", &self.record.selector)
            .finish_non_exhaustive()
    }
}

/// Raised when it goes, whatever happens before.
struct Alarm<'a> {
    flow: &'a ResetFlow,
    event: Event,
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        self.flow.record(self.event.clone());
    }
}

/// The account's resets are cancelled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Cancelled {
    /// How many open tokens were revoked.
    pub revoked: u64,
    /// Until when the account's requests are answered by nothing; `None` when no pause was asked
    /// for.
    pub paused_until: Option<Timestamp>,
}

impl ResetFlow {
    /// Looks at a cancel token, and charges the source's limit for presented tokens. Token and
    /// account are only read, so a mail scanner that opens the link cancels nothing (R41, W36).
    ///
    /// That of a notice is good for as long as the record of the token that made the change is kept:
    /// until a week after its expiry. That of a mail with a link or a code ends earlier when the
    /// account's password or that address changed: whoever keeps an old mail must not keep its
    /// owner out with it.
    ///
    /// ```
    /// # use password_reset::{ResetFlow, account::Client, flow::CancelError};
    /// use password_reset::flow::Cancelable;
    ///
    /// // Behind a button of the page that the link leads to, never behind the link itself.
    /// # async fn button(flow: ResetFlow, token: &str, client: Client) -> Result<(), CancelError> {
    /// let cancelable = flow.look_at_cancel(token, &client).await?;
    /// let cancelled = cancelable.cancel(Cancelable::PAUSE).await?;
    /// assert!(cancelled.paused_until.is_some());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// See [`CancelError`]. Malformed text is [`CancelError::Invalid`] without a call to any
    /// backend.
    pub async fn look_at_cancel(
        &self,
        token: &str,
        client: &Client,
    ) -> Result<Cancelable, CancelError> {
        let Ok(presented) = PresentedToken::parse(token) else {
            return Err(self.refuse_cancel(Refused::Malformed, client, None, None));
        };
        let unavailable =
            |backend, source| CancelError::Unavailable(self.failed(backend, Step::Cancel, source));
        let over = self.over_limit(CANCEL, client).await;
        if let Some(retry_after) = over.map_err(|e| unavailable(Backend::Limiter, e))? {
            return Err(CancelError::RateLimited { retry_after });
        }

        let selector = presented.selector;
        let found = self.core.tokens.find(&selector).await;
        let found = found.map_err(|e| unavailable(Backend::Tokens, e))?;
        let (record, beside) = self
            .prove_cancel(&presented, found)
            .map_err(|why| self.refuse_cancel(why, client, Some(selector), None))?;

        let account = self.core.users.account(&record.user).await;
        let account = account.map_err(|e| unavailable(Backend::Users, e))?;
        let account = account.filter(|account| account.tenant == self.tenant);
        let account = account
            .ok_or(Refused::AccountGone)
            .and_then(|account| self.still_cancels(&record, beside, account));
        match account {
            Ok(account) => Ok(Cancelable {
                flow: self.clone(),
                record,
                locale: account.locale,
                client: *client,
            }),
            Err(why) => {
                let user = Some(&record.user);
                Err(self.refuse_cancel(why, client, Some(selector), user))
            }
        }
    }

    /// Whether the mail that was presented still speaks for the account's owner.
    fn still_cancels(
        &self,
        record: &TokenRecord,
        beside: Beside,
        account: Account,
    ) -> Result<Account, Refused> {
        if beside == Beside::Notice {
            return Ok(account);
        }
        // Whether the token was used says less: a code that was redeemed has changed nothing yet.
        let key = self.core.keyring.get(record.key);
        let key = key.ok_or(Refused::WrongVerifier)?;
        match record.epoch.compare(key, &account) {
            Freshness::Same => Ok(account),
            Freshness::AddressGone => Err(Refused::AddressGone),
            Freshness::CredentialChanged => Err(Refused::CredentialChanged),
        }
    }

    /// Ends an account's pause before its time.
    pub(super) async fn end_pause(&self, user: &UserId) -> Result<(), BoxError> {
        for key in self.core.keyring.all() {
            let owner = self.pause_owner(key, user)?;
            let (now, why) = (self.now(), Revocation::Requested);
            let ended = self.core.tokens.revoke_all(&owner, Reach::All, now, why);
            ended.await?;
        }
        Ok(())
    }

    /// Whether this account's owner asked for silence. The same call for a decoy's id, which is
    /// never paused.
    ///
    /// Ask *after* the record of a token was stored, and revoke that record if the answer is yes:
    /// cancelling writes the pause first and revokes then, so whichever comes later sees the other.
    pub(super) async fn paused(&self, user: &UserId) -> Result<bool, BackendError> {
        let now = self.now();
        for key in self.core.keyring.all() {
            for round in 0..ROUNDS {
                let selector = self.pause_selector(key, user, day(now), round);
                let found = self.core.tokens.find(&selector).await;
                match found.map_err(|e| self.failed(Backend::Tokens, Step::Deliver, e))? {
                    Some(record) if record.is_live(now) => return Ok(true),
                    Some(_) => {}
                    None => break,
                }
            }
        }
        Ok(false)
    }

    /// The link to "this wasn't me" for a mail; `None` where the site has no such page.
    pub(super) fn cancel_link(
        &self,
        beside: Beside,
        key: KeyId,
        selector: Selector,
        user: &UserId,
    ) -> Option<SecretString> {
        let page = self.core.site.cancel_base()?;
        let claims = self.cancel_claims(beside, selector, user);
        let token = claims.token(self.core.keyring.get(key)?).ok()?;
        Some(page.cancel_link(&token))
    }

    pub(super) fn cancel_claims<'a>(
        &'a self,
        beside: Beside,
        selector: Selector,
        user: &'a UserId,
    ) -> CancelClaims<'a> {
        CancelClaims {
            beside,
            selector,
            tenant: self.tenant.as_ref(),
            user,
        }
    }

    /// Compares what was presented with what it should be, or with nothing: the same work either
    /// way (R40).
    fn prove_cancel(
        &self,
        presented: &PresentedToken,
        found: Option<TokenRecord>,
    ) -> Result<(TokenRecord, Beside), Refused> {
        let known = found
            .as_ref()
            .and_then(|record| self.core.keyring.get(record.key));
        let (why, record) = match found {
            Some(record) => (Refused::WrongVerifier, record),
            None => (Refused::Unknown, self.core.dummy.clone()),
        };
        let key = known.unwrap_or_else(|| self.core.keyring.active());
        let is_beside = |beside| {
            let claims = CancelClaims {
                beside,
                selector: presented.selector,
                tenant: record.tenant.as_ref(),
                user: &record.user,
            };
            bool::from(claims.prove(key, &presented.verifier))
        };
        let (token, notice) = (is_beside(Beside::Token), is_beside(Beside::Notice));
        let same = token || notice;
        let cancels = matches!(
            record.purpose,
            Purpose::Reset | Purpose::First | Purpose::Code | Purpose::Redeemed
        );
        if !same || known.is_none() || !cancels {
            return Err(why);
        }
        if record.tenant != self.tenant {
            return Err(Refused::WrongTenant);
        }
        let beside = if notice {
            Beside::Notice
        } else {
            Beside::Token
        };
        Ok((record, beside))
    }

    fn refuse_cancel(
        &self,
        why: Refused,
        client: &Client,
        token: Option<Selector>,
        user: Option<&UserId>,
    ) -> CancelError {
        let _ = self.refuse(why, client, token, user);
        CancelError::Invalid
    }

    /// Writes the pause down for each of its days; answers when it ends. A day that fails does not
    /// stop the others.
    async fn pause(
        &self,
        user: &UserId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Timestamp, BackendError> {
        let mut outcome = Ok(until);
        let last = day(until - Duration::from_micros(1));
        for day in day(now - SKEW)..=last {
            let ends = self.pause_day(user, day, now, until).await;
            let ends = ends.map_err(|e| self.failed(Backend::Tokens, Step::Cancel, e));
            outcome = match (outcome, ends) {
                (Ok(known), Ok(ends)) => Ok(known.max(ends)),
                (Err(error), _) | (_, Err(error)) => Err(error),
            };
        }
        outcome
    }

    /// Finds a record that covers the day as long as asked, or writes one into the first free
    /// round; answers when the longest of them ends.
    async fn pause_day(
        &self,
        user: &UserId,
        day: i64,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Timestamp, BoxError> {
        let key = self.core.keyring.active();
        let needed = until.min(midnight(day + 1));
        let tokens = &self.core.tokens;
        let mut covered = None;
        for round in 0..ROUNDS {
            let selector = self.pause_selector(key, user, day, round);
            let mut found = tokens.find(&selector).await?;
            if found.is_none() {
                if let Some(ends) = covered.filter(|ends| *ends >= needed) {
                    return Ok(ends);
                }
                let record = self.pause_record(key, user, selector, now, until)?;
                match tokens.insert(&record, Live::at_most(NonZeroU32::MAX)).await {
                    Ok(Insert::Done) => return Ok(until),
                    Ok(Insert::Full) => return Err("the store takes no pause".into()),
                    // Perhaps somebody else took the selector at this moment.
                    Err(error) => found = Some(tokens.find(&selector).await?.ok_or(error)?),
                }
            }
            if let Some(record) = found.filter(|record| record.is_live(now)) {
                covered = covered.max(Some(record.expires_at));
            }
        }
        let covered = covered.filter(|ends| *ends >= needed);
        covered.ok_or_else(|| "this day was paused and resumed too often".into())
    }

    fn pause_record(
        &self,
        key: &Key,
        user: &UserId,
        selector: Selector,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<TokenRecord, BoxError> {
        Ok(TokenRecord::new(
            selector,
            Purpose::Pause,
            self.tenant.clone(),
            self.pause_owner(key, user)?,
            Epoch::from_bytes([0; 32]),
            key.id,
            // Of no verifier; and its purpose is refused wherever a token is proven.
            TokenDigest::from_bytes([0; 32]),
            now,
            until,
        ))
    }

    /// A pseudonym, so that a pause takes none of the account's places, revoking the account's
    /// tokens does not end it, and a store names nobody who asked for one.
    fn pause_owner(&self, key: &Key, user: &UserId) -> Result<UserId, BoxError> {
        let id = self.pause_mac(key, "pause-owner", user, &[]);
        Ok(UserId::parse(&Base64UrlUnpadded::encode_string(&id))?)
    }

    fn pause_selector(&self, key: &Key, user: &UserId, day: i64, round: u32) -> Selector {
        let mac = self.pause_mac(key, "pause", user, &[day, i64::from(round)]);
        let mut selector = [0; 16];
        selector.copy_from_slice(mac.split_at(16).0);
        Selector::from_bytes(selector)
    }

    fn pause_mac(&self, key: &Key, label: &str, user: &UserId, numbers: &[i64]) -> [u8; 32] {
        let mut mac = key.limit.clone();
        mac.field(label.as_bytes());
        let tenant = self.tenant.as_ref();
        mac.optional(tenant.map(|tenant| tenant.as_str().as_bytes()));
        mac.field(user.as_str().as_bytes());
        for number in numbers {
            mac.number(*number);
        }
        mac.finalize().into_bytes().into()
    }
}

/// Which day of UTC it is, counted from 1970.
fn day(at: Timestamp) -> i64 {
    at.unix_micros().div_euclid(DAY_MICROS)
}

fn midnight(day: i64) -> Timestamp {
    Timestamp::from_unix_micros(day.saturating_mul(DAY_MICROS))
}

/// The same moment, or the next full hour. Pauses that end on full hours are few, however often
/// they are asked for.
fn full_hour(at: Timestamp) -> Timestamp {
    let over = at.unix_micros().rem_euclid(HOUR_MICROS);
    match u64::try_from(over) {
        Ok(over @ 1..) => at + (HOUR - Duration::from_micros(over)),
        _ => at,
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests;
