//! Text messages: [`SmsSender`], [`TextMessage`] and [`PhoneNumber`].
//!
//! An opt-in channel ([`Builder::sms`](crate::flow::Builder::sms)), for codes only: a link never
//! goes out by text message, and only to numbers whose owner confirmed them (R16, W58). A number
//! that the application's own table does not hold gets nothing, whatever was typed; nor does that of
//! an account without a verified address, whose owner nobody could tell of the change (R71).

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};

use crate::account::InvalidText;
pub use crate::error::SendError;
use crate::queue::JobId;

/// A telephone number on record, in the form of ITU-T E.164: `+` and 7 to 15 digits, the first of
/// them not 0. `Debug` does not show it.
///
/// ```
/// use password_reset::sms::PhoneNumber;
///
/// let number = PhoneNumber::parse("+4930123456")?;
/// assert_eq!(number.masked(), "+49***56");
/// assert_eq!(number.country_prefix(), "49");
/// assert!(PhoneNumber::parse("030 123456").is_err());
/// # Ok::<(), password_reset::account::InvalidText>(())
/// ```
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct PhoneNumber(Box<str>);

impl PhoneNumber {
    /// Takes a number exactly as stored. Whoever lets people type numbers normalises them first.
    ///
    /// # Errors
    ///
    /// [`InvalidText::NotANumber`] for any other spelling, and [`InvalidText::TooLong`].
    pub fn parse(text: &str) -> Result<Self, InvalidText> {
        const MAX: usize = 16;
        if text.len() > MAX {
            return Err(InvalidText::TooLong { max: MAX });
        }
        let digits = text.strip_prefix('+').ok_or(InvalidText::NotANumber)?;
        let plain = digits.len() >= 7
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && !digits.starts_with('0');
        if !plain {
            return Err(InvalidText::NotANumber);
        }
        Ok(Self(text.into()))
    }

    /// The number, with its `+`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `+49***56`: enough to recognise one's own.
    pub fn masked(&self) -> String {
        let last = self.0.len().saturating_sub(2);
        let last = self.0.get(last..).unwrap_or_default();
        format!("+{}***{last}", self.country_prefix())
    }

    /// The country's calling code without `+`, which budgets are counted under: where a country's
    /// numbers earn their operator money, messages to it are what an attacker asks for (W58).
    pub fn country_prefix(&self) -> &str {
        // ITU-T E.164, list of assigned country codes: zones 1 and 7 have one digit, these have
        // two, all others three.
        const TWO: [&str; 44] = [
            "20", "27", "30", "31", "32", "33", "34", "36", "39", "40", "41", "43", "44", "45",
            "46", "47", "48", "49", "51", "52", "53", "54", "55", "56", "57", "58", "60", "61",
            "62", "63", "64", "65", "66", "81", "82", "84", "86", "90", "91", "92", "93", "94",
            "95", "98",
        ];
        let digits = self.0.get(1..).unwrap_or_default();
        let length = match digits.get(..2) {
            Some(two) if two.starts_with(['1', '7']) => 1,
            Some(two) if TWO.contains(&two) => 2,
            _ => 3,
        };
        digits.get(..length).unwrap_or(digits)
    }
}

impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PhoneNumber").field(&"[REDACTED]").finish()
    }
}

/// One text message with a code, ready to be sent. `Debug` shows neither number nor text.
pub struct TextMessage {
    id: JobId,
    to: PhoneNumber,
    text: SecretString,
}

impl TextMessage {
    /// A message. For the flow, and for the tests of a sender.
    pub fn new(id: JobId, to: PhoneNumber, text: SecretString) -> Self {
        Self { id, to, text }
    }

    /// The same at every try of the same message, and for no other: an idempotency key for
    /// providers that take one. As text it is 32 hexadecimal digits.
    pub fn id(&self) -> JobId {
        self.id
    }

    /// The one recipient: a number on record.
    pub fn to(&self) -> &PhoneNumber {
        &self.to
    }

    /// What it says: at most two lines, the last of them for browsers that fill in the code
    /// (WebOTP).
    ///
    /// # Security
    ///
    /// Holds a live code. Send it; do not log, store or trace it (R76).
    pub fn text(&self) -> &str {
        self.text.expose_secret()
    }
}

impl fmt::Debug for TextMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Number and text are not shown.
        f.debug_struct("TextMessage")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// What sends text messages.
///
/// # Contract
///
/// As for [`Mailer`](crate::mail::Mailer): to [`TextMessage::to`] and nobody else, nothing of the
/// text kept, logged or put into an error, `Ok` only once the provider has taken the message over,
/// and MUST come to an end by itself.
#[async_trait]
pub trait SmsSender: Send + Sync + 'static {
    /// Sends one message.
    ///
    /// # Errors
    ///
    /// - [`SendError::transient`] when a later try may succeed: no connection, an overloaded
    ///   provider, a key of ours that it refuses.
    /// - [`SendError::uncertain`] when nobody knows whether the provider took the message.
    /// - [`SendError::permanent`] when none will: a number that cannot be reached.
    async fn send(&self, message: &TextMessage) -> Result<(), SendError>;
}

macro_rules! forward {
    ($($pointer:ident),+) => { $(
        #[async_trait]
        impl<T: SmsSender + ?Sized> SmsSender for $pointer<T> {
            async fn send(&self, message: &TextMessage) -> Result<(), SendError> {
                (**self).send(message).await
            }
        }
    )+ };
}
forward!(Arc, Box);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    #[test]
    fn a_number_is_a_plus_and_seven_to_fifteen_digits() {
        for good in ["+1234567", "+123456789012345"] {
            assert_eq!(PhoneNumber::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "+",
            "+123456",
            "1234567",
            "+0234567",
            "+12345678a",
            "+49 30 1234567",
            "+١٢٣٤٥٦٧٨",
            "+1234567\n",
        ] {
            assert!(PhoneNumber::parse(bad).is_err(), "{bad:?}");
        }
        let long = PhoneNumber::parse("+1234567890123456").unwrap_err();
        assert_eq!(long, InvalidText::TooLong { max: 16 });
    }

    #[test]
    fn w58_numbers_are_counted_by_their_country() {
        for (number, country) in [
            ("+12025550123", "1"),
            ("+78005550123", "7"),
            ("+442079460123", "44"),
            ("+3531234567", "353"),
            ("+88213123456", "882"),
        ] {
            assert_eq!(
                PhoneNumber::parse(number).unwrap().country_prefix(),
                country
            );
        }
    }

    #[test]
    fn w13_debug_shows_neither_number_nor_text() {
        let to = PhoneNumber::parse("+4930123456").unwrap();
        let message = TextMessage::new(JobId::from_bytes([7; 16]), to, "12345678".into());
        let shown = format!("{message:?} {:?}", message.to());
        assert!(!shown.contains("12345678") && !shown.contains("4930"));
    }
}
