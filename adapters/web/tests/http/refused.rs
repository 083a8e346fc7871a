//! What a stranger writes into a request moves nothing.

use crate::client::Reply;
use crate::server::Front;
use crate::world::{ADA, ASK, CHOOSE, DONE, NEW, SENT, World, choose};

suite!(
    w6_a_poisoned_host_moves_nothing,
    w6_a_poisoned_host_is_not_an_own_origin,
    w8_no_field_says_where_a_redirect_leads_to,
    w9_line_breaks_become_no_header_line,
    w66_a_form_goes_with_its_own_link_only,
    w66_without_a_cookie_or_with_two_nothing_is_changed,
    r82_another_sites_page_cannot_post,
    w70_nothing_of_a_request_is_on_a_page,
);

const POISON: [(&str, &str); 7] = [
    ("Host", "evil.example"),
    ("Host", "app.example.com@evil.example"),
    ("X-Forwarded-Host", "evil.example"),
    ("X-Forwarded-Proto", "http"),
    ("X-Forwarded-Port", "8443"),
    ("Forwarded", "host=evil.example;proto=http"),
    ("X-Original-URL", "/evil"),
];

fn w6_a_poisoned_host_moves_nothing(front: Front) {
    for poison in POISON {
        let world = World::new(front);
        let mut browser = world.browser();
        let form = [poison, ("Content-Type", crate::client::FORM)];
        let asked = browser.send("POST", ASK, &form, b"identifier=ada%40example.com");
        asked.leads_to(SENT);
        world.work();
        let token = world.outbox.last_token().unwrap();
        assert_eq!(
            world.outbox.links(),
            [format!("https://app.example.com/reset?token={token}")]
        );
        let link = format!("{CHOOSE}?token={token}");
        let exchange = browser.send("GET", &link, &[poison], b"");
        exchange.leads_to(CHOOSE);
        let cookie = exchange.header("set-cookie").unwrap();
        assert!(cookie.starts_with("__Host-") && cookie.contains("; Secure"));
        let page = browser.send("GET", CHOOSE, &[poison], b"");
        assert!(page.status == 200 && !page.body.contains("evil"));
        let body = format!("form={}&password={}", page.hidden(), NEW.replace(' ', "+"));
        let changed = browser.send("POST", CHOOSE, &form, body.as_bytes());
        changed.leads_to(DONE);
        assert!(
            world
                .outbox
                .messages()
                .iter()
                .all(|mail| !mail.html.contains("evil"))
        );
    }
}

fn w6_a_poisoned_host_is_not_an_own_origin(front: Front) {
    let world = World::new(front);
    let post = |host: &str, origin: &str| {
        let lines = [
            ("Host", host),
            ("X-Forwarded-Host", host),
            ("Origin", origin),
            ("Content-Type", crate::client::FORM),
        ];
        let mut browser = world.browser();
        browser.send("POST", ASK, &lines, b"identifier=ada%40example.com")
    };
    assert_eq!(post("evil.example", "https://evil.example").status, 403);
    assert_eq!(post("evil.example", "http://evil.example").status, 403);
    post("evil.example", "https://app.example.com").leads_to(SENT);
}

fn w8_no_field_says_where_a_redirect_leads_to(front: Front) {
    let world = World::new(front);
    let (mut browser, form) = world.at_the_form(ADA);
    let token = world.outbox.last_token().unwrap();
    for target in [
        "https://evil.example/",
        "//evil.example",
        "/%5cevil.example",
        "https:evil.example",
        "javascript:alert(1)",
    ] {
        for field in ["next", "return_to", "redirect_uri", "url"] {
            let query = format!("{field}={target}");
            let link = format!("{CHOOSE}?token={token}&{query}");
            browser.get(&link).leads_to(CHOOSE);
            let known = format!("/.well-known/change-password?{query}");
            browser.get(&known).leads_to(ASK);
            let page = browser.get(&format!("{CHOOSE}?{query}"));
            assert!(page.status == 200 && !page.body.contains("evil"));
            // As a field of a body it is one that nobody asked for.
            let body = format!("identifier=a&{query}");
            assert_eq!(browser.post_raw(ASK, body.as_bytes()).status, 400);
        }
    }
    for path in [
        format!("//evil.example{CHOOSE}?token={token}"),
        format!("/%2f%2fevil.example{CHOOSE}?token={token}"),
        format!("{CHOOSE}//evil.example?token={token}"),
        format!("{CHOOSE}/..//evil.example?token={token}"),
        format!("{CHOOSE}@evil.example?token={token}"),
    ] {
        let reply = browser.get(&path);
        assert_eq!(
            (reply.status, reply.header("location")),
            (404, None),
            "{path}"
        );
        assert!(reply.header("set-cookie").is_none() && !reply.body.contains("evil"));
    }
    // The whole address in the first line, as proxies send it.
    let link = format!("http://evil.example{CHOOSE}?token={token}");
    browser.get(&link).leads_to(CHOOSE);
    let path = format!("{CHOOSE}?next=//evil.example");
    let body = format!("form={form}&password={}", NEW.replace(' ', "+"));
    browser.post_raw(&path, body.as_bytes()).leads_to(DONE);
}

fn w9_line_breaks_become_no_header_line(front: Front) {
    let world = World::new(front);
    let token = world.token(ADA);
    let injected = "%0d%0aX-Injected:%20yes%0d%0aSet-Cookie:%20a=b";
    let assert_clean = |reply: &Reply| {
        assert_eq!(reply.header("x-injected"), None, "{reply:?}");
        assert_eq!(reply.header("set-cookie"), None, "{reply:?}");
        assert_eq!(reply.header("location").unwrap_or(SENT), SENT);
    };
    for path in [
        format!("{CHOOSE}?token={injected}"),
        format!("{CHOOSE}?token={token}{injected}"),
        format!("{CHOOSE}{injected}?token={token}"),
        format!("{CHOOSE}/{injected}"),
        format!("/.well-known/change-password{injected}"),
    ] {
        let reply = world.browser().get(&path);
        assert_clean(&reply);
        assert_eq!(reply.status, 404, "{path}");
    }
    let body = format!("identifier=ada%40example.com{injected}");
    let reply = world.browser().post_raw(ASK, body.as_bytes());
    assert_clean(&reply);
    reply.leads_to(SENT);
}

fn w66_a_form_goes_with_its_own_link_only(front: Front) {
    let world = World::new(front);
    let (mut ada, form_of_ada) = world.at_the_form(ADA);
    // Eve sends Ada's browser to a link of Eve's account, and Ada sends her form.
    let link_of_eve = world.token("eve@example.com");
    ada.get(&format!("{CHOOSE}?token={link_of_eve}"))
        .leads_to(CHOOSE);
    let reply = choose(&mut ada, &form_of_ada, NEW);
    assert_eq!(reply.status, 409);
    assert!(reply.body.contains("Another link was opened"), "{reply:?}");
    assert!(reply.header("set-cookie").is_none());
    assert!(world.is_unchanged("1") && world.is_unchanged("6"));
    // Both links are as good as before.
    let form_of_eve = ada.get(CHOOSE).hidden();
    assert_ne!(form_of_eve, form_of_ada);
    choose(&mut ada, &form_of_eve, NEW).leads_to(DONE);
    assert!(world.logs_in("6", NEW) && world.is_unchanged("1"));
}

fn w66_without_a_cookie_or_with_two_nothing_is_changed(front: Front) {
    let world = World::new(front);
    let (mut owner, form) = world.at_the_form(ADA);
    let token = world.outbox.last_token().unwrap();
    let other = world.token("eve@example.com");
    let missing = choose(&mut world.browser(), &form, NEW);
    assert_eq!(missing.status, 404);
    // The link itself is good: nobody is sent away to ask for another one.
    assert!(
        missing.body.contains("Open the link once more"),
        "{missing:?}"
    );
    let body = format!("form={form}&password={}", NEW.replace(' ', "+"));
    for cookies in [
        format!("__Host-password-reset={token}; __Host-password-reset={other}"),
        format!("__Host-password-reset={other}; __Host-password-reset={token}"),
        format!("__Host-password-reset={token}; __Host-password-reset={token}"),
        // The plain name is another cookie: any page of a sister host can set it.
        format!("password-reset={token}"),
        format!("__host-password-reset={token}"),
    ] {
        let lines = [
            ("Cookie", cookies.as_str()),
            ("Content-Type", crate::client::FORM),
        ];
        let mut browser = world.browser();
        let reply = browser.send("POST", CHOOSE, &lines, body.as_bytes());
        assert_eq!(reply.status, 404, "{cookies}");
        assert_eq!(
            world.browser().send("GET", CHOOSE, &lines[..1], b"").status,
            404
        );
    }
    assert!(world.is_unchanged("1"));
    choose(&mut owner, &form, NEW).leads_to(DONE);
}

fn r82_another_sites_page_cannot_post(front: Front) {
    let world = World::new(front);
    let own = "https://app.example.com";
    for (site, origin, allowed) in [
        (None, None, true),
        (None, Some(own), true),
        (Some("same-origin"), Some(own), true),
        // What browsers send for our own forms under `Referrer-Policy: no-referrer`.
        (Some("same-origin"), Some("null"), true),
        (Some("same-origin"), None, true),
        (None, Some("null"), false),
        (None, Some("http://app.example.com"), false),
        (None, Some("https://app.example.com:8443"), false),
        (None, Some("https://app.example.com.evil.example"), false),
        (None, Some("https://sister.example.com"), false),
        (Some("cross-site"), None, false),
        (Some("cross-site"), Some("null"), false),
        (Some("same-site"), None, false),
        (Some("same-origin"), Some("https://evil.example"), false),
        (Some("nonsense"), None, false),
    ] {
        world.clock.advance(std::time::Duration::from_secs(3_600));
        let (mut browser, form) = world.at_the_form(ADA);
        let mut lines = vec![("Content-Type", crate::client::FORM)];
        lines.extend(site.map(|site| ("Sec-Fetch-Site", site)));
        lines.extend(origin.map(|origin| ("Origin", origin)));
        let body = format!("form={form}&password=short");
        for (path, body, good) in [(ASK, "identifier=a", 303), (CHOOSE, &body, 422)] {
            let reply = browser.send("POST", path, &lines, body.as_bytes());
            let expected = if allowed { good } else { 403 };
            assert_eq!(reply.status, expected, "{site:?} {origin:?} {path}");
        }
        let json = [&[("Content-Type", "application/json")], &lines[1..]].concat();
        let reply = browser.send("POST", ASK, &json, br#"{"identifier":"a"}"#);
        let expected = if allowed { 202 } else { 403 };
        assert_eq!(reply.status, expected, "{site:?} {origin:?}");
        assert!(allowed || reply.body.contains("\"code\":\"cross_site\""));
    }
}

fn w70_nothing_of_a_request_is_on_a_page(front: Front) {
    let world = World::new(front);
    let (mut browser, _) = world.at_the_form(ADA);
    for path in [ASK, CHOOSE, SENT, DONE] {
        let reply = browser.get(&format!("{path}?x=%3Cscript%3Emarker&token[]=marker"));
        assert!(
            reply.status == 200 && !reply.body.contains("marker"),
            "{path}"
        );
    }
    for body in [
        "identifier=marker&x=marker",
        "marker=<script>",
        "identifier[]=marker",
    ] {
        let reply = browser.post_raw(ASK, body.as_bytes());
        assert!(reply.status == 400 && !reply.body.contains("marker"));
    }
    let reply = choose(&mut browser, "marker", "marker");
    assert!(reply.status == 409 && !reply.body.contains("marker"));
    let lines = [
        ("Accept-Language", "marker\"<script>"),
        ("User-Agent", "marker"),
    ];
    let reply = browser.send("GET", CHOOSE, &lines, b"");
    assert!(reply.status == 200 && !reply.body.contains("marker"));
}
