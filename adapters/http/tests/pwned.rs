//! Leaked passwords: what the service is told, and what its answers mean.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::error::Error;

use common::{Act, Provider, client, impatient, told};
use password_reset::password::{Breach, BreachCheck, Context, NewPassword, Policy};
use password_reset_http::{ConfigError, MAX_PAGE_BYTES, PwnedPasswords, RangeError, ReqwestPost};

const PASSWORD: &str = "a quiet harbour at dawn";
/// SHA-1 of it, by another program.
const PREFIX: &str = "A8C21";
const SUFFIX: &str = "EE49F895E12D720ADDF00CC5BDD7E8416BE";

fn password() -> NewPassword {
    Policy::default()
        .parse(PASSWORD, &Context::default())
        .unwrap()
}

/// Many suffixes that nobody looks for.
fn others(count: usize, seen: u32) -> String {
    (0..count).map(|n| format!("{n:035X}:{seen}\r\n")).collect()
}

fn check(base: &str, http: ReqwestPost) -> PwnedPasswords {
    PwnedPasswords::new(http).unwrap().base_url(base).unwrap()
}

async fn look_up(act: Act) -> Result<Breach, String> {
    let provider = Provider::start([act]).await;
    let found = check(&provider.base, impatient())
        .look_up(&password())
        .await;
    found.map_err(|error| told(&*error))
}

/// R50: the mock client sees five characters only.
#[tokio::test]
async fn r50_five_digits_of_the_digest_are_all_that_leaves() {
    let provider = Provider::start([Act::Answer(200, others(800, 3))]).await;
    let check = check(&provider.base, client());
    assert_eq!(check.look_up(&password()).await.unwrap(), Breach::NotFound);
    let seen = provider.only();
    assert_eq!(seen.line, format!("GET /range/{PREFIX} HTTP/1.1"));
    assert_eq!(seen.headers.get("add-padding").unwrap(), "true");
    assert!(
        seen.headers
            .get("user-agent")
            .unwrap()
            .starts_with("password-reset-http/")
    );
    assert!(seen.body.is_empty());
    let names: Vec<_> = seen.headers.keys().map(String::as_str).collect();
    assert_eq!(names, ["accept", "add-padding", "host", "user-agent"]);
    let everything = format!("{seen:?}").to_uppercase();
    assert!(!everything.contains(SUFFIX.get(..6).unwrap()) && !everything.contains("HARBOUR"));
}

#[tokio::test]
async fn a_range_is_searched_whole_and_padding_does_not_count() {
    let range = |count| {
        Act::Answer(
            200,
            format!("{}{SUFFIX}:{count}\r\n{}", others(900, 2), others(9, 0)),
        )
    };
    assert_eq!(look_up(range(17)).await, Ok(Breach::Found));
    assert_eq!(look_up(range(0)).await, Ok(Breach::NotFound));
    let lower = Act::Answer(200, format!("{}:1", SUFFIX.to_lowercase()));
    assert_eq!(look_up(lower).await, Ok(Breach::Found));
}

#[tokio::test]
async fn whatever_is_not_a_whole_range_is_an_error_and_not_a_no() {
    let cut = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n{}",
        others(9, 1)
    );
    let huge = others(MAX_PAGE_BYTES / 39 + 1, 1);
    for act in [
        Act::Answer(404, others(9, 1)),
        Act::Answer(429, String::new()),
        Act::Answer(503, String::new()),
        Act::Answer(200, String::new()),
        Act::Answer(200, "<html>please log in</html>".into()),
        Act::Answer(200, huge),
        Act::Raw(cut.clone().into()),
        Act::Stall(cut.into()),
        Act::Stall(Vec::new()),
        Act::Raw(Vec::new()),
    ] {
        let error = look_up(act).await.unwrap_err();
        for secret in [PREFIX, SUFFIX, "harbour", "range/"] {
            assert!(!error.contains(secret), "{error}");
        }
    }
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let elsewhere = Provider::start([Act::Answer(200, others(9, 1))]).await;
    let redirect = format!(
        "HTTP/1.1 302 x\r\nlocation: {}/range/{PREFIX}\r\ncontent-length: 0\r\n\r\n",
        elsewhere.base
    );
    let provider = Provider::start([Act::Raw(redirect.into())]).await;
    let error = check(&provider.base, client())
        .look_up(&password())
        .await
        .unwrap_err();
    let error: &RangeError = error.downcast_ref().unwrap();
    assert!(matches!(error, RangeError::Status { status: 302 }) && error.source().is_none());
    assert!(elsewhere.seen().is_empty());
}

#[tokio::test]
async fn a_mirror_may_live_under_a_path() {
    let provider = Provider::start([Act::Answer(200, others(9, 1))]).await;
    let base = format!("{}/pwned/", provider.base);
    let found = check(&base, client()).look_up(&password()).await.unwrap();
    assert_eq!(found, Breach::NotFound);
    assert_eq!(
        provider.only().line,
        format!("GET /pwned/range/{PREFIX} HTTP/1.1")
    );
    for base in [
        "http://mirror.example.org",
        "https://mirror.example.org?x=1",
        "",
    ] {
        let check = PwnedPasswords::new(client()).unwrap();
        assert_eq!(check.base_url(base).err(), Some(ConfigError::Url), "{base}");
    }
}
