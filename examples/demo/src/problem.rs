//! What went wrong, as its visitor may know it.

use std::time::Duration;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use password_reset::error::BoxError;

use crate::pages;

/// An answer that is not the page that was asked for. None depends on whether an account exists.
pub(crate) enum Problem {
    /// Not a form of this site.
    Malformed,
    TooLarge,
    CrossSite,
    NotFound,
    TooMany {
        retry_after: Duration,
    },
    /// Too busy, or a part of the demo failed.
    Unavailable,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, title, advice) = match self {
            Self::Malformed => (
                StatusCode::BAD_REQUEST,
                "Bad request",
                "This is not a form of this site.",
            ),
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "Too large",
                "Nobody needs that much to fill in a form.",
            ),
            Self::CrossSite => (
                StatusCode::FORBIDDEN,
                "Not from this site",
                "The request came from another site. Please use the forms of this one.",
            ),
            Self::NotFound => (StatusCode::NOT_FOUND, "Not found", "There is no such page."),
            Self::TooMany { .. } => (
                StatusCode::TOO_MANY_REQUESTS,
                "Too many requests",
                "Please wait a while, then try again.",
            ),
            Self::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Not available",
                "We are too busy at this moment. Nothing was changed; please try again.",
            ),
        };
        let retry_after = match self {
            Self::TooMany { retry_after } => Some(retry_after),
            Self::Unavailable => Some(Duration::from_secs(1)),
            _ => None,
        };
        let mut response = (status, pages::problem(title, advice)).into_response();
        if let Some(wait) = retry_after {
            // Rounded up: who waits as long as told is let in.
            let seconds = wait.as_secs().saturating_add(1);
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// The demo's own database failed.
impl From<BoxError> for Problem {
    fn from(error: BoxError) -> Self {
        tracing::error!(
            error = &*error as &(dyn std::error::Error + 'static),
            "a request failed"
        );
        Self::Unavailable
    }
}
