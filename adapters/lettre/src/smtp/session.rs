//! The conversation with a server: [`Session`].

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use base64ct::{Base64, Encoding};
use secrecy::ExposeSecret;
use tokio::net::lookup_host;
use zeroize::Zeroizing;

use super::Server;
use super::reply::{MAX_LINE_BYTES, Offers, Reply};
use super::stream::Stream;
use crate::compose::Mail;
use crate::error::{Failure, Step};
use crate::url::Credentials;

/// Whether a connection must be encrypted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Security {
    /// From the first byte.
    Implicit,
    /// By `STARTTLS`, or there is no mail.
    StartTls,
    /// By `STARTTLS` if it is offered.
    Opportunistic,
    /// Not at all: the server is this machine.
    Loopback,
}

/// How far a mail got: read by whoever stops waiting for it.
pub(crate) struct Progress(AtomicU8);

impl Default for Progress {
    fn default() -> Self {
        Self(AtomicU8::new(Step::Connect as u8))
    }
}

impl Progress {
    fn set(&self, step: Step) {
        self.0.store(step as u8, Ordering::Relaxed);
    }

    pub(crate) fn step(&self) -> Step {
        let reached = self.0.load(Ordering::Relaxed);
        let is_it = |step: &&Step| **step as u8 == reached;
        Step::ALL
            .iter()
            .find(is_it)
            .copied()
            .unwrap_or(Step::Content)
    }
}

/// A connection on which the next thing to say is a command.
pub(crate) struct Session {
    stream: Stream,
    /// What came and was not read. Nothing may be here when a command goes out.
    buffer: Vec<u8>,
    offers: Offers,
}

impl Session {
    /// Connects, encrypts, and logs in.
    pub(crate) async fn open(server: &Server, progress: &Progress) -> Result<Self, Failure> {
        progress.set(Step::Connect);
        let stream = connect(server).await.map_err(Failure::Connect)?;
        let mut session = Self {
            stream,
            buffer: Vec::new(),
            offers: Offers::default(),
        };
        if server.security == Security::Implicit {
            session = session.encrypt(server, progress).await?;
        }
        progress.set(Step::Greeting);
        let greeting = session.answer(Step::Greeting).await?;
        expect(&greeting, Step::Greeting, 220)?;
        session.hello(server, progress).await?;

        let upgrade = match server.security {
            Security::StartTls => true,
            Security::Opportunistic => session.offers.start_tls,
            Security::Implicit | Security::Loopback => false,
        };
        if upgrade {
            if !session.offers.start_tls {
                return Err(Failure::NoStartTls);
            }
            let go = session
                .command(Step::StartTls, "STARTTLS", progress)
                .await?;
            expect(&go, Step::StartTls, 220)?;
            // Whatever came along with this answer was said before the server proved who it is.
            session.nothing_unread(Step::StartTls)?;
            session = session.encrypt(server, progress).await?;
            session.hello(server, progress).await?;
        }
        if let Some(credentials) = &server.credentials {
            let is_safe = session.stream.is_encrypted() || server.security == Security::Loopback;
            if !is_safe {
                return Err(Failure::PasswordInClear);
            }
            session.log_in(credentials, progress).await?;
        }
        Ok(session)
    }

    async fn encrypt(mut self, server: &Server, progress: &Progress) -> Result<Self, Failure> {
        progress.set(Step::Tls);
        let name = server.name.clone();
        let encrypted = self.stream.encrypt(&server.tls, name).await;
        self.stream = encrypted.map_err(Failure::Tls)?;
        Ok(self)
    }

    async fn hello(&mut self, server: &Server, progress: &Progress) -> Result<(), Failure> {
        let name = match (&server.helo, self.stream.local_addr().map(|addr| addr.ip())) {
            (Some(name), _) => name.clone(),
            // RFC 5321, 4.1.3: who has no name gives an address.
            (None, Ok(IpAddr::V4(ip))) => format!("[{ip}]"),
            (None, Ok(IpAddr::V6(ip))) => format!("[IPv6:{ip}]"),
            (None, Err(_)) => "localhost".to_owned(),
        };
        let hello = format!("EHLO {name}");
        let reply = self.command(Step::Hello, &hello, progress).await?;
        expect(&reply, Step::Hello, 250)?;
        self.offers = Offers::read(&reply);
        Ok(())
    }

    async fn log_in(&mut self, with: &Credentials, progress: &Progress) -> Result<(), Failure> {
        let encode = |text: &str| Zeroizing::new(Base64::encode_string(text.as_bytes()));
        let (user, password) = (with.user.expose_secret(), with.password.expose_secret());
        let reply = if self.offers.plain {
            let answer = Zeroizing::new(format!("\0{user}\0{password}"));
            let line = Zeroizing::new(format!("AUTH PLAIN {}", *encode(&answer)));
            self.command(Step::Login, &line, progress).await?
        } else if self.offers.login {
            let reply = self.command(Step::Login, "AUTH LOGIN", progress).await?;
            expect(&reply, Step::Login, 334)?;
            // The user first: servers word the question in many ways, and ask in this order.
            let reply = self.command(Step::Login, &encode(user), progress).await?;
            expect(&reply, Step::Login, 334)?;
            self.command(Step::Login, &encode(password), progress)
                .await?
        } else {
            return Err(Failure::NoAuth);
        };
        expect(&reply, Step::Login, 235)
    }

    /// Whether the connection can be used again; forgets a mail that was begun on it.
    pub(crate) async fn is_ready(&mut self, patience: Duration, progress: &Progress) -> bool {
        let reset = self.command(Step::Reset, "RSET", progress);
        match tokio::time::timeout(patience, reset).await {
            Ok(Ok(reply)) => reply.code == 250 && self.buffer.is_empty(),
            _ => false,
        }
    }

    /// Hands over one mail.
    pub(crate) async fn deliver(
        &mut self,
        mail: &Mail,
        progress: &Progress,
    ) -> Result<(), Failure> {
        let options = match (mail.needs_utf8, self.offers) {
            (false, _) => "",
            (
                true,
                Offers {
                    smtp_utf8: true,
                    eight_bit: true,
                    ..
                },
            ) => " BODY=8BITMIME SMTPUTF8",
            // RFC 6531, 3.1: who offers the one offers the other.
            (true, _) => return Err(Failure::NoSmtpUtf8),
        };
        let from = format!("MAIL FROM:<{}>{options}", mail.from);
        let reply = self.command(Step::Sender, &from, progress).await?;
        expect(&reply, Step::Sender, 250)?;
        let to = format!("RCPT TO:<{}>", mail.to);
        let reply = self.command(Step::Recipient, &to, progress).await?;
        expect(&reply, Step::Recipient, 250)?;
        let reply = self.command(Step::Data, "DATA", progress).await?;
        expect(&reply, Step::Data, 354)?;
        self.nothing_unread(Step::Data)?;

        // From here on the server may have it. The mail and its end go out as one: a broken
        // connection does not tell how much of it arrived.
        progress.set(Step::Content);
        let lost = |source| Failure::Lost {
            step: Step::Content,
            source,
        };
        self.stream
            .write(&stuffed(&mail.bytes))
            .await
            .map_err(lost)?;
        let reply = self.answer(Step::Content).await?;
        expect(&reply, Step::Content, 250)
    }

    async fn command(
        &mut self,
        step: Step,
        line: &str,
        progress: &Progress,
    ) -> Result<Reply, Failure> {
        progress.set(step);
        // Who answers before the question is not, or not only, the server.
        self.nothing_unread(step)?;
        let line = Zeroizing::new(format!("{line}\r\n"));
        let lost = |source| Failure::Lost { step, source };
        self.stream.write(line.as_bytes()).await.map_err(lost)?;
        self.answer(step).await
    }

    fn nothing_unread(&self, step: Step) -> Result<(), Failure> {
        if self.buffer.is_empty() {
            Ok(())
        } else {
            Err(Failure::Protocol { step })
        }
    }

    /// Reads one answer.
    async fn answer(&mut self, step: Step) -> Result<Reply, Failure> {
        let mut reply = Reply::default();
        loop {
            let line = self.line(step).await?;
            if reply.push(&line).map_err(|_| Failure::Protocol { step })? {
                return Ok(reply);
            }
        }
    }

    async fn line(&mut self, step: Step) -> Result<Vec<u8>, Failure> {
        let mut searched = 0;
        loop {
            let end = self.buffer.iter().skip(searched).position(|b| *b == b'\n');
            if let Some(end) = end {
                let rest = self.buffer.split_off(searched + end + 1);
                return Ok(std::mem::replace(&mut self.buffer, rest));
            }
            searched = self.buffer.len();
            if searched > MAX_LINE_BYTES {
                return Err(Failure::Protocol { step });
            }
            let lost = |source| Failure::Lost { step, source };
            self.stream.read(&mut self.buffer).await.map_err(lost)?;
        }
    }
}

/// The answer was the one that the conversation goes on with.
fn expect(reply: &Reply, step: Step, wanted: u16) -> Result<(), Failure> {
    match reply.code {
        code if code == wanted => Ok(()),
        code @ 400.. => Err(Failure::Refused {
            step,
            code,
            enhanced: reply.enhanced(),
        }),
        // Any other 2xx is as good as the usual one, but not where 354 or 334 is due: the server
        // would read the mail, or the password, as commands.
        200..=299 if (200..=299).contains(&wanted) => Ok(()),
        _ => Err(Failure::Protocol { step }),
    }
}

async fn connect(server: &Server) -> io::Result<Stream> {
    let mut addresses: Vec<_> = match server.address {
        Some(address) => vec![address],
        None => lookup_host((server.host.as_str(), server.port))
            .await?
            .collect(),
    };
    if server.security == Security::Loopback {
        // A name may lead elsewhere than it says.
        addresses.retain(|address| address.ip().is_loopback());
    }
    Stream::connect(&addresses, server.timeout / 3).await
}

/// The mail as it follows `DATA`: no line is a lone dot but the last.
fn stuffed(mail: &[u8]) -> Zeroizing<Vec<u8>> {
    let dots = mail
        .split(|b| *b == b'\n')
        .filter(|l| l.starts_with(b"."))
        .count();
    let mut out = Zeroizing::new(Vec::with_capacity(mail.len() + dots + 5));
    for line in mail.split_inclusive(|b| *b == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w9_no_line_of_a_mail_ends_it() {
        for (mail, sent) in [
            (&b""[..], &b"\r\n.\r\n"[..]),
            (b"a", b"a\r\n.\r\n"),
            (b"a\r\n", b"a\r\n.\r\n"),
            (b".", b"..\r\n.\r\n"),
            (b"a\r\n.\r\nb\r\n", b"a\r\n..\r\nb\r\n.\r\n"),
            (b"..\r\n.a\r\n", b"...\r\n..a\r\n.\r\n"),
        ] {
            assert_eq!(stuffed(mail).as_slice(), sent);
        }
    }

    #[test]
    fn every_step_is_remembered() {
        let progress = Progress::default();
        for step in Step::ALL {
            progress.set(step);
            assert_eq!(progress.step(), step);
        }
    }
}
