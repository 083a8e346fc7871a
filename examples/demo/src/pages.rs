//! The pages. Without scripts; `maud` escapes whatever is put into them (W70).

use std::sync::Arc;

use axum::response::Html;
use maud::{DOCTYPE, Markup, html};
use password_reset::password::{PasswordRejected, Policy};

use crate::mailbox::Mail;

fn page(title: &str, content: Markup) -> Html<String> {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " - Demo" }
                link rel="stylesheet" href="/style.css";
            }
            body {
                nav { a href="/" { "Home" } }
                main {
                    h1 { (title) }
                    (content)
                }
            }
        }
    };
    Html(page.into_string())
}

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

/// Why the login page is shown.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Login {
    Fresh,
    AfterReset,
    Wrong,
}

pub(crate) fn login(why: Login) -> Html<String> {
    let note = match why {
        Login::Fresh => None,
        Login::AfterReset => {
            Some("Your password is changed, and you are logged out everywhere. Log in with it.")
        }
        Login::Wrong => Some("The address or the password is wrong."),
    };
    let content = html! {
        @if let Some(note) = note { p.note role="status" { (note) } }
        form method="post" action="/login" {
            label for="identifier" { "E-mail address" }
            input #identifier name="identifier" inputmode="email" autocomplete="username"
                maxlength="254" required autofocus;
            label for="password" { "Password" }
            input #password name="password" type="password" autocomplete="current-password" required;
            button { "Log in" }
        }
        p { a href="/forgot-password" { "Forgot your password?" } }
    };
    page("Log in", content)
}

pub(crate) fn forgot() -> Html<String> {
    let content = html! {
        p { "We mail you a link with which you can choose a new one." }
        form method="post" action="/forgot-password" {
            label for="identifier" { "E-mail address" }
            input #identifier name="identifier" inputmode="email" autocomplete="username"
                maxlength="254" required autofocus;
            button { "Mail me a link" }
        }
    };
    page("Forgot your password?", content)
}

/// The same bytes for everyone: what was typed is not repeated.
pub(crate) fn asked() -> Html<String> {
    let content = html! {
        p { "If there is an account with this address, a mail is on its way to it." }
        p { "The link in it works for 30 minutes. No mail? Look into the folder for spam, or wait a "
            "minute and " a href="/forgot-password" { "ask again" } "." }
    };
    page("Check your mail", content)
}

pub(crate) fn reset(
    policy: &Policy,
    owner: Option<&str>,
    rejected: Option<&PasswordRejected>,
) -> Html<String> {
    let (min, max) = (policy.min(), policy.max());
    let rules = format!("minlength: {min}; maxlength: {max};");
    let content = html! {
        form method="post" action="/reset-password" {
            @if let Some(owner) = owner {
                label for="username" { "Account" }
                // For people and password managers; without a name, so it is not sent.
                input #username value=(owner) autocomplete="username" readonly;
            }
            label for="password" { "New password" }
            @if let Some(rejected) = rejected {
                ul #reasons.note role="alert" {
                    @for reason in rejected.violations() { li { "Please " (reason) "." } }
                }
            }
            p #hint { "At least " (min) " characters; several words are fine." }
            // No upper limit here: browsers would cut what is pasted.
            input #password name="password" type="password" autocomplete="new-password"
                minlength=(min) passwordrules=(rules)
                aria-describedby=(if rejected.is_some() { "reasons hint" } else { "hint" })
                required autofocus;
            button { "Set the password" }
        }
        p { "You will be logged out everywhere." }
    };
    page("Choose a new password", content)
}

pub(crate) fn dead_link(expired: bool) -> Html<String> {
    let content = html! {
        p {
            @if expired { "This link has expired." }
            @else { "This link is not valid, or it has been used." }
        }
        p { a href="/forgot-password" { "Ask for a new link" } }
    };
    page("Link not valid", content)
}

pub(crate) fn problem(title: &str, advice: &str) -> Html<String> {
    page(title, html! { p { (advice) } })
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
                pre { (with_links(&mail.text, &mail.links)) }
            }
        }
    };
    page("Mailbox", content)
}

/// The text part, never the HTML one. Only what the mailer knows to be a link becomes one.
fn with_links(text: &str, links: &[String]) -> Markup {
    let Some((link, (before, after))) = links
        .iter()
        .find_map(|link| Some((link, text.split_once(link.as_str())?)))
    else {
        return html! { (text) };
    };
    html! {
        (before)
        a href=(link) rel="noreferrer" { (link) }
        (with_links(after, links))
    }
}
