//! What the mails say: [`Templates`], and the built-in [`StandardLetters`].

mod fill;
mod standard;
mod wrap;

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use crate::account::Seen;
use crate::clock::Timestamp;
use crate::error::BoxError;
use crate::mail::Site;

pub use standard::StandardLetters;

/// A letter without its envelope.
#[derive(Debug)]
pub struct Letter {
    /// One line; it shows on lock screens, so no link and no code (R86).
    pub subject: String,
    /// The plain text part.
    pub text: SecretString,
    /// The HTML part.
    pub html: SecretString,
}

/// What the letter with the link may say.
///
/// There is no field for a name, a message or anything else that whoever asked could fill in (R85).
/// `Debug` does not show the link.
#[derive(Debug)]
#[non_exhaustive]
pub struct ResetLink<'a> {
    /// The service.
    pub site: &'a Site,
    /// The link. As secret as its token.
    pub link: &'a SecretString,
    /// How long the link works, counted from now.
    pub valid_for: Duration,
    /// The account's language, as a BCP 47 tag.
    pub locale: Option<&'a str>,
    /// Why it is written.
    pub occasion: Occasion,
    /// The link to "this wasn't me", where the site has such a page. It can cancel, and nothing
    /// else.
    pub cancel: Option<&'a SecretString>,
}

/// Why a letter with a link is written.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Occasion {
    /// Somebody asked for it.
    #[default]
    Asked,
    /// The service's operators ask the account's owner to choose a new password.
    Operator,
    /// The service's operators invite the owner of an account that has no password yet to choose
    /// the first one.
    First,
    /// Somebody asked for a new password, and the account has none yet: it logs in elsewhere.
    FirstAsked,
}

impl<'a> ResetLink<'a> {
    /// The facts of one letter. For the flow, and for the tests of templates.
    pub fn new(
        site: &'a Site,
        link: &'a SecretString,
        valid_for: Duration,
        locale: Option<&'a str>,
    ) -> Self {
        Self {
            site,
            link,
            valid_for,
            locale,
            occasion: Occasion::Asked,
            cancel: None,
        }
    }
}

/// What the letter, or the text message, with the code may say. `Debug` does not show the code.
#[derive(Debug)]
#[non_exhaustive]
pub struct ResetCode<'a> {
    /// The service.
    pub site: &'a Site,
    /// The code: digits only. As secret as a link.
    pub code: &'a SecretString,
    /// How long the code works, counted from now.
    pub valid_for: Duration,
    /// The account's language, as a BCP 47 tag.
    pub locale: Option<&'a str>,
    /// The link to "this wasn't me", where the site has such a page. Not for text messages.
    pub cancel: Option<&'a SecretString>,
}

impl<'a> ResetCode<'a> {
    /// The facts of one letter. For the flow, and for the tests of templates.
    pub fn new(
        site: &'a Site,
        code: &'a SecretString,
        valid_for: Duration,
        locale: Option<&'a str>,
    ) -> Self {
        Self {
            site,
            code,
            valid_for,
            locale,
            cancel: None,
        }
    }
}

/// What a letter without a secret may say: "you have no account here", or "log in through your
/// provider".
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Hint<'a> {
    /// The service.
    pub site: &'a Site,
    /// The account's language, as a BCP 47 tag, where there is an account.
    pub locale: Option<&'a str>,
}

impl<'a> Hint<'a> {
    /// The facts of one letter. For the flow, and for the tests of templates.
    pub fn new(site: &'a Site, locale: Option<&'a str>) -> Self {
        Self { site, locale }
    }
}

/// What the notice of a changed password may say.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PasswordChanged<'a> {
    /// The service.
    pub site: &'a Site,
    /// When it was changed.
    pub at: Timestamp,
    /// The account's language, as a BCP 47 tag.
    pub locale: Option<&'a str>,
    /// Where the change came from, if the application says so.
    pub seen: Option<&'a Seen>,
    /// The link to "this wasn't me", where the site has such a page.
    pub cancel: Option<&'a SecretString>,
}

impl<'a> PasswordChanged<'a> {
    /// The facts of one notice. For the flow, and for the tests of templates.
    pub fn new(site: &'a Site, at: Timestamp, locale: Option<&'a str>) -> Self {
        Self {
            site,
            at,
            locale,
            seen: None,
            cancel: None,
        }
    }
}

/// Writes the letters.
///
/// # Contract
///
/// - The link's letter MUST say how long the link works, that it works once, and what to do when
///   one did not ask for it (R86).
/// - The code MUST NOT stand in a subject, and the letter MUST say that nobody who calls or writes
///   may be told it (R86). A text message MUST end with the line that
///   [`Templates::code_text`] describes.
/// - The notice MUST say what happened, when, and whom to contact if it was not you, and MUST NOT
///   hold a link that sets a password (R72). Otherwise the notice is itself worth stealing. The
///   link to "this wasn't me" can only cancel.
/// - Every value MUST be escaped for where it stands, and a template MUST NOT be built from values
///   (R85, W10).
/// - MUST NOT load anything from elsewhere: no images, no pixels, no style sheets (R87).
pub trait Templates: Send + Sync + 'static {
    /// The letter with the link.
    ///
    /// # Errors
    ///
    /// Any error when the letter cannot be written. It must not hold the link.
    fn reset_link(&self, letter: &ResetLink<'_>) -> Result<Letter, BoxError>;

    /// The letter with the code.
    ///
    /// # Errors
    ///
    /// Any error when the letter cannot be written. It must not hold the code.
    fn reset_code(&self, letter: &ResetCode<'_>) -> Result<Letter, BoxError>;

    /// The text message with the code: one short line, and behind it, on a line of its own,
    /// `@host #code` with the host of the site's pages, which browsers read to fill in the code
    /// (WebOTP, origin-bound one-time codes). No link.
    ///
    /// # Errors
    ///
    /// Any error when the text cannot be written. It must not hold the code.
    fn code_text(&self, letter: &ResetCode<'_>) -> Result<SecretString, BoxError>;

    /// The notice that the password was changed.
    ///
    /// # Errors
    ///
    /// Any error when the letter cannot be written.
    fn password_changed(&self, letter: &PasswordChanged<'_>) -> Result<Letter, BoxError>;

    /// "Somebody asked for a new password with this address, and it has no account here."
    ///
    /// # Errors
    ///
    /// Any error when the letter cannot be written.
    fn no_account(&self, letter: &Hint<'_>) -> Result<Letter, BoxError>;

    /// "Your account has no password of its own: log in through your provider."
    ///
    /// # Errors
    ///
    /// Any error when the letter cannot be written.
    fn use_provider(&self, letter: &Hint<'_>) -> Result<Letter, BoxError>;
}

macro_rules! forward {
    ($($pointer:ident),+) => { $(
        impl<T: Templates + ?Sized> Templates for $pointer<T> {
            fn reset_link(&self, letter: &ResetLink<'_>) -> Result<Letter, BoxError> {
                (**self).reset_link(letter)
            }
            fn reset_code(&self, letter: &ResetCode<'_>) -> Result<Letter, BoxError> {
                (**self).reset_code(letter)
            }
            fn code_text(&self, letter: &ResetCode<'_>) -> Result<SecretString, BoxError> {
                (**self).code_text(letter)
            }
            fn password_changed(&self, letter: &PasswordChanged<'_>) -> Result<Letter, BoxError> {
                (**self).password_changed(letter)
            }
            fn no_account(&self, letter: &Hint<'_>) -> Result<Letter, BoxError> {
                (**self).no_account(letter)
            }
            fn use_provider(&self, letter: &Hint<'_>) -> Result<Letter, BoxError> {
                (**self).use_provider(letter)
            }
        }
    )+ };
}
forward!(Arc, Box);

#[cfg(test)]
mod tests;
