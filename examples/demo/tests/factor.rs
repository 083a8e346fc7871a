//! A second factor through the demo: between the link and the new password, and at login (R67, R68).

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod common;

use std::time::{SystemTime, UNIX_EPOCH};

use common::servers;
use common::{Browser, Demo, NEW_PASSWORD};
use totp_rs::{Builder, Secret};

const HEDY: &str = "hedy@example.com";
const FACTOR: &str = "/reset-password/factor";
/// Codes are taken from half a minute before their time to half a minute after it.
const STEP: i64 = 30;
/// Fewer than logins in a minute.
const CODES_A_DAY: usize = 8;

/// Her authenticator app.
struct Telephone(totp_rs::Totp);

impl Telephone {
    fn of(demo: &Demo) -> Self {
        let url = demo.told("her second factor: ").unwrap();
        let (_, rest) = url.split_once("secret=").unwrap();
        let secret = rest.split('&').next().unwrap();
        let secret = Secret::try_from_base32(secret).unwrap();
        Self(Builder::new().with_secret(secret).build().unwrap())
    }

    /// The code of now, or of some steps from now.
    fn code(&self, steps: i64) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let at = i64::try_from(now.as_secs()).unwrap() + steps * STEP;
        self.0.generate(at.try_into().unwrap()).to_string()
    }
}

fn opened(demo: &Demo) -> (Browser, String) {
    let mut browser = demo.browser();
    browser.get(&demo.ask(HEDY)).leads_to("/reset-password");
    let page = browser.get("/reset-password");
    assert!(page.body.contains("name=\"response\""), "{page:?}");
    (browser, page.hidden())
}

/// As apps show it.
fn spaced(code: &str) -> String {
    let (left, right) = code.split_at(3);
    format!("{left} {right}")
}

fn log_in(demo: &Demo, password: &str, code: &str) -> u16 {
    let fields = [("identifier", HEDY), ("password", password), ("code", code)];
    demo.browser().post("/login", &fields).status
}

fn a_reset_and_a_login_ask_for_it(demo: &Demo) {
    let telephone = Telephone::of(demo);
    let old = demo.told("initial password of hedy@example.com: ").unwrap();
    // A right password alone is a wrong login, and looks like one.
    let without = demo.browser().log_in(HEDY, old);
    let wrong = demo.browser().log_in(HEDY, "wrong");
    assert_eq!((without.status, &without.body), (401, &wrong.body));

    let (mut browser, form) = opened(demo);
    let show = |browser: &mut Browser, form: &str, code: &str| {
        browser.post(FACTOR, &[("form", form), ("response", code)])
    };
    assert_eq!(show(&mut browser, &form, "000000").status, 422);
    // Also good when the half minute ends just now; as is the next one, below.
    let code = telephone.code(0);
    show(&mut browser, &form, &spaced(&code)).leads_to("/reset-password");
    // RFC 6238, 5.2: for no other link, and for no login.
    let (mut other, form) = opened(demo);
    assert_eq!(show(&mut other, &form, &code).status, 422);
    assert_eq!(log_in(demo, old, &code), 401);
    browser
        .choose(NEW_PASSWORD)
        .leads_to("/reset-password/done");

    // R68: the factor is as before.
    assert_eq!(log_in(demo, NEW_PASSWORD, ""), 401);
    let code = telephone.code(1);
    assert_eq!(log_in(demo, old, &code), 401);
    assert_eq!(log_in(demo, NEW_PASSWORD, &spaced(&code)), 303);
    assert_eq!(log_in(demo, NEW_PASSWORD, &code), 401, "once");
}

fn a_day_has_few_guesses(demo: &Demo) {
    let telephone = Telephone::of(demo);
    let old = demo.told("initial password of hedy@example.com: ").unwrap();
    for _ in 0..CODES_A_DAY {
        assert_eq!(log_in(demo, old, "000 000"), 401);
    }
    // The right code looks like a wrong one now, and is not taken: the reset takes it.
    assert_eq!(log_in(demo, old, &telephone.code(0)), 401);
    let (mut browser, form) = opened(demo);
    let fields = [("form", &*form), ("response", &telephone.code(0))];
    browser.post(FACTOR, &fields).leads_to("/reset-password");
    browser
        .choose(NEW_PASSWORD)
        .leads_to("/reset-password/done");
    // Who guessed has no password any more, and she has all tries.
    assert_eq!(log_in(demo, NEW_PASSWORD, &telephone.code(1)), 303);
}

#[test]
fn a_day_has_few_guesses_at_a_logins_code() {
    a_day_has_few_guesses(&Demo::start(&[]));
}

#[test]
fn a_day_has_few_guesses_at_a_logins_code_on_postgres() {
    if let Some(demo) = Demo::start_on(servers::postgres(), &[]) {
        a_day_has_few_guesses(&demo);
    }
}

#[test]
fn a_day_has_few_guesses_at_a_logins_code_on_mysql() {
    if let Some(demo) = Demo::start_on(servers::mysql(), &[]) {
        a_day_has_few_guesses(&demo);
    }
}

#[test]
fn r67_a_reset_and_a_login_ask_for_the_factor() {
    a_reset_and_a_login_ask_for_it(&Demo::start(&["--limits", "off"]));
}

#[test]
fn r67_a_reset_and_a_login_ask_for_the_factor_on_postgres() {
    if let Some(demo) = Demo::start_on(servers::postgres(), &["--limits", "off"]) {
        a_reset_and_a_login_ask_for_it(&demo);
    }
}

#[test]
fn r67_a_reset_and_a_login_ask_for_the_factor_on_mysql() {
    if let Some(demo) = Demo::start_on(servers::mysql(), &["--limits", "off"]) {
        a_reset_and_a_login_ask_for_it(&demo);
    }
}

#[test]
fn the_telephone_shows_her_code() {
    let demo = Demo::start(&[]);
    let page = demo.browser().get("/dev/totp");
    let telephone = Telephone::of(&demo);
    let shown = [-1, 0].map(|steps| page.body.contains(&telephone.code(steps)));
    assert!(shown.contains(&true));
}
