//! The built-in letters: [`StandardLetters`].

use std::collections::BTreeMap;
use std::sync::LazyLock;

use minijinja::{Environment, UndefinedBehavior};
use secrecy::{ExposeSecret, SecretString};

use super::fill::{Mark, fill, fill_html, grouped};
use super::wrap::wrap;
use super::{Hint, Letter, Occasion, PasswordChanged, ResetCode, ResetLink, Templates};
use crate::account::Seen;
use crate::error::BoxError;
use crate::mail::Site;
use crate::text::{Language, Texts};

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

    fn draft<'a>(&self, template: &'static str, site: &'a Site, locale: Option<&str>) -> Draft<'a> {
        let named = locale.and_then(Language::of_tag);
        Draft {
            template,
            site,
            language: named.unwrap_or(self.language),
            texts: vec![("contact", "contact")],
            values: Vec::new(),
            secrets: Vec::new(),
        }
    }

    fn hint(&self, letter: &Hint<'_>, texts: Places) -> Result<Letter, BoxError> {
        let mut draft = self.draft("hint", letter.site, letter.locale);
        draft.texts.extend_from_slice(texts);
        self.write(&draft)
    }

    /// Fills in the texts, so that the engine sees whole sentences only; then the template; and
    /// then, behind the engine, the secrets.
    fn write(&self, draft: &Draft<'_>) -> Result<Letter, BoxError> {
        let mut places = BTreeMap::from([("lang", draft.language.tag().to_owned())]);
        for (place, key) in &draft.texts {
            places.insert(place, self.text(draft, key)?);
        }
        for (mark, _) in &draft.secrets {
            places.insert(mark.name(), mark.as_str().to_owned());
        }
        let text = render(draft.template, "txt", &places)?;
        let html = render(draft.template, "html", &places)?;
        Ok(Letter {
            subject: places.remove("subject").unwrap_or_default(),
            text: fill(&wrap(&text), &draft.secrets),
            html: fill_html(&html, &draft.secrets),
        })
    }

    fn text(&self, draft: &Draft<'_>, key: &str) -> Result<String, BoxError> {
        let mut values = vec![
            ("service", draft.site.service_name()),
            ("contact", draft.site.support_contact()),
        ];
        let own = draft.values.iter();
        values.extend(own.map(|(name, value)| (*name, value.as_str())));
        Ok(self.texts.fill(draft.language, key, &values)?)
    }
}

impl Templates for StandardLetters {
    fn reset_link(&self, letter: &ResetLink<'_>) -> Result<Letter, BoxError> {
        let mut draft = self.draft("reset_link", letter.site, letter.locale);
        draft.value("life", self.texts.span(draft.language, letter.valid_for)?);
        draft.secret(Mark::Link, letter.link.expose_secret());
        let (own, stop): (Places, _) = match letter.occasion {
            Occasion::Asked => (
                &[
                    ("subject", "link.subject"),
                    ("asked", "link.asked"),
                    ("open", "link.open"),
                    ("button", "link.button"),
                    ("doubt", "link.not_you"),
                ],
                "letter.not_you",
            ),
            Occasion::Operator => (
                &[
                    ("subject", "operator.subject"),
                    ("asked", "operator.asked"),
                    ("means", "operator.means"),
                    ("open", "link.open"),
                    ("button", "link.button"),
                    ("doubt", "operator.unsure"),
                ],
                "letter.not_wanted",
            ),
            Occasion::First => (
                &[
                    ("subject", "first.subject"),
                    ("asked", "first.asked"),
                    ("open", "first.open"),
                    ("button", "first.button"),
                    ("doubt", "first.not_you"),
                ],
                "letter.not_wanted",
            ),
            Occasion::FirstAsked => (
                &[
                    ("subject", "first_asked.subject"),
                    ("asked", "first_asked.asked"),
                    ("open", "first.open"),
                    ("button", "first.button"),
                    ("doubt", "first_asked.not_you"),
                ],
                "letter.not_you",
            ),
        };
        draft.texts.extend_from_slice(own);
        draft.text("copy", "link.copy");
        draft.text("life", "link.life");
        draft.cancel(letter.cancel, stop, "letter.cancel");
        self.write(&draft)
    }

    fn reset_code(&self, letter: &ResetCode<'_>) -> Result<Letter, BoxError> {
        let code = grouped(letter.code.expose_secret());
        let mut draft = self.draft("reset_code", letter.site, letter.locale);
        draft.value("life", self.texts.span(draft.language, letter.valid_for)?);
        draft.secret(Mark::Code, &code);
        draft.texts.extend_from_slice(&[
            ("subject", "code_letter.subject"),
            ("asked", "link.asked"),
            ("enter", "code_letter.enter"),
            ("life", "code_letter.life"),
            ("secret", "code_letter.secret"),
            ("doubt", "code_letter.not_you"),
        ]);
        draft.cancel(letter.cancel, "letter.not_you", "letter.cancel");
        self.write(&draft)
    }

    fn code_text(&self, letter: &ResetCode<'_>) -> Result<SecretString, BoxError> {
        let code = Mark::Code.as_str();
        let mut draft = self.draft("code_text", letter.site, letter.locale);
        draft.value("life", self.texts.span(draft.language, letter.valid_for)?);
        draft.value("code", code.to_owned());
        let line = self.text(&draft, "code_text")?;
        let host = letter.site.base().host();
        // Nothing may follow, not even a line break: browsers read the last line.
        let text = format!("{line}\n@{host} #{code}");
        Ok(fill(&text, &[(Mark::Code, letter.code.expose_secret())]))
    }

    fn password_changed(&self, letter: &PasswordChanged<'_>) -> Result<Letter, BoxError> {
        let mut draft = self.draft("password_changed", letter.site, letter.locale);
        draft.value("at", self.texts.moment(draft.language, letter.at)?);
        draft.texts.extend_from_slice(&[
            ("subject", "notice.subject"),
            ("changed", "notice.changed"),
            ("when", "notice.when"),
            ("you", "notice.you"),
            ("not_you", "notice.not_you"),
        ]);
        if let Some(device) = letter.seen.and_then(Seen::device_text) {
            draft.value("device", device.to_owned());
            draft.text("device", "notice.device");
        }
        if let Some(place) = letter.seen.and_then(Seen::place_text) {
            draft.value("place", place.to_owned());
            draft.text("place", "notice.place");
        }
        draft.cancel(letter.cancel, "notice.cancel", "notice.button");
        let links = match letter.cancel {
            Some(_) => "notice.only_cancels",
            None => "notice.no_link",
        };
        draft.text("links", links);
        self.write(&draft)
    }

    fn no_account(&self, letter: &Hint<'_>) -> Result<Letter, BoxError> {
        self.hint(
            letter,
            &[
                ("subject", "no_account.subject"),
                ("asked", "no_account.asked"),
                ("advice", "no_account.perhaps"),
                ("doubt", "no_account.not_you"),
            ],
        )
    }

    fn use_provider(&self, letter: &Hint<'_>) -> Result<Letter, BoxError> {
        self.hint(
            letter,
            &[
                ("subject", "use_provider.subject"),
                ("asked", "link.asked"),
                ("advice", "use_provider.how"),
                ("doubt", "use_provider.not_you"),
            ],
        )
    }
}

/// Places of a template, and the keys of the texts that stand there.
type Places = &'static [(&'static str, &'static str)];

/// One letter before it is written.
struct Draft<'a> {
    template: &'static str,
    site: &'a Site,
    language: Language,
    texts: Vec<(&'static str, &'static str)>,
    values: Vec<(&'static str, String)>,
    secrets: Vec<(Mark, &'a str)>,
}

impl<'a> Draft<'a> {
    /// Has a place hold a text.
    fn text(&mut self, place: &'static str, key: &'static str) {
        self.texts.push((place, key));
    }

    /// Gives the texts a value. Not a secret one.
    fn value(&mut self, name: &'static str, value: String) {
        self.values.push((name, value));
    }

    /// Has the mark's place hold a secret.
    fn secret(&mut self, mark: Mark, secret: &'a str) {
        self.secrets.push((mark, secret));
    }

    /// Has the letter hold the link to "this wasn't me", if there is one.
    fn cancel(&mut self, link: Option<&'a SecretString>, stop: &'static str, button: &'static str) {
        if let Some(link) = link {
            self.secret(Mark::Cancel, link.expose_secret());
            self.text("stop", stop);
            self.text("stop_button", button);
        }
    }
}

type Engine = Result<Environment<'static>, minijinja::Error>;

/// Parsed once. Names that end in `.html` are escaped as HTML, `.txt` is left as it is.
static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let mut engine = Environment::new();
    // A value that a template asks for and does not get is an error, not a gap in the letter.
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    for (name, source) in SOURCES {
        engine.add_template(name, source)?;
    }
    Ok(engine)
});

const SOURCES: [(&str, &str); 9] = [
    ("letter.html", include_str!("letter.html")),
    ("reset_link.txt", include_str!("reset_link.txt")),
    ("reset_link.html", include_str!("reset_link.html")),
    ("reset_code.txt", include_str!("reset_code.txt")),
    ("reset_code.html", include_str!("reset_code.html")),
    ("password_changed.txt", include_str!("password_changed.txt")),
    (
        "password_changed.html",
        include_str!("password_changed.html"),
    ),
    ("hint.txt", include_str!("hint.txt")),
    ("hint.html", include_str!("hint.html")),
];

fn render(
    template: &str,
    part: &str,
    places: &BTreeMap<&'static str, String>,
) -> Result<String, BoxError> {
    let engine = ENGINE.as_ref().map_err(ToString::to_string)?;
    let template = engine.get_template(&format!("{template}.{part}"))?;
    Ok(template.render(places)?)
}
