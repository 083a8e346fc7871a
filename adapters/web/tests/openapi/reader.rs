//! Answers beside their documentation.

use std::collections::BTreeSet;

use http::request::Builder;
use http::{Method, Request, Response, StatusCode, header};
use password_reset_web::{Problem, bytes::Bytes};
use serde_json::Value;

use crate::world::World;
use crate::{document, resolve};

pub(crate) const JSON: &str = "application/json";
pub(crate) const PROBLEM: &str = "application/problem+json";

/// Method, path, status, and the kind of body or the code of the problem.
pub(crate) type Kind = (String, String, String, String);

/// Compares answers with the document, and remembers them.
pub(crate) struct Reader {
    document: Value,
    seen: BTreeSet<Kind>,
}

impl Reader {
    pub(crate) fn new() -> Self {
        Self {
            document: document(),
            seen: BTreeSet::new(),
        }
    }

    /// Sends it twice, as a program and as a browser.
    pub(crate) async fn send(&mut self, world: &World, request: Builder, body: &str) {
        let request = request.body(body.to_owned()).unwrap();
        for accept in [JSON, "text/html"] {
            let mut request = request.clone();
            let headers = request.headers_mut();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            self.send_as_is(world, request).await;
        }
    }

    pub(crate) async fn send_as_is(&mut self, world: &World, request: Request<String>) {
        let answer = world.web.respond(request.clone(), None).await;
        self.compare(&request, &answer);
    }

    /// For what the frameworks' glue finds out, or what takes luck.
    pub(crate) fn refuse(&mut self, world: &World, method: Method, path: &str, problem: &Problem) {
        for accept in [JSON, "text/html"] {
            let request = Request::builder().method(&method).uri(path);
            let request = request.header("accept", accept).body(()).unwrap();
            let (parts, ()) = request.into_parts();
            let answer = world.web.refuse(&parts, problem);
            self.compare(&Request::from_parts(parts, String::new()), &answer);
        }
    }

    fn compare(&mut self, request: &Request<String>, answer: &Response<Bytes>) {
        let (path, status) = (request.uri().path(), answer.status());
        let method = request.method().as_str().to_lowercase();
        let what = format!("{method} {path}: {answer:?}");
        let operation = &self.document["paths"][path][&method];
        let documented = match status {
            StatusCode::METHOD_NOT_ALLOWED => {
                assert!(operation.is_null(), "{what}");
                &self.document["components"]["responses"]["MethodNotAllowed"]
            }
            _ => &operation["responses"][status.as_str()],
        };
        let documented = resolve(&self.document, documented);
        assert!(documented.is_object(), "not documented: {what}");

        let line = |name: &str| {
            let value = answer.headers().get(name)?;
            Some(value.to_str().unwrap().to_owned())
        };
        for name in ["Allow", "Location", "Retry-After", "Set-Cookie"] {
            let header = resolve(&self.document, &documented["headers"][name]);
            match line(name) {
                None => assert!(header["required"] != true, "no {name}: {what}"),
                Some(line) => {
                    assert!(header.is_object(), "{name}: {what}");
                    let only = header["schema"]["const"].as_str();
                    assert_eq!(only.unwrap_or(&line), line, "{what}");
                }
            }
        }

        let kind = line("content-type").unwrap_or_default();
        let kind = kind.split(';').next().unwrap();
        let body = &documented["content"][kind];
        assert_eq!(body.is_object(), !kind.is_empty(), "{kind}: {what}");
        assert_eq!(answer.body().is_empty(), kind.is_empty(), "{what}");
        let mut word = kind;
        let told: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        if kind == PROBLEM {
            let fields = &body["schema"]["properties"];
            assert_eq!(told["status"], status.as_u16());
            assert_eq!(told["status"], fields["status"]["const"]);
            word = told["code"].as_str().unwrap();
            let codes = fields["code"]["enum"].as_array().unwrap();
            assert!(codes.contains(&told["code"]), "{what}");
        }
        if status != StatusCode::METHOD_NOT_ALLOWED {
            let kind = [&method, path, status.as_str(), word].map(str::to_owned);
            self.seen.insert(kind.into());
        }
    }

    pub(crate) fn seen(&self) -> &BTreeSet<Kind> {
        &self.seen
    }

    /// Everything that the document promises.
    pub(crate) fn documented(&self) -> BTreeSet<Kind> {
        let mut all = BTreeSet::new();
        for (path, operations) in self.document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                for (status, answer) in operation["responses"].as_object().unwrap() {
                    let answer = resolve(&self.document, answer);
                    let mut add = |word: &str| {
                        let kind = [method, path, status, word].map(str::to_owned);
                        all.insert(kind.into());
                    };
                    let Some(content) = answer["content"].as_object() else {
                        add("");
                        continue;
                    };
                    for (kind, body) in content {
                        let codes = &body["schema"]["properties"]["code"]["enum"];
                        match codes.as_array() {
                            Some(codes) => {
                                codes.iter().filter_map(Value::as_str).for_each(&mut add)
                            }
                            None => add(kind),
                        }
                    }
                }
            }
        }
        all
    }
}
