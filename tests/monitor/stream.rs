//! Recorded streams: a compact text, events, and what rings.
//!
//! A line is `START [+ COUNT x STEP] CODE KEY=VALUE...`, times in seconds; `{n}` in a value is the
//! number of the repetition, `{n/7}` and `{n%7}` what is left of it. `= RULE SUBJECT at SECOND` is an
//! alarm that must ring, and no other may.

use std::time::Duration;

use password_reset::Timestamp;
use password_reset::account::UserId;
use password_reset::audit::monitor::{Alarm, Monitor, Subject};
use password_reset::audit::{Event, EventKind, Pseudonym};
use password_reset::queue::JobId;
use password_reset::token::Selector;

/// Monday, 5 January 2026, 00:00 UTC.
pub(crate) const MONDAY: Timestamp = Timestamp::from_unix_micros(1_767_571_200_000_000);

pub(crate) struct Stream {
    /// In the order of time.
    pub(crate) events: Vec<Event>,
    pub(crate) expected: Vec<String>,
}

/// A name as 16 bytes, readable again by [`spoken`].
pub(crate) fn name(text: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(text.bytes()) {
        *to = from;
    }
    bytes
}

pub(crate) fn after(micros: i64) -> Timestamp {
    Timestamp::from_unix_micros(MONDAY.unix_micros() + micros)
}

pub(crate) fn read(text: &str) -> Stream {
    let (mut events, mut expected) = (Vec::new(), Vec::new());
    for line in text.lines().map(str::trim) {
        if let Some(alarm) = line.strip_prefix("= ") {
            expected.push(alarm.to_owned());
        } else if !line.is_empty() && !line.starts_with('#') {
            events.extend(line_of(line));
        }
    }
    events.sort_by_key(|event: &Event| event.at);
    Stream { events, expected }
}

fn line_of(line: &str) -> Vec<Event> {
    let mut words: Vec<_> = line.split_whitespace().collect();
    let start: f64 = words.remove(0).parse().unwrap();
    let (mut count, mut step) = (1, 0.0);
    if words[0] == "+" {
        count = words[1].parse().unwrap();
        assert_eq!(words[2], "x", "{line}");
        step = words[3].parse().unwrap();
        words.drain(..4);
    }
    let one = |n: u32| {
        let at = after(((start + step * f64::from(n)) * 1e6) as i64);
        let (code, number) = words[0].split_once(':').unwrap_or((words[0], ""));
        let kind = EventKind::from_code(code, number.parse().ok()).expect(line);
        let mut event = Event::new(at, kind);
        for word in &words[1..] {
            let (key, value) = word.split_once('=').expect(line);
            let value = numbered(value, n);
            match key {
                "source" => event.source = Some(value.parse().unwrap()),
                "id" => event.identifier = Some(Pseudonym::from_bytes(name(&value))),
                "user" => event.user = Some(UserId::parse(&value).unwrap()),
                "token" => event.token = Some(Selector::from_bytes(name(&value))),
                "job" => event.job = Some(JobId::from_bytes(name(&value))),
                _ => panic!("{line}"),
            }
        }
        event
    };
    (0..count).map(one).collect()
}

fn numbered(value: &str, n: u32) -> String {
    let Some((before, rest)) = value.split_once('{') else {
        return value.to_owned();
    };
    let (inner, rest) = rest.split_once('}').unwrap();
    let number = match inner.strip_prefix('n').unwrap().split_at_checked(1) {
        Some(("/", by)) => n / by.parse::<u32>().unwrap(),
        Some(("%", by)) => n % by.parse::<u32>().unwrap(),
        _ => n,
    };
    numbered(&format!("{before}{number}{rest}"), n)
}

/// Lets the events pass, and answers the alarms with the moment at which each was told.
pub(crate) fn watch(monitor: &mut Monitor, events: &[Event]) -> Vec<(Alarm, Timestamp)> {
    let mut told = Vec::new();
    let Some((first, last)) = events.first().zip(events.last()) else {
        return told;
    };
    let (mut now, mut seen) = (first.at, first.at);
    let mut events = events.iter().peekable();
    while now <= last.at + Duration::from_secs(61) {
        while let Some(event) = events.next_if(|event| event.at <= now) {
            monitor.observe(event, now);
            seen = event.at;
        }
        told.extend(monitor.advance(now).into_iter().map(|alarm| (alarm, now)));
        // A driver looks every second; where nothing happens there is nothing to see.
        now = now + Duration::from_secs(1);
        let next = events.peek().map_or(now, |event| event.at);
        if now.since(seen) > Duration::from_secs(10) && next > now {
            now = next;
        }
    }
    told
}

/// An alarm as a stream writes it.
pub(crate) fn spoken(alarm: &Alarm) -> String {
    let subject = match &alarm.subject {
        Subject::Identifier(pseudonym) => {
            let bytes = pseudonym.as_bytes().iter().filter(|byte| **byte != 0);
            let text = bytes.map(|byte| char::from(*byte)).collect::<String>();
            format!("identifier {text}")
        }
        Subject::User(user) => format!("user {user}"),
        other => other.to_string(),
    };
    let micros = alarm.at.unix_micros() - MONDAY.unix_micros();
    format!("{} {subject} at {}", alarm.rule, micros as f64 / 1e6)
}
