//! The pages themselves.

use crate::client::{Browser, Reply};
use crate::server::Front;
use crate::world::{ADA, ASK, CANCEL, CANCELLED, CHOOSE, DONE, NEW, SENT, Setup, World, choose};

suite!(
    r80_no_page_holds_a_script_a_style_or_another_site,
    r83_password_managers_can_read_the_form_that_asks,
    r83_password_managers_can_read_the_form_that_chooses,
    r83_the_bounds_of_the_form_are_those_of_the_policy,
    r30_by_default_the_address_is_nowhere_in_full,
    r30_r83_the_full_address_is_shown_where_the_application_says_so,
    all_pages_together_are_small,
    no_page_is_a_dead_end,
);

/// Every page, with the files, of one browser that goes all the way.
fn pages(world: &World) -> Vec<Reply> {
    let mut browser = world.browser();
    let mut pages = vec![
        browser.get(ASK),
        browser.get(SENT),
        browser.get(DONE),
        browser.get(&format!("{CHOOSE}?token=nonsense")),
        browser.get(CHOOSE),
        browser.send("PUT", ASK, &[], b""),
    ];
    let (mut browser, form) = world.at_the_form(ADA);
    pages.push(browser.get(CHOOSE));
    pages.push(choose(&mut browser, &form, ""));
    pages.push(choose(&mut browser, "another", NEW));
    world.faults.tokens.always_fail();
    pages.push(browser.get(CHOOSE));
    world.faults.tokens.heal();
    let token = world.outbox.last_cancel_token().unwrap();
    browser
        .get(&format!("{CANCEL}?token={token}"))
        .leads_to(CANCEL);
    pages.push(browser.get(CANCEL));
    pages.push(browser.get(CANCELLED));
    pages
}

/// The values of an attribute, wherever it stands.
fn values<'a>(page: &'a str, attribute: &str) -> Vec<&'a str> {
    let before = format!(" {attribute}=\"");
    let rest = page.split(before.as_str()).skip(1);
    rest.map(|rest| rest.split('"').next().unwrap()).collect()
}

/// The tag that holds this text.
#[track_caller]
fn tag<'a>(page: &'a str, inside: &str) -> &'a str {
    let mut tags = page.split('<').filter(|tag| tag.contains(inside));
    tags.next().unwrap_or_else(|| panic!("no {inside}: {page}"))
}

fn r80_no_page_holds_a_script_a_style_or_another_site(front: Front) {
    let world = World::new(front);
    let mut addresses = 0;
    for page in pages(&world) {
        let html = page.body;
        assert!(
            html.starts_with("<!doctype html>") && html.ends_with("</html>"),
            "{html}"
        );
        for (tag, rest) in html.split('<').filter_map(|tag| tag.split_once('>')) {
            assert!(
                !tag.starts_with("style") && !tag.contains(" style="),
                "{tag}"
            );
            assert!(!tag.contains(" on"), "{tag}");
            if tag.starts_with("script") {
                assert!(tag.contains(" src=\"/") && rest.is_empty(), "{tag}{rest}");
            }
        }
        for attribute in ["src", "href", "action", "formaction", "srcset", "data"] {
            for address in values(&html, attribute) {
                let address = address.replace("&#x2f;", "/");
                let own = address.starts_with('/') && !address.starts_with("//");
                assert!(own || address == "data:,", "{attribute}={address}");
                addresses += 1;
            }
        }
        assert!(
            !html.contains("http:") && !html.contains("https:"),
            "{html}"
        );
    }
    assert!(addresses > 20);
    let mut browser = world.browser();
    for file in ["/reset/style.css", "/reset/script.js"] {
        let file = browser.get(file).body;
        for elsewhere in ["http:", "https:", "url(", "@import", "fetch(", "eval("] {
            assert!(!file.contains(elsewhere), "{elsewhere}");
        }
    }
}

fn r83_password_managers_can_read_the_form_that_asks(front: Front) {
    let page = World::new(front).browser().get(ASK).body;
    let field = tag(&page, "name=\"identifier\"");
    for attribute in [
        "autocomplete=\"username\"",
        "autocapitalize=\"none\"",
        "spellcheck=\"false\"",
        "required",
        "id=\"identifier\"",
    ] {
        assert!(field.contains(attribute), "{attribute}: {field}");
    }
    assert!(page.contains("<label for=\"identifier\">"));
}

fn r83_password_managers_can_read_the_form_that_chooses(front: Front) {
    let world = World::new(front);
    let (mut browser, form) = world.at_the_form(ADA);
    for page in [
        browser.get(CHOOSE).body,
        choose(&mut browser, &form, "short").body,
    ] {
        let field = tag(&page, "name=\"password\"");
        for attribute in [
            "type=\"password\"",
            "autocomplete=\"new-password\"",
            "minlength=\"15\"",
            "passwordrules=\"minlength: 15; maxlength: 256;\"",
            "required",
        ] {
            assert!(field.contains(attribute), "{attribute}: {field}");
        }
        // Browsers cut what is pasted at `maxlength`, without a word.
        assert!(!field.contains(" maxlength=") && !field.contains(" pattern="));
        assert!(!field.contains(" value=") && !page.contains("onpaste"));
        assert_eq!(
            values(&page, "type")
                .iter()
                .filter(|kind| **kind == "password")
                .count(),
            1
        );
        assert!(page.contains("<label for=\"password\">") && page.contains("id=\"show\""));
    }
}

fn r83_the_bounds_of_the_form_are_those_of_the_policy(front: Front) {
    use password_reset::password::Policy;
    let policy = Policy::default()
        .min_chars(20)
        .unwrap()
        .max_chars(100)
        .unwrap();
    let world = Setup::default()
        .flow(|flow| flow.policy(policy))
        .start(front);
    let (mut browser, form) = world.at_the_form(ADA);
    let page = browser.get(CHOOSE).body;
    let field = tag(&page, "name=\"password\"");
    assert!(field.contains("minlength=\"20\""), "{field}");
    assert!(
        field.contains("passwordrules=\"minlength: 20; maxlength: 100;\""),
        "{field}"
    );
    assert!(page.contains("At least 20 characters."));
    let page = choose(&mut browser, &form, "nineteen characters").body;
    assert!(page.contains("Use at least 20 characters."));
}

/// The way of a browser from the first page to the last.
fn whole_way(world: &World, browser: &mut Browser) -> Vec<Reply> {
    let mut replies = vec![browser.get(ASK), browser.post(ASK, &[("identifier", ADA)])];
    replies.push(browser.get(SENT));
    world.work();
    let token = world.outbox.last_token().unwrap();
    replies.push(browser.get(&format!("{CHOOSE}?token={token}")));
    replies.push(browser.get(CHOOSE));
    let form = replies[4].hidden();
    replies.push(choose(browser, &form, "short"));
    replies.push(choose(browser, &form, NEW));
    replies[6].leads_to(DONE);
    replies.push(browser.get(DONE));
    replies.push(world.opened(&token).get(CHOOSE));
    replies
}

fn r30_by_default_the_address_is_nowhere_in_full(front: Front) {
    let world = World::new(front);
    let replies = whole_way(&world, &mut world.browser());
    for reply in &replies {
        assert!(!format!("{reply:?}").contains(ADA), "{reply:?}");
    }
    for form in [&replies[4].body, &replies[5].body] {
        assert!(form.contains("<strong>a***@example.com</strong>"), "{form}");
        // A masked address in such a field would be saved as the account's name.
        assert!(!form.contains("autocomplete=\"username\""));
    }
}

fn r30_r83_the_full_address_is_shown_where_the_application_says_so(front: Front) {
    let world = Setup::default()
        .web(|web| web.show_full_address())
        .start(front);
    let replies = whole_way(&world, &mut world.browser());
    for (at, reply) in replies.iter().enumerate() {
        let is_form = matches!(at, 4 | 5);
        assert_eq!(format!("{reply:?}").contains(ADA), is_form, "{reply:?}");
        if is_form {
            let field = tag(&reply.body, "value=\"ada@example.com\"");
            assert!(
                field.starts_with("input ") && field.contains(" readonly"),
                "{field}"
            );
            assert!(field.contains("autocomplete=\"username\"") && !field.contains(" name="));
        }
    }
}

fn all_pages_together_are_small(front: Front) {
    let world = World::new(front);
    let mut browser = world.browser();
    let mut all = pages(&world);
    all.push(browser.get("/reset/style.css"));
    all.push(browser.get("/reset/script.js"));
    let bytes: usize = all.iter().map(|reply| reply.body.len()).sum();
    assert!(all.len() == 14 && bytes < 30_000, "{bytes} bytes");
    assert!(!all[12].body.contains("@font-face"));
}

/// Whoever sees it can go on, or knows whom to ask.
fn no_page_is_a_dead_end(front: Front) {
    let world = World::new(front);
    for page in pages(&world) {
        let html = &page.body;
        let on = ["<form ", "<a ", "support@example.com"];
        assert!(on.iter().any(|way| html.contains(way)), "{html}");
        // Only a link, or a form, leads on by itself; people are for whom waiting did not help.
        let wait = page.header("retry-after").is_some();
        let leads = html.contains("<form ") || html.contains("<a ");
        assert!(leads || wait || html.contains("contact us"), "{html}");
    }
}
