//! Attacks on codes, on "this wasn't me" and on operators. Each test says what holds.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Backends, SPREAD, World, account, address, client, typed, user};
use password_reset::account::{Client, Seen, Tenant};
use password_reset::audit::{Actor, EventKind, Refused, Withheld};
use password_reset::flow::{Cancelable, Codes, Limits, TextLimits};
use password_reset::limit::Quota;
use password_reset::mail::{Kind, LinkBase};
use password_reset::memory::MemoryQueue;
use password_reset::queue::{Channel, Job, JobId, JobQueue, Task};
use password_reset::sms::{PhoneNumber, SendError, SmsSender, TextMessage};
use password_reset::store::Live;
use password_reset::testing::{Behaviour, Outbox, block_on};
use password_reset::token::{CodeHandle, Epoch, KeyId, Selector};

const ADA: &str = "ada@example.com";
const NOBODY: &str = "nobody@example.com";
const WRONG: &str = "00000000";
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// The default limits, as a service has them.
fn codes() -> World {
    World::with(Backends::default(), |builder| {
        builder.codes(Codes::default())
    })
}

fn from(number: u8) -> Client {
    Client::from_ip([198, 51, 100, number].into())
}

async fn asked(world: &World, identifier: &str, client: &Client) -> String {
    let accepted = world
        .flow
        .request_code(&typed(identifier), Channel::Mail, client)
        .await
        .unwrap();
    world.work().await;
    accepted.handle.to_string()
}

/// The calls to the stores that one wrong try costs.
async fn tried(world: &World, handle: &str, client: &Client) -> Vec<&'static str> {
    let start = world.faults.log().len();
    assert!(world.flow.redeem_code(handle, WRONG, client).await.is_err());
    world.faults.log()[start..].to_vec()
}

fn code_in(text: &str) -> String {
    let mut run = String::new();
    for c in text.chars() {
        match c {
            '0'..='9' => run.push(c),
            ' ' if !run.is_empty() && run.len() < 8 => {}
            _ => run.clear(),
        }
        if run.len() == 8 {
            return run;
        }
    }
    panic!("no code in {text:?}")
}

fn last_code(outbox: &Outbox) -> String {
    let sent = outbox.messages();
    let letter = sent.iter().rev().find(|sent| sent.kind == Kind::ResetCode);
    code_in(&letter.unwrap().text)
}

// (a) who has an account

/// Two requests within a minute, one wrong try of each. The second is suppressed; its record stands
/// under the stand-in, whose counter of tries is there already only if the first was the stand-in's
/// too. One INSERT (a commit) more tells that there is an account.
#[test]
fn the_second_code_tells_nothing() {
    let mut all = Vec::new();
    for identifier in [ADA, NOBODY] {
        let world = codes();
        let calls = block_on(async {
            let first = asked(&world, identifier, &from(1)).await;
            let second = asked(&world, identifier, &from(1)).await;
            [
                tried(&world, &first, &from(1)).await,
                tried(&world, &second, &from(1)).await,
            ]
        });
        all.push(calls);
    }
    assert_eq!(all[0], all[1]);
}

/// Codes beyond the places of an identifier have no record. The stand-in fills one request earlier
/// than an account does, whose first code stands elsewhere. Whether a handle has a record is seen by
/// its sixth try: with a record it costs no hash.
#[test]
fn the_last_place_tells_nothing() {
    let mut all = Vec::new();
    for identifier in [ADA, NOBODY] {
        let world = codes();
        let seen = block_on(async {
            let mut handles = Vec::new();
            for _ in 0..7 {
                handles.push(asked(&world, identifier, &from(1)).await);
            }
            let last = &handles[6];
            for _ in 0..5 {
                tried(&world, last, &from(1)).await;
            }
            let start = world.recorder.events().len();
            let calls = tried(&world, last, &from(1)).await;
            let why: Vec<_> = world.recorder.events()[start..]
                .iter()
                .map(|e| e.kind)
                .collect();
            (calls, why)
        });
        all.push(seen);
    }
    assert_eq!(all[0].0, all[1].0, "calls");
    // `CodeTries` is answered without a hash, `Unknown` with one: some 20 ms.
    assert_eq!(all[0].1, all[1].1, "hash or none");
}

/// Whether two names are one account's: the second costs one INSERT less.
#[test]
fn two_names_tell_nothing() {
    let mut all = Vec::new();
    for known in [true, false] {
        let world = codes();
        if known {
            assert!(world.users.set_name(&user("1"), "ada"));
        } else {
            world.users.delete(&user("1"));
        }
        let calls = block_on(async {
            let first = asked(&world, "ada", &from(1)).await;
            let second = asked(&world, ADA, &from(1)).await;
            tried(&world, &first, &from(1)).await;
            tried(&world, &second, &from(1)).await
        });
        all.push(calls);
    }
    assert_eq!(all[0], all[1]);
}

// (b) budgets

#[derive(Clone, Default)]
struct Phone(Arc<Mutex<Vec<(String, String)>>>);

#[password_reset::async_trait]
impl SmsSender for Phone {
    async fn send(&self, message: &TextMessage) -> Result<(), SendError> {
        let text = (message.to().as_str().to_owned(), message.text().to_owned());
        self.0.lock().unwrap().push(text);
        Ok(())
    }
}

const NUMBER: &str = "+4930123410";

fn with_phone(limits: TextLimits) -> (World, Phone) {
    let phone = Phone::default();
    let world = World::with(Backends::default(), |builder| {
        builder.codes(Codes::default()).sms(phone.clone(), limits)
    });
    (world, phone)
}

/// W58: three text messages an hour to one number, and 20 requests an hour from one source, in how
/// many tenants ever.
#[test]
fn w58_one_number_in_many_tenants_is_one_number() {
    let (world, phone) = with_phone(TextLimits::default());
    let mut refused = 0;
    block_on(async {
        for number in 0..10 {
            let tenant = Tenant::parse(&format!("t{number}")).unwrap();
            for twin in 0..3 {
                let mail = format!("u{twin}@t{number}.example.com");
                let mut owner = account(&format!("t{number}-{twin}"), &mail);
                owner.tenant = Some(tenant.clone());
                owner.phone = Some(PhoneNumber::parse(NUMBER).unwrap());
                world.users.add(owner);
                let flow = world.flow.for_tenant(tenant.clone());
                // One source for everything.
                let asked = flow
                    .request_code(&typed(&mail), Channel::Sms, &from(1))
                    .await;
                refused += usize::from(asked.is_err());
            }
        }
        world.work().await;
    });
    let sent = phone.0.lock().unwrap().len();
    assert!(sent <= 3, "{sent} messages to one number within an hour");
}

/// What a number's own budget refuses does not use up its whole country's.
#[test]
fn w58_one_number_does_not_use_up_its_country() {
    let mut limits = TextLimits::default();
    limits.country = Quota::new(6, HOUR);
    let (world, phone) = with_phone(limits);
    block_on(async {
        for twin in 0..10 {
            let mail = format!("twin{twin}@example.com");
            let mut owner = account(&format!("twin{twin}"), &mail);
            owner.phone = Some(PhoneNumber::parse(NUMBER).unwrap());
            world.users.add(owner);
            let client = from(twin);
            let asked = world
                .flow
                .request_code(&typed(&mail), Channel::Sms, &client)
                .await;
            asked.unwrap();
            world.work().await;
        }
        let mut other = account("other", "other@example.com");
        other.phone = Some(PhoneNumber::parse("+4930999999").unwrap());
        world.users.add(other);
        let other = typed("other@example.com");
        let asked = world
            .flow
            .request_code(&other, Channel::Sms, &from(99))
            .await;
        asked.unwrap();
        world.work().await;
    });
    let sent = phone.0.lock().unwrap().clone();
    assert_eq!(sent.iter().filter(|(to, _)| to == NUMBER).count(), 3);
    assert!(
        sent.iter().any(|(to, _)| to == "+4930999999"),
        "the country is used up"
    );
}

/// R35: codes and links are apart. With `Live::newest`, whoever asks for a *code* voids the *link*
/// (or the operator's link) that the owner holds.
#[test]
fn r35_a_code_request_does_not_void_a_link() {
    let world = World::with(Backends::default(), |builder| {
        builder
            .codes(Codes::default())
            .live(Live::newest(1.try_into().unwrap()))
    });
    block_on(async {
        let link = world.mailed(ADA).await.unwrap();
        asked(&world, ADA, &from(9)).await;
        assert!(world.flow.verify(&link, &client()).await.is_ok());
    });
}

/// A mail server that breaks off at the end of each mail makes one request fill the operators' room.
#[test]
fn tries_of_a_strangers_request_leave_the_operators_room() {
    let world = World::with(Backends::default(), |builder| builder);
    block_on(async {
        world.outbox.behave(Behaviour::Uncertain);
        let asked = world.flow.request(&typed(ADA), &from(1)).await;
        asked.unwrap();
        for _ in 0..45 {
            world.work().await;
            // At most the waits of 10 s to 10 min: 21 minutes in all.
            world.clock.advance(Duration::from_secs(27));
        }
        world.outbox.behave(Behaviour::Accept);
        let operator = world.flow.operator(Actor::parse("grace").unwrap());
        operator.start_reset(&user("1"), HOUR).await.unwrap();
        world.work().await;
    });
    let withheld = world.saw(|kind| kind == EventKind::Withheld(Withheld::LiveTokens));
    assert_eq!(withheld, 0, "the operator's link was not mailed");
}

// (c) who can write the queue, without a key

/// Whoever can write jobs asks for a code for an account of their own, under a handle of their
/// choice, waits until its record is purged (or deletes it), and asks for the victim under the same
/// handle. The code depends on nothing but the handle.
#[test]
fn who_writes_the_queue_does_not_learn_a_victims_code() {
    let queue = Arc::new(MemoryQueue::default());
    let backends = Backends {
        queue: queue.clone(),
        ..Backends::default()
    };
    let world = World::with(backends, |builder| builder.codes(Codes::default()));
    world.users.add(account("mallory", "mallory@example.org"));
    let handle = Selector::from_bytes([66; 16]);
    let forged = |number: u8, identifier: &str| Job {
        id: JobId::from_bytes([number; 16]),
        due: password_reset::Timestamp::from_unix_micros(0),
        task: Task::Code {
            identifier: typed(identifier),
            channel: Channel::Mail,
            handle,
            suppressed: false,
        },
    };
    block_on(async {
        queue.push(&forged(1, "mallory@example.org")).await.unwrap();
        world.work().await;
        // Such a handle is not taken from a queue: nobody here drew it.
        assert!(world.outbox.messages().is_empty());
        world.clock.advance(8 * DAY);
        world.flow.purge(100).await.unwrap();
        queue.push(&forged(2, ADA)).await.unwrap();
        world.work().await;
        assert!(world.outbox.messages().is_empty());
    });
    assert_eq!(
        world.saw(|kind| matches!(kind, EventKind::DeadLetter { .. })),
        2
    );
}

struct CodeHandleText(Selector);

impl CodeHandleText {
    fn text(&self) -> String {
        use base64ct::{Base64UrlUnpadded, Encoding};
        let text = Base64UrlUnpadded::encode_string(self.0.as_bytes());
        CodeHandle::parse(&text).unwrap().to_string()
    }
}

fn with_cancel(backends: Backends) -> World {
    let page = LinkBase::parse("https://app.example.com/not-me").unwrap();
    World::at(common::site().cancel_page(page), backends, |builder| {
        let mut limits = Limits::default();
        limits.identifier = Quota::new(1_000, SPREAD);
        limits.source = Quota::new(1_000, SPREAD);
        limits.mails = Quota::new(1_000, SPREAD);
        builder.limits(limits).codes(Codes::default())
    })
}

/// W42: "nobody without the key can make one, not even of a selector and a user that stand in the
/// same table". A forged notice has the worker make it, and mail it to whomever.
#[test]
fn w42_who_writes_the_queue_gets_no_cancel_token() {
    let queue = Arc::new(MemoryQueue::default());
    let backends = Backends {
        queue: queue.clone(),
        ..Backends::default()
    };
    let world = with_cancel(backends);
    block_on(async {
        let token = world.mailed(ADA).await.unwrap();
        // Read in the token table.
        let selector = world.flow.verify(&token, &client()).await.unwrap().token();
        let job = Job {
            id: JobId::from_bytes([1; 16]),
            due: password_reset::Timestamp::from_unix_micros(0),
            task: Task::Notice {
                user: user("1"),
                tenant: None,
                address: address("mallory@example.org"),
                locale: None,
                at: password_reset::Timestamp::from_unix_micros(0),
                key: KeyId(1),
                epoch: Epoch::from_bytes([0; 32]),
                token: selector,
                seal: [0; 16],
                seen: None,
            },
        };
        queue.push(&job).await.unwrap();
        world.work().await;
        let sent = world.outbox.messages();
        let last = sent.last().unwrap();
        assert_eq!(last.to.as_str(), "mallory@example.org");
        assert!(!last.text.contains("not-me") && !last.html.contains("not-me"));
    });
}

// (d) old mails

async fn paused_by(world: &World, token: &str) -> bool {
    match world.flow.look_at_cancel(token, &client()).await {
        Ok(looked) => looked.cancel(Cancelable::LONGEST_PAUSE).await.is_ok(),
        Err(_) => false,
    }
}

async fn operators_link(world: &World) -> Option<String> {
    let operator = world.flow.operator(Actor::parse("grace").unwrap());
    operator.start_reset(&user("1"), HOUR).await.unwrap();
    let before = world.outbox.messages().len();
    world.work().await;
    (world.outbox.messages().len() > before).then(|| world.outbox.last_token().unwrap())
}

/// A code was talked out of its owner and redeemed; the mail's button kills what it became, as long
/// as the password is the old one.
#[test]
fn a_redeemed_code_can_still_be_disowned() {
    let world = with_cancel(Backends::default());
    block_on(async {
        let handle = asked(&world, ADA, &from(1)).await;
        let code = last_code(&world.outbox);
        let not_me = world.outbox.last_cancel_token().unwrap();
        let redeemed = world.flow.redeem_code(&handle, &code, &from(9)).await;
        let token = redeemed.unwrap().token.expose().to_owned();
        assert!(world.flow.verify(&token, &client()).await.is_ok());
        assert!(paused_by(&world, &not_me).await);
        assert!(world.flow.verify(&token, &client()).await.is_err());
    });
}

/// The ex-owner of an address holds an old mail; the account has left that address.
#[test]
fn an_ex_owner_of_an_address_cannot_keep_the_account_from_its_links() {
    let world = with_cancel(Backends::default());
    block_on(async {
        world.mailed(ADA).await.unwrap();
        let old = world.outbox.last_cancel_token().unwrap();
        world
            .users
            .set_addresses(&user("1"), vec![address("new@example.com")], vec![]);
        world.clock.advance(6 * DAY);
        let link = operators_link(&world).await.unwrap();
        assert!(world.flow.verify(&link, &client()).await.is_ok());
        paused_by(&world, &old).await;
        assert!(
            world.flow.verify(&link, &client()).await.is_ok(),
            "the operator's link was cancelled by a mail to an address that is gone"
        );
        assert!(world.mailed("new@example.com").await.is_some());
    });
}

/// A thief read one mail, changed the password with its link, and kept the mail. Its other link keeps
/// the owner out for two weeks, operators' help included.
#[test]
fn who_stole_the_password_cannot_keep_the_owner_out() {
    let world = with_cancel(Backends::default());
    block_on(async {
        let token = world.mailed(ADA).await.unwrap();
        let kept = world.outbox.last_cancel_token().unwrap();
        world
            .reset(&token, "the thief's own password")
            .await
            .unwrap();
        world.work().await;
        let mut out = 0;
        for _ in 0..7 {
            world.clock.advance(DAY);
            paused_by(&world, &kept).await;
            let asked = world.mailed(ADA).await;
            let link = operators_link(&world).await;
            paused_by(&world, &kept).await;
            let dead = match &link {
                Some(link) => world.flow.verify(link, &client()).await.is_err(),
                None => true,
            };
            out += usize::from(asked.is_none() && dead);
        }
        assert_eq!(
            out, 0,
            "days on which neither the owner nor an operator got a link to work"
        );
    });
}

/// A code exchange that is dropped at any await leaves the owner a way on, with the same code, once
/// the claim's lease is over.
#[test]
fn a_dropped_exchange_loses_no_code() {
    for cut in 0..40 {
        let world = World::with(Backends::unlimited(), |builder| {
            builder.codes(Codes::default())
        });
        let handle = block_on(asked(&world, ADA, &client()));
        let code = last_code(&world.outbox);
        world.faults.yield_each_call();
        {
            let one = from(1);
            let mut exchange = Box::pin(world.flow.redeem_code(&handle, &code, &one));
            for _ in 0..cut {
                if password_reset::testing::poll_once(&mut exchange).is_some() {
                    break;
                }
                std::thread::yield_now();
            }
        }
        world.clock.advance(Duration::from_secs(130));
        let ok = block_on(world.flow.redeem_code(&handle, &code, &from(2)));
        let spent = world.saw(|k| k == EventKind::CodeRedeemed) > 0
            || world.saw(|k| k == EventKind::Refused(Refused::Spent)) > 0;
        assert!(
            ok.is_ok() || spent,
            "cut {cut}: {:?}",
            world.recorder.kinds()
        );
    }
}

// letters

/// R85: what was seen of a device is no link, and no number to call.
#[test]
fn r85_what_was_seen_is_no_link_and_no_number() {
    for text in [
        "Security team, help at secure-login.example.org",
        "call 202\u{2013}555\u{2013}0123 now",
        "call 202\u{2011}555\u{2011}0123 now",
        "call 202,555,0123 now",
        "call 202\u{b7}555\u{b7}0123",
    ] {
        assert!(Seen::default().device(text).is_err(), "{text}");
    }
}

// Accounts with a number and no address

fn phone_only() -> (World, Phone) {
    let (world, phone) = with_phone(TextLimits::default());
    let mut owner = account("phone", "x@example.com");
    owner.verified.clear();
    owner.phone = Some(PhoneNumber::parse(NUMBER).unwrap());
    world.users.add(owner);
    assert!(world.users.set_name(&user("phone"), "paula"));
    (world, phone)
}

async fn texted(world: &World, client: &Client) -> String {
    let asked = world
        .flow
        .request_code(&typed("paula"), Channel::Sms, client)
        .await;
    let handle = asked.unwrap().handle.to_string();
    world.work().await;
    handle
}

/// R71, R35: an account with a number and no verified address gets no code by text: nobody could be
/// told of the change, and no operator could help when its codes are locked.
#[test]
fn r71_an_account_with_a_number_alone_gets_no_code() {
    let (world, phone) = phone_only();
    block_on(texted(&world, &from(1)));
    assert!(phone.0.lock().unwrap().is_empty());
    let unverified = EventKind::Withheld(Withheld::Unverified);
    assert_eq!(world.saw(|kind| kind == unverified), 1);
}

/// Promise light: "bad tokens cost no hash". Neither does a handle that nobody was ever given.
#[test]
fn light_a_made_up_handle_costs_no_hash() {
    let world = codes();
    block_on(async {
        for number in 0..60 {
            let text = CodeHandleText(Selector::from_bytes([number; 16])).text();
            assert!(
                world
                    .flow
                    .redeem_code(&text, WRONG, &from(1))
                    .await
                    .is_err()
            );
        }
    });
    let hashes = world.flow.hashing().stats().started;
    assert_eq!(hashes, 0, "hashes for one source within a minute");
}

/// A later try finds the record of an earlier one; it is sent only while the record's account and
/// destination are still what the account says.
#[test]
fn a_retried_code_goes_only_where_its_record_says() {
    let world = World::with(Backends::unlimited(), |builder| {
        builder.codes(Codes::default())
    });
    block_on(async {
        world.outbox.behave(Behaviour::Uncertain);
        let asked = world
            .flow
            .request_code(&typed("1"), Channel::Mail, &client())
            .await;
        drop(asked);
        let handle = asked_by_name(&world).await;
        let code = last_code(&world.outbox);
        // The owner leaves the address, and a thief's is put in (as the thief's first act).
        world
            .users
            .set_addresses(&user("1"), vec![address("new@example.com")], vec![]);
        world.outbox.behave(Behaviour::Accept);
        world.clock.advance(Duration::from_secs(60));
        world.flow.worker().run_due().await;
        let redeemed = world.flow.redeem_code(&handle, &code, &client()).await;
        assert!(redeemed.is_err());
    });
}

async fn asked_by_name(world: &World) -> String {
    assert!(world.users.set_name(&user("1"), "ada"));
    asked(world, "ada", &client()).await
}

/// A provider that takes every message and answers 500 to it.
#[derive(Clone, Default)]
struct Flaky(Phone);

#[password_reset::async_trait]
impl SmsSender for Flaky {
    async fn send(&self, message: &TextMessage) -> Result<(), SendError> {
        self.0.send(message).await?;
        Err(SendError::uncertain("500"))
    }
}

/// W58: "To one number: 3 an hour", which is three at once, and one more each twenty minutes; lost
/// answers, after which each message is sent again, gain nothing.
#[test]
fn w58_when_answers_are_lost_a_number_gets_at_most_five_messages_in_48_minutes() {
    let phone = Flaky::default();
    let world = World::with(Backends::default(), |builder| {
        let sms = phone.clone();
        builder
            .codes(Codes::default())
            .sms(sms, TextLimits::default())
    });
    world.users.edit(&user("1"), |ada| {
        ada.phone = Some(PhoneNumber::parse(NUMBER).unwrap());
    });
    block_on(async {
        for number in 0..3 {
            let asked = world
                .flow
                .request_code(&typed(ADA), Channel::Sms, &from(number))
                .await;
            asked.unwrap();
            for _ in 0..80 {
                world.clock.advance(Duration::from_secs(12));
                world.flow.worker().run_due().await;
            }
        }
    });
    let sent = phone.0.0.lock().unwrap().len();
    assert!(sent <= 5, "{sent} messages to one number within 48 minutes");
}
