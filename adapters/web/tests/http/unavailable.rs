//! What is busy, fails or is refused, and what is left afterwards.

use std::io::Write;
use std::net::TcpStream;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use password_reset::error::BoxError;
use password_reset::password::{
    Candidate, HashPool, HasherError, NewPassword, PasswordHash, PasswordHasher, Scratch,
};
use password_reset::recovery::{Recovery, RecoveryAttempt, RecoveryPolicy};
use password_reset::testing::{Faults, InsecureHasher};
use serde_json::json;

use crate::client::{Browser, FORM, Reply};
use crate::server::Front;
use crate::world::{ADA, CHOOSE, DONE, NEW, Setup, World, choose, json, post_json};

suite!(
    r38_when_a_store_fails_the_link_stays_good,
    who_is_too_many_for_the_pool_is_told_when_to_come_back,
    a_link_that_another_request_uses_is_in_use,
    an_unknown_outcome_is_told_and_settled,
    w64_r67_an_account_with_a_second_factor_needs_more,
    an_account_that_the_application_refuses_is_told_so,
    a_client_that_hangs_up_does_not_cut_the_change,
);

const GUARDED: &str = "guarded@example.com";

#[track_caller]
fn assert_told(reply: &Reply, status: u16, words: &str, wait: Option<&str>) {
    assert_eq!(
        (reply.status, reply.header("retry-after")),
        (status, wait),
        "{reply:?}"
    );
    assert!(reply.body.contains(words), "{words}: {}", reply.body);
    assert_eq!(
        reply.header("set-cookie"),
        None,
        "the link is as good as before"
    );
}

fn r38_when_a_store_fails_the_link_stays_good(front: Front) {
    let world = World::new(front);
    let (mut browser, form) = world.at_the_form(ADA);
    let token = world.outbox.last_token().unwrap();
    let parts: [(&Faults, &str); 3] = [
        (&world.faults.users, "users"),
        (&world.faults.tokens, "tokens"),
        (&world.faults.limiter, "limiter"),
    ];
    let nothing = "Nothing was changed";
    for (faults, part) in parts {
        faults.always_fail();
        assert_told(&browser.get(CHOOSE), 503, nothing, Some("10"));
        assert_told(&choose(&mut browser, &form, NEW), 503, nothing, Some("10"));
        let body = json!({ "token": token, "password": NEW });
        let reply = post_json(&mut world.browser(), CHOOSE, &body);
        assert_told(&reply, 503, "\"code\":\"unavailable\"", Some("10"));
        assert!(
            !reply.body.contains("injected") && !reply.body.contains(part),
            "{reply:?}"
        );
        faults.heal();
        assert_eq!(browser.get(CHOOSE).status, 200);
    }
    // In the middle: the claim, the notice.
    world.faults.tokens.fail(2);
    assert_told(&choose(&mut browser, &form, NEW), 503, nothing, Some("10"));
    world.faults.queue.fail(1);
    assert_told(&choose(&mut browser, &form, NEW), 503, nothing, Some("10"));
    assert!(world.is_unchanged("1"));
    choose(&mut browser, &form, NEW).leads_to(DONE);
    assert!(world.logs_in("1", NEW));
}

/// Hashes only while nobody holds the door.
struct Held(Arc<Mutex<()>>);

impl PasswordHasher for Held {
    fn hash(&self, new: &NewPassword, room: &mut Scratch) -> Result<PasswordHash, HasherError> {
        let _door = self.0.lock().unwrap();
        InsecureHasher.hash(new, room)
    }

    fn verify(
        &self,
        candidate: &Candidate,
        stored: &PasswordHash,
        room: &mut Scratch,
    ) -> Result<bool, HasherError> {
        InsecureHasher.verify(candidate, stored, room)
    }

    fn needs_rehash(&self, stored: &PasswordHash) -> bool {
        InsecureHasher.needs_rehash(stored)
    }

    fn max_bytes(&self) -> Option<usize> {
        None
    }
}

/// One thread, nobody waits, and a door to hold.
fn one_at_a_time(front: Front) -> (World, HashPool, Arc<Mutex<()>>) {
    let door = Arc::new(Mutex::new(()));
    let pool = HashPool::builder(Held(Arc::clone(&door)))
        .threads(NonZeroUsize::MIN)
        .queue(0)
        .build()
        .unwrap();
    let hashing = pool.clone();
    let world = Setup::default()
        .unlimited()
        .flow(|flow| flow.hashing(hashing))
        .start(front);
    (world, pool, door)
}

/// Waits for what another thread is about to do.
#[track_caller]
fn until(mut done: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < patience, "it never happened");
        thread::yield_now();
    }
}

/// Sends the form, and leaves the connection to the caller.
fn send_form(browser: &Browser, form: &str) -> TcpStream {
    let body = format!("form={form}&password={}", NEW.replace(' ', "+"));
    let (name, token) = browser.cookies.first_key_value().unwrap();
    let length = body.len();
    let request = format!(
        "POST {CHOOSE} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {FORM}\r\n\
         Cookie: {name}={token}\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    let mut stream = TcpStream::connect(browser.address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

fn who_is_too_many_for_the_pool_is_told_when_to_come_back(front: Front) {
    let (world, pool, door) = one_at_a_time(front);
    let (eve, form_of_eve) = world.at_the_form("eve@example.com");
    let (mut ada, form) = world.at_the_form(ADA);
    let held = door.lock().unwrap();
    let _first = send_form(&eve, &form_of_eve);
    // The look at the present password, and the hash that waits at the door.
    until(|| pool.stats().started == 2);
    assert_told(
        &choose(&mut ada, &form, NEW),
        503,
        "Nothing was changed",
        Some("1"),
    );
    let body = json!({ "token": world.outbox.last_token().unwrap(), "password": NEW });
    let reply = post_json(&mut world.browser(), CHOOSE, &body);
    assert_told(&reply, 503, "\"code\":\"busy\"", Some("1"));
    drop(held);
    until(|| world.logs_in("6", NEW));
    until(|| choose(&mut ada, &form, NEW).status == 303);
    assert!(world.logs_in("1", NEW));
}

fn a_client_that_hangs_up_does_not_cut_the_change(front: Front) {
    let (world, pool, door) = one_at_a_time(front);
    let (browser, form) = world.at_the_form(ADA);
    let held = door.lock().unwrap();
    let sent = send_form(&browser, &form);
    // The look at the present password, and the hash that waits at the door.
    until(|| pool.stats().started == 2);
    drop(sent);
    // The servers have one thread: when this is answered, the end of the other connection is seen.
    assert_eq!(world.browser().get(DONE).status, 200);
    drop(held);
    until(|| world.logs_in("1", NEW));
}

fn a_link_that_another_request_uses_is_in_use(front: Front) {
    let world = World::new(front);
    let (mut browser, form) = world.at_the_form(ADA);
    // Two calls read the account, the third is to set the password.
    let before = world.faults.users.calls();
    world.faults.users.hang(3);
    let _first = send_form(&browser, &form);
    until(|| world.faults.users.calls() == before + 3);
    let words = "It is being used at this moment.";
    assert_told(&choose(&mut browser, &form, NEW), 409, words, Some("120"));
    assert_told(&browser.get(CHOOSE), 409, words, Some("120"));
    let body = json!({ "token": world.outbox.last_token().unwrap(), "password": NEW });
    let reply = post_json(&mut world.browser(), CHOOSE, &body);
    assert_told(&reply, 409, "\"code\":\"in_use\"", Some("120"));
    // Who waits as long as told finds a good link.
    world.clock.advance(Duration::from_secs(120));
    world.work();
    choose(&mut browser, &form, NEW).leads_to(DONE);
}

fn an_unknown_outcome_is_told_and_settled(front: Front) {
    let world = World::new(front);
    let (mut browser, form) = world.at_the_form(ADA);
    world.faults.users.fail_after(3);
    let reply = choose(&mut browser, &form, NEW);
    assert_told(
        &reply,
        503,
        "Your password may have been changed.",
        Some("120"),
    );
    world.clock.advance(Duration::from_secs(120));
    world.work();
    assert_eq!(browser.get(CHOOSE).status, 404);
    assert!(world.logs_in("1", NEW));
}

fn w64_r67_an_account_with_a_second_factor_needs_more(front: Front) {
    let world = World::new(front);
    let token = world.token(GUARDED);
    let mut browser = world.opened(&token);
    let words = "Please contact us: support@example.com";
    // Nobody is there to check the factor, so nobody has to think of a password first.
    assert_told(&browser.get(CHOOSE), 403, words, None);
    let body = json!({ "token": token, "password": NEW });
    let reply = post_json(&mut world.browser(), CHOOSE, &body);
    assert_told(&reply, 403, "\"code\":\"step_up\"", None);
    // No field says that the second factor was shown.
    let claim = json!({ "token": token, "password": NEW, "second_factor": true });
    assert_eq!(post_json(&mut world.browser(), CHOOSE, &claim).status, 400);
    assert!(world.is_unchanged("5"));
    assert_told(&browser.get(CHOOSE), 403, words, None);
}

struct Refuse;

#[password_reset::async_trait]
impl RecoveryPolicy for Refuse {
    async fn decide(&self, _: &RecoveryAttempt<'_>) -> Result<Recovery, BoxError> {
        Ok(Recovery::Deny)
    }
}

fn an_account_that_the_application_refuses_is_told_so(front: Front) {
    let world = Setup::default()
        .flow(|flow| flow.recovery(Refuse))
        .start(front);
    let (mut browser, form) = world.at_the_form(ADA);
    let words = "This account cannot be recovered with a mail.";
    assert_told(&choose(&mut browser, &form, NEW), 403, words, None);
    let body = json!({ "token": world.outbox.last_token().unwrap(), "password": NEW });
    let reply = post_json(&mut world.browser(), CHOOSE, &body);
    assert_eq!(
        (reply.status, json(&reply)["code"].as_str()),
        (403, Some("denied"))
    );
    assert!(world.is_unchanged("1"));
}
