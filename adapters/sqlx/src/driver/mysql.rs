//! MySQL and MariaDB.

use sqlx::mysql::{MySql, MySqlDatabaseError};

use super::{Driver, Flavour, Placeholder, Syntax, Verdict, driver_io};

impl Driver for MySql {
    const SYNTAX: Syntax = Syntax {
        quote: '`',
        placeholder: Placeholder::Counted,
        dual: "FROM DUAL",
        flavour: Flavour::MySql,
        ..Syntax::PLAIN
    };
    const STEPS: &'static [&'static str] = &[include_str!("../../migrations/mysql/1.sql")];
    const UNSUITABLE: Option<&'static str> = Some(
        "SELECT 'autocommit = 0' AS setting FROM DUAL WHERE @@autocommit = 0
        UNION ALL SELECT 'sql_mode SIMULTANEOUS_ASSIGNMENT' FROM DUAL
        WHERE FIND_IN_SET('SIMULTANEOUS_ASSIGNMENT', @@sql_mode) > 0",
    );
    const ALONE: &'static str = "DO 0";
    const CLOSED_WHEN_CUT: bool = true;

    // Texts are kept as bytes, so that no collation makes two of them equal.
    driver_io!(Vec<u8>, |done: sqlx::mysql::MySqlQueryResult| done
        .last_insert_id());
}

/// See "Server Error Message Reference" of MySQL and "MariaDB Error Codes".
pub(super) fn verdict(said: &MySqlDatabaseError) -> Option<Verdict> {
    Some(match said.number() {
        // Deadlock; "record has changed since last read".
        1213 | 1020 => Verdict::Contended,
        // Lock wait timeout, locked with NOWAIT, statement timeout, too many connections.
        1205 | 3572 | 1969 | 3024 | 1040 | 1203 => Verdict::Busy,
        // Shutdown, killed, read-only after a failover.
        1053 | 1077 | 1079 | 1927 | 3169 | 1290 => Verdict::Unreachable,
        _ => return None,
    })
}
