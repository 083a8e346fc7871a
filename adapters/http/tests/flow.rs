//! A whole reset through one provider's stand-in: down, up again, and a refusal for good.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Act, KEY, Provider, answer, client, mailbox, site};
use password_reset::account::{Account, Address, Client, Credential, Identifier, UserId};
use password_reset::flow::{Parts, ResetFlow};
use password_reset::memory::{MemoryLimiter, MemoryQueue, MemoryTokens};
use password_reset::password::PasswordHash;
use password_reset::testing::{ManualClock, MemoryUsers};
use password_reset::token::Keyring;
use password_reset_http::SendGrid;

/// Longer than any pause between two tries.
const LATER: Duration = Duration::from_secs(15 * 60);

fn flow(base: &str, clock: &ManualClock) -> ResetFlow {
    let users = MemoryUsers::default();
    let stored = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2E$aGFzaGhhc2hoYXNoaGFzaA";
    let credential = Credential::Password(PasswordHash::parse(stored).unwrap());
    let account = Account::new(UserId::parse("42").unwrap(), credential);
    users.add(account.verified(Address::parse("ada@example.com").unwrap()));
    let mailer = SendGrid::new(client(), KEY.into()).unwrap();
    ResetFlow::builder(Parts {
        site: site(mailbox("Example")),
        keyring: Keyring::ephemeral().unwrap(),
        users: Arc::new(users),
        tokens: Arc::new(MemoryTokens::default()),
        queue: Arc::new(MemoryQueue::default()),
        mailer: Arc::new(mailer.base_url(base).unwrap()),
        limiter: Arc::new(MemoryLimiter::default()),
    })
    .clock(clock.clone())
    .build()
    .unwrap()
}

async fn request(flow: &ResetFlow) -> Client {
    let client = Client::from_ip([192, 0, 2, 7].into());
    let ada = Identifier::parse("ada@example.com").unwrap();
    flow.request(&ada, &client).await.unwrap();
    client
}

/// The token in the mail that the provider got.
fn token(provider: &Provider, nth: usize) -> String {
    let body = provider.seen().remove(nth).json();
    let text = body.pointer("/content/0/value").unwrap().as_str().unwrap();
    let (_, token) = text
        .split_once("https://app.example.org/reset?token=")
        .unwrap();
    token.split_whitespace().next().unwrap().to_owned()
}

#[tokio::test]
async fn a_link_survives_a_providers_bad_hour() {
    let down = Act::Answer(503, "{}".into());
    let provider = Provider::start([down, Act::Raw(Vec::new()), answer(202)]).await;
    let clock = ManualClock::default();
    let flow = flow(&provider.base, &clock);
    let client = request(&flow).await;

    for (retried, done) in [(1, 0), (1, 0), (0, 1)] {
        clock.advance(LATER / 15);
        let report = flow.worker().run_due().await;
        assert_eq!(
            (report.retried, report.done, report.dead),
            (retried, done, 0)
        );
    }
    assert_eq!(provider.seen().len(), 3);
    // The first was refused, so its link is dead; the second may have arrived, so its link lives.
    assert!(flow.verify(&token(&provider, 0), &client).await.is_err());
    assert!(flow.verify(&token(&provider, 1), &client).await.is_ok());
    let verified = flow.verify(&token(&provider, 2), &client).await.unwrap();
    let password = verified.parse_password("a quiet harbour at dawn").unwrap();
    verified.complete(password).await.unwrap();
}

#[tokio::test]
async fn a_mail_that_is_refused_for_good_becomes_a_dead_letter() {
    let provider = Provider::start([answer(400)]).await;
    let clock = ManualClock::default();
    let flow = flow(&provider.base, &clock);
    request(&flow).await;

    clock.advance(LATER);
    let report = flow.worker().run_due().await;
    assert_eq!((report.retried, report.done, report.dead), (0, 0, 1));
    clock.advance(LATER);
    flow.worker().run_due().await;
    assert_eq!(provider.seen().len(), 1);
}
