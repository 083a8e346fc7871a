//! Randomness as a seam: any [`rand_core::TryCryptoRng`], the operating system's by default.

use std::sync::{Mutex, PoisonError};

use getrandom::SysRng;
use rand_core::{TryCryptoRng, TryRng};
use zeroize::Zeroizing;

use crate::error::BoxError;

/// A source of secret bytes behind a shared reference, so that one flow can serve many threads.
pub(crate) trait Random: Send + Sync + 'static {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), BoxError>;
}

/// The operating system's generator (R1).
pub(crate) struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), BoxError> {
        SysRng.try_fill_bytes(bytes).map_err(Into::into)
    }
}

/// A caller's generator; the lock is held for the copy only.
pub(crate) struct Shared<R>(pub(crate) Mutex<R>);

impl<R> Random for Shared<R>
where
    R: TryCryptoRng + Send + 'static,
    R::Error: Send + Sync + 'static,
{
    fn fill(&self, bytes: &mut [u8]) -> Result<(), BoxError> {
        let mut rng = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rng.try_fill_bytes(bytes).map_err(Into::into)
    }
}

/// `N` secret bytes, wiped when dropped.
pub(crate) fn secret<const N: usize>(random: &dyn Random) -> Result<Zeroizing<[u8; N]>, BoxError> {
    let mut bytes = Zeroizing::new([0; N]);
    random.fill(bytes.as_mut())?;
    Ok(bytes)
}

/// `N` bytes that are unique but not secret: identifiers of jobs, claims and leases.
pub(crate) fn id<const N: usize>(random: &dyn Random) -> Result<[u8; N], BoxError> {
    let mut bytes = [0; N];
    random.fill(&mut bytes)?;
    Ok(bytes)
}

/// A number drawn uniformly from `0..bound`; 0 when `bound` is 0.
///
/// Multiply and shift: the bias is below `bound / 2^64`, which no one can measure.
pub(crate) fn below(random: &dyn Random, bound: u64) -> Result<u64, BoxError> {
    let draw = u64::from_le_bytes(id::<8>(random)?);
    let scaled = (u128::from(draw) * u128::from(bound)) >> 64;
    Ok(u64::try_from(scaled).unwrap_or(0))
}
