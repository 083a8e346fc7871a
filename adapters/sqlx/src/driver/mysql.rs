//! MySQL and MariaDB.

use sqlx::SqlStr;
use sqlx::mysql::{MySql, MySqlDatabaseError, MySqlRow};

use super::{Done, Driver, Flavour, Placeholder, Syntax, Verdict, driver_io};

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

    driver_io!();

    async fn execute(
        connection: &mut Self::Connection,
        sql: SqlStr,
        arguments: Self::Arguments,
        persistent: bool,
    ) -> Result<Done, sqlx::Error> {
        let query = sqlx::query_with(sql, arguments).persistent(persistent);
        let done = query.execute(connection).await?;
        Ok(Done {
            rows: done.rows_affected(),
            number: done.last_insert_id(),
        })
    }

    /// Texts are kept as bytes, so that no collation makes two of them equal.
    fn text(row: &MySqlRow, column: &str) -> Result<Option<String>, sqlx::Error> {
        let bytes: Option<Vec<u8>> = sqlx::Row::try_get(row, column)?;
        bytes
            .map(String::from_utf8)
            .transpose()
            .map_err(|error| sqlx::Error::Decode(error.into()))
    }
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
