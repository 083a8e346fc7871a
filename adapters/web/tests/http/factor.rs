//! The second factor between the link and the new password (R67, W64), by form and by JSON.

use std::sync::Mutex;
use std::time::Duration;

use password_reset::async_trait;
use password_reset::error::BoxError;
use password_reset::recovery::{FactorResponse, RecoveryAttempt, SecondFactor, SecondFactorCheck};
use password_reset::secrecy::ExposeSecret;
use password_reset::testing::block_on;
use serde_json::{Value, json};

use crate::client::{Browser, Reply};
use crate::server::Front;
use crate::world::{ADA, CHOOSE, DONE, NEW, Setup, World, choose, json, post_json};

suite!(
    r67_the_factor_is_asked_for_between_the_link_and_the_password,
    r67_a_program_brings_the_proof_along,
    w64_no_field_and_no_cookie_stands_for_a_proof,
    w64_a_proof_is_good_for_one_link_and_one_person,
    w64_a_wrong_factor_is_asked_for_again_and_five_tries_are_all,
    a_proof_that_is_too_old_is_asked_for_again_without_the_password,
    r68_the_factor_outlives_the_reset,
    w66_the_form_of_another_link_proves_nothing,
    whoever_has_no_factor_is_not_asked,
    r82_the_proof_is_in_a_cookie_of_the_host,
    an_application_with_a_page_of_its_own_proves_the_factor_there,
);

const GUARDED: &str = "guarded@example.com";
const FACTOR: &str = "/reset/factor";
const COOKIE: &str = "__Host-password-reset-factor";
/// The answers that are good, once each.
const GOOD: [&str; 3] = ["111111", "222222", "333333"];

/// As the contract asks: each answer once.
struct Once(Mutex<Vec<String>>);

#[async_trait]
impl SecondFactorCheck for Once {
    async fn check(
        &self,
        _: &RecoveryAttempt<'_>,
        response: &FactorResponse,
    ) -> Result<Option<SecondFactor>, BoxError> {
        let typed = response.digits().unwrap_or_default();
        let mut left = self.0.lock().unwrap();
        let place = left.iter().position(|good| *good == typed);
        Ok(place.map(|place| {
            left.remove(place);
            SecondFactor::Device
        }))
    }
}

fn with_factors(front: Front) -> World {
    let check = Once(Mutex::new(GOOD.map(String::from).to_vec()));
    let setup = Setup::default().unlimited();
    setup.flow(|flow| flow.second_factor(check)).start(front)
}

/// A browser that has opened a new link of the guarded account, and the hidden field of the form for
/// its factor.
fn asked(world: &World) -> (Browser, String) {
    let mut browser = world.opened(&world.token(GUARDED));
    let page = browser.get(CHOOSE);
    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.body.contains("name=\"response\""), "{page:?}");
    assert!(!page.body.contains("name=\"password\""), "{page:?}");
    (browser, page.hidden())
}

fn show(browser: &mut Browser, form: &str, response: &str) -> Reply {
    browser.post(FACTOR, &[("form", form), ("response", response)])
}

fn r67_the_factor_is_asked_for_between_the_link_and_the_password(front: Front) {
    let world = with_factors(front);
    let (mut browser, form) = asked(&world);
    // Its form is shown where the link leads.
    browser.get(FACTOR).leads_to(CHOOSE);
    show(&mut browser, &form, "111 111").leads_to(CHOOSE);
    let page = browser.get(CHOOSE);
    assert!(page.body.contains("name=\"password\""), "{page:?}");
    // R52: a refused password spends neither link nor proof.
    let refused = choose(&mut browser, &page.hidden(), "short");
    assert_eq!(refused.status, 422);
    choose(&mut browser, &refused.hidden(), NEW).leads_to(DONE);
    assert!(world.logs_in("5", NEW));
    assert!(browser.cookies.is_empty(), "{:?}", browser.cookies);
}

fn r67_a_program_brings_the_proof_along(front: Front) {
    let world = with_factors(front);
    let token = world.token(GUARDED);
    let mut program = world.browser();
    let change = json!({ "token": token, "password": NEW });
    let refused = post_json(&mut program, CHOOSE, &change);
    assert_eq!((refused.status, code(&refused)), (403, "step_up".into()));

    let wrong = json!({ "token": token, "response": "000000" });
    let wrong = post_json(&mut program, FACTOR, &wrong);
    assert_eq!((wrong.status, code(&wrong)), (422, "factor_wrong".into()));
    let shown = json!({ "token": token, "response": "111111" });
    let proven = post_json(&mut program, FACTOR, &shown);
    assert_eq!(proven.status, 200, "{proven:?}");
    assert_eq!(json(&proven)["status"], "proven");
    assert!(proven.header("set-cookie").is_none());

    let proof = json(&proven)["proof"].clone();
    let change = json!({ "token": token, "password": NEW, "proof": proof });
    assert_eq!(post_json(&mut program, CHOOSE, &change).status, 200);
    assert!(world.logs_in("5", NEW));
    // Spent with its token.
    assert_eq!(post_json(&mut program, CHOOSE, &change).status, 404);
}

fn code(reply: &Reply) -> String {
    json(reply)["code"].as_str().unwrap_or_default().to_owned()
}

fn w64_no_field_and_no_cookie_stands_for_a_proof(front: Front) {
    let world = with_factors(front);
    let token = world.token(GUARDED);
    let mut program = world.browser();
    for (name, value) in [
        ("second_factor", json!(true)),
        ("skip_mfa", json!(true)),
        ("step_up", json!("done")),
        ("proof", json!(true)),
        ("proof", Value::Null),
    ] {
        let mut body = json!({ "token": token, "password": NEW });
        body[name] = value;
        assert_eq!(post_json(&mut program, CHOOSE, &body).status, 400, "{name}");
    }
    for proof in ["", "true", &"A".repeat(60), &token] {
        let body = json!({ "token": token, "password": NEW, "proof": proof });
        let refused = post_json(&mut program, CHOOSE, &body);
        assert_eq!((refused.status, code(&refused)), (403, "step_up".into()));
    }
    let mut browser = world.opened(&token);
    browser.cookies.insert(COOKIE.into(), "A".repeat(60));
    let page = browser.get(CHOOSE);
    assert!(page.body.contains("name=\"response\""));
    // The form for the password, made up: it goes with the link, and that is not enough.
    let refused = choose(&mut browser, &page.hidden(), NEW);
    assert!(refused.body.contains("name=\"response\""), "{refused:?}");
    assert!(!refused.body.contains(NEW), "the password is not repeated");
    assert!(world.is_unchanged("5"));
}

fn w64_a_proof_is_good_for_one_link_and_one_person(front: Front) {
    let world = with_factors(front);
    let (mut owner, form) = asked(&world);
    show(&mut owner, &form, "111111").leads_to(CHOOSE);
    // Somebody else has the same link out of the same mailbox, and not the proof.
    let token = world.outbox.last_token().unwrap();
    let mut other = world.opened(&token);
    assert!(other.get(CHOOSE).body.contains("name=\"response\""));
    // Another link of the same account, with the proof of the first.
    let (mut later, _) = asked(&world);
    later
        .cookies
        .insert(COOKIE.into(), owner.cookies[COOKIE].clone());
    assert!(later.get(CHOOSE).body.contains("name=\"response\""));
    assert!(owner.get(CHOOSE).body.contains("name=\"password\""));
}

fn w64_a_wrong_factor_is_asked_for_again_and_five_tries_are_all(front: Front) {
    let world = with_factors(front);
    let (mut browser, form) = asked(&world);
    // What cannot be an answer costs no try.
    assert_eq!(show(&mut browser, &form, "").status, 422);
    for _ in 0..5 {
        let again = show(&mut browser, &form, "987654");
        assert_eq!(again.status, 422);
        assert!(again.body.contains("role=\"alert\"") && again.body.contains("name=\"response\""));
        assert!(
            !again.body.contains("987654"),
            "what was typed is not repeated"
        );
    }
    let last = show(&mut browser, &form, GOOD[0]);
    assert_eq!(last.status, 403);
    assert!(last.body.contains("Ask for a new link"), "{last:?}");
    // And there is the way to do so. The form is not shown again, only to be refused.
    assert!(last.body.contains("href=\"/forgot-password\""), "{last:?}");
    assert!(browser.cookies.is_empty(), "{:?}", browser.cookies);
    let gone = browser.get(CHOOSE);
    assert_eq!(gone.status, 404);
    assert!(!gone.body.contains("name=\"response\""), "{gone:?}");
    // R35: a new link gives five more.
    let (mut browser, form) = asked(&world);
    show(&mut browser, &form, GOOD[0]).leads_to(CHOOSE);
    // RFC 6238, 5.2: and the answer is used up.
    let (mut browser, form) = asked(&world);
    assert_eq!(show(&mut browser, &form, GOOD[0]).status, 422);
}

fn a_proof_that_is_too_old_is_asked_for_again_without_the_password(front: Front) {
    let world = with_factors(front);
    let (mut browser, form) = asked(&world);
    show(&mut browser, &form, "111111").leads_to(CHOOSE);
    let form = browser.get(CHOOSE).hidden();
    world.clock.advance(Duration::from_secs(601));
    let again = choose(&mut browser, &form, NEW);
    assert!(again.body.contains("name=\"response\""), "{again:?}");
    assert!(!again.body.contains(NEW));
    show(&mut browser, &again.hidden(), "222222").leads_to(CHOOSE);
    choose(&mut browser, &form, NEW).leads_to(DONE);
}

fn r68_the_factor_outlives_the_reset(front: Front) {
    let world = with_factors(front);
    let (mut browser, form) = asked(&world);
    show(&mut browser, &form, "111111").leads_to(CHOOSE);
    let form = browser.get(CHOOSE).hidden();
    choose(&mut browser, &form, NEW).leads_to(DONE);
    let _ = asked(&world);
}

fn w66_the_form_of_another_link_proves_nothing(front: Front) {
    let world = with_factors(front);
    let (_, form) = asked(&world);
    let (mut browser, _) = asked(&world);
    let refused = show(&mut browser, &form, "111111");
    assert_eq!(refused.status, 409);
    assert!(!browser.cookies.contains_key(COOKIE));
}

fn whoever_has_no_factor_is_not_asked(front: Front) {
    let world = with_factors(front);
    let (mut browser, form) = world.at_the_form(ADA);
    let refused = show(&mut browser, &form, "111111");
    assert_eq!(refused.status, 403);
    choose(&mut browser, &form, NEW).leads_to(DONE);
}

fn r82_the_proof_is_in_a_cookie_of_the_host(front: Front) {
    let world = with_factors(front);
    let (mut browser, form) = asked(&world);
    let reply = show(&mut browser, &form, "111111");
    let cookie = reply.header("set-cookie").unwrap();
    assert!(cookie.starts_with(COOKIE));
    assert!(cookie.ends_with("; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=600"));
}

fn an_application_with_a_page_of_its_own_proves_the_factor_there(front: Front) {
    let world = Setup::default()
        .unlimited()
        .web(|web| web.factor_page("/account/passkey"))
        .start(front);
    let token = world.token(GUARDED);
    let mut browser = world.opened(&token);
    browser.get(CHOOSE).leads_to("/account/passkey");

    // What the application's page does with the request that it gets.
    let mut headers = password_reset_web::http::HeaderMap::new();
    let held = format!("__Host-password-reset={token}");
    headers.insert("cookie", held.parse().unwrap());
    let opened = world.web.opened_token(&headers).unwrap();
    let client = password_reset::account::Client::unknown();
    let verified = block_on(world.flow.verify(opened.expose_secret(), &client)).unwrap();
    let step_up = block_on(verified.begin_step_up()).unwrap();
    let proof = step_up.proven(SecondFactor::Device).unwrap();
    let cookie = world.web.proof_cookie(&proof);

    let cookie = cookie
        .to_str()
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let (name, value) = cookie.split_once('=').unwrap();
    browser.cookies.insert(name.into(), value.into());
    let form = browser.get(CHOOSE).hidden();
    choose(&mut browser, &form, NEW).leads_to(DONE);
    assert!(world.logs_in("5", NEW));
}
