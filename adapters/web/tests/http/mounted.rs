//! Where the pages are, in an application that has other pages too.

use password_reset::mail::LinkBase;
use password_reset_web::Paths;

use crate::server::Front;
use crate::world::{ADA, NEW, Setup, World};

suite!(
    the_pages_stand_where_the_link_leads_to,
    the_pages_can_stand_under_a_path,
    the_pages_can_be_nested_under_a_path,
    the_page_of_the_link_can_be_the_path_itself,
    links_may_lead_to_a_page_of_the_applications_own,
    a_path_has_one_spelling,
);

/// The whole way, through the pages that lead to each other.
fn reset(world: &World, folder: &str) {
    let paths = world.web.paths();
    let mut browser = world.browser();
    let page = browser.get(paths.ask());
    assert_eq!(page.status, 200, "{page:?}");
    assert!(
        page.body
            .contains(&format!("action=\"{folder}/forgot-password\""))
    );
    assert!(
        page.body
            .contains(&format!("href=\"{}\"", world.web.style()))
    );
    assert_eq!(browser.get(world.web.style()).status, 200);
    browser
        .post(paths.ask(), &[("identifier", ADA)])
        .leads_to(&paths.sent());
    assert_eq!(browser.get(&paths.sent()).status, 200);
    world.work();
    let link = world.outbox.links().pop().unwrap();
    let (_, link) = link.split_once("//").unwrap();
    let (_, link) = link.split_once('/').unwrap();
    browser.get(&format!("/{link}")).leads_to(paths.choose());
    let page = browser.get(paths.choose());
    assert!(
        page.body
            .contains(&format!("action=\"{}\"", paths.choose())),
        "{page:?}"
    );
    let fields = [("form", page.hidden()), ("password", NEW.to_owned())];
    let fields = fields
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    browser
        .post(paths.choose(), &fields)
        .leads_to(&paths.done());
    assert_eq!(browser.get(&paths.done()).status, 200);
    assert!(world.logs_in("1", NEW));
}

fn the_pages_stand_where_the_link_leads_to(front: Front) {
    for (base, folder) in [
        ("https://app.example.com/account/new-password", "/account"),
        ("https://app.example.com/account/new-password/", "/account"),
        ("https://app.example.com/reset", ""),
        ("https://app.example.com/", ""),
        ("http://localhost:3000/a/b/c", "/a/b"),
    ] {
        let world = Setup::default().base(base).start(front);
        reset(&world, folder);
        let known = world.browser().get("/.well-known/change-password");
        known.leads_to(&format!("{folder}/forgot-password"));
    }
}

fn the_pages_can_stand_under_a_path(front: Front) {
    let world = Setup::default()
        .base("https://app.example.com/auth/reset-password")
        .web(|web| web.paths(Paths::under("/auth").unwrap()))
        .start(front);
    reset(&world, "/auth");
}

fn the_pages_can_be_nested_under_a_path(front: Front) {
    let paths = Paths::under("/auth").unwrap().stripped("/auth").unwrap();
    let world = Setup::default()
        .base("https://app.example.com/auth/reset-password")
        .web(|web| web.paths(paths))
        .nested("/auth")
        .start(front);
    reset(&world, "/auth");
    for path in ["/reset-password", "/auth/auth/reset-password", "/auth"] {
        // `bare` strips what is there and asks no more.
        assert!(
            front == Front::Bare || world.browser().get(path).status == 404,
            "{path}"
        );
    }
}

fn the_page_of_the_link_can_be_the_path_itself(front: Front) {
    let base = "https://app.example.com/auth/";
    let paths = Paths::of(&LinkBase::parse(base).unwrap());
    let paths = paths.ask_at("/auth/forgot-password").unwrap();
    let paths = paths.stripped("/auth").unwrap();
    let world = Setup::default()
        .base(base)
        .web(|web| web.paths(paths))
        .nested("/auth")
        .start(front);
    if front == Front::Axum {
        // As its documentation says: what is nested as `/` is `/auth`, and never `/auth/`.
        assert_eq!(world.browser().get("/auth/").status, 404);
        return;
    }
    reset(&world, "/auth");
}

fn links_may_lead_to_a_page_of_the_applications_own(front: Front) {
    let world = Setup::default()
        .base("https://app.example.com/app/new-password")
        .web(|web| web.paths(Paths::under("/api").unwrap()))
        .start(front);
    let token = world.token(ADA);
    let body = serde_json::json!({ "token": token, "password": NEW });
    let mut browser = world.browser();
    assert_eq!(browser.get("/app/new-password").status, 404);
    let reply = crate::world::post_json(&mut browser, "/api/reset-password", &body);
    assert_eq!(reply.status, 200);
}

fn a_path_has_one_spelling(front: Front) {
    let world = World::new(front);
    for path in [
        "/reset/",
        "//reset",
        "/RESET",
        "/res%65t",
        "/./reset",
        "/x/../reset",
        "/reset;x=y",
        "/reset%00",
        "/reset%2fdone",
        "/reset/style.css/",
        "/forgot%2Dpassword",
    ] {
        assert_eq!(world.browser().get(path).status, 404, "{path}");
    }
}
