//! Mails through a program of this machine: [`SendmailMailer`].

use std::fmt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use password_reset::mail::{Mailer, Message, SendError};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::compose::{Composer, Mail};
use crate::dkim::Dkim;
use crate::error::{Failure, Step};

const PROGRAM: &str = "/usr/sbin/sendmail";
const TIMEOUT: Duration = Duration::from_secs(30);
const SHORTEST: Duration = Duration::from_millis(10);
/// Under the two minutes after which another worker may take the job.
const LONGEST: Duration = Duration::from_secs(100);

/// Pipes each mail into a `sendmail` program: that of Postfix, Exim, OpenSMTPD, msmtp or others.
///
/// Runs `sendmail -i -f <sender> -- <recipient>`, without a shell. Must be used within a Tokio
/// runtime.
///
/// ```no_run
/// # async fn example(
/// #     message: &password_reset::mail::Message,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// use password_reset::mail::Mailer;
/// use password_reset_lettre::SendmailMailer;
///
/// SendmailMailer::new().send(message).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SendmailMailer {
    program: PathBuf,
    timeout: Duration,
    composer: Composer,
}

impl SendmailMailer {
    /// Uses `/usr/sbin/sendmail`, for at most 30 s a mail.
    pub fn new() -> Self {
        Self {
            program: PROGRAM.into(),
            timeout: TIMEOUT,
            composer: Composer::default(),
        }
    }

    /// Uses another program.
    #[must_use]
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = program.into();
        self
    }

    /// How long the program may take, 10 ms to 100 s; then it is killed.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.clamp(SHORTEST, LONGEST);
        self
    }

    /// Signs every mail.
    #[must_use]
    pub fn dkim(mut self, dkim: Dkim) -> Self {
        self.composer.dkim = Some(dkim);
        self
    }

    async fn run(&self, mail: &Mail) -> Result<(), Failure> {
        let mut child = Command::new(&self.program)
            .args(["-i", "-f", &mail.from, "--", &mail.to])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // What it says may quote the mail.
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(Failure::Program)?;
        // Lines end here as this machine ends them; the program makes CRLF of it.
        let mut bytes = Zeroizing::new(mail.bytes.to_vec());
        bytes.retain(|b| *b != b'\r');
        let fed = match child.stdin.take() {
            Some(mut stdin) => stdin.write_all(&bytes).await,
            None => Ok(()),
        };
        // The exit code says more than a broken pipe.
        let status = child.wait().await.map_err(Failure::Program)?;
        match status.code() {
            Some(0) => fed.map_err(Failure::Program),
            code => Err(Failure::Exit { code }),
        }
    }
}

impl Default for SendmailMailer {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Mailer for SendmailMailer {
    async fn send(&self, message: &Message) -> Result<(), SendError> {
        let mail = self.composer.compose(message)?;
        match timeout(self.timeout, self.run(&mail)).await {
            Ok(result) => Ok(result?),
            // It may have put the mail into its queue.
            Err(_) => Err(Failure::Timeout {
                step: Step::Content,
            }
            .into()),
        }
    }
}

impl fmt::Debug for SendmailMailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendmailMailer")
            .field("program", &self.program)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
