//! "This wasn't me": from the link in the mail to the pause.

use std::time::Duration;

use password_reset::flow::Cancelable;
use password_reset_web::PAGE_HEADERS;
use serde_json::json;

use crate::client::{Browser, FORM, Reply};
use crate::server::Front;
use crate::world::{
    ADA, ASK, CANCEL, CANCELLED, CHOOSE, HTTPS, JSON, LOOPBACK, NEW, SENT, Setup, World, bytes_of,
    choose, json, post_json, user,
};

suite!(
    the_owner_cancels_with_a_button,
    the_notice_carries_the_link_too,
    a_program_cancels_with_json,
    w36_a_scanner_that_opens_the_link_cancels_nothing,
    w41_neither_page_takes_the_token_of_the_other,
    r29_every_bad_token_is_answered_alike,
    whoever_comes_too_late_is_told_whom_to_call,
    r82_another_sites_page_cannot_press_the_button,
    w66_the_button_goes_with_one_link,
    r82_the_cookie_is_the_pages_own,
    r79_r80_every_answer_has_the_headers_of_a_page,
    w24_bodies_are_taken_literally_or_not_at_all,
    the_accounts_language_is_spoken,
    a_failing_store_is_told_and_the_button_can_be_pressed_again,
    w11_r81_the_token_is_in_one_set_cookie_and_nowhere_else,
);

/// The token in the last mail to this account that cancels.
pub(crate) fn not_me(world: &World, identifier: &str) -> String {
    world.token(identifier);
    world.outbox.last_cancel_token().unwrap()
}

/// A browser that has opened this link, and the hidden field of its form.
pub(crate) fn at_the_button(world: &World, token: &str) -> (Browser, String) {
    let mut browser = world.browser();
    browser
        .get(&format!("{CANCEL}?token={token}"))
        .leads_to(CANCEL);
    let page = browser.get(CANCEL);
    assert_eq!(page.status, 200, "{page:?}");
    (browser, page.hidden())
}

/// Whether a request is answered by a mail.
pub(crate) fn is_mailed(world: &World, identifier: &str) -> bool {
    world.clock.advance(Duration::from_secs(3_600));
    let before = world.outbox.links().len();
    let mut browser = world.browser();
    browser
        .post(ASK, &[("identifier", identifier)])
        .leads_to(SENT);
    world.work();
    world.outbox.links().len() > before
}

fn the_owner_cancels_with_a_button(front: Front) {
    let world = World::new(front);
    let link = world.token(ADA);
    let token = world.outbox.last_cancel_token().unwrap();
    assert_eq!(
        world.outbox.cancel_links(),
        [format!("https://app.example.com{CANCEL}?token={token}")]
    );
    let (mut browser, form) = at_the_button(&world, &token);
    let page = browser.get(CANCEL).body;
    for part in [
        "<form method=\"post\" action=\"/reset/not-me\">",
        "24 hours",
        "<button>",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    // Nobody is named to who found the link.
    assert!(!page.contains("ada") && !page.contains("***"), "{page}");
    assert_eq!(world.opened(&link).get(CHOOSE).status, 200);

    browser.post(CANCEL, &[("form", &form)]).leads_to(CANCELLED);
    let done = browser.get(CANCELLED);
    assert!(done.status == 200 && done.body.contains("support@example.com"));
    assert!(browser.cookies.is_empty());
    assert_eq!(world.opened(&link).get(CHOOSE).status, 404);
    assert!(world.is_unchanged("1"));
    assert_eq!(world.users.ended(&user("1")), 0);
    assert!(!is_mailed(&world, ADA));
    assert!(is_mailed(&world, "eve@example.com"));
    world.clock.advance(Cancelable::PAUSE);
    assert!(is_mailed(&world, ADA));

    // Once more, from the same mail.
    let (mut browser, form) = at_the_button(&world, &token);
    browser.post(CANCEL, &[("form", &form)]).leads_to(CANCELLED);
    assert!(!is_mailed(&world, ADA));
}

fn the_notice_carries_the_link_too(front: Front) {
    let world = World::new(front);
    let (mut browser, form) = world.at_the_form(ADA);
    choose(&mut browser, &form, NEW).leads_to("/reset/done");
    world.work();
    assert_eq!(world.outbox.cancel_links().len(), 2);
    let token = world.outbox.last_cancel_token().unwrap();
    let (mut browser, form) = at_the_button(&world, &token);
    browser.post(CANCEL, &[("form", &form)]).leads_to(CANCELLED);
    assert!(world.logs_in("1", NEW) && !is_mailed(&world, ADA));
}

fn a_program_cancels_with_json(front: Front) {
    let world = World::new(front);
    let link = world.token(ADA);
    let token = world.outbox.last_cancel_token().unwrap();
    let mut program = world.browser();
    let done = post_json(&mut program, CANCEL, &json!({ "token": token }));
    assert_eq!(
        (done.status, done.body.as_str()),
        (200, r#"{"status":"cancelled"}"#)
    );
    assert_eq!(done.header("content-type"), Some("application/json"));
    assert!(done.header("set-cookie").is_none());
    assert_eq!(world.opened(&link).get(CHOOSE).status, 404);
    assert!(!is_mailed(&world, ADA));
    // For longer, to the bound and not beyond it.
    let week = json!({ "token": token, "pause_hours": 168 });
    assert_eq!(post_json(&mut program, CANCEL, &week).status, 200);
    world.clock.advance(6 * Cancelable::PAUSE);
    assert!(!is_mailed(&world, ADA));
    let longer = json!({ "token": token, "pause_hours": 169 });
    assert_eq!(post_json(&mut program, CANCEL, &longer).status, 400);
    let whole = format!("{{\"token\":\"{token}\",\"pause_hours\":24.0}}");
    let whole = program.send("POST", CANCEL, &JSON, whole.as_bytes());
    assert_eq!(whole.status, 200, "to JSON the same number as 24");
    // For no time at all: links are cancelled, and that is all.
    let token = not_me(&world, "eve@example.com");
    let link = world.outbox.last_token().unwrap();
    let none = json!({ "token": token, "pause_hours": 0 });
    assert_eq!(post_json(&mut program, CANCEL, &none).status, 200);
    assert_eq!(world.opened(&link).get(CHOOSE).status, 404);
    assert!(is_mailed(&world, "eve@example.com"));
}

fn w36_a_scanner_that_opens_the_link_cancels_nothing(front: Front) {
    let world = World::new(front);
    let link = world.token(ADA);
    let token = world.outbox.last_cancel_token().unwrap();
    let (mut with_cookie, form) = at_the_button(&world, &token);
    let start = world.faults.tokens.log().len();
    for _ in 0..3 {
        world.clock.advance(Duration::from_secs(60));
        for _ in 0..15 {
            for method in ["GET", "HEAD"] {
                let opened = format!("{CANCEL}?token={token}");
                assert_eq!(world.browser().send(method, &opened, &[], b"").status, 303);
                assert_eq!(world.browser().send(method, CANCEL, &[], b"").status, 404);
                assert_eq!(with_cookie.send(method, CANCEL, &[], b"").status, 200);
                let done = world.browser().send(method, CANCELLED, &[], b"");
                assert_eq!(done.status, 200);
            }
        }
    }
    let log = world.faults.tokens.log();
    assert_eq!(log[start..], ["tokens.find"; 90]);
    assert_eq!(world.opened(&link).get(CHOOSE).status, 200);
    let pressed = with_cookie.post(CANCEL, &[("form", &form)]);
    pressed.leads_to(CANCELLED);
}

fn w41_neither_page_takes_the_token_of_the_other(front: Front) {
    let world = World::new(front);
    let link = world.token(ADA);
    let cancel = world.outbox.last_cancel_token().unwrap();
    let mut browser = world.opened(&cancel);
    assert_eq!(browser.get(CHOOSE).status, 404);
    browser
        .get(&format!("{CANCEL}?token={link}"))
        .leads_to(CANCEL);
    assert_eq!(browser.get(CANCEL).status, 404);
    let mut program = world.browser();
    let set = json!({ "token": cancel, "password": NEW });
    assert_eq!(post_json(&mut program, CHOOSE, &set).status, 404);
    let disown = json!({ "token": link });
    assert_eq!(post_json(&mut program, CANCEL, &disown).status, 404);
    // The cookie of one page is none to the other.
    let (mut browser, form) = at_the_button(&world, &cancel);
    assert_eq!(browser.get(CHOOSE).status, 404);
    assert_eq!(choose(&mut browser, &form, NEW).status, 404);
    let (mut browser, form) = (world.opened(&link), form);
    assert_eq!(browser.get(CANCEL).status, 404);
    assert_eq!(browser.post(CANCEL, &[("form", &form)]).status, 404);
    assert!(world.is_unchanged("1"));
    assert_eq!(world.opened(&link).get(CHOOSE).status, 200);
}

fn r29_every_bad_token_is_answered_alike(front: Front) {
    let world = World::new(front);
    let link = world.token(ADA);
    let good = world.outbox.last_cancel_token().unwrap();
    let damaged = format!(
        "{}{}",
        &good[..63],
        if good.ends_with('A') { 'E' } else { 'A' }
    );
    let gone = not_me(&world, "eve@example.com");
    assert!(world.users.delete(&user("6")));
    let bad = [link, damaged, gone, "A".repeat(64)];
    for accept in ["text/html", "application/json"] {
        let lines = [("Accept", accept), ("Content-Type", "application/json")];
        let posted: Vec<_> = bad
            .iter()
            .map(|token| {
                let body = json!({ "token": token }).to_string();
                let reply = world
                    .browser()
                    .send("POST", CANCEL, &lines, body.as_bytes());
                assert_eq!(reply.status, 404);
                bytes_of(&reply)
            })
            .collect();
        let opened: Vec<_> = bad
            .iter()
            .map(|token| {
                let mut browser = world.browser();
                browser
                    .get(&format!("{CANCEL}?token={token}"))
                    .leads_to(CANCEL);
                let reply = browser.send("GET", CANCEL, &[("Accept", accept)], b"");
                assert_eq!(reply.status, 404);
                assert!(browser.cookies.is_empty(), "the cookie goes with its link");
                bytes_of(&reply)
            })
            .collect();
        for answers in [posted, opened] {
            assert!(answers.iter().all(|answer| *answer == answers[0]));
        }
    }
    let malformed = world.browser().get(&format!("{CANCEL}?token=nonsense"));
    assert!(malformed.status == 404 && malformed.header("set-cookie").is_none());
}

fn whoever_comes_too_late_is_told_whom_to_call(front: Front) {
    let world = World::new(front);
    // Somebody who reads the mail has been faster than the account's owner.
    let (mut thief, form) = world.at_the_form(ADA);
    let token = world.outbox.last_cancel_token().unwrap();
    choose(&mut thief, &form, NEW).leads_to("/reset/done");
    let mut owner = world.browser();
    owner
        .get(&format!("{CANCEL}?token={token}"))
        .leads_to(CANCEL);
    for (page, words) in [
        (owner.get(CANCEL), "cancels nothing any more"),
        // The cookie is gone with the link; and here it never was.
        (owner.get(CANCEL), "with cookies allowed"),
        (world.browser().post(CANCEL, &[("form", "x")]), "cookies"),
        (
            world.browser().get(&format!("{CANCEL}?token=nonsense")),
            "cancels nothing any more",
        ),
    ] {
        assert_eq!(page.status, 404);
        for part in [words, "at once: support@example.com"] {
            assert!(page.body.contains(part), "{part}: {page:?}");
        }
        assert!(!page.body.contains("href=\"/forgot-password\""), "{page:?}");
    }
}

fn r82_another_sites_page_cannot_press_the_button(front: Front) {
    let world = World::new(front);
    let token = not_me(&world, ADA);
    let link = world.outbox.last_token().unwrap();
    let (mut browser, form) = at_the_button(&world, &token);
    let body = format!("form={form}");
    for lines in [
        [("Origin", "https://evil.example"), ("Content-Type", FORM)],
        [("Origin", "null"), ("Content-Type", FORM)],
        [("Sec-Fetch-Site", "cross-site"), ("Content-Type", FORM)],
        [("Sec-Fetch-Site", "same-site"), ("Content-Type", FORM)],
    ] {
        let reply = browser.send("POST", CANCEL, &lines, body.as_bytes());
        assert_eq!(reply.status, 403, "{lines:?}");
        let json = json!({ "token": token }).to_string();
        let lines = [lines[0], JSON[0]];
        let reply = browser.send("POST", CANCEL, &lines, json.as_bytes());
        assert_eq!(reply.status, 403, "{lines:?}");
    }
    assert_eq!(world.opened(&link).get(CHOOSE).status, 200);
    let own = [("Sec-Fetch-Site", "same-origin"), ("Content-Type", FORM)];
    let reply = browser.send("POST", CANCEL, &own, body.as_bytes());
    reply.leads_to(CANCELLED);
}

fn w66_the_button_goes_with_one_link(front: Front) {
    let world = World::new(front);
    let (mut browser, form) = at_the_button(&world, &not_me(&world, ADA));
    // Another page sends the browser to a link of its own in between.
    let other = not_me(&world, "eve@example.com");
    let link = world.outbox.last_token().unwrap();
    browser
        .get(&format!("{CANCEL}?token={other}"))
        .leads_to(CANCEL);
    let refused = browser.post(CANCEL, &[("form", &form)]);
    assert_eq!(refused.status, 409);
    for form in ["", "x"] {
        assert_eq!(browser.post(CANCEL, &[("form", form)]).status, 409);
    }
    assert_eq!(world.opened(&link).get(CHOOSE).status, 200);
    assert_eq!(world.browser().post(CANCEL, &[("form", &form)]).status, 404);
}

fn r82_the_cookie_is_the_pages_own(front: Front) {
    for (base, name, secure) in [
        (HTTPS, "__Host-password-reset-cancel", "Secure; "),
        (LOOPBACK, "password-reset-cancel", ""),
    ] {
        let world = Setup::default().base(base).start(front);
        let token = not_me(&world, ADA);
        let reply = world.browser().get(&format!("{CANCEL}?token={token}"));
        let expected =
            format!("{name}={token}; HttpOnly; SameSite=Lax; {secure}Path=/; Max-Age=1800");
        assert_eq!(reply.header("set-cookie"), Some(expected.as_str()));
        assert!(reply.body.is_empty());
    }
}

/// One answer of every kind.
fn answers(world: &World) -> Vec<Reply> {
    let token = not_me(world, ADA);
    let (mut browser, form) = at_the_button(world, &token);
    let mut replies = vec![
        world.browser().get(&format!("{CANCEL}?token={token}")),
        world.browser().get(&format!("{CANCEL}?token=nonsense")),
        world.browser().get(CANCEL),
        browser.get(CANCEL),
        browser.get(CANCELLED),
        browser.post(CANCEL, &[("form", "another")]),
        browser.post(CANCEL, &[("field", "another")]),
        browser.send("POST", CANCEL, &[("Content-Type", "text/plain")], b"x"),
        browser.send("PUT", CANCEL, &[], b""),
        browser.send("POST", CANCELLED, &JSON, b""),
        browser.post_raw(CANCEL, &b"x".repeat(20_000)),
        post_json(&mut world.browser(), CANCEL, &json!({ "token": "x" })),
    ];
    world.faults.tokens.always_fail();
    replies.push(browser.get(CANCEL));
    world.faults.tokens.heal();
    replies.push(browser.post(CANCEL, &[("form", &form)]));
    replies.push(post_json(
        &mut world.browser(),
        CANCEL,
        &json!({ "token": token }),
    ));
    replies
}

fn r79_r80_every_answer_has_the_headers_of_a_page(front: Front) {
    let world = World::new(front);
    let replies = answers(&world);
    for reply in &replies {
        for (name, value) in &PAGE_HEADERS {
            let lines: Vec<_> = reply.all(name.as_str()).collect();
            assert_eq!(lines, [value.to_str().unwrap()], "{name}: {reply:?}");
        }
        assert!(reply.header("strict-transport-security").is_some());
        let vary = Some("Accept, Accept-Language, Cookie");
        assert_eq!(reply.header("vary"), vary);
    }
    let seen: Vec<_> = replies.iter().map(|reply| reply.status).collect();
    let expected = [
        303, 404, 404, 200, 200, 409, 400, 415, 405, 405, 413, 404, 503, 303, 200,
    ];
    assert_eq!(seen, expected);
}

/// No byte tells one front from the other.
#[test]
fn every_front_gives_the_same_answers() {
    let of = |front| {
        let seeded = || password_reset::testing::SeededRandom::new(1);
        let setup = Setup::default().flow(move |flow| flow.random(seeded()));
        let replies = answers(&setup.start(front));
        replies.iter().map(bytes_of).collect::<Vec<_>>()
    };
    let axum = of(Front::Axum);
    assert_eq!(axum, of(Front::Actix));
    assert_eq!(axum, of(Front::Bare));
}

fn w24_bodies_are_taken_literally_or_not_at_all(front: Front) {
    let world = World::new(front);
    let token = not_me(&world, ADA);
    let link = world.outbox.last_token().unwrap();
    for body in [
        json!({ "token": [token] }),
        json!({ "token": { "$ne": null } }),
        json!({ "token": null }),
        json!({ "token": 7 }),
        json!({}),
        json!([token]),
        json!({ "token": token, "pause_hours": null }),
        json!({ "token": token, "pause_hours": "24" }),
        json!({ "token": token, "pause_hours": -1 }),
        json!({ "token": token, "pause_hours": 1.5 }),
        json!({ "token": token, "pause_hours": 169 }),
        json!({ "token": token, "pause_hours": 70_000 }),
        json!({ "token": token, "pause_hours": true }),
        json!({ "token": token, "user": "6" }),
        json!({ "token": token, "password": NEW }),
    ] {
        let reply = post_json(&mut world.browser(), CANCEL, &body);
        assert_eq!(reply.status, 400, "{body}");
        assert_eq!(json(&reply)["code"], "malformed");
    }
    let (mut browser, form) = at_the_button(&world, &token);
    for body in [
        format!("form={form}&form={form}"),
        format!("form={form}&user=6"),
        format!("form={form}&pause_hours=1"),
        format!("form[]={form}"),
        String::new(),
    ] {
        let reply = browser.post_raw(CANCEL, body.as_bytes());
        assert_eq!(reply.status, 400, "{body}");
    }
    assert_eq!(world.opened(&link).get(CHOOSE).status, 200);
}

fn the_accounts_language_is_spoken(front: Front) {
    let world = World::new(front);
    for (tag, words) in [
        ("en", "24 hours"),
        ("de", "24 Stunden"),
        ("fr", "24 heures"),
        ("es", "24 horas"),
        ("pt", "24 horas"),
        ("ja", "24"),
    ] {
        let spoken = |reply: &Reply| reply.header("content-language").map(str::to_owned);
        let lines = [("Accept-Language", tag)];
        let done = world.browser().send("GET", CANCELLED, &lines, b"");
        assert_eq!(spoken(&done).as_deref(), Some(tag));
        world.clock.advance(Duration::from_secs(3_600));
        let (mut browser, _) = at_the_button(&world, &not_me(&world, ADA));
        let page = browser.send("GET", CANCEL, &lines, b"");
        assert_eq!(spoken(&page).as_deref(), Some(tag));
        assert!(page.body.contains(words), "{page:?}");
    }
    let own = |account: &mut password_reset::account::Account| account.locale = Some("fr".into());
    assert!(world.users.edit(&user("1"), own));
    world.clock.advance(Duration::from_secs(3_600));
    let (mut browser, _) = at_the_button(&world, &not_me(&world, ADA));
    let page = browser.send("GET", CANCEL, &[("Accept-Language", "de")], b"");
    assert_eq!(page.header("content-language"), Some("fr"));
}

fn a_failing_store_is_told_and_the_button_can_be_pressed_again(front: Front) {
    let world = World::new(front);
    let token = not_me(&world, ADA);
    let link = world.outbox.last_token().unwrap();
    let (mut browser, form) = at_the_button(&world, &token);
    for faults in [
        &world.faults.users,
        &world.faults.tokens,
        &world.faults.limiter,
    ] {
        faults.always_fail();
        let reply = browser.post(CANCEL, &[("form", &form)]);
        assert_eq!(
            (reply.status, reply.header("retry-after")),
            (503, Some("10"))
        );
        assert_eq!(reply.header("set-cookie"), None);
        assert!(reply.body.contains("Nothing was changed"), "{reply:?}");
        faults.heal();
    }
    // After the look: the pause cannot be written, and the link is revoked all the same.
    world.faults.tokens.fail(2);
    let assert_unfinished = |reply: &Reply| {
        assert_eq!(
            (reply.status, reply.header("retry-after")),
            (503, Some("10"))
        );
        assert!(!reply.body.contains("Nothing was changed"), "{reply:?}");
        let words = "perhaps not everything is cancelled";
        assert!(reply.body.contains(words), "{reply:?}");
    };
    assert_unfinished(&browser.post(CANCEL, &[("form", &form)]));
    assert_eq!(world.opened(&link).get(CHOOSE).status, 404);
    // A part that panics is a problem, not a broken connection; and how far it came, nobody knows.
    if !matches!(front, Front::Bare) {
        world.faults.tokens.panic(2);
        assert_unfinished(&browser.post(CANCEL, &[("form", &form)]));
    }
    browser.post(CANCEL, &[("form", &form)]).leads_to(CANCELLED);
    assert!(!is_mailed(&world, ADA));
}

fn w11_r81_the_token_is_in_one_set_cookie_and_nowhere_else(front: Front) {
    let world = World::new(front);
    let token = not_me(&world, ADA);
    let holds = |reply: &Reply| {
        let lines = reply
            .headers
            .iter()
            .filter(|(_, value)| value.contains(&token));
        let lines: Vec<_> = lines.map(|(name, _)| name.clone()).collect();
        assert!(!reply.body.contains(&token[22..]) && !reply.body.contains(&token[..22]));
        lines
    };
    let (mut browser, form) = at_the_button(&world, &token);
    let exchange = browser.get(&format!("{CANCEL}?token={token}"));
    assert_eq!(holds(&exchange), ["set-cookie"]);
    let replies = [
        browser.get(CANCEL),
        browser.get(&format!("{CANCEL}?token={token}&token={token}")),
        browser.get(&format!("{CANCELLED}?token={token}")),
        browser.post(&format!("{CANCEL}?token={token}"), &[("token", &token)]),
        browser.post(CANCEL, &[("form", "another")]),
        post_json(
            &mut world.browser(),
            CANCEL,
            &json!({ "token": token, "pause_hours": 1 }),
        ),
        browser.post(CANCEL, &[("form", &form)]),
    ];
    for reply in &replies {
        assert!(holds(reply).is_empty(), "{reply:?}");
    }
}
