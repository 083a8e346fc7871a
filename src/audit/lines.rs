//! Events as JSON, one object a line: [`JsonLines`].

use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use crate::account::is_control;
use crate::audit::{AuditSink, Event};
use crate::clock::Timestamp;
use crate::error::BoxError;

/// How many events wait for the writer at most.
const CAPACITY: usize = 8_192;
/// One in so many places is kept for events that strangers cannot cause at will.
const RESERVED: usize = 4;
/// How many lines are handed to the writer at once.
const BATCH: usize = 256;

/// Writes each event as one line of JSON to any [`Write`]: a file, a pipe, standard output.
///
/// | field | what |
/// |---|---|
/// | `at` | when, RFC 3339 in UTC with microseconds |
/// | `event` | the stable [name](crate::audit::EventKind::name), OWASP's where there is one |
/// | `severity` | `info`, `warn` or `critical` |
/// | `kind` | what and why: the [code](crate::audit::EventKind::code) |
/// | `tenant`, `user`, `identifier`, `source`, `job`, `token`, `parent`, `actor` | as in [`Event`] |
/// | `number` | how many, or which try |
///
/// The first four are always there; a field without a value is left out. The names are part of the
/// crate's public interface.
///
/// A line is one line whatever the application calls its users (R77): control characters, escape
/// sequences of terminals, separators of lines and characters that are not seen are written as
/// `\uXXXX`.
///
/// [`record`](AuditSink::record) never waits: a thread of its own writes. When it falls 8,192 events
/// behind, further ones are refused and the flow counts them; [noise](crate::audit::EventKind::is_noise)
/// is refused at 6,144. What cannot be written is given up and counted by [`lost`](Self::lost).
/// Rotating a file is the application's: open it for appending and let a tool copy and truncate it,
/// or give a writer that opens the next one by itself.
///
/// Clones share the thread. Call [`flush`](Self::flush) before the program ends.
///
/// ```
/// use password_reset::Timestamp;
/// use password_reset::audit::{AuditSink, Event, EventKind, JsonLines};
///
/// # fn main() -> Result<(), password_reset::error::BoxError> {
/// # let path = std::env::temp_dir().join(format!("lines-{}.json", std::process::id()));
/// let file = std::fs::OpenOptions::new().create(true).append(true).open(&path)?;
/// let lines = JsonLines::spawn(file)?;
/// lines.record(&Event::new(Timestamp::from_unix_micros(1), EventKind::Completed))?;
/// lines.flush()?;
/// assert_eq!(
///     std::fs::read_to_string(&path)?,
///     "{\"at\":\"1970-01-01T00:00:00.000001Z\",\"event\":\"authn_password_change\",\
///      \"severity\":\"info\",\"kind\":\"completed\"}\n"
/// );
/// # std::fs::remove_file(&path)?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct JsonLines {
    outbox: Sender<Item>,
    state: Arc<State>,
    capacity: usize,
}

#[derive(Default)]
struct State {
    waiting: AtomicUsize,
    lost: AtomicU64,
}

enum Item {
    Line(String),
    Flush(Sender<bool>),
}

/// An event was not taken, or not written.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LinesError {
    /// The writer is too far behind; the event was not taken.
    #[error("the audit trail is too far behind")]
    Full,
    /// The thread is gone; the event was not taken.
    #[error("the audit trail is closed")]
    Closed,
    /// Events that were taken before could not be written, see [`JsonLines::lost`].
    #[error("audit events could not be written")]
    Lost,
}

impl JsonLines {
    /// Starts the thread that writes.
    ///
    /// # Errors
    ///
    /// The operating system gives no thread.
    pub fn spawn(writer: impl Write + Send + 'static) -> io::Result<Self> {
        Self::with_capacity(writer, CAPACITY)
    }

    fn with_capacity(writer: impl Write + Send + 'static, capacity: usize) -> io::Result<Self> {
        let (outbox, inbox) = channel();
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        thread::Builder::new()
            .name("password-reset-audit".to_owned())
            .spawn(move || write_all(writer, &inbox, &shared))?;
        Ok(Self {
            outbox,
            state,
            capacity,
        })
    }

    /// Waits until everything recorded before this call is written and flushed. Blocks the thread:
    /// call it at the end of a program.
    ///
    /// # Errors
    ///
    /// - [`LinesError::Lost`] when some of it, since the last flush, could not be written.
    /// - [`LinesError::Closed`] when the thread is gone.
    pub fn flush(&self) -> Result<(), LinesError> {
        let (done, written) = channel();
        let flush = self.outbox.send(Item::Flush(done));
        flush.map_err(|_| LinesError::Closed)?;
        match written.recv() {
            Ok(true) => Ok(()),
            Ok(false) => Err(LinesError::Lost),
            Err(_) => Err(LinesError::Closed),
        }
    }

    /// How many events were taken and then could not be written.
    pub fn lost(&self) -> u64 {
        self.state.lost.load(Ordering::Relaxed)
    }

    fn take(&self, line: String, room: usize) -> Result<(), LinesError> {
        let waiting = &self.state.waiting;
        // Counted before it is sent, so that no burst of callers gets past the bound.
        if waiting.fetch_add(1, Ordering::Relaxed) >= room {
            waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(LinesError::Full);
        }
        self.outbox.send(Item::Line(line)).map_err(|_| {
            waiting.fetch_sub(1, Ordering::Relaxed);
            LinesError::Closed
        })
    }
}

impl AuditSink for JsonLines {
    fn record(&self, event: &Event) -> Result<(), BoxError> {
        let room = match event.kind.is_noise() {
            true => self.capacity - self.capacity / RESERVED,
            false => self.capacity,
        };
        Ok(self.take(line(event), room)?)
    }

    fn lost(&self) -> u64 {
        JsonLines::lost(self)
    }
}

impl fmt::Debug for JsonLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither the writer nor what waits for it is shown.
        f.debug_struct("JsonLines")
            .field("lost", &self.lost())
            .finish_non_exhaustive()
    }
}

/// The thread. Ends when the last clone is gone and everything is written.
fn write_all(mut writer: impl Write, inbox: &Receiver<Item>, state: &State) {
    let mut whole = true;
    while let Ok(first) = inbox.recv() {
        let (mut lines, mut number, mut flushes) = (String::new(), 0_u32, Vec::new());
        let rest = std::iter::from_fn(|| inbox.try_recv().ok());
        for item in std::iter::once(first).chain(rest).take(BATCH) {
            match item {
                Item::Line(line) => {
                    state.waiting.fetch_sub(1, Ordering::Relaxed);
                    lines.push_str(&line);
                    number += 1;
                }
                Item::Flush(done) => flushes.push(done),
            }
        }
        let written = writer.write_all(lines.as_bytes());
        if written.and_then(|()| writer.flush()).is_err() {
            whole = false;
            state.lost.fetch_add(number.into(), Ordering::Relaxed);
        }
        for done in flushes {
            // Whoever asked may have gone.
            let _ = done.send(std::mem::replace(&mut whole, true));
        }
    }
}

/// One event, its line feed included.
fn line(event: &Event) -> String {
    let mut line = String::with_capacity(320);
    let mut field = |name: &str, value: &dyn fmt::Display| {
        // Writing into a string does not fail.
        let _ = write!(
            line,
            "{}\"{name}\":\"",
            if line.is_empty() { '{' } else { ',' }
        );
        let _ = write!(Escape(&mut line), "{value}");
        line.push('"');
    };
    field("at", &Micros(event.at));
    field("event", &event.kind.name());
    field("severity", &event.kind.severity().as_str());
    field("kind", &event.kind.code());
    macro_rules! fields {
        ($($name:ident),+) => { $(
            if let Some(value) = &event.$name {
                field(stringify!($name), value);
            }
        )+ };
    }
    fields!(tenant, user, identifier, source, job, token, parent, actor);
    if let Some(number) = event.kind.number() {
        let _ = write!(line, ",\"number\":{number}");
    }
    line.push_str("}\n");
    line
}

/// Inside the quotation marks of a JSON text.
struct Escape<'s>(&'s mut String);

impl fmt::Write for Escape<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '"' | '\\' => {
                    self.0.push('\\');
                    self.0.push(c);
                }
                c if is_control(c) => {
                    let mut units = [0; 2];
                    for unit in c.encode_utf16(&mut units) {
                        write!(self.0, "\\u{unit:04x}")?;
                    }
                }
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

/// RFC 3339 in UTC, to the microsecond.
struct Micros(Timestamp);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let second = self.0.to_string();
        let second = second.strip_suffix('Z').unwrap_or(&second);
        let micros = self.0.unix_micros().rem_euclid(1_000_000);
        write!(f, "{second}.{micros:06}Z")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use std::sync::Mutex;

    use super::*;
    use crate::account::{Tenant, UserId};
    use crate::audit::{Actor, EventKind, Pseudonym, Refused};
    use crate::queue::JobId;
    use crate::token::Selector;

    /// What was written, and a switch that makes it fail.
    #[derive(Clone, Default)]
    struct Disk(Arc<Mutex<(Vec<u8>, bool)>>);

    impl Disk {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().0.clone()).unwrap()
        }
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (written, full) = &mut *self.0.lock().unwrap();
            if *full {
                return Err(io::ErrorKind::StorageFull.into());
            }
            written.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn event(kind: EventKind) -> Event {
        Event::new(Timestamp::from_unix_micros(1_764_000_000_000_042), kind)
    }

    #[test]
    fn a_line_has_every_field_by_its_documented_name() {
        let mut event = event(EventKind::MailFailed {
            what: crate::audit::Mailing::Notice,
            attempt: 2,
        });
        event.tenant = Some(Tenant::parse("Größe").unwrap());
        event.user = Some(UserId::parse("42").unwrap());
        event.identifier = Some(Pseudonym::from_bytes([1; 16]));
        event.source = Some([192, 0, 2, 1].into());
        event.job = Some(JobId::from_bytes([2; 16]));
        event.token = Some(Selector::from_bytes([3; 16]));
        event.parent = Some(Selector::from_bytes([4; 16]));
        event.actor = Some(Actor::parse("grace").unwrap());
        assert_eq!(
            line(&event),
            "{\"at\":\"2025-11-24T16:00:00.000042Z\",\"event\":\"password_reset_mail_failed\",\
             \"severity\":\"warn\",\"kind\":\"mail_failed.notice\",\"tenant\":\"Größe\",\
             \"user\":\"42\",\"identifier\":\"01010101010101010101010101010101\",\
             \"source\":\"192.0.2.1\",\"job\":\"02020202020202020202020202020202\",\
             \"token\":\"03030303030303030303030303030303\",\
             \"parent\":\"04040404040404040404040404040404\",\"actor\":\"grace\",\"number\":2}\n"
        );
    }

    /// R77: what an application calls its users stays inside one quoted text of one line.
    #[test]
    fn a_hostile_name_stays_one_line() {
        let hostile = "a\",\"event\":\"b\\ \u{2028}\u{2029}\u{202e}\u{200b}\u{feff}\u{e0001}";
        let mut event = event(EventKind::Completed);
        event.user = Some(UserId::parse(hostile).unwrap());
        let line = line(&event);
        assert!(line.contains(
            r#""user":"a\",\"event\":\"b\\ \u2028\u2029\u202e\u200b\ufeff\udb40\udc01""#
        ));
        assert_eq!(line.lines().count(), 1);
        // What a type refuses cannot get here at all.
        for refused in [
            "a\nb",
            "a\rb",
            "a\u{1b}[2Jb",
            "a\u{9b}2Jb",
            "a\u{85}b",
            "a\0b",
        ] {
            assert!(UserId::parse(refused).is_err());
            assert!(Tenant::parse(refused).is_err());
            assert!(Actor::parse(refused).is_err());
        }
        // And would be harmless if it did.
        let mut text = String::new();
        write!(Escape(&mut text), "\r\n\u{1b}[2J\u{9b}\u{85}\0\u{7f}").unwrap();
        assert_eq!(text, r"\u000d\u000a\u001b[2J\u009b\u0085\u0000\u007f");
    }

    #[test]
    fn every_kind_is_one_line_in_the_order_recorded() {
        let disk = Disk::default();
        let lines = JsonLines::spawn(disk.clone()).unwrap();
        let every = EventKind::every();
        for kind in &every {
            lines.record(&event(*kind)).unwrap();
        }
        lines.flush().unwrap();
        let text = disk.text();
        assert_eq!(text.lines().count(), every.len());
        for (line, kind) in text.lines().zip(&every) {
            assert!(
                line.contains(&format!("\"kind\":\"{}\"", kind.code())),
                "{line}"
            );
        }
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_told_once() {
        let disk = Disk::default();
        let lines = JsonLines::spawn(disk.clone()).unwrap();
        disk.0.lock().unwrap().1 = true;
        lines.record(&event(EventKind::Completed)).unwrap();
        assert_eq!(lines.flush(), Err(LinesError::Lost));
        assert_eq!(lines.lost(), 1);
        disk.0.lock().unwrap().1 = false;
        lines.record(&event(EventKind::Completed)).unwrap();
        assert_eq!(lines.flush(), Ok(()));
        assert_eq!(disk.text().lines().count(), 1);
    }

    #[test]
    fn a_slow_disk_refuses_at_once_and_leaves_room_for_what_matters() {
        let disk = Disk::default();
        let lines = JsonLines::with_capacity(disk.clone(), 8).unwrap();
        let noise = event(EventKind::Refused(Refused::Unknown));
        let matters = event(EventKind::Refused(Refused::Spent));
        // Held here, the writer can take one batch and no more.
        let held = disk.0.lock().unwrap();
        lines.record(&matters).unwrap();
        while lines.state.waiting.load(Ordering::Relaxed) > 0 {
            thread::yield_now();
        }
        let taken = (0..100).filter(|_| lines.record(&noise).is_ok()).count();
        assert_eq!(taken, 6);
        let taken = (0..100).filter(|_| lines.record(&matters).is_ok()).count();
        assert_eq!(taken, 2);
        drop(held);
        lines.flush().unwrap();
        assert_eq!(disk.text().lines().count(), 9);
    }
}
