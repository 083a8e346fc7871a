//! Reading bodies: bounded, and not one field more than was asked for.

use std::cmp::Ordering;

use http::HeaderMap;
use http::header;
use password_reset::secrecy::SecretString;
use percent_encoding::percent_decode;
use serde::Deserialize;
use serde::de::value::{Error as ValueError, MapDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error};
use zeroize::Zeroizing;

use crate::problem::Problem;
use crate::widget::Widget;

/// The longest body that is read, in bytes.
pub const MAX_BODY_BYTES: usize = 16 * 1024;
/// The hours of the longest pause, a week.
const MAX_PAUSE_HOURS: u16 = 7 * 24;
/// What is read of a larger body and thrown away.
#[cfg(any(feature = "axum", feature = "actix"))]
const MAX_WASTE_BYTES: usize = 16 * 1024 * 1024;

/// Who asks.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ask {
    pub(crate) identifier: String,
    #[serde(default)]
    pub(crate) method: Way,
    /// That a human asks, or work was done. Empty is none: a form without scripts.
    #[serde(default, deserialize_with = "some_secret")]
    pub(crate) proof: Option<SecretString>,
}

impl Ask {
    /// On a page with a widget its script has added a field of its own to the form: that is `proof`
    /// by another name.
    pub(crate) fn read(
        format: Format,
        body: &[u8],
        widget: Option<&Widget>,
    ) -> Result<Self, Problem> {
        format.parse_with(widget, body)
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Way {
    #[default]
    Link,
    Code,
    Sms,
}

/// The code that somebody typed. Its handle is in the cookie.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CodeForm {
    #[serde(deserialize_with = "secret")]
    pub(crate) code: SecretString,
}

/// The same for programs, which have no cookie.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CodeJson {
    pub(crate) handle: String,
    #[serde(deserialize_with = "secret")]
    pub(crate) code: SecretString,
}

/// The form behind a link. The token is in the cookie.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChooseForm {
    #[serde(deserialize_with = "secret")]
    pub(crate) password: SecretString,
    pub(crate) form: String,
}

/// The same for programs, which have no cookie.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChooseJson {
    #[serde(deserialize_with = "secret")]
    pub(crate) token: SecretString,
    #[serde(deserialize_with = "secret")]
    pub(crate) password: SecretString,
    /// That of a second factor.
    #[serde(default, deserialize_with = "some_secret")]
    pub(crate) proof: Option<SecretString>,
}

/// What somebody typed when asked for the second factor. The token is in the cookie.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FactorForm {
    #[serde(deserialize_with = "secret")]
    pub(crate) response: SecretString,
    pub(crate) form: String,
}

/// The same for programs, which have no cookie.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FactorJson {
    #[serde(deserialize_with = "secret")]
    pub(crate) token: SecretString,
    #[serde(deserialize_with = "secret")]
    pub(crate) response: SecretString,
}

/// The button of "this wasn't me". The token is in the cookie.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CancelForm {
    pub(crate) form: String,
}

/// The same for programs, which have no cookie.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CancelJson {
    #[serde(deserialize_with = "secret")]
    pub(crate) token: SecretString,
    /// Absent is the service's own; `null` is not a number of hours.
    #[serde(default, deserialize_with = "hours")]
    pub(crate) pause_hours: Option<u16>,
}

/// What a body says that it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Format {
    Form,
    Json,
}

impl Format {
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        let essence = value.split(';').next()?.trim();
        if essence.eq_ignore_ascii_case("application/json") {
            Some(Self::Json)
        } else if essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            Some(Self::Form)
        } else {
            None
        }
    }

    /// Lists, repeated fields, other types and fields that nobody asked for are refused, the same
    /// for everyone: of two addresses nobody knows which one the next program would have taken (W1,
    /// W24).
    pub(crate) fn parse<T: DeserializeOwned>(self, body: &[u8]) -> Result<T, Problem> {
        self.parse_with(None, body)
    }

    /// The same, of a form that may have a widget in it. JSON has none.
    fn parse_with<T: DeserializeOwned>(
        self,
        widget: Option<&Widget>,
        body: &[u8],
    ) -> Result<T, Problem> {
        if body.len() > MAX_BODY_BYTES {
            return Err(Problem::TooLarge);
        }
        let parsed = match self {
            // Serde also takes a struct from an array of its fields.
            Self::Json if !body.trim_ascii_start().starts_with(b"{") => None,
            Self::Json => serde_json::from_slice(body).ok(),
            // The parser replaces what is not UTF-8, and two passwords would be one.
            Self::Form if !decodes(body) => None,
            Self::Form => {
                let called = |name| match widget {
                    Some(widget) => widget.called(name),
                    None => Some(name),
                };
                let fields = form_urlencoded::parse(body);
                let fields = fields.filter_map(|(name, value)| Some((called(name)?, value)));
                T::deserialize(MapDeserializer::<_, ValueError>::new(fields)).ok()
            }
        };
        parsed.ok_or(Problem::Malformed)
    }
}

/// Whether a form holds nothing but UTF-8. In one buffer, which is wiped: it holds a password.
fn decodes(body: &[u8]) -> bool {
    let mut decoded = Zeroizing::new(Vec::with_capacity(body.len()));
    decoded.extend(percent_decode(body));
    std::str::from_utf8(&decoded).is_ok()
}

/// The token in a link's query. Other fields are let through: mail providers add their own. Two
/// tokens are no token.
pub(crate) fn token_of_query(query: &str) -> Option<Zeroizing<String>> {
    let mut tokens = form_urlencoded::parse(query.as_bytes())
        .filter(|(name, _)| name == "token")
        .map(|(_, token)| Zeroizing::new(token.into_owned()));
    let token = tokens.next()?;
    match tokens.next() {
        None => Some(token),
        Some(_) => Some(Zeroizing::default()),
    }
}

fn secret<'de, D: Deserializer<'de>>(field: D) -> Result<SecretString, D::Error> {
    String::deserialize(field).map(SecretString::from)
}

fn some_secret<'de, D: Deserializer<'de>>(field: D) -> Result<Option<SecretString>, D::Error> {
    secret(field).map(Some)
}

/// A whole number of hours within bounds. To JSON 24 and 24.0 are the same number.
fn hours<'de, D: Deserializer<'de>>(field: D) -> Result<Option<u16>, D::Error> {
    let given = f64::deserialize(field)?;
    let same = |hours: &u16| f64::from(*hours).partial_cmp(&given) == Some(Ordering::Equal);
    let hours = (0..=MAX_PAUSE_HOURS).find(same);
    hours
        .map(Some)
        .ok_or_else(|| D::Error::custom("no number of hours"))
}

/// Collects a body that arrives in pieces.
///
/// Reads to the end even what is too large, within reason: closing the connection on a client that
/// still sends would take the answer away from it.
#[cfg(any(feature = "axum", feature = "actix"))]
#[derive(Default)]
pub(crate) struct Collected {
    kept: Zeroizing<Vec<u8>>,
    seen: usize,
}

#[cfg(any(feature = "axum", feature = "actix"))]
impl Collected {
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<(), Problem> {
        if self.seen == 0 {
            // In one allocation: a buffer that grows leaves copies of a password behind.
            self.kept.reserve_exact(MAX_BODY_BYTES);
        }
        self.seen = self.seen.saturating_add(piece.len());
        if self.seen > MAX_WASTE_BYTES {
            return Err(Problem::TooLarge);
        }
        if self.seen <= MAX_BODY_BYTES {
            self.kept.extend_from_slice(piece);
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<Zeroizing<Vec<u8>>, Problem> {
        if self.seen > MAX_BODY_BYTES {
            return Err(Problem::TooLarge);
        }
        Ok(self.kept)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    fn ask(format: Format, body: &[u8]) -> Result<String, Problem> {
        format.parse::<Ask>(body).map(|ask| ask.identifier)
    }

    #[test]
    fn w24_bodies_are_taken_literally_or_not_at_all() {
        for body in [
            &b"identifier=a&identifier=b"[..],
            b"identifier[]=a",
            b"identifier%5B%5D=a",
            b"identifier=a&bcc=b",
            b"email=a",
            b"",
            b"identifier=%ff",
            b"identifier=\xff",
            b"{\"identifier\":\"a\"}",
        ] {
            let refused = ask(Format::Form, body).unwrap_err();
            assert!(matches!(refused, Problem::Malformed), "{body:?}");
        }
        for body in [
            &b"{\"identifier\":[\"a\"]}"[..],
            b"{\"identifier\":{\"$ne\":null}}",
            b"{\"identifier\":null}",
            b"{\"identifier\":7}",
            b"{\"identifier\":true}",
            b"{\"identifier\":\"a\",\"identifier\":\"b\"}",
            b"{\"identifier\":\"a\",\"bcc\":\"b\"}",
            b"{\"identifier\":\"a\"} {}",
            b"{\"identifier\":\"\\ud800\"}",
            b"{\"identifier\":\"\xff\"}",
            b"[\"a\"]",
            b"\"a\"",
            b"identifier=a",
            b"{}",
            b"",
        ] {
            let refused = ask(Format::Json, body).unwrap_err();
            assert!(matches!(refused, Problem::Malformed), "{body:?}");
        }
        assert_eq!(ask(Format::Form, b"identifier=a%2Bb+c").unwrap(), "a+b c");
        assert_eq!(
            ask(Format::Json, b" {\"identifier\":\"a\"}\n").unwrap(),
            "a"
        );
    }

    #[test]
    fn w26_a_long_body_is_refused_before_it_is_parsed() {
        let long = format!("identifier={}", "a".repeat(MAX_BODY_BYTES));
        for format in [Format::Form, Format::Json] {
            let refused = ask(format, long.as_bytes()).unwrap_err();
            assert!(matches!(refused, Problem::TooLarge));
        }
    }

    #[test]
    fn two_tokens_in_a_query_are_no_token() {
        let token = |query| token_of_query(query).map(|token| token.to_string());
        assert_eq!(token("token=abc&utm_source=mail").as_deref(), Some("abc"));
        assert_eq!(token("utm_source=mail"), None);
        assert_eq!(token("token[]=abc"), None);
        assert_eq!(token("token=abc&token=abc").as_deref(), Some(""));
        assert_eq!(token(""), None);
    }

    #[cfg(any(feature = "axum", feature = "actix"))]
    #[test]
    fn what_is_too_large_is_read_within_reason_and_not_kept() {
        let mut body = Collected::default();
        let piece = vec![b'a'; 1 << 20];
        for _ in 0..16 {
            body.push(&piece).unwrap();
        }
        assert!(body.kept.is_empty());
        assert!(matches!(body.push(b"a"), Err(Problem::TooLarge)));
        let mut body = Collected::default();
        body.push(&vec![b'a'; MAX_BODY_BYTES]).unwrap();
        assert_eq!(body.finish().unwrap().len(), MAX_BODY_BYTES);
    }
}
