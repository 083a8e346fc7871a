//! Whose limits are whose: the client's address.

use std::time::Duration;

use password_reset::account::{Client, Identifier};
use password_reset::testing::block_on;
use password_reset_web::{Forwarding, Proxies};
use serde_json::json;

use crate::client::Reply;
use crate::server::Front;
use crate::world::{ASK, CHOOSE, SENT, Setup, World, json, post_json};

suite!(
    the_address_of_the_connection_counts,
    w53_r37_by_default_no_header_says_who_asks,
    w53_behind_one_proxy_every_client_has_its_own_limit,
    w53_trusted_networks_are_believed_and_no_others,
    w53_an_ipv6_network_is_one_source,
    w53_an_address_has_one_limit_however_it_is_written,
    a_limit_is_told_alike_on_a_page_and_in_json,
    tokens_are_limited_too,
);

/// Asks for somebody else's link every time.
fn ask(world: &World, number: usize, line: Option<(&str, &str)>) -> Reply {
    let body = format!("identifier={number}%40example.com");
    let mut lines = vec![("Content-Type", crate::client::FORM)];
    lines.extend(line);
    world.browser().send("POST", ASK, &lines, body.as_bytes())
}

/// Uses up one source's 20 requests an hour.
fn use_up(world: &World, line: impl Fn(usize) -> Option<(&'static str, String)>) {
    for number in 0..20 {
        let line = line(number);
        let line = line.as_ref().map(|(name, value)| (*name, value.as_str()));
        ask(world, number, line).leads_to(SENT);
    }
}

const XFF: &str = "X-Forwarded-For";

fn behind_one(front: Front, header: Forwarding) -> World {
    Setup::default()
        .web(move |web| web.proxies(Proxies::count(1, header)))
        .start(front)
}

fn the_address_of_the_connection_counts(front: Front) {
    let connection = Client::from_ip([127, 0, 0, 1].into());
    for (client, status) in [(connection, 429), (Client::unknown(), 303)] {
        let world = World::new(front);
        for number in 0..20 {
            let typed = Identifier::parse(&format!("{number}@example.com")).unwrap();
            block_on(world.flow.request(&typed, &client)).unwrap();
        }
        assert_eq!(ask(&world, 20, None).status, status);
    }
}

fn w53_r37_by_default_no_header_says_who_asks(front: Front) {
    for name in [
        XFF,
        "Forwarded",
        "X-Real-IP",
        "CF-Connecting-IP",
        "True-Client-IP",
    ] {
        let world = World::new(front);
        let spoofed = |number: usize| match name {
            "Forwarded" => format!("for=198.51.100.{number}"),
            _ => format!("198.51.100.{number}"),
        };
        use_up(&world, |number| Some((name, spoofed(number))));
        let reply = ask(&world, 20, Some((name, &spoofed(20))));
        assert_eq!(reply.status, 429, "{name}");
        assert!(reply.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
    }
}

fn w53_behind_one_proxy_every_client_has_its_own_limit(front: Front) {
    let world = behind_one(front, Forwarding::XForwardedFor);
    // What stands left of the proxy's own entry is the client's claim.
    use_up(&world, |number| {
        Some((XFF, format!("198.51.100.{number}, 192.0.2.7")))
    });
    assert_eq!(ask(&world, 20, Some((XFF, "192.0.2.7"))).status, 429);
    assert_eq!(
        ask(&world, 20, Some((XFF, "203.0.113.1, 192.0.2.7"))).status,
        429
    );
    ask(&world, 20, Some((XFF, "192.0.2.8"))).leads_to(SENT);
    ask(&world, 21, Some((XFF, "192.0.2.7, 192.0.2.9"))).leads_to(SENT);
    // Without the line it did not come through the proxy: one bucket for all of these.
    use_up(&world, |_| None);
    assert_eq!(ask(&world, 20, None).status, 429);
    assert_eq!(ask(&world, 20, Some((XFF, "unknown"))).status, 429);
    assert_eq!(
        ask(&world, 20, Some(("Forwarded", "for=192.0.2.99"))).status,
        429
    );
}

fn w53_trusted_networks_are_believed_and_no_others(front: Front) {
    for (network, believed) in [("127.0.0.0/8", true), ("10.0.0.0/8", false)] {
        let proxies = Proxies::within([network], Forwarding::Forwarded).unwrap();
        let world = Setup::default()
            .web(|web| web.proxies(proxies))
            .start(front);
        use_up(&world, |_| Some(("Forwarded", "for=192.0.2.7".to_owned())));
        assert_eq!(
            ask(&world, 20, Some(("Forwarded", "for=192.0.2.7"))).status,
            429
        );
        let other = ask(&world, 20, Some(("Forwarded", "for=\"192.0.2.8:4711\"")));
        assert_eq!(other.status, if believed { 303 } else { 429 });
    }
}

fn w53_an_ipv6_network_is_one_source(front: Front) {
    let world = behind_one(front, Forwarding::XForwardedFor);
    use_up(&world, |number| {
        Some((XFF, format!("2001:db8:1:2:{number:x}::1")))
    });
    assert_eq!(
        ask(&world, 20, Some((XFF, "2001:db8:1:2:ffff::1"))).status,
        429
    );
    ask(&world, 20, Some((XFF, "2001:db8:1:3::1"))).leads_to(SENT);
}

fn w53_an_address_has_one_limit_however_it_is_written(front: Front) {
    let world = behind_one(front, Forwarding::XForwardedFor);
    let spellings = [
        "192.0.2.7",
        "::ffff:192.0.2.7",
        "192.0.2.7:4711",
        "[::ffff:192.0.2.7]:1",
    ];
    use_up(&world, |number| {
        Some((XFF, spellings[number % 4].to_owned()))
    });
    for spelling in spellings {
        assert_eq!(
            ask(&world, 20, Some((XFF, spelling))).status,
            429,
            "{spelling}"
        );
    }
}

fn a_limit_is_told_alike_on_a_page_and_in_json(front: Front) {
    let world = World::new(front);
    use_up(&world, |_| None);
    world.clock.advance(Duration::from_millis(500));
    let page = ask(&world, 20, None);
    assert_eq!(page.status, 429);
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert!(page.body.contains("Please try again in "));
    let asked = json!({ "identifier": "20@example.com" });
    let problem = post_json(&mut world.browser(), ASK, &asked);
    assert_eq!(problem.status, 429);
    assert_eq!(
        problem.header("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(json(&problem)["code"], "rate_limited");
    assert_eq!(problem.header("retry-after"), page.header("retry-after"));
    // Who waits as long as told is let in, part of a second or not.
    let wait = page.header("retry-after").unwrap().parse().unwrap();
    world.clock.advance(Duration::from_secs(wait));
    ask(&world, 20, None).leads_to(SENT);
}

fn tokens_are_limited_too(front: Front) {
    let world = World::new(front);
    let guess = json!({ "token": "A".repeat(64), "password": "a quiet harbour at dawn" });
    let guess = || post_json(&mut world.browser(), CHOOSE, &guess);
    for _ in 0..60 {
        assert_eq!(guess().status, 404);
    }
    let limited = guess();
    assert_eq!(
        (limited.status, json(&limited)["code"].as_str()),
        (429, Some("rate_limited"))
    );
    assert!(limited.header("retry-after").is_some());
}
