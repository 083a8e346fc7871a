//! Mails as files: they survive a restart, and several processes share them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use password_reset::error::BoxError;
use password_reset::mail::SendError;

use crate::mailbox::Mail;

/// A folder with one JSON file for each mail. The names begin with the time, so that their order
/// is that of the mails, and go on with the process and a number, so that no two are equal.
pub(crate) struct Folder {
    path: PathBuf,
    next: AtomicU64,
}

impl Folder {
    pub(crate) fn open(path: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&path)?;
        Ok(Self {
            path,
            next: AtomicU64::new(0),
        })
    }

    /// Writes one mail, so that no reader and no crash ever finds half of it.
    pub(crate) fn put(&self, mail: &Mail) -> Result<(), SendError> {
        let json = serde_json::to_vec(mail).map_err(SendError::permanent)?;
        let name = self.name();
        let unfinished = self.path.join(format!(".{name}.new"));
        let written = write(&unfinished, &json);
        let put = written.and_then(|()| fs::rename(&unfinished, self.path.join(&name)));
        if let Err(error) = put {
            let _ = fs::remove_file(&unfinished);
            return Err(SendError::transient(error));
        }
        // The name is there; whether it outlives a power cut is up to the folder.
        let synced = File::open(&self.path).and_then(|folder| folder.sync_all());
        synced.map_err(SendError::uncertain)
    }

    /// The newest mails, up to so many, the oldest of them first.
    pub(crate) fn newest(&self, count: usize) -> Result<Vec<Arc<Mail>>, BoxError> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let finished = name.to_str().filter(|name| !name.starts_with('.'));
            if let Some(name) = finished.filter(|name| name.ends_with(".json")) {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        let older = names.len().saturating_sub(count);
        let newest = names.into_iter().skip(older);
        newest
            .map(|name| {
                let json = fs::read(self.path.join(name))?;
                Ok(Arc::new(serde_json::from_slice(&json)?))
            })
            .collect()
    }

    fn name(&self) -> String {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let micros = since.unwrap_or(Duration::ZERO).as_micros();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        format!("{micros:020}-{}-{number}.json", process::id())
    }
}

/// Readable by its owner only: the mail holds a live link.
fn write(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut handle = options.open(file)?;
    handle.write_all(bytes)?;
    handle.sync_all()
}
