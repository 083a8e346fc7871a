//! The mail as Python's `email` package reads it: an implementation that knows nothing of ours.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// Names an interpreter, for example one of a virtual environment that has the modules.
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

/// The interpreter that has these modules; `None`, loudly, where there is none. Where everything must
/// be there, that is a failure.
pub(crate) fn python(modules: &'static str) -> Option<OsString> {
    static FOUND: Mutex<BTreeMap<&'static str, bool>> = Mutex::new(BTreeMap::new());
    let program = std::env::var_os(VARIABLE).unwrap_or_else(|| "python3".into());
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    let is_there = *found.entry(modules).or_insert_with(|| {
        let import = format!("import {modules}");
        let output = Command::new(&program).args(["-c", &import]).output();
        let is_there = output.is_ok_and(|output| output.status.success());
        if !is_there {
            let text = format!(
                "\nSKIPPED: no Python with {modules}. Tests that need it did not run; name one in \
                 {VARIABLE}.\n"
            );
            assert!(std::env::var_os("CI").is_none(), "{text}");
            // Past the harness, which keeps quiet about what passes.
            let _ = std::io::stderr().write_all(text.as_bytes());
        }
        is_there
    });
    is_there.then_some(program)
}

/// The mail as `email` reads it; `None` where there is no Python.
pub(crate) fn parse(mail: &[u8]) -> Option<Parsed> {
    let output = run(&python("email")?, &["-c", READER], mail);
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

/// What a program says to its input. One that fails fails the test.
pub(crate) fn run(program: &OsStr, args: &[&str], input: &[u8]) -> String {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn unhex(word: &str) -> String {
    let digits = word.strip_prefix('x').unwrap().as_bytes();
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).unwrap();
        u8::from_str_radix(pair, 16).unwrap()
    };
    String::from_utf8(digits.chunks(2).map(byte).collect()).unwrap()
}
