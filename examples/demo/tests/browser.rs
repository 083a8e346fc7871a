//! The demo in a real browser: each test runs one script of `browser/` in Chromium.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

mod common;

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Once;

use common::Demo;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/browser");
const CHROMIUM: &str = "PASSWORD_RESET_TEST_CHROMIUM";
const OLDEST_NODE: u32 = 20;

#[test]
fn a_forgotten_password_is_replaced_and_everybody_is_out() {
    in_chromium("journey");
}

#[test]
fn the_back_button_brings_back_neither_form_nor_password() {
    in_chromium("back");
}

#[test]
fn of_two_tabs_with_one_link_the_second_is_told_where_to_ask_again() {
    in_chromium("tabs");
}

#[test]
fn w36_a_link_outlives_whatever_opens_it_before_its_owner() {
    in_chromium("scanner");
}

#[test]
fn everything_works_without_scripts() {
    in_chromium("without_scripts");
}

#[test]
fn r67_the_second_factor_is_asked_for_before_the_password() {
    in_chromium("factor");
}

#[test]
fn r34_a_person_does_not_feel_the_work_and_a_program_is_asked_for_it() {
    in_chromium_with("work", &["--proof-of-work", "always"]);
}

#[test]
fn r82_over_https_the_cookie_is_the_hosts_and_other_sites_change_nothing() {
    if let Err(error) = Command::new("openssl").arg("version").output() {
        missing(&format!("no openssl: {error}"));
        return;
    }
    // The links name the proxy's port, so it is chosen before anything listens there.
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let site = format!("https://localhost:{}", port.local_addr().unwrap().port());
    drop(port);
    let base = format!("{site}/reset-password");
    let flags = ["--link-base", &base, "--proxies", "1"];
    in_chromium_of("https", &flags, Sites::Behind(&site));
}

#[test]
fn r80_no_page_loads_anything_from_another_site() {
    in_chromium("own_site");
}

#[test]
fn r81_the_token_is_nowhere_after_the_click() {
    in_chromium("token");
}

#[test]
fn r81_a_code_is_typed_and_leaves_no_trace() {
    in_chromium("code");
}

#[test]
fn w36_a_button_cancels_what_is_open_and_no_link_does() {
    in_chromium("cancel");
}

#[test]
fn axe_finds_nothing_on_any_page() {
    in_chromium_of("axe", &[], Sites::WithWork);
}

#[test]
fn the_keyboard_is_enough() {
    in_chromium("keyboard");
}

#[test]
fn the_script_counts_shows_and_sends_once() {
    in_chromium("script");
}

#[test]
fn all_pages_together_are_small() {
    in_chromium_of("weight", &[], Sites::WithWork);
}

#[test]
fn pages_speak_the_language_of_the_browser() {
    in_chromium("languages");
}

/// What the browser is to see.
enum Sites<'a> {
    /// The demo.
    One,
    /// What the script's own proxy at this address shows of the demo.
    Behind(&'a str),
    /// The demo, and a second one that asks everybody for work.
    WithWork,
}

/// Runs a script on a demo of its own.
fn in_chromium(script: &str) {
    in_chromium_with(script, &[]);
}

fn in_chromium_with(script: &str, flags: &[&str]) {
    in_chromium_of(script, flags, Sites::One);
}

fn in_chromium_of(script: &str, flags: &[&str], sites: Sites<'_>) {
    if let Err(why) = ready() {
        missing(&why);
        return;
    }
    let usual = ["--limits", "off", "--accounts", "4"];
    let start = |flags: &[&str]| Demo::start(&[&usual, flags].concat());
    let demo = start(flags);
    let site = format!("http://{}", demo.address);
    let mut node = Command::new("node");
    node.arg(format!("{SCRIPTS}/{script}.mjs"))
        .env("DEMO_SITE", &site)
        .env("DEMO_PASSWORD", demo.initial_password());
    // Lives as long as the script.
    let mut second = None;
    match sites {
        Sites::One => {}
        Sites::Behind(proxy) => {
            node.env("DEMO_SITE", proxy).env("DEMO_BACKEND", &site);
        }
        Sites::WithWork => {
            let demo = second.insert(start(&["--proof-of-work", "always"]));
            node.env("DEMO_WORK_SITE", format!("http://{}", demo.address));
        }
    }
    let output = node.output().unwrap();
    drop(second);
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{script}.mjs:\n{said}");
    println!("{said}");
}

/// Whether everything is there that the scripts need.
fn ready() -> Result<(), String> {
    let version = Command::new("node").arg("--version").output();
    let version = version.map_err(|error| format!("no Node.js: {error}"))?;
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    let major = version.trim_start_matches('v').split('.').next();
    if major.and_then(|major| major.parse().ok()) < Some(OLDEST_NODE) {
        let older = "Debian 12's own is older";
        return Err(format!(
            "Node.js {OLDEST_NODE} is needed, this is {version:?}; {older}"
        ));
    }
    for module in ["axe-core", "playwright-core"] {
        let folder = Path::new(SCRIPTS).join("node_modules").join(module);
        if !folder.exists() {
            return Err(format!("{module} is not installed"));
        }
    }
    let chromium = std::env::var(CHROMIUM).unwrap_or_else(|_| "/usr/bin/chromium".to_owned());
    match Path::new(&chromium).exists() {
        true => Ok(()),
        false => Err(format!("no {chromium}")),
    }
}

/// Says so loudly, past the harness that keeps quiet about what passes. Where everything must be
/// there, that is a failure.
fn missing(why: &str) {
    let text = format!(
        "\nSKIPPED: no browser ({why}). Tests that need it did not run; have Node.js {OLDEST_NODE} or \
        later, `npm ci --prefix examples/demo/browser`, and install Debian's chromium, or name another in \
        {CHROMIUM}.\n"
    );
    assert!(std::env::var_os("CI").is_none(), "{text}");
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        let _ = std::io::stderr().write_all(text.as_bytes());
    });
}
