//! Whether anyone can time who has an account.
//!
//! Two channels: the request itself, and a *canary*, a request for somebody else right after it,
//! which would feel the look-up, the letter and the mail that the first one set off. Known and
//! unknown identifiers alternate in random order; the unknown ones carry two labels, and the
//! difference between those is what the machine's noise alone makes of the same code (A/A).
//!
//! Codes have a third channel: a wrong guess, on the handle that a known or an unknown identifier
//! was answered with. So have logins: a wrong password.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench may panic"
)]

mod common;
#[path = "blind/guess.rs"]
mod guess;
#[path = "common/http.rs"]
mod http;
#[path = "blind/login.rs"]
mod login;

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{Backends, Dice, Store, account, percentile, sorted};
use http::Connection;
use password_reset::ResetFlow;
use password_reset::account::Credential;
use password_reset::account::{Account, Client, Identifier, SessionScope, Swap, UserId, UserStore};
use password_reset::async_trait;
use password_reset::audit::{AuditSink, Event, EventKind};
use password_reset::error::BoxError;
use password_reset::flow::{Codes, WorkerOptions};
use password_reset::mail::{Mailer, Message, SendError};
use password_reset::password::{HashPool, PasswordHash};
use password_reset::queue::Channel;
use password_reset::testing::InsecureHasher;
use sha2::{Digest, Sha256};
use tokio::runtime::{Builder, Runtime};

/// Above this, a difference is a leak: the customary bound of timing tests ("dudect").
const LEAK: f64 = 4.5;
/// Fresh backends so many times a case, so that no single layout in memory decides.
const WORLDS: usize = 4;
/// Known, unknown, and unknown under another label.
const LABELS: usize = 3;

struct Case {
    store: Store,
    timed: Timed,
    /// Over a connection to axum on this machine, instead of by a call.
    http: bool,
    limited: bool,
    spread: Duration,
    /// Between two samples; long enough for the worker to keep up.
    pause: Duration,
}

/// What is timed.
#[derive(Clone, Copy, PartialEq)]
enum Timed {
    /// A request for a link.
    Link,
    /// A request for a code.
    Code,
    /// A wrong code.
    Guess,
    /// A wrong password. Asks no store.
    Login,
}

fn main() {
    let samples = common::number("BLIND_SAMPLES", if common::is_test() { 40 } else { 20_000 });
    let only = std::env::var("BLIND_CASES").unwrap_or_default();
    let people = People::new(samples);
    for case in cases() {
        let name = case.name();
        if only.is_empty() || only.split(',').any(|wanted| name.contains(wanted)) {
            let taken = match case.timed {
                Timed::Link => measure(&case, &people, samples),
                // Each costs an Argon2id, in the worker or right away.
                Timed::Code => measure(&case, &people, samples / 4),
                Timed::Guess => guess::measure(&case, &people, samples / 4),
                Timed::Login => login::measure(&people, samples / 4),
            };
            report(&case, &taken);
        }
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for store in runtime(1).block_on(Store::all()) {
        let pause = match store {
            Store::Memory => Duration::from_micros(300),
            Store::Sqlite | Store::Postgres => Duration::from_micros(2_000),
        };
        for (spread, limited) in [(2_000, false), (2_000, true), (200, false), (0, false)] {
            cases.push(Case {
                store,
                timed: Timed::Link,
                http: false,
                limited,
                spread: Duration::from_millis(spread),
                pause,
            });
        }
        for limited in [false, true] {
            cases.push(Case {
                store,
                timed: Timed::Link,
                http: true,
                limited,
                spread: Duration::from_secs(2),
                pause,
            });
        }
        for (timed, http) in [
            (Timed::Code, false),
            (Timed::Code, true),
            (Timed::Guess, false),
            (Timed::Login, false),
        ] {
            // One store is enough to see the page; these cases take long.
            let once = http || timed == Timed::Login;
            if once && store != Store::Memory {
                continue;
            }
            cases.push(Case {
                store,
                timed,
                http,
                limited: false,
                spread: Duration::from_secs(2),
                // The worker hashes two codes meanwhile.
                pause: Duration::from_millis(40),
            });
        }
    }
    cases
}

impl Case {
    fn name(&self) -> String {
        let limits = if self.limited { "limited" } else { "unlimited" };
        let spread = self.spread.as_millis();
        let timed = match self.timed {
            Timed::Link => "",
            Timed::Code => "/code",
            Timed::Guess => return format!("{}/guess", self.store.name()),
            Timed::Login => return "login".to_owned(),
        };
        let way = if self.http { "/http" } else { "" };
        format!("{}/{limits}/{spread}ms{timed}{way}", self.store.name())
    }
}

/// Identifiers that look all alike: nothing but a draw decides who is known.
struct People {
    directory: Directory,
    known: Vec<String>,
    unknown: Vec<String>,
}

impl People {
    fn new(samples: usize) -> Self {
        let mut dice = Dice::new(3);
        let known = samples.max(500) * 3 / 2;
        // Each is used at most once a case: unknown ones, and one canary for every sample.
        let all = known * (LABELS * 2);
        let mut numbers: Vec<usize> = (0..all).collect();
        dice.shuffle(&mut numbers);
        let mail = |number: &usize| format!("user-{number:07}@example.com");
        let known_mails: Vec<String> = numbers[..known].iter().map(mail).collect();
        let unknown: Vec<String> = numbers[known..].iter().map(mail).collect();
        let accounts = known_mails.iter().enumerate();
        let accounts =
            accounts.map(|(id, mail)| (mail.clone(), account(&format!("{id:07}"), mail)));
        Self {
            directory: Directory(Arc::new(accounts.collect())),
            known: known_mails,
            unknown,
        }
    }
}

#[derive(Clone)]
struct Directory(Arc<HashMap<String, Account>>);

#[async_trait]
impl UserStore for Directory {
    async fn find(&self, identifier: &Identifier) -> Result<Option<Account>, BoxError> {
        Ok(self.0.get(identifier.as_str()).cloned())
    }

    async fn account(&self, _: &UserId) -> Result<Option<Account>, BoxError> {
        Ok(None)
    }

    async fn set_password(
        &self,
        _: &UserId,
        _: &Credential,
        _: &PasswordHash,
    ) -> Result<Swap, BoxError> {
        Ok(Swap::Stale)
    }

    async fn end_sessions(&self, _: &UserId, _: SessionScope) -> Result<(), BoxError> {
        Ok(())
    }
}

/// Counts what went wrong: a request that could not be queued is accepted all the same, and would
/// pass for a fast one.
#[derive(Clone, Default)]
struct Failures(Arc<AtomicU64>);

impl AuditSink for Failures {
    fn record(&self, event: &Event) -> Result<(), BoxError> {
        if matches!(event.kind, EventKind::BackendFailed { .. }) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn lost(&self) -> u64 {
        0
    }
}

/// A mail server a millisecond away, and some work to encode and sign the mail.
#[derive(Clone, Default)]
struct Relay(Arc<AtomicU64>);

#[async_trait]
impl Mailer for Relay {
    async fn send(&self, message: &Message) -> Result<(), SendError> {
        for _ in 0..20 {
            black_box(Sha256::digest(black_box(message.html().as_bytes())));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Nanoseconds by label.
#[derive(Default)]
struct Samples {
    request: [Vec<f64>; LABELS],
    canary: [Vec<f64>; LABELS],
    asked: u64,
    jobs: u32,
    mails: u64,
}

fn runtime(threads: usize) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder
        .worker_threads(threads)
        .enable_all()
        .build()
        .unwrap()
}

fn measure(case: &Case, people: &People, samples: usize) -> Samples {
    let mut dice = Dice::new(samples as u64);
    let mut known: Vec<&String> = people.known.iter().collect();
    let mut unknown: Vec<&String> = people.unknown.iter().collect();
    dice.shuffle(&mut known);
    dice.shuffle(&mut unknown);
    let (mut known, mut unknown) = (known.into_iter().cycle(), unknown.into_iter().cycle());

    let mut taken = Samples::default();
    for _ in 0..WORLDS {
        // The worker lives on threads of its own, as it may in a real service.
        let working = runtime(2);
        let capacity = 4_000_000;
        let mut backends = working.block_on(Backends::new(case.store, capacity));
        if case.limited {
            backends = backends.limited(capacity);
        }
        let users = Arc::new(people.directory.clone());
        let (relay, failures) = (Relay::default(), Failures::default());
        let flow = backends.flow(users, Arc::new(relay.clone()), |builder| {
            let pool = HashPool::new(InsecureHasher).unwrap();
            let mut builder = builder.hashing(pool).audit(failures.clone());
            if case.timed != Timed::Link {
                builder = builder.codes(Codes::default());
            }
            builder.danger().spread(case.spread)
        });
        let worker = working.block_on(async { flow.worker().spawn(WorkerOptions::default()) });

        // The sampler has a thread of its own too; its runtime's single worker only gives
        // connections back to their pool.
        let sampling = runtime(1);
        let method = if case.timed == Timed::Code {
            "code"
        } else {
            "link"
        };
        let open = || Connection::open(flow.clone(), method, &working);
        let mut http = case.http.then(open);
        let mut order: Vec<usize> = (0..LABELS)
            .flat_map(|label| std::iter::repeat_n(label, samples / WORLDS))
            .collect();
        dice.shuffle(&mut order);
        // Not before as many jobs become due as are queued.
        let warm = if common::is_test() {
            Duration::from_millis(20)
        } else {
            case.spread + Duration::from_millis(500)
        };
        sampling.block_on(async {
            let asked = &mut taken.asked;
            let mut one = async |label: usize| {
                *asked += 2;
                let typed = if label == 0 {
                    known.next()
                } else {
                    unknown.next()
                };
                let (typed, other) = (typed.unwrap(), unknown.next().unwrap());
                let clients = (client(&mut dice), client(&mut dice));
                let times = match &mut http {
                    Some(http) => (http.ask(typed, clients.0), http.ask(other, clients.1)),
                    None => (
                        ask(&flow, case.timed, typed, clients.0).await,
                        ask(&flow, case.timed, other, clients.1).await,
                    ),
                };
                if case.store == Store::Memory {
                    std::thread::sleep(case.pause);
                } else {
                    tokio::time::sleep(case.pause).await;
                }
                times
            };
            let start = Instant::now();
            for sample in 0.. {
                if start.elapsed() > warm {
                    break;
                }
                one(sample % LABELS).await;
            }
            for label in order {
                let (request, canary) = one(label).await;
                taken.request[label].push(request.as_secs_f64() * 1e9);
                taken.canary[label].push(canary.as_secs_f64() * 1e9);
            }
        });
        taken.jobs += working.block_on(worker.shutdown()).done;
        taken.mails += relay.0.load(Ordering::Relaxed);
        assert_eq!(failures.0.load(Ordering::Relaxed), 0, "a backend failed");
    }
    taken
}

async fn ask(flow: &ResetFlow, timed: Timed, identifier: &str, client: u32) -> Duration {
    let identifier = Identifier::parse(identifier).unwrap();
    let client = Client::from_ip(std::net::Ipv4Addr::from(client).into());
    let start = Instant::now();
    let accepted = if timed == Timed::Link {
        flow.request(&identifier, &client).await.is_ok()
    } else {
        let asked = flow.request_code(&identifier, Channel::Mail, &client);
        asked.await.is_ok()
    };
    let taken = start.elapsed();
    assert!(accepted);
    taken
}

fn client(dice: &mut Dice) -> u32 {
    u32::try_from(dice.roll() >> 32).unwrap()
}

fn report(case: &Case, samples: &Samples) {
    let mut worst = [0_f64; 2];
    let request = match case.timed {
        Timed::Link | Timed::Code => "request",
        Timed::Guess => "guess",
        Timed::Login => "login",
    };
    for (channel, labels) in [(request, &samples.request), ("canary", &samples.canary)] {
        // A refusal sets nothing off that a canary could feel.
        if labels[0].is_empty() {
            continue;
        }
        let pooled = sorted(labels.concat());
        for (number, (pair, left, right)) in
            [("known", 0, 1), ("control", 1, 2)].into_iter().enumerate()
        {
            let (left, right) = (&labels[left], &labels[right]);
            let at = |p: f64| welch_below(left, right, percentile(&pooled, p));
            let tests = [welch(left, right), at(0.5), at(0.9), at(0.99)];
            let [whole, p50, p90, p99] = tests;
            let largest = tests.iter().fold(0_f64, |most, t| most.max(t.abs()));
            worst[number] = worst[number].max(largest);
            let (left, right) = (sorted(left.clone()), sorted(right.clone()));
            let medians = (percentile(&left, 0.5), percentile(&right, 0.5));
            println!(
                "{{\"bench\":\"blind\",\"case\":\"{}\",\"channel\":\"{channel}\",\
                 \"pair\":\"{pair}\",\"samples\":{},\"t\":{whole:.2},\"t_p50\":{p50:.2},\
                 \"t_p90\":{p90:.2},\"t_p99\":{p99:.2},\"auc\":{:.4},\"median_ns\":{:.0},\
                 \"ratio\":{:.4}}}",
                case.name(),
                left.len(),
                auc(&left, &right),
                medians.0,
                medians.0 / medians.1,
            );
        }
    }
    let verdict = match worst {
        _ if samples.request[0].len() < 5_000 => "too few samples",
        [_, control] if control >= LEAK => "too noisy",
        [known, _] if known >= LEAK => "leaks",
        _ => "blind",
    };
    println!(
        "{{\"bench\":\"blind\",\"case\":\"{}\",\"verdict\":\"{verdict}\",\"largest_t\":{:.2},\
         \"control_t\":{:.2},\"requests\":{},\"jobs_done\":{},\"mails\":{}}}",
        case.name(),
        worst[0],
        worst[1],
        samples.asked,
        samples.jobs,
        samples.mails,
    );
}

fn welch_below(left: &[f64], right: &[f64], bound: f64) -> f64 {
    let below = |samples: &[f64]| -> Vec<f64> {
        samples.iter().copied().filter(|ns| *ns <= bound).collect()
    };
    welch(&below(left), &below(right))
}

/// Welch's t: the difference of the means in units of its own standard error.
fn welch(left: &[f64], right: &[f64]) -> f64 {
    let moments = |samples: &[f64]| {
        let count = samples.len() as f64;
        let mean = samples.iter().sum::<f64>() / count;
        let squares = samples.iter().map(|ns| (ns - mean).powi(2)).sum::<f64>();
        (mean, squares / (count - 1.0) / count)
    };
    let ((left, left_error), (right, right_error)) = (moments(left), moments(right));
    (left - right) / (left_error + right_error).sqrt()
}

/// How often a random sample of the left is larger than one of the right; 0.5 says nothing. Both
/// sorted; equal ones count a half.
fn auc(left: &[f64], right: &[f64]) -> f64 {
    let wins: usize = left
        .iter()
        .map(|ns| {
            let below = right.partition_point(|other| other < ns);
            below + right.partition_point(|other| other <= ns)
        })
        .sum();
    wins as f64 / 2.0 / (left.len() * right.len()) as f64
}
