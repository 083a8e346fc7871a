//! Tests of `letters`: what every letter keeps to, and what each of them says.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

mod every;
mod text_message;

use secrecy::ExposeSecret;

use super::*;
use crate::account::Address;
use crate::mail::{LinkBase, Mailbox};
use crate::text::{Language, Texts};

const LINK: &str = "https://app.example.org/reset?token=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const CANCEL: &str = "https://app.example.org/reset/cancel?token=BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB";
const CODE: &str = "40718293";
const HALF_HOUR: Duration = Duration::from_secs(1_800);
const NEW_YEAR: Timestamp = Timestamp::from_unix_micros(1_767_225_600_000_000);

/// What a reader gets.
struct Opened {
    subject: String,
    text: String,
    html: String,
}

impl Opened {
    /// Both parts, as running text.
    fn bodies(&self) -> [String; 2] {
        [self.text.replace('\n', " "), self.html.clone()]
    }

    fn says(&self, said: &[&str]) {
        for body in self.bodies() {
            for said in said {
                assert!(body.contains(said), "{said}: {body}");
            }
        }
    }
}

fn site(name: &str, contact: &str) -> Site {
    let sender = Mailbox::new(Address::parse("no-reply@app.example.org").unwrap());
    let base = LinkBase::parse("https://app.example.org/reset").unwrap();
    Site::new(name, base, contact, sender).unwrap()
}

fn example() -> Site {
    site("Example", "support@app.example.org")
}

fn opened(letter: Result<Letter, BoxError>) -> Opened {
    let letter = letter.unwrap();
    hides_secrets(&letter);
    Opened {
        text: letter.text.expose_secret().to_owned(),
        html: letter.html.expose_secret().to_owned(),
        subject: letter.subject,
    }
}

/// W13: nothing secret in `Debug`.
fn hides_secrets(value: &impl std::fmt::Debug) {
    let shown = format!("{value:?} {value:#?}");
    for secret in ["AAAA", "BBBB", "4071", "8293"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

fn link_letter(site: &Site, occasion: Occasion, cancel: Option<&str>) -> Opened {
    let (link, cancel) = (LINK.into(), cancel.map(SecretString::from));
    let facts = ResetLink {
        occasion,
        cancel: cancel.as_ref(),
        ..ResetLink::new(site, &link, HALF_HOUR, None)
    };
    hides_secrets(&facts);
    opened(StandardLetters::default().reset_link(&facts))
}

fn code_letter(site: &Site, cancel: Option<&str>) -> Opened {
    let (code, cancel) = (CODE.into(), cancel.map(SecretString::from));
    let facts = ResetCode {
        cancel: cancel.as_ref(),
        ..ResetCode::new(site, &code, HALF_HOUR, None)
    };
    hides_secrets(&facts);
    opened(StandardLetters::default().reset_code(&facts))
}

fn notice(site: &Site, seen: Option<&Seen>, cancel: Option<&str>) -> Opened {
    let cancel = cancel.map(SecretString::from);
    let facts = PasswordChanged {
        seen,
        cancel: cancel.as_ref(),
        ..PasswordChanged::new(site, NEW_YEAR, None)
    };
    hides_secrets(&facts);
    opened(StandardLetters::default().password_changed(&facts))
}

fn seen() -> Seen {
    let seen = Seen::default().device("Firefox on Windows").unwrap();
    seen.place("Lyon, France").unwrap()
}

#[test]
fn the_link_letter_says_what_a_person_needs_to_know() {
    let letter = link_letter(&example(), Occasion::Asked, None);
    assert_eq!(letter.subject, "Reset your Example password");
    letter.says(&[
        "Somebody asked for a new password for your Example account",
        "works once, within 30 minutes",
        "If you did not ask for this",
        "support@app.example.org",
    ]);
    assert!(letter.text.lines().any(|line| line == LINK));
    assert!(!letter.html.contains("cancel"), "{}", letter.html);
}

#[test]
fn the_operators_letter_says_who_asks_and_how_to_make_sure() {
    let letter = link_letter(&example(), Occasion::Operator, Some(CANCEL));
    assert_eq!(letter.subject, "Choose a new Example password");
    letter.says(&[
        "The operators of Example ask you to choose a new password",
        "This mail by itself changes nothing",
        "works once, within 30 minutes",
        "If you are not sure that this mail is genuine",
        "support@app.example.org",
        "If you do not want this: on this page you can cancel",
    ]);
    for body in letter.bodies() {
        assert!(!body.contains("If you did not ask"), "{body}");
        assert!(!body.contains("Somebody asked"), "{body}");
    }
}

#[test]
fn the_letter_for_a_first_password_speaks_of_no_other_one() {
    let letter = link_letter(&example(), Occasion::First, Some(CANCEL));
    assert_eq!(letter.subject, "Choose your Example password");
    letter.says(&[
        "An account was made for you at Example. It has no password yet.",
        "works once, within 30 minutes",
        "If you do not want this account",
        "support@app.example.org",
        "If you do not want this: on this page you can cancel",
    ]);
    assert!(letter.html.contains(">Choose your password</a>"));
    for body in letter.bodies() {
        for wrong in ["new password", "Somebody asked", "If you did not ask"] {
            assert!(!body.contains(wrong), "{wrong}: {body}");
        }
    }
}

#[test]
fn r86_who_has_no_password_and_is_asked_for_one_reads_that_somebody_asked() {
    let letter = link_letter(&example(), Occasion::FirstAsked, Some(CANCEL));
    assert_eq!(letter.subject, "A first password for your Example account");
    letter.says(&[
        "Somebody asked for a new password for your Example account. It has no password so far",
        "works once, within 30 minutes",
        "If you did not ask for this, you need do nothing: go on logging in as before",
        "support@app.example.org",
        "If it was not you: on this page you can cancel",
    ]);
    assert!(letter.html.contains(">Choose your password</a>"));
    for body in letter.bodies() {
        assert!(!body.contains("An account was made"), "{body}");
    }
}

#[test]
fn r86_the_code_letter_says_what_a_person_needs_to_know() {
    let letter = code_letter(&example(), Some(CANCEL));
    assert_eq!(letter.subject, "Your code for a new Example password");
    letter.says(&[
        "Somebody asked for a new password for your Example account",
        "where you asked for it, on the same device",
        "works once, within 30 minutes",
        "Never tell it to anybody who calls you or writes to you, not even to us",
        "If you did not ask for this",
        "If it was not you: on this page you can cancel all open links and codes",
        "It can never set a password",
        "support@app.example.org",
    ]);
    assert!(letter.text.lines().any(|line| line == "4071 8293"));
    assert!(letter.text.lines().any(|line| line == CANCEL));
    assert!(letter.html.contains(">4071 8293</p>"), "{}", letter.html);
    let link = format!("<a href=\"{CANCEL}\"");
    assert!(letter.html.contains(&link), "{}", letter.html);
}

#[test]
fn r72_the_notice_says_what_when_and_whom_to_contact_and_links_nowhere() {
    let letter = notice(&example(), None, None);
    assert_eq!(letter.subject, "Your Example password was changed");
    letter.says(&[
        "password of your Example account was changed, with a link or a code",
        "1 January 2026, 00:00 UTC (+00:00)",
        "If it was not you",
        "Contact: ",
        "support@app.example.org",
        "holds no link to your account",
    ]);
    for body in letter.bodies() {
        for absent in ["http", "href", "token", "<a", "Device", "Near"] {
            assert!(!body.contains(absent), "{absent}: {body}");
        }
    }
}

#[test]
fn the_notice_names_device_and_place_where_the_application_does() {
    let letter = notice(&example(), Some(&seen()), None);
    let block = "(+00:00)\nDevice: Firefox on Windows\nNear: Lyon, France\n\n";
    assert!(letter.text.contains(block), "{}", letter.text);
    letter.says(&["Device: Firefox on Windows", "Near: Lyon, France"]);
    let device = Seen::default().device("Safari on iPhone").unwrap();
    let letter = notice(&example(), Some(&device), None);
    assert!(letter.text.contains("\nDevice: Safari on iPhone\n\n"));
    assert!(!letter.text.contains("Near"));
    let place = Seen::default().place("Kyoto").unwrap();
    let letter = notice(&example(), Some(&place), None);
    assert!(letter.text.contains("(+00:00)\nNear: Kyoto\n\n"));
    assert!(!letter.text.contains("Device"));
}

#[test]
fn r72_the_notices_one_link_can_cancel_and_the_notice_says_so() {
    let letter = notice(&example(), None, Some(CANCEL));
    letter.says(&[
        "cancel all open links and codes, stop requests for new ones for a while, and alarm",
        "the link in this mail can only cancel. It cannot set a password",
    ]);
    assert_eq!(letter.html.matches("href").count(), 1);
    for body in letter.bodies() {
        assert!(!body.contains("holds no link"), "{body}");
    }
}

#[test]
fn hints_hold_no_link_and_say_what_to_do() {
    let letters = StandardLetters::default();
    let site = example();
    let hint = Hint::new(&site, None);
    let stranger = opened(letters.no_account(&hint));
    assert_eq!(stranger.subject, "No Example account with this address");
    stranger.says(&[
        "Somebody asked for a new password at Example with this address",
        "There is no account with it here",
        "perhaps you used another address",
        "If it was not you, you need do nothing",
    ]);
    let provider = opened(letters.use_provider(&hint));
    assert_eq!(provider.subject, "How to log in to Example");
    provider.says(&[
        "logs in through another provider; it has no password here",
        "If you did not ask for this, you need do nothing",
    ]);
    for letter in [stranger, provider] {
        letter.says(&["Contact: support@app.example.org"]);
        for body in letter.bodies() {
            for link in ["http", "href", "token", "<a"] {
                assert!(!body.contains(link), "{link}: {body}");
            }
        }
    }
}

#[test]
fn w10_markup_in_configuration_and_in_what_was_seen_stays_text() {
    let name = "<b>{{7*7}}</b> & {% raw %}";
    let site = site(name, "<i>'\"{{ link }}");
    let seen = Seen::default().device("\"{{7*7}}\" & 'x'").unwrap();
    let hint = Hint::new(&site, None);
    let letters = StandardLetters::default();
    for letter in [
        link_letter(&site, Occasion::Asked, Some(CANCEL)),
        link_letter(&site, Occasion::Operator, None),
        link_letter(&site, Occasion::First, None),
        link_letter(&site, Occasion::FirstAsked, None),
        code_letter(&site, Some(CANCEL)),
        notice(&site, Some(&seen), Some(CANCEL)),
        opened(letters.no_account(&hint)),
        opened(letters.use_provider(&hint)),
    ] {
        assert!(letter.subject.contains(name));
        let [text, html] = letter.bodies();
        assert!(text.contains(name), "{text}");
        assert!(text.contains("<i>'\"{{ link }}"), "{text}");
        assert!(html.contains("&lt;b&gt;{{7*7}}&lt;"), "{html}");
        assert!(html.contains("{{ link }}"), "{html}");
        assert!(!html.contains("<b>") && !html.contains("<i>"), "{html}");
        assert!(!html.contains("49"), "{html}");
    }
    let html = notice(&site, Some(&seen), None).html;
    assert!(
        html.contains("&quot;{{7*7}}&quot; &amp; &#x27;x&#x27;"),
        "{html}"
    );
}

#[test]
fn w10_secrets_are_escaped_where_they_are_attributes() {
    let site = example();
    let odd = |path: &str| SecretString::from(format!("https://a/{path}?a=1&b=\"><script>'"));
    let (link, cancel) = (odd("link"), odd("cancel"));
    let facts = ResetLink {
        cancel: Some(&cancel),
        ..ResetLink::new(&site, &link, HALF_HOUR, None)
    };
    let letter = opened(StandardLetters::default().reset_link(&facts));
    for path in ["link", "cancel"] {
        let plain = format!("https://a/{path}?a=1&b=\"><script>'");
        assert!(letter.text.lines().any(|line| line == plain));
        let escaped = format!("href=\"https://a/{path}?a=1&amp;b=&quot;&gt;&lt;script&gt;&#x27;\"");
        assert!(letter.html.contains(&escaped), "{}", letter.html);
    }
    assert!(!letter.html.contains("<script>"));
}

#[test]
fn a_language_that_there_is_not_is_that_of_the_letters() {
    let site = example();
    let hint = Hint::new(&site, Some("tlh"));
    let letter = opened(StandardLetters::default().no_account(&hint));
    assert_eq!(letter.subject, "No Example account with this address");
    let letters = StandardLetters::default().language(Language::German);
    assert!(opened(letters.no_account(&hint)).subject.contains("Konto"));
}

#[test]
fn own_texts_take_the_place_of_the_built_in_ones() {
    let site = example();
    let texts = Texts::default();
    let texts = texts.set(Language::English, "first.subject", "Welcome to {service}");
    let letters = StandardLetters::new(texts.unwrap());
    let link = LINK.into();
    let facts = ResetLink {
        occasion: Occasion::First,
        ..ResetLink::new(&site, &link, HALF_HOUR, None)
    };
    let letter = opened(letters.reset_link(&facts));
    assert_eq!(letter.subject, "Welcome to Example");
    assert!(letter.html.contains("<title>Welcome to Example</title>"));
}
