//! The mail as Python's `email` package reads it: an implementation that knows nothing of ours.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

/// Names another interpreter.
const VARIABLE: &str = "PASSWORD_RESET_TEST_PYTHON";

const READER: &str = r#"
import sys, email, email.header, email.policy, email.utils
raw = sys.stdin.buffer.read()
mail = email.message_from_bytes(raw, policy=email.policy.default)
def out(*words):
    print(*['x' + str(word).encode('utf-8').hex() for word in words])
for name, value in mail.items():
    out('header', name, value)
# The new policy keeps the space between two encoded words, which RFC 2047 (6.2) drops.
old = email.message_from_bytes(raw)
for name in ('From', 'Reply-To', 'To'):
    for shown, address in email.utils.getaddresses(old.get_all(name, [])):
        shown = email.header.make_header(email.header.decode_header(shown))
        out('address', name, shown, address)
        assert [a.addr_spec for a in mail[name].addresses] == [address]
out('type', mail.get_content_type(), mail.get_boundary())
for part in mail.iter_parts():
    charset = part.get_content_charset()
    text = part.get_payload(decode=True).decode(charset)
    out('part', part.get_content_type(), charset, part['Content-Transfer-Encoding'], text)
for part in mail.walk():
    for defect in part.defects:
        out('defect', type(defect).__name__)
    for value in part.values():
        for defect in value.defects:
            out('defect', type(defect).__name__)
"#;

#[derive(Debug, Default)]
pub(crate) struct Parsed {
    /// Names and decoded values, in order.
    pub(crate) headers: Vec<(String, String)>,
    /// Header name, display name, address.
    pub(crate) addresses: Vec<(String, String, String)>,
    pub(crate) boundary: String,
    /// Type, character set, transfer encoding, text.
    pub(crate) parts: Vec<[String; 4]>,
    pub(crate) defects: Vec<String>,
}

impl Parsed {
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut found = self.headers.iter().filter(|(header, _)| header == name);
        let (_, value) = found.next().unwrap();
        assert!(found.next().is_none(), "{name} twice");
        value
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.headers.iter().map(|(name, _)| name.as_str()).collect()
    }
}

/// `None`, loudly, where there is no Python.
pub(crate) fn parse(mail: &[u8]) -> Option<Parsed> {
    let program = std::env::var_os(VARIABLE).unwrap_or_else(|| "python3".into());
    let Some(output) = run(&program, &["-c", READER], mail) else {
        missing(&format!(
            "no python3; mails were not read by another implementation. Name it in {VARIABLE}"
        ));
        return None;
    };
    let mut parsed = Parsed::default();
    for line in output.lines() {
        let mut words = line.split(' ').map(unhex);
        let mut next = || words.next().unwrap();
        match next().as_str() {
            "header" => parsed.headers.push((next(), next())),
            "address" => parsed.addresses.push((next(), next(), next())),
            "type" => {
                assert_eq!(next(), "multipart/alternative");
                parsed.boundary = next();
            }
            "part" => parsed.parts.push([next(), next(), next(), next()]),
            "defect" => parsed.defects.push(next()),
            other => panic!("{other}"),
        }
    }
    Some(parsed)
}

/// What a program says to its input; `None` when there is no such program. One that fails fails
/// the test.
pub(crate) fn run(program: &std::ffi::OsStr, args: &[&str], input: &[u8]) -> Option<String> {
    let child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.ok()?;
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    Some(String::from_utf8(output.stdout).unwrap())
}

/// Says loudly that tests did not run, once. Where everything must be there, that is a failure.
pub(crate) fn missing(what: &str) {
    let text = format!("\nSKIPPED: {what}.\n");
    assert!(std::env::var_os("CI").is_none(), "{text}");
    static SAID: AtomicBool = AtomicBool::new(false);
    if !SAID.swap(true, Ordering::Relaxed) {
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}

fn unhex(word: &str) -> String {
    let digits = word.strip_prefix('x').unwrap().as_bytes();
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).unwrap();
        u8::from_str_radix(pair, 16).unwrap()
    };
    String::from_utf8(digits.chunks(2).map(byte).collect()).unwrap()
}
