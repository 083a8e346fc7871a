#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod account;
pub mod audit;
pub mod clock;
pub mod error;
pub mod flow;
pub mod human;
pub mod limit;
pub mod mail;
pub mod memory;
pub mod password;
pub mod queue;
mod random;
pub mod recovery;
pub mod sms;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
pub mod text;
pub mod token;
mod wire;

/// The code in the pages of `docs` compiles.
#[cfg(doctest)]
#[doc = include_str!("../docs/alarms.md")]
struct Alarms;

pub use clock::Timestamp;
pub use flow::{ResetFlow, Verified};

/// Foreign types in public signatures: their major versions are ours.
pub use {async_trait::async_trait, rand_core, secrecy, time};
