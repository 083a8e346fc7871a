//! Which site a request comes from.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::problem::Problem;

/// Refuses to change anything on behalf of another site (R82).
///
/// The second defence; the first is that the cookies are `SameSite=Lax`, so another site's POST
/// comes without them.
pub(crate) async fn refuse_cross_site(request: Request, next: Next) -> Response {
    if request.method().is_safe() || is_own(request.headers()) {
        next.run(request).await
    } else {
        Problem::CrossSite.into_response()
    }
}

/// Answers only who asks for this machine by name. Without it a page of another site could point
/// its own name at 127.0.0.1 and read the answer ("DNS rebinding").
pub(crate) async fn refuse_other_hosts(request: Request, next: Next) -> Response {
    let host = text(request.headers(), &header::HOST).unwrap_or_default();
    // The port goes; the colons of an IPv6 address are inside its brackets.
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => name,
        _ => host,
    };
    let ip = name.trim_start_matches('[').trim_end_matches(']').parse();
    if name == "localhost" || ip.is_ok_and(|ip: std::net::IpAddr| ip.is_loopback()) {
        next.run(request).await
    } else {
        Problem::NotFound.into_response()
    }
}

fn is_own(headers: &HeaderMap) -> bool {
    const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
    let site = text(headers, &SEC_FETCH_SITE);
    let origin = text(headers, &header::ORIGIN);
    // Behind a proxy that speaks https, compare with the configured address instead.
    let same = |origin: &str| {
        let host = text(headers, &header::HOST);
        host.is_some() && origin.strip_prefix("http://") == host
    };
    match (site, origin) {
        // `null` is what browsers send for our own forms: `Referrer-Policy: no-referrer` also hides
        // the origin. Any page can have `null` sent for it, so it counts for nothing by itself.
        (Some("same-origin" | "none"), None | Some("null")) => true,
        (Some("same-origin" | "none") | None, Some(origin)) => same(origin),
        (Some(_), _) => false,
        // Not a browser, and so without a victim's cookies.
        (None, None) => true,
    }
}

/// A header's text. What cannot be read is not absent: it is some text that nothing equals.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let value = headers.get(name)?;
    Some(value.to_str().unwrap_or("unreadable"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    #[test]
    fn only_the_sites_own_pages_and_programs_may_post() {
        let own = "http://127.0.0.1:3000";
        for (site, origin, allowed) in [
            (None, None, true),
            (None, Some(own), true),
            (Some("same-origin"), Some(own), true),
            (Some("same-origin"), Some("null"), true),
            (Some("none"), None, true),
            (None, Some("null"), false),
            (None, Some("http://127.0.0.1:3001"), false),
            (None, Some("https://127.0.0.1:3000"), false),
            (None, Some("http://evil.example.org"), false),
            (Some("cross-site"), None, false),
            (Some("same-site"), Some(own), false),
            (Some("same-origin"), Some("http://evil.example.org"), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "127.0.0.1:3000".parse().unwrap());
            if let Some(site) = site {
                headers.insert("sec-fetch-site", site.parse().unwrap());
            }
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            assert_eq!(is_own(&headers), allowed, "{site:?} {origin:?}");
        }
    }
}
