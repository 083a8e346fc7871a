//! The text message with the code.

use super::*;

/// GSM 03.38, the default alphabet: one septet each.
const GSM: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡\
    ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
/// Its extension: an escape and a septet.
const GSM_EXTENSION: &str = "\u{c}^{}\\[~]|€";

/// How many messages a text is sent in: 160 septets or 70 UTF-16 units in one, 153 or 67 in each
/// of several.
fn segments(text: &str) -> usize {
    let septets = text.chars().try_fold(0, |septets, c| match c {
        c if GSM.contains(c) => Some(septets + 1),
        c if GSM_EXTENSION.contains(c) => Some(septets + 2),
        _ => None,
    });
    let (units, one, several) = match septets {
        Some(septets) => (septets, 160, 153),
        None => (text.encode_utf16().count(), 70, 67),
    };
    if units <= one {
        1
    } else {
        units.div_ceil(several)
    }
}

fn texted(site: &Site, language: Language) -> String {
    let (code, cancel) = (CODE.into(), CANCEL.into());
    let life = Duration::from_secs(600);
    let facts = ResetCode {
        cancel: Some(&cancel),
        ..ResetCode::new(site, &code, life, Some(language.tag()))
    };
    let text = StandardLetters::default().code_text(&facts).unwrap();
    hides_secrets(&text);
    text.expose_secret().to_owned()
}

fn at(base: &str) -> Site {
    let sender = Mailbox::new(Address::parse("no-reply@app.example.org").unwrap());
    let base = LinkBase::parse(base).unwrap();
    Site::new("Example", base, "help", sender).unwrap()
}

#[test]
fn a_text_message_is_one_line_and_that_for_browsers() {
    assert_eq!(
        texted(&example(), Language::English),
        "Example: 40718293 is your code, valid 10 minutes. Do not tell it to anybody.\n\
         @app.example.org #40718293"
    );
    for language in Language::ALL {
        let text = texted(&example(), language);
        let (line, last) = text.split_once('\n').unwrap();
        // WebOTP: `@`, the host, one space, `#`, the code, and nothing behind it.
        assert_eq!(last, "@app.example.org #40718293");
        assert!(line.starts_with("Example"), "{line}");
        assert_eq!(line.matches(CODE).count(), 1, "{line}");
        assert!(line.contains("10"), "{line}");
        // R16, W58: no link of any kind.
        for link in ["http", "token", "BBBB", "/"] {
            assert!(!text.contains(link), "{text}");
        }
        let rest = text.replace(CODE, "");
        assert!(
            !rest.contains(|c| crate::account::is_control(c) && c != '\n'),
            "{text:?}"
        );
        assert!(!rest.contains(['{', '}']), "{text}");
    }
}

#[test]
fn the_line_for_browsers_names_the_host_alone() {
    for (base, host) in [
        ("https://App.Example.org:8443/a/reset", "@app.example.org #"),
        ("http://localhost:3000/reset", "@localhost #"),
        ("https://192.0.2.7/reset", "@192.0.2.7 #"),
        ("https://[2001:db8::1]:8443/reset", "@[2001:db8::1] #"),
        ("https://[2001:db8::1]/reset", "@[2001:db8::1] #"),
    ] {
        let text = texted(&at(base), Language::English);
        assert_eq!(text.lines().last(), Some(&*format!("{host}{CODE}")));
    }
}

#[test]
fn a_text_message_is_sent_in_two_at_most() {
    let name = "Example Services Ltd";
    assert_eq!(name.len(), 20);
    let sender = Mailbox::new(Address::parse("no-reply@app.example.org").unwrap());
    let base = LinkBase::parse("https://accounts.services.example.org/reset").unwrap();
    let site = Site::new(name, base, "help", sender).unwrap();
    for language in Language::ALL {
        let text = texted(&site, language);
        assert!(segments(&text) <= 2, "{language:?}: {text}");
    }
    // Three languages have the characters of the small alphabet; one message is enough.
    for language in [Language::English, Language::German, Language::French] {
        assert_eq!(segments(&texted(&site, language)), 1, "{language:?}");
    }
}

#[test]
fn segments_are_counted_as_telephones_do() {
    for (text, count) in [
        ("a".repeat(160), 1),
        ("a".repeat(161), 2),
        ("€".repeat(80), 1),
        ("a".repeat(306), 2),
        ("a".repeat(307), 3),
        ("ã".repeat(70), 1),
        ("ã".repeat(71), 2),
        ("語".repeat(135), 3),
    ] {
        assert_eq!(segments(&text), count, "{text}");
    }
}
