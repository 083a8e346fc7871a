//! W60: only a password that a policy has judged can be set.
use password_reset::Verified;

async fn raw(verified: Verified, typed: String) {
    let _ = verified.complete(typed).await;
}

fn main() {}
