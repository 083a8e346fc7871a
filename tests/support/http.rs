//! A browser as small as HTTP allows: it keeps cookies, and follows nothing by itself.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests may panic, and no test uses all of this"
)]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub(crate) const NEW_PASSWORD: &str = "a quiet harbour at dawn";
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

pub(crate) struct Browser {
    pub(crate) address: SocketAddr,
    pub(crate) cookies: BTreeMap<String, String>,
}

impl Browser {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            cookies: BTreeMap::new(),
        }
    }

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

    /// Opens the form behind the link that is in the cookie, and sends it with this password.
    pub(crate) fn choose(&mut self, password: &str) -> Reply {
        let form = self.get("/reset-password").hidden();
        self.post(
            "/reset-password",
            &[("form", &form), ("password", password)],
        )
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
        let reply = self.send_bytes(&[head.as_bytes(), body].concat());
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

    /// Sends exactly this, and reads until the server closes.
    pub(crate) fn send_bytes(&self, request: &[u8]) -> Reply {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        stream.write_all(request).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        Reply::read(&answer)
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

    /// The hidden field of the page's form; empty where there is none.
    pub(crate) fn hidden(&self) -> String {
        let field = self.body.split("name=\"form\" value=\"").nth(1);
        field
            .map_or("", |rest| rest.split('"').next().unwrap())
            .to_owned()
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
