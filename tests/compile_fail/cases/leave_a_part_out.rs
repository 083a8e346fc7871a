//! W54: a flow without a limiter does not compile.
use std::sync::Arc;

use password_reset::account::UserStore;
use password_reset::flow::Parts;
use password_reset::mail::{Mailer, Site};
use password_reset::memory::{MemoryQueue, MemoryTokens};
use password_reset::token::Keyring;

fn parts(
    site: Site,
    keyring: Keyring,
    users: Arc<dyn UserStore>,
    mailer: Arc<dyn Mailer>,
) -> Parts {
    Parts {
        site,
        keyring,
        users,
        tokens: Arc::new(MemoryTokens::default()),
        queue: Arc::new(MemoryQueue::default()),
        mailer,
    }
}

fn main() {}
