//! SQLite.

use sqlx::sqlite::{Sqlite, SqliteError};

use super::{Driver, Flavour, Placeholder, Syntax, Verdict, Writers, driver_io};

impl Driver for Sqlite {
    const SYNTAX: Syntax = Syntax {
        // Not the standard's own: between those SQLite takes a name that it does not know for a
        // text, and a flag for an answer.
        quote: '`',
        placeholder: Placeholder::Numbered('?'),
        greatest: "max",
        least: "min",
        // The lock is taken at once, so that nothing fails for having read too early.
        begin: "BEGIN IMMEDIATE",
        skip_locked: "",
        writers: Writers::One,
        flavour: Flavour::Sqlite,
        ..Syntax::PLAIN
    };
    const STEPS: &'static [&'static str] = &[include_str!("../../migrations/sqlite/1.sql")];
    // A thread runs each call to its end, and undoes a transaction that was dropped. A database in
    // memory would die with its connection.
    const ALONE: &'static str = "";
    const CLOSED_WHEN_CUT: bool = false;

    driver_io!(String, |_| 0);
}

/// `SQLITE_BUSY` and `SQLITE_LOCKED`, whatever the extended code says besides.
pub(super) fn verdict(said: &SqliteError) -> Option<Verdict> {
    use sqlx::error::DatabaseError;
    let code = said.code()?.parse::<i32>().ok()?;
    matches!(code & 0xff, 5 | 6).then_some(Verdict::Busy)
}
