//! Who watches the trail, and tells: [`Watcher`].

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::Timestamp;
use crate::account::UserId;
use crate::audit::log::{Arrival, AuditLog, Entry, Query, Tail};
use crate::audit::monitor::{Alarm, AlarmSink, Monitor, Rules, Subject, TracingAlarms};
use crate::audit::{EventKind, Pseudonym, RuleName, Severity};
use crate::error::BoxError;
use crate::flow::ResetFlow;
use crate::flow::worker::contain;
use crate::limit::{Decision, Quota};

#[cfg(feature = "tokio")]
mod spawned;
#[cfg(feature = "tokio")]
pub use spawned::{WatcherHandle, WatcherOptions};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
/// How many pages one round reads.
const PAGES: u32 = 100;
/// How many alarms wait to be told; beyond that the oldest are dropped.
const WAITING: usize = 100;
/// How many alarms of others are remembered while the trail of the last day is read.
const REMEMBERED: usize = 10_000;

/// How long another process that has claimed an alarm may take to tell it. After that somebody else
/// does: it may have died with it.
const TELLING: Duration = Duration::from_secs(120);
/// How long the trail may not be readable before that is an alarm by itself.
const OUTAGE: Duration = Duration::from_secs(60);

/// The rule of events that the sink did not take or lost, which no event can tell.
const EVENTS_LOST: RuleName = RuleName::new("events_lost");
/// The rule of a trail that cannot be read, so that nothing else can ring.
const TRAIL_UNREADABLE: RuleName = RuleName::new("trail_unreadable");

/// What one round of a watcher did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct WatchReport {
    /// Events read.
    pub events: u64,
    /// Alarms told.
    pub alarms: u32,
    /// Calls to the log or to the alarm sink that failed; they are made again.
    pub failures: u32,
    /// Whether there is more to read already.
    pub behind: bool,
}

/// Follows the audit trail, counts by [`Rules`], and tells an [`AlarmSink`].
///
/// Run one in every process that takes requests: each turns its own captcha switch on
/// ([`When::Demanded`](crate::human::When::Demanded)), and all of them together tell an alarm once,
/// because they claim it through the flow's limiter. With
/// [`Unlimited`](crate::limit::Unlimited) each tells it. All of them must follow the same trail.
///
/// Every alarm that was told is recorded in the trail too, as [`EventKind::Alarm`]. One that another
/// process has claimed, and that does not stand there two minutes later, is told after all (but for
/// `trail_unreadable`, which nobody could see there). When the first round begins,
/// the last day of the trail is read, so that nothing is missed over a restart; what rang then, and
/// stands in the trail, is not told again.
///
/// An application of one process without a database uses
/// [`MemoryLog`](crate::memory::MemoryLog), as its sink and as its log.
///
/// ```
/// # #[cfg(feature = "testing")]
/// # password_reset::testing::block_on(async {
/// # use std::sync::Arc;
/// # use password_reset::account::{Address, Client, Identifier};
/// # use password_reset::flow::{Parts, ResetFlow};
/// # use password_reset::limit::Quota;
/// # use password_reset::mail::{LinkBase, Mailbox, Site};
/// # use password_reset::memory::{MemoryLimiter, MemoryLog, MemoryQueue, MemoryTokens};
/// # use password_reset::testing::{ManualClock, MemoryUsers, Outbox};
/// # use password_reset::token::Keyring;
/// # let clock = ManualClock::default();
/// # let site = Site::new(
/// #     "Example",
/// #     LinkBase::parse("https://app.example.com/reset-password")?,
/// #     "support@example.com",
/// #     Mailbox::new(Address::parse("noreply@example.com")?),
/// # )?;
/// # let parts = Parts {
/// #     site,
/// #     keyring: Keyring::ephemeral()?,
/// #     users: Arc::new(MemoryUsers::default()),
/// #     tokens: Arc::new(MemoryTokens::default()),
/// #     queue: Arc::new(MemoryQueue::default()),
/// #     mailer: Arc::new(Outbox::default()),
/// #     limiter: Arc::new(MemoryLimiter::default()),
/// # };
/// let log = MemoryLog::default();
/// let flow = ResetFlow::builder(parts).audit(log.clone()).clock(clock.clone()).build()?;
/// let mut watcher = flow.watcher(log);
///
/// for number in 0..50 {
///     let identifier = Identifier::parse(&format!("user-{number}@example.com"))?;
///     let client = Client::from_ip([192, 0, 2, 7].into());
///     let _ = flow.request(&identifier, &client).await;
/// }
/// clock.advance(std::time::Duration::from_secs(6));
/// assert_eq!(watcher.run_once().await.alarms, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[must_use]
pub struct Watcher {
    flow: ResetFlow,
    log: Arc<dyn AuditLog>,
    sink: Arc<dyn AlarmSink>,
    rules: Rules,
    lateness: Option<Duration>,
    groups: Option<usize>,
    history: Duration,
    watching: Option<Watching>,
    due: VecDeque<Due>,
    /// Until when the captcha was demanded.
    demanded: Option<Timestamp>,
    /// How many events were lost when it was last looked, and when that was told.
    lost: (u64, Option<Timestamp>),
    outage: Outage,
}

/// Since when the trail cannot be read.
#[derive(Default)]
struct Outage {
    since: Option<Timestamp>,
    rounds: u64,
    told: Option<Timestamp>,
}

/// From the first round on.
struct Watching {
    monitor: Monitor,
    tail: Tail,
    /// While the last day is read.
    past: Option<Past>,
}

/// What rang in the past, and what was told of it.
#[derive(Default)]
struct Past {
    rang: VecDeque<Alarm>,
    told: VecDeque<Told>,
}

/// What an event says about the subject of an alarm.
type Names = (Option<IpAddr>, Option<Pseudonym>, Option<UserId>);

/// An alarm on its way.
struct Due {
    alarm: Alarm,
    claim: Claim,
    /// Won in place of somebody who did not tell it in time.
    leased: bool,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Claim {
    Open,
    /// The limiter was asked. Whoever is cut off here does not know the answer, and tells: twice is
    /// better than never.
    Asked,
    Won,
    /// Somebody else was first, at this moment of our clock.
    Elsewhere(Timestamp),
}

impl ResetFlow {
    /// A watcher of the trail that this flow writes, for all tenants, with the default rules.
    pub fn watcher(&self, log: impl AuditLog) -> Watcher {
        let flow = self.of(None);
        let lost = flow.audit_failures();
        Watcher {
            rules: Rules::default().budget(&flow.core.settings.limits.global),
            flow,
            log: Arc::new(log),
            sink: Arc::new(TracingAlarms),
            lateness: None,
            groups: None,
            history: DAY,
            watching: None,
            due: VecDeque::new(),
            demanded: None,
            lost: (lost, None),
            outage: Outage::default(),
        }
    }
}

impl Watcher {
    /// Other rules than the default ones; the monitor begins anew.
    pub fn rules(mut self, rules: Rules) -> Self {
        self.rules = rules;
        self.watching = None;
        self
    }

    /// Whom to tell; by default `tracing`.
    pub fn alarms(mut self, sink: impl AlarmSink) -> Self {
        self.sink = Arc::new(sink);
        self
    }

    /// How much of the trail is read when the first round begins: a day by default, at most a week.
    /// A longer span teaches the usual rate sooner.
    pub fn history(mut self, history: Duration) -> Self {
        self.history = history.min(7 * DAY);
        self.watching = None;
        self
    }

    /// See [`Monitor::lateness`].
    pub fn lateness(mut self, lateness: Duration) -> Self {
        self.lateness = Some(lateness);
        self.watching = None;
        self
    }

    /// See [`Monitor::with_capacity`].
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = Some(groups);
        self.watching = None;
        self
    }

    /// Reads what is new in the trail, counts it, and tells what rang.
    ///
    /// Never fails and never panics: what goes wrong is in the report, and is tried again in the next
    /// round. Needs no runtime and no timer; call it every second or so. A future that is dropped
    /// loses nothing.
    pub async fn run_once(&mut self) -> WatchReport {
        let mut report = WatchReport::default();
        let now = self.flow.now();
        let followed = contain(self.follow(now, &mut report)).await;
        if followed.is_none() {
            // Half a page may be counted. The trail is the truth: read it again.
            self.watching = None;
        }
        match followed {
            Some(Ok(())) => self.outage.since = None,
            _ => {
                report.failures += 1;
                self.look_at_outage(now);
            }
        }
        self.demand(now);
        self.look_for_losses(now);
        self.tell(now, &mut report).await;
        report
    }

    async fn follow(&mut self, now: Timestamp, report: &mut WatchReport) -> Result<(), BoxError> {
        if self.watching.is_none() {
            let tail = self.begin(now).await?;
            self.watching = Some(Watching {
                monitor: self.monitor(),
                tail,
                past: Some(Past::default()),
            });
        }
        for _ in 0..PAGES {
            let Some(watching) = &mut self.watching else {
                return Ok(());
            };
            let entries = watching.tail.next(self.log.as_ref(), now).await?;
            let end = match entries.iter().map(|entry| entry.event.at).max() {
                // Earlier events may stand on the next page.
                Some(latest) => latest.min(now),
                None => now,
            };
            report.events += u64::try_from(entries.len()).unwrap_or(u64::MAX);
            let rang = watching.take(&entries, now, end);
            self.due_all(rang);
            self.told_elsewhere(&entries);
            if entries.is_empty() {
                return Ok(());
            }
        }
        report.behind = true;
        Ok(())
    }

    /// Where the last day of the trail begins.
    async fn begin(&self, now: Timestamp) -> Result<Tail, BoxError> {
        let latest = self.log.latest().await?;
        let day = Query::oldest(1).from(now - self.history);
        let first = self.log.read(&day).await?;
        let first = first.entries.first().map(|entry| entry.arrival.0);
        let before = first.map_or(latest, |first| Arrival(first.saturating_sub(1)));
        Ok(Tail::after(before))
    }

    fn monitor(&self) -> Monitor {
        let monitor = match self.groups {
            Some(groups) => Monitor::with_capacity(&self.rules, groups),
            None => Monitor::new(&self.rules),
        };
        match self.lateness {
            Some(lateness) => monitor.lateness(lateness),
            None => monitor,
        }
    }

    /// Turns the captcha on. An operator who turns it off has the last word until a threshold is
    /// reached again.
    fn demand(&mut self, now: Timestamp) {
        let until = self.watching.as_ref();
        let until = until.and_then(|watching| watching.monitor.challenge_until());
        if until > self.demanded {
            self.demanded = until;
            if let (Some(demand), Some(until)) = (self.flow.switch(), until)
                && until > now
            {
                demand.until(until);
            }
        }
    }

    /// Whoever floods the trail until events are lost must not be unseen for it.
    fn look_for_losses(&mut self, now: Timestamp) {
        let (known, told) = self.lost;
        let lost = self.flow.audit_failures();
        if lost == known {
            return;
        }
        self.lost = (lost, told);
        if told.is_some_and(|told| now.since(told) < HOUR) {
            return;
        }
        self.lost.1 = Some(now);
        self.due_all([of_the_watch(
            EVENTS_LOST,
            lost.saturating_sub(known),
            now,
            now,
        )]);
    }

    /// A watcher that reads nothing must not look like a quiet day. Told once an hour, past the trail.
    fn look_at_outage(&mut self, now: Timestamp) {
        let outage = &mut self.outage;
        if outage.since.is_none() {
            outage.rounds = 0;
        }
        let since = *outage.since.get_or_insert(now);
        outage.rounds += 1;
        let told = outage.told.is_some_and(|told| now.since(told) < HOUR);
        if told || now.since(since) < OUTAGE {
            return;
        }
        outage.told = Some(now);
        let rounds = outage.rounds;
        self.due_all([of_the_watch(TRAIL_UNREADABLE, rounds, since, now)]);
    }

    /// Forgets what stands in the trail by now, whoever told it.
    fn told_elsewhere(&mut self, entries: &[Entry]) {
        for told in entries.iter().filter_map(told) {
            self.due.retain(|due| !is_about(&told, &due.alarm));
        }
    }

    fn due_all(&mut self, alarms: impl IntoIterator<Item = Alarm>) {
        let open = |alarm| Due {
            alarm,
            claim: Claim::Open,
            leased: false,
        };
        self.due.extend(alarms.into_iter().map(open));
        while self.due.len() > WAITING {
            self.due.pop_front();
        }
    }

    async fn tell(&mut self, now: Timestamp, report: &mut WatchReport) {
        for _ in 0..self.due.len() {
            let Some(due) = self.due.front_mut() else {
                return;
            };
            match due.claim {
                Claim::Open => {
                    due.claim = Claim::Asked;
                    let once = Quota::new(1, due.alarm.cool_down);
                    if !is_ours(&self.flow, "alarm", &due.alarm, &once, due.alarm.at).await {
                        due.claim = Claim::Elsewhere(now);
                    }
                }
                Claim::Elsewhere(since) if now.since(since) >= TELLING => {
                    due.claim = Claim::Asked;
                    due.leased = true;
                    // A lease, so that nobody who dies takes an alarm along.
                    let lease = Quota::new(1, TELLING);
                    if !is_ours(&self.flow, "alarm-again", &due.alarm, &lease, now).await {
                        due.claim = Claim::Elsewhere(now);
                    }
                }
                _ => {}
            }
            let elsewhere = matches!(due.claim, Claim::Elsewhere(_));
            if elsewhere && due.alarm.rule == TRAIL_UNREADABLE {
                // Nobody can see in the trail whether it was told.
                self.due.pop_front();
                continue;
            }
            if elsewhere {
                self.due.rotate_left(1);
                continue;
            }
            due.claim = Claim::Won;
            let told = contain(self.sink.raise(&due.alarm)).await;
            // Only now: whoever is cut off above finds it where it was.
            let Some(due) = self.due.pop_front() else {
                return;
            };
            if matches!(told, Some(Ok(()))) {
                record(&self.flow, &due.alarm);
                report.alarms += 1;
            } else {
                // The sink's own words are dropped: nobody knows what is in them.
                tracing::error!(alarm = %due.alarm, "an alarm could not be told");
                report.failures += 1;
                // Whoever only stood in lets others try, so that not all of them end up telling.
                let claim = match due.leased {
                    true => Claim::Elsewhere(now),
                    false => due.claim,
                };
                self.due.push_back(Due { claim, ..due });
            }
        }
    }
}

/// An alarm about the watch itself, which no event can tell.
fn of_the_watch(rule: RuleName, count: u64, first_seen: Timestamp, now: Timestamp) -> Alarm {
    Alarm {
        rule,
        severity: Severity::Critical,
        at: now,
        subject: Subject::All,
        count,
        threshold: 1,
        window: HOUR,
        first_seen,
        cool_down: HOUR,
        source: None,
        challenge: None,
    }
}

/// Whether this process is the one that tells. A limiter that fails leaves nobody untold.
async fn is_ours(
    flow: &ResetFlow,
    label: &str,
    alarm: &Alarm,
    quota: &Quota,
    at: Timestamp,
) -> bool {
    let subject = format!("{} {}", alarm.rule, alarm.subject);
    let key = flow.limit_key(label, subject.as_bytes());
    let claim = flow.core.limiter.check(&key, quota, at);
    !matches!(contain(claim).await, Some(Ok(Decision::Deny { .. })))
}

fn record(flow: &ResetFlow, alarm: &Alarm) {
    let mut event = flow.event(EventKind::Alarm {
        rule: alarm.rule,
        count: alarm.count,
    });
    (event.source, event.identifier, event.user) = names(&alarm.subject);
    flow.record(event);
}

fn names(subject: &Subject) -> Names {
    match subject {
        Subject::All | Subject::Many => (None, None, None),
        Subject::Source(address) | Subject::Network(address) => (Some(*address), None, None),
        Subject::Identifier(identifier) => (None, Some(*identifier), None),
        Subject::User(user) => (None, None, Some(user.clone())),
    }
}

impl Watching {
    /// Counts a page, up to `end`; answers what rang and is to be told. An empty page is the end of
    /// the past.
    fn take(&mut self, entries: &[Entry], now: Timestamp, end: Timestamp) -> Vec<Alarm> {
        for entry in entries {
            self.monitor.observe(&entry.event, now);
        }
        let rang = self.monitor.advance(end);
        let Some(past) = &mut self.past else {
            return rang;
        };
        past.rang.extend(rang);
        past.told.extend(entries.iter().filter_map(told));
        while past.rang.len() > REMEMBERED {
            past.rang.pop_front();
        }
        while past.told.len() > REMEMBERED {
            past.told.pop_front();
        }
        if !entries.is_empty() {
            return Vec::new();
        }
        let past = self.past.take().unwrap_or_default();
        let untold = |alarm: &Alarm| !past.has_told(alarm);
        past.rang
            .iter()
            .filter(|alarm| untold(alarm))
            .cloned()
            .collect()
    }
}

/// An alarm that stands in the trail.
type Told = (RuleName, Names, Timestamp);

/// Whether it is about what this alarm is about, and was told after it rang.
fn is_about((rule, names_of_told, at): &Told, alarm: &Alarm) -> bool {
    let about = *rule == alarm.rule && *names_of_told == names(&alarm.subject);
    about && *at >= alarm.at
}

fn told(entry: &Entry) -> Option<Told> {
    let event = &entry.event;
    let EventKind::Alarm { rule, .. } = event.kind else {
        return None;
    };
    let names = (event.source, event.identifier, event.user.clone());
    Some((rule, names, event.at))
}

impl Past {
    /// Whether the trail has this alarm.
    fn has_told(&self, alarm: &Alarm) -> bool {
        // Before it may ring again.
        let in_time = |(_, _, at): &Told| at.since(alarm.at) < alarm.cool_down;
        let mut told = self.told.iter();
        told.any(|told| is_about(told, alarm) && in_time(told))
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither the log nor the sink is shown.
        f.debug_struct("Watcher")
            .field("rules", &self.rules.iter().count())
            .field("due", &self.due.len())
            .finish_non_exhaustive()
    }
}
