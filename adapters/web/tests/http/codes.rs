//! Codes, by form and by JSON.

use password_reset::flow::Codes;
use password_reset::mail::Kind;
use serde_json::json;

use crate::client::{Browser, Reply};
use crate::server::Front;
use crate::world::{ADA, ASK, CHOOSE, DONE, NEW, Setup, World, bytes_of, choose, json, post_json};

suite!(
    a_code_is_typed_and_the_password_set_by_form,
    a_code_is_exchanged_and_the_password_set_by_json,
    w17_a_wrong_code_gets_the_form_again_and_five_are_all,
    w45_r26_every_account_and_none_get_the_same_answers_to_codes,
    w45_what_cannot_be_an_identifier_gets_a_handle_too,
    r82_the_handle_is_in_a_cookie_of_the_host,
    the_page_for_a_code_is_for_whoever_asked,
    a_code_of_another_site_is_refused,
    w24_bodies_with_codes_are_taken_literally,
    a_service_without_codes_shows_none,
    w41_a_handle_is_no_token,
);

const CODE: &str = "/forgot-password/code";
const COOKIE: &str = "__Host-password-reset-code";

fn with_codes(front: Front) -> World {
    let setup = Setup::default().unlimited();
    setup.flow(|flow| flow.codes(Codes::default())).start(front)
}

/// A browser that has asked for a code and sees the page for it.
fn asked(world: &World, identifier: &str) -> Browser {
    let mut browser = world.browser();
    let fields = [("identifier", identifier), ("method", "code")];
    browser.post(ASK, &fields).leads_to(CODE);
    world.work();
    browser
}

/// The line of the last letter that holds the code.
fn mailed_code(world: &World) -> String {
    let mails = world.outbox.messages();
    let mail = mails.iter().rfind(|mail| mail.kind == Kind::ResetCode);
    let is_code = |line: &&str| line.chars().all(|c| c.is_ascii_digit() || c == ' ');
    let text = mail.unwrap().text.clone();
    let mut lines = text.lines().filter(|line| line.len() > 7);
    lines.find(is_code).unwrap().to_owned()
}

fn type_code(browser: &mut Browser, code: &str) -> Reply {
    browser.post(CODE, &[("code", code)])
}

fn a_code_is_typed_and_the_password_set_by_form(front: Front) {
    let world = with_codes(front);
    let page = world.browser().get(ASK);
    assert!(page.body.contains("name=\"method\" value=\"code\""));
    assert!(!page.body.contains("value=\"sms\""));
    let mut browser = asked(&world, ADA);
    let page = browser.get(CODE);
    assert_eq!(page.status, 200);
    assert!(page.body.contains("autocomplete=\"one-time-code\""));

    type_code(&mut browser, &mailed_code(&world)).leads_to(CHOOSE);
    assert!(!browser.cookies.contains_key(COOKIE));
    let page = browser.get(CHOOSE);
    assert_eq!(page.status, 200, "{page:?}");
    choose(&mut browser, &page.hidden(), NEW).leads_to(DONE);
    assert!(world.logs_in("1", NEW));
    assert!(browser.cookies.is_empty());
}

fn a_code_is_exchanged_and_the_password_set_by_json(front: Front) {
    let world = with_codes(front);
    let mut program = world.browser();
    let body = json!({ "identifier": ADA, "method": "code" });
    let asked = post_json(&mut program, ASK, &body);
    assert_eq!(asked.status, 202);
    assert_eq!(json(&asked)["status"], "accepted");
    assert!(asked.header("set-cookie").is_none());
    world.work();

    let handle = json(&asked)["handle"].clone();
    let body = json!({ "handle": handle, "code": mailed_code(&world) });
    let proven = post_json(&mut program, CODE, &body);
    assert_eq!(proven.status, 200);
    assert_eq!(json(&proven)["status"], "proven");
    let token = json(&proven)["token"].clone();
    let body_of_change = json!({ "token": token, "password": NEW });
    assert_eq!(post_json(&mut program, CHOOSE, &body_of_change).status, 200);
    assert!(world.logs_in("1", NEW));

    // W28: used once.
    let again = post_json(&mut program, CODE, &body);
    assert_eq!(again.status, 422);
    assert_eq!(json(&again)["code"], "code_invalid");
    assert_eq!(json(&again)["type"], "urn:password-reset:code_invalid");
}

fn w17_a_wrong_code_gets_the_form_again_and_five_are_all(front: Front) {
    let world = with_codes(front);
    let mut browser = asked(&world, ADA);
    for _ in 0..5 {
        let again = type_code(&mut browser, "0000 0000");
        assert_eq!(again.status, 422);
        assert!(again.body.contains("role=\"alert\"") && again.body.contains("name=\"code\""));
        assert!(
            !again.body.contains("0000"),
            "what was typed is not repeated"
        );
    }
    let last = type_code(&mut browser, &mailed_code(&world));
    assert_eq!(last.status, 422);
    // R35: links work all the same.
    let (mut browser, form) = world.at_the_form(ADA);
    choose(&mut browser, &form, NEW).leads_to(DONE);
}

/// Status, header lines and body, with everything random made equal.
fn shape_of(reply: &Reply) -> String {
    let (status, headers, body) = bytes_of(reply);
    let text = format!("{status} {headers:?} {body}");
    let cookie = reply.header("set-cookie").unwrap_or_default();
    let handle = cookie.split(['=', ';']).nth(1).unwrap_or_default();
    let json: serde_json::Value = serde_json::from_str(&reply.body).unwrap_or_default();
    let told = json["handle"].as_str().unwrap_or_default();
    for random in [handle, told] {
        assert!(random.is_empty() || random.len() == 22, "{reply:?}");
    }
    let text = if handle.is_empty() {
        text
    } else {
        text.replace(handle, "H")
    };
    if told.is_empty() {
        text
    } else {
        text.replace(told, "H")
    }
}

/// Every answer to a code that is asked for and tried, by form and by JSON.
fn shapes(front: Front, identifier: &str) -> Vec<String> {
    let world = with_codes(front);
    let mut browser = world.browser();
    let fields = [("identifier", identifier), ("method", "code")];
    let by_form = browser.post(ASK, &fields);
    let body = json!({ "identifier": identifier, "method": "code" });
    let by_json = post_json(&mut world.browser(), ASK, &body);
    world.work();
    let mut shapes = vec![shape_of(&by_form), shape_of(&by_json)];
    let handle = json(&by_json)["handle"].clone();
    for _ in 0..7 {
        shapes.push(shape_of(&type_code(&mut browser, "00000000")));
        let body = json!({ "handle": handle, "code": "00000000" });
        shapes.push(shape_of(&post_json(&mut world.browser(), CODE, &body)));
    }
    shapes
}

fn w45_r26_every_account_and_none_get_the_same_answers_to_codes(front: Front) {
    let usual = shapes(front, "somebody@example.com");
    for identifier in [
        ADA,
        "disabled@example.com",
        "unverified@example.com",
        "external@example.com",
        "guarded@example.com",
    ] {
        assert_eq!(shapes(front, identifier), usual, "{identifier}");
    }
}

fn w45_what_cannot_be_an_identifier_gets_a_handle_too(front: Front) {
    let usual = shapes(front, "somebody@example.com");
    for identifier in ["", "a\0b", &"a".repeat(300)] {
        assert_eq!(shapes(front, identifier), usual, "{identifier:?}");
    }
}

fn r82_the_handle_is_in_a_cookie_of_the_host(front: Front) {
    let world = with_codes(front);
    let fields = [("identifier", ADA), ("method", "code")];
    let reply = world.browser().post(ASK, &fields);
    let cookie = reply.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-password-reset-code="));
    assert!(cookie.ends_with("; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=600"));
    assert_eq!(reply.header("location"), Some(CODE));
}

fn the_page_for_a_code_is_for_whoever_asked(front: Front) {
    let world = with_codes(front);
    let never = world.browser().get(CODE);
    assert_eq!(never.status, 404);
    // Who lets in no cookies is told so, and not led in circles.
    for part in ["with cookies allowed", "href=\"/forgot-password\""] {
        assert!(never.body.contains(part), "{part}: {never:?}");
    }
    let lost = type_code(&mut world.browser(), "12345678");
    assert_eq!(lost.status, 422);
}

fn a_code_of_another_site_is_refused(front: Front) {
    let world = with_codes(front);
    let mut browser = asked(&world, ADA);
    let headers = [
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Sec-Fetch-Site", "cross-site"),
    ];
    let body = format!("code={}", mailed_code(&world).replace(' ', "+"));
    let refused = browser.send("POST", CODE, &headers, body.as_bytes());
    assert_eq!(refused.status, 403);
    type_code(&mut browser, &mailed_code(&world)).leads_to(CHOOSE);
}

fn w24_bodies_with_codes_are_taken_literally(front: Front) {
    let world = with_codes(front);
    let mut browser = asked(&world, ADA);
    for body in [
        "",
        "code=1&code=2",
        "code[]=1",
        "code=1&form=2",
        "handle=a&code=1",
        "code=%ff",
    ] {
        let headers = [("Content-Type", "application/x-www-form-urlencoded")];
        let refused = browser.send("POST", CODE, &headers, body.as_bytes());
        assert_eq!(refused.status, 400, "{body}");
    }
    for body in [
        json!({ "handle": "a" }),
        json!({ "handle": "a", "code": 12345678 }),
        json!({ "handle": "a", "code": ["1"] }),
        json!({ "handle": "a", "code": null }),
        json!({ "code": "12345678" }),
    ] {
        assert_eq!(post_json(&mut browser, CODE, &body).status, 400, "{body}");
    }
    for body in [
        json!({ "handle": "", "code": "" }),
        json!({ "handle": "a", "code": "x" }),
    ] {
        assert_eq!(post_json(&mut browser, CODE, &body).status, 422, "{body}");
    }
    let unknown = json!({ "identifier": ADA, "method": "pigeon" });
    assert_eq!(post_json(&mut browser, ASK, &unknown).status, 400);
    // None of it was a try.
    type_code(&mut browser, &mailed_code(&world)).leads_to(CHOOSE);
}

fn a_service_without_codes_shows_none(front: Front) {
    let world = World::new(front);
    let mut browser = world.browser();
    assert!(!browser.get(ASK).body.contains("name=\"method\""));
    assert_eq!(browser.get(CODE).status, 404);
    assert_eq!(type_code(&mut browser, "12345678").status, 404);
    let body = json!({ "identifier": ADA, "method": "code" });
    assert_eq!(post_json(&mut browser, ASK, &body).status, 400);
    let body = json!({ "identifier": ADA, "method": "link" });
    assert_eq!(post_json(&mut browser, ASK, &body).status, 202);
}

fn w41_a_handle_is_no_token(front: Front) {
    let world = with_codes(front);
    let mut browser = asked(&world, ADA);
    let handle = browser.cookies.get(COOKIE).unwrap().clone();
    browser
        .cookies
        .insert("__Host-password-reset".to_owned(), handle);
    assert_eq!(browser.get(CHOOSE).status, 404);
}
