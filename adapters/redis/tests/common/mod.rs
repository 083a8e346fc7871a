//! A prefix of one's own on the test server, and records to put under it.
#![allow(dead_code, unused_imports, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../../tests/support/proxy.rs"]
pub(crate) mod proxy;
#[path = "../../../../tests/support/records.rs"]
mod records;
#[path = "../../../../tests/support/server.rs"]
mod server;

use std::time::Duration;

use password_reset_redis::redis::aio::MultiplexedConnection;
use password_reset_redis::redis::{Client, cmd};
use password_reset_redis::{RedisBackend, RedisOptions};
use proxy::Proxy;
pub(crate) use records::{Random, at, fresh, job, token};
use server::{OURS, Server, is_orphan, next_name};
use tokio::sync::OnceCell;

pub(crate) fn url() -> String {
    Server::Redis.url()
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
    /// A prefix that nobody else has, or nothing when there is no server: the test is skipped then.
    /// What processes that are gone left behind is deleted first.
    pub(crate) async fn new() -> Option<Self> {
        static CLEAN: OnceCell<bool> = OnceCell::const_new();
        let there = CLEAN.get_or_init(|| async {
            let Some(mut connection) = connection().await else {
                return false;
            };
            for key in keys(&mut connection, OURS).await {
                let text = String::from_utf8_lossy(&key);
                let prefix = text.trim_start_matches('{').split(['}', ':']).next();
                if prefix.is_some_and(is_orphan) {
                    let unlink = cmd("UNLINK").arg(&key).to_owned();
                    unlink.exec_async(&mut connection).await.unwrap();
                }
            }
            true
        });
        if !*there.await {
            Server::Redis.missing(&"nothing answers");
            return None;
        }
        Some(Self {
            prefix: next_name(),
        })
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
        let left = self.left_exactly().await.into_iter();
        let text = |key: Vec<u8>| String::from_utf8_lossy(&key).into_owned();
        let mut left: Vec<_> = left.map(|(key, ttl)| (text(key), ttl)).collect();
        left.sort();
        left
    }

    /// The same, with names that lead back to the keys.
    pub(crate) async fn left_exactly(&self) -> Vec<(Vec<u8>, i64)> {
        let mut connection = connection().await.unwrap();
        let mut left = Vec::new();
        for key in keys(&mut connection, &self.prefix).await {
            let ttl = cmd("PTTL").arg(&key).query_async(&mut connection).await;
            left.push((key, ttl.unwrap()));
        }
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
