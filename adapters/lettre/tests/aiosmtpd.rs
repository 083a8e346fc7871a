//! [aiosmtpd](https://aiosmtpd.aio-libs.org) takes the mails: a server that knows nothing of ours.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use std::fs;
use std::path::Path;
use std::process::Stdio;

use common::python::{parse, python};
use common::server::NAME;
use common::{Means, cause, means, message, message_to};
use password_reset::mail::Mailer;
use password_reset_lettre::{Failure, SmtpBuilder, SmtpMailer, Step};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

const SERVER: &str = r"
import asyncio, logging, ssl, sys
from aiosmtpd.smtp import SMTP, AuthResult

class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith('nobody@'):
            return '550 5.1.1 no such mailbox'
        envelope.rcpt_tos.append(address)
        return '250 2.1.5 OK'

    async def handle_DATA(self, server, session, envelope):
        encrypted = session.ssl is not None
        mail = envelope.original_content.hex()
        print(encrypted, session.authenticated, id(session), envelope.smtp_utf8,
              envelope.mail_from, *envelope.rcpt_tos, mail, flush=True)
        return '250 2.0.0 queued'

def authenticate(server, session, envelope, mechanism, data):
    is_known = data.login == b'us@er' and data.password == b's3cr%t'
    return AuthResult(success=is_known, handled=False)

async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1], sys.argv[2])
    def smtp():
        return SMTP(Handler(), hostname='mail.example.com', tls_context=context,
                    require_starttls=True, authenticator=authenticate, auth_required=True,
                    enable_SMTPUTF8=True)
    server = await asyncio.get_running_loop().create_server(smtp, '127.0.0.1', 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

logging.disable(logging.WARNING)
asyncio.run(main())
";

struct Server {
    _child: Child,
    said: Lines<BufReader<ChildStdout>>,
    port: u16,
    certificate: String,
}

impl Server {
    /// `None`, loudly, where there is no aiosmtpd.
    async fn start() -> Option<Self> {
        let python = python("aiosmtpd.smtp")?;
        let made = rcgen::generate_simple_self_signed(vec![NAME.to_owned()]).unwrap();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (cert, key) = (folder.join("aiosmtpd.crt"), folder.join("aiosmtpd.key"));
        fs::write(&cert, made.cert.pem()).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let mut child = Command::new(python)
            .args(["-W", "ignore", "-c", SERVER])
            .args([&cert, &key])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = said.next_line().await.unwrap().unwrap();
        Some(Self {
            _child: child,
            said,
            port: port.parse().unwrap(),
            certificate: made.cert.pem(),
        })
    }

    fn mailer(&self, credentials: &str) -> SmtpBuilder {
        SmtpMailer::builder(&format!("smtp://{credentials}@{NAME}"))
            .unwrap()
            .address(([127, 0, 0, 1], self.port).into())
            .root_certificate(self.certificate.as_bytes())
    }

    /// Encrypted, logged in, connection, SMTPUTF8, sender, recipients, and the mail.
    async fn mail(&mut self) -> (Vec<String>, Vec<u8>) {
        let line = self.said.next_line().await.unwrap().unwrap();
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let hex = words.pop().unwrap();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16);
        let mail = hex.as_bytes().chunks(2).map(|pair| byte(pair).unwrap());
        (words, mail.collect())
    }
}

// One test: one server.
#[tokio::test]
async fn a_stranger_takes_the_mail() {
    let Some(mut server) = Server::start().await else {
        return;
    };
    let mailer = server.mailer("us%40er:s3cr%25t").build().unwrap();
    mailer.send(&message()).await.unwrap();
    let (first, mail) = server.mail().await;
    let [encrypted, logged_in, connection, utf8, from, to] = first.as_slice() else {
        panic!("{first:?}");
    };
    assert_eq!([encrypted, logged_in], ["True", "True"]);
    assert_eq!(
        [utf8, from, to],
        ["False", "no-reply@app.example.org", "ada@example.com"]
    );
    let parsed = parse(&mail).unwrap();
    assert_eq!(parsed.header("Message-ID"), message().id());
    assert!(parsed.defects.is_empty(), "{:?}", parsed.defects);

    // A refusal, and the next mail on the same connection.
    let error = mailer
        .send(&message_to("nobody@example.com"))
        .await
        .unwrap_err();
    assert_eq!(means(&error), Means::Permanent);
    let is_it = matches!(
        cause(&error),
        Failure::Refused {
            step: Step::Recipient,
            code: 550,
            ..
        }
    );
    assert!(is_it, "{error:?}");
    mailer.send(&message_to("jörg@example.com")).await.unwrap();
    let (second, _) = server.mail().await;
    assert_eq!(second.get(2), Some(connection));
    assert_eq!(second.get(3).map(String::as_str), Some("True"));
    assert_eq!(second.get(5).map(String::as_str), Some("jörg@example.com"));

    let stranger = server.mailer("us%40er:wrong").build().unwrap();
    let error = stranger.send(&message()).await.unwrap_err();
    assert_eq!(means(&error), Means::Transient);
    let is_it = matches!(
        cause(&error),
        Failure::Refused {
            step: Step::Login,
            code: 535,
            ..
        }
    );
    assert!(is_it, "{error:?}");
}
