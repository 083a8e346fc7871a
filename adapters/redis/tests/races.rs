//! 64 tasks on two backends with a connection each.

mod common;
#[path = "../../../tests/support/races.rs"]
mod races;

use common::Scratch;
use password_reset_redis::RedisBackend;
use races::races;

races! { redis, crate::pair().await }

async fn pair() -> Option<((), [RedisBackend; 2])> {
    let scratch = Scratch::new().await?;
    Some(((), [scratch.backend().await, scratch.backend().await]))
}
