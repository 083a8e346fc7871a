//! A running demo, and a browser as small as HTTP allows: it follows nothing by itself.

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

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use servers::TestDatabase;

pub(crate) const NEW_PASSWORD: &str = "a quiet harbour at dawn";
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

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
        Browser {
            address: self.address,
            cookies: BTreeMap::new(),
        }
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
        assert_eq!(reply.status, 200);
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

pub(crate) struct Browser {
    address: SocketAddr,
    pub(crate) cookies: BTreeMap<String, String>,
}

impl Browser {
    pub(crate) fn get(&mut self, path: &str) -> Reply {
        self.send("GET", path, &[], b"")
    }

    pub(crate) fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Reply {
        let pairs = fields
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)));
        self.post_raw(path, pairs.collect::<Vec<_>>().join("&").as_bytes())
    }

    pub(crate) fn post_raw(&mut self, path: &str, body: &[u8]) -> Reply {
        self.send("POST", path, &[("Content-Type", FORM)], body)
    }

    pub(crate) fn log_in(&mut self, identifier: &str, password: &str) -> Reply {
        self.post(
            "/login",
            &[("identifier", identifier), ("password", password)],
        )
    }

    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        more: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !more.iter().any(|(name, _)| *name == "Host") {
            head += &format!("Host: {}\r\n", self.address);
        }
        for (name, value) in more {
            head += &format!("{name}: {value}\r\n");
        }
        for (name, value) in &self.cookies {
            head += &format!("Cookie: {name}={value}\r\n");
        }
        head += &format!("Content-Length: {}\r\n\r\n", body.len());
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let reply = Reply::read(&answer);
        for cookie in reply.all("set-cookie") {
            let (name, rest) = cookie.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            if rest.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.into(), value.into());
            }
        }
        reply
    }
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Reply {
    fn read(answer: &str) -> Self {
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        let mut lines = head.lines();
        let status = lines
            .next()
            .unwrap()
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        let split = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_ascii_lowercase(), value.to_owned())
        };
        Self {
            status,
            headers: lines.map(split).collect(),
            body: body.to_owned(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers
            .iter()
            .filter(move |(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub(crate) fn leads_to(&self, path: &str) {
        assert_eq!(
            (self.status, self.header("location")),
            (303, Some(path)),
            "{self:?}"
        );
    }
}

/// Everything but letters and digits as `%xx`.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(byte.into());
        } else {
            encoded += &format!("%{byte:02x}");
        }
    }
    encoded
}
