//! Eight ordinary days, event by event: a week, and the Monday after it.
//!
//! Recorded as a program with a fixed seed, since the events themselves would be a file of many
//! megabytes. The sizes are those of a service with 40,000 accounts whose flow has the default
//! limits: a Sunday with 2,000 requests, a Monday with 9,000, a thousand of them between nine and
//! ten. Who is in it:
//!
//! - people at home, each with an address of their own, IPv4 or an IPv6 /64;
//! - an office with 200 people behind one address, 45 of whom have forgotten their password over
//!   the weekend and ask between eight and eleven, some of them in vain because of the limit;
//! - a mobile carrier: eight shared IPv4 addresses of one /24, and a /64 for each IPv6 telephone
//!   within four /48s;
//! - people who mistype their address, who click four times, who use another device for the link,
//!   who click it again when it is used, who find it days later, whose mail program cuts it off, who
//!   mistype codes; mail scanners that open every link first; two people who have got a mail that
//!   they did not ask for;
//! - a mail provider that fails for ten minutes on Monday at ten, mailboxes that do not exist, and a
//!   database that restarts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use password_reset::Timestamp;
use password_reset::account::UserId;
use password_reset::audit::{Event, EventKind, Mailing, Pseudonym, Refused, Step, Withheld};
use password_reset::error::Backend;
use password_reset::queue::JobId;
use password_reset::token::Selector;

use super::stream::MONDAY;

const ACCOUNTS: u64 = 40_000;
const HOUR: f64 = 3_600.0;
/// Requests begun on each day, the Monday before first.
const DAYS: [f64; 8] = [
    7_800.0, 6_000.0, 5_600.0, 5_500.0, 5_200.0, 2_300.0, 1_800.0, 8_000.0,
];
/// How much of a day is begun in each of its hours.
const WORKDAY: [f64; 24] = [
    0.8, 0.4, 0.3, 0.3, 0.4, 0.8, 2.0, 5.0, 11.0, 12.5, 9.0, 7.5, 6.0, 6.0, 6.0, 5.5, 5.0, 4.5,
    4.0, 4.0, 3.5, 3.0, 1.8, 0.7,
];
const WEEKEND: [f64; 24] = [
    1.5, 0.8, 0.5, 0.4, 0.4, 0.6, 1.2, 2.5, 4.0, 6.0, 7.0, 7.0, 6.5, 6.0, 6.0, 6.0, 6.5, 7.0, 7.0,
    7.0, 6.0, 5.0, 3.0, 2.1,
];
/// The mail provider fails from here on, for ten minutes.
const OUTAGE: f64 = 10.0 * HOUR;

/// All events, in the order of time.
pub(crate) fn week() -> Vec<Event> {
    let mut day = Recorder {
        dice: Dice(20_260_105),
        events: Vec::new(),
        office: Vec::new(),
    };
    for (number, (requests, day_number)) in DAYS.iter().zip(-7_i32..).enumerate() {
        let begin = f64::from(day_number) * 24.0 * HOUR;
        let weekend = number == 5 || number == 6;
        let shape = if weekend { &WEEKEND } else { &WORKDAY };
        let all: f64 = shape.iter().sum();
        for (hour, part) in shape.iter().enumerate() {
            let count = (requests * part / all).round() as u32;
            for _ in 0..count {
                let at = begin + HOUR * (hour as f64 + day.dice.part());
                let place = day.place();
                day.journey(at, place);
            }
        }
        if !weekend {
            let forgetful = if number == 7 { 45 } else { 8 };
            for _ in 0..forgetful {
                let at = begin + HOUR * (8.0 + 3.0 * day.dice.part());
                day.journey(at, Place::Office);
            }
        }
        day.failures(begin);
    }
    day.events.sort_by_key(|event| event.at);
    day.events
}

/// Where somebody sits.
#[derive(Clone, Copy)]
enum Place {
    Address(IpAddr),
    Office,
}

const OFFICE: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 10));

impl Place {
    fn source(self) -> IpAddr {
        match self {
            Self::Address(address) => address,
            Self::Office => OFFICE,
        }
    }
}

struct Recorder {
    dice: Dice,
    events: Vec<Event>,
    /// When the office asked, for its limit.
    office: Vec<f64>,
}

/// Names of one journey.
#[derive(Clone)]
struct Person {
    account: u64,
    identifier: Pseudonym,
}

impl Recorder {
    fn place(&mut self) -> Place {
        let number = self.dice.up_to(1 << 20);
        let low = number as u16;
        let address = match self.dice.up_to(100) {
            // A carrier's shared addresses.
            0..12 => Ipv4Addr::new(198, 51, 100, (number % 8) as u8).into(),
            12..24 => Ipv6Addr::new(0x2001, 0xdb8, 0x100, number as u16 % 4, low, 0, 0, 0).into(),
            24..44 => {
                let high = (number >> 4) as u16;
                Ipv6Addr::new(0x2001, 0xdb8, 0x2000 | (high & 0xfff), low, 0, 0, 0, 0).into()
            }
            _ => Ipv4Addr::from(0x0A00_0000 | (number as u32 * 13)).into(),
        };
        // The carrier's telephones: four /48s, a /64 each.
        let address = match address {
            IpAddr::V6(v6) if v6.segments()[2] == 0x100 => {
                let [_, _, _, block, subscriber, ..] = v6.segments();
                Ipv6Addr::new(0x2001, 0xdb8, 0x100 + block, subscriber, 0, 0, 0, 0).into()
            }
            other => other,
        };
        Place::Address(address)
    }

    fn person(&mut self, account: u64) -> Person {
        Person {
            account,
            identifier: Pseudonym::from_bytes(u128::from(account + 1).to_be_bytes()),
        }
    }

    fn journey(&mut self, at: f64, place: Place) {
        let account = self.dice.up_to(ACCOUNTS);
        let person = self.person(account);
        let mut at = at;
        if self.dice.one_in(12) {
            // Mistyped: nobody. Two minutes later the right one.
            let stranger = Person {
                account: u64::MAX,
                identifier: Pseudonym::from_bytes(self.dice.bytes()),
            };
            self.request(at, place, &stranger, None);
            at += 60.0 + 180.0 * self.dice.part();
        }
        if self.dice.one_in(6) {
            self.codes(at, place, &person);
            return;
        }
        let token = self.dice.bytes();
        let sent = self.request(at, place, &person, Some(token));
        let Some(sent) = sent else { return };
        if self.dice.one_in(8) {
            // Impatient.
            for _ in 0..=self.dice.up_to(3) {
                at += 10.0 + 40.0 * self.dice.part();
                self.again(at, place, &person);
            }
        }
        self.link(sent, place, &person, token);
    }

    /// Answers when the mail arrived.
    fn request(
        &mut self,
        at: f64,
        place: Place,
        person: &Person,
        token: Option<[u8; 16]>,
    ) -> Option<f64> {
        let job = JobId::from_bytes(self.dice.bytes());
        let source = place.source();
        if matches!(place, Place::Office) {
            self.office.retain(|asked| at - asked < HOUR);
            if self.office.len() >= 20 {
                let mut event = self.event(at, EventKind::RateLimited);
                event.source = Some(source);
                event.identifier = Some(person.identifier);
                self.events.push(event);
                return None;
            }
            self.office.push(at);
        }
        let mut event = self.event(at, EventKind::Requested { suppressed: false });
        event.identifier = Some(person.identifier);
        event.job = Some(job);
        event.source = Some(source);
        self.events.push(event);
        let mut at = at + 2.0 * self.dice.part();
        let mut event = self.event(at, EventKind::Withheld(Withheld::Unknown));
        event.identifier = Some(person.identifier);
        event.job = Some(job);
        let Some(token) = token else {
            self.events.push(event);
            return None;
        };
        event.user = Some(user(person));
        // A provider that is away; and mailboxes that are not there.
        let dead = self.dice.one_in(700);
        for attempt in 1..=8 {
            let mut issued = event.clone();
            issued.kind = EventKind::Issued;
            issued.at = moment(at);
            issued.token = Some(Selector::from_bytes(token));
            self.events.push(issued);
            if !dead && !(OUTAGE..OUTAGE + 600.0).contains(&at) {
                event.at = moment(at + 0.2);
                event.kind = EventKind::LinkSent;
                event.token = Some(Selector::from_bytes(token));
                self.events.push(event);
                return Some(at + 1.0);
            }
            event.at = moment(at + 0.3);
            event.kind = EventKind::MailFailed {
                what: Mailing::Link,
                attempt,
            };
            self.events.push(event.clone());
            let wait = 10.0 * f64::from(1_u32 << (attempt - 1));
            at += wait.min(600.0) * (0.5 + 0.5 * self.dice.part());
        }
        event.at = moment(at);
        event.kind = EventKind::DeadLetter { attempts: 8 };
        self.events.push(event);
        None
    }

    /// Somebody clicks the button again.
    fn again(&mut self, at: f64, place: Place, person: &Person) {
        let job = JobId::from_bytes(self.dice.bytes());
        let mut event = self.event(at, EventKind::Requested { suppressed: true });
        event.identifier = Some(person.identifier);
        event.job = Some(job);
        event.source = Some(place.source());
        self.events.push(event.clone());
        event.kind = EventKind::Withheld(Withheld::IdentifierLimit);
        event.at = moment(at + 2.0 * self.dice.part());
        event.source = None;
        event.user = Some(user(person));
        self.events.push(event);
    }

    fn link(&mut self, sent: f64, place: Place, person: &Person, token: [u8; 16]) {
        let selector = Some(Selector::from_bytes(token));
        if self.dice.one_in(5) {
            // The provider's scanner looks first.
            let scanner = Ipv4Addr::new(100, 64, 1, self.dice.up_to(250) as u8).into();
            self.token(sent + 2.0, EventKind::Verified, scanner, person, selector);
        }
        if self.dice.one_in(10) {
            return;
        }
        let mut at = sent + 20.0 + 400.0 * self.dice.part();
        let mut source = place.source();
        if self.dice.one_in(4) {
            source = self.place().source();
        }
        if self.dice.one_in(60) {
            for _ in 0..=self.dice.up_to(2) {
                self.token(
                    at,
                    EventKind::Refused(Refused::Malformed),
                    source,
                    person,
                    None,
                );
                at += 15.0;
            }
        }
        if self.dice.one_in(25) {
            at += HOUR * (1.0 + 30.0 * self.dice.part());
            let expired = EventKind::Refused(Refused::Expired);
            self.token(at, expired, source, person, selector);
            return;
        }
        self.token(at, EventKind::Verified, source, person, selector);
        at += 30.0 + 60.0 * self.dice.part();
        if self.dice.one_in(6) {
            self.token(
                at,
                EventKind::Refused(Refused::Password),
                source,
                person,
                selector,
            );
            at += 30.0;
        }
        self.completed(at, source, person, token);
    }

    fn completed(&mut self, at: f64, source: IpAddr, person: &Person, token: [u8; 16]) {
        let selector = Some(Selector::from_bytes(token));
        self.token(at, EventKind::Verified, source, person, selector);
        self.token(at + 0.4, EventKind::Completed, source, person, selector);
        self.token(
            at + 0.5,
            EventKind::Settled { by_sweep: false },
            source,
            person,
            selector,
        );
        self.token(at + 3.0, EventKind::NoticeSent, source, person, None);
        let spent = EventKind::Refused(Refused::Spent);
        if self.dice.one_in(20) {
            // The back button, and the mail again.
            for _ in 0..=self.dice.up_to(3) {
                let at = at + 5.0 + 600.0 * self.dice.part();
                self.token(at, spent, source, person, selector);
            }
        }
        if self.dice.one_in(150) {
            // In the evening, on another device.
            let elsewhere = self.place().source();
            self.token(at + 2.0 * HOUR, spent, elsewhere, person, selector);
        }
    }

    fn codes(&mut self, at: f64, place: Place, person: &Person) {
        let token = self.dice.bytes();
        let Some(mut at) = self.request(at, place, person, Some(token)) else {
            return;
        };
        let source = place.source();
        let selector = Some(Selector::from_bytes(token));
        let wrong = match self.dice.up_to(300) {
            0 => 5,
            1..10 => 3,
            10..40 => 1,
            _ => 0,
        };
        for _ in 0..wrong {
            at += 15.0;
            let kind = EventKind::Refused(Refused::WrongCode);
            self.token(at, kind, source, person, selector);
        }
        at += 20.0;
        if wrong == 5 {
            let mut event = self.event(at, EventKind::Refused(Refused::CodeTries));
            (event.source, event.token) = (Some(source), selector);
            self.events.push(event);
            return;
        }
        self.token(at, EventKind::CodeRedeemed, source, person, selector);
        let granted = self.dice.bytes();
        self.completed(at + 40.0, source, person, granted);
    }

    fn token(
        &mut self,
        at: f64,
        kind: EventKind,
        source: IpAddr,
        person: &Person,
        token: Option<Selector>,
    ) {
        let mut event = self.event(at, kind);
        event.source = Some(source);
        event.user = Some(user(person));
        event.token = token;
        self.events.push(event);
    }

    /// What fails on any day.
    fn failures(&mut self, begin: f64) {
        for hour in [9.2, 20.1] {
            // Who changed nothing today.
            let account = ACCOUNTS + self.dice.up_to(ACCOUNTS);
            let person = self.person(account);
            let source = self.place().source();
            let kind = EventKind::Disowned { revoked: 1 };
            self.token(begin + hour * HOUR, kind, source, &person, None);
        }
        // The database restarts: whoever asks in these seconds is not served.
        for number in 0..8 {
            let kind = EventKind::BackendFailed {
                backend: Backend::Tokens,
                step: Step::Verify,
            };
            let event = self.event(begin + 4.0 * HOUR + f64::from(number), kind);
            self.events.push(event);
        }
    }

    fn event(&self, at: f64, kind: EventKind) -> Event {
        Event::new(moment(at), kind)
    }
}

fn user(person: &Person) -> UserId {
    UserId::parse(&person.account.to_string()).unwrap()
}

fn moment(at: f64) -> Timestamp {
    let span = Duration::from_secs_f64(at.abs());
    if at < 0.0 {
        MONDAY - span
    } else {
        MONDAY + span
    }
}

/// SplitMix64: the same days every time.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn up_to(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.up_to(count) == 0
    }

    /// From 0 to 1.
    fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn bytes(&mut self) -> [u8; 16] {
        (u128::from(self.next()) << 64 | u128::from(self.next())).to_be_bytes()
    }
}
