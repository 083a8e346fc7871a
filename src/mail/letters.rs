//! What the mails say: [`Templates`], and the built-in [`EnglishLetters`].

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use minijinja::{Environment, UndefinedBehavior, context};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::clock::Timestamp;
use crate::error::BoxError;
use crate::mail::Site;

/// A letter without its envelope.
#[derive(Debug)]
pub struct Letter {
    /// One line; it shows on lock screens, so no link and no code (R86).
    pub subject: String,
    /// The plain text part.
    pub text: SecretString,
    /// The HTML part.
    pub html: SecretString,
}

/// What the letter with the link may say.
///
/// There is no field for a name, a message or anything else that whoever asked could fill in (R85).
/// `Debug` does not show the link.
#[derive(Debug)]
#[non_exhaustive]
pub struct ResetLink<'a> {
    /// The service.
    pub site: &'a Site,
    /// The link. As secret as its token.
    pub link: &'a SecretString,
    /// How long the link works, counted from now.
    pub valid_for: Duration,
    /// The account's language, as a BCP 47 tag.
    pub locale: Option<&'a str>,
}

impl<'a> ResetLink<'a> {
    /// The facts of one letter. For the flow, and for the tests of templates.
    pub fn new(
        site: &'a Site,
        link: &'a SecretString,
        valid_for: Duration,
        locale: Option<&'a str>,
    ) -> Self {
        Self {
            site,
            link,
            valid_for,
            locale,
        }
    }
}

/// What the notice of a changed password may say.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PasswordChanged<'a> {
    /// The service.
    pub site: &'a Site,
    /// When it was changed.
    pub at: Timestamp,
    /// The account's language, as a BCP 47 tag.
    pub locale: Option<&'a str>,
}

impl<'a> PasswordChanged<'a> {
    /// The facts of one notice. For the flow, and for the tests of templates.
    pub fn new(site: &'a Site, at: Timestamp, locale: Option<&'a str>) -> Self {
        Self { site, at, locale }
    }
}

/// Writes the letters.
///
/// # Contract
///
/// - The link's letter MUST say how long the link works, that it works once, and what to do when
///   one did not ask for it (R86).
/// - The notice MUST say what happened, when, and whom to contact if it was not you, and MUST NOT
///   hold a link that changes the account (R72). Otherwise the notice is itself worth stealing.
/// - Every value MUST be escaped for where it stands, and a template MUST NOT be built from values
///   (R85, W10).
/// - MUST NOT load anything from elsewhere: no images, no pixels, no style sheets (R87).
pub trait Templates: Send + Sync + 'static {
    /// The letter with the link.
    ///
    /// # Errors
    ///
    /// Any error when the letter cannot be written. It must not hold the link.
    fn reset_link(&self, letter: &ResetLink<'_>) -> Result<Letter, BoxError>;

    /// The notice that the password was changed.
    ///
    /// # Errors
    ///
    /// Any error when the letter cannot be written.
    fn password_changed(&self, letter: &PasswordChanged<'_>) -> Result<Letter, BoxError>;
}

macro_rules! forward {
    ($($pointer:ident),+) => { $(
        impl<T: Templates + ?Sized> Templates for $pointer<T> {
            fn reset_link(&self, letter: &ResetLink<'_>) -> Result<Letter, BoxError> {
                (**self).reset_link(letter)
            }
            fn password_changed(&self, letter: &PasswordChanged<'_>) -> Result<Letter, BoxError> {
                (**self).password_changed(letter)
            }
        }
    )+ };
}
forward!(Arc, Box);

/// The built-in letters: plain English, text first, no images, nothing loaded from elsewhere.
///
/// ```
/// use std::time::Duration;
/// use password_reset::account::Address;
/// use password_reset::mail::{EnglishLetters, LinkBase, Mailbox, ResetLink, Site, Templates};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// # let site = Site::new("Example", LinkBase::parse("https://app.example.org/reset")?,
/// #     "support@app.example.org", Mailbox::new(Address::parse("no-reply@app.example.org")?))?;
/// let link = "https://app.example.org/reset?token=…".into();
/// let facts = ResetLink::new(&site, &link, Duration::from_secs(1_800), None);
/// let letter = EnglishLetters.reset_link(&facts)?;
/// assert_eq!(letter.subject, "Reset your Example password");
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct EnglishLetters;

impl Templates for EnglishLetters {
    fn reset_link(&self, letter: &ResetLink<'_>) -> Result<Letter, BoxError> {
        let site = letter.site;
        let subject = format!("Reset your {} password", site.service_name());
        let values = context! {
            subject => subject.as_str(),
            service => site.service_name(),
            contact => site.support_contact(),
            life => in_words(letter.valid_for),
            link => LINK_MARK,
        };
        let link = letter.link.expose_secret();
        let text = render("reset_link.txt", values.clone())?;
        let html = render("reset_link.html", values)?;
        Ok(Letter {
            subject,
            text: with_link(&wrap(&text), link),
            html: with_link(&html, &escaped(link)),
        })
    }

    fn password_changed(&self, letter: &PasswordChanged<'_>) -> Result<Letter, BoxError> {
        let site = letter.site;
        let subject = format!("Your {} password was changed", site.service_name());
        let values = context! {
            subject => subject.as_str(),
            service => site.service_name(),
            contact => site.support_contact(),
            at => as_people_read_it(letter.at),
        };
        let text = render("password_changed.txt", values.clone())?;
        let html = render("password_changed.html", values)?;
        Ok(Letter {
            subject,
            text: wrap(&text).into(),
            html: html.into(),
        })
    }
}

/// Stands in for the link while a template is rendered: the engine copies its values into buffers
/// that nobody wipes, so the link itself never enters it. A [`Site`] cannot hold this character.
const LINK_MARK: &str = "\u{1}";

const COLUMNS: usize = 72;

type Engine = Result<Environment<'static>, minijinja::Error>;

/// Parsed once. Names that end in `.html` are escaped as HTML, `.txt` is left as it is.
static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let mut engine = Environment::new();
    // A value that a template asks for and does not get is an error, not a gap in the letter.
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    for (name, source) in [
        ("reset_link.txt", include_str!("letters/reset_link.txt")),
        ("reset_link.html", include_str!("letters/reset_link.html")),
        (
            "password_changed.txt",
            include_str!("letters/password_changed.txt"),
        ),
        (
            "password_changed.html",
            include_str!("letters/password_changed.html"),
        ),
    ] {
        engine.add_template(name, source)?;
    }
    Ok(engine)
});

fn render(name: &str, values: minijinja::Value) -> Result<String, BoxError> {
    let engine = ENGINE.as_ref().map_err(ToString::to_string)?;
    Ok(engine.get_template(name)?.render(values)?)
}

/// Puts the link where the mark is, in one allocation of the right size.
fn with_link(rendered: &str, link: &str) -> SecretString {
    let places = rendered.matches(LINK_MARK).count();
    let room = rendered.len() + places * link.len();
    let mut letter = Zeroizing::new(String::with_capacity(room));
    for (index, piece) in rendered.split(LINK_MARK).enumerate() {
        if index > 0 {
            letter.push_str(link);
        }
        letter.push_str(piece);
    }
    SecretString::from(letter.as_str())
}

/// For a quoted attribute and for text. A [`LinkBase`](crate::mail::LinkBase) has nothing to escape;
/// a link from elsewhere might.
fn escaped(link: &str) -> Zeroizing<String> {
    // No entity is longer than six characters, so this never grows.
    let mut escaped = Zeroizing::new(String::with_capacity(link.len() * 6));
    for c in link.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#x27;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Breaks lines at spaces so that they fit; a word that is longer stands alone.
fn wrap(text: &str) -> String {
    let mut wrapped = String::with_capacity(text.len() + 16);
    for line in text.lines() {
        let mut column = 0;
        for word in line.split(' ') {
            let width = word.chars().count();
            if column > 0 && column + 1 + width > COLUMNS {
                wrapped.push('\n');
                column = 0;
            } else if column > 0 {
                wrapped.push(' ');
                column += 1;
            }
            wrapped.push_str(word);
            column += width;
        }
        wrapped.push('\n');
    }
    wrapped
}

/// Never more than the truth: what is not a whole minute or hour is left out.
fn in_words(span: Duration) -> String {
    let (count, unit) = match span.as_secs() {
        0..60 => return "less than a minute".to_owned(),
        seconds if seconds % 3_600 == 0 => (seconds / 3_600, "hour"),
        seconds => (seconds / 60, "minute"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural}")
}

/// `22 November 2026, 09:05 UTC (+00:00)`.
fn as_people_read_it(at: Timestamp) -> String {
    let at = at.to_offset_date_time();
    format!(
        "{} {} {}, {:02}:{:02} UTC (+00:00)",
        at.day(),
        at.month(),
        at.year(),
        at.hour(),
        at.minute()
    )
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "tests may panic"
    )]

    use super::*;
    use crate::account::Address;
    use crate::mail::{LinkBase, Mailbox};

    const LINK: &str = "https://app.example.org/reset?token=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    const HALF_HOUR: Duration = Duration::from_secs(1_800);

    fn site(name: &str, contact: &str) -> Site {
        let sender = Mailbox::new(Address::parse("no-reply@app.example.org").unwrap());
        let base = LinkBase::parse("https://app.example.org/reset").unwrap();
        Site::new(name, base, contact, sender).unwrap()
    }

    fn link_letter(site: &Site, link: &str, life: Duration) -> (String, String, String) {
        let link = SecretString::from(link);
        let facts = ResetLink::new(site, &link, life, None);
        assert!(!format!("{facts:?}").contains("AAAA"));
        opened(EnglishLetters.reset_link(&facts).unwrap())
    }

    fn notice(site: &Site) -> (String, String, String) {
        let at = Timestamp::from_unix_micros(1_767_225_600_000_000);
        let facts = PasswordChanged::new(site, at, None);
        opened(EnglishLetters.password_changed(&facts).unwrap())
    }

    fn opened(letter: Letter) -> (String, String, String) {
        assert!(!format!("{letter:?}").contains("AAAA"));
        (
            letter.subject,
            letter.text.expose_secret().to_owned(),
            letter.html.expose_secret().to_owned(),
        )
    }

    #[test]
    fn the_link_letter_says_what_a_person_needs_to_know() {
        let site = site("Example", "support@app.example.org");
        let (subject, text, html) = link_letter(&site, LINK, HALF_HOUR);
        assert_eq!(subject, "Reset your Example password");
        assert!(text.lines().any(|line| line == LINK));
        assert_eq!(text.matches("AAAA").count() * 4, 64);
        for body in [text.replace('\n', " "), html] {
            for said in [
                "Example account",
                "works once, within 30 minutes",
                "If you did not ask for this",
                "support@app.example.org",
            ] {
                assert!(body.contains(said), "{said}: {body}");
            }
        }
    }

    #[test]
    fn the_notice_says_what_when_and_whom_to_contact_and_links_nowhere() {
        let (subject, text, html) = notice(&site("Example", "support@app.example.org"));
        assert_eq!(subject, "Your Example password was changed");
        for body in [text.replace('\n', " "), html] {
            for said in [
                "password of your Example account was changed",
                "1 January 2026, 00:00 UTC (+00:00)",
                "If it was not you",
                "Contact: ",
                "support@app.example.org",
            ] {
                assert!(body.contains(said), "{said}: {body}");
            }
            for link in ["http", "href", "token", "<a"] {
                assert!(!body.contains(link), "{link}: {body}");
            }
        }
    }

    #[test]
    fn plain_text_fits_72_columns_but_for_the_link() {
        let site = site(&"long name ".repeat(6), &"call ".repeat(50));
        let (_, text, _) = link_letter(&site, LINK, HALF_HOUR);
        let (_, notice, _) = notice(&site);
        for line in text.lines().chain(notice.lines()) {
            assert!(line.chars().count() <= COLUMNS || line == LINK, "{line}");
            assert!(!line.ends_with(' '), "{line:?}");
        }
    }

    #[test]
    fn w10_markup_in_the_service_name_stays_text() {
        let name = "<b>{{7*7}}</b> & {% raw %}";
        let site = site(name, "<i>'\"{{ link }}");
        let (subject, text, html) = link_letter(&site, LINK, HALF_HOUR);
        let (_, notice_text, notice_html) = notice(&site);
        assert!(subject.contains(name));
        for text in [text, notice_text] {
            let text = text.replace('\n', " ");
            assert!(text.contains(name), "{text}");
            assert!(text.contains("<i>'\"{{ link }}"), "{text}");
        }
        for html in [html, notice_html] {
            assert!(html.contains("&lt;b&gt;{{7*7}}&lt;"), "{html}");
            assert!(html.contains("{{ link }}"), "{html}");
            assert!(!html.contains("<b>") && !html.contains("<i>"), "{html}");
            assert!(!html.contains("49"), "{html}");
        }
    }

    #[test]
    fn w10_a_link_is_escaped_where_it_is_an_attribute() {
        let site = site("Example", "help");
        let (_, text, html) = link_letter(&site, "https://a/?a=1&b=\"><script>'", HALF_HOUR);
        assert!(html.contains("href=\"https:"), "{html}");
        assert!(
            html.contains("a=1&amp;b=&quot;&gt;&lt;script&gt;&#x27;\""),
            "{html}"
        );
        assert!(!html.contains("<script>"));
        assert!(text.contains("a=1&b=\"><script>'"));
    }

    #[test]
    fn the_mailed_link_is_found_in_both_parts_unchanged() {
        let (_, text, html) = link_letter(&site("Example", "help"), LINK, HALF_HOUR);
        assert_eq!(html.matches(LINK).count(), 2);
        assert_eq!(text.matches(LINK).count(), 1);
        assert!(!text.contains(LINK_MARK) && !html.contains(LINK_MARK));
    }

    #[test]
    fn r87_letters_load_nothing() {
        let site = site("Example", "help");
        for html in [link_letter(&site, LINK, HALF_HOUR).2, notice(&site).2] {
            for loading in [
                "<img", "src=", "<link", "@import", "url(", "<script", "<iframe",
            ] {
                assert!(!html.contains(loading), "{loading}");
            }
        }
    }

    #[test]
    fn r86_the_subject_holds_no_run_of_digits() {
        let site = site("Example", "help");
        for subject in [link_letter(&site, LINK, HALF_HOUR).0, notice(&site).0] {
            assert!(!subject.contains(|c: char| c.is_ascii_digit()));
        }
    }

    #[test]
    fn the_life_time_is_never_overstated() {
        for (seconds, words) in [
            (59, "less than a minute"),
            (60, "1 minute"),
            (1_859, "30 minutes"),
            (3_600, "1 hour"),
            (5_400, "90 minutes"),
            (86_400, "24 hours"),
        ] {
            assert_eq!(in_words(Duration::from_secs(seconds)), words);
        }
    }
}
