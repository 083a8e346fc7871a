//! PostgreSQL.

use sqlx::postgres::{PgDatabaseError, Postgres};

use super::{Driver, Placeholder, Syntax, Verdict, driver_io};

impl Driver for Postgres {
    const SYNTAX: Syntax = Syntax {
        placeholder: Placeholder::Numbered('$'),
        // Each statement sees what was committed before it, whatever the session's default is.
        begin: "BEGIN ISOLATION LEVEL READ COMMITTED",
        ..Syntax::PLAIN
    };
    const STEPS: &'static [&'static str] = &[include_str!("../../migrations/postgres/1.sql")];
    const ALONE: &'static str = "SELECT pg_advisory_xact_lock(8103509220437455219)";
    const CLOSED_WHEN_CUT: bool = true;

    driver_io!(String, |_| 0);
}

/// See PostgreSQL's appendix A, "Error Codes".
pub(super) fn verdict(said: &PgDatabaseError) -> Option<Verdict> {
    Some(match said.code() {
        // Serialization failure, deadlock.
        "40001" | "40P01" => Verdict::Contended,
        // Lock not available, statement timeout, too many connections.
        "55P03" | "57014" | "53300" => Verdict::Busy,
        // Shutdown, crash, starting up, dropped database, idle session timeout.
        "57P01" | "57P02" | "57P03" | "57P04" | "57P05" => Verdict::Unreachable,
        // Connection exceptions; read-only after a failover.
        code if code.starts_with("08") || code == "25006" => Verdict::Unreachable,
        _ => return None,
    })
}
