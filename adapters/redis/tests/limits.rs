//! Limits over two backends with a connection each.

mod common;
#[path = "../../../tests/support/limits.rs"]
mod limits;

use common::Scratch;
use limits::limits;
use password_reset_redis::RedisBackend;

limits! { redis, crate::pair().await }

async fn pair() -> Option<((), [RedisBackend; 2])> {
    let scratch = Scratch::new().await?;
    Some(((), [scratch.backend().await, scratch.backend().await]))
}
