//! The proof of a second factor.
//!
//! ```text
//! end (8) ‖ key id (4) ‖ kind (1) ‖ HMAC-SHA-256(key "step-up", all of the above ‖ selector ‖ tenant
//!                                                ‖ user ‖ epoch) (32)
//! ```
//!
//! The key is derived under a label of its own, so that nothing else that the crate makes passes for
//! a proof (W41). Pure: keys and fields in, text or a kind out.

use std::fmt;

use base64ct::{Base64UrlUnpadded, Encoding};
use hmac::Mac;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::clock::Timestamp;
use crate::error::BoxError;
use crate::recovery::SecondFactor;
use crate::token::{Key, KeyId, Keyring, TokenDigest, TokenRecord};
use crate::wire::{Fields, Reader};

const PROOF_BYTES: usize = 8 + 4 + 1 + 32;

/// The length of every proof: 45 bytes in base64url, which needs no padding.
const PROOF_CHARS: usize = 60;

/// Proof that a second factor was shown for one token: 60 characters of base64url.
///
/// It cannot be cloned, compared or printed; [`Debug`](fmt::Debug) is redacted.
pub struct StepUpProof {
    text: SecretString,
    expires_at: Timestamp,
}

impl StepUpProof {
    /// The text for whoever proved the factor: into a cookie that scripts cannot read, or the memory
    /// of an app.
    ///
    /// # Security
    ///
    /// With the token it sets the password.
    pub fn expose(&self) -> &str {
        self.text.expose_secret()
    }

    /// From when on it is refused: ten minutes after it was made, or when its token is.
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }
}

impl fmt::Debug for StepUpProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepUpProof")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// What a proof says, of one token.
pub(crate) struct ProofClaims<'a> {
    pub(crate) record: &'a TokenRecord,
    pub(crate) factor: SecondFactor,
    pub(crate) expires_at: Timestamp,
}

impl ProofClaims<'_> {
    pub(crate) fn proof(&self, key: &Key) -> Result<StepUpProof, BoxError> {
        let mut raw = Zeroizing::new(Vec::with_capacity(PROOF_BYTES));
        raw.number(self.expires_at.unix_micros());
        raw.bytes(&key.id.0.to_be_bytes());
        raw.bytes(&[letter(self.factor)]);
        let digest = self.digest(key, &raw);
        raw.bytes(digest.as_bytes());
        let text = Zeroizing::new(Base64UrlUnpadded::encode_string(&raw));
        Ok(StepUpProof {
            text: SecretString::from(text.as_str()),
            expires_at: self.expires_at,
        })
    }

    fn digest(&self, key: &Key, head: &[u8]) -> TokenDigest {
        let mut mac = key.step_up.clone();
        mac.field(head);
        mac.field(self.record.selector.as_bytes());
        let tenant = self.record.tenant.as_ref();
        mac.optional(tenant.map(|tenant| tenant.as_str().as_bytes()));
        mac.field(self.record.user.as_str().as_bytes());
        mac.field(self.record.epoch.as_bytes());
        TokenDigest::from_bytes(mac.finalize().into_bytes().into())
    }
}

/// Which factor the text proves for this token at this moment. Total: any text gives an answer.
pub(crate) fn proven(
    keyring: &Keyring,
    record: &TokenRecord,
    text: &str,
    now: Timestamp,
) -> Option<SecondFactor> {
    if text.len() != PROOF_CHARS {
        return None;
    }
    let mut raw = Zeroizing::new([0; PROOF_BYTES]);
    Base64UrlUnpadded::decode(text, raw.as_mut()).ok()?;
    let (head, _) = raw.split_at(PROOF_BYTES - 32);
    let mut reader = Reader(raw.as_ref());
    let expires_at = Timestamp::from_unix_micros(reader.number()?);
    let key = keyring.get(KeyId(u32::from_be_bytes(reader.array()?)))?;
    let letter = reader.byte()?;
    let presented = TokenDigest::from_bytes(reader.array()?);
    reader.end()?;
    let factor = factor_of(letter)?;
    let claims = ProofClaims {
        record,
        factor,
        expires_at,
    };
    let same = bool::from(claims.digest(key, head).matches(&presented));
    (same && now < expires_at).then_some(factor)
}

const fn letter(factor: SecondFactor) -> u8 {
    match factor {
        SecondFactor::Device => b'd',
        SecondFactor::Mail => b'm',
        SecondFactor::Phone => b'p',
    }
}

fn factor_of(written: u8) -> Option<SecondFactor> {
    let all = SecondFactor::ALL.iter().copied();
    all.into_iter().find(|factor| letter(*factor) == written)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::account::{Tenant, UserId};
    use crate::token::{Epoch, Purpose, Selector};

    const AT: Timestamp = Timestamp::from_unix_micros(1_800_000_000_000_000);
    const LIFE: Duration = Duration::from_secs(600);

    fn key(id: u32) -> Key {
        let secret: Vec<u8> = (0..32).collect();
        Key::new(KeyId(id), &secret).unwrap()
    }

    fn record() -> TokenRecord {
        TokenRecord::new(
            Selector::from_bytes([9; 16]),
            Purpose::Reset,
            Some(Tenant::parse("acme").unwrap()),
            UserId::parse("42").unwrap(),
            Epoch::from_bytes([3; 32]),
            KeyId(1),
            TokenDigest::from_bytes([4; 32]),
            AT,
            AT + LIFE,
        )
    }

    fn proof(record: &TokenRecord) -> String {
        let claims = ProofClaims {
            record,
            factor: SecondFactor::Device,
            expires_at: AT + LIFE,
        };
        claims.proof(&key(1)).unwrap().expose().to_owned()
    }

    fn shown(record: &TokenRecord, text: &str, at: Timestamp) -> Option<SecondFactor> {
        proven(&Keyring::new(key(1)), record, text, at)
    }

    /// Computed with Python's `hmac` from the layout above.
    #[test]
    fn a_known_answer() {
        assert_eq!(
            proof(&record()),
            "AAZlF0xbxgAAAAABZKuROn3WiFcc0ypAQ75xdY43rz_RmC7Sl0tDP2w_mJ9V"
        );
    }

    /// R67, W41, W42, W43: a proof is for one token, as it was made, and for its moment.
    #[test]
    fn every_field_is_bound() {
        let (own, text) = (record(), proof(&record()));
        assert_eq!(shown(&own, &text, AT), Some(SecondFactor::Device));
        assert_eq!(shown(&own, &text, AT + LIFE), None);
        let edits: [fn(&mut TokenRecord); 5] = [
            |record| record.selector = Selector::from_bytes([8; 16]),
            |record| record.tenant = None,
            |record| record.tenant = Some(Tenant::parse("acm").unwrap()),
            |record| record.user = UserId::parse("43").unwrap(),
            |record| record.epoch = Epoch::from_bytes([2; 32]),
        ];
        for edit in edits {
            let mut other = record();
            edit(&mut other);
            assert_eq!(shown(&other, &text, AT), None);
        }
        let other_key = Key::new(KeyId(1), &[7; 32]).unwrap();
        assert_eq!(proven(&Keyring::new(other_key), &own, &text, AT), None);
        assert_eq!(proven(&Keyring::new(key(2)), &own, &text, AT), None);
    }

    proptest! {
        /// W21, W64: total; whatever is not the proof, to the last character, proves nothing.
        #[test]
        fn an_edited_proof_is_none(at in 0_usize..60, with in "[A-Za-z0-9_-]", any in ".{0,64}") {
            let (record, text) = (record(), proof(&record()));
            let mut edited = text.clone();
            edited.replace_range(at..=at, &with);
            prop_assert_eq!(shown(&record, &edited, AT).is_some(), edited == text);
            prop_assert!(shown(&record, &any, AT).is_none());
        }
    }

    #[test]
    fn nothing_secret_is_printed() {
        let claims = ProofClaims {
            record: &record(),
            factor: SecondFactor::Device,
            expires_at: AT,
        };
        let proof = claims.proof(&key(1)).unwrap();
        let printed = format!("{proof:?}");
        assert!(printed.starts_with("StepUpProof {") && !printed.contains(proof.expose()));
    }
}
