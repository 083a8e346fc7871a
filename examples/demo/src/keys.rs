//! Secrets that the demo makes for itself.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use password_reset::error::BoxError;
use password_reset::token::{Key, KeyId, Keyring};

/// The keys of the reset, from a file beside the database, or for this process only.
///
/// An application takes them from where it keeps its other secrets. They must not be in the
/// database: who can write there could make links of their own.
pub(crate) fn keyring(file: Option<&Path>) -> Result<Keyring, BoxError> {
    let Some(file) = file else {
        return Ok(Keyring::ephemeral()?);
    };
    let secret = match fs::read(file) {
        Ok(secret) => secret,
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(file)?,
        Err(error) => return Err(error.into()),
    };
    Ok(Keyring::new(Key::new(KeyId(1), &secret)?))
}

/// Random bytes from the operating system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], BoxError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A random password that is easily copied by hand, of 96 bits.
pub(crate) fn readable_password() -> Result<String, BoxError> {
    let groups = [random::<3>()?, random()?, random()?, random()?];
    Ok(groups.map(|group| hex(&group)).join("-"))
}

/// Under another name first: a crash must not leave half a key behind. What is in the file in the
/// end is the key, whoever wrote it.
fn create(file: &Path) -> Result<Vec<u8>, BoxError> {
    let secret = random::<32>()?;
    // A name of its own: another first start may be writing at this moment.
    let unfinished = file.with_added_extension(format!("{}.new", hex(&random::<8>()?)));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut handle = options.open(&unfinished)?;
    handle.write_all(&secret)?;
    handle.sync_all()?;
    // A link does not replace: of two first starts at once, both take the key that was first.
    let linked = fs::hard_link(&unfinished, file);
    fs::remove_file(&unfinished)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error.into()),
        _ => Ok(fs::read(file)?),
    }
}
