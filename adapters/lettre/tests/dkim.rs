//! Signatures, as dkimpy checks them: an implementation that knows nothing of ours.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::python::{python, run};
use common::server::{Server, Tls};
use common::{address, lease, letter, message, site};
use password_reset::mail::{Kind, Mailbox, Mailer, Message};
use password_reset_lettre::{Dkim, DkimError};

const RSA: &str = include_str!("keys/rsa.pem");
const RSA_PKCS1: &str = include_str!("keys/rsa_pkcs1.pem");
const RSA_1024: &str = include_str!("keys/rsa_1024.pem");
const RSA_PUBLIC: &str = include_str!("keys/rsa.pub");
const ED25519: &str = include_str!("keys/ed25519.pem");
const ED25519_PUBLIC: &str = include_str!("keys/ed25519.pub");

const VERIFIER: &str = r#"
import sys, dkim
record = sys.argv[1].encode()
def dns(name, timeout=5):
    assert name == b'2026a._domainkey.app.example.org.', name
    return record
print(dkim.verify(sys.stdin.buffer.read(), dnsfunc=dns))
"#;

/// Whether dkimpy takes the signature; `None`, loudly, where there is no dkimpy.
fn verify(mail: &[u8], record: &str) -> Option<bool> {
    let program = python("dkim, nacl")?;
    let answer = run(&program, &["-c", VERIFIER, record], mail);
    Some(match answer.trim() {
        "True" => true,
        "False" => false,
        other => panic!("{other}"),
    })
}

fn rsa_record() -> String {
    format!("v=DKIM1; k=rsa; p={RSA_PUBLIC}")
}

fn ed25519_record() -> String {
    format!("v=DKIM1; k=ed25519; p={ED25519_PUBLIC}")
}

async fn signed(key: &str, message: &Message) -> Vec<u8> {
    let server = Server::new(Tls::None).await;
    let dkim = Dkim::new("2026a", "app.example.org", key).unwrap();
    let mailer = server.local().dkim(dkim).build().unwrap();
    mailer.send(message).await.unwrap();
    server.mails().pop().unwrap()
}

fn with_everything(text: &str) -> Message {
    let answers = Mailbox::new(address("help@app.example.org"));
    let site = site(Some("Grüße, \"Example\"")).reply_to(answers);
    let letter = letter(
        &"Ein langer Betreff für zurück ".repeat(5),
        text,
        "<p>html  </p>\n\n\n",
    );
    let to = address("ada@example.com");
    Message::new(Kind::PasswordChanged, lease(1), &site, to, letter).unwrap()
}

#[tokio::test]
async fn another_implementation_takes_the_signatures() {
    for (key, record) in [
        (RSA, rsa_record()),
        (RSA_PKCS1, rsa_record()),
        (ED25519, ed25519_record()),
    ] {
        for message in [
            message(),
            with_everything("text \t \n\n.\n..\n\n\n"),
            with_everything(""),
            with_everything(&"lång ".repeat(2000)),
        ] {
            let mail = signed(key, &message).await;
            let Some(valid) = verify(&mail, &record) else {
                return;
            };
            assert!(valid, "{}", String::from_utf8_lossy(&mail));
        }
    }
}

#[tokio::test]
async fn what_is_changed_or_added_on_the_way_breaks_the_signature() {
    let mail = String::from_utf8(signed(ED25519, &with_everything("text")).await).unwrap();
    let change = |from: &str, to: &str| {
        assert!(mail.contains(from), "{from}");
        mail.replacen(from, to, 1)
    };
    for changed in [
        change("\r\nTo: ada@", "\r\nTo: eve@"),
        change("\r\nSubject: ", "\r\nSubject: Re: "),
        change("\r\nMessage-ID: <", "\r\nMessage-ID: <a"),
        change("\r\nDate: ", "\r\nDate: x"),
        change(
            "\r\nAuto-Submitted: auto-generated",
            "\r\nAuto-Submitted: no",
        ),
        change("\r\nMIME-Version: 1.0", "\r\nMIME-Version: 2.0"),
        change("multipart/alternative", "multipart/mixed"),
        change("\r\nReply-To: help@", "\r\nReply-To: eve@"),
        change("\r\ntext\r\n", "\r\ntest\r\n"),
        change("\r\nTo: ", "\r\nFrom: eve@evil.example.org\r\nTo: "),
        change("\r\nTo: ", "\r\nSubject: eve\r\nTo: "),
        change("\r\nTo: ", "\r\nContent-Type: text/html\r\nTo: "),
    ] {
        let Some(valid) = verify(changed.as_bytes(), &ed25519_record()) else {
            return;
        };
        assert!(!valid, "{changed}");
    }
    // What a server on the way may do: fold, and add lines on top.
    let folded = change("\r\nAuto-Submitted: ", "\r\nAuto-Submitted:\r\n \t ");
    let stamped = format!("Received: from a by b\r\nX-Spam: no\r\n{folded}");
    assert_eq!(verify(stamped.as_bytes(), &ed25519_record()), Some(true));
}

#[tokio::test]
async fn a_line_that_is_not_there_cannot_be_added() {
    let mail = String::from_utf8(signed(RSA, &message()).await).unwrap();
    assert!(!mail.contains("\r\nReply-To:"));
    let added = mail.replacen("\r\nTo: ", "\r\nReply-To: eve@evil.example.org\r\nTo: ", 1);
    if let Some(valid) = verify(added.as_bytes(), &rsa_record()) {
        assert!(!valid);
    }
}

#[test]
fn weak_and_foreign_keys_are_refused_and_none_is_shown() {
    let public = format!("-----BEGIN PUBLIC KEY-----\n{RSA_PUBLIC}\n-----END PUBLIC KEY-----\n");
    for key in ["", "s3cret", RSA_1024, public.as_str()] {
        let error = Dkim::new("2026a", "app.example.org", key).unwrap_err();
        assert_eq!(error, DkimError::Key, "{key}");
    }
    let dkim = Dkim::new("2026a", "app.example.org", ED25519).unwrap();
    let shown = format!("{dkim:?}");
    assert_eq!(
        shown,
        r#"Dkim { selector: "2026a", domain: "app.example.org", .. }"#
    );
}
