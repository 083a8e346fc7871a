//! Events as numbers: [`MetricsSink`].

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use metrics::{counter, describe_counter, describe_histogram, histogram};

use crate::audit::{AuditSink, Event, EventKind};
use crate::clock::Timestamp;
use crate::error::BoxError;
use crate::queue::JobId;
use crate::token::Selector;

const EVENTS: &str = "password_reset_events_total";
const MAIL: &str = "password_reset_mail_seconds";
const TRIES: &str = "password_reset_mail_attempts";
const COMPLETION: &str = "password_reset_completion_seconds";
pub(crate) const HASH: &str = "password_reset_hash_seconds";

/// How many journeys are timed at once; a further one takes the place of the oldest.
const JOURNEYS: usize = 20_000;

/// Hands every event to the [`metrics`] facade, as counters and times. Behind feature `metrics`.
///
/// | name | type | labels | what |
/// |---|---|---|---|
/// | `password_reset_events_total` | counter | `event`, `cause`, `severity` | one for each event: `event` and `cause` are its [code](EventKind::code), `refused` and `spent` |
/// | `password_reset_mail_seconds` | histogram | `what` | from the request to the mail that was taken: `link`, `code`, `text`, `hint` |
/// | `password_reset_mail_attempts` | histogram | `what` | how many tries that took |
/// | `password_reset_completion_seconds` | histogram | | from the mail to the new password |
/// | `password_reset_hash_seconds` | histogram | | from asking the pool for a hash to its answer, the wait for a free thread included |
///
/// No label is about a person. There are a few hundred series at most: one for each code, and one
/// for each rule that the application has named.
///
/// The times need both ends of a journey in one process; a link that is requested here and mailed or
/// used elsewhere is counted and not timed. A process that follows the whole trail
/// ([`Tail`](crate::audit::log::Tail)) and records into one of these times them all.
///
/// Everything that is counted is handed to whatever recorder the application installs. For
/// Prometheus, give the histograms buckets, or they become summaries, which cannot be added up over
/// processes:
///
/// ```ignore
/// use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
/// use password_reset::audit::MetricsSink;
///
/// PrometheusBuilder::new()
///     .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), MetricsSink::SECONDS)?
///     .set_buckets_for_metric(Matcher::Suffix("_attempts".into()), MetricsSink::ATTEMPTS)?
///     .install()?;
/// ```
///
/// `docs/grafana.json` is a dashboard for what comes out.
#[derive(Default)]
pub struct MetricsSink(Mutex<Journeys>);

/// When things began that have not ended yet.
#[derive(Default)]
struct Journeys {
    jobs: Bounded<JobId, Asked>,
    tokens: Bounded<Selector, Timestamp>,
}

#[derive(Clone, Copy)]
struct Asked {
    at: Timestamp,
    failed: u32,
}

impl MetricsSink {
    /// The name of every metric.
    pub const NAMES: [&str; 5] = [EVENTS, MAIL, TRIES, COMPLETION, HASH];

    /// Buckets for times, in seconds: from a hash to a link that is used at its last moment.
    pub const SECONDS: &[f64] = &[
        0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
        600.0, 1_800.0, 3_600.0, 21_600.0, 86_400.0,
    ];

    /// Buckets for numbers of tries.
    pub const ATTEMPTS: &[f64] = &[1.0, 2.0, 3.0, 4.0, 5.0, 8.0, 12.0, 20.0];

    /// Tells the recorder, which must be installed by then, what the numbers mean.
    pub fn describe() {
        describe_counter!(EVENTS, "audit events of password resets");
        let seconds = metrics::Unit::Seconds;
        describe_histogram!(MAIL, seconds, "from the request to the mail that was taken");
        describe_histogram!(TRIES, "tries until a mail was taken");
        describe_histogram!(COMPLETION, seconds, "from the mail to the new password");
        describe_histogram!(HASH, seconds, "from asking for a hash to its answer");
    }

    fn journeys(&self) -> MutexGuard<'_, Journeys> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mailed(&self, event: &Event, what: &'static str) {
        let mut journeys = self.journeys();
        if let Some(token) = event.token {
            journeys.tokens.insert(token, event.at);
        }
        let asked = event.job.and_then(|job| journeys.jobs.remove(&job));
        drop(journeys);
        if let Some(asked) = asked {
            let seconds = event.at.since(asked.at).as_secs_f64();
            histogram!(MAIL, "what" => what).record(seconds);
            let tries = f64::from(asked.failed.saturating_add(1));
            histogram!(TRIES, "what" => what).record(tries);
        }
    }
}

impl AuditSink for MetricsSink {
    fn record(&self, event: &Event) -> Result<(), BoxError> {
        let code = event.kind.code();
        let cause = code.split_once('.').map_or("", |(_, cause)| cause);
        counter!(
            EVENTS,
            "event" => event.kind.word(),
            "cause" => cause.to_owned(),
            "severity" => event.kind.severity().as_str(),
        )
        .increment(1);

        match event.kind {
            EventKind::Requested { suppressed: false } | EventKind::Started => {
                if let Some(job) = event.job {
                    let asked = Asked {
                        at: event.at,
                        failed: 0,
                    };
                    self.journeys().jobs.insert(job, asked);
                }
            }
            EventKind::MailFailed { .. } => {
                let mut journeys = self.journeys();
                if let Some(asked) = event.job.and_then(|job| journeys.jobs.get_mut(&job)) {
                    asked.failed = asked.failed.saturating_add(1);
                }
            }
            EventKind::LinkSent => self.mailed(event, "link"),
            EventKind::CodeSent => self.mailed(event, "code"),
            EventKind::TextSent => self.mailed(event, "text"),
            EventKind::HintSent => self.mailed(event, "hint"),
            EventKind::Withheld(_) => {
                if let Some(job) = &event.job {
                    self.journeys().jobs.remove(job);
                }
            }
            EventKind::CodeRedeemed => {
                if let (Some(code), Some(token)) = (event.parent, event.token) {
                    let mut journeys = self.journeys();
                    if let Some(mailed) = journeys.tokens.remove(&code) {
                        journeys.tokens.insert(token, mailed);
                    }
                }
            }
            EventKind::Completed => {
                let mailed = event
                    .token
                    .and_then(|token| self.journeys().tokens.remove(&token));
                if let Some(mailed) = mailed {
                    let seconds = event.at.since(mailed).as_secs_f64();
                    histogram!(COMPLETION).record(seconds);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn lost(&self) -> u64 {
        0
    }
}

impl fmt::Debug for MetricsSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsSink").finish_non_exhaustive()
    }
}

/// A map of the latest entries.
struct Bounded<K, V> {
    entries: HashMap<K, (u64, V)>,
    /// Each with the number that it had when it was put in: a removed one is passed over.
    order: VecDeque<(u64, K)>,
    next: u64,
}

impl<K, V> Default for Bounded<K, V> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            order: VecDeque::new(),
            next: 0,
        }
    }
}

impl<K: Copy + Eq + Hash, V> Bounded<K, V> {
    fn insert(&mut self, key: K, value: V) {
        self.next += 1;
        self.entries.insert(key, (self.next, value));
        self.order.push_back((self.next, key));
        if self.order.len() > JOURNEYS {
            let oldest = self.order.pop_front();
            let oldest = oldest.filter(|(number, key)| {
                let present = self.entries.get(key);
                present.is_some_and(|(present, _)| present == number)
            });
            if let Some((_, key)) = oldest {
                self.entries.remove(&key);
            }
        }
    }

    fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key).map(|(_, value)| value)
    }

    fn remove(&mut self, key: &K) -> Option<V> {
        self.entries.remove(key).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use std::collections::BTreeSet;
    use std::time::Duration;

    use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};

    use super::*;
    use crate::audit::RuleName;

    /// What a scrape would answer after `record`.
    fn scraped(record: impl FnOnce(&MetricsSink)) -> String {
        let seconds = Matcher::Suffix("_seconds".to_owned());
        let attempts = Matcher::Suffix("_attempts".to_owned());
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(seconds, MetricsSink::SECONDS)
            .unwrap()
            .set_buckets_for_metric(attempts, MetricsSink::ATTEMPTS)
            .unwrap()
            .build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            MetricsSink::describe();
            record(&MetricsSink::default());
            histogram!(HASH).record(0.02);
        });
        handle.render()
    }

    fn event(second: u64, kind: EventKind, job: u8, token: u8) -> Event {
        let at = Timestamp::from_unix_micros(0) + Duration::from_secs(second);
        let mut event = Event::new(at, kind);
        event.job = (job > 0).then(|| JobId::from_bytes([job; 16]));
        event.token = (token > 0).then(|| Selector::from_bytes([token; 16]));
        event
    }

    fn journey(sink: &MetricsSink) {
        let (what, attempt) = (crate::audit::Mailing::Link, 1);
        let failed = EventKind::MailFailed { what, attempt };
        let mut redeemed = event(70, EventKind::CodeRedeemed, 0, 3);
        redeemed.parent = Some(Selector::from_bytes([2; 16]));
        for event in [
            event(0, EventKind::Requested { suppressed: false }, 1, 0),
            event(1, failed, 1, 0),
            event(8, EventKind::LinkSent, 1, 1),
            event(8 + 60, EventKind::Completed, 0, 1),
            event(0, EventKind::Requested { suppressed: false }, 2, 0),
            event(4, EventKind::CodeSent, 2, 2),
            redeemed,
            event(4 + 120, EventKind::Completed, 0, 3),
            // Begun elsewhere: counted, not timed.
            event(9, EventKind::LinkSent, 9, 0),
            event(9, EventKind::Completed, 0, 9),
        ] {
            sink.record(&event).unwrap();
        }
    }

    #[test]
    fn a_journey_is_timed_from_end_to_end() {
        let text = scraped(journey);
        for line in [
            "password_reset_mail_seconds_sum{what=\"link\"} 8",
            "password_reset_mail_seconds_sum{what=\"code\"} 4",
            "password_reset_mail_seconds_bucket{what=\"link\",le=\"10\"} 1",
            "password_reset_mail_attempts_sum{what=\"link\"} 2",
            "password_reset_mail_attempts_sum{what=\"code\"} 1",
            "password_reset_completion_seconds_sum 180",
            "password_reset_completion_seconds_count 2",
            "password_reset_hash_seconds_count 1",
            "password_reset_events_total{event=\"mail_failed\",cause=\"link\",severity=\"warn\"} 1",
            "password_reset_events_total{event=\"completed\",cause=\"\",severity=\"info\"} 3",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\n{text}");
        }
    }

    #[test]
    fn every_event_is_counted_under_few_labels() {
        let every = EventKind::every();
        let text = scraped(|sink| {
            for kind in &every {
                let mut event = event(0, *kind, 1, 1);
                event.user = Some(crate::account::UserId::parse("ada@example.com").unwrap());
                sink.record(&event).unwrap();
            }
        });
        let series = text.lines().filter(|line| line.starts_with(EVENTS));
        let codes: BTreeSet<_> = every.iter().map(EventKind::code).collect();
        assert_eq!(series.count(), codes.len());
        assert!(codes.len() < 260, "{}", codes.len());
        assert!(!text.contains("ada@"));
        let alarm = EventKind::Alarm {
            rule: RuleName::new("a"),
            count: 1,
        };
        assert_eq!(alarm.code(), "alarm.a");
        assert!(text.contains("{event=\"alarm\",cause=\"a\",severity=\"critical\"}"));
    }

    #[test]
    fn what_never_ends_is_forgotten() {
        let sink = MetricsSink::default();
        for number in 0..u64::try_from(JOURNEYS).unwrap() + 10 {
            let mut event = event(0, EventKind::Requested { suppressed: false }, 1, 0);
            event.job = Some(JobId::from_bytes(u128::from(number).to_be_bytes()));
            sink.record(&event).unwrap();
        }
        let journeys = sink.journeys();
        assert_eq!(journeys.jobs.entries.len(), JOURNEYS);
        assert_eq!(journeys.jobs.order.len(), JOURNEYS);
    }

    /// Every series that the dashboard asks for is one that a scrape answers.
    #[test]
    fn the_dashboard_asks_for_what_there_is() {
        let text = scraped(journey);
        let there: BTreeSet<_> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split(['{', ' ']).next())
            .filter(|name| !name.is_empty())
            .collect();
        let dashboard = include_str!("../../docs/grafana.json");
        let dashboard: serde_json::Value = serde_json::from_str(dashboard).unwrap();
        let mut queries = Vec::new();
        collect(&dashboard, &mut queries);
        assert!(queries.len() >= 8);
        let mut asked = BTreeSet::new();
        for query in &queries {
            let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let names: Vec<_> = words
                .filter(|it| it.starts_with("password_reset_"))
                .collect();
            assert!(!names.is_empty(), "{query}");
            for name in names {
                assert!(there.contains(name), "{name} is not among {there:?}");
                asked.insert(name.to_owned());
            }
            // Words and causes that it picks out are real ones.
            for (label, known) in [
                (
                    "event",
                    EventKind::every()
                        .iter()
                        .map(|it| it.word().to_owned())
                        .collect(),
                ),
                (
                    "severity",
                    ["info", "warn", "critical"].map(str::to_owned).to_vec(),
                ),
                (
                    "cause",
                    EventKind::every().iter().map(cause).collect::<Vec<_>>(),
                ),
            ] {
                for value in picked(query, label) {
                    assert!(known.contains(&value), "{label}={value} in {query}");
                }
            }
        }
        for name in MetricsSink::NAMES {
            assert!(
                asked.iter().any(|it| it.starts_with(name)),
                "{name} is not shown"
            );
        }
    }

    fn cause(kind: &EventKind) -> String {
        let code = kind.code();
        code.split_once('.')
            .map_or("", |(_, cause)| cause)
            .to_owned()
    }

    /// The queries of all panels.
    fn collect(value: &serde_json::Value, queries: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(fields) => {
                for (name, value) in fields {
                    match (name.as_str(), value.as_str()) {
                        ("expr", Some(query)) => queries.push(query.to_owned()),
                        _ => collect(value, queries),
                    }
                }
            }
            serde_json::Value::Array(values) => {
                values.iter().for_each(|value| collect(value, queries));
            }
            _ => {}
        }
    }

    /// The values of `label="..."` and of the alternatives in `label=~"a|b"`.
    fn picked(query: &str, label: &str) -> Vec<String> {
        let mut values = Vec::new();
        for part in query.split(['{', ',']) {
            let part = part.trim_start();
            let Some(rest) = part.strip_prefix(label) else {
                continue;
            };
            let value = rest.split('"').nth(1).unwrap_or_default();
            if rest.starts_with('=') || rest.starts_with("!=") {
                let values_of = value.split('|').filter(|it| !it.contains(['.', '*', '+']));
                values.extend(values_of.map(str::to_owned));
            }
        }
        values
    }
}
