//! Looks into the database from outside, and has it keep a ledger.

mod postgres;
mod sqlite;

use std::collections::BTreeMap;

use password_reset::error::BoxError;
use password_reset::queue;

use crate::facts::{Audit, Change, Facts, Job, Row, Task, Token, Waiting};

pub(crate) use postgres::Postgres;
pub(crate) use sqlite::Sqlite;

/// Every column as text; what cannot be null is never none.
type Texts = Vec<Option<String>>;

/// A connection of the torture's own, past every fault.
pub(crate) enum Store {
    Sqlite(Sqlite),
    Postgres(Box<Postgres>),
}

/// What differs between the databases.
struct Dialect {
    /// Bytes as hexadecimal digits.
    hex: fn(&str) -> String,
    /// A time as microseconds since 1970.
    micros: fn(&str) -> String,
}

impl Store {
    /// Has triggers keep a ledger of what is committed. To be called once, after the tables are
    /// there.
    pub(crate) async fn keep_ledger(&self) -> Result<(), BoxError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.keep_ledger().await,
            Self::Postgres(postgres) => postgres.keep_ledger().await,
        }
    }

    /// Ends what was started for it.
    pub(crate) async fn close(&self) -> Result<(), BoxError> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(postgres) => postgres.close().await,
        }
    }

    /// What the database finds wrong with itself.
    async fn damage(&self) -> Result<Vec<String>, BoxError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.damage().await,
            Self::Postgres(postgres) => postgres.damage().await,
        }
    }

    async fn rows(&self, select: String) -> Result<Vec<Texts>, BoxError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.rows(select).await,
            Self::Postgres(postgres) => postgres.rows(select).await,
        }
    }

    fn dialect(&self) -> &'static Dialect {
        match self {
            Self::Sqlite(_) => &sqlite::DIALECT,
            Self::Postgres(_) => &postgres::DIALECT,
        }
    }

    /// All of it.
    pub(crate) async fn facts(&self) -> Result<Facts, BoxError> {
        let mut facts = Facts::default();
        // First what is still to be done: when there is nothing, nothing that is read after it
        // changes any more.
        self.read_ledger(&mut facts).await?;
        facts.users = self.users().await?;
        facts.tokens = self.tokens().await?;
        facts.audit = self.audit().await?;
        facts.damage = self.damage().await?;
        Ok(facts)
    }

    async fn users(&self) -> Result<BTreeMap<String, String>, BoxError> {
        let rows = self.rows("SELECT email, CAST(id AS TEXT) FROM users".into());
        let rows = rows.await?.into_iter();
        rows.map(|row| Ok((text(&row, 0)?, text(&row, 1)?)))
            .collect()
    }

    async fn tokens(&self) -> Result<Vec<Token>, BoxError> {
        let Dialect { hex, micros } = self.dialect();
        let select = format!(
            "SELECT {}, user_id, {}, {}, CASE WHEN claim IS NULL THEN '' ELSE 'claimed' END, {}, {}, {}
             FROM password_reset_tokens",
            hex("selector"),
            micros("issued_at"),
            micros("expires_at"),
            micros("hold_until"),
            micros("spent_at"),
            micros("revoked_at"),
        );
        let token = |row: Texts| {
            Ok(Token {
                selector: text(&row, 0)?,
                user: text(&row, 1)?,
                issued_at: number(&row, 2)?,
                expires_at: number(&row, 3)?,
                claimed: text(&row, 4)? == "claimed",
                hold_until: maybe_number(&row, 5)?,
                spent_at: maybe_number(&row, 6)?,
                revoked_at: maybe_number(&row, 7)?,
            })
        };
        self.rows(select).await?.into_iter().map(token).collect()
    }

    async fn audit(&self) -> Result<Audit, BoxError> {
        let mut audit = Audit::default();
        let select = "SELECT name, kind, coalesce(job, ''), coalesce(token, '')
                      FROM password_reset_audit";
        for row in self.rows(select.into()).await? {
            let (name, kind) = (text(&row, 0)?, text(&row, 1)?);
            let count = audit.counts.entry(name.clone()).or_default();
            *count = count.saturating_add(1);
            match name.as_str() {
                "authn_password_change" => {
                    let count = audit.changes.entry(text(&row, 3)?).or_default();
                    *count = count.saturating_add(1);
                }
                "password_reset_withheld" => {
                    audit.withheld.insert(text(&row, 2)?, kind);
                }
                "password_reset_settled" if kind == "settled.by_sweep" => {
                    audit.settled_by_sweep = audit.settled_by_sweep.saturating_add(1);
                }
                _ => {}
            }
        }
        Ok(audit)
    }

    async fn read_ledger(&self, facts: &mut Facts) -> Result<(), BoxError> {
        let mut waiting = self.waiting().await?;
        let mut jobs: BTreeMap<String, usize> = BTreeMap::new();
        let mut sessions: BTreeMap<String, Row> = BTreeMap::new();
        // The bare name would be the text's in PostgreSQL, and order 10 before 9.
        let select = "SELECT CAST(seq AS TEXT), CAST(at AS TEXT), what, coalesce(id, ''),
                      coalesce(user_id, ''), coalesce(note, '')
                      FROM torture_ledger ORDER BY torture_ledger.seq";
        for row in self.rows(select.into()).await? {
            let (seq, at) = (number(&row, 0)?, number(&row, 1)?);
            let (id, user, note) = (text(&row, 3)?, text(&row, 4)?, text(&row, 5)?);
            match text(&row, 2)?.as_str() {
                "job" => {
                    jobs.insert(id.clone(), facts.jobs.len());
                    facts.jobs.push(Job {
                        what: task(&note)?,
                        gone: None,
                        waiting: waiting.remove(&id),
                        id,
                    });
                }
                "job-gone" => {
                    let place = jobs.get(&id).copied().unwrap_or(usize::MAX);
                    if let Some(job) = facts.jobs.get_mut(place) {
                        job.gone = Some(at);
                    }
                }
                "password" => facts.changes.push(Change {
                    seq,
                    at,
                    user,
                    hash: note,
                    attempt: None,
                }),
                "session" => {
                    let (digest, begun) = (id.clone(), seq);
                    sessions.insert(
                        id,
                        Row {
                            digest,
                            user,
                            begun,
                        },
                    );
                }
                "session-gone" => {
                    sessions.remove(&id);
                }
                other => return Err(format!("the ledger tells of a {other}").into()),
            }
        }
        facts.sessions = sessions.into_values().collect();
        Ok(())
    }

    async fn waiting(&self) -> Result<BTreeMap<String, Waiting>, BoxError> {
        let Dialect { hex, micros } = self.dialect();
        let select = format!(
            "SELECT {}, {}, CASE WHEN dead_at IS NULL THEN '' ELSE 'dead' END
             FROM password_reset_jobs",
            hex("id"),
            micros("due")
        );
        let waiting = |row: Texts| {
            let dead = text(&row, 2)? == "dead";
            // A dead letter's is the end of time, which is not a number everywhere.
            let due = if dead { i64::MAX } else { number(&row, 1)? };
            Ok((text(&row, 0)?, Waiting { due, dead }))
        };
        self.rows(select).await?.into_iter().map(waiting).collect()
    }
}

/// Reads a job's bytes as the library does.
fn task(digits: &str) -> Result<Task, BoxError> {
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair: &[u8]| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?);
    let bytes: Result<Vec<u8>, BoxError> = pairs.map(byte).collect();
    Ok(match queue::Task::decode(&bytes?) {
        queue::Task::Deliver { identifier, .. } => Task::Link {
            spelling: identifier.as_str().to_owned(),
        },
        queue::Task::Notice { user, at, .. } => Task::Notice {
            user: user.as_str().to_owned(),
            at: at.unix_micros(),
        },
        _ => Task::Other,
    })
}

fn text(row: &Texts, column: usize) -> Result<String, BoxError> {
    let text = row.get(column).cloned().flatten();
    text.ok_or_else(|| "a column is null that never should be".into())
}

fn number(row: &Texts, column: usize) -> Result<i64, BoxError> {
    Ok(text(row, column)?.parse()?)
}

fn maybe_number(row: &Texts, column: usize) -> Result<Option<i64>, BoxError> {
    let text = row.get(column).and_then(Option::as_deref);
    Ok(text.map(str::parse).transpose()?)
}
