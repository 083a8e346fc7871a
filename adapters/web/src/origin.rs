//! Which site a request comes from.

use http::header::{self, HeaderMap, HeaderName};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The sites whose pages may change something here.
///
/// From the configuration, never from a request's `Host`: whoever can point a name at this server
/// would otherwise choose both sides of the comparison (R82, W6).
#[derive(Clone, Debug)]
pub(crate) struct Origins(Vec<String>);

impl Origins {
    pub(crate) fn new(own: String) -> Self {
        Self(vec![own])
    }

    pub(crate) fn allow(&mut self, origin: String) {
        self.0.push(origin);
    }

    /// Whether the request comes from one of the sites, or from no browser at all.
    pub(crate) fn allows(&self, headers: &HeaderMap) -> bool {
        let site = text(headers, &SEC_FETCH_SITE);
        let origin = text(headers, &header::ORIGIN);
        match (site, origin) {
            // `null` is what browsers send for our own forms: `Referrer-Policy: no-referrer` also
            // hides the origin. Any page can have `null` sent for it, so it counts for nothing by
            // itself.
            (Some("same-origin" | "none"), None | Some("null")) => true,
            // Another site that was allowed by name says "same-site" or "cross-site".
            (_, Some(origin)) => self.0.iter().any(|known| known == origin),
            (Some(_), None) => false,
            // Not a browser, and so without a victim's cookies.
            (None, None) => true,
        }
    }
}

/// A header's text. What cannot be read is not absent: it is some text that nothing equals. Nor is
/// what stands there twice.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() {
        return Some("twice");
    }
    Some(value.to_str().unwrap_or("unreadable"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    #[test]
    fn r82_only_the_sites_own_pages_and_programs_may_post() {
        let own = "https://app.example.org";
        let mut origins = Origins::new(own.into());
        origins.allow("https://spa.example.org".into());
        for (site, origin, allowed) in [
            (None, None, true),
            (None, Some(own), true),
            (Some("same-origin"), Some(own), true),
            (Some("same-origin"), Some("null"), true),
            (Some("same-origin"), None, true),
            (Some("none"), None, true),
            (Some("same-site"), Some("https://spa.example.org"), true),
            (None, Some("null"), false),
            (None, Some("https://app.example.org:8443"), false),
            (None, Some("http://app.example.org"), false),
            (None, Some("https://app.example.org.evil.example"), false),
            (None, Some("https://evil.example.org"), false),
            (Some("cross-site"), None, false),
            (Some("cross-site"), Some("null"), false),
            (Some("same-site"), None, false),
            (Some("same-site"), Some("https://x.example.org"), false),
            (Some("same-origin"), Some("https://evil.example.org"), false),
            (Some("Same-Origin"), None, false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(site) = site {
                headers.insert("sec-fetch-site", site.parse().unwrap());
            }
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            assert_eq!(origins.allows(&headers), allowed, "{site:?} {origin:?}");
        }
    }

    #[test]
    fn a_header_that_stands_there_twice_allows_nothing() {
        let origins = Origins::new("https://app.example.org".into());
        for name in ["origin", "sec-fetch-site"] {
            let mut headers = HeaderMap::new();
            for value in ["https://app.example.org", "same-origin"] {
                headers.append(HeaderName::from_static(name), value.parse().unwrap());
            }
            assert!(!origins.allows(&headers), "{name}");
        }
    }
}
