//! What each provider gets, to the byte: through the real client, on a real socket.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::sync::Arc;

use common::{
    ID, KEY, Provider, SUBJECT, Seen, answer, answerable, client, credentials, html, letter,
    mailbox, message, site, text,
};
use hmac::{Hmac, KeyInit, Mac};
use password_reset::error::BoxError;
use password_reset::mail::{Kind, Mailer, Message};
use password_reset::testing::ManualClock;
use password_reset_http::{
    AmazonSes, ApiError, AwsCredentialSource, AwsCredentials, Mailgun, Postmark, Resend, SendGrid,
    Tracking,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const OFF: Tracking = Tracking::ConfirmedOff;

/// Sends one message, and answers what came over the wire.
async fn sent(
    message: &Message,
    status: u16,
    make: impl FnOnce(&str) -> Box<dyn Mailer>,
) -> (Provider, Seen) {
    let provider = Provider::start([answer(status)]).await;
    make(&provider.base).send(message).await.unwrap();
    let seen = provider.only();
    (provider, seen)
}

fn sendgrid(base: &str) -> Box<dyn Mailer> {
    let mailer = SendGrid::new(client(), KEY.into()).unwrap();
    Box::new(mailer.base_url(base).unwrap())
}

fn postmark(base: &str) -> Box<dyn Mailer> {
    let mailer = Postmark::new(client(), KEY.into()).unwrap();
    Box::new(mailer.base_url(base).unwrap())
}

fn mailgun(base: &str) -> Box<dyn Mailer> {
    let mailer = Mailgun::new(client(), "mg.example.org", KEY.into()).unwrap();
    Box::new(mailer.base_url(base).unwrap())
}

fn resend(base: &str) -> Box<dyn Mailer> {
    let mailer = Resend::new(client(), KEY.into(), OFF).unwrap();
    Box::new(mailer.base_url(base).unwrap())
}

fn ses(base: &str) -> Box<dyn Mailer> {
    let mailer = AmazonSes::new(client(), "eu-central-1", credentials()).unwrap();
    let mailer = mailer.clock(ManualClock::default());
    Box::new(mailer.base_url(base).unwrap())
}

fn sendgrid_body() -> Value {
    json!({
        "personalizations": [{"to": [{"email": "ada@example.com"}]}],
        "from": {"email": "no-reply@app.example.org", "name": "Example, Inc."},
        "subject": SUBJECT,
        "content": [
            {"type": "text/plain", "value": text()},
            {"type": "text/html", "value": html()},
        ],
        "headers": {"Auto-Submitted": "auto-generated", "Message-ID": ID},
        "tracking_settings": {
            "click_tracking": {"enable": false, "enable_text": false},
            "open_tracking": {"enable": false},
            "subscription_tracking": {"enable": false},
            "ganalytics": {"enable": false},
        },
    })
}

#[tokio::test]
async fn w1_r87_r88_sendgrid_gets_exactly_this() {
    let (provider, seen) = sent(&message(), 202, sendgrid).await;
    assert_eq!(seen.line, "POST /v3/mail/send HTTP/1.1");
    let key = format!("Bearer {KEY}");
    seen.assert_headers(&provider, JSON, &[("authorization", &key)]);
    assert_eq!(seen.json(), sendgrid_body());

    let (_, seen) = sent(&answerable(), 202, sendgrid).await;
    let mut body = sendgrid_body();
    body["reply_to"] = json!({"email": "help@app.example.org", "name": "H\u{e9}l\u{e8}ne"});
    assert_eq!(seen.json(), body);
}

fn postmark_body() -> Value {
    json!({
        "From": "\"Example, Inc.\" <no-reply@app.example.org>",
        "To": "ada@example.com",
        "Subject": SUBJECT,
        "TextBody": text(),
        "HtmlBody": html(),
        "Headers": [
            {"Name": "Auto-Submitted", "Value": "auto-generated"},
            {"Name": "Message-ID", "Value": ID},
            {"Name": "X-PM-KeepID", "Value": "true"},
        ],
        "TrackOpens": false,
        "TrackLinks": "None",
        "MessageStream": "outbound",
    })
}

#[tokio::test]
async fn w1_r87_r88_postmark_gets_exactly_this() {
    let (provider, seen) = sent(&message(), 200, postmark).await;
    assert_eq!(seen.line, "POST /email HTTP/1.1");
    seen.assert_headers(&provider, JSON, &[("x-postmark-server-token", KEY)]);
    assert_eq!(seen.json(), postmark_body());

    let stream = |base: &str| -> Box<dyn Mailer> {
        let mailer = Postmark::new(client(), KEY.into()).unwrap();
        Box::new(mailer.stream("reset").unwrap().base_url(base).unwrap())
    };
    let (_, seen) = sent(&answerable(), 200, stream).await;
    let mut body = postmark_body();
    body["ReplyTo"] = json!("=?UTF-8?B?SMOpbMOobmU=?= <help@app.example.org>");
    body["MessageStream"] = json!("reset");
    assert_eq!(seen.json(), body);
}

fn mailgun_body() -> Vec<(String, String)> {
    let (text, html) = (text(), html());
    let fields = [
        ("from", "\"Example, Inc.\" <no-reply@app.example.org>"),
        ("h:Auto-Submitted", "auto-generated"),
        ("h:Message-Id", ID),
        ("html", &html),
        ("o:tracking", "no"),
        ("o:tracking-clicks", "no"),
        ("o:tracking-opens", "no"),
        ("subject", SUBJECT),
        ("text", &text),
        ("to", "ada@example.com"),
    ];
    fields
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

#[tokio::test]
async fn w1_r87_r88_mailgun_gets_exactly_this() {
    let (provider, seen) = sent(&message(), 200, mailgun).await;
    assert_eq!(seen.line, "POST /v3/mg.example.org/messages HTTP/1.1");
    // `api:key-0123456789abcdef`
    let key = "Basic YXBpOmtleS0wMTIzNDU2Nzg5YWJjZGVm";
    seen.assert_headers(&provider, FORM, &[("authorization", key)]);
    assert_eq!(seen.form(), mailgun_body());

    let (_, seen) = sent(&answerable(), 200, mailgun).await;
    let mut body = mailgun_body();
    let reply_to = "=?UTF-8?B?SMOpbMOobmU=?= <help@app.example.org>";
    body.push(("h:Reply-To".into(), reply_to.into()));
    body.sort();
    assert_eq!(seen.form(), body);
}

fn resend_body() -> Value {
    json!({
        "from": "Example Inc. <no-reply@app.example.org>",
        "to": ["ada@example.com"],
        "subject": SUBJECT,
        "text": text(),
        "html": html(),
        "headers": {"Auto-Submitted": "auto-generated"},
    })
}

#[tokio::test]
async fn w1_r88_resend_gets_exactly_this() {
    let (provider, seen) = sent(&message(), 200, resend).await;
    assert_eq!(seen.line, "POST /emails HTTP/1.1");
    let key = format!("Bearer {KEY}");
    let own = [("authorization", key.as_str()), ("idempotency-key", ID)];
    seen.assert_headers(&provider, JSON, &own);
    assert_eq!(seen.json(), resend_body());

    let (_, seen) = sent(&answerable(), 200, resend).await;
    let mut body = resend_body();
    body["reply_to"] = json!(["H\u{e9}l\u{e8}ne <help@app.example.org>"]);
    assert_eq!(seen.json(), body);
}

fn ses_body() -> Value {
    json!({
        "FromEmailAddress": "\"Example, Inc.\" <no-reply@app.example.org>",
        "Destination": {"ToAddresses": ["ada@example.com"]},
        "Content": {"Simple": {
            "Subject": {"Data": SUBJECT, "Charset": "UTF-8"},
            "Body": {
                "Text": {"Data": text(), "Charset": "UTF-8"},
                "Html": {"Data": html(), "Charset": "UTF-8"},
            },
            "Headers": [{"Name": "Auto-Submitted", "Value": "auto-generated"}],
        }},
        "ConfigurationOverrides": {"Tracking": {
            "ClickTrackingEnabled": "DISABLED",
            "OpenTrackingEnabled": "DISABLED",
        }},
    })
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Checks the signature as Amazon would: over the request that came.
fn signature(seen: &Seen, signed: &str) -> String {
    let (path, at) = ("/v2/email/outbound-emails", "20260101T000000Z");
    let scope = "20260101/eu-central-1/ses/aws4_request";
    let headers = signed
        .split(';')
        .map(|name| format!("{name}:{}\n", seen.headers[name]));
    let headers: String = headers.collect();
    let body = hex(&Sha256::digest(&seen.body));
    let request = format!("POST\n{path}\n\n{headers}\n{signed}\n{body}");
    let request = hex(&Sha256::digest(request.as_bytes()));
    let mut key = format!("AWS4{KEY}").into_bytes();
    for part in scope.split('/') {
        key = mac(&key, part);
    }
    let signature = hex(&mac(
        &key,
        &format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{request}"),
    ));
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{scope}, SignedHeaders={signed}, \
         Signature={signature}"
    );
    assert_eq!(seen.headers["authorization"], authorization);
    authorization
}

#[tokio::test]
async fn w1_r87_r88_amazon_ses_gets_exactly_this() {
    let (provider, seen) = sent(&message(), 200, ses).await;
    assert_eq!(seen.line, "POST /v2/email/outbound-emails HTTP/1.1");
    let key = signature(&seen, "content-type;host;x-amz-date");
    let own = [("authorization", &*key), ("x-amz-date", "20260101T000000Z")];
    seen.assert_headers(&provider, JSON, &own);
    assert_eq!(seen.json(), ses_body());

    let full = |base: &str| -> Box<dyn Mailer> {
        let mailer = AmazonSes::new(client(), "eu-central-1", credentials()).unwrap();
        let mailer = mailer.configuration_set("reset").unwrap();
        Box::new(mailer.base_url(base).unwrap())
    };
    let (_, seen) = sent(&answerable(), 200, full).await;
    let mut body = ses_body();
    body["ReplyToAddresses"] = json!(["=?UTF-8?B?SMOpbMOobmU=?= <help@app.example.org>"]);
    body["ConfigurationSetName"] = json!("reset");
    assert_eq!(seen.json(), body);
}

/// The keys of a role, and the token of its session.
struct Role;

#[password_reset::async_trait]
impl AwsCredentialSource for Role {
    async fn credentials(&self) -> Result<Arc<AwsCredentials>, BoxError> {
        let keys = AwsCredentials::new("AKIDEXAMPLE".into(), KEY.into())?;
        Ok(Arc::new(keys.session_token("session-token".into())?))
    }
}

struct NoRole;

#[password_reset::async_trait]
impl AwsCredentialSource for NoRole {
    async fn credentials(&self) -> Result<Arc<AwsCredentials>, BoxError> {
        Err(format!("{KEY} was refused").into())
    }
}

#[tokio::test]
async fn a_roles_session_token_is_sent_and_signed() {
    let role = |base: &str| -> Box<dyn Mailer> {
        let mailer = AmazonSes::with_source(client(), "eu-central-1", Role).unwrap();
        let mailer = mailer.clock(ManualClock::default());
        Box::new(mailer.base_url(base).unwrap())
    };
    let (provider, seen) = sent(&message(), 200, role).await;
    let key = signature(&seen, "content-type;host;x-amz-date;x-amz-security-token");
    let own = [
        ("authorization", &*key),
        ("x-amz-date", "20260101T000000Z"),
        ("x-amz-security-token", "session-token"),
    ];
    seen.assert_headers(&provider, JSON, &own);

    let mailer = AmazonSes::with_source(client(), "eu-central-1", NoRole).unwrap();
    let error = mailer.send(&message()).await.unwrap_err();
    assert!(error.is_transient() && !error.may_have_arrived());
    common::assert_discreet(&common::told(&error));
}

#[tokio::test]
async fn r87_without_a_word_about_tracking_no_link_is_sent() {
    let provider = Provider::start([answer(200)]).await;
    let unconfirmed = Tracking::Unconfirmed;
    let resend = Resend::new(client(), KEY.into(), unconfirmed).unwrap();
    let resend = resend.base_url(&provider.base).unwrap();
    let site = site(mailbox("Example"));
    for kind in [Kind::ResetLink, Kind::ResetCode, Kind::PasswordChanged] {
        let error = resend.send(&letter(kind, &site)).await.unwrap_err();
        assert!(!error.is_transient());
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(source.downcast_ref(), Some(&ApiError::Tracking));
    }
    assert!(provider.seen().is_empty());
    // What holds no link may go.
    resend.send(&letter(Kind::NoAccount, &site)).await.unwrap();
    assert_eq!(provider.seen().len(), 1);
}

#[tokio::test]
async fn w9_a_name_stays_one_name_of_one_sender() {
    let name = "A\" <eve@evil.example.org>, \"B \\ \u{1f511}";
    let message = letter(Kind::ResetLink, &site(mailbox(name)));
    let encoded = "=?UTF-8?B?QSIgPGV2ZUBldmlsLmV4YW1wbGUub3JnPiwgIkIgXCDwn5SR?= \
                   <no-reply@app.example.org>";
    let (_, seen) = sent(&message, 202, sendgrid).await;
    let from = json!({"email": "no-reply@app.example.org", "name": name});
    assert_eq!(seen.json()["from"], from);
    let (_, seen) = sent(&message, 200, postmark).await;
    assert_eq!(seen.json()["From"], encoded);
    let (_, seen) = sent(&message, 200, mailgun).await;
    let from = ("from".to_owned(), encoded.to_owned());
    assert!(seen.form().contains(&from), "{:?}", seen.form());
    let (_, seen) = sent(&message, 200, resend).await;
    let bare = "A eve evil.example.org B \u{1f511} <no-reply@app.example.org>";
    assert_eq!(seen.json()["from"], bare);
    let (_, seen) = sent(&message, 200, ses).await;
    assert_eq!(seen.json()["FromEmailAddress"], encoded);
}

#[tokio::test]
async fn a_retried_notice_is_the_same_mail_and_a_retried_link_another() {
    let provider = Provider::start([answer(200)]).await;
    let mailer = resend(&provider.base);
    let site = site(mailbox("Example"));
    mailer
        .send(&letter(Kind::PasswordChanged, &site))
        .await
        .unwrap();
    mailer
        .send(&letter(Kind::PasswordChanged, &site))
        .await
        .unwrap();
    mailer.send(&letter(Kind::ResetLink, &site)).await.unwrap();
    let keys: Vec<_> = provider
        .seen()
        .iter()
        .map(|seen| seen.headers["idempotency-key"].clone())
        .collect();
    assert_eq!(
        keys[0],
        "<07070707070707070707070707070707@app.example.org>"
    );
    assert_eq!(keys[0], keys[1]);
    assert_eq!(keys[2], ID);
}
