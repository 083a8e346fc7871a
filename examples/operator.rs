//! What an operator does beside the running application: tables, dead letters, tokens, accounts.
//!
//! ```text
//! alias operator='cargo run --quiet --example operator --'
//! export PASSWORD_RESET_DATABASE=postgres://app@db.example.com/app
//!
//! operator migrate                       # create the tables, or bring them up to date
//! operator queue                         # how many jobs are due, wait, and were given up
//! operator dead list                     # what was given up: when, after how many tries, not whom
//! operator dead list --show-identifier   # whom too: personal data
//! operator dead retry 3f0c…              # one of them becomes a job again; or --all
//! operator dead purge --older-than 30    # delete those that were given up 30 days ago
//! operator purge                         # delete records of tokens that expired 7 days ago
//! operator audit list --severity critical           # what happened, the latest first
//! operator audit journey job=3f0c…                  # everything that one request led to
//! operator audit purge --older-than 400             # retention is your decision
//! operator audit forget 42 --actor "grace, ticket 7"  # what the trail holds of this user
//!
//! operator reset 42 --actor "grace, ticket 7"         # a link is mailed to the owner
//! operator invite 42 --actor "grace, ticket 7"        # the same for a first password
//! operator revoke 42 --actor "grace, ticket 7"        # the links of this user die
//! operator end-sessions 42 --actor "grace, ticket 7"  # and so do the sessions
//! operator force-reset 42 --actor "grace, ticket 7"   # all three at once
//! operator resume 42 --actor "grace, ticket 7" --key-file app.key   # a pause ends
//! operator danger-link 42 --actor "grace, ticket 7" \
//!     --link-base https://app.example.com/reset --key-file app.key   # prints a link
//! ```
//!
//! The last seven are in the audit trail with their actor. All but `revoke` need the table of users:
//! change `users` in `operator/acts.rs` to describe yours.
//!
//! `--database` takes `sqlite:`, `postgres://` and `mysql://`; `--redis` says that the queue is in
//! Redis. Both can come from the environment, where no list of processes shows their passwords.
//!
//! The others are calls of two traits, [`TokenStore`] and [`JobQueue`], so they work on any
//! backend; what they change is recorded in the audit trail of the database. An application that
//! has its [`ResetFlow`] at hand calls `flow.operator`, `flow.revive` and the like instead.
//!
//! The program ends with 0 when all was done, with 1 and one line on stderr when something failed,
//! and with 2 when it was called in a way that it does not know.
//!
//! [`ResetFlow`]: password_reset::ResetFlow

#[path = "operator/acts.rs"]
mod acts;
#[path = "operator/trail.rs"]
mod trail;

use std::collections::HashSet;
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use acts::{Act, Stores, Who};
use clap::{Args, Parser, Subcommand};
use password_reset::Timestamp;
use password_reset::audit::{AuditSink, Event, EventKind};
use password_reset::error::BoxError;
use password_reset::queue::{DeadLetter, JobId, JobQueue, Task};
use password_reset::store::{Reach, TokenStore};
use password_reset::token::Purpose;
use password_reset::token::state::Revocation;
use password_reset_redis::RedisOptions;
use password_reset_sqlx::sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions,
};
use password_reset_sqlx::sqlx::{MySqlPool, PgPool, Pool};
use password_reset_sqlx::{
    Driver, MySqlBackend, PostgresBackend, SqlAudit, SqlBackend, SqliteBackend,
};
use trail::Trail;

/// How many rows one statement deletes: few, so that the application never waits long.
const BATCH: u32 = 500;
const DAY: Duration = Duration::from_secs(86_400);
/// As long as [`ResetFlow`](password_reset::ResetFlow) keeps them: a used token can be told from an
/// unknown one, and a late change still finds its record.
const TOMBSTONES: Duration = Duration::from_secs(7 * 86_400);

/// Looks after the tables, the queue and the tokens of password-reset.
#[derive(Parser)]
#[command(name = "operator", version)]
pub(crate) struct Flags {
    /// sqlite:PATH, postgres://user@host/name, or mysql://user@host/name for MySQL and MariaDB.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "PASSWORD_RESET_DATABASE",
        hide_env_values = true
    )]
    database: Option<String>,

    /// What the names of the tables begin with, if not with password_reset_.
    #[arg(long, global = true, value_name = "TEXT")]
    prefix: Option<String>,

    /// The schema of the tables; in MySQL and MariaDB their database.
    #[arg(long, global = true, value_name = "NAME")]
    schema: Option<String>,

    /// The queue is not in the database but in this Redis or Valkey.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "PASSWORD_RESET_REDIS",
        hide_env_values = true
    )]
    redis: Option<String>,

    /// What the keys in Redis begin with.
    #[arg(
        long,
        global = true,
        value_name = "TEXT",
        default_value = "password-reset"
    )]
    redis_prefix: String,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Creates the tables, or brings them up to date.
    Migrate,
    /// Prints how many jobs are due, wait for their time, and were given up.
    Queue,
    /// Jobs that were given up.
    #[command(subcommand)]
    Dead(Dead),
    /// Revokes every open token of a user, also of one whose account is gone.
    Revoke(Who),
    /// The audit trail.
    #[command(subcommand)]
    Audit(Trail),
    #[command(flatten)]
    Act(Act),
    /// Deletes the records of tokens that expired more than seven days ago.
    Purge {
        /// At most so many; all unless told.
        #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
        limit: u64,
    },
}

#[derive(Subcommand)]
enum Dead {
    /// Prints them, the oldest first: id, when, how many tries, kind.
    List {
        /// At most so many.
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u32,
        /// Prints whom they are about. Personal data: keep it out of tickets and logs.
        #[arg(long)]
        show_identifier: bool,
    },
    /// Makes them jobs again, due at once. The mails go out however long ago they were asked for.
    Retry(Which),
    /// Deletes those that were given up longer ago. The application does this after 30 days.
    Purge {
        /// So many days ago, or longer.
        #[arg(long, value_name = "DAYS")]
        older_than: u32,
    },
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// As `dead list` prints it.
    #[arg(value_name = "ID", value_parser = job_id)]
    id: Option<JobId>,
    /// All that were given up until now.
    #[arg(long)]
    all: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Flags::parse(), &mut io::stdout()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {}", in_one_line(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// Connects, and does what was asked.
pub(crate) async fn run(flags: Flags, out: &mut (dyn Write + Send)) -> Result<(), BoxError> {
    let Some(url) = flags.database.as_deref() else {
        return Err("which database? Give --database, or set PASSWORD_RESET_DATABASE".into());
    };
    match url.split(':').next().unwrap_or_default() {
        "sqlite" => {
            if flags.schema.is_some() {
                return Err("SQLite has no schemas".into());
            }
            let file = SqliteConnectOptions::from_str(url)?
                // A wrong path is a mistake, not a new database.
                .create_if_missing(matches!(flags.command, Command::Migrate))
                .journal_mode(SqliteJournalMode::Wal)
                // What people typed does not stay readable in pages that are free again.
                .pragma("secure_delete", "FAST");
            let pool = SqlitePoolOptions::new().max_connections(1);
            let pool = pool.connect_with(file).await?;
            let backend = SqliteBackend::with_pools(pool.clone(), pool.clone());
            run_on(backend, pool, flags, out).await
        }
        "postgres" | "postgresql" => {
            let pool = PgPool::connect(url).await?;
            let mut backend = PostgresBackend::with_pool(pool.clone());
            if let Some(schema) = &flags.schema {
                backend = backend.schema(schema)?;
            }
            run_on(backend, pool, flags, out).await
        }
        "mysql" | "mariadb" => {
            let pool = MySqlPool::connect(url).await?;
            let mut backend = MySqlBackend::with_pool(pool.clone());
            if let Some(schema) = &flags.schema {
                backend = backend.schema(schema)?;
            }
            run_on(backend, pool, flags, out).await
        }
        _ => Err("--database begins with sqlite:, postgres:// or mysql://".into()),
    }
}

async fn run_on<D: Driver>(
    mut backend: SqlBackend<D>,
    users: Pool<D>,
    flags: Flags,
    out: &mut (dyn Write + Send),
) -> Result<(), BoxError> {
    if let Some(prefix) = &flags.prefix {
        backend = backend.prefix(prefix)?;
    }
    if let Command::Migrate = flags.command {
        backend.migrate().await?;
        return Ok(writeln!(out, "the tables are up to date")?);
    }
    let tokens: Arc<dyn TokenStore> = Arc::new(backend.clone());
    let queue: Arc<dyn JobQueue> = match &flags.redis {
        Some(url) => {
            let redis = RedisOptions::new(url).prefix(&flags.redis_prefix);
            Arc::new(redis.connect().await?)
        }
        None => Arc::new(backend.clone()),
    };
    let audit = SqlAudit::spawn(&backend)?;
    let operated = match flags.command {
        Command::Act(act) => {
            let stores = Stores {
                tokens,
                queue,
                users,
                audit: audit.clone(),
            };
            acts::act(act, stores, out).await
        }
        Command::Audit(command) => {
            let now = Timestamp::from(SystemTime::now());
            trail::run(command, &backend, &audit, now, out).await
        }
        command => operate(command, tokens, queue, &audit, out).await,
    };
    // What was done is written down, also when the rest failed.
    let recorded = audit.flush().await;
    backend.close().await;
    operated?;
    Ok(recorded?)
}

/// From here on nobody knows which databases these are.
async fn operate(
    command: Command,
    tokens: Arc<dyn TokenStore>,
    queue: Arc<dyn JobQueue>,
    audit: &dyn AuditSink,
    out: &mut (dyn Write + Send),
) -> Result<(), BoxError> {
    let now = Timestamp::from(SystemTime::now());
    match command {
        // Done already.
        Command::Migrate | Command::Act(_) | Command::Audit(_) => {}
        Command::Queue => {
            let length = queue.length(now).await?;
            writeln!(out, "due     {}", length.due)?;
            writeln!(out, "waiting {}", length.waiting)?;
            writeln!(out, "dead    {}", length.dead)?;
        }
        Command::Dead(Dead::List {
            limit,
            show_identifier,
        }) => {
            for letter in queue.dead_letters(limit).await? {
                writeln!(out, "{}", line(&letter, show_identifier))?;
            }
        }
        Command::Dead(Dead::Retry(Which { id: Some(id), .. })) => {
            if revive(&queue, &id, now, audit, out).await?.is_none() {
                return Err("there is no such dead letter".into());
            }
        }
        Command::Dead(Dead::Retry(Which { id: None, .. })) => {
            retry_all(&queue, now, audit, out).await?;
        }
        Command::Dead(Dead::Purge { older_than }) => {
            let before = now - DAY.saturating_mul(older_than);
            let mut count = 0;
            loop {
                match queue.purge_dead(before, BATCH).await? {
                    0 => break,
                    purged => count += purged,
                }
            }
            audit.record(&Event::new(now, EventKind::Purged { count }))?;
            writeln!(out, "{count} dead letters deleted")?;
        }
        Command::Revoke(Who { user, actor }) => {
            let revoked = tokens.revoke_all(&user, Reach::All, now, Revocation::Requested);
            let count = revoked.await?;
            let mut event = Event::new(now, EventKind::Revoked { count });
            event.user = Some(user);
            event.actor = Some(actor);
            audit.record(&event)?;
            writeln!(out, "{count} tokens revoked")?;
        }
        Command::Purge { limit } => {
            let (before, mut left) = (now - TOMBSTONES, limit);
            while left > 0 {
                let batch = u32::try_from(left).unwrap_or(u32::MAX).min(BATCH);
                match tokens.purge(before, batch).await? {
                    0 => break,
                    purged => left = left.saturating_sub(purged),
                }
            }
            let count = limit - left;
            audit.record(&Event::new(now, EventKind::Purged { count }))?;
            writeln!(out, "{count} records deleted")?;
        }
    }
    Ok(())
}

/// Those that were given up until `now`. A job that is given up again meanwhile waits for somebody
/// to look at it.
async fn retry_all(
    queue: &Arc<dyn JobQueue>,
    now: Timestamp,
    audit: &dyn AuditSink,
    out: &mut (dyn Write + Send),
) -> Result<(), BoxError> {
    let mut revived = HashSet::new();
    loop {
        let mut letters = queue.dead_letters(BATCH).await?;
        letters.retain(|letter| letter.at <= now && !revived.contains(&letter.id));
        if letters.is_empty() {
            return Ok(());
        }
        for letter in letters {
            // Somebody else may have been quicker.
            revived.extend(revive(queue, &letter.id, now, audit, out).await?);
        }
    }
}

/// Makes a dead letter a job again. Under a new name: under the old one the lease of a worker that
/// was paused since could remove it.
async fn revive(
    queue: &Arc<dyn JobQueue>,
    dead: &JobId,
    now: Timestamp,
    audit: &dyn AuditSink,
    out: &mut (dyn Write + Send),
) -> Result<Option<JobId>, BoxError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    let id = JobId::from_bytes(bytes);
    let revived = queue.revive(dead, &id, now).await?;
    if revived {
        let mut event = Event::new(now, EventKind::Revived);
        event.job = Some(id);
        audit.record(&event)?;
        writeln!(out, "{dead} is now {id}")?;
    }
    Ok(revived.then_some(id))
}

/// One dead letter, on one line.
fn line(letter: &DeadLetter, show_identifier: bool) -> String {
    let (kind, whom) = match &letter.task {
        Task::Deliver {
            identifier,
            suppressed: false,
        } => ("link", identifier.as_str()),
        Task::Deliver { identifier, .. } => ("link-withheld", identifier.as_str()),
        Task::Notice { address, .. } => ("notice", address.as_str()),
        Task::Start { user, purpose, .. } => match purpose {
            Purpose::First => ("invitation", user.as_str()),
            _ => ("started-link", user.as_str()),
        },
        _ => ("unreadable", ""),
    };
    let DeadLetter {
        id, attempts, at, ..
    } = letter;
    let line = format!("{id}  {at}  {attempts:>3} tries  {kind}");
    match show_identifier {
        true => format!("{line}  {whom}"),
        false => line,
    }
}

/// The 32 hexadecimal digits that [`JobId`] prints.
fn job_id(text: &str) -> Result<JobId, &'static str> {
    let digits = text.len() == 32 && text.chars().all(|c| c.is_ascii_hexdigit());
    match u128::from_str_radix(text, 16) {
        Ok(number) if digits => Ok(JobId::from_bytes(number.to_be_bytes())),
        _ => Err("32 hexadecimal digits, as `dead list` prints them"),
    }
}

/// An error and its causes.
fn in_one_line(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        // Some errors repeat what their cause says.
        if !text.contains(&said) {
            text.push_str(&format!(": {said}"));
        }
        cause = error.source();
    }
    text.replace(['\n', '\r'], " ")
}
