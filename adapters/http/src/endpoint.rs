//! Where a provider listens, and what names and keys may look like.

use password_reset::mail::LinkBase;
use secrecy::{ExposeSecret, SecretString};

use crate::error::ConfigError;

const MAX_KEY_BYTES: usize = 4_096;
const MAX_NAME_BYTES: usize = 128;
const MAX_HOST_BYTES: usize = 253;

/// A URL that a key may be sent to: `https`, or `http` to a loopback host; nothing that would have
/// to be escaped, no query.
///
/// The rules are those for the address of the reset page, so its parser serves here as well.
#[derive(Clone)]
pub(crate) struct Endpoint(LinkBase);

impl Endpoint {
    pub(crate) fn parse(url: &str) -> Result<Self, ConfigError> {
        let url = LinkBase::parse(url).map_err(|_| ConfigError::Url)?;
        // As clients write it into `host`, which a signature covers: lower case, no default port.
        let plain = format!("{}{}", url.origin(), url.path());
        LinkBase::parse(&plain)
            .map(Self)
            .map_err(|_| ConfigError::Url)
    }

    /// `base` is scheme, host and port; `path` begins with a slash.
    pub(crate) fn under(base: &str, path: &str) -> Result<Self, ConfigError> {
        let base = Self::parse(&format!("{}/", base.strip_suffix('/').unwrap_or(base)))?;
        if base.0.path() != "/" {
            return Err(ConfigError::Url);
        }
        Self::parse(&format!("{}{path}", base.0.origin()))
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub(crate) fn path(&self) -> &str {
        self.0.path()
    }

    /// Host and port, as in a `host` header.
    pub(crate) fn host(&self) -> String {
        let origin = self.0.origin();
        let host = origin.split_once("://").map_or("", |(_, host)| host);
        host.to_owned()
    }
}

/// A key that fits into a header.
pub(crate) fn check_key(key: &SecretString) -> Result<(), ConfigError> {
    let key = key.expose_secret();
    let fits = (1..=MAX_KEY_BYTES).contains(&key.len());
    if !fits || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ConfigError::Key);
    }
    Ok(())
}

/// A name that means the same in a path, a header, a form and JSON.
pub(crate) fn check_name(what: &'static str, name: &str) -> Result<(), ConfigError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let fits = (1..=MAX_NAME_BYTES).contains(&name.len());
    if !fits || !name.bytes().all(plain) {
        return Err(ConfigError::Name { what });
    }
    Ok(())
}

/// A host as a browser writes it: a name, or an address, without a port.
pub(crate) fn check_host(host: &str) -> Result<(), ConfigError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.[]:".contains(&byte);
    let fits = (1..=MAX_HOST_BYTES).contains(&host.len());
    if !fits || !host.bytes().all(plain) {
        return Err(ConfigError::Name { what: "host" });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    #[test]
    fn a_base_is_https_or_loopback_and_nothing_but_an_origin() {
        for (base, url) in [
            ("https://api.example.org", "https://api.example.org/v1/x"),
            (
                "https://API.example.org:443/",
                "https://api.example.org/v1/x",
            ),
            ("http://127.0.0.1:8025", "http://127.0.0.1:8025/v1/x"),
            ("http://[::1]:8025", "http://[::1]:8025/v1/x"),
            ("http://localhost:80", "http://localhost/v1/x"),
        ] {
            assert_eq!(Endpoint::under(base, "/v1/x").unwrap().as_str(), url);
        }
        for base in [
            "http://api.example.org",
            "http://127.0.0.1.example.org",
            "ftp://api.example.org",
            "https://key@api.example.org",
            "https://api.example.org/v1",
            "https://api.example.org//",
            "https://api.example.org?x=1",
            "https://api.example.org#x",
            "https://",
            "",
        ] {
            let refused = Endpoint::under(base, "/v1/x").err().unwrap();
            assert_eq!(refused, ConfigError::Url, "{base}");
        }
    }

    #[test]
    fn w9_keys_and_names_cannot_end_a_header_line_or_leave_their_path() {
        for key in ["", "a\r\nb", "a\nb", "a b", "k\u{e9}y", "a\0"] {
            assert_eq!(check_key(&key.into()), Err(ConfigError::Key), "{key:?}");
        }
        check_key(&"SG.abc-_=/+".into()).unwrap();
        for name in ["", "a/b", "a?b", "a b", "a\r\n", "a%2f", &"a".repeat(129)] {
            let refused = check_name("name", name).unwrap_err();
            assert_eq!(refused, ConfigError::Name { what: "name" }, "{name:?}");
        }
        // What is left of a path traversal is refused with the URL.
        assert!(Endpoint::under("https://api.example.org", "/v3/../messages").is_err());
    }
}
