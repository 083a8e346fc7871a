//! Codes that a person types: R32 to R36, W17 to W19, W58.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

mod common;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use common::{Backends, GOOD, SPREAD, World, address, client, typed, user};
use password_reset::ResetFlow;
use password_reset::account::{Account, Client, Credential, Tenant, UserStore};
use password_reset::audit::{EventKind, Refused, Withheld};
use password_reset::flow::{
    BuildError, Builder, CodeError, Codes, Parts, RequestError, TextLimits, VerifyError,
};
use password_reset::mail::Kind;
use password_reset::password::{
    Candidate, Context, HashPool, HasherError, NewPassword, PasswordHash, PasswordHasher, Policy,
    Scratch,
};
use password_reset::queue::Channel;
use password_reset::sms::{PhoneNumber, SendError, SmsSender, TextMessage};
use password_reset::store::Live;
use password_reset::testing::{
    Behaviour, InsecureHasher, MemoryUsers, Outbox, block_on, poll_once,
};
use password_reset::token::CodeHandle;

const ADA: &str = "ada@example.com";
const WRONG: &str = "00000000";

fn codes() -> World {
    World::with(Backends::unlimited(), |builder| {
        builder.codes(Codes::default())
    })
}

async fn asked(world: &World, identifier: &str) -> String {
    let accepted = world
        .flow
        .request_code(&typed(identifier), Channel::Mail, &client())
        .await
        .unwrap();
    world.work().await;
    accepted.handle.to_string()
}

/// A handle that leads to no record.
async fn nobodys_handle(world: &World) -> Result<String, RequestError> {
    let client = client();
    let asked = world
        .flow
        .request_code_unreadable(Channel::Mail, None, &client);
    Ok(asked.await?.handle.to_string())
}

/// The digits of the last letter with a code.
fn mailed_code(world: &World) -> String {
    let sent = world.outbox.messages();
    let letter = sent.iter().rev().find(|sent| sent.kind == Kind::ResetCode);
    code_in(&letter.unwrap().text, 8)
}

/// The first run of so many digits, spaces inside it passed over.
fn code_in(text: &str, digits: usize) -> String {
    let mut run = String::new();
    for c in text.chars() {
        match c {
            '0'..='9' => run.push(c),
            ' ' if !run.is_empty() && run.len() < digits => {}
            _ => run.clear(),
        }
        if run.len() == digits {
            return run;
        }
    }
    panic!("no code in {text:?}")
}

async fn redeem(flow: &ResetFlow, handle: &str, code: &str) -> Result<String, CodeError> {
    let redeemed = flow.redeem_code(handle, code, &client()).await?;
    Ok(redeemed.token.expose().to_owned())
}

#[test]
fn a_code_sets_the_password_once() {
    let world = codes();
    block_on(async {
        let handle = asked(&world, ADA).await;
        let code = mailed_code(&world);
        let token = redeem(&world.flow, &handle, &code).await.unwrap();
        // W27, W28: exchanged once.
        assert!(matches!(
            redeem(&world.flow, &handle, &code).await,
            Err(CodeError::Invalid)
        ));
        assert!(world.reset(&token, GOOD).await.unwrap());
        assert!(world.logs_in("1", GOOD));
        assert!(world.reset(&token, "another quiet harbour").await.is_err());
    });
    assert_eq!(world.saw(|kind| kind == EventKind::CodeSent), 1);
    assert_eq!(world.saw(|kind| kind == EventKind::CodeRedeemed), 1);
}

/// Grouping spaces and hyphens are the reader's business.
#[test]
fn a_code_is_taken_as_people_type_it() {
    for (before, between) in [("", " "), (" ", "-"), ("", "\u{2011}"), ("\t", "\u{a0}")] {
        let world = codes();
        block_on(async {
            let handle = asked(&world, ADA).await;
            let code = mailed_code(&world);
            let typed = format!("{before}{}{between}{}\n", &code[..4], &code[4..]);
            redeem(&world.flow, &handle, &typed).await.unwrap();
        });
    }
}

/// R86: a subject shows on a locked screen.
#[test]
fn r86_no_code_in_a_subject() {
    let world = codes();
    block_on(asked(&world, ADA));
    for sent in world.outbox.messages() {
        assert!(
            !sent.subject.contains(|c: char| c.is_ascii_digit()),
            "{sent:?}"
        );
    }
}

/// R32, W17: the right code is refused after five wrong ones.
#[test]
fn w17_a_code_is_tried_five_times() {
    let world = codes();
    block_on(async {
        let handle = asked(&world, ADA).await;
        let code = mailed_code(&world);
        for _ in 0..5 {
            let refused = redeem(&world.flow, &handle, WRONG).await;
            assert!(matches!(refused, Err(CodeError::Invalid)));
        }
        let refused = redeem(&world.flow, &handle, &code).await;
        assert!(matches!(refused, Err(CodeError::Invalid)));
    });
    assert_eq!(
        world.saw(|k| k == EventKind::Refused(Refused::WrongCode)),
        5
    );
    assert_eq!(
        world.saw(|k| k == EventKind::Refused(Refused::CodeTries)),
        1
    );
}

/// R36, W18: two hundred guesses at once cost five comparisons, each of them one hash.
#[test]
fn w18_two_hundred_guesses_at_once_make_five_comparisons() {
    let world = codes();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .build()
        .unwrap();
    runtime.block_on(async {
        let handle = asked(&world, ADA).await;
        let before = world.flow.hashing().stats().started;
        let guesses: Vec<_> = (0..200)
            .map(|number| {
                let (flow, handle) = (world.flow.clone(), handle.clone());
                let guess = format!("{number:08}");
                tokio::spawn(async move { redeem(&flow, &handle, &guess).await })
            })
            .collect();
        for guess in guesses {
            assert!(guess.await.unwrap().is_err());
        }
        let hashes = world.flow.hashing().stats().started - before;
        assert!((1..=5).contains(&hashes), "{hashes}");
    });
    assert!(world.saw(|k| k == EventKind::Refused(Refused::CodeTries)) >= 195);
}

/// R39, W17: a handle is no ticket for hashes. Before its code is made, and after its record is gone,
/// nothing counts its tries; what is compared with nothing is bounded for everybody together.
#[test]
fn w17_a_handle_without_a_record_buys_few_hashes() {
    let world = World::with(Backends::default(), |builder| {
        builder.codes(Codes::default())
    });
    block_on(async {
        let handle = nobodys_handle(&world).await.unwrap();
        let before = world.flow.hashing().stats().started;
        for number in 0..300_u32 {
            let [_, _, high, low] = number.to_be_bytes();
            let elsewhere = Client::from_ip([10, high, low, 1].into());
            let refused = world.flow.redeem_code(&handle, WRONG, &elsewhere).await;
            assert!(matches!(refused, Err(CodeError::Invalid)));
        }
        assert_eq!(world.flow.hashing().stats().started - before, 60);
    });
    assert_eq!(
        world.saw(|k| k == EventKind::Refused(Refused::Unknown)),
        300
    );
}

/// R31: what cannot be an identifier is limited like whatever can.
#[test]
fn r31_text_that_is_no_identifier_is_no_way_around_a_limit() {
    let world = World::with(Backends::default(), |builder| {
        builder.codes(Codes::default())
    });
    block_on(async {
        for asked in 0..30 {
            let answer = match asked % 2 {
                0 => world
                    .flow
                    .request_unreadable(None, &client())
                    .await
                    .map(drop),
                _ => nobodys_handle(&world).await.map(drop),
            };
            match answer {
                Ok(()) => assert!(asked < 20, "{asked}"),
                Err(RequestError::RateLimited { .. }) => assert!(asked >= 20, "{asked}"),
                Err(error) => panic!("{error}"),
            }
        }
        world.work().await;
    });
    assert_eq!(world.saw(|kind| kind == EventKind::Unreadable), 20);
    assert!(world.outbox.messages().is_empty());
}

/// R31, W17: whoever has a /48 has 65,536 sources, and no more tries than five of them.
#[test]
fn w17_a_network_tries_no_more_codes_than_five_of_its_sources() {
    let world = World::with(Backends::default(), |builder| {
        builder.codes(Codes::default())
    });
    block_on(async {
        let handle = nobodys_handle(&world).await.unwrap();
        let mut limited = 0;
        for number in 0..400_u16 {
            let address = std::net::Ipv6Addr::new(0x2001, 0xdb8, 7, number, 0, 0, 0, 1);
            let client = Client::from_ip(address.into());
            let refused = world.flow.redeem_code(&handle, WRONG, &client).await;
            limited += u32::from(matches!(refused, Err(CodeError::RateLimited { .. })));
        }
        assert_eq!(limited, 100);
    });
    assert_eq!(world.saw(|kind| kind == EventKind::NetworkLimited), 100);
}

/// Holds the thread that hashes until it is let go.
struct Stuck(std::sync::Mutex<std::sync::mpsc::Receiver<()>>);

impl PasswordHasher for Stuck {
    fn hash(&self, new: &NewPassword, scratch: &mut Scratch) -> Result<PasswordHash, HasherError> {
        let _ = self.0.lock().unwrap().recv();
        InsecureHasher.hash(new, scratch)
    }
    fn verify(
        &self,
        candidate: &Candidate,
        stored: &PasswordHash,
        scratch: &mut Scratch,
    ) -> Result<bool, HasherError> {
        InsecureHasher.verify(candidate, stored, scratch)
    }
    fn needs_rehash(&self, _: &PasswordHash) -> bool {
        false
    }
    fn max_bytes(&self) -> Option<usize> {
        None
    }
}

/// R74: overload is told to the operator, too.
#[test]
fn r74_a_code_that_finds_the_pool_full_is_in_the_trail() {
    let (let_go, stuck) = std::sync::mpsc::channel();
    let pool = HashPool::builder(Stuck(std::sync::Mutex::new(stuck)));
    let pool = pool.threads(NonZeroUsize::MIN).queue(1).build().unwrap();
    let world = World::with(Backends::unlimited(), |builder| {
        builder.codes(Codes::default()).hashing(pool.clone())
    });
    block_on(async {
        let handle = asked(&world, ADA).await;
        let password = Policy::default().parse(GOOD, &Context::default()).unwrap();
        let before = pool.stats().started;
        let mut login = Box::pin(pool.hash(password));
        assert!(poll_once(&mut login).is_none());
        while pool.stats().started == before {
            std::thread::yield_now();
        }
        let mut waits = Box::pin(redeem(&world.flow, &handle, WRONG));
        assert!(poll_once(&mut waits).is_none());
        let refused = redeem(&world.flow, &handle, WRONG).await;
        assert!(matches!(refused, Err(CodeError::Busy)), "{refused:?}");
        let_go.send(()).unwrap();
        assert!(matches!(waits.await, Err(CodeError::Invalid)));
    });
    assert_eq!(world.saw(|k| k == EventKind::Refused(Refused::Busy)), 1);
}

/// R33, W19: a new code does not reset what counts for the account.
#[test]
fn r33_twenty_tries_over_many_codes_lock_the_code_path_only() {
    let world = codes();
    block_on(async {
        for _ in 0..4 {
            let handle = asked(&world, ADA).await;
            for _ in 0..5 {
                assert!(redeem(&world.flow, &handle, WRONG).await.is_err());
            }
            // Long enough for the code's place to be free again.
            world.clock.advance(Duration::from_secs(700));
        }
        // No further code is sent, and the answer is the same.
        let before = world.outbox.messages().len();
        asked(&world, ADA).await;
        assert_eq!(world.outbox.messages().len(), before);
        // R35: links work as before.
        let token = world.mailed(ADA).await.unwrap();
        assert!(world.reset(&token, GOOD).await.unwrap());
        // R34: success clears the count.
        let handle = asked(&world, ADA).await;
        let code = mailed_code(&world);
        redeem(&world.flow, &handle, &code).await.unwrap();
    });
    let locked = EventKind::Withheld(Withheld::CodesLocked);
    assert_eq!(world.saw(|kind| kind == locked), 1);
}

/// A code that went out before the lock is refused as well, though it is right: it is the twenty-first
/// that is tried. As the twentieth it is taken.
#[test]
fn r32_a_right_code_is_refused_after_twenty_tries() {
    for wrong in [20, 19] {
        let world = World::with(Backends::unlimited(), |builder| {
            let live = Live::at_most(6.try_into().unwrap());
            builder.codes(Codes::default()).live(live)
        });
        block_on(async {
            let mut others = Vec::new();
            for _ in 0..5 {
                others.push(asked(&world, ADA).await);
            }
            let last = asked(&world, ADA).await;
            let code = mailed_code(&world);
            // At most four of each code, which are its own business (W17).
            for number in 0..wrong {
                let refused = redeem(&world.flow, &others[number / 4], WRONG).await;
                assert!(refused.is_err());
            }
            let before = world.flow.hashing().stats().started;
            let right = redeem(&world.flow, &last, &code).await;
            assert_eq!(right.is_ok(), wrong == 19, "after {wrong}");
            // The refusal takes its hash all the same, so its time does not tell the lock.
            assert_eq!(world.flow.hashing().stats().started, before + 1);
        });
        let locked = world.saw(|k| k == EventKind::Refused(Refused::CodesLocked));
        assert_eq!(locked, usize::from(wrong == 20));
        let tried = world.saw(|k| k == EventKind::Refused(Refused::WrongCode));
        assert_eq!(tried, wrong);
    }
}

/// An unknown account's handle and a real one's are tried, counted and refused alike (R27).
#[test]
fn known_and_unknown_identifiers_are_tried_alike() {
    let mut logs = Vec::new();
    for identifier in common::KINDS {
        let world = codes();
        block_on(async {
            let handle = asked(&world, identifier).await;
            for round in 0..26 {
                let start = world.faults.log().len();
                let hashes = world.flow.hashing().stats().started;
                let refused = redeem(&world.flow, &handle, WRONG).await.unwrap_err();
                assert_eq!(refused.to_string(), "the code is not valid");
                let calls: Vec<_> = world.faults.log()[start..].to_vec();
                let hashes = world.flow.hashing().stats().started - hashes;
                logs.push((identifier, round, calls, hashes));
            }
        });
    }
    let (first, others) = logs.split_at(26);
    for others in others.chunks(26) {
        for (first, other) in first.iter().zip(others) {
            assert_eq!(
                (first.1, &first.2, first.3),
                (other.1, &other.2, other.3),
                "{}",
                other.0
            );
        }
    }
}

/// The worker makes the same calls for every kind of account, and the row that it leaves counts tries
/// (R27, W48). The tests of the databases compare the rows themselves.
#[test]
fn every_request_for_a_code_makes_the_same_calls_and_can_be_tried() {
    let mut logs = Vec::new();
    for identifier in common::KINDS {
        let world = codes();
        block_on(async {
            let start = world.faults.log().len();
            let handle = asked(&world, identifier).await;
            let calls: Vec<_> = world.faults.log()[start..]
                .iter()
                .copied()
                .filter(|call| *call != "mailer.send")
                .collect();
            // The row is there for everybody, and counts: the sixth try meets no comparison.
            for _ in 0..6 {
                assert!(redeem(&world.flow, &handle, WRONG).await.is_err());
            }
            assert_eq!(
                world.saw(|k| k == EventKind::Refused(Refused::CodeTries)),
                1
            );
            logs.push(calls);
        });
    }
    for log in &logs {
        assert_eq!(log, &logs[0]);
    }
}

#[test]
fn a_code_lives_ten_minutes() {
    let world = codes();
    block_on(async {
        let handle = asked(&world, ADA).await;
        let code = mailed_code(&world);
        world.clock.advance(Duration::from_secs(600) - SPREAD);
        redeem(&world.flow, &handle, &code).await.unwrap();

        let handle = asked(&world, ADA).await;
        let code = mailed_code(&world);
        world.clock.advance(Duration::from_secs(600));
        assert!(redeem(&world.flow, &handle, &code).await.is_err());
    });
    assert_eq!(world.saw(|k| k == EventKind::Refused(Refused::Expired)), 1);
}

/// W33, W34, W35: a code dies with what it was made for, and so does the token that it became.
#[test]
fn a_code_is_bound_to_password_address_and_status() {
    let changes: [fn(&mut Account); 4] = [
        |account| account.credential = common::credential("$insecure$00$another"),
        |account| account.verified = vec![address("new@example.com")],
        |account| account.status = password_reset::account::Status::Disabled,
        |account| account.credential = Credential::External,
    ];
    for change in changes {
        for exchanged_first in [false, true] {
            let world = codes();
            block_on(async {
                let handle = asked(&world, ADA).await;
                let code = mailed_code(&world);
                let token = match exchanged_first {
                    true => Some(redeem(&world.flow, &handle, &code).await.unwrap()),
                    false => None,
                };
                let mut account = world.users.account(&user("1")).await.unwrap().unwrap();
                change(&mut account);
                world.users.add(account);
                let refused = match token {
                    Some(token) => world.flow.verify(&token, &client()).await.is_err(),
                    None => redeem(&world.flow, &handle, &code).await.is_err(),
                };
                assert!(refused);
            });
        }
    }
}

/// W41: each secret is good for its own purpose only.
#[test]
fn w41_handles_codes_and_tokens_are_no_substitute_for_each_other() {
    let world = codes();
    block_on(async {
        let link = world.mailed(ADA).await.unwrap();
        let handle = asked(&world, ADA).await;
        let code = mailed_code(&world);
        // The selector of a link is no handle.
        let selector = password_reset::token::PresentedToken::parse(&link)
            .unwrap()
            .selector;
        let bytes: Vec<u8> = selector.as_bytes().to_vec();
        let not_a_handle = handle_of(&bytes);
        assert!(redeem(&world.flow, &not_a_handle, &code).await.is_err());
        // A handle with anything behind it is no link.
        let made_up = format!("{handle}{}", "A".repeat(42));
        let refused = world.flow.verify(&made_up, &client()).await;
        assert!(matches!(refused, Err(VerifyError::Invalid)));
        // The link was not hurt by it.
        assert!(world.reset(&link, GOOD).await.unwrap());
    });
}

fn handle_of(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut word = [0; 3];
        word[..chunk.len()].copy_from_slice(chunk);
        let word = u32::from_be_bytes([0, word[0], word[1], word[2]]);
        for place in 0..=chunk.len() {
            let index = (word >> (18 - 6 * place)) & 63;
            text.push(char::from(ALPHABET[usize::try_from(index).unwrap()]));
        }
    }
    assert!(CodeHandle::parse(&text).is_ok());
    text
}

/// W43: the handle and the code of one tenant are nothing in another.
#[test]
fn w43_a_code_is_good_in_its_tenant_only() {
    let world = codes();
    let acme = Tenant::parse("acme").unwrap();
    let mut account = common::account("9", "grace@example.com");
    account.tenant = Some(acme.clone());
    world.users.add(account);
    block_on(async {
        let inside = world.flow.for_tenant(acme);
        let accepted = inside
            .request_code(&typed("grace@example.com"), Channel::Mail, &client())
            .await
            .unwrap();
        world.work().await;
        let (handle, code) = (accepted.handle.to_string(), mailed_code(&world));
        assert!(redeem(&world.flow, &handle, &code).await.is_err());
        assert!(redeem(&inside, &handle, &code).await.is_ok());
    });
}

/// W23, W24, R20: text that is no code is no try, and reaches no backend.
#[test]
fn w23_text_that_is_no_code_costs_nothing() {
    let world = codes();
    block_on(async {
        let handle = asked(&world, ADA).await;
        let code = mailed_code(&world);
        let calls = world.faults.log().len();
        let long = "1".repeat(100_000);
        for bad in ["", " ", "null", "[]", "12345", "12345678'--", &long] {
            assert!(redeem(&world.flow, &handle, bad).await.is_err());
            assert!(redeem(&world.flow, bad, &code).await.is_err());
        }
        assert_eq!(world.faults.log().len(), calls);
        redeem(&world.flow, &handle, &code).await.unwrap();
    });
}

/// W32: asking for codes takes no link away from its owner, and links no code.
#[test]
fn w32_codes_and_links_leave_each_other_room() {
    let world = World::with(Backends::default(), |builder| {
        builder.codes(Codes::default())
    });
    block_on(async {
        for _ in 0..3 {
            world.clock.advance(Duration::from_secs(61));
            asked(&world, ADA).await;
        }
        assert_eq!(world.saw(|kind| kind == EventKind::CodeSent), 3);
        assert!(world.mailed(ADA).await.is_some());
    });
    let world = World::with(Backends::unlimited(), |builder| {
        builder.codes(Codes::default())
    });
    block_on(async {
        for _ in 0..5 {
            asked(&world, ADA).await;
        }
        for _ in 0..3 {
            assert!(world.mailed(ADA).await.is_some());
        }
    });
}

/// A later try mails the same code under the same Message-ID, so that it is the same mail.
#[test]
fn a_retried_mail_carries_the_same_code() {
    let world = codes();
    block_on(async {
        world.outbox.behave(Behaviour::Uncertain);
        let handle = asked(&world, ADA).await;
        world.outbox.behave(Behaviour::Accept);
        world.clock.advance(Duration::from_secs(60));
        world.flow.worker().run_due().await;
        let sent = world.outbox.messages();
        assert_eq!(sent.len(), 2);
        assert_eq!(sent[0].id, sent[1].id);
        assert_eq!(code_in(&sent[0].text, 8), code_in(&sent[1].text, 8));
        redeem(&world.flow, &handle, &mailed_code(&world))
            .await
            .unwrap();
    });
}

/// W40: a code that reached nobody gives its place back, and is none any more.
#[test]
fn a_code_that_was_refused_for_good_is_revoked() {
    let world = codes();
    block_on(async {
        world.outbox.behave(Behaviour::FailPermanent);
        for _ in 0..10 {
            asked(&world, ADA).await;
        }
        world.outbox.behave(Behaviour::Accept);
        asked(&world, ADA).await;
        assert_eq!(world.saw(|kind| kind == EventKind::CodeSent), 1);
    });
}

/// Nothing that is stored, queued or shown holds the code (R4, W13, W15).
#[test]
fn w15_no_code_is_kept() {
    let file = common::File::new("codes");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let backends = file.backends(false).await;
        let world = World::with(backends, |builder| builder.codes(Codes::default()));
        let accepted = world
            .flow
            .request_code(&typed(ADA), Channel::Mail, &client())
            .await
            .unwrap();
        let queued = file.bytes();
        world.work().await;
        let code = mailed_code(&world);
        let found = |bytes: &[u8]| bytes.windows(8).any(|window| window == code.as_bytes());
        assert!(!found(&queued) && !found(&file.bytes()));
        let redeemed = world
            .flow
            .redeem_code(&accepted.handle.to_string(), &code, &client())
            .await
            .unwrap();
        assert!(!format!("{redeemed:?}").contains(redeemed.token.expose()));
        assert!(!format!("{:?}", world.recorder.kinds()).contains(&code));
    });
}

/// A code that is revoked while it is exchanged becomes nothing, wherever the revocation falls.
#[test]
fn a_code_revoked_meanwhile_becomes_no_token() {
    for before in [
        "tokens.find",
        "users.account",
        "tokens.claim",
        "tokens.insert",
    ] {
        let world = codes();
        let handle = block_on(asked(&world, ADA));
        let code = mailed_code(&world);
        world.faults.yield_each_call();
        let start = world.faults.log().len();
        let mut exchange = Box::pin(redeem(&world.flow, &handle, &code));
        let mut outcome = None;
        while outcome.is_none() && !world.faults.log()[start..].contains(&before) {
            outcome = poll_once(&mut exchange);
            std::thread::yield_now();
        }
        block_on(world.flow.revoke_all(&user("1"))).unwrap();
        let outcome = outcome.unwrap_or_else(|| block_on(exchange));
        assert!(outcome.is_err(), "{before}");
    }
}

/// Races on real threads: of many who present the right code at once, one gets a token.
#[test]
fn w27_a_right_code_is_exchanged_once() {
    let world = codes();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .build()
        .unwrap();
    runtime.block_on(async {
        for round in 0..10 {
            let handle = asked(&world, ADA).await;
            let code = mailed_code(&world);
            let racers: Vec<_> = (0..5)
                .map(|_| {
                    let (flow, handle, code) = (world.flow.clone(), handle.clone(), code.clone());
                    tokio::spawn(async move { redeem(&flow, &handle, &code).await })
                })
                .collect();
            let mut won = Vec::new();
            for racer in racers {
                won.extend(racer.await.unwrap().ok());
            }
            assert_eq!(won.len(), 1);
            let password = format!("{GOOD}, round {round}");
            assert!(world.reset(&won[0], &password).await.unwrap());
        }
    });
}

#[test]
fn a_flow_without_codes_says_so() {
    let world = World::new();
    block_on(async {
        let refused = world
            .flow
            .request_code(&typed(ADA), Channel::Mail, &client())
            .await;
        assert!(matches!(refused, Err(RequestError::NotOffered)));
        let refused = redeem(&world.flow, "AAAAAAAAAAAAAAAAAAAAAA", WRONG).await;
        assert!(matches!(refused, Err(CodeError::Invalid)));
    });
    let world = codes();
    block_on(async {
        let refused = world
            .flow
            .request_code(&typed(ADA), Channel::Sms, &client())
            .await;
        assert!(matches!(refused, Err(RequestError::NotOffered)));
    });
}

fn builder() -> Builder {
    let backends = Backends::default();
    ResetFlow::builder(Parts {
        site: common::site(),
        keyring: common::keyring(),
        users: Arc::new(MemoryUsers::default()),
        tokens: backends.tokens,
        queue: backends.queue,
        mailer: Arc::new(Outbox::default()),
        limiter: backends.limiter,
    })
    .hashing(common::cheap_pool())
}

/// R16, R32: no setting goes beyond the bounds.
#[test]
fn r16_numbers_are_bounded() {
    type Change = fn(&mut Codes);
    let bad: [Change; 8] = [
        |codes| codes.digits = 5,
        |codes| codes.digits = 13,
        |codes| codes.life = Duration::from_secs(601),
        |codes| codes.life = Duration::from_secs(59),
        |codes| codes.tries = 0,
        |codes| codes.tries = 11,
        |codes| codes.tries_per_account = 0,
        |codes| codes.tries_per_account = 101,
    ];
    for change in bad {
        let mut codes = Codes::default();
        change(&mut codes);
        let built = builder().codes(codes).build();
        assert!(matches!(built, Err(BuildError::Codes)));
    }
    let built = builder()
        .sms(Phone::default(), TextLimits::default())
        .build();
    assert!(matches!(built, Err(BuildError::SmsWithoutCodes)));
}

/// A telephone that keeps its messages.
#[derive(Clone, Default)]
struct Phone(Arc<std::sync::Mutex<Vec<(String, String, String)>>>);

#[password_reset::async_trait]
impl SmsSender for Phone {
    async fn send(&self, message: &TextMessage) -> Result<(), SendError> {
        let text = (
            message.id().to_string(),
            message.to().as_str().to_owned(),
            message.text().to_owned(),
        );
        self.0.lock().unwrap().push(text);
        Ok(())
    }
}

impl Phone {
    fn messages(&self) -> Vec<(String, String, String)> {
        self.0.lock().unwrap().clone()
    }
}

fn with_phones(limits: TextLimits, backends: Backends) -> (World, Phone) {
    let phone = Phone::default();
    let world = World::with(backends, |builder| {
        builder.codes(Codes::default()).sms(phone.clone(), limits)
    });
    for number in 10..20 {
        let mut account = common::account(&number.to_string(), &format!("u{number}@example.com"));
        account.phone = Some(PhoneNumber::parse(&format!("+49301234{number:02}")).unwrap());
        world.users.add(account);
    }
    (world, phone)
}

async fn texted(world: &World, identifier: &str, client: &Client) -> String {
    let accepted = world
        .flow
        .request_code(&typed(identifier), Channel::Sms, client)
        .await
        .unwrap();
    world.work().await;
    accepted.handle.to_string()
}

#[test]
fn a_code_by_text_message_sets_the_password() {
    let (world, phone) = with_phones(TextLimits::default(), Backends::default());
    block_on(async {
        let handle = texted(&world, "u10@example.com", &client()).await;
        let sent = phone.messages();
        assert_eq!(sent.len(), 1);
        let (_, to, text) = &sent[0];
        assert_eq!(to, "+4930123410");
        // R16, W58: a code, never a link.
        assert!(!text.contains("http") && !text.contains("token"));
        let token = redeem(&world.flow, &handle, &code_in(text, 8))
            .await
            .unwrap();
        assert!(world.reset(&token, GOOD).await.unwrap());
    });
    assert_eq!(world.saw(|kind| kind == EventKind::TextSent), 1);
}

/// A number that changed meanwhile is a lost address: the code dies with it.
#[test]
fn w34_a_code_dies_with_its_number() {
    let (world, phone) = with_phones(TextLimits::default(), Backends::default());
    block_on(async {
        let handle = texted(&world, "u10@example.com", &client()).await;
        let code = code_in(&phone.messages()[0].2, 8);
        let mut account = world.users.account(&user("10")).await.unwrap().unwrap();
        account.phone = Some(PhoneNumber::parse("+4930999999").unwrap());
        world.users.add(account);
        assert!(redeem(&world.flow, &handle, &code).await.is_err());
    });
    assert_eq!(
        world.saw(|k| k == EventKind::Refused(Refused::AddressGone)),
        1
    );
}

/// W58: whoever is unknown, or has no confirmed number, gets no message, and nothing tells.
#[test]
fn w58_unknown_numbers_never_get_a_message() {
    let mut logs = Vec::new();
    for identifier in [
        "u10@example.com",
        "nobody@example.com",
        "+4930123410",
        ADA,
        "disabled@example.com",
        "unverified@example.com",
        "external@example.com",
    ] {
        let (world, phone) = with_phones(TextLimits::default(), Backends::default());
        block_on(async {
            let start = world.faults.log().len();
            texted(&world, identifier, &client()).await;
            logs.push(world.faults.log()[start..].to_vec());
        });
        let expected = usize::from(identifier == "u10@example.com");
        assert_eq!(phone.messages().len(), expected, "{identifier}");
    }
    for log in &logs {
        assert_eq!(log, &logs[0]);
    }
}

/// W58: budgets for one number, one country and one source.
#[test]
fn w58_text_messages_have_budgets() {
    let limits = |change: fn(&mut TextLimits)| {
        let mut limits = TextLimits::default();
        change(&mut limits);
        limits
    };
    let hour = Duration::from_secs(3_600);
    let source = |number: u8| Client::from_ip([198, 51, 100, number].into());

    // One number, from many sources, under a limiter without the identifier's own limit.
    let (world, phone) = with_phones(TextLimits::default(), Backends::default());
    let mut twin = common::account("30", "twin@example.com");
    twin.phone = Some(PhoneNumber::parse("+4930123410").unwrap());
    world.users.add(twin);
    block_on(async {
        for round in 0..3 {
            for identifier in ["u10@example.com", "twin@example.com"] {
                texted(&world, identifier, &source(round)).await;
            }
            world.clock.advance(Duration::from_secs(61));
        }
    });
    assert_eq!(phone.messages().len(), 3);
    assert_eq!(
        world.saw(|k| k == EventKind::Withheld(Withheld::SmsLimit)),
        3
    );

    // One country.
    let country = limits(|limits| {
        limits.country = password_reset::limit::Quota::new(2, Duration::from_secs(3_600));
    });
    let (world, phone) = with_phones(country, Backends::default());
    block_on(async {
        for number in 10..16 {
            texted(&world, &format!("u{number}@example.com"), &source(number)).await;
        }
    });
    assert_eq!(phone.messages().len(), 2);

    // One source, which hears of it.
    let (world, phone) = with_phones(TextLimits::default(), Backends::default());
    block_on(async {
        for number in 10..15 {
            texted(&world, &format!("u{number}@example.com"), &source(1)).await;
        }
        let identifier = typed("u15@example.com");
        let refused = world
            .flow
            .request_code(&identifier, Channel::Sms, &source(1))
            .await;
        let Err(RequestError::RateLimited { retry_after }) = refused else {
            panic!("not limited");
        };
        assert!(retry_after <= hour);
    });
    assert_eq!(phone.messages().len(), 5);
}

/// W14: what the asker is answered is of one shape for everybody, and gives nothing away.
#[test]
fn w14_the_answer_holds_neither_code_nor_token() {
    let world = codes();
    block_on(async {
        let mut answers = Vec::new();
        for identifier in [ADA, "nobody@example.com"] {
            let (typed, client) = (typed(identifier), client());
            let accepted = world.flow.request_code(&typed, Channel::Mail, &client);
            answers.push(accepted.await.unwrap());
        }
        world.work().await;
        let code = mailed_code(&world);
        for answer in &answers {
            let handle = answer.handle.to_string();
            assert_eq!(handle.len(), 22);
            assert!(!format!("{answer:?}").contains(&code) && !handle.contains(&code));
            assert!(world.flow.verify(&handle, &client()).await.is_err());
        }
    });
}

/// W57, R35: however many codes are tried, the account and its login are left alone.
#[test]
fn w57_wrong_codes_never_touch_the_account() {
    let world = codes();
    block_on(async {
        for _ in 0..8 {
            let handle = asked(&world, ADA).await;
            for _ in 0..6 {
                assert!(redeem(&world.flow, &handle, WRONG).await.is_err());
            }
        }
        let account = world.users.account(&user("1")).await.unwrap().unwrap();
        assert_eq!(account.status, password_reset::account::Status::Active);
    });
    assert_eq!(world.hash("1"), common::OLD_HASH);
    assert_eq!(world.users.calls().end_sessions, 0);
}
