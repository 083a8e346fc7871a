//! The link is opened.

use std::fmt;
use std::time::Duration;

use secrecy::SecretString;

use crate::account::{Account, Address, Client, Credential, Seen, Status, UserId};
use crate::audit::{EventKind, Refused, Step};
use crate::clock::Timestamp;
use crate::error::{Backend, BackendError, BoxError};
use crate::flow::ResetFlow;
use crate::limit::{Decision, LimitKey, Quota};
use crate::password::{Context, NewPassword, PasswordRejected};
use crate::token::{Freshness, PresentedToken, Purpose, Selector, TokenRecord};

/// Why a token was refused, in the words that its presenter may hear.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// Malformed, unknown, wrong, spent, revoked, of another tenant, or its account has changed:
    /// one word for all (R29). Offer to ask for a new link.
    #[error("the link is not valid")]
    Invalid,
    /// The link was right, but its time is over. Said only to who holds the true token.
    #[error("the link has expired")]
    Expired,
    /// The link is right, and another request is using it at this moment.
    #[error("the link is being used at this moment")]
    InProgress,
    /// Too many tokens were presented from this source.
    #[error("too many attempts from this source")]
    RateLimited {
        /// When it may try again.
        retry_after: Duration,
    },
    /// A part of the flow failed; the token is untouched. Ask to try again.
    #[error("not available at this moment")]
    Unavailable(#[source] BackendError),
}

impl VerifyError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Invalid | Self::Expired => false,
            Self::InProgress | Self::RateLimited { .. } => true,
            Self::Unavailable(error) => error.is_transient(),
        }
    }
}

/// Proof that a token was good a moment ago: the only way to [`complete`](Verified::complete).
///
/// Good for ten minutes and one use. It can be neither cloned nor made up:
///
/// ```compile_fail
/// fn twice(verified: password_reset::Verified) {
///     let _ = (verified.clone(), verified);
/// }
/// ```
#[must_use]
pub struct Verified {
    pub(super) flow: ResetFlow,
    pub(super) record: TokenRecord,
    pub(super) account: Account,
    pub(super) client: Client,
    pub(super) at: Timestamp,
    pub(super) seen: Option<Seen>,
    /// As it was presented, not judged yet.
    pub(super) proof: Option<SecretString>,
}

impl Verified {
    /// Whose token it is.
    pub fn user(&self) -> &UserId {
        &self.account.id
    }

    /// Which token it is; what the [proof of a second factor](crate::recovery) is bound to.
    pub fn token(&self) -> Selector {
        self.record.selector
    }

    /// The account's primary address, masked: enough for its owner to recognise the account.
    pub fn masked_address(&self) -> Option<String> {
        self.address().map(Address::masked)
    }

    /// The account's primary address in full.
    ///
    /// # Security
    ///
    /// Whoever found a link learns from it where to log in with the new password. Show
    /// [`masked_address`](Self::masked_address) unless you have a reason not to (R30).
    pub fn address(&self) -> Option<&Address> {
        self.account.verified.first()
    }

    /// The account's language, as a BCP 47 tag. For a page that only who holds the token sees.
    pub fn locale(&self) -> Option<&str> {
        self.account.locale.as_deref()
    }

    /// Whether the account has a second factor, so that the page can ask for it first; see
    /// [`needs_second_factor`](Self::needs_second_factor).
    pub fn has_second_factor(&self) -> bool {
        self.account.has_second_factor()
    }

    /// Whether it is the account's first password that is chosen, so that the page can say so.
    pub fn is_first(&self) -> bool {
        self.record.is_first()
    }

    /// From when on the token is refused.
    pub fn expires_at(&self) -> Timestamp {
        self.record.expires_at
    }

    /// Says where the change comes from, for the notice to its owner.
    pub fn seen(mut self, seen: Seen) -> Self {
        self.seen = (seen != Seen::default()).then_some(seen);
        self
    }

    /// Judges a new password by the flow's policy, with this account's own words in mind. The
    /// token is untouched, however often a password is refused (R52).
    ///
    /// What has to be looked up, in breaches or in the account's own past, is asked in
    /// [`complete`](Self::complete), once, and leaves the token as it is, too.
    ///
    /// # Errors
    ///
    /// [`PasswordRejected`] with all reasons at once.
    pub fn parse_password(&self, raw: &str) -> Result<NewPassword, PasswordRejected> {
        self.flow.policy().parse(raw, &self.context())
    }

    pub(super) fn context(&self) -> Context {
        self.flow.context_of(&self.account)
    }
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither the account's addresses nor its credential are shown.
        f.debug_struct("Verified")
            .field("user", &self.account.id)
            .field("token", &self.record.selector)
            .finish_non_exhaustive()
    }
}

/// Under which names whoever presents a secret is counted.
#[derive(Clone, Copy)]
pub(super) struct Presented {
    pub(super) source: &'static str,
    /// Its whole network too, where a secret is short enough to be guessed. A long one is not, and
    /// a network has neighbours, whom nobody shall shut out.
    pub(super) network: Option<&'static str>,
}

const LINKS: Presented = Presented {
    source: "verify-source",
    network: None,
};

impl ResetFlow {
    /// Looks at a token, and charges the source's limit. Token and account are only read: a mail
    /// scanner that opens the link a hundred times changes nothing (R41, W36).
    ///
    /// # Errors
    ///
    /// See [`VerifyError`]. Malformed text is [`VerifyError::Invalid`] without a call to any
    /// backend.
    pub async fn verify(&self, token: &str, client: &Client) -> Result<Verified, VerifyError> {
        let Ok(presented) = PresentedToken::parse(token) else {
            return Err(self.refuse(Refused::Malformed, client, None, None));
        };
        let unavailable =
            |backend, source| VerifyError::Unavailable(self.failed(backend, Step::Verify, source));
        let over = self.over_limit(LINKS, client).await;
        if let Some(retry_after) = over.map_err(|e| unavailable(Backend::Limiter, e))? {
            return Err(VerifyError::RateLimited { retry_after });
        }

        let selector = presented.selector;
        let found = self.core.tokens.find(&selector).await;
        let found = found.map_err(|e| unavailable(Backend::Tokens, e))?;
        let record = self
            .prove(&presented, found)
            .map_err(|why| self.refuse(why, client, Some(selector), None))?;

        // From here on the presenter holds the true token.
        let refuse = |why| self.refuse(why, client, Some(selector), Some(&record.user));
        let now = self.now();
        self.standing(&record, now).map_err(refuse)?;
        let account = self.core.users.account(&record.user).await;
        let account = account.map_err(|e| unavailable(Backend::Users, e))?;
        let account = self.present(&record, account).map_err(refuse)?;

        let mut event = self.event(EventKind::Verified);
        event.user = Some(account.id.clone());
        event.token = Some(selector);
        event.source = client.prefix();
        self.record(event);
        Ok(Verified {
            flow: self.clone(),
            record,
            account,
            client: *client,
            at: now,
            seen: None,
            proof: None,
        })
    }

    /// Charges a source, and perhaps its network, for a secret that it presents; answers when it may
    /// try again, if one of them is over its limit.
    pub(super) async fn over_limit(
        &self,
        label: Presented,
        client: &Client,
    ) -> Result<Option<Duration>, BoxError> {
        let limits = &self.core.settings.limits;
        let source = self.source_key(label.source, client);
        if let Some(wait) = self.wait(&source, &limits.verifications).await? {
            return Ok(Some(self.told(EventKind::RateLimited, client, wait)));
        }
        // Who has a /48 has 65,536 sources.
        let Some((label, network)) = label.network.zip(client.network()) else {
            return Ok(None);
        };
        let network = self.of(None).address_key(label, Some(network));
        let quota = limits.of_network(limits.verifications);
        let wait = self.wait(&network, &quota).await?;
        Ok(wait.map(|wait| self.told(EventKind::NetworkLimited, client, wait)))
    }

    async fn wait(&self, key: &LimitKey, quota: &Quota) -> Result<Option<Duration>, BoxError> {
        let decision = self.core.limiter.check(key, quota, self.now()).await?;
        Ok(match decision {
            Decision::Deny { retry_after } => Some(retry_after),
            _ => None,
        })
    }

    fn told(&self, kind: EventKind, client: &Client, wait: Duration) -> Duration {
        let mut event = self.event(kind);
        event.source = client.prefix();
        self.record(event);
        wait
    }

    /// Compares the verifier with the record, or with nothing: the same work either way (R40).
    fn prove(
        &self,
        presented: &PresentedToken,
        found: Option<TokenRecord>,
    ) -> Result<TokenRecord, Refused> {
        let known = found
            .as_ref()
            .and_then(|record| self.core.keyring.get(record.key));
        let (why, record) = match found {
            Some(record) => (Refused::WrongVerifier, record),
            None => (Refused::Unknown, self.core.dummy.clone()),
        };
        let key = known.unwrap_or_else(|| self.core.keyring.active());
        let digest = record.digest_of(key, presented.verifier.expose());
        let same = bool::from(digest.matches(&record.digest));
        if !same || known.is_none() || !sets_a_password(record.purpose) {
            return Err(why);
        }
        if record.tenant != self.tenant {
            return Err(Refused::WrongTenant);
        }
        Ok(record)
    }

    /// Where the token stands in its life.
    pub(super) fn standing(&self, record: &TokenRecord, now: Timestamp) -> Result<(), Refused> {
        if record.state.spent_at.is_some() {
            Err(Refused::Spent)
        } else if record.state.revoked.is_some() {
            Err(Refused::Revoked)
        } else if now >= record.expires_at {
            Err(Refused::Expired)
        } else if record.state.is_held(now) {
            Err(Refused::InProgress)
        } else {
            Ok(())
        }
    }

    /// Whether the account is still the one that the token was made for (R6, W33..W35).
    pub(super) fn present(
        &self,
        record: &TokenRecord,
        account: Option<Account>,
    ) -> Result<Account, Refused> {
        let account = account.ok_or(Refused::AccountGone)?;
        let key = self
            .core
            .keyring
            .get(record.key)
            .ok_or(Refused::WrongVerifier)?;
        let freshness = record.epoch.compare(key, &account);
        // The first password is for an account without one, and a reset never gives one to it (W68).
        let has_none = matches!(account.credential, Credential::External);
        if freshness == Freshness::CredentialChanged || has_none != record.is_first() {
            return Err(Refused::CredentialChanged);
        }
        if account.status != Status::Active || account.tenant != self.tenant {
            return Err(Refused::AccountDisabled);
        }
        match freshness {
            Freshness::AddressGone => Err(Refused::AddressGone),
            _ => Ok(account),
        }
    }

    /// Tells the audit trail the cause, and the presenter the one public word.
    pub(super) fn refuse(
        &self,
        why: Refused,
        client: &Client,
        token: Option<Selector>,
        user: Option<&UserId>,
    ) -> VerifyError {
        let mut event = self.event(EventKind::Refused(why));
        event.source = client.prefix();
        event.token = token;
        event.user = user.cloned();
        self.record(event);
        match why {
            Refused::Expired => VerifyError::Expired,
            Refused::InProgress => VerifyError::InProgress,
            _ => VerifyError::Invalid,
        }
    }
}

/// The purposes of tokens that set a password. A record of any other one is no token at all (W41).
fn sets_a_password(purpose: Purpose) -> bool {
    matches!(purpose, Purpose::Reset | Purpose::First | Purpose::Redeemed)
}
