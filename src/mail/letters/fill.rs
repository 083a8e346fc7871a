//! How secrets come into a letter: behind the template engine, at their [`Mark`]s.

use secrecy::SecretString;
use zeroize::Zeroizing;

/// Stands in for a secret while a template is rendered: the engine copies its values into buffers
/// that nobody wipes, so no secret ever enters it. The marks are control characters, which neither
/// a [`Site`](crate::mail::Site), nor a text, nor what was [`Seen`](crate::account::Seen) can hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mark {
    Link,
    Code,
    Cancel,
}

impl Mark {
    #[cfg(test)]
    pub(super) const ALL: [Self; 3] = [Self::Link, Self::Code, Self::Cancel];

    /// What templates call it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Code => "code",
            Self::Cancel => "cancel",
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Link => "\u{1}",
            Self::Code => "\u{2}",
            Self::Cancel => "\u{3}",
        }
    }

    fn is(self, c: char) -> bool {
        self.as_str().starts_with(c)
    }
}

/// Puts the secrets where their marks are, in one allocation of the right size: a string that grows
/// leaves copies behind, unwiped.
pub(super) fn fill<S: AsRef<str>>(rendered: &str, secrets: &[(Mark, S)]) -> SecretString {
    let secret_of = |c| secrets.iter().find(|(mark, _)| mark.is(c));
    let length_of = |c: char| secret_of(c).map_or(c.len_utf8(), |(_, s)| s.as_ref().len());
    let room = rendered.chars().map(length_of).sum();
    let mut letter = Zeroizing::new(String::with_capacity(room));
    for c in rendered.chars() {
        match secret_of(c) {
            Some((_, secret)) => letter.push_str(secret.as_ref()),
            None => letter.push(c),
        }
    }
    SecretString::from(letter.as_str())
}

/// As [`fill`], into HTML: the secrets are escaped.
pub(super) fn fill_html(rendered: &str, secrets: &[(Mark, &str)]) -> SecretString {
    let escaped: Vec<_> = secrets
        .iter()
        .map(|(mark, secret)| (*mark, Escaped::new(secret)))
        .collect();
    fill(rendered, &escaped)
}

/// A secret for a quoted attribute and for text. A [`LinkBase`](crate::mail::LinkBase) has nothing
/// to escape; a link from elsewhere might.
struct Escaped(Zeroizing<String>);

impl Escaped {
    fn new(secret: &str) -> Self {
        // No entity is longer than six characters, so this never grows.
        let mut escaped = Zeroizing::new(String::with_capacity(secret.len() * 6));
        for c in secret.chars() {
            match c {
                '&' => escaped.push_str("&amp;"),
                '<' => escaped.push_str("&lt;"),
                '>' => escaped.push_str("&gt;"),
                '"' => escaped.push_str("&quot;"),
                '\'' => escaped.push_str("&#x27;"),
                c => escaped.push(c),
            }
        }
        Self(escaped)
    }
}

impl AsRef<str> for Escaped {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// The code in groups of at most four that differ by one digit at most: `1234 5678`, `123 456`. What
/// is typed may hold the spaces.
pub(super) fn grouped(code: &str) -> Zeroizing<String> {
    let length = code.chars().count();
    let groups = length.div_ceil(4).max(1);
    let mut grouped = Zeroizing::new(String::with_capacity(code.len() + groups));
    let mut group = 0;
    for (index, digit) in code.chars().enumerate() {
        // The first digit of group `g` is that at `g * length / groups`.
        if index > 0 && index == (group + 1) * length / groups {
            grouped.push(' ');
            group += 1;
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn every_mark_gives_way_to_its_own_secret() {
        let secrets = [
            (Mark::Link, "<l&>"),
            (Mark::Code, "12\u{1}34"),
            (Mark::Cancel, ""),
        ];
        let rendered = "a\u{1}b\u{2}\u{3}\u{1}é\u{4}";
        let filled = fill(rendered, &secrets);
        assert_eq!(filled.expose_secret(), "a<l&>b12\u{1}34<l&>é\u{4}");
        let filled = fill_html(rendered, &secrets);
        assert_eq!(
            filled.expose_secret(),
            "a&lt;l&amp;&gt;b12\u{1}34&lt;l&amp;&gt;é\u{4}"
        );
        assert_eq!(fill::<&str>("a\u{1}", &[]).expose_secret(), "a\u{1}");
    }

    #[test]
    fn marks_are_all_different_and_none_can_be_configured() {
        for mark in Mark::ALL {
            assert_eq!(
                Mark::ALL
                    .iter()
                    .filter(|m| m.as_str() == mark.as_str())
                    .count(),
                1
            );
            assert_eq!(
                Mark::ALL.iter().filter(|m| m.name() == mark.name()).count(),
                1
            );
            assert!(mark.as_str().chars().all(crate::account::is_control));
        }
    }

    #[test]
    fn r86_a_code_is_grouped_for_reading() {
        for (code, shown) in [
            ("12345678", "1234 5678"),
            ("123456", "123 456"),
            ("1234567", "123 4567"),
            ("123456789", "123 456 789"),
            ("1234567890", "123 456 7890"),
            ("12345678901", "123 4567 8901"),
            ("123456789012", "1234 5678 9012"),
            ("1234", "1234"),
            ("", ""),
        ] {
            assert_eq!(*grouped(code), shown);
            assert_eq!(grouped(code).replace(' ', ""), code);
        }
    }
}
