//! Placeholder front page; README becomes the crate documentation.

pub mod account;
pub mod audit;
pub mod clock;
pub mod error;
pub mod limit;
pub mod mail;
pub mod password;
pub mod queue;
mod random;
pub mod recovery;
pub mod store;
pub mod token;
mod wire;

pub use clock::Timestamp;
#[cfg(feature = "testing")]
pub mod testing;
