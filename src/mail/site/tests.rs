//! Tests of `site`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

use std::mem::discriminant;

use secrecy::ExposeSecret;

use super::*;
use crate::random::SystemRandom;

fn mailbox() -> Mailbox {
    Mailbox::new(Address::parse("no-reply@app.example.org").unwrap())
}

fn base() -> LinkBase {
    LinkBase::parse("https://app.example.org/reset").unwrap()
}

#[test]
fn a_plain_https_page_is_taken_as_it_is() {
    for text in [
        "https://app.example.org/reset",
        "https://app.example.org/",
        "https://app.example.org:8443/a/b.c/~d_e-f/",
        "https://xn--bcher-kva.example/reset",
        "https://192.0.2.7/reset",
        "https://[2001:db8::1]:8443/reset",
    ] {
        assert_eq!(LinkBase::parse(text).unwrap().as_str(), text);
    }
}

#[test]
fn a_plain_http_base_is_refused_unless_loopback() {
    for loopback in ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "[::1]"] {
        for port in ["", ":3000"] {
            LinkBase::parse(&format!("http://{loopback}{port}/reset")).unwrap();
        }
    }
    for host in [
        "app.example.org",
        "localhost.example",
        "192.0.2.7",
        "[2001:db8::1]",
        "[::]",
    ] {
        let base = format!("http://{host}/reset");
        let refused = LinkBase::parse(&base).unwrap_err();
        assert_eq!(refused, InvalidSite::NotHttps(base.into()), "{host}");
    }
}

#[test]
fn w6_w7_every_other_shape_of_link_base_is_refused() {
    use InvalidSite::*;
    for (text, why) in [
        ("", NotHttps("".into())),
        ("app.example.org/reset", NotHttps("".into())),
        ("//app.example.org/reset", NotHttps("".into())),
        ("https:/app.example.org/reset", NotHttps("".into())),
        ("https:\\\\app.example.org/reset", NotHttps("".into())),
        (" https://app.example.org/reset", NotHttps("".into())),
        ("HTTPS://app.example.org/reset", NotHttps("".into())),
        ("ftp://app.example.org/reset", NotHttps("".into())),
        ("javascript:alert(1)//", NotHttps("".into())),
        ("https://ada@app.example.org/reset", UserInfo),
        (
            "https://app.example.org:443@evil.example.org/reset",
            UserInfo,
        ),
        ("https://app.example.org/@evil.example.org", UserInfo),
        ("https://app.example.org/reset?next=x", QueryOrFragment),
        ("https://app.example.org/#/reset", QueryOrFragment),
        ("https://app.example.org", Path("".into())),
        ("https:///reset", Host),
        ("https://:443/reset", Host),
        ("https://app..example/reset", Host),
        ("https://app.example.org./reset", Host),
        ("https://-app.example.org/reset", Host),
        ("https://app_1.example/reset", Host),
        ("https://b\u{fc}cher.example/reset", Host),
        ("https://app.example.org\\evil/reset", Host),
        ("https://app.example.org%2eevil/reset", Host),
        ("https://127.1/reset", Host),
        ("https://0x7f.0x1/reset", Host),
        ("https://2130706433/reset", Host),
        ("https://app.example.org\r\n/reset", Host),
        ("https://[::1/reset", Host),
        ("https://[::1]evil.example.org/reset", Host),
        ("https://[app.example.org]/reset", Host),
        ("https://app.example.org:/reset", Port),
        ("https://app.example.org:0/reset", Port),
        ("https://app.example.org:65536/reset", Port),
        ("https://app.example.org:+443/reset", Port),
        ("https://app.example.org:443:443/reset", Port),
        ("https://app.example.org//reset", Path("".into())),
        ("https://app.example.org/a//b", Path("".into())),
        ("https://app.example.org/../reset", Path("".into())),
        ("https://app.example.org/a/..", Path("".into())),
        ("https://app.example.org/./reset", Path("".into())),
        ("https://app.example.org/%2e%2e/reset", Path("".into())),
        ("https://app.example.org/re set", Path("".into())),
        ("https://app.example.org/reset\n", Path("".into())),
        ("https://app.example.org/reset\0", Path("".into())),
        ("https://app.example.org/a\\b", Path("".into())),
        ("https://app.example.org/\"><b>", Path("".into())),
        ("https://app.example.org/r\u{e9}set", Path("".into())),
    ] {
        let refused = LinkBase::parse(text).unwrap_err();
        assert_eq!(discriminant(&refused), discriminant(&why), "{text:?}");
    }
    let long = format!("https://app.example.org/{}", "a".repeat(500));
    assert_eq!(LinkBase::parse(&long).unwrap_err(), LinkTooLong);
}

#[test]
fn a_refused_link_base_is_shown_with_what_to_do_but_never_a_password() {
    let said = |text| LinkBase::parse(text).unwrap_err().to_string();
    assert_eq!(
        said("http://app.example.org/reset"),
        "the link base \"http://app.example.org/reset\" is not https; plain http is for a \
         loopback host, such as http://localhost:3000/reset-password"
    );
    assert_eq!(
        said("https://app.example.org"),
        "the link base \"https://app.example.org\" has no plain path; add a path such as \
         /reset-password"
    );
    for text in [
        "ftp://ada:secret@app.example.org",
        "http://ada:secret@app.example.org",
    ] {
        assert!(!said(text).contains("secret"), "{text}");
    }
}

#[test]
fn a_link_is_the_base_and_the_token_and_nothing_else() {
    let (token, _) = LinkToken::generate(&SystemRandom).unwrap();
    let link = base().link(&token);
    let expected = format!("https://app.example.org/reset?token={}", token.expose());
    assert_eq!(link.expose_secret(), expected);
    assert!(!format!("{link:?}").contains(token.expose()));
}

#[test]
fn w9_a_name_is_one_line_without_encoded_words() {
    for bad in [
        "",
        " ",
        "A\r\nBcc: x",
        "A\nB",
        "A\0B",
        "A\u{2028}B",
        "A\u{202e}B",
    ] {
        assert!(mailbox().named(bad).is_err(), "{bad:?}");
        assert!(
            Site::new(bad, base(), "help", mailbox()).is_err(),
            "{bad:?}"
        );
        assert!(Site::new("A", base(), bad, mailbox()).is_err(), "{bad:?}");
    }
    let word = "=?utf-8?q?=0d=0aBcc:_x?=";
    assert_eq!(mailbox().named(word).unwrap_err(), InvalidSite::EncodedWord);
    assert!(Site::new(word, base(), "help", mailbox()).is_err());
    assert!(mailbox().named(&"a".repeat(129)).is_err());
    let named = mailbox().named("\"Ex, ample\" <b>").unwrap();
    assert_eq!(named.name(), Some("\"Ex, ample\" <b>"));
}

#[test]
fn the_message_id_domain_is_the_senders() {
    let site = Site::new("Example", base(), "help", mailbox()).unwrap();
    assert_eq!(site.domain(), "app.example.org");
    let foreign = Mailbox::new(Address::parse("a@b\u{fc}cher.example").unwrap());
    assert_eq!(
        Site::new("Example", base(), "help", foreign).unwrap_err(),
        InvalidSite::SenderDomain
    );
}
