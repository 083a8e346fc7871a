//! [`SqlUserStore`] on tables as applications have them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/servers.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod servers;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use password_reset::account::{
    Account, Address, Credential, Identifier, SessionScope, Status, Swap, Tenant, UserId, UserStore,
};
use password_reset::async_trait;
use password_reset::password::PasswordHash;
use password_reset::recovery::SecondFactor;
use password_reset::testing::kit::users::UsersFixture;
use password_reset_sqlx::{EndSessions, Flag, IdType, SqlUserStore, UserTable};
use sqlx::{AssertSqlSafe, MySqlPool, PgPool, SqlitePool};

/// One statement on a pool of either kind. The text is the test's own.
macro_rules! run {
    ($pool:expr, $($sql:tt)+) => {
        sqlx::raw_sql(AssertSqlSafe(format!($($sql)+))).execute($pool).await.unwrap()
    };
}

async fn sqlite() -> Option<SqlitePool> {
    let options = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1);
    Some(options.connect("sqlite::memory:").await.unwrap())
}

async fn postgres() -> Option<PgPool> {
    servers::postgres_pool(servers::Isolation::ReadCommitted).await
}

async fn mysql() -> Option<MySqlPool> {
    servers::mysql_pool().await
}

/// The kit's fixture on a table whose name needs quoting.
macro_rules! fixture {
    ($name:ident: $database:ty, $pool:expr, $quote:literal, $create:literal) => {
        mod $name {
            use super::*;

            pub(crate) struct Fixture {
                pool: sqlx::Pool<$database>,
                store: SqlUserStore<$database>,
                table: String,
                next: AtomicU32,
            }

            #[async_trait]
            impl UsersFixture for Fixture {
                fn store(&self) -> Arc<dyn UserStore> {
                    Arc::new(self.store.clone())
                }

                async fn create(&self, address: &Address) -> UserId {
                    let id = self.next.fetch_add(1, Ordering::Relaxed);
                    let mail = address.as_str().to_ascii_lowercase().replace('\'', "''");
                    run!(
                        &self.pool,
                        "INSERT INTO {} (key_no, mail, phc, ok, off) \
                        VALUES ({id}, '{mail}', '$test${id}', '1', '0')",
                        self.table
                    );
                    UserId::parse(&id.to_string()).unwrap()
                }

                async fn create_without_password(&self, address: &Address) -> Option<UserId> {
                    let id = self.create(address).await;
                    // Null and empty mean the same.
                    let none = if id.as_str().ends_with('5') {
                        "''"
                    } else {
                        "NULL"
                    };
                    run!(
                        &self.pool,
                        "UPDATE {} SET phc = {none} WHERE key_no = {id}",
                        self.table
                    );
                    Some(id)
                }
            }

            pub(crate) async fn fresh() -> Option<Fixture> {
                static NEXT: AtomicU32 = AtomicU32::new(0);
                let pool = $pool.await?;
                let name = format!("The {{users}}?1 {}", NEXT.fetch_add(1, Ordering::Relaxed));
                let table = format!("{0}{name}{0}", $quote);
                run!(&pool, $create, table);
                let logins = table.replace("users", "logins").replace("?1", "");
                run!(&pool, "CREATE TABLE {logins} (who BIGINT)");
                // A text of the program's own, as it would stand in an application.
                let end = format!("DELETE FROM {logins} WHERE who = ?1").leak();
                let end = EndSessions::statement(end);
                let columns = UserTable::new(&name, Flag::Truth("ok"))
                    .id("key_no", IdType::Integer)
                    .email("mail")
                    .password("phc")
                    .disabled(Flag::Truth("off"));
                Some(Fixture {
                    store: SqlUserStore::new(pool.clone(), columns, end),
                    pool,
                    table,
                    next: AtomicU32::new(1),
                })
            }

            password_reset::conformance_users! {
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn store() -> Option<Fixture> { fresh().await }
            }
        }
    };
}

fixture! {
    on_sqlite: sqlx::Sqlite, sqlite(), '"',
    "CREATE TABLE {} (key_no INTEGER PRIMARY KEY, mail TEXT COLLATE NOCASE, phc TEXT, ok BOOLEAN,
        off INTEGER)"
}
fixture! {
    on_postgres: sqlx::Postgres, postgres(), '"',
    "CREATE TABLE {} (key_no INT PRIMARY KEY, mail VARCHAR(254), phc TEXT, ok BOOLEAN, off SMALLINT)"
}
fixture! {
    on_mysql: sqlx::MySql, mysql(), '`',
    "CREATE TABLE {} (key_no INT UNSIGNED PRIMARY KEY, mail VARCHAR(254) COLLATE utf8mb4_general_ci,
        phc VARCHAR(255), ok BOOLEAN, off BIT(8), INDEX (mail))"
}

fn typed(text: &str) -> Identifier {
    Identifier::parse(text).unwrap()
}

fn user(id: &str) -> UserId {
    UserId::parse(id).unwrap()
}

fn nothing() -> EndSessions {
    EndSessions::with(|_| async { Ok(()) })
}

async fn found(store: &impl UserStore, text: &str) -> Option<String> {
    let account = store.find(&typed(text)).await.unwrap();
    account.map(|account| account.id.as_str().to_owned())
}

async fn account(store: &impl UserStore, id: &str) -> Account {
    store.account(&user(id)).await.unwrap().unwrap()
}

#[tokio::test]
async fn w2_a_collation_never_finds_a_look_alike() {
    let Some(pool) = mysql().await else { return };
    run!(&pool, "DROP TABLE IF EXISTS look_alikes");
    // `ä` equals `a` in this collation, and so does a space at the end.
    run!(
        &pool,
        "CREATE TABLE look_alikes (id VARCHAR(20) COLLATE utf8mb4_general_ci PRIMARY KEY,
            email VARCHAR(99) COLLATE utf8mb4_general_ci, password_hash TEXT)"
    );
    run!(
        &pool,
        "INSERT INTO look_alikes VALUES ('a', 'mallory@example.com', 'AbC')"
    );
    let table = UserTable::new("look_alikes", Flag::Always).id("id", IdType::Text);
    let store = SqlUserStore::new(pool, table, nothing());
    assert_eq!(
        found(&store, "mallory@example.com").await.as_deref(),
        Some("a")
    );
    assert_eq!(
        found(&store, "MALLORY@example.com").await.as_deref(),
        Some("a")
    );
    assert_eq!(found(&store, "mällory@example.com").await, None);
    assert!(store.account(&user("A")).await.unwrap().is_none());
    let swap = |id, old| {
        let (store, old) = (store.clone(), PasswordHash::parse(old).unwrap());
        let new = PasswordHash::parse("new").unwrap();
        async move {
            let expected = Credential::Password(old);
            store
                .set_password(&user(id), &expected, &new)
                .await
                .unwrap()
        }
    };
    assert_eq!(swap("A", "AbC").await, Swap::Stale, "another key");
    assert_eq!(swap("a", "abc").await, Swap::Stale, "another hash");
    assert_eq!(swap("a", "AbC").await, Swap::Done);
}

#[tokio::test]
async fn rows_that_differ_in_case_only_mean_who_is_spelled_or_nobody() {
    let pool = sqlite().await.unwrap();
    run!(
        &pool,
        "CREATE TABLE users (id INTEGER, email TEXT, password_hash TEXT);
        INSERT INTO users VALUES (1, 'Ada@example.com', 'a'), (2, 'ada@example.com', 'b'),
            (3, 'Grace@example.com', 'c')"
    );
    let any = UserTable::new("users", Flag::Always).email_in_any_case("email");
    let any = SqlUserStore::new(pool.clone(), any, nothing());
    assert_eq!(found(&any, "Ada@example.com").await.as_deref(), Some("1"));
    assert_eq!(found(&any, "ada@example.com").await.as_deref(), Some("2"));
    assert_eq!(found(&any, "ADA@example.com").await, None);
    assert_eq!(found(&any, "grace@EXAMPLE.com").await.as_deref(), Some("3"));
    let exact = UserTable::new("users", Flag::Always).email_as_written("email");
    let exact = SqlUserStore::new(pool, exact, nothing());
    assert_eq!(
        found(&exact, "Grace@example.com").await.as_deref(),
        Some("3")
    );
    assert_eq!(found(&exact, "grace@example.com").await, None);
}

#[tokio::test]
async fn what_a_column_does_not_say_is_taken_for_the_safe_answer() {
    let pool = sqlite().await.unwrap();
    run!(
        &pool,
        "CREATE TABLE users (id INTEGER, email TEXT, password_hash TEXT, ok, off, totp, texts, lang);
        INSERT INTO users VALUES
            (1, 'a@example.com', 'h', 1, 0, NULL, 0, 'de'),
            (2, 'b@example.com', 'h', NULL, NULL, 'secret', 'yes', NULL),
            (3, 'c@example.com', 'h', 'maybe', 'maybe', '', NULL, NULL),
            (4, 'd@example.com', NULL, 'TRUE', 'false', NULL, NULL, NULL),
            (5, 'not an address', '', 1, 0, NULL, NULL, NULL)"
    );
    let table = UserTable::new("users", Flag::Truth("ok"))
        .disabled(Flag::Truth("off"))
        .second_factor(SecondFactor::Device, Flag::NotNull("totp"))
        .second_factor(SecondFactor::Phone, Flag::Truth("texts"))
        .locale("lang");
    let store = SqlUserStore::new(pool, table, nothing());
    let a = account(&store, "1").await;
    assert_eq!((a.verified.len(), a.status), (1, Status::Active));
    assert_eq!(
        (a.has_second_factor(), a.locale.as_deref()),
        (false, Some("de"))
    );
    let b = account(&store, "2").await;
    assert_eq!((b.verified.len(), b.unverified.len()), (0, 1));
    assert_eq!(b.status, Status::Active);
    // R67: a value that says neither yes nor no counts as yes.
    assert_eq!(
        b.second_factors,
        [SecondFactor::Device, SecondFactor::Phone]
    );
    let c = account(&store, "3").await;
    assert_eq!((c.verified.len(), c.status), (0, Status::Disabled));
    let d = account(&store, "4").await;
    assert!(matches!(d.credential, Credential::External));
    assert_eq!((d.verified.len(), d.status), (1, Status::Active));
    let e = account(&store, "5").await;
    assert!(matches!(e.credential, Credential::External));
    assert!(e.verified.is_empty() && e.unverified.is_empty());
    // One spelling for one key.
    for spelling in ["01", "+1", "1 ", "one"] {
        if let Ok(id) = UserId::parse(spelling) {
            let nobody = store.account(&id).await.unwrap();
            assert!(nobody.is_none() || id.as_str() == "1", "{spelling}");
        }
    }
}

#[tokio::test]
async fn uuids_tenants_and_several_statements() {
    let Some(pool) = postgres().await else { return };
    run!(
        &pool,
        "DROP TABLE IF EXISTS people, s1, s2;
        CREATE TABLE people (id UUID PRIMARY KEY, org TEXT, email TEXT, password_hash TEXT,
            state TEXT);
        CREATE TABLE s1 (who UUID);
        CREATE TABLE s2 (who UUID, ended BOOLEAN DEFAULT false);"
    );
    let ids = [
        "6f1c2f1e-0000-4000-8000-000000000001",
        "6f1c2f1e-0000-4000-8000-000000000002",
    ];
    for (id, org) in ids.iter().zip(["acme", "umbrella"]) {
        run!(
            &pool,
            "INSERT INTO people VALUES ('{id}', '{org}', 'ada@example.com', 'h', 'active');
            INSERT INTO s1 VALUES ('{id}');
            INSERT INTO s2 VALUES ('{id}')"
        );
    }
    let table = UserTable::new("people", Flag::Always)
        .id("id", IdType::Uuid)
        .tenant("org")
        .disabled(Flag::Sql("state <> 'active'"));
    let end = EndSessions::statements([
        "DELETE FROM s1 WHERE who = ?1",
        "UPDATE s2 SET ended = true WHERE who = ?1 AND '{}'::jsonb ? 'x' = false",
    ]);
    let store = SqlUserStore::new(pool.clone(), table, end);
    let within = |tenant| {
        let identifier = typed("ada@example.com").in_tenant(Tenant::parse(tenant).unwrap());
        let store = store.clone();
        async move { store.find(&identifier).await.unwrap() }
    };
    let acme = within("acme").await.unwrap();
    assert_eq!(acme.id.as_str(), ids[0]);
    assert_eq!(acme.tenant.unwrap().as_str(), "acme");
    assert!(within("nobody").await.is_none());
    // Two accounts, and no tenant to tell which.
    assert!(found(&store, "ada@example.com").await.is_none());

    let all = SessionScope::All;
    store.end_sessions(&user(ids[0]), all).await.unwrap();
    store.end_sessions(&user("no uuid"), all).await.unwrap();
    let left = "SELECT (SELECT count(*) FROM s1) + (SELECT count(*) FROM s2 WHERE NOT ended)";
    let left: i64 = sqlx::query_scalar(left).fetch_one(&pool).await.unwrap();
    assert_eq!(left, 2, "the other account's sessions stay");
}

/// SQLite takes a name between double quotes that is no column for a text.
#[tokio::test]
async fn a_wrong_column_is_an_error_and_never_an_answer() {
    let pool = sqlite().await.unwrap();
    run!(
        &pool,
        "CREATE TABLE users (id INTEGER, email TEXT, password_hash TEXT, verified_at TEXT);
        INSERT INTO users VALUES (1, 'ada@example.com', 'h', NULL)"
    );
    let good = UserTable::new("users", Flag::NotNull("verified_at"));
    let tables = [
        UserTable::new("users", Flag::NotNull("verifed_at")),
        UserTable::new("users", Flag::Truth("verifed_at")),
        good.clone().disabled(Flag::NotNull("no_column")),
        good.clone()
            .second_factor(SecondFactor::Device, Flag::Truth("no_column")),
        good.clone()
            .second_factor(SecondFactor::Mail, Flag::Truth("no_column")),
        good.clone()
            .second_factor(SecondFactor::Phone, Flag::Truth("no_column")),
        good.clone().id("no_column", IdType::Integer),
        good.clone().email("no_column"),
        good.clone().password("no_column"),
        good.clone().locale("no_column"),
        good.clone().tenant("no_column"),
    ];
    for table in tables {
        let shown = format!("{table:?}");
        let store = SqlUserStore::new(pool.clone(), table, nothing());
        assert!(
            store.find(&typed("ada@example.com")).await.is_err(),
            "{shown}"
        );
    }
    let store = SqlUserStore::new(pool, good, nothing());
    assert!(account(&store, "1").await.verified.is_empty());
}

#[tokio::test]
async fn nobody_is_crowded_out_by_other_spellings_or_tenants() {
    let pool = sqlite().await.unwrap();
    run!(
        &pool,
        "CREATE TABLE users (id INTEGER, email TEXT, password_hash TEXT, org TEXT);
        INSERT INTO users VALUES
            (1, 'ADA@example.com', 'h', NULL), (2, 'Ada@example.com', 'h', NULL),
            (3, 'aDa@example.com', 'h', NULL), (4, 'adA@example.com', 'h', NULL),
            (5, 'AdA@example.com', 'h', NULL), (6, 'ada@example.com', 'h', NULL),
            (7, 'root@example.com', 'h', 'acme'), (8, 'root@example.com', 'h', NULL),
            (9, 'root@example.com', 'h', 'umbrella')"
    );
    let table = UserTable::new("users", Flag::Always).email_in_any_case("email");
    let store = SqlUserStore::new(pool, table.tenant("org"), nothing());
    assert_eq!(found(&store, "ada@example.com").await.as_deref(), Some("6"));
    assert_eq!(found(&store, "AdA@example.com").await.as_deref(), Some("5"));
    assert_eq!(found(&store, "ADa@example.com").await, None);
    assert_eq!(
        found(&store, "root@example.com").await.as_deref(),
        Some("8")
    );
    let within = typed("root@example.com").in_tenant(Tenant::parse("acme").unwrap());
    let account = store.find(&within).await.unwrap().unwrap();
    assert_eq!(account.id.as_str(), "7");
}

#[tokio::test]
async fn a_hash_that_was_cut_off_is_not_a_new_password() {
    let Some(pool) = mysql().await else { return };
    let mut connection = pool.acquire().await.unwrap();
    sqlx::raw_sql(
        "DROP TABLE IF EXISTS narrow;
        CREATE TABLE narrow (id INT, email VARCHAR(99), password_hash VARCHAR(60));
        INSERT INTO narrow VALUES (1, 'ada@example.com', 'old')",
    )
    .execute(&mut *connection)
    .await
    .unwrap();
    // As old servers are set up.
    let options = servers::mysql_options("SET SESSION sql_mode = ''").await;
    let store = SqlUserStore::new(options, UserTable::new("narrow", Flag::Always), nothing());
    let hash = format!("$argon2id$v=19$m=19456,t=2,p=1${}", "a".repeat(66));
    let new = PasswordHash::parse(&hash).unwrap();
    let expected = account(&store, "1").await.credential;
    let swapped = store.set_password(&user("1"), &expected, &new).await;
    assert!(swapped.is_err(), "{swapped:?}");
    assert_eq!(account(&store, "1").await.credential.expose(), b"old");
    let short = PasswordHash::parse("short").unwrap();
    let swapped = store.set_password(&user("1"), &expected, &short).await;
    assert_eq!(swapped.unwrap(), Swap::Done);
}

#[tokio::test]
async fn what_a_column_cannot_hold_is_nobody() {
    let Some(pool) = mysql().await else { return };
    run!(&pool, "DROP TABLE IF EXISTS latin");
    run!(
        &pool,
        "CREATE TABLE latin (id VARCHAR(20) PRIMARY KEY,
            email VARCHAR(99) CHARACTER SET latin1, password_hash TEXT)"
    );
    run!(
        &pool,
        "INSERT INTO latin VALUES ('042', 'ada@example.com', 'h'), ('42', 'eve@example.com', 'h')"
    );
    let table = UserTable::new("latin", Flag::Always);
    let store = SqlUserStore::new(pool.clone(), table, nothing());
    assert_eq!(found(&store, "\u{1f600}@example.com").await, None);
    // A number that is no number: each row is found by its own spelling only.
    assert_eq!(account(&store, "42").await.id.as_str(), "42");
    let new = PasswordHash::parse("new").unwrap();
    let expected = Credential::Password(PasswordHash::parse("h").unwrap());
    let swapped = store.set_password(&user("42"), &expected, &new).await;
    assert_eq!(swapped.unwrap(), Swap::Done);
    let hashes: Vec<String> = sqlx::query_scalar("SELECT password_hash FROM latin ORDER BY id")
        .fetch_all(&pool)
        .await
        .unwrap();
    assert_eq!(hashes, ["h", "new"]);
}

#[tokio::test]
async fn a_table_is_checked_before_anybody_forgets_a_password() {
    let Some(pool) = postgres().await else { return };
    run!(
        &pool,
        "DROP TABLE IF EXISTS members;
        CREATE TABLE members (id UUID, email TEXT, password_hash TEXT);
        DROP TABLE IF EXISTS doors;
        CREATE TABLE doors (who UUID)"
    );
    let good = UserTable::new("members", Flag::Always).id("id", IdType::Uuid);
    let check = |table: UserTable, end: &'static str| {
        let store = SqlUserStore::new(pool.clone(), table, EndSessions::statement(end));
        async move { store.check().await }
    };
    let end = "DELETE FROM doors WHERE who = ?1";
    check(good.clone(), end).await.unwrap();
    let of_table = "the users' table as configured: ";
    let of_end = "the statement that ends sessions: ";
    for (table, end, about, words) in [
        (
            UserTable::new("no_table", Flag::Always),
            end,
            of_table,
            "no_table",
        ),
        (
            good.clone().password("no_column"),
            end,
            of_table,
            "no_column",
        ),
        (
            good.clone().id("id", IdType::Integer),
            end,
            of_table,
            "uuid",
        ),
        (good.clone().id("id", IdType::Text), end, of_table, "uuid"),
        (
            good.clone(),
            "DELETE FROM doors WHERE no_column = ?1",
            of_end,
            "no_column",
        ),
        (
            good.clone(),
            "DELETE FROM doors WHERE who = $1",
            "the statement that ends sessions has no `?1`",
            "everybody's",
        ),
        (
            good.clone(),
            "DELETE FROM doors",
            "the statement that ends sessions has no `?1`",
            "everybody's",
        ),
    ] {
        let shown = format!("{table:?} {end}");
        let said = check(table, end).await.unwrap_err().to_string();
        assert!(
            said.starts_with(about) && said.contains(words),
            "{shown}: {said}"
        );
    }
    // A statement that is about everybody ends nothing.
    let everybody = EndSessions::statement("DELETE FROM doors");
    let store = SqlUserStore::new(pool.clone(), good, everybody);
    let id = user("6f1c2f1e-0000-4000-8000-000000000001");
    assert!(store.end_sessions(&id, SessionScope::All).await.is_err());
}

#[tokio::test]
async fn a_key_of_another_kind_is_an_error_before_a_link_is_mailed() {
    let pool = sqlite().await.unwrap();
    run!(
        &pool,
        "CREATE TABLE users (id TEXT, email TEXT, password_hash TEXT);
        INSERT INTO users VALUES ('a1', 'ada@example.com', 'h')"
    );
    let table = UserTable::new("users", Flag::Always);
    let wrong = SqlUserStore::new(pool.clone(), table.clone(), nothing());
    assert_eq!(
        wrong.check().await.unwrap_err().to_string(),
        "the id is not a number; say what it is with `UserTable::id`"
    );
    assert!(wrong.find(&typed("ada@example.com")).await.is_err());
    let right = SqlUserStore::new(pool, table.id("id", IdType::Text), nothing());
    right.check().await.unwrap();
    assert_eq!(
        found(&right, "ada@example.com").await.as_deref(),
        Some("a1")
    );
}

#[tokio::test]
async fn a_check_says_what_is_wrong_in_the_words_of_the_database() {
    let pool = sqlite().await.unwrap();
    run!(
        &pool,
        "CREATE TABLE users (id INTEGER, mail TEXT, password_hash TEXT);
        CREATE TABLE sessions (user_id INTEGER)"
    );
    let table = UserTable::new("users", Flag::Always);
    let good = table.clone().email("mail");
    let end = "DELETE FROM sessions WHERE user_id = ?1";
    for (table, end, said) in [
        (
            table,
            end,
            "the users' table as configured: no such column: email",
        ),
        (
            UserTable::new("members", Flag::Always),
            end,
            "the users' table as configured: no such table: members",
        ),
        (
            good.clone(),
            "DELETE FROM doors WHERE user_id = ?1",
            "the statement that ends sessions: no such table: doors",
        ),
        (
            good.clone(),
            "DELETE FROM sessions",
            "the statement that ends sessions has no `?1`; it would end everybody's",
        ),
    ] {
        let store = SqlUserStore::new(pool.clone(), table, EndSessions::statement(end));
        let error = store.check().await.unwrap_err();
        assert_eq!(error.to_string(), said);
        // What `main` prints of an error.
        assert_eq!(format!("{error:?}"), format!("Error({said})"));
    }
}

#[tokio::test]
async fn a_check_never_quotes_a_row() {
    let Some(pool) = postgres().await else { return };
    run!(
        &pool,
        "DROP TABLE IF EXISTS quoted;
        CREATE TABLE quoted (id BIGINT, email TEXT, password_hash TEXT);
        INSERT INTO quoted VALUES (1, 'ada@example.com', NULL)"
    );
    let table = UserTable::new("quoted", Flag::Sql("CAST(email AS bigint) > 0"));
    let error = SqlUserStore::new(pool, table, nothing()).check().await;
    assert_eq!(
        error.unwrap_err().to_string(),
        "the users' table as configured: the database answers 22P02"
    );
}

#[tokio::test]
async fn a_check_says_on_mysql_too_what_is_wrong() {
    let Some(pool) = mysql().await else { return };
    run!(
        &pool,
        "DROP TABLE IF EXISTS checked;
        CREATE TABLE checked (id VARCHAR(36), mail TEXT, password_hash TEXT);
        INSERT INTO checked VALUES ('a1', 'ada@example.com', 'h')"
    );
    let table = UserTable::new("checked", Flag::Always);
    let right = table.clone().id("id", IdType::Text).email("mail");
    for (table, end, begins, words) in [
        (
            table.clone(),
            nothing(),
            "the users' table as configured: ",
            "email",
        ),
        (table.email("mail"), nothing(), "the id is not a number", ""),
        (
            right,
            EndSessions::statement("DELETE FROM no_doors WHERE who = ?1"),
            "the statement that ends sessions: ",
            "no_doors",
        ),
    ] {
        let store = SqlUserStore::new(pool.clone(), table, end);
        let said = store.check().await.unwrap_err().to_string();
        assert!(said.starts_with(begins) && said.contains(words), "{said}");
    }
}

/// A check leaves nothing behind on its connection that gets in the way of a change.
#[tokio::test]
async fn what_was_checked_can_be_used() {
    let Some(pool) = postgres().await else { return };
    run!(
        &pool,
        "DROP TABLE IF EXISTS narrow_keys, narrow_doors;
        CREATE TABLE narrow_keys (id INT, email TEXT, password_hash TEXT);
        CREATE TABLE narrow_doors (who SMALLINT);
        INSERT INTO narrow_keys VALUES (1, 'ada@example.com', 'h');
        INSERT INTO narrow_doors VALUES (1)"
    );
    let end = EndSessions::statement("DELETE FROM narrow_doors WHERE who = ?1");
    let table = UserTable::new("narrow_keys", Flag::Always);
    let one = sqlx::postgres::PgPoolOptions::new().max_connections(1);
    let options = pool.connect_options().as_ref().clone();
    let one = one.connect_with(options).await.unwrap();
    let store = SqlUserStore::new(one, table, end);
    store.check().await.unwrap();
    let expected = account(&store, "1").await.credential;
    let new = PasswordHash::parse("new").unwrap();
    let swapped = store.set_password(&user("1"), &expected, &new).await;
    assert_eq!(swapped.unwrap(), Swap::Done);
    let all = SessionScope::All;
    store.end_sessions(&user("1"), all).await.unwrap();
    let left = "SELECT count(*) FROM narrow_doors";
    let left: i64 = sqlx::query_scalar(left).fetch_one(&pool).await.unwrap();
    assert_eq!(left, 0);
}

/// What every database understands: one account of each kind.
macro_rules! optional_columns {
    ($test:ident, $pool:expr, $create:literal, $in_a_week:literal, $a_week_ago:literal) => {
        #[tokio::test]
        async fn $test() {
            let Some(pool) = $pool.await else { return };
            run!(&pool, "DROP TABLE IF EXISTS optional_columns");
            run!(&pool, $create);
            run!(
                &pool,
                "INSERT INTO optional_columns VALUES
                    (1, 'a@example.com', NULL, '+4930123456', 1, 'old@example.com', {0}),
                    (2, 'b@example.com', NULL, '+4930123456', NULL, 'old@example.com', {1}),
                    (3, 'c@example.com', '', '030 123456', 1, 'no address', {0}),
                    (4, 'd@example.com', 'h', NULL, 1, NULL, NULL)",
                $in_a_week,
                $a_week_ago
            );
            let table = UserTable::new("optional_columns", Flag::Always)
                .phone("phone", Flag::Truth("phone_ok"))
                .former_email("old_email", Flag::Sql("old_until > CURRENT_TIMESTAMP"));
            let store = SqlUserStore::new(pool.clone(), table.clone(), nothing());
            store.check().await.unwrap();
            let a = account(&store, "1").await;
            assert_eq!(a.phone.unwrap().as_str(), "+4930123456");
            let old: Vec<_> = a.former.iter().map(Address::as_str).collect();
            assert_eq!(old, ["old@example.com"]);
            // R14, R16: unconfirmed, too long ago, or unreadable is nothing.
            for id in ["2", "3", "4"] {
                let account = account(&store, id).await;
                assert!(account.phone.is_none() && account.former.is_empty(), "{id}");
            }
            // A former address finds nobody.
            assert_eq!(found(&store, "old@example.com").await, None);
            let wrong = table.former_email("no_column", Flag::Always);
            let wrong = SqlUserStore::new(pool.clone(), wrong, nothing());
            assert!(wrong.check().await.is_err());

            // W68: a first password is set where there is none, once.
            let hash = |text| PasswordHash::parse(text).unwrap();
            let first = async |id, new| {
                let none = Credential::External;
                store
                    .set_password(&user(id), &none, &hash(new))
                    .await
                    .unwrap()
            };
            for id in ["1", "3"] {
                assert_eq!(first(id, "new").await, Swap::Done, "{id}");
                assert_eq!(first(id, "newer").await, Swap::Stale, "{id}");
                assert_eq!(account(&store, id).await.credential.expose(), b"new");
            }
            assert_eq!(first("4", "new").await, Swap::Stale);
            assert_eq!(account(&store, "4").await.credential.expose(), b"h");
            assert_eq!(first("9", "new").await, Swap::Stale);
        }
    };
}
optional_columns! {
    optional_columns_on_sqlite, sqlite(),
    "CREATE TABLE optional_columns (id INTEGER, email TEXT, password_hash TEXT, phone TEXT,
        phone_ok INTEGER, old_email TEXT, old_until TEXT)",
    "datetime('now', '+7 days')", "datetime('now', '-7 days')"
}
optional_columns! {
    optional_columns_on_postgresql, postgres(),
    "CREATE TABLE optional_columns (id INT, email TEXT, password_hash TEXT, phone VARCHAR(16),
        phone_ok SMALLINT, old_email TEXT, old_until TIMESTAMPTZ)",
    "now() + interval '7 days'", "now() - interval '7 days'"
}
optional_columns! {
    optional_columns_on_mysql, mysql(),
    "CREATE TABLE optional_columns (id INT, email VARCHAR(254), password_hash VARCHAR(255),
        phone VARCHAR(16), phone_ok BOOLEAN, old_email VARCHAR(254), old_until DATETIME)",
    "now() + interval 7 day", "now() - interval 7 day"
}
