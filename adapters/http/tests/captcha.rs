//! What each captcha service gets, to the byte, and what its answers mean.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use common::{Act, KEY, Provider, assert_discreet, client, impatient, told};
use password_reset::account::Client;
use password_reset::error::BoxError;
use password_reset::human::{Flaw, HumanCheck, Proof, Verdict};
use password_reset_http::{
    ConfigError, HCaptcha, PostError, Recaptcha, ReqwestPost, SiteVerifyError, Turnstile,
};

const HOST: &str = "app.example.org";
const FORM: &str = "application/x-www-form-urlencoded";
const PROOF: &str = "prt_Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4";

fn turnstile(http: &ReqwestPost, base: &str) -> Turnstile {
    let check = Turnstile::new(http.clone(), KEY.into(), HOST).unwrap();
    check.base_url(base).unwrap()
}

fn hcaptcha(http: &ReqwestPost, base: &str) -> HCaptcha {
    let check = HCaptcha::new(http.clone(), KEY.into(), "site-1", HOST).unwrap();
    check.base_url(base).unwrap()
}

fn recaptcha(http: &ReqwestPost, base: &str) -> Recaptcha {
    let check = Recaptcha::v2(http.clone(), KEY.into(), HOST).unwrap();
    check.base_url(base).unwrap()
}

fn scored(http: &ReqwestPost, base: &str) -> Recaptcha {
    let check = Recaptcha::v3(http.clone(), KEY.into(), HOST, "reset", 0.5).unwrap();
    check.base_url(base).unwrap()
}

fn all(http: &ReqwestPost, base: &str) -> Vec<(&'static str, Box<dyn HumanCheck>)> {
    vec![
        ("turnstile", Box::new(turnstile(http, base))),
        ("hcaptcha", Box::new(hcaptcha(http, base))),
        ("recaptcha v2", Box::new(recaptcha(http, base))),
        ("recaptcha v3", Box::new(scored(http, base))),
    ]
}

async fn judged(check: &dyn HumanCheck) -> Result<Verdict, BoxError> {
    let from = Client::from_ip([192, 0, 2, 7].into());
    check.check(&Proof::parse(PROOF).unwrap(), &from).await
}

/// What every check makes of one act.
async fn everywhere(act: Act) -> Vec<(&'static str, Result<Verdict, BoxError>)> {
    let provider = Provider::start([act]).await;
    let mut verdicts = Vec::new();
    for (name, check) in all(&client(), &provider.base) {
        verdicts.push((name, judged(&check).await));
    }
    assert_eq!(provider.seen().len(), verdicts.len(), "asked once each");
    verdicts
}

fn said(json: &str) -> Act {
    Act::Answer(200, json.into())
}

#[tokio::test]
async fn each_service_gets_exactly_this() {
    let provider = Provider::start([said(r#"{"success":false}"#)]).await;
    for (name, check) in all(&client(), &provider.base) {
        let _ = judged(&check).await;
        let seen = provider.seen().pop().unwrap();
        let path = match name {
            "turnstile" => "/turnstile/v0/siteverify",
            "hcaptcha" => "/siteverify",
            _ => "/recaptcha/api/siteverify",
        };
        assert_eq!(seen.line, format!("POST {path} HTTP/1.1"));
        seen.assert_headers(&provider, FORM, &[]);
        let mut fields = vec![("response", PROOF), ("secret", KEY)];
        if name == "hcaptcha" {
            fields.push(("sitekey", "site-1"));
        }
        let fields: Vec<_> = fields
            .into_iter()
            .map(|(n, v)| (n.into(), v.into()))
            .collect();
        assert_eq!(seen.form(), fields, "{name}");
    }
}

/// The address is personal data: it goes out only where that was asked for.
#[tokio::test]
async fn the_address_is_told_on_demand_only() {
    let provider = Provider::start([said(r#"{"success":false}"#)]).await;
    let check = turnstile(&client(), &provider.base).tell_address();
    let mapped = Client::from_ip("::ffff:192.0.2.7".parse().unwrap());
    let proof = Proof::parse("p").unwrap();
    for from in [mapped, Client::unknown()] {
        let _ = check.check(&proof, &from).await;
    }
    let told: Vec<_> = provider.seen().iter().map(|seen| seen.form()).collect();
    let address = ("remoteip".to_owned(), "192.0.2.7".to_owned());
    assert!(told.first().unwrap().contains(&address));
    assert!(
        !told
            .last()
            .unwrap()
            .iter()
            .any(|(name, _)| name == "remoteip")
    );
}

#[tokio::test]
async fn a_good_proof_is_taken() {
    let body = r#"{"success":true,"hostname":"APP.example.org","action":"reset","score":0.5,
        "challenge_ts":"2026-01-01T00:00:00Z","error-codes":[],"metadata":{"x":[1]}}"#;
    for (name, verdict) in everywhere(said(body)).await {
        assert_eq!(verdict.unwrap(), Verdict::Accept, "{name}");
    }
}

/// A proof from a page elsewhere, whose visitors solve it for an attacker.
#[tokio::test]
async fn a_proof_that_was_made_elsewhere_is_refused() {
    for host in [
        r#""hostname":"evil.example""#,
        r#""hostname":"app.example.org.evil.example""#,
        r#""hostname":"""#,
        r#""hostname":null"#,
        r#""apk_package_name":"org.example""#,
    ] {
        let body = format!(r#"{{"success":true,{host},"action":"reset","score":1}}"#);
        for (name, verdict) in everywhere(said(&body)).await {
            assert_eq!(verdict.unwrap(), Verdict::Refuse(Flaw::Elsewhere), "{name}");
        }
    }
    let other = r#"{"success":true,"hostname":"b.example.org"}"#;
    let provider = Provider::start([said(other)]).await;
    let check = turnstile(&client(), &provider.base).also_at("B.example.org");
    assert_eq!(judged(&check.unwrap()).await.unwrap(), Verdict::Accept);
}

#[tokio::test]
async fn action_data_and_score_are_looked_at() {
    let good = r#"{"success":true,"hostname":"app.example.org","action":"reset","cdata":"x"}"#;
    let provider = Provider::start([said(good)]).await;
    for (action, cdata, expected) in [
        ("reset", "x", Verdict::Accept),
        ("login", "x", Verdict::Refuse(Flaw::Elsewhere)),
        ("reset", "y", Verdict::Refuse(Flaw::Elsewhere)),
    ] {
        let check = turnstile(&client(), &provider.base).action(action);
        let check = check.unwrap().cdata(cdata).unwrap();
        assert_eq!(judged(&check).await.unwrap(), expected);
    }
    for (rest, expected) in [
        (r#""action":"reset","score":0.9"#, Verdict::Accept),
        (
            r#""action":"login","score":0.9"#,
            Verdict::Refuse(Flaw::Elsewhere),
        ),
        (r#""score":0.9"#, Verdict::Refuse(Flaw::Elsewhere)),
        (
            r#""action":"reset","score":0.49"#,
            Verdict::Refuse(Flaw::LowScore),
        ),
        (r#""action":"reset""#, Verdict::Refuse(Flaw::LowScore)),
    ] {
        let body = format!(r#"{{"success":true,"hostname":"app.example.org",{rest}}}"#);
        let provider = Provider::start([said(&body)]).await;
        let check = scored(&client(), &provider.base);
        assert_eq!(judged(&check).await.unwrap(), expected, "{rest}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_proof_is_a_verdict_and_with_us_an_error() {
    for (codes, flaw) in [
        (r#"["timeout-or-duplicate"]"#, Some(Flaw::Stale)),
        (r#"["invalid-or-already-seen-response"]"#, Some(Flaw::Stale)),
        (r#"["expired-input-response"]"#, Some(Flaw::Stale)),
        (r#"["invalid-input-response"]"#, Some(Flaw::Wrong)),
        (r#"["missing-input-response"]"#, Some(Flaw::Wrong)),
        (r#"["a-new-word"]"#, Some(Flaw::Wrong)),
        ("[]", Some(Flaw::Wrong)),
        (r#"["invalid-input-secret"]"#, None),
        (r#"["missing-input-secret"]"#, None),
        (r#"["sitekey-secret-mismatch"]"#, None),
        (r#"["bad-request"]"#, None),
        (r#"["internal-error"]"#, None),
        (r#"["invalid-input-response","invalid-input-secret"]"#, None),
    ] {
        // As much as a service could get wrong: it quotes what it was sent.
        let body = format!(r#"{{"success":false,"hostname":"{KEY}","error-codes":{codes}}}"#);
        for status in [200, 400] {
            for (name, verdict) in everywhere(Act::Answer(status, body.clone())).await {
                match (verdict, flaw) {
                    (Ok(verdict), Some(flaw)) => assert_eq!(verdict, Verdict::Refuse(flaw)),
                    (Err(error), None) => {
                        assert_discreet(&told(&*error));
                        let error: &SiteVerifyError = error.downcast_ref().unwrap();
                        assert!(matches!(error, SiteVerifyError::Refused { .. }));
                    }
                    (verdict, _) => panic!("{name} {codes}: {verdict:?}"),
                }
            }
        }
    }
}

/// R38: whatever is no verdict is an error, never a yes.
#[tokio::test]
async fn r38_no_answer_is_no_yes() {
    let yes = r#"{"success":true,"hostname":"app.example.org","action":"reset","score":1}"#;
    for act in [
        Act::Answer(500, yes.into()),
        Act::Answer(301, yes.into()),
        Act::Answer(403, yes.into()),
        Act::Answer(200, yes.replace("true", "\"true\"")),
        Act::Answer(200, yes.replace("true", "1")),
        Act::Answer(200, yes.replace("\"success\":true,", "")),
        Act::Answer(
            200,
            yes.replace("\"success\"", "\"success\":false,\"success\""),
        ),
        Act::Answer(200, format!("{yes}{yes}")),
        Act::Answer(200, "<html>".into()),
        Act::Answer(200, String::new()),
        Act::Answer(200, format!("{{\"a\":\"{}\"", "a".repeat(100_000))),
        Act::Answer(200, "[".repeat(60_000)),
    ] {
        for (name, verdict) in everywhere(act.clone()).await {
            let error = verdict.unwrap_err();
            assert!(error.is::<SiteVerifyError>(), "{name}");
            assert_discreet(&told(&*error));
        }
    }
    for (name, verdict) in everywhere(Act::Raw(Vec::new())).await {
        let error = verdict.unwrap_err();
        assert!(error.is::<PostError>(), "{name}");
        assert_discreet(&told(&*error));
    }
}

#[tokio::test]
async fn r38_silence_ends_in_time() {
    let provider = Provider::start([Act::Stall(Vec::new())]).await;
    let error = judged(&turnstile(&impatient(), &provider.base)).await;
    assert!(error.unwrap_err().is::<PostError>());
}

#[test]
fn w13_debug_shows_no_secret() {
    let http = client();
    for shown in [
        format!("{:?}", turnstile(&http, "https://a.example")),
        format!("{:?}", hcaptcha(&http, "https://a.example")),
        format!("{:?}", scored(&http, "https://a.example")),
        format!("{:?}", Proof::parse(PROOF).unwrap()),
    ] {
        assert_discreet(&shown);
    }
}

#[test]
fn what_cannot_work_is_found_at_start() {
    let http = client();
    let key = || KEY.into();
    for host in ["", "https://app.example.org", "app.example.org/x", "a b"] {
        let check = Turnstile::new(http.clone(), key(), host);
        assert_eq!(check.unwrap_err(), ConfigError::Name { what: "host" });
    }
    let check = Turnstile::new(http.clone(), "".into(), HOST);
    assert_eq!(check.unwrap_err(), ConfigError::Key);
    for score in [-0.1, 1.1, f64::NAN] {
        let check = Recaptcha::v3(http.clone(), key(), HOST, "reset", score);
        assert_eq!(check.unwrap_err(), ConfigError::Name { what: "score" });
    }
    let check = turnstile(&http, "https://a.example").base_url("http://evil.example");
    assert_eq!(check.unwrap_err(), ConfigError::Url);
}
