//! The core's conformance kit, every check under a prefix of its own.
//!
//! `PASSWORD_RESET_KIT_ROUNDS=1000 cargo test --release -p password-reset-redis --test conformance`
//! races each of them a thousand times.

mod common;

use common::Scratch;
use password_reset_redis::RedisBackend;

async fn fresh() -> Option<RedisBackend> {
    let scratch = Scratch::new().await?;
    Some(scratch.backend().await)
}

mod tokens {
    password_reset::conformance_tokens! {
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn store() -> Option<password_reset_redis::RedisBackend> { super::fresh().await }
    }
}

mod queue {
    password_reset::conformance_queue! {
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn store() -> Option<password_reset_redis::RedisBackend> { super::fresh().await }
    }
}

mod limiter {
    password_reset::conformance_limiter! {
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn store() -> Option<password_reset_redis::RedisBackend> { super::fresh().await }
    }
}
