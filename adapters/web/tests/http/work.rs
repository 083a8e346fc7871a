//! Work before a request is taken (R34, R78), by form and by JSON.

use std::time::Duration;

use base64ct::{Base64, Encoding};
use password_reset::clock::Clock;
use password_reset::flow::Codes;
use password_reset::human::{Demand, ProofOfWork, When};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::client::Browser;
use crate::server::Front;
use crate::world::{ADA, ASK, SENT, Setup, World, bytes_of, json, post_json};

suite!(
    r34_a_request_needs_the_work_by_form,
    r34_a_request_needs_the_work_by_json,
    r34_a_code_needs_the_work_too,
    r26_who_has_an_account_is_not_seen_in_what_is_asked_for,
    no_page_asks_for_work_while_nobody_demands_it,
    work_is_demanded_from_one_moment_to_another,
    work_that_was_done_for_one_request_is_not_taken_for_another,
    the_script_is_the_sites_own,
    a_service_without_work_has_none,
);

const CHALLENGE: &str = "/forgot-password/challenge";

fn with_work(front: Front, when: When) -> World {
    let setup = Setup::default();
    setup
        .flow(|flow| {
            let mut work = ProofOfWork::default();
            work.max_number = 1_000;
            flow.proof_of_work(work, when).codes(Codes::default())
        })
        .start(front)
}

/// Does the work as the script does.
fn solved(work: &Value) -> String {
    let (salt, wanted) = (
        work["salt"].as_str().unwrap(),
        work["challenge"].as_str().unwrap(),
    );
    let fits = |number: &u64| {
        let digest = Sha256::digest(format!("{salt}{number}"));
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        hex == wanted
    };
    let number = (0..=work["maxnumber"].as_u64().unwrap())
        .find(fits)
        .unwrap();
    let answer = json!({
        "algorithm": work["algorithm"], "challenge": wanted, "number": number,
        "salt": salt, "signature": work["signature"],
    });
    Base64::encode_string(answer.to_string().as_bytes())
}

/// The work in a page's form.
fn work_in(page: &str) -> Value {
    let (_, rest) = page.split_once(" data-work=\"").unwrap();
    let (work, _) = rest.split_once('"').unwrap();
    let work = work.replace("&quot;", "\"").replace("&amp;", "&");
    serde_json::from_str(&work).unwrap()
}

fn r34_a_request_needs_the_work_by_form(front: Front) {
    let world = with_work(front, When::Always);
    let mut browser = world.browser();
    let page = browser.get(ASK);
    assert_eq!(page.status, 200);
    assert!(page.body.contains("this page needs JavaScript") && page.body.contains("aria-live"));

    // Without scripts, or as a program that fills in forms.
    for proof in [None, Some(""), Some("nonsense"), Some("two words")] {
        let mut fields = vec![("identifier", ADA)];
        fields.extend(proof.map(|proof| ("proof", proof)));
        let again = browser.post(ASK, &fields);
        assert_eq!(again.status, 403, "{proof:?}");
        assert!(again.body.contains("role=\"alert\"") && again.body.contains("data-work"));
        assert!(!again.body.contains(ADA), "what was typed is not repeated");
    }
    world.work();
    assert!(world.outbox.links().is_empty());

    let proof = solved(&work_in(&page.body));
    let fields = [("identifier", ADA), ("proof", proof.as_str())];
    browser.post(ASK, &fields).leads_to(SENT);
    world.work();
    assert_eq!(world.outbox.links().len(), 1);
}

fn r34_a_request_needs_the_work_by_json(front: Front) {
    let world = with_work(front, When::Always);
    let mut program = world.browser();
    let refused = post_json(&mut program, ASK, &json!({ "identifier": ADA }));
    assert_eq!(refused.status, 403);
    assert_eq!(json(&refused)["code"], "challenge");
    assert_eq!(json(&refused)["type"], "urn:password-reset:challenge");

    let work = program.get(CHALLENGE);
    assert_eq!(
        (work.status, work.header("content-type")),
        (200, Some("application/json"))
    );
    assert_eq!(work.header("cache-control"), Some("no-store"));
    let body = json!({ "identifier": ADA, "proof": solved(&json(&work)) });
    assert_eq!(post_json(&mut program, ASK, &body).status, 202);
    world.work();
    assert_eq!(world.outbox.links().len(), 1);
    // W24: one text, or none.
    for proof in [json!(["a"]), json!(7), Value::Null] {
        let body = json!({ "identifier": ADA, "proof": proof });
        assert_eq!(post_json(&mut program, ASK, &body).status, 400);
    }
}

fn r34_a_code_needs_the_work_too(front: Front) {
    let world = with_work(front, When::Always);
    let mut program = world.browser();
    let mut body = json!({ "identifier": ADA, "method": "code" });
    assert_eq!(post_json(&mut program, ASK, &body).status, 403);
    body["proof"] = solved(&json(&program.get(CHALLENGE))).into();
    let asked = post_json(&mut program, ASK, &body);
    assert_eq!(asked.status, 202);
    assert!(json(&asked)["handle"].is_string());
}

fn r26_who_has_an_account_is_not_seen_in_what_is_asked_for(front: Front) {
    let world = with_work(front, When::Always);
    let identifiers = [
        ADA,
        "disabled@example.com",
        "unverified@example.com",
        "external@example.com",
        "guarded@example.com",
        "nobody@example.com",
    ];
    let shapes = identifiers.map(|identifier| {
        let without = post_json(
            &mut world.browser(),
            ASK,
            &json!({ "identifier": identifier }),
        );
        let mut program = world.browser();
        let proof = solved(&json(&program.get(CHALLENGE)));
        let body = json!({ "identifier": identifier, "proof": proof });
        (
            bytes_of(&without),
            bytes_of(&post_json(&mut program, ASK, &body)),
        )
    });
    for shape in &shapes {
        assert_eq!(*shape, shapes[0]);
    }
}

fn no_page_asks_for_work_while_nobody_demands_it(front: Front) {
    let world = with_work(front, When::Demanded(Demand::default()));
    let mut browser = world.browser();
    let page = browser.get(ASK);
    assert!(!page.body.contains("data-work") && !page.body.contains("<script"));
    browser.post(ASK, &[("identifier", ADA)]).leads_to(SENT);
}

fn work_is_demanded_from_one_moment_to_another(front: Front) {
    let demand = Demand::default();
    let world = with_work(front, When::Demanded(demand.clone()));
    let mut browser = world.browser();
    let page = browser.get(ASK);
    assert!(!page.body.contains("data-work"));
    // Between the page and the form.
    demand.until(world.clock.now() + Duration::from_secs(60));
    let again = browser.post(ASK, &[("identifier", ADA)]);
    assert_eq!(again.status, 403);
    let proof = solved(&work_in(&again.body));
    let fields = [("identifier", ADA), ("proof", proof.as_str())];
    browser.post(ASK, &fields).leads_to(SENT);
    world.clock.advance(Duration::from_secs(60));
    assert!(!browser.get(ASK).body.contains("data-work"));
}

fn work_that_was_done_for_one_request_is_not_taken_for_another(front: Front) {
    let world = with_work(front, When::Always);
    let mut browser = world.browser();
    let proof = solved(&work_in(&browser.get(ASK).body));
    let ask = |browser: &mut Browser, identifier| {
        browser.post(
            ASK,
            &[("identifier", identifier), ("proof", proof.as_str())],
        )
    };
    ask(&mut browser, ADA).leads_to(SENT);
    assert_eq!(ask(&mut browser, "eve@example.com").status, 403);
}

fn the_script_is_the_sites_own(front: Front) {
    let world = with_work(front, When::Always);
    let mut browser = world.browser();
    let page = browser.get(ASK);
    let (_, rest) = page.body.split_once("<script src=\"").unwrap();
    let (script, _) = rest.split_once('"').unwrap();
    let served = browser.get(script);
    assert_eq!(served.status, 200);
    assert!(
        served
            .header("content-type")
            .unwrap()
            .starts_with("text/javascript")
    );
    assert!(
        served
            .header("cache-control")
            .unwrap()
            .contains("immutable")
    );
    // R80: nothing inline, nothing from elsewhere.
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("script-src 'self';"));
}

fn a_service_without_work_has_none(front: Front) {
    let world = World::new(front);
    assert_eq!(world.browser().get(CHALLENGE).status, 404);
    assert!(!world.browser().get(ASK).body.contains("data-work"));
}
