#![doc = include_str!("../README.md")]

mod build;
mod error;
mod file;
mod filter;

pub use build::{Build, Built, Lines, Progress};
pub use error::{BuildError, FilterError};
pub use filter::BreachFilter;
