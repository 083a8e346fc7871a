//! Letters that say what they were told, and nothing else.

use std::fmt::Debug;

use password_reset::account::Seen;
use password_reset::error::BoxError;
use password_reset::mail::{Hint, Letter, PasswordChanged, ResetCode, ResetLink, Templates};
use secrecy::{ExposeSecret, SecretString};

pub(crate) struct Facts;

fn letter(subject: &str, text: String) -> Result<Letter, BoxError> {
    Ok(Letter {
        subject: subject.to_owned(),
        text: text.clone().into(),
        html: text.into(),
    })
}

fn shown(value: impl Debug) -> String {
    format!("{value:?}")
}

impl Templates for Facts {
    fn reset_link(&self, facts: &ResetLink<'_>) -> Result<Letter, BoxError> {
        let (occasion, life) = (facts.occasion, facts.valid_for.as_secs());
        let link = facts.link.expose_secret();
        letter("link", format!("{occasion:?} {life} {link}"))
    }

    fn reset_code(&self, _: &ResetCode<'_>) -> Result<Letter, BoxError> {
        letter("code", String::from("-"))
    }

    fn code_text(&self, _: &ResetCode<'_>) -> Result<SecretString, BoxError> {
        Ok("-".into())
    }

    fn password_changed(&self, facts: &PasswordChanged<'_>) -> Result<Letter, BoxError> {
        let device = shown(facts.seen.and_then(Seen::device_text));
        let place = shown(facts.seen.and_then(Seen::place_text));
        letter("changed", format!("{device} {place}"))
    }

    fn no_account(&self, facts: &Hint<'_>) -> Result<Letter, BoxError> {
        letter("no account", shown(facts.locale))
    }

    fn use_provider(&self, facts: &Hint<'_>) -> Result<Letter, BoxError> {
        letter("use provider", shown(facts.locale))
    }
}
