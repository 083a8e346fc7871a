//! A running demo.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic, and no test uses all of this"
)]

#[path = "../../../../tests/support/databases.rs"]
pub(crate) mod servers;

#[path = "../../../../tests/support/http.rs"]
mod http;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

#[allow(unused_imports, reason = "no test uses all of this")]
pub(crate) use http::{Browser, FORM, NEW_PASSWORD, Reply, encode};
use servers::TestDatabase;

/// The demo's own process, on a free port and a database of its own.
pub(crate) struct Demo {
    pub(crate) address: SocketAddr,
    /// Everything that it said until it served.
    pub(crate) said: Vec<String>,
    process: Child,
    folder: Option<tempfile::TempDir>,
    // After the process in this list, so dropped when nobody is connected any more.
    database: Option<TestDatabase>,
}

impl Demo {
    pub(crate) fn start(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("test.db").display());
        let mut all = vec!["--spread", "0", "--database", &url];
        all.extend(flags);
        let mut demo = Self::start_with(&all);
        demo.folder = Some(folder);
        demo
    }

    /// On this database, with its key in a file of its own; `None` where there is no database.
    pub(crate) fn start_on(database: Option<TestDatabase>, flags: &[&str]) -> Option<Self> {
        let database = database?;
        let folder = tempfile::tempdir().unwrap();
        let key_file = folder.path().join("demo.key");
        let mut all = vec!["--spread", "0", "--database", &database.url];
        all.extend(["--key-file", key_file.to_str().unwrap()]);
        all.extend(flags);
        let mut demo = Self::start_with(&all);
        demo.folder = Some(folder);
        demo.database = Some(database);
        Some(demo)
    }

    /// With these flags and no others, but a free port.
    pub(crate) fn start_with(flags: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_password-reset-demo"));
        if !flags.contains(&"--addr") {
            command.args(["--addr", "127.0.0.1:0"]);
        }
        let process = command.args(flags).stdout(Stdio::piped()).spawn().unwrap();
        let mut demo = Self {
            address: ([127, 0, 0, 1], 0).into(),
            said: Vec::new(),
            process,
            folder: None,
            database: None,
        };
        let stdout = demo.process.stdout.take().unwrap();
        for line in BufReader::new(stdout).lines() {
            let line = line.unwrap();
            if let Some(address) = line.strip_prefix("listening on http://") {
                demo.address = address.parse().unwrap();
                return demo;
            }
            demo.said.push(line);
        }
        panic!("the demo ended before it served: {:?}", demo.said);
    }

    /// What was printed behind these words.
    pub(crate) fn told(&self, before: &str) -> Option<&str> {
        self.said.iter().find_map(|line| line.strip_prefix(before))
    }

    pub(crate) fn initial_password(&self) -> &str {
        self.told("initial password of ada@example.com: ").unwrap()
    }

    pub(crate) fn browser(&self) -> Browser {
        Browser::new(self.address)
    }

    /// All mails, once there are so many.
    pub(crate) fn mails(&self, count: usize) -> Vec<serde_json::Value> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let reply = self.browser().get("/dev/mailbox.json");
            let mails: Vec<serde_json::Value> = serde_json::from_str(&reply.body).unwrap();
            if mails.len() >= count {
                return mails;
            }
            assert!(
                Instant::now() < deadline,
                "{} mails of {count}",
                mails.len()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The path and query of the link in one mail.
    pub(crate) fn link(&self, mail: &serde_json::Value) -> String {
        let link = mail["links"][0].as_str().unwrap();
        let start = format!("http://{}", self.address);
        link.strip_prefix(&start).unwrap().to_owned()
    }

    /// Asks for a link and answers its path and query.
    pub(crate) fn ask(&self, identifier: &str) -> String {
        let before = self.mails(0).len();
        let reply = self
            .browser()
            .post("/forgot-password", &[("identifier", identifier)]);
        reply.leads_to("/forgot-password/sent");
        self.link(&self.mails(before + 1)[before])
    }

    pub(crate) fn terminate(&mut self) -> ExitStatus {
        let id = self.process.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &id])
                .status()
                .unwrap()
                .success()
        );
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "still running");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
