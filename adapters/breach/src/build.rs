//! Making a filter: [`Build`].

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use password_reset::password::{MAX_PASSWORD_BYTES, normalize};
use tempfile::{NamedTempFile, TempDir};

use crate::error::BuildError;
use crate::file::{
    BUCKET_BYTES, BUCKETS, Fingerprint, HEAD_BYTES, INDEX_BYTES, MAX_BUCKET, head, sum,
};
use crate::filter::{beginning, fingerprint};

/// How many parts are sorted one after the other, by their first byte.
const PARTS: usize = 256;
const DIGEST_DIGITS: usize = 40;
/// Longer lines are no passwords, and no digests.
const MAX_LINE_BYTES: u64 = 4_096;
/// How often progress is told: after so many lines.
const TELL_EVERY: u64 = 65_536;

/// What stands in the list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lines {
    /// `SHA-1:count`, as Have I Been Pwned publishes them, or without the count. In any order.
    Sha1,
    /// The passwords themselves. Lines that are no UTF-8 or over 1,024 bytes are skipped.
    Plain,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Progress {
    /// The list is read.
    Reading {
        /// Bytes read so far.
        bytes: u64,
        /// Lines read so far.
        lines: u64,
    },
    /// What was read is sorted and written.
    Writing {
        /// Parts done so far.
        done: usize,
        /// Parts in all.
        of: usize,
    },
}

/// What was made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Built {
    /// Different passwords in the filter.
    pub entries: u64,
    /// Lines of the list.
    pub lines: u64,
    /// Lines that were left out: empty, too rare, or no passwords.
    pub skipped: u64,
}

/// Makes a filter from a list.
///
/// Takes 60 MiB of memory for a list of 1.5 thousand million, and up to one and a half times the
/// filter's size of disk beside it while it runs. The filter is there whole or not at all.
///
/// ```
/// use password_reset_breach::{BreachFilter, Build, Lines};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("leaked.filter");
/// let list = "5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8:52256179\n";
/// let built = Build::new(Lines::Sha1).from(list.as_bytes(), &path, |progress| {
///     println!("{progress:?}");
/// })?;
/// assert_eq!(built.entries, 1);
/// assert_eq!(BreachFilter::open(&path)?.entries(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Build {
    lines: Lines,
    min_count: u64,
}

impl Build {
    /// A filter of all lines.
    pub fn new(lines: Lines) -> Self {
        Self {
            lines,
            min_count: 0,
        }
    }

    /// Leaves out what was seen less often, for a smaller file. Lines without a count are kept.
    pub fn min_count(self, min_count: u64) -> Self {
        Self { min_count, ..self }
    }

    /// Reads a list and writes the filter to `target`, over what was there.
    ///
    /// # Errors
    ///
    /// See [`BuildError`]; nothing was changed at `target` then.
    pub fn from(
        &self,
        mut list: impl BufRead,
        target: &Path,
        mut tell: impl FnMut(Progress),
    ) -> Result<Built, BuildError> {
        let folder = match target.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let parts = TempDir::new_in(folder).map_err(BuildError::Write)?;
        let (lines, skipped) = self.split(&mut list, &parts, &mut tell)?;
        let entries = join(&parts, folder, target, &mut tell)?;
        Ok(Built {
            entries,
            lines,
            skipped,
        })
    }

    /// Into parts that fit into memory.
    fn split(
        &self,
        list: &mut impl BufRead,
        parts: &TempDir,
        tell: &mut impl FnMut(Progress),
    ) -> Result<(u64, u64), BuildError> {
        let open = |number| File::create(part(parts, number)).map(BufWriter::new);
        let mut files: Vec<_> = (0..PARTS)
            .map(open)
            .collect::<io::Result<_>>()
            .map_err(BuildError::Write)?;
        let (mut bytes, mut lines, mut skipped) = (0, 0, 0);
        let mut line = Vec::new();
        loop {
            line.clear();
            let mut rest = list.by_ref().take(MAX_LINE_BYTES);
            let read = rest
                .read_until(b'\n', &mut line)
                .map_err(BuildError::Read)?;
            if read == 0 {
                break;
            }
            lines += 1;
            bytes += read as u64;
            let whole = line.last() == Some(&b'\n') || (read as u64) < MAX_LINE_BYTES;
            if !whole {
                bytes += skip(list).map_err(BuildError::Read)?;
            }
            match self.parse(&line, whole, lines)? {
                None => skipped += 1,
                Some(fingerprint) => {
                    let [first, ..] = fingerprint;
                    if let Some(file) = files.get_mut(usize::from(first)) {
                        file.write_all(&fingerprint).map_err(BuildError::Write)?;
                    }
                }
            }
            if lines % TELL_EVERY == 0 {
                tell(Progress::Reading { bytes, lines });
            }
        }
        for file in &mut files {
            file.flush().map_err(BuildError::Write)?;
        }
        tell(Progress::Reading { bytes, lines });
        Ok((lines, skipped))
    }

    /// `None` when the line is to be left out.
    fn parse(
        &self,
        line: &[u8],
        whole: bool,
        number: u64,
    ) -> Result<Option<Fingerprint>, BuildError> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return Ok(None);
        }
        match self.lines {
            Lines::Plain => {
                let password = str::from_utf8(line).ok();
                let password = password.filter(|text| whole && text.len() <= MAX_PASSWORD_BYTES);
                Ok(password.map(|password| fingerprint(&normalize(password))))
            }
            Lines::Sha1 => {
                let wrong = || BuildError::Line { line: number };
                let (digest, count) = line.split_at_checked(DIGEST_DIGITS).ok_or_else(wrong)?;
                let digest = unhex(digest).ok_or_else(wrong)?;
                let count = match count {
                    [] => None,
                    [b':', count @ ..] => {
                        let count = str::from_utf8(count)
                            .ok()
                            .and_then(|c| c.trim().parse().ok());
                        Some(count.ok_or_else(wrong)?)
                    }
                    _ => return Err(wrong()),
                };
                let kept = count.is_none_or(|count: u64| count >= self.min_count.max(1));
                Ok(kept.then(|| beginning(digest)))
            }
        }
    }
}

/// Sorts the parts one after the other into the filter.
fn join(
    parts: &TempDir,
    folder: &Path,
    target: &Path,
    tell: &mut impl FnMut(Progress),
) -> Result<u64, BuildError> {
    let mut file = NamedTempFile::new_in(folder).map_err(BuildError::Write)?;
    let mut index = Vec::with_capacity(INDEX_BYTES);
    let mut entries = 0_u64;
    {
        let mut buckets = BufWriter::new(file.as_file_mut());
        let skipped = SeekFrom::Start((HEAD_BYTES + INDEX_BYTES) as u64);
        buckets.seek(skipped).map_err(BuildError::Write)?;
        for number in 0..PARTS {
            let sorted = sorted(parts, number).map_err(BuildError::Read)?;
            let mut rest = sorted.as_slice();
            for second in 0..=u8::MAX {
                let end = rest.partition_point(|[_, b, ..]| *b <= second);
                let (bucket, others) = rest.split_at_checked(end).unwrap_or((rest, &[]));
                rest = others;
                let count = u32::try_from(bucket.len()).map_err(|_| BuildError::TooMany)?;
                if count > MAX_BUCKET {
                    return Err(BuildError::TooMany);
                }
                let stored = bucket
                    .iter()
                    .flat_map(|entry| entry.iter().skip(BUCKET_BYTES));
                let stored: Vec<u8> = stored.copied().collect();
                buckets.write_all(&stored).map_err(BuildError::Write)?;
                index.extend(count.to_le_bytes());
                index.extend(sum(&stored));
                entries += u64::from(count);
            }
            tell(Progress::Writing {
                done: number + 1,
                of: PARTS,
            });
        }
        buckets.flush().map_err(BuildError::Write)?;
    }
    debug_assert_eq!(index.len(), BUCKETS * 12);
    let write = |file: &mut File| {
        file.rewind()?;
        file.write_all(&head(entries, &index))?;
        file.write_all(&index)?;
        file.sync_all()
    };
    write(file.as_file_mut()).map_err(BuildError::Write)?;
    file.persist(target)
        .map_err(|error| BuildError::Write(error.error))?;
    Ok(entries)
}

fn part(parts: &TempDir, number: usize) -> std::path::PathBuf {
    parts.path().join(format!("{number:02x}"))
}

/// One part, without what is in it twice. Its file is removed.
fn sorted(parts: &TempDir, number: usize) -> io::Result<Vec<Fingerprint>> {
    let path = part(parts, number);
    let mut bytes = Vec::new();
    BufReader::new(File::open(&path)?).read_to_end(&mut bytes)?;
    std::fs::remove_file(&path)?;
    let mut sorted: Vec<Fingerprint> = bytes.as_chunks().0.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    Ok(sorted)
}

/// Reads to the end of the line; how many bytes.
fn skip(list: &mut impl BufRead) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let buffer = list.fill_buf()?;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(buffer.len(), |end| end + 1);
        let done = end.is_some() || buffer.is_empty();
        list.consume(used);
        skipped += used as u64;
        if done {
            return Ok(skipped);
        }
    }
}

fn unhex(digits: &[u8]) -> Option<[u8; 20]> {
    let mut bytes = [0; 20];
    let value = |digit: u8| char::from(digit).to_digit(16);
    for (byte, [high, low]) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
        *byte = u8::try_from(value(*high)? << 4 | value(*low)?).ok()?;
    }
    Some(bytes)
}
