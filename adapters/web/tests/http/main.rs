//! One suite over HTTP, the same for axum, for actix-web and for `ResetWeb::respond` alone.
//!
//! Every test is a function of the [`Front`](server::Front) that it goes through; [`suite!`] makes
//! one named test of it for each.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

/// Each of these once for every front.
macro_rules! suite {
    ($($name:ident),+ $(,)?) => {
        mod axum { $(#[test] fn $name() { super::$name(crate::server::Front::Axum); })+ }
        mod actix { $(#[test] fn $name() { super::$name(crate::server::Front::Actix); })+ }
        mod bare { $(#[test] fn $name() { super::$name(crate::server::Front::Bare); })+ }
    };
}

mod bare;
#[path = "../../../../tests/support/http.rs"]
mod client;
mod server;
mod sources;
mod stalled;
mod unavailable;
mod world;

mod blind;
mod bodies;
mod cancel;
mod cancel_built;
mod codes;
mod factor;
mod handoff;
mod headers;
mod journey;
mod languages;
mod mounted;
mod pages;
mod refused;
mod scanner;
mod widget;
mod work;
