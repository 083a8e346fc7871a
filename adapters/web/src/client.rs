//! Where a request comes from: [`Proxies`].

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};

use http::header::{self, HeaderMap, HeaderName};
use ipnet::IpNet;
use password_reset::account::Client;

/// How many entries of a forwarding header are looked at.
const MAX_ENTRIES: usize = 32;

/// Which header line your proxies write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Forwarding {
    /// `X-Forwarded-For: 192.0.2.7, 198.51.100.1`
    XForwardedFor,
    /// `Forwarded: for=192.0.2.7, for="[2001:db8::1]:4711"` (RFC 7239)
    Forwarded,
}

/// The proxies between the clients and this server.
///
/// A forwarding header says what its sender likes, so none is read until you say who writes it: the
/// limits of one source would otherwise be nobody's limits (R37, W53). Where the address cannot be
/// found out, the client is [unknown](Client::unknown), and all unknown clients share one bucket.
///
/// ```
/// use http::HeaderMap;
/// use password_reset_web::{Forwarding, Proxies};
///
/// let peer = Some([10, 0, 0, 1].into());
/// let mut headers = HeaderMap::new();
/// headers.insert("x-forwarded-for", "203.0.113.66, 192.0.2.7".parse().unwrap());
///
/// // Nobody is trusted: the connection's own address counts.
/// let prefix = |proxies: Proxies| proxies.client(&headers, peer).prefix().unwrap().to_string();
/// assert_eq!(prefix(Proxies::none()), "10.0.0.1");
/// // One proxy, which appended the last entry. What stands before it is the client's own claim.
/// assert_eq!(prefix(Proxies::count(1, Forwarding::XForwardedFor)), "192.0.2.7");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Proxies(Option<(Trusted, Forwarding)>);

#[derive(Clone, Debug)]
enum Trusted {
    Count(usize),
    Within(Vec<IpNet>),
}

impl Proxies {
    /// No proxy: the address of the connection is the client's. The default.
    pub fn none() -> Self {
        Self(None)
    }

    /// So many proxies in a row, each of which appends the address that it was called from. The
    /// client's is the entry that the first of them wrote: the `count`-th from the right.
    ///
    /// Only for a server that nobody reaches but through all of them.
    pub fn count(count: usize, header: Forwarding) -> Self {
        match count {
            0 => Self::none(),
            count => Self(Some((Trusted::Count(count), header))),
        }
    }

    /// The proxies of these networks. From the connection on, entry by entry from the right, the
    /// first address outside of them is the client's.
    ///
    /// # Errors
    ///
    /// [`InvalidNetwork`] for a text that is neither an address nor a network such as `10.0.0.0/8`
    /// or `2001:db8::/32`, and for the network of all addresses: then anybody is a proxy.
    pub fn within<'a, I>(networks: I, header: Forwarding) -> Result<Self, InvalidNetwork>
    where
        I: IntoIterator<Item = &'a str>,
    {
        let parse = |text: &str| {
            let network = text.parse::<IpNet>();
            let network = network.or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            let network = network.ok().and_then(canonical);
            network.ok_or_else(|| InvalidNetwork(text.to_owned()))
        };
        let networks = networks.into_iter().map(parse).collect::<Result<_, _>>()?;
        Ok(Self(Some((Trusted::Within(networks), header))))
    }

    /// What about a request does not go with these proxies.
    fn doubts(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> impl Iterator<Item = Doubt> {
        let named = |header| headers.contains_key(name(header));
        let (unnamed, few) = match &self.0 {
            None => {
                let forwarded = named(Forwarding::XForwardedFor) || named(Forwarding::Forwarded);
                (forwarded, false)
            }
            Some((Trusted::Count(count), header)) => {
                let entries = entries(headers, *header).unwrap_or_default();
                // More are not looked at.
                (false, entries.len() < *count)
            }
            Some((Trusted::Within(networks), header)) => {
                // One of ours that forwards says for whom, in the line that is configured.
                let ours = peer.is_some_and(|peer| is_within(networks, peer));
                (false, ours && !named(*header))
            }
        };
        let nowhere = peer.is_none() && !matches!(self.0, Some((Trusted::Count(_), _)));
        let doubts = [
            (unnamed, Doubt::UnnamedProxy),
            (few, Doubt::TooFewEntries),
            (nowhere, Doubt::NoConnection),
        ];
        doubts
            .into_iter()
            .filter_map(|(is, doubt)| is.then_some(doubt))
    }

    /// The client of a request, from the connection's address and the header that your proxies
    /// write.
    pub fn client(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> Client {
        let address = match &self.0 {
            None => peer,
            Some((Trusted::Count(count), header)) => match entries(headers, *header) {
                // Fewer entries than proxies: it did not come through all of them.
                Some(entries) => entries.into_iter().nth(count.saturating_sub(1)).flatten(),
                None => None,
            },
            Some((Trusted::Within(networks), header)) => {
                let ours = |address| is_within(networks, address);
                let entries = entries(headers, *header).unwrap_or_default();
                let mut at = peer;
                for entry in entries {
                    if !at.is_some_and(ours) {
                        break;
                    }
                    at = entry;
                }
                at
            }
        };
        address.map_or_else(Client::unknown, Client::from_ip)
    }
}

/// What makes many clients share one limit, and the operator does not know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Doubt {
    /// A forwarding header, and nobody is trusted to write it.
    UnnamedProxy,
    /// Fewer entries of the header than there are proxies; none at all from one of our networks.
    TooFewEntries,
    /// No address of the connection, where one is needed.
    NoConnection,
}

impl Doubt {
    const ALL: [Self; 3] = [Self::UnnamedProxy, Self::TooFewEntries, Self::NoConnection];

    const fn text(self) -> &'static str {
        match self {
            Self::UnnamedProxy => {
                "a forwarding header came, and no proxies are configured: if there is one in \
                 front, all clients share its address and so its limits"
            }
            Self::TooFewEntries => {
                "a request came with fewer entries of the forwarding header than there are \
                 proxies, or from one of them without any: it came past one of them, or they \
                 write another header; all such clients share one limit"
            }
            Self::NoConnection => {
                "a request came without the address of its connection: all clients share one \
                 limit; with axum, serve with `into_make_service_with_connect_info::<SocketAddr>()`"
            }
        }
    }
}

/// What the operator was told, once each.
#[derive(Debug, Default)]
pub(crate) struct Told([AtomicBool; 3]);

impl Told {
    /// Warns of what is new.
    pub(crate) fn tell(&self, proxies: &Proxies, headers: &HeaderMap, peer: Option<IpAddr>) {
        for doubt in proxies.doubts(headers, peer) {
            let told = Doubt::ALL.iter().zip(&self.0);
            for (_, told) in told.filter(|(known, _)| **known == doubt) {
                if !told.swap(true, Ordering::Relaxed) {
                    tracing::warn!("{}", doubt.text());
                }
            }
        }
    }
}

fn is_within(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// A network of v4-mapped addresses is the IPv4 network that they map.
fn canonical(network: IpNet) -> Option<IpNet> {
    if network.prefix_len() == 0 {
        return None;
    }
    match (network.addr().to_canonical(), network) {
        (IpAddr::V4(v4), IpNet::V6(_)) => {
            let length = network.prefix_len().checked_sub(96)?;
            IpNet::new(v4.into(), length)
                .ok()
                .filter(|v4| v4.prefix_len() > 0)
        }
        _ => Some(network),
    }
}

/// Neither an address nor a network, or the network of all addresses.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is no address, and no network of proxies")]
pub struct InvalidNetwork(String);

fn name(header: Forwarding) -> HeaderName {
    match header {
        Forwarding::XForwardedFor => HeaderName::from_static("x-forwarded-for"),
        Forwarding::Forwarded => header::FORWARDED,
    }
}

/// The entries from the right, the newest first; `None` inside for one that names no address.
/// `None` where the header is missing or cannot be read.
fn entries(headers: &HeaderMap, header: Forwarding) -> Option<Vec<Option<IpAddr>>> {
    let mut found = Vec::new();
    // Several lines are one list (RFC 9110, 5.3).
    for line in headers.get_all(name(header)).iter().rev() {
        // A line that is not text: whatever stands left of it is not read either.
        let Ok(line) = line.to_str() else {
            found.push(None);
            break;
        };
        let mut quoted = false;
        // From the right, where your proxies write: a quotation mark that the client never closed
        // cannot swallow what stands behind it.
        let parts = line.rsplit(|c| {
            quoted ^= c == '"' && header == Forwarding::Forwarded;
            c == ',' && !quoted
        });
        for entry in parts {
            if found.len() >= MAX_ENTRIES {
                return Some(found);
            }
            found.push(match header {
                Forwarding::XForwardedFor => address(entry.trim()),
                Forwarding::Forwarded => forwarded_for(entry),
            });
        }
    }
    (!found.is_empty()).then_some(found)
}

/// The address of one element of `Forwarded`. No address needs a backslash or a `;` between quotes.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut found = None;
    for pair in element.split(';') {
        let (name, value) = pair.trim().split_once('=')?;
        if name.eq_ignore_ascii_case("for") && found.replace(value).is_some() {
            return None;
        }
    }
    let value = found?;
    let inside = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    address(inside.unwrap_or(value))
}

/// An address, with or without a port. `unknown` and made-up names are none.
fn address(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address);
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address.ip());
    }
    let bracketed = text.strip_prefix('[')?.strip_suffix(']')?;
    bracketed.parse().ok().map(IpAddr::V6)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use proptest::prelude::*;

    use super::*;

    fn prefix(proxies: &Proxies, name: &str, lines: &[&str], peer: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, line.parse().unwrap());
        }
        let client = proxies.client(&headers, peer.parse().ok());
        client.prefix().map(|prefix| prefix.to_string())
    }

    const XFF: &str = "x-forwarded-for";

    #[test]
    fn w53_no_header_is_read_by_default() {
        let spoofed = ["1.2.3.4"];
        for name in [
            XFF,
            "forwarded",
            "x-real-ip",
            "cf-connecting-ip",
            "true-client-ip",
        ] {
            let seen = prefix(&Proxies::none(), name, &spoofed, "192.0.2.7");
            assert_eq!(seen.as_deref(), Some("192.0.2.7"), "{name}");
        }
        let none = Proxies::count(0, Forwarding::XForwardedFor);
        let seen = prefix(&none, XFF, &spoofed, "192.0.2.7");
        assert_eq!(seen.as_deref(), Some("192.0.2.7"));
        // No connection address: one shared bucket, not a free one.
        assert_eq!(prefix(&Proxies::none(), XFF, &spoofed, "-"), None);
    }

    #[test]
    fn w53_with_n_proxies_the_nth_entry_from_the_right_counts() {
        let one = Proxies::count(1, Forwarding::XForwardedFor);
        let two = Proxies::count(2, Forwarding::XForwardedFor);
        for (lines, first, second) in [
            (
                &["9.9.9.9, 192.0.2.1"][..],
                Some("192.0.2.1"),
                Some("9.9.9.9"),
            ),
            (
                &["9.9.9.9", "192.0.2.1"],
                Some("192.0.2.1"),
                Some("9.9.9.9"),
            ),
            (&["192.0.2.1"], Some("192.0.2.1"), None),
            (&["192.0.2.1:4711"], Some("192.0.2.1"), None),
            (&["[2001:db8::1]:4711"], Some("2001:db8::"), None),
            (&["192.0.2.1, unknown"], None, Some("192.0.2.1")),
            (&["192.0.2.1,"], None, Some("192.0.2.1")),
            (&["192.0.2.1 9.9.9.9"], None, None),
            (&["192.0.2.1\u{e9}"], None, None),
            (&[], None, None),
        ] {
            let seen = |proxies| prefix(proxies, XFF, lines, "10.0.0.1");
            assert_eq!(seen(&one).as_deref(), first, "{lines:?}");
            assert_eq!(seen(&two).as_deref(), second, "{lines:?}");
        }
    }

    #[test]
    fn w53_trusted_networks_are_walked_from_the_connection_outwards() {
        let ours = ["10.0.0.0/8", "2001:db8:1::/48", "192.0.2.9"];
        let proxies = Proxies::within(ours, Forwarding::XForwardedFor).unwrap();
        for (peer, line, seen) in [
            // Not from a proxy of ours: the header is the client's own.
            ("198.51.100.1", "1.1.1.1", Some("198.51.100.1")),
            ("10.0.0.1", "198.51.100.1", Some("198.51.100.1")),
            ("::ffff:10.0.0.1", "198.51.100.1", Some("198.51.100.1")),
            (
                "10.0.0.1",
                "1.1.1.1, 198.51.100.1, 10.2.3.4",
                Some("198.51.100.1"),
            ),
            (
                "10.0.0.1",
                "198.51.100.1, 192.0.2.9, 2001:db8:1::5",
                Some("198.51.100.1"),
            ),
            // Everybody is a proxy: the first of them asked.
            ("10.0.0.1", "10.9.9.9", Some("10.9.9.9")),
            // What stands left of an unreadable entry is not trusted.
            ("10.0.0.1", "1.1.1.1, unknown", None),
            ("-", "1.1.1.1", None),
        ] {
            assert_eq!(
                prefix(&proxies, XFF, &[line], peer).as_deref(),
                seen,
                "{peer} {line}"
            );
        }
        assert_eq!(
            prefix(&proxies, XFF, &[], "10.0.0.1").as_deref(),
            Some("10.0.0.1")
        );
        let mapped = Proxies::within(["::ffff:10.0.0.0/104"], Forwarding::XForwardedFor).unwrap();
        let seen = prefix(&mapped, XFF, &["198.51.100.1"], "10.0.0.1");
        assert_eq!(seen.as_deref(), Some("198.51.100.1"));
        for bad in [
            "10.0.0.0/33",
            "example.org",
            "",
            "0.0.0.0/0",
            "::/0",
            "::ffff:0:0/96",
        ] {
            assert!(
                Proxies::within([bad], Forwarding::Forwarded).is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn w53_forwarded_is_read_as_rfc_7239_writes_it() {
        let one = Proxies::count(1, Forwarding::Forwarded);
        for (line, seen) in [
            ("for=192.0.2.43", Some("192.0.2.43")),
            ("For=\"192.0.2.43:47011\"", Some("192.0.2.43")),
            (
                "by=203.0.113.43;for=192.0.2.43;proto=https",
                Some("192.0.2.43"),
            ),
            ("for=\"[2001:db8:cafe::17]:4711\"", Some("2001:db8:cafe::")),
            ("for=\"[2001:db8:cafe::17]\"", Some("2001:db8:cafe::")),
            ("for=192.0.2.43, for=198.51.100.17", Some("198.51.100.17")),
            ("for=192.0.2.43, for=\"_x, for=198.51.100.17\"", None),
            ("for=unknown", None),
            ("for=_hidden", None),
            ("for=192.0.2.43;for=198.51.100.17", None),
            ("proto=https", None),
            ("192.0.2.43", None),
        ] {
            let seen_here = prefix(&one, "forwarded", &[line], "10.0.0.1");
            assert_eq!(seen_here.as_deref(), seen, "{line}");
        }
        // The other header is not read instead.
        assert_eq!(prefix(&one, XFF, &["192.0.2.43"], "10.0.0.1"), None);
    }

    #[test]
    fn what_makes_clients_share_a_limit_is_noticed() {
        let peer: Option<IpAddr> = "10.0.0.1".parse().ok();
        let one = Proxies::count(1, Forwarding::XForwardedFor);
        let two = Proxies::count(2, Forwarding::XForwardedFor);
        let ours = Proxies::within(["10.0.0.0/8"], Forwarding::XForwardedFor).unwrap();
        for (proxies, line, peer, doubts) in [
            (&Proxies::none(), None, peer, &[][..]),
            (
                &Proxies::none(),
                Some("192.0.2.7"),
                peer,
                &[Doubt::UnnamedProxy],
            ),
            (&Proxies::none(), None, None, &[Doubt::NoConnection]),
            (&one, Some("192.0.2.7"), peer, &[]),
            // Behind a socket file there is no other address than the header's.
            (&one, Some("192.0.2.7"), None, &[]),
            (&one, None, peer, &[Doubt::TooFewEntries]),
            (&two, Some("192.0.2.7"), peer, &[Doubt::TooFewEntries]),
            (&two, Some("192.0.2.7, 192.0.2.8"), peer, &[]),
            // A proxy of ours that does not say for whom: all of its clients are one.
            (&ours, None, peer, &[Doubt::TooFewEntries]),
            (&ours, Some("192.0.2.7"), peer, &[]),
            (&ours, None, "198.51.100.1".parse().ok(), &[]),
            (&ours, Some("192.0.2.7"), None, &[Doubt::NoConnection]),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(line) = line {
                headers.insert(XFF, line.parse().unwrap());
            }
            let found: Vec<_> = proxies.doubts(&headers, peer).collect();
            assert_eq!(found, doubts, "{proxies:?} {line:?} {peer:?}");
        }
        // The other line is none.
        let mut headers = HeaderMap::new();
        headers.insert(header::FORWARDED, "for=192.0.2.7".parse().unwrap());
        let found: Vec<_> = ours.doubts(&headers, peer).collect();
        assert_eq!(found, [Doubt::TooFewEntries]);
    }

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn each_is_logged_once() {
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt().with_writer(Mutex::new(log.clone()));
        let told = Told::default();
        tracing::subscriber::with_default(subscriber.finish(), || {
            let mut headers = HeaderMap::new();
            headers.insert(XFF, "192.0.2.7".parse().unwrap());
            for _ in 0..3 {
                told.tell(&Proxies::none(), &headers, None);
            }
        });
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        for doubt in [Doubt::UnnamedProxy, Doubt::NoConnection] {
            assert_eq!(log.matches(doubt.text()).count(), 1, "{log}");
        }
        assert_eq!(log.lines().count(), 2, "{log}");
    }

    proptest! {
        #[test]
        fn w53_nothing_left_of_the_trusted_entry_counts(claim in "[ -~]{0,60}") {
            let one = Proxies::count(1, Forwarding::XForwardedFor);
            let line = format!("{claim}, 192.0.2.7");
            let seen = prefix(&one, XFF, &[&line], "10.0.0.1");
            prop_assert_eq!(seen.as_deref(), Some("192.0.2.7"));
            let one = Proxies::count(1, Forwarding::Forwarded);
            let line = format!("{claim}, for=\"192.0.2.7:80\"");
            let seen = prefix(&one, "forwarded", &[&line], "10.0.0.1");
            prop_assert_eq!(seen.as_deref(), Some("192.0.2.7"));
        }
    }
}
