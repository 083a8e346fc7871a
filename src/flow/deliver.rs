//! A worker mints a token and mails it.
//!
//! One path for everyone: look up, count, mint, store. Where there is no one to mail, the record is
//! a *decoy*: same shape, same life, made by the same calls, for a token that nobody ever sees.
//! Whether the account is paused is asked once the record is stored, also of a decoy.
//! Only the mail itself differs, and it comes last.

use std::time::Duration;

use subtle::ConstantTimeEq;

use crate::account::{Account, Address, Identifier, InvalidText, Tenant};
use crate::audit::{Event, EventKind, Mailing, Step, Withheld};
use crate::clock::Timestamp;
use crate::error::{Backend, BackendError, BoxError, SendError};
use crate::flow::ResetFlow;
use crate::flow::operator::OPERATORS_ROOM;
use crate::flow::outgoing::{Content, Grant, Outgoing};
use crate::flow::settle::{LONGEST_LIFE, LONGEST_PAUSE};
use crate::limit::{Decision, Quota};
use crate::mail::{Hint, Kind, Letter, Message, PasswordChanged, ResetLink};
use crate::queue::{JobId, LeasedJob, Task};
use crate::store::{Insert, Live};
use crate::token::state::Revocation;
use crate::token::{Beside, Claims, Epoch, Freshness, Key, LinkToken, TokenRecord};

/// How long a notice that came before its change waits at least.
const SHORTEST_WAIT: Duration = Duration::from_secs(10);

/// Mails that somebody asked for.
const ASKED: Budget = Budget {
    first: "mail-account",
    again: Some("mail-account-again"),
};
/// Mails that an operator started: whoever asks for links cannot use them up, and they leave the
/// owner's alone.
const STARTED: Budget = Budget {
    first: "mail-operator",
    again: Some("mail-operator-again"),
};

/// Under which names messages are counted.
pub(super) struct Budget {
    pub(super) first: &'static str,
    /// For later tries, where they have a wider one of their own.
    pub(super) again: Option<&'static str>,
}

/// Why a job is not done.
pub(crate) enum Undone {
    /// Worth another try.
    Later,
    /// Will never work.
    Never,
}

/// A message that its carrier did not take, or perhaps did.
pub(super) struct Unsent {
    pub(super) undone: Undone,
    pub(super) arrived: bool,
}

impl Unsent {
    pub(super) const fn for_good() -> Self {
        Self {
            undone: Undone::Never,
            arrived: false,
        }
    }

    pub(super) const fn for_now() -> Self {
        Self {
            undone: Undone::Later,
            arrived: false,
        }
    }
}

impl From<BackendError> for Unsent {
    fn from(error: BackendError) -> Self {
        Self {
            undone: error.into(),
            arrived: false,
        }
    }
}

/// A stand-in that cannot be made.
impl From<InvalidText> for Undone {
    fn from(_: InvalidText) -> Self {
        Self::Never
    }
}

impl From<BackendError> for Undone {
    fn from(error: BackendError) -> Self {
        if error.is_transient() {
            Self::Later
        } else {
            Self::Never
        }
    }
}

impl ResetFlow {
    /// Mints a token for whom the identifier means, and mails it.
    pub(super) async fn deliver(
        &self,
        leased: &LeasedJob,
        identifier: &Identifier,
        suppressed: bool,
    ) -> Result<(), Undone> {
        let flow = self.of(identifier.tenant());
        let mut event = flow.event(EventKind::Issued);
        event.job = Some(leased.job.id);
        event.identifier = Some(flow.pseudonym(identifier));
        flow.deliver_in_tenant(leased, identifier, suppressed, event)
            .await
    }

    async fn deliver_in_tenant(
        &self,
        leased: &LeasedJob,
        identifier: &Identifier,
        suppressed: bool,
        mut event: Event,
    ) -> Result<(), Undone> {
        let core = &self.core;
        let job = leased.job.id;
        let failed = |backend, source| self.failed_in(job, backend, Step::Deliver, source);
        let found = core
            .users
            .find(identifier)
            .await
            .map_err(|e| failed(Backend::Users, e))?;
        if let Some(account) = &found {
            event.user = Some(account.id.clone());
        }
        let stand_in = self.stand_in(identifier.canonical().as_bytes())?;
        let outgoing = if suppressed {
            Err(Withheld::IdentifierLimit)
        } else {
            self.outgoing(found, identifier, &stand_in)
        };
        let outgoing = self
            .within_budget(leased, &ASKED, outgoing, &stand_in)
            .await?;
        let stranger = match &outgoing {
            Ok(mail) if matches!(mail.content, Content::NoAccount) => Some(&mail.address),
            _ => None,
        };
        let allowed = self.among_strangers(leased, identifier, stranger).await?;
        let outgoing = allowed.and(outgoing);
        self.dispatch(leased, outgoing, &stand_in, event).await
    }

    /// Mails what an operator started, if the account is still what it was.
    pub(super) async fn start(&self, leased: &LeasedJob) -> Result<(), Undone> {
        let Task::Start {
            user,
            tenant,
            purpose,
            life,
            actor,
        } = &leased.job.task
        else {
            return Err(Undone::Never);
        };
        let flow = self.of(tenant.as_ref());
        // Judged again: whoever can write to the queue must not make a link that lives for years.
        let grant = Grant::started(*purpose, *life).ok_or(Undone::Never)?;
        let mut event = flow.event(EventKind::Issued);
        event.job = Some(leased.job.id);
        event.user = Some(user.clone());
        event.actor = Some(actor.clone());
        let found = flow.core.users.account(user).await;
        let found =
            found.map_err(|e| flow.failed_in(leased.job.id, Backend::Users, Step::Deliver, e))?;
        let stand_in = flow.stand_in(user.as_str().as_bytes())?;
        let started = flow.started(found, grant.purpose);
        let outgoing = started.map(|(account, address)| Outgoing {
            content: Content::started(grant),
            account,
            address,
        });
        let outgoing = flow
            .within_budget(leased, &STARTED, outgoing, &stand_in)
            .await?;
        flow.dispatch(leased, outgoing, &stand_in, event).await
    }

    /// Charges the mails of one account.
    async fn within_budget(
        &self,
        leased: &LeasedJob,
        budget: &Budget,
        outgoing: Result<Outgoing, Withheld>,
        stand_in: &Outgoing,
    ) -> Result<Result<Outgoing, Withheld>, Undone> {
        let subject = &outgoing.as_ref().unwrap_or(stand_in).account.id;
        let mails = self.core.settings.limits.mails;
        let allowed = self.charge(leased, budget, subject.as_str(), mails);
        Ok(match allowed.await? {
            true => outgoing,
            false => outgoing.and(Err(Withheld::MailLimit)),
        })
    }

    /// Charges a budget once a job, so that a mail server's bad hour does not use up what an account
    /// may get. Later tries have a wider budget of their own, and are not free: the first try may
    /// have died before it was charged.
    pub(super) async fn charge(
        &self,
        leased: &LeasedJob,
        budget: &Budget,
        subject: &str,
        quota: Quota,
    ) -> Result<bool, Undone> {
        let core = &self.core;
        let (label, quota) = match (leased.lease.attempt, budget.again) {
            (2.., Some(again)) => (again, quota.times(core.settings.link_retry.attempts)),
            _ => (budget.first, quota),
        };
        let key = self.limit_key(label, subject.as_bytes());
        let decision = core.limiter.check(&key, &quota, self.now()).await;
        let failed =
            |source| self.failed_in(leased.job.id, Backend::Limiter, Step::Deliver, source);
        Ok(decision.map_err(failed)? == Decision::Allow)
    }

    /// Stores a token's record, and mails what there is to mail.
    async fn dispatch(
        &self,
        leased: &LeasedJob,
        mut outgoing: Result<Outgoing, Withheld>,
        stand_in: &Outgoing,
        mut event: Event,
    ) -> Result<(), Undone> {
        let core = &self.core;
        let job = leased.job.id;
        // A letter without a link stores what a letter that is not written stores.
        let holder = match &outgoing {
            Ok(outgoing) if outgoing.content.grant().is_some() => outgoing,
            _ => stand_in,
        };
        let grant = holder.content.grant().ok_or(Undone::Never)?;
        let earlier = leased.lease.attempt.saturating_sub(1);
        let room = match leased.job.task {
            // Beside what all tries of somebody else's request may have left.
            Task::Start { .. } => earlier
                .saturating_add(OPERATORS_ROOM)
                .saturating_add(core.settings.link_retry.attempts),
            _ => earlier,
        };
        let live = core.settings.live_links().widened(room);
        let (account, address) = (&holder.account, &holder.address);
        let issued = self.issue(account, address, grant, live).await;
        let (token, record, inserted) = issued?;
        if inserted == Insert::Full {
            outgoing = outgoing.and(Err(Withheld::LiveTokens));
        }
        // Looked at behind the insert: who says "this wasn't me" writes the pause first and revokes
        // then, so that either finds the other's.
        let holder = outgoing
            .as_ref()
            .map_or(&record.user, |out| &out.account.id);
        match self.paused(holder).await {
            // What an operator starts is no request.
            Ok(true) if !matches!(leased.job.task, Task::Start { .. }) => {
                self.free(job, &record, Revocation::Disowned).await;
                outgoing = outgoing.and(Err(Withheld::Paused));
            }
            Ok(_) => {}
            Err(error) => {
                self.free(job, &record, Revocation::Undelivered).await;
                return Err(error.into());
            }
        }

        let outgoing = match outgoing {
            Ok(outgoing) => outgoing,
            Err(why) => {
                event.kind = EventKind::Withheld(why);
                self.record(event);
                return Ok(());
            }
        };
        let (sent, what) = match outgoing.content {
            Content::Link { .. } => {
                event.token = Some(record.selector);
                self.record(event.clone());
                (EventKind::LinkSent, Mailing::Link)
            }
            Content::NoAccount | Content::UseProvider => (EventKind::HintSent, Mailing::Hint),
        };
        match self.mail(leased, &token, &record, &outgoing).await {
            Ok(()) => {
                event.kind = sent;
                self.record(event);
                Ok(())
            }
            Err(Unsent { undone, arrived }) => {
                event.kind = EventKind::MailFailed {
                    what,
                    attempt: leased.lease.attempt,
                };
                self.record(event);
                // The link reached nobody: free its place for others. One that may have arrived
                // stays, and so do older links, which did reach their owner (W40).
                if !arrived {
                    self.free(job, &record, Revocation::Undelivered).await;
                }
                Err(undone)
            }
        }
    }

    /// A link as the worker makes it for a first try.
    #[cfg(feature = "testing")]
    pub(crate) async fn issue_link(
        &self,
        account: &Account,
        address: &Address,
    ) -> Result<(LinkToken, TokenRecord, Insert), BackendError> {
        let settings = &self.core.settings;
        let grant = Grant {
            purpose: crate::token::Purpose::Reset,
            life: settings.link_life,
        };
        self.issue(account, address, grant, settings.live).await
    }

    /// Revokes a token that nobody got.
    pub(super) async fn free(&self, job: JobId, record: &TokenRecord, why: Revocation) {
        let tokens = &self.core.tokens;
        if let Err(source) = tokens.revoke(&record.selector, self.now(), why).await {
            let _ = self.failed_in(job, Backend::Tokens, Step::Deliver, source);
        }
    }

    /// Mints a token and stores its record: the same for a recipient and for a decoy.
    ///
    /// A later try of a job may take places beyond the bound: those that its own earlier tries took
    /// and of which nobody knows whether their mail arrived.
    async fn issue(
        &self,
        account: &Account,
        address: &Address,
        grant: Grant,
        live: Live,
    ) -> Result<(LinkToken, TokenRecord, Insert), BackendError> {
        let minted = self.mint(account, address, grant, self.now());
        let (token, record) = minted.map_err(|e| self.failed(Backend::Random, Step::Deliver, e))?;
        let inserted = self.core.tokens.insert(&record, live).await;
        let inserted = inserted.map_err(|e| self.failed(Backend::Tokens, Step::Deliver, e))?;
        Ok((token, record, inserted))
    }

    pub(super) fn mint(
        &self,
        account: &Account,
        address: &Address,
        grant: Grant,
        now: Timestamp,
    ) -> Result<(LinkToken, TokenRecord), BoxError> {
        let (token, halves) = LinkToken::generate(self.core.random.as_ref())?;
        let key = self.core.keyring.active();
        let epoch = Epoch::of(key, account, address.as_str());
        let purpose = grant.purpose;
        let expires_at = now + grant.life;
        let tenant = self.tenant.clone();
        let digest = Claims {
            purpose,
            tenant: tenant.as_ref(),
            user: &account.id,
            epoch: &epoch,
            expires_at,
        }
        .digest(key, halves.verifier.expose());
        let user = account.id.clone();
        let selector = halves.selector;
        let record = TokenRecord::new(
            selector, purpose, tenant, user, epoch, key.id, digest, now, expires_at,
        );
        Ok((token, record))
    }

    async fn mail(
        &self,
        leased: &LeasedJob,
        token: &LinkToken,
        record: &TokenRecord,
        outgoing: &Outgoing,
    ) -> Result<(), Unsent> {
        let (core, site) = (&self.core, &self.core.site);
        let locale = outgoing.account.locale.as_deref();
        let cancel = self.cancel_link(Beside::Token, record.key, record.selector, &record.user);
        let to = &outgoing.address;
        let (grant, occasion) = match outgoing.content {
            Content::Link { grant, occasion } => (grant, occasion),
            Content::NoAccount => {
                return self.send_hint(leased, Kind::NoAccount, to, locale).await;
            }
            Content::UseProvider => {
                return self.send_hint(leased, Kind::UseProvider, to, locale).await;
            }
        };
        let link = site.base().link(token);
        let letter = core.templates.reset_link(&ResetLink {
            occasion,
            cancel: cancel.as_ref(),
            ..ResetLink::new(site, &link, grant.life, locale)
        });
        self.send_letter(leased, Kind::ResetLink, to, letter).await
    }

    /// Sends a letter that holds no secret: [`Kind::NoAccount`], or else [`Kind::UseProvider`].
    pub(super) async fn send_hint(
        &self,
        leased: &LeasedJob,
        kind: Kind,
        to: &Address,
        locale: Option<&str>,
    ) -> Result<(), Unsent> {
        let hint = Hint::new(&self.core.site, locale);
        let letter = match kind {
            Kind::NoAccount => self.core.templates.no_account(&hint),
            _ => self.core.templates.use_provider(&hint),
        };
        self.send_letter(leased, kind, to, letter).await
    }

    /// Sends a letter once it is written.
    pub(super) async fn send_letter(
        &self,
        leased: &LeasedJob,
        kind: Kind,
        to: &Address,
        letter: Result<Letter, BoxError>,
    ) -> Result<(), Unsent> {
        let job = leased.job.id;
        let failed = |source| self.failed_in(job, Backend::Templates, Step::Deliver, source);
        let letter = letter.map_err(failed)?;
        let message = Message::new(kind, leased.lease, &self.core.site, to.clone(), letter)
            .map_err(|e| failed(e.into()))?;
        self.send(job, &message, Step::Deliver).await
    }

    /// Tells one address of an account that its password was changed (R71, R72), as soon as it is.
    pub(super) async fn notice(&self, leased: &LeasedJob) -> Result<(), Undone> {
        let Task::Notice {
            user,
            tenant,
            address,
            locale,
            at,
            key,
            epoch,
            token,
            seal,
            seen,
        } = &leased.job.task
        else {
            return Err(Undone::Never);
        };
        let flow = self.of(tenant.as_ref());
        let core = &flow.core;
        let account = core.users.account(user).await;
        let account =
            account.map_err(|e| flow.failed_in(leased.job.id, Backend::Users, Step::Notice, e))?;
        if let Some(account) = account {
            // Without the key nobody can tell here; another worker may have it.
            let key = core.keyring.get(*key).ok_or(Undone::Later)?;
            if epoch.compare(key, &account) != Freshness::CredentialChanged {
                return flow.postpone(&leased.job.task, *at).await;
            }
        }
        let mut event = flow.event(EventKind::NoticeSent);
        event.job = Some(leased.job.id);
        event.user = Some(user.clone());
        event.token = Some(*token);
        let claims = flow.cancel_claims(Beside::Notice, *token, user);
        let is_ours = |key: &Key| bool::from(claims.seal(key, address).as_slice().ct_eq(seal));
        let cancel = match core.keyring.get(*key).is_some_and(is_ours) {
            true => flow.cancel_link(Beside::Notice, *key, *token, user),
            false => None,
        };
        let letter = core
            .templates
            .password_changed(&PasswordChanged {
                seen: seen.as_ref(),
                cancel: cancel.as_ref(),
                ..PasswordChanged::new(&core.site, *at, locale.as_deref())
            })
            .map_err(|e| flow.failed_in(leased.job.id, Backend::Templates, Step::Notice, e))?;
        let kind = Kind::PasswordChanged;
        let message = Message::new(kind, leased.lease, &core.site, address.clone(), letter)
            .map_err(|e| flow.failed_in(leased.job.id, Backend::Templates, Step::Notice, e))?;
        let sent = flow.send(leased.job.id, &message, Step::Notice).await;
        if sent.is_err() {
            event.kind = EventKind::MailFailed {
                what: Mailing::Notice,
                attempt: leased.lease.attempt,
            };
        }
        flow.record(event);
        sent.map_err(|unsent| unsent.undone)
    }

    /// Puts a notice back until its change has come, or can no longer come. As a job of its own,
    /// because waiting is not a try; ever more rarely, because most changes that are late never
    /// come.
    async fn postpone(&self, notice: &Task, at: Timestamp) -> Result<(), Undone> {
        let now = self.now();
        if now >= at + LONGEST_LIFE + LONGEST_PAUSE {
            return Ok(());
        }
        let wait = now.since(at).max(SHORTEST_WAIT);
        let job = self.job(notice.clone(), false);
        let mut job = job.map_err(|e| self.noted(e, Step::Notice))?;
        job.due = now + wait;
        let pushed = self.core.queue.push(&job).await;
        pushed.map_err(|e| self.failed(Backend::Queue, Step::Notice, e))?;
        self.wake(&job);
        Ok(())
    }

    pub(super) async fn send(
        &self,
        job: JobId,
        message: &Message,
        step: Step,
    ) -> Result<(), Unsent> {
        let sent = self.core.mailer.send(message).await;
        sent.map_err(|error| self.unsent(job, Backend::Mailer, step, error))
    }

    pub(super) fn unsent(
        &self,
        job: JobId,
        backend: Backend,
        step: Step,
        error: SendError,
    ) -> Unsent {
        let undone = if error.is_transient() {
            Undone::Later
        } else {
            Undone::Never
        };
        let arrived = error.may_have_arrived();
        let _ = self.failed_in(job, backend, step, error);
        Unsent { undone, arrived }
    }

    /// This flow inside the tenant that a job names.
    pub(super) fn of(&self, tenant: Option<&Tenant>) -> ResetFlow {
        ResetFlow {
            core: self.core.clone(),
            tenant: tenant.cloned(),
        }
    }
}
