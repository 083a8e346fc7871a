//! "This wasn't me": a second, weaker capability beside a token. It can cancel, and nothing else.
//!
//! ```text
//! selector (16) ‖ HMAC-SHA-256(key "cancel", beside ‖ selector ‖ tenant ‖ user) (32)
//! ```
//!
//! Computed, never stored. The key is derived under a label of its own, so that neither this can
//! pass for a link token nor a link token for this (W41), and nobody without the key can make one,
//! not even of a selector and a user that stand in the same table (W42).
//!
//! Pure: keys and fields in, text or a yes out.

use std::fmt;

use hmac::Mac;
use secrecy::{ExposeSecret, SecretString};
use subtle::Choice;

use crate::account::{Address, Tenant, UserId};
use crate::error::BoxError;
use crate::token::keyring::HmacSha256;
use crate::token::{Key, PresentedToken, Selector, TokenDigest, Verifier};
use crate::wire::Fields;

/// What the link to "this wasn't me" carries: 64 characters, like a [`LinkToken`](super::LinkToken).
///
/// It cannot be cloned, compared or printed; [`Debug`](fmt::Debug) is redacted.
///
/// ```compile_fail
/// # fn link(base: &password_reset::mail::LinkBase, token: &password_reset::token::CancelToken) {
/// // Refused: it is no link token.
/// base.link(token);
/// # }
/// ```
pub struct CancelToken(SecretString);

impl CancelToken {
    /// The text to put into the link.
    ///
    /// # Security
    ///
    /// Whoever reads this text can cancel the account's resets and have its requests paused.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CancelToken([REDACTED])")
    }
}

/// Which mail a cancel token stands in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Beside {
    /// The mail with a link or a code.
    Token,
    /// The notice of the change that the token made.
    Notice,
}

impl Beside {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Notice => "notice",
        }
    }
}

/// What a cancel token is made of.
pub(crate) struct CancelClaims<'a> {
    /// Which mail it stands in.
    pub(crate) beside: Beside,
    /// That of the token which it stands beside.
    pub(crate) selector: Selector,
    pub(crate) tenant: Option<&'a Tenant>,
    pub(crate) user: &'a UserId,
}

impl CancelClaims<'_> {
    /// The token for the mail.
    pub(crate) fn token(&self, key: &Key) -> Result<CancelToken, BoxError> {
        let token = PresentedToken {
            selector: self.selector,
            verifier: self.verifier(key),
        };
        token.spell().map(CancelToken)
    }

    /// Whether this is what was presented, in constant time.
    pub(crate) fn prove(&self, key: &Key, presented: &Verifier) -> Choice {
        let own = TokenDigest::from_bytes(*self.verifier(key).expose());
        own.matches(&TokenDigest::from_bytes(*presented.expose()))
    }

    fn verifier(&self, key: &Key) -> Verifier {
        let mut mac = key.cancel.clone();
        mac.field(self.beside.as_str().as_bytes());
        self.fields(&mut mac);
        Verifier::take(&mut mac.finalize().into_bytes().into())
    }

    /// Proof, for a queued notice, that it was queued by a change: who writes to the queue makes
    /// none, and so gets no cancel token mailed to an address of their own.
    pub(crate) fn seal(&self, key: &Key, address: &Address) -> [u8; 16] {
        let mut mac = key.cancel.clone();
        mac.field(b"notice-job");
        self.fields(&mut mac);
        mac.field(address.as_str().as_bytes());
        let full: [u8; 32] = mac.finalize().into_bytes().into();
        let mut half = [0; 16];
        half.copy_from_slice(full.split_at(16).0);
        half
    }

    fn fields(&self, mac: &mut HmacSha256) {
        mac.field(self.selector.as_bytes());
        mac.optional(self.tenant.map(|tenant| tenant.as_str().as_bytes()));
        mac.field(self.user.as_str().as_bytes());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;
    use crate::random::SystemRandom;
    use crate::token::{KeyId, LINK_TOKEN_CHARS, LinkToken};

    fn key() -> Key {
        let secret: Vec<u8> = (0..32).collect();
        Key::new(KeyId(1), &secret).unwrap()
    }

    fn text(selector: u8, tenant: Option<&str>, user: &str) -> String {
        let tenant = tenant.map(|tenant| Tenant::parse(tenant).unwrap());
        let claims = CancelClaims {
            beside: Beside::Token,
            selector: Selector::from_bytes([selector; 16]),
            tenant: tenant.as_ref(),
            user: &UserId::parse(user).unwrap(),
        };
        claims.token(&key()).unwrap().expose().to_owned()
    }

    /// Computed with Python's `hmac` from the layout above.
    #[test]
    fn a_known_answer() {
        assert_eq!(
            text(9, Some("acme"), "42"),
            "CQkJCQkJCQkJCQkJCQkJCerpiJwP2EssXQ2OSRIBS9FQX_53DxEcxru2clHS_5dl"
        );
        assert_eq!(text(9, None, "42").len(), LINK_TOKEN_CHARS);
    }

    /// W42, W43: selector, tenant and user are all bound.
    #[test]
    fn every_field_is_bound() {
        let all = [
            text(9, Some("acme"), "42"),
            text(8, Some("acme"), "42"),
            text(9, None, "42"),
            text(9, Some("acm"), "e42"),
            text(9, Some("acme"), "43"),
        ];
        let distinct: std::collections::HashSet<_> =
            all.iter().map(|text| text.get(22..).unwrap()).collect();
        assert_eq!(distinct.len(), all.len());
    }

    /// W41: what proves a link proves no cancelling, and other keys prove nothing.
    #[test]
    fn only_its_own_key_and_purpose_prove_it() {
        let (_, link) = LinkToken::generate(&SystemRandom).unwrap();
        let user = UserId::parse("42").unwrap();
        let claims = CancelClaims {
            beside: Beside::Token,
            selector: link.selector,
            tenant: None,
            user: &user,
        };
        let own = claims.verifier(&key());
        let other = Key::new(KeyId(1), &[9; 32]).unwrap();
        assert!(bool::from(claims.prove(&key(), &own)));
        assert!(!bool::from(claims.prove(&other, &own)));
        assert!(!bool::from(claims.prove(&key(), &link.verifier)));
    }

    #[test]
    fn nothing_secret_is_printed() {
        let claims = CancelClaims {
            beside: Beside::Token,
            selector: Selector::from_bytes([1; 16]),
            tenant: None,
            user: &UserId::parse("42").unwrap(),
        };
        let token = claims.token(&key()).unwrap();
        assert_eq!(format!("{token:?}"), "CancelToken([REDACTED])");
    }
}
