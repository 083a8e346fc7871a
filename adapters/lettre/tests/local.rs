//! Mails into files, and through a program of this machine.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::python::parse;
use common::{Means, cause, everything, means, message, message_to};
use password_reset::mail::Mailer;
use password_reset_lettre::{Failure, FileMailer, SendmailMailer};

/// A folder of its own, gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
        entries
            .map(|entry| name(entry).into_string().unwrap())
            .collect()
    }

    /// A sendmail that does what its name says.
    fn sendmail(&self, name: &str) -> SendmailMailer {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/sendmail");
        symlink(program, self.0.join(name)).unwrap();
        SendmailMailer::new().program(self.0.join(name))
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn each_mail_is_a_file_that_only_its_owner_reads() {
    let folder = Folder::new();
    let mails = Folder(folder.0.join("new/mails"));
    let mailer = FileMailer::new(&mails.0);
    mailer.send(&message()).await.unwrap();
    mailer.send(&message()).await.unwrap();
    let names = mails.names();
    assert_eq!(names.len(), 2, "{names:?}");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&mails.0), 0o700);
    for name in names {
        assert!(name.ends_with(".eml") && !name.starts_with('.'), "{name}");
        let path = mails.0.join(name);
        assert_eq!(mode(&path), 0o600);
        let Some(parsed) = parse(&fs::read(path).unwrap()) else {
            return;
        };
        assert_eq!(parsed.header("To"), common::ADA);
        let text = parsed.parts.first().unwrap();
        assert!(text.contains(&"s3cret text\r\n".to_owned()), "{text:?}");
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_transient() {
    let folder = Folder::new();
    fs::write(folder.0.join("file"), "").unwrap();
    let mailer = FileMailer::new(folder.0.join("file"));
    let error = mailer.send(&message()).await.unwrap_err();
    assert!(matches!(cause(&error), Failure::File(_)));
    assert_eq!(means(&error), Means::Transient);
    assert!(!everything(&error).contains("s3cret"));
}

#[tokio::test]
async fn sendmail_gets_the_mail_and_two_addresses() {
    let folder = Folder::new();
    folder.sendmail("sendmail").send(&message()).await.unwrap();
    let arguments = "-i\n-f\nno-reply@app.example.org\n--\nada@example.com\n";
    assert_eq!(folder.read("arguments"), arguments);
    let mail = folder.read("mail");
    assert!(!mail.contains('\r'));
    let Some(parsed) = parse(mail.as_bytes()) else {
        return;
    };
    assert!(parsed.defects.is_empty(), "{:?}", parsed.defects);
    assert_eq!(parsed.parts.len(), 2);
    assert_eq!(parsed.header("Message-ID"), message().id());
}

#[tokio::test]
async fn w1_an_address_is_neither_an_option_nor_a_command() {
    for to in [
        "-oQ/tmp@example.com",
        "-t@example.com",
        "`id`@example.com",
        "$HOME@example.com",
        "'&'*?@example.com",
    ] {
        let folder = Folder::new();
        folder
            .sendmail("sendmail")
            .send(&message_to(to))
            .await
            .unwrap();
        let arguments = format!("-i\n-f\nno-reply@app.example.org\n--\n{to}\n");
        assert_eq!(folder.read("arguments"), arguments);
    }
}

#[tokio::test]
async fn exit_codes_are_told_apart() {
    for (code, wanted) in [
        // EX_TEMPFAIL, and this machine's own trouble.
        (75, Means::Transient),
        (71, Means::Transient),
        (74, Means::Transient),
        (78, Means::Transient),
        // A relay whose name is not found.
        (68, Means::Transient),
        // A program that broke, perhaps behind the moment at which it had the mail.
        (70, Means::Uncertain),
        (1, Means::Permanent),
        (64, Means::Permanent),
        (65, Means::Permanent),
        // EX_NOUSER, EX_UNAVAILABLE.
        (67, Means::Permanent),
        (69, Means::Permanent),
    ] {
        let folder = Folder::new();
        let mailer = folder.sendmail(&format!("exit-{code}"));
        let error = mailer.send(&message()).await.unwrap_err();
        assert_eq!(means(&error), wanted, "{code}");
        let Failure::Exit { code: Some(seen) } = cause(&error) else {
            panic!("{code}: {error:?}");
        };
        assert_eq!(*seen, code);
    }
    let folder = Folder::new();
    let error = folder
        .sendmail("killed")
        .send(&message())
        .await
        .unwrap_err();
    assert!(matches!(cause(&error), Failure::Exit { code: None }));
    assert_eq!(means(&error), Means::Uncertain);
}

#[tokio::test]
async fn a_missing_program_is_transient() {
    let folder = Folder::new();
    let mailer = SendmailMailer::new().program(folder.0.join("nothing"));
    let error = mailer.send(&message()).await.unwrap_err();
    assert!(matches!(cause(&error), Failure::Program(_)));
    assert_eq!(means(&error), Means::Transient);
}

#[tokio::test]
async fn a_program_that_hangs_is_given_up_and_may_have_taken_the_mail() {
    let folder = Folder::new();
    let mailer = folder
        .sendmail("hanging")
        .timeout(Duration::from_millis(300));
    let error = mailer.send(&message()).await.unwrap_err();
    assert!(matches!(cause(&error), Failure::Timeout { .. }));
    assert_eq!(means(&error), Means::Uncertain);
}
