//! "You have no account here": off by default, and bounded where a service wants it (R12, W2).

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests may panic"
)]

mod common;
#[path = "support/facts.rs"]
mod facts;

use std::time::Duration;

use common::{Backends, KINDS, SPREAD, World, address, client, typed, user};
use facts::Facts;
use password_reset::account::Tenant;
use password_reset::audit::{EventKind, Withheld};
use password_reset::flow::{CodeError, Codes, ExternalAccounts, Limits, Strangers, TextLimits};
use password_reset::limit::Quota;
use password_reset::mail::Kind;
use password_reset::queue::Channel;
use password_reset::sms::{SendError, SmsSender, TextMessage};
use password_reset::testing::{Behaviour, block_on};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const STRANGER: &str = "Ada.Stranger+shop@example.org";
/// Spellings of the same mailbox, each an identifier of its own to the limits on identifiers.
const SPELLINGS: [&str; 4] = [
    "ada.stranger+shop@example.org",
    "adastranger@example.org",
    "a.d.a.stranger+2@EXAMPLE.org",
    "ADA.STRANGER@example.org.",
];

/// Nobody's requests are limited, so that the letters' own limits show.
fn world(strangers: Option<Strangers>) -> World {
    World::with(Backends::default(), |builder| {
        let mut limits = Limits::default();
        limits.identifier = Quota::new(10_000, SPREAD);
        limits.source = Quota::new(10_000, SPREAD);
        limits.mails = Quota::new(10_000, SPREAD);
        let builder = builder
            .templates(Facts)
            .limits(limits)
            .codes(Codes::default());
        match strangers {
            Some(strangers) => builder.tell_strangers(strangers),
            None => builder,
        }
    })
}

async fn ask(world: &World, identifiers: impl IntoIterator<Item = impl AsRef<str>>) {
    for identifier in identifiers {
        let identifier = typed(identifier.as_ref());
        world.flow.request(&identifier, &client()).await.unwrap();
    }
    world.work().await;
}

async fn ask_for_code(world: &World, identifier: &str) {
    let (identifier, client) = (typed(identifier), client());
    let accepted = world
        .flow
        .request_code(&identifier, Channel::Mail, &client)
        .await;
    accepted.unwrap();
    world.work().await;
}

/// A carrier that nobody calls: no account has a number.
struct NoPhone;

#[password_reset::async_trait]
impl SmsSender for NoPhone {
    async fn send(&self, _: &TextMessage) -> Result<(), SendError> {
        panic!("nobody has a number")
    }
}

fn withheld(world: &World, why: Withheld) -> usize {
    world.saw(|kind| kind == EventKind::Withheld(why))
}

#[test]
fn w2_by_default_a_stranger_gets_nothing() {
    let world = world(None);
    block_on(ask(&world, [STRANGER]));
    assert_eq!(world.outbox.attempts(), 0);
    assert_eq!(withheld(&world, Withheld::Unknown), 1);
}

#[test]
fn a_stranger_gets_one_letter_a_day_without_a_link() {
    let world = world(Some(Strangers::default()));
    block_on(ask(&world, [STRANGER]));
    let mail = world.outbox.messages().pop().unwrap();
    assert_eq!((mail.kind, mail.to.as_str()), (Kind::NoAccount, STRANGER));
    // What it may say, and nothing of what was typed.
    assert_eq!(
        (mail.subject.as_str(), mail.text.as_str()),
        ("no account", "None")
    );
    assert_eq!(world.outbox.last_token(), None);
    let event = world.recorder.events().pop().unwrap();
    assert_eq!(event.kind, EventKind::HintSent);
    assert_eq!((event.user, event.token), (None, None));
    assert!(event.identifier.is_some() && event.job.is_some());

    // W51: other spellings of the same mailbox, and the same in a tenant, are the same mailbox.
    block_on(ask(&world, SPELLINGS));
    let tenant = world.flow.for_tenant(Tenant::parse("acme").unwrap());
    block_on(async {
        tenant.request(&typed(STRANGER), &client()).await.unwrap();
        world.work().await;
    });
    assert_eq!(world.outbox.messages().len(), 1);
    assert_eq!(withheld(&world, Withheld::MailLimit), SPELLINGS.len() + 1);
    world.clock.advance(DAY);
    block_on(ask(&world, SPELLINGS));
    assert_eq!(world.outbox.messages().len(), 2);
}

/// W50: all strangers together have a limit, and whom their own limit refuses does not use it up.
#[test]
fn all_strangers_together_are_bounded() {
    let mut strangers = Strangers::default();
    strangers.all = Quota::new(3, HOUR);
    let world = world(Some(strangers));
    let addresses = |from: u32| (from..from + 20).map(|n| format!("stranger{n}@example.org"));
    block_on(async {
        ask(&world, [[STRANGER; 1]; 30].concat()).await;
        assert_eq!(world.outbox.messages().len(), 1);
        ask(&world, addresses(0)).await;
        assert_eq!(world.outbox.messages().len(), 3);
        world.clock.advance(HOUR);
        ask(&world, addresses(100)).await;
    });
    assert_eq!(world.outbox.messages().len(), 6);
    let mut strangers = Strangers::default();
    strangers.address = Quota::new(1_000, SPREAD);
    let world = self::world(Some(strangers));
    block_on(ask(
        &world,
        (0..150).map(|n| format!("stranger{n}@example.org")),
    ));
    assert_eq!(world.outbox.messages().len(), 100, "the default");
}

/// Who asks for a code is told like who asks for a link, out of the same budgets.
#[test]
fn a_stranger_who_asks_for_a_code_by_mail_gets_the_same_letter() {
    let world = world(Some(Strangers::default()));
    block_on(async {
        ask_for_code(&world, STRANGER).await;
        let mail = world.outbox.messages().pop().unwrap();
        assert_eq!((mail.kind, mail.to.as_str()), (Kind::NoAccount, STRANGER));
        let event = world.recorder.events().pop().unwrap();
        assert_eq!((event.kind, event.token), (EventKind::HintSent, None));
        // One a day, whatever is asked for.
        ask(&world, SPELLINGS).await;
        ask_for_code(&world, SPELLINGS[0]).await;
        assert_eq!(world.outbox.messages().len(), 1);
        // W47: a mailer that has a bad moment loses no letter, and opens no budget.
        world.clock.advance(DAY);
        world.outbox.fail_next(2);
        ask_for_code(&world, STRANGER).await;
        for _ in 0..20 {
            world.clock.advance(Duration::from_secs(60));
            world.work().await;
        }
        assert_eq!(world.outbox.messages().len(), 2);
    });
    // W2: by default nothing.
    let world = self::world(None);
    block_on(ask_for_code(&world, STRANGER));
    assert_eq!(world.outbox.attempts(), 0);
}

/// R14, W5: only who is nobody is told so; the limits on identifiers come first.
#[test]
fn only_a_stranger_is_told() {
    let world = world(Some(Strangers::default()));
    world.users.edit(&user("1"), |ada| {
        ada.former.push(address("former@example.com"))
    });
    for (identifier, why) in [
        ("disabled@example.com", Withheld::Disabled),
        ("unverified@example.com", Withheld::Unverified),
        ("former@example.com", Withheld::Unverified),
        ("external@example.com", Withheld::External),
        // Not an address, or more than one.
        ("nobody", Withheld::Unknown),
        ("nobody@", Withheld::Unknown),
        ("nobody@example.org,eve@example.org", Withheld::Unknown),
        ("<nobody@example.org>", Withheld::Unknown),
    ] {
        let before = withheld(&world, why);
        block_on(ask(&world, [identifier]));
        assert_eq!(world.outbox.attempts(), 0, "{identifier}");
        assert_eq!(withheld(&world, why), before + 1, "{identifier}");
    }
    block_on(ask(&world, ["ada@example.com"]));
    assert_eq!(world.outbox.messages().pop().unwrap().kind, Kind::ResetLink);

    let world = World::with(Backends::default(), |builder| {
        builder
            .templates(Facts)
            .tell_strangers(Strangers::default())
    });
    block_on(ask(&world, ["one@example.org", "two@example.org"]));
    assert_eq!(world.outbox.messages().len(), 2);
    world.clock.advance(DAY);
    block_on(ask(&world, ["one@example.org", "one@example.org"]));
    assert_eq!(world.outbox.messages().len(), 3);
    assert_eq!(withheld(&world, Withheld::IdentifierLimit), 1);
}

/// W47: a mailer that has a bad moment loses no letter, and opens no budget.
#[test]
fn a_bad_moment_of_the_mailer_opens_no_budget() {
    let world = world(Some(Strangers::default()));
    world.outbox.fail_next(3);
    block_on(async {
        ask(&world, [STRANGER]).await;
        for _ in 0..20 {
            ask(&world, SPELLINGS).await;
            world.clock.advance(Duration::from_secs(60));
        }
    });
    assert_eq!(world.outbox.messages().len(), 1);
    assert_eq!(world.outbox.attempts(), 4);
    assert_eq!(
        world.saw(|kind| matches!(kind, EventKind::MailFailed { .. })),
        3
    );

    // It takes them and does not say so: eight tries of one job, whatever else is asked for.
    let world = self::world(Some(Strangers::default()));
    world.outbox.behave(Behaviour::Uncertain);
    block_on(async {
        for _ in 0..30 {
            ask(&world, SPELLINGS).await;
            world.clock.advance(HOUR / 4);
        }
    });
    assert_eq!(world.outbox.attempts(), 8);
}

/// W50: tries that died before they were charged have a budget too.
#[test]
fn tries_that_died_are_not_free() {
    let world = world(Some(Strangers::default()));
    let spellings: Vec<_> = (0..40).map(|n| format!("ada+{n}@example.org")).collect();
    block_on(async {
        for spelling in &spellings {
            world
                .flow
                .request(&typed(spelling), &client())
                .await
                .unwrap();
        }
        world.clock.advance(SPREAD);
        // Sweep and lease go well; then every look-up fails.
        for job in 0..spellings.len() {
            world.faults.fail(3 + 3 * u64::try_from(job).unwrap());
        }
        world.flow.worker().run_due().await;
        world.faults.heal();
        for _ in 0..40 {
            world.clock.advance(HOUR / 4);
            world.work().await;
        }
    });
    let failed = world.saw(|kind| matches!(kind, EventKind::BackendFailed { .. }));
    assert_eq!(failed, spellings.len());
    // One a day, and eight a day for later tries: after ten hours a few have grown back.
    let mails = world.outbox.messages().len();
    assert!((8..=12).contains(&mails), "{mails}");
}

/// R27, W48: the same calls for everyone, told or not.
#[test]
fn everybodys_request_makes_the_same_calls() {
    let logs = KINDS.map(|identifier| {
        let world = world(Some(Strangers::default()));
        block_on(ask(&world, [identifier, identifier]));
        let log = world.faults.log().into_iter();
        log.filter(|call| *call != "mailer.send")
            .collect::<Vec<_>>()
    });
    assert!(logs.iter().all(|log| *log == logs[0]), "{logs:?}");
    let charged = logs[0].iter().filter(|call| **call == "limiter.check");
    assert_eq!(charged.count(), 2 * (4 + 3));
}

/// R27, W48: the same of a code, by mail and by text message, and what follows is refused alike.
#[test]
fn everybodys_request_for_a_code_makes_the_same_calls() {
    // When it is taken, when it is sent, and when a code is tried: for its source and its network.
    for (channel, charges) in [(Channel::Mail, 4 + 3 + 2), (Channel::Sms, 5 + 3 + 2)] {
        let logs = KINDS.map(|identifier| {
            let world = World::with(Backends::default(), |builder| {
                builder
                    .templates(Facts)
                    .codes(Codes::default())
                    .sms(NoPhone, TextLimits::default())
                    .external(ExternalAccounts::UseProvider)
                    .tell_strangers(Strangers::default())
            });
            let handle = block_on(async {
                let client = client();
                let identifier = typed(identifier);
                let accepted = world.flow.request_code(&identifier, channel, &client).await;
                world.work().await;
                accepted.unwrap().handle.to_string()
            });
            let mails = usize::from(channel == Channel::Mail);
            let told = [
                "ada@example.com",
                "nobody@example.com",
                "external@example.com",
            ];
            let told = usize::from(told.contains(&identifier)) * mails;
            assert_eq!(world.outbox.messages().len(), told, "{identifier}");
            let refused = block_on(world.flow.redeem_code(&handle, "12345678", &client()));
            assert!(matches!(refused, Err(CodeError::Invalid)));
            let log = world.faults.log().into_iter();
            log.filter(|call| *call != "mailer.send")
                .collect::<Vec<_>>()
        });
        assert!(logs.iter().all(|log| *log == logs[0]), "{logs:?}");
        let charged = logs[0].iter().filter(|call| **call == "limiter.check");
        assert_eq!(charged.count(), charges, "{channel:?}");
    }
}
