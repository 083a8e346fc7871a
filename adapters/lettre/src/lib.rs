#![doc = include_str!("../README.md")]

mod compose;
mod dkim;
mod error;
mod file;
mod sendmail;
mod smtp;
mod url;

pub use dkim::Dkim;
pub use error::{ConfigError, DkimError, Enhanced, Failure, Step};
pub use file::FileMailer;
pub use sendmail::SendmailMailer;
pub use smtp::{SmtpBuilder, SmtpMailer};
