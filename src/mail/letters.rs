//! What the mails say: [`Templates`], and the built-in [`StandardLetters`].

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use minijinja::{Environment, UndefinedBehavior};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::account::Seen;
use crate::clock::Timestamp;
use crate::error::BoxError;
use crate::mail::Site;
use crate::text::{Language, Texts};

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
    /// Why it is written.
    pub occasion: Occasion,
    /// The link to "this wasn't me", where the site has such a page. It can cancel, and nothing
    /// else.
    pub cancel: Option<&'a SecretString>,
}

/// Why a letter with a link is written.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Occasion {
    /// Somebody asked for it.
    #[default]
    Asked,
    /// The service's operators ask the account's owner to choose a new password.
    Operator,
    /// The account has no password yet, and its owner may choose the first one.
    First,
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
            occasion: Occasion::Asked,
            cancel: None,
        }
    }
}

/// What the letter, or the text message, with the code may say. `Debug` does not show the code.
#[derive(Debug)]
#[non_exhaustive]
pub struct ResetCode<'a> {
    /// The service.
    pub site: &'a Site,
    /// The code: digits only. As secret as a link.
    pub code: &'a SecretString,
    /// How long the code works, counted from now.
    pub valid_for: Duration,
    /// The account's language, as a BCP 47 tag.
    pub locale: Option<&'a str>,
    /// The link to "this wasn't me", where the site has such a page. Not for text messages.
    pub cancel: Option<&'a SecretString>,
}

impl<'a> ResetCode<'a> {
    /// The facts of one letter. For the flow, and for the tests of templates.
    pub fn new(
        site: &'a Site,
        code: &'a SecretString,
        valid_for: Duration,
        locale: Option<&'a str>,
    ) -> Self {
        Self {
            site,
            code,
            valid_for,
            locale,
            cancel: None,
        }
    }
}

/// What a letter without a secret may say: "you have no account here", or "log in through your
/// provider".
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Hint<'a> {
    /// The service.
    pub site: &'a Site,
    /// The account's language, as a BCP 47 tag, where there is an account.
    pub locale: Option<&'a str>,
}

impl<'a> Hint<'a> {
    /// The facts of one letter. For the flow, and for the tests of templates.
    pub fn new(site: &'a Site, locale: Option<&'a str>) -> Self {
        Self { site, locale }
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
    /// Where the change came from, if the application says so.
    pub seen: Option<&'a Seen>,
    /// The link to "this wasn't me", where the site has such a page.
    pub cancel: Option<&'a SecretString>,
}

impl<'a> PasswordChanged<'a> {
    /// The facts of one notice. For the flow, and for the tests of templates.
    pub fn new(site: &'a Site, at: Timestamp, locale: Option<&'a str>) -> Self {
        Self {
            site,
            at,
            locale,
            seen: None,
            cancel: None,
        }
    }
}

/// Writes the letters.
///
/// # Contract
///
/// - The link's letter MUST say how long the link works, that it works once, and what to do when
///   one did not ask for it (R86).
/// - The code MUST NOT stand in a subject, and the letter MUST say that nobody who calls or writes
///   may be told it (R86). A text message MUST end with the line that [`ResetCode`] describes.
/// - The notice MUST say what happened, when, and whom to contact if it was not you, and MUST NOT
///   hold a link that sets a password (R72). Otherwise the notice is itself worth stealing. The
///   link to "this wasn't me" can only cancel.
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

    /// The letter with the code.
    ///
    /// # Errors
    ///
    /// Any error when the letter cannot be written. It must not hold the code.
    fn reset_code(&self, letter: &ResetCode<'_>) -> Result<Letter, BoxError>;

    /// The text message with the code: one short line, and behind it, on a line of its own,
    /// `@host #code` with the host of the site's pages, which browsers read to fill in the code
    /// (WebOTP, origin-bound one-time codes). No link.
    ///
    /// # Errors
    ///
    /// Any error when the text cannot be written. It must not hold the code.
    fn code_text(&self, letter: &ResetCode<'_>) -> Result<SecretString, BoxError>;

    /// The notice that the password was changed.
    ///
    /// # Errors
    ///
    /// Any error when the letter cannot be written.
    fn password_changed(&self, letter: &PasswordChanged<'_>) -> Result<Letter, BoxError>;

    /// "Somebody asked for a new password with this address, and it has no account here."
    ///
    /// # Errors
    ///
    /// Any error when the letter cannot be written.
    fn no_account(&self, letter: &Hint<'_>) -> Result<Letter, BoxError>;

    /// "Your account has no password of its own: log in through your provider."
    ///
    /// # Errors
    ///
    /// Any error when the letter cannot be written.
    fn use_provider(&self, letter: &Hint<'_>) -> Result<Letter, BoxError>;
}

macro_rules! forward {
    ($($pointer:ident),+) => { $(
        impl<T: Templates + ?Sized> Templates for $pointer<T> {
            fn reset_link(&self, letter: &ResetLink<'_>) -> Result<Letter, BoxError> {
                (**self).reset_link(letter)
            }
            fn reset_code(&self, letter: &ResetCode<'_>) -> Result<Letter, BoxError> {
                (**self).reset_code(letter)
            }
            fn code_text(&self, letter: &ResetCode<'_>) -> Result<SecretString, BoxError> {
                (**self).code_text(letter)
            }
            fn password_changed(&self, letter: &PasswordChanged<'_>) -> Result<Letter, BoxError> {
                (**self).password_changed(letter)
            }
            fn no_account(&self, letter: &Hint<'_>) -> Result<Letter, BoxError> {
                (**self).no_account(letter)
            }
            fn use_provider(&self, letter: &Hint<'_>) -> Result<Letter, BoxError> {
                (**self).use_provider(letter)
            }
        }
    )+ };
}
forward!(Arc, Box);

/// The built-in letters: text first, no images, nothing loaded from elsewhere, in the account's
/// language if [`Texts`] has it, and in English, or [another language](Self::language), if not.
///
/// ```
/// use std::time::Duration;
/// use password_reset::account::Address;
/// use password_reset::mail::{LinkBase, Mailbox, ResetLink, Site, StandardLetters, Templates};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// # let site = Site::new("Example", LinkBase::parse("https://app.example.org/reset")?,
/// #     "support@app.example.org", Mailbox::new(Address::parse("no-reply@app.example.org")?))?;
/// let link = "https://app.example.org/reset?token=…".into();
/// let life = Duration::from_secs(1_800);
/// let letters = StandardLetters::default();
/// let letter = letters.reset_link(&ResetLink::new(&site, &link, life, None))?;
/// assert_eq!(letter.subject, "Reset your Example password");
/// let letter = letters.reset_link(&ResetLink::new(&site, &link, life, Some("de-AT")))?;
/// assert!(letter.subject.contains("Passwort"));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct StandardLetters {
    texts: Texts,
    language: Language,
}

impl StandardLetters {
    /// The built-in letters with other texts.
    pub fn new(texts: Texts) -> Self {
        Self {
            texts,
            ..Self::default()
        }
    }

    /// The language of accounts that name none, or none that there is. Default English.
    pub fn language(mut self, language: Language) -> Self {
        self.language = language;
        self
    }

    fn language_of(&self, locale: Option<&str>) -> Language {
        let named = locale.and_then(Language::of_tag);
        named.unwrap_or(self.language)
    }

    /// Fills in the texts of one letter; the engine sees whole sentences only.
    fn texts(
        &self,
        language: Language,
        prefix: &str,
        keys: &[&str],
        values: &[(&str, &str)],
    ) -> Result<BTreeMap<String, String>, BoxError> {
        let mut filled = BTreeMap::from([("lang".to_owned(), language.tag().to_owned())]);
        for key in keys {
            let text = self
                .texts
                .fill(language, &format!("{prefix}.{key}"), values)?;
            filled.insert((*key).to_owned(), text);
        }
        let contact = self.texts.fill(language, "contact", values)?;
        filled.insert("contact".to_owned(), contact);
        Ok(filled)
    }
}

impl Templates for StandardLetters {
    fn reset_link(&self, letter: &ResetLink<'_>) -> Result<Letter, BoxError> {
        let language = self.language_of(letter.locale);
        let mut values = self.texts(
            language,
            "link",
            &[
                "subject", "asked", "open", "button", "copy", "life", "not_you",
            ],
            &[
                ("service", letter.site.service_name()),
                ("contact", letter.site.support_contact()),
                ("life", &self.texts.span(language, letter.valid_for)?),
            ],
        )?;
        values.insert("link".to_owned(), LINK_MARK.to_owned());
        let link = letter.link.expose_secret();
        let text = render("reset_link.txt", &values)?;
        let html = render("reset_link.html", &values)?;
        Ok(Letter {
            subject: values.remove("subject").unwrap_or_default(),
            text: with_link(&wrap(&text), link),
            html: with_link(&html, &escaped(link)),
        })
    }

    fn reset_code(&self, letter: &ResetCode<'_>) -> Result<Letter, BoxError> {
        let code = letter.code.expose_secret();
        Ok(Letter {
            subject: "A code".into(),
            text: format!("{code}\n").into(),
            html: format!("<p>{code}</p>").into(),
        })
    }

    fn code_text(&self, letter: &ResetCode<'_>) -> Result<SecretString, BoxError> {
        Ok(format!("{}\n", letter.code.expose_secret()).into())
    }

    fn no_account(&self, _: &Hint<'_>) -> Result<Letter, BoxError> {
        Err("not written yet".into())
    }

    fn use_provider(&self, _: &Hint<'_>) -> Result<Letter, BoxError> {
        Err("not written yet".into())
    }

    fn password_changed(&self, letter: &PasswordChanged<'_>) -> Result<Letter, BoxError> {
        let language = self.language_of(letter.locale);
        let mut values = self.texts(
            language,
            "notice",
            &["subject", "changed", "when", "you", "not_you", "no_link"],
            &[
                ("service", letter.site.service_name()),
                ("contact", letter.site.support_contact()),
                ("at", &self.texts.moment(language, letter.at)?),
            ],
        )?;
        let text = render("password_changed.txt", &values)?;
        let html = render("password_changed.html", &values)?;
        Ok(Letter {
            subject: values.remove("subject").unwrap_or_default(),
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

fn render(name: &str, values: &BTreeMap<String, String>) -> Result<String, BoxError> {
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

/// Breaks lines so that they fit: at spaces, and between ideographs. A word that is longer stands
/// alone.
fn wrap(text: &str) -> String {
    let mut wrapped = String::with_capacity(text.len() + 16);
    for line in text.lines() {
        let mut column = 0;
        for piece in pieces(line) {
            let word = piece.trim_end_matches(' ');
            if column > 0 && column + columns(word) > COLUMNS {
                let kept = wrapped.trim_end_matches(' ').len();
                wrapped.truncate(kept);
                wrapped.push('\n');
                column = 0;
            }
            wrapped.push_str(piece);
            column += columns(piece);
        }
        wrapped.push('\n');
    }
    wrapped
}

/// A line, cut wherever it may be broken: behind a space, and beside an ideograph or kana unless
/// what follows may not begin a line.
fn pieces(line: &str) -> impl Iterator<Item = &str> {
    const NEVER_FIRST: &str = "、。，．：；？！）」』】〉》ーぁぃぅぇぉっゃゅょァィゥェォッャュョ";
    const NEVER_LAST: &str = "（「『【〈《";
    let mut rest = line;
    std::iter::from_fn(move || {
        let mut chars = rest.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            let Some((_, next)) = chars.peek().copied() else {
                break;
            };
            let beside = (is_wide(c) || is_wide(next))
                && next != ' '
                && !NEVER_FIRST.contains(next)
                && !NEVER_LAST.contains(c);
            if (c == ' ' && next != ' ') || beside {
                let (piece, behind) = rest.split_at_checked(at + c.len_utf8())?;
                rest = behind;
                return Some(piece);
            }
        }
        let piece = std::mem::take(&mut rest);
        (!piece.is_empty()).then_some(piece)
    })
}

fn columns(text: &str) -> usize {
    text.chars().map(|c| if is_wide(c) { 2 } else { 1 }).sum()
}

/// Takes two columns in a mail program: kana, ideographs, and full-width forms.
fn is_wide(c: char) -> bool {
    matches!(c, '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}' | '\u{ff00}'..='\u{ff60}' | '\u{20000}'..='\u{3fffd}')
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
        opened(StandardLetters::default().reset_link(&facts).unwrap())
    }

    fn notice(site: &Site) -> (String, String, String) {
        let at = Timestamp::from_unix_micros(1_767_225_600_000_000);
        let facts = PasswordChanged::new(site, at, None);
        opened(StandardLetters::default().password_changed(&facts).unwrap())
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
    fn letters_are_written_in_the_accounts_language() {
        let site = site("Example", "support@app.example.org");
        let link = SecretString::from(LINK);
        let at = Timestamp::from_unix_micros(1_767_225_600_000_000);
        let letters = StandardLetters::default();
        let mut subjects = std::collections::BTreeSet::new();
        for language in Language::ALL {
            let locale = Some(language.tag());
            let facts = ResetLink::new(&site, &link, HALF_HOUR, locale);
            let (subject, text, html) = opened(letters.reset_link(&facts).unwrap());
            let facts = PasswordChanged::new(&site, at, locale);
            let (notice, notice_text, notice_html) =
                opened(letters.password_changed(&facts).unwrap());
            for html in [&html, &notice_html] {
                assert!(html.contains(&format!("<html lang=\"{}\">", language.tag())));
            }
            assert!(text.lines().any(|line| line == LINK), "{text}");
            assert!(text.contains("30") && html.contains("30"), "{text}");
            assert!(notice_text.contains("2026") && notice_html.contains("2026"));
            for line in text.lines().chain(notice_text.lines()) {
                assert!(columns(line) <= COLUMNS || line == LINK, "{line}");
                assert!(
                    !line.starts_with([' ', '、', '。']) && !line.ends_with(' '),
                    "{line}"
                );
            }
            assert!(subjects.insert(subject) && subjects.insert(notice));
        }
        let facts = ResetLink::new(&site, &link, HALF_HOUR, Some("tlh"));
        let (subject, ..) = opened(letters.reset_link(&facts).unwrap());
        assert_eq!(subject, "Reset your Example password");
        let letters = StandardLetters::default().language(Language::German);
        let (subject, ..) = opened(letters.reset_link(&facts).unwrap());
        assert!(subject.contains("Passwort"));
    }

    #[test]
    fn lines_break_at_spaces_and_between_ideographs() {
        let spaced = format!("{} end", "word ".repeat(20).trim_end());
        assert!(wrap(&spaced).lines().all(|line| line.len() <= COLUMNS));
        assert_eq!(wrap(&spaced).replace('\n', " ").trim_end(), spaced);
        let dense = "この度は、".repeat(20);
        let wrapped = wrap(&dense);
        assert!(
            wrapped.lines().count() > 2 && wrapped.lines().all(|line| columns(line) <= COLUMNS)
        );
        assert!(!wrapped.lines().any(|line| line.starts_with('、')));
        assert_eq!(wrapped.replace('\n', ""), dense);
        assert_eq!(wrap(""), "");
        assert_eq!(wrap("\n a\n"), "\n a\n");
    }
}
