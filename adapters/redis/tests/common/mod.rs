//! A prefix of one's own on the test server, and records to put under it.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

pub(crate) mod proxy;

use std::io::Write;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use password_reset::Timestamp;
use password_reset::account::UserId;
use password_reset::queue::{Job, JobId, Task};
use password_reset::token::{Epoch, KeyId, Purpose, Selector, TokenDigest, TokenRecord};
use password_reset_redis::redis::aio::MultiplexedConnection;
use password_reset_redis::redis::{Client, cmd};
use password_reset_redis::{RedisBackend, RedisOptions};
use tokio::sync::OnceCell;

const VARIABLE: &str = "PASSWORD_RESET_TEST_REDIS";

pub(crate) fn url() -> String {
    std::env::var(VARIABLE).unwrap_or_else(|_| "redis://127.0.0.1:6379/".to_owned())
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

pub(crate) fn at(micros: i64) -> Timestamp {
    Timestamp::from_unix_micros(micros)
}

/// 16 bytes that no other call in this process gets.
pub(crate) fn fresh() -> [u8; 16] {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let number = u128::from(NEXT.fetch_add(1, Ordering::Relaxed));
    // Spread like random names, so that keys do not arrive in order.
    number
        .wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
        .to_be_bytes()
}

/// A token of `user`, made at 1,000 and good until 2,000.
pub(crate) fn token(user: &str) -> TokenRecord {
    TokenRecord::new(
        Selector::from_bytes(fresh()),
        Purpose::Reset,
        None,
        UserId::parse(user).unwrap(),
        Epoch::from_bytes([1; 32]),
        KeyId(1),
        TokenDigest::from_bytes([2; 32]),
        at(1_000),
        at(2_000),
    )
}

pub(crate) fn job(due: i64) -> Job {
    Job {
        id: JobId::from_bytes(fresh()),
        due: at(due),
        task: Task::Unreadable(vec![0, 1, 2]),
    }
}

/// The same numbers at each run. SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    /// Below some power of two between these, so that small and large numbers are as frequent.
    pub(crate) fn up_to_a_power(&mut self, least: u64, most: u64) -> u64 {
        let bits = least + self.below(most - least);
        self.below(1 << bits)
    }
}
