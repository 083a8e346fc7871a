//! The torture from beginning to end.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use password_reset::error::BoxError;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::attribute::Attribution;
use crate::book::{Book, Seen};
use crate::check::{check, unsettled};
use crate::demo::{Recipe, Role, UNLIMITED, binary};
use crate::facts::{Facts, address};
use crate::faults::Storm;
use crate::flags::{Database, Flags};
use crate::fleet::Fleet;
use crate::post::Post;
use crate::store::{Postgres, Sqlite, Store};
use crate::users::{Account, User};
use crate::{now, report, say};

const PROGRESS: Duration = Duration::from_secs(30);
/// A queue that failed is asked again after half a minute at the latest, and then the sweep.
const AT_LEAST: Duration = Duration::from_secs(20);

/// Whether everything held.
pub(crate) async fn run(flags: Flags) -> Result<bool, BoxError> {
    let stage = Stage::build(&flags, flags.accounts).await?;
    let mut chance = fastrand::Rng::with_seed(stage.seed);
    let book = Arc::new(Book::default());
    let roles: Vec<_> = (0..flags.processes.max(1)).map(Role::of).collect();
    let fleet = Arc::new(Fleet::start(&stage.recipe, &roles, &book));
    let (stopping, stop) = watch::channel(false);

    let users = flags.in_flight.clamp(1, flags.accounts.max(1));
    let mut post = Post::new(stage.recipe.mails(), &book);
    let mut owned: Vec<Vec<Account>> = (0..users).map(|_| Vec::new()).collect();
    for (number, place) in (0..flags.accounts).zip((0..owned.len()).cycle()) {
        let account = Account::new(number, post.owner(&address(number)), &stage.password);
        if let Some(accounts) = owned.get_mut(place) {
            accounts.push(account);
        }
    }
    let mut reading = JoinSet::new();
    reading.spawn(post.deliver());
    let mut living = JoinSet::new();
    for accounts in owned {
        let user = User {
            fleet: Arc::clone(&fleet),
            book: Arc::clone(&book),
            chance: chance.fork(),
            stop: stop.clone(),
        };
        living.spawn(user.live(accounts));
    }
    let storm = Storm {
        fleet: Arc::clone(&fleet),
        book: Arc::clone(&book),
        store: Arc::clone(&stage.store),
        chance: chance.fork(),
        stop: stop.clone(),
    };
    let storm = tokio::spawn(storm.rage());

    let started = Instant::now();
    let end = started + Duration::from_secs_f64(flags.minutes.max(0.0) * 60.0);
    while Instant::now() < end {
        sleep(PROGRESS.min(end.saturating_duration_since(Instant::now()))).await;
        report::progress(&book.open(), started.elapsed().as_secs());
        if let Some(failed) = reading.try_join_next() {
            return Err(failed?);
        }
        if storm.is_finished() {
            storm.await??;
            return Err("the faults came to an end by themselves".into());
        }
    }

    say("quiet: no more faults");
    let _ = stopping.send(true);
    storm.await??;
    let quiet = Instant::now();
    let mut owned = Vec::new();
    while let Some(accounts) = living.join_next().await {
        owned.extend(accounts?);
    }
    while book.open().faults.iter().any(|fault| fault.to == i64::MAX) || !fleet.is_whole() {
        sleep(Duration::from_millis(500)).await;
    }
    let mut attribution = Attribution::new()?;
    let limit = quiet + Duration::from_secs_f64(flags.quiet.max(0.0) * 60.0);
    settle(&stage, &book, &mut attribution, limit).await?;
    say(&format!(
        "settled after {} s of quiet",
        quiet.elapsed().as_secs()
    ));

    let (_, stop) = watch::channel(false);
    let mut looking = JoinSet::new();
    let share = owned.len().div_ceil(16).max(1);
    while !owned.is_empty() {
        let rest = owned.split_off(share.min(owned.len()));
        let accounts = std::mem::replace(&mut owned, rest);
        let mut user = User {
            fleet: Arc::clone(&fleet),
            book: Arc::clone(&book),
            chance: chance.fork(),
            stop: stop.clone(),
        };
        looking.spawn(async move {
            for mut account in accounts {
                user.look_at_the_end(&mut account).await;
            }
        });
    }
    while looking.join_next().await.transpose()?.is_some() {}

    if let Ok(fleet) = Arc::try_unwrap(fleet) {
        fleet.end().await;
    }
    let (seen, facts) = stage.look(&book, &mut attribution).await?;
    let violations = check(&seen, &facts, now());
    let held = report::report(&seen, &facts, &violations);
    stage.clear(held).await?;
    Ok(held)
}

/// Waits until nothing is on its way any more, or for too long.
async fn settle(
    stage: &Stage,
    book: &Book,
    attribution: &mut Attribution,
    limit: Instant,
) -> Result<(), BoxError> {
    sleep(AT_LEAST).await;
    let mut printed = Instant::now();
    loop {
        let (seen, facts) = stage.look(book, attribution).await?;
        let rest = unsettled(&seen, &facts, now());
        if rest.is_empty() || limit < Instant::now() {
            return Ok(());
        }
        if printed.elapsed() > PROGRESS {
            printed = Instant::now();
            say(&format!("waiting for {}", rest.join(", ")));
        }
        sleep(Duration::from_secs(5)).await;
    }
}

/// What everything stands on: the folder, the database and the accounts.
pub(crate) struct Stage {
    pub(crate) seed: u64,
    pub(crate) recipe: Recipe,
    pub(crate) store: Arc<Store>,
    /// Of all accounts.
    pub(crate) password: String,
    keep: bool,
}

impl Stage {
    pub(crate) async fn build(flags: &Flags, accounts: u32) -> Result<Self, BoxError> {
        let binary = binary(flags.demo.clone())?;
        let seed = flags.seed.unwrap_or_else(|| fastrand::u64(0..1_000_000));
        let name = format!("{}-{seed}", flags.database.name());
        let folder = fresh(&name)?;
        say(&format!("seed {seed}, in {}", folder.display()));
        let (database, store) = match flags.database {
            Database::Sqlite => {
                let file = folder.join("torture.db");
                let url = format!("sqlite:{}", file.display());
                (url, Store::Sqlite(Sqlite::new(&file)))
            }
            Database::Postgres => {
                let postgres = Postgres::start(&folder).await?;
                (postgres.url(), Store::Postgres(Box::new(postgres)))
            }
        };
        let recipe = Recipe {
            binary,
            database,
            folder,
            flags: UNLIMITED,
        };
        let password = recipe.seed(accounts).await?;
        store.keep_ledger().await?;
        Ok(Self {
            seed,
            recipe,
            store: Arc::new(store),
            password,
            keep: flags.keep,
        })
    }

    /// Reads everything that is to be read.
    pub(crate) async fn look(
        &self,
        book: &Book,
        attribution: &mut Attribution,
    ) -> Result<(Seen, Facts), BoxError> {
        // First the database, then the mails: a mail is there before its job is gone.
        let mut facts = self.store.facts().await?;
        sleep(Duration::from_secs(1)).await;
        let mut seen = book.open().clone();
        attribution.of(&mut facts, &seen.attempts).await?;
        for run in &mut seen.runs {
            run.failed_requests = failed_requests(&run.log)?;
        }
        Ok((seen, facts))
    }

    /// Ends the database, and removes what is not worth keeping.
    pub(crate) async fn clear(&self, held: bool) -> Result<(), BoxError> {
        self.store.close().await?;
        let folder = &self.recipe.folder;
        if held && !self.keep {
            fs::remove_dir_all(folder)?;
        } else {
            say(&format!("everything is kept in {}", folder.display()));
        }
        Ok(())
    }
}

/// How many requests a process accepted and could not queue, as it logged.
fn failed_requests(log: &PathBuf) -> Result<u64, BoxError> {
    let log = fs::read(log)?;
    let log = String::from_utf8_lossy(&log);
    let failed = log.lines().filter(|line| {
        line.contains("password_reset_backend_failed") && line.contains("step: Request")
    });
    Ok(u64::try_from(failed.count())?)
}

/// An empty folder, with one for logs in it.
pub(crate) fn fresh(name: &str) -> Result<PathBuf, BoxError> {
    let folder = target()?.join("torture").join(name);
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    fs::create_dir_all(folder.join("logs"))?;
    Ok(folder)
}

/// The folder that cargo builds into: the program is in one of its own.
fn target() -> Result<PathBuf, BoxError> {
    let program = std::env::current_exe()?;
    let target = program
        .ancestors()
        .nth(2)
        .ok_or("the program is in no folder")?;
    Ok(target.to_owned())
}
