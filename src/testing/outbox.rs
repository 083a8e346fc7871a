//! A mailer that sends nothing.

use std::fmt;
use std::future::pending;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use crate::account::Address;
use crate::mail::{Kind, Mailer, Message, SendError};
use crate::testing::{InjectedFault, lock};

/// What an [`Outbox`] does with the next mails.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Behaviour {
    /// Takes them.
    #[default]
    Accept,
    /// Answers a transient error.
    FailTransient,
    /// Answers a permanent error.
    FailPermanent,
    /// Takes them, and answers that it does not know whether it did.
    Uncertain,
    /// Never answers.
    Hang,
    /// Panics.
    Panic,
}

/// A mail that an [`Outbox`] took. `Debug` does not show what is inside.
#[derive(Clone)]
#[non_exhaustive]
pub struct Sent {
    /// Which letter it is.
    pub kind: Kind,
    /// The Message-ID.
    pub id: String,
    /// The recipient.
    pub to: Address,
    /// The subject.
    pub subject: String,
    /// The plain text part.
    pub text: String,
    /// The HTML part.
    pub html: String,
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A test mailer's own Debug once printed a live token; see the contract of `Mailer`.
        f.debug_struct("Sent")
            .field("kind", &self.kind)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A [`Mailer`] that keeps the mails. Clones share them.
///
/// ```
/// use password_reset::testing::{Behaviour, Outbox};
///
/// let outbox = Outbox::default();
/// outbox.behave(Behaviour::FailTransient);
/// assert_eq!(outbox.last_token(), None);
/// ```
#[derive(Clone, Default)]
pub struct Outbox(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    behaviour: Behaviour,
    failing: u64,
    attempts: u64,
    sent: Vec<Sent>,
}

impl Outbox {
    /// Sets what happens to every further mail.
    pub fn behave(&self, behaviour: Behaviour) {
        lock(&self.0).behaviour = behaviour;
    }

    /// Answers a transient error to the next `count` mails, whatever the behaviour.
    pub fn fail_next(&self, count: u64) {
        lock(&self.0).failing = count;
    }

    /// The mails that were taken, oldest first.
    pub fn messages(&self) -> Vec<Sent> {
        lock(&self.0).sent.clone()
    }

    /// How many mails were handed over, taken or not.
    pub fn attempts(&self) -> u64 {
        lock(&self.0).attempts
    }

    /// The link that sets a password, of every mail with such a link that was taken, oldest first:
    /// the first link with a token in the text.
    pub fn links(&self) -> Vec<String> {
        let state = lock(&self.0);
        let first = |sent: &Sent| sent.links().next().filter(|_| sent.kind == Kind::ResetLink);
        state.sent.iter().filter_map(first).collect()
    }

    /// The link to "this wasn't me", of every mail with such a link that was taken, oldest first:
    /// the other link with a token in the text.
    pub fn cancel_links(&self) -> Vec<String> {
        let state = lock(&self.0);
        let other = |sent: &Sent| {
            let own = usize::from(sent.kind == Kind::ResetLink);
            sent.links().nth(own)
        };
        state.sent.iter().filter_map(other).collect()
    }

    /// The token of the last of [`links`](Self::links).
    pub fn last_token(&self) -> Option<String> {
        token(&self.links().pop()?)
    }

    /// The token of the last of [`cancel_links`](Self::cancel_links).
    pub fn last_cancel_token(&self) -> Option<String> {
        token(&self.cancel_links().pop()?)
    }

    /// Forgets the mails and the number of attempts.
    pub fn clear(&self) {
        let mut state = lock(&self.0);
        state.sent.clear();
        state.attempts = 0;
    }

    /// Counts the attempt and says what becomes of it.
    fn next(&self) -> Behaviour {
        let mut state = lock(&self.0);
        state.attempts += 1;
        match state.failing.checked_sub(1) {
            Some(left) => {
                state.failing = left;
                Behaviour::FailTransient
            }
            None => state.behaviour,
        }
    }
}

const TOKEN: &str = "?token=";

fn token(link: &str) -> Option<String> {
    link.split_once(TOKEN).map(|(_, token)| token.to_owned())
}

impl Sent {
    fn links(&self) -> impl Iterator<Item = String> {
        let words = self.text.split_whitespace();
        words.filter(|word| word.contains(TOKEN)).map(str::to_owned)
    }
}

#[async_trait]
impl Mailer for Outbox {
    #[allow(
        clippy::panic,
        reason = "a mailer that panics is what the test asked for"
    )]
    async fn send(&self, message: &Message) -> Result<(), SendError> {
        let fault = InjectedFault::new("mailer.send");
        let behaviour = self.next();
        match behaviour {
            Behaviour::Accept | Behaviour::Uncertain => {}
            Behaviour::FailTransient => return Err(SendError::transient(fault)),
            Behaviour::FailPermanent => return Err(SendError::permanent(fault)),
            Behaviour::Hang => pending().await,
            Behaviour::Panic => panic!("{fault}"),
        }
        lock(&self.0).sent.push(Sent {
            kind: message.kind(),
            id: message.id().to_owned(),
            to: message.to().clone(),
            subject: message.subject().to_owned(),
            text: message.text().to_owned(),
            html: message.html().to_owned(),
        });
        match behaviour {
            Behaviour::Uncertain => Err(SendError::uncertain(fault)),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").finish_non_exhaustive()
    }
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

    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::time::Duration;

    use super::*;
    use crate::mail::{LinkBase, Mailbox, ResetLink, Site, StandardLetters, Templates};
    use crate::queue::{JobId, Lease};
    use crate::random::SystemRandom;
    use crate::testing::{block_on, poll_once};
    use crate::token::LinkToken;

    fn link_mail() -> (Message, String) {
        let sender = Mailbox::new(Address::parse("no-reply@app.example.org").unwrap());
        let base = LinkBase::parse("https://app.example.org/reset").unwrap();
        let site = Site::new("Example", base, "help", sender).unwrap();
        let (token, _) = LinkToken::generate(&SystemRandom).unwrap();
        let link = site.base().link(&token);
        let facts = ResetLink::new(&site, &link, Duration::from_secs(1_800), None);
        let letter = StandardLetters::default().reset_link(&facts).unwrap();
        let to = Address::parse("ada@example.com").unwrap();
        let job = Lease {
            job: JobId::from_bytes([1; 16]),
            attempt: 1,
        };
        let message = Message::new(Kind::ResetLink, job, &site, to, letter).unwrap();
        (message, token.expose().to_owned())
    }

    #[test]
    fn the_token_is_found_in_the_last_mail_taken() {
        let outbox = Outbox::default();
        let (first, second) = (link_mail(), link_mail());
        block_on(outbox.clone().send(&first.0)).unwrap();
        block_on(outbox.send(&second.0)).unwrap();
        assert_eq!(outbox.messages().len(), 2);
        assert_eq!(outbox.messages()[0].to.as_str(), "ada@example.com");
        let link = |token: &str| format!("https://app.example.org/reset?token={token}");
        assert_eq!(outbox.links(), [link(&first.1), link(&second.1)]);
        assert_eq!(outbox.last_token(), Some(second.1));
        outbox.clear();
        assert!(outbox.messages().is_empty() && outbox.links().is_empty());
    }

    #[test]
    fn an_outbox_fails_hangs_and_panics_when_told() {
        let outbox = Outbox::default();
        let (mail, _) = link_mail();
        outbox.behave(Behaviour::FailPermanent);
        outbox.fail_next(1);
        assert!(block_on(outbox.send(&mail)).unwrap_err().is_transient());
        assert!(!block_on(outbox.send(&mail)).unwrap_err().is_transient());
        outbox.behave(Behaviour::Hang);
        assert!(poll_once(&mut outbox.send(&mail)).is_none());
        outbox.behave(Behaviour::Panic);
        assert!(catch_unwind(AssertUnwindSafe(|| block_on(outbox.send(&mail)))).is_err());
        assert!(outbox.messages().is_empty());
        assert_eq!(outbox.attempts(), 4);
        outbox.behave(Behaviour::Accept);
        block_on(outbox.send(&mail)).unwrap();
        assert_eq!(outbox.messages().len(), 1);
    }

    #[test]
    fn debug_of_an_outbox_and_its_mails_shows_no_token() {
        let outbox = Outbox::default();
        let (mail, token) = link_mail();
        block_on(outbox.send(&mail)).unwrap();
        let shown = format!("{outbox:?} {:?}", outbox.messages());
        assert!(!shown.contains(&token) && !shown.contains("ada"), "{shown}");
    }
}
