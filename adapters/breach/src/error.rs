//! What can go wrong.

use std::io;

/// Why a filter gives no answer. Tells nothing about the password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// The file could not be read.
    #[error("the filter file could not be read")]
    Read(#[from] io::Error),
    /// The file is something else.
    #[error("this is not a filter file")]
    NotAFilter,
    /// The file was made by another version of this crate.
    #[error("the filter file has version {found}, and this crate reads {known}")]
    Version {
        /// What the file says.
        found: u32,
        /// What is read here.
        known: u32,
    },
    /// The file was cut or changed after it was made. Make it again.
    #[error("the filter file is damaged: {what}")]
    Damaged {
        /// Where.
        what: &'static str,
    },
    /// More look-ups wait than there is room for.
    #[error("too many look-ups are waiting")]
    Busy,
    /// The thread that reads the file has ended.
    #[error("the filter's thread has ended")]
    Ended,
}

/// Why no filter was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The list could not be read.
    #[error("the list could not be read")]
    Read(#[source] io::Error),
    /// The filter, or a part of it, could not be written.
    #[error("the filter could not be written")]
    Write(#[source] io::Error),
    /// A line is not forty hexadecimal digits, with `:count` behind them or without.
    #[error("line {line} is not a SHA-1 with its count")]
    Line {
        /// Which, from 1.
        line: u64,
    },
    /// More than fit into a filter.
    #[error("the list is too long")]
    TooMany,
}
