//! The wall: what has gone wrong in other password resets, by number. `docs/wall.md` says which test
//! shows what; here are those that belong to no promise's own file, and the check of that page.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use common::{
    Backends, GOOD, KINDS, SPREAD, World, account, address, client, credential, typed, user,
};
use password_reset::account::{
    Account, Client, Credential, Identifier, SessionScope, Swap, UserId, UserStore,
};
use password_reset::audit::{EventKind, Refused, Withheld};
use password_reset::error::BoxError;
use password_reset::flow::{CodeError, Codes, Parts, ResetFlow, VerifyError};
use password_reset::mail::{Kind, LinkBase};
use password_reset::memory::{MemoryLimiter, MemoryQueue, MemoryTokens};
use password_reset::password::PasswordHash;
use password_reset::queue::Channel;
use password_reset::store::TokenStore;
use password_reset::testing::{ManualClock, MemoryUsers, Outbox, block_on, cut_after};
use password_reset::token::CodeHandle;
use proptest::prelude::*;

const ADA: &str = "ada@example.com";
const WRONG: &str = "00000000";

/// Every number that a published weakness has here; those that are missing are kept free.
const NUMBERS: &[std::ops::RangeInclusive<u32>] = &[
    1..=21,
    23..=29,
    31..=38,
    40..=43,
    45..=48,
    50..=51,
    53..=54,
    56..=64,
    66..=70,
];

/// The page names a test for each number, and each of them is there.
#[test]
fn the_index_names_a_test_for_every_number() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let index = fs::read_to_string(root.join("docs/wall.md")).unwrap();
    let mut sources = String::new();
    for folder in ["src", "tests", "adapters", "examples"] {
        read_rust(&root.join(folder), &mut sources);
    }
    let mut rows = BTreeMap::new();
    for line in index.lines() {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, number, what, how, _] = cells.as_slice() else {
            continue;
        };
        let Some(Ok(number)) = number.strip_prefix('W').map(str::parse::<u32>) else {
            continue;
        };
        assert!(!what.is_empty(), "W{number}");
        let tests: Vec<_> = how.split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "W{number} names no test");
        for test in tests {
            let is_there = match test.ends_with(".rs") {
                true => root.join("tests").join(test).is_file(),
                false => ["(", "<"]
                    .iter()
                    .any(|end| sources.contains(&format!("fn {test}{end}"))),
            };
            assert!(is_there, "W{number}: there is no {test}");
        }
        assert!(rows.insert(number, ()).is_none(), "W{number} twice");
    }
    let numbers: BTreeSet<_> = NUMBERS.iter().cloned().flatten().collect();
    assert_eq!(rows.into_keys().collect::<BTreeSet<_>>(), numbers);
}

fn read_rust(folder: &Path, into: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "node_modules") {
                read_rust(&path, into);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

/// Finds one account, whatever was typed: the widest collation there is.
struct Anybody(MemoryUsers);

#[password_reset::async_trait]
impl UserStore for Anybody {
    async fn find(&self, _: &Identifier) -> Result<Option<Account>, BoxError> {
        self.0.account(&user("1")).await
    }
    async fn account(&self, id: &UserId) -> Result<Option<Account>, BoxError> {
        self.0.account(id).await
    }
    async fn set_password(
        &self,
        id: &UserId,
        expected: &Credential,
        new: &PasswordHash,
    ) -> Result<Swap, BoxError> {
        self.0.set_password(id, expected, new).await
    }
    async fn end_sessions(&self, id: &UserId, scope: SessionScope) -> Result<(), BoxError> {
        self.0.end_sessions(id, scope).await
    }
}

/// W3, W2: what is equal is the store's decision, and costs nobody an account: mail goes to the
/// address that is stored, whatever was typed to find it.
#[test]
fn w3_whatever_a_store_calls_equal_only_the_stored_address_is_mailed() {
    let users = MemoryUsers::default();
    users.add(account("1", "mike@example.org"));
    let (outbox, clock) = (Outbox::default(), ManualClock::default());
    let flow = ResetFlow::builder(Parts {
        site: common::site(),
        keyring: common::keyring(),
        users: Arc::new(Anybody(users)),
        tokens: Arc::new(MemoryTokens::default()),
        queue: Arc::new(MemoryQueue::default()),
        mailer: Arc::new(outbox.clone()),
        limiter: Arc::new(MemoryLimiter::default()),
    })
    .clock(clock.clone())
    .hashing(common::cheap_pool())
    .build()
    .unwrap();
    block_on(async {
        for (typed_in, at) in [
            ("m\u{131}ke@example.org", 1),
            ("\u{ff4d}ike@example.org", 2),
            ("mike@e\u{301}xample.org", 3),
            ("attacker@example.com", 4),
        ] {
            let client = Client::from_ip([10, 0, at, 1].into());
            flow.request(&typed(typed_in), &client).await.unwrap();
            clock.advance(SPREAD);
            flow.worker().run_due().await;
        }
    });
    let sent = outbox.messages();
    assert!(!sent.is_empty());
    for mail in sent {
        assert_eq!(mail.to.as_str(), "mike@example.org");
        assert!(!format!("{} {}", mail.text, mail.html).contains("attacker"));
    }
}

/// W5: beside a verified address an unverified one gets nothing, and nobody learns why.
#[test]
fn w5_an_unverified_address_beside_a_verified_one_gets_nothing() {
    let world = World::new();
    let mut two = account("7", "first@example.com");
    two.unverified.push(address("second@example.com"));
    world.users.add(two);
    block_on(async {
        assert!(world.mailed("second@example.com").await.is_none());
        assert!(world.mailed("first@example.com").await.is_some());
    });
    let withheld = EventKind::Withheld(Withheld::Unverified);
    assert_eq!(world.saw(|kind| kind == withheld), 1);
    let sent = world.outbox.messages();
    assert!(
        sent.iter()
            .all(|mail| mail.to.as_str() == "first@example.com")
    );
}

/// W7: no link leads over plain http, but on this machine.
#[test]
fn w7_links_lead_over_https() {
    for refused in [
        "http://app.example.com/reset",
        "http://127.0.0.1.example.com/reset",
        "http://10.0.0.1/reset",
        "ftp://app.example.com/reset",
        "https://ada@app.example.com/reset",
        "https://app.example.com/reset#token",
    ] {
        assert!(LinkBase::parse(refused).is_err(), "{refused}");
    }
    for taken in [
        "https://app.example.com/reset",
        "http://127.0.0.1:3000/reset",
    ] {
        assert!(LinkBase::parse(taken).is_ok(), "{taken}");
    }
}

async fn asked_for_a_code(world: &World, identifier: &str, from: &Client) -> String {
    let typed = typed(identifier);
    let asked = world.flow.request_code(&typed, Channel::Mail, from);
    let handle = asked.await.unwrap().handle.to_string();
    world.work().await;
    handle
}

fn mailed_code(world: &World) -> String {
    let sent = world.outbox.messages();
    let letter = sent.iter().rev().find(|sent| sent.kind == Kind::ResetCode);
    let text = &letter.unwrap().text;
    let line = text.lines().map(|line| line.replace(' ', ""));
    let is_code = |line: &String| line.len() == 8 && line.bytes().all(|b| b.is_ascii_digit());
    line.into_iter().find(is_code).unwrap()
}

fn with_codes(backends: Backends) -> World {
    World::with(backends, |builder| builder.codes(Codes::default()))
}

/// A client in a network of its own.
fn elsewhere(number: u8) -> Client {
    Client::from_ip([10, 0, number, 1].into())
}

/// W17: five wrong codes are five, also from five addresses.
#[test]
fn w17_the_right_code_is_refused_after_wrong_ones_from_five_addresses() {
    let world = with_codes(Backends::default());
    block_on(async {
        let handle = asked_for_a_code(&world, ADA, &elsewhere(0)).await;
        for number in 1..=5 {
            let from = elsewhere(number);
            let tried = world.flow.redeem_code(&handle, WRONG, &from);
            assert!(matches!(tried.await, Err(CodeError::Invalid)));
        }
        let code = mailed_code(&world);
        let tried = world.flow.redeem_code(&handle, &code, &elsewhere(6)).await;
        assert!(matches!(tried, Err(CodeError::Invalid)));
    });
    let over = EventKind::Refused(Refused::CodeTries);
    assert_eq!(world.saw(|kind| kind == over), 1);
}

/// W19: a try is counted in a call of its own, before anything is compared: one that is cut off
/// stays counted, wherever it was cut, and an old handle brings nothing back.
#[test]
fn w19_tries_that_are_cut_off_stay_counted() {
    let mut counting = None;
    for polls in 0..16 {
        let tokens = Arc::new(MemoryTokens::default());
        let backends = Backends {
            tokens: tokens.clone(),
            ..Backends::unlimited()
        };
        let world = with_codes(backends);
        let handle = block_on(asked_for_a_code(&world, ADA, &client()));
        let selector = CodeHandle::parse(&handle).unwrap().selector();
        let count = || block_on(tokens.find(&selector)).unwrap().unwrap().attempts;
        let hashes = world.flow.hashing().stats().started;
        world.faults.yield_each_call();
        for number in 1..=5 {
            let _ = cut_after(world.flow.redeem_code(&handle, WRONG, &client()), polls);
            match count() {
                0 => assert_eq!(world.flow.hashing().stats().started, hashes),
                counted => assert_eq!(counted, number, "{polls} polls"),
            }
        }
        // From the first await behind which a try counts, every later one counts too.
        if count() > 0 {
            counting = counting.or(Some(polls));
            let code = mailed_code(&world);
            let late = block_on(world.flow.redeem_code(&handle, &code, &client()));
            assert!(matches!(late, Err(CodeError::Invalid)), "{polls} polls");
        }
        assert!(counting.is_none() || count() > 0, "{polls} polls");
    }
    assert!(counting.is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// W21: of a true token, only its one spelling opens anything.
    #[test]
    fn w21_nothing_but_the_token_itself_opens(cut in 0_usize..64, with in any::<char>()) {
        let world = World::unlimited();
        block_on(async {
            let token = world.mailed(ADA).await.unwrap();
            let mut swapped: Vec<char> = token.chars().collect();
            swapped[cut] = with;
            let swapped: String = swapped.into_iter().collect();
            let other_case: String = token
                .chars()
                .map(|c| match c.is_ascii_lowercase() {
                    true => c.to_ascii_uppercase(),
                    false => c.to_ascii_lowercase(),
                })
                .collect();
            for other in [
                token[..cut].to_owned(),
                format!("{token}{with}"),
                format!("{with}{token}"),
                format!("{token}="),
                token.replace('-', "+").replace('_', "/") + " ",
                other_case,
                swapped,
            ] {
                if other != token {
                    let opened = world.flow.verify(&other, &client()).await;
                    assert!(matches!(opened, Err(VerifyError::Invalid)), "{other}");
                }
            }
            assert!(world.flow.verify(&token, &client()).await.is_ok());
        });
    }
}

/// W23: blank text is no token, whoever asked or did not, and no store is called for it.
#[test]
fn w23_blank_tokens_cost_no_call() {
    let world = World::new();
    block_on(async {
        for blank in ["", " ", "null", "undefined", "0", "\0", &" ".repeat(64)] {
            let opened = world.flow.verify(blank, &client()).await;
            assert!(matches!(opened, Err(VerifyError::Invalid)), "{blank:?}");
        }
        // Well formed, and as empty as a row can be.
        let opened = world.flow.verify(&"A".repeat(64), &client()).await;
        assert!(matches!(opened, Err(VerifyError::Invalid)));
    });
    let calls = world.faults.log();
    assert_eq!(
        calls.iter().filter(|call| **call == "tokens.find").count(),
        1
    );
}

/// W50: who knows two names of an account fills its mailbox no further than with one.
#[test]
fn w50_two_names_of_an_account_share_its_mails() {
    let world = World::with(Backends::default(), |builder| {
        let live = password_reset::store::Live::newest(1.try_into().unwrap());
        builder.live(live)
    });
    let both = Account::new(user("7"), credential(common::OLD_HASH));
    let both = both.verified(address("ada.l@example.com"));
    world
        .users
        .add(both.verified(address("lovelace@example.com")));
    assert!(world.users.set_name(&user("7"), "countess"));
    block_on(async {
        for number in 0..30 {
            let names = ["ada.l@example.com", "lovelace@example.com", "countess"];
            let name = names[usize::from(number) % 3];
            let (name, from) = (typed(name), elsewhere(number));
            world.flow.request(&name, &from).await.unwrap();
            // Past the minute of each name.
            world.clock.advance(std::time::Duration::from_secs(61));
            world.flow.worker().run_due().await;
        }
        world.work().await;
    });
    // Five, and what grows back in half an hour.
    let sent = world.outbox.messages().len();
    assert!((5..=7).contains(&sent), "{sent}");
    assert!(world.saw(|kind| kind == EventKind::Withheld(Withheld::MailLimit)) > 0);
}

/// W54: where nothing can be counted, nothing is compared.
#[test]
fn w54_a_limiter_that_fails_lets_no_code_be_tried() {
    let world = with_codes(Backends::default());
    block_on(async {
        let handle = asked_for_a_code(&world, ADA, &client()).await;
        let code = mailed_code(&world);
        let hashes = world.flow.hashing().stats().started;
        // Each limiter call in turn: the source, its network; then the counts of code and account.
        for nth in 1..=5 {
            world.faults.fail(nth);
            let tried = world.flow.redeem_code(&handle, &code, &client()).await;
            assert!(
                matches!(tried, Err(CodeError::Unavailable(_))),
                "call {nth}"
            );
            assert_eq!(world.flow.hashing().stats().started, hashes, "call {nth}");
            world.faults.heal();
        }
    });
}

/// W57: whoever asks and guesses a thousand times locks nobody out of their account.
#[test]
fn w57_a_thousand_failed_resets_leave_the_login_alone() {
    let world = World::unlimited();
    block_on(async {
        for number in 0..1_000 {
            let asked = world.flow.request(&typed(ADA), &client()).await;
            asked.unwrap();
            let token = format!("{number:064}");
            assert!(world.flow.verify(&token, &client()).await.is_err());
        }
        world.work().await;
    });
    let calls = world.users.calls();
    assert_eq!((calls.set_password, calls.end_sessions), (0, 0));
    assert_eq!(world.hash("1"), common::OLD_HASH);
}

/// W62, W63: every session of the owner is ended, once, and nobody else's; there is no field with
/// which a request could ask for less.
#[test]
fn w62_every_session_of_the_owner_is_ended_and_no_other() {
    let world = World::new();
    world.users.add(account("7", "bob@example.com"));
    for id in ["1", "1", "7"] {
        assert!(world.users.open_session(&user(id)));
    }
    block_on(async {
        let token = world.mailed(ADA).await.unwrap();
        assert_eq!(world.users.calls().end_sessions, 0);
        assert_eq!(world.reset(&token, GOOD).await, Ok(true));
    });
    assert_eq!(world.users.calls().end_sessions, 1);
    assert_eq!(world.users.sessions(&user("1")), 0);
    assert_eq!(world.users.sessions(&user("7")), 1);
}

/// W67: an account whose address nobody has ever confirmed gets no mail, so a reset is never the first
/// proof of an address, and whoever registered it in advance keeps nothing.
#[test]
fn w67_a_reset_is_never_the_first_proof_of_an_address() {
    for codes in [false, true] {
        let world = with_codes(Backends::default());
        block_on(async {
            for identifier in KINDS {
                if codes {
                    asked_for_a_code(&world, identifier, &client()).await;
                } else {
                    let _ = world.mailed(identifier).await;
                }
            }
        });
        let sent = world.outbox.messages();
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].to.as_str(), ADA);
        assert_eq!(
            world.saw(|kind| kind == EventKind::Withheld(Withheld::Unverified)),
            1
        );
    }
}
