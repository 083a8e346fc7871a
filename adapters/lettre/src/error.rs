//! What can go wrong: [`ConfigError`] before anything is sent, [`Failure`] when a mail is.

use std::fmt;
use std::io;

use password_reset::mail::SendError;

/// Why there is no mailer to work with.
///
/// Shows neither the URL nor the password in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The URL is longer than 2048 bytes.
    #[error("the url is longer than 2048 bytes")]
    TooLong,
    /// The URL does not begin with `smtps://` or `smtp://`.
    #[error("the url begins with neither smtps:// nor smtp://")]
    Scheme,
    /// The host is neither a plain ASCII name nor an IP address; IPv6 stands in brackets.
    #[error("the url has no plain host")]
    Host,
    /// The port is not a number from 1 to 65535.
    #[error("the url has no valid port")]
    Port,
    /// User and password are not `user:password`, both percent-encoded UTF-8 without control
    /// characters.
    #[error("the url has no readable user and password")]
    Credentials,
    /// The URL holds a path, a query or a fragment. A `/`, `?` or `#` in a password has to be
    /// percent-encoded.
    #[error("the url goes on after its host and port")]
    Extra,
    /// The name for `EHLO` is not a host name.
    #[error("the name for EHLO is not a host name")]
    Helo,
    /// A header line is not plain ASCII, is too long, or is one that every mail has already.
    #[error("not a header line that can be added")]
    Header,
    /// The root certificate is not PEM, or not a certificate.
    #[error("the root certificate cannot be read")]
    Certificate,
    /// The operating system has no root certificate, so no server could be trusted.
    #[error("no root certificate was found")]
    NoRoots,
    /// TLS could not be set up.
    #[error("tls could not be set up")]
    Tls(#[source] rustls::Error),
}

/// Why a key cannot sign. Shows nothing of the key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DkimError {
    /// The selector is not one or more labels of letters, digits, `-` and `_`.
    #[error("not a selector")]
    Selector,
    /// The domain is not a plain ASCII name.
    #[error("not a domain")]
    Domain,
    /// The key is not PEM with an Ed25519 key in PKCS#8, or an RSA key of 2048 to 4096 bits in
    /// PKCS#8 or PKCS#1.
    #[error("not an ed25519 key, nor an rsa key of 2048 to 4096 bits")]
    Key,
}

/// A part of the SMTP conversation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Step {
    /// Waiting for a free connection, finding the address, and TCP.
    Connect,
    /// The TLS handshake.
    Tls,
    /// The server's first line.
    Greeting,
    /// `EHLO`.
    Hello,
    /// `STARTTLS`.
    StartTls,
    /// `AUTH`.
    Login,
    /// `RSET`, on a connection that is used again.
    Reset,
    /// `MAIL FROM`.
    Sender,
    /// `RCPT TO`.
    Recipient,
    /// `DATA`.
    Data,
    /// The mail itself, and the answer to it.
    Content,
}

impl Step {
    pub(crate) const ALL: [Self; 11] = [
        Self::Connect,
        Self::Tls,
        Self::Greeting,
        Self::Hello,
        Self::StartTls,
        Self::Login,
        Self::Reset,
        Self::Sender,
        Self::Recipient,
        Self::Data,
        Self::Content,
    ];

    /// Whether the server's answer is about this mail, and not about us. The sender is ours, the same
    /// in every mail: a server that takes no more of it for today must not bury them all.
    fn is_about_the_mail(self) -> bool {
        matches!(self, Self::Recipient | Self::Data | Self::Content)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect",
            Self::Tls => "TLS handshake",
            Self::Greeting => "greeting",
            Self::Hello => "EHLO",
            Self::StartTls => "STARTTLS",
            Self::Login => "AUTH",
            Self::Reset => "RSET",
            Self::Sender => "MAIL",
            Self::Recipient => "RCPT",
            Self::Data => "DATA",
            Self::Content => "end of data",
        })
    }
}

/// An enhanced status code (RFC 3463), such as `5.1.1`: three numbers that say more than the reply.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Enhanced(pub u16, pub u16, pub u16);

impl fmt::Display for Enhanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// Why a mail was not sent: the source of every [`SendError`] of this crate.
///
/// Prints its own layer only. Holds numbers of the server's answer, not its text: that often quotes
/// the address.
///
/// ```
/// use password_reset::mail::SendError;
/// use password_reset_lettre::{Failure, Step};
///
/// let refused = Failure::Refused { step: Step::Recipient, code: 550, enhanced: None };
/// assert_eq!(refused.to_string(), "the server answered 550 to RCPT");
/// assert!(!SendError::from(refused).is_transient());
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The message cannot be written as a mail: an address that SMTP does not know.
    #[error("the message cannot be written as a mail: {0}")]
    Unwritable(&'static str),
    /// The operating system's generator, or the signature, failed.
    #[error("the message could not be prepared")]
    Unprepared,
    /// No connection to the server.
    #[error("no connection to the server")]
    Connect(#[source] io::Error),
    /// The server's certificate was not accepted, or the handshake failed.
    #[error("no encrypted connection to the server")]
    Tls(#[source] io::Error),
    /// The server does not offer `STARTTLS`: it is not set up for it, or somebody on the way
    /// takes the offer out.
    #[error("the server offers no STARTTLS")]
    NoStartTls,
    /// The server offers neither `AUTH PLAIN` nor `AUTH LOGIN`.
    #[error("the server offers no way to log in that is known here")]
    NoAuth,
    /// The password would go over an open connection.
    #[error("the password would be sent unencrypted")]
    PasswordInClear,
    /// The server does not offer `SMTPUTF8`, and an address is not ASCII.
    #[error("the server does not take addresses that are not ascii")]
    NoSmtpUtf8,
    /// The server refused.
    #[error("the server answered {code}{} to {step}",
        enhanced.map(|e| format!(" ({e})")).unwrap_or_default())]
    Refused {
        /// What it refused.
        step: Step,
        /// The reply code, 400 to 599.
        code: u16,
        /// The enhanced status code, if the server gave one.
        enhanced: Option<Enhanced>,
    },
    /// The connection was lost.
    #[error("the connection was lost at {step}")]
    Lost {
        /// When.
        step: Step,
        /// What the operating system said.
        source: io::Error,
    },
    /// The server answered what no server may answer, or spoke without being asked.
    #[error("the server did not keep to the protocol at {step}")]
    Protocol {
        /// When.
        step: Step,
    },
    /// Time ran out.
    #[error("time ran out at {step}")]
    Timeout {
        /// When.
        step: Step,
    },
    /// The file could not be written.
    #[error("the file could not be written")]
    File(#[source] io::Error),
    /// The sendmail program could not be started, or fed.
    #[error("the sendmail program could not be run")]
    Program(#[source] io::Error),
    /// The sendmail program failed.
    #[error("the sendmail program ended with {}",
        code.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}")))]
    Exit {
        /// Its exit code; `None` when a signal ended it.
        code: Option<i32>,
    },
}

/// What a [`Failure`] means for the worker.
enum Verdict {
    Transient,
    Uncertain,
    Permanent,
}

impl Failure {
    fn verdict(&self) -> Verdict {
        use Verdict::{Permanent, Transient, Uncertain};
        match self {
            Self::Unwritable(_) | Self::NoSmtpUtf8 => Permanent,
            Self::Unprepared
            | Self::Connect(_)
            | Self::Tls(_)
            | Self::NoStartTls
            | Self::NoAuth
            | Self::PasswordInClear
            | Self::File(_)
            | Self::Program(_) => Transient,
            // Our password, our TLS: that must not bury everybody's mail as refused for good.
            Self::Refused {
                code: 530 | 534 | 535 | 538,
                ..
            } => Transient,
            // Policy (5.7.x) is about us, whoever it is said of: a relay that does not know us says
            // it to every recipient, and one where we may not send as this sender to every mail.
            Self::Refused {
                enhanced: Some(Enhanced(_, 7, _)),
                ..
            } => Transient,
            Self::Refused { step, code, .. } if *code >= 500 && step.is_about_the_mail() => {
                Permanent
            }
            Self::Refused { .. } => Transient,
            Self::Lost { step, .. } | Self::Protocol { step } | Self::Timeout { step } => {
                match step {
                    Step::Content => Uncertain,
                    _ => Transient,
                }
            }
            // Killed, or broken inside (EX_SOFTWARE): nobody knows whether it had queued the mail.
            Self::Exit {
                code: None | Some(70),
            } => Uncertain,
            // sysexits.h: this machine's trouble, and "try again". 68 is a host that is not found:
            // with msmtp the relay, which is in its configuration.
            Self::Exit {
                code: Some(68 | 71..=75 | 77 | 78),
            } => Transient,
            Self::Exit { code: Some(_) } => Permanent,
        }
    }
}

impl From<Failure> for SendError {
    fn from(failure: Failure) -> Self {
        match failure.verdict() {
            Verdict::Transient => Self::transient(failure),
            Verdict::Uncertain => Self::uncertain(failure),
            Verdict::Permanent => Self::permanent(failure),
        }
    }
}
