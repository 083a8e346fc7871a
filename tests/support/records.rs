//! Records to put into a store, and numbers that look random. For every adapter.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicU32, Ordering};

use password_reset::Timestamp;
use password_reset::account::UserId;
use password_reset::queue::{Job, JobId, Task};
use password_reset::token::{Epoch, KeyId, Purpose, Selector, TokenDigest, TokenRecord};

pub(crate) fn at(micros: i64) -> Timestamp {
    Timestamp::from_unix_micros(micros)
}

/// 16 bytes that no other call in this process gets.
pub(crate) fn fresh() -> [u8; 16] {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let number = u128::from(NEXT.fetch_add(1, Ordering::Relaxed));
    // Spread like random names, so that keys do not arrive in order.
    number
        .wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
        .to_be_bytes()
}

/// A token of `user`, made at 1,000 and good until 2,000.
pub(crate) fn token(user: &str) -> TokenRecord {
    token_between(user, at(1_000), at(2_000))
}

pub(crate) fn token_between(user: &str, issued: Timestamp, expires: Timestamp) -> TokenRecord {
    TokenRecord::new(
        Selector::from_bytes(fresh()),
        Purpose::Reset,
        None,
        UserId::parse(user).unwrap(),
        Epoch::from_bytes([1; 32]),
        KeyId(1),
        TokenDigest::from_bytes([2; 32]),
        issued,
        expires,
    )
}

pub(crate) fn job(due: i64) -> Job {
    Job {
        id: JobId::from_bytes(fresh()),
        due: at(due),
        task: Task::Unreadable(vec![0, 1, 2]),
    }
}

/// The same numbers at each run. SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    /// Below some power of two between these, so that small and large numbers are as frequent.
    pub(crate) fn up_to_a_power(&mut self, least: u64, most: u64) -> u64 {
        let bits = least + self.below(most - least);
        self.below(1 << bits)
    }
}
