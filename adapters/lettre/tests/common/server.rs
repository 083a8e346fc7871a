//! An SMTP server that does what a script says, over real TCP and real TLS.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use password_reset_lettre::{SmtpBuilder, SmtpMailer};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What the server's certificate is for.
pub(crate) const NAME: &str = "mail.example.com";

/// Where in the conversation something happens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum At {
    Connect,
    Ehlo,
    StartTls,
    Auth,
    Mail,
    Rcpt,
    Data,
    /// After the final dot.
    End,
    /// Between two mails.
    Idle,
    Rset,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    /// Says this instead of yes, and goes on.
    Say(&'static str),
    HangUp,
    /// Says nothing more.
    Silence,
}

#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Tls {
    None,
    Implicit,
    /// Offers `STARTTLS`.
    OnDemand,
}

/// One line that a client said.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) encrypted: bool,
    pub(crate) text: String,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) certificate: String,
    shared: Arc<Shared>,
}

struct Shared {
    tls: Tls,
    acceptor: TlsAcceptor,
    offers: &'static str,
    script: Mutex<VecDeque<(At, Act)>>,
    lines: Mutex<Vec<Line>>,
    mails: Mutex<Vec<Vec<u8>>>,
    connections: AtomicUsize,
    open: AtomicUsize,
    most_open: AtomicUsize,
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

type Boxed = Box<dyn Io>;

impl Server {
    /// A server that says yes to everything and knows `AUTH PLAIN`.
    pub(crate) async fn new(tls: Tls) -> Self {
        Self::with(tls, "AUTH PLAIN LOGIN\n8BITMIME\nSMTPUTF8", &[]).await
    }

    pub(crate) async fn scripted(tls: Tls, script: &[(At, Act)]) -> Self {
        Self::with(tls, "AUTH PLAIN LOGIN\n8BITMIME\nSMTPUTF8", script).await
    }

    /// The extensions stand in lines.
    pub(crate) async fn with(tls: Tls, offers: &'static str, script: &[(At, Act)]) -> Self {
        let names = vec![NAME.to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], PrivateKeyDer::Pkcs8(key))
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            tls,
            acceptor: TlsAcceptor::from(Arc::new(config)),
            offers,
            script: Mutex::new(script.iter().copied().collect()),
            lines: Mutex::default(),
            mails: Mutex::default(),
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            most_open: AtomicUsize::new(0),
        });
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&serving);
                shared.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let open = shared.open.fetch_add(1, Ordering::SeqCst) + 1;
                    shared.most_open.fetch_max(open, Ordering::SeqCst);
                    // `None`: the client, or the script, hung up.
                    let _ = shared.serve(stream).await;
                    shared.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self {
            address,
            certificate: made.cert.pem(),
            shared,
        }
    }

    /// A mailer that reaches this server under a name that is not loopback.
    pub(crate) fn mailer(&self, url: &str) -> SmtpBuilder {
        SmtpMailer::builder(url)
            .unwrap()
            .address(self.address)
            .root_certificate(self.certificate.as_bytes())
    }

    /// A mailer that talks to this server unencrypted, as to one on the same machine.
    pub(crate) fn local(&self) -> SmtpBuilder {
        SmtpMailer::builder(&format!("smtp://{}", self.address)).unwrap()
    }

    pub(crate) fn next(&self, at: At, act: Act) {
        self.shared.script.lock().unwrap().push_back((at, act));
    }

    pub(crate) fn lines(&self) -> Vec<Line> {
        self.shared.lines.lock().unwrap().clone()
    }

    pub(crate) fn said(&self, text: &str) -> bool {
        self.lines().iter().any(|line| line.text == text)
    }

    /// The mails that arrived, without the dots that were put in for the way.
    pub(crate) fn mails(&self) -> Vec<Vec<u8>> {
        self.shared.mails.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn most_open(&self) -> usize {
        self.shared.most_open.load(Ordering::SeqCst)
    }
}

impl Shared {
    async fn serve(&self, stream: TcpStream) -> Option<()> {
        let mut encrypted = self.tls == Tls::Implicit;
        let mut stream: Boxed = if encrypted {
            Box::new(self.acceptor.accept(stream).await.ok()?)
        } else {
            Box::new(stream)
        };
        self.reply(&mut stream, At::Connect, "220 mail.example.com ESMTP")
            .await?;
        let mut stream = BufReader::new(stream);
        loop {
            let line = self.line(&mut stream, encrypted).await?;
            let verb = line
                .split([' ', ':'])
                .next()
                .unwrap_or("")
                .to_ascii_uppercase();
            match verb.as_str() {
                "EHLO" => {
                    let mut answer = format!("250-{NAME}");
                    if self.tls == Tls::OnDemand && !encrypted {
                        answer += "\r\n250-STARTTLS";
                    }
                    for offer in self.offers.split('\n').filter(|offer| !offer.is_empty()) {
                        answer += "\r\n250-";
                        answer += offer;
                    }
                    answer += "\r\n250 SIZE 1000000";
                    self.reply(&mut stream, At::Ehlo, &answer).await?;
                }
                "STARTTLS" => {
                    self.reply(&mut stream, At::StartTls, "220 go").await?;
                    assert!(stream.buffer().is_empty(), "the client did not wait");
                    let tls = self.acceptor.accept(stream.into_inner()).await.ok()?;
                    stream = BufReader::new(Box::new(tls));
                    encrypted = true;
                }
                "AUTH" => {
                    if line == "AUTH LOGIN" {
                        for question in ["334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6"] {
                            say(&mut stream, question).await?;
                            self.line(&mut stream, encrypted).await?;
                        }
                    }
                    self.reply(&mut stream, At::Auth, "235 2.7.0 welcome")
                        .await?;
                }
                "MAIL" => {
                    self.reply(&mut stream, At::Mail, "250 2.1.0 OK").await?;
                }
                "RCPT" => {
                    self.reply(&mut stream, At::Rcpt, "250 2.1.5 OK").await?;
                }
                "RSET" => {
                    self.reply(&mut stream, At::Rset, "250 2.0.0 OK").await?;
                }
                "DATA" => {
                    if self.reply(&mut stream, At::Data, "354 go on").await? {
                        self.content(&mut stream).await?;
                    }
                }
                "QUIT" => {
                    say(&mut stream, "221 2.0.0 bye").await?;
                    return None;
                }
                _ => say(&mut stream, "500 5.5.2 what?").await?,
            }
        }
    }

    async fn content(&self, stream: &mut BufReader<Boxed>) -> Option<()> {
        let mut mail = Vec::new();
        loop {
            let mut line = Vec::new();
            stream.read_until(b'\n', &mut line).await.ok()?;
            assert!(line.ends_with(b"\r\n") || line.is_empty(), "{line:?}");
            match line.as_slice() {
                b"" => return None,
                b".\r\n" => break,
                [b'.', rest @ ..] => mail.extend_from_slice(rest),
                _ => mail.extend_from_slice(&line),
            }
        }
        if self.reply(stream, At::End, "250 2.0.0 queued").await? {
            self.mails.lock().unwrap().push(mail);
        }
        match self.take(At::Idle) {
            None => Some(()),
            Some(Act::HangUp) => None,
            Some(act) => panic!("{act:?}"),
        }
    }

    async fn line(&self, stream: &mut BufReader<Boxed>, encrypted: bool) -> Option<String> {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let text = line.strip_suffix("\r\n").unwrap().to_owned();
        let kept = text.clone();
        self.lines.lock().unwrap().push(Line {
            encrypted,
            text: kept,
        });
        Some(text)
    }

    /// Says what is usual here, or what the script wants; `false` when that was a refusal.
    async fn reply<S: AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        at: At,
        usual: &str,
    ) -> Option<bool> {
        let text = match self.take(at) {
            None => usual,
            Some(Act::Say(text)) => text,
            Some(Act::HangUp) => return None,
            Some(Act::Silence) => std::future::pending().await,
        };
        say(stream, text).await?;
        Some(text.starts_with(['2', '3']))
    }

    fn take(&self, at: At) -> Option<Act> {
        let mut script = self.script.lock().unwrap();
        let index = script.iter().position(|(when, _)| *when == at)?;
        script.remove(index).map(|(_, act)| act)
    }
}

async fn say<S: AsyncWrite + Unpin>(stream: &mut S, text: &str) -> Option<()> {
    let text = format!("{text}\r\n");
    stream.write_all(text.as_bytes()).await.ok()?;
    stream.flush().await.ok()
}
