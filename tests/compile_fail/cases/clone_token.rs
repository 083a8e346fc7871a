//! R11: a token is not copied about.
use password_reset::token::LinkToken;

fn keep(token: &LinkToken) -> LinkToken {
    token.clone()
}

fn main() {}
