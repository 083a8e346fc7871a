//! "This wasn't me" on two backends with a connection each.

#[path = "../../../tests/support/cancel.rs"]
mod cancel;
mod common;

use cancel::cancels;
use common::Scratch;
use password_reset_redis::RedisBackend;

cancels! { redis, crate::pair().await }

async fn pair() -> Option<((), [RedisBackend; 2])> {
    let scratch = Scratch::new().await?;
    Some(((), [scratch.backend().await, scratch.backend().await]))
}
