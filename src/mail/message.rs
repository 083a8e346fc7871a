//! One mail, ready to be sent: [`Message`].

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use crate::account::{Address, is_control};
use crate::mail::{Letter, Mailbox, Site};
use crate::queue::Lease;

const MAX_SUBJECT_BYTES: usize = 256;

/// RFC 3834: no vacation notice, ticket system or mailing list should answer (R88).
const HEADERS: [(&str, &str); 1] = [("Auto-Submitted", "auto-generated")];

/// Why a [`Letter`] cannot be sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMessage {
    /// The subject holds CR, LF, NUL or another control character (W9).
    #[error("the subject holds a control character")]
    SubjectControl,
    /// The subject holds `=?`, which mail programs take for an encoded word and decode.
    #[error("the subject holds an encoded word")]
    SubjectEncodedWord,
    /// The subject is empty or longer than 256 bytes.
    #[error("the subject is empty or longer than 256 bytes")]
    SubjectLength,
    /// A body holds a control character other than a tab or a line break, or a bare CR.
    #[error("a body holds a control character")]
    BodyControl,
}

/// Which letter a message carries.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Kind {
    /// The link. Whoever reads it can set the password.
    ResetLink,
    /// The code. Whoever reads it can set the password, on the device that asked for it.
    ResetCode,
    /// The notice that the password was changed. Its link can cancel and nothing else.
    PasswordChanged,
    /// "You have no account here", to whoever was named. Holds no secret.
    NoAccount,
    /// "You log in through another provider". Holds no secret.
    UseProvider,
}

/// One mail to one address.
///
/// Made by the flow's worker, read by the [`Mailer`](crate::mail::Mailer). It cannot be cloned, and
/// `Debug` shows neither the recipient nor what is inside.
pub struct Message {
    kind: Kind,
    id: String,
    from: Mailbox,
    reply_to: Option<Mailbox>,
    to: Address,
    subject: String,
    text: SecretString,
    html: SecretString,
}

impl Message {
    /// Puts a letter into its envelope. For the flow, and for the tests of a mailer.
    ///
    /// ```
    /// use password_reset::account::Address;
    /// use password_reset::mail::{InvalidMessage, Kind, Letter, LinkBase, Mailbox, Message, Site};
    /// use password_reset::queue::{JobId, Lease};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let site = Site::new("Example", LinkBase::parse("https://app.example.org/reset")?,
    /// #     "support@app.example.org", Mailbox::new(Address::parse("no-reply@app.example.org")?))?;
    /// let letter = Letter {
    ///     subject: "Hello\r\nBcc: eve@evil.example.org".into(),
    ///     text: "Hello".into(),
    ///     html: "<p>Hello</p>".into(),
    /// };
    /// let to = Address::parse("ada@example.com")?;
    /// let lease = Lease { job: JobId::from_bytes([7; 16]), attempt: 1 };
    /// let refused = Message::new(Kind::ResetLink, lease, &site, to, letter);
    /// assert_eq!(refused.unwrap_err(), InvalidMessage::SubjectControl);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// - [`InvalidMessage::SubjectControl`], [`InvalidMessage::SubjectEncodedWord`] or
    ///   [`InvalidMessage::SubjectLength`] when the subject is not one plain line of 1 to 256 bytes.
    /// - [`InvalidMessage::BodyControl`] when a body could be read as more than one mail.
    pub fn new(
        kind: Kind,
        lease: Lease,
        site: &Site,
        to: Address,
        letter: Letter,
    ) -> Result<Self, InvalidMessage> {
        let subject = letter.subject.as_str();
        if subject.is_empty() || subject.len() > MAX_SUBJECT_BYTES {
            return Err(InvalidMessage::SubjectLength);
        }
        if subject.chars().any(is_control) {
            return Err(InvalidMessage::SubjectControl);
        }
        if subject.contains("=?") {
            return Err(InvalidMessage::SubjectEncodedWord);
        }
        for body in [&letter.text, &letter.html] {
            check_body(body.expose_secret())?;
        }
        Ok(Self {
            kind,
            id: match kind {
                // Each try carries another link. Receivers drop what looks like a mail that they
                // have, and must not drop the only link that works.
                Kind::ResetLink => {
                    format!("<{}.{}@{}>", lease.job, lease.attempt, site.domain())
                }
                _ => format!("<{}@{}>", lease.job, site.domain()),
            },
            from: site.sender().clone(),
            reply_to: site.answers().cloned(),
            to,
            subject: letter.subject,
            text: letter.text,
            html: letter.html,
        })
    }

    /// Which letter it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The Message-ID with its angle brackets, at the sender's domain. The same at every try, so
    /// that a retry is recognised as the same mail; but another at each try of a link, because each
    /// carries another link.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The sender, in the header and on the envelope.
    pub fn from(&self) -> &Mailbox {
        &self.from
    }

    /// Where answers go, if not to the sender.
    pub fn reply_to(&self) -> Option<&Mailbox> {
        self.reply_to.as_ref()
    }

    /// The one recipient: an address on record, never one that was typed (R12).
    pub fn to(&self) -> &Address {
        &self.to
    }

    /// The subject: one line without control characters. Holds no secret.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The plain text part.
    ///
    /// # Security
    ///
    /// Holds the link where [`is_sensitive`](Self::is_sensitive). Send it; do not log, store or
    /// trace it (R76).
    pub fn text(&self) -> &str {
        self.text.expose_secret()
    }

    /// The HTML part.
    ///
    /// # Security
    ///
    /// As for [`text`](Self::text).
    pub fn html(&self) -> &str {
        self.html.expose_secret()
    }

    /// Further header lines that must be sent: names and values, both plain ASCII.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        HEADERS.into_iter()
    }

    /// Whether the body holds a live link or code. Then click tracking, link rewriting and open
    /// pixels must be off, and nothing may keep the body (R87).
    pub fn is_sensitive(&self) -> bool {
        // Everything but what is known to be harmless.
        !matches!(self.kind, Kind::NoAccount | Kind::UseProvider)
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Recipient, subject and bodies are not shown.
        f.debug_struct("Message")
            .field("kind", &self.kind)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A bare CR, or a NUL, is where two mail servers disagree about the end of a mail.
fn check_body(body: &str) -> Result<(), InvalidMessage> {
    let mut rest = body.chars().peekable();
    while let Some(c) = rest.next() {
        let bare_cr = c == '\r' && rest.peek() != Some(&'\n');
        if bare_cr || (c.is_control() && !matches!(c, '\r' | '\n' | '\t')) {
            return Err(InvalidMessage::BodyControl);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "tests may panic"
    )]

    use super::*;
    use crate::mail::LinkBase;

    fn site() -> Site {
        let sender = Mailbox::new(Address::parse("no-reply@app.example.org").unwrap());
        let base = LinkBase::parse("https://app.example.org/reset").unwrap();
        Site::new("Example", base, "help", sender).unwrap()
    }

    fn lease(attempt: u32) -> Lease {
        let job = crate::queue::JobId::from_bytes([0xab; 16]);
        Lease { job, attempt }
    }

    fn message(kind: Kind, subject: &str, text: &str) -> Result<Message, InvalidMessage> {
        let letter = Letter {
            subject: subject.into(),
            text: text.into(),
            html: "<p>s3cret</p>".into(),
        };
        let to = Address::parse("ada@example.com").unwrap();
        Message::new(kind, lease(2), &site(), to, letter)
    }

    #[test]
    fn w9_a_subject_is_one_plain_line() {
        use InvalidMessage::*;
        let long = "a".repeat(257);
        for (subject, why) in [
            ("A\r\nBcc: x", SubjectControl),
            ("A\rB", SubjectControl),
            ("A\nB", SubjectControl),
            ("A\0B", SubjectControl),
            ("A\u{2028}B", SubjectControl),
            ("A\u{202e}B", SubjectControl),
            ("=?utf-8?q?A?=", SubjectEncodedWord),
            ("", SubjectLength),
            (&long, SubjectLength),
        ] {
            let refused = message(Kind::ResetLink, subject, "text").unwrap_err();
            assert_eq!(refused, why, "{subject:?}");
        }
    }

    #[test]
    fn w9_a_body_cannot_be_read_as_two_mails() {
        for text in ["a\0b", "a\r.\r\nb", "a\r", "a\u{7}b"] {
            let refused = message(Kind::ResetLink, "A", text).unwrap_err();
            assert_eq!(refused, InvalidMessage::BodyControl, "{text:?}");
        }
        message(Kind::ResetLink, "A", "a\r\nb\n\tc").unwrap();
    }

    #[test]
    fn w6_the_envelope_comes_from_the_site_alone() {
        let message = message(Kind::ResetLink, "A", "text").unwrap();
        assert_eq!(
            message.id(),
            format!("<{}.2@app.example.org>", "ab".repeat(16))
        );
        assert_eq!(
            message.from().address().as_str(),
            "no-reply@app.example.org"
        );
        assert_eq!(message.reply_to(), None);
        assert_eq!(message.to().as_str(), "ada@example.com");

        let answers = Mailbox::new(Address::parse("help@app.example.org").unwrap());
        assert_eq!(site().reply_to(answers.clone()).answers(), Some(&answers));
    }

    #[test]
    fn every_message_asks_not_to_be_answered_by_machines() {
        let message = message(Kind::PasswordChanged, "A", "text").unwrap();
        let headers: Vec<_> = message.headers().collect();
        assert!(headers.contains(&("Auto-Submitted", "auto-generated")));
    }

    #[test]
    fn whatever_holds_a_link_or_a_code_is_sensitive() {
        for kind in [Kind::ResetLink, Kind::ResetCode, Kind::PasswordChanged] {
            assert!(message(kind, "A", "b").unwrap().is_sensitive());
        }
        for kind in [Kind::NoAccount, Kind::UseProvider] {
            assert!(!message(kind, "A", "b").unwrap().is_sensitive());
        }
    }

    #[test]
    fn w13_debug_shows_neither_recipient_nor_body() {
        let message = message(Kind::ResetLink, "Subject", "s3cret").unwrap();
        let shown = format!("{message:?} {message:#?}");
        for hidden in ["s3cret", "ada", "Subject", "example.com"] {
            assert!(!shown.contains(hidden), "{shown}");
        }
    }
}
