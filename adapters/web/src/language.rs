//! Which language a visitor reads.

use http::header::{self, HeaderMap};
use password_reset::text::Language;

/// What is looked at of one header: nobody reads more languages than fit in here.
const MAX_BYTES: usize = 1_024;

/// The language that `Accept-Language` likes best among those that there are (RFC 9110, 12.5.4).
/// `None` where it names none of them.
pub(crate) fn accepted(headers: &HeaderMap) -> Option<Language> {
    let value = headers.get(header::ACCEPT_LANGUAGE)?.to_str().ok()?;
    let value = value.get(..MAX_BYTES.min(value.len()))?;
    let mut best = None;
    for range in value.split(',') {
        let (tag, weight) = match range.split_once(';') {
            Some((tag, parameter)) => (tag, weight(parameter)),
            None => (range, Some(1_000)),
        };
        let (Some(language), Some(weight)) = (Language::of_tag(tag.trim()), weight) else {
            continue;
        };
        // The first of equals: browsers list them in order.
        if weight > best.map_or(0, |(_, weight)| weight) {
            best = Some((language, weight));
        }
    }
    best.map(|(language, _)| language)
}

/// `q=0.8` in thousandths; `None` for anything else.
fn weight(parameter: &str) -> Option<u16> {
    let (name, value) = parameter.trim().split_once('=')?;
    let (whole, decimals) = value.split_once('.').unwrap_or((value, ""));
    let digits = decimals.bytes().all(|byte| byte.is_ascii_digit());
    if !name.trim().eq_ignore_ascii_case("q") || decimals.len() > 3 || !digits {
        return None;
    }
    match whole {
        "0" => format!("{decimals:0<3}").parse().ok(),
        "1" => Some(1_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(value: &str) -> Option<Language> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_LANGUAGE, HeaderValue::from_str(value).ok()?);
        accepted(&headers)
    }

    #[test]
    fn the_language_that_is_liked_best_wins() {
        for (value, language) in [
            ("de", Some(Language::German)),
            ("de-AT,de;q=0.9,en;q=0.8", Some(Language::German)),
            ("da, en-GB;q=0.8, fr;q=0.9", Some(Language::French)),
            ("en;q=0.1, ja ; q=0.35", Some(Language::Japanese)),
            ("es,pt", Some(Language::Spanish)),
            ("pt;q=0, es;q=0.001", Some(Language::Spanish)),
            ("pt;q=0", None),
            ("*", None),
            ("tlh, x-klingon", None),
            ("", None),
            ("de;q=2", None),
            ("de;q=0.1234", None),
            ("de;q=-1", None),
            ("de;x=1", None),
            (";;;,,,q=1", None),
        ] {
            assert_eq!(of(value), language, "{value:?}");
        }
        assert_eq!(of(&format!("{}de", "xx,".repeat(10_000))), None);
        assert_eq!(of("\u{e9}de"), None);
        assert_eq!(accepted(&HeaderMap::new()), None);
    }
}
