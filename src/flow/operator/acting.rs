//! An operator acts for somebody else: [`Operator`].

use std::fmt;
use std::time::Duration;

use secrecy::SecretString;

use crate::account::{Account, Address, SessionScope, UserId};
use crate::audit::{Actor, Event, EventKind, Step, Withheld};
use crate::error::{Backend, BackendError, BoxError};
use crate::flow::ResetFlow;
use crate::flow::outgoing::Grant;
use crate::flow::settle::LONGEST_LIFE;
use crate::queue::Task;
use crate::store::{Insert, Live, Reach};
use crate::token::state::Revocation;
use crate::token::{LinkToken, Purpose, TokenRecord};

/// The longest life of a link that an operator starts (R7).
const LONGEST_LINK: Duration = Duration::from_secs(24 * 3_600);
/// The longest life of an invitation. Longer than that of any other mailed link, because nobody
/// waits for it at the mailbox; and it opens an account that nobody has used with a password yet.
const LONGEST_INVITATION: Duration = LONGEST_LIFE;

/// Why an operator's wish was not carried out. Unless a variant says otherwise, nothing happened.
///
/// For the operator, who may know who has an account; not for the public.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperatorError {
    /// There is no such account in this flow's tenant.
    #[error("there is no such account")]
    NoAccount,
    /// The life is under one second, over 24 hours for a link, or over 7 days for an invitation.
    #[error("a link lives from 1 second to 24 hours, an invitation to 7 days")]
    Life,
    /// The account is disabled; a reset would not bring it back (R68).
    #[error("the account is disabled")]
    Disabled,
    /// The account has no verified address (R14).
    #[error("the account has no verified address")]
    Unverified,
    /// The account has no password: invite its owner to choose the first one, if it should have one
    /// (W68).
    #[error("the account has no password")]
    External,
    /// The account has a password: start a reset.
    #[error("the account has a password")]
    HasPassword,
    /// The account holds as many live links as it may, those of operators included. Revoke them
    /// first.
    #[error("the account holds too many live links")]
    TooManyLinks,
    /// The audit trail did not take the event, so the link was not handed over; it is dead.
    #[error("the audit trail did not take the event")]
    Unaudited,
    /// A part of the flow failed. What was done before it stays done and is in the audit trail;
    /// every act may be repeated.
    #[error("not available at this moment")]
    Unavailable(#[source] BackendError),
}

impl OperatorError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable(error) => error.is_transient(),
            Self::Unaudited => true,
            _ => false,
        }
    }
}

impl From<BackendError> for OperatorError {
    fn from(error: BackendError) -> Self {
        Self::Unavailable(error)
    }
}

impl From<Withheld> for OperatorError {
    fn from(why: Withheld) -> Self {
        match why {
            Withheld::Disabled => Self::Disabled,
            Withheld::Unverified => Self::Unverified,
            Withheld::External => Self::External,
            Withheld::HasPassword => Self::HasPassword,
            _ => Self::NoAccount,
        }
    }
}

/// Acts for the owners of accounts, in the name of one operator.
///
/// No act tells the operator a password, a token or a link (R24, W69): whatever opens the account
/// is mailed to its owner. Every event names the operator, those of the worker too. The flow checks
/// that the account is of its own tenant; *who* may operate is the application's decision, so ask
/// it before you come here.
///
/// Mails of operators are counted for each account, under the same quota as those that were asked
/// for and apart from them: neither can use up the other's. Beyond it nothing is
/// mailed, and the trail says so. They are subject to no limit on identifiers or sources. A link
/// takes one of the account's places ([`Live`](crate::store::Live)) for as long as it lives, an
/// invitation for a week perhaps; [`revoke`](Operator::revoke) frees them all.
///
/// ```
/// # #[cfg(feature = "testing")]
/// # async fn example(flow: password_reset::ResetFlow) -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use password_reset::account::UserId;
/// use password_reset::audit::Actor;
///
/// let operator = flow.operator(Actor::parse("grace, ticket 4711")?);
/// operator.start_reset(&UserId::parse("42")?, Duration::from_secs(3_600)).await?;
/// # Ok(()) }
/// ```
#[must_use]
pub struct Operator {
    flow: ResetFlow,
    actor: Actor,
}

impl ResetFlow {
    /// Acts in the name of an operator, inside this flow's tenant.
    pub fn operator(&self, actor: Actor) -> Operator {
        Operator {
            flow: self.clone(),
            actor,
        }
    }
}

impl Operator {
    /// Has a link mailed to the account's first verified address, as if its owner had asked; the
    /// letter says that the service's operators did ([`Occasion::Operator`]). It works for `life`
    /// from the moment it is mailed: 1 second to 24 hours.
    ///
    /// A worker mails it, and looks at the account once more. It is mailed also when the account's
    /// places are filled with links that others asked for: operators have
    /// more. It is mailed in a pause, too, which stops requests only.
    ///
    /// [`Occasion::Operator`]: crate::mail::Occasion::Operator
    ///
    /// # Errors
    ///
    /// See [`OperatorError`].
    pub async fn start_reset(&self, user: &UserId, life: Duration) -> Result<(), OperatorError> {
        let grant = granted(Purpose::Reset, life)?;
        self.mailable(user, grant).await?;
        self.queue(user, grant).await
    }

    /// Has an invitation mailed to the first verified address of an account that has no password
    /// ([`Credential::External`](crate::account::Credential::External)): with its link the owner
    /// chooses the first one. It works for `life` from the moment it is mailed: 1 second to 7 days,
    /// and no longer than the account has no password.
    ///
    /// An account that *loses* its password again looks as it did before, so an invitation from
    /// before comes back to life with that: [`revoke`](Self::revoke) when you take a password away.
    ///
    /// # Errors
    ///
    /// See [`OperatorError`].
    pub async fn invite(&self, user: &UserId, life: Duration) -> Result<(), OperatorError> {
        let grant = granted(Purpose::First, life)?;
        self.mailable(user, grant).await?;
        self.queue(user, grant).await
    }

    /// Revokes every open token of the account, links and codes; answers how many there were (R89).
    ///
    /// A mail that is still waiting to be written is not stopped: its token is made later. Revoke
    /// again when it is out.
    ///
    /// # Errors
    ///
    /// [`OperatorError::NoAccount`], or [`OperatorError::Unavailable`].
    pub async fn revoke(&self, user: &UserId) -> Result<u64, OperatorError> {
        self.account(user).await?;
        self.revoke_all(user).await
    }

    /// Answers the account's requests again before the end of the pause that its owner asked for
    /// with "this wasn't me".
    ///
    /// # Errors
    ///
    /// [`OperatorError::NoAccount`], or [`OperatorError::Unavailable`]; then the pause may stand.
    pub async fn resume(&self, user: &UserId) -> Result<(), OperatorError> {
        self.account(user).await?;
        let ended = self.flow.end_pause(user).await;
        ended.map_err(|e| self.failed(user, Backend::Tokens, e))?;
        self.flow.record(self.event(user, EventKind::Resumed));
        Ok(())
    }

    /// Whether the account's requests are paused at this moment.
    ///
    /// # Errors
    ///
    /// As for [`resume`](Self::resume).
    pub async fn is_paused(&self, user: &UserId) -> Result<bool, OperatorError> {
        self.account(user).await?;
        Ok(self.flow.paused(user).await?)
    }

    /// Ends all sessions and grants of the account (R89).
    ///
    /// # Errors
    ///
    /// [`OperatorError::NoAccount`], or [`OperatorError::Unavailable`].
    pub async fn end_sessions(&self, user: &UserId) -> Result<(), OperatorError> {
        self.account(user).await?;
        self.end_all_sessions(user).await
    }

    /// Revokes every open token, ends all sessions, and has a link mailed as
    /// [`start_reset`](Self::start_reset) does: for an account that may be in the wrong hands.
    ///
    /// It does **not** touch the password. Whoever knows the old one can log in with it until the
    /// owner has chosen a new one, unless your application forbids it: mark the account, and let
    /// the login refuse marked ones until their password has changed. This crate neither locks nor
    /// unlocks accounts (R68).
    ///
    /// # Errors
    ///
    /// See [`OperatorError`].
    pub async fn force_reset(&self, user: &UserId, life: Duration) -> Result<(), OperatorError> {
        let grant = granted(Purpose::Reset, life)?;
        self.mailable(user, grant).await?;
        // In this order: the other way round, a quick worker's new link would be revoked too.
        self.revoke_all(user).await?;
        self.end_all_sessions(user).await?;
        self.queue(user, grant).await
    }

    /// Acts that put a secret into the operator's hands.
    pub fn danger(&self) -> OperatorDanger<'_> {
        OperatorDanger { operator: self }
    }

    /// Loads the account; one of another tenant does not exist here (W43).
    async fn account(&self, user: &UserId) -> Result<Account, OperatorError> {
        let account = self.flow.core.users.account(user).await;
        let account = account.map_err(|e| self.failed(user, Backend::Users, e))?;
        account
            .filter(|account| account.tenant == self.flow.tenant)
            .ok_or(OperatorError::NoAccount)
    }

    /// The account, if such a link can be made for it.
    async fn mailable(
        &self,
        user: &UserId,
        grant: Grant,
    ) -> Result<(Account, Address), OperatorError> {
        let account = self.account(user).await?;
        Ok(self.flow.started(Some(account), grant.purpose)?)
    }

    async fn queue(&self, user: &UserId, grant: Grant) -> Result<(), OperatorError> {
        let task = Task::Start {
            user: user.clone(),
            tenant: self.flow.tenant.clone(),
            purpose: grant.purpose,
            life: grant.life,
            actor: self.actor.clone(),
        };
        // Not spread: nobody who times requests is an operator.
        let job = self.flow.job(task, false);
        let job = job.map_err(|e| self.noted(user, e))?;
        let pushed = self.flow.core.queue.push(&job).await;
        pushed.map_err(|e| self.failed(user, Backend::Queue, e))?;
        self.flow.wake(&job);
        let mut event = self.event(user, EventKind::Started);
        event.job = Some(job.id);
        self.flow.record(event);
        Ok(())
    }

    async fn revoke_all(&self, user: &UserId) -> Result<u64, OperatorError> {
        let (tokens, now) = (&self.flow.core.tokens, self.flow.now());
        let revoked = tokens.revoke_all(user, Reach::All, now, Revocation::Requested);
        let count = revoked.await;
        let count = count.map_err(|e| self.failed(user, Backend::Tokens, e))?;
        self.flow
            .record(self.event(user, EventKind::Revoked { count }));
        Ok(count)
    }

    async fn end_all_sessions(&self, user: &UserId) -> Result<(), OperatorError> {
        let users = &self.flow.core.users;
        let ended = users.end_sessions(user, SessionScope::All).await;
        ended.map_err(|e| self.failed(user, Backend::Users, e))?;
        self.flow.record(self.event(user, EventKind::SessionsEnded));
        Ok(())
    }

    fn event(&self, user: &UserId, kind: EventKind) -> Event {
        let mut event = self.flow.event(kind);
        event.user = Some(user.clone());
        event.actor = Some(self.actor.clone());
        event
    }

    fn failed(&self, user: &UserId, backend: Backend, source: impl Into<BoxError>) -> BackendError {
        self.noted(user, BackendError::new(backend, source))
    }

    fn noted(&self, user: &UserId, error: BackendError) -> BackendError {
        self.flow.record(self.event(
            user,
            EventKind::BackendFailed {
                backend: error.backend(),
                step: Step::Operate,
            },
        ));
        error
    }
}

impl fmt::Debug for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operator")
            .field("flow", &self.flow)
            .field("actor", &self.actor)
            .finish()
    }
}

/// Acts that put a secret into an operator's hands; see [`Operator::danger`].
#[must_use]
pub struct OperatorDanger<'a> {
    operator: &'a Operator,
}

impl OperatorDanger<'_> {
    /// A link that sets the account's password, to be handed to its owner by other means than mail.
    /// It works for `life` from now: 1 second to 24 hours.
    ///
    /// It is found in the audit trail as [`LinkHandedOver`](EventKind::LinkHandedOver), which is
    /// critical, *before* it is answered. Where the sink does not take the event, the link is
    /// revoked and nobody gets it. (A sink with a buffer takes it before it is on disk: flush it,
    /// such as `SqlAudit::flush`, before you show the link.) Nothing else is lost by it: no link that the owner holds dies.
    /// While it lives it counts among the account's live links, so with three of them alive the
    /// owner's own requests get no mail by default; keep `life` short.
    ///
    /// # Security
    ///
    /// Breaks R24: whoever sees this link owns the account, and the operator sees it. The flow
    /// cannot tell whom it is handed to. Have a second person approve it, and never send it through
    /// a chat or a ticket that keeps it. The owner gets the notice of the change like after any
    /// other.
    ///
    /// # Errors
    ///
    /// See [`OperatorError`].
    pub async fn link(&self, user: &UserId, life: Duration) -> Result<SecretString, OperatorError> {
        self.hand_over(user, granted(Purpose::Reset, life)?).await
    }

    /// The same for the first password of an account that has none: 1 second to 7 days.
    ///
    /// # Security
    ///
    /// See [`link`](Self::link).
    ///
    /// # Errors
    ///
    /// See [`OperatorError`].
    pub async fn first_link(
        &self,
        user: &UserId,
        life: Duration,
    ) -> Result<SecretString, OperatorError> {
        self.hand_over(user, granted(Purpose::First, life)?).await
    }

    async fn hand_over(&self, user: &UserId, grant: Grant) -> Result<SecretString, OperatorError> {
        let (operator, flow) = (self.operator, &self.operator.flow);
        let (account, address) = operator.mailable(user, grant).await?;
        // Beside the owner's links, also where a newer link would end older ones.
        let live = flow
            .core
            .settings
            .live_links()
            .beside(super::OPERATORS_ROOM);
        let (token, record) = self.issue(&account, &address, grant, live).await?;
        let mut event = operator.event(user, EventKind::LinkHandedOver);
        event.token = Some(record.selector);
        if !flow.is_recorded(&event) {
            let (tokens, now) = (&flow.core.tokens, flow.now());
            let revoked = tokens.revoke(&record.selector, now, Revocation::Requested);
            // Nobody holds the link, so a failure here opens nothing.
            if let Err(source) = revoked.await {
                let _ = operator.failed(user, Backend::Tokens, source);
            }
            return Err(OperatorError::Unaudited);
        }
        Ok(flow.core.site.base().link(&token))
    }

    async fn issue(
        &self,
        account: &Account,
        address: &Address,
        grant: Grant,
        live: Live,
    ) -> Result<(LinkToken, TokenRecord), OperatorError> {
        let (operator, flow) = (self.operator, &self.operator.flow);
        let user = &account.id;
        let minted = flow.mint(account, address, grant, flow.now());
        let (token, record) = minted.map_err(|e| operator.failed(user, Backend::Random, e))?;
        let inserted = flow.core.tokens.insert(&record, live).await;
        match inserted.map_err(|e| operator.failed(user, Backend::Tokens, e))? {
            Insert::Done => Ok((token, record)),
            Insert::Full => Err(OperatorError::TooManyLinks),
        }
    }
}

impl fmt::Debug for OperatorDanger<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OperatorDanger")
            .field(self.operator)
            .finish()
    }
}

fn granted(purpose: Purpose, life: Duration) -> Result<Grant, OperatorError> {
    Grant::started(purpose, life).ok_or(OperatorError::Life)
}

impl Grant {
    /// What an operator may start; `None` for a life or a purpose out of bounds.
    pub(in crate::flow) fn started(purpose: Purpose, life: Duration) -> Option<Self> {
        let longest = match purpose {
            Purpose::Reset => LONGEST_LINK,
            Purpose::First => LONGEST_INVITATION,
            _ => return None,
        };
        let bounds = Duration::from_secs(1)..=longest;
        bounds.contains(&life).then_some(Self { purpose, life })
    }
}
