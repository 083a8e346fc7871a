//! The header lines of every answer.

use std::collections::BTreeSet;

use password_reset::testing::SeededRandom;
use password_reset_web::{PAGE_HEADERS, STRICT_TRANSPORT_SECURITY};
use serde_json::json;

use crate::client::{FORM, Reply};
use crate::server::Front;
use crate::world::{
    ADA, ASK, CHOOSE, DONE, HTTPS, JSON, LOOPBACK, NEW, SENT, Setup, World, bytes_of, choose,
    post_json,
};

suite!(
    r79_r80_every_answer_has_exactly_the_headers_of_a_page,
    on_this_machine_nothing_speaks_of_https,
    r79_only_the_two_files_may_be_kept,
    r84_password_managers_find_the_page,
);

/// One answer of every kind that a visitor can cause.
fn answers(world: &World) -> Vec<Reply> {
    let token = world.token(ADA);
    let mut browser = world.browser();
    let mut replies = vec![
        browser.get(ASK),
        browser.get(SENT),
        browser.get(DONE),
        browser.get(CHOOSE),
        browser.get("/.well-known/change-password"),
        browser.get(&format!("{CHOOSE}?token=nonsense")),
        browser.post(ASK, &[("identifier", ADA)]),
        browser.post(ASK, &[("email", ADA)]),
        browser.post(ASK, &[("identifier", &"a".repeat(20_000))]),
        browser.send("POST", ASK, &[("Content-Type", "text/plain")], b"x"),
        browser.send(
            "POST",
            ASK,
            &[("Origin", "null"), ("Content-Type", FORM)],
            b"x",
        ),
        post_json(&mut browser, ASK, &json!({ "identifier": ADA })),
        post_json(&mut browser, ASK, &json!({})),
        post_json(
            &mut browser,
            CHOOSE,
            &json!({ "token": "x", "password": "y" }),
        ),
        browser.send("DELETE", CHOOSE, &JSON, b""),
        browser.get(&format!("{CHOOSE}?token={token}")),
    ];
    for method in ["HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"] {
        for path in [ASK, SENT, CHOOSE, "/.well-known/change-password"] {
            replies.push(browser.send(method, path, &[], b""));
        }
    }
    let page = browser.get(CHOOSE);
    let form = page.hidden();
    replies.push(page);
    replies.push(choose(&mut browser, "another form", NEW));
    replies.push(choose(&mut browser, &form, "short"));
    world.faults.users.always_fail();
    replies.push(browser.get(CHOOSE));
    world.faults.users.heal();
    replies.push(choose(&mut browser, &form, NEW));
    // The last bucket: 20 requests an hour.
    for number in 0..20 {
        let asked = [("identifier", format!("{number}@example.com"))];
        let asked = asked
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        replies.push(browser.post(ASK, &asked));
    }
    let limited = json!({ "identifier": ADA });
    replies.push(post_json(&mut browser, ASK, &limited));
    replies
}

/// Not only do all pass the same suite: no byte tells one from the other.
#[test]
fn every_front_gives_the_same_answers() {
    let of = |front| {
        let setup = Setup::default().flow(|flow| flow.random(SeededRandom::new(1)));
        let replies = answers(&setup.start(front));
        replies.iter().map(bytes_of).collect::<Vec<_>>()
    };
    let axum = of(Front::Axum);
    for (front, others) in [
        (Front::Actix, of(Front::Actix)),
        (Front::Bare, of(Front::Bare)),
    ] {
        assert_eq!(axum.len(), others.len());
        for (axum, other) in axum.iter().zip(&others) {
            assert_eq!(axum, other, "{front:?}");
        }
    }
}

#[track_caller]
fn assert_page_headers(reply: &Reply, https: bool) {
    for (name, value) in &PAGE_HEADERS {
        let lines: Vec<_> = reply.all(name.as_str()).collect();
        assert_eq!(lines, [value.to_str().unwrap()], "{name}: {reply:?}");
    }
    let hsts: Vec<_> = reply.all("strict-transport-security").collect();
    let expected: &[&str] = if https {
        &[STRICT_TRANSPORT_SECURITY]
    } else {
        &[]
    };
    assert_eq!(hsts, expected);
    // And nothing that says what this server is made of, or lets other sites in.
    let others = [
        "allow",
        "connection",
        "content-language",
        "content-length",
        "content-type",
        "date",
        "location",
        "retry-after",
        "set-cookie",
        "strict-transport-security",
        "vary",
    ];
    for (name, _) in &reply.headers {
        let page_header = PAGE_HEADERS.iter().any(|(known, _)| known.as_str() == name);
        assert!(page_header || others.contains(&name.as_str()), "{name}");
    }
    assert_eq!(
        reply.header("vary"),
        Some("Accept, Accept-Language, Cookie")
    );
}

fn r79_r80_every_answer_has_exactly_the_headers_of_a_page(front: Front) {
    let world = Setup::default().base(HTTPS).start(front);
    let replies = answers(&world);
    for reply in &replies {
        assert_page_headers(reply, true);
    }
    let seen: BTreeSet<_> = replies.iter().map(|reply| reply.status).collect();
    let expected = [
        200, 202, 303, 400, 403, 404, 405, 409, 413, 415, 422, 429, 503,
    ];
    assert_eq!(seen, BTreeSet::from(expected));
}

fn on_this_machine_nothing_speaks_of_https(front: Front) {
    let world = Setup::default().base(LOOPBACK).start(front);
    for reply in answers(&world) {
        assert_page_headers(&reply, false);
    }
}

fn r79_only_the_two_files_may_be_kept(front: Front) {
    let world = World::new(front);
    let mut browser = world.opened(&world.token(ADA));
    let page = browser.get(CHOOSE);
    for (file, attribute, kind) in [
        ("/reset/style.css", "href", "text/css; charset=utf-8"),
        ("/reset/script.js", "src", "text/javascript; charset=utf-8"),
    ] {
        let before = format!("{attribute}=\"{file}?v=");
        let (_, rest) = page.body.split_once(&before).unwrap();
        let version = rest.split('"').next().unwrap();
        let reply = browser.get(&format!("{file}?v={version}"));
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("content-type"), Some(kind));
        let kept: Vec<_> = reply.all("cache-control").collect();
        assert_eq!(kept, ["public, max-age=31536000, immutable"]);
        for name in ["set-cookie", "vary"] {
            assert_eq!(reply.header(name), None);
        }
        for (name, value) in &PAGE_HEADERS {
            if name != "cache-control" {
                assert_eq!(reply.header(name.as_str()), value.to_str().ok());
            }
        }
        assert_eq!(
            reply.header("strict-transport-security"),
            Some(STRICT_TRANSPORT_SECURITY)
        );
    }
    // Without its version, a file may be another one tomorrow.
    for path in [
        "/reset/style.css",
        "/reset/script.js?v=another",
        "/reset/style.css?v=",
    ] {
        let reply = browser.get(path);
        assert_eq!(
            (reply.status, reply.header("cache-control")),
            (200, Some("no-store"))
        );
    }
    // Another style sheet has another address.
    let theme = password_reset_web::Theme::default().add_style("p { color: red }");
    let other = Setup::default().web(|web| web.render(theme)).start(front);
    assert_ne!(other.web.style(), world.web.style());
}

fn r84_password_managers_find_the_page(front: Front) {
    let world = World::new(front);
    let mut browser = world.browser();
    browser.get("/.well-known/change-password").leads_to(ASK);
    let reply = browser.send("HEAD", "/.well-known/change-password", &[], b"");
    reply.leads_to(ASK);
}
