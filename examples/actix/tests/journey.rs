//! From the forgotten password to the new one, over HTTP.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

#[path = "../../../tests/support/http.rs"]
mod http;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use password_reset_web::PAGE_HEADERS;

use http::{Browser, FORM, NEW_PASSWORD};

/// Mails go out within two seconds; a machine that is busy takes longer.
const SOON: Duration = Duration::from_secs(30);

/// The example's own process, on a free port.
struct Example {
    address: SocketAddr,
    initial_password: String,
    said: Receiver<String>,
    process: Child,
}

impl Example {
    fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_password-reset-actix-example"))
            .arg("127.0.0.1:0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let (say, said) = channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = say.send(line);
            }
        });
        let mut example = Self {
            address: ([127, 0, 0, 1], 0).into(),
            initial_password: String::new(),
            said,
            process,
        };
        example.initial_password = example.told("initial password of ada@example.com: ");
        example.address = example.told("listening on http://").parse().unwrap();
        example
    }

    /// What comes behind these words, on the next line that begins with them.
    fn told(&self, before: &str) -> String {
        let deadline = Instant::now() + SOON;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.said.recv_timeout(left).expect("it says so");
            if let Some(rest) = line.strip_prefix(before) {
                return rest.to_owned();
            }
        }
    }

    fn browser(&self) -> Browser {
        Browser::new(self.address)
    }

    /// Asks for a link and answers its path and query.
    fn ask(&self) -> String {
        let fields = [("identifier", "ada@example.com")];
        let reply = self.browser().post("/forgot-password", &fields);
        reply.leads_to("/forgot-password/sent");
        assert_eq!(self.told("To: "), "ada@example.com");
        let start = format!("http://{}", self.address);
        self.told(&start)
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_forgotten_password_is_replaced_once() {
    let example = Example::start();
    let old_password = &example.initial_password;

    let mut elsewhere = example.browser();
    elsewhere
        .log_in("Ada@Example.com", old_password)
        .leads_to("/");
    let first = elsewhere.cookies["session"].clone();
    elsewhere
        .log_in("ada@example.com", old_password)
        .leads_to("/");
    assert_ne!(elsewhere.cookies["session"], first);
    assert!(elsewhere.get("/").body.contains("You are logged in"));

    // The link: into a cookie, off the address.
    let link = example.ask();
    let mut browser = example.browser();
    let opened = browser.get(&link);
    opened.leads_to("/reset-password");
    let cookie = opened.header("set-cookie").unwrap();
    for part in ["HttpOnly", "SameSite=Lax", "Path=/;"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert_eq!(browser.choose("short").status, 422);
    browser
        .choose(NEW_PASSWORD)
        .leads_to("/reset-password/done");
    assert!(browser.cookies.is_empty(), "{:?}", browser.cookies);

    // Everybody is out; the old password is nothing any more, the new one works.
    assert!(elsewhere.get("/").body.contains("You are not logged in"));
    let old = example.browser().log_in("ada@example.com", old_password);
    assert_eq!(old.status, 401);
    let mut browser = example.browser();
    let new = browser.log_in("ada@example.com", NEW_PASSWORD);
    new.leads_to("/");
    let cookie = new.header("set-cookie").unwrap();
    for part in ["HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(browser.get("/").body.contains("You are logged in"));

    // The link is spent, and the notice comes.
    let mut again = example.browser();
    again.get(&link).leads_to("/reset-password");
    assert_eq!(again.get("/reset-password").status, 404);
    assert_eq!(example.told("To: "), "ada@example.com");
}

#[test]
fn nobody_learns_who_has_an_account() {
    let example = Example::start();
    let mut replies = Vec::new();
    for identifier in ["ada@example.com", "nobody@example.com", ""] {
        let fields = [("identifier", identifier)];
        let mut reply = example.browser().post("/forgot-password", &fields);
        reply.headers.retain(|(name, _)| name != "date");
        // In no order: actix keeps them in a map.
        reply.headers.sort();
        replies.push((reply.status, reply.headers, reply.body));
    }
    assert!(
        replies.iter().all(|reply| *reply == replies[0]),
        "{replies:#?}"
    );
    let wrong = example.browser().log_in("ada@example.com", "wrong");
    let unknown = example.browser().log_in("nobody@example.com", "wrong");
    assert_eq!(wrong.status, 401);
    assert_eq!((wrong.status, wrong.body), (unknown.status, unknown.body));
}

#[test]
fn r79_every_answer_carries_the_headers_of_a_page() {
    let example = Example::start();
    let mut browser = example.browser();
    for (method, path, status) in [
        ("GET", "/", 200),
        ("GET", "/login", 200),
        ("PUT", "/login", 405),
        ("GET", "/nowhere", 404),
        ("GET", "/forgot-password", 200),
        ("HEAD", "/forgot-password", 200),
    ] {
        let reply = browser.send(method, path, &[], b"");
        assert_eq!(reply.status, status, "{method} {path}");
        for (name, value) in &PAGE_HEADERS {
            let lines: Vec<_> = reply.all(name.as_str()).collect();
            assert_eq!(lines, [value.to_str().unwrap()], "{name}: {method} {path}");
        }
        assert_eq!(reply.body.is_empty(), method == "HEAD" || status > 400);
    }
}

#[test]
fn forms_of_other_sites_and_shapes_are_refused() {
    let example = Example::start();
    let mut browser = example.browser();
    let right = format!(
        "identifier=ada@example.com&password={}",
        example.initial_password
    );
    for (name, value) in [
        ("Origin", "https://evil.example.org"),
        ("Origin", "null"),
        ("Sec-Fetch-Site", "cross-site"),
    ] {
        let headers = [("Content-Type", FORM), (name, value)];
        let reply = browser.send("POST", "/login", &headers, right.as_bytes());
        assert_eq!(reply.status, 403, "{name}: {value}");
        assert!(reply.header("content-security-policy").is_some());
    }
    let more = format!("{right}&admin=1");
    let twice = format!("{right}&password=another");
    for body in [more, twice, "identifier=a".to_owned(), String::new()] {
        let reply = browser.post_raw("/login", body.as_bytes());
        assert_eq!(reply.status, 400, "{body}");
        assert!(!reply.body.contains(&example.initial_password));
    }
    let long = format!("{right}&x={}", "a".repeat(16 * 1024));
    assert_eq!(browser.post_raw("/login", long.as_bytes()).status, 413);
    assert!(browser.cookies.is_empty());
}

#[test]
fn guessing_passwords_is_slowed() {
    let example = Example::start();
    for _ in 0..10 {
        let reply = example.browser().log_in("ada@example.com", "a guess");
        assert_eq!(reply.status, 401);
    }
    let reply = example.browser().log_in("ada@example.com", "a guess");
    assert_eq!(reply.status, 429);
}

#[test]
fn sigterm_ends_it_well_and_soon() {
    let mut example = Example::start();
    assert_eq!(example.browser().get("/").status, 200);
    // Somebody who is connected and sends half a request does not hold it up.
    let mut silent = TcpStream::connect(example.address).unwrap();
    silent.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    let id = example.process.id().to_string();
    let kill = Command::new("kill").args(["-TERM", &id]).status();
    assert!(kill.unwrap().success());
    let deadline = Instant::now() + Duration::from_secs(12);
    let status = loop {
        if let Some(status) = example.process.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < deadline, "still running");
        thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(status.code(), Some(0));
}

/// As the README says of it.
#[test]
fn what_an_application_adds_is_under_150_lines() {
    let lines = include_str!("../src/main.rs").lines().count();
    assert!(lines < 150, "{lines} lines");
}

#[test]
fn it_listens_on_loopback_only() {
    let started = Command::new(env!("CARGO_BIN_EXE_password-reset-actix-example"))
        .arg("0.0.0.0:0")
        .output()
        .unwrap();
    assert!(!started.status.success());
    let said = String::from_utf8_lossy(&started.stderr);
    assert!(said.contains("loopback"), "{said}");
    assert!(started.stdout.is_empty());
}
