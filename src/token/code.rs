//! Codes: what a person types instead of opening a link.
//!
//! The code is derived with a key of its own, in the manner of RFC 4226: uniform decimal digits out of
//! an HMAC, over the random handle and everything that the code is for. So no queue and no store ever
//! holds it, a second try of the same mail carries the same code, and the same handle for somebody
//! else would be another code. What a store holds is Argon2id over a keyed
//! digest (ASVS 5.0, 6.5.2): eight digits are few enough that a fast hash would give them away.

use std::fmt;

use base64ct::{Base64UrlUnpadded, Encoding};
use hmac::Mac;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use crate::error::BoxError;
use crate::random::Random;
use crate::token::{Claims, Key, Malformed, Selector};
use crate::wire::Fields;

/// The length of every handle: 16 bytes in base64url, which needs no padding.
pub const CODE_HANDLE_CHARS: usize = 22;
/// How many digits a code may have.
pub const CODE_DIGITS: std::ops::RangeInclusive<u32> = 6..=12;
/// The longest text that is read as a code, in bytes: digits with as many separators between them.
const MAX_CODE_BYTES: usize = 96;

/// What a request for a code is answered: it leads back to the code's record, and proves nothing.
///
/// Twelve random bytes, drawn before anything is looked up, and four of an HMAC over them, so that
/// made-up handles cost nothing. Keep it where the person who asked comes back to: a cookie, or the
/// memory of an app.
///
/// ```
/// use password_reset::token::CodeHandle;
///
/// let handle = CodeHandle::parse("AAAAAAAAAAAAAAAAAAAAAA")?;
/// assert_eq!(handle.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
/// // One spelling only (W21).
/// assert!(CodeHandle::parse("AAAAAAAAAAAAAAAAAAAAAB").is_err());
/// # Ok::<(), password_reset::token::Malformed>(())
/// ```
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct CodeHandle(Selector);

impl CodeHandle {
    /// A fresh one.
    pub(crate) fn draw(key: &Key, random: &dyn Random) -> Result<Self, BoxError> {
        let mut bytes = [0; 16];
        let (drawn, tag) = bytes.split_at_mut(RANDOM_BYTES);
        random.fill(drawn)?;
        tag.copy_from_slice(&tag_of(key, drawn));
        Ok(Self(Selector::from_bytes(bytes)))
    }

    /// Whether it was drawn with this key. Four bytes are no proof: a guess in four milliards passes,
    /// and gains a hash.
    pub(crate) fn is_of(&self, key: &Key) -> bool {
        let (drawn, tag) = self.0.as_bytes().split_at(RANDOM_BYTES);
        tag_of(key, drawn).ct_eq(tag).into()
    }

    /// Reads a handle. Total, like [`PresentedToken::parse`](crate::token::PresentedToken::parse).
    ///
    /// # Errors
    ///
    /// [`Malformed`] for everything but exactly 22 characters of canonical base64url.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let mut bytes = [0; 16];
        if text.len() != CODE_HANDLE_CHARS {
            return Err(Malformed);
        }
        match Base64UrlUnpadded::decode(text, &mut bytes) {
            Ok(decoded) if decoded.len() == 16 => {}
            _ => return Err(Malformed),
        }
        Ok(Self(Selector::from_bytes(bytes)))
    }

    pub(crate) const fn of(selector: Selector) -> Self {
        Self(selector)
    }

    /// Where the code's record is found.
    pub fn selector(&self) -> Selector {
        self.0
    }
}

impl fmt::Display for CodeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; CODE_HANDLE_CHARS];
        let text = Base64UrlUnpadded::encode(self.0.as_bytes(), &mut text);
        f.write_str(text.map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for CodeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CodeHandle({self})")
    }
}

const RANDOM_BYTES: usize = 12;

fn tag_of(key: &Key, drawn: &[u8]) -> [u8; 4] {
    let mut mac = key.code.clone();
    mac.field(b"handle");
    mac.field(drawn);
    let full: [u8; 32] = mac.finalize().into_bytes().into();
    let mut tag = [0; 4];
    tag.copy_from_slice(full.split_at(4).0);
    tag
}

/// A code that somebody typed: 6 to 12 digits. Well formed; not yet proven. `Debug` is redacted.
pub struct PresentedCode(SecretString);

impl PresentedCode {
    /// Reads a typed code. Spaces and hyphens between the digits are passed over, and full-width
    /// digits, as Japanese keyboards type them, are taken for plain ones.
    ///
    /// ```
    /// use password_reset::token::PresentedCode;
    ///
    /// for good in ["12345678", " 1234 5678 ", "1234-5678", "１２３４５６７８"] {
    ///     assert!(PresentedCode::parse(good).is_ok());
    /// }
    /// for bad in ["", "1234567a", "12345", "+12345678", "1234567890123"] {
    ///     assert!(PresentedCode::parse(bad).is_err());
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Malformed`] for anything else, and for a text over 96 bytes.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if text.len() > MAX_CODE_BYTES {
            return Err(Malformed);
        }
        let mut digits = Zeroizing::new(String::with_capacity(MAX_CODE_BYTES));
        for c in text.chars() {
            match c {
                '0'..='9' => digits.push(c),
                '\u{ff10}'..='\u{ff19}' => {
                    let digit = u32::from(c) - 0xff10;
                    digits.push(char::from_digit(digit, 10).ok_or(Malformed)?);
                }
                // Hyphens and dashes as people and keyboards write them.
                '-' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{ff0d}' => {}
                c if c.is_whitespace() => {}
                _ => return Err(Malformed),
            }
        }
        let length = u32::try_from(digits.len()).map_err(|_| Malformed)?;
        if !CODE_DIGITS.contains(&length) {
            return Err(Malformed);
        }
        Ok(Self(SecretString::from(digits.as_str())))
    }

    pub(crate) fn expose(&self) -> &[u8] {
        self.0.expose_secret().as_bytes()
    }
}

impl fmt::Debug for PresentedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresentedCode([REDACTED])")
    }
}

/// The code of a handle and of what it is for: so many decimal digits, uniform but for a bias below
/// 2^-88.
pub(crate) fn code_of(
    key: &Key,
    claims: &Claims<'_>,
    handle: &Selector,
    digits: u32,
) -> SecretString {
    let mut last = handle.as_bytes().to_vec();
    last.number(i64::from(digits));
    let mut full = claims.under(key.code.clone(), &last);
    let mut draw = [0; 16];
    draw.copy_from_slice(full.split_at(16).0);
    let mut number = u128::from_be_bytes(draw) % 10_u128.pow(digits.min(*CODE_DIGITS.end()));
    let mut text = Zeroizing::new(Vec::with_capacity(12));
    for _ in 0..digits {
        // The last digit first.
        text.push(b'0' + u8::try_from(number % 10).unwrap_or(0));
        number /= 10;
    }
    text.reverse();
    full.zeroize();
    draw.zeroize();
    SecretString::from(std::str::from_utf8(&text).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::account::UserId;
    use crate::clock::Timestamp;
    use crate::random::SystemRandom;
    use crate::token::{Epoch, KeyId, Purpose};

    fn key(byte: u8) -> Key {
        Key::new(KeyId(1), &[byte; 32]).unwrap()
    }

    fn handle(number: u64) -> Selector {
        let mut bytes = [0; 16];
        bytes
            .split_at_mut(8)
            .0
            .copy_from_slice(&number.to_be_bytes());
        Selector::from_bytes(bytes)
    }

    fn code(byte: u8, number: u64, digits: u32) -> String {
        code_for("42", byte, number, digits)
    }

    fn code_for(user: &str, byte: u8, number: u64, digits: u32) -> String {
        let claims = Claims {
            purpose: Purpose::Code,
            tenant: None,
            user: &UserId::parse(user).unwrap(),
            epoch: &Epoch::from_bytes([3; 32]),
            expires_at: Timestamp::from_unix_micros(1_800_000_000_000_000),
        };
        let code = code_of(&key(byte), &claims, &handle(number), digits);
        code.expose_secret().to_owned()
    }

    /// Computed with Python's `hmac`, from the layout above.
    #[test]
    fn known_answers() {
        assert_eq!(code(7, 1, 8), "08518019");
        assert_eq!(code(7, 1, 6), "781717");
        assert_eq!(code(7, 2, 12), "119716854492");
    }

    #[test]
    fn a_code_depends_on_key_handle_claims_and_length() {
        assert_eq!(code(1, 1, 8), code(1, 1, 8));
        assert_ne!(code(1, 1, 8), code(2, 1, 8));
        assert_ne!(code(1, 1, 8), code(1, 2, 8));
        // W41, W42: the same handle for somebody else is another code.
        assert_ne!(code_for("42", 1, 1, 8), code_for("43", 1, 1, 8));
        assert!(!code(1, 1, 8).starts_with(&code(1, 1, 6)));
    }

    /// R3: every digit at every place is as likely as any other. Chi-squared with nine degrees of
    /// freedom exceeds 40 once in 10^5 draws; the draw here is fixed.
    #[test]
    fn r3_digits_are_uniform() {
        let mut seen: BTreeMap<(usize, char), f64> = BTreeMap::new();
        for number in 0..10_000 {
            for place in code(9, number, 8).char_indices() {
                *seen.entry(place).or_default() += 1.0;
            }
        }
        assert_eq!(seen.len(), 80);
        for place in 0..8 {
            let chi: f64 = ('0'..='9')
                .map(|digit| (seen.get(&(place, digit)).unwrap() - 1_000.0).powi(2) / 1_000.0)
                .sum();
            assert!(chi < 40.0, "place {place}: {chi}");
        }
    }

    #[test]
    fn w21_a_handle_has_one_spelling() {
        let text = CodeHandle(handle(u64::MAX)).to_string();
        assert_eq!(text.len(), CODE_HANDLE_CHARS);
        assert_eq!(
            CodeHandle::parse(&text).unwrap().selector(),
            handle(u64::MAX)
        );
        for other in [
            "",
            " ",
            &format!("{text}="),
            &text.to_lowercase(),
            &text.replace('A', "B"),
        ] {
            assert_ne!(CodeHandle::parse(other).ok(), CodeHandle::parse(&text).ok());
        }
    }

    #[test]
    fn a_made_up_handle_is_told_from_a_drawn_one() {
        let drawn = CodeHandle::draw(&key(1), &SystemRandom).unwrap();
        assert!(drawn.is_of(&key(1)) && !drawn.is_of(&key(2)));
        for byte in 0..16 {
            let mut bytes = *drawn.selector().as_bytes();
            *bytes.get_mut(byte).unwrap() ^= 1;
            assert!(!CodeHandle(Selector::from_bytes(bytes)).is_of(&key(1)));
        }
    }

    #[test]
    fn a_code_is_typed_with_or_without_gaps() {
        let plain = PresentedCode::parse("12345678").unwrap();
        for typed in [
            "1234 5678",
            "1234-5678",
            "12 34 56 78",
            "\t12345678\n",
            "1234\u{a0}5678",
            "1234\u{2011}5678",
            "1234\u{3000}5678",
            "１２３４５６７８",
        ] {
            let parsed = PresentedCode::parse(typed).unwrap();
            assert_eq!(parsed.expose(), plain.expose(), "{typed:?}");
        }
        for bad in [
            "",
            "     ",
            "null",
            "12345",
            "0x123456",
            "1234567.8",
            "١٢٣٤٥٦٧٨",
        ] {
            assert!(PresentedCode::parse(bad).is_err(), "{bad:?}");
        }
        assert!(PresentedCode::parse(&" ".repeat(97)).is_err());
        assert!(!format!("{plain:?}").contains('1'));
    }

    proptest! {
        #[test]
        fn parsing_is_total(text in ".{0,120}") {
            let _ = (PresentedCode::parse(&text), CodeHandle::parse(&text));
        }
    }
}
