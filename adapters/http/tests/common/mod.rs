//! A provider's stand-in on a plain socket, and messages to send to it.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "each test uses a part of it, and fails by panicking"
)]

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use password_reset::account::Address;
use password_reset::mail::{Kind, Letter, LinkBase, Mailbox, Mailer, Message, Site};
use password_reset::queue::{JobId, Lease};
use password_reset::sms::{PhoneNumber, SmsSender, TextMessage};
use password_reset_http::{
    AmazonSes, AwsCredentials, Mailgun, Postmark, ReqwestPost, Resend, SendGrid, Tracking, Twilio,
    TwilioSender, Vonage,
};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub const TOKEN: &str = "prt_Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4";
pub const CODE: &str = "48151623";
pub const KEY: &str = "key-0123456789abcdef";
/// Everything that no error, log or `Debug` may show.
pub const SECRETS: [&str; 7] = [
    TOKEN,
    CODE,
    KEY,
    "ada@example.com",
    "ada",
    "4930123456",
    // `api:` and the key, as Basic authentication writes them.
    "YXBpOmtleS0wMTIz",
];

/// How the stand-in treats one request.
#[derive(Clone)]
pub enum Act {
    /// Answers with this status and body.
    Answer(u16, String),
    /// Sends these bytes as they are, then hangs up.
    Raw(Vec<u8>),
    /// Sends these bytes as they are, then nothing more.
    Stall(Vec<u8>),
}

pub fn answer(status: u16) -> Act {
    Act::Answer(status, "{}".into())
}

/// A request as it came over the wire.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Seen {
    /// Method, path and version.
    pub line: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The fields of a form, sorted.
    pub fn form(&self) -> Vec<(String, String)> {
        let mut fields: Vec<_> = form_urlencoded::parse(&self.body).into_owned().collect();
        fields.sort();
        fields
    }

    /// The headers are these, and those that every request has; and no others.
    pub fn assert_headers(&self, provider: &Provider, content_type: &str, own: &[(&str, &str)]) {
        let length = self.body.len().to_string();
        let agent = concat!("password-reset-http/", env!("CARGO_PKG_VERSION"));
        let mut expected: BTreeMap<&str, &str> = [
            ("accept", "application/json"),
            ("content-length", length.as_str()),
            ("content-type", content_type),
            ("host", provider.host()),
            ("user-agent", agent),
        ]
        .into();
        expected.extend(own.iter().copied());
        let seen: BTreeMap<&str, &str> = self.headers.iter().map(|(n, v)| (&**n, &**v)).collect();
        assert_eq!(seen, expected);
    }
}

pub struct Provider {
    pub base: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Provider {
    /// Treats the n-th request as the n-th act says, and all later ones like the last.
    pub async fn start(acts: impl IntoIterator<Item = Act>) -> Self {
        let acts: Vec<Act> = acts.into_iter().collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let requests = seen.clone();
        tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let Some(request) = read(&mut socket).await else {
                    continue;
                };
                let count = {
                    let mut requests = requests.lock().unwrap();
                    requests.push(request);
                    requests.len()
                };
                let act = acts[(count - 1).min(acts.len() - 1)].clone();
                tokio::spawn(play(act, socket));
            }
        });
        Self { base, seen }
    }

    pub fn host(&self) -> &str {
        self.base.strip_prefix("http://").unwrap()
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The one request that came.
    pub fn only(&self) -> Seen {
        let mut seen = self.seen();
        assert_eq!(seen.len(), 1);
        seen.remove(0)
    }
}

async fn play(act: Act, mut socket: TcpStream) {
    match act {
        Act::Answer(status, body) => {
            let head = format!(
                "HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                body.len(),
            );
            let _ = socket.write_all(head.as_bytes()).await;
            let _ = socket.write_all(body.as_bytes()).await;
        }
        Act::Raw(bytes) => {
            let _ = socket.write_all(&bytes).await;
        }
        Act::Stall(bytes) => {
            let _ = socket.write_all(&bytes).await;
            // Until the client hangs up.
            let _ = socket.read(&mut [0]).await;
        }
    }
}

/// One request with its whole body; `None` when the client hung up before.
async fn read(socket: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8(bytes[..head].to_vec()).unwrap();
    let mut lines = text.split("\r\n");
    let line = lines.next().unwrap().to_owned();
    let mut headers = BTreeMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        let twice = headers.insert(name.to_ascii_lowercase(), value.to_owned());
        assert_eq!(twice, None, "{name}");
    }
    // A GET has none.
    let length = headers.get("content-length").map_or("0", |length| length);
    let length: usize = length.parse().unwrap();
    let mut body = bytes.split_off(head + 4);
    while body.len() < length {
        if socket.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    assert_eq!(body.len(), length);
    Some(Seen {
        line,
        headers,
        body,
    })
}

/// A client that waits long enough for a busy machine.
pub fn client() -> ReqwestPost {
    ReqwestPost::new().unwrap()
}

/// A client that does not.
pub fn impatient() -> ReqwestPost {
    ReqwestPost::with_timeout(Duration::from_millis(1_500)).unwrap()
}

pub fn credentials() -> AwsCredentials {
    AwsCredentials::new("AKIDEXAMPLE".into(), KEY.into()).unwrap()
}

/// Every mailer, at this stand-in.
pub fn mailers(http: &ReqwestPost, base: &str) -> Vec<(&'static str, Box<dyn Mailer>)> {
    let off = Tracking::ConfirmedOff;
    let ses = AmazonSes::new(http.clone(), "eu-central-1", credentials()).unwrap();
    let sendgrid = SendGrid::new(http.clone(), KEY.into()).unwrap();
    let postmark = Postmark::new(http.clone(), KEY.into()).unwrap();
    let mailgun = Mailgun::new(http.clone(), "mg.example.org", KEY.into()).unwrap();
    let resend = Resend::new(http.clone(), KEY.into(), off).unwrap();
    vec![
        ("ses", Box::new(ses.base_url(base).unwrap())),
        ("sendgrid", Box::new(sendgrid.base_url(base).unwrap())),
        ("postmark", Box::new(postmark.base_url(base).unwrap())),
        ("mailgun", Box::new(mailgun.base_url(base).unwrap())),
        ("resend", Box::new(resend.base_url(base).unwrap())),
    ]
}

/// Every sender of text messages, at this stand-in.
pub fn senders(http: &ReqwestPost, base: &str) -> Vec<(&'static str, Box<dyn SmsSender>)> {
    let from = TwilioSender::From("+15005550006".into());
    let twilio = Twilio::new(http.clone(), "AC0123", KEY.into(), from).unwrap();
    let vonage = Vonage::new(http.clone(), "abcd1234", KEY.into(), "Example").unwrap();
    vec![
        ("twilio", Box::new(twilio.base_url(base).unwrap())),
        ("vonage", Box::new(vonage.base_url(base).unwrap())),
    ]
}

pub fn mailbox(name: &str) -> Mailbox {
    let address = Address::parse("no-reply@app.example.org").unwrap();
    Mailbox::new(address).named(name).unwrap()
}

pub fn site(sender: Mailbox) -> Site {
    let base = LinkBase::parse("https://app.example.org/reset").unwrap();
    Site::new("Example", base, "support@app.example.org", sender).unwrap()
}

pub fn text() -> String {
    format!("Open this:\r\nhttps://app.example.org/reset?token={TOKEN}\r\n\u{fc} & = + %41\r\n")
}

pub fn html() -> String {
    format!("<p>\"Open\" <a href=\"https://app.example.org/reset?token={TOKEN}\">this</a></p>")
}

pub const SUBJECT: &str = "Reset \u{fc}ber \"all\", <b> & \\ %0d%0aBcc: x";
pub const ID: &str = "<07070707070707070707070707070707.1@app.example.org>";

/// A letter from this site.
pub fn letter(kind: Kind, site: &Site) -> Message {
    let letter = Letter {
        subject: SUBJECT.into(),
        text: text().into(),
        html: html().into(),
    };
    let lease = Lease {
        job: JobId::from_bytes([7; 16]),
        attempt: 1,
    };
    let to = Address::parse("ada@example.com").unwrap();
    Message::new(kind, lease, site, to, letter).unwrap()
}

/// A link from `"Example, Inc." <no-reply@app.example.org>`.
pub fn message() -> Message {
    letter(Kind::ResetLink, &site(mailbox("Example, Inc.")))
}

/// The same, with a place for answers.
pub fn answerable() -> Message {
    let answers = Address::parse("help@app.example.org").unwrap();
    let answers = Mailbox::new(answers).named("H\u{e9}l\u{e8}ne").unwrap();
    letter(
        Kind::ResetLink,
        &site(mailbox("Example, Inc.")).reply_to(answers),
    )
}

pub fn sms_text() -> String {
    format!("Example: {CODE} is your code.\n@app.example.org #{CODE}")
}

pub fn sms() -> TextMessage {
    let to = PhoneNumber::parse("+4930123456").unwrap();
    TextMessage::new(JobId::from_bytes([7; 16]), to, sms_text().into())
}

/// Everything that an error and its sources print.
pub fn told(error: &(dyn Error + 'static)) -> String {
    let mut told = format!("{error} {error:?} {error:#?}");
    let mut next = error.source();
    while let Some(error) = next {
        told.push_str(&format!(" {error} {error:?} {error:#?}"));
        next = error.source();
    }
    told
}

pub fn assert_discreet(told: &str) {
    for secret in SECRETS {
        assert!(!told.contains(secret), "{told}");
    }
}
