//! R22: the only way to a `Verified` is a proven token.
use password_reset::Verified;

fn forge() -> Verified {
    Verified {}
}

fn main() {}
