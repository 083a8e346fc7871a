//! Digests: what a store keeps of a token, and of the account that the token was made for.
//!
//! Pure: keys and fields in, bytes out. The one constant-time comparison of the crate is here.

use std::fmt;

use hmac::Mac;
use subtle::{Choice, ConstantTimeEq};

use crate::account::{Account, Address, MAX_ADDRESSES, Tenant, UserId};
use crate::clock::Timestamp;
use crate::sms::PhoneNumber;
use crate::token::Purpose;
use crate::token::keyring::{HmacSha256, Key};
use crate::wire::Fields;

/// HMAC-SHA-256 over a token and everything that it was made for.
///
/// Has no `PartialEq`, so that nobody compares it with a short-circuit (R40, W20):
///
/// ```compile_fail
/// use password_reset::token::TokenDigest;
/// assert!(TokenDigest::from_bytes([0; 32]) == TokenDigest::from_bytes([0; 32]));
/// ```
#[derive(Clone)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// A digest read back from a store.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes to store. Knowing them does not help to make the token.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Constant-time equality.
    pub(crate) fn matches(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest([REDACTED])")
    }
}

/// A keyed digest of the account's credential and of the address that the token went to, as both
/// were when the token was made. Opaque to a store.
///
/// The first half covers the credential, the second the credential and the address, so the flow
/// can tell "the password was changed" from "the address is gone".
#[derive(Clone, Eq, PartialEq)]
pub struct Epoch([u8; 32]);

/// How an account looks today beside a token's [`Epoch`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Freshness {
    /// Same credential, and the address is still one of the account's verified addresses, or the
    /// number its confirmed one.
    Same,
    /// Same credential, but the address or number is no longer one of the account's.
    AddressGone,
    /// The credential is another one: the password was changed, by whatever path.
    CredentialChanged,
}

impl Epoch {
    /// An epoch read back from a store.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes to store.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The half that covers the credential alone: the same for all tokens of one account that were
    /// made for the same password, under the same key.
    pub fn credential(&self) -> [u8; 16] {
        let mut half = [0; 16];
        half.copy_from_slice(self.0.split_at(16).0);
        half
    }

    /// The epoch of a token that goes to `destination`: an address, or a telephone number. No text
    /// is both.
    pub(crate) fn of(key: &Key, account: &Account, destination: &str) -> Self {
        let credential = credential_mac(key, account);
        let mut bytes = [0; 32];
        let (first, second) = bytes.split_at_mut(16);
        first.copy_from_slice(&half(credential.clone(), None));
        second.copy_from_slice(&half(credential, Some(destination)));
        Self(bytes)
    }

    /// Compares in constant time, in work that depends on the number of addresses only.
    pub(crate) fn compare(&self, key: &Key, account: &Account) -> Freshness {
        let (first, second) = self.0.split_at(16);
        let credential = credential_mac(key, account);
        let same_credential = half(credential.clone(), None).as_slice().ct_eq(first);
        let mut same_address = Choice::from(0);
        let addresses = account.verified.iter().take(MAX_ADDRESSES);
        let phone = account.phone.as_ref().map(PhoneNumber::as_str);
        for destination in addresses.map(Address::as_str).chain(phone) {
            same_address |= half(credential.clone(), Some(destination))
                .as_slice()
                .ct_eq(second);
        }
        match (bool::from(same_credential), bool::from(same_address)) {
            (true, true) => Freshness::Same,
            (true, false) => Freshness::AddressGone,
            (false, _) => Freshness::CredentialChanged,
        }
    }

    /// Whether the token went to the account's telephone number.
    pub(crate) fn went_to_phone(&self, key: &Key, account: &Account) -> bool {
        let (_, second) = self.0.split_at(16);
        let of = |number| half(credential_mac(key, account), Some(number));
        let phone = account.phone.as_ref().map(PhoneNumber::as_str);
        phone.is_some_and(|number| of(number).as_slice().ct_eq(second).into())
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Epoch([REDACTED])")
    }
}

fn credential_mac(key: &Key, account: &Account) -> HmacSha256 {
    let mut mac = key.epoch.clone();
    mac.optional(
        account
            .tenant
            .as_ref()
            .map(|tenant| tenant.as_str().as_bytes()),
    );
    mac.field(account.id.as_str().as_bytes());
    mac.field(account.credential.expose());
    mac
}

/// 128 bits are plenty here: the key is secret, and a collision only keeps a dead token alive.
fn half(mut mac: HmacSha256, destination: Option<&str>) -> [u8; 16] {
    mac.optional(destination.map(str::as_bytes));
    let full: [u8; 32] = mac.finalize().into_bytes().into();
    let mut half = [0; 16];
    half.copy_from_slice(full.split_at(16).0);
    half
}

impl Fields for HmacSha256 {
    fn bytes(&mut self, bytes: &[u8]) {
        self.update(bytes);
    }
}

/// Everything that a token claims to be, beside its verifier.
pub(crate) struct Claims<'a> {
    pub(crate) purpose: Purpose,
    pub(crate) tenant: Option<&'a Tenant>,
    pub(crate) user: &'a UserId,
    pub(crate) epoch: &'a Epoch,
    pub(crate) expires_at: Timestamp,
}

impl Claims<'_> {
    /// `secret` is the verifier of a token, or a code.
    pub(crate) fn digest(&self, key: &Key, secret: &[u8]) -> TokenDigest {
        TokenDigest(self.under(key.token.clone(), secret))
    }

    /// HMAC of everything claimed, and of `last`.
    pub(super) fn under(&self, mut mac: HmacSha256, last: &[u8]) -> [u8; 32] {
        mac.field(self.purpose.as_str().as_bytes());
        mac.optional(self.tenant.map(|tenant| tenant.as_str().as_bytes()));
        mac.field(self.user.as_str().as_bytes());
        mac.field(&self.epoch.0);
        mac.number(self.expires_at.unix_micros());
        mac.field(last);
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use base64ct::{Base64UrlUnpadded, Encoding};

    use super::*;
    use crate::account::{Credential, Status};
    use crate::password::PasswordHash;
    use crate::token::{KeyId, PresentedToken, Verifier};

    const STORED: &str =
        "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2E$aGFzaGhhc2hoYXNoaGFzaA";
    const EXPIRES_AT: Timestamp = Timestamp::from_unix_micros(1_800_000_000_000_000);

    fn key() -> Key {
        let secret: Vec<u8> = (0..32).collect();
        Key::new(KeyId(1), &secret).unwrap()
    }

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    fn ada() -> Account {
        let credential = Credential::Password(PasswordHash::parse(STORED).unwrap());
        let mut account = Account::new(UserId::parse("42").unwrap(), credential)
            .verified(address("lovelace@example.com"))
            .verified(address("ada@example.com"));
        account.tenant = Some(Tenant::parse("acme").unwrap());
        account
    }

    fn verifier() -> Verifier {
        // Sixteen selector bytes, then the verifier 100, 101, .. 131.
        let raw: Vec<u8> = [0; 16].into_iter().chain(100..132).collect();
        let text = Base64UrlUnpadded::encode_string(&raw);
        PresentedToken::parse(&text).unwrap().verifier
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn digest(user: &str, tenant: Option<&Tenant>, epoch: &Epoch, expires_at: Timestamp) -> String {
        let user = UserId::parse(user).unwrap();
        let claims = Claims {
            purpose: Purpose::Reset,
            tenant,
            user: &user,
            epoch,
            expires_at,
        };
        hex(claims.digest(&key(), verifier().expose()).as_bytes())
    }

    /// Computed with Python's `hmac` from the layout that the module docs describe.
    #[test]
    fn known_answers_of_epoch_and_digest() {
        let ada = ada();
        let epoch = Epoch::of(&key(), &ada, "ada@example.com");
        assert_eq!(
            hex(epoch.as_bytes()),
            "515eea2285b25ad1164c42205f62272b44e80537d725d327c570d7199aec1611"
        );
        assert_eq!(
            digest("42", ada.tenant.as_ref(), &epoch, EXPIRES_AT),
            "a8d5f0135b6d23e6dff053ec1fbb570d34e2447d88285e7ac4426e9f586dbe0e"
        );
    }

    /// W41, W42, W43: a row that was edited matches no token.
    #[test]
    fn every_field_is_bound() {
        let ada = ada();
        let tenant = ada.tenant.as_ref();
        let epoch = Epoch::of(&key(), &ada, "ada@example.com");
        let honest = digest("42", tenant, &epoch, EXPIRES_AT);
        let later = EXPIRES_AT + std::time::Duration::from_micros(1);
        let other_epoch = Epoch::of(&key(), &ada, "lovelace@example.com");
        for edited in [
            digest("43", tenant, &epoch, EXPIRES_AT),
            digest("42", None, &epoch, EXPIRES_AT),
            digest("42", tenant, &epoch, later),
            digest("42", tenant, &other_epoch, EXPIRES_AT),
        ] {
            assert_ne!(honest, edited);
        }
    }

    #[test]
    fn an_epoch_tells_a_changed_password_from_a_lost_address() {
        let key = key();
        let mut account = ada();
        let epoch = Epoch::of(&key, &account, "ada@example.com");
        assert_eq!(epoch.compare(&key, &account), Freshness::Same);
        account.verified.truncate(1);
        assert_eq!(epoch.compare(&key, &account), Freshness::AddressGone);
        account.credential = Credential::Stamp("2".into());
        assert_eq!(epoch.compare(&key, &account), Freshness::CredentialChanged);
        account.status = Status::Disabled;
        assert_eq!(epoch.compare(&key, &account), Freshness::CredentialChanged);
    }

    #[test]
    fn keys_of_different_ids_make_different_digests() {
        let other = Key::new(KeyId(2), &[9; 32]).unwrap();
        let epoch = Epoch::of(&key(), &ada(), "ada@example.com");
        assert_eq!(epoch.compare(&other, &ada()), Freshness::CredentialChanged);
    }
}
