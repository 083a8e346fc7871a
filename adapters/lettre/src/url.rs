//! Where the server is, out of a URL: [`Url`]. No I/O.

use std::net::{IpAddr, Ipv6Addr};

use secrecy::SecretString;

use crate::error::ConfigError;

const MAX_BYTES: usize = 2048;
const MAX_HOST_BYTES: usize = 253;

/// The parts of `smtps://user:password@host:port`.
pub(crate) struct Url {
    /// `smtps`: TLS before the first word.
    pub(crate) implicit_tls: bool,
    /// Without the brackets of an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) credentials: Option<Credentials>,
}

/// What `AUTH` sends. Neither holds NUL, which ends a field there.
pub(crate) struct Credentials {
    pub(crate) user: SecretString,
    pub(crate) password: SecretString,
}

impl Url {
    pub(crate) fn parse(text: &str) -> Result<Self, ConfigError> {
        if text.len() > MAX_BYTES {
            return Err(ConfigError::TooLong);
        }
        let (scheme, rest) = text.split_once("://").ok_or(ConfigError::Scheme)?;
        let implicit_tls = match scheme {
            "smtps" => true,
            "smtp" => false,
            _ => return Err(ConfigError::Scheme),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#']) {
            return Err(ConfigError::Extra);
        }
        let (credentials, place) = match authority.rsplit_once('@') {
            Some((credentials, place)) => (Some(Credentials::parse(credentials)?), place),
            None => (None, authority),
        };
        let (host, port) = host_and_port(place)?;
        Ok(Self {
            implicit_tls,
            host,
            port: port.unwrap_or(if implicit_tls { 465 } else { 587 }),
            credentials,
        })
    }

    /// Whether the host is this machine by name, so that nothing on the way can listen.
    pub(crate) fn is_loopback(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost")
            || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl Credentials {
    fn parse(text: &str) -> Result<Self, ConfigError> {
        let (user, password) = text.split_once(':').ok_or(ConfigError::Credentials)?;
        let (user, password) = (percent_decode(user)?, percent_decode(password)?);
        if user.is_empty() || password.is_empty() {
            return Err(ConfigError::Credentials);
        }
        Ok(Self {
            user: user.into(),
            password: password.into(),
        })
    }
}

/// One spelling of each octet; what is not percent-encoded is itself, `+` too.
fn percent_decode(text: &str) -> Result<String, ConfigError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' {
            let high = rest.next().and_then(hex).ok_or(ConfigError::Credentials)?;
            let low = rest.next().and_then(hex).ok_or(ConfigError::Credentials)?;
            high << 4 | low
        } else {
            byte
        });
    }
    let text = String::from_utf8(bytes).map_err(|_| ConfigError::Credentials)?;
    if text.chars().any(char::is_control) {
        return Err(ConfigError::Credentials);
    }
    Ok(text)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

fn host_and_port(text: &str) -> Result<(String, Option<u16>), ConfigError> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (ip, port) = rest.split_once(']').ok_or(ConfigError::Host)?;
        ip.parse::<Ipv6Addr>().map_err(|_| ConfigError::Host)?;
        let port = match port.strip_prefix(':') {
            Some(port) => Some(port),
            None if port.is_empty() => None,
            None => return Err(ConfigError::Host),
        };
        (ip, port)
    } else {
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        if !is_host_name(host) {
            return Err(ConfigError::Host);
        }
        (host, port)
    };
    let port = match port {
        None => None,
        // `parse` would take a sign.
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            let port = digits.parse().ok().filter(|port| *port != 0);
            Some(port.ok_or(ConfigError::Port)?)
        }
        Some(_) => return Err(ConfigError::Port),
    };
    Ok((host.to_owned(), port))
}

/// Labels of letters, digits, `-` and `_`, with dots in between. IPv4 addresses pass as well.
pub(crate) fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    text.len() <= MAX_HOST_BYTES && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn the_forms_of_a_url() {
        for (text, implicit_tls, host, port) in [
            ("smtps://mail.example.com", true, "mail.example.com", 465),
            ("smtps://mail.example.com/", true, "mail.example.com", 465),
            ("smtp://mail.example.com", false, "mail.example.com", 587),
            ("smtp://mail.example.com:25", false, "mail.example.com", 25),
            ("smtps://192.0.2.1:2465", true, "192.0.2.1", 2465),
            ("smtp://[::1]:2525", false, "::1", 2525),
            ("smtp://[2001:db8::1]", false, "2001:db8::1", 587),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!(url.implicit_tls, implicit_tls, "{text}");
            assert_eq!((url.host.as_str(), url.port), (host, port), "{text}");
            assert!(url.credentials.is_none(), "{text}");
        }
    }

    #[test]
    fn user_and_password_are_percent_decoded() {
        for (text, user, password) in [
            ("smtps://u:p@mail.example.com", "u", "p"),
            (
                "smtps://ada%40example.com:p%3A%2F%25w@h.example.com",
                "ada@example.com",
                "p:/%w",
            ),
            ("smtps://u:a+b@h.example.com", "u", "a+b"),
            ("smtps://u:p:q@h.example.com", "u", "p:q"),
            ("smtps://u:p@q@h.example.com", "u", "p@q"),
            ("smtps://%C3%BC:%E2%82%AC@h.example.com", "ü", "€"),
        ] {
            let credentials = Url::parse(text).unwrap().credentials.unwrap();
            assert_eq!(credentials.user.expose_secret(), user);
            assert_eq!(credentials.password.expose_secret(), password);
        }
    }

    #[test]
    fn what_is_not_a_url_is_a_typed_error_without_the_password() {
        use ConfigError::*;
        let long = format!("smtps://u:{}@h.example.com", "s3cret".repeat(400));
        for (text, wanted) in [
            ("", Scheme),
            ("mail.example.com", Scheme),
            ("http://u:s3cret@h.example.com", Scheme),
            ("SMTPS://u:s3cret@h.example.com", Scheme),
            ("smtps://", Host),
            ("smtps://u:s3cret@", Host),
            ("smtps://u:s3cret@-h.example.com", Host),
            ("smtps://u:s3cret@h..example.com", Host),
            ("smtps://u:s3cret@h example.com", Host),
            ("smtps://u:s3cret@höst.example.com", Host),
            ("smtps://u:s3cret@h.example.com\r\n", Host),
            ("smtps://u:s3cret@[::1", Host),
            ("smtps://u:s3cret@[::1]x", Host),
            ("smtps://u:s3cret@[h]", Host),
            ("smtps://u:s3cret@h.example.com:", Port),
            ("smtps://u:s3cret@h.example.com:0", Port),
            ("smtps://u:s3cret@h.example.com:+25", Port),
            ("smtps://u:s3cret@h.example.com:65536", Port),
            ("smtps://u:s3cret@h.example.com/in", Extra),
            ("smtps://u:s3cret@h.example.com?tls=none", Extra),
            ("smtps://u:s3cret/x@h.example.com", Extra),
            ("smtps://u@h.example.com", Credentials),
            ("smtps://:s3cret@h.example.com", Credentials),
            ("smtps://u:@h.example.com", Credentials),
            ("smtps://u:s3cret%@h.example.com", Credentials),
            ("smtps://u:s3cret%4@h.example.com", Credentials),
            ("smtps://u:s3cret%+4@h.example.com", Credentials),
            ("smtps://u:s3cret%00@h.example.com", Credentials),
            ("smtps://u:s3cret%0d%0a@h.example.com", Credentials),
            ("smtps://u:s3cret%ff@h.example.com", Credentials),
            (&long, TooLong),
        ] {
            let error = Url::parse(text).err().unwrap();
            let said = format!("{error} {error:?}");
            assert_eq!(format!("{error:?}"), format!("{wanted:?}"), "{text}");
            assert!(!said.contains("s3cret"), "{said}");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.1.2.3", "[::1]"] {
            assert!(
                Url::parse(&format!("smtp://{host}")).unwrap().is_loopback(),
                "{host}"
            );
        }
        for host in [
            "localhost.example.com",
            "127.0.0.1.example.com",
            "10.0.0.1",
            "0.0.0.0",
            "[::]",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(
                !Url::parse(&format!("smtp://{host}")).unwrap().is_loopback(),
                "{host}"
            );
        }
    }
}
