//! The code is typed.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::account::{Account, Client, UserId};
use crate::audit::{EventKind, Refused, Step};
use crate::clock::Timestamp;
use crate::error::{Backend, BackendError, BoxError};
use crate::flow::verify::Presented;
use crate::flow::{ResetFlow, VerifyError};
use crate::limit::{Decision, Quota};
use crate::password::{PoolError, Share};
use crate::store::{Insert, Live};
use crate::token::state::{Claim, ClaimId, Revocation, Settlement};
use crate::token::{
    Claims, CodeHandle, Epoch, LinkToken, PresentedCode, Purpose, Selector, TokenDigest,
    TokenRecord,
};

/// How long a count of tries is kept: longer than anybody would wait to go on guessing, and no
/// longer, because whoever asks for codes makes such records.
const COUNT_LIFE: Duration = Duration::from_secs(30 * 86_400);
/// Apart from links, which must go on working for a source whose codes are over the limit (R35).
const CODES: Presented = Presented {
    source: "code-source",
    network: Some("code-network"),
};
/// How many codes a minute are compared with nothing, for everybody together.
const TRIES_OF_NOTHING: u32 = 60;
const ANY_NUMBER: Live = Live::at_most(NonZeroU32::MAX);

/// Why a code was not exchanged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodeError {
    /// Malformed, wrong, expired, used, tried too often, or of an account that has changed or may
    /// use no codes for now: one word for all (R29). Offer to ask for a new code, and for a link.
    #[error("the code is not valid")]
    Invalid,
    /// Too many codes were presented from this source.
    #[error("too many attempts from this source")]
    RateLimited {
        /// When it may try again.
        retry_after: Duration,
    },
    /// The hashing pool is full. The try was counted. Answer "503" and ask to try again.
    #[error("too busy at this moment")]
    Busy,
    /// A part of the flow failed. The try may have been counted.
    #[error("not available at this moment")]
    Unavailable(#[source] BackendError),
}

impl CodeError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Invalid => false,
            Self::RateLimited { .. } | Self::Busy => true,
            Self::Unavailable(error) => error.is_transient(),
        }
    }
}

/// A right code, exchanged for a token: go on with [`ResetFlow::verify`].
#[non_exhaustive]
pub struct Redeemed {
    /// As good as one from a link, for ten minutes. It belongs to the device that typed the code:
    /// a cookie, or the memory of an app.
    pub token: LinkToken,
    /// From when on the token is refused.
    pub expires_at: Timestamp,
}

impl fmt::Debug for Redeemed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redeemed")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

impl ResetFlow {
    /// Exchanges a right code, once, for a token.
    ///
    /// Every try is counted before anything is compared (R36), against the code and against the
    /// account, and costs the same hash whether there is such an account or not.
    ///
    /// # Errors
    ///
    /// See [`CodeError`]. Malformed text is [`CodeError::Invalid`] without a call to any backend,
    /// and is no try.
    pub async fn redeem_code(
        &self,
        handle: &str,
        code: &str,
        client: &Client,
    ) -> Result<Redeemed, CodeError> {
        let parsed = (CodeHandle::parse(handle), PresentedCode::parse(code));
        let (Ok(handle), Ok(code)) = parsed else {
            return Err(self.refuse_code(Refused::Malformed, client, None, None));
        };
        let Some(codes) = self.core.settings.codes else {
            return Err(self.refuse_code(Refused::Malformed, client, None, None));
        };
        if !self.drew(&handle) {
            return Err(self.refuse_code(Refused::Unknown, client, None, None));
        }
        let selector = handle.selector();
        let over = self.over_limit(CODES, client).await;
        if let Some(retry_after) = over.map_err(|e| self.code_unavailable(Backend::Limiter, e))? {
            return Err(CodeError::RateLimited { retry_after });
        }

        let tokens = &self.core.tokens;
        let tries = tokens.count_attempt(&selector).await;
        let tries = tries.map_err(|e| self.code_unavailable(Backend::Tokens, e))?;
        if tries.is_some_and(|tries| tries > codes.tries) {
            return Err(self.refuse_code(Refused::CodeTries, client, Some(selector), None));
        }
        let found = tokens.find(&selector).await;
        let found = found.map_err(|e| self.code_unavailable(Backend::Tokens, e))?;
        let record = found.filter(|record| record.purpose == Purpose::Code);
        if record.is_none() && !self.may_try_nothing().await? {
            return Err(self.refuse_code(Refused::Unknown, client, Some(selector), None));
        }
        let user = record.as_ref().map(|record| record.user.clone());
        let refuse = |why| self.refuse_code(why, client, Some(selector), user.as_ref());

        let mut of_account = 0;
        if let Some(record) = &record {
            let counted = self.count_try(&record.user, &record.epoch).await;
            of_account = counted.map_err(|e| self.code_unavailable(Backend::Tokens, e))?;
        }
        // The same hash for a locked account, and for no record at all: its time tells nothing.
        let right = match self.is_right(&selector, record.as_ref(), &code).await {
            Err(CodeError::Busy) => {
                let _: CodeError = refuse(Refused::Busy);
                return Err(CodeError::Busy);
            }
            right => right?,
        };
        let record = record.ok_or_else(|| refuse(Refused::Unknown))?;
        if of_account > codes.tries_per_account {
            return Err(refuse(Refused::CodesLocked));
        }
        if !right {
            return Err(refuse(Refused::WrongCode));
        }
        if record.tenant != self.tenant {
            return Err(refuse(Refused::WrongTenant));
        }
        self.standing(&record, self.now()).map_err(refuse)?;
        let account = self.core.users.account(&record.user).await;
        let account = account.map_err(|e| self.code_unavailable(Backend::Users, e))?;
        let account = self.present(&record, account).map_err(refuse)?;
        self.exchange(record, &account, client).await
    }

    /// Whether a handle without a record gets a hash too. A handle has a record from the moment its
    /// code, or nobody's, is made, until a week after. Before and after that nothing counts its tries,
    /// and whoever collects handles would have hashes for nothing.
    async fn may_try_nothing(&self) -> Result<bool, CodeError> {
        let key = self.of(None).limit_key("code-nothing", &[]);
        let quota = Quota::new(TRIES_OF_NOTHING, Duration::from_secs(60));
        let decision = self.core.limiter.check(&key, &quota, self.now()).await;
        let decision = decision.map_err(|e| self.code_unavailable(Backend::Limiter, e))?;
        Ok(decision == Decision::Allow)
    }

    /// Hashes and compares, whatever there is to compare with.
    async fn is_right(
        &self,
        selector: &Selector,
        record: Option<&TokenRecord>,
        code: &PresentedCode,
    ) -> Result<bool, CodeError> {
        let core = &self.core;
        let known = record.and_then(|record| core.keyring.get(record.key));
        let key = known.unwrap_or_else(|| core.keyring.active());
        let record = record.unwrap_or(&core.dummy);
        let digest = record.digest_of(key, code.expose());
        let pool = core.hashing.of(Share::Guesses);
        let stretched = pool.stretch(digest, *selector.as_bytes()).await;
        let digest = stretched.map_err(|error| match error {
            PoolError::Busy => CodeError::Busy,
            error => self.code_unavailable(Backend::Hasher, error.into()),
        })?;
        let same = bool::from(digest.matches(&record.digest));
        Ok(same && known.is_some())
    }

    /// One right code becomes one token, whoever else presents it at this moment.
    async fn exchange(
        &self,
        record: TokenRecord,
        account: &Account,
        client: &Client,
    ) -> Result<Redeemed, CodeError> {
        let tokens = &self.core.tokens;
        let selector = record.selector;
        let refuse = |why| self.refuse_code(why, client, Some(selector), Some(&account.id));
        let claim = self.id().map(ClaimId::from_bytes);
        let claim = claim.map_err(|e| self.code_unavailable(Backend::Random, e))?;
        let now = self.now();
        let until = now + self.core.settings.claim_lease;
        let claimed = tokens.claim(&selector, claim, now, until).await;
        match claimed.map_err(|e| self.code_unavailable(Backend::Tokens, e))? {
            Claim::Won => {}
            Claim::Held => return Err(refuse(Refused::InProgress)),
            Claim::Refused => return Err(refuse(Refused::Spent)),
        }
        let granted = match self.grant(&record, now).await {
            Ok(granted) => granted,
            Err(error) => {
                self.let_go(&record, claim, Step::Verify).await;
                return Err(error);
            }
        };
        let (token, grant) = granted;
        // Whoever revoked the code meanwhile did not see the token that it became.
        let after = tokens.find(&selector).await;
        let after = after.map_err(|e| self.code_unavailable(Backend::Tokens, e));
        let stands = match &after {
            Ok(after) => after.as_ref().is_some_and(|after| {
                after
                    .state
                    .revoked
                    .is_none_or(|(_, why)| why == Revocation::Superseded)
            }),
            Err(_) => false,
        };
        if !stands {
            let why = Revocation::Requested;
            let revoked = tokens.revoke(&grant.selector, self.now(), why).await;
            if let Err(source) = revoked {
                let _ = self.code_unavailable(Backend::Tokens, source);
            }
            after?;
            return Err(refuse(Refused::Revoked));
        }
        let spent = Settlement::Spent { at: now };
        if let Err(source) = tokens.settle(&selector, claim, spent).await {
            // The lease goes on, and by its end the code is about to expire; a second exchange
            // would give its owner a second token, and nobody else any.
            let _ = self.code_unavailable(Backend::Tokens, source);
        }
        let mut event = self.event(EventKind::CodeRedeemed);
        event.user = Some(account.id.clone());
        event.token = Some(grant.selector);
        event.parent = Some(selector);
        event.source = client.prefix();
        self.record(event);
        Ok(Redeemed {
            token,
            expires_at: grant.expires_at,
        })
    }

    /// A token for the account and the destination of a code.
    async fn grant(
        &self,
        code: &TokenRecord,
        now: Timestamp,
    ) -> Result<(LinkToken, TokenRecord), CodeError> {
        let core = &self.core;
        let key = core.keyring.get(code.key);
        let key =
            key.ok_or_else(|| self.code_unavailable(Backend::Tokens, "no such key".into()))?;
        let (token, halves) = LinkToken::generate(core.random.as_ref())
            .map_err(|e| self.code_unavailable(Backend::Random, e))?;
        let purpose = Purpose::Redeemed;
        let expires_at = now + core.settings.grant_life;
        let claims = Claims {
            purpose,
            tenant: code.tenant.as_ref(),
            user: &code.user,
            epoch: &code.epoch,
            expires_at,
        };
        let digest = claims.digest(key, halves.verifier.expose());
        let (tenant, user) = (code.tenant.clone(), code.user.clone());
        let (selector, epoch) = (halves.selector, code.epoch.clone());
        let grant = TokenRecord::new(
            selector, purpose, tenant, user, epoch, key.id, digest, now, expires_at,
        );
        // It takes the code's place, and nobody else's.
        let inserted = core.tokens.insert(&grant, ANY_NUMBER).await;
        match inserted.map_err(|e| self.code_unavailable(Backend::Tokens, e))? {
            Insert::Done => Ok((token, grant)),
            Insert::Full => Err(self.code_unavailable(Backend::Tokens, "no place".into())),
        }
    }

    /// Whether the handle was given out by this service.
    pub(super) fn drew(&self, handle: &CodeHandle) -> bool {
        self.core.keyring.all().any(|key| handle.is_of(key))
    }

    /// How often codes were tried for an account since its password was changed; `None` where
    /// nobody has counted yet.
    pub(super) async fn code_tries(
        &self,
        user: &UserId,
        epoch: &Epoch,
    ) -> Result<Option<u32>, BoxError> {
        let selector = self.tries_selector(user, epoch);
        let record = self.core.tokens.find(&selector).await?;
        Ok(record.map(|record| record.attempts))
    }

    /// Counts one more try, and answers how many there are. The counter is there since the code was
    /// made, for everybody; if it was purged meanwhile, it begins anew.
    async fn count_try(&self, user: &UserId, epoch: &Epoch) -> Result<u32, BoxError> {
        let tokens = &self.core.tokens;
        let selector = self.tries_selector(user, epoch);
        if let Some(count) = tokens.count_attempt(&selector).await? {
            return Ok(count);
        }
        // Another try at the same moment may have made it; what counts is that it is there.
        let inserted = self.begin_count(user, epoch).await;
        match tokens.count_attempt(&selector).await? {
            Some(count) => Ok(count),
            None => Err(inserted.err().unwrap_or_else(|| "no counter".into())),
        }
    }

    /// Stores the counter of an account's tries.
    pub(super) async fn begin_count(&self, user: &UserId, epoch: &Epoch) -> Result<(), BoxError> {
        let selector = self.tries_selector(user, epoch);
        let now = self.now();
        let counter = TokenRecord::new(
            selector,
            Purpose::CodeTries,
            self.tenant.clone(),
            self.limit_key("code-tries", selector.as_bytes())
                .as_user()?,
            Epoch::from_bytes([0; 32]),
            self.core.keyring.active().id,
            TokenDigest::from_bytes([0; 32]),
            now,
            now + COUNT_LIFE,
        );
        let (Insert::Done | Insert::Full) = self.core.tokens.insert(&counter, ANY_NUMBER).await?;
        Ok(())
    }

    fn tries_selector(&self, user: &UserId, epoch: &Epoch) -> Selector {
        let subject = [user.as_str().as_bytes(), b"\0", &epoch.credential()].concat();
        let key = self.limit_key("code-tries", &subject);
        let mut selector = [0; 16];
        selector.copy_from_slice(key.as_bytes().split_at(16).0);
        Selector::from_bytes(selector)
    }

    fn code_unavailable(&self, backend: Backend, source: BoxError) -> CodeError {
        CodeError::Unavailable(self.failed(backend, Step::Verify, source))
    }

    /// Tells the audit trail the cause, and the presenter the one public word.
    fn refuse_code(
        &self,
        why: Refused,
        client: &Client,
        token: Option<Selector>,
        user: Option<&UserId>,
    ) -> CodeError {
        let _: VerifyError = self.refuse(why, client, token, user);
        CodeError::Invalid
    }
}
