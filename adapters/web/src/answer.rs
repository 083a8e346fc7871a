//! Answers, before the header lines that all of them have.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use password_reset::password::Violation;
use password_reset::text::{Language, Texts};
use serde_json::{Value, json};

use crate::body::Format;
use crate::page::View;
use crate::problem::Problem;

/// Files may carry their version in their address.
const FOR_A_YEAR: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// An answer in the making.
pub(crate) struct Answer(Response<Bytes>);

impl Answer {
    fn new(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Self {
        let mut response = Response::new(body.into());
        *response.status_mut() = status;
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        Self(response)
    }

    pub(crate) fn html(status: StatusCode, html: String, language: Language) -> Self {
        let mut answer = Self::new(status, "text/html; charset=utf-8", html);
        let tag = HeaderValue::from_static(language.tag());
        answer.0.headers_mut().insert(header::CONTENT_LANGUAGE, tag);
        answer
    }

    /// A page for operators, which has one language.
    pub(crate) fn english(status: StatusCode, html: String) -> Self {
        let mut answer = Self::new(status, "text/html; charset=utf-8", html);
        let tag = HeaderValue::from_static("en");
        answer.0.headers_mut().insert(header::CONTENT_LANGUAGE, tag);
        answer
    }

    /// For when no page can be rendered.
    pub(crate) fn bare() -> Self {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Self::new(
            status,
            "text/plain; charset=utf-8",
            "The page cannot be shown.",
        )
    }

    /// A file; to be kept if it was asked for by its version.
    pub(crate) fn file(kind: &'static str, body: &str, versioned: bool) -> Self {
        let mut answer = Self::new(StatusCode::OK, kind, body.to_owned());
        if versioned {
            let headers = answer.0.headers_mut();
            headers.insert(header::CACHE_CONTROL, FOR_A_YEAR);
        }
        answer
    }

    pub(crate) fn status(status: StatusCode, word: &'static str) -> Self {
        Self::json(status, &[("status", word)])
    }

    pub(crate) fn json(status: StatusCode, fields: &[(&str, &str)]) -> Self {
        let fields: serde_json::Map<_, _> = fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Value::from(*value)))
            .collect();
        Self::new(status, "application/json", Value::from(fields).to_string())
    }

    /// What is JSON already.
    pub(crate) fn json_text(status: StatusCode, json: String) -> Self {
        Self::new(status, "application/json", json)
    }

    /// To a path of this site, whatever host the visitor came by.
    pub(crate) fn see_other(path: &str) -> Self {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::SEE_OTHER;
        // A path is plain, so it is always a header's value.
        if let Ok(path) = HeaderValue::from_str(path) {
            response.headers_mut().insert(header::LOCATION, path);
        }
        Self(response)
    }

    pub(crate) fn cookie(mut self, cookie: &str) -> Self {
        if let Ok(mut cookie) = HeaderValue::from_str(cookie) {
            cookie.set_sensitive(true);
            self.0.headers_mut().append(header::SET_COOKIE, cookie);
        }
        self
    }

    /// In place of the policy that every other answer has.
    pub(crate) fn policy(mut self, policy: &'static str) -> Self {
        let headers = self.0.headers_mut();
        let policy = HeaderValue::from_static(policy);
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        self
    }

    /// What a problem says in header lines.
    pub(crate) fn because_of(mut self, problem: &Problem) -> Self {
        let headers = self.0.headers_mut();
        if let Some(wait) = problem.retry_after() {
            // Rounded up: who waits as long as told is let in.
            let part = u64::from(wait.subsec_nanos() > 0);
            headers.insert(
                header::RETRY_AFTER,
                wait.as_secs().saturating_add(part).into(),
            );
        }
        if let Problem::MethodNotAllowed { allow } = problem {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        self
    }

    pub(crate) fn into_response(self) -> Response<Bytes> {
        self.0
    }
}

/// Whether the answer is to be JSON: `Accept` says so, or it says nothing of HTML and the body is
/// JSON.
pub(crate) fn likes_json(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT);
    let accept = accept
        .and_then(|accept| accept.to_str().ok())
        .unwrap_or_default();
    let names = |kind: &str| accept.to_ascii_lowercase().contains(kind);
    if names("text/html") {
        return false;
    }
    names("application/json")
        || names("application/problem+json")
        || Format::of(headers) == Some(Format::Json)
}

/// RFC 9457. `type` and `code` are stable, the words are in the visitor's language.
pub(crate) fn problem_json(
    problem: &Problem,
    texts: &Texts,
    language: Language,
    view: &View<'_>,
) -> Answer {
    let code = problem.code();
    let detail = match problem {
        Problem::Invalid | Problem::Expired | Problem::LinkMissing => {
            view.text(&format!("dead.{code}"))
        }
        Problem::CodeInvalid => view.text("code.wrong"),
        Problem::FactorWrong => view.text("factor.wrong"),
        Problem::Rejected(rejected) => {
            let reasons = rejected.violations().iter();
            let reasons = reasons.map(|violation| texts.violation(language, violation));
            let reasons: Result<Vec<_>, _> = reasons.collect();
            reasons.map(|reasons| reasons.join(" "))
        }
        // Who sent these has written a program: a form of ours is none of them.
        Problem::Malformed | Problem::UnsupportedMediaType | Problem::TooLarge => {
            view.text(&format!("{code}.detail"))
        }
        _ => view.text(&format!("{code}.advice")),
    };
    let mut body = json!({
        "type": format!("urn:password-reset:{code}"),
        "title": view.title().unwrap_or_default(),
        "status": problem.status().as_u16(),
        "detail": detail.unwrap_or_default(),
        "code": code,
    });
    if let (Problem::Rejected(rejected), Some(fields)) = (problem, body.as_object_mut()) {
        let violations = rejected.violations().iter();
        let violations = violations.map(|violation| violation_json(violation, texts, language));
        fields.insert("violations".to_owned(), violations.collect());
    }
    Answer::new(
        problem.status(),
        "application/problem+json",
        body.to_string(),
    )
}

fn violation_json(violation: &Violation, texts: &Texts, language: Language) -> Value {
    let mut body = json!({
        "code": violation.code(),
        "message": texts.violation(language, violation).unwrap_or_default(),
    });
    let bound = match violation {
        Violation::TooShort { min } => Some(("min", min)),
        Violation::TooLong { max } | Violation::TooManyBytes { max } => Some(("max", max)),
        _ => None,
    };
    if let (Some((name, bound)), Some(fields)) = (bound, body.as_object_mut()) {
        fields.insert(name.to_owned(), Value::from(*bound));
    }
    body
}
