//! What surrounds every page: headers, routes, and who may send what.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

mod common;

use common::{Demo, FORM, NEW_PASSWORD};

#[test]
fn every_answer_carries_the_headers() {
    let demo = Demo::start(&[]);
    let mut browser = demo.browser();
    let link = demo.ask("ada@example.com");
    for path in [
        "/",
        "/login",
        "/forgot-password",
        "/reset-password",
        &link,
        "/reset-password?token=x",
        "/.well-known/change-password",
        "/dev/mailbox",
        "/dev/mailbox.json",
        "/robots.txt",
        "/style.css",
        "/nowhere",
    ] {
        let reply = browser.get(path);
        assert_eq!(
            reply.header("referrer-policy"),
            Some("no-referrer"),
            "{path}"
        );
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(
            reply.header("x-robots-tag"),
            Some("noindex, nofollow"),
            "{path}"
        );
        assert_eq!(
            reply.header("x-content-type-options"),
            Some("nosniff"),
            "{path}"
        );
        assert_eq!(
            reply.header("cross-origin-opener-policy"),
            Some("same-origin"),
            "{path}"
        );
        let policy = reply.header("content-security-policy").unwrap();
        for part in [
            "default-src 'none'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!reply.body.contains("<script"), "{path}");
    }
    for reply in [
        browser.post("/nowhere", &[]),
        browser.post("/login", &[]),
        browser.send("DELETE", "/login", &[], b""),
    ] {
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{reply:?}");
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
fn forms_are_taken_literally_or_not_at_all() {
    let demo = Demo::start(&["--limits", "off"]);
    let mut browser = demo.browser();
    for body in [
        "identifier=ada%40example.com&identifier=eve%40example.org",
        "identifier%5B%5D=ada%40example.com&identifier%5B%5D=eve%40example.org",
        "identifier=ada%40example.com&bcc=eve%40example.org",
        "email=ada%40example.com",
        "",
    ] {
        assert_eq!(
            browser.post_raw("/forgot-password", body.as_bytes()).status,
            400,
            "{body}"
        );
    }
    let json = br#"{"identifier":["ada@example.com"]}"#;
    let reply = browser.send(
        "POST",
        "/forgot-password",
        &[("Content-Type", "application/json")],
        json,
    );
    assert_eq!(reply.status, 400);

    for identifier in [
        "ada@example.com\r\nBcc: eve@example.org",
        "ada@example.com\0",
        "ada@example.com,eve@example.org",
        "ada@example.com eve@example.org",
        "%",
        &"a".repeat(10_000),
    ] {
        let reply = browser.post("/forgot-password", &[("identifier", identifier)]);
        assert_eq!(reply.status, 200, "{identifier:?}");
    }

    // One mail in the end: the one that is asked for now.
    let link = demo.ask("ada@example.com");
    assert_eq!(demo.mails(1).len(), 1);
    assert!(link.starts_with("/reset-password?token="));
}

#[test]
fn ten_megabytes_are_too_many() {
    let demo = Demo::start(&[]);
    let body = [b"identifier=".to_vec(), vec![b'a'; 10 << 20]].concat();
    for path in ["/forgot-password", "/login"] {
        assert_eq!(demo.browser().post_raw(path, &body).status, 413, "{path}");
    }
    let mut browser = demo.browser();
    browser
        .get(&demo.ask("ada@example.com"))
        .leads_to("/reset-password");
    let body = [b"password=".to_vec(), vec![b'a'; 10 << 20]].concat();
    assert_eq!(browser.post_raw("/reset-password", &body).status, 413);
    // Within the form's bound, over the password's.
    let long = "a".repeat(2_000);
    assert_eq!(
        browser
            .post("/reset-password", &[("password", &long)])
            .status,
        422
    );
    assert_eq!(demo.browser().log_in("ada@example.com", &long).status, 401);
    browser
        .post("/reset-password", &[("password", NEW_PASSWORD)])
        .leads_to("/login?reset=done");
}

#[test]
fn what_is_not_a_token_never_becomes_a_cookie() {
    let demo = Demo::start(&[]);
    let token = "A".repeat(64);
    let mut browser = demo.browser();
    browser
        .get(&format!("/reset-password?token={token}&utm_source=mail"))
        .leads_to("/reset-password");
    assert_eq!(browser.get("/reset-password").status, 410);
    for query in [
        "token=".to_owned(),
        "token=null".to_owned(),
        format!("token={token}%3d"),
        format!("token={}%2b", &token[1..]),
        format!("token={}%0d%0aset-cookie:%20a=b", &token[..40]),
        format!("token={token}&token={token}"),
        format!("token[]={token}"),
        format!("token=%3Cscript%3E{}", &token[..56]),
    ] {
        let mut browser = demo.browser();
        let reply = browser.get(&format!("/reset-password?{query}"));
        assert_eq!(reply.status, 410, "{query}");
        assert!(browser.cookies.is_empty(), "{query}");
        assert!(!reply.body.contains("AAAA"), "{query}");
    }
    for cookie in ["x", &token, ""] {
        let mut browser = demo.browser();
        browser.cookies.insert("reset".into(), cookie.into());
        let reply = browser.post("/reset-password", &[("password", NEW_PASSWORD)]);
        assert_eq!(reply.status, 410, "{cookie}");
    }
    assert_eq!(
        demo.browser()
            .post("/reset-password", &[("password", NEW_PASSWORD)])
            .status,
        410
    );
}

#[test]
fn another_site_cannot_post() {
    let demo = Demo::start(&[]);
    let own = format!("http://{}", demo.address);
    let mut browser = demo.browser();
    browser
        .get(&demo.ask("ada@example.com"))
        .leads_to("/reset-password");
    let body = format!("password={}", common::encode(NEW_PASSWORD));
    let mut post = |more: &[(&str, &str)]| {
        let headers = [&[("Content-Type", FORM)], more].concat();
        browser.send("POST", "/reset-password", &headers, body.as_bytes())
    };
    for headers in [
        &[("Origin", "https://evil.example.org")][..],
        &[("Origin", "null")],
        &[("Sec-Fetch-Site", "cross-site")],
        &[("Sec-Fetch-Site", "same-site"), ("Origin", &own)],
    ] {
        assert_eq!(post(headers).status, 403, "{headers:?}");
    }
    // What a browser sends from our own form, whose page hides its origin.
    let own_form = post(&[("Sec-Fetch-Site", "same-origin"), ("Origin", "null")]);
    own_form.leads_to("/login?reset=done");
}

#[test]
fn links_and_limits_ignore_what_the_client_claims() {
    let demo = Demo::start(&[]);
    let mut denied = 0;
    for n in 0..21 {
        let body = format!("identifier=someone-{n}%40example.com");
        let claims = [
            ("Content-Type", FORM),
            ("Host", "evil.example.org"),
            ("X-Forwarded-Host", "evil.example.org"),
            ("X-Forwarded-For", &format!("192.0.2.{n}")),
        ];
        let reply = demo
            .browser()
            .send("POST", "/forgot-password", &claims, body.as_bytes());
        denied += u32::from(reply.status == 429);
    }
    assert_eq!(denied, 1);

    let demo = Demo::start(&[]);
    let claims = [("Content-Type", FORM), ("Host", "evil.example.org")];
    demo.browser().send(
        "POST",
        "/forgot-password",
        &claims,
        b"identifier=ada%40example.com",
    );
    let mail = &demo.mails(1)[0];
    assert!(!mail.to_string().contains("evil"));
    assert!(demo.link(mail).starts_with("/reset-password?token="));
}

#[test]
fn the_mailbox_is_for_this_machine() {
    let demo = Demo::start(&[]);
    demo.ask("ada@example.com");
    let page = demo.browser().get("/dev/mailbox");
    let link = demo.mails(1)[0]["links"][0].as_str().unwrap().to_owned();
    assert!(
        page.body.contains(&format!("href=\"{link}\"")),
        "{}",
        page.body
    );
    let rebound = demo.browser().send(
        "GET",
        "/dev/mailbox.json",
        &[("Host", "evil.example.org")],
        b"",
    );
    assert_eq!(rebound.status, 404);
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("test.db").display());
    let open = Demo::start_with(&["--addr", "0.0.0.0:0", "--database", &url]);
    for path in ["/dev/mailbox", "/dev/mailbox.json"] {
        assert_eq!(open.browser().get(path).status, 404, "{path}");
    }
}
