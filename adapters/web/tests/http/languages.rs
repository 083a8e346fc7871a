//! In whose words: languages, texts, templates, colours, and pages of one's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use password_reset::error::BoxError;
use password_reset::text::{Language, Texts};
use password_reset_web::{BuildError, Page, Paths, Render, ResetWeb, Theme, View};

use crate::server::Front;
use crate::world::{ADA, ASK, CHOOSE, DONE, NEW, SENT, Setup, World, choose, json, user};

suite!(
    the_browsers_language_is_spoken,
    who_speaks_none_of_the_languages_reads_the_configured_one,
    problems_speak_the_browsers_language_too,
    behind_a_good_link_the_accounts_language_is_spoken,
    a_text_can_be_replaced,
    a_template_and_the_colours_can_be_replaced,
    the_pages_can_be_of_ones_own,
    what_cannot_work_is_found_at_start,
    a_broken_template_is_found_at_start,
    a_form_without_what_it_needs_is_found_at_start,
    a_page_that_cannot_be_rendered_says_so_and_no_more,
);

const TITLES: [(&str, &str); 6] = [
    ("en", "Forgot your password?"),
    ("de", "Passwort vergessen?"),
    ("fr", "Mot de passe oubli\u{e9}"),
    ("es", "contrase\u{f1}a"),
    ("pt", "senha"),
    ("ja", "\u{30d1}\u{30b9}\u{30ef}\u{30fc}\u{30c9}"),
];

fn the_browsers_language_is_spoken(front: Front) {
    let world = World::new(front);
    for (tag, title) in TITLES {
        let line = format!("tlh, {tag}-XX;q=0.9, en;q=0.1");
        let page = world
            .browser()
            .send("GET", ASK, &[("Accept-Language", &line)], b"");
        assert_eq!(page.header("content-language"), Some(tag));
        assert!(
            page.body.contains(&format!("<html lang=\"{tag}\">")),
            "{page:?}"
        );
        assert!(page.body.contains(title), "{title}: {page:?}");
    }
}

fn who_speaks_none_of_the_languages_reads_the_configured_one(front: Front) {
    let german = Setup::default()
        .web(|web| web.language(Language::German))
        .start(front);
    for (world, tag) in [(World::new(front), "en"), (german, "de")] {
        for line in ["tlh", "*", "", ";q=1", "de;q=0"] {
            let page = world
                .browser()
                .send("GET", ASK, &[("Accept-Language", line)], b"");
            assert_eq!(page.header("content-language"), Some(tag), "{line}");
        }
        assert_eq!(
            world.browser().get(ASK).header("content-language"),
            Some(tag)
        );
    }
}

fn problems_speak_the_browsers_language_too(front: Front) {
    let world = World::new(front);
    let german = ("Accept-Language", "de-AT");
    let page = world.browser().send("GET", CHOOSE, &[german], b"");
    assert_eq!(
        (page.status, page.header("content-language")),
        (404, Some("de"))
    );
    let lines = [german, ("Content-Type", "application/json")];
    let problem = world.browser().send("POST", ASK, &lines, b"{}");
    assert_eq!(
        (problem.status, problem.header("content-language")),
        (400, Some("de"))
    );
    // The words differ, the code does not.
    let english = world.browser().send("POST", ASK, &lines[1..], b"{}");
    assert_eq!(json(&problem)["code"], json(&english)["code"]);
    assert_ne!(json(&problem)["title"], json(&english)["title"]);
}

fn behind_a_good_link_the_accounts_language_is_spoken(front: Front) {
    let world = World::new(front);
    world
        .users
        .edit(&user("1"), |account| account.locale = Some("ja-JP".into()));
    let (mut browser, form) = world.at_the_form(ADA);
    let lines = [
        ("Accept-Language", "fr"),
        ("Content-Type", crate::client::FORM),
    ];
    let page = browser.send("GET", CHOOSE, &lines, b"");
    assert_eq!(page.header("content-language"), Some("ja"));
    assert!(page.body.contains("<html lang=\"ja\">"));
    let body = format!("form={form}&password=short");
    let refused = browser.send("POST", CHOOSE, &lines, body.as_bytes());
    assert_eq!(
        (refused.status, refused.header("content-language")),
        (422, Some("ja"))
    );
    // Nothing speaks the account's language to who holds no link.
    let dead = world.browser().send("GET", CHOOSE, &lines, b"");
    assert_eq!(
        (dead.status, dead.header("content-language")),
        (404, Some("fr"))
    );
    // A locale that there is no text for.
    world
        .users
        .edit(&user("1"), |account| account.locale = Some("tlh".into()));
    let page = browser.send("GET", CHOOSE, &lines, b"");
    assert_eq!(page.header("content-language"), Some("fr"));
}

fn a_text_can_be_replaced(front: Front) {
    let texts = Texts::default()
        .set(Language::English, "ask.identifier", "User <name>")
        .unwrap()
        .set(Language::English, "dead.link_missing", "Sorry.")
        .unwrap();
    let world = Setup::default().web(|web| web.texts(texts)).start(front);
    let page = world.browser().get(ASK).body;
    assert!(
        page.contains("User &lt;name&gt;") && !page.contains("E-mail address"),
        "{page}"
    );
    let dead = world
        .browser()
        .send("GET", CHOOSE, &[("Accept", "application/json")], b"");
    assert_eq!(json(&dead)["detail"], "Sorry.");
}

fn a_template_and_the_colours_can_be_replaced(front: Front) {
    let rule = ":root { --accent: #7a1f5c }";
    let own = "{% extends 'layout.html' %}{% block content %}<p id=\"own\">{{ service }}, \
               {{ t('done.login') }}: <a href=\"{{ login }}\">{{ lang }}</a></p>{% endblock %}";
    let theme = Theme::default()
        .add_style(rule)
        .template("done.html", own)
        .unwrap();
    let world = Setup::default()
        .web(|web| {
            web.render(theme)
                .login("https://id.example.com/in?from=reset")
        })
        .start(front);
    let mut browser = world.browser();
    let page = browser.get(DONE).body.replace("&#x2f;", "/");
    let link = "<a href=\"https://id.example.com/in?from=reset\">en</a>";
    assert!(
        page.contains(&format!("<p id=\"own\">Example, Log in: {link}</p>")),
        "{page}"
    );
    assert!(page.contains("<title>Your password is changed - Example</title>"));
    let (_, rest) = page.split_once("rel=\"stylesheet\" href=\"").unwrap();
    let style = browser.get(rest.split('"').next().unwrap());
    assert!(style.status == 200 && style.body.ends_with(rule));
    assert!(
        style.body.starts_with(":root {"),
        "the built-in rules come first"
    );
}

/// As plain as it gets; fails in one place, or leaves something out, if told so.
#[derive(Default)]
struct Plain {
    fails_on: Option<&'static str>,
    without: Option<&'static str>,
}

impl Render for Plain {
    fn page(&self, view: &View<'_>) -> Result<String, BoxError> {
        if self.fails_on == Some(view.name()) && view.language == Language::French {
            return Err("secret cause".into());
        }
        let paths = view.paths;
        let html = match view.page {
            Page::Ask(_) => format!("<form action={}><input name=identifier>", paths.ask()),
            Page::Choose(choose) => format!(
                "<form action='{}'><input name=\"form\" value=\"{}\"><input name='password'>",
                paths.choose().replace('/', "&#x2F;"),
                choose.form
            ),
            Page::Cancel(cancel) => format!(
                "<form action={}><input name=form value={}>",
                paths.cancel(),
                cancel.form
            ),
            _ => format!("{} {}", view.name(), view.title()?),
        };
        Ok(html.replace(self.without.unwrap_or("nothing"), ""))
    }

    fn style(&self) -> &str {
        "own style"
    }

    fn script(&self) -> &str {
        "own script"
    }
}

fn the_pages_can_be_of_ones_own(front: Front) {
    let plain = Plain::default();
    let world = Setup::default().web(|web| web.render(plain)).start(front);
    let mut browser = world.browser();
    assert_eq!(browser.get(SENT).body, "sent Check your mail");
    assert_eq!(browser.get(CHOOSE).body, "dead Open your link again");
    assert_eq!(browser.get("/reset/style.css").body, "own style");
    assert_eq!(browser.get("/reset/script.js").body, "own script");
    let (mut browser, form) = world.at_the_form(ADA);
    choose(&mut browser, &form, NEW).leads_to(DONE);
    assert!(world.logs_in("1", NEW));
}

fn what_cannot_work_is_found_at_start(front: Front) {
    let world = World::new(front);
    let builder = || ResetWeb::builder(world.flow.clone());
    let paths = Paths::under("").unwrap().ask_at("/reset-password/done");
    let collide = builder().paths(paths.unwrap()).build();
    assert!(matches!(collide, Err(BuildError::Paths(_))), "{collide:?}");
    let login = builder().login("//evil.example").build();
    assert!(matches!(login, Err(BuildError::Login(_))), "{login:?}");
    // The cookie of the link is this host's, and the page's policy lets no form lead elsewhere.
    for elsewhere in [
        "https://other.example.com/factor",
        "https://app.example.com.evil.example/factor",
        "https://app.example.com:8443/factor",
        "https://app.example.com",
        "http://app.example.com/factor",
        "//app.example.com/factor",
        "factor",
    ] {
        let factor = builder().factor_page(elsewhere).build();
        assert!(
            matches!(factor, Err(BuildError::FactorPage(_))),
            "{elsewhere}"
        );
    }
    for own in ["/account/factor", "https://app.example.com/account/factor"] {
        assert!(builder().factor_page(own).build().is_ok(), "{own}");
    }
    for origin in ["http://localhost:3000", "https://a.example/", "null", "*"] {
        let refused = builder().allow_origin(origin).build();
        assert!(matches!(refused, Err(BuildError::Origin(_))), "{origin}");
    }
    let zero = builder().body_timeout(Duration::ZERO).build();
    assert!(matches!(zero, Err(BuildError::BodyTimeout)), "{zero:?}");
}

fn a_broken_template_is_found_at_start(front: Front) {
    let world = World::new(front);
    let built = |render| ResetWeb::builder(world.flow.clone()).render(render).build();
    for (name, source) in [
        ("problem.html", "{{ nothing }}"),
        ("choose.html", "{{ t('no.such.text') }}"),
        ("ask.html", "{% extends 'gone.html' %}"),
        ("dead.html", "{{ account }}"),
    ] {
        let theme = Theme::default().template(name, source).unwrap();
        let error = built(theme).unwrap_err();
        assert!(
            matches!(&error, BuildError::Page { page, .. } if name.starts_with(page)),
            "{error:?}"
        );
    }
    let plain = Plain {
        fails_on: Some("sent"),
        without: None,
    };
    let built = ResetWeb::builder(world.flow.clone()).render(plain).build();
    let Err(BuildError::Page { page, language, .. }) = built else {
        panic!("was built");
    };
    assert_eq!((page, language), ("sent", Language::French));
}

fn a_form_without_what_it_needs_is_found_at_start(front: Front) {
    let world = World::new(front);
    let builder = || ResetWeb::builder(world.flow.clone());
    for (without, said) in [
        ("identifier", "the page \"ask\" has no field `identifier`"),
        (
            "/forgot-password",
            "the page \"ask\" has no form that posts to `/forgot-password`",
        ),
        ("name=\"form\"", "the page \"choose\" has no field `form`"),
        ("value=", "the page \"choose\" has no field `form`"),
        ("'password'", "the page \"choose\" has no field `password`"),
        (
            "&#x2F;reset",
            "the page \"choose\" has no form that posts to `/reset`",
        ),
        ("name=form ", "the page \"cancel\" has no field `form`"),
        (
            "/not-me",
            "the page \"cancel\" has no form that posts to `/reset/not-me`",
        ),
    ] {
        let plain = Plain {
            fails_on: None,
            without: Some(without),
        };
        let error = builder().render(plain).build().unwrap_err();
        assert!(matches!(error, BuildError::Form { .. }), "{error:?}");
        assert_eq!(error.to_string(), said);
    }
    // The style sheet and a link are below and at the path, and post nothing.
    let link = "{% extends 'layout.html' %}{% block content %}<a href=\"{{ paths.choose }}\">\
        {{ form }}</a><input name=form value={{ form }}><input name=password>{% endblock %}";
    let theme = Theme::default().template("choose.html", link).unwrap();
    let error = builder().render(theme).build().unwrap_err();
    assert!(matches!(error, BuildError::Form { .. }), "{error:?}");
}

/// Renders until it is told to stop.
struct Stopped(Arc<AtomicBool>);

impl Render for Stopped {
    fn page(&self, view: &View<'_>) -> Result<String, BoxError> {
        match self.0.load(Ordering::SeqCst) {
            false => Plain::default().page(view),
            true => Err("secret cause".into()),
        }
    }

    fn style(&self) -> &'static str {
        ""
    }

    fn script(&self) -> &'static str {
        ""
    }
}

fn a_page_that_cannot_be_rendered_says_so_and_no_more(front: Front) {
    let stop = Arc::new(AtomicBool::new(false));
    let pages = Stopped(Arc::clone(&stop));
    let world = Setup::default().web(|web| web.render(pages)).start(front);
    stop.store(true, Ordering::SeqCst);
    for path in [SENT, CHOOSE] {
        let page = world.browser().get(path);
        let shown = (page.status, page.body.as_str());
        assert_eq!(shown, (500, "The page cannot be shown."));
        assert_eq!(
            page.header("content-type"),
            Some("text/plain; charset=utf-8")
        );
        assert_eq!(page.header("cache-control"), Some("no-store"));
    }
}
