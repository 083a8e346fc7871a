//! What every letter keeps to: each of them, in each language, with and without what is optional.

use std::collections::BTreeSet;

use super::*;
use crate::mail::letters::wrap::{COLUMNS, columns};
use crate::mail::{Kind, Message};
use crate::queue::{JobId, Lease};

/// A letter, and how often each secret stands in its text and in its HTML.
struct Case {
    /// The same in every language.
    name: String,
    language: Language,
    kind: Kind,
    letter: Letter,
    link: [usize; 2],
    code: [usize; 2],
    cancel: [usize; 2],
}

fn every_letter(site: &Site, life: Duration) -> Vec<Case> {
    let mut cases = Vec::new();
    for language in Language::ALL {
        for cancel in [false, true] {
            cases.extend(with_secrets(site, life, language, cancel));
        }
        let letters = StandardLetters::default();
        let hint = Hint::new(site, Some(language.tag()));
        let case = |kind, letter: Result<Letter, BoxError>| Case {
            name: format!("{kind:?}"),
            language,
            kind,
            letter: letter.unwrap(),
            link: [0, 0],
            code: [0, 0],
            cancel: [0, 0],
        };
        cases.push(case(Kind::NoAccount, letters.no_account(&hint)));
        cases.push(case(Kind::UseProvider, letters.use_provider(&hint)));
    }
    cases
}

fn with_secrets(site: &Site, life: Duration, language: Language, cancel: bool) -> Vec<Case> {
    let letters = StandardLetters::default();
    let locale = Some(language.tag());
    let (link, code) = (LINK.into(), CODE.into());
    let stop = cancel.then(|| SecretString::from(CANCEL));
    let case = |kind, what: &str, letter: Result<Letter, BoxError>| Case {
        name: format!("{kind:?} {what} {cancel}"),
        language,
        kind,
        letter: letter.unwrap(),
        link: if kind == Kind::ResetLink {
            [1, 2]
        } else {
            [0, 0]
        },
        code: if kind == Kind::ResetCode {
            [1, 1]
        } else {
            [0, 0]
        },
        cancel: if cancel { [1, 1] } else { [0, 0] },
    };
    let mut cases = Vec::new();
    for occasion in [
        Occasion::Asked,
        Occasion::Operator,
        Occasion::First,
        Occasion::FirstAsked,
    ] {
        let facts = ResetLink {
            occasion,
            cancel: stop.as_ref(),
            ..ResetLink::new(site, &link, life, locale)
        };
        let what = format!("{occasion:?}");
        cases.push(case(Kind::ResetLink, &what, letters.reset_link(&facts)));
    }
    let facts = ResetCode {
        cancel: stop.as_ref(),
        ..ResetCode::new(site, &code, life, locale)
    };
    cases.push(case(Kind::ResetCode, "", letters.reset_code(&facts)));
    let device = Seen::default().device(&"Firefox ".repeat(8)).unwrap();
    let place = Seen::default().place("Saint-Étienne, France").unwrap();
    for (what, seen) in [
        ("", None),
        ("device", Some(&device)),
        ("place", Some(&place)),
        ("both", Some(&seen())),
    ] {
        let facts = PasswordChanged {
            seen,
            cancel: stop.as_ref(),
            ..PasswordChanged::new(site, NEW_YEAR, locale)
        };
        cases.push(case(
            Kind::PasswordChanged,
            what,
            letters.password_changed(&facts),
        ));
    }
    cases
}

#[test]
fn plain_text_fits_72_columns_but_for_links() {
    let long = site(&"long name ".repeat(6), &"call ".repeat(50));
    for site in [example(), long] {
        for case in every_letter(&site, HALF_HOUR) {
            let text = case.letter.text.expose_secret();
            for line in text.lines() {
                let fits = columns(line) <= COLUMNS || line == LINK || line == CANCEL;
                assert!(fits, "{}: {line}", case.name);
                assert!(!line.starts_with([' ', '、', '。']), "{line:?}");
                assert!(!line.ends_with(' '), "{line:?}");
            }
            assert!(!text.contains("\n\n\n"), "{text}");
            assert!(!text.starts_with('\n') && text.ends_with('\n'), "{text:?}");
            assert!(!text.ends_with("\n\n"), "{text:?}");
        }
    }
}

#[test]
fn letters_are_short_and_can_be_sent() {
    let site = example();
    for case in every_letter(&site, HALF_HOUR) {
        let (text, html) = (
            case.letter.text.expose_secret(),
            case.letter.html.expose_secret(),
        );
        assert!(columns(text) < 1_800, "{}: {}", case.name, columns(text));
        assert!(html.len() < 4_000, "{}: {}", case.name, html.len());
        // As a subject is shown in a list of mails.
        assert!(
            columns(&case.letter.subject) <= 60,
            "{}",
            case.letter.subject
        );
        let lease = Lease {
            job: JobId::from_bytes([7; 16]),
            attempt: 1,
        };
        let to = Address::parse("ada@example.com").unwrap();
        assert!(Message::new(case.kind, lease, &site, to, case.letter).is_ok());
    }
}

#[test]
fn r86_no_subject_holds_a_digit_or_a_link() {
    for case in every_letter(&example(), HALF_HOUR) {
        let subject = &case.letter.subject;
        assert!(!subject.contains(char::is_numeric), "{subject}");
        assert!(!subject.contains("://"), "{subject}");
        assert!(subject.contains("Example"), "{subject}");
    }
}

#[test]
fn r87_letters_load_nothing() {
    for case in every_letter(&example(), HALF_HOUR) {
        let html = case.letter.html.expose_secret();
        for loading in [
            "<img", "src=", "<link", "@import", "url(", "<script", "<iframe", "<object", "<form",
        ] {
            assert!(!html.contains(loading), "{}: {loading}", case.name);
        }
        let links = html.matches("href").count();
        assert_eq!(links, html.matches("rel=\"noreferrer\"").count());
    }
}

#[test]
fn secrets_stand_where_they_should_unchanged_and_nowhere_else() {
    for case in every_letter(&example(), HALF_HOUR) {
        hides_secrets(&case.letter);
        let parts = [
            case.letter.text.expose_secret(),
            case.letter.html.expose_secret(),
        ];
        for (at, part) in parts.into_iter().enumerate() {
            for (secret, piece, expected) in [
                (LINK, "AAAA", case.link[at]),
                (CANCEL, "BBBB", case.cancel[at]),
                ("4071 8293", "4071", case.code[at]),
            ] {
                assert_eq!(part.matches(secret).count(), expected, "{}", case.name);
                let rest = part.replace(secret, "");
                assert!(!rest.contains(piece), "{}: {rest}", case.name);
            }
            assert!(!part.contains(CODE), "{}", case.name);
        }
        let text = parts[0];
        for (line, expected) in [
            (LINK, case.link[0]),
            (CANCEL, case.cancel[0]),
            ("4071 8293", case.code[0]),
        ] {
            let alone = text.lines().filter(|l| *l == line).count();
            assert_eq!(alone, expected, "{}: {text}", case.name);
        }
    }
}

#[test]
fn no_mark_no_brace_and_no_gap_is_left() {
    for case in every_letter(&example(), HALF_HOUR) {
        let (text, html) = (
            case.letter.text.expose_secret(),
            case.letter.html.expose_secret(),
        );
        for part in [text, html, &case.letter.subject] {
            assert!(!part.contains(['{', '}']), "{}: {part}", case.name);
            let control = |c: char| c != '\n' && crate::account::is_control(c);
            assert!(!part.contains(control), "{}: {part:?}", case.name);
        }
        assert!(
            !html.contains("<p></p>") && !html.contains("\n\n"),
            "{html}"
        );
        for element in ["p", "a", "strong", "html", "head", "body", "title"] {
            let opened = html.matches(&format!("<{element}>")).count()
                + html.matches(&format!("<{element} ")).count();
            let closed = html.matches(&format!("</{element}>")).count();
            assert_eq!(opened, closed, "{}: {element}", case.name);
        }
    }
}

#[test]
fn letters_are_written_in_the_accounts_language() {
    let mut subjects = BTreeSet::new();
    let mut texts = BTreeSet::new();
    let cases = every_letter(&example(), HALF_HOUR);
    for case in &cases {
        let html = case.letter.html.expose_secret();
        let language = format!("<html lang=\"{}\">", case.language.tag());
        assert!(html.contains(&language), "{html}");
        subjects.insert(&case.letter.subject);
        texts.insert(case.letter.text.expose_secret());
    }
    // Four occasions, the code, the notice and two hints, in six languages.
    assert_eq!(subjects.len(), 8 * 6);
    assert_eq!(texts.len(), cases.len());
    assert_eq!(cases.len(), 20 * 6);
}

#[test]
fn text_and_html_say_the_same() {
    for case in every_letter(&example(), HALF_HOUR) {
        let html = case.letter.html.expose_secret();
        // A line is broken at a space, or between ideographs.
        let squeeze = |text: &str| text.replace([' ', '\n'], "");
        let html = squeeze(&html.replace("&#x27;", "'").replace("&#x2f;", "/"));
        for line in case.letter.text.expose_secret().lines() {
            // The text part alone announces the link; HTML has a button.
            let announces =
                line.ends_with([':', '：']) || line.contains("次のリンクを開いてください");
            assert!(
                announces || html.contains(&squeeze(line)),
                "{}: {line}\n{html}",
                case.name
            );
        }
    }
}

/// What each language calls half an hour, two hours and a week, and New Year.
const SAID: [(Language, [&str; 3], &str); 6] = [
    (
        Language::English,
        ["within 30 minutes", "within 2 hours", "within 7 days"],
        "1 January 2026, 00:00 UTC (+00:00)",
    ),
    (
        Language::German,
        ["30 Minuten gültig", "2 Stunden gültig", "7 Tage gültig"],
        "1. Januar 2026, 00:00 UTC (+00:00)",
    ),
    (
        Language::French,
        ["expire dans 30 minutes", "dans 2 heures", "dans 7 jours"],
        "1er janvier 2026 à 00:00 UTC (+00:00)",
    ),
    (
        Language::Spanish,
        ["caduca en 30 minutos", "en 2 horas", "en 7 días"],
        "1 de enero de 2026, 00:00 UTC (+00:00)",
    ),
    (
        Language::Portuguese,
        ["expira em 30 minutos", "em 2 horas", "em 7 dias"],
        "1º de janeiro de 2026, 00:00 UTC (+00:00)",
    ),
    (
        Language::Japanese,
        [
            "有効期間は30分です",
            "有効期間は2時間です",
            "有効期間は7日間です",
        ],
        "2026年1月1日 00:00 UTC (+00:00)",
    ),
];

#[test]
fn r86_lives_and_moments_are_written_as_the_language_does() {
    for (at, seconds) in [1_800, 7_200, 604_800].into_iter().enumerate() {
        for case in every_letter(&example(), Duration::from_secs(seconds)) {
            let said = SAID.iter().find(|said| said.0 == case.language).unwrap();
            let said = match case.kind {
                Kind::ResetLink | Kind::ResetCode => said.1[at],
                Kind::PasswordChanged => said.2,
                Kind::NoAccount | Kind::UseProvider => continue,
            };
            let html = case.letter.html.expose_secret();
            assert!(html.contains(said), "{said}: {html}");
            let text = case.letter.text.expose_secret();
            let squeeze = |text: &str| text.replace([' ', '\n'], "");
            assert!(squeeze(text).contains(&squeeze(said)), "{said}: {text}");
        }
    }
}
