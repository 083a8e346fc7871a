//! The monitor (R78): what must ring rings, at once and by name, and an ordinary day does not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

#[path = "monitor/day.rs"]
mod day;
#[path = "monitor/stream.rs"]
mod stream;

use std::time::Duration;

use password_reset::audit::monitor::{Monitor, Rules, Subject};
use password_reset::audit::{Event, EventKind, Pseudonym};
use proptest::prelude::*;
use stream::{MONDAY, after, read, spoken, watch};

/// R78: each stream under `tests/monitor/streams` rings exactly as it says, and within the lateness
/// and a second of the event that reached the threshold.
#[test]
fn a_recorded_stream_rings_exactly_as_it_says() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/monitor/streams");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    files.sort_by_key(std::fs::DirEntry::file_name);
    assert!(files.len() >= 15);
    let (mut rang, mut wrong) = (Vec::new(), Vec::new());
    for file in files {
        let stream = read(&std::fs::read_to_string(file.path()).unwrap());
        let mut monitor = Monitor::new(&Rules::default());
        let told = watch(&mut monitor, &stream.events);
        let spoken: Vec<_> = told.iter().map(|(alarm, _)| spoken(alarm)).collect();
        if spoken != stream.expected {
            wrong.push((file.file_name(), spoken, stream.expected));
        }
        for (alarm, now) in told {
            assert!(now.since(alarm.at) <= Duration::from_secs(6), "{alarm}");
            rang.push(alarm.rule);
        }
    }
    assert!(wrong.is_empty(), "rang, expected: {wrong:#?}");
    // No rule is without its stream.
    for rule in Rules::default().iter() {
        assert!(rang.contains(&rule.name), "{}", rule.name);
    }
}

/// R78: whoever is rung out of bed finds the rule explained.
#[test]
fn every_rule_is_explained() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/alarms.md");
    let page = std::fs::read_to_string(page).unwrap();
    let rows: Vec<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
        .collect();
    let rules: Vec<_> = Rules::default()
        .iter()
        .map(|rule| rule.name.to_string())
        .collect();
    // Beside the rules over events those of the watch itself.
    let all = rules.iter().map(String::as_str);
    let all: Vec<_> = all.chain(["events_lost", "trail_unreadable"]).collect();
    assert_eq!(rows.iter().map(|(name, _)| *name).collect::<Vec<_>>(), all);
    for (name, row) in rows {
        let challenges = Rules::default()
            .get(password_reset::audit::RuleName::parse(name).unwrap())
            .is_some_and(|rule| rule.challenge.is_some());
        assert_eq!(row.contains("| yes |"), challenges, "{name}");
    }
}

/// R78: eight ordinary days ring nothing, wherever in them the monitor begins.
#[test]
fn an_ordinary_week_rings_nothing() {
    let days = day::week();
    for begin in [0, 6, 7] {
        let from = after(0) - Duration::from_secs(86_400 * (7 - begin));
        // In the night before the busiest morning, too.
        for offset in [0, 3 * 3_600, 8 * 3_600] {
            let from = from + Duration::from_secs(offset);
            let events: Vec<_> = days
                .iter()
                .filter(|event| event.at >= from)
                .cloned()
                .collect();
            let told = watch(&mut Monitor::new(&Rules::default()), &events);
            let spoken: Vec<_> = told.iter().map(|(alarm, _)| alarm.to_string()).collect();
            assert!(spoken.is_empty(), "from {from}: {spoken:#?}");
        }
    }
}

/// What the ordinary days are made of, so that nobody takes a silent recording for a silent rule.
#[test]
fn the_ordinary_week_is_busy() {
    let events = day::week();
    let monday: Vec<_> = events.iter().filter(|event| event.at >= MONDAY).collect();
    let count = |code: &str| {
        let code = |event: &&&Event| event.kind.code().starts_with(code);
        monday.iter().filter(code).count()
    };
    let asked = count("requested");
    assert!((7_000..12_000).contains(&asked), "{asked}");
    for (code, least) in [
        ("requested.suppressed", 300),
        ("rate_limited", 5),
        ("withheld.unknown", 300),
        ("mail_failed", 100),
        ("completed", 3_000),
        ("refused.spent", 50),
        ("refused.expired", 50),
        ("refused.malformed", 20),
        ("refused.wrong_code", 50),
        ("refused.code_tries", 1),
        ("disowned", 2),
        ("dead_letter", 5),
        ("backend_failed", 3),
    ] {
        assert!(count(code) >= least, "{code}: {}", count(code));
    }
    let per_hour = |hour: i64| {
        let begin = after(hour * 3_600_000_000);
        let within = |event: &&&Event| event.at.since(begin) < Duration::from_secs(3_600);
        let of_hour = monday.iter().filter(|event| event.at >= begin);
        let asked = of_hour.filter(within);
        asked
            .filter(|event| event.kind.word() == "requested")
            .count()
    };
    let (night, peak) = (per_hour(3), per_hour(9));
    assert!(peak > 15 * night.max(1) && peak > 1_000, "{night} {peak}");
}

/// An attack is found in the middle of the busiest morning, too.
#[test]
fn an_attack_is_not_drowned_by_monday_morning() {
    let begin = 9 * 3_600;
    let mut events = day::week();
    for (number, name) in [
        "sweep_of_a_48",
        "mail_bombing",
        "code_guessing",
        "token_reused",
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!(
            "{}/tests/monitor/streams/{name}.txt",
            env!("CARGO_MANIFEST_DIR")
        );
        let mut stream = read(&std::fs::read_to_string(path).unwrap());
        for event in &mut stream.events {
            event.at = event.at + Duration::from_secs(begin + 60 * number as u64);
        }
        events.extend(stream.events);
    }
    events.sort_by_key(|event| event.at);
    let told = watch(&mut Monitor::new(&Rules::default()), &events);
    let mut rules: Vec<_> = told
        .iter()
        .map(|(alarm, _)| alarm.rule.to_string())
        .collect();
    rules.sort();
    rules.dedup();
    assert_eq!(
        rules,
        [
            "budget_low",
            "codes_locked",
            "identifiers_of_a_network",
            "networks_of_a_code",
            "request_spike",
            "sources_of_an_identifier",
            "token_reused",
            "wrong_codes"
        ]
    );
}

fn asked(at: i64, source: u32, identifier: u32) -> Event {
    let mut event = Event::new(after(at), EventKind::Requested { suppressed: false });
    event.source = Some(std::net::Ipv4Addr::from(source).into());
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&identifier.to_be_bytes());
    event.identifier = Some(Pseudonym::from_bytes(bytes));
    event
}

/// A million sources and a million identifiers: memory stays within its bound, and whoever counts
/// higher than the crowd is still found, and so is the crowd.
#[test]
fn a_million_groups_stay_within_the_bound_and_hide_nobody() {
    let mut rules = Rules::none();
    for name in ["identifiers_of_a_source", "sources_of_an_identifier"] {
        let rule = Rules::default()
            .iter()
            .find(|rule| rule.name.as_str() == name)
            .unwrap()
            .clone();
        rules = rules.with(rule).unwrap();
    }
    let mut monitor = Monitor::with_capacity(&rules, 1_000);
    let (mut most, mut told) = (0, Vec::new());
    for number in 0..1_000_000_u32 {
        // 3,000 a second, for more than five minutes: all within the window.
        let at = i64::from(number) * 333;
        monitor.observe(&asked(at, 0x0A00_0000 + number, number), after(at));
        // One in ten thousand is the attacker, who takes more and more names.
        if number % 10_000 < 2 {
            monitor.observe(&asked(at, 7, 2_000_000 + number), after(at));
        }
        if number % 1_000 == 0 {
            told.extend(monitor.advance(after(at)));
            most = most.max(monitor.held());
        }
    }
    told.extend(monitor.advance(after(1_000_000_000)));
    // Two rules, a thousand groups each with up to eight members; what waits for five seconds.
    assert!(most <= 2 * 1_000 * 9 + 3_000 * 6, "{most}");
    let rang = |subject: &Subject| told.iter().any(|alarm| alarm.subject == *subject);
    let attacker = std::net::Ipv4Addr::from(7).into();
    assert!(rang(&Subject::Source(attacker)), "{told:?}");
    assert!(rang(&Subject::Many), "{told:?}");
}

/// From 500 sources at once twenty are named, and the rest is told in one word.
#[test]
fn a_storm_of_alarms_is_told_in_twenty_one() {
    let mut monitor = Monitor::new(&Rules::default());
    for number in 0..500 * 60 {
        let at = i64::from(number) * 1_000;
        // Of as many networks, so that no other rule rings.
        let source = 0x0A00_0000 + (number % 500) * 0x0001_0000;
        monitor.observe(&asked(at, source, number), after(at));
    }
    let told = monitor.advance(after(60_000_000));
    let of_sources = |alarm: &&_| {
        password_reset::audit::monitor::Alarm::clone(alarm)
            .rule
            .as_str()
            == "identifiers_of_a_source"
    };
    let told: Vec<_> = told.iter().filter(of_sources).collect();
    assert_eq!(told.len(), 21);
    assert_eq!(told[20].subject, Subject::Many);
}

/// The captcha is demanded for half an hour behind the last moment of the attack, and no longer.
#[test]
fn a_proof_is_demanded_until_half_an_hour_after_the_attack() {
    let mut monitor = Monitor::new(&Rules::default());
    let second = 1_000_000;
    for number in 0..49 {
        monitor.observe(
            &asked(number * second, 7, number as u32),
            after(number * second),
        );
    }
    monitor.advance(after(60 * second));
    assert_eq!(monitor.challenge_until(), None);
    for number in 100..700 {
        monitor.observe(
            &asked(number * second, 7, number as u32),
            after(number * second),
        );
    }
    monitor.advance(after(800 * second));
    let end = after(699 * second) + Duration::from_secs(1_800);
    assert_eq!(monitor.challenge_until(), Some(end));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// However events overtake each other within the lateness: the same alarms, word for word.
    #[test]
    fn the_order_of_arrival_changes_no_alarm(
        file in 0_usize..6,
        delays in proptest::collection::vec(0_i64..=5_000_000, 97),
    ) {
        let files = [
            "sweep_of_a_source",
            "mail_bombing",
            "code_guessing",
            "token_reused",
            "disowned",
            "spike",
        ];
        let path = format!(
            "{}/tests/monitor/streams/{}.txt",
            env!("CARGO_MANIFEST_DIR"),
            files[file]
        );
        let stream = read(&std::fs::read_to_string(path).unwrap());
        let mut arriving: Vec<_> = stream
            .events
            .iter()
            .enumerate()
            .map(|(number, event)| {
                (event.at + Duration::from_micros(delays[number % 97] as u64), event)
            })
            .collect();
        arriving.sort_by_key(|(arrival, _)| *arrival);
        let mut monitor = Monitor::new(&Rules::default());
        let mut told = Vec::new();
        for (arrival, event) in arriving {
            monitor.observe(event, arrival);
            told.extend(monitor.advance(arrival));
        }
        told.extend(monitor.advance(after(1_000_000_000_000)));
        let spoken: Vec<_> = told.iter().map(spoken).collect();
        prop_assert_eq!(spoken, stream.expected);
    }
}
