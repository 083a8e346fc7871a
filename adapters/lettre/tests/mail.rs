//! What a mail says, as Python's `email` package reads it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::python::{Parsed, parse};
use common::server::{Server, Tls};
use common::{address, lease, letter, site};
use password_reset::mail::{Kind, Mailbox, Mailer, Message, Site};

/// Nothing else: no `Bcc`, no `User-Agent`.
const NAMES: [&str; 9] = [
    "Date",
    "From",
    "Reply-To",
    "To",
    "Subject",
    "Message-ID",
    "Auto-Submitted",
    "MIME-Version",
    "Content-Type",
];

/// What a server got, checked as octets, and as Python reads it.
async fn delivered(message: &Message) -> Option<Parsed> {
    let server = Server::new(Tls::None).await;
    server.local().build().unwrap().send(message).await.unwrap();
    let mails = server.mails();
    let [mail] = mails.as_slice() else {
        panic!("{} mails", mails.len());
    };
    assert!(mail.is_ascii());
    for line in mail.split_inclusive(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\r\n").unwrap();
        assert!(line.len() <= 998 && !line.contains(&b'\r'));
    }
    let parsed = parse(mail)?;
    assert!(parsed.defects.is_empty(), "{:?}", parsed.defects);
    Some(parsed)
}

fn message(site: &Site, subject: &str, text: &str, html: &str) -> Message {
    let (to, letter) = (address("ada@example.com"), letter(subject, text, html));
    Message::new(Kind::ResetLink, lease(1), site, to, letter).unwrap()
}

#[tokio::test]
async fn the_header_has_exactly_the_expected_lines() {
    let answers = Mailbox::new(address("help@app.example.org"));
    let site = site(Some("Example, Inc.")).reply_to(answers.named("Help \"Desk\"").unwrap());
    let message = message(&site, "Your password", "text", "<p>html</p>");
    let Some(parsed) = delivered(&message).await else {
        return;
    };
    assert_eq!(parsed.names(), NAMES);
    assert_eq!(parsed.header("Message-ID"), message.id());
    assert_eq!(parsed.header("Auto-Submitted"), "auto-generated");
    assert_eq!(parsed.header("MIME-Version"), "1.0");
    assert_eq!(parsed.header("Subject"), "Your password");
    let seen = |header: &str, name: &str, addr: &str| {
        let wanted = (header.to_owned(), name.to_owned(), addr.to_owned());
        assert!(parsed.addresses.contains(&wanted), "{:?}", parsed.addresses);
    };
    seen("From", "Example, Inc.", "no-reply@app.example.org");
    seen("Reply-To", "Help \"Desk\"", "help@app.example.org");
    seen("To", "", "ada@example.com");
    assert_eq!(parsed.addresses.len(), 3);
}

#[tokio::test]
async fn without_reply_to_there_is_no_such_line() {
    let Some(parsed) = delivered(&message(&site(None), "A", "b", "c")).await else {
        return;
    };
    assert!(!parsed.names().contains(&"Reply-To"));
    assert_eq!(parsed.names().len(), 8);
}

#[tokio::test]
async fn both_parts_arrive_as_they_were_written() {
    let link = format!("https://app.example.org/reset?token={}", "Ab-_9".repeat(13));
    let long = "x".repeat(5000);
    let texts = [
        "",
        "plain",
        "one\ntwo\r\nthree\n",
        ".\n..\n.leading dots\n.\r\n",
        "From the start\n>From\n",
        "spaces at the end   \ntabs\t\t\n \n",
        "=3D=\n=?utf-8?q?no_header?=\n--boundary--\n--=_\n",
        "Grüße, 你好, 🔑, \u{301}e\n",
        &link,
        &long,
        "ünï ".repeat(400).leak(),
    ];
    for text in texts {
        let html = format!("<p title=\"&quot;\">{text}</p>");
        let Some(parsed) = delivered(&message(&site(None), "A", text, &html)).await else {
            return;
        };
        let crlf = |text: &str| text.replace("\r\n", "\n").replace('\n', "\r\n");
        let part = |kind: &str, text: &str| {
            [kind, "utf-8", "quoted-printable", &crlf(text)].map(str::to_owned)
        };
        let wanted = [part("text/plain", text), part("text/html", &html)];
        assert_eq!(parsed.parts, wanted);
    }
}

#[tokio::test]
async fn w9_a_display_name_is_a_name_and_nothing_else() {
    let long = "Ä".repeat(64);
    let names = [
        "Example",
        "Example, Inc.",
        "\"Example\"",
        "A \\ B \\\" C \\",
        "<eve@evil.example.org>",
        "eve@evil.example.org",
        "Eve <eve@evil.example.org>, Ada",
        "a:b;c",
        "group: eve@evil.example.org;",
        "(comment) (",
        "%0d%0aBcc: eve@evil.example.org",
        "Bcc: eve@evil.example.org",
        "\\r\\nBcc: x",
        "Grüße",
        "Grüße, \"Ü\" <ü@example.org>",
        "日本語サービス",
        "Café 🔑 Ltd. 👩",
        "a  b   c",
        "=",
        "?=",
        "= ?utf-8?q?x?",
        "9",
        ".",
        "'",
        "\u{a0}x\u{a0}",
        "e\u{301}",
        "مرحبا",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        &long,
    ];
    for name in names {
        let sender = Mailbox::new(address("no-reply@app.example.org"));
        let sender = sender.named(name).unwrap();
        let name = sender.name().unwrap().to_owned();
        let site = site(None).reply_to(sender);
        let Some(parsed) = delivered(&message(&site, "A", "b", "c")).await else {
            return;
        };
        assert_eq!(parsed.names().len(), 9, "{name}");
        let replies = parsed
            .addresses
            .iter()
            .filter(|(header, ..)| header == "Reply-To");
        let replies: Vec<_> = replies.map(|(_, name, addr)| (&**name, &**addr)).collect();
        assert_eq!(replies, [(&*name, "no-reply@app.example.org")], "{name}");
    }
}

#[tokio::test]
async fn w9_a_subject_is_a_subject_and_nothing_else() {
    let long = "Ein Betreff, der länger ist als eine Zeile ".repeat(5);
    for subject in [
        "Your password",
        "Setze dein Passwort zurück",
        "パスワードの再設定",
        "🔑",
        "a: b, <c> \"d\"",
        "%0d%0aBcc: eve@evil.example.org",
        "Bcc: eve@evil.example.org",
        "ü \u{a0} ü",
        "a  b",
        &"a".repeat(256),
        long.trim_end(),
    ] {
        let Some(parsed) = delivered(&message(&site(None), subject, "b", "c")).await else {
            return;
        };
        assert_eq!(parsed.names().len(), 8, "{subject}");
        assert_eq!(parsed.header("Subject"), subject);
    }
}

#[tokio::test]
async fn the_line_between_the_parts_cannot_be_foreseen() {
    let message = message(&site(None), "A", "b", "c");
    let mut seen = std::collections::HashSet::new();
    for _ in 0..8 {
        let Some(parsed) = delivered(&message).await else {
            return;
        };
        // `=_` never stands in quoted-printable text: a letter cannot hold its own boundary.
        assert_eq!(parsed.boundary.len(), 34);
        assert!(parsed.boundary.starts_with("=_"));
        assert!(seen.insert(parsed.boundary));
    }
}

#[tokio::test]
async fn a_second_try_of_a_notice_is_the_same_mail() {
    let made = |kind, attempt| {
        let letter = letter("A", "b", "c");
        Message::new(
            kind,
            lease(attempt),
            &site(None),
            address("ada@example.com"),
            letter,
        )
        .unwrap()
    };
    let mut ids = Vec::new();
    for (kind, attempt) in [
        (Kind::PasswordChanged, 1),
        (Kind::PasswordChanged, 2),
        (Kind::ResetLink, 1),
        (Kind::ResetLink, 2),
    ] {
        let message = made(kind, attempt);
        let Some(parsed) = delivered(&message).await else {
            return;
        };
        assert_eq!(parsed.header("Message-ID"), message.id());
        ids.push(parsed.header("Message-ID").to_owned());
    }
    let [notice, again, link, another] = ids.as_slice() else {
        panic!("{ids:?}");
    };
    assert_eq!(notice, again);
    assert_ne!(link, another);
}

#[tokio::test]
async fn r87_a_providers_own_lines_can_be_added() {
    let server = Server::new(Tls::None).await;
    let mailer = server.local().header("X-Mailgun-Track", "no").unwrap();
    let message = message(&site(None), "A", "b", "c");
    mailer.build().unwrap().send(&message).await.unwrap();
    let Some(parsed) = parse(server.mails().first().unwrap()) else {
        return;
    };
    assert_eq!(parsed.header("X-Mailgun-Track"), "no");
    assert_eq!(parsed.names().len(), 9);
}
