//! The pages. Without scripts; `maud` escapes whatever is put into them (W70).

use std::sync::{Arc, OnceLock};

use axum::response::Html;
use maud::{DOCTYPE, Markup, html};

use crate::mailbox::Mail;

/// The ready-made pages' style sheet, [`ResetWeb::style`](password_reset_web::ResetWeb::style). One
/// for the process: an error makes its page without knowing the application.
static STYLE_SHEET: OnceLock<String> = OnceLock::new();

/// Dresses all pages like the ready-made ones.
pub(crate) fn dress(style: &str) {
    // One that is there already is the same.
    let _ = STYLE_SHEET.set(style.to_owned());
}

fn page(title: &str, content: Markup) -> Html<String> {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " - Demo" }
                link rel="icon" href="data:,";
                @if let Some(style) = STYLE_SHEET.get() {
                    link rel="stylesheet" href=(style);
                }
            }
            body {
                main {
                    p.service { a href="/" { "Demo" } }
                    h1 { (title) }
                    (content)
                }
            }
        }
    };
    Html(page.into_string())
}

/// Added to the style sheet for the mailbox.
pub(crate) const STYLE: &str = "
article { margin: 0 0 1rem; padding: .75rem 1rem; border: 1px solid var(--line); border-radius: .4rem; }
h2 { margin: 0; font-size: 1.1rem; }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; font: inherit; }
";

pub(crate) fn home(who: Option<&str>) -> Html<String> {
    let content = html! {
        @if let Some(who) = who {
            p { "You are logged in as " strong { (who) } "." }
            form method="post" action="/logout" { button { "Log out" } }
        } @else {
            p { "You are not logged in." }
            p { a href="/login" { "Log in" } }
        }
        p { a href="/forgot-password" { "Forgot your password?" } }
    };
    page("Welcome", content)
}

pub(crate) fn login(wrong: bool) -> Html<String> {
    let content = html! {
        @if wrong {
            div.note role="alert" { p { "The address, the password or the code is wrong." } }
        }
        form method="post" action="/login" {
            label for="identifier" { "E-mail address" }
            input #identifier name="identifier" inputmode="email" autocomplete="username"
                maxlength="254" required autofocus;
            label for="password" { "Password" }
            input #password name="password" type="password" autocomplete="current-password" required;
            label for="code" { "Code of your second factor" }
            p #hint .hint { "Leave it empty if you have none." }
            input #code name="code" inputmode="numeric" autocomplete="one-time-code" maxlength="16"
                aria-describedby="hint";
            button { "Log in" }
        }
        p { a href="/forgot-password" { "Forgot your password?" } }
    };
    page("Log in", content)
}

pub(crate) fn problem(title: &str, advice: &str) -> Html<String> {
    page(title, html! { p { (advice) } })
}

/// What a telephone would show.
pub(crate) fn telephone(owner: &str, code: Option<&str>) -> Html<String> {
    let content = html! {
        p { "The second factor of " (owner) ", as an authenticator app would show it. Each code is taken
            once, at login or at a reset; the next one comes within half a minute." }
        @match code {
            Some(code) => p { strong #code { (code) } },
            None => p { "There is none." },
        }
        p { a href="/dev/totp" { "Look again" } }
    };
    page("Authenticator", content)
}

pub(crate) fn mailbox(newest: &[Arc<Mail>]) -> Html<String> {
    let content = html! {
        p { "What the demo would have mailed, the newest first. Only on this machine." }
        p { a href="/dev/mailbox" { "Look again" } }
        @if newest.is_empty() { p { "No mail yet." } }
        @for mail in newest {
            article {
                h2 { (mail.subject) }
                p { "To: " (mail.to) }
                pre { (with_links(&mail.text, &[&mail.links[..], &mail.cancel_links].concat())) }
            }
        }
    };
    page("Mailbox", content)
}

/// The text part, never the HTML one. Only what the mailer knows to be a link becomes one.
fn with_links(text: &str, links: &[String]) -> Markup {
    let first = links
        .iter()
        .filter_map(|link| Some((text.find(link)?, link)));
    let Some((link, (before, after))) = first
        .min()
        .and_then(|(_, link)| Some((link, text.split_once(link.as_str())?)))
    else {
        return html! { (text) };
    };
    html! {
        (before)
        a href=(link) rel="noreferrer" { (link) }
        (with_links(after, links))
    }
}
