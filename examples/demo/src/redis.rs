//! Redis or Valkey for what is asked often: limits and the queue.

use password_reset::error::BoxError;
use password_reset_redis::{RedisBackend, RedisOptions};

/// Connects, and warns about a server that may lose what it was given. A lost limit lets a few more
/// requests pass; a lost job is a mail that never comes.
pub(crate) async fn connect(url: &str, prefix: &str) -> Result<RedisBackend, BoxError> {
    let redis = RedisOptions::new(url).prefix(prefix).connect().await?;
    match redis.durability().await {
        Ok(durability) => {
            if !durability.appendonly {
                tracing::warn!("the Redis server forgets jobs when it ends: set appendonly");
            }
            if durability.evicts {
                tracing::warn!("the Redis server may drop jobs: set maxmemory-policy noeviction");
            }
        }
        Err(error) => {
            let error = &error as &(dyn std::error::Error + 'static);
            tracing::warn!(error, "nobody knows whether the Redis server keeps jobs");
        }
    }
    Ok(redis)
}
