//! What must hold in the end, whatever happened before. Pure: [`Seen`] and [`Facts`] in,
//! violations out.

use std::collections::{BTreeMap, BTreeSet};

use crate::SECOND;
use crate::book::{Asked, End, FaultKind, Mail, Seen, Tried};
use crate::facts::{Facts, Job, Task, account, address};

/// The library keeps so many live links of one account.
const LIVE_LINKS: usize = 3;
/// How long after a mail its worker may be killed for the mail to count as not told to the queue.
const UNTOLD: i64 = 12 * SECOND;
/// How far a fault of the database reaches: calls wait for it, and give up later.
const REACH: i64 = 40 * SECOND;

/// One promise each.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Rule {
    OneChange,
    HonestAnswers,
    NothingLost,
    Mailed,
    MailedOnce,
    SessionsEnded,
    NoClaimHangs,
    MailedAreStored,
    OwnerTold,
    PasswordKnown,
    Sound,
}

impl Rule {
    pub(crate) const ALL: [Self; 11] = [
        Self::OneChange,
        Self::HonestAnswers,
        Self::NothingLost,
        Self::Mailed,
        Self::MailedOnce,
        Self::SessionsEnded,
        Self::NoClaimHangs,
        Self::MailedAreStored,
        Self::OwnerTold,
        Self::PasswordKnown,
        Self::Sound,
    ];

    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::OneChange => "no token changed two passwords",
            Self::HonestAnswers => "\"changed\" and \"not changed\" were true",
            Self::NothingLost => "a token is spent exactly when a password was changed",
            Self::Mailed => "no accepted request without a mail",
            Self::MailedOnce => "no second mail without a fault that explains it",
            Self::SessionsEnded => "no session survived its account's reset",
            Self::NoClaimHangs => "no claim left hanging",
            Self::MailedAreStored => "no mailed token missing from the store",
            Self::OwnerTold => "no change without a notice to the owner",
            Self::PasswordKnown => "every account has the password that was set last",
            Self::Sound => "the database is sound",
        }
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Violation {
    pub(crate) rule: Rule,
    pub(crate) what: String,
}

/// Why mails came more than once.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Duplicates {
    /// Its worker was killed before it told the queue.
    pub(crate) killed: u64,
    /// Its worker was paused, and another one took the job over.
    pub(crate) paused: u64,
    /// The database did not hear that it was sent.
    pub(crate) untold: u64,
    pub(crate) unexplained: u64,
}

/// Everything, at the moment `now`.
pub(crate) fn check(seen: &Seen, facts: &Facts, now: i64) -> Vec<Violation> {
    let mut found = Found(Vec::new());
    one_change(seen, facts, &mut found);
    honest_answers(seen, facts, &mut found);
    nothing_lost(seen, facts, &mut found);
    mailed(seen, facts, &mut found);
    sessions_ended(seen, facts, &mut found);
    no_claim_hangs(facts, now, &mut found);
    mailed_are_stored(seen, facts, &mut found);
    owner_told(seen, facts, &mut found);
    password_known(seen, facts, &mut found);
    for damage in &facts.damage {
        found.add(Rule::Sound, damage.clone());
    }
    let Duplicates { unexplained, .. } = duplicates(seen);
    if unexplained > 0 {
        found.add(
            Rule::MailedOnce,
            format!("{unexplained} mails came twice, and nothing explains it"),
        );
    }
    found.0
}

/// What is still on its way: the quiet phase waits until it is nothing.
pub(crate) fn unsettled(seen: &Seen, facts: &Facts, now: i64) -> Vec<String> {
    let mut rest = Vec::new();
    let mut count = |what: &str, count: usize| {
        if count > 0 {
            rest.push(format!("{count} {what}"));
        }
    };
    let waiting = |job: &&Job| job.waiting.is_some_and(|waiting| !waiting.dead);
    let links = |job: &&Job| matches!(job.what, Task::Link { .. });
    let jobs = || facts.jobs.iter().filter(waiting);
    count("requests to mail", jobs().filter(links).count());
    let overdue = |job: &&Job| job.waiting.is_some_and(|waiting| waiting.due < now);
    let others = jobs().filter(|job| !links(job));
    count("notices to mail", others.filter(overdue).count());
    let claimed = |token: &&crate::facts::Token| token.claimed && token.spent_at.is_none();
    count("claims", facts.tokens.iter().filter(claimed).count());
    let mut found = Found(Vec::new());
    nothing_lost(seen, facts, &mut found);
    count("changes to settle", found.0.len());
    let mut found = Found(Vec::new());
    mailed(seen, facts, &mut found);
    count("requests without a mail", found.0.len());
    let mut found = Found(Vec::new());
    surviving(facts, &mut found);
    count("sessions to end", found.0.len());
    rest
}

/// Counts the mails of one job beyond the first, by what explains them.
pub(crate) fn duplicates(seen: &Seen) -> Duplicates {
    let mut by_job: BTreeMap<&str, Vec<&Mail>> = BTreeMap::new();
    for mail in &seen.mails {
        by_job.entry(&mail.job).or_default().push(mail);
    }
    let mut duplicates = Duplicates::default();
    for mails in by_job.values_mut() {
        mails.sort_by_key(|mail| mail.at);
        // The last one was told to the queue; each before it was not.
        let untold = mails.len().saturating_sub(1);
        for mail in mails.iter().take(untold) {
            let count = match explanation(seen, mail) {
                Some(FaultKind::Killed) => &mut duplicates.killed,
                Some(FaultKind::Paused | FaultKind::PausedOverItsLease) => &mut duplicates.paused,
                Some(_) => &mut duplicates.untold,
                None => &mut duplicates.unexplained,
            };
            *count = count.saturating_add(1);
        }
    }
    duplicates
}

/// The fault that kept the queue from hearing of a mail.
fn explanation(seen: &Seen, mail: &Mail) -> Option<FaultKind> {
    let runs = seen.runs.iter().enumerate();
    let mut mine = runs.filter(|(_, run)| {
        // Numbers of processes are used again: it is the one that lived at that time.
        run.process == mail.process && run.ended.is_none_or(|ended| ended >= mail.at)
    });
    let (number, run) = mine.next()?;
    let killed = run.end == Some(End::Killed);
    if killed
        && run
            .ended
            .is_some_and(|ended| ended < mail.at.saturating_add(UNTOLD))
    {
        return Some(FaultKind::Killed);
    }
    let mut faults = seen.faults.iter().filter(|fault| {
        let reaches =
            fault.from < mail.at.saturating_add(REACH) && fault.to.saturating_add(REACH) > mail.at;
        // A process that is paused in a transaction holds up the others, too.
        let hits = match fault.kind {
            FaultKind::Killed => fault.run == Some(number),
            _ => true,
        };
        reaches && hits
    });
    faults.next().map(|fault| fault.kind)
}

struct Found(Vec<Violation>);

impl Found {
    fn add(&mut self, rule: Rule, what: String) {
        self.0.push(Violation { rule, what });
    }
}

fn one_change(seen: &Seen, facts: &Facts, found: &mut Found) {
    let mut changes: BTreeMap<&str, u32> = BTreeMap::new();
    for change in &facts.changes {
        match change.attempt.and_then(|place| seen.attempts.get(place)) {
            Some(attempt) => {
                let count = changes.entry(&attempt.selector).or_default();
                *count = count.saturating_add(1);
                if facts.users.get(&address(attempt.account)) != Some(&change.user) {
                    let what = format!("token {} changed another account", attempt.selector);
                    found.add(Rule::OneChange, what);
                }
            }
            None => {
                let what = format!("user {} has a password that nobody sent", change.user);
                found.add(Rule::OneChange, what);
            }
        }
    }
    let mut answers: BTreeMap<&str, u32> = BTreeMap::new();
    for attempt in &seen.attempts {
        if attempt.outcome == Tried::Done {
            let count = answers.entry(&attempt.selector).or_default();
            *count = count.saturating_add(1);
        }
    }
    for (how, counts) in [("changed", changes), ("answered success for", answers)] {
        for (token, count) in counts.into_iter().filter(|(_, count)| *count > 1) {
            let what = format!("token {token} {how} {count} passwords");
            found.add(Rule::OneChange, what);
        }
    }
    for (token, count) in &facts.audit.changes {
        if *count > 1 {
            let what = format!("the audit trail has {count} changes by token {token}");
            found.add(Rule::OneChange, what);
        }
    }
}

fn honest_answers(seen: &Seen, facts: &Facts, found: &mut Found) {
    let changed: BTreeSet<usize> = facts.changes.iter().filter_map(|c| c.attempt).collect();
    for (place, attempt) in seen.attempts.iter().enumerate() {
        let changed = changed.contains(&place);
        if attempt.outcome == Tried::Done && !changed {
            let what = format!("token {}: \"changed\", and it was not", attempt.selector);
            found.add(Rule::HonestAnswers, what);
        }
        if attempt.outcome.denies() && changed {
            let outcome = attempt.outcome;
            let what = format!(
                "token {}: {outcome:?}, and it was changed",
                attempt.selector
            );
            found.add(Rule::HonestAnswers, what);
        }
    }
}

/// Neither "spent and nothing changed" nor "changed and still good".
fn nothing_lost(seen: &Seen, facts: &Facts, found: &mut Found) {
    let tokens: BTreeMap<&str, _> = facts
        .tokens
        .iter()
        .map(|t| (t.selector.as_str(), t))
        .collect();
    for change in &facts.changes {
        let Some(attempt) = change.attempt.and_then(|place| seen.attempts.get(place)) else {
            continue;
        };
        let token = tokens.get(attempt.selector.as_str());
        if token.is_none_or(|token| token.spent_at.is_none()) {
            let what = format!(
                "token {} changed a password and is not spent",
                attempt.selector
            );
            found.add(Rule::NothingLost, what);
        }
    }
    for token in facts.tokens.iter().filter(|token| token.spent_at.is_some()) {
        // Not "by this token": of two that are claimed at once, the sweep settles both.
        let mut changes = facts.changes.iter();
        if !changes.any(|change| change.user == token.user && change.at >= token.issued_at) {
            let what = format!("token {} is spent and nothing was changed", token.selector);
            found.add(Rule::NothingLost, what);
        }
    }
}

fn mailed(seen: &Seen, facts: &Facts, found: &mut Found) {
    let mails: BTreeSet<&str> = seen.mails.iter().map(|mail| mail.job.as_str()).collect();
    let mut by_spelling: BTreeMap<&str, u32> = BTreeMap::new();
    for job in &facts.jobs {
        let Task::Link { spelling } = &job.what else {
            continue;
        };
        let count = by_spelling.entry(spelling).or_default();
        *count = count.saturating_add(1);
        if mails.contains(job.id.as_str()) || rightly_withheld(facts, job, spelling) {
            continue;
        }
        let why = match job.waiting {
            Some(waiting) if waiting.dead => "is a dead letter",
            Some(_) => "still waits",
            None => "is gone",
        };
        let what = format!("job {} of {spelling} was never mailed and {why}", job.id);
        found.add(Rule::Mailed, what);
    }
    // Accepted, and no job: the queue had failed, and the process said so in its log. The answer is
    // the same on purpose: it must not tell that a part of the flow fails.
    let mut in_vain: BTreeMap<usize, u64> = BTreeMap::new();
    for request in &seen.requests {
        let jobs = by_spelling.get(request.spelling.as_str()).copied();
        match (jobs, request.outcome) {
            (Some(2..), _) => {
                let what = format!("the request of {} was queued twice", request.spelling);
                found.add(Rule::Mailed, what);
            }
            (None, Asked::Accepted) => {
                let count = in_vain.entry(request.run).or_default();
                *count = count.saturating_add(1);
            }
            _ => {}
        }
    }
    for (run, count) in in_vain {
        let logged = seen.runs.get(run).map_or(0, |run| run.failed_requests);
        if count > logged {
            let what = format!("run {run} accepted {count} requests in vain and logged {logged}");
            found.add(Rule::Mailed, what);
        }
    }
}

/// Whether the account had its three live links already.
fn rightly_withheld(facts: &Facts, job: &Job, spelling: &str) -> bool {
    let why = facts.audit.withheld.get(&job.id);
    if let Some(why) = why {
        return why.contains("live_tokens");
    }
    // The process was killed before it wrote its audit trail.
    let user = account(spelling).and_then(|number| facts.users.get(&address(number)));
    let (Some(user), Some(gone)) = (user, job.gone) else {
        return false;
    };
    let live = facts
        .tokens
        .iter()
        .filter(|token| token.user == *user && token.lives_at(gone));
    live.count() >= LIVE_LINKS
}

fn sessions_ended(seen: &Seen, facts: &Facts, found: &mut Found) {
    surviving(facts, found);
    let stored: BTreeSet<&str> = facts.sessions.iter().map(|s| s.digest.as_str()).collect();
    let finals: BTreeMap<u32, &str> = seen
        .finals
        .iter()
        .filter_map(|last| Some((last.account, last.password.as_deref()?)))
        .collect();
    for session in &seen.sessions {
        let old = finals
            .get(&session.account)
            .is_some_and(|last| **last != session.password);
        // Whatever the ledger says of its time: it was begun with another password.
        let stored = stored.contains(session.digest.as_str());
        if old && (stored || session.alive_at_end == Some(true)) {
            let what = format!("a session of account {} still logs in", session.account);
            found.add(Rule::SessionsEnded, what);
        }
    }
}

fn surviving(facts: &Facts, found: &mut Found) {
    let mut last: BTreeMap<&str, i64> = BTreeMap::new();
    for change in &facts.changes {
        last.insert(&change.user, change.seq);
    }
    for session in &facts.sessions {
        let change = last.get(session.user.as_str());
        if change.is_some_and(|change| session.begun < *change) {
            let what = format!(
                "session {} of user {} survived",
                session.digest, session.user
            );
            found.add(Rule::SessionsEnded, what);
        }
    }
}

fn no_claim_hangs(facts: &Facts, now: i64, found: &mut Found) {
    for token in facts
        .tokens
        .iter()
        .filter(|token| token.claimed && token.spent_at.is_none())
    {
        let over = token.hold_until.is_none_or(|until| until < now);
        let state = if over { "is over" } else { "still holds" };
        let what = format!("token {}: its claim {state}", token.selector);
        found.add(Rule::NoClaimHangs, what);
    }
}

fn mailed_are_stored(seen: &Seen, facts: &Facts, found: &mut Found) {
    let stored: BTreeSet<&str> = facts.tokens.iter().map(|t| t.selector.as_str()).collect();
    for selector in seen
        .mails
        .iter()
        .filter_map(|mail| mail.selector.as_deref())
    {
        if !stored.contains(selector) {
            let what = format!("token {selector} was mailed and is not in the store");
            found.add(Rule::MailedAreStored, what);
        }
    }
}

/// Each attempt queues a notice of its own before it changes anything, so there are at least as
/// many notices as changes.
fn owner_told(seen: &Seen, facts: &Facts, found: &mut Found) {
    let mut changes: BTreeMap<&str, usize> = BTreeMap::new();
    for change in &facts.changes {
        let count = changes.entry(&change.user).or_default();
        *count = count.saturating_add(1);
    }
    let addresses: BTreeMap<&str, &str> = facts
        .users
        .iter()
        .map(|(address, user)| (user.as_str(), address.as_str()))
        .collect();
    let mut told: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for mail in seen.mails.iter().filter(|mail| mail.selector.is_none()) {
        told.entry(&mail.to).or_default().insert(&mail.job);
    }
    for job in &facts.jobs {
        let Task::Notice { user, .. } = &job.what else {
            continue;
        };
        let Some(waiting) = job.waiting else {
            continue;
        };
        if waiting.dead {
            let what = format!("the notice {} is a dead letter", job.id);
            found.add(Rule::OwnerTold, what);
        } else if let Some(address) = addresses.get(user.as_str()) {
            told.entry(address).or_default().insert(&job.id);
        }
    }
    for (user, count) in changes {
        let told = addresses.get(user).and_then(|address| told.get(address));
        let told = told.map_or(0, BTreeSet::len);
        if told < count {
            let what = format!("user {user}: {count} changes, {told} notices");
            found.add(Rule::OwnerTold, what);
        }
    }
}

fn password_known(seen: &Seen, facts: &Facts, found: &mut Found) {
    let mut last: BTreeMap<&str, &str> = BTreeMap::new();
    for change in &facts.changes {
        if let Some(attempt) = change.attempt.and_then(|place| seen.attempts.get(place)) {
            last.insert(&change.user, &attempt.password);
        }
    }
    for end in &seen.finals {
        let user = facts.users.get(&address(end.account)).map(String::as_str);
        let set = user.and_then(|user| last.get(user));
        match (&end.password, set) {
            (None, _) => {
                let what = format!("no password logs in to account {}", end.account);
                found.add(Rule::PasswordKnown, what);
            }
            (Some(password), Some(set)) if password != set => {
                let what = format!("account {} has a password from before", end.account);
                found.add(Rule::PasswordKnown, what);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
