//! A prefix of one's own on the test server, and records to put under it.
#![allow(dead_code, unused_imports, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../../tests/support/proxy.rs"]
pub(crate) mod proxy;
#[path = "../../../../tests/support/records.rs"]
mod records;

use std::io::Write;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use password_reset_redis::redis::aio::MultiplexedConnection;
use password_reset_redis::redis::{Client, cmd};
use password_reset_redis::{RedisBackend, RedisOptions};
use proxy::Proxy;
pub(crate) use records::{Random, at, fresh, job, token};
use tokio::sync::OnceCell;

const VARIABLE: &str = "PASSWORD_RESET_TEST_REDIS";

pub(crate) fn url() -> String {
    std::env::var(VARIABLE).unwrap_or_else(|_| "redis://127.0.0.1:6379/".to_owned())
}

/// A broken network in front of the server, and the server's URL behind it.
pub(crate) async fn proxied() -> (Proxy, String) {
    let server = url().replace("redis://", "");
    let proxy = Proxy::start(server.trim_end_matches('/')).await;
    let url = format!("redis://{}/", proxy.address());
    (proxy, url)
}

/// Keys of one test.
pub(crate) struct Scratch {
    prefix: String,
}

impl Scratch {
    /// A prefix that nobody else has, or nothing when there is no server: the test is skipped then,
    /// loudly. Where `CI=true` it fails. What earlier runs of the same test file left is deleted
    /// first, unless it was touched a moment ago: then another run is at work.
    pub(crate) async fn new(file: &str) -> Option<Self> {
        static CLEAN: OnceCell<bool> = OnceCell::const_new();
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let root = format!("pr-test-{file}-");
        let there = CLEAN.get_or_init(|| async {
            let Some(mut connection) = connection().await else {
                return false;
            };
            for key in keys(&mut connection, &root).await {
                let idle = cmd("OBJECT").arg("IDLETIME").arg(&key).to_owned();
                let idle: Result<u64, _> = idle.query_async(&mut connection).await;
                if idle.is_ok_and(|seconds| seconds > 600) {
                    let unlink = cmd("UNLINK").arg(&key).to_owned();
                    unlink.exec_async(&mut connection).await.unwrap();
                }
            }
            true
        });
        if !*there.await {
            skip();
            return None;
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let moment = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let prefix = format!("{root}{}-{number}", moment.as_nanos());
        Some(Self { prefix })
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Another process, as far as the server can tell.
    pub(crate) async fn backend(&self) -> RedisBackend {
        self.through(&url()).await
    }

    /// The same keys, reached another way.
    pub(crate) async fn through(&self, url: &str) -> RedisBackend {
        self.options(url).connect().await.unwrap()
    }

    pub(crate) fn options(&self, url: &str) -> RedisOptions {
        RedisOptions::new(url).prefix(&self.prefix)
    }

    /// Every key there is, with its time to live in milliseconds, or -1.
    pub(crate) async fn left(&self) -> Vec<(String, i64)> {
        let mut connection = connection().await.unwrap();
        let mut left = Vec::new();
        for key in keys(&mut connection, &self.prefix).await {
            let ttl = cmd("PTTL").arg(&key).query_async(&mut connection).await;
            left.push((String::from_utf8_lossy(&key).into_owned(), ttl.unwrap()));
        }
        left.sort();
        left
    }
}

/// A connection to the server, if there is one. One that turns the tests away is there.
pub(crate) async fn connection() -> Option<MultiplexedConnection> {
    let client = Client::open(url()).unwrap();
    let opening = client.get_multiplexed_async_connection();
    let opened = tokio::time::timeout(Duration::from_secs(3), opening).await;
    match opened.ok()? {
        Err(error) if error.is_io_error() => None,
        opened => Some(opened.unwrap()),
    }
}

/// All keys that begin with this prefix, in braces or not.
async fn keys(connection: &mut MultiplexedConnection, prefix: &str) -> Vec<Vec<u8>> {
    let (mut found, mut cursor) = (Vec::new(), 0_u64);
    loop {
        let (next, mut page): (u64, Vec<Vec<u8>>) = cmd("SCAN")
            .arg(cursor)
            .arg("MATCH")
            .arg(format!("*{prefix}*"))
            .arg("COUNT")
            .arg(1_000)
            .query_async(connection)
            .await
            .unwrap();
        found.append(&mut page);
        cursor = next;
        if cursor == 0 {
            return found;
        }
    }
}

/// Once for each test program, past the harness, which hides what a passing test prints.
fn skip() {
    assert!(
        std::env::var_os("CI").is_none_or(|ci| ci != "true"),
        "no Redis server at {VARIABLE} or 127.0.0.1:6379"
    );
    static SAY: Once = Once::new();
    SAY.call_once(|| {
        let program = std::env::args().next().unwrap_or_default();
        let text = format!(
            "\nSKIPPED, nothing was shown: {program}\n  These tests need a Redis or Valkey server. \
             Start `redis-server`, or set\n  {VARIABLE}=redis://host:port/ and run \
             `cargo test -p password-reset-redis` again.\n\n"
        );
        let _ = std::io::stderr().write_all(text.as_bytes());
    });
}
