//! From the forgotten password to the new one, by form and by JSON.

use std::time::Duration;

use password_reset::account::Seen;
use serde_json::json;

use crate::client::FORM;
use crate::server::Front;
use crate::world::{
    ADA, ASK, CHOOSE, DONE, LOOPBACK, NEW, SENT, Setup, World, choose, json, post_json, user,
};

suite!(
    a_forgotten_password_is_replaced_by_form,
    a_forgotten_password_is_replaced_by_json,
    a_refused_password_is_told_why_and_the_link_stays_good,
    a_refused_password_is_told_why_in_json,
    r82_the_cookie_is_the_hosts_own_and_ends_with_the_link,
    on_this_machine_the_cookie_has_the_plain_name,
    an_expired_link_is_called_expired_only_with_its_true_token,
    r65_nobody_is_logged_in_by_a_reset,
    mail_providers_may_add_fields_to_the_link,
    a_page_or_json_is_answered_as_the_request_likes,
    the_notice_says_where_the_change_came_from,
);

fn the_notice_says_where_the_change_came_from(front: Front) {
    let setup = Setup::default().web(|web| {
        web.seen(|headers, _| match headers.get("user-agent") {
            Some(agent) if agent == "Firefox/140" => {
                Seen::default().device("Firefox").unwrap_or_default()
            }
            _ => Seen::default(),
        })
    });
    let world = setup.start(front);
    let notice = |agent: &str, id: &str, mail: &str| {
        let body = json!({ "token": world.token(mail), "password": NEW });
        let headers = [("Content-Type", "application/json"), ("User-Agent", agent)];
        let body = body.to_string();
        let changed = world
            .browser()
            .send("POST", CHOOSE, &headers, body.as_bytes());
        assert_eq!(changed.status, 200);
        assert!(world.logs_in(id, NEW));
        world.work();
        world.outbox.messages().pop().unwrap().text
    };
    assert!(notice("Firefox/140", "1", ADA).contains("Device: Firefox"));
    assert!(!notice("evil.example.org", "6", "eve@example.com").contains("Device"));
}

fn a_forgotten_password_is_replaced_by_form(front: Front) {
    let world = World::new(front);
    let mut browser = world.browser();
    let page = browser.get(ASK);
    assert_eq!(page.status, 200);
    assert!(
        page.body
            .contains("<form method=\"post\" action=\"/forgot-password\">")
    );

    browser.post(ASK, &[("identifier", ADA)]).leads_to(SENT);
    assert_eq!(browser.get(SENT).status, 200);
    world.work();
    let token = world.outbox.last_token().unwrap();
    assert_eq!(
        world.outbox.links(),
        [format!("https://app.example.com/reset?token={token}")]
    );

    browser
        .get(&format!("{CHOOSE}?token={token}"))
        .leads_to(CHOOSE);
    let page = browser.get(CHOOSE);
    assert_eq!(page.status, 200);
    assert!(world.is_unchanged("1"));
    choose(&mut browser, &page.hidden(), NEW).leads_to(DONE);
    assert!(world.logs_in("1", NEW));
    assert_eq!(world.users.ended(&user("1")), 1);
    assert!(browser.cookies.is_empty());
    let done = browser.get(DONE);
    assert!(done.status == 200 && done.body.contains("href=\"&#x2f;login\""));

    // The link is spent: opened again, loaded again, sent again.
    for mut browser in [browser, world.opened(&token)] {
        let dead = browser.get(CHOOSE);
        assert_eq!(dead.status, 404);
        assert!(
            dead.body
                .contains("class=\"button\" href=\"/forgot-password\"")
        );
        assert!(browser.cookies.is_empty(), "the cookie goes with its link");
    }
    let mut browser = world.opened(&token);
    let dead = choose(&mut browser, &page.hidden(), "another quiet harbour");
    assert_eq!(dead.status, 404);
    assert!(world.logs_in("1", NEW));
}

fn a_forgotten_password_is_replaced_by_json(front: Front) {
    let world = World::new(front);
    let mut program = world.browser();
    let asked = post_json(&mut program, ASK, &json!({ "identifier": ADA }));
    assert_eq!(asked.status, 202);
    assert_eq!(asked.header("content-type"), Some("application/json"));
    assert_eq!(asked.body, r#"{"status":"accepted"}"#);
    world.work();
    let token = world.outbox.last_token().unwrap();

    let body = json!({ "token": token, "password": NEW });
    let changed = post_json(&mut program, CHOOSE, &body);
    assert_eq!(changed.status, 200);
    assert_eq!(changed.body, r#"{"status":"changed"}"#);
    assert!(changed.header("set-cookie").is_none());
    assert!(world.logs_in("1", NEW));

    let dead = post_json(&mut program, CHOOSE, &body);
    assert_eq!(dead.status, 404);
    assert_eq!(
        dead.header("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(
        json(&dead),
        json!({
            "type": "urn:password-reset:invalid",
            "title": "This link does not work",
            "status": 404,
            "detail": "It is not valid, or it has been used already.",
            "code": "invalid",
        })
    );
}

fn a_refused_password_is_told_why_and_the_link_stays_good(front: Front) {
    let world = World::new(front);
    let (mut browser, mut form) = world.at_the_form(ADA);
    for (refused, why) in [
        ("short", "Use at least 15 characters."),
        (&"long words ".repeat(24), "Use at most 256 characters."),
        // Over the byte bound of a password, within that of a body.
        (&"a \u{1f511} key ".repeat(200), "use at most 1024 bytes"),
        ("", "Use at least 15 characters."),
    ] {
        let page = choose(&mut browser, &form, refused);
        assert_eq!(page.status, 422, "{page:?}");
        assert!(page.body.contains(why), "{why}: {}", page.body);
        assert!(page.body.contains("aria-invalid=\"true\""));
        assert!(refused.is_empty() || !page.body.contains(refused));
        form = page.hidden();
    }
    assert!(world.is_unchanged("1"));
    choose(&mut browser, &form, NEW).leads_to(DONE);
    assert!(world.logs_in("1", NEW));
}

fn a_refused_password_is_told_why_in_json(front: Front) {
    let world = World::new(front);
    let token = world.token(ADA);
    let mut program = world.browser();
    let refused = json!({ "token": token, "password": "short" });
    let reply = post_json(&mut program, CHOOSE, &refused);
    assert_eq!(reply.status, 422);
    assert_eq!(
        reply.header("content-type"),
        Some("application/problem+json")
    );
    let problem = json(&reply);
    assert_eq!(problem["code"], "rejected");
    assert_eq!(
        problem["violations"],
        json!([{ "code": "too_short", "min": 15, "message": "Use at least 15 characters." }])
    );
    let long = json!({ "token": token, "password": "\u{e9}".repeat(2_000) });
    let reply = post_json(&mut program, CHOOSE, &long);
    assert_eq!(
        (reply.status, json(&reply)["code"].as_str()),
        (422, Some("rejected"))
    );
    // There is no form to show to who sends JSON and reads pages.
    let html = [
        ("Content-Type", "application/json"),
        ("Accept", "text/html"),
    ];
    let reply = program.send("POST", CHOOSE, &html, refused.to_string().as_bytes());
    assert_eq!(reply.status, 422);
    assert!(
        reply.body.contains("Use at least 15 characters."),
        "{reply:?}"
    );

    let good = json!({ "token": token, "password": NEW });
    assert_eq!(post_json(&mut program, CHOOSE, &good).status, 200);
}

fn r82_the_cookie_is_the_hosts_own_and_ends_with_the_link(front: Front) {
    let world = World::new(front);
    let token = world.token(ADA);
    let mut browser = world.browser();
    let reply = browser.get(&format!("{CHOOSE}?token={token}"));
    let cookies: Vec<_> = reply.all("set-cookie").collect();
    let attributes = "HttpOnly; SameSite=Lax; Secure; Path=/";
    assert_eq!(
        cookies,
        [format!(
            "__Host-password-reset={token}; {attributes}; Max-Age=1800"
        )]
    );
    let form = browser.get(CHOOSE).hidden();
    let reply = choose(&mut browser, &form, NEW);
    let cookies: Vec<_> = reply.all("set-cookie").collect();
    assert_eq!(
        cookies,
        [format!("__Host-password-reset=; {attributes}; Max-Age=0")]
    );
}

fn on_this_machine_the_cookie_has_the_plain_name(front: Front) {
    let world = Setup::default().base(LOOPBACK).start(front);
    let token = world.token(ADA);
    let mut browser = world.browser();
    let reply = browser.get(&format!("{CHOOSE}?token={token}"));
    let cookies: Vec<_> = reply.all("set-cookie").collect();
    assert_eq!(
        cookies,
        [format!(
            "password-reset={token}; HttpOnly; SameSite=Lax; Path=/; Max-Age=1800"
        )]
    );
    let form = browser.get(CHOOSE).hidden();
    choose(&mut browser, &form, NEW).leads_to(DONE);
    assert!(browser.cookies.is_empty());
}

fn an_expired_link_is_called_expired_only_with_its_true_token(front: Front) {
    let world = World::new(front);
    let (mut browser, form) = world.at_the_form(ADA);
    let token = world.outbox.last_token().unwrap();
    world.clock.advance(Duration::from_secs(1_800));

    let mut program = world.browser();
    let mut code = |token: &str| {
        let body = json!({ "token": token, "password": NEW });
        let reply = post_json(&mut program, CHOOSE, &body);
        (
            reply.status,
            json(&reply)["code"].as_str().unwrap().to_owned(),
        )
    };
    assert_eq!(code(&token), (404, "expired".to_owned()));
    // The true selector with another verifier.
    let guess = format!("{}{}", &token[..22], "A".repeat(42));
    assert_ne!(guess, token);
    assert_eq!(code(&guess), (404, "invalid".to_owned()));

    let late = choose(&mut browser, &form, NEW);
    assert_eq!(late.status, 404);
    assert!(late.body.contains("It has expired."));
    assert!(late.body.contains("href=\"/forgot-password\""));
    assert!(browser.cookies.is_empty());
    assert!(world.is_unchanged("1"));
}

fn r65_nobody_is_logged_in_by_a_reset(front: Front) {
    let world = World::new(front);
    assert!(world.users.open_session(&user("1")));
    let (mut browser, form) = world.at_the_form(ADA);
    choose(&mut browser, &form, NEW).leads_to(DONE);
    assert_eq!(world.users.sessions(&user("1")), 0);
    assert!(browser.cookies.is_empty());
}

fn mail_providers_may_add_fields_to_the_link(front: Front) {
    let world = World::new(front);
    let token = world.token(ADA);
    let mut browser = world.browser();
    let link = format!("{CHOOSE}?utm_source=mail&token={token}&fbclid=x");
    browser.get(&link).leads_to(CHOOSE);
    assert_eq!(browser.get(CHOOSE).status, 200);
}

fn a_page_or_json_is_answered_as_the_request_likes(front: Front) {
    let world = World::new(front);
    let browsers = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    for (accept, by_form, by_json) in [
        (None, "text/html", "application/problem+json"),
        (Some("*/*"), "text/html", "application/problem+json"),
        (Some(browsers), "text/html", "text/html"),
        (
            Some("text/html, application/json"),
            "text/html",
            "text/html",
        ),
        (
            Some("application/json"),
            "application/problem+json",
            "application/problem+json",
        ),
        (
            Some("Application/Problem+JSON"),
            "application/problem+json",
            "application/problem+json",
        ),
    ] {
        for (kind, liked) in [(FORM, by_form), ("application/json", by_json)] {
            let mut lines = vec![("Content-Type", kind)];
            lines.extend(accept.map(|accept| ("Accept", accept)));
            let reply = world.browser().send("POST", ASK, &lines, b"");
            assert_eq!(reply.status, 400);
            let answered = reply.header("content-type").unwrap();
            assert_eq!(answered.split(';').next(), Some(liked), "{accept:?} {kind}");
        }
    }
}
