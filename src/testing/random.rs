//! Randomness that repeats, and randomness that runs out.

use std::array;
use std::convert::Infallible;
use std::fmt;

use hmac::digest::Key;
use hmac::{KeyInit, Mac};
use rand_core::{TryCryptoRng, TryRng};

use crate::testing::InjectedFault;
use crate::token::HmacSha256;

/// A generator that gives the same bytes for the same seed: HMAC-SHA-256 in counter mode, keyed
/// with the seed. The way a stream is cut into calls does not change it.
///
/// # Security
///
/// It is marked as a secure generator so that it fits where one is asked for. Whoever can guess the
/// 64 bits of the seed knows every token: for tests only.
///
/// ```
/// use password_reset::testing::SeededRandom;
/// use rand_core::TryRng;
///
/// # fn main() -> Result<(), std::convert::Infallible> {
/// let (mut one, mut two) = (SeededRandom::new(7), SeededRandom::new(7));
/// assert_eq!(one.try_next_u64()?, two.try_next_u64()?);
/// # Ok(()) }
/// ```
pub struct SeededRandom {
    keyed: HmacSha256,
    counter: u64,
    block: array::IntoIter<u8, 32>,
}

impl SeededRandom {
    /// A generator for this seed.
    pub fn new(seed: u64) -> Self {
        let mut key = Key::<HmacSha256>::default();
        for (place, byte) in key.iter_mut().zip(seed.to_be_bytes()) {
            *place = byte;
        }
        let mut used_up = [0; 32].into_iter();
        used_up.by_ref().for_each(drop);
        Self {
            keyed: HmacSha256::new(&key),
            counter: 0,
            block: used_up,
        }
    }

    fn byte(&mut self) -> u8 {
        loop {
            if let Some(byte) = self.block.next() {
                return byte;
            }
            let mut mac = self.keyed.clone();
            mac.update(&self.counter.to_be_bytes());
            self.counter = self.counter.wrapping_add(1);
            self.block = <[u8; 32]>::from(mac.finalize().into_bytes()).into_iter();
        }
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        array::from_fn(|_| self.byte())
    }
}

impl TryRng for SeededRandom {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes(self.bytes()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes(self.bytes()))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.fill_with(|| self.byte());
        Ok(())
    }
}

impl TryCryptoRng for SeededRandom {}

impl fmt::Debug for SeededRandom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Key and block are not shown, as for any generator.
        f.debug_struct("SeededRandom").finish_non_exhaustive()
    }
}

/// A generator that works for a while and then fails for good, as a starved system might.
#[derive(Debug)]
pub struct FailingRandom {
    inner: SeededRandom,
    left: u64,
}

impl FailingRandom {
    /// A generator whose `nth` call, and every call after it, is an error; 1 fails at once.
    pub fn new(nth: u64) -> Self {
        Self {
            inner: SeededRandom::new(0),
            left: nth.saturating_sub(1),
        }
    }

    fn call(&mut self) -> Result<&mut SeededRandom, InjectedFault> {
        self.left = self
            .left
            .checked_sub(1)
            .ok_or(InjectedFault::new("random.fill"))?;
        Ok(&mut self.inner)
    }
}

impl TryRng for FailingRandom {
    type Error = InjectedFault;

    fn try_next_u32(&mut self) -> Result<u32, InjectedFault> {
        Ok(u32::from_le_bytes(self.call()?.bytes()))
    }

    fn try_next_u64(&mut self) -> Result<u64, InjectedFault> {
        Ok(u64::from_le_bytes(self.call()?.bytes()))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), InjectedFault> {
        let inner = self.call()?;
        bytes.fill_with(|| inner.byte());
        Ok(())
    }
}

impl TryCryptoRng for FailingRandom {}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "tests may panic"
    )]

    use super::*;

    #[test]
    fn a_seed_gives_one_stream_however_it_is_cut() {
        let mut whole = [0; 40];
        SeededRandom::new(7).try_fill_bytes(&mut whole).unwrap();
        // HMAC-SHA-256 of the counters 0 and 1 under the seed, by another implementation.
        let known =
            "203a2a9af54cc7c7b5e364ab810f38fb88c333cde63a595588eedd647413b174b144417dcb3493ad";
        let shown: String = whole.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(shown, known);

        let mut pieces = SeededRandom::new(7);
        let mut parts = vec![0; 3];
        pieces.try_fill_bytes(&mut parts).unwrap();
        parts.extend(pieces.try_next_u32().unwrap().to_le_bytes());
        parts.extend(pieces.try_next_u64().unwrap().to_le_bytes());
        let mut rest = [0; 25];
        pieces.try_fill_bytes(&mut rest).unwrap();
        parts.extend(rest);
        assert_eq!(parts, whole);
    }

    #[test]
    fn two_seeds_give_two_streams() {
        let draw = |seed| SeededRandom::new(seed).try_next_u64().unwrap();
        assert_ne!(draw(1), draw(2));
        assert_ne!(draw(1), draw(1 << 32));
    }

    #[test]
    fn a_failing_generator_fails_from_the_nth_call_on() {
        let mut random = FailingRandom::new(3);
        assert!(random.try_next_u32().is_ok());
        assert!(random.try_fill_bytes(&mut [0; 8]).is_ok());
        assert!(random.try_next_u64().is_err());
        assert!(random.try_fill_bytes(&mut [0; 8]).is_err());
        assert!(FailingRandom::new(1).try_next_u32().is_err());
    }
}
