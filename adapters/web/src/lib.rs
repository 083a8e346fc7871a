#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod activity;
#[cfg(feature = "actix")]
pub mod actix;
mod answer;
#[cfg(feature = "axum")]
pub mod axum;
mod body;
mod builder;
mod cancel;
mod client;
mod codes;
mod factor;
mod forms;
mod handoff;
mod headers;
mod language;
mod origin;
mod page;
mod paths;
mod problem;
mod service;
mod widget;

pub use activity::Activity;
pub use body::MAX_BODY_BYTES;
pub use builder::{BuildError, Builder};
pub use client::{Forwarding, InvalidNetwork, Proxies};
pub use headers::{
    CONTENT_SECURITY_POLICY, PAGE_HEADERS, STRICT_TRANSPORT_SECURITY, add_page_headers,
};
pub use page::{Asking, Cancel, Choose, Factor, Page, Render, Theme, ThemeError, View};
pub use paths::{CHANGE_PASSWORD, InvalidPath, Paths};
pub use problem::Problem;
pub use service::ResetWeb;
pub use widget::{Widget, WidgetError};

/// The service as OpenAPI 3.1, in JSON, for the default paths.
pub const OPENAPI: &str = include_str!("../openapi.json");

/// Foreign types in public signatures: their major versions are ours.
pub use {bytes, http};
