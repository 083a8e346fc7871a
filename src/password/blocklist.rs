//! Passwords that attackers try first: [`Blocklist`].
//!
//! A list of leaked passwords, most used first, is what every attack begins with (R50, NIST SP
//! 800-63B-4 section 3.1.1.2, ASVS 6.2.4). The bundled list holds what of it a policy would accept
//! otherwise: short ones are refused by their length.
//!
//! It is kept as fingerprints: five bytes of SHA-256 for each, sorted. That costs no memory of its
//! own, needs one hash and a binary search to look up, and puts nobody's swearing into your binary.
//! The price is that one in 7 million good passwords is refused by accident: each is looked up in
//! three forms, and one form in 23 million is found where it is not.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::fold::{fold_char, leet};

/// Passwords that are refused because attackers try them first.
///
/// The entire password is compared, never a part of it: "letmein" is on the list, and "letmein said
/// the seven owls" is a good password. What counts as the same password:
///
/// - other case, accents and full-width letters;
/// - digits and signs in the place of letters, as in "p4ssw0rd";
/// - other spaces and punctuation between, or none;
/// - up to eight digits or signs around it, where at least eight letters are left: "1iloveyou2026!".
///
/// ```
/// use password_reset::password::Blocklist;
///
/// let list = Blocklist::default();
/// assert!(list.contains("q1w2e3r4t5y6u7i8o9p0"));
/// assert!(list.contains("Master of Puppets (1986)"));
/// assert!(!list.contains("seven owls master the puppets"));
///
/// // With words of your own.
/// let list = list.with(["our old wifi password"]);
/// assert!(list.contains("0ur-0ld-W1F1-p4ssw0rd"));
/// ```
#[derive(Clone)]
pub struct Blocklist {
    common: &'static [Fingerprint],
    own: Arc<[Fingerprint]>,
    /// The bytes of the longest form; what is longer need not be hashed.
    longest: usize,
}

impl Blocklist {
    /// Adds passwords to be refused, such as those that your company has been handing out.
    ///
    /// An entry that folds to more than 256 bytes is left out.
    #[must_use]
    pub fn with<I>(self, entries: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let mut new = New::default();
        for entry in entries {
            new.add(entry.as_ref());
        }
        self.extended(new)
    }

    /// Adds the lines of a text, one password a line, in UTF-8.
    ///
    /// Empty lines, those over 1,024 bytes and those that fold to more than 256 bytes are left out. Keeps five
    /// bytes of each.
    ///
    /// ```
    /// use password_reset::password::Blocklist;
    ///
    /// let list = Blocklist::default().read("our old wifi password\n".as_bytes())?;
    /// assert!(list.contains("Our old wifi password 2"));
    /// # Ok::<(), password_reset::password::BlocklistError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`BlocklistError::Read`] when the text cannot be read.
    /// - [`BlocklistError::NotText`] at a line that is not UTF-8.
    /// - [`BlocklistError::TooMany`] over 20 million lines: that is what a filter of breached
    ///   passwords is for.
    pub fn read(self, mut text: impl BufRead) -> Result<Self, BlocklistError> {
        let mut new = New::default();
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            // Bounded, so that a file without line breaks is not taken into memory.
            let mut head = text.by_ref().take(MAX_LINE_BYTES);
            if head.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            if number > MAX_LINES {
                return Err(BlocklistError::TooMany);
            }
            if line.last() != Some(&b'\n') && skip_line(&mut text)? {
                continue;
            }
            let line = line.strip_suffix(b"\n").unwrap_or(&line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let line =
                str::from_utf8(line).map_err(|_| BlocklistError::NotText { line: number })?;
            new.add(line);
        }
        Ok(self.extended(new))
    }

    /// The same from a file.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn read_file(self, path: impl AsRef<Path>) -> Result<Self, BlocklistError> {
        self.read(BufReader::new(File::open(path)?))
    }

    /// Whether this is one of them, or the same with simple changes.
    ///
    /// Takes a normalised password, as a [`Policy`](super::Policy) does. The work has a bound, however
    /// long the password is: nothing beyond the longest entry is hashed.
    pub fn contains(&self, password: &str) -> bool {
        let Forms { whole, squeezed } = Forms::of(password, self.longest);
        let core = core(password).and_then(|core| Forms::of(core, self.longest).squeezed);
        [squeezed, core, whole]
            .into_iter()
            .flatten()
            .filter(|form| !form.is_empty())
            .any(|form| self.holds(&fingerprint(&form)))
    }

    /// How many there are, counted after folding.
    pub fn len(&self) -> usize {
        self.common.len() + self.own.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// No entries at all; what [`Policy::danger_without_blocklist`](super::Policy) leaves.
    pub(super) fn none() -> Self {
        Self {
            common: &[],
            own: Arc::new([]),
            longest: 0,
        }
    }

    fn holds(&self, wanted: &Fingerprint) -> bool {
        [self.common, &self.own]
            .iter()
            .any(|list| list.binary_search(wanted).is_ok())
    }

    fn extended(self, new: New) -> Self {
        let longest = new.longest.max(self.longest);
        let mut own = new.fingerprints;
        own.extend_from_slice(&self.own);
        own.sort_unstable();
        own.dedup();
        Self {
            own: own.into(),
            longest,
            ..self
        }
    }
}

/// Entries to be added.
#[derive(Default)]
struct New {
    fingerprints: Vec<Fingerprint>,
    longest: usize,
}

impl New {
    fn add(&mut self, entry: &str) {
        if let Some(form) = spelled(entry) {
            self.longest = self.longest.max(form.len());
            self.fingerprints.push(fingerprint(&form));
        }
    }
}

/// The bundled list.
impl Default for Blocklist {
    fn default() -> Self {
        Self {
            common: COMMON,
            own: Arc::new([]),
            longest: LONGEST_COMMON,
        }
    }
}

/// Only numbers: the entries may be a company's own passwords.
impl fmt::Debug for Blocklist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocklist")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// Why a list could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlocklistError {
    /// The text could not be read.
    #[error("the list could not be read")]
    Read(#[from] io::Error),
    /// A line is not UTF-8.
    #[error("line {line} is not utf-8")]
    NotText {
        /// Which, from 1.
        line: u64,
    },
    /// More than 20 million lines.
    #[error("the list has more than {MAX_LINES} lines")]
    TooMany,
}

/// The beginning of a SHA-256. With forty bits and some 48,000 entries, one look-up in 23 million
/// finds what is not there.
type Fingerprint = [u8; 5];

/// See `blocklist/README.md` for where it comes from.
static COMMON: &[Fingerprint] = include_bytes!("blocklist/common.bin").as_chunks().0;

const MAX_LINES: u64 = 20_000_000;
const MAX_LINE_BYTES: u64 = 1_024;
/// Longer forms are on no list.
const MAX_FORM_BYTES: usize = 256;
/// Those of the bundled list are shorter yet.
const LONGEST_COMMON: usize = 39;
/// How much may stand around an entry.
const MAX_AROUND: usize = 8;
/// What has to be left of it then.
const MIN_CORE: usize = 8;

fn fingerprint(form: &str) -> Fingerprint {
    let digest: [u8; 32] = Sha256::digest(form).into();
    let [a, b, c, d, e, ..] = digest;
    [a, b, c, d, e]
}

/// The form in which an entry is kept: without spaces and punctuation, because a password is looked
/// up so, too. One of hardly anything else is kept as it is.
fn spelled(entry: &str) -> Option<Zeroizing<String>> {
    let Forms { whole, squeezed } = Forms::of(entry, MAX_FORM_BYTES);
    let squeezed = squeezed?;
    let form = if squeezed.chars().count() < MIN_CORE {
        whole?
    } else {
        squeezed
    };
    (!form.is_empty()).then_some(form)
}

/// A text folded, and with letters in the place of digits and signs.
struct Forms {
    whole: Option<Zeroizing<String>>,
    /// Without spaces and punctuation.
    squeezed: Option<Zeroizing<String>>,
}

impl Forms {
    /// Each is `None` when it has more bytes than `longest`. Stops as soon as both are, or when
    /// there are more spaces and signs than that.
    fn of(text: &str, longest: usize) -> Self {
        // One character folds to 18 bytes at most: never reallocated, so nothing is left behind
        // unwiped.
        let room = || Zeroizing::new(String::with_capacity(longest + 32));
        let (mut whole, mut squeezed) = (room(), room());
        let mut signs = 0;
        for c in text.chars() {
            let (before, fits) = (squeezed.len(), whole.len() <= longest);
            fold_char(c, |c, is_sign| {
                if is_accent(c) {
                    return;
                }
                let letter = leet(c);
                let is_sign = is_sign && letter.is_none();
                let c = letter.unwrap_or(c);
                if fits {
                    whole.push(c);
                }
                if !is_sign {
                    squeezed.push(c);
                }
            });
            signs += usize::from(squeezed.len() == before);
            if squeezed.len() > longest || signs > longest {
                return Self {
                    whole: None,
                    squeezed: None,
                };
            }
        }
        Self {
            whole: (whole.len() <= longest).then_some(whole),
            squeezed: Some(squeezed),
        }
    }
}

/// What is left without the digits and signs around it.
fn core(password: &str) -> Option<&str> {
    let is_around = |c: char| !c.is_alphabetic();
    let around = |c: &char| is_around(*c);
    // Counted first, up to the bound, so that a long row of signs costs no more than a short one.
    let most = MAX_AROUND + 1;
    let before = password.chars().take(most).take_while(around).count();
    let after = password.chars().rev().take(most).take_while(around).count();
    if !(1..=MAX_AROUND).contains(&(before + after)) {
        return None;
    }
    let core = password.trim_matches(is_around);
    (core.chars().take(MIN_CORE).count() == MIN_CORE).then_some(core)
}

fn is_accent(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}')
}

/// Reads on to the next line; whether there was anything left of this one.
fn skip_line(text: &mut impl BufRead) -> io::Result<bool> {
    let mut skipped = false;
    loop {
        let buffer = text.fill_buf()?;
        if buffer.is_empty() {
            return Ok(skipped);
        }
        skipped = true;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(buffer.len(), |end| end + 1);
        text.consume(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests;
