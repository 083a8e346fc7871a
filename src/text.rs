//! What people read: [`Texts`], in six [`Language`]s, for the letters and for the pages.
//!
//! One place for all of it, so that a letter and the page behind its link speak alike. Every text
//! can be replaced ([`Texts::set`]); markup is not here, but in the templates that use the texts.
//! The files beside this module, `src/text/en.txt` and its translations, are the list of keys.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::password::Violation;

/// A language of the built-in texts.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Language {
    /// English, also for whoever speaks none of the others.
    #[default]
    English,
    /// German.
    German,
    /// French.
    French,
    /// Spanish.
    Spanish,
    /// Portuguese.
    Portuguese,
    /// Japanese.
    Japanese,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::English,
        Self::German,
        Self::French,
        Self::Spanish,
        Self::Portuguese,
        Self::Japanese,
    ];

    /// The language of a BCP 47 tag, whatever its region or script: `de`, `de-AT`, `pt_BR`.
    ///
    /// ```
    /// use password_reset::text::Language;
    ///
    /// assert_eq!(Language::of_tag("de-AT"), Some(Language::German));
    /// assert_eq!(Language::of_tag("PT_br"), Some(Language::Portuguese));
    /// assert_eq!(Language::of_tag("tlh"), None);
    /// assert_eq!(Language::of_tag(""), None);
    /// ```
    pub fn of_tag(tag: &str) -> Option<Self> {
        let primary = tag.split(['-', '_']).next()?;
        Self::ALL
            .into_iter()
            .find(|language| language.tag().eq_ignore_ascii_case(primary))
    }

    /// The tag, for `lang` and `Content-Language`.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
            Self::French => "fr",
            Self::Spanish => "es",
            Self::Portuguese => "pt",
            Self::Japanese => "ja",
        }
    }

    /// Whether so many things are named by the `.one` text (CLDR, cardinal rules for integers).
    const fn is_one(self, count: u64) -> bool {
        match self {
            Self::English | Self::German | Self::Spanish => count == 1,
            Self::French | Self::Portuguese => count <= 1,
            Self::Japanese => false,
        }
    }
}

/// Why a text cannot be had, or cannot be replaced.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// There is no such key.
    #[error("there is no text {key:?}")]
    UnknownKey {
        /// The key.
        key: String,
    },
    /// The text names a value that its place does not have.
    #[error("the text {key:?} has no value {name:?}")]
    UnknownName {
        /// The key.
        key: String,
        /// What stands between the braces.
        name: String,
    },
    /// The text holds a control character: it may stand in a header line.
    #[error("the text {key:?} holds a control character")]
    ControlCharacter {
        /// The key.
        key: String,
    },
}

/// The texts of all languages, with the application's own in place of some.
///
/// ```
/// use password_reset::text::{Language, Texts};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let texts = Texts::default()
///     .set(Language::English, "ask.identifier", "E-mail address or user name")?
///     .set(Language::English, "link.subject", "{service}: your new password")?;
/// assert_eq!(
///     texts.fill(Language::English, "link.subject", &[("service", "Example")])?,
///     "Example: your new password",
/// );
/// // A typing mistake is found at start, and not by a reader.
/// assert!(Texts::default().set(Language::German, "link.subjekt", "…").is_err());
/// assert!(Texts::default().set(Language::German, "link.subject", "{servise}").is_err());
/// # Ok(()) }
/// ```
#[derive(Clone, Default)]
pub struct Texts {
    own: BTreeMap<(Language, &'static str), String>,
}

impl Texts {
    /// Puts another text in place of one of the built-in ones. `{name}` is filled in; the built-in
    /// text shows which names there are.
    ///
    /// # Errors
    ///
    /// - [`TextError::UnknownKey`] for a key that no text has.
    /// - [`TextError::UnknownName`] for a name in braces that the built-in text does not have.
    /// - [`TextError::ControlCharacter`] for a text that is not one line.
    pub fn set(mut self, language: Language, key: &str, text: &str) -> Result<Self, TextError> {
        let (known, built_in) = built_in(Language::English, key)?;
        if text.chars().any(crate::account::is_control) {
            return Err(TextError::ControlCharacter { key: key.into() });
        }
        let stray = pieces(text).find_map(|piece| match piece {
            Piece::Name(name) if !names(built_in).any(|known| known == name) => Some(name),
            _ => None,
        });
        if let Some(name) = stray {
            return Err(TextError::UnknownName {
                key: key.into(),
                name: name.into(),
            });
        }
        self.own.insert((language, known), text.into());
        Ok(self)
    }

    /// The text with its values filled in, once: braces inside a value stay braces.
    ///
    /// # Errors
    ///
    /// - [`TextError::UnknownKey`] for a key that no text has.
    /// - [`TextError::UnknownName`] for a name in the text that is not among the values.
    pub fn fill(
        &self,
        language: Language,
        key: &str,
        values: &[(&str, &str)],
    ) -> Result<String, TextError> {
        let text = self.raw(language, key)?;
        let mut filled = String::with_capacity(text.len() + 32);
        for piece in pieces(text) {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Name(name) => {
                    let value = values.iter().find(|(known, _)| *known == name);
                    let (_, value) = value.ok_or_else(|| TextError::UnknownName {
                        key: key.into(),
                        name: name.into(),
                    })?;
                    filled.push_str(value);
                }
            }
        }
        Ok(filled)
    }

    /// The text as it was written, with its names in braces.
    ///
    /// # Errors
    ///
    /// [`TextError::UnknownKey`] for a key that no text has.
    pub fn raw(&self, language: Language, key: &str) -> Result<&str, TextError> {
        let (key, text) = built_in(language, key)?;
        Ok(self.own.get(&(language, key)).map_or(text, String::as_str))
    }

    /// The text for so many: `key.one` or `key.other`, with `{n}` filled in.
    ///
    /// # Errors
    ///
    /// As [`Texts::fill`].
    pub fn count(&self, language: Language, key: &str, n: u64) -> Result<String, TextError> {
        let form = if language.is_one(n) { "one" } else { "other" };
        self.fill(language, &format!("{key}.{form}"), &[("n", &n.to_string())])
    }

    /// A span in words, rounded down to whole minutes, or hours where it is some, or days where it is
    /// two or more: a link never works for less than its letter says.
    ///
    /// # Errors
    ///
    /// As [`Texts::fill`].
    pub fn span(&self, language: Language, span: Duration) -> Result<String, TextError> {
        match span.as_secs() {
            0..60 => self.fill(language, "moment", &[]),
            seconds if seconds % DAY == 0 && seconds > DAY => {
                self.count(language, "days", seconds / DAY)
            }
            seconds => self.hours_or_minutes(language, seconds / 60),
        }
    }

    /// A span to wait, rounded up to whole minutes: who waits as long as told is let in. Never in
    /// days, whose words would have to change behind "in".
    ///
    /// # Errors
    ///
    /// As [`Texts::fill`].
    pub fn wait(&self, language: Language, span: Duration) -> Result<String, TextError> {
        let minutes = span.as_nanos().div_ceil(60_000_000_000).max(1);
        self.hours_or_minutes(language, u64::try_from(minutes).unwrap_or(u64::MAX))
    }

    /// A moment as people read it, in UTC.
    ///
    /// # Errors
    ///
    /// As [`Texts::fill`].
    pub fn moment(&self, language: Language, at: Timestamp) -> Result<String, TextError> {
        let at = at.to_offset_date_time();
        let day = match at.day() {
            1 => self.raw(language, "first_day")?.to_owned(),
            day => day.to_string(),
        };
        let month = usize::from(u8::from(at.month())).saturating_sub(1);
        let month = self.raw(language, "months")?.split('|').nth(month);
        self.fill(
            language,
            "date",
            &[
                ("day", &day),
                ("month", month.unwrap_or_default()),
                ("year", &at.year().to_string()),
                ("time", &format!("{:02}:{:02}", at.hour(), at.minute())),
            ],
        )
    }

    /// One broken rule of the password policy, as advice to who typed the password.
    ///
    /// # Errors
    ///
    /// As [`Texts::fill`].
    pub fn violation(
        &self,
        language: Language,
        violation: &Violation,
    ) -> Result<String, TextError> {
        let key = format!("violation.{}", violation.code());
        match violation {
            Violation::TooShort { min } => self.fill(language, &key, &[("min", &min.to_string())]),
            Violation::TooLong { max } | Violation::TooManyBytes { max } => {
                self.fill(language, &key, &[("max", &max.to_string())])
            }
            _ => self.fill(language, &key, &[]),
        }
    }

    fn hours_or_minutes(&self, language: Language, minutes: u64) -> Result<String, TextError> {
        match minutes % 60 {
            0 => self.count(language, "hours", minutes / 60),
            _ => self.count(language, "minutes", minutes),
        }
    }
}

/// In seconds.
const DAY: u64 = 86_400;

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Texts")
            .field("own", &self.own.len())
            .finish_non_exhaustive()
    }
}

/// A text, cut at its braces.
enum Piece<'a> {
    Text(&'a str),
    Name(&'a str),
}

fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let opened = rest.find('{');
        if opened == Some(0)
            && let Some((name, behind)) = rest.get(1..)?.split_once('}')
        {
            rest = behind;
            return Some(Piece::Name(name));
        }
        // Up to the next brace; a brace that is never closed is text.
        let end = match opened {
            Some(0) | None => rest.len(),
            Some(at) => at,
        };
        let (text, behind) = rest.split_at_checked(end)?;
        rest = behind;
        (!text.is_empty()).then_some(Piece::Text(text))
    })
}

fn names(text: &str) -> impl Iterator<Item = &str> {
    pieces(text).filter_map(|piece| match piece {
        Piece::Name(name) => Some(name),
        Piece::Text(_) => None,
    })
}

type Table = BTreeMap<&'static str, &'static str>;

static TABLES: LazyLock<BTreeMap<Language, Table>> = LazyLock::new(|| {
    let source = |language| match language {
        Language::English => include_str!("text/en.txt"),
        Language::German => include_str!("text/de.txt"),
        Language::French => include_str!("text/fr.txt"),
        Language::Spanish => include_str!("text/es.txt"),
        Language::Portuguese => include_str!("text/pt.txt"),
        Language::Japanese => include_str!("text/ja.txt"),
    };
    Language::ALL
        .into_iter()
        .map(|language| (language, table(source(language))))
        .collect()
});

fn table(source: &'static str) -> Table {
    let lines = source.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(" = ")).collect()
}

/// The key as it stands in the file, and its text.
fn built_in(language: Language, key: &str) -> Result<(&'static str, &'static str), TextError> {
    TABLES
        .get(&language)
        .and_then(|table| table.get_key_value(key))
        .map(|(key, text)| (*key, *text))
        .ok_or_else(|| TextError::UnknownKey { key: key.into() })
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "tests may panic"
    )]

    use super::*;

    #[test]
    fn every_language_has_every_text_with_the_same_names() {
        let english = &TABLES[&Language::English];
        assert!(english.len() > 80);
        for (language, table) in TABLES.iter() {
            let keys = |table: &Table| table.keys().copied().collect::<Vec<_>>();
            assert_eq!(keys(table), keys(english), "{language:?}");
            for (key, text) in table {
                let sorted = |text| {
                    let mut names: Vec<_> = names(text).collect();
                    names.sort_unstable();
                    names
                };
                assert_eq!(sorted(text), sorted(english[key]), "{language:?} {key}");
                assert!(!text.is_empty(), "{language:?} {key}");
                assert_eq!(text.trim(), *text, "{language:?} {key}");
                assert!(!text.contains(['<', '>', '&']), "{language:?} {key}");
            }
        }
    }

    #[test]
    fn every_line_is_a_text_a_comment_or_empty() {
        for source in [
            include_str!("text/en.txt"),
            include_str!("text/de.txt"),
            include_str!("text/fr.txt"),
            include_str!("text/es.txt"),
            include_str!("text/pt.txt"),
            include_str!("text/ja.txt"),
        ] {
            for line in source.lines() {
                let text = line.contains(" = ") || line.starts_with('#') || line.is_empty();
                assert!(text, "{line}");
            }
            let texts = source.lines().filter(|line| !line.starts_with('#'));
            let texts = texts.filter(|line| !line.is_empty()).count();
            assert_eq!(table(source).len(), texts, "a key stands twice");
        }
    }

    /// 24 hours are not a day: who reads a mail the next morning counts in hours.
    #[test]
    fn spans_are_written_as_the_language_does() {
        let texts = Texts::default();
        let seconds = [
            59, 60, 600, 3_600, 7_200, 86_400, 90_000, 172_800, 176_400, 604_800,
        ];
        for (language, written) in [
            (
                Language::English,
                "less than a minute|1 minute|10 minutes|1 hour|2 hours|24 hours|25 hours|2 days|\
                 49 hours|7 days",
            ),
            (
                Language::German,
                "weniger als eine Minute|1 Minute|10 Minuten|1 Stunde|2 Stunden|24 Stunden|\
                 25 Stunden|2 Tage|49 Stunden|7 Tage",
            ),
            (
                Language::French,
                "moins d’une minute|1 minute|10 minutes|1 heure|2 heures|24 heures|25 heures|\
                 2 jours|49 heures|7 jours",
            ),
            (
                Language::Spanish,
                "menos de un minuto|1 minuto|10 minutos|1 hora|2 horas|24 horas|25 horas|2 días|\
                 49 horas|7 días",
            ),
            (
                Language::Portuguese,
                "menos de um minuto|1 minuto|10 minutos|1 hora|2 horas|24 horas|25 horas|2 dias|\
                 49 horas|7 dias",
            ),
            (
                Language::Japanese,
                "1分未満|1分|10分|1時間|2時間|24時間|25時間|2日間|49時間|7日間",
            ),
        ] {
            let span = |&seconds| texts.span(language, Duration::from_secs(seconds)).unwrap();
            let spans: Vec<_> = seconds.iter().map(span).collect();
            assert_eq!(spans.join("|"), written);
        }
    }

    #[test]
    fn moments_are_written_as_the_language_does() {
        let texts = Texts::default();
        for (language, new_year, april, new_years_eve) in [
            (
                Language::English,
                "1 January 2026, 00:00 UTC (+00:00)",
                "23 April 2026, 09:41 UTC (+00:00)",
                "31 December 2026, 23:59 UTC (+00:00)",
            ),
            (
                Language::German,
                "1. Januar 2026, 00:00 UTC (+00:00)",
                "23. April 2026, 09:41 UTC (+00:00)",
                "31. Dezember 2026, 23:59 UTC (+00:00)",
            ),
            (
                Language::French,
                "1er janvier 2026 à 00:00 UTC (+00:00)",
                "23 avril 2026 à 09:41 UTC (+00:00)",
                "31 décembre 2026 à 23:59 UTC (+00:00)",
            ),
            (
                Language::Spanish,
                "1 de enero de 2026, 00:00 UTC (+00:00)",
                "23 de abril de 2026, 09:41 UTC (+00:00)",
                "31 de diciembre de 2026, 23:59 UTC (+00:00)",
            ),
            (
                Language::Portuguese,
                "1º de janeiro de 2026, 00:00 UTC (+00:00)",
                "23 de abril de 2026, 09:41 UTC (+00:00)",
                "31 de dezembro de 2026, 23:59 UTC (+00:00)",
            ),
            (
                Language::Japanese,
                "2026年1月1日 00:00 UTC (+00:00)",
                "2026年4月23日 09:41 UTC (+00:00)",
                "2026年12月31日 23:59 UTC (+00:00)",
            ),
        ] {
            for (seconds, written) in [
                (1_767_225_600, new_year),
                (1_776_937_260, april),
                (1_798_761_599, new_years_eve),
            ] {
                let at = Timestamp::from_unix_micros(seconds * 1_000_000);
                assert_eq!(texts.moment(language, at).unwrap(), written);
            }
            let months = texts.raw(language, "months").unwrap();
            assert_eq!(months.split('|').count(), 12);
        }
    }

    #[test]
    fn a_life_is_never_overstated_and_a_wait_never_understated() {
        let texts = Texts::default();
        for (seconds, life, wait) in [
            (0, "less than a minute", "1 minute"),
            (59, "less than a minute", "1 minute"),
            (60, "1 minute", "1 minute"),
            (61, "1 minute", "2 minutes"),
            (1_859, "30 minutes", "31 minutes"),
            (3_600, "1 hour", "1 hour"),
            (5_400, "90 minutes", "90 minutes"),
            (86_400, "24 hours", "24 hours"),
            (172_800, "2 days", "48 hours"),
        ] {
            let span = Duration::from_secs(seconds);
            assert_eq!(texts.span(Language::English, span).unwrap(), life);
            assert_eq!(texts.wait(Language::English, span).unwrap(), wait);
        }
        assert!(texts.wait(Language::French, Duration::MAX).is_ok());
    }

    #[test]
    fn plurals_follow_the_language() {
        let texts = Texts::default();
        let count = |language, n| texts.count(language, "choose.missing", n).unwrap();
        let one = |language| texts.raw(language, "choose.missing.one").unwrap();
        let zero_is_one = |language| count(language, 0) == one(language).replace("{n}", "0");
        assert!(zero_is_one(Language::French) && zero_is_one(Language::Portuguese));
        assert_eq!(count(Language::English, 0), "0 more characters");
        assert_eq!(count(Language::English, 1), "1 more character");
    }

    #[test]
    fn w10_values_are_filled_in_once() {
        let texts = Texts::default();
        let fill = |text: &str, service| {
            let texts = texts.clone().set(Language::English, "link.subject", text);
            texts?.fill(Language::English, "link.subject", &[("service", service)])
        };
        assert_eq!(
            fill("{service}!", "{service}{{7*7}}").unwrap(),
            "{service}{{7*7}}!"
        );
        assert_eq!(fill("a {b", "x"), Ok("a {b".into()));
        assert_eq!(fill("{service", "x"), Ok("{service".into()));
        assert_eq!(fill("", "x"), Ok(String::new()));
        assert!(fill("{}", "x").is_err());
        assert!(fill("a\r\nBcc: b", "x").is_err());
        assert!(texts.fill(Language::English, "link.subject", &[]).is_err());
    }

    #[test]
    fn every_violation_has_a_text_in_every_language() {
        for language in Language::ALL {
            for violation in [
                Violation::TooShort { min: 15 },
                Violation::TooLong { max: 256 },
                Violation::TooManyBytes { max: 1_024 },
                Violation::ContextWord,
                Violation::Predictable,
                Violation::ControlCharacter,
                Violation::Common,
                Violation::Guessable,
                Violation::Breached,
                Violation::Unchanged,
                Violation::Reused,
            ] {
                let text = Texts::default().violation(language, &violation).unwrap();
                assert!(!text.contains('{'), "{text}");
            }
        }
    }
}
