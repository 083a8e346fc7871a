//! What can go wrong at a provider.

use password_reset::error::SendError;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::post::{Answer, Post, PostError};

const MAX_CODE_CHARS: usize = 64;
/// The shortest code that a person types. Anything shorter is in many a mail, and no secret.
const MIN_SECRET_CHARS: usize = 6;

/// Why a provider cannot be set up.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The base URL is not `https://host[:port]`; plain `http` is for a loopback host.
    #[error("the base url is not https://host[:port]; plain http is for a loopback host")]
    Url,
    /// A key is empty, longer than 4096 bytes, or holds anything but visible ASCII.
    #[error("a key is not 1 to 4096 bytes of visible ascii")]
    Key,
    /// A name is empty, longer than 128 bytes, or holds anything but what the provider uses in it.
    #[error("the {what} is not a plain name")]
    Name {
        /// Which name.
        what: &'static str,
    },
}

/// What a provider did not do. It is the source of the
/// [`SendError`]; when there was no answer at all,
/// [`PostError`] is.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ApiError {
    /// The provider answered with another status than success. Of its words only a code is kept:
    /// they often quote the address.
    #[error("the provider answered {status}{}", Shown(.code.as_deref()))]
    Status {
        /// The HTTP status.
        status: u16,
        /// The provider's own code for the error, if it gave one: at most 64 letters, digits and
        /// `_.-`.
        code: Option<Box<str>>,
    },
    /// Nobody confirmed that tracking is off, and the message holds a live link or code (R87).
    #[error("tracking is not confirmed to be off, and the message holds a live link or code")]
    Tracking,
    /// The request could not be written down.
    #[error("the request could not be written")]
    Request,
    /// The source of credentials has none. Its own words are not kept.
    #[error("there are no credentials")]
    Credentials,
}

struct Shown<'a>(Option<&'a str>);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |code| write!(f, " ({code})"))
    }
}

/// How a provider speaks of errors.
#[derive(Clone, Copy)]
pub(crate) struct Words {
    /// Where its code is in the JSON of an error.
    pub(crate) code: &'static str,
    /// The codes of a 4xx answer that are about the account and not about the message.
    pub(crate) ours: &'static [&'static str],
}

/// Words without a code, or with none that matters.
pub(crate) const PLAIN: Words = Words {
    code: "/code",
    ours: &[],
};

/// What an answer means for the message. `key` is the one that was used.
pub(crate) fn judge(
    post: &Post,
    answer: Result<Answer, PostError>,
    words: Words,
    key: &SecretString,
) -> Result<(), SendError> {
    let answer = answer.map_err(|error| match error {
        PostError::NotSent(_) => SendError::transient(error),
        PostError::NoAnswer(_) => SendError::uncertain(error),
    })?;
    let status = answer.status();
    if (200..300).contains(&status) {
        return Ok(());
    }
    let code = code_of(&answer, words.code).filter(|code| is_harmless(code, post, key));
    let said = code.clone().unwrap_or_default();
    let error = ApiError::Status { status, code };
    Err(match status {
        // Not now. Or the key, the address of the provider, or the account is ours to put right: a
        // mistake that must not bury everybody's messages. 404 and 405 are such: no path names a
        // message, only the domain or the account that was configured.
        300..=399 | 401..=405 | 408 | 429 | 503 => SendError::transient(error),
        400..=499 if words.ours.contains(&&*said) => SendError::transient(error),
        // Two requests with one idempotency key met, and the other one may be the one that is
        // taken.
        409 if &*said == CONCURRENT => SendError::uncertain(error),
        400..=499 => SendError::permanent(error),
        // Something broke, and nobody knows whether it was before the message was taken.
        _ => SendError::uncertain(error),
    })
}

/// Resend's word for it.
const CONCURRENT: &str = "concurrent_idempotent_requests";

/// A provider has no reason to quote the request in the place of its code, and shall not get away
/// with it.
fn is_harmless(code: &str, post: &Post, key: &SecretString) -> bool {
    let quoted = post.mentions(code) || key.expose_secret().contains(code);
    code.len() < MIN_SECRET_CHARS || !quoted
}

fn code_of(answer: &Answer, pointer: &str) -> Option<Box<str>> {
    let code = match answer.error_type() {
        // Behind the colon is a URL.
        Some(code) => code.split(':').next().unwrap_or_default().to_owned(),
        None => code_at(pointer, answer.body())?,
    };
    // Some codes are the fragment of a URL, or stand behind a name space.
    let code = code.rsplit('#').next().unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let fits = (1..=MAX_CODE_CHARS).contains(&code.len());
    (fits && code.bytes().all(plain)).then(|| code.into())
}

fn code_at(pointer: &str, body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    match body.pointer(pointer)? {
        Value::String(code) => Some(code.clone()),
        Value::Number(code) => Some(code.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use std::error::Error;

    use super::*;

    const WORDS: Words = Words {
        code: "/code",
        ours: &["405", "SendingPausedException"],
    };

    fn answered(answer: Answer) -> Result<(), SendError> {
        let post = Post::new("https://api.example.org/", "a link with token-0123".into()).unwrap();
        judge(&post, Ok(answer), WORDS, &"key-4567".into())
    }

    fn judged(status: u16, body: &str) -> Result<(), SendError> {
        answered(Answer::new(status, body.into()))
    }

    fn told(status: u16, body: &str) -> String {
        judged(status, body)
            .unwrap_err()
            .source()
            .unwrap()
            .to_string()
    }

    #[test]
    fn of_a_providers_words_only_a_plain_code_is_told() {
        let long = "a".repeat(65);
        for (body, words) in [
            (
                r#"{"code":21211}"#.to_owned(),
                "the provider answered 400 (21211)",
            ),
            (
                r#"{"code":"Some.Code-1_a"}"#.to_owned(),
                "the provider answered 400 (Some.Code-1_a)",
            ),
            (
                r#"{"code":"https://api.example.org/errors#1120"}"#.to_owned(),
                "the provider answered 400 (1120)",
            ),
            (
                r#"{"code":"ada@example.com"}"#.to_owned(),
                "the provider answered 400",
            ),
            (r#"{"code":"a b"}"#.to_owned(), "the provider answered 400"),
            (r#"{"code":""}"#.to_owned(), "the provider answered 400"),
            (r#"{"code":"a\n"}"#.to_owned(), "the provider answered 400"),
            (r#"{"code":["a"]}"#.to_owned(), "the provider answered 400"),
            (
                format!(r#"{{"code":"{long}"}}"#),
                "the provider answered 400",
            ),
            (
                r#"{"message":"ada"}"#.to_owned(),
                "the provider answered 400",
            ),
            ("<html>".to_owned(), "the provider answered 400"),
            (String::new(), "the provider answered 400"),
        ] {
            assert_eq!(told(400, &body), words, "{body}");
        }
    }

    #[test]
    fn w13_a_code_that_quotes_the_request_is_not_told() {
        for quoted in ["token-0123", "key-4567"] {
            let body = format!(r#"{{"code":"{quoted}"}}"#);
            assert_eq!(told(400, &body), "the provider answered 400");
        }
    }

    #[test]
    fn what_is_wrong_with_our_account_buries_no_message() {
        for (status, body, transient) in [
            (422, r#"{"code":405}"#, true),
            (422, r#"{"code":406}"#, false),
            (
                400,
                r#"{"code":"com.example#SendingPausedException"}"#,
                true,
            ),
        ] {
            let error = judged(status, body).unwrap_err();
            assert_eq!(error.is_transient(), transient, "{body}");
            assert!(!error.may_have_arrived());
        }
        // Amazon says it in a header.
        let answer = Answer::new(400, r#"{"code":"x"}"#.into());
        let error = answered(answer.with_error_type("SendingPausedException:http://example.org/"));
        let error = error.unwrap_err();
        assert!(error.is_transient());
        let words = "the provider answered 400 (SendingPausedException)";
        assert_eq!(error.source().unwrap().to_string(), words);
    }

    #[test]
    fn every_status_has_one_meaning() {
        for status in 200..=299 {
            judged(status, "").unwrap();
        }
        for status in (100..200).chain(300..1_000) {
            let error = judged(status, "").unwrap_err();
            let (transient, arrived) = match status {
                300..=399 | 401..=405 | 408 | 429 | 503 => (true, false),
                400..=499 => (false, false),
                _ => (true, true),
            };
            assert_eq!(error.is_transient(), transient, "{status}");
            assert_eq!(error.may_have_arrived(), arrived, "{status}");
        }
    }
}
