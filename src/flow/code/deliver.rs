//! A worker makes the code of a handle and sends it.
//!
//! One path for everyone, as with links: look up, count, hash, store. The code is derived from the
//! handle, so a later try sends the same one, and its record is there already.

use std::time::Duration;

use secrecy::ExposeSecret;

use crate::account::{Account, Address, Credential, Identifier, UserId};
use crate::audit::{Event, EventKind, Mailing, Step, Withheld};
use crate::error::Backend;
use crate::flow::code::Codes;
use crate::flow::deliver::{Budget, Undone, Unsent};
use crate::flow::outgoing::addressee;
use crate::flow::{ExternalAccounts, ResetFlow};
use crate::mail::{Kind, ResetCode};
use crate::password::PoolError;
use crate::queue::{Channel, LeasedJob};
use crate::sms::{PhoneNumber, TextMessage};
use crate::store::Insert;
use crate::token::state::Revocation;
use crate::token::{
    Beside, CodeHandle, Epoch, Purpose, Selector, TokenDigest, TokenRecord, code_of,
};

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

/// A code, or a letter that says why there is none.
enum Outgoing {
    Code(Recipient),
    Hint(Kind, Account, Address),
}

impl Outgoing {
    fn account(&self) -> &Account {
        match self {
            Self::Code((account, _)) | Self::Hint(_, account, _) => account,
        }
    }
}

/// Whose code is stored: a letter without one stores what a letter that is not written stores.
fn holder<'a>(outgoing: &'a Result<Outgoing, Withheld>, decoy: &'a Recipient) -> &'a Recipient {
    match outgoing {
        Ok(Outgoing::Code(recipient)) => recipient,
        _ => decoy,
    }
}

const A_MOMENT: Duration = Duration::from_secs(5);

/// Codes to one account, by mail or by text message, apart from its links.
const CODES: Budget = Budget {
    first: "mail-account-code",
    again: Some("mail-account-code-again"),
};
/// Every try costs money, so later ones have no budget of their own.
const NUMBERS: Budget = Budget {
    first: "text-number",
    again: None,
};
const COUNTRIES: Budget = Budget {
    first: "text-country",
    again: None,
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
        // Whoever can write to the queue chooses no handle.
        if !flow.drew(&CodeHandle::of(job.handle)) {
            return Err(Undone::Never);
        }
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
        // One for each handle: whatever a stand-in's earlier codes left behind would tell it from an
        // account.
        let stand_in = self.stand_in(job.handle.as_bytes())?;
        let decoy = (stand_in.account, Destination::Address(stand_in.address));
        let mut outgoing = if job.suppressed {
            Err(Withheld::IdentifierLimit)
        } else {
            self.code_outgoing(found, job, &decoy.0)
        };

        let allowed = self.code_budget(leased, job.channel, &outgoing, &decoy);
        outgoing = allowed.await?.and(outgoing);
        if job.channel == Channel::Mail {
            let stranger = match &outgoing {
                Ok(Outgoing::Hint(Kind::NoAccount, _, address)) => Some(address),
                _ => None,
            };
            let allowed = self.among_strangers(leased, job.identifier, stranger);
            outgoing = allowed.await?.and(outgoing);
        }
        let (account, destination) = holder(&outgoing, &decoy);
        let epoch = Epoch::of(self.core.keyring.active(), account, destination.as_str());
        let held_by = account.id.clone();
        let tries = self.code_tries(&held_by, &epoch).await;
        let tries = tries.map_err(|e| self.failed_code(leased, Backend::Tokens, e))?;
        if tries.is_some_and(|tries| tries >= codes.tries_per_account) {
            outgoing = outgoing.and(Err(Withheld::CodesLocked));
        }

        let stored = holder(&outgoing, &decoy);
        let (record, withheld) = self
            .store_code(leased, job, codes, stored, &decoy.0)
            .await?;
        if let Some(why) = withheld {
            outgoing = outgoing.and(Err(why));
        }
        let counted = tries.is_some() && record.user == held_by;
        self.store_counter(&record, counted, &decoy.0.id).await;
        // Looked at behind the insert, as with links.
        let asked = outgoing
            .as_ref()
            .map_or(&record.user, |outgoing| &outgoing.account().id);
        match self.paused(asked).await {
            Ok(false) => {}
            Ok(true) => {
                self.free(leased.job.id, &record, Revocation::Disowned)
                    .await;
                outgoing = outgoing.and(Err(Withheld::Paused));
            }
            // The next try finds the record, which nobody was told of.
            Err(error) => return Err(error.into()),
        }
        let outgoing = match outgoing {
            Ok(outgoing) => outgoing,
            Err(why) => {
                event.kind = EventKind::Withheld(why);
                self.record(event);
                return Ok(());
            }
        };
        let (sent, kind, what) = match &outgoing {
            Outgoing::Hint(kind, account, address) => {
                let locale = account.locale.as_deref();
                let sent = self.send_hint(leased, *kind, address, locale).await;
                (sent, EventKind::HintSent, Mailing::Hint)
            }
            Outgoing::Code((account, destination)) => {
                event.token = Some(record.selector);
                self.record(event.clone());
                let sent = self.send_code(leased, codes, &record, account, destination);
                let (kind, what) = match destination {
                    Destination::Address(_) => (EventKind::CodeSent, Mailing::Code),
                    Destination::Phone(_) => (EventKind::TextSent, Mailing::Text),
                };
                (sent.await, kind, what)
            }
        };
        match sent {
            Ok(()) => {
                event.kind = kind;
                self.record(event);
                Ok(())
            }
            Err(Unsent { undone, arrived }) => {
                event.kind = EventKind::MailFailed {
                    what,
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

    fn code_outgoing(
        &self,
        found: Option<Account>,
        job: &CodeJob<'_>,
        stand_in: &Account,
    ) -> Result<Outgoing, Withheld> {
        let may_hint = job.channel == Channel::Mail;
        let account = match found {
            Some(account) => self.usable(account)?,
            None if may_hint => {
                let address = self.to_stranger(job.identifier)?;
                return Ok(Outgoing::Hint(Kind::NoAccount, stand_in.clone(), address));
            }
            None => return Err(Withheld::Unknown),
        };
        if matches!(account.credential, Credential::External) {
            if !may_hint || self.core.settings.external == ExternalAccounts::Nothing {
                return Err(Withheld::External);
            }
            let address = addressee(&account, job.identifier)?;
            return Ok(Outgoing::Hint(Kind::UseProvider, account, address));
        }
        // For text messages too: whose number fell into other hands must hear of the change (R71).
        let address = addressee(&account, job.identifier)?;
        let destination = match job.channel {
            Channel::Mail => Destination::Address(address),
            Channel::Sms => Destination::Phone(account.phone.clone().ok_or(Withheld::NoPhone)?),
        };
        Ok(Outgoing::Code((account, destination)))
    }

    /// What one account, and for text messages one number and one country, may get. Charged at
    /// every try, a decoy's like a real one's.
    async fn code_budget(
        &self,
        leased: &LeasedJob,
        channel: Channel,
        outgoing: &Result<Outgoing, Withheld>,
        (decoy, _): &Recipient,
    ) -> Result<Result<(), Withheld>, Undone> {
        let idle = decoy.id.as_str();
        let account = outgoing
            .as_ref()
            .map_or(idle, |outgoing| outgoing.account().id.as_str());
        let mails = self.core.settings.limits.mails;
        let mut outcome = match self.charge(leased, &CODES, account, mails).await? {
            true => Ok(()),
            false => Err(Withheld::MailLimit),
        };
        if channel == Channel::Mail {
            return Ok(outcome);
        }
        let (number, country) = match outgoing {
            Ok(Outgoing::Code((_, Destination::Phone(number)))) => {
                (number.as_str(), number.country_prefix())
            }
            _ => (idle, idle),
        };
        let limits = self.core.settings.text_limits;
        let texts = [
            (&NUMBERS, number, limits.number),
            (&COUNTRIES, country, limits.country),
        ];
        // Telephones know no tenants.
        let flow = self.of(None);
        for (budget, subject, quota) in texts {
            // What is refused already uses up nobody's.
            let subject = if outcome.is_ok() { subject } else { idle };
            if !flow.charge(leased, budget, subject, quota).await? {
                outcome = outcome.and(Err(Withheld::SmsLimit));
            }
        }
        Ok(outcome)
    }

    /// The code's record: that of an earlier try, or a new one. Every handle has one, so that every
    /// code is tried alike; where the account has no place left, it is the stand-in's.
    async fn store_code(
        &self,
        leased: &LeasedJob,
        job: &CodeJob<'_>,
        codes: &Codes,
        (account, destination): &Recipient,
        stand_in: &Account,
    ) -> Result<(TokenRecord, Option<Withheld>), Undone> {
        let failed = |backend, source| self.failed_code(leased, backend, source);
        let tokens = &self.core.tokens;
        let earlier = tokens.find(&job.handle).await;
        let earlier = earlier.map_err(|e| failed(Backend::Tokens, e))?;
        if let Some(record) = earlier {
            let same = record.purpose == Purpose::Code && record.user == account.id;
            let withheld = (!same).then_some(Withheld::LiveTokens);
            return Ok((record, withheld));
        }
        let key = self.core.keyring.active();
        let now = self.now();
        let epoch = Epoch::of(key, account, destination.as_str());
        let mut record = TokenRecord::new(
            job.handle,
            Purpose::Code,
            self.tenant.clone(),
            account.id.clone(),
            epoch,
            key.id,
            TokenDigest::from_bytes([0; 32]),
            now,
            now + codes.life,
        );
        let code = code_of(key, &record.claims(), &job.handle, codes.digits);
        let digest = record.digest_of(key, code.expose_secret().as_bytes());
        let salt = *job.handle.as_bytes();
        let stretched = self.core.hashing.stretch(digest, salt).await;
        record.digest = stretched.map_err(|error| match error {
            // Overload is not a failure; the job waits like everybody else.
            PoolError::Busy => Undone::Later,
            error => failed(Backend::Hasher, error.into()).into(),
        })?;
        let live = self.core.settings.live_codes();
        match tokens.insert(&record, live).await {
            Ok(Insert::Done) => Ok((record, None)),
            Ok(Insert::Full) => {
                // The digest is of nobody's code now.
                record.user = stand_in.id.clone();
                let inserted = tokens.insert(&record, live).await;
                let (Insert::Done | Insert::Full) =
                    inserted.map_err(|e| failed(Backend::Tokens, e))?;
                Ok((record, Some(Withheld::LiveTokens)))
            }
            Err(source) => Err(failed(Backend::Tokens, source).into()),
        }
    }

    /// The counter that tries of this code are counted in; where it is there, one that nobody needs,
    /// so that everybody's code takes the same calls and the same rows.
    async fn store_counter(&self, record: &TokenRecord, counted: bool, stand_in: &UserId) {
        let user = if counted { stand_in } else { &record.user };
        // Where it cannot be stored, or is there from an earlier try, the first try makes do.
        let _ = self.begin_count(user, &record.epoch).await;
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
        // Made with the key of the record, which may have left the active place meanwhile.
        let key = core.keyring.get(record.key).ok_or(Unsent::for_good())?;
        let now = self.now();
        if now >= record.expires_at || !record.state.is_open() {
            return Err(Unsent::for_good());
        }
        // The hash and the insert took their moment; ten minutes are not nine for that.
        let valid_for = (record.expires_at.since(now) + A_MOMENT).min(codes.life);
        let code = code_of(key, &record.claims(), &record.selector, codes.digits);
        let locale = account.locale.as_deref();
        let cancel = self.cancel_link(Beside::Token, record.key, record.selector, &record.user);
        let mut facts = ResetCode::new(&core.site, &code, valid_for, locale);
        // Not in a text message, which is short and holds no link.
        facts.cancel = cancel
            .as_ref()
            .filter(|_| matches!(destination, Destination::Address(_)));
        match destination {
            Destination::Address(address) => {
                let letter = core.templates.reset_code(&facts);
                self.send_letter(leased, Kind::ResetCode, address, letter)
                    .await
            }
            Destination::Phone(number) => {
                let text = core.templates.code_text(&facts);
                let text = text.map_err(|e| self.failed_code(leased, Backend::Templates, e))?;
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
