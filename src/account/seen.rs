//! Where a change came from, as its owner may read it: [`Seen`].

use std::fmt;

use crate::account::{InvalidText, bounded};

/// Where a change came from, in words that its owner understands: for the notice of a changed
/// password.
///
/// The application's own reading of the request, coarse on purpose: "Firefox on Windows", not the
/// `User-Agent` line; "near Lyon, France", not an address. Each is one line of at most 64 bytes
/// without `@`, `/`, `<`, `>`, a dot between two letters, or more than six digits without a letter
/// between them, so that nobody writes a link, an address or a telephone number into somebody else's
/// mail (R85).
///
/// ```
/// use password_reset::account::Seen;
///
/// let seen = Seen::default().device("Firefox on Windows")?.place("Lyon, France")?;
/// assert!(Seen::default().device("call +1 202 5550123").is_err());
/// assert!(Seen::default().place("https://evil.example.org").is_err());
/// # let _ = seen; Ok::<(), password_reset::account::InvalidText>(())
/// ```
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Seen {
    device: Option<Box<str>>,
    place: Option<Box<str>>,
}

const MAX_SEEN_BYTES: usize = 64;

impl Seen {
    /// The kind of device or program.
    ///
    /// # Errors
    ///
    /// [`InvalidText`] when it is not as described above.
    pub fn device(mut self, text: &str) -> Result<Self, InvalidText> {
        self.device = Some(harmless(text)?.into());
        Ok(self)
    }

    /// The region.
    ///
    /// # Errors
    ///
    /// [`InvalidText`] when it is not as described above.
    pub fn place(mut self, text: &str) -> Result<Self, InvalidText> {
        self.place = Some(harmless(text)?.into());
        Ok(self)
    }

    /// The device, as it was put in.
    pub fn device_text(&self) -> Option<&str> {
        self.device.as_deref()
    }

    /// The place, as it was put in.
    pub fn place_text(&self) -> Option<&str> {
        self.place.as_deref()
    }
}

/// One line that cannot be read as a link, an address or a telephone number.
fn harmless(text: &str) -> Result<&str, InvalidText> {
    let text = bounded(text, MAX_SEEN_BYTES)?;
    // What stands between its digits does not end a telephone number; a letter does.
    let mut run = 0;
    for c in text.chars() {
        run = match c {
            c if c.is_numeric() => run + 1,
            c if c.is_alphabetic() => 0,
            _ => run,
        };
        if run > 6 {
            return Err(InvalidText::NotCoarse);
        }
    }
    // Mail programs make links of what looks like a host name: a dot between two letters.
    let mut around = text
        .chars()
        .zip(text.chars().skip(1))
        .zip(text.chars().skip(2));
    let host = around.any(|((before, c), after)| {
        matches!(c, '.' | '\u{3002}' | '\u{ff0e}')
            && before.is_alphanumeric()
            && after.is_alphabetic()
    });
    if host || text.contains(['@', '/', '\\', '<', '>', ':']) || text.contains("=?") {
        return Err(InvalidText::NotCoarse);
    }
    Ok(text)
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The texts are not shown: they say where somebody is.
        f.debug_struct("Seen").finish_non_exhaustive()
    }
}
