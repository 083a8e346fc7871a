//! What surrounds every page: headers, routes, and who may send what.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

mod common;

use common::{Demo, FORM, Reply};
use password_reset_web::PAGE_HEADERS;

#[test]
fn r79_every_answer_carries_the_headers_of_a_page() {
    let demo = Demo::start(&[]);
    let mut browser = demo.browser();
    let link = demo.ask("ada@example.com");
    for path in [
        "/",
        "/login",
        "/forgot-password",
        "/forgot-password/code",
        "/reset-password",
        &link,
        "/reset-password/not-me",
        "/reset-password/not-me/done",
        "/reset-password?token=x",
        "/.well-known/change-password",
        "/dev/mailbox",
        "/dev/mailbox.json",
        "/dev/activity",
        "/dev/metrics",
        "/dev/totp",
        "/robots.txt",
        "/reset-password/style.css",
        "/nowhere",
    ] {
        let reply = browser.get(path);
        assert_page_headers(&reply, path);
        assert!(!reply.body.contains("<script>"), "{path}");
    }
    for reply in [
        browser.post("/nowhere", &[]),
        browser.post("/login", &[]),
        browser.send("DELETE", "/login", &[], b""),
    ] {
        assert_page_headers(&reply, "");
    }
}

#[track_caller]
fn assert_page_headers(reply: &Reply, path: &str) {
    for (name, value) in &PAGE_HEADERS {
        let lines: Vec<_> = reply.all(name.as_str()).collect();
        assert_eq!(lines, [value.to_str().unwrap()], "{name}: {path} {reply:?}");
    }
}

#[test]
fn password_managers_find_the_page() {
    let demo = Demo::start(&[]);
    demo.browser()
        .get("/.well-known/change-password")
        .leads_to("/forgot-password");
    assert!(
        demo.browser()
            .get("/robots.txt")
            .body
            .contains("Disallow: /reset-password\n")
    );
}

#[test]
fn the_login_takes_its_own_form_from_its_own_page_only() {
    let demo = Demo::start(&[]);
    let right = format!("password={}", common::encode(demo.initial_password()));
    let ada = "identifier=ada%40example.com";
    let mut browser = demo.browser();
    for body in [
        format!("{ada}&{ada}&{right}"),
        format!("{ada}&{right}&next=%2F%2Fevil.example"),
        format!("identifier%5B%5D=ada%40example.com&{right}"),
        ada.to_owned(),
    ] {
        let refused = browser.post_raw("/login", body.as_bytes());
        assert_eq!(refused.status, 400, "{body}");
    }
    let long = format!("{ada}&{right}{}", "a".repeat(20_000));
    assert_eq!(browser.post_raw("/login", long.as_bytes()).status, 413);
    for headers in [
        ("Origin", "https://evil.example"),
        ("Sec-Fetch-Site", "cross-site"),
    ] {
        let headers = [("Content-Type", FORM), headers];
        let body = format!("{ada}&{right}");
        let refused = browser.send("POST", "/login", &headers, body.as_bytes());
        assert_eq!(refused.status, 403, "{headers:?}");
    }
    assert!(browser.cookies.is_empty());
    browser
        .log_in("ada@example.com", demo.initial_password())
        .leads_to("/");
}

#[test]
fn w6_links_and_limits_ignore_what_the_client_claims() {
    let ask = |demo: &Demo, n: u32| {
        let claims = [
            ("Content-Type", FORM),
            ("Host", "evil.example.org"),
            ("X-Forwarded-Host", "evil.example.org"),
            ("X-Forwarded-For", &format!("192.0.2.{n}")),
        ];
        let body = format!("identifier=someone-{n}%40example.com");
        let mut browser = demo.browser();
        browser
            .send("POST", "/forgot-password", &claims, body.as_bytes())
            .status
    };
    let denied = |work, status| {
        let demo = Demo::start(&["--proof-of-work", work]);
        (0..21).filter(|n| ask(&demo, *n) == status).count()
    };
    assert_eq!((denied("off", 429), denied("demanded", 403)), (1, 1));
    // Behind one proxy the last entry counts, and each of these has a bucket of its own.
    let demo = Demo::start(&["--proxies", "1"]);
    assert!((0..21).all(|n| ask(&demo, n) == 303));

    let demo = Demo::start(&[]);
    let claims = [("Content-Type", FORM), ("Host", "evil.example.org")];
    let body = b"identifier=ada%40example.com";
    demo.browser()
        .send("POST", "/forgot-password", &claims, body);
    let mail = &demo.mails(1)[0];
    assert!(!mail.to_string().contains("evil"));
    assert!(demo.link(mail).starts_with("/reset-password?token="));
}

#[test]
fn the_mailbox_shows_the_links() {
    let demo = Demo::start(&[]);
    demo.ask("ada@example.com");
    let page = demo.browser().get("/dev/mailbox");
    let link = demo.mails(1)[0]["links"][0].as_str().unwrap().to_owned();
    assert!(
        page.body.contains(&format!("href=\"{link}\"")),
        "{}",
        page.body
    );
}

/// On a loopback address, for requests that name this machine; on no other address at all.
#[test]
fn what_is_for_the_developer_is_for_this_machine() {
    let ask = |demo: &Demo, path: &str, host: &str| {
        let (method, path) = path.split_once(' ').unwrap();
        let headers = [("Content-Type", FORM), ("Host", host)];
        let body: &[u8] = if method == "POST" { b"typed=a" } else { b"" };
        demo.browser().send(method, path, &headers, body).status
    };
    let demo = Demo::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("test.db").display());
    let open = Demo::start_with(&["--addr", "0.0.0.0:0", "--database", &url]);
    for (path, status) in [
        ("GET /dev/mailbox", 200),
        ("GET /dev/mailbox.json", 200),
        ("GET /dev/activity", 200),
        ("POST /dev/activity", 303),
        ("GET /dev/metrics", 200),
        ("GET /dev/totp", 200),
    ] {
        assert_eq!(ask(&demo, path, "localhost"), status, "{path}");
        assert_eq!(ask(&demo, path, "evil.example.org"), 404, "{path}");
        assert_eq!(ask(&open, path, "localhost"), 404, "{path}");
    }
}

/// Requests, what came of them, and one person's events, found by the address that was typed.
#[test]
fn an_operator_sees_what_happened() {
    let demo = Demo::start(&[]);
    demo.ask("ada@example.com");
    let mut browser = demo.browser();
    browser.post("/forgot-password", &[("identifier", "nobody@example.com")]);
    // The trail is written beside the requests.
    let shown = |browser: &mut common::Browser, path: &str, what: &str| {
        for _ in 0..200 {
            let page = browser.get(path).body;
            if page.contains(what) {
                return page;
            }
            std::thread::sleep(std::time::Duration::from_millis(25));
        }
        panic!("{path} never shows {what}");
    };
    let page = shown(&mut browser, "/dev/activity", "withheld.unknown");
    assert!(
        page.contains("link_sent") && page.contains("taken: 2"),
        "{page}"
    );
    assert!(!page.contains("@example.com"), "{page}");
    let style = page.split("activity?v=").nth(1).unwrap();
    let style = format!("/dev/activity?v={}", style.split('"').next().unwrap());
    assert!(browser.get(&style).body.contains(".charts"));

    let found = browser.post("/dev/activity", &[("typed", "ADA@example.com")]);
    assert_eq!(found.status, 303);
    let path = found.header("location").unwrap().to_owned();
    assert!(
        path.starts_with("/dev/activity?who=") && !path.contains("example"),
        "{path}"
    );
    let own = shown(&mut browser, &path, "link_sent");
    assert!(!own.contains("withheld."), "{own}");
    let metrics = browser.get("/dev/metrics").body;
    let requested =
        "password_reset_events_total{event=\"requested\",cause=\"\",severity=\"info\"} 2";
    assert!(metrics.contains(requested), "{metrics}");
    assert!(metrics.contains("password_reset_mail_seconds_bucket{what=\"link\",le=\"5\"} 1"));
    let cross = [("Content-Type", FORM), ("Origin", "https://evil.example")];
    let refused = browser.send("POST", "/dev/activity", &cross, b"typed=a");
    assert_eq!(refused.status, 403);
}
