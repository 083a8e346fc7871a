//! Starting, stopping, and what stays.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

mod common;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Demo, NEW_PASSWORD, servers};

#[test]
fn sigterm_ends_it_well_and_soon() {
    let mut demo = Demo::start(&[]);
    demo.ask("ada@example.com");
    // Somebody who is connected and says nothing does not hold it up.
    let silent = TcpStream::connect(demo.address).unwrap();
    let asked = Instant::now();
    assert_eq!(demo.terminate().code(), Some(0));
    assert!(
        asked.elapsed() < Duration::from_secs(8),
        "{:?}",
        asked.elapsed()
    );
    drop(silent);
}

#[test]
fn a_link_works_after_a_restart_on_the_same_database() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("kept.db").display());
    let flags = ["--spread", "0", "--database", &url];
    let mut demo = Demo::start_with(&flags);
    let link = demo.ask("ada@example.com");
    assert_eq!(demo.terminate().code(), Some(0));

    let demo = Demo::start_with(&flags);
    assert!(demo.told("initial password").is_none(), "{:?}", demo.said);
    let mut browser = demo.browser();
    browser.get(&link).leads_to("/reset-password");
    browser
        .choose(NEW_PASSWORD)
        .leads_to("/reset-password/done");
    demo.browser()
        .log_in("ada@example.com", NEW_PASSWORD)
        .leads_to("/");
}

#[test]
fn a_worker_mails_what_another_process_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("shared.db").display());
    let mails = folder.path().join("mails").display().to_string();
    let keys = folder.path().join("keys").display().to_string();
    let shared = [
        "--spread",
        "0",
        "--database",
        &url,
        "--mail-dir",
        &mails,
        "--key-file",
        &keys,
    ];
    let web = Demo::start_with(&[&shared[..], &["--role", "web"]].concat());
    let reply = web
        .browser()
        .post("/forgot-password", &[("identifier", "ada@example.com")]);
    reply.leads_to("/forgot-password/sent");

    let base = format!("http://{}/reset-password", web.address);
    let mut worker = Command::new(env!("CARGO_BIN_EXE_password-reset-demo"))
        .args(shared)
        .args(["--role", "worker", "--link-base", &base])
        .spawn()
        .unwrap();
    let link = web.link(&web.mails(1)[0]);
    let mut browser = web.browser();
    browser.get(&link).leads_to("/reset-password");
    browser
        .choose(NEW_PASSWORD)
        .leads_to("/reset-password/done");
    let mails = web.mails(2);
    assert_eq!(mails[1]["kind"], "password_changed");
    assert_eq!(
        std::fs::read_dir(folder.path().join("mails"))
            .unwrap()
            .count(),
        2
    );

    // The mailbox is the folder's, whoever looks into it.
    drop(web);
    let other = Demo::start_with(&[&shared[..], &["--role", "web"]].concat());
    assert_eq!(other.mails(2)[0]["id"], mails[0]["id"]);
    worker.kill().unwrap();
    worker.wait().unwrap();
}

#[test]
fn several_can_start_at_once_on_an_empty_postgresql() {
    if let Some(database) = servers::postgres() {
        several_start_at_once(&database.url);
    }
}

#[test]
fn several_can_start_at_once_on_an_empty_mariadb() {
    if let Some(database) = servers::mysql() {
        several_start_at_once(&database.url.replace("mysql:", "mariadb:"));
    }
}

fn several_start_at_once(url: &str) {
    let folder = tempfile::tempdir().unwrap();
    let key_file = folder.path().join("demo.key").display().to_string();
    let flags = ["--database", url, "--key-file", &key_file, "--spread", "0"];
    let demos: Vec<Demo> = std::thread::scope(|scope| {
        let start = || Demo::start_with(&[&flags[..], &["--accounts", "2000"]].concat());
        let starting: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
        let started = starting.into_iter().map(|demo| demo.join().unwrap());
        started.collect()
    });
    // One of them made the account; each of the others knows it, and can read the key.
    let told = |before| demos.iter().filter_map(move |demo| demo.told(before));
    let passwords: Vec<_> = told("initial password of ada@example.com: ").collect();
    assert_eq!(passwords.len(), 1);
    let made = told("accounts user-N@example.com: ").map(|made| made.split(' ').next());
    let made = made.map(|made| made.unwrap().parse::<u32>().unwrap());
    assert_eq!(made.sum::<u32>(), 2_000);
    for demo in &demos {
        let mut browser = demo.browser();
        browser
            .log_in("ada@example.com", passwords[0])
            .leads_to("/");
    }
}

#[test]
fn links_need_somewhere_to_lead_to() {
    let output = Command::new(env!("CARGO_BIN_EXE_password-reset-demo"))
        .args([
            "--database",
            "sqlite::memory:",
            "--addr",
            "127.0.0.1:0",
            "--role",
            "worker",
        ])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.contains("--link-base"), "{complaint}");
}

#[test]
fn many_accounts_are_seeded_quickly() {
    let started = Instant::now();
    let demo = Demo::start(&["--accounts", "100000"]);
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "{:?}",
        started.elapsed()
    );
    let password = demo.told("initial password of each new one: ").unwrap();
    demo.browser()
        .log_in("user-0@example.com", password)
        .leads_to("/");
    demo.browser()
        .log_in("user-99999@example.com", password)
        .leads_to("/");
    assert_eq!(
        demo.browser()
            .log_in("user-100000@example.com", password)
            .status,
        401
    );
}

#[test]
fn the_first_start_on_a_new_database_warns_of_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("new.db").display());
    let warnings = folder.path().join("stderr");
    let mut process = Command::new(env!("CARGO_BIN_EXE_password-reset-demo"))
        .args(["--addr", "127.0.0.1:0", "--database", &url])
        .stdout(Stdio::piped())
        .stderr(File::create(&warnings).unwrap())
        .spawn()
        .unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let serves = lines
        .map_while(Result::ok)
        .any(|line| line.starts_with("listening on"));
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(serves);
    assert_eq!(std::fs::read_to_string(warnings).unwrap(), "");
}

#[test]
fn other_databases_are_refused_by_name() {
    let url = "oracle://ada:a-password@localhost/demo";
    let complaint = refused(&["--database", url]);
    assert!(complaint.contains("begins with sqlite:"), "{complaint}");
    assert!(!complaint.contains("a-password"), "{complaint}");
}

#[test]
fn a_database_server_needs_a_key_file() {
    for url in ["postgres://localhost/demo", "mysql://localhost/demo"] {
        let complaint = refused(&["--addr", "127.0.0.1:0", "--database", url]);
        assert!(complaint.contains("needs --key-file PATH"), "{complaint}");
    }
}

/// What it says when it does not start.
fn refused(flags: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_password-reset-demo"))
        .args(flags)
        .output()
        .unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}
