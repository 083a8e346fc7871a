//! SMTP: [`SmtpMailer`] and [`SmtpBuilder`].
//!
//! `session` speaks, `reply` understands, `stream` carries.

mod reply;
mod session;
mod stream;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use password_reset::mail::{Mailer, Message, SendError};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use crate::compose::{Composer, Mail};
use crate::dkim::Dkim;
use crate::error::{ConfigError, Failure, Step};
use crate::url::{Credentials, Url, is_host_name};
use session::{Progress, Security, Session};

/// How long one mail may take unless told otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);
const SHORTEST: Duration = Duration::from_millis(10);
/// Under the two minutes after which another worker may take the job.
const LONGEST: Duration = Duration::from_secs(100);
/// Connections at once unless told otherwise.
const CONNECTIONS: usize = 4;
const MOST_CONNECTIONS: usize = 100;
/// Servers hang up on who says nothing for some minutes.
const IDLE: Duration = Duration::from_secs(60);

/// Sends mail over SMTP, on a few connections that are kept for the next mail.
///
/// Cheap to clone; clones share their connections. Must be used within a Tokio runtime.
///
/// A relay that rewrites links to count clicks holds live links, and so does whoever reads its
/// reports (R87). SMTP has no word to forbid it: switch it off at the provider, or add its own
/// header line with [`SmtpBuilder::header`].
///
/// ```no_run
/// # async fn example(
/// #     message: &password_reset::mail::Message,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// use password_reset::mail::Mailer;
/// use password_reset_lettre::SmtpMailer;
///
/// let mailer = SmtpMailer::from_url("smtps://user:pass%2Fword@mail.example.com")?;
/// mailer.send(message).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SmtpMailer(Arc<Inner>);

struct Inner {
    server: Server,
    composer: Composer,
    slots: Semaphore,
    idle: Mutex<Vec<Idle>>,
}

/// What a connection needs to know.
struct Server {
    host: String,
    port: u16,
    /// What the certificate must be for.
    name: ServerName<'static>,
    address: Option<SocketAddr>,
    security: Security,
    credentials: Option<Credentials>,
    helo: Option<String>,
    tls: TlsConnector,
    timeout: Duration,
}

struct Idle {
    session: Session,
    since: Instant,
}

impl SmtpMailer {
    /// A mailer for the server at `url`, with the defaults of [`SmtpBuilder`].
    ///
    /// - `smtps://user:password@mail.example.com`: TLS from the first byte, port 465.
    /// - `smtp://user:password@mail.example.com`: `STARTTLS`, port 587. A server that does not offer
    ///   it gets neither mail nor password.
    /// - `smtp://localhost:25`, `smtp://127.0.0.1`, `smtp://[::1]`: this machine, unencrypted.
    ///
    /// User and password are percent-encoded, or left out. Opens no connection yet.
    ///
    /// # Errors
    ///
    /// See [`ConfigError`].
    pub fn from_url(url: &str) -> Result<Self, ConfigError> {
        Self::builder(url)?.build()
    }

    /// Starts a mailer for the server at `url`, see [`from_url`](Self::from_url).
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the URL cannot be read.
    pub fn builder(url: &str) -> Result<SmtpBuilder, ConfigError> {
        Ok(SmtpBuilder {
            url: Url::parse(url)?,
            address: None,
            allow_plaintext: false,
            connections: CONNECTIONS,
            timeout: TIMEOUT,
            helo: None,
            roots: Vec::new(),
            composer: Composer::default(),
        })
    }

    async fn deliver(&self, mail: &Mail, progress: &Progress) -> Result<(), Failure> {
        let inner = &self.0;
        let lost = |_| Failure::Timeout {
            step: Step::Connect,
        };
        let _slot = inner.slots.acquire().await.map_err(lost)?;
        let mut session = match self.idle(progress).await {
            Some(session) => session,
            None => Session::open(&inner.server, progress).await?,
        };
        let result = session.deliver(mail, progress).await;
        // Whoever refuses one mail takes the next, or says so when asked. After anything else nobody
        // knows where the conversation stands.
        let is_usable = matches!(
            result,
            Ok(()) | Err(Failure::NoSmtpUtf8 | Failure::Refused { .. })
        );
        if is_usable {
            let since = Instant::now();
            self.lock().push(Idle { session, since });
        }
        result
    }

    /// A connection that is left from an earlier mail and still answers.
    async fn idle(&self, progress: &Progress) -> Option<Session> {
        let Idle { mut session, since } = self.lock().pop()?;
        let patience = self.0.server.timeout / 4;
        if since.elapsed() < IDLE && session.is_ready(patience, progress).await {
            return Some(session);
        }
        // It was the one used last: the others are older.
        self.lock().clear();
        None
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Mailer for SmtpMailer {
    async fn send(&self, message: &Message) -> Result<(), SendError> {
        let mail = self.0.composer.compose(message)?;
        let progress = Progress::default();
        match timeout(self.0.server.timeout, self.deliver(&mail, &progress)).await {
            Ok(result) => Ok(result?),
            Err(_) => {
                let step = progress.step();
                Err(Failure::Timeout { step }.into())
            }
        }
    }
}

impl fmt::Debug for SmtpMailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // User and password are not shown.
        f.debug_struct("SmtpMailer")
            .field("host", &self.0.server.host)
            .field("port", &self.0.server.port)
            .field("security", &self.0.server.security)
            .finish_non_exhaustive()
    }
}

/// Collects what differs from the defaults of an [`SmtpMailer`].
///
/// ```no_run
/// # fn example(key: &str) -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use password_reset_lettre::{Dkim, SmtpMailer};
///
/// let mailer = SmtpMailer::builder("smtp://user:password@mail.example.com:587")?
///     .connections(2)
///     .timeout(Duration::from_secs(20))
///     .helo("app.example.org")
///     .header("X-Mailgun-Track", "no")?
///     .dkim(Dkim::new("2026a", "app.example.org", key)?)
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct SmtpBuilder {
    url: Url,
    address: Option<SocketAddr>,
    allow_plaintext: bool,
    connections: usize,
    timeout: Duration,
    helo: Option<String>,
    roots: Vec<Vec<u8>>,
    composer: Composer,
}

impl SmtpBuilder {
    /// Connects to this address instead of asking the DNS for the URL's host and port. The
    /// certificate must still be the host's: for a tunnel, or a relay without a name here.
    pub fn address(mut self, address: SocketAddr) -> Self {
        self.address = Some(address);
        self
    }

    /// How many connections may be open at once, 1 to 100; 4 unless told otherwise. A mail that
    /// finds none free waits, within its [`timeout`](Self::timeout).
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections.clamp(1, MOST_CONNECTIONS);
        self
    }

    /// How long one mail may take from the wait for a connection to the server's last answer,
    /// 10 ms to 100 s; 30 s unless told otherwise.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.clamp(SHORTEST, LONGEST);
        self
    }

    /// The name of this machine, for `EHLO`; its address unless told otherwise, as RFC 5321 asks of
    /// machines without a name.
    pub fn helo(mut self, name: &str) -> Self {
        self.helo = Some(name.to_owned());
        self
    }

    /// Trusts servers that this certificate vouches for, and no others: the certificates of the
    /// operating system no longer count. PEM; may be called several times. For a relay with a
    /// certificate of the company's own.
    pub fn root_certificate(mut self, pem: &[u8]) -> Self {
        self.roots.push(pem.to_owned());
        self
    }

    /// Adds a line to the header of every mail, such as the one with which a provider switches
    /// click tracking off (R87).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Header`] when it is not a name and up to 256 printable ASCII characters, or
    /// names a line that every mail has, or one that decides where a mail goes.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, ConfigError> {
        self.composer.add_header(name, value)?;
        Ok(self)
    }

    /// Signs every mail.
    pub fn dkim(mut self, dkim: Dkim) -> Self {
        self.composer.dkim = Some(dkim);
        self
    }

    /// Sends mails unencrypted to a server that does not offer `STARTTLS`.
    ///
    /// # Security
    ///
    /// Whoever can listen on the way reads live links; whoever can change what is said there takes
    /// the offer of `STARTTLS` out, and listens (R88). For a network that nobody else is on. A
    /// password is not sent even then.
    pub fn danger_allow_plaintext(mut self) -> Self {
        self.allow_plaintext = true;
        self
    }

    /// The mailer. Opens no connection yet.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::Helo`] when the name for `EHLO` is not a host name.
    /// - [`ConfigError::Certificate`] when a root certificate cannot be read.
    /// - [`ConfigError::NoRoots`] when none was given, and the operating system has none.
    pub fn build(self) -> Result<SmtpMailer, ConfigError> {
        if self.helo.as_deref().is_some_and(|name| !is_host_name(name)) {
            return Err(ConfigError::Helo);
        }
        let security = if self.url.implicit_tls {
            Security::Implicit
        } else if self.url.is_loopback() {
            Security::Loopback
        } else if self.allow_plaintext {
            Security::Opportunistic
        } else {
            Security::StartTls
        };
        let name = match self.url.host.parse::<IpAddr>() {
            Ok(ip) => ServerName::IpAddress(ip.into()),
            Err(_) => ServerName::try_from(self.url.host.clone()).map_err(|_| ConfigError::Host)?,
        };
        Ok(SmtpMailer(Arc::new(Inner {
            server: Server {
                host: self.url.host,
                port: self.url.port,
                name,
                address: self.address,
                security,
                credentials: self.url.credentials,
                helo: self.helo,
                tls: connector(security, &self.roots)?,
                timeout: self.timeout,
            },
            composer: self.composer,
            slots: Semaphore::new(self.connections),
            idle: Mutex::default(),
        })))
    }
}

impl fmt::Debug for SmtpBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // User and password are not shown.
        f.debug_struct("SmtpBuilder")
            .field("host", &self.url.host)
            .field("port", &self.url.port)
            .field("connections", &self.connections)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

fn connector(security: Security, pems: &[Vec<u8>]) -> Result<TlsConnector, ConfigError> {
    let mut roots = RootCertStore::empty();
    for pem in pems {
        let mut found = false;
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|_| ConfigError::Certificate)?;
            let added = roots.add(certificate);
            added.map_err(|_| ConfigError::Certificate)?;
            found = true;
        }
        if !found {
            return Err(ConfigError::Certificate);
        }
    }
    if pems.is_empty() && security != Security::Loopback {
        let system = rustls_native_certs::load_native_certs();
        if roots.add_parsable_certificates(system.certs).0 == 0 {
            return Err(ConfigError::NoRoots);
        }
    }
    // Named, not installed: the application's choice for the process is its own.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(ConfigError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
