//! One life of one demo process.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use password_reset::error::BoxError;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// Links lead nowhere: the torture takes the token out of them and chooses a process by itself.
const LINK_BASE: &str = "https://app.example.com/reset-password";
const NAME: &str = "password-reset-demo";
/// Hundreds come from one address here, and nobody is kept out.
pub(crate) const UNLIMITED: &[&str] = &["--limits", "off", "--proof-of-work", "off"];
/// A start waits for the database's lock, and hashes twice.
const START: Duration = Duration::from_secs(60);

/// How every process of one torture is started.
#[derive(Clone)]
pub(crate) struct Recipe {
    pub(crate) binary: PathBuf,
    pub(crate) database: String,
    pub(crate) folder: PathBuf,
    /// What is not the same in every torture.
    pub(crate) flags: &'static [&'static str],
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Role {
    All,
    Web,
    Worker,
}

impl Role {
    /// Of the so-manieth process: all three roles are there from three on.
    pub(crate) const fn of(slot: usize) -> Self {
        match slot % 3 {
            0 => Self::All,
            1 => Self::Web,
            _ => Self::Worker,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Web => "web",
            Self::Worker => "worker",
        }
    }
}

/// A process that runs. It is killed when this is dropped.
pub(crate) struct Demo {
    child: Child,
    pub(crate) process: u32,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Recipe {
    pub(crate) fn mails(&self) -> PathBuf {
        self.folder.join("mails")
    }

    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.folder.join("logs").join(format!("{name}.log"))
    }

    pub(crate) fn start(&self, role: Role, accounts: u32, log: &Path) -> Result<Demo, BoxError> {
        let mut command = Command::new(&self.binary);
        command
            .args(["--addr", "127.0.0.1:0"])
            .args(self.flags)
            .args(["--link-base", LINK_BASE, "--role", role.name()])
            .args(["--accounts", &accounts.to_string()])
            .args(["--database", &self.database])
            .arg("--mail-dir")
            .arg(self.mails())
            .arg("--key-file")
            .arg(self.folder.join("key"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // A file, not a pipe: what was logged before a SIGKILL is in it.
            .stderr(File::create(log)?)
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let process = child.id().ok_or("it ended at once")?;
        let stdout = child.stdout.take().ok_or("no output")?;
        Ok(Demo {
            child,
            process,
            lines: BufReader::new(stdout).lines(),
        })
    }

    /// Makes the tables and the accounts, and answers the accounts' password.
    pub(crate) async fn seed(&self, accounts: u32) -> Result<String, BoxError> {
        let mut demo = self.start(Role::Web, accounts, &self.log("seed"))?;
        let (_, said) = demo.ready().await?;
        demo.signal(Signal::TERM)?;
        let status = timeout(START, demo.ended()).await?;
        let password = said
            .iter()
            .find_map(|line| line.strip_prefix("initial password of each new one: "))
            .ok_or("the demo did not say the accounts' password")?;
        if !status {
            return Err("the demo that makes the accounts did not end well".into());
        }
        Ok(password.to_owned())
    }
}

impl Demo {
    /// Waits until it serves or works; answers where it listens and all that it said. To be called
    /// once.
    pub(crate) async fn ready(&mut self) -> Result<(Option<SocketAddr>, Vec<String>), BoxError> {
        timeout(START, async {
            let mut said = Vec::new();
            while let Some(line) = self.lines.next_line().await? {
                if let Some(address) = line.strip_prefix("listening on http://") {
                    return Ok((Some(address.parse()?), said));
                }
                if line.starts_with("working;") {
                    return Ok((None, said));
                }
                said.push(line);
            }
            Err("it ended before it served".into())
        })
        .await?
    }

    /// Waits for its end; whether it ended well.
    pub(crate) async fn ended(&mut self) -> bool {
        self.child.wait().await.is_ok_and(|status| status.success())
    }

    /// Nothing happens when it has ended: its number is nobody else's as long as nobody waited.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), BoxError> {
        let Some(process) = self.child.id() else {
            return Ok(());
        };
        let process = Pid::from_raw(i32::try_from(process)?).ok_or("no process")?;
        Ok(kill_process(process, signal)?)
    }
}

/// The demo's binary: as told, or beside this program.
pub(crate) fn binary(told: Option<PathBuf>) -> Result<PathBuf, BoxError> {
    let told = match told {
        Some(told) => told,
        None => std::env::current_exe()?.with_file_name(NAME),
    };
    match told.is_file() {
        true => Ok(told),
        false => Err(format!(
            "there is no demo at {}: build it with `cargo build --release -p {NAME}`, or give --demo",
            told.display()
        )
        .into()),
    }
}
