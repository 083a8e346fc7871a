//! For tests, behind feature `testing`: a clock that moves by hand, seeded randomness, a mailbox,
//! users in memory, faults on demand, and the [conformance kit](kit) for backends.
//!
//! Nothing here belongs into a production binary.

pub mod kit;
