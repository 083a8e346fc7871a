//! What the cookie between the link and the form is good for, and what it is not (W66).

use crate::client::{Browser, FORM};
use crate::server::Front;
use crate::world::{ADA, CANCEL, CANCELLED, CHOOSE, DONE, NEW, World, choose};

suite!(
    w66_the_form_of_one_browser_and_the_cookie_of_another_change_nothing,
    w66_a_cookie_planted_from_elsewhere_is_not_read,
    w66_a_cookie_ends_with_its_link_whoever_kept_it,
    w66_a_cookie_ends_when_its_link_is_voided,
    w66_whoever_copies_the_cookie_holds_the_link_until_it_is_used,
);

const COOKIE: &str = "__Host-password-reset";
const EVE: &str = "eve@example.com";

/// Another browser with a copy of this one's cookies.
fn copy(world: &World, browser: &Browser) -> Browser {
    let mut copy = world.browser();
    copy.cookies = browser.cookies.clone();
    copy
}

fn w66_the_form_of_one_browser_and_the_cookie_of_another_change_nothing(front: Front) {
    let world = World::new(front);
    let (mut of_ada, form_of_ada) = world.at_the_form(ADA);
    let (mut of_eve, form_of_eve) = world.at_the_form(EVE);
    for (browser, form) in [(&mut of_eve, &form_of_ada), (&mut of_ada, &form_of_eve)] {
        let refused = choose(browser, form, NEW);
        assert_eq!(refused.status, 409, "{refused:?}");
        assert!(refused.header("set-cookie").is_none());
    }
    assert!(world.is_unchanged("1") && world.is_unchanged("6"));
    // Each is as good as before, where it belongs.
    choose(&mut of_ada, &form_of_ada, NEW).leads_to(DONE);
    assert!(world.logs_in("1", NEW) && world.is_unchanged("6"));
    choose(&mut of_eve, &form_of_eve, NEW).leads_to(DONE);
}

/// Another host of the same domain, or plain http, can set a cookie for this host; but no browser
/// takes one with the prefix from there.
fn w66_a_cookie_planted_from_elsewhere_is_not_read(front: Front) {
    let world = World::new(front);
    let (ada, form) = world.at_the_form(ADA);
    let of_eve = world.token(EVE);
    let body = format!("form={form}&password={}", NEW.replace(' ', "+"));
    let post = |cookies: &str| {
        let lines = [("Cookie", cookies), ("Content-Type", FORM)];
        world
            .browser()
            .send("POST", CHOOSE, &lines, body.as_bytes())
    };
    let planted = format!("password-reset={of_eve}; password-reset-factor={of_eve}");
    assert_eq!(post(&planted).status, 404);
    // Nor does it stand in the way of the real one.
    let own = &ada.cookies[COOKIE];
    post(&format!("{planted}; {COOKIE}={own}")).leads_to(DONE);
    assert!(world.logs_in("1", NEW) && world.is_unchanged("6"));
}

fn w66_a_cookie_ends_with_its_link_whoever_kept_it(front: Front) {
    let world = World::new(front);
    let (mut ada, form) = world.at_the_form(ADA);
    let mut kept = copy(&world, &ada);
    choose(&mut ada, &form, NEW).leads_to(DONE);
    let changed = world.hash("1");
    let refused = choose(&mut kept, &form, "another harbour at dusk");
    assert_eq!(refused.status, 404, "{refused:?}");
    assert!(kept.cookies.is_empty(), "the cookie goes with its link");
    assert_eq!(world.hash("1"), changed);
}

fn w66_a_cookie_ends_when_its_link_is_voided(front: Front) {
    let world = World::new(front);
    let (mut thief, form) = world.at_the_form(ADA);
    let token = world.outbox.last_cancel_token().unwrap();
    let mut owner = world.browser();
    owner
        .get(&format!("{CANCEL}?token={token}"))
        .leads_to(CANCEL);
    let button = owner.get(CANCEL).hidden();
    owner.post(CANCEL, &[("form", &button)]).leads_to(CANCELLED);
    let refused = choose(&mut thief, &form, NEW);
    assert_eq!(refused.status, 404, "{refused:?}");
    assert!(thief.cookies.is_empty() && world.is_unchanged("1"));
}

/// Not promised, and so that nobody believes it: the cookie is the token, and not tied to a browser.
fn w66_whoever_copies_the_cookie_holds_the_link_until_it_is_used(front: Front) {
    let world = World::new(front);
    let (mut ada, form) = world.at_the_form(ADA);
    let mut copied = copy(&world, &ada);
    let form_of_copy = copied.get(CHOOSE).hidden();
    choose(&mut copied, &form_of_copy, NEW).leads_to(DONE);
    // Once, as for everyone: the owner hears that the link was used.
    assert_eq!(choose(&mut ada, &form, NEW).status, 404);
}
