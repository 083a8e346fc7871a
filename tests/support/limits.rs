//! Limits that two processes share (R31, R36). For every adapter.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "processes.rs"]
pub(crate) mod processes;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use password_reset::account::Client;
use password_reset::audit::EventKind;
use password_reset::flow::{Limits, RequestError};
use password_reset::limit::{Quota, RateLimiter};
use processes::{ADA, Process, SPREAD, Shared, processes_within, typed};
use tokio::task::JoinSet;

const HOUR: Duration = Duration::from_secs(3_600);
/// At the same time.
const RACERS: usize = 64;
/// From one source; W56 has ten thousand, in memory.
const FLOOD: usize = 640;

fn limited<B: Shared + RateLimiter>(backends: [B; 2], limits: Limits) -> [Process; 2] {
    processes_within(
        backends,
        |backend| Arc::new(backend.clone()),
        |_, builder| builder.limits(limits),
    )
}

/// A source in a network of its own.
fn elsewhere(number: usize) -> IpAddr {
    let number = u8::try_from(number).unwrap();
    [198, 18, number, 7].into()
}

/// Asks at both processes in turn; answers how many were accepted.
async fn ask(processes: &[Process; 2], asked: impl IntoIterator<Item = (String, IpAddr)>) -> usize {
    let mut racers = JoinSet::new();
    for ((identifier, source), process) in asked.into_iter().zip(processes.iter().cycle()) {
        let flow = process.flow.clone();
        racers.spawn(async move {
            let client = Client::from_ip(source);
            match flow.request(&typed(&identifier), &client).await {
                Ok(_) => true,
                Err(RequestError::RateLimited { .. }) => false,
                Err(error) => panic!("{error}"),
            }
        });
    }
    let accepted = racers.join_all().await;
    accepted.into_iter().filter(|accepted| *accepted).count()
}

async fn mails(processes: &[Process; 2]) -> usize {
    let [one, other] = processes;
    one.clock.advance(SPREAD);
    let (workers, more) = (one.flow.worker(), other.flow.worker());
    tokio::join!(workers.run_due(), more.run_due());
    one.outbox.messages().len() + other.outbox.messages().len()
}

pub(crate) async fn w56_a_flood_from_one_source_keeps_nobody_out<B: Shared + RateLimiter>(
    backends: [B; 2],
) {
    let processes = limited(backends, Limits::default());
    let source: IpAddr = [192, 0, 2, 7].into();
    let mut accepted = 0;
    for first in (0..FLOOD).step_by(RACERS) {
        let asked = (first..first + RACERS).map(|n| (format!("nobody-{n}@example.com"), source));
        accepted += ask(&processes, asked).await;
    }
    assert_eq!(accepted, 20, "of one source, at both together");
    assert_eq!(mails(&processes).await, 0);
    assert_eq!(ask(&processes, [(ADA.to_owned(), elsewhere(1))]).await, 1);
    assert_eq!(mails(&processes).await, 1);
}

/// W50, W51: from everywhere, in every spelling.
pub(crate) async fn w50_one_mailbox_is_filled_from_nowhere<B: Shared + RateLimiter>(
    backends: [B; 2],
) {
    let processes = limited(backends, Limits::default());
    let spellings = [
        ADA,
        "ADA@example.com",
        " ada@example.com ",
        "Ada@EXAMPLE.com",
    ];
    let asked = spellings.iter().cycle().enumerate().take(RACERS);
    let asked = asked.map(|(number, spelling)| ((*spelling).to_owned(), elsewhere(number)));
    // Nobody is told that this mailbox is over its limit.
    assert_eq!(ask(&processes, asked).await, RACERS);
    assert_eq!(mails(&processes).await, 1);
    let suppressed = EventKind::Requested { suppressed: true };
    let [one, other] = &processes;
    assert_eq!(one.saw(suppressed) + other.saw(suppressed), RACERS - 1);
}

pub(crate) async fn r31_all_together_have_one_limit_and_one_reserve<B: Shared + RateLimiter>(
    backends: [B; 2],
) {
    let mut limits = Limits::default();
    limits.global = Quota::new(10, HOUR);
    limits.reserve = Quota::new(3, HOUR);
    let processes = limited(backends, limits);
    let asked = (0..RACERS).map(|n| (format!("nobody-{n}@example.com"), elsewhere(n)));
    assert_eq!(ask(&processes, asked).await, 10 + 3);
}

/// Each of these on one kind of backend.
macro_rules! limits {
    ($database:ident, $pair:expr) => {
        $crate::limits::processes::across_processes! { limits, $database, $pair,
            w56_a_flood_from_one_source_keeps_nobody_out
            w50_one_mailbox_is_filled_from_nowhere
            r31_all_together_have_one_limit_and_one_reserve
        }
    };
}
pub(crate) use limits;
