//! Every answer that is documented, given once, and compared with its documentation.

use std::time::Duration;

use http::request::Builder;
use http::{Method, Request, header};
use password_reset::clock::Timestamp;
use password_reset::error::BoxError;
use password_reset::flow::Limits;
use password_reset::limit::{Decision, LimitKey, Quota, RateLimiter, Unlimited};
use password_reset_web::{MAX_BODY_BYTES, Problem};
use serde_json::Value;

use crate::reader::{JSON, PROBLEM, Reader};
use crate::world::{DENIED, FACTOR, GOOD, GUARDED, MAILED, SHOWN, World};

const ASK: &str = "/forgot-password";
const CODE: &str = "/forgot-password/code";
const CHOOSE: &str = "/reset-password";
const FACTORS: &str = "/reset-password/factor";
const CANCEL: &str = "/reset-password/not-me";
const FORM: &str = "application/x-www-form-urlencoded";

/// Lets nobody in.
struct Closed;

#[password_reset::async_trait]
impl RateLimiter for Closed {
    async fn check(&self, _: &LimitKey, _: &Quota, _: Timestamp) -> Result<Decision, BoxError> {
        let retry_after = Duration::from_millis(1_500);
        Ok(Decision::Deny { retry_after })
    }

    async fn clear(&self, _: &LimitKey) -> Result<(), BoxError> {
        Ok(())
    }
}

fn post(path: &str, kind: &str) -> Builder {
    Request::post(path).header(header::CONTENT_TYPE, kind)
}

fn with_cookie(request: Builder, token: &str) -> Builder {
    request.header(header::COOKIE, format!("__Host-password-reset={token}"))
}

fn form(seal: &str, password: &str) -> String {
    format!("form={seal}&password={}", password.replace(' ', "+"))
}

fn json(token: &str, password: &str) -> String {
    serde_json::json!({ "token": token, "password": password }).to_string()
}

#[tokio::test]
async fn every_documented_answer_is_given_and_no_other() {
    let world = World::new(Unlimited, Limits::default());
    let closed = World::new(Closed, Limits::default());
    let mut reader = Reader::new();
    let paths: Vec<_> = world.web.paths().arriving().collect();

    for path in &paths {
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::OPTIONS] {
            let request = Request::builder().method(method).uri(path);
            reader.send(&world, request, "").await;
        }
    }
    for method in [Method::GET, Method::HEAD] {
        let open = |query: &str| {
            let request = Request::builder().method(&method);
            request.uri(format!("{CHOOSE}{query}"))
        };
        let with_cookie = |token: &str| with_cookie(open(""), token);
        let token = world.token("ada").await;
        let link = format!("?token={token}");
        reader.send(&world, open(&link), "").await;
        reader.send(&world, open("?token=nonsense"), "").await;
        reader.send(&world, with_cookie(&token), "").await;
        reader.send(&closed, with_cookie(&token), "").await;
        world.faults.always_fail();
        reader.send(&world, with_cookie(&token), "").await;
        world.faults.heal();
        let mailed = world.token(MAILED).await;
        reader.send(&world, with_cookie(&mailed), "").await;
        world.clock.advance(Duration::from_secs(1_860));
        reader.send(&world, with_cookie(&token), "").await;
        reader.refuse(&world, method.clone(), CHOOSE, &Problem::InUse);
    }

    for path in [ASK, CODE, CHOOSE, FACTORS, CANCEL] {
        let long = "a".repeat(MAX_BODY_BYTES + 1);
        reader.send(&world, post(path, FORM), &long).await;
        reader.send(&world, post(path, FORM), "").await;
        reader.send(&world, post(path, JSON), "{}").await;
        reader.send(&world, post(path, "text/plain"), "").await;
        let other = post(path, FORM).header("sec-fetch-site", "cross-site");
        reader.send(&world, other, "").await;
        for problem in [Problem::Timeout, Problem::Unavailable] {
            reader.refuse(&world, Method::POST, path, &problem);
        }
    }
    reader.refuse(&world, Method::POST, CHOOSE, &Problem::Uncertain);

    for identifier in ["ada@example.com", "nobody@example.com", "", "%00"] {
        let body = format!("identifier={identifier}");
        reader.send(&world, post(ASK, FORM), &body).await;
    }
    let ada = r#"{"identifier":"ada@example.com"}"#;
    reader.send(&world, post(ASK, JSON), ada).await;
    // Over a limit, without a proof and with one that is none. With a good one it is told to wait,
    // which a limiter that takes nothing cannot show.
    reader.send(&closed, post(ASK, JSON), ada).await;
    let proven = r#"{"identifier":"ada@example.com","proof":"AAAA"}"#;
    reader.send(&closed, post(ASK, JSON), proven).await;
    let retry_after = Duration::from_secs(180);
    reader.refuse(
        &world,
        Method::POST,
        ASK,
        &Problem::RateLimited { retry_after },
    );
    for method in [Method::GET, Method::HEAD] {
        for path in [ASK, "/forgot-password/challenge"] {
            reader.refuse(&world, method.clone(), path, &Problem::Unavailable);
        }
    }
    for method in ["code", "sms"] {
        let body = format!("identifier=ada@example.com&method={method}");
        reader.send(&world, post(ASK, FORM), &body).await;
    }

    let with_handle = |request: Builder, handle: &str| {
        request.header(
            header::COOKIE,
            format!("__Host-password-reset-code={handle}"),
        )
    };
    let (handle, code) = world.code("dora").await;
    for method in [Method::GET, Method::HEAD] {
        let page = Request::builder().method(method).uri(CODE);
        reader.send(&world, with_handle(page, &handle), "").await;
    }
    let wrong = serde_json::json!({ "handle": handle, "code": "00000000" }).to_string();
    reader.send(&world, post(CODE, JSON), &wrong).await;
    reader.send(&closed, post(CODE, JSON), &wrong).await;
    reader
        .send(
            &world,
            with_handle(post(CODE, FORM), &handle),
            "code=00000000",
        )
        .await;
    let right = with_handle(post(CODE, FORM), &handle)
        .body(format!("code={code}"))
        .unwrap();
    reader.send_as_is(&world, right).await;
    let (handle, code) = world.code("emil").await;
    let right = serde_json::json!({ "handle": handle, "code": code }).to_string();
    reader
        .send_as_is(&world, post(CODE, JSON).body(right).unwrap())
        .await;
    reader.refuse(&world, Method::POST, CODE, &Problem::Busy);

    let nobody = json(&"A".repeat(64), GOOD);
    reader.send(&world, post(CHOOSE, JSON), &nobody).await;
    reader.send(&closed, post(CHOOSE, JSON), &nobody).await;
    for user in [DENIED, GUARDED] {
        let body = json(&world.token(user).await, GOOD);
        reader.send(&world, post(CHOOSE, JSON), &body).await;
    }
    let (token, seal) = world.opened("bob").await;
    let by_form = || with_cookie(post(CHOOSE, FORM), &token);
    reader
        .send(&world, post(CHOOSE, FORM), &form(&seal, GOOD))
        .await;
    reader.send(&world, by_form(), &form("another", GOOD)).await;
    reader.send(&world, by_form(), &form(&seal, "short")).await;
    world.faults.always_fail();
    reader.send(&world, by_form(), &form(&seal, GOOD)).await;
    world.faults.heal();
    // Once as a program, and then as a browser, to whom the link is spent.
    reader.send(&world, by_form(), &form(&seal, GOOD)).await;
    let (token, seal) = world.opened("eve").await;
    let request = with_cookie(post(CHOOSE, FORM), &token);
    let request = request.body(form(&seal, GOOD)).unwrap();
    reader.send_as_is(&world, request).await;
    let late = json(&world.token("carol").await, GOOD);
    world.clock.advance(Duration::from_secs(1_860));
    reader.send(&world, post(CHOOSE, JSON), &late).await;
    for problem in [Problem::InUse, Problem::Busy] {
        reader.refuse(&world, Method::POST, CHOOSE, &problem);
    }

    factor(&mut reader, &world, &closed).await;
    cancel(&mut reader, &world, &closed).await;
    assert_eq!(reader.seen(), &reader.documented());
}

/// The answers to the second factor.
async fn factor(reader: &mut Reader, world: &World, closed: &World) {
    let json = |token: &str, response: &str| {
        serde_json::json!({ "token": token, "response": response }).to_string()
    };
    let (token, seal) = world.opened(FACTOR).await;
    let by_form = || with_cookie(post(FACTORS, FORM), &token);
    let form = |seal: &str, response: &str| format!("form={seal}&response={response}");
    reader
        .send(world, post(FACTORS, FORM), &form(&seal, "0"))
        .await;
    reader.send(world, by_form(), &form("another", "0")).await;
    world.faults.always_fail();
    reader.send(world, by_form(), &form(&seal, "0")).await;
    world.faults.heal();
    reader.send(world, by_form(), &form(&seal, "000000")).await;
    reader
        .send(world, by_form(), &form(&seal, "123%20456"))
        .await;
    let right = json(&token, SHOWN);
    let right = post(FACTORS, JSON).body(right).unwrap();
    reader.send_as_is(world, right).await;
    // The sixth try.
    reader.send(world, by_form(), &form(&seal, "000000")).await;
    let nobody = json(&"A".repeat(64), SHOWN);
    reader.send(world, post(FACTORS, JSON), &nobody).await;
    reader.send(closed, post(FACTORS, JSON), &nobody).await;
    let without = json(&world.token("hugo").await, SHOWN);
    reader.send(world, post(FACTORS, JSON), &without).await;
    let late = json(&world.token(FACTOR).await, SHOWN);
    world.clock.advance(Duration::from_secs(1_860));
    reader.send(world, post(FACTORS, JSON), &late).await;
    reader.refuse(world, Method::POST, FACTORS, &Problem::InUse);
}

/// The answers of "this wasn't me".
async fn cancel(reader: &mut Reader, world: &World, closed: &World) {
    let with_cookie = |request: Builder, token: &str| {
        request.header(
            header::COOKIE,
            format!("__Host-password-reset-cancel={token}"),
        )
    };
    let nobody = "A".repeat(64);
    for method in [Method::GET, Method::HEAD] {
        let open = |query: &str| {
            let request = Request::builder().method(&method);
            request.uri(format!("{CANCEL}{query}"))
        };
        let token = world.not_me("dan").await;
        reader
            .send(world, open(&format!("?token={token}")), "")
            .await;
        reader.send(world, open("?token=nonsense"), "").await;
        reader.send(world, with_cookie(open(""), &token), "").await;
        reader.send(world, with_cookie(open(""), &nobody), "").await;
        reader.send(closed, with_cookie(open(""), &token), "").await;
        world.faults.always_fail();
        reader.send(world, with_cookie(open(""), &token), "").await;
        world.faults.heal();
    }
    let json = |token: &str, hours: i64| {
        serde_json::json!({ "token": token, "pause_hours": hours }).to_string()
    };
    let good = world.not_me("finn").await;
    for (token, hours) in [(&nobody, 1), (&good, -1), (&good, 169), (&good, 168)] {
        reader
            .send(world, post(CANCEL, JSON), &json(token, hours))
            .await;
    }
    reader
        .send(closed, post(CANCEL, JSON), &json(&nobody, 1))
        .await;
    let (token, seal) = world.opened_not_me("gus").await;
    let by_form = || with_cookie(post(CANCEL, FORM), &token);
    reader
        .send(world, post(CANCEL, FORM), &format!("form={seal}"))
        .await;
    reader.send(world, by_form(), "form=another").await;
    world.faults.always_fail();
    reader.send(world, by_form(), &format!("form={seal}")).await;
    world.faults.heal();
    reader.refuse(world, Method::POST, CANCEL, &Problem::Unfinished);
    // It can be repeated, as a program and as a browser.
    reader.send(world, by_form(), &format!("form={seal}")).await;
    let unknown = with_cookie(post(CANCEL, FORM), &nobody);
    reader.send(world, unknown, "form=another").await;
}

#[tokio::test]
async fn a_refused_password_is_explained_to_whoever_sent_json() {
    let world = World::new(Unlimited, Limits::default());
    let body = json(&world.token("ada").await, "short");
    for accept in ["text/html", "*/*", JSON] {
        let request = post(CHOOSE, JSON).header(header::ACCEPT, accept);
        let request = request.body(body.clone()).unwrap();
        let answer = world.web.respond(request, None).await;
        assert_eq!(answer.headers()[header::CONTENT_TYPE], PROBLEM, "{accept}");
        let told: Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(told["violations"][0]["code"], "too_short");
        assert_eq!(told["violations"][0]["min"], 15);
    }
}
