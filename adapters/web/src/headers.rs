//! The header lines of every answer.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// What the pages may do: load this site's own style sheet and script, and send forms to this site.
/// Nothing inline, nothing from elsewhere, in nobody's frame (R80).
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; \
     style-src 'self'; img-src 'self' data:; form-action 'self'; object-src 'none'; \
     base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// Sent over https only: browsers ignore it elsewhere (RFC 6797, 8.1). A year, as ASVS 3.4.1 asks.
/// Without `includeSubDomains`, which is the site's to decide.
pub const STRICT_TRANSPORT_SECURITY: &str = "max-age=31536000";

/// The header lines of every page (R79, R80), also for pages that an application serves itself,
/// such as the one to log in. `Strict-Transport-Security` is not among them, because it is for https
/// only: [`STRICT_TRANSPORT_SECURITY`].
pub const PAGE_HEADERS: [(HeaderName, HeaderValue); 7] = [
    // No page says to another site where its visitor came from (W11).
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    ),
    // Neither the back button nor a shared proxy shows a page again (W12).
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (
        HeaderName::from_static("x-robots-tag"),
        HeaderValue::from_static("noindex, nofollow"),
    ),
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(CONTENT_SECURITY_POLICY),
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];

/// Adds [`PAGE_HEADERS`], and over https [`STRICT_TRANSPORT_SECURITY`], in place of what was there.
pub fn add_page_headers(headers: &mut HeaderMap, https: bool) {
    for (name, value) in PAGE_HEADERS {
        headers.insert(name, value);
    }
    if https {
        let value = HeaderValue::from_static(STRICT_TRANSPORT_SECURITY);
        headers.insert(header::STRICT_TRANSPORT_SECURITY, value);
    }
}
