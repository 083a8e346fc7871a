//! The operator's view of the audit trail: [`Activity`].

mod chart;
mod filter;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header;
use http::{Response, StatusCode};
use minijinja::value::Value;
use minijinja::{Environment, UndefinedBehavior};
use password_reset::account::{Identifier, Tenant};
use password_reset::audit::log::{
    AuditLog, CodePrefix, Entry, Page, Position, Query, Spans, Thread, journey,
};
use password_reset::audit::{EventKind, Severity};
use password_reset::error::BoxError;
use password_reset::{ResetFlow, Timestamp};

use crate::answer::Answer;
use crate::builder::versioned;
use crate::headers::add_page_headers;
use crate::paths::{InvalidPath, is_plain};
use crate::service::ResetWeb;
use chart::{Chart, charts};
use filter::{Filter, Form, Span, Unreadable};

/// How many events a page lists.
const LISTED: u32 = 100;
/// How many alarms stand on top.
const ALARMS: u32 = 10;

const PAGE: &str = include_str!("pages/activity.html");
const STYLE: &str = include_str!("pages/activity.css");

/// A page that shows operators what happened: requests, outcomes, limits and alarms over time as
/// charts, and below them the events themselves, filtered and paged. In English, without a script,
/// under the same strict headers as the other pages.
///
/// **It is for operators, and it asks nobody who they are.** No router of this crate serves it: call
/// it from a handler of your own, behind your own admin login and its second factor. It shows ids of
/// accounts, addresses of clients, and who has asked for resets.
///
/// Somebody's events are found by what they would type, in a form: [`find`](Self::find) makes
/// pseudonyms of it at once, so that no URL, log or history holds the address. That works because
/// the host has the key; whoever has only the trail cannot do it.
///
/// ```
/// use password_reset::audit::AuditLog;
/// use password_reset::{ResetFlow, Timestamp};
/// use password_reset_web::bytes::Bytes;
/// use password_reset_web::http::Response;
/// use password_reset_web::{Activity, ResetWeb};
///
/// /// Once. The path is where your router calls the two handlers.
/// fn activity(web: &ResetWeb) -> Result<Activity, password_reset_web::InvalidPath> {
///     Activity::new(web, "/admin/resets")
/// }
///
/// /// GET /admin/resets?…, for a logged-in operator.
/// async fn page(
///     activity: &Activity,
///     log: &dyn AuditLog,
///     query: Option<&str>,
///     now: Timestamp,
/// ) -> Response<Bytes> {
///     activity.page(log, query.unwrap_or_default(), now).await
/// }
///
/// /// POST /admin/resets: leads back to the page.
/// fn find(activity: &Activity, flow: &ResetFlow, body: &[u8]) -> Response<Bytes> {
///     activity.find(flow, body)
/// }
/// ```
#[derive(Clone)]
pub struct Activity {
    shared: Arc<Shared>,
    tenant: Option<Tenant>,
}

struct Shared {
    engine: Environment<'static>,
    service: String,
    path: String,
    https: bool,
    /// The style sheet of the other pages, for its colours, and this page's own.
    base: String,
    style: String,
}

impl Activity {
    /// The page of a service, which the application serves at `path`.
    ///
    /// # Errors
    ///
    /// [`InvalidPath`] for what is no plain path.
    pub fn new(web: &ResetWeb, path: &str) -> Result<Self, InvalidPath> {
        if !is_plain(path) {
            return Err(InvalidPath::not_plain(path));
        }
        let mut engine = Environment::new();
        engine.set_undefined_behavior(UndefinedBehavior::Strict);
        // It parses: every page of the tests is made of it.
        let _ = engine.add_template("activity.html", PAGE);
        Ok(Self {
            shared: Arc::new(Shared {
                engine,
                service: web.shared.flow.site().service_name().to_owned(),
                path: path.to_owned(),
                https: web.is_https(),
                base: web.style().to_owned(),
                style: versioned(path, STYLE),
            }),
            tenant: None,
        })
    }

    /// Shows the events of one tenant only. Events that name no tenant are not among them.
    pub fn within(mut self, tenant: Tenant) -> Self {
        self.tenant = Some(tenant);
        self
    }

    /// The page for a query, the part of the URL behind the question mark; also its style sheet, for
    /// the query that the page asks it by.
    ///
    /// A query that cannot be read is answered with 400, a log that fails with 503, each with a page
    /// that says so.
    pub async fn page(&self, log: &dyn AuditLog, query: &str, now: Timestamp) -> Response<Bytes> {
        if query.starts_with("v=") {
            let versioned = self.shared.style.ends_with(query);
            let answer = Answer::file("text/css; charset=utf-8", STYLE, versioned);
            return self.finish(answer.into_response());
        }
        let filter = match Filter::parse(query) {
            Ok(filter) => filter,
            Err(unreadable) => return self.unreadable(unreadable),
        };
        match self.look(log, &filter, now).await {
            Ok(found) => self.show(StatusCode::OK, &filter, &found),
            Err(_) => {
                // The log has said what failed, where it is seen.
                let found = Found {
                    problem: Some(
                        "The audit trail cannot be read at this moment. Try again, or choose a \
                         shorter span."
                            .to_owned(),
                    ),
                    ..Found::default()
                };
                self.show(StatusCode::SERVICE_UNAVAILABLE, &filter, &found)
            }
        }
    }

    /// The answer to the page's form, whose body is `body`: leads to the page with the filter in its
    /// query, where what was typed to find somebody by stands as pseudonyms. Give the flow of the
    /// tenant that is looked at.
    pub fn find(&self, flow: &ResetFlow, body: &[u8]) -> Response<Bytes> {
        let (mut filter, typed) = match Filter::parse_form(body) {
            Ok(Form { filter, typed }) => (filter, typed),
            Err(unreadable) => return self.unreadable(unreadable),
        };
        if !typed.trim().is_empty() {
            let Ok(identifier) = Identifier::parse(&typed) else {
                return self.unreadable(Unreadable("who"));
            };
            filter.identifiers = flow.pseudonyms(&identifier);
            filter
                .identifiers
                .truncate(password_reset::audit::log::MAX_PSEUDONYMS);
        }
        let answer = Answer::see_other(&self.link(&filter));
        self.finish(answer.into_response())
    }

    async fn look(
        &self,
        log: &dyn AuditLog,
        filter: &Filter,
        now: Timestamp,
    ) -> Result<Found, BoxError> {
        if let Some(thread) = filter.journey {
            let mut entries = journey(log, thread).await?;
            let own = |entry: &Entry| self.tenant.is_none() || entry.event.tenant == self.tenant;
            entries.retain(own);
            let mut page = Page::of(false);
            page.entries = entries;
            return Ok(Found {
                page,
                ..Found::default()
            });
        }
        let spans = spans(filter.span, filter.until.unwrap_or(now));
        let mut query = self.own(filter.query(LISTED));
        let counts = log.count(&query, &spans).await?;
        query = query.from(spans.from()).until(spans.until());
        let page = log.read(&query).await?;
        let mut alarms = self.own(Query::newest(ALARMS)).from(spans.from());
        alarms.until = Some(spans.until());
        alarms.code = CodePrefix::parse("alarm");
        let alarms = log.read(&alarms).await?.entries;
        Ok(Found {
            problem: None,
            total: counts
                .iter()
                .fold(0, |sum, count| sum.saturating_add(count.events)),
            charts: charts(&counts, &spans),
            spans: Some(spans),
            alarms,
            page,
        })
    }

    fn own(&self, mut query: Query) -> Query {
        query.tenant.clone_from(&self.tenant);
        query
    }

    fn unreadable(&self, Unreadable(field): Unreadable) -> Response<Bytes> {
        let found = Found {
            problem: Some(format!("This filter cannot be read: {field}.")),
            ..Found::default()
        };
        self.show(StatusCode::BAD_REQUEST, &Filter::default(), &found)
    }

    fn link(&self, filter: &Filter) -> String {
        match filter.write() {
            query if query.is_empty() => self.shared.path.clone(),
            query => format!("{}?{query}", self.shared.path),
        }
    }

    fn show(&self, status: StatusCode, filter: &Filter, found: &Found) -> Response<Bytes> {
        let values = self.values(filter, found);
        let template = self.shared.engine.get_template("activity.html");
        let html = template.and_then(|template| template.render(Value::from(values)));
        let answer = match html {
            Ok(html) => Answer::english(status, html),
            Err(error) => {
                tracing::error!(%error, "the page of activity cannot be rendered");
                Answer::bare()
            }
        };
        self.finish(answer.into_response())
    }

    /// With the headers of all pages; what may be kept stays so.
    fn finish(&self, mut response: Response<Bytes>) -> Response<Bytes> {
        let kept = response.headers().get(header::CACHE_CONTROL).cloned();
        add_page_headers(response.headers_mut(), self.shared.https);
        if let Some(kept) = kept {
            response.headers_mut().insert(header::CACHE_CONTROL, kept);
        }
        response
    }

    fn values(&self, filter: &Filter, found: &Found) -> BTreeMap<&'static str, Value> {
        let shared = &self.shared;
        let link = |filter: &Filter| Value::from(self.link(filter));
        let options = |all: Vec<(&str, &str)>, chosen: &str| {
            let option = |(value, label): &(&str, &str)| {
                object([
                    ("value", Value::from(*value)),
                    ("label", Value::from(*label)),
                    ("chosen", Value::from(*value == chosen)),
                ])
            };
            all.iter().map(option).collect::<Value>()
        };
        let spans = Span::ALL
            .iter()
            .map(|span| (span.name, span.label))
            .collect();
        let kinds = [("", "everything")].into_iter();
        let kinds = kinds.chain(EventKind::WORDS.iter().map(|word| (*word, *word)));
        let code = filter.code.as_ref().map_or("", CodePrefix::as_str);
        let listed = EventKind::WORDS.contains(&code) || code.is_empty();
        let kinds = kinds.chain((!listed).then_some((code, code))).collect();
        let severities = vec![
            ("", "everything"),
            ("warn", "warnings and worse"),
            ("critical", "critical only"),
        ];
        let severity = filter.severity.filter(|it| *it > Severity::Info);
        let text = |text: Option<String>| Value::from(text.unwrap_or_default());
        let entries = |entries: &[Entry]| {
            entries
                .iter()
                .map(|entry| self.row(filter, entry))
                .collect::<Value>()
        };
        let older = found.page.last.filter(|_| found.page.more);
        let older = older.map(|(place, _)| self.beyond(filter, place));
        let charts = found.charts.iter().map(|it| drawn(it, filter.span));
        BTreeMap::from([
            ("service", Value::from(shared.service.as_str())),
            ("path", Value::from(shared.path.as_str())),
            ("base", Value::from(shared.base.as_str())),
            ("style", Value::from(shared.style.as_str())),
            ("problem", Value::from(found.problem.clone())),
            ("span", options(spans, filter.span.name)),
            ("kind", options(kinds, code)),
            (
                "severity",
                options(severities, severity.map_or("", Severity::as_str)),
            ),
            ("source", text(filter.source.map(|it| it.to_string()))),
            ("user", text(filter.user.as_ref().map(ToString::to_string))),
            ("who", text(filter.who())),
            (
                "journey",
                Value::from(filter.journey.map(|thread| match thread {
                    Thread::Job(job) => format!("job {job}"),
                    Thread::Token(token) => format!("token {token}"),
                })),
            ),
            ("paged", Value::from(filter.beyond.is_some())),
            ("everything", Value::from(shared.path.as_str())),
            ("newest", link(&filter.with(|_| ()))),
            ("older", Value::from(older)),
            (
                "from",
                text(found.spans.map(|spans| spans.from().to_string())),
            ),
            (
                "until",
                text(found.spans.map(|spans| spans.until().to_string())),
            ),
            (
                "fixed",
                text(filter.until.map(|at| at.unix_micros().to_string())),
            ),
            (
                "earlier",
                text(found.spans.map(|spans| {
                    self.link(&filter.with(|filter| filter.until = Some(spans.from())))
                })),
            ),
            ("total", Value::from(found.total)),
            ("unreadable", Value::from(found.page.unreadable)),
            ("charts", charts.collect()),
            ("alarms", entries(&found.alarms)),
            ("entries", entries(&found.page.entries)),
        ])
    }

    fn beyond(&self, filter: &Filter, place: Position) -> String {
        let mut filter = filter.clone();
        filter.beyond = Some(place);
        self.link(&filter)
    }

    /// One event. Every value is escaped by the template.
    fn row(&self, filter: &Filter, entry: &Entry) -> Value {
        let event = &entry.event;
        let to = |change: &dyn Fn(&mut Filter)| self.link(&filter.with(change));
        let cell = |shown: Option<String>, link: Option<String>| match shown {
            Some(shown) => object([
                ("text", Value::from(visible(&shown))),
                ("link", Value::from(link)),
            ]),
            None => Value::from(()),
        };
        let thread = event.job.map(Thread::Job);
        let thread = thread.or(event.token.map(Thread::Token));
        let code = CodePrefix::parse(&event.kind.code());
        object([
            ("at", Value::from(event.at.to_string())),
            ("severity", Value::from(event.kind.severity().as_str())),
            ("name", Value::from(event.kind.name())),
            (
                "kind",
                cell(
                    Some(event.kind.to_string()),
                    code.map(|code| to(&|it| it.code = Some(code.clone()))),
                ),
            ),
            (
                "user",
                cell(
                    event.user.as_ref().map(ToString::to_string),
                    event
                        .user
                        .as_ref()
                        .map(|user| to(&|it| it.user = Some(user.clone()))),
                ),
            ),
            (
                "who",
                cell(
                    event.identifier.map(|who| short(&who.to_string())),
                    event
                        .identifier
                        .map(|who| to(&|it| it.identifiers = vec![who])),
                ),
            ),
            (
                "source",
                cell(
                    event.source.map(|source| source.to_string()),
                    event
                        .source
                        .map(|source| to(&|it| it.source = Some(source))),
                ),
            ),
            (
                "journey",
                cell(
                    thread.map(|thread| match thread {
                        Thread::Job(job) => short(&job.to_string()),
                        Thread::Token(token) => short(&token.to_string()),
                    }),
                    thread.map(|thread| to(&|it| it.journey = Some(thread))),
                ),
            ),
            (
                "tenant",
                cell(event.tenant.as_ref().map(ToString::to_string), None),
            ),
            (
                "actor",
                cell(event.actor.as_ref().map(ToString::to_string), None),
            ),
        ])
    }
}

impl fmt::Debug for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Activity")
            .field("path", &self.shared.path)
            .field("tenant", &self.tenant)
            .finish_non_exhaustive()
    }
}

/// What there is to show.
#[derive(Default)]
struct Found {
    problem: Option<String>,
    spans: Option<Spans>,
    total: u64,
    charts: Vec<Chart>,
    alarms: Vec<Entry>,
    page: Page,
}

/// Bars that begin at round times; the last one is not over yet.
fn spans(span: Span, until: Timestamp) -> Spans {
    let width = i64::try_from(span.width.as_micros())
        .unwrap_or(i64::MAX)
        .max(1);
    let over = until.unix_micros().div_euclid(width).saturating_add(1);
    // At a round moment, such as the beginning of a later span, nothing of the next bar is shown.
    let exact = until.unix_micros().rem_euclid(width) == 0;
    let end = over.saturating_sub(i64::from(exact)).saturating_mul(width);
    let all = span.width.saturating_mul(span.number);
    Spans::new(
        Timestamp::from_unix_micros(end) - all,
        span.width,
        span.number,
    )
}

fn drawn(chart: &Chart, span: Span) -> Value {
    let series = chart.series.iter().map(|series| {
        object([
            ("class", Value::from(series.colour.class())),
            ("name", Value::from(series.name)),
            ("total", Value::from(series.total())),
        ])
    });
    let table = chart.table().into_iter().map(|(at, numbers)| {
        object([
            ("at", Value::from(chart::minute(at))),
            ("numbers", numbers.into_iter().map(Value::from).collect()),
        ])
    });
    object([
        ("title", Value::from(chart.title)),
        ("about", Value::from(chart.about)),
        ("series", series.collect()),
        ("table", table.collect()),
        (
            "bar",
            Value::from(format!("{} min", span.width.as_secs() / 60)),
        ),
        // Made of numbers and of words of this crate.
        ("svg", Value::from_safe_string(chart.svg())),
    ])
}

fn object<const N: usize>(fields: [(&'static str, Value); N]) -> Value {
    Value::from(BTreeMap::from(fields))
}

/// Enough of a name to tell it from others.
fn short(id: &str) -> String {
    id.chars().take(8).collect()
}

/// Characters that are not seen, or that turn the text behind them around, as `\u{..}`: two names
/// that look the same must be the same.
fn visible(text: &str) -> String {
    let mut seen = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\'' | '\\' => seen.push(c),
            c => seen.extend(c.escape_debug()),
        }
    }
    seen
}
