//! A worker makes the code of a handle and sends it.
//!
//! One path for everyone, as with links: look up, count, hash, store. The code is derived from the
//! handle, so a later try sends the same one, and its record is there already.

use secrecy::{ExposeSecret, SecretString};

use crate::account::{Account, Address, Credential, Identifier};
use crate::audit::{Event, EventKind, Step, Withheld};
use crate::error::Backend;
use crate::flow::ResetFlow;
use crate::flow::code::Codes;
use crate::flow::deliver::{Budget, Undone, Unsent};
use crate::flow::outgoing::{addressee, is_unconfirmed};
use crate::mail::{Kind, Message, ResetCode};
use crate::password::PoolError;
use crate::queue::{Channel, LeasedJob};
use crate::sms::{PhoneNumber, TextMessage};
use crate::store::Insert;
use crate::token::state::Revocation;
use crate::token::{Claims, Epoch, Purpose, Selector, TokenRecord, code_of};

/// What [`Task::Code`](crate::queue::Task::Code) says.
pub(in crate::flow) struct CodeJob<'a> {
    pub(in crate::flow) identifier: &'a Identifier,
    pub(in crate::flow) channel: Channel,
    pub(in crate::flow) handle: Selector,
    pub(in crate::flow) suppressed: bool,
}

/// Where a code goes.
enum Destination {
    Address(Address),
    Phone(PhoneNumber),
}

impl Destination {
    fn as_str(&self) -> &str {
        match self {
            Self::Address(address) => address.as_str(),
            Self::Phone(number) => number.as_str(),
        }
    }
}

type Recipient = (Account, Destination);

/// Codes to one account, by mail or by text message, apart from its links.
const CODES: Budget = Budget {
    first: "mail-account-code",
    again: "mail-account-code-again",
};
const NUMBERS: Budget = Budget {
    first: "text-number",
    again: "text-number-again",
};
const COUNTRIES: Budget = Budget {
    first: "text-country",
    again: "text-country-again",
};

impl ResetFlow {
    /// Makes a code for whom the identifier means, and sends it.
    pub(in crate::flow) async fn deliver_code(
        &self,
        leased: &LeasedJob,
        job: &CodeJob<'_>,
    ) -> Result<(), Undone> {
        let flow = self.of(job.identifier.tenant());
        // A process that was built without codes leaves them to another one.
        let codes = flow.core.settings.codes.ok_or(Undone::Later)?;
        let mut event = flow.event(EventKind::Issued);
        event.job = Some(leased.job.id);
        event.identifier = Some(flow.pseudonym(job.identifier));
        flow.deliver_code_in_tenant(leased, job, &codes, event)
            .await
    }

    async fn deliver_code_in_tenant(
        &self,
        leased: &LeasedJob,
        job: &CodeJob<'_>,
        codes: &Codes,
        mut event: Event,
    ) -> Result<(), Undone> {
        let found = self.core.users.find(job.identifier).await;
        let found = found.map_err(|e| self.failed_code(leased, Backend::Users, e))?;
        event.user = found.as_ref().map(|account| account.id.clone());
        let mut recipient = if job.suppressed {
            Err(Withheld::IdentifierLimit)
        } else {
            self.code_recipient(found, job)
        };
        let stand_in = self.stand_in(job.identifier.canonical().as_bytes())?;
        let decoy = (stand_in.account, Destination::Address(stand_in.address));

        let allowed = self.code_budget(leased, job.channel, &recipient, &decoy);
        if let Err(why) = allowed.await? {
            recipient = recipient.and(Err(why));
        }
        let (account, destination) = recipient.as_ref().unwrap_or(&decoy);
        let key = self.core.keyring.active();
        let epoch = Epoch::of(key, account, destination.as_str());
        let tries = self.code_tries(&account.id, &epoch).await;
        let tries = tries.map_err(|e| self.failed_code(leased, Backend::Tokens, e))?;
        if tries >= codes.tries_per_account {
            recipient = recipient.and(Err(Withheld::CodesLocked));
        }

        let stored = recipient.as_ref().unwrap_or(&decoy);
        let record = self.store_code(leased, job, codes, stored).await?;
        let Some(record) = record else {
            event.kind = EventKind::Withheld(recipient.err().unwrap_or(Withheld::LiveTokens));
            self.record(event);
            return Ok(());
        };
        // Looked at behind the insert, as with links.
        let holder = recipient
            .as_ref()
            .map_or(&record.user, |(account, _)| &account.id);
        match self.paused(holder).await {
            Ok(false) => {}
            Ok(true) => {
                self.free(leased.job.id, &record, Revocation::Disowned)
                    .await;
                recipient = recipient.and(Err(Withheld::Paused));
            }
            // The next try finds the record, which nobody was told of.
            Err(error) => return Err(error.into()),
        }
        let (account, destination) = match recipient {
            Ok(recipient) => recipient,
            Err(why) => {
                event.kind = EventKind::Withheld(why);
                self.record(event);
                return Ok(());
            }
        };
        event.token = Some(record.selector);
        self.record(event.clone());
        let sent = self.send_code(leased, codes, &record, &account, &destination);
        match sent.await {
            Ok(()) => {
                event.kind = match destination {
                    Destination::Address(_) => EventKind::CodeSent,
                    Destination::Phone(_) => EventKind::TextSent,
                };
                self.record(event);
                Ok(())
            }
            Err(Unsent { undone, arrived }) => {
                event.kind = EventKind::MailFailed {
                    attempt: leased.lease.attempt,
                };
                self.record(event);
                // The next try sends the same code, so its record stays for it.
                if matches!(undone, Undone::Never) && !arrived {
                    self.free(leased.job.id, &record, Revocation::Undelivered)
                        .await;
                }
                Err(undone)
            }
        }
    }

    fn code_recipient(
        &self,
        found: Option<Account>,
        job: &CodeJob<'_>,
    ) -> Result<Recipient, Withheld> {
        let account = self.usable(found.ok_or(Withheld::Unknown)?)?;
        if matches!(account.credential, Credential::External) {
            return Err(Withheld::External);
        }
        let destination = match job.channel {
            Channel::Mail => Destination::Address(addressee(&account, job.identifier)?),
            // By both channels alike: an address that nobody confirmed names nobody (W5).
            Channel::Sms if is_unconfirmed(&account, job.identifier) => {
                return Err(Withheld::Unverified);
            }
            Channel::Sms => Destination::Phone(account.phone.clone().ok_or(Withheld::NoPhone)?),
        };
        Ok((account, destination))
    }

    /// What one account, and for text messages one number and one country, may get. Charged at
    /// every try, a decoy's like a real one's.
    async fn code_budget(
        &self,
        leased: &LeasedJob,
        channel: Channel,
        recipient: &Result<Recipient, Withheld>,
        (decoy, _): &Recipient,
    ) -> Result<Result<(), Withheld>, Undone> {
        let account = recipient
            .as_ref()
            .map_or(&decoy.id, |(account, _)| &account.id);
        let (number, country) = match recipient {
            Ok((_, Destination::Phone(number))) => (number.as_str(), number.country_prefix()),
            _ => (decoy.id.as_str(), decoy.id.as_str()),
        };
        let mails = self.core.settings.limits.mails;
        let texts = self.core.settings.text_limits;
        let account = (&CODES, account.as_str(), mails, Withheld::MailLimit);
        let texts = [
            (&NUMBERS, number, texts.number, Withheld::SmsLimit),
            (&COUNTRIES, country, texts.country, Withheld::SmsLimit),
        ];
        let texts = (channel == Channel::Sms).then_some(texts);
        let mut outcome = Ok(());
        for (budget, subject, quota, why) in
            [account].into_iter().chain(texts.into_iter().flatten())
        {
            if !self.charge(leased, budget, subject, quota).await? {
                outcome = outcome.and(Err(why));
            }
        }
        Ok(outcome)
    }

    /// The code's record: that of an earlier try, or a new one; `None` where it has no place.
    async fn store_code(
        &self,
        leased: &LeasedJob,
        job: &CodeJob<'_>,
        codes: &Codes,
        (account, destination): &Recipient,
    ) -> Result<Option<TokenRecord>, Undone> {
        let failed = |backend, source| self.failed_code(leased, backend, source);
        let tokens = &self.core.tokens;
        let earlier = tokens.find(&job.handle).await;
        let earlier = earlier.map_err(|e| failed(Backend::Tokens, e))?;
        if let Some(record) = earlier {
            let same = record.purpose == Purpose::Code && record.user == account.id;
            return Ok(same.then_some(record));
        }
        let key = self.core.keyring.active();
        let now = self.now();
        let epoch = Epoch::of(key, account, destination.as_str());
        let expires_at = now + codes.life;
        let claims = Claims {
            purpose: Purpose::Code,
            tenant: self.tenant.as_ref(),
            user: &account.id,
            epoch: &epoch,
            expires_at,
        };
        let code = code_of(key, &job.handle, codes.digits);
        let digest = claims.digest(key, code.expose_secret().as_bytes());
        let salt = *job.handle.as_bytes();
        let stretched = self.core.hashing.stretch(digest, salt).await;
        let digest = stretched.map_err(|error| match error {
            // Overload is not a failure; the job waits like everybody else.
            PoolError::Busy => Undone::Later,
            error => failed(Backend::Hasher, error.into()).into(),
        })?;
        let (selector, tenant) = (job.handle, self.tenant.clone());
        let record = TokenRecord::new(
            selector,
            Purpose::Code,
            tenant,
            account.id.clone(),
            epoch,
            key.id,
            digest,
            now,
            expires_at,
        );
        let live = self.core.settings.live_codes();
        match tokens.insert(&record, live).await {
            Ok(Insert::Done) => Ok(Some(record)),
            Ok(Insert::Full) => Ok(None),
            Err(source) => Err(failed(Backend::Tokens, source).into()),
        }
    }

    async fn send_code(
        &self,
        leased: &LeasedJob,
        codes: &Codes,
        record: &TokenRecord,
        account: &Account,
        destination: &Destination,
    ) -> Result<(), Unsent> {
        let core = &self.core;
        let failed = |backend, source| self.failed_code(leased, backend, source);
        // Made with the key of the record, which may have left the active place meanwhile.
        let key = core.keyring.get(record.key).ok_or(Unsent::for_good())?;
        let now = self.now();
        if now >= record.expires_at || !record.state.is_open() {
            return Err(Unsent::for_good());
        }
        let valid_for = record.expires_at.since(now);
        let code: SecretString = code_of(key, &record.selector, codes.digits);
        let locale = account.locale.as_deref();
        let cancel = self.cancel_link(record.key, record.selector, &record.user);
        let mut facts = ResetCode::new(&core.site, &code, valid_for, locale);
        // Not in a text message, which is short and holds no link.
        facts.cancel = cancel
            .as_ref()
            .filter(|_| matches!(destination, Destination::Address(_)));
        match destination {
            Destination::Address(address) => {
                let letter = core.templates.reset_code(&facts);
                let letter = letter.map_err(|e| failed(Backend::Templates, e))?;
                let (kind, to) = (Kind::ResetCode, address.clone());
                let message = Message::new(kind, leased.lease, &core.site, to, letter)
                    .map_err(|e| failed(Backend::Templates, e.into()))?;
                self.send(leased.job.id, &message, Step::Deliver).await
            }
            Destination::Phone(number) => {
                let text = core.templates.code_text(&facts);
                let text = text.map_err(|e| failed(Backend::Templates, e))?;
                let message = TextMessage::new(leased.job.id, number.clone(), text);
                // A process that was built without text messages leaves them to another one.
                let sender = core.sms.as_ref().ok_or(Unsent::for_now())?;
                let sent = sender.send(&message).await;
                sent.map_err(|error| self.unsent(leased.job.id, Backend::Sms, Step::Deliver, error))
            }
        }
    }

    fn failed_code(
        &self,
        leased: &LeasedJob,
        backend: Backend,
        source: crate::error::BoxError,
    ) -> crate::error::BackendError {
        self.failed_in(leased.job.id, backend, Step::Deliver, source)
    }
}
