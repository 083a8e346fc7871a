//! An account from before the cost was raised meets a login.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use password_reset::account::Address;
use password_reset::flow::{Parts, ResetFlow};
use password_reset::mail::{LinkBase, Mailbox, Site};
use password_reset::password::{Argon2id, Policy};
use password_reset::token::Keyring;
use password_reset_sqlx::sqlx::{raw_sql, sqlite::SqlitePoolOptions};
use password_reset_sqlx::{EndSessions, Flag, SqlUserStore, UserTable};

use super::*;

const PASSWORD: &str = "a quiet harbour at dawn";
const INSERT: &str =
    "INSERT INTO users (email, password_hash, verified) VALUES ('ada@example.com', ?1, 1)";

/// With `stored` as the hash of Ada, and logins that hash with `hashing`.
async fn logins(stored: &PasswordHash, hashing: HashPool) -> Logins {
    // In memory, so on one connection.
    let pool = SqlitePoolOptions::new().max_connections(1);
    let pool = pool.connect("sqlite::memory:").await.unwrap();
    let schema = raw_sql(include_str!("../schema.sql"));
    schema.execute(&pool).await.unwrap();
    let insert = query(INSERT).bind(stored.expose());
    insert.execute(&pool).await.unwrap();
    let backend = SqliteBackend::with_pools(pool.clone(), pool.clone());
    let table = UserTable::new("users", Flag::Truth("verified")).disabled(Flag::Truth("disabled"));
    let end = EndSessions::statement("DELETE FROM sessions WHERE user_id = ?1");
    let users = Arc::new(SqlUserStore::new(pool.clone(), table, end));
    let base = LinkBase::parse("http://127.0.0.1:3001/reset-password").unwrap();
    let sender = Mailbox::new(Address::parse("no-reply@example.com").unwrap());
    let flow = ResetFlow::builder(Parts {
        site: Site::new("Example", base, "support@example.com", sender).unwrap(),
        keyring: Keyring::ephemeral().unwrap(),
        users: users.clone(),
        tokens: Arc::new(backend.clone()),
        queue: Arc::new(backend.clone()),
        mailer: Arc::new(crate::Terminal),
        limiter: Arc::new(backend.clone()),
    });
    let flow = flow.hashing(hashing.clone()).build().unwrap();
    let web = ResetWeb::builder(flow).build().unwrap();
    Logins::new(web, pool, users, backend, hashing)
        .await
        .unwrap()
}

#[tokio::test]
async fn an_old_hash_is_renewed_when_its_owner_logs_in() {
    let before = HashPool::new(Argon2id::default()).unwrap();
    let now = HashPool::new(Argon2id::new(19_456, 3, 1).unwrap()).unwrap();
    let parsed = Policy::default()
        .parse(PASSWORD, &Default::default())
        .unwrap();
    let old = before.hash(parsed).await.unwrap();
    let logins = logins(&old, now).await;
    let ada = Identifier::parse("Ada@example.com").unwrap();
    let nobody = Identifier::parse("nobody@example.com").unwrap();
    let hash = async || {
        let hash = query_scalar::<_, String>("SELECT password_hash FROM users");
        hash.fetch_one(&logins.pool).await.unwrap()
    };
    let log_in = async |who, typed| logins.start(who, typed).await.unwrap().is_some();

    assert!(!log_in(&ada, "a quiet harbor at dawn").await);
    assert!(!log_in(&nobody, PASSWORD).await);
    assert_eq!(hash().await, old.expose());
    assert!(log_in(&ada, PASSWORD).await);
    let new = hash().await;
    assert!(new.starts_with("$argon2id$v=19$m=19456,t=3,p=1$"), "{new}");
    // And that is that: the next login changes nothing.
    assert!(log_in(&ada, PASSWORD).await);
    assert_eq!(hash().await, new);
    assert!(!log_in(&ada, "a quiet harbor at dawn").await);
}
