//! The operator example does what it says, on every database and with the queue in Redis.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod common;
#[path = "support/databases.rs"]
mod databases;
#[path = "../examples/operator.rs"]
#[allow(dead_code, reason = "`main` is not called here")]
mod operator;

use std::env::consts::EXE_SUFFIX;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::Parser;
use common::{Backends, File, World, client, typed, user};
use password_reset::Timestamp;
use password_reset::audit::{AuditSink, Event, EventKind};
use password_reset::limit::Unlimited;
use password_reset::queue::{JobId, JobQueue};
use password_reset::store::TokenStore;
use password_reset::testing::Behaviour;
use password_reset_redis::RedisOptions;
use password_reset_sqlx::sqlx::{self, Executor, MySqlPool, PgPool, SqlitePool};
use password_reset_sqlx::{MySqlBackend, PostgresBackend, SqliteAudit, SqliteBackend};

/// The application's table, beside its worker.
macro_rules! acts_of_an_operator {
    ($flags:ident, $pool:ident, $stores:ident) => {
        for statement in [
            "CREATE TABLE users (id BIGINT PRIMARY KEY, email VARCHAR(254),
                password_hash VARCHAR(255), verified INT, disabled INT)",
            "INSERT INTO users VALUES
                (1, 'ada@example.com', '$insecure$00$the-hash-before', 1, 0),
                (2, 'disabled@example.com', '$insecure$00$the-hash-before', 1, 1),
                (4, 'external@example.com', NULL, 1, 0)",
            "CREATE TABLE sessions (user_id BIGINT)",
            "INSERT INTO sessions VALUES (1), (1), (4)",
        ] {
            $pool.execute(statement).await.unwrap();
        }
        let sessions = async || -> i64 {
            let count = sqlx::query_scalar("SELECT count(*) FROM sessions");
            count.fetch_one(&$pool).await.unwrap()
        };
        let (tokens, queue) = $stores;
        let world = World::with(
            Backends {
                tokens,
                queue,
                limiter: Arc::new(Unlimited),
            },
            |builder| builder,
        );
        world.clock.set(Timestamp::from(SystemTime::now()));
        acts(&$flags, &world, sessions).await;
    };
}

/// Two links, two ends of sessions, an invitation, and two links that are printed.
async fn acts(flags: &[&str], world: &World, sessions: impl AsyncFn() -> i64) {
    let works = async |token: &str| world.flow.verify(token, &client()).await.is_ok();
    let mailed = async || {
        world.clock.set(Timestamp::from(SystemTime::now()));
        world.work().await;
        let mail = world.outbox.messages().pop().unwrap();
        (
            mail.to.as_str().to_owned(),
            world.outbox.last_token().unwrap(),
        )
    };
    let said_of = async |command: &str| said(flags, command).await.unwrap_err();
    for (refused, why) in [
        ("reset 9 --actor grace", "there is no such account"),
        ("end-sessions 9 --actor grace", "there is no such account"),
        ("reset 2 --actor grace", "the account is disabled"),
        ("force-reset 4 --actor grace", "the account has no password"),
        ("invite 1 --actor grace", "the account has a password"),
        ("reset 1 --actor grace --life 1441", "a link lives from"),
        ("invite 4 --actor grace --life 10081", "a link lives from"),
    ] {
        let said = said_of(refused).await;
        assert!(said.starts_with(why), "{refused}: {said}");
    }
    assert_eq!(sessions().await, 3);

    let told_of = told(flags, "reset 1 --actor grace --life 5").await;
    assert_eq!(told_of, "a link will be mailed to the owner of 1\n");
    let (to, token) = mailed().await;
    assert_eq!(to, "ada@example.com");
    assert!(works(&token).await);

    told(flags, "end-sessions 4 --actor grace").await;
    assert_eq!(sessions().await, 2);
    told(flags, "force-reset 1 --actor grace").await;
    assert_eq!(sessions().await, 0);
    assert!(!works(&token).await);
    let (_, token) = mailed().await;
    assert!(works(&token).await);

    told(flags, "invite 4 --actor grace").await;
    let (to, token) = mailed().await;
    assert_eq!(to, "external@example.com");
    assert!(works(&token).await);

    let folder = File::new("operator-key");
    let key = folder.0.join("app.key");
    std::fs::write(&key, [7; 32]).unwrap();
    let command = format!("resume 1 --actor grace --key-file {}", key.display());
    let told_of = told(flags, &command).await;
    assert_eq!(
        told_of,
        "requests for 1 were not paused under this key, and are answered\n"
    );
    let mails = world.outbox.attempts();
    for (account, first) in [("1", ""), ("4", " --first")] {
        let command = format!(
            "danger-link {account} --actor grace --link-base https://app.example.com/reset \
            --key-file {}{first}",
            key.display()
        );
        let printed = told(flags, &command).await;
        let link = printed.strip_suffix('\n').unwrap();
        let token = link
            .strip_prefix("https://app.example.com/reset?token=")
            .unwrap();
        world.clock.set(Timestamp::from(SystemTime::now()));
        let works = world.flow.verify(token, &client()).await.unwrap();
        assert_eq!(
            (works.user().as_str(), works.is_first()),
            (account, !first.is_empty())
        );
    }
    assert_eq!(world.outbox.attempts(), mails);
}

#[tokio::test]
async fn an_operator_looks_after_a_sqlite_file() {
    let file = File::new("operator");
    let url = format!("sqlite://{}", file.0.join("reset.db").display());
    let flags = ["--database", &url];
    // A wrong path is a mistake, not a new database.
    assert!(said(&flags, "queue").await.is_err());
    told(&flags, "migrate").await;
    let backend = SqliteBackend::connect(&url).await.unwrap();
    days_of_an_operator(&flags, Arc::new(backend.clone()), Arc::new(backend)).await;

    // What was done is in the audit trail.
    let pool = SqlitePool::connect(&url).await.unwrap();
    let done = "SELECT name, count(*), count(user_id), count(job), count(actor)
        FROM password_reset_audit GROUP BY name ORDER BY name";
    let done: Vec<(String, i64, i64, i64, i64)> =
        sqlx::query_as(done).fetch_all(&pool).await.unwrap();
    let expected = [
        ("authn_token_revoked", 2, 2, 0, 2),
        ("password_reset_purged", 5, 0, 0, 0),
        ("password_reset_revived", 3, 0, 3, 0),
    ];
    let expected = expected
        .map(|(name, all, users, jobs, actors)| (name.to_owned(), all, users, jobs, actors));
    assert_eq!(done, expected);
}

#[tokio::test]
async fn an_operator_reads_shortens_and_forgets() {
    let file = File::new("operator-trail");
    let url = format!("sqlite://{}", file.0.join("reset.db").display());
    let flags = ["--database", &url];
    told(&flags, "migrate").await;
    let backend = SqliteBackend::connect(&url).await.unwrap();
    let audit = SqliteAudit::spawn(&backend).unwrap();
    let now = Timestamp::from(SystemTime::now());
    let job = JobId::from_bytes([7; 16]);
    let long_ago = now - Duration::from_secs(500 * 86_400);
    for (at, kind, job, about) in [
        (long_ago, EventKind::Completed, None, Some("2")),
        (
            now,
            EventKind::Requested { suppressed: false },
            Some(job),
            None,
        ),
        (now, EventKind::Issued, Some(job), Some("1")),
        (now, EventKind::LinkHandedOver, None, Some("2")),
    ] {
        let mut event = Event::new(at, kind);
        event.job = job;
        event.user = about.map(user);
        audit.record(&event).unwrap();
    }
    audit.flush().await.unwrap();

    assert_eq!(told(&flags, "audit list").await.lines().count(), 4);
    let critical = told(&flags, "audit list --severity critical").await;
    assert!(
        critical.ends_with("critical link_handed_over user=\"2\"\n"),
        "{critical}"
    );
    let journey = told(&flags, &format!("audit journey job={job}")).await;
    assert_eq!(journey.lines().count(), 2, "{journey}");
    let purged = told(&flags, "audit purge --older-than 400").await;
    assert_eq!(purged, "1 events deleted\n");
    let forgotten = told(&flags, "audit forget 1 --actor grace").await;
    assert_eq!(forgotten, "2 events deleted\n");
    // What is left says who did it, and not to whom.
    let left = told(&flags, "audit list").await;
    let left: Vec<_> = left
        .lines()
        .map(|line| line.split_once("Z ").unwrap().1)
        .collect();
    let mut expected = [
        "critical link_handed_over user=\"2\"",
        "info forgotten:2 actor=\"grace\"",
        "info purged:1",
    ];
    expected.sort_unstable();
    let mut sorted = left.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, expected);
}

#[tokio::test]
async fn an_operator_acts_for_others_on_a_sqlite_file() {
    let file = File::new("operator-acts");
    let url = format!("sqlite://{}", file.0.join("reset.db").display());
    let flags = ["--database", &url];
    told(&flags, "migrate").await;
    let backend = SqliteBackend::connect(&url).await.unwrap();
    let pool = SqlitePool::connect(&url).await.unwrap();
    let stores = (Arc::new(backend.clone()) as _, Arc::new(backend) as _);
    acts_of_an_operator!(flags, pool, stores);

    // Every act is in the trail, with its actor and the account.
    let done = "SELECT name, severity, count(*) FROM password_reset_audit
        WHERE actor = 'grace' AND user_id IS NOT NULL GROUP BY name, severity ORDER BY name";
    let done: Vec<(String, String, i64)> = sqlx::query_as(done).fetch_all(&pool).await.unwrap();
    let expected = [
        ("authn_token_revoked", "info", 1),
        ("password_reset_link_handed_over", "critical", 2),
        ("password_reset_resumed", "info", 1),
        ("password_reset_started_by_operator", "info", 3),
        ("session_ended_by_operator", "info", 2),
    ];
    let expected = expected.map(|(name, how, count)| (name.to_owned(), how.to_owned(), count));
    assert_eq!(done, expected);
    let all = "SELECT count(*) FROM password_reset_audit";
    let all: i64 = sqlx::query_scalar(all).fetch_one(&pool).await.unwrap();
    assert_eq!(all, 9);
}

#[tokio::test]
async fn an_operator_acts_for_others_on_postgresql() {
    let Some(database) = databases::postgres() else {
        return;
    };
    let flags = ["--database", &database.url];
    told(&flags, "migrate").await;
    let pool = PgPool::connect(&database.url).await.unwrap();
    let backend = PostgresBackend::with_pool(pool.clone());
    let stores = (Arc::new(backend.clone()) as _, Arc::new(backend) as _);
    acts_of_an_operator!(flags, pool, stores);
}

#[tokio::test]
async fn an_operator_acts_for_others_on_mariadb() {
    let Some(database) = databases::mysql() else {
        return;
    };
    let flags = ["--database", &database.url];
    told(&flags, "migrate").await;
    let pool = MySqlPool::connect(&database.url).await.unwrap();
    let backend = MySqlBackend::with_pool(pool.clone());
    let stores = (Arc::new(backend.clone()) as _, Arc::new(backend) as _);
    acts_of_an_operator!(flags, pool, stores);
}

#[tokio::test]
async fn an_operator_looks_after_a_schema_of_postgresql() {
    let Some(database) = databases::postgres() else {
        return;
    };
    let pool = PgPool::connect(&database.url).await.unwrap();
    pool.execute("CREATE SCHEMA \"Auth\"").await.unwrap();
    let flags = [
        "--database",
        &database.url,
        "--schema",
        "Auth",
        "--prefix",
        "pr_",
    ];
    told(&flags, "migrate").await;
    told(&flags, "migrate").await;
    let backend = PostgresBackend::with_pool(pool).schema("Auth").unwrap();
    let backend = backend.prefix("pr_").unwrap();
    days_of_an_operator(&flags, Arc::new(backend.clone()), Arc::new(backend)).await;
}

#[tokio::test]
async fn an_operator_looks_after_mariadb() {
    let Some(database) = databases::mysql() else {
        return;
    };
    let flags = ["--database", &database.url, "--prefix", "pr_"];
    told(&flags, "migrate").await;
    told(&flags, "migrate").await;
    let pool = MySqlPool::connect(&database.url).await.unwrap();
    let backend = MySqlBackend::with_pool(pool).prefix("pr_").unwrap();
    days_of_an_operator(&flags, Arc::new(backend.clone()), Arc::new(backend)).await;
}

#[tokio::test]
async fn an_operator_looks_after_a_queue_in_redis() {
    let Some(redis) = databases::redis() else {
        return;
    };
    let file = File::new("operator-redis");
    let url = format!("sqlite://{}", file.0.join("reset.db").display());
    let flags = [&["--database", &url], &redis.flags()[..]].concat();
    told(&flags, "migrate").await;
    let tokens = SqliteBackend::connect(&url).await.unwrap();
    let queue = RedisOptions::new(&redis.url).prefix(&redis.prefix);
    let queue = queue.connect().await.unwrap();
    days_of_an_operator(&flags, Arc::new(tokens), Arc::new(queue)).await;
}

/// A mail that could not be sent is found, and sent after all; links die, and records go.
async fn days_of_an_operator(
    flags: &[&str],
    tokens: Arc<dyn TokenStore>,
    queue: Arc<dyn JobQueue>,
) {
    // The application ran a year ago, so what it left behind is old by now.
    let world = World::with(
        Backends {
            tokens: Arc::clone(&tokens),
            queue: Arc::clone(&queue),
            limiter: Arc::new(Unlimited),
        },
        |builder| builder,
    );
    let year = Duration::from_secs(365 * 86_400);
    let long_ago = Timestamp::from(SystemTime::now()) - year;
    world.clock.set(long_ago);
    world.outbox.behave(Behaviour::FailTransient);
    let request = async || {
        let (ada, client) = (typed("ada@example.com"), client());
        world.flow.request(&ada, &client).await.unwrap();
    };
    request().await;
    assert_eq!(
        told(flags, "queue").await,
        "due     1\nwaiting 0\ndead    0\n"
    );
    let give_up = async |count: usize| {
        while queue.dead_letters(10).await.unwrap().len() < count {
            world.clock.advance(Duration::from_secs(3_600));
            world.work().await;
        }
    };
    give_up(1).await;
    assert_eq!(
        told(flags, "queue").await,
        "due     0\nwaiting 0\ndead    1\n"
    );

    // Whom it is about is shown to those who ask for it.
    let letter = queue.dead_letters(1).await.unwrap().remove(0);
    let listed = told(flags, "dead list").await;
    let expected = format!(
        "{}  {}  {:>3} tries  link",
        letter.id, letter.at, letter.attempts
    );
    assert_eq!(listed, format!("{expected}\n"));
    let listed = told(flags, "dead list --show-identifier --limit 5").await;
    assert_eq!(listed, format!("{expected}  ada@example.com\n"));
    assert_eq!(told(flags, "dead list --limit 0").await, "");

    // One that there is not, and one that there is: once.
    let unknown = "dead retry 00000000000000000000000000000000";
    assert_eq!(
        said(flags, unknown).await.unwrap_err(),
        "there is no such dead letter"
    );
    let retry = format!("dead retry {}", letter.id);
    let renamed = told(flags, &retry).await;
    let new = renamed
        .strip_prefix(&format!("{} is now ", letter.id))
        .unwrap();
    assert_ne!(new.trim_end(), letter.id.to_string());
    assert!(said(flags, &retry).await.is_err());

    // It arrives, and its link works until the operator revokes it.
    world.outbox.behave(Behaviour::Accept);
    world.clock.set(Timestamp::from(SystemTime::now()));
    world.work().await;
    let token = world.outbox.last_token().unwrap();
    assert!(world.flow.verify(&token, &client()).await.is_ok());
    assert_eq!(
        told(flags, "revoke 2 --actor grace").await,
        "0 tokens revoked\n"
    );
    assert_eq!(
        told(flags, "revoke 1 --actor grace").await,
        "1 tokens revoked\n"
    );
    assert!(world.flow.verify(&token, &client()).await.is_err());

    // The records of the failed tries are old enough to go; the one of today stays.
    assert_eq!(told(flags, "purge --limit 1").await, "1 records deleted\n");
    let purged = told(flags, "purge").await;
    let count: u32 = purged
        .strip_suffix(" records deleted\n")
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(count + 1, letter.attempts);
    assert_eq!(told(flags, "purge").await, "0 records deleted\n");

    // Two more are given up, long ago, and arrive all the same.
    let give_up_as_well = async |count: usize| {
        world.clock.set(long_ago);
        world.outbox.behave(Behaviour::FailTransient);
        for count in 1..=count {
            request().await;
            give_up(count).await;
        }
    };
    give_up_as_well(2).await;
    assert_eq!(told(flags, "dead retry --all").await.lines().count(), 2);
    assert_eq!(told(flags, "dead list").await, "");
    assert_eq!(
        told(flags, "queue").await,
        "due     2\nwaiting 0\ndead    0\n"
    );
    let before = world.outbox.messages().len();
    world.outbox.behave(Behaviour::Accept);
    world.clock.set(Timestamp::from(SystemTime::now()));
    world.work().await;
    assert_eq!(world.outbox.messages().len(), before + 2);

    // The last one nobody wants.
    give_up_as_well(1).await;
    let purged = told(flags, "dead purge --older-than 100000").await;
    assert_eq!(purged, "0 dead letters deleted\n");
    let purged = told(flags, "dead purge --older-than 30").await;
    assert_eq!(purged, "1 dead letters deleted\n");
}

/// The program itself.
fn program() -> PathBuf {
    // Beside the folder of this test. `cargo test` builds it; `cargo test --test operator` does not.
    let here = std::env::current_exe().unwrap();
    let program = here.parent().unwrap().parent().unwrap().join("examples");
    let program = program.join(format!("operator{EXE_SUFFIX}"));
    let changed = |file: &Path| file.metadata().and_then(|file| file.modified()).ok();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let sources = ["operator.rs", "operator/acts.rs", "operator/trail.rs"];
    let sources = sources.map(|file| changed(&examples.join(file)));
    if sources.iter().any(|source| changed(&program) < *source) {
        let build = ["build", "--quiet", "--example", "operator"];
        let built = Command::new(env!("CARGO")).args(build).status().unwrap();
        assert!(built.success());
    }
    program
}

#[test]
fn a_failure_is_one_line_and_a_status() {
    let program = program();
    for (arguments, status, complaint) in [
        ("queue", 1, "error: which database?"),
        (
            "queue --database oracle://host/name",
            1,
            "error: --database begins",
        ),
        ("queue --database sqlite:nowhere/at-all.db", 1, "error: "),
        ("dead retry", 2, "error: "),
        ("revoke", 2, "error: "),
        // Nobody acts without a name.
        ("revoke 1", 2, "error: "),
        ("reset 1", 2, "error: "),
        ("invite 1", 2, "error: "),
        ("end-sessions 1", 2, "error: "),
        ("force-reset 1", 2, "error: "),
        (
            "danger-link 1 --link-base https://app.example.com/ --key-file key",
            2,
            "error: ",
        ),
        ("dead list --limit many", 2, "error: "),
    ] {
        let mut command = Command::new(&program);
        command.env_remove("PASSWORD_RESET_DATABASE");
        let output = command.args(arguments.split(' ')).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{arguments}: {said}");
        assert!(said.starts_with(complaint), "{arguments}: {said}");
        if status == 1 {
            assert_eq!(said.lines().count(), 1, "{said}");
        }
    }
}

/// The link is on stdout alone, the warning on stderr, and nothing is printed when the trail cannot
/// be written.
#[tokio::test]
async fn a_printed_link_comes_with_a_warning_and_not_without_its_event() {
    let folder = File::new("operator-danger");
    let database = format!("sqlite://{}", folder.0.join("reset.db").display());
    told(&["--database", &database], "migrate").await;
    let pool = SqlitePool::connect(&database).await.unwrap();
    let key = folder.0.join("app.key");
    std::fs::write(&key, [7; 32]).unwrap();
    pool.execute(
        "CREATE TABLE users (id INTEGER, email TEXT, password_hash TEXT, verified INT, disabled INT);
        INSERT INTO users VALUES (1, 'ada@example.com', 'h', 1, 0);
        CREATE TABLE sessions (user_id INTEGER)",
    )
    .await
    .unwrap();
    let run = || {
        let mut command = Command::new(program());
        command.args(["danger-link", "1", "--actor", "grace, ticket 7"]);
        command.args(["--link-base", "https://app.example.com/reset", "--key-file"]);
        command
            .arg(&key)
            .args(["--database", &database])
            .output()
            .unwrap()
    };
    let output = run();
    let (out, warning) = (
        String::from_utf8(output.stdout),
        String::from_utf8(output.stderr),
    );
    let (out, warning) = (out.unwrap(), warning.unwrap());
    assert!(output.status.success(), "{warning}");
    assert!(out.starts_with("https://app.example.com/reset?token=") && out.lines().count() == 1);
    assert!(warning.contains("OWNS THE ACCOUNT") && !warning.contains("token="));
    let actor = "SELECT actor FROM password_reset_audit";
    let actor: String = sqlx::query_scalar(actor).fetch_one(&pool).await.unwrap();
    assert_eq!(actor, "grace, ticket 7");

    pool.execute("DROP TABLE password_reset_audit")
        .await
        .unwrap();
    let output = run();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
}

/// What a command prints.
async fn told(flags: &[&str], command: &str) -> String {
    said(flags, command).await.unwrap()
}

async fn said(flags: &[&str], command: &str) -> Result<String, String> {
    let words = ["operator"].into_iter().chain(command.split(' '));
    let words = words.chain(flags.iter().copied());
    let flags = operator::Flags::try_parse_from(words).unwrap();
    let mut out = Vec::new();
    let done = operator::run(flags, &mut out).await;
    done.map_err(|error| error.to_string())?;
    Ok(String::from_utf8(out).unwrap())
}
