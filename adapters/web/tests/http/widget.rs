//! The widget of a captcha of another service, on the page that asks (R34, R80).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use password_reset::account::Client;
use password_reset::clock::Clock;
use password_reset::error::BoxError;
use password_reset::flow::Codes;
use password_reset::human::{Demand, Flaw, HumanCheck, Proof, ProofOfWork, Verdict, When};
use password_reset_web::{
    BuildError, CONTENT_SECURITY_POLICY, PAGE_HEADERS, ResetWeb, Theme, Widget, WidgetError,
};
use serde_json::json;

use crate::client::Reply;
use crate::server::Front;
use crate::world::{ADA, ASK, CHOOSE, DONE, SENT, Setup, World, bytes_of, json as read, post_json};

suite!(
    the_widget_is_there_only_while_it_is_asked_for,
    the_widget_is_demanded_from_one_moment_to_another,
    who_is_over_a_limit_is_shown_the_widget,
    r80_only_the_page_with_the_widget_has_its_policy,
    r34_the_services_field_is_the_proof,
    r34_a_code_needs_the_services_field_too,
    w24_the_services_field_is_taken_once_and_from_its_own_widget_only,
    r34_programs_bring_the_proof_under_its_own_name,
    a_check_without_a_widget_has_a_page_that_says_so,
);

const KEY: &str = "1x00000000000000000000AA";
const GOOD: &str = "0.good_proof-1";
const CODE: &str = "/forgot-password/code";
const TURNSTILE: &str = "cf-turnstile-response";
const HCAPTCHA: &str = "h-captcha-response";
const RECAPTCHA: &str = "g-recaptcha-response";

/// Takes one proof, and writes down all that it is shown.
#[derive(Clone, Default)]
struct Captcha(Arc<Mutex<Vec<String>>>);

#[password_reset::async_trait]
impl HumanCheck for Captcha {
    async fn check(&self, proof: &Proof, _: &Client) -> Result<Verdict, BoxError> {
        self.0.lock().unwrap().push(proof.expose().to_owned());
        Ok(match proof.expose() {
            GOOD => Verdict::Accept,
            _ => Verdict::Refuse(Flaw::Wrong),
        })
    }
}

impl Captcha {
    fn seen(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

fn turnstile() -> Widget {
    Widget::turnstile(KEY).unwrap()
}

fn guarded(front: Front, widget: Option<Widget>, when: When) -> (World, Captcha) {
    let captcha = Captcha::default();
    let check = captcha.clone();
    let setup = Setup::default()
        .flow(|flow| flow.human(check, when).codes(Codes::default()))
        .web(|web| match widget {
            Some(widget) => web.captcha_widget(widget),
            None => web,
        });
    (setup.start(front), captcha)
}

#[track_caller]
fn assert_shows(page: &Reply, script: &str, element: &str) {
    let script = format!("\n<script src=\"{script}\" async defer></script>\n");
    assert_eq!(page.body.matches("<script").count(), 1, "{page:?}");
    assert!(page.body.contains(&script), "{page:?}");
    let (_, form) = page.body.split_once("<form").unwrap();
    let (form, _) = form.split_once("</form>").unwrap();
    assert!(form.contains(element), "{page:?}");
    let (_, without_scripts) = form.split_once("<noscript>").unwrap();
    assert!(without_scripts.contains("this page needs JavaScript"));
    assert!(!page.body.contains("name=\"proof\"") && !page.body.contains("work.js"));
}

#[track_caller]
fn assert_shows_turnstile(page: &Reply) {
    let element = format!("<div class=\"cf-turnstile\" data-sitekey=\"{KEY}\"></div>");
    let script = "https://challenges.cloudflare.com/turnstile/v0/api.js";
    assert_shows(page, script, &element);
}

fn the_widget_is_there_only_while_it_is_asked_for(front: Front) {
    let demand = Demand::default();
    let when = When::Demanded(demand.clone());
    let (world, _) = guarded(front, Some(turnstile()), when.clone());
    let (without, _) = guarded(front, None, when);
    for path in [ASK, SENT, DONE, CHOOSE] {
        let page = world.browser().get(path);
        assert_eq!(bytes_of(&page), bytes_of(&without.browser().get(path)));
    }
    demand.until(world.clock.now() + Duration::from_secs(60));
    let page = world.browser().get(ASK);
    assert_eq!(page.status, 200);
    assert_shows_turnstile(&page);
    for path in [SENT, DONE, CHOOSE] {
        let page = world.browser().get(path);
        assert_eq!(bytes_of(&page), bytes_of(&without.browser().get(path)));
    }
    world.clock.advance(Duration::from_secs(60));
    assert!(!world.browser().get(ASK).body.contains("turnstile"));
}

fn the_widget_is_demanded_from_one_moment_to_another(front: Front) {
    let demand = Demand::default();
    let when = When::Demanded(demand.clone());
    let (world, captcha) = guarded(front, Some(turnstile()), when);
    let mut browser = world.browser();
    assert!(!browser.get(ASK).body.contains("turnstile"));
    demand.until(world.clock.now() + Duration::from_secs(60));
    let again = browser.post(ASK, &[("identifier", ADA)]);
    assert_eq!(again.status, 403);
    assert_shows_turnstile(&again);
    assert!(again.body.contains("role=\"alert\"") && !again.body.contains(ADA));
    let fields = [("identifier", ADA), (TURNSTILE, GOOD)];
    browser.post(ASK, &fields).leads_to(SENT);
    // And back: the page was loaded while it was demanded.
    demand.off();
    browser.post(ASK, &fields).leads_to(SENT);
    assert_eq!(captcha.seen(), [GOOD, GOOD]);
}

fn who_is_over_a_limit_is_shown_the_widget(front: Front) {
    let when = When::Demanded(Demand::default());
    let (world, _) = guarded(front, Some(turnstile()), when);
    let mut browser = world.browser();
    for number in 0..20 {
        let identifier = format!("{number}@example.com");
        let asked = browser.post(ASK, &[("identifier", &identifier)]);
        asked.leads_to(SENT);
    }
    let again = browser.post(ASK, &[("identifier", ADA)]);
    assert_eq!(again.status, 403);
    assert_shows_turnstile(&again);
    let fields = [("identifier", ADA), (TURNSTILE, GOOD)];
    browser.post(ASK, &fields).leads_to(SENT);
}

fn r80_only_the_page_with_the_widget_has_its_policy(front: Front) {
    let policies = [
        (
            turnstile(),
            "default-src 'none'; script-src 'self' https://challenges.cloudflare.com; \
             style-src 'self'; img-src 'self' data:; \
             frame-src https://challenges.cloudflare.com; form-action 'self'; \
             object-src 'none'; base-uri 'none'; frame-ancestors 'none'",
        ),
        (
            Widget::hcaptcha("10000000-ffff-ffff-ffff-000000000001").unwrap(),
            "default-src 'none'; script-src 'self' https://hcaptcha.com https://*.hcaptcha.com; \
             style-src 'self' https://hcaptcha.com https://*.hcaptcha.com; \
             img-src 'self' data:; connect-src https://hcaptcha.com https://*.hcaptcha.com; \
             frame-src https://hcaptcha.com https://*.hcaptcha.com; form-action 'self'; \
             object-src 'none'; base-uri 'none'; frame-ancestors 'none'",
        ),
        (
            Widget::recaptcha("6LeIxAcTAAAAAJcZVRqyHh71UMIEGNQ_MXjiZKhI").unwrap(),
            "default-src 'none'; script-src 'self' https://www.google.com/recaptcha/ \
             https://www.gstatic.com/recaptcha/; style-src 'self'; img-src 'self' data:; \
             connect-src https://www.google.com/recaptcha/; \
             frame-src https://www.google.com/recaptcha/ https://recaptcha.google.com/recaptcha/; \
             form-action 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'",
        ),
    ];
    for (widget, policy) in policies {
        let (world, _) = guarded(front, Some(widget.clone()), When::Always);
        let mut browser = world.browser();
        for page in [browser.get(ASK), browser.post(ASK, &[("identifier", ADA)])] {
            let (class, key) = (widget.class(), widget.site_key());
            let element = format!("<div class=\"{class}\" data-sitekey=\"{key}\"></div>");
            assert_shows(&page, widget.script(), &element);
            for (name, value) in &PAGE_HEADERS {
                let expected = match name.as_str() {
                    "content-security-policy" => policy,
                    _ => value.to_str().unwrap(),
                };
                let lines: Vec<_> = page.all(name.as_str()).collect();
                assert_eq!(lines, [expected], "{name}");
            }
        }
        let others = [
            browser.get(SENT),
            browser.get(DONE),
            browser.get(CHOOSE),
            browser.get(&format!("{CHOOSE}/style.css")),
            browser.post(ASK, &[("email", ADA)]),
            browser.post(ASK, &[("identifier", ADA), ("proof", GOOD)]),
            post_json(&mut browser, ASK, &json!({ "identifier": ADA })),
            world.opened(&"A".repeat(64)).get(CHOOSE),
        ];
        for other in others {
            let lines: Vec<_> = other.all("content-security-policy").collect();
            assert_eq!(lines, [CONTENT_SECURITY_POLICY], "{other:?}");
        }
    }
}

fn r34_the_services_field_is_the_proof(front: Front) {
    let widgets = [
        (Widget::turnstile(KEY), TURNSTILE),
        (Widget::hcaptcha(KEY), HCAPTCHA),
        (Widget::recaptcha(KEY), RECAPTCHA),
    ];
    for (widget, field) in widgets {
        let (world, captcha) = guarded(front, Some(widget.unwrap()), When::Always);
        let mut browser = world.browser();
        // Sent before the widget was done, and what cannot be a proof: nobody is asked.
        let long = "a".repeat(8_193);
        for proof in ["", "two words", &long] {
            let again = browser.post(ASK, &[("identifier", ADA), (field, proof)]);
            assert_eq!(again.status, 403, "{field}");
        }
        assert!(captcha.seen().is_empty());
        let again = browser.post(ASK, &[("identifier", ADA), (field, "of-a-program")]);
        assert_eq!(again.status, 403);
        assert!(again.body.contains(KEY) && !again.body.contains("of-a-program"));
        assert_eq!(captcha.seen(), ["of-a-program"]);
        world.work();
        assert!(world.outbox.links().is_empty());

        let asked = browser.post(ASK, &[("identifier", ADA), (field, GOOD)]);
        asked.leads_to(SENT);
        assert_eq!(captcha.seen(), [GOOD]);
        world.work();
        assert_eq!(world.outbox.links().len(), 1);
        // A page of the application's own may call it what programs call it.
        let asked = browser.post(ASK, &[("identifier", ADA), ("proof", GOOD)]);
        asked.leads_to(SENT);
        assert_eq!(captcha.seen(), [GOOD]);
    }
}

fn r34_a_code_needs_the_services_field_too(front: Front) {
    let (world, captcha) = guarded(front, Some(turnstile()), When::Always);
    let mut browser = world.browser();
    let again = browser.post(ASK, &[("identifier", ADA), ("method", "code")]);
    assert_eq!(again.status, 403);
    assert_shows_turnstile(&again);
    let fields = [("identifier", ADA), (TURNSTILE, GOOD), ("method", "code")];
    browser.post(ASK, &fields).leads_to(CODE);
    assert_eq!(captcha.seen(), [GOOD]);
}

fn w24_the_services_field_is_taken_once_and_from_its_own_widget_only(front: Front) {
    let (world, captcha) = guarded(front, Some(turnstile()), When::Always);
    let mut browser = world.browser();
    for fields in [
        [("proof", GOOD), (TURNSTILE, GOOD)],
        [(TURNSTILE, GOOD), ("proof", "")],
        [(TURNSTILE, GOOD), (TURNSTILE, GOOD)],
        [(TURNSTILE, GOOD), (HCAPTCHA, GOOD)],
        [(TURNSTILE, GOOD), (RECAPTCHA, GOOD)],
    ] {
        let [first, second] = fields;
        let refused = browser.post(ASK, &[("identifier", ADA), first, second]);
        assert_eq!(refused.status, 400, "{fields:?}");
    }
    // Only where somebody asks, and only on a page that has it.
    let refused = browser.post(CODE, &[("code", "12345678"), (TURNSTILE, GOOD)]);
    assert_eq!(refused.status, 400);
    let (without, _) = guarded(front, None, When::Always);
    let fields = [("identifier", ADA), (TURNSTILE, GOOD)];
    assert_eq!(without.browser().post(ASK, &fields).status, 400);
    assert!(captcha.seen().is_empty());

    // hCaptcha's script writes its proof into a second field, for what was written for reCAPTCHA.
    let (world, captcha) = guarded(front, Widget::hcaptcha(KEY).ok(), When::Always);
    let fields = [("identifier", ADA), (RECAPTCHA, "copy"), (HCAPTCHA, GOOD)];
    world.browser().post(ASK, &fields).leads_to(SENT);
    assert_eq!(captcha.seen(), [GOOD]);
    let refused = world.browser().post(ASK, &fields[..2]);
    assert_eq!(refused.status, 403);
    assert!(captcha.seen().is_empty());
}

fn r34_programs_bring_the_proof_under_its_own_name(front: Front) {
    let (world, captcha) = guarded(front, Some(turnstile()), When::Always);
    let mut program = world.browser();
    let refused = post_json(&mut program, ASK, &json!({ "identifier": ADA }));
    assert_eq!(
        (refused.status, &read(&refused)["code"]),
        (403, &json!("challenge"))
    );
    let body = json!({ "identifier": ADA, TURNSTILE: GOOD });
    assert_eq!(post_json(&mut program, ASK, &body).status, 400);
    assert!(captcha.seen().is_empty());
    let body = json!({ "identifier": ADA, "proof": GOOD });
    assert_eq!(post_json(&mut program, ASK, &body).status, 202);
    assert_eq!(captcha.seen(), [GOOD]);
}

fn a_check_without_a_widget_has_a_page_that_says_so(front: Front) {
    let (world, _) = guarded(front, None, When::Always);
    let mut browser = world.browser();
    let page = browser.get(ASK);
    assert!(!page.body.contains("<script") && !page.body.contains("<noscript"));
    let refused = browser.post(ASK, &[("identifier", ADA)]);
    assert_eq!(refused.status, 403);
    assert!(!refused.body.contains("<form"));
    let policy = refused.header("content-security-policy");
    assert_eq!(policy, Some(CONTENT_SECURITY_POLICY));
}

#[test]
fn what_could_be_markup_is_no_site_key() {
    for bad in [
        "",
        "6Le x",
        "6Le\"><script>",
        "6Le;",
        "6Le'",
        "6Le/x",
        "6Le\r\n",
        "6Lé",
        &"a".repeat(101),
    ] {
        for widget in [Widget::turnstile, Widget::hcaptcha, Widget::recaptcha] {
            assert_eq!(widget(bad).unwrap_err(), WidgetError::SiteKey, "{bad:?}");
        }
    }
    assert!(Widget::turnstile(&"a".repeat(100)).is_ok());
    for bad in ["", "two words", "a\"", &"a".repeat(33)] {
        let refused = turnstile().for_action(bad).unwrap_err();
        assert_eq!(refused, WidgetError::Action, "{bad:?}");
    }
}

#[test]
fn the_action_is_on_the_element() {
    let widget = turnstile().for_action("reset").unwrap();
    let (world, _) = guarded(Front::Bare, Some(widget), When::Always);
    let element = format!("data-sitekey=\"{KEY}\" data-action=\"reset\"></div>");
    assert!(world.browser().get(ASK).body.contains(&element));
}

#[test]
fn a_flow_that_asks_for_work_takes_no_widget() {
    for when in [When::Always, When::Demanded(Demand::default())] {
        let setup = Setup::default().flow(|flow| flow.proof_of_work(ProofOfWork::default(), when));
        let flow = setup.start(Front::Bare).flow;
        let built = ResetWeb::builder(flow).captcha_widget(turnstile()).build();
        assert!(matches!(built.unwrap_err(), BuildError::Widget));
    }
}

#[test]
fn a_page_of_ones_own_without_the_widget_is_found_at_start() {
    let form = "<form method=post action='{{ paths.ask }}'><input name=identifier>";
    let (world, _) = guarded(Front::Bare, None, When::Always);
    let built = |template: &str| {
        let theme = Theme::default().template("ask.html", template).unwrap();
        let web = ResetWeb::builder(world.flow.clone()).render(theme);
        web.captcha_widget(turnstile()).build().map(drop)
    };
    let element = "{% if widget %}<p class='{{ widget.class }}' data-sitekey='{{ widget.site_key }}'>\
        {% endif %}";
    let script = "{% if widget %}<script src='{{ widget.script }}'></script>{% endif %}";
    assert!(built(&format!("{form}{element}{script}")).is_ok());
    for lacking in ["", element, script] {
        let error = built(&format!("{form}{lacking}")).unwrap_err();
        assert!(matches!(error, BuildError::Form { .. }), "{error:?}");
    }
}
