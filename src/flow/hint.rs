//! Letters without a link, for those who get none: strangers, and who logs in elsewhere.

use std::time::Duration;

use crate::account::{Address, Identifier};
use crate::audit::{Step, Withheld};
use crate::error::Backend;
use crate::flow::ResetFlow;
use crate::flow::deliver::Undone;
use crate::flow::outgoing::{Content, Grant};
use crate::limit::{Decision, Quota};
use crate::mail::Occasion;
use crate::queue::LeasedJob;
use crate::token::Purpose;

/// What is mailed when somebody asks for a link, or for a code by mail, to an account that has no
/// password of its own, because it logs in through another provider (W68). Who asks for a code by
/// text message gets nothing.
///
/// Whatever it is goes to an address of the account that its owner confirmed, and is one of the
/// mails that the account gets in an hour; those that answer a request for a code are counted with
/// its codes.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ExternalAccounts {
    /// Nothing.
    #[default]
    Nothing,
    /// A letter that says so ([`Templates::use_provider`](crate::mail::Templates::use_provider)).
    /// It holds no link and nothing secret.
    UseProvider,
    /// A link with which its owner may choose the account's first password, in a letter of its own
    /// ([`Occasion::FirstAsked`]). From then on the account has two ways in, so this is for services
    /// that allow both. A code sets no first password: who asks for one gets the letter of
    /// [`UseProvider`](Self::UseProvider).
    FirstPassword,
}

/// How often "you have no account here" is mailed; see
/// [`Builder::tell_strangers`](crate::flow::Builder::tell_strangers).
///
/// Both are counted over all tenants. A mail that fails is tried again under a budget of its own,
/// as many times wider as there are tries.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Strangers {
    /// To one address: once a day. Capital letters, what stands behind a `+` and dots before the
    /// `@` make no other address.
    pub address: Quota,
    /// To all addresses together: 100 an hour.
    pub all: Quota,
}

impl Default for Strangers {
    fn default() -> Self {
        Self {
            address: Quota::new(1, Duration::from_secs(86_400)),
            all: Quota::new(100, Duration::from_secs(3_600)),
        }
    }
}

impl ResetFlow {
    /// What the owner of an account without a password is mailed.
    pub(super) fn content_without_password(&self) -> Option<Content> {
        let settings = &self.core.settings;
        match settings.external {
            ExternalAccounts::Nothing => None,
            ExternalAccounts::UseProvider => Some(Content::UseProvider),
            ExternalAccounts::FirstPassword => Some(Content::Link {
                grant: Grant {
                    purpose: Purpose::First,
                    life: settings.link_life,
                },
                occasion: Occasion::FirstAsked,
            }),
        }
    }

    /// Where an identifier that is nobody's is mailed to: the only mail to an address that was
    /// typed.
    pub(super) fn to_stranger(&self, identifier: &Identifier) -> Result<Address, Withheld> {
        if self.core.settings.strangers.is_none() {
            return Err(Withheld::Unknown);
        }
        Address::parse(identifier.as_str()).map_err(|_| Withheld::Unknown)
    }

    /// Charges the letters to strangers; `stranger` is the address of one, if this is such a letter.
    /// Two calls for everyone, whoever it is about: for those who are none, to a bucket that nobody
    /// reads.
    pub(super) async fn among_strangers(
        &self,
        leased: &LeasedJob,
        identifier: &Identifier,
        stranger: Option<&Address>,
    ) -> Result<Result<(), Withheld>, Undone> {
        let Some(strangers) = self.core.settings.strangers else {
            return Ok(Ok(()));
        };
        let tries = match leased.lease.attempt {
            0 | 1 => 1,
            _ => self.core.settings.link_retry.attempts,
        };
        let idle = identifier.canonical();
        let (bucket, label) = match stranger {
            Some(address) => (mailbox(address), "hint-address"),
            None => (idle.to_string(), "hint-nobody"),
        };
        let address = self.charge_hint(leased, label, &bucket, strangers.address, tries);
        let mut allowed = address.await?;
        // What the address's own limit refuses must not use up everybody's.
        let (bucket, label) = match label {
            "hint-address" if allowed => ("", "hint-all"),
            _ => (&*idle, "hint-nobody"),
        };
        allowed &= self
            .charge_hint(leased, label, bucket, strangers.all, tries)
            .await?;
        Ok(match stranger {
            Some(_) if !allowed => Err(Withheld::MailLimit),
            _ => Ok(()),
        })
    }

    async fn charge_hint(
        &self,
        leased: &LeasedJob,
        label: &str,
        bucket: &str,
        quota: Quota,
        tries: u32,
    ) -> Result<bool, Undone> {
        // A first try may have died before it was charged, so later ones are not free.
        let (label, quota) = match tries {
            1 => (label.to_owned(), quota),
            _ => (format!("{label}-again"), quota.times(tries)),
        };
        // One mailbox is one mailbox, whichever tenant it is not known to.
        let key = self.of(None).limit_key(&label, bucket.as_bytes());
        let decision = self.core.limiter.check(&key, &quota, self.now()).await;
        let decision = decision
            .map_err(|e| self.failed_in(leased.job.id, Backend::Limiter, Step::Deliver, e))?;
        Ok(decision == Decision::Allow)
    }
}

/// The mailbox behind an address, coarsely: what many servers deliver to one person is one bucket.
fn mailbox(address: &Address) -> String {
    let canonical = address.canonical();
    let (local, domain) = canonical.rsplit_once('@').unwrap_or((&canonical, ""));
    let local = local.split('+').next().unwrap_or_default();
    format!("{}@{domain}", local.replace('.', ""))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    #[test]
    fn spellings_of_one_mailbox_are_one_bucket() {
        let bucket = |text| mailbox(&Address::parse(text).unwrap());
        for spelling in [
            "adalovelace@example.com",
            "Ada.Lovelace@Example.com",
            "ada.lovelace+shop@example.com",
            "a.d.a.lovelace+a+b@example.com.",
            "\u{ff41}dalovelace@example.com",
        ] {
            assert_eq!(bucket(spelling), "adalovelace@example.com", "{spelling}");
        }
        assert_ne!(bucket("ada@mail.example.com"), bucket("ada@example.com"));
    }
}
