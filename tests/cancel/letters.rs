//! Letters that print the link to "this wasn't me", and a world that sends them.

use std::sync::Arc;

use password_reset::ResetFlow;
use password_reset::error::BoxError;
use password_reset::flow::{Builder, Limits, Parts};
use password_reset::limit::{Quota, Unlimited};
use password_reset::mail::{
    Hint, Letter, LinkBase, PasswordChanged, ResetCode, ResetLink, Site, StandardLetters, Templates,
};
use password_reset::memory::MemoryQueue;
use password_reset::secrecy::{ExposeSecret, SecretString};
use password_reset::store::TokenStore;
use password_reset::testing::{ManualClock, MemoryUsers, Outbox};
use password_reset::token::Keyring;

use crate::common::{Backends, SPREAD, World, cheap_pool, site};

pub(crate) struct WithCancel;

fn letter(links: &[Option<&SecretString>]) -> Letter {
    let links: Vec<&str> = links.iter().flatten().map(|l| l.expose_secret()).collect();
    let text = format!("A letter. {}\n", links.join(" \n"));
    Letter {
        subject: "A letter".to_owned(),
        text: text.clone().into(),
        html: format!("<p>{text}</p>").into(),
    }
}

impl Templates for WithCancel {
    fn reset_link(&self, facts: &ResetLink<'_>) -> Result<Letter, BoxError> {
        Ok(letter(&[Some(facts.link), facts.cancel]))
    }

    fn reset_code(&self, facts: &ResetCode<'_>) -> Result<Letter, BoxError> {
        Ok(letter(&[Some(facts.code), facts.cancel]))
    }

    fn code_text(&self, facts: &ResetCode<'_>) -> Result<SecretString, BoxError> {
        StandardLetters::default().code_text(facts)
    }

    fn password_changed(&self, facts: &PasswordChanged<'_>) -> Result<Letter, BoxError> {
        Ok(letter(&[facts.cancel]))
    }

    fn no_account(&self, facts: &Hint<'_>) -> Result<Letter, BoxError> {
        StandardLetters::default().no_account(facts)
    }

    fn use_provider(&self, facts: &Hint<'_>) -> Result<Letter, BoxError> {
        StandardLetters::default().use_provider(facts)
    }
}

/// Limits as they are, but for those on requests, of which a story here makes many.
pub(crate) fn world() -> World {
    with(Backends::default())
}

pub(crate) fn with(backends: Backends) -> World {
    on(backends, |builder| builder)
}

/// The same with other parts.
pub(crate) fn changed(change: impl FnOnce(Builder) -> Builder) -> World {
    on(Backends::default(), change)
}

fn on(backends: Backends, change: impl FnOnce(Builder) -> Builder) -> World {
    World::at(site_with_page(), backends, |builder| {
        let mut limits = Limits::default();
        let plenty = Quota::new(1_000, SPREAD);
        (limits.identifier, limits.source, limits.mails) = (plenty, plenty, plenty);
        change(builder.limits(limits).templates(WithCancel))
    })
}

/// A flow on given keys, users and tokens, for tests that build several.
pub(crate) fn build(
    keyring: Keyring,
    users: MemoryUsers,
    tokens: Arc<dyn TokenStore>,
) -> (ResetFlow, Outbox, ManualClock) {
    let (outbox, clock) = (Outbox::default(), ManualClock::default());
    let flow = ResetFlow::builder(Parts {
        site: site_with_page(),
        keyring,
        users: Arc::new(users),
        tokens,
        queue: Arc::new(MemoryQueue::default()),
        mailer: Arc::new(outbox.clone()),
        limiter: Arc::new(Unlimited),
    })
    .clock(clock.clone())
    .hashing(cheap_pool())
    .templates(WithCancel)
    .build()
    .unwrap();
    (flow, outbox, clock)
}

fn site_with_page() -> Site {
    let page = LinkBase::parse("https://app.example.com/reset/not-me").unwrap();
    site().cancel_page(page)
}
