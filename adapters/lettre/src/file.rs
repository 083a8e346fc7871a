//! Mails as files, for development: [`FileMailer`].

use std::fmt::{self, Write as _};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use password_reset::mail::{Mailer, Message, SendError};
use ring::rand::{SecureRandom, SystemRandom};

use crate::compose::Composer;
use crate::error::Failure;

/// Writes each mail into a folder, as an `.eml` file that mail programs open.
///
/// # Security
///
/// For development only. The files hold live links: whoever can read one can set the password
/// (R76). On Unix they are readable by their owner alone; nobody deletes them.
///
/// ```no_run
/// # async fn example(
/// #     message: &password_reset::mail::Message,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// use password_reset::mail::Mailer;
/// use password_reset_lettre::FileMailer;
///
/// FileMailer::new("target/mails").send(message).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct FileMailer {
    folder: PathBuf,
}

impl FileMailer {
    /// Mails go into this folder, which is made if it is not there. Their names begin with the time
    /// of writing, in milliseconds since 1970.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }
}

#[async_trait]
impl Mailer for FileMailer {
    async fn send(&self, message: &Message) -> Result<(), SendError> {
        let mail = Composer::default().compose(message)?;
        let name = name().ok_or(Failure::Unprepared)?;
        let folder = self.folder.clone();
        let written = tokio::task::spawn_blocking(move || write(&folder, &name, &mail.bytes)).await;
        let written = written.map_err(|_| Failure::Unprepared)?;
        Ok(written.map_err(Failure::File)?)
    }
}

impl fmt::Debug for FileMailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileMailer")
            .field("folder", &self.folder)
            .finish()
    }
}

/// Sorts by time, and is never there already.
fn name() -> Option<String> {
    let mut random = [0; 8];
    SystemRandom::new().fill(&mut random).ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let mut name = format!("{:013}-", now.as_millis());
    for byte in random {
        let _ = write!(name, "{byte:02x}");
    }
    Some(name)
}

/// Nobody sees half a mail, or one that is not theirs.
fn write(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
        builder.mode(0o700);
        options.mode(0o600);
    }
    builder.create(folder)?;
    let half = folder.join(format!(".{name}.part"));
    let mut file = options.open(&half)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&half, folder.join(format!("{name}.eml"))));
    if written.is_err() {
        // It holds a link.
        let _ = fs::remove_file(&half);
    }
    written
}
