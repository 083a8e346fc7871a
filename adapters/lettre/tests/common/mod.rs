//! Messages to send, and what came of them.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

pub(crate) mod python;
pub(crate) mod server;

use std::error::Error;

use password_reset::account::Address;
use password_reset::mail::{Kind, Letter, LinkBase, Mailbox, Message, SendError, Site};
use password_reset::queue::{JobId, Lease};
use password_reset_lettre::Failure;

pub(crate) const ADA: &str = "ada@example.com";

pub(crate) fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

/// A site whose mails come from `no-reply@app.example.org`.
pub(crate) fn site(name: Option<&str>) -> Site {
    let mut sender = Mailbox::new(address("no-reply@app.example.org"));
    if let Some(name) = name {
        sender = sender.named(name).unwrap();
    }
    let base = LinkBase::parse("https://app.example.org/reset").unwrap();
    Site::new("Example", base, "help@app.example.org", sender).unwrap()
}

pub(crate) fn letter(subject: &str, text: &str, html: &str) -> Letter {
    Letter {
        subject: subject.into(),
        text: text.into(),
        html: html.into(),
    }
}

pub(crate) fn lease(attempt: u32) -> Lease {
    let job = JobId::from_bytes([0xab; 16]);
    Lease { job, attempt }
}

pub(crate) fn message_to(to: &str) -> Message {
    let letter = letter("Your password", "s3cret text\n", "<p>s3cret html</p>\n");
    let site = site(Some("Example, Inc."));
    Message::new(Kind::ResetLink, lease(1), &site, address(to), letter).unwrap()
}

pub(crate) fn message() -> Message {
    message_to(ADA)
}

/// What a failed mail means: whether it is tried again, and whether it may have arrived.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Means {
    Transient,
    Uncertain,
    Permanent,
}

pub(crate) fn means(error: &SendError) -> Means {
    match (error.is_transient(), error.may_have_arrived()) {
        (true, false) => Means::Transient,
        (true, true) => Means::Uncertain,
        (false, _) => Means::Permanent,
    }
}

/// Why a mail failed.
pub(crate) fn cause(error: &SendError) -> &Failure {
    error.source().unwrap().downcast_ref().unwrap()
}

/// Everything that an error says, to its last source.
pub(crate) fn everything(error: &dyn Error) -> String {
    let mut said = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(cause) = source {
        said += &format!(" {cause} {cause:?}");
        source = cause.source();
    }
    said
}
