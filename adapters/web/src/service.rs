//! One request in, one answer out: [`ResetWeb`].

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use password_reset::ResetFlow;
use password_reset::account::{Client, Identifier, Seen};
use password_reset::flow::Verified;
use password_reset::human::Proof;
use password_reset::password::PasswordRejected;
use password_reset::secrecy::ExposeSecret;
use password_reset::text::{Language, Texts};

use crate::answer::{self, Answer};
use crate::body::{Ask, ChooseForm, ChooseJson, Format, Way, token_of_query};
use crate::builder::{self, Builder};
use crate::client::{Proxies, Told};
use crate::handoff::{self, Handoff};
use crate::headers::add_page_headers;
use crate::language;
use crate::origin::Origins;
use crate::page::{Asking, Choose, Page, Render, View};
use crate::paths::{Paths, Route};
use crate::problem::Problem;
use crate::widget::Widget;

/// The pages and the JSON of one [`ResetFlow`].
///
/// Cheap to clone; all clones share everything. `Debug` prints nothing of what is plugged in.
#[derive(Clone)]
pub struct ResetWeb {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) flow: ResetFlow,
    pub(crate) paths: Paths,
    pub(crate) https: bool,
    pub(crate) origins: Origins,
    pub(crate) proxies: Proxies,
    /// What the operator was told about them.
    pub(crate) told: Told,
    pub(crate) handoff: Handoff,
    pub(crate) code_handoff: Handoff,
    pub(crate) cancel_handoff: Handoff,
    pub(crate) proof_handoff: Handoff,
    /// The widget of the flow's check.
    pub(crate) widget: Option<Widget>,
    /// The application's own page for the second factor.
    pub(crate) factor_page: Option<String>,
    pub(crate) cancel_pause: Duration,
    pub(crate) texts: Arc<Texts>,
    pub(crate) language: Language,
    pub(crate) render: Box<dyn Render>,
    /// The paths of the two files, with the version of what is in them.
    pub(crate) style: String,
    pub(crate) script: String,
    pub(crate) work: String,
    pub(crate) login: String,
    pub(crate) full_address: bool,
    pub(crate) body_timeout: Duration,
    pub(crate) seen: Box<SeenBy>,
}

/// What the application reads out of a request for the notice.
pub(crate) type SeenBy = dyn Fn(&HeaderMap, &Client) -> Seen + Send + Sync;

/// Who asks, in what language, and what for an answer is liked.
pub(crate) struct Visitor {
    pub(crate) client: Client,
    /// What the notice of a change may say of where it came from.
    seen: Seen,
    pub(crate) language: Language,
    pub(crate) json: bool,
}

impl ResetWeb {
    /// Starts with the flow whose pages these are.
    pub fn builder(flow: ResetFlow) -> Builder {
        Builder::new(flow)
    }

    /// Answers one request. `peer` is the address of the connection, if there is one.
    ///
    /// For a framework without glue of its own: read at most
    /// [`MAX_BODY_BYTES`](crate::MAX_BODY_BYTES), in at most [`body_timeout`](Self::body_timeout) for
    /// the whole of it, not for each read, or a client that drips would hold its connection for ever;
    /// answer what is longer or slower with [`refuse`](Self::refuse). Run this on a task of its
    /// own, so that a client that hangs up does not cut a change in the middle. (The worker would
    /// finish it, two minutes later.) The answer to `HEAD` has the body of `GET`, which every HTTP
    /// server leaves out.
    pub async fn respond<B>(&self, request: Request<B>, peer: Option<IpAddr>) -> Response<Bytes>
    where
        B: AsRef<[u8]>,
    {
        let (parts, body) = request.into_parts();
        let visitor = self.visitor(&parts, self.client(&parts.headers, peer));
        let answer = self.route(&parts, body.as_ref(), &visitor).await;
        let answer = answer.unwrap_or_else(|problem| self.problem(&problem, &visitor));
        self.finish(answer, visitor.language)
    }

    /// The answer to a request that the server could not read: [`Problem::TooLarge`],
    /// [`Problem::Timeout`], [`Problem::Malformed`].
    pub fn refuse(&self, request: &Parts, problem: &Problem) -> Response<Bytes> {
        // Who it was does not matter any more.
        let visitor = self.visitor(request, Client::unknown());
        let answer = self.problem(problem, &visitor);
        self.finish(answer, visitor.language)
    }

    /// What to answer when [`respond`](Self::respond) panicked: some part that was plugged in did.
    #[cfg(any(feature = "axum", feature = "actix"))]
    pub(crate) fn after_panic(&self, request: &Parts) -> Response<Bytes> {
        let route = self.paths().route(request.uri.path());
        let problem = match route.filter(|_| request.method == Method::POST) {
            Some(Route::Choose) => Problem::Uncertain,
            Some(Route::Cancel) => Problem::Unfinished,
            // The other routes change nothing of an account.
            _ => Problem::Unavailable,
        };
        self.refuse(request, &problem)
    }

    /// Whether a request comes from one of the site's own pages, or from no browser. For your own
    /// forms, such as the one to log in: refuse the others.
    pub fn is_own_origin(&self, headers: &HeaderMap) -> bool {
        self.shared.origins.allows(headers)
    }

    /// The client of a request, as the configured proxies tell it. For your own limits.
    pub fn client(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> Client {
        let proxies = &self.shared.proxies;
        self.shared.told.tell(proxies, headers, peer);
        proxies.client(headers, peer)
    }

    /// The language of a request's visitor.
    pub fn language(&self, headers: &HeaderMap) -> Language {
        language::accepted(headers).unwrap_or(self.shared.language)
    }

    /// Where the pages are.
    pub fn paths(&self) -> &Paths {
        &self.shared.paths
    }

    /// The path of the style sheet, with its version, for your own pages.
    pub fn style(&self) -> &str {
        &self.shared.style
    }

    /// Whether the site is on https.
    pub fn is_https(&self) -> bool {
        self.shared.https
    }

    /// How long a body may take to arrive.
    pub fn body_timeout(&self) -> Duration {
        self.shared.body_timeout
    }

    fn visitor(&self, request: &Parts, client: Client) -> Visitor {
        let headers = &request.headers;
        Visitor {
            seen: (self.shared.seen)(headers, &client),
            client,
            language: self.language(headers),
            json: answer::likes_json(headers),
        }
    }

    async fn route(
        &self,
        request: &Parts,
        body: &[u8],
        visitor: &Visitor,
    ) -> Result<Answer, Problem> {
        let paths = self.paths();
        let route = paths.route(request.uri.path()).ok_or(Problem::NotFound)?;
        if route == Route::Code && self.shared.flow.codes().is_none() {
            return Err(Problem::NotFound);
        }
        let post = match (&request.method, route) {
            (&Method::GET | &Method::HEAD, _) => false,
            (
                &Method::POST,
                Route::Ask | Route::Code | Route::Choose | Route::Factor | Route::Cancel,
            ) => true,
            (_, Route::Ask | Route::Code | Route::Choose | Route::Factor | Route::Cancel) => {
                return Err(Problem::MethodNotAllowed {
                    allow: "GET, HEAD, POST",
                });
            }
            _ => return Err(Problem::MethodNotAllowed { allow: "GET, HEAD" }),
        };
        if post {
            // The second defence; the first is that the cookie is `SameSite=Lax`, so that another
            // site's POST comes without it.
            if !self.is_own_origin(&request.headers) {
                return Err(Problem::CrossSite);
            }
            let format = Format::of(&request.headers).ok_or(Problem::UnsupportedMediaType)?;
            return match route {
                Route::Ask => {
                    let ask = Ask::read(format, body, self.shared.widget.as_ref())?;
                    self.ask(ask, visitor).await
                }
                Route::Code => self.redeem(format, &request.headers, body, visitor).await,
                Route::Factor => {
                    self.prove_factor(format, &request.headers, body, visitor)
                        .await
                }
                Route::Cancel => self.cancel(format, &request.headers, body, visitor).await,
                _ => self.choose(format, &request.headers, body, visitor).await,
            };
        }
        let is_version = |address: &str| {
            let asked = request.uri.query();
            asked.is_some() && asked == address.split_once('?').map(|(_, version)| version)
        };
        match route {
            Route::Ask => self.asking(false, visitor),
            Route::Challenge => self.challenge(),
            Route::Sent => Ok(self.page(StatusCode::OK, Page::Sent, visitor.language)),
            Route::Code => self.type_code(&request.headers, visitor),
            Route::Done => Ok(self.page(StatusCode::OK, Page::Done, visitor.language)),
            Route::Choose => self.open(request, visitor).await,
            // Whoever needs the form is shown it there.
            Route::Factor => Ok(Answer::see_other(paths.choose())),
            Route::Cancel => self.open_cancel(request, visitor).await,
            Route::Cancelled => Ok(self.page(StatusCode::OK, Page::Cancelled, visitor.language)),
            Route::Style => Ok(Answer::file(
                "text/css; charset=utf-8",
                self.shared.render.style(),
                is_version(&self.shared.style),
            )),
            Route::Script => Ok(Answer::file(
                "text/javascript; charset=utf-8",
                self.shared.render.script(),
                is_version(&self.shared.script),
            )),
            Route::Work => Ok(Answer::file(
                "text/javascript; charset=utf-8",
                &builder::WORK,
                is_version(&self.shared.work),
            )),
            // Never permanent: the page may move (R84).
            Route::ChangePassword => Ok(Answer::see_other(paths.ask())),
        }
    }

    /// Takes the request, and answers everybody alike. Who has an account is found out later, by
    /// the worker, and told to nobody but the account's own mailbox.
    async fn ask(&self, ask: Ask, visitor: &Visitor) -> Result<Answer, Problem> {
        let identifier = Identifier::parse(pasted(&ask.identifier)).ok();
        // What cannot be a proof is none.
        let proof = ask.proof.as_ref();
        let proof = proof.and_then(|proof| Proof::parse(proof.expose_secret()).ok());
        let asked = match ask.method {
            Way::Link => self.ask_link(identifier, proof.as_ref(), visitor).await,
            way => {
                self.ask_code(identifier, proof.as_ref(), way, visitor)
                    .await
            }
        };
        match asked {
            Err(Problem::Challenge) if !visitor.json => self.asking(true, visitor),
            asked => asked,
        }
    }

    async fn ask_link(
        &self,
        identifier: Option<Identifier>,
        proof: Option<&Proof>,
        visitor: &Visitor,
    ) -> Result<Answer, Problem> {
        let (flow, client) = (&self.shared.flow, &visitor.client);
        match identifier {
            Some(identifier) => flow.request_with_proof(&identifier, proof, client).await?,
            // What cannot be an identifier belongs to nobody, and nobody gets this same answer.
            None => flow.request_unreadable(proof, client).await?,
        };
        Ok(if visitor.json {
            Answer::status(StatusCode::ACCEPTED, "accepted")
        } else {
            // Loading it again does not ask again.
            Answer::see_other(&self.paths().sent())
        })
    }

    /// The page that asks whose password it is, with work or a widget where a proof is asked for.
    fn asking(&self, again: bool, visitor: &Visitor) -> Result<Answer, Problem> {
        let flow = &self.shared.flow;
        let demanded = again || flow.asks_for_proof();
        let work = match demanded {
            true => flow.challenge()?,
            false => None,
        };
        let widget = self.shared.widget.as_ref().filter(|_| demanded);
        if again && work.is_none() && widget.is_none() {
            // A check whose widget is on no page of ours.
            return Err(Problem::Challenge);
        }
        let work = work.map(|work| work.to_json());
        let page = Page::Ask(Asking {
            work: work.as_deref(),
            widget,
            again,
        });
        let status = match again {
            true => Problem::Challenge.status(),
            false => StatusCode::OK,
        };
        Ok(self.page(status, page, visitor.language))
    }

    /// The same for programs.
    fn challenge(&self) -> Result<Answer, Problem> {
        let work = self.shared.flow.challenge()?.ok_or(Problem::NotFound)?;
        Ok(Answer::json_text(StatusCode::OK, work.to_json()))
    }

    /// Shows the form, and spends nothing: mail scanners open every link before its owner does (W36).
    ///
    /// A link comes here twice. First with the token in its address, which is moved into a cookie
    /// at once, so that it stays in no history, log or `Referer` (R81). Then without it.
    async fn open(&self, request: &Parts, visitor: &Visitor) -> Result<Answer, Problem> {
        let shared = &*self.shared;
        if let Some(token) = token_of_query(request.uri.query().unwrap_or_default()) {
            // Only what has the form of a token goes into a cookie; whether it is one is found out
            // on the clean address. What has not leaves the cookie of before: any page can send a
            // browser here with nonsense.
            let cookie = shared.handoff.keep(&token, shared.flow.link_life());
            let cookie = cookie.ok_or(Problem::Invalid)?;
            return Ok(Answer::see_other(shared.paths.choose()).cookie(&cookie));
        }
        let token = shared.handoff.token(&request.headers);
        let token = token.ok_or(Problem::LinkMissing)?;
        match shared.flow.verify(&token, &visitor.client).await {
            Ok(verified) => {
                let verified = self.with_proof(verified, &request.headers);
                let owner = Owner::of(&verified);
                if verified.needs_second_factor() {
                    // Before the password, which could not be set.
                    return Ok(self.ask_for_factor(&token, &owner, visitor));
                }
                Ok(self.form(&token, &owner, None, visitor))
            }
            Err(error) => Ok(self.ended(error.into(), visitor)),
        }
    }

    /// Sets the new password. Logs nobody in: who can read the mail has not shown to know the
    /// password, nor a second factor (R65).
    async fn choose(
        &self,
        format: Format,
        headers: &HeaderMap,
        body: &[u8],
        visitor: &Visitor,
    ) -> Result<Answer, Problem> {
        let shared = &*self.shared;
        if format == Format::Json {
            let json: ChooseJson = format.parse(body)?;
            let verified = shared
                .flow
                .verify(json.token.expose_secret(), &visitor.client);
            let verified = verified.await?;
            let verified = match &json.proof {
                Some(proof) => verified.with_proof(proof.expose_secret()),
                None => verified,
            };
            self.change(verified, json.password.expose_secret(), visitor)
                .await
                .map_err(|(problem, _)| problem)?;
            return Ok(if visitor.json {
                Answer::status(StatusCode::OK, "changed")
            } else {
                Answer::see_other(&shared.paths.done())
            });
        }
        let form: ChooseForm = format.parse(body)?;
        let token = shared.handoff.token(headers).ok_or(Problem::LinkMissing)?;
        if !handoff::is_sealed(&token, &form.form) {
            return Err(Problem::OtherLink);
        }
        let verified = match shared.flow.verify(&token, &visitor.client).await {
            Ok(verified) => self.with_proof(verified, headers),
            Err(error) => return Ok(self.ended(error.into(), visitor)),
        };
        match self
            .change(verified, form.password.expose_secret(), visitor)
            .await
        {
            Ok(()) => {
                let answer = if visitor.json {
                    Answer::status(StatusCode::OK, "changed")
                } else {
                    Answer::see_other(&shared.paths.done())
                };
                let answer = answer.cookie(&shared.handoff.forget());
                Ok(match shared.proof_handoff.token(headers) {
                    Some(_) => answer.cookie(&shared.proof_handoff.forget()),
                    None => answer,
                })
            }
            // The proof was too old, or is gone: once more, and then the password.
            Err((Problem::StepUp, owner)) if !visitor.json => {
                Ok(self.ask_for_factor(&token, &owner, visitor))
            }
            Err((Problem::Rejected(rejected), owner)) if !visitor.json => {
                Ok(self.form(&token, &owner, Some(&rejected), visitor))
            }
            Err((problem, _)) => Ok(self.ended(problem, visitor)),
        }
    }

    async fn change(
        &self,
        verified: Verified,
        password: &str,
        visitor: &Visitor,
    ) -> Result<(), (Problem, Owner)> {
        let owner = Owner::of(&verified);
        let verified = verified.seen(visitor.seen.clone());
        // Judged before anything is spent: the link survives every password that is refused.
        match verified.parse_password(password) {
            Ok(password) => match verified.complete(password).await {
                // Whatever is not settled yet, such as a session that could not be ended, the
                // worker finishes. The password is changed.
                Ok(_) => Ok(()),
                Err(error) => Err((error.into(), owner)),
            },
            Err(rejected) => Err((Problem::Rejected(rejected), owner)),
        }
    }

    fn form(
        &self,
        token: &str,
        owner: &Owner,
        rejected: Option<&PasswordRejected>,
        visitor: &Visitor,
    ) -> Answer {
        let policy = self.shared.flow.policy();
        let page = Page::Choose(Choose {
            account: owner.masked.as_deref(),
            username: owner.full.as_deref().filter(|_| self.shared.full_address),
            form: &handoff::seal(token),
            min: policy.min(),
            max: policy.max(),
            second_factor: owner.second_factor,
            rejected,
        });
        let status = match rejected {
            None => StatusCode::OK,
            Some(_) => StatusCode::UNPROCESSABLE_ENTITY,
        };
        // Who holds a good token is shown the account's own language.
        self.page(status, page, owner.language.unwrap_or(visitor.language))
    }

    /// A problem with a link; where the link is of no use any more, its cookie goes too.
    pub(crate) fn ended(&self, problem: Problem, visitor: &Visitor) -> Answer {
        let answer = self.problem(&problem, visitor);
        match problem {
            // With the last the link is as good as dead: its form would be shown, and then refused.
            Problem::Invalid | Problem::Expired | Problem::FactorTries => {
                answer.cookie(&self.shared.handoff.forget())
            }
            _ => answer,
        }
    }

    pub(crate) fn problem(&self, problem: &Problem, visitor: &Visitor) -> Answer {
        // No page but the form says why a password or a code was refused, and who sent JSON has no
        // form.
        let json = visitor.json || problem.is_on_a_form();
        let answer = if json {
            answer::problem_json(
                problem,
                &self.shared.texts,
                visitor.language,
                &self.view_of(problem, visitor.language),
            )
        } else {
            self.page(problem.status(), Page::Problem(problem), visitor.language)
        };
        answer.because_of(problem)
    }

    fn view_of<'a>(&'a self, problem: &'a Problem, language: Language) -> View<'a> {
        self.view(Page::Problem(problem), language)
    }

    pub(crate) fn view<'a>(&'a self, page: Page<'a>, language: Language) -> View<'a> {
        let shared = &*self.shared;
        View {
            page,
            language,
            site: shared.flow.site(),
            paths: &shared.paths,
            login: &shared.login,
            style: &shared.style,
            script: &shared.script,
            work: &shared.work,
            life: shared.flow.link_life(),
            codes: shared.flow.codes(),
            sms: shared.flow.has_sms(),
            texts: &shared.texts,
        }
    }

    pub(crate) fn page(&self, status: StatusCode, page: Page<'_>, language: Language) -> Answer {
        match self.shared.render.page(&self.view(page, language)) {
            Ok(html) => {
                let answer = Answer::html(status, html, language);
                match page {
                    Page::Ask(Asking {
                        widget: Some(widget),
                        ..
                    }) => answer.policy(widget.policy()),
                    _ => answer,
                }
            }
            Err(error) => {
                tracing::error!(
                    error = &*error as &(dyn std::error::Error + 'static),
                    "a page could not be rendered"
                );
                Answer::bare()
            }
        }
    }

    fn finish(&self, answer: Answer, language: Language) -> Response<Bytes> {
        let mut response = answer.into_response();
        let headers = response.headers_mut();
        let cached = headers.remove(header::CACHE_CONTROL);
        let policy = headers.remove(header::CONTENT_SECURITY_POLICY);
        add_page_headers(headers, self.shared.https);
        if let Some(policy) = policy {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        match cached {
            Some(cached) => {
                headers.insert(header::CACHE_CONTROL, cached);
            }
            None => {
                headers.insert(
                    header::VARY,
                    HeaderValue::from_static("Accept, Accept-Language, Cookie"),
                );
                headers
                    .entry(header::CONTENT_LANGUAGE)
                    .or_insert(HeaderValue::from_static(language.tag()));
            }
        }
        response
    }
}

/// Without what comes along from a mail or a table when an address is copied.
fn pasted(identifier: &str) -> &str {
    identifier.trim_matches(|c: char| {
        c.is_whitespace()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202c}' | '\u{2060}'
                | '\u{2066}'..='\u{2069}' | '\u{feff}')
    })
}

/// What the form says about whose password it changes.
pub(crate) struct Owner {
    pub(crate) masked: Option<String>,
    full: Option<String>,
    second_factor: bool,
    /// Whether it has one that counts for this token.
    pub(crate) usable_factor: bool,
    pub(crate) language: Option<Language>,
}

impl Owner {
    pub(crate) fn of(verified: &Verified) -> Self {
        Self {
            masked: verified.masked_address(),
            full: verified
                .address()
                .map(|address| address.as_str().to_owned()),
            second_factor: verified.has_second_factor(),
            usable_factor: !verified.usable_factors().is_empty(),
            language: verified.locale().and_then(Language::of_tag),
        }
    }
}

impl std::fmt::Debug for ResetWeb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResetWeb")
            .field("paths", &self.shared.paths)
            .finish_non_exhaustive()
    }
}
