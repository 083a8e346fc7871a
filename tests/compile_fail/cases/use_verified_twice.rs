//! R22: a proven token completes at most once.
use password_reset::Verified;
use password_reset::password::NewPassword;

async fn twice(verified: Verified, first: NewPassword, second: NewPassword) {
    let _ = verified.complete(first).await;
    let _ = verified.complete(second).await;
}

fn main() {}
