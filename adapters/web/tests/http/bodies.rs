//! Bodies: bounded, and taken literally or not at all.

use password_reset_web::OPENAPI;

use crate::client::{FORM, Reply};
use crate::server::Front;
use crate::world::{ADA, ASK, CHOOSE, DONE, JSON, NEW, SENT, World, json};

suite!(
    w1_w24_a_form_is_taken_literally_or_not_at_all,
    w1_w24_json_is_taken_literally_or_not_at_all,
    w24_the_form_behind_a_link_takes_two_texts_and_nothing_else,
    only_forms_and_json_are_read,
    who_sends_json_is_told_what_to_send,
    only_the_methods_that_there_are_are_answered,
    w26_a_large_body_is_refused_and_its_sender_hears_so,
    w26_a_large_body_in_pieces_is_refused_too,
    a_body_in_pieces_is_read,
);

fn w1_w24_a_form_is_taken_literally_or_not_at_all(front: Front) {
    let world = World::new(front);
    for body in [
        &b"identifier=ada%40example.com&identifier=eve%40example.com"[..],
        b"identifier[]=ada%40example.com&identifier[]=eve%40example.com",
        b"identifier%5B%5D=ada%40example.com",
        b"identifier[0]=ada%40example.com",
        b"identifier=ada%40example.com&cc=eve%40example.com",
        b"email=ada%40example.com",
        b"Identifier=ada%40example.com",
        b"identifier=%ff%fe",
        b"identifier=\xff",
        br#"{"identifier":"ada@example.com"}"#,
        b"",
        b"&&&",
    ] {
        let reply = world.browser().post_raw(ASK, body);
        assert_eq!(reply.status, 400, "{}", String::from_utf8_lossy(body));
        assert_eq!(
            reply.header("content-type"),
            Some("text/html; charset=utf-8")
        );
    }
    world.work();
    assert_eq!((world.users.calls().find, world.outbox.attempts()), (0, 0));
}

fn w1_w24_json_is_taken_literally_or_not_at_all(front: Front) {
    let world = World::new(front);
    let token = world.token(ADA);
    let before = world.users.calls();
    let deep = format!(
        "{{\"identifier\":{}{}}}",
        "[".repeat(8_000),
        "]".repeat(8_000)
    );
    let deeper = "{\"identifier\":".repeat(1_000);
    let bodies = [
        r#"{"identifier":["ada@example.com"]}"#.to_owned(),
        r#"{"identifier":["ada@example.com","eve@example.com"]}"#.to_owned(),
        r#"{"identifier":{"$ne":null}}"#.to_owned(),
        r#"{"identifier":null}"#.to_owned(),
        r#"{"identifier":true}"#.to_owned(),
        r#"{"identifier":0}"#.to_owned(),
        r#"{"identifier":"ada@example.com","identifier":"eve@example.com"}"#.to_owned(),
        r#"{"identifier":"ada@example.com","email":"eve@example.com"}"#.to_owned(),
        r#"{"identifier":"ada@example.com"} {}"#.to_owned(),
        r#"{"identifier":"\ud800"}"#.to_owned(),
        r#"["ada@example.com"]"#.to_owned(),
        r#""ada@example.com""#.to_owned(),
        "identifier=ada%40example.com".to_owned(),
        "{}".to_owned(),
        "null".to_owned(),
        String::new(),
        deep,
        deeper,
    ];
    for body in &bodies {
        assert_malformed(
            &world.browser().send("POST", ASK, &JSON, body.as_bytes()),
            body,
        );
    }
    for (token, password) in [
        (format!("[\"{token}\"]"), format!("\"{NEW}\"")),
        (format!("{{\"$gt\":\"{token}\"}}"), format!("\"{NEW}\"")),
        ("0".to_owned(), format!("\"{NEW}\"")),
        ("null".to_owned(), format!("\"{NEW}\"")),
        ("true".to_owned(), format!("\"{NEW}\"")),
        (format!("\"{token}\""), format!("[\"{NEW}\"]")),
        (format!("\"{token}\""), "123456789012345".to_owned()),
        (format!("\"{token}\""), "null".to_owned()),
        (
            format!("\"{token}\",\"token\":\"{token}\""),
            format!("\"{NEW}\""),
        ),
        (format!("\"{token}\",\"user\":\"6\""), format!("\"{NEW}\"")),
        (format!("\"{token}\",\"form\":\"\""), format!("\"{NEW}\"")),
    ] {
        let body = format!("{{\"token\":{token},\"password\":{password}}}");
        assert_malformed(
            &world.browser().send("POST", CHOOSE, &JSON, body.as_bytes()),
            &body,
        );
    }
    world.work();
    assert_eq!(world.users.calls(), before);
}

#[track_caller]
fn assert_malformed(reply: &Reply, body: &str) {
    assert_eq!(reply.status, 400, "{body:.100}");
    assert_eq!(
        reply.header("content-type"),
        Some("application/problem+json")
    );
    assert!(reply.body.contains("\"code\":\"malformed\""));
}

fn w24_the_form_behind_a_link_takes_two_texts_and_nothing_else(front: Front) {
    let world = World::new(front);
    let (mut browser, form) = world.at_the_form(ADA);
    let token = world.outbox.last_token().unwrap();
    let password = NEW.replace(' ', "+");
    for body in [
        format!("form={form}"),
        format!("password={password}"),
        format!("form={form}&password={password}&password={password}"),
        format!("form={form}&form={form}&password={password}"),
        format!("form={form}&password[]={password}"),
        format!("form={form}&password={password}&token={token}"),
        format!("form={form}&password={password}&user=6"),
        format!("form={form}&password={password}%ff"),
        format!("token={token}&password={password}"),
    ] {
        assert_eq!(
            browser.post_raw(CHOOSE, body.as_bytes()).status,
            400,
            "{body}"
        );
    }
    assert!(world.is_unchanged("1"));
    let good = format!("form={form}&password={password}");
    browser.post_raw(CHOOSE, good.as_bytes()).leads_to(DONE);
}

fn who_sends_json_is_told_what_to_send(front: Front) {
    let world = World::new(front);
    let (token, large) = (world.token(ADA), "a".repeat(20_000));
    let short = format!("{{\"token\":\"{token}\",\"password\":\"short\"}}");
    for (path, kind, body, detail) in [
        (
            ASK,
            "application/json",
            "{\"email\":\"a\"}",
            "Send exactly the fields of this request, each once: as a JSON object, or as a form.",
        ),
        (
            ASK,
            "text/plain",
            "{}",
            "Send `application/json` or a form.",
        ),
        (ASK, "application/json", &large, "At most 16 KiB."),
        (
            CHOOSE,
            "application/json",
            &short,
            "Use at least 15 characters.",
        ),
    ] {
        let lines = [("Content-Type", kind), ("Accept", "application/json")];
        let reply = world.browser().send("POST", path, &lines, body.as_bytes());
        let problem = json(&reply);
        assert_eq!(problem["detail"], detail, "{problem}");
        assert_ne!(problem["detail"], problem["title"]);
        // The document shows the same.
        assert!(
            OPENAPI.contains(&format!("\"detail\": \"{detail}\"")),
            "{detail}"
        );
    }
    // People read something else.
    let page = world.browser().post_raw(ASK, b"email=a");
    assert!(page.body.contains("This is not a form of this site."));
}

fn only_forms_and_json_are_read(front: Front) {
    let world = World::new(front);
    let mut browser = world.browser();
    for kind in [
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/xml",
        "application/jsonp",
        "application/x-www-form-urlencoded-not",
        "",
    ] {
        for path in [ASK, CHOOSE] {
            let lines = [("Content-Type", kind)];
            let reply = browser.send("POST", path, &lines, br#"{"identifier":"a"}"#);
            assert_eq!(reply.status, 415, "{kind}");
        }
    }
    assert_eq!(browser.send("POST", ASK, &[], b"identifier=a").status, 415);
    let kind = "Application/X-WWW-Form-URLencoded ; charset=UTF-8";
    let reply = browser.send("POST", ASK, &[("Content-Type", kind)], b"identifier=a");
    reply.leads_to(SENT);
}

fn only_the_methods_that_there_are_are_answered(front: Front) {
    let world = World::new(front);
    let (mut browser, form) = world.at_the_form(ADA);
    let body = format!("form={form}&password={}", NEW.replace(' ', "+"));
    for method in [
        "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PROPFIND", "BREW",
    ] {
        for (path, allow) in [
            (ASK, "GET, HEAD, POST"),
            (CHOOSE, "GET, HEAD, POST"),
            (SENT, "GET, HEAD"),
            (DONE, "GET, HEAD"),
            ("/reset/style.css", "GET, HEAD"),
            ("/.well-known/change-password", "GET, HEAD"),
        ] {
            let lines = [("Content-Type", FORM), ("X-HTTP-Method-Override", "POST")];
            let reply = browser.send(method, path, &lines, body.as_bytes());
            let allowed = reply.header("allow");
            assert_eq!(
                (reply.status, allowed),
                (405, Some(allow)),
                "{method} {path}"
            );
        }
    }
    for path in [SENT, DONE, "/reset/script.js"] {
        assert_eq!(browser.post(path, &[]).status, 405);
    }
    // What is read is not changed, whatever else the request says.
    let lines = [("Content-Type", FORM), ("X-HTTP-Method-Override", "POST")];
    for path in [CHOOSE.to_owned(), format!("{CHOOSE}?{body}&_method=POST")] {
        assert_eq!(
            browser.send("GET", &path, &lines, body.as_bytes()).status,
            200
        );
    }
    assert!(world.is_unchanged("1"));
}

fn w26_a_large_body_is_refused_and_its_sender_hears_so(front: Front) {
    let world = World::new(front);
    let (mut browser, form) = world.at_the_form(ADA);
    for length in [16 * 1_024 + 1, 10 << 20] {
        let long = "a".repeat(length);
        for body in [
            format!("identifier={long}"),
            format!("form={form}&password={long}"),
        ] {
            for path in [ASK, CHOOSE] {
                assert_eq!(browser.post_raw(path, body.as_bytes()).status, 413);
            }
        }
        let body = format!("{{\"token\":\"\",\"password\":\"{long}\"}}");
        let reply = browser.send("POST", CHOOSE, &JSON, body.as_bytes());
        assert_eq!(reply.status, 413);
        assert!(reply.body.contains("\"code\":\"too_large\""));
    }
    // The longest that is read.
    let body = format!(
        "identifier={}",
        "a".repeat(16 * 1_024 - "identifier=".len())
    );
    browser.post_raw(ASK, body.as_bytes()).leads_to(SENT);
    assert!(world.is_unchanged("1"));
}

/// A request with its body in pieces of at most 8 KiB, and without its length.
fn in_pieces(body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST {ASK} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: {FORM}\r\n\
         Transfer-Encoding: chunked\r\n\r\n"
    )
    .into_bytes();
    for piece in body.chunks(8 * 1_024) {
        request.extend(format!("{:x}\r\n", piece.len()).as_bytes());
        request.extend(piece);
        request.extend(b"\r\n");
    }
    request.extend(b"0\r\n\r\n");
    request
}

fn w26_a_large_body_in_pieces_is_refused_too(front: Front) {
    let world = World::new(front);
    for length in [20_000, 10 << 20] {
        let body = format!("identifier={}", "a".repeat(length));
        let reply = world.browser().send_bytes(&in_pieces(body.as_bytes()));
        assert_eq!(reply.status, 413);
    }
}

fn a_body_in_pieces_is_read(front: Front) {
    let world = World::new(front);
    let body = format!("identifier=ada%40example.com{}", "+".repeat(100));
    world
        .browser()
        .send_bytes(&in_pieces(body.as_bytes()))
        .leads_to(SENT);
    world.work();
    assert_eq!(world.outbox.links().len(), 1);
}
