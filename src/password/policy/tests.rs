//! Tests of `policy`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

use super::*;

fn violations(policy: &Policy, raw: &str) -> Vec<Violation> {
    match policy.parse(raw, &Context::default()) {
        Ok(_) => Vec::new(),
        Err(refused) => refused.violations().to_vec(),
    }
}

/// Distinct characters from `first` on, in no sequence.
fn chars_from(first: u32, count: u32) -> String {
    (0..count)
        .map(|i| char::from_u32(first + i * 7 % 41).unwrap())
        .collect()
}

const SCRIPTS: [u32; 3] = ['A' as u32, '\u{4e00}' as u32, '\u{1f600}' as u32];

#[test]
fn fourteen_code_points_are_refused_fifteen_accepted() {
    // R45, in ASCII, CJK and emoji.
    for first in SCRIPTS {
        let policy = Policy::default();
        assert_eq!(
            violations(&policy, &chars_from(first, 14)),
            [Violation::TooShort { min: 15 }]
        );
        assert_eq!(violations(&policy, &chars_from(first, 15)), []);
    }
}

#[test]
fn eight_are_enough_only_with_an_enforced_second_factor() {
    // R45.
    let policy = Policy::with_second_factor_enforced();
    assert_eq!(
        violations(&policy, "x7#qLm2"),
        [Violation::TooShort { min: 8 }]
    );
    assert_eq!(violations(&policy, "x7#qLm2v"), []);
    assert_eq!(
        policy.min_chars(7).unwrap_err(),
        PolicyError::MinTooLow { floor: 8 }
    );
    for min in [7, 8, 14] {
        let refused = Policy::default().min_chars(min).unwrap_err();
        assert_eq!(refused, PolicyError::MinTooLow { floor: 15 });
    }
}

#[test]
fn sixty_four_wide_characters_fit_and_257_do_not() {
    // R46.
    assert_eq!(violations(&Policy::default(), &chars_from(0x1f600, 64)), []);
    assert_eq!(
        violations(&Policy::default(), &chars_from('A' as u32, 256)),
        []
    );
    assert_eq!(
        violations(&Policy::default(), &chars_from('A' as u32, 257)),
        [Violation::TooLong { max: 256 }]
    );
}

#[test]
fn a_maximum_that_refuses_passphrases_is_an_error() {
    // R46.
    let with_max = |max| Policy::default().max_chars(max);
    assert_eq!(
        with_max(63).unwrap_err(),
        PolicyError::MaxTooLow { floor: 64 }
    );
    assert_eq!(
        with_max(1025).unwrap_err(),
        PolicyError::MaxTooHigh { ceiling: 1024 }
    );
    assert!(with_max(64).is_ok() && with_max(1024).is_ok());
    let policy = Policy::default().min_chars(100).unwrap();
    assert_eq!(policy.max_chars(99).unwrap_err(), PolicyError::MinAboveMax);
    assert_eq!(
        Policy::default().min_chars(257).unwrap_err(),
        PolicyError::MinAboveMax
    );
}

#[test]
fn ten_mebibytes_are_refused_by_length_alone() {
    // R44, W26: combining marks, the dearest thing to normalise.
    let huge = "e\u{301}".repeat(10 * 1024 * 1024 / 3);
    let started = std::time::Instant::now();
    assert_eq!(
        violations(&Policy::default(), &huge),
        [Violation::TooManyBytes {
            max: MAX_PASSWORD_BYTES
        }]
    );
    assert!(started.elapsed() < std::time::Duration::from_millis(50));
}

#[test]
fn a_password_that_grows_past_the_bound_is_refused() {
    // W26: 400 bytes before, 1,200 after normalising.
    assert_eq!(
        violations(&Policy::default(), &"\u{1d160}".repeat(100)),
        [Violation::TooManyBytes {
            max: MAX_PASSWORD_BYTES
        }]
    );
}

#[test]
fn composition_is_nobodys_business() {
    // R47.
    for raw in [
        "all lower case words and spaces",
        "                 two words at the end",
        "\u{1f600}\u{1f680}\u{1f334}\u{1f40b}\u{1f511}\u{1f3b2}\u{1f9ca}\u{1f30a}\
         \u{1f52d}\u{1f34b}\u{1f3bb}\u{1f9f2}\u{1f6f6}\u{1f9a9}\u{1f381}",
        "ПАРОЛЬБЕЗПРАВИЛ",
        "9035768124487203",
        "~!#%^&*()_+=-[]{}|",
    ] {
        assert_eq!(violations(&Policy::default(), raw), [], "{raw}");
    }
}

#[test]
fn control_characters_are_refused() {
    // W59: a NUL ends a bcrypt password in many implementations.
    for control in ['\0', '\t', '\n', '\u{7f}', '\u{85}'] {
        let raw = format!("seven quiet owls{control}at noon");
        assert_eq!(
            violations(&Policy::default(), &raw),
            [Violation::ControlCharacter]
        );
    }
}

#[test]
fn the_hashers_limit_refuses_and_never_cuts() {
    // R48, W59: 72 bytes are fine, 73 are not, in bytes and not in characters.
    let policy = Policy::default().max_bytes_of_hasher(72);
    let tail = chars_from('A' as u32, 72);
    assert_eq!(
        policy
            .parse(&tail, &Context::default())
            .unwrap()
            .expose()
            .len(),
        72
    );
    let too_many = [Violation::TooManyBytes { max: 72 }];
    assert_eq!(violations(&policy, &format!("{tail}x")), too_many);
    assert_eq!(violations(&policy, &chars_from(0x1f600, 19)), too_many);
    assert_eq!(
        violations(&policy.max_bytes_of_hasher(None), &format!("{tail}x")),
        []
    );
}

#[test]
fn every_violation_is_told_at_once() {
    // R52.
    let policy = Policy::default()
        .context_words(["acme"])
        .max_bytes_of_hasher(8);
    assert_eq!(
        violations(&policy, "acme\tacme"),
        [
            Violation::TooShort { min: 15 },
            Violation::TooManyBytes { max: 8 },
            Violation::ControlCharacter,
            Violation::ContextWord,
        ]
    );
    assert_eq!(
        violations(&policy, "aaa"),
        [Violation::TooShort { min: 15 }, Violation::Predictable]
    );
}

#[test]
fn composed_and_decomposed_give_the_same_password() {
    // R49, W61.
    let (nfc, nfd) = (
        "r\u{e9}sum\u{e9} of seven owls",
        "re\u{301}sume\u{301} of seven owls",
    );
    let parse = |raw| Policy::default().parse(raw, &Context::default()).unwrap();
    assert_eq!(parse(nfc).expose(), parse(nfd).expose());
    assert_ne!(
        parse("\u{fb01}fteen fish swim").expose(),
        parse("fifteen fish swim").expose()
    );
}

#[test]
fn a_password_made_of_the_services_name_is_refused() {
    // R51.
    let policy = Policy::default().context_words(["Acme", "Widget Works"]);
    for raw in [
        "acme-acme-acme-1",
        "AcmeAcmeAcmeAcme",
        "4cme 4cm3 @cme 2026!!",
        "a.c.m.e.a.c.m.e.2026",
        "1234567890 acme 1234567890",
        "\u{ff41}\u{ff43}\u{ff4d}\u{ff45} acm\u{e9} acme 12",
        "widget acme works widget",
        "w1dg3t-w0rk5-2026",
        "WidgetWorksWidgetWorks",
    ] {
        assert!(
            violations(&policy, raw).contains(&Violation::ContextWord),
            "{raw}"
        );
    }
}

#[test]
fn a_passphrase_that_merely_contains_a_word_is_accepted() {
    // R51.
    let policy = Policy::default().context_words(["acme", "it"]);
    for raw in [
        "acme sells seven owls",
        "acmeacmeacmeowl",
        "my acme password",
        "it is what it is",
    ] {
        assert_eq!(violations(&policy, raw), [], "{raw}");
    }
}

#[test]
fn an_address_is_taken_apart() {
    // R51.
    let context = Context::default().word("jane.doe42@mail.acme.example.org");
    let judge = |raw| Policy::default().parse(raw, &context).is_ok();
    for raw in [
        "jane.doe42@mail.acme.example.org",
        "JANEDOE-JANEDOE-1",
        "doe42doe42doe42doe42",
        "mail.acme.example1",
        "acme-acme-acme-1",
        "J4n3 D03 @cm3 2026",
    ] {
        assert!(!judge(raw), "{raw}");
    }
    assert!(judge("example sentences are long"));
    assert!(judge("an owl named jane"));
}

#[test]
fn digits_and_leet_in_a_word_are_found_too() {
    // R51.
    let context = Context::default().word("l33tb0y").word("+1 555 0100 234");
    let judge = |raw| Policy::default().parse(raw, &context).is_ok();
    for raw in [
        "leetboy-leetboy-1",
        "L33TB0Y l33tb0y",
        "15550100234-15550100234",
    ] {
        assert!(!judge(raw), "{raw}");
    }
    assert!(judge("9035768124487203"));
}

#[test]
fn a_very_long_word_is_found_in_pieces() {
    let word: String = chars_from('a' as u32, 200).replace(|c: char| !c.is_alphabetic(), "q");
    let context = Context::default().word(&word);
    assert!(Policy::default().parse(&word, &context).is_err());
    assert!(
        Policy::default()
            .parse(&format!("{word}x"), &context)
            .is_ok()
    );
}

#[test]
fn the_context_is_bounded() {
    let mut context = Context::default().word("x".repeat(255));
    assert_eq!(context.0.count, 0);
    for i in 0..1000 {
        context = context.word(format!("a.b.c.d.e.f.word{i}@host{i}.example"));
    }
    assert_eq!(context.0.count, MAX_WORDS);
    assert!(context.0.forms.len() <= 4 * MAX_WORDS);
}

#[test]
fn the_worst_context_costs_little() {
    // R44: an attacker chooses both the address and the password.
    let mut context = Context::default();
    for i in 1..40 {
        context = context.word(format!("{}{}", "i".repeat(210), "o".repeat(i)));
    }
    let policy = Policy::default().max_chars(1024).unwrap();
    let started = std::time::Instant::now();
    assert!(policy.parse(&"1".repeat(1024), &context).is_err());
    assert!(
        started.elapsed() < std::time::Duration::from_secs(2),
        "unoptimised"
    );
}

#[test]
fn repetition_and_sequences_are_predictable() {
    for raw in [
        "aaaaaaaaaaaaaaaaa",
        "aAaAaAaAaAaAaAaA",
        "\u{1f600}\u{1f600}\u{1f600}\u{1f600}\u{1f600}\u{1f600}\u{1f600}\u{1f600}\
         \u{1f600}\u{1f600}\u{1f600}\u{1f600}\u{1f600}\u{1f600}\u{1f600}",
        "1234567890123456",
        "abcdefghijklmnopqr",
        "Zyxwvutsrqponmlkj",
    ] {
        assert_eq!(
            violations(&Policy::default(), raw),
            [Violation::Predictable],
            "{raw}"
        );
    }
    assert_eq!(violations(&Policy::default(), "aaaaaaaaaaaaaaab"), []);
}

#[test]
fn a_recheck_sees_the_accounts_own_words() {
    let policy = Policy::default();
    let password = policy
        .parse("jane doe jane doe", &Context::default())
        .unwrap();
    let context = Context::default().word("Jane Doe");
    assert_eq!(policy.recheck(&password, &Context::default()), Ok(()));
    let refused = policy.recheck(&password, &context).unwrap_err();
    assert_eq!(refused.violations(), [Violation::ContextWord]);
}

#[test]
fn nothing_printed_holds_a_password_or_a_word() {
    let policy = Policy::default().context_words(["owls"]);
    let context = Context::default().word("jane");
    let password = policy.parse("seven quiet owls", &context).unwrap();
    let refused = policy.parse("owls", &context).unwrap_err();
    let advice: String = refused
        .violations()
        .iter()
        .map(ToString::to_string)
        .collect();
    let printed = format!("{policy:?} {context:?} {password:?} {refused:?} {refused} {advice}");
    for secret in ["owls", "jane", "seven"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

#[test]
fn a_short_piece_over_and_over_is_predictable() {
    for repeated in [
        "passwordpassword",
        "PasswordpasswordPass",
        "123123123123123",
        "abcabcabcabcabcabc",
        "no no no no no no no",
    ] {
        let refused = Policy::default()
            .parse(repeated, &Context::default())
            .unwrap_err();
        assert_eq!(refused.violations(), [Violation::Predictable], "{repeated}");
    }
    // A longer piece said twice is somebody's own choice.
    let twice = "quiet harbour quiet harbour";
    assert!(Policy::default().parse(twice, &Context::default()).is_ok());
}

#[test]
fn what_people_put_beside_a_name_makes_no_password() {
    // R51: the first guesses of who attacks one service.
    let policy = Policy::default().context_words(["Acme"]);
    let context = Context::default().word("jane.doe@example.com");
    let judge = |raw: &str| policy.parse(raw, &context);
    for raw in [
        "AcmePassword2026!",
        "Welcome-Acme-1234",
        "password1234567",
        "Jane Doe Summer 2026",
        "resetPassw0rd!!",
    ] {
        let refused = judge(raw).unwrap_err();
        assert_eq!(refused.violations(), [Violation::Common], "{raw}");
    }
    for raw in [
        "my acme password",
        "jane met seven owls",
        "summer in the quiet harbour",
        "welcome to the owls",
    ] {
        assert!(judge(raw).is_ok(), "{raw}");
    }
    // It goes with the list.
    let policy = policy.clone().danger_without_blocklist();
    assert!(policy.parse("AcmePassword2026!", &context).is_ok());
}
