//! A PostgreSQL server of the torture's own, made for it and stopped and started by it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use password_reset::error::BoxError;
use password_reset_sqlx::sqlx::{Connection, PgConnection};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// Where Debian and its kin put the programs of each version.
const DEBIAN: &str = "/usr/lib/postgresql";
/// The server refuses to run as root; this user comes with its package.
const INSTEAD_OF_ROOT: &str = "postgres";
const USER: &str = "torture";
const START: Duration = Duration::from_secs(60);

pub(crate) struct Cluster {
    programs: PathBuf,
    data: PathBuf,
    log: PathBuf,
    port: u16,
    server: Option<Child>,
}

/// What `pg_ctl stop -m` calls the same.
#[derive(Clone, Copy)]
pub(crate) enum Stop {
    /// Open transactions are rolled back.
    Fast,
    /// As a crash: the log is read again at the next start.
    Immediate,
}

impl Cluster {
    pub(crate) async fn create(folder: &Path) -> Result<Self, BoxError> {
        let programs = programs()?;
        let data = folder.join("postgres");
        fs::create_dir(&data)?;
        if geteuid().is_root() {
            let id = |what: &'static str| async move {
                let output = Command::new("id").args([what, INSTEAD_OF_ROOT]).output();
                let output = String::from_utf8(output.await?.stdout)?;
                Ok::<u32, BoxError>(output.trim().parse()?)
            };
            chown(&data, Some(id("-u").await?), Some(id("-g").await?))?;
        }
        let made = command(&programs.join("initdb"))
            .arg("--pgdata")
            .arg(&data)
            .args([
                "--username",
                USER,
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ])
            .output()
            .await?;
        if !made.status.success() {
            let why = String::from_utf8_lossy(&made.stderr).into_owned();
            return Err(format!("initdb failed: {why}").into());
        }
        let mut cluster = Self {
            programs,
            data,
            log: folder.join("logs").join("postgres.log"),
            // Free now; nobody else looks for one in the meantime but by accident.
            port: TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port(),
            server: None,
        };
        cluster.start().await?;
        Ok(cluster)
    }

    /// Starts it, and waits until it lets people in.
    pub(crate) async fn start(&mut self) -> Result<(), BoxError> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let server = command(&self.programs.join("postgres"))
            .arg("-D")
            .arg(&self.data)
            .args(["-p", &self.port.to_string()])
            .args(["-c", "listen_addresses=127.0.0.1"])
            .args(["-c", "unix_socket_directories="])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        self.server = Some(server);
        timeout(START, async {
            let url = url(self.port);
            while let Err(error) = PgConnection::connect(&url).await {
                let server = self.server.as_mut();
                if server.is_none_or(|server| !matches!(server.try_wait(), Ok(None))) {
                    return Err(BoxError::from(error));
                }
                sleep(Duration::from_millis(100)).await;
            }
            Ok(())
        })
        .await?
    }

    /// Stops it, and waits for its end.
    pub(crate) async fn stop(&mut self, how: Stop) -> Result<(), BoxError> {
        self.tell(match how {
            Stop::Fast => Signal::INT,
            Stop::Immediate => Signal::QUIT,
        });
        if let Some(mut server) = self.server.take() {
            timeout(START, server.wait()).await??;
        }
        Ok(())
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    fn tell(&self, signal: Signal) {
        let server = self.server.as_ref().and_then(Child::id);
        let server = server.and_then(|server| Pid::from_raw(i32::try_from(server).ok()?));
        if let Some(server) = server {
            // It may have ended in this moment.
            let _ = kill_process(server, signal);
        }
    }
}

impl Drop for Cluster {
    /// Not by SIGKILL alone: the server's own processes would be left behind.
    fn drop(&mut self) {
        self.tell(Signal::QUIT);
        for _ in 0..50 {
            let server = self.server.as_mut();
            if server.is_none_or(|server| !matches!(server.try_wait(), Ok(None))) {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

pub(crate) fn url(port: u16) -> String {
    format!("postgres://{USER}@127.0.0.1:{port}/postgres")
}

/// As somebody who is not root. What it execs keeps the process's number.
fn command(program: &Path) -> Command {
    let mut command = if geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command
            .args([
                "--reuid",
                INSTEAD_OF_ROOT,
                "--regid",
                INSTEAD_OF_ROOT,
                "--clear-groups",
            ])
            .arg(program);
        command
    } else {
        Command::new(program)
    };
    // The server insists on a folder that it may read.
    command.current_dir("/");
    command
}

/// The newest version's, or those of the search path.
fn programs() -> Result<PathBuf, BoxError> {
    let mut found = Vec::new();
    if let Ok(versions) = fs::read_dir(DEBIAN) {
        for version in versions {
            let version = version?.path();
            let number = version.file_name().and_then(OsStr::to_str);
            if let Some(number) = number.and_then(|number| number.parse::<u32>().ok()) {
                found.push((number, version.join("bin")));
            }
        }
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    found.extend(std::env::split_paths(&path).map(|folder| (0, folder)));
    found
        .retain(|(_, folder)| folder.join("initdb").is_file() && folder.join("postgres").is_file());
    let newest = found.into_iter().max_by_key(|(number, _)| *number);
    let (_, newest) = newest.ok_or("no PostgreSQL here: install its server, initdb included")?;
    Ok(newest)
}
