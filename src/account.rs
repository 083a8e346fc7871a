//! The application's users: [`UserStore`], [`Account`], [`Identifier`], [`Address`].
//!
//! The crate never owns users. It asks the application for one account at a time, swaps one
//! password at a time, and trusts only addresses that the application's own table holds.

mod seen;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use unicode_normalization::UnicodeNormalization;

use crate::error::BoxError;
use crate::password::PasswordHash;
use crate::recovery::SecondFactor;
use crate::sms::PhoneNumber;

pub use seen::Seen;

/// The longest identifier and the longest address, in bytes (R20: 254 for an e-mail address).
pub const MAX_IDENTIFIER_BYTES: usize = 254;
/// How many verified addresses of one account are looked at.
pub const MAX_ADDRESSES: usize = 8;
pub(crate) const MAX_ID_BYTES: usize = 128;

/// Why a text is not an [`Identifier`], [`UserId`], [`Tenant`] or [`Address`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidText {
    /// Nothing is left after trimming white space.
    #[error("empty")]
    Empty,
    /// Longer than the type allows.
    #[error("longer than {max} bytes")]
    TooLong {
        /// The most bytes that the type takes.
        max: usize,
    },
    /// A control character, line separator or invisible direction mark.
    #[error("contains a control character")]
    ControlCharacter,
    /// Not one plain `local@domain` address.
    #[error("not a single mail address")]
    NotAnAddress,
    /// Could be read as a link, an address or a telephone number.
    #[error("not a coarse description")]
    NotCoarse,
    /// Not a telephone number in the form `+4930123456`.
    #[error("not a telephone number")]
    NotANumber,
}

/// What a person typed to say who they are: an e-mail address or a user name.
///
/// One bounded string without control characters, white space at the ends removed. What counts as
/// *equal* is the [`UserStore`]'s decision. `Debug` does not print it.
///
/// ```
/// use password_reset::account::{Identifier, InvalidText};
///
/// assert_eq!(Identifier::parse(" ada@example.com ").unwrap().as_str(), "ada@example.com");
/// // Refused: a header line smuggled behind the address (W9), and more than 254 bytes (R20).
/// assert_eq!(
///     Identifier::parse("ada@example.com\r\nBcc: eve@example.org").unwrap_err(),
///     InvalidText::ControlCharacter,
/// );
/// assert!(Identifier::parse(&"a".repeat(255)).is_err());
/// ```
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct Identifier {
    text: Box<str>,
    tenant: Option<Tenant>,
}

impl Identifier {
    /// Takes the text of one form field.
    ///
    /// # Errors
    ///
    /// [`InvalidText`] when it is empty, over 254 bytes, or holds a control character. The length
    /// is looked at first, so an oversized field costs nothing.
    pub fn parse(text: &str) -> Result<Self, InvalidText> {
        let text = bounded(text, MAX_IDENTIFIER_BYTES)?;
        Ok(Self {
            text: text.into(),
            tenant: None,
        })
    }

    /// The same identifier inside one tenant, as a [`UserStore`] is asked for it. A flow puts in
    /// its own tenant ([`ResetFlow::for_tenant`](crate::ResetFlow::for_tenant)), whatever is here.
    pub fn in_tenant(mut self, tenant: Tenant) -> Self {
        self.tenant = Some(tenant);
        self
    }

    /// The same identifier in exactly this tenant, or in none.
    pub(crate) fn within(mut self, tenant: Option<&Tenant>) -> Self {
        self.tenant = tenant.cloned();
        self
    }

    /// The text as typed, white space at the ends removed.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The tenant, where the application has tenants.
    pub fn tenant(&self) -> Option<&Tenant> {
        self.tenant.as_ref()
    }

    /// The form that limits are counted under: NFKC, lower case, no dot behind the domain.
    ///
    /// Coarse on purpose: a respelling that might reach the same account must not open a fresh
    /// bucket (W51). A user table that folds even more, such as one that ignores accents, is still
    /// bounded by the mails that one account gets. It is never mailed to and never looked up.
    pub fn canonical(&self) -> String {
        canonical(&self.text)
    }
}

impl fmt::Debug for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The text is not shown: it is personal data.
        f.debug_struct("Identifier")
            .field("tenant", &self.tenant)
            .finish_non_exhaustive()
    }
}

fn canonical(text: &str) -> String {
    let folded: String = text.nfkc().flat_map(char::to_lowercase).collect();
    // Lower-casing can leave a sequence that composes further.
    let folded: String = folded.trim().nfkc().collect();
    folded.trim_end_matches('.').to_owned()
}

/// The shared check of one line of text: length first, then white space, then characters.
pub(crate) fn bounded(text: &str, max: usize) -> Result<&str, InvalidText> {
    if text.len() > max {
        return Err(InvalidText::TooLong { max });
    }
    let text = text.trim_matches(|c: char| c.is_whitespace() && !c.is_control());
    if text.is_empty() {
        return Err(InvalidText::Empty);
    }
    if text.chars().any(is_control) {
        return Err(InvalidText::ControlCharacter);
    }
    Ok(text)
}

/// Control characters, line and paragraph separators, and characters that are not seen: a text
/// that looks the same must be the same.
pub(crate) fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{ad}' | '\u{34f}' | '\u{61c}'
            | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// A short text of the application's own that names something.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(Box<str>);

        impl $name {
            /// Takes a key of 1 to 128 bytes without control characters, exactly as it is.
            ///
            /// # Errors
            ///
            /// [`InvalidText`](crate::account::InvalidText) where the text is none of that.
            pub fn parse(text: &str) -> Result<Self, crate::account::InvalidText> {
                use crate::account::{InvalidText, MAX_ID_BYTES};

                // An id is the application's own and is shown to nobody, so characters that are
                // not seen are its business.
                match text {
                    "" => Err(InvalidText::Empty),
                    _ if text.len() > MAX_ID_BYTES => {
                        Err(InvalidText::TooLong { max: MAX_ID_BYTES })
                    }
                    _ if text.chars().any(char::is_control) => Err(InvalidText::ControlCharacter),
                    _ => Ok(Self(text.into())),
                }
            }

            /// The key.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_tuple(stringify!($name)).field(&&*self.0).finish()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

pub(crate) use text_id;

text_id! {
    /// The application's own key of an account; never an address, never reused for another person.
    ///
    /// Unique over all tenants.
    UserId
}

text_id! {
    /// One customer of an application that serves several from one installation (W43).
    Tenant
}

/// A mail address on record: only the application's user table can know one (R12).
///
/// One `local@domain`, at most 254 bytes, free of white space, separators and control characters,
/// so that it can never become two recipients or a second header line (W1, W9). `Debug` masks it.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct Address(Box<str>);

impl Address {
    /// Takes the address exactly as stored.
    ///
    /// # Errors
    ///
    /// [`InvalidText`] when it is not one plain address.
    pub fn parse(text: &str) -> Result<Self, InvalidText> {
        if bounded(text, MAX_IDENTIFIER_BYTES)?.len() != text.len() {
            return Err(InvalidText::NotAnAddress);
        }
        let forbidden = |c: char| c.is_whitespace() || "()<>[]:;,\\\"|%".contains(c);
        let plain = text.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty() && !domain.is_empty() && !domain.contains('@')
        });
        // `=?` begins an encoded word, which a mail program may read as another address.
        if !plain || text.contains("=?") || text.chars().any(forbidden) {
            return Err(InvalidText::NotAnAddress);
        }
        Ok(Self(text.into()))
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `a***@example.com`: enough to recognise one's own, too little to learn somebody else's (R30).
    pub fn masked(&self) -> String {
        let (local, domain) = self.0.split_once('@').unwrap_or((&self.0, ""));
        let first: String = local.chars().take(1).collect();
        format!("{first}***@{domain}")
    }

    /// Whether a typed identifier means this address, in the coarse sense of
    /// [`Identifier::canonical`].
    pub(crate) fn is_meant_by(&self, canonical_identifier: &str) -> bool {
        self.canonical() == canonical_identifier
    }

    /// The form that limits are counted under; see [`Identifier::canonical`].
    pub(crate) fn canonical(&self) -> String {
        canonical(&self.0)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Address").field(&"[REDACTED]").finish()
    }
}

/// What an account logs in with today.
///
/// The token is bound to a keyed digest of this value, so it dies when the value changes by any
/// path (R6, W33). Two different credentials of one account must therefore never be equal: a PHC
/// string with a random salt never is. A hash that is renewed at login is a changed credential too:
/// links that are on their way die with it.
#[derive(Clone)]
pub enum Credential {
    /// A local password, as the stored hash.
    Password(PasswordHash),
    /// A local password that this process must not see: any opaque text that changes with it, such
    /// as a version number or a digest of the hash.
    Stamp(SecretString),
    /// No local password: the account logs in through another provider (W68), or its owner was
    /// invited and has not chosen one yet.
    ///
    /// It has no version, so an account that had a password and lost it looks as it did before.
    /// Revoke its tokens when you take a password away.
    External,
}

impl Credential {
    /// The bytes that the token's epoch covers; empty for [`Credential::External`].
    ///
    /// # Security
    ///
    /// For [`Credential::Password`] this is the stored hash. Do not log it.
    pub fn expose(&self) -> &[u8] {
        match self {
            Self::Password(hash) => hash.expose().as_bytes(),
            Self::Stamp(stamp) => stamp.expose_secret().as_bytes(),
            Self::External => &[],
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "Password([REDACTED])",
            Self::Stamp(_) => "Stamp([REDACTED])",
            Self::External => "External",
        })
    }
}

/// Whether an account may be used at all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    /// In use.
    Active,
    /// Locked, suspended or closed: no token is issued, none is honoured, and a reset never
    /// brings the account back (R68, W35).
    Disabled,
}

/// What the flow needs to know of one account.
///
/// ```
/// use password_reset::account::{Account, Address, Credential, UserId};
/// use password_reset::password::PasswordHash;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let stored = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2E$aGFzaGhhc2hoYXNoaGFzaA";
/// let account = Account::new(
///     UserId::parse("42")?,
///     Credential::Password(PasswordHash::parse(stored)?),
/// )
/// .verified(Address::parse("ada@example.com")?);
/// assert!(!format!("{account:?}").contains("ada@"));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Account {
    /// The application's key.
    pub id: UserId,
    /// The tenant it belongs to, where there are tenants.
    pub tenant: Option<Tenant>,
    /// Active or disabled.
    pub status: Status,
    /// What it logs in with.
    pub credential: Credential,
    /// Addresses whose owner confirmed them; the first is the primary one.
    ///
    /// Only the first [`MAX_ADDRESSES`] are used.
    pub verified: Vec<Address>,
    /// Addresses that nobody has confirmed: they get nothing, ever (R14, W5).
    pub unverified: Vec<Address>,
    /// Addresses that were verified ones until lately. They get the notice of a changed password
    /// and nothing else: whoever takes an account over changes its address first.
    ///
    /// The notice names neither device nor place there, though after a takeover it is the owner who
    /// reads it there: who reads a former mailbox is not known. Where the site has a page for it, it holds a
    /// link to "this wasn't me" that works: whoever reads that mailbox can cancel the account's open
    /// links and codes and pause its requests for a while. So leave an address out that fell to
    /// somebody else, such as that of a former employer.
    ///
    /// How lately is the application's decision; a week is usual. Only the first
    /// [`MAX_ADDRESSES`] are used.
    pub former: Vec<Address>,
    /// The telephone number that gets codes by text message, if its owner confirmed it (R16); beside
    /// a verified address, which gets the notice.
    pub phone: Option<PhoneNumber>,
    /// The second factors that are enrolled, one entry for each kind (R67). As long as there is one,
    /// no password is set before one of them is proven; see [`recovery`](crate::recovery).
    pub second_factors: Vec<SecondFactor>,
    /// BCP 47 language tag for letters.
    pub locale: Option<String>,
    /// Words that an attacker would try first as this person's password: user name, real name.
    pub context_words: Vec<String>,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Addresses and context words are not shown: they are personal data.
        f.debug_struct("Account")
            .field("id", &self.id)
            .field("tenant", &self.tenant)
            .field("status", &self.status)
            .field("credential", &self.credential)
            .field("verified", &self.verified.len())
            .field("second_factors", &self.second_factors)
            .finish_non_exhaustive()
    }
}

impl Account {
    /// An active account with no addresses and no second factor.
    pub fn new(id: UserId, credential: Credential) -> Self {
        Self {
            id,
            tenant: None,
            status: Status::Active,
            credential,
            verified: Vec::new(),
            unverified: Vec::new(),
            former: Vec::new(),
            phone: None,
            second_factors: Vec::new(),
            locale: None,
            context_words: Vec::new(),
        }
    }

    /// Adds a verified address.
    pub fn verified(mut self, address: Address) -> Self {
        self.verified.push(address);
        self
    }

    /// Adds a second factor.
    pub fn second_factor(mut self, factor: SecondFactor) -> Self {
        self.second_factors.push(factor);
        self
    }

    /// Whether a second factor is enrolled (R67).
    pub fn has_second_factor(&self) -> bool {
        !self.second_factors.is_empty()
    }
}

/// Where a request came from, as far as the application trusts it.
///
/// The crate reads no headers (R37, W53): put in the address that *your* proxy vouches for, or
/// none. All requests without an address share one bucket; they are limited, not exempt.
///
/// ```
/// use password_reset::account::Client;
///
/// let known = Client::from_ip([192, 0, 2, 7].into());
/// let unknown = Client::unknown();
/// # let _ = (known, unknown);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Client {
    address: Option<IpAddr>,
}

impl Client {
    /// A client at this network address.
    pub fn from_ip(address: IpAddr) -> Self {
        Self {
            address: Some(address),
        }
    }

    /// A client of which nothing is known.
    pub fn unknown() -> Self {
        Self::default()
    }

    /// The whole address, for a [`HumanCheck`](crate::human::HumanCheck) that wants to know it.
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// The network that sources are counted under together: an IPv4 /24, or the first 48 bits of an
    /// IPv6 address, which is what one customer may well have all of (RFC 6177).
    pub fn network(&self) -> Option<IpAddr> {
        self.address.map(|address| match address.to_canonical() {
            IpAddr::V4(v4) => IpAddr::V4((u32::from(v4) & (u32::MAX << 8)).into()),
            IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & (u128::MAX << 80)).into()),
        })
    }

    /// The prefix that limits are counted under: an IPv4 address, or the first 64 bits of an
    /// IPv6 address; a v4-mapped address counts as the IPv4 address it maps.
    pub fn prefix(&self) -> Option<IpAddr> {
        self.address.map(|address| match address.to_canonical() {
            IpAddr::V6(v6) => {
                let network = u128::from(v6) & (u128::MAX << 64);
                IpAddr::V6(network.into())
            }
            v4 => v4,
        })
    }
}

/// The answer of [`UserStore::set_password`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum Swap {
    /// The password was the expected one and is now the new one.
    Done,
    /// The account's credential is not the expected one (any more), or the account is gone.
    /// Nothing was changed.
    Stale,
}

/// Which of an account's sessions and grants must end.
///
/// One variant today: a reset has no "current" session to spare (R66, W62, W63).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SessionScope {
    /// Everything that logs in without the password: sessions, remember-me and refresh tokens,
    /// offline grants, half-finished logins, remembered devices, API tokens.
    All,
}

/// The application's users.
///
/// On SQL, `set_password` is one statement, `UPDATE users SET password_hash = ? WHERE id = ? AND
/// password_hash = ?`, and its row count is the answer. In memory:
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::Mutex;
/// use password_reset::account::{
///     Account, Address, Credential, Identifier, SessionScope, Swap, UserId, UserStore,
/// };
/// use password_reset::error::BoxError;
/// use password_reset::password::PasswordHash;
///
/// struct Row { mail: String, hash: String, sessions: u32 }
/// struct Users(Mutex<HashMap<String, Row>>);
///
/// fn account(id: &str, row: &Row) -> Result<Account, BoxError> {
///     let credential = Credential::Password(PasswordHash::parse(&row.hash)?);
///     Ok(Account::new(UserId::parse(id)?, credential).verified(Address::parse(&row.mail)?))
/// }
///
/// #[password_reset::async_trait]
/// impl UserStore for Users {
///     async fn find(&self, identifier: &Identifier) -> Result<Option<Account>, BoxError> {
///         let users = self.0.lock().map_err(|_| "poisoned")?;
///         let found = users.iter().find(|(_, row)| row.mail == identifier.as_str());
///         found.map(|(id, row)| account(id, row)).transpose()
///     }
///
///     async fn account(&self, user: &UserId) -> Result<Option<Account>, BoxError> {
///         let users = self.0.lock().map_err(|_| "poisoned")?;
///         users.get(user.as_str()).map(|row| account(user.as_str(), row)).transpose()
///     }
///
///     async fn set_password(
///         &self,
///         user: &UserId,
///         expected: &Credential,
///         new: &PasswordHash,
///     ) -> Result<Swap, BoxError> {
///         let mut users = self.0.lock().map_err(|_| "poisoned")?;
///         match users.get_mut(user.as_str()) {
///             Some(row) if row.hash.as_bytes() == expected.expose() => {
///                 row.hash = new.expose().to_owned();
///                 Ok(Swap::Done)
///             }
///             _ => Ok(Swap::Stale),
///         }
///     }
///
///     async fn end_sessions(&self, user: &UserId, _: SessionScope) -> Result<(), BoxError> {
///         let mut users = self.0.lock().map_err(|_| "poisoned")?;
///         users.entry(user.as_str().to_owned()).and_modify(|row| row.sessions = 0);
///         Ok(())
///     }
/// }
/// ```
///
/// # Contract
///
/// Each line names the check of the conformance kit (`testing::kit::users`) that shows it.
///
/// - `set_password` MUST compare and change in one atomic step, and MUST answer
///   [`Swap::Stale`] without changing anything when the stored credential is not `expected`
///   (`swap_is_compare_and_swap`, `one_swap_wins`). Otherwise two tokens change the password
///   twice, and a reset undoes a change that its owner has just made (R64).
/// - For [`Credential::External`] `set_password` MUST set the first password of an account that has
///   none, once (`a_first_password_is_set_once`), on SQL with `AND password_hash IS NULL`. A store
///   without such accounts answers [`Swap::Stale`]. Otherwise two links of an invitation set two
///   passwords, or an old one replaces a password that its owner has chosen since (W68).
/// - `set_password` MUST be visible to `account` and `find` as soon as it has answered
///   (`a_swap_is_seen_at_once`). Otherwise a used token looks unused to the sweep, and an
///   attacker's sessions stay.
/// - `set_password` MUST change nothing but the password: no status, no factor
///   (`a_swap_changes_only_the_password`, R68); and nobody else's (`a_swap_touches_nobody_else`).
/// - `find` MUST decide equality with the application's own rule and MUST NOT treat its argument
///   as a pattern or as part of a query text (`wildcards_match_nobody`, W25). It MUST mean the
///   same account as `account` (`an_account_is_found_by_its_address`).
/// - `account` MUST answer `None` for an unknown or deleted id (`an_unknown_id_is_nobody`, W35).
/// - `end_sessions` MUST be idempotent (`ending_sessions_twice_is_fine`), also for an account that is
///   gone: after a crash the worker calls it again, until it answers `Ok`.
/// - `find` and `account` MUST NOT write (`reading_changes_nothing`, R18, W38).
///
/// An error may be given at any time; it never opens a door. An error of `set_password` is taken
/// to mean that the change may have happened.
#[async_trait]
pub trait UserStore: Send + Sync + 'static {
    /// The account that an identifier means, if any.
    async fn find(&self, identifier: &Identifier) -> Result<Option<Account>, BoxError>;

    /// The account with this key, if it exists.
    async fn account(&self, user: &UserId) -> Result<Option<Account>, BoxError>;

    /// Sets the password if, and only if, the stored credential is still `expected`.
    async fn set_password(
        &self,
        user: &UserId,
        expected: &Credential,
        new: &PasswordHash,
    ) -> Result<Swap, BoxError>;

    /// Ends sessions and grants of the account.
    async fn end_sessions(&self, user: &UserId, scope: SessionScope) -> Result<(), BoxError>;
}

macro_rules! forward {
    ($($pointer:ident),+) => { $(
        #[async_trait]
        impl<T: UserStore + ?Sized> UserStore for $pointer<T> {
            async fn find(&self, identifier: &Identifier) -> Result<Option<Account>, BoxError> {
                (**self).find(identifier).await
            }
            async fn account(&self, user: &UserId) -> Result<Option<Account>, BoxError> {
                (**self).account(user).await
            }
            async fn set_password(
                &self,
                user: &UserId,
                expected: &Credential,
                new: &PasswordHash,
            ) -> Result<Swap, BoxError> {
                (**self).set_password(user, expected, new).await
            }
            async fn end_sessions(
                &self,
                user: &UserId,
                scope: SessionScope,
            ) -> Result<(), BoxError> {
                (**self).end_sessions(user, scope).await
            }
        }
    )+ };
}
forward!(Arc, Box);
