//! Requests at a steady pace, from wherever the attacker likes.

use std::iter;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::facts::address;
use crate::siege::site::{Method, Outcome, Site};

/// How many requests may wait for their answers; the pace gives way where there are more.
const OPEN: usize = 256;
/// Whose mailbox is filled, and whose code is guessed.
pub(crate) const VICTIM: u32 = 1;
/// How often one source guesses at what it asked for itself: once more than a code may be tried.
const GUESSES: usize = 6;

/// By when a code is made, which begins at a random moment within two seconds. Before that there is
/// nothing to guess.
const MADE: Duration = Duration::from_secs(4);

/// A request, and what came of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shot {
    /// When it was sent, in seconds since the beginning.
    pub(crate) at: f64,
    pub(crate) outcome: Outcome,
}

/// What an attacker does.
#[derive(Clone, Copy)]
pub(crate) enum Attack {
    /// Asks for many addresses that have no account, from one source; with a script that does no
    /// work.
    SweepFromOneSource,
    /// The same, each from a /64 of its own in one /48.
    SweepFromOneNetwork,
    /// Asks for one account, each from a network of its own, and does the work.
    FillOneMailbox,
    /// Asks for a code of one account, each from a network of its own, does the work, and guesses: once
    /// at the code that the first of them asked for, which was mailed, and then at its own.
    GuessCodes,
}

/// So many of these, so many a second.
#[derive(Clone, Copy)]
pub(crate) struct Siege {
    pub(crate) attack: Attack,
    pub(crate) sources: u32,
    pub(crate) per_second: u32,
}

impl Siege {
    pub(crate) async fn lay(self, site: &Arc<Site>) -> Vec<Shot> {
        let mut pace = interval(Duration::from_secs(1) / self.per_second);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let open = Arc::new(Semaphore::new(OPEN));
        let first = Arc::new(OnceLock::new());
        let mut sent = JoinSet::new();
        for number in 0..self.sources {
            pace.tick().await;
            let Ok(turn) = Arc::clone(&open).acquire_owned().await else {
                break;
            };
            let (site, first) = (Arc::clone(site), Arc::clone(&first));
            sent.spawn(async move {
                let shots = self.attack.shoot(&site, number, &first).await;
                drop(turn);
                shots
            });
        }
        let mut shots = sent.join_all().await.concat();
        shots.sort_by(|one, other| one.at.total_cmp(&other.at));
        shots
    }
}

impl Attack {
    /// `first` is the first handle that any of them got.
    async fn shoot(self, site: &Site, number: u32, first: &OnceLock<String>) -> Vec<Shot> {
        let at = site.seconds();
        let stranger = format!("stranger-{number}@example.com");
        let (asked, source) = match self {
            Self::SweepFromOneSource => {
                let source = "203.0.113.7".to_owned();
                let asked = site.ask(&source, &stranger, Method::Link, false).await;
                (asked, source)
            }
            Self::SweepFromOneNetwork => {
                let source = format!("2001:db8:1:{number:x}::7");
                let asked = site.ask(&source, &stranger, Method::Link, false).await;
                (asked, source)
            }
            Self::FillOneMailbox => {
                let source = network(number);
                let asked = site
                    .ask(&source, &address(VICTIM), Method::Link, true)
                    .await;
                (asked, source)
            }
            Self::GuessCodes => {
                let source = network(number);
                let asked = site
                    .ask(&source, &address(VICTIM), Method::Code, true)
                    .await;
                (asked, source)
            }
        };
        let (outcome, handle) = asked;
        let mut shots = vec![Shot { at, outcome }];
        if let (Self::GuessCodes, Some(handle)) = (self, handle) {
            let first = first.get_or_init(|| handle.clone());
            sleep(MADE).await;
            let own = if *first == handle { 0 } else { GUESSES };
            for handle in iter::once(first).chain(iter::repeat_n(&handle, own)) {
                let at = site.seconds();
                let code = format!("{:08}", fastrand::u32(..100_000_000));
                let outcome = site.try_code(&source, handle, &code).await;
                shots.push(Shot { at, outcome });
            }
        }
        shots
    }
}

/// An address in a /24 of its own.
fn network(number: u32) -> String {
    let [_, high, middle, low] = number.to_be_bytes();
    format!("{}.{middle}.{low}.7", 11_u8.saturating_add(high))
}
