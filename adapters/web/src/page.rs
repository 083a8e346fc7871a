//! The pages, as plain data ([`View`]), and what makes HTML of it ([`Render`], [`Theme`]).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use minijinja::value::Value;
use minijinja::{Environment, ErrorKind, UndefinedBehavior};
use password_reset::error::BoxError;
use password_reset::flow::Codes;
use password_reset::mail::Site;
use password_reset::password::PasswordRejected;
use password_reset::text::{Language, TextError, Texts};

use crate::paths::Paths;
use crate::problem::Problem;
use crate::widget::Widget;

/// One page.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Page<'a> {
    /// Whose password is it?
    Ask(Asking<'a>),
    /// A mail may be on its way. The same for everyone: what was typed is not repeated.
    Sent,
    /// The form for a code. The same for everyone.
    Code {
        /// Whether the last one was refused.
        wrong: bool,
    },
    /// The form for the second factor, behind a good link.
    Factor(Factor<'a>),
    /// The form behind a good link.
    Choose(Choose<'a>),
    /// The password is changed.
    Done,
    /// The button behind a good link of "this wasn't me".
    Cancel(Cancel<'a>),
    /// The account's resets are cancelled.
    Cancelled,
    /// A link of "this wasn't me" that does not work: [`Problem::Invalid`], or
    /// [`Problem::LinkMissing`].
    DeadCancel(&'a Problem),
    /// Something else; a dead link too.
    Problem(&'a Problem),
}

/// What the form for the new password shows.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Choose<'a> {
    /// The account's address, masked: enough for its owner to recognise it (R30).
    pub account: Option<&'a str>,
    /// The account's address in full, where the application said so.
    pub username: Option<&'a str>,
    /// The value of the hidden field `form`, without which the form is refused.
    pub form: &'a str,
    /// The least number of code points.
    pub min: usize,
    /// The greatest number of code points.
    pub max: usize,
    /// Whether the account has a second factor: then the password alone will not do.
    pub second_factor: bool,
    /// Why the last password was refused.
    pub rejected: Option<&'a PasswordRejected>,
}

/// What the page that asks whose password it is shows.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Asking<'a> {
    /// The work that is asked for, in JSON: a
    /// [`Challenge`](password_reset::human::Challenge). The form then posts the answer as `proof`.
    pub work: Option<&'a str>,
    /// The widget that makes the proof that is asked for: an element in the form, with the class
    /// [`Widget::class`] and the site key as `data-sitekey`, and the script at [`Widget::script`].
    pub widget: Option<&'a Widget>,
    /// Whether a request without such an answer was turned away just now.
    pub again: bool,
}

/// What the form for the second factor shows.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Factor<'a> {
    /// The account's address, masked.
    pub account: Option<&'a str>,
    /// The value of the hidden field `form`, without which the form is refused.
    pub form: &'a str,
    /// Whether the last answer was refused.
    pub wrong: bool,
}

/// What the page of "this wasn't me" shows.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Cancel<'a> {
    /// The value of the hidden field `form`, without which the form is refused.
    pub form: &'a str,
    /// For how long the account's requests will be paused.
    pub pause: Duration,
}

/// A page with everything that it may show: plain data, none of it from the request (W70).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct View<'a> {
    /// Which page.
    pub page: Page<'a>,
    /// Its language.
    pub language: Language,
    /// The service.
    pub site: &'a Site,
    /// Where the pages are.
    pub paths: &'a Paths,
    /// The page to log in.
    pub login: &'a str,
    /// The style sheet, with its version.
    pub style: &'a str,
    /// The script, with its version.
    pub script: &'a str,
    /// The script that does the work of [`Asking::work`], with its version.
    pub work: &'a str,
    /// How long a link works.
    pub life: Duration,
    /// The numbers of codes, where the service offers them.
    pub codes: Option<&'a Codes>,
    /// Whether codes may travel by text message.
    pub sms: bool,
    pub(crate) texts: &'a Arc<Texts>,
}

impl View<'_> {
    /// One word: `ask`, `sent`, `code`, `factor`, `choose`, `done`, `cancel`, `cancelled`,
    /// `dead_cancel`, `dead`, or `problem`; the name of its template.
    pub fn name(&self) -> &'static str {
        match self.page {
            Page::Ask(_) => "ask",
            Page::Sent => "sent",
            Page::Code { .. } => "code",
            Page::Factor(_) => "factor",
            Page::Choose(_) => "choose",
            Page::Done => "done",
            Page::Cancel(_) => "cancel",
            Page::Cancelled => "cancelled",
            Page::DeadCancel(_) => "dead_cancel",
            Page::Problem(Problem::Invalid | Problem::Expired | Problem::LinkMissing) => "dead",
            Page::Problem(_) => "problem",
        }
    }

    /// A text in the page's language, with its values filled in.
    ///
    /// # Errors
    ///
    /// - [`TextError::UnknownKey`] for a key that no text has.
    /// - [`TextError::UnknownName`] for a text whose values belong to another page.
    pub fn text(&self, key: &str) -> Result<String, TextError> {
        fill(self.texts, self.language, key, &self.values()?)
    }

    /// The title.
    ///
    /// # Errors
    ///
    /// As [`View::text`].
    pub fn title(&self) -> Result<String, TextError> {
        let name = match self.page {
            Page::Problem(Problem::Invalid | Problem::Expired)
            | Page::DeadCancel(Problem::Invalid) => "dead",
            Page::Problem(Problem::CodeInvalid) => "code",
            Page::Problem(Problem::FactorWrong) => "factor",
            Page::Problem(problem) | Page::DeadCancel(problem) => problem.code(),
            _ => self.name(),
        };
        self.text(&format!("{name}.title"))
    }

    fn values(&self) -> Result<Vec<(&'static str, String)>, TextError> {
        let code = matches!(self.page, Page::Code { .. });
        let codes = self.codes.copied().unwrap_or_default();
        let life = if code { codes.life } else { self.life };
        let mut values = vec![
            ("service", self.site.service_name().to_owned()),
            ("contact", self.site.support_contact().to_owned()),
            ("life", self.texts.span(self.language, life)?),
        ];
        match self.page {
            Page::Code { .. } => values.push(("digits", codes.digits.to_string())),
            Page::Choose(choose) => {
                values.push(("min", choose.min.to_string()));
                values.push(("max", choose.max.to_string()));
            }
            Page::Cancel(cancel) => {
                values.push(("span", self.texts.span(self.language, cancel.pause)?));
            }
            Page::Problem(problem) => {
                if let Some(wait) = problem.retry_after() {
                    values.push(("wait", self.texts.wait(self.language, wait)?));
                }
            }
            _ => {}
        }
        Ok(values)
    }
}

fn fill(
    texts: &Texts,
    language: Language,
    key: &str,
    values: &[(&'static str, String)],
) -> Result<String, TextError> {
    let values: Vec<_> = values
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    texts.fill(language, key, &values)
}

/// Makes HTML of a page.
///
/// # Contract
///
/// - Every value MUST be escaped for where it stands (W70).
/// - The form of [`Page::Choose`] MUST post `password` and `form` to [`Paths::choose`], that of
///   [`Page::Ask`] MUST post `identifier` to [`Paths::ask`], that of [`Page::Code`] `code` to
///   [`Paths::code`], that of [`Page::Factor`] `form` and `response` to [`Paths::factor`], and that of [`Page::Cancel`] `form` to [`Paths::cancel`]. Where
///   [`View::codes`] or [`View::sms`] say so, the form of [`Page::Ask`] may post `method` too:
///   `link`, `code` or `sms`. Where [`Asking::work`] is there, it MUST post `proof` too. Where
///   [`Asking::widget`] is there, it MUST hold its element, and the page its script.
/// - MUST NOT load anything else from another site: the page's policy forbids it anyway (R80).
///
/// Every page is rendered once in each language when the service is built, so that a mistake is
/// found at start. The fields and paths of the second point are looked for in what was rendered:
/// without them [`Builder::build`](crate::Builder::build) answers
/// [`BuildError::Form`](crate::BuildError::Form).
pub trait Render: Send + Sync + 'static {
    /// One page.
    ///
    /// # Errors
    ///
    /// Any error. The visitor then sees a bare page without it.
    fn page(&self, view: &View<'_>) -> Result<String, BoxError>;

    /// The style sheet that [`View::style`] leads to.
    fn style(&self) -> &str;

    /// The script that [`View::script`] leads to.
    fn script(&self) -> &str;
}

/// The built-in pages, and what an application changes in them.
///
/// Templates are [minijinja](https://docs.rs/minijinja)'s; the built-in ones are in `src/pages/` of
/// this crate. They see `t(key)`, which is a text in the visitor's language, and the names in the
/// table.
///
/// | name | in | what |
/// |---|---|---|
/// | `page`, `title`, `lang`, `service`, `contact`, `login` | all | |
/// | `paths.ask`, `.choose`, `.factor`, `.cancel`, `.style`, `.script`, `.work` | all | |
/// | `account`, `username`, `form`, `min`, `max`, `second_factor`, `violations` | `choose.html` | see [`Choose`] |
/// | `work`, `again`, `widget.script`, `.class`, `.site_key`, `.action` | `ask.html` | see [`Asking`] |
/// | `account`, `form`, `wrong` | `factor.html` | see [`Factor`] |
/// | `form` | `cancel.html` | see [`Cancel`] |
/// | `missing`, `excess`, each with `.one` and `.other` | `choose.html` | texts for the script |
/// | `code` | `dead.html`, `dead_cancel.html`, `problem.html` | [`Problem::code`] |
///
/// ```
/// use password_reset_web::Theme;
///
/// let theme = Theme::default()
///     // A light and a dark value each.
///     .add_style(":root { --accent: light-dark(#7a1f5c, #e7a6cf);
///         --accent-ink: light-dark(#fff, #2a0a20) }")
///     .template("done.html", "{% extends 'layout.html' %}{% block content %}
///         <p>{{ t('done.intro') }} <a href='{{ login }}'>{{ t('done.login') }}</a></p>{% endblock %}")?;
/// assert!(Theme::default().template("layuot.html", "").is_err());
/// assert!(Theme::default().template("ask.html", "{% if %}").is_err());
/// # Ok::<(), password_reset_web::ThemeError>(())
/// ```
pub struct Theme {
    engine: Environment<'static>,
    style: String,
    script: String,
}

/// A template cannot be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ThemeError {
    /// No page has a template of this name.
    #[error("no page has a template {0:?}")]
    UnknownName(String),
    /// The template cannot be parsed.
    #[error("the template {name:?} cannot be parsed")]
    Syntax {
        /// Which.
        name: String,
        /// Why not.
        source: BoxError,
    },
}

const TEMPLATES: [(&str, &str); 12] = [
    ("layout.html", include_str!("pages/layout.html")),
    ("ask.html", include_str!("pages/ask.html")),
    ("sent.html", include_str!("pages/sent.html")),
    ("code.html", include_str!("pages/code.html")),
    ("factor.html", include_str!("pages/factor.html")),
    ("choose.html", include_str!("pages/choose.html")),
    ("done.html", include_str!("pages/done.html")),
    ("cancel.html", include_str!("pages/cancel.html")),
    ("cancelled.html", include_str!("pages/cancelled.html")),
    ("dead_cancel.html", include_str!("pages/dead_cancel.html")),
    ("dead.html", include_str!("pages/dead.html")),
    ("problem.html", include_str!("pages/problem.html")),
];

impl Theme {
    /// Puts another template in place of `layout.html`, `ask.html`, `sent.html`, `code.html`,
    /// `factor.html`, `choose.html`, `done.html`, `cancel.html`, `cancelled.html`,
    /// `dead_cancel.html`, `dead.html` or `problem.html`.
    ///
    /// # Errors
    ///
    /// - [`ThemeError::UnknownName`] for another name.
    /// - [`ThemeError::Syntax`] for what cannot be parsed.
    pub fn template(mut self, name: &str, source: &str) -> Result<Self, ThemeError> {
        let Some((name, _)) = TEMPLATES.iter().find(|(known, _)| *known == name) else {
            return Err(ThemeError::UnknownName(name.to_owned()));
        };
        match self.engine.add_template_owned(*name, source.to_owned()) {
            Ok(()) => Ok(self),
            Err(error) => Err(ThemeError::Syntax {
                name: (*name).to_owned(),
                source: error.into(),
            }),
        }
    }

    /// Adds rules behind the built-in ones. The colours are custom properties of `:root`: `--paper`,
    /// `--ink`, `--muted`, `--line`, `--field`, `--accent`, `--accent-ink`, `--bad`, `--good`. Give
    /// both a light and a dark value: `light-dark(#7a1f5c, #e7a6cf)`.
    pub fn add_style(mut self, css: &str) -> Self {
        self.style.push('\n');
        self.style.push_str(css);
        self
    }

    /// Puts another style sheet in place of the built-in one.
    pub fn replace_style(mut self, css: &str) -> Self {
        css.clone_into(&mut self.style);
        self
    }
}

impl Default for Theme {
    fn default() -> Self {
        let mut engine = Environment::new();
        // A value that a template asks for and does not get is an error, not a gap in the page.
        engine.set_undefined_behavior(UndefinedBehavior::Strict);
        for (name, source) in TEMPLATES {
            // The built-in ones parse: every page is rendered when a service is built.
            let _ = engine.add_template(name, source);
        }
        Self {
            engine,
            style: include_str!("pages/style.css").to_owned(),
            script: without_comments(include_str!("pages/script.js")),
        }
    }
}

impl Render for Theme {
    fn page(&self, view: &View<'_>) -> Result<String, BoxError> {
        let mut values = BTreeMap::from([
            ("page", Value::from(view.name())),
            ("title", Value::from(view.title()?)),
            ("lang", Value::from(view.language.tag())),
            ("service", Value::from(view.site.service_name())),
            ("contact", Value::from(view.site.support_contact())),
            ("login", Value::from(view.login)),
            ("codes", Value::from(view.codes.is_some())),
            ("sms", Value::from(view.sms)),
            ("paths", paths(view)),
            ("t", texts(view)?),
        ]);
        match view.page {
            Page::Code { wrong } => {
                values.insert("wrong", Value::from(wrong));
            }
            Page::Ask(ask) => values.extend([
                ("work", Value::from(ask.work)),
                ("widget", ask.widget.map_or(Value::from(()), widget)),
                ("again", Value::from(ask.again)),
            ]),
            Page::Factor(factor) => values.extend([
                ("account", Value::from(factor.account)),
                ("form", Value::from(factor.form)),
                ("wrong", Value::from(factor.wrong)),
            ]),
            Page::Choose(choose) => values.extend(form(view, choose)?),
            Page::Cancel(cancel) => {
                values.insert("form", Value::from(cancel.form));
            }
            Page::Problem(problem) | Page::DeadCancel(problem) => {
                values.insert("code", Value::from(problem.code()));
            }
            _ => {}
        }
        let template = self.engine.get_template(&format!("{}.html", view.name()))?;
        Ok(template.render(Value::from(values))?)
    }

    fn style(&self) -> &str {
        &self.style
    }

    fn script(&self) -> &str {
        &self.script
    }
}

/// A script as it is served: what explains it is for who reads the source, and visitors load it.
pub(crate) fn without_comments(script: &str) -> String {
    let lines = script.lines().map(str::trim_start);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Checked when they were configured: nothing in them is to be escaped.
fn paths(view: &View<'_>) -> Value {
    let plain = |path: &str| Value::from_safe_string(path.to_owned());
    Value::from(BTreeMap::from([
        ("ask", plain(view.paths.ask())),
        ("code", plain(&view.paths.code())),
        ("choose", plain(view.paths.choose())),
        ("factor", plain(&view.paths.factor())),
        ("cancel", plain(view.paths.cancel())),
        ("style", plain(view.style)),
        ("script", plain(view.script)),
        ("work", plain(view.work)),
    ]))
}

/// Checked when it was configured, or fixed.
fn widget(widget: &Widget) -> Value {
    let plain = |text: &str| Value::from_safe_string(text.to_owned());
    Value::from(BTreeMap::from([
        ("script", plain(widget.script())),
        ("class", plain(widget.class())),
        ("site_key", plain(widget.site_key())),
        ("action", widget.action().map_or(Value::from(()), plain)),
    ]))
}

fn texts(view: &View<'_>) -> Result<Value, TextError> {
    let texts = Arc::clone(view.texts);
    let (language, values) = (view.language, view.values()?);
    Ok(Value::from_function(move |key: String| {
        fill(&texts, language, &key, &values)
            .map_err(|error| minijinja::Error::new(ErrorKind::InvalidOperation, error.to_string()))
    }))
}

fn form(view: &View<'_>, choose: Choose<'_>) -> Result<[(&'static str, Value); 9], TextError> {
    let rejected = choose
        .rejected
        .map_or(&[][..], PasswordRejected::violations);
    let violations = rejected
        .iter()
        .map(|violation| view.texts.violation(view.language, violation))
        .collect::<Result<Vec<_>, _>>()?;
    let forms = |key: &str| {
        let form = |form: &str| view.texts.raw(view.language, &format!("{key}.{form}"));
        Ok(Value::from(BTreeMap::from([
            ("one", Value::from(form("one")?)),
            ("other", Value::from(form("other")?)),
        ])))
    };
    Ok([
        ("account", Value::from(choose.account)),
        ("username", Value::from(choose.username)),
        ("form", Value::from(choose.form)),
        ("min", Value::from(choose.min)),
        ("max", Value::from(choose.max)),
        ("second_factor", Value::from(choose.second_factor)),
        ("violations", Value::from(violations)),
        ("missing", forms("choose.missing")?),
        ("excess", forms("choose.excess")?),
    ])
}
