//! What can be chosen: [`Builder`].

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use base64ct::{Base64UrlUnpadded, Encoding};
use http::HeaderMap;
use password_reset::ResetFlow;
use password_reset::account::{Client, Seen};
use password_reset::error::BoxError;
use password_reset::flow::Cancelable;
use password_reset::mail::LinkBase;
use password_reset::text::{Language, Texts};
use sha2::{Digest, Sha256};

use crate::client::{Proxies, Told};
use crate::forms::{FORM, missing};
use crate::handoff::Handoff;
use crate::origin::Origins;
use crate::page::{self, Asking, Cancel, Choose, Factor, Page, Render, Theme};
use crate::paths::{self, Paths};
use crate::problem::Problem;
use crate::service::{ResetWeb, SeenBy, Shared};
use crate::widget::Widget;

/// Does the work that the page asks for.
pub(crate) static WORK: LazyLock<String> =
    LazyLock::new(|| page::without_comments(include_str!("pages/work.js")));
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The service cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The page to log in is neither a path of this site nor a page on https.
    #[error("the login page {0:?} is neither a path, such as /login, nor a page on https")]
    Login(String),
    /// The page for the second factor is no page of the site that links lead to, neither by its path
    /// nor in full. On another host it could never work: the cookie of the link does not go there,
    /// and the policy of the pages lets no form lead there.
    #[error("the page {0:?} for the second factor is no page of the links' own site")]
    FactorPage(String),
    /// Two pages stand in one place; [`Paths::ask_at`] moves one of them.
    #[error("two pages have the path {0:?}")]
    Paths(String),
    /// Links lead here, but those of "this wasn't me" lead somewhere else; see
    /// [`Site::cancel_page`](password_reset::mail::Site::cancel_page) and [`Paths::cancel_at`].
    #[error(
        "mails link to {0:?} for \"this wasn't me\", and the page is at {1:?} of the same site"
    )]
    CancelPage(String, String),
    /// A pause is longer than [`Cancelable::LONGEST_PAUSE`].
    #[error("a pause is longer than 7 days")]
    CancelPause,
    /// What is allowed as an origin is not `https://host` or `https://host:port`.
    #[error("{0:?} is not an origin on https")]
    Origin(String),
    /// The flow asks for work, which the pages see to by themselves; a [`Widget`] makes no proof for
    /// it. A flow has one check: work, or that of the widget's service.
    #[error("the flow asks for work, for which no widget makes a proof")]
    Widget,
    /// A body would have no time at all to arrive.
    #[error("the time for a body is zero")]
    BodyTimeout,
    /// A page cannot be rendered.
    #[error("the page {page:?} cannot be rendered in {language:?}")]
    Page {
        /// Which page.
        page: &'static str,
        /// In which language.
        language: Language,
        /// Why not.
        source: BoxError,
    },
    /// A page was rendered without a part of its form or of its widget, which nobody could use then.
    #[error("the page {page:?} has no {lacks}")]
    Form {
        /// Which page.
        page: &'static str,
        /// What it lacks: a field, the path that its form posts to, or the widget's element or script.
        lacks: String,
    },
}

/// Chooses what differs from the defaults. Nothing has to be chosen.
pub struct Builder {
    flow: ResetFlow,
    paths: Option<Paths>,
    origins: Vec<String>,
    proxies: Proxies,
    texts: Texts,
    language: Language,
    render: Box<dyn Render>,
    login: String,
    full_address: bool,
    cancel_pause: Duration,
    factor_page: Option<String>,
    widget: Option<Widget>,
    seen: Box<SeenBy>,
    body_timeout: Duration,
}

impl Builder {
    pub(crate) fn new(flow: ResetFlow) -> Self {
        Self {
            flow,
            paths: None,
            origins: Vec::new(),
            proxies: Proxies::none(),
            texts: Texts::default(),
            language: Language::default(),
            render: Box::new(Theme::default()),
            login: "/login".to_owned(),
            full_address: false,
            cancel_pause: Cancelable::PAUSE,
            factor_page: None,
            widget: None,
            seen: Box::new(|_, _| Seen::default()),
            body_timeout: BODY_TIMEOUT,
        }
    }

    /// Where the pages are. Default: [`Paths::of_site`] of the flow's own site.
    pub fn paths(mut self, paths: Paths) -> Self {
        self.paths = Some(paths);
        self
    }

    /// The proxies between the clients and this server. Default: none, and no header is read.
    pub fn proxies(mut self, proxies: Proxies) -> Self {
        self.proxies = proxies;
        self
    }

    /// Another site whose pages may post here, such as `https://spa.example.org`. Its browser also
    /// wants the answers of CORS, which are your framework's to give.
    pub fn allow_origin(mut self, origin: &str) -> Self {
        self.origins.push(origin.to_owned());
        self
    }

    /// The page to log in, which the page after a change links to: a path of this site, or a page on
    /// https. Default `/login`.
    pub fn login(mut self, page: &str) -> Self {
        page.clone_into(&mut self.login);
        self
    }

    /// The texts of the pages. Give the same to
    /// [`StandardLetters`](password_reset::mail::StandardLetters).
    pub fn texts(mut self, texts: Texts) -> Self {
        self.texts = texts;
        self
    }

    /// The language of visitors whose browser names none that there is. Default English.
    pub fn language(mut self, language: Language) -> Self {
        self.language = language;
        self
    }

    /// The built-in pages with changes, or pages of your own.
    pub fn render(mut self, render: impl Render) -> Self {
        self.render = Box::new(render);
        self
    }

    /// Shows the account's full address to who holds a good token, in a field that password managers
    /// read.
    ///
    /// By default the page shows the masked address, as text: whoever finds a link in some log learns
    /// from it neither the address nor where to log in with the new password (R30). Password managers
    /// then ask which of the saved accounts it is, and save no masked address (R83).
    pub fn show_full_address(mut self) -> Self {
        self.full_address = true;
        self
    }

    /// For how long an account's requests are paused when its owner says "this wasn't me", where a
    /// program says nothing else. Default [`Cancelable::PAUSE`], a day; zero is no pause.
    pub fn cancel_pause(mut self, pause: Duration) -> Self {
        self.cancel_pause = pause;
        self
    }

    /// A page of your own for the second factor: for a passkey, or whatever is no text that is typed.
    /// Who needs a factor is sent there, with the token in its cookie
    /// ([`ResetWeb::opened_token`]); prove it with
    /// [`Verified::begin_step_up`](password_reset::flow::Verified::begin_step_up) and send them back
    /// with [`ResetWeb::proof_cookie`]. Default: the built-in form, where the flow has a
    /// [`SecondFactorCheck`](password_reset::recovery::SecondFactorCheck).
    ///
    /// A path, such as `/account/factor`, or the same in full with the origin of the flow's link
    /// base: the page gets the cookie, which stays on its host.
    pub fn factor_page(mut self, page: &str) -> Self {
        self.factor_page = Some(page.to_owned());
        self
    }

    /// Shows the widget of another service's captcha on the page that asks whose password it is,
    /// while a proof is asked for. The flow has to have that service's check
    /// ([`Builder::human`](password_reset::flow::Builder::human)). Default: none; who is asked for a
    /// proof then sees [`Problem::Challenge`], and needs a page of your own.
    ///
    /// Not beside [`proof_of_work`](password_reset::flow::Builder::proof_of_work):
    /// [`BuildError::Widget`].
    pub fn captcha_widget(mut self, widget: Widget) -> Self {
        self.widget = Some(widget);
        self
    }

    /// How long a body may take to arrive, 10 s by default.
    pub fn body_timeout(mut self, timeout: Duration) -> Self {
        self.body_timeout = timeout;
        self
    }

    /// What the notice of a changed password says of where the change came from: your own coarse
    /// reading of the request's header lines and of the client's address. Default: nothing.
    ///
    /// Called for every request; keep it quick.
    ///
    /// ```
    /// # use password_reset_web::Builder;
    /// use password_reset::account::Seen;
    /// use password_reset_web::http::header::USER_AGENT;
    ///
    /// # fn with(builder: Builder) -> Builder {
    /// builder.seen(|headers, _client| {
    ///     let agent = headers.get(USER_AGENT).and_then(|line| line.to_str().ok());
    ///     let device = match agent {
    ///         Some(agent) if agent.contains("Firefox/") => "Firefox",
    ///         Some(agent) if agent.contains("Chrome/") => "Chrome, or a browser like it",
    ///         _ => return Seen::default(),
    ///     };
    ///     Seen::default().device(device).unwrap_or_default()
    /// })
    /// # }
    /// ```
    pub fn seen(
        mut self,
        seen: impl Fn(&HeaderMap, &Client) -> Seen + Send + Sync + 'static,
    ) -> Self {
        self.seen = Box::new(seen);
        self
    }

    /// Checks what was chosen, renders every page once in every language, and looks whether the
    /// forms have what they need.
    ///
    /// # Errors
    ///
    /// See [`BuildError`].
    pub fn build(mut self) -> Result<ResetWeb, BuildError> {
        if !paths::is_target(&self.login) {
            return Err(BuildError::Login(self.login));
        }
        if self.body_timeout.is_zero() {
            return Err(BuildError::BodyTimeout);
        }
        if self.cancel_pause > Cancelable::LONGEST_PAUSE {
            return Err(BuildError::CancelPause);
        }
        if self.widget.is_some() && matches!(self.flow.challenge(), Ok(Some(_))) {
            return Err(BuildError::Widget);
        }
        let site = self.flow.site();
        let base = site.base();
        let https = base.is_https();
        let (page, own) = (&mut self.factor_page, base.origin());
        if let Some(page) = page.take_if(|page| !paths::is_target_within(page, &own)) {
            return Err(BuildError::FactorPage(page));
        }
        let mut origins = Origins::new(base.origin());
        for origin in self.origins {
            let parsed = LinkBase::parse(&format!("{origin}/"));
            match parsed {
                Ok(page)
                    if page.origin() == origin
                        && page.path() == "/"
                        // Another program of this machine is one of its own only in development.
                        && (page.is_https() || !https) =>
                {
                    origins.allow(origin);
                }
                _ => return Err(BuildError::Origin(origin)),
            }
        }
        let paths = self.paths.unwrap_or_else(|| Paths::of_site(site));
        if let Some(path) = paths.collision() {
            return Err(BuildError::Paths(path));
        }
        // Where links lead to a page of the application's own, this one is its own too.
        let ours = site.cancel_base().filter(|_| paths.choose() == base.path());
        if let Some(page) = ours
            && (page.origin() != base.origin() || page.path() != paths.cancel())
        {
            let (page, path) = (page.as_str().to_owned(), paths.cancel().to_owned());
            return Err(BuildError::CancelPage(page, path));
        }
        let web = ResetWeb {
            shared: Arc::new(Shared {
                https,
                origins,
                proxies: self.proxies,
                told: Told::default(),
                handoff: Handoff::new(https),
                code_handoff: Handoff::of_code(https),
                cancel_handoff: Handoff::of_cancel(https),
                cancel_pause: self.cancel_pause,
                proof_handoff: Handoff::of_proof(https),
                factor_page: self.factor_page,
                widget: self.widget,
                seen: self.seen,
                texts: Arc::new(self.texts),
                language: self.language,
                style: versioned(&paths.style(), self.render.style()),
                script: versioned(&paths.script(), self.render.script()),
                work: versioned(&paths.work(), &WORK),
                render: self.render,
                login: self.login,
                full_address: self.full_address,
                body_timeout: self.body_timeout,
                paths,
                flow: self.flow,
            }),
        };
        render_all(&web)?;
        Ok(web)
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").finish_non_exhaustive()
    }
}

/// What is in the file, in its address: it may be kept for ever.
pub(crate) fn versioned(path: &str, file: &str) -> String {
    let digest = Sha256::digest(file);
    let version = Base64UrlUnpadded::encode_string(digest.get(..6).unwrap_or_default());
    format!("{path}?v={version}")
}

/// A mistake in a template is found at start.
fn render_all(web: &ResetWeb) -> Result<(), BuildError> {
    let policy = web.shared.flow.policy();
    let rejected = policy.parse("", &Default::default()).err();
    let choose = |username, rejected| {
        Page::Choose(Choose {
            account: Some("a***@example.com"),
            username,
            form: FORM,
            min: policy.min(),
            max: policy.max(),
            second_factor: false,
            rejected,
        })
    };
    let problems = Problem::samples();
    let mut pages = vec![
        Page::Ask(Asking::default()),
        Page::Sent,
        Page::Done,
        choose(None, None),
        choose(Some("ada@example.com"), rejected.as_ref()),
        Page::Cancel(Cancel {
            form: FORM,
            pause: web.shared.cancel_pause,
        }),
        Page::Cancelled,
        Page::DeadCancel(&Problem::Invalid),
        Page::DeadCancel(&Problem::LinkMissing),
    ];
    // A refused password, or code, is shown on its form.
    let alone = |problem: &&Problem| !problem.is_on_a_form();
    pages.extend(problems.iter().filter(alone).map(Page::Problem));
    if web.shared.flow.codes().is_some() {
        pages.extend([false, true].map(|wrong| Page::Code { wrong }));
    }
    if web.shared.flow.checks_second_factors() && web.shared.factor_page.is_none() {
        let factor = |wrong| Factor {
            account: Some("a***@example.com"),
            form: FORM,
            wrong,
        };
        pages.extend([false, true].map(|wrong| Page::Factor(factor(wrong))));
    }
    let work = web.shared.flow.challenge().ok().flatten();
    let work = work.map(|work| work.to_json());
    if let Some(work) = &work {
        pages.extend([false, true].map(|again| {
            Page::Ask(Asking {
                work: Some(work.as_str()),
                widget: None,
                again,
            })
        }));
    }
    if let Some(widget) = &web.shared.widget {
        pages.extend([false, true].map(|again| {
            Page::Ask(Asking {
                work: None,
                widget: Some(widget),
                again,
            })
        }));
    }
    for language in Language::ALL {
        for page in &pages {
            let view = web.view(*page, language);
            let rendered = web.shared.render.page(&view);
            let html = rendered.map_err(|source| BuildError::Page {
                page: view.name(),
                language,
                source,
            })?;
            if let Some(lacks) = missing(&view, &html) {
                let page = view.name();
                return Err(BuildError::Form { page, lacks });
            }
        }
    }
    Ok(())
}
