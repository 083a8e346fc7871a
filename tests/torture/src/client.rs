//! A browser as small as HTTP allows: one connection a request, and a limit on its time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

const CONNECT: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(15);
const LONGEST_ANSWER: u64 = 1 << 20;

/// What came back.
pub(crate) enum Answer {
    Reply(Reply),
    /// No connection: nobody has seen the request.
    NotSent,
    /// It was sent, at least in part, and no answer came.
    Lost,
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

/// How a sender loses interest.
#[derive(Clone, Copy)]
pub(crate) enum HangUp {
    Never,
    /// With half of the form sent.
    InTheForm,
    /// So long after the form was sent.
    After(Duration),
}

#[derive(Clone, Copy)]
pub(crate) enum Body<'a> {
    Form(&'a [(&'a str, &'a str)]),
    /// An object of texts.
    Json(&'a [(&'a str, &'a str)]),
}

pub(crate) struct Call<'a> {
    pub(crate) path: &'a str,
    pub(crate) cookie: Option<(&'a str, &'a str)>,
    /// A `GET` without, a `POST` with.
    pub(crate) body: Option<Body<'a>>,
    pub(crate) hang_up: HangUp,
    /// The client, as a proxy before the demo names it.
    pub(crate) forwarded_for: Option<&'a str>,
}

impl<'a> Call<'a> {
    pub(crate) const fn get(path: &'a str) -> Self {
        Self {
            path,
            cookie: None,
            body: None,
            hang_up: HangUp::Never,
            forwarded_for: None,
        }
    }

    pub(crate) const fn post(path: &'a str, body: Body<'a>) -> Self {
        Self {
            body: Some(body),
            ..Self::get(path)
        }
    }

    pub(crate) async fn send(self, address: SocketAddr) -> Answer {
        let connected = timeout(CONNECT, TcpStream::connect(address)).await;
        let Ok(Ok(stream)) = connected else {
            return Answer::NotSent;
        };
        match timeout(PATIENCE, self.exchange(stream, address)).await {
            Ok(Some(reply)) => Answer::Reply(reply),
            _ => Answer::Lost,
        }
    }

    async fn exchange(self, mut stream: TcpStream, address: SocketAddr) -> Option<Reply> {
        let (method, kind, body) = match self.body {
            None => ("GET", "", String::new()),
            Some(Body::Form(fields)) => {
                let kind = "application/x-www-form-urlencoded";
                ("POST", kind, encode_form(fields))
            }
            Some(Body::Json(fields)) => {
                let object: BTreeMap<_, _> = fields.iter().copied().collect();
                (
                    "POST",
                    "application/json",
                    serde_json::to_string(&object).ok()?,
                )
            }
        };
        let mut request = format!(
            "{method} {} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n",
            self.path
        );
        if let Some((name, value)) = self.cookie {
            request += &format!("Cookie: {name}={value}\r\n");
        }
        if let Some(client) = self.forwarded_for {
            request += &format!("X-Forwarded-For: {client}\r\n");
        }
        if !kind.is_empty() {
            request += &format!("Content-Type: {kind}\r\n");
        }
        request += &format!("Content-Length: {}\r\n\r\n", body.len());
        let body = match self.hang_up {
            HangUp::InTheForm => body.get(..body.len() / 2).unwrap_or_default(),
            _ => &body,
        };
        request += body;
        stream.write_all(request.as_bytes()).await.ok()?;
        match self.hang_up {
            HangUp::Never => {}
            HangUp::InTheForm => return None,
            HangUp::After(pause) => {
                sleep(pause).await;
                return None;
            }
        }
        let mut answer = Vec::new();
        let mut limited = stream.take(LONGEST_ANSWER);
        limited.read_to_end(&mut answer).await.ok()?;
        Reply::read(&String::from_utf8_lossy(&answer))
    }
}

impl Reply {
    /// None where the answer was cut.
    fn read(answer: &str) -> Option<Self> {
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let reply = Self {
            status: head.split(' ').nth(1)?.parse().ok()?,
            head: head.to_owned(),
            body: body.to_owned(),
        };
        let length = reply.header("content-length");
        let whole = length.is_none_or(|length| length.parse() == Ok(reply.body.len()));
        whole.then_some(reply)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find_map(|(known, value)| known.eq_ignore_ascii_case(name).then_some(value))
    }

    pub(crate) fn leads_to(&self, path: &str) -> bool {
        self.status == 303 && self.header("location") == Some(path)
    }

    /// The value of the cookie that it sets.
    pub(crate) fn cookie(&self, name: &str) -> Option<&str> {
        let (known, rest) = self.header("set-cookie")?.split_once('=')?;
        let value = rest.split(';').next()?;
        (known == name).then_some(value)
    }
}

fn encode_form(fields: &[(&str, &str)]) -> String {
    let pairs = fields
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// Everything but letters and digits as `%xx`.
fn encode(text: &str) -> String {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    #[test]
    fn half_an_answer_is_none() {
        let whole = "HTTP/1.1 303 See Other\r\nlocation: /\r\nSet-Cookie: session=ab; Path=/\r\n\
                     content-length: 2\r\n\r\nok";
        let reply = Reply::read(whole).unwrap();
        assert!(reply.leads_to("/"));
        assert_eq!(reply.cookie("session"), Some("ab"));
        assert_eq!(reply.cookie("reset"), None);
        for cut in 0..whole.len() {
            assert!(Reply::read(&whole[..cut]).is_none(), "{cut}");
        }
    }

    #[test]
    fn forms_are_encoded() {
        let form = encode_form(&[("identifier", "a@example.com"), ("b", "c d")]);
        assert_eq!(form, "identifier=a%40example%2ecom&b=c%20d");
    }
}
