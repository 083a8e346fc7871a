//! From the forgotten password to the new one, over HTTP.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

mod common;

use common::servers::{mysql, postgres, redis};
use common::{Demo, NEW_PASSWORD};

#[test]
fn a_forgotten_password_is_replaced_once() {
    replaced_once(&Demo::start(&[]));
}

#[test]
fn a_forgotten_password_is_replaced_once_on_postgresql() {
    if let Some(demo) = Demo::start_on(postgres(), &[]) {
        replaced_once(&demo);
    }
}

#[test]
fn a_forgotten_password_is_replaced_once_on_mariadb() {
    if let Some(demo) = Demo::start_on(mysql(), &[]) {
        replaced_once(&demo);
    }
}

#[test]
fn a_forgotten_password_is_replaced_once_with_redis() {
    if let Some(redis) = redis() {
        replaced_once(&Demo::start(&redis.flags()));
    }
}

fn replaced_once(demo: &Demo) {
    let old_password = demo.initial_password();

    // Somebody is logged in, with an id that is not the next one's.
    let mut elsewhere = demo.browser();
    elsewhere
        .log_in("Ada@Example.com", old_password)
        .leads_to("/");
    let first = elsewhere.cookies["session"].clone();
    elsewhere
        .log_in("ada@example.com", old_password)
        .leads_to("/");
    assert_ne!(elsewhere.cookies["session"], first);
    assert!(elsewhere.get("/").body.contains("ada@example.com"));

    // The link: into a cookie, off the address.
    let link = demo.ask("ada@example.com");
    let mut browser = demo.browser();
    let opened = browser.get(&link);
    opened.leads_to("/reset-password");
    let cookie = opened.header("set-cookie").unwrap().to_owned();
    for part in ["HttpOnly", "SameSite=Lax", "Path=/;", "Max-Age=1800"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert_eq!(opened.body, "");
    let form = browser.get("/reset-password");
    assert_eq!(form.status, 200);
    for part in ["a***@example.com", "new-password", "minlength=\"15\""] {
        assert!(form.body.contains(part), "{part}: {}", form.body);
    }
    assert!(!form.body.contains(&browser.cookies["password-reset"]));

    // A refused password costs nothing and is explained.
    let refused = browser.choose("short");
    assert_eq!(refused.status, 422);
    assert!(
        refused.body.contains("Use at least 15 characters"),
        "{}",
        refused.body
    );

    let done = browser.choose(NEW_PASSWORD);
    done.leads_to("/reset-password/done");
    assert!(
        browser.cookies.is_empty(),
        "neither token nor session: {:?}",
        browser.cookies
    );
    assert!(
        browser
            .get("/reset-password/done")
            .body
            .contains("Your password is changed")
    );

    // Everybody is out; the old password is nothing any more, the new one works.
    assert!(elsewhere.get("/").body.contains("You are not logged in"));
    assert_eq!(
        demo.browser()
            .log_in("ada@example.com", old_password)
            .status,
        401
    );
    let mut browser = demo.browser();
    browser
        .log_in("ada@example.com", NEW_PASSWORD)
        .leads_to("/");
    assert!(browser.get("/").body.contains("ada@example.com"));
    browser.post("/logout", &[]).leads_to("/");
    assert!(browser.cookies.is_empty());

    // The link is spent, and its page says where to get another.
    let mut again = demo.browser();
    again.get(&link).leads_to("/reset-password");
    let dead = again.get("/reset-password");
    assert_eq!(dead.status, 404);
    assert!(dead.body.contains("href=\"/forgot-password\""));
    assert!(again.cookies.is_empty());

    // The notice came, and its only link is that of "this wasn't me".
    let mails = demo.mails(2);
    assert_eq!(mails[1]["to"], "ada@example.com");
    assert!(
        mails[1]["subject"].as_str().unwrap().contains("changed"),
        "{}",
        mails[1]["subject"]
    );
    assert_eq!(mails[1]["links"].as_array().unwrap().len(), 0);
    assert_eq!(mails[1]["cancel_links"].as_array().unwrap().len(), 1);
}

#[test]
fn a_code_replaces_the_password_once() {
    let demo = Demo::start(&[]);
    let old_password = demo.initial_password();
    let mut elsewhere = demo.browser();
    elsewhere
        .log_in("ada@example.com", old_password)
        .leads_to("/");

    let mut browser = demo.browser();
    let asked = [("identifier", "ada@example.com"), ("method", "code")];
    browser
        .post("/forgot-password", &asked)
        .leads_to("/forgot-password/code");
    let mail = &demo.mails(1)[0];
    assert_eq!(mail["kind"], "reset_code");
    assert_eq!(mail["links"].as_array().unwrap().len(), 0);
    let code = mail["codes"][0].as_str().unwrap();
    // What the text says on a line of its own, as the eye likes it.
    assert!(mail["text"].as_str().unwrap().lines().any(|it| it == code));
    assert!(code.len() == 9 && code.contains(' '), "{code}");
    let page = demo.browser().get("/dev/mailbox").body;
    assert!(page.contains(code), "{page}");

    // Only where it was asked for.
    let typed = [("code", code)];
    let stranger = demo.browser().post("/forgot-password/code", &typed);
    assert_eq!(stranger.status, 422);
    browser
        .post("/forgot-password/code", &typed)
        .leads_to("/reset-password");
    browser
        .choose(NEW_PASSWORD)
        .leads_to("/reset-password/done");
    assert!(browser.cookies.is_empty(), "{:?}", browser.cookies);
    assert!(elsewhere.get("/").body.contains("You are not logged in"));
    for (password, status) in [(old_password, 401), (NEW_PASSWORD, 303)] {
        let reply = demo.browser().log_in("ada@example.com", password);
        assert_eq!(reply.status, status);
    }
    let again = browser.post("/forgot-password/code", &typed);
    assert_eq!(again.status, 422);
}

#[test]
fn the_owner_cancels_what_somebody_else_asked_for() {
    let demo = Demo::start(&["--limits", "off"]);
    let link = demo.ask("ada@example.com");
    let mail = &demo.mails(1)[0];
    let not_me = mail["cancel_links"][0].as_str().unwrap();
    let page = demo.browser().get("/dev/mailbox").body;
    assert!(page.contains(&format!("href=\"{not_me}\"")), "{page}");
    let start = format!("http://{}", demo.address);
    let not_me = not_me.strip_prefix(&start).unwrap();

    let mut owner = demo.browser();
    owner.get(not_me).leads_to("/reset-password/not-me");
    let button = owner.get("/reset-password/not-me");
    assert_eq!(button.status, 200);
    owner
        .post("/reset-password/not-me", &[("form", &button.hidden())])
        .leads_to("/reset-password/not-me/done");
    assert!(owner.cookies.is_empty(), "{:?}", owner.cookies);
    let mut thief = demo.browser();
    thief.get(&link).leads_to("/reset-password");
    assert_eq!(thief.get("/reset-password").status, 404);
    demo.browser()
        .log_in("ada@example.com", demo.initial_password())
        .leads_to("/");
}

#[test]
fn a_link_outlives_fifty_scanners() {
    let demo = Demo::start(&["--limits", "off"]);
    let link = demo.ask("ada@example.com");
    for _ in 0..50 {
        let mut scanner = demo.browser();
        scanner.get(&link).leads_to("/reset-password");
        assert_eq!(scanner.get("/reset-password").status, 200);
        assert_eq!(
            scanner.send("HEAD", "/reset-password", &[], b"").status,
            200
        );
    }
    let mut owner = demo.browser();
    owner.get(&link).leads_to("/reset-password");
    owner.choose(NEW_PASSWORD).leads_to("/reset-password/done");
}

#[test]
fn of_two_links_the_second_dies_with_the_first_use() {
    let demo = Demo::start(&["--limits", "off"]);
    let (mut first, mut second) = (demo.browser(), demo.browser());
    first
        .get(&demo.ask("ada@example.com"))
        .leads_to("/reset-password");
    second
        .get(&demo.ask("ada@example.com"))
        .leads_to("/reset-password");
    assert_eq!(second.get("/reset-password").status, 200);
    first.choose(NEW_PASSWORD).leads_to("/reset-password/done");
    let late = second.choose("another harbour at dusk");
    assert_eq!(late.status, 404);
    demo.browser()
        .log_in("ada@example.com", NEW_PASSWORD)
        .leads_to("/");
}

#[test]
fn of_twenty_at_once_one_wins() {
    one_of_twenty_wins(&Demo::start(&["--limits", "off"]));
}

#[test]
fn of_twenty_at_once_one_wins_on_postgresql() {
    if let Some(demo) = Demo::start_on(postgres(), &["--limits", "off"]) {
        one_of_twenty_wins(&demo);
    }
}

#[test]
fn of_twenty_at_once_one_wins_on_mariadb() {
    if let Some(demo) = Demo::start_on(mysql(), &["--limits", "off"]) {
        one_of_twenty_wins(&demo);
    }
}

#[test]
fn of_twenty_at_once_one_wins_with_redis() {
    if let Some(redis) = redis() {
        let limits_off = ["--limits", "off"];
        one_of_twenty_wins(&Demo::start(&[&redis.flags(), &limits_off[..]].concat()));
    }
}

fn one_of_twenty_wins(demo: &Demo) {
    let link = demo.ask("ada@example.com");
    let attempts: Vec<_> = (0..20)
        .map(|n| {
            let mut browser = demo.browser();
            browser.get(&link).leads_to("/reset-password");
            let password = format!("quiet harbour number {n}");
            std::thread::spawn(move || {
                let reply = browser.choose(&password);
                (reply.status, password)
            })
        })
        .collect();
    let mut winners = Vec::new();
    for attempt in attempts {
        match attempt.join().unwrap() {
            (303, password) => winners.push(password),
            (404 | 409 | 503, _) => {}
            (other, _) => panic!("{other}"),
        }
    }
    assert_eq!(winners.len(), 1);
    demo.browser()
        .log_in("ada@example.com", &winners[0])
        .leads_to("/");
}

#[test]
fn nobody_learns_who_has_an_account() {
    let demo = Demo::start(&["--limits", "off"]);
    let mut replies = Vec::new();
    for identifier in [
        "ada@example.com",
        "nobody@example.com",
        "",
        "ada@example.com\0",
    ] {
        let mut reply = demo
            .browser()
            .post("/forgot-password", &[("identifier", identifier)]);
        reply.headers.retain(|(name, _)| name != "date");
        replies.push((reply.status, reply.headers, reply.body));
    }
    assert!(
        replies.iter().all(|reply| *reply == replies[0]),
        "{replies:#?}"
    );
    let sent = demo.browser().get("/forgot-password/sent");
    assert!(sent.body.contains("If there is an account"));

    let wrong = demo.browser().log_in("ada@example.com", "wrong");
    let unknown = demo.browser().log_in("nobody@example.com", "wrong");
    assert_eq!((wrong.status, wrong.body), (unknown.status, unknown.body));

    // One mail for the four, and one for this.
    demo.mails(1);
    demo.ask("ada@example.com");
    assert_eq!(demo.mails(2).len(), 2);
}

#[test]
fn whoever_asks_too_often_is_told_to_wait() {
    told_to_wait(&Demo::start(&["--proof-of-work", "off"]));
}

#[test]
fn whoever_asks_too_often_is_told_to_wait_with_redis() {
    if let Some(redis) = redis() {
        let flags = [&redis.flags()[..], &["--proof-of-work", "off"]].concat();
        told_to_wait(&Demo::start(&flags));
    }
}

fn told_to_wait(demo: &Demo) {
    let mut browser = demo.browser();
    let statuses: Vec<u16> = (0..21)
        .map(|n| {
            let someone = format!("someone-{n}@example.com");
            browser
                .post("/forgot-password", &[("identifier", &someone)])
                .status
        })
        .collect();
    assert_eq!(statuses[..20], [303; 20]);
    let denied = browser.post("/forgot-password", &[("identifier", "ada@example.com")]);
    assert_eq!((statuses[20], denied.status), (429, 429));
    assert!(
        denied
            .header("retry-after")
            .unwrap()
            .parse::<u32>()
            .unwrap()
            > 0
    );
}
