//! What the client and the libraries under it log and trace.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use common::{Act, Provider, answer, assert_discreet, impatient, mailers, message, senders, sms};
use log::{LevelFilter, Log, Metadata, Record};

/// All lines of this process.
struct Lines(Mutex<Vec<u8>>);

static LINES: Lines = Lines(Mutex::new(Vec::new()));

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writeln!(lines, "{} {}", record.target(), record.args());
    }

    fn flush(&self) {}
}

impl Write for &Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn w13_no_line_of_any_level_holds_a_secret() {
    log::set_logger(&LINES).unwrap();
    log::set_max_level(LevelFilter::Trace);
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(|| &LINES)
        .with_ansi(false)
        .try_init()
        .unwrap();

    let quoting = String::from_utf8(message().text().into()).unwrap();
    for act in [
        answer(200),
        Act::Answer(400, quoting),
        Act::Raw(Vec::new()),
        Act::Raw(b"no http\r\n\r\n".to_vec()),
    ] {
        let provider = Provider::start([act]).await;
        let client = impatient();
        for (_, mailer) in mailers(&client, &provider.base) {
            let _ = mailer.send(&message()).await;
        }
        for (_, sender) in senders(&client, &provider.base) {
            let _ = sender.send(&sms()).await;
        }
    }
    let lines = LINES.0.lock().unwrap().clone();
    let lines = String::from_utf8(lines).unwrap();
    // Both kinds were caught.
    assert!(lines.contains("reqwest::connect"), "{lines}");
    assert!(lines.contains("hyper_util::client"), "{lines}");
    assert_discreet(&lines);
}
