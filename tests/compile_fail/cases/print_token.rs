//! R11: a token has no `Display`.
use password_reset::token::LinkToken;

fn log(token: &LinkToken) -> String {
    format!("{token}")
}

fn main() {}
