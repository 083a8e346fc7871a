//! R40, W20: digests are compared in one place, in constant time.
use password_reset::token::TokenDigest;

fn same(left: &TokenDigest, right: &TokenDigest) -> bool {
    left == right
}

fn main() {}
