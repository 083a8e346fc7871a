//! Many requests to two processes: is each mailed?

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use password_reset::error::BoxError;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::attribute::Attribution;
use crate::book::{Asked, Book, FaultKind, Request, Seen};
use crate::check::{self, Rule, Violation};
use crate::demo::Role;
use crate::facts::{Facts, Task, address, spelling};
use crate::flags::Flags;
use crate::fleet::{Fleet, Order};
use crate::post::Post;
use crate::report::{self, Table};
use crate::run::Stage;
use crate::users::ask;
use crate::{now, say};

/// How many ask at the same time.
const ASKERS: u32 = 32;
/// Where workers are killed, the requests take two minutes: time for some forty kills.
const SLOWLY: Duration = Duration::from_secs(120);
/// Nobody uses a link here.
const RULES: [Rule; 4] = [
    Rule::Mailed,
    Rule::MailedOnce,
    Rule::MailedAreStored,
    Rule::Sound,
];
const PROGRESS: Duration = Duration::from_secs(10);

/// Whether everything held.
pub(crate) async fn run(flags: Flags, requests: u32, kill: bool) -> Result<bool, BoxError> {
    let stage = Stage::build(&flags, requests).await?;
    let mut chance = fastrand::Rng::with_seed(stage.seed);
    let book = Arc::new(Book::default());
    let fleet = Arc::new(Fleet::start(&stage.recipe, &[Role::All, Role::All], &book));
    while !fleet.is_whole() {
        sleep(Duration::from_millis(100)).await;
    }
    let mut reading = JoinSet::new();
    reading.spawn(Post::new(stage.recipe.mails(), &book).deliver());
    let started = Instant::now();

    let mut asking = JoinSet::new();
    for first in 0..ASKERS {
        let (fleet, book, mut chance) = (Arc::clone(&fleet), Arc::clone(&book), chance.fork());
        asking.spawn(async move {
            let mine = (first..requests).step_by(usize::try_from(ASKERS).unwrap_or(1));
            let pause = if kill { SLOWLY } else { Duration::ZERO };
            let pause = pause.div_f64(f64::from(requests.div_ceil(ASKERS).max(1)));
            for account in mine {
                sleep(pause.mul_f64(chance.f64() * 2.0)).await;
                until_accepted(&fleet, &book, &mut chance, account).await;
            }
        });
    }
    let mut attribution = Attribution::new()?;
    let limit = started + Duration::from_secs_f64(flags.quiet.max(0.0) * 60.0);
    let mut printed = started;
    let mut asked = None;
    let mut next_kill = started + Duration::from_secs(2);
    let mut next_look = started;
    let (seen, facts) = loop {
        sleep(Duration::from_millis(200)).await;
        while asking.try_join_next().is_some() {}
        if asking.is_empty() && asked.is_none() {
            asked = Some(started.elapsed());
        }
        if kill && next_kill < Instant::now() {
            let restart_after = Duration::from_millis(chance.u64(0..500));
            fleet.order(chance.usize(0..2), Order::Kill { restart_after });
            next_kill = Instant::now() + Duration::from_millis(chance.u64(2_000..5_000));
        }
        if printed.elapsed() > PROGRESS {
            printed = Instant::now();
            report::progress(&book.open(), started.elapsed().as_secs());
        }
        if asked.is_none() || Instant::now() < next_look {
            continue;
        }
        next_look = Instant::now() + Duration::from_secs(3);
        let (seen, facts) = stage.look(&book, &mut attribution).await?;
        if check::unsettled(&seen, &facts, now()).is_empty() || limit < Instant::now() {
            break (seen, facts);
        }
        if let Some(failed) = reading.try_join_next() {
            return Err(failed?);
        }
    };
    let lasted = started.elapsed();
    if let Ok(fleet) = Arc::try_unwrap(fleet) {
        fleet.end().await;
    }
    let mut violations = check::check(&seen, &facts, now());
    let per_job = per_job(&seen, &facts);
    for (mails, jobs) in &per_job {
        if *mails > 1 && !kill {
            violations.push(Violation {
                rule: Rule::MailedOnce,
                what: format!("{jobs} requests were mailed {mails} times without a crash"),
            });
        }
    }
    table(&seen, &per_job, asked.unwrap_or_default(), lasted);
    let held = report::verdict(&RULES, &violations);
    stage.clear(held).await?;
    Ok(held)
}

/// A person whose request gets no answer asks again.
async fn until_accepted(fleet: &Fleet, book: &Book, chance: &mut fastrand::Rng, account: u32) {
    for number in 1..100 {
        let Some((to, run)) = fleet.any(chance).await else {
            continue;
        };
        let spelling = spelling(&address(account), number);
        let outcome = ask(to, &spelling).await;
        book.open().requests.push(Request {
            spelling,
            run,
            outcome,
        });
        if outcome == Asked::Accepted {
            return;
        }
        sleep(Duration::from_millis(chance.u64(50..500))).await;
    }
    say(&format!("account {account} gave up"));
}

/// How many requests were mailed so many times.
fn per_job(seen: &Seen, facts: &Facts) -> BTreeMap<usize, usize> {
    let mut mails: BTreeMap<&str, usize> = BTreeMap::new();
    for job in &facts.jobs {
        if matches!(job.what, Task::Link { .. }) {
            mails.insert(&job.id, 0);
        }
    }
    for mail in &seen.mails {
        if let Some(count) = mails.get_mut(mail.job.as_str()) {
            *count = count.saturating_add(1);
        }
    }
    let mut per_job: BTreeMap<usize, usize> = BTreeMap::new();
    for count in mails.into_values() {
        let jobs = per_job.entry(count).or_default();
        *jobs = jobs.saturating_add(1);
    }
    per_job
}

fn table(seen: &Seen, per_job: &BTreeMap<usize, usize>, asked: Duration, lasted: Duration) {
    let outcome = |outcome: Asked| {
        let requests = seen.requests.iter();
        requests
            .filter(|request| request.outcome == outcome)
            .count()
    };
    let mut table = Table::new();
    table.row("requests", seen.requests.len());
    table.row("accepted", outcome(Asked::Accepted));
    table.row(
        "refused, or nobody there",
        outcome(Asked::Refused) + outcome(Asked::NotSent),
    );
    table.row("answer lost", outcome(Asked::NoAnswer));
    for (mails, jobs) in per_job {
        table.row(&format!("queued and mailed {mails} times"), jobs);
    }
    let duplicates = check::duplicates(seen);
    table.row(
        "second mails: worker killed before it told the queue",
        duplicates.killed,
    );
    table.row("second mails: not explained", duplicates.unexplained);
    let kills = seen
        .faults
        .iter()
        .filter(|fault| fault.kind == FaultKind::Killed);
    table.row("processes killed", kills.count());
    table.row("seconds until all had asked", asked.as_secs());
    table.row("seconds until all was settled", lasted.as_secs());
    table.print();
}
