//! Opening a link spends nothing, and its token stays where it belongs.

use std::time::Duration;

use serde_json::json;

use crate::client::{Browser, Reply};
use crate::server::Front;
use crate::world::{ADA, ASK, CHOOSE, DONE, NEW, World, bytes_of, choose, post_json};

suite!(
    w36_r41_a_scanner_that_opens_a_link_burns_nothing,
    w37_a_scanner_that_opens_a_dead_link_does_nothing,
    r81_the_exchange_works_twice,
    head_is_get_without_its_body,
    w11_r81_the_token_is_in_one_set_cookie_and_nowhere_else,
    nonsense_in_a_link_leaves_the_cookie_of_before,
);

fn w36_r41_a_scanner_that_opens_a_link_burns_nothing(front: Front) {
    let world = World::new(front);
    let token = world.token(ADA);
    let link = format!("{CHOOSE}?token={token}");
    let mut with_cookie = world.opened(&token);
    let start = world.faults.tokens.log().len();
    for _ in 0..3 {
        // 60 tokens a minute from one source.
        world.clock.advance(Duration::from_secs(60));
        for _ in 0..15 {
            for method in ["GET", "HEAD"] {
                assert_eq!(world.browser().send(method, &link, &[], b"").status, 303);
                assert_eq!(world.browser().send(method, CHOOSE, &[], b"").status, 404);
                assert_eq!(with_cookie.send(method, CHOOSE, &[], b"").status, 200);
            }
        }
    }
    let log = world.faults.tokens.log();
    assert_eq!(log[start..], ["tokens.find"; 90]);
    assert!(world.is_unchanged("1"));
    let form = with_cookie.get(CHOOSE).hidden();
    choose(&mut with_cookie, &form, NEW).leads_to(DONE);
}

fn w37_a_scanner_that_opens_a_dead_link_does_nothing(front: Front) {
    let world = World::new(front);
    let token = world.token(ADA);
    world.clock.advance(Duration::from_secs(1_800));
    let pushed = world
        .faults
        .queue
        .log()
        .iter()
        .filter(|call| **call == "queue.push")
        .count();
    for _ in 0..30 {
        assert_eq!(world.opened(&token).get(CHOOSE).status, 404);
    }
    world.work();
    let after = world
        .faults
        .queue
        .log()
        .iter()
        .filter(|call| **call == "queue.push")
        .count();
    assert_eq!((after, world.outbox.messages().len()), (pushed, 1));
}

fn r81_the_exchange_works_twice(front: Front) {
    let world = World::new(front);
    let token = world.token(ADA);
    let mut scanner = world.opened(&token);
    assert_eq!(scanner.get(CHOOSE).status, 200);
    let mut owner = world.opened(&token);
    let form = owner.get(CHOOSE).hidden();
    choose(&mut owner, &form, NEW).leads_to(DONE);
    assert!(world.logs_in("1", NEW));
}

fn head_is_get_without_its_body(front: Front) {
    let world = World::new(front);
    let token = world.token(ADA);
    let mut browser = world.opened(&token);
    for path in [
        ASK,
        CHOOSE,
        DONE,
        "/forgot-password/sent",
        &format!("{CHOOSE}?token={token}"),
        &format!("{CHOOSE}?token=nonsense"),
        "/reset/style.css",
        "/reset/script.js",
        "/.well-known/change-password",
    ] {
        let get = browser.get(path);
        let head = browser.send("HEAD", path, &[], b"");
        assert_eq!(head.body, "", "{path}");
        let ((status, headers, _), expected) = (bytes_of(&head), bytes_of(&get));
        assert_eq!((status, headers), (expected.0, expected.1), "{path}");
    }
}

fn w11_r81_the_token_is_in_one_set_cookie_and_nowhere_else(front: Front) {
    let world = World::new(front);
    let token = world.token(ADA);
    let holds = |reply: &Reply| {
        let lines = reply
            .headers
            .iter()
            .filter(|(_, value)| value.contains(&token));
        let lines: Vec<_> = lines.map(|(name, _)| name.clone()).collect();
        assert!(!reply.body.contains(&token), "{reply:?}");
        // Nor any part of it that tells the rest from fewer guesses.
        assert!(!reply.body.contains(&token[22..]) && !reply.body.contains(&token[..22]));
        lines
    };
    let mut browser = world.browser();
    let exchange = browser.get(&format!("{CHOOSE}?token={token}"));
    assert_eq!(holds(&exchange), ["set-cookie"]);
    let page = browser.get(CHOOSE);
    let form = page.hidden();
    let mut program = world.browser();
    let short = json!({ "token": token, "password": "short" });
    let good = json!({ "token": token, "password": NEW });
    let replies = [
        page,
        choose(&mut browser, &form, "short"),
        choose(&mut browser, "another form", NEW),
        browser.send("PUT", &format!("{CHOOSE}?token={token}"), &[], b""),
        browser.post(&format!("{CHOOSE}?token={token}"), &[("token", &token)]),
        browser.get(&format!("{ASK}?token={token}")),
        browser.get(&format!("{CHOOSE}?token={token}&token={token}")),
        post_json(&mut program, CHOOSE, &short),
        choose(&mut browser, &form, NEW),
        post_json(&mut program, CHOOSE, &good),
        world.opened(&token).get(CHOOSE),
    ];
    assert_eq!(replies[8].status, 303);
    for reply in &replies {
        assert!(holds(reply).is_empty(), "{reply:?}");
    }
}

fn nonsense_in_a_link_leaves_the_cookie_of_before(front: Front) {
    let world = World::new(front);
    let (mut browser, form) = world.at_the_form(ADA);
    let before = browser.cookies.clone();
    for nonsense in ["", "x", "%00", &"A".repeat(10_000), "%ff", "null"] {
        let reply = Browser::get(&mut browser, &format!("{CHOOSE}?token={nonsense}"));
        assert_eq!(reply.status, 404, "{nonsense}");
        assert!(reply.header("set-cookie").is_none());
    }
    assert_eq!(browser.cookies, before);
    choose(&mut browser, &form, NEW).leads_to(DONE);
}
