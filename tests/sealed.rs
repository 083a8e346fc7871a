//! Promise "sealed": no secret outlives its moment.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

#[path = "sealed/codes.rs"]
mod codes;
mod common;

use std::error::Error;
use std::fmt::Write as _;
use std::sync::Arc;

use base64ct::{Base64UrlUnpadded, Encoding};
use common::{Backends, Captured, File, GOOD, World, client, typed};
use password_reset::password::{Candidate, PasswordHash};
use password_reset::queue::Task;
use password_reset::testing::{Behaviour, block_on};
use password_reset::token::{LINK_TOKEN_CHARS, PresentedToken};

/// A token, in every spelling that a careless line might leave behind.
fn spellings(token: &str) -> Vec<Vec<u8>> {
    let raw = Base64UrlUnpadded::decode_vec(token).unwrap();
    let verifier = raw.split_at(16).1;
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    vec![
        token.as_bytes().to_vec(),
        // The verifier alone, as text: the last 42 characters cover no bit of the selector.
        token.as_bytes().split_at(22).1.to_vec(),
        verifier.to_vec(),
        hex(verifier).into_bytes(),
        hex(verifier).to_uppercase().into_bytes(),
        Base64UrlUnpadded::encode_string(verifier).into_bytes(),
        format!("{verifier:?}").into_bytes(),
    ]
}

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

fn assert_clean(what: &str, haystack: &[u8], token: &str, more: &[&str]) {
    for secret in spellings(token) {
        assert!(!holds(haystack, &secret), "{what} holds the token");
    }
    for secret in more {
        assert!(
            !holds(haystack, secret.as_bytes()),
            "{what} holds {secret:?}"
        );
    }
}

/// R76, W13: a happy and a failing journey under a subscriber that takes everything.
#[test]
fn w13_no_secret_and_no_address_is_traced() {
    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let (token, hash) = tracing::subscriber::with_default(subscriber, || {
        let world = World::with(Backends::unlimited(), |builder| {
            builder.audit(password_reset::audit::TracingSink)
        });
        block_on(async {
            let token = world.mailed("ada@example.com").await.unwrap();
            let _ = world.reset(&token, "short").await;
            world.outbox.fail_next(1);
            let _ = world.mailed("ada@example.com").await;
            let _ = world.mailed("nobody@example.com").await;
            world.outbox.behave(Behaviour::FailPermanent);
            let _ = world.mailed("guarded@example.com").await;
            world.outbox.behave(Behaviour::Accept);
            for call in 1..=3 {
                world.faults.fail(call);
                let _ = world.flow.verify(&token, &client()).await;
            }
            world.reset(&token, GOOD).await.unwrap();
            let _ = world.reset(&token, GOOD).await;
            let mut damaged = token.clone();
            damaged.truncate(LINK_TOKEN_CHARS - 1);
            let _ = world.reset(&format!("{damaged}_"), GOOD).await;
            (token, world.hash("1"))
        })
    });
    let text = captured.bytes();
    assert!(
        holds(&text, b"authn_password_change"),
        "nothing was captured"
    );
    let hidden = [
        "@example.com",
        "ada@",
        "nobody",
        GOOD,
        &hash,
        common::OLD_HASH,
        "https://",
    ];
    assert_clean("the trace", &text, &token, &hidden);
    // R77: what was typed cannot break a line, because it never gets there.
    let text = String::from_utf8(text).unwrap();
    assert!(
        text.lines()
            .all(|line| line.contains("password_reset::audit"))
    );
}

/// R11: `Debug`, `Display` and the whole chain of sources of everything public.
#[test]
fn nothing_secret_is_printed() {
    let world = World::unlimited();
    let mut printed = String::new();
    let token = block_on(async {
        let token = world.mailed("ada@example.com").await.unwrap();
        let presented = PresentedToken::parse(&token).unwrap();
        let verified = world.flow.verify(&token, &client()).await.unwrap();
        let password = verified.parse_password(GOOD).unwrap();
        let candidate = Candidate::parse(GOOD).unwrap();
        let stored = PasswordHash::parse(&world.hash("1")).unwrap();
        let errors: [Box<dyn Error>; 3] = [
            Box::new(world.flow.verify("no token", &client()).await.unwrap_err()),
            Box::new(verified.parse_password("short").unwrap_err()),
            Box::new({
                world.faults.fail(1);
                world.flow.verify(&token, &client()).await.unwrap_err()
            }),
        ];
        for error in &errors {
            let mut source: Option<&dyn Error> = Some(error.as_ref());
            while let Some(layer) = source {
                write!(printed, "{layer} {layer:?} {layer:#?}").unwrap();
                source = layer.source();
            }
        }
        write!(
            printed,
            "{:?} {:#?} {presented:?} {verified:?} {password:?} {candidate:?} {stored:?} {:?} \
             {:?} {:?} {:?} {:?}",
            world.flow,
            world.flow,
            common::keyring(),
            world.flow.hashing(),
            world.flow.worker(),
            world.outbox.messages(),
            typed("ada@example.com"),
        )
        .unwrap();
        let completed = verified.complete(password).await.unwrap();
        write!(printed, "{completed:?} {:?}", world.recorder.events()).unwrap();
        token
    });
    // (A Message-ID ends in the sender's own domain.)
    let hidden = ["ada@", GOOD, common::OLD_HASH, "$insecure$"];
    assert_clean("Debug or Display", printed.as_bytes(), &token, &hidden);
}

/// R4, W13, W15: what a database file holds, at every moment of a token's life.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w15_the_database_file_holds_nothing_usable() {
    let file = File::new("sealed");
    let world = World::with(file.backends(true).await, |builder| builder);
    world
        .flow
        .request(&typed("ada@example.com"), &client())
        .await
        .unwrap();
    let queued = file.bytes();
    world.work().await;
    let token = world.outbox.last_token().unwrap();
    let mailed = file.bytes();
    world.reset(&token, GOOD).await.unwrap();
    world.work().await;
    for (what, bytes) in [
        ("queued", queued),
        ("mailed", mailed),
        ("spent", file.bytes()),
    ] {
        assert_clean(
            what,
            &bytes,
            &token,
            &[GOOD, common::OLD_HASH, "$insecure$"],
        );
    }
}

/// W15: what a store does hold is no token: the selector with any stored 32 bytes is refused.
#[test]
fn w15_stored_bytes_are_not_a_token() {
    use password_reset::memory::MemoryTokens;
    use password_reset::store::TokenStore;
    let tokens = MemoryTokens::default();
    let backends = Backends {
        tokens: Arc::new(tokens.clone()),
        ..Backends::unlimited()
    };
    let world = World::with(backends, |builder| builder);
    block_on(async {
        let token = world.mailed("ada@example.com").await.unwrap();
        let selector = PresentedToken::parse(&token).unwrap().selector;
        let record = tokens.find(&selector).await.unwrap().unwrap();
        for stored in [record.digest.as_bytes(), record.epoch.as_bytes()] {
            let raw = [selector.as_bytes().as_slice(), stored.as_slice()].concat();
            let forged = Base64UrlUnpadded::encode_string(&raw);
            assert!(world.flow.verify(&forged, &client()).await.is_err());
        }
        assert!(world.flow.verify(&token, &client()).await.is_ok());
    });
}

/// Writing a job or an account into a log says nothing about the person.
#[test]
fn jobs_and_accounts_print_nobody() {
    let mut account = common::account("1", "ada@example.com");
    account.context_words.push("Lovelace".into());
    let task = Task::Deliver {
        identifier: typed("ada@example.com"),
        suppressed: false,
    };
    let odd = Task::Unreadable(b"ada@example.com".to_vec());
    let printed = format!("{account:?} {task:?} {odd:?}");
    assert!(
        !printed.contains("ada@") && !printed.contains("Lovelace"),
        "{printed}"
    );
    assert!(!printed.contains("97, 100"), "{printed}");
}

/// W13: a queued job names a person and holds nothing that opens anything.
#[test]
fn w13_a_queued_job_holds_no_token() {
    let task = Task::Deliver {
        identifier: typed("ada@example.com"),
        suppressed: false,
    };
    let bytes = task.encode();
    // Format, kind, flag, no tenant, length, text: no room for a secret.
    assert_eq!(bytes.len(), 1 + 1 + 1 + 1 + 4 + "ada@example.com".len());
}
