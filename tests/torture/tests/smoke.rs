//! The torture itself works: processes, mailbox, ledger, checks. Without faults, because whoever is
//! killed holds a lease for two minutes; a real run is a command of its own, see the README.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::io::Write;
use std::path::Path;
use std::process::Command;

#[test]
fn three_hundred_requests_are_mailed_once() {
    let torture = Path::new(env!("CARGO_BIN_EXE_torture"));
    let demo = torture.with_file_name("password-reset-demo");
    if !demo.is_file() {
        let text = "\nSKIPPED: no demo to torture; `cargo test --workspace` builds it.\n";
        assert!(std::env::var_os("CI").is_none(), "{text}");
        let _ = std::io::stderr().write_all(text.as_bytes());
        return;
    }
    let seed = std::process::id().to_string();
    let output = Command::new(torture)
        .args(["mails", "--requests", "300", "--seed", &seed])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    assert!(text.contains("queued and mailed 1 times"), "{text}");
    assert!(!text.contains("queued and mailed 2 times"), "{text}");
}
