//! The headers of every answer.

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;

const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; form-action 'self'; \
     object-src 'none'; base-uri 'none'; frame-ancestors 'none'";

// Not here: `Strict-Transport-Security`. Browsers heed it over https only, where a site sends
// "max-age=31536000; includeSubDomains" or more (R80).
const HEADERS: [(HeaderName, &str); 7] = [
    // No page says to another site where its visitor came from (W11).
    (header::REFERRER_POLICY, "no-referrer"),
    // Neither the back button nor a shared proxy shows a page again (W12).
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("x-robots-tag"), "noindex, nofollow"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // No scripts, no images, nothing from elsewhere, and in nobody's frame (R80).
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

/// Adds them, whatever the handler set.
pub(crate) async fn add(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}
