//! A worker mints a token and mails it.
//!
//! One path for everyone: look up, count, mint, store. Where there is no one to mail, the record is
//! a *decoy*: same shape, same life, made by the same calls, for a token that nobody ever sees.
//! Whether the account is paused is asked once the record is stored, also of a decoy.
//! Only the mail itself differs, and it comes last.

use std::time::Duration;

use base64ct::{Base64UrlUnpadded, Encoding};

use crate::account::{
    Account, Address, Credential, Identifier, MAX_ADDRESSES, Status, Tenant, UserId,
};
use crate::audit::{Event, EventKind, Step, Withheld};
use crate::clock::Timestamp;
use crate::error::{Backend, BackendError};
use crate::flow::ResetFlow;
use crate::flow::settle::LONGEST_PAUSE;
use crate::limit::Decision;
use crate::mail::{Kind, Message, PasswordChanged, ResetLink};
use crate::queue::{JobId, LeasedJob, Task};
use crate::store::Insert;
use crate::token::state::Revocation;
use crate::token::{Claims, Epoch, Freshness, LinkToken, Purpose, TokenRecord};

/// How long a notice that came before its change waits at least.
const SHORTEST_WAIT: Duration = Duration::from_secs(10);

/// Why a job is not done.
pub(crate) enum Undone {
    /// Worth another try.
    Later,
    /// Will never work.
    Never,
}

/// A mail that the mailer did not take, or perhaps did.
struct Unsent {
    undone: Undone,
    arrived: bool,
}

impl From<BackendError> for Unsent {
    fn from(error: BackendError) -> Self {
        Self {
            undone: error.into(),
            arrived: false,
        }
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
        let mut recipient = if suppressed {
            Err(Withheld::IdentifierLimit)
        } else {
            self.recipient(found, identifier)
        };

        // The budget is charged once a job, so that a mail server's bad hour does not use up what
        // the account may get. Later tries have a wider budget of their own, and are not free: the
        // first try may have died before it was charged.
        let decoy = self.decoy(identifier)?;
        let subject = recipient
            .as_ref()
            .map_or(&decoy.0.id, |(account, _)| &account.id);
        let budget = core.settings.limits.mails;
        let (label, budget) = match leased.lease.attempt {
            0 | 1 => ("mail-account", budget),
            _ => (
                "mail-account-again",
                budget.times(core.settings.link_retry.attempts),
            ),
        };
        let key = self.limit_key(label, subject.as_str().as_bytes());
        let decision = core
            .limiter
            .check(&key, &budget, self.now())
            .await
            .map_err(|e| failed(Backend::Limiter, e))?;
        if decision != Decision::Allow {
            recipient = recipient.and(Err(Withheld::MailLimit));
        }

        let (account, address) = recipient.as_ref().unwrap_or(&decoy);
        let (token, record, inserted) = self.issue(account, address, leased.lease.attempt).await?;
        if inserted == Insert::Full {
            recipient = recipient.and(Err(Withheld::LiveTokens));
        }
        match self.paused(&record.user).await {
            Ok(false) => {}
            Ok(true) => {
                self.free(job, &record, Revocation::Disowned).await;
                recipient = recipient.and(Err(Withheld::Paused));
            }
            Err(error) => {
                self.free(job, &record, Revocation::Undelivered).await;
                return Err(error.into());
            }
        }

        let (account, address) = match recipient {
            Ok(recipient) => recipient,
            Err(why) => {
                event.kind = EventKind::Withheld(why);
                self.record(event);
                return Ok(());
            }
        };
        event.token = Some(record.selector);
        self.record(event.clone());
        match self
            .mail_link(leased, &token, &record, &account, address)
            .await
        {
            Ok(()) => {
                event.kind = EventKind::LinkSent;
                self.record(event);
                Ok(())
            }
            Err(Unsent { undone, arrived }) => {
                event.kind = EventKind::MailFailed {
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

    /// Revokes a token that nobody got.
    async fn free(&self, job: JobId, record: &TokenRecord, why: Revocation) {
        let tokens = &self.core.tokens;
        if let Err(source) = tokens.revoke(&record.selector, self.now(), why).await {
            let _ = self.failed_in(job, Backend::Tokens, Step::Deliver, source);
        }
    }

    /// Mints a token and stores its record: the same for a recipient and for a decoy.
    ///
    /// A later try of a job may take places beyond the bound: those that its own earlier tries took
    /// and of which nobody knows whether their mail arrived.
    pub(crate) async fn issue(
        &self,
        account: &Account,
        address: &Address,
        attempt: u32,
    ) -> Result<(LinkToken, TokenRecord, Insert), Undone> {
        let (token, record) = self.mint(account, address, self.now())?;
        let live = self.core.settings.live.widened(attempt.saturating_sub(1));
        let inserted = self.core.tokens.insert(&record, live).await;
        let inserted = inserted.map_err(|e| self.failed(Backend::Tokens, Step::Deliver, e))?;
        Ok((token, record, inserted))
    }

    /// Who gets a link, or why nobody does.
    fn recipient(
        &self,
        found: Option<Account>,
        identifier: &Identifier,
    ) -> Result<(Account, Address), Withheld> {
        let account = found.ok_or(Withheld::Unknown)?;
        if account.tenant != self.tenant {
            return Err(Withheld::WrongTenant);
        }
        if account.status != Status::Active {
            return Err(Withheld::Disabled);
        }
        if matches!(account.credential, Credential::External) {
            return Err(Withheld::External);
        }
        // The mail goes to an address on record, never to what was typed (R12, W2). Where the
        // identifier is an address of the account, it has to be a verified one (W5).
        let canonical = identifier.canonical();
        let meant = |address: &&Address| address.is_meant_by(&canonical);
        let address = match account.verified.iter().take(MAX_ADDRESSES).find(meant) {
            Some(address) => address,
            None if account.unverified.iter().any(|address| meant(&address)) => {
                return Err(Withheld::Unverified);
            }
            None => account.verified.first().ok_or(Withheld::Unverified)?,
        };
        let address = address.clone();
        Ok((account, address))
    }

    /// The stand-in where there is no one to mail: bounded and purged like a real one, one for
    /// each identifier, and never equal to an account's id.
    fn decoy(&self, identifier: &Identifier) -> Result<(Account, Address), Undone> {
        let key = self.limit_key("decoy", identifier.canonical().as_bytes());
        let id = Base64UrlUnpadded::encode_string(key.as_bytes());
        let id = UserId::parse(&id).map_err(|_| Undone::Never)?;
        let address = Address::parse("decoy@example.org").map_err(|_| Undone::Never)?;
        let account = Account::new(id, Credential::External).verified(address.clone());
        Ok((account, address))
    }

    fn mint(
        &self,
        account: &Account,
        address: &Address,
        now: Timestamp,
    ) -> Result<(LinkToken, TokenRecord), Undone> {
        let (token, halves) = LinkToken::generate(self.core.random.as_ref())
            .map_err(|e| self.failed(Backend::Random, Step::Deliver, e))?;
        let key = self.core.keyring.active();
        let epoch = Epoch::of(key, account, address);
        let purpose = Purpose::Reset;
        let expires_at = now + self.core.settings.link_life;
        let tenant = self.tenant.clone();
        let digest = Claims {
            purpose,
            tenant: tenant.as_ref(),
            user: &account.id,
            epoch: &epoch,
            expires_at,
        }
        .digest(key, &halves.verifier);
        let user = account.id.clone();
        let selector = halves.selector;
        let record = TokenRecord::new(
            selector, purpose, tenant, user, epoch, key.id, digest, now, expires_at,
        );
        Ok((token, record))
    }

    async fn mail_link(
        &self,
        leased: &LeasedJob,
        token: &LinkToken,
        record: &TokenRecord,
        account: &Account,
        to: Address,
    ) -> Result<(), Unsent> {
        let core = &self.core;
        let link = core.site.base().link(token);
        let cancel = self.cancel_link(record.key, record.selector, &record.user);
        let (life, locale) = (core.settings.link_life, account.locale.as_deref());
        let letter = core
            .templates
            .reset_link(&ResetLink {
                cancel: cancel.as_ref(),
                ..ResetLink::new(&core.site, &link, life, locale)
            })
            .map_err(|e| self.failed_in(leased.job.id, Backend::Templates, Step::Deliver, e))?;
        let message = Message::new(Kind::ResetLink, leased.lease, &core.site, to, letter)
            .map_err(|e| self.failed_in(leased.job.id, Backend::Templates, Step::Deliver, e))?;
        self.send(leased.job.id, &message, Step::Deliver).await
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
        let cancel = flow.cancel_link(*key, *token, user);
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
        if now >= at + self.core.settings.link_life + LONGEST_PAUSE {
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

    async fn send(&self, job: JobId, message: &Message, step: Step) -> Result<(), Unsent> {
        self.core.mailer.send(message).await.map_err(|error| {
            let undone = if error.is_transient() {
                Undone::Later
            } else {
                Undone::Never
            };
            let arrived = error.may_have_arrived();
            let _ = self.failed_in(job, Backend::Mailer, step, error);
            Unsent { undone, arrived }
        })
    }

    /// This flow inside the tenant that a job names.
    fn of(&self, tenant: Option<&Tenant>) -> ResetFlow {
        ResetFlow {
            core: self.core.clone(),
            tenant: tenant.cloned(),
        }
    }
}
