//! The real flow on the real mailer.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::python::parse;
use common::server::{Act, At, Server, Tls};
use common::{ADA, address, site};
use password_reset::account::{Account, Client, Credential, Identifier, UserId};
use password_reset::flow::{Parts, ResetFlow};
use password_reset::mail::Mailer;
use password_reset::memory::{MemoryLimiter, MemoryQueue, MemoryTokens};
use password_reset::password::PasswordHash;
use password_reset::queue::Task;
use password_reset::testing::{ManualClock, MemoryUsers};
use password_reset::token::Keyring;

const STORED: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2E$aGFzaGhhc2hoYXNoaGFzaA";

struct Scene {
    flow: ResetFlow,
    clock: ManualClock,
    client: Client,
}

impl Scene {
    fn new(mailer: impl Mailer) -> Self {
        let users = MemoryUsers::default();
        let hash = PasswordHash::parse(STORED).unwrap();
        let account = Account::new(UserId::parse("42").unwrap(), Credential::Password(hash));
        users.add(account.verified(address(ADA)));
        let clock = ManualClock::default();
        let flow = ResetFlow::builder(Parts {
            site: site(Some("Example")),
            keyring: Keyring::ephemeral().unwrap(),
            users: Arc::new(users),
            tokens: Arc::new(MemoryTokens::default()),
            queue: Arc::new(MemoryQueue::default()),
            mailer: Arc::new(mailer),
            limiter: Arc::new(MemoryLimiter::default()),
        })
        .clock(clock.clone())
        .build()
        .unwrap();
        let client = Client::from_ip([192, 0, 2, 7].into());
        Self {
            flow,
            clock,
            client,
        }
    }

    async fn ask(&self) {
        let who = Identifier::parse(ADA).unwrap();
        self.flow.request(&who, &self.client).await.unwrap();
        self.clock.advance(Duration::from_secs(2));
    }
}

/// The link's token, as whoever reads the text part finds it.
fn token(mail: &[u8]) -> Option<String> {
    let parsed = parse(mail)?;
    let [text, html] = parsed.parts.as_slice() else {
        panic!("{:?}", parsed.parts);
    };
    let [_, _, _, text] = text;
    let (_, rest) = text
        .split_once("https://app.example.org/reset?token=")
        .unwrap();
    let token: String = rest.chars().take_while(|c| !c.is_whitespace()).collect();
    assert!(html.iter().any(|field| field.contains(&token)));
    Some(token)
}

#[tokio::test]
async fn a_provider_that_is_down_gets_the_mail_when_it_is_back() {
    let down = [
        (At::Connect, Act::Say("421 4.3.2 down")),
        (At::Auth, Act::Say("454 4.7.0 down")),
        (At::Rcpt, Act::HangUp),
    ];
    let server = Server::scripted(Tls::OnDemand, &down).await;
    let mailer = server
        .mailer("smtp://user:password@mail.example.com")
        .build();
    let scene = Scene::new(mailer.unwrap());
    scene.ask().await;
    for _ in down {
        let report = scene.flow.worker().run_due().await;
        assert_eq!((report.retried, report.done), (1, 0), "{report:?}");
        scene.clock.advance(Duration::from_secs(60));
    }
    let report = scene.flow.worker().run_due().await;
    assert_eq!((report.retried, report.done), (0, 1), "{report:?}");

    let mails = server.mails();
    let [mail] = mails.as_slice() else {
        panic!("{} mails", mails.len());
    };
    let Some(token) = token(mail) else {
        return;
    };
    let verified = scene.flow.verify(&token, &scene.client).await.unwrap();
    let password = verified.parse_password("a quiet harbour at dawn").unwrap();
    verified.complete(password).await.unwrap();

    // The notice of the change goes out on the same connection.
    scene.clock.advance(Duration::from_secs(2));
    scene.flow.worker().run_due().await;
    assert_eq!(server.mails().len(), 2);
    assert_eq!(server.connections(), down.len() + 1);
}

#[tokio::test]
async fn a_mail_that_may_have_arrived_keeps_its_link() {
    // The server queues the mail, and the connection breaks before it says so: what arrived works.
    let server = Server::new(Tls::Implicit).await;
    let mailer = server
        .mailer("smtps://user:password@mail.example.com")
        .build();
    let scene = Scene::new(mailer.unwrap());
    server.next(At::End, Act::Say("2"));
    scene.ask().await;
    let report = scene.flow.worker().run_due().await;
    assert_eq!((report.retried, report.done), (1, 0), "{report:?}");
    let mails = server.mails();
    let Some(token) = token(mails.first().unwrap()) else {
        return;
    };
    assert!(scene.flow.verify(&token, &scene.client).await.is_ok());
}

#[tokio::test]
async fn a_refusal_for_good_is_a_dead_letter() {
    let no = Act::Say("550 5.1.1 <ada@example.com>: no such mailbox");
    let server = Server::scripted(Tls::Implicit, &[(At::Rcpt, no)]).await;
    let mailer = server
        .mailer("smtps://user:password@mail.example.com")
        .build();
    let scene = Scene::new(mailer.unwrap());
    scene.ask().await;
    let report = scene.flow.worker().run_due().await;
    assert_eq!((report.dead, report.retried), (1, 0), "{report:?}");
    let dead = scene.flow.dead_letters(10).await.unwrap();
    let [letter] = dead.as_slice() else {
        panic!("{dead:?}");
    };
    assert!(matches!(letter.task, Task::Deliver { .. }), "{letter:?}");
    assert!(server.mails().is_empty());

    // An operator tries again, once the mailbox is there.
    scene.flow.revive(&letter.id).await.unwrap().unwrap();
    scene.flow.worker().run_due().await;
    assert_eq!(server.mails().len(), 1);
}
