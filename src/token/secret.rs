//! The secret itself: [`LinkToken`] on its way out, [`PresentedToken`] on its way back.

use std::fmt;

use base64ct::{Base64UrlUnpadded, Encoding};
use secrecy::{ExposeSecret, SecretBox, SecretString};
use zeroize::{Zeroize, Zeroizing};

use crate::error::BoxError;
use crate::random::{self, Random};

const SELECTOR_BYTES: usize = 16;
const VERIFIER_BYTES: usize = 32;
const TOKEN_BYTES: usize = SELECTOR_BYTES + VERIFIER_BYTES;
/// The length of every link token: 48 bytes in base64url, which needs no padding.
pub const LINK_TOKEN_CHARS: usize = 64;

/// Where a token's record is found. Not a secret by itself: it proves nothing.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Selector([u8; SELECTOR_BYTES]);

impl Selector {
    /// A selector read back from a store.
    pub const fn from_bytes(bytes: [u8; SELECTOR_BYTES]) -> Self {
        Self(bytes)
    }

    /// Reads what [`Display`](fmt::Display) writes: 32 lower-case hexadecimal digits, as an audit
    /// trail keeps them.
    pub fn parse(text: &str) -> Option<Self> {
        unhex(text).map(Self)
    }

    /// The key to store it under: compare it byte by byte, never as text.
    pub const fn as_bytes(&self) -> &[u8; SELECTOR_BYTES] {
        &self.0
    }
}

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Selector({self})")
    }
}

/// Hexadecimal, so that it is never mistaken for a piece of the mailed token.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(f, &self.0)
    }
}

/// Lower-case hexadecimal digits of `bytes`.
pub(crate) fn hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Reads what [`hex`] writes of 16 bytes, and nothing else.
pub(crate) fn unhex(text: &str) -> Option<[u8; 16]> {
    let digits = |c: char| matches!(c, '0'..='9' | 'a'..='f');
    let plain = text.len() == 32 && text.chars().all(digits);
    let number = plain.then(|| u128::from_str_radix(text, 16).ok())?;
    number.map(u128::to_be_bytes)
}

/// The secret half of a token. It never leaves the process except inside a mail.
pub struct Verifier(SecretBox<[u8; VERIFIER_BYTES]>);

impl Verifier {
    /// The bytes, wiped where they came from.
    pub(crate) fn take(bytes: &mut [u8; VERIFIER_BYTES]) -> Self {
        let secret = SecretBox::init_with_mut(|kept: &mut [u8; VERIFIER_BYTES]| {
            kept.copy_from_slice(bytes);
        });
        bytes.zeroize();
        Self(secret)
    }

    pub(crate) fn expose(&self) -> &[u8; VERIFIER_BYTES] {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier([REDACTED])")
    }
}

/// A fresh token as it goes into a link: exactly 64 characters of base64url (R1, R2).
///
/// Made only by the flow's worker at the moment of sending. It cannot be cloned, compared or
/// printed; [`Debug`](fmt::Debug) is redacted.
pub struct LinkToken(SecretString);

impl LinkToken {
    /// The text to put into the link.
    ///
    /// # Security
    ///
    /// Whoever reads this text can change the account's password. Hand it to the mailer and to
    /// nothing else: no log, no database, no answer to the requester.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// A token from the generator, with the halves that its record is made of.
    pub(crate) fn generate(random: &dyn Random) -> Result<(Self, PresentedToken), BoxError> {
        let raw = random::secret::<TOKEN_BYTES>(random)?;
        Ok((Self(spell(&raw)?), PresentedToken::split(&raw)))
    }
}

/// The one spelling of a token.
fn spell(raw: &[u8; TOKEN_BYTES]) -> Result<SecretString, BoxError> {
    let mut text = Zeroizing::new([0; LINK_TOKEN_CHARS]);
    let text = Base64UrlUnpadded::encode(raw, text.as_mut())
        .map_err(|_| "a token does not fit its buffer")?;
    // `From<&str>` allocates exactly; nothing is left behind unwiped.
    Ok(SecretString::from(text))
}

impl fmt::Debug for LinkToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkToken([REDACTED])")
    }
}

/// The text is not a token. It does not say why: the reason would only help who is guessing.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a token")]
pub struct Malformed;

/// A token that somebody presented, taken apart. Well formed; not yet proven.
pub struct PresentedToken {
    /// Where its record would be.
    pub selector: Selector,
    /// What would prove it.
    pub verifier: Verifier,
}

impl PresentedToken {
    /// Reads a link token. Total: any text gives an answer, in constant memory.
    ///
    /// ```
    /// use password_reset::token::PresentedToken;
    ///
    /// let text = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    /// assert!(PresentedToken::parse(text).is_ok());
    /// // One spelling only (W21): no padding, no white space, no other alphabet, no other length.
    /// for other in [&format!("{text}="), &format!(" {text}"), &text.replace('A', "+"), "", "null"] {
    ///     assert!(PresentedToken::parse(other).is_err());
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Malformed`] for anything but 64 characters of base64url. The length is looked at first
    /// (R44, W26).
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if text.len() != LINK_TOKEN_CHARS {
            return Err(Malformed);
        }
        let mut raw = Zeroizing::new([0; TOKEN_BYTES]);
        Base64UrlUnpadded::decode(text, raw.as_mut()).map_err(|_| Malformed)?;
        Ok(Self::split(&raw))
    }

    /// The text to put into a link.
    pub(crate) fn spell(&self) -> Result<SecretString, BoxError> {
        let mut raw = Zeroizing::new([0; TOKEN_BYTES]);
        let (head, tail) = raw.split_at_mut(SELECTOR_BYTES);
        head.copy_from_slice(&self.selector.0);
        tail.copy_from_slice(self.verifier.expose());
        spell(&raw)
    }

    fn split(raw: &[u8; TOKEN_BYTES]) -> Self {
        let mut selector = [0; SELECTOR_BYTES];
        let (head, tail) = raw.split_at(SELECTOR_BYTES);
        selector.copy_from_slice(head);
        let verifier = SecretBox::init_with_mut(|bytes: &mut [u8; VERIFIER_BYTES]| {
            bytes.copy_from_slice(tail);
        });
        Self {
            selector: Selector(selector),
            verifier: Verifier(verifier),
        }
    }
}

impl fmt::Debug for PresentedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The verifier is not shown.
        f.debug_struct("PresentedToken")
            .field("selector", &self.selector)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        reason = "tests may panic"
    )]

    use proptest::prelude::*;

    use super::*;
    use crate::random::SystemRandom;

    fn spelling(presented: &PresentedToken) -> String {
        let raw = [presented.selector.0.as_slice(), presented.verifier.expose()].concat();
        Base64UrlUnpadded::encode_string(&raw)
    }

    proptest! {
        /// W21, W23, W24: total, and whatever it takes has exactly one spelling.
        #[test]
        fn the_parser_is_total_and_takes_one_spelling(text in ".{0,80}") {
            if let Ok(presented) = PresentedToken::parse(&text) {
                prop_assert_eq!(spelling(&presented), text);
            }
        }

        #[test]
        fn every_text_of_the_alphabet_is_taken_and_comes_back(text in "[A-Za-z0-9_-]{64}") {
            prop_assert_eq!(spelling(&PresentedToken::parse(&text).unwrap()), text);
        }

        /// Every prefix, suffix, case flip and foreign character of a good token.
        #[test]
        fn a_damaged_token_is_malformed_or_another_token(
            text in "[A-Za-z0-9_-]{64}", at in 0_usize..64, with in any::<char>(), cut in 0_usize..64,
        ) {
            prop_assert!(PresentedToken::parse(text.get(..cut).unwrap()).is_err());
            let longer = format!("{text}{with}");
            prop_assert!(PresentedToken::parse(&longer).is_err());
            let mut damaged: Vec<char> = text.chars().collect();
            *damaged.get_mut(at).unwrap() = with;
            let damaged: String = damaged.into_iter().collect();
            if let Ok(presented) = PresentedToken::parse(&damaged) {
                prop_assert_eq!(spelling(&presented), damaged);
            }
        }
    }

    /// R1, R2, W16.
    #[test]
    fn fresh_tokens_are_64_characters_and_never_repeat() {
        let mut seen = std::collections::HashSet::new();
        for _ in 0..10_000 {
            let (token, halves) = LinkToken::generate(&SystemRandom).unwrap();
            assert_eq!(token.expose().len(), LINK_TOKEN_CHARS);
            assert_eq!(spelling(&halves), token.expose());
            assert!(seen.insert(token.expose().to_owned()));
        }
    }

    /// W16: tokens of one instant, for two accounts: none comes twice, and no byte of them leans to
    /// any value. There is no time and no account in them, so there is no clock to freeze.
    #[test]
    fn w16_a_million_tokens_are_all_different_and_no_byte_is_biased() {
        const TOKENS: usize = 1_000_000;
        const BYTES: usize = 48;
        let mut counts = vec![[0_u32; 256]; BYTES];
        let mut seen = std::collections::HashSet::with_capacity(TOKENS);
        for _ in 0..TOKENS {
            let (_, halves) = LinkToken::generate(&SystemRandom).unwrap();
            let selector = halves.selector.as_bytes();
            let verifier = halves.verifier.expose();
            for (at, byte) in selector.iter().chain(verifier).enumerate() {
                counts[at][usize::from(*byte)] += 1;
            }
            // Half of the selector: 64 bits, of which a million draws have no two alike, but for one
            // test in 37 million.
            let half = u64::from_be_bytes(selector[..8].try_into().unwrap());
            assert!(seen.insert(half), "a selector came twice");
        }
        let expected = TOKENS as f64 / 256.0;
        for (at, counts) in counts.iter().enumerate() {
            let deviation = |count: &u32| (f64::from(*count) - expected).powi(2) / expected;
            let chi_square: f64 = counts.iter().map(deviation).sum();
            // 255 degrees of freedom: the mean is 255, and 420 is 7 deviations beyond it.
            assert!(chi_square < 420.0, "byte {at}: {chi_square}");
        }
    }

    #[test]
    fn nothing_secret_is_printed() {
        let (token, halves) = LinkToken::generate(&SystemRandom).unwrap();
        let printed = format!("{token:?} {halves:?} {:?}", halves.verifier);
        assert!(!printed.contains(token.expose()));
        let verifier: String = halves
            .verifier
            .expose()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        assert!(!printed.contains(&verifier));
    }
}
