//! R76, W13: what cancels is written nowhere but into the mail.

use std::fmt::Write as _;

use base64ct::{Base64UrlUnpadded, Encoding};
use password_reset::testing::block_on;

use crate::common::{Captured, File, GOOD, World, client, typed};
use crate::{ADA, cancel, letters, refused};

/// Neither the token, nor its second half in any of the usual spellings.
fn assert_clean(what: &str, bytes: &[u8], token: &str) {
    let raw = Base64UrlUnpadded::decode_vec(token).unwrap();
    let proof = raw.split_at(16).1;
    let hex: String = proof.iter().map(|byte| format!("{byte:02x}")).collect();
    let spellings = [
        token.as_bytes().to_vec(),
        token.as_bytes().split_at(22).1.to_vec(),
        proof.to_vec(),
        hex.to_uppercase().into_bytes(),
        hex.into_bytes(),
        Base64UrlUnpadded::encode_string(proof).into_bytes(),
        format!("{proof:?}").into_bytes(),
    ];
    for secret in spellings {
        let held = bytes.windows(secret.len()).any(|window| window == secret);
        assert!(!held, "{what} holds the token");
    }
}

/// The whole story: mail, password, notice, cancel, and what is refused.
async fn story(world: &World) -> String {
    let link = world.mailed(ADA).await.unwrap();
    world.reset(&link, GOOD).await.unwrap();
    world.work().await;
    let token = world.outbox.last_cancel_token().unwrap();
    cancel(world, &token).await;
    let _ = world.mailed(ADA).await;
    assert!(refused(world, &link).await);
    assert!(world.flow.verify(&token, &client()).await.is_err());
    world.faults.fail(2);
    let looked = world.flow.look_at_cancel(&token, &client()).await;
    looked.unwrap_err();
    token
}

#[test]
fn w13_it_is_not_traced() {
    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let token = tracing::subscriber::with_default(subscriber, || {
        let world = letters::changed(|builder| builder.audit(password_reset::audit::TracingSink));
        block_on(story(&world))
    });
    let text = captured.bytes();
    assert_clean("the trace", &text, &token);
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("password_reset_disowned"), "{text}");
    assert!(!text.contains("@example.com"));
}

#[test]
fn r11_it_is_not_printed() {
    let world = letters::world();
    let (token, printed) = block_on(async {
        let token = story(&world).await;
        let looked = world.flow.look_at_cancel(&token, &client()).await.unwrap();
        let mut printed = format!("{looked:?} {looked:#?} {:?}", world.flow.site());
        world.faults.fail(1);
        let error = world.flow.look_at_cancel(&token, &client()).await;
        let error = error.unwrap_err();
        write!(printed, "{error} {error:?}").unwrap();
        let done = cancel(&world, &token).await;
        write!(printed, "{done:?} {:?}", world.recorder.events()).unwrap();
        write!(printed, "{:?}", world.outbox.messages()).unwrap();
        (token, printed)
    });
    assert_clean("Debug or Display", printed.as_bytes(), &token);
}

/// W15: neither store nor queue holds it, at any moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w15_the_database_file_does_not_hold_it() {
    let file = File::new("cancel");
    let world = letters::with(file.backends(true).await);
    let (ada, client) = (typed(ADA), client());
    world.flow.request(&ada, &client).await.unwrap();
    let queued = file.bytes();
    world.work().await;
    let mailed = file.bytes();
    let link = world.outbox.last_token().unwrap();
    world.reset(&link, GOOD).await.unwrap();
    let noticed = file.bytes();
    world.work().await;
    let token = world.outbox.last_cancel_token().unwrap();
    let looked = world.flow.look_at_cancel(&token, &client).await.unwrap();
    let week = password_reset::flow::Cancelable::LONGEST_PAUSE;
    assert!(looked.cancel(week).await.unwrap().paused_until.is_some());
    assert_eq!(world.mailed(ADA).await, None);
    let cancelled = file.bytes();
    for (what, bytes) in [
        ("queued", queued),
        ("mailed", mailed),
        ("noticed", noticed),
        ("cancelled", cancelled),
    ] {
        assert_clean(what, &bytes, &token);
    }
}
