//! What each answer means for the message, at each provider; and that no error tells a secret.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::error::Error;

use common::{
    Act, CODE, KEY, Provider, TOKEN, assert_discreet, client, credentials, mailers, message,
    senders, sms, told,
};
use password_reset::error::SendError;
use password_reset::mail::Mailer;
use password_reset_http::{
    AmazonSes, Answer, ApiError, HttpPost, Mailgun, Post, PostError, Postmark, Resend, SendGrid,
    Tracking, Twilio, TwilioSender, Vonage,
};

/// What every provider, asked in turn, makes of one act.
async fn everywhere(act: Act) -> Vec<(&'static str, Result<(), SendError>)> {
    let provider = Provider::start([act]).await;
    let client = client();
    let mut all = Vec::new();
    for (name, mailer) in mailers(&client, &provider.base) {
        all.push((name, mailer.send(&message()).await));
    }
    for (name, sender) in senders(&client, &provider.base) {
        all.push((name, sender.send(&sms()).await));
    }
    assert_eq!(provider.seen().len(), all.len());
    all
}

/// An answer that quotes whatever there is to quote.
fn talkative(code: &str) -> String {
    format!(
        r#"{{"message":"{KEY} ada@example.com +4930123456 {TOKEN} {CODE}",
            "code":{code},"ErrorCode":{code},"name":{code},"__type":{code},"type":{code}}}"#
    )
}

#[tokio::test]
async fn success_is_any_2xx() {
    for status in [200, 201, 202, 204] {
        let body = if status == 204 {
            String::new()
        } else {
            talkative("0")
        };
        for (name, sent) in everywhere(Act::Answer(status, body)).await {
            assert!(sent.is_ok(), "{name} {status}");
        }
    }
}

#[tokio::test]
async fn w13_refusals_are_sorted_and_tell_no_secret() {
    for (status, transient, arrived) in [
        (301, true, false),
        (307, true, false),
        // Our key, our account: not the fault of a message.
        (401, true, false),
        (402, true, false),
        (403, true, false),
        // Our domain at Mailgun, our account at Twilio: nothing else is in a path.
        (404, true, false),
        (405, true, false),
        (408, true, false),
        (429, true, false),
        (503, true, false),
        // This message will never do.
        (400, false, false),
        (413, false, false),
        (422, false, false),
        // Perhaps before it was taken, perhaps after.
        (500, true, true),
        (502, true, true),
        (504, true, true),
    ] {
        for (name, sent) in everywhere(Act::Answer(status, talkative("21211"))).await {
            let error = sent.unwrap_err();
            assert_eq!(error.is_transient(), transient, "{name} {status}");
            assert_eq!(error.may_have_arrived(), arrived, "{name} {status}");
            assert_discreet(&told(&error));
            let source: &ApiError = error.source().unwrap().downcast_ref().unwrap();
            let code = Some("21211".into());
            assert_eq!(*source, ApiError::Status { status, code }, "{name}");
        }
    }
}

#[tokio::test]
async fn w13_not_even_a_code_tells_a_secret() {
    for secret in [TOKEN, CODE, KEY, "ada@example.com"] {
        let act = Act::Answer(400, talkative(&format!("\"{secret}\"")));
        for (name, sent) in everywhere(act).await {
            let error = sent.unwrap_err();
            // A mailer knows no code, and a sender no link: nothing to keep.
            let is_sms = ["twilio", "vonage"].contains(&name);
            if !(secret == TOKEN && is_sms || secret == CODE && !is_sms) {
                assert_discreet(&told(&error));
            }
        }
    }
}

/// What one mailer makes of one act.
async fn at(provider: &str, act: Act) -> SendError {
    let stand_in = Provider::start([act]).await;
    let mailers = mailers(&client(), &stand_in.base);
    let mut mailers = mailers.iter();
    let (_, mailer) = mailers.find(|(name, _)| *name == provider).unwrap();
    mailer.send(&message()).await.unwrap_err()
}

#[tokio::test]
async fn an_account_that_may_not_send_buries_no_mails() {
    for (code, transient) in [(405, true), (412, true), (300, false), (406, false)] {
        let body = format!(r#"{{"ErrorCode":{code},"Message":"ada@example.com"}}"#);
        let error = at("postmark", Act::Answer(422, body)).await;
        assert_eq!(error.is_transient(), transient, "{code}");
    }
    for (code, transient) in [
        ("ThrottlingException", true),
        ("SendingPausedException:http://internal.amazon.com/", true),
        // Said of a sender that nobody verified, too.
        ("MessageRejected", true),
        ("BadRequestException", false),
    ] {
        let head =
            format!("HTTP/1.1 400 x\r\nx-amzn-ErrorType: {code}\r\ncontent-length: 2\r\n\r\n{{}}");
        let error = at("ses", Act::Raw(head.into())).await;
        assert_eq!(error.is_transient(), transient, "{code}");
        assert!(!error.may_have_arrived());
    }
}

#[tokio::test]
async fn resend_tells_a_request_that_is_under_way_from_one_that_was_another() {
    for (name, transient, arrived) in [
        ("concurrent_idempotent_requests", true, true),
        ("invalid_idempotent_request", false, false),
    ] {
        let body = format!(r#"{{"statusCode":409,"name":"{name}"}}"#);
        let error = at("resend", Act::Answer(409, body)).await;
        assert_eq!(
            (error.is_transient(), error.may_have_arrived()),
            (transient, arrived)
        );
    }
}

#[tokio::test]
async fn nobody_listens_and_nothing_was_sent() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = client();
    let mut errors = Vec::new();
    for (_, mailer) in mailers(&client, &base) {
        errors.push(mailer.send(&message()).await.unwrap_err());
    }
    for (_, sender) in senders(&client, &base) {
        errors.push(sender.send(&sms()).await.unwrap_err());
    }
    for error in errors {
        assert!(error.is_transient() && !error.may_have_arrived());
        let source: &PostError = error.source().unwrap().downcast_ref().unwrap();
        assert!(matches!(source, PostError::NotSent(_)));
        assert_discreet(&told(&error));
    }
}

#[tokio::test]
async fn who_hangs_up_on_a_request_may_have_taken_it() {
    for (name, sent) in everywhere(Act::Raw(Vec::new())).await {
        let error = sent.unwrap_err();
        assert!(error.is_transient() && error.may_have_arrived(), "{name}");
        let source: &PostError = error.source().unwrap().downcast_ref().unwrap();
        assert!(matches!(source, PostError::NoAnswer(_)), "{name}");
        assert_discreet(&told(&error));
    }
}

#[test]
fn w13_debug_shows_no_key_and_no_request() {
    let client = client();
    let keys = credentials();
    let off = Tracking::ConfirmedOff;
    let from = TwilioSender::From("+15005550006".into());
    let post = Post::new("https://api.example.org/", TOKEN.into()).unwrap();
    let post = post.header("authorization", KEY);
    let shown = [
        format!("{client:?} {client:#?}"),
        format!("{keys:?} {keys:#?}"),
        format!("{post:?} {post:#?}"),
        format!("{:?}", Answer::new(400, TOKEN.into())),
        format!("{:?}", PostError::not_sent(TOKEN)),
        format!("{:?}", PostError::no_answer(TOKEN)),
        format!("{:?}", SendGrid::new(client.clone(), KEY.into())),
        format!("{:?}", Postmark::new(client.clone(), KEY.into())),
        format!(
            "{:?}",
            Mailgun::new(client.clone(), "mg.example.org", KEY.into())
        ),
        format!("{:?}", Resend::new(client.clone(), KEY.into(), off)),
        format!("{:?}", AmazonSes::new(client.clone(), "eu-central-1", keys)),
        format!(
            "{:?}",
            Twilio::new(client.clone(), "AC0123", KEY.into(), from)
        ),
        format!(
            "{:?}",
            Vonage::new(client, "abcd1234", KEY.into(), "Example")
        ),
    ];
    for shown in shown {
        assert_discreet(&shown);
    }
}

/// A provider that quotes what it was sent where its code stands.
struct Echo;

#[password_reset::async_trait]
impl HttpPost for Echo {
    async fn post(&self, post: &Post) -> Result<Answer, PostError> {
        let key = post.headers().find(|(name, _)| *name == "authorization");
        let key = key.unwrap().1.trim_start_matches("Basic ").to_owned();
        let key = key.trim_end_matches('=');
        let key: String = key.chars().take(64).collect();
        Ok(Answer::new(400, format!(r#"{{"code":"{key}"}}"#).into()))
    }
}

/// W13: "a provider has no reason to quote the request in the place of its code, and shall not get
/// away with it".
#[tokio::test]
async fn w13_a_key_that_the_provider_quotes_as_basic_is_not_told() {
    let mailer = Mailgun::new(Echo, "mg.example.org", common::KEY.into()).unwrap();
    let error = mailer.send(&common::message()).await.unwrap_err();
    let told = error.source().unwrap().to_string();
    assert!(!told.contains("YXBpOmtleS0wMTIz"), "{told}");
}
