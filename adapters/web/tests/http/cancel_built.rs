//! "This wasn't me": what can be configured, and what cannot work.

use std::sync::Arc;
use std::time::Duration;

use password_reset::ResetFlow;
use password_reset::account::Address;
use password_reset::flow::{Cancelable, Parts};
use password_reset::limit::Unlimited;
use password_reset::mail::{LinkBase, Mailbox, Site};
use password_reset::memory::{MemoryQueue, MemoryTokens};
use password_reset::testing::{MemoryUsers, Outbox};
use password_reset::token::Keyring;
use password_reset_web::{BuildError, Paths, ResetWeb};

use crate::cancel::{at_the_button, is_mailed, not_me};
use crate::server::Front;
use crate::world::{ADA, CANCEL, CANCELLED, HTTPS, Setup};

suite!(the_pause_is_configured);

fn the_pause_is_configured(front: Front) {
    let pause = Duration::from_secs(2 * 86_400);
    let setup = Setup::default().web(move |web| web.cancel_pause(pause));
    let world = setup.start(front);
    let (mut browser, form) = at_the_button(&world, &not_me(&world, ADA));
    let page = browser.get(CANCEL).body;
    assert!(
        page.contains("2 days") || page.contains("48 hours"),
        "{page}"
    );
    browser.post(CANCEL, &[("form", &form)]).leads_to(CANCELLED);
    world
        .clock
        .advance(Cancelable::PAUSE + Duration::from_secs(7_200));
    assert!(!is_mailed(&world, ADA));
    world.clock.advance(Cancelable::PAUSE);
    assert!(is_mailed(&world, ADA));
}

/// A flow whose mails link to this page.
fn flow(cancel_page: &str) -> ResetFlow {
    let sender = Mailbox::new(Address::parse("noreply@example.com").unwrap());
    let base = LinkBase::parse(HTTPS).unwrap();
    let site = Site::new("Example", base, "support@example.com", sender).unwrap();
    ResetFlow::builder(Parts {
        site: site.cancel_page(LinkBase::parse(cancel_page).unwrap()),
        keyring: Keyring::ephemeral().unwrap(),
        users: Arc::new(MemoryUsers::default()),
        tokens: Arc::new(MemoryTokens::default()),
        queue: Arc::new(MemoryQueue::default()),
        mailer: Arc::new(Outbox::default()),
        limiter: Arc::new(Unlimited),
    })
    .build()
    .unwrap()
}

/// What the mails link to is what is served, on this very site.
#[test]
fn a_page_that_the_mails_do_not_link_to_is_found_at_start() {
    let web = ResetWeb::builder(flow("https://app.example.com/not-me"));
    assert_eq!(web.build().unwrap().paths().cancel(), "/not-me");
    let of = || Paths::of(&LinkBase::parse(HTTPS).unwrap());
    for (page, paths) in [
        ("https://evil.example.com/reset/not-me", None),
        ("http://localhost:3000/reset/not-me", None),
        ("https://app.example.com/not-me", Some(of())),
        ("https://app.example.com/reset/not-me/", Some(of())),
        (
            "https://app.example.com/reset/not-me",
            Some(of().cancel_at("/not-me").unwrap()),
        ),
    ] {
        let mut builder = ResetWeb::builder(flow(page));
        if let Some(paths) = paths {
            builder = builder.paths(paths);
        }
        let error = builder.build().unwrap_err();
        assert!(matches!(error, BuildError::CancelPage(..)), "{error:?}");
        assert!(error.to_string().contains(page), "{error}");
    }
    // Links that lead to pages of the application's own are its own.
    let paths = Paths::under("/api").unwrap();
    let web = ResetWeb::builder(flow("https://app.example.com/not-me"));
    assert!(web.paths(paths).build().is_ok());
    let taken = of().cancel_at("/reset/done").unwrap();
    let web = ResetWeb::builder(flow("https://app.example.com/reset/done"));
    let error = web.paths(taken).build().unwrap_err();
    assert!(matches!(error, BuildError::Paths(_)), "{error:?}");
    let long = Cancelable::LONGEST_PAUSE + Duration::from_secs(1);
    let web = ResetWeb::builder(flow("https://app.example.com/reset/not-me"));
    let error = web.cancel_pause(long).build().unwrap_err();
    assert!(matches!(error, BuildError::CancelPause), "{error:?}");
}
