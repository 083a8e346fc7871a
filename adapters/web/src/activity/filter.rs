//! Which events are shown: read from a query, and written into links. Bounded, and exact: what
//! cannot be read is named, not passed over.

use std::net::IpAddr;
use std::time::Duration;

use form_urlencoded::{Serializer, parse};
use password_reset::Timestamp;
use password_reset::account::{Client, UserId};
use password_reset::audit::log::{CodePrefix, EntryId, MAX_PSEUDONYMS, Position, Query, Thread};
use password_reset::audit::{Pseudonym, Severity};
use password_reset::queue::JobId;
use password_reset::token::Selector;

/// The longest query, in bytes: every field at its longest.
const MAX_QUERY_BYTES: usize = 2_048;

/// How far back the charts go, and how wide their bars are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Span {
    pub(crate) name: &'static str,
    pub(crate) label: &'static str,
    pub(crate) width: Duration,
    pub(crate) number: u32,
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

impl Span {
    const fn new(name: &'static str, label: &'static str, seconds: u64, number: u32) -> Self {
        let width = Duration::from_secs(seconds);
        Self {
            name,
            label,
            width,
            number,
        }
    }

    pub(crate) const DAY: Self = Self::new("24h", "24 hours", 15 * MINUTE, 96);

    pub(crate) const ALL: [Self; 5] = [
        Self::new("1h", "1 hour", MINUTE, 60),
        Self::new("6h", "6 hours", 5 * MINUTE, 72),
        Self::DAY,
        Self::new("7d", "7 days", 2 * HOUR, 84),
        Self::new("30d", "30 days", 8 * HOUR, 90),
    ];

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|span| span.name == name)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub(crate) span: Span,
    /// The end of the span; the present unless something else was asked for.
    pub(crate) until: Option<Timestamp>,
    pub(crate) code: Option<CodePrefix>,
    pub(crate) severity: Option<Severity>,
    pub(crate) source: Option<IpAddr>,
    pub(crate) user: Option<UserId>,
    pub(crate) identifiers: Vec<Pseudonym>,
    pub(crate) journey: Option<Thread>,
    pub(crate) beyond: Option<Position>,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            span: Span::DAY,
            until: None,
            code: None,
            severity: None,
            source: None,
            user: None,
            identifiers: Vec::new(),
            journey: None,
            beyond: None,
        }
    }
}

/// The name of the field that cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Unreadable(pub(crate) &'static str);

/// What a form says beside its filter.
pub(crate) struct Form {
    pub(crate) filter: Filter,
    /// What was typed to find somebody by: personal data, which goes into no link.
    pub(crate) typed: String,
}

impl Filter {
    /// Reads a query.
    pub(crate) fn parse(query: &str) -> Result<Self, Unreadable> {
        let mut filter = Self::default();
        fields(query.as_bytes(), |name, value| filter.set(name, value))?;
        Ok(filter)
    }

    /// Reads a form. An account that looks like an address is taken for one.
    pub(crate) fn parse_form(body: &[u8]) -> Result<Form, Unreadable> {
        let (mut filter, mut typed) = (Self::default(), String::new());
        fields(body, |name, value| match name {
            "typed" => {
                value.clone_into(&mut typed);
                Ok(())
            }
            "user" if value.contains('@') => {
                if typed.is_empty() {
                    value.clone_into(&mut typed);
                }
                Ok(())
            }
            _ => filter.set(name, value),
        })?;
        Ok(Form { filter, typed })
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Unreadable> {
        let read = |field, is: bool| is.then_some(()).ok_or(Unreadable(field));
        match name {
            "span" => match Span::parse(value) {
                Some(span) => self.span = span,
                None => return Err(Unreadable("span")),
            },
            "until" => {
                self.until = moment(value);
                read("until", self.until.is_some())?;
            }
            "kind" => {
                self.code = CodePrefix::parse(value);
                read("kind", self.code.is_some())?;
            }
            "severity" => {
                self.severity = Severity::parse(value);
                read("severity", self.severity.is_some())?;
            }
            "source" => {
                // As the events have it: an IPv6 address stands for its network.
                let ip = value.trim().parse().ok();
                self.source = ip.and_then(|ip: IpAddr| Client::from_ip(ip).prefix());
                read("source", self.source.is_some())?;
            }
            "user" => {
                self.user = UserId::parse(value).ok();
                read("user", self.user.is_some())?;
            }
            "who" => {
                let all: Option<Vec<_>> = value.split(',').map(Pseudonym::parse).collect();
                let few = all.filter(|all| all.len() <= MAX_PSEUDONYMS);
                self.identifiers = few.ok_or(Unreadable("who"))?;
            }
            "journey" => {
                self.journey = match value.split_once('-') {
                    Some(("job", id)) => JobId::parse(id).map(Thread::Job),
                    Some(("token", id)) => Selector::parse(id).map(Thread::Token),
                    _ => None,
                };
                read("journey", self.journey.is_some())?;
            }
            "before" => {
                let place = value.split_once('-');
                let place = place.and_then(|(at, id)| Some((moment(at)?, EntryId::parse(id)?)));
                self.beyond = place.map(|(at, id)| Position { at, id });
                read("before", self.beyond.is_some())?;
            }
            _ => return Err(Unreadable("a field that there is not")),
        }
        Ok(())
    }

    /// The query that is read back as this filter. Holds no address: only pseudonyms.
    pub(crate) fn write(&self) -> String {
        let mut query = Serializer::new(String::new());
        if self.span != Span::DAY {
            query.append_pair("span", self.span.name);
        }
        let mut put = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                query.append_pair(name, &value);
            }
        };
        put("until", self.until.map(|at| at.unix_micros().to_string()));
        put("kind", self.code.as_ref().map(|it| it.as_str().to_owned()));
        put("severity", self.severity.map(|it| it.as_str().to_owned()));
        put("source", self.source.map(|it| it.to_string()));
        put("user", self.user.as_ref().map(ToString::to_string));
        put("who", self.who());
        let journey = self.journey.map(|thread| match thread {
            Thread::Job(job) => format!("job-{job}"),
            Thread::Token(token) => format!("token-{token}"),
        });
        put("journey", journey);
        let before = self
            .beyond
            .map(|place| format!("{}-{}", place.at.unix_micros(), place.id));
        put("before", before);
        query.finish()
    }

    /// The pseudonyms, as a field.
    pub(crate) fn who(&self) -> Option<String> {
        let all: Vec<_> = self.identifiers.iter().map(ToString::to_string).collect();
        (!all.is_empty()).then(|| all.join(","))
    }

    /// A filter that differs in one thing, from its first page on.
    pub(crate) fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut filter = self.clone();
        filter.beyond = None;
        filter.journey = None;
        change(&mut filter);
        filter
    }

    /// The conditions, without those of time.
    pub(crate) fn query(&self, limit: u32) -> Query {
        let mut query = Query::newest(limit);
        query.code = self.code.clone();
        query.severity = self.severity;
        query.source = self.source;
        query.user = self.user.clone();
        query.identifiers.clone_from(&self.identifiers);
        query.beyond = self.beyond;
        query
    }
}

/// A number of microseconds, as people and clocks have them: no moment before 1970 or far from now.
fn moment(text: &str) -> Option<Timestamp> {
    let short = text.len() <= 16 && text.bytes().all(|byte| byte.is_ascii_digit());
    let micros = short.then(|| text.parse().ok())?;
    micros.map(Timestamp::from_unix_micros)
}

/// Each field once; those without a value say nothing.
fn fields(
    text: &[u8],
    mut set: impl FnMut(&str, &str) -> Result<(), Unreadable>,
) -> Result<(), Unreadable> {
    if text.len() > MAX_QUERY_BYTES {
        return Err(Unreadable("its length"));
    }
    let mut seen: Vec<String> = Vec::new();
    for (name, value) in parse(text) {
        if seen.iter().any(|it| *it == name) {
            return Err(Unreadable("a field that is there twice"));
        }
        if !value.is_empty() {
            set(&name, &value)?;
        }
        seen.push(name.into_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_filter_is_read_back_as_it_was_written() {
        let id = "0123456789abcdef0123456789abcdef";
        for query in [
            String::new(),
            "span=1h".to_owned(),
            format!(
                "span=30d&until=1764000000000000&kind=refused.spent&severity=warn&\
                 source=192.0.2.1&user=a%26b+%22%3C%C3%B6&who={id}%2C{id}&before=1764-{id}"
            ),
            format!("journey=job-{id}"),
            format!("journey=token-{id}"),
        ] {
            assert_eq!(Filter::parse(&query).unwrap().write(), query);
        }
        let v6 = Filter::parse("source=2001:db8:1:2:3:4:5:6").unwrap();
        assert_eq!(v6.source.unwrap().to_string(), "2001:db8:1:2::");
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let many = ["0123456789abcdef0123456789abcdef"; MAX_PSEUDONYMS + 1].join(",");
        for (query, field) in [
            ("span=1y", "span"),
            ("until=-1", "until"),
            ("until=99999999999999999999", "until"),
            ("kind=nothing", "kind"),
            ("kind=refused.%27", "kind"),
            ("severity=loud", "severity"),
            ("source=example.com", "source"),
            ("user=a%0Ab", "user"),
            ("who=ada%40example.com", "who"),
            (&format!("who={many}"), "who"),
            ("journey=job-1", "journey"),
            ("before=1", "before"),
            ("typed=ada", "a field that there is not"),
            ("span=1h&span=1h", "a field that is there twice"),
            (&"a=&".repeat(1_000), "its length"),
        ] {
            assert_eq!(
                Filter::parse(query).unwrap_err(),
                Unreadable(field),
                "{query}"
            );
        }
    }

    /// What was typed is kept apart, also where it was typed into the wrong field.
    #[test]
    fn an_address_goes_into_no_link() {
        for body in ["typed=ada%40example.com", "user=ada%40example.com"] {
            let form = Filter::parse_form(body.as_bytes()).unwrap();
            assert_eq!(form.typed, "ada@example.com");
            assert_eq!(form.filter.write(), "");
        }
        let form = Filter::parse_form(b"user=42&typed=").unwrap();
        assert_eq!(
            (form.filter.write().as_str(), form.typed.as_str()),
            ("user=42", "")
        );
    }

    proptest! {
        #[test]
        fn any_query_gives_an_answer(query in ".{0,200}") {
            if let Ok(filter) = Filter::parse(&query) {
                let again = Filter::parse(&filter.write()).unwrap();
                prop_assert_eq!(again.write(), filter.write());
            }
        }
    }
}
