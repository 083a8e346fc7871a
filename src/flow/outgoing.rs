//! Who gets what: the one decision about every mail that leads to a new password.

use std::time::Duration;

use crate::account::{
    Account, Address, Credential, Identifier, InvalidText, MAX_ADDRESSES, Status,
};
use crate::audit::Withheld;
use crate::flow::ResetFlow;
use crate::mail::Occasion;
use crate::token::Purpose;

/// What a token is good for, and for how long.
#[derive(Clone, Copy)]
pub(super) struct Grant {
    pub(super) purpose: Purpose,
    pub(super) life: Duration,
}

/// What a mail says.
#[derive(Clone, Copy)]
pub(super) enum Content {
    Link { grant: Grant, occasion: Occasion },
    NoAccount,
    UseProvider,
}

impl Content {
    pub(super) fn grant(&self) -> Option<Grant> {
        match self {
            Self::Link { grant, .. } => Some(*grant),
            Self::NoAccount | Self::UseProvider => None,
        }
    }

    pub(super) fn started(grant: Grant) -> Self {
        let occasion = match grant.purpose {
            Purpose::First => Occasion::First,
            _ => Occasion::Operator,
        };
        Self::Link { grant, occasion }
    }
}

/// A mail and its address.
pub(super) struct Outgoing {
    pub(super) content: Content,
    pub(super) account: Account,
    pub(super) address: Address,
}

impl ResetFlow {
    /// What is mailed to whom, or why nothing is.
    pub(super) fn outgoing(
        &self,
        found: Option<Account>,
        identifier: &Identifier,
        stand_in: &Outgoing,
    ) -> Result<Outgoing, Withheld> {
        let Some(account) = found else {
            return Ok(Outgoing {
                content: Content::NoAccount,
                account: stand_in.account.clone(),
                address: self.to_stranger(identifier)?,
            });
        };
        let account = self.usable(account)?;
        let content = match account.credential {
            Credential::External => self.content_without_password().ok_or(Withheld::External)?,
            _ => stand_in.content,
        };
        let address = addressee(&account, identifier)?;
        Ok(Outgoing {
            content,
            account,
            address,
        })
    }

    /// Whom a link that an operator asks for goes to, or why there is none.
    pub(super) fn started(
        &self,
        found: Option<Account>,
        purpose: Purpose,
    ) -> Result<(Account, Address), Withheld> {
        let account = self.usable(found.ok_or(Withheld::Unknown)?)?;
        let has_none = matches!(account.credential, Credential::External);
        match purpose {
            Purpose::First if !has_none => return Err(Withheld::HasPassword),
            Purpose::First => {}
            _ if has_none => return Err(Withheld::External),
            _ => {}
        }
        let address = account.verified.first().ok_or(Withheld::Unverified)?;
        let address = address.clone();
        Ok((account, address))
    }

    pub(super) fn usable(&self, account: Account) -> Result<Account, Withheld> {
        if account.tenant != self.tenant {
            return Err(Withheld::WrongTenant);
        }
        match account.status {
            Status::Active => Ok(account),
            Status::Disabled => Err(Withheld::Disabled),
        }
    }

    /// The stand-in where there is no one to mail: bounded and purged like a real one, one for
    /// each identifier, and never equal to an account's id.
    pub(super) fn stand_in(&self, subject: &[u8]) -> Result<Outgoing, InvalidText> {
        let id = self.limit_key("decoy", subject).as_user()?;
        let address = Address::parse("decoy@example.org")?;
        let account = Account::new(id, Credential::External).verified(address.clone());
        let grant = Grant {
            purpose: Purpose::Reset,
            life: self.core.settings.link_life,
        };
        Ok(Outgoing {
            content: Content::Link {
                grant,
                occasion: Occasion::Asked,
            },
            account,
            address,
        })
    }
}

/// The mail goes to an address on record, never to what was typed (R12, W2). Where the identifier
/// is an address of the account, it has to be one that is verified today (W5).
pub(super) fn addressee(account: &Account, identifier: &Identifier) -> Result<Address, Withheld> {
    let canonical = identifier.canonical();
    let meant = |address: &&Address| address.is_meant_by(&canonical);
    let verified = account.verified.iter().take(MAX_ADDRESSES).find(meant);
    let address = match verified {
        Some(address) => address,
        None if is_unconfirmed(account, identifier) => return Err(Withheld::Unverified),
        None => account.verified.first().ok_or(Withheld::Unverified)?,
    };
    Ok(address.clone())
}

/// Whether the identifier is an address of the account that is no verified one (today).
pub(super) fn is_unconfirmed(account: &Account, identifier: &Identifier) -> bool {
    let canonical = identifier.canonical();
    let meant = |address: &Address| address.is_meant_by(&canonical);
    let mut others = account.unverified.iter().chain(&account.former);
    others.any(meant) && !account.verified.iter().take(MAX_ADDRESSES).any(meant)
}
