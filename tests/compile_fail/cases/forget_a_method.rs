//! Lesson of others: no method that carries security has a default body.
use password_reset::async_trait;
use password_reset::error::BoxError;
use password_reset::limit::{Decision, LimitKey, Quota, RateLimiter};
use password_reset::Timestamp;

struct Half;

#[async_trait]
impl RateLimiter for Half {
    async fn check(&self, _: &LimitKey, _: &Quota, _: Timestamp) -> Result<Decision, BoxError> {
        Ok(Decision::Allow)
    }
}

fn main() {}
