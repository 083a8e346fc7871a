//! The numbers, while it runs and at the end.

use std::collections::BTreeMap;

use crate::book::{Asked, End, FaultKind, Seen, Tried};
use crate::check::{self, Rule, Violation};
use crate::facts::{Facts, Task};
use crate::say;

/// How many violations of one rule are printed.
const SHOWN: usize = 10;

/// One line.
pub(crate) fn progress(seen: &Seen, seconds: u64) {
    let links = seen.mails.iter().filter(|mail| mail.selector.is_some());
    say(&format!(
        "{seconds:>5} s: {} in flight, {} asked, {} links mailed, {} resets answered, {} kills, {} faults",
        seen.in_flight,
        seen.requests.len(),
        links.count(),
        tried(seen, Tried::Done),
        faults(seen, FaultKind::Killed),
        seen.faults.len(),
    ));
}

/// The table, and what was violated; whether nothing was.
pub(crate) fn report(seen: &Seen, facts: &Facts, violations: &[Violation]) -> bool {
    let jobs: BTreeMap<&str, ()> = facts
        .jobs
        .iter()
        .filter_map(|job| match &job.what {
            Task::Link { spelling } => Some((spelling.as_str(), ())),
            _ => None,
        })
        .collect();
    let asked = |outcome: Asked, queued: bool| {
        let requests = seen
            .requests
            .iter()
            .filter(|request| request.outcome == outcome);
        requests
            .filter(|r| jobs.contains_key(r.spelling.as_str()) == queued)
            .count()
    };
    let links = seen
        .mails
        .iter()
        .filter(|mail| mail.selector.is_some())
        .count();
    let duplicates = check::duplicates(seen);
    let attempts: BTreeMap<&str, ()> = seen
        .attempts
        .iter()
        .map(|attempt| (attempt.selector.as_str(), ()))
        .collect();
    let told = facts
        .changes
        .iter()
        .filter_map(|change| seen.attempts.get(change.attempt?));
    let told = told
        .filter(|attempt| attempt.outcome == Tried::Done)
        .count();
    let audited = |name: &str| facts.audit.counts.get(name).copied().unwrap_or(0);
    let dead = |dead: bool| {
        let waiting = facts.jobs.iter().filter_map(|job| job.waiting);
        waiting.filter(|waiting| waiting.dead == dead).count()
    };
    let refused = asked(Asked::Refused, false) + asked(Asked::NotSent, false);

    let mut table = Table::new();
    table.head("requests");
    table.row("asked", seen.requests.len());
    table.row("accepted and queued", asked(Asked::Accepted, true));
    table.row(
        "answered alike while the queue had failed, logged",
        asked(Asked::Accepted, false),
    );
    table.row("refused, or nobody there", refused);
    table.row(
        "answer lost, queued all the same",
        asked(Asked::NoAnswer, true),
    );
    table.row("answer lost, never queued", asked(Asked::NoAnswer, false));
    table.head("mails");
    table.row("links", links);
    table.row("notices", seen.mails.len().saturating_sub(links));
    table.row(
        "second mails: worker killed before it told the queue",
        duplicates.killed,
    );
    table.row("second mails: worker paused", duplicates.paused);
    table.row(
        "second mails: database did not hear of the first",
        duplicates.untold,
    );
    table.row("second mails: not explained", duplicates.unexplained);
    table.row(
        "withheld, three live links (audited)",
        facts.audit.withheld.len(),
    );
    table.row(
        "notices of changes that never came, still waiting",
        dead(false),
    );
    table.row("dead letters", dead(true));
    table.head("resets");
    table.row("most at the same time", seen.most_in_flight);
    table.row("tokens tried", attempts.len());
    table.row("attempts", seen.attempts.len());
    table.row("passwords changed", facts.changes.len());
    table.row("of these, answered so", told);
    table.row(
        "of these, answer lost or \"not sure yet\"",
        facts.changes.len().saturating_sub(told),
    );
    table.row("attempts refused: link dead", tried(seen, Tried::Dead));
    table.row("attempts refused: link in use", tried(seen, Tried::InUse));
    table.row(
        "attempts refused: not available",
        tried(seen, Tried::Unavailable),
    );
    table.row(
        "settled by the sweep (audited)",
        facts.audit.settled_by_sweep,
    );
    table.row("sessions begun", seen.sessions.len());
    table.row(
        "old sessions looked at after a reset: dead",
        seen.dead_at_once,
    );
    table.row(
        "the same: still alive, dead at the end",
        seen.alive_for_a_while,
    );
    table.head("audit");
    for name in [
        "password_reset_change_uncertain",
        "password_reset_settle_pending",
        "password_reset_backend_failed",
        "password_reset_mail_failed",
        "authn_token_reuse",
        "password_reset_worker_panicked",
    ] {
        table.row(name, audited(name));
    }
    table.head("faults");
    for kind in [
        FaultKind::Killed,
        FaultKind::Paused,
        FaultKind::PausedOverItsLease,
        FaultKind::WriteLockHeld,
        FaultKind::ConnectionsCut,
        FaultKind::AnswersCut,
        FaultKind::Silence,
        FaultKind::StoppedFast,
        FaultKind::StoppedAtOnce,
    ] {
        let count = faults(seen, kind);
        if count > 0 {
            table.row(kind.name(), count);
        }
    }
    let by_itself = |ready: bool| {
        let runs = seen
            .runs
            .iter()
            .filter(|run| run.end == Some(End::ByItself));
        runs.filter(|run| run.ready == ready).count()
    };
    table.row("starts of processes", seen.runs.len());
    table.row("starts that failed", by_itself(false));
    table.row("processes that ended by themselves", by_itself(true));
    table.print();
    verdict(&Rule::ALL, violations)
}

/// One line for each rule.
pub(crate) fn verdict(rules: &[Rule], violations: &[Violation]) -> bool {
    say("");
    for rule in rules {
        let broken: Vec<_> = violations.iter().filter(|v| v.rule == *rule).collect();
        match broken.len() {
            0 => claim(rule.text(), true),
            count => claim(&format!("{}: {count} times", rule.text()), false),
        }
        for violation in broken.iter().take(SHOWN) {
            say(&format!("            {}", violation.what));
        }
    }
    violations.is_empty()
}

/// One line of a verdict.
pub(crate) fn claim(text: &str, holds: bool) {
    let word = if holds { "held    " } else { "VIOLATED" };
    say(&format!("  {word}  {text}"));
}

fn tried(seen: &Seen, outcome: Tried) -> usize {
    seen.attempts
        .iter()
        .filter(|attempt| attempt.outcome == outcome)
        .count()
}

fn faults(seen: &Seen, kind: FaultKind) -> usize {
    seen.faults
        .iter()
        .filter(|fault| fault.kind == kind)
        .count()
}

/// Words and numbers.
pub(crate) struct Table(Vec<(String, Option<String>)>);

impl Table {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    fn head(&mut self, text: &str) {
        self.0.push((text.to_owned(), None));
    }

    pub(crate) fn row(&mut self, text: &str, number: impl ToString) {
        self.0.push((format!("  {text}"), Some(number.to_string())));
    }

    pub(crate) fn print(&self) {
        for (text, number) in &self.0 {
            match number {
                None => say(&format!("\n{text}")),
                Some(number) => say(&format!("{text:<60}{number:>9}")),
            }
        }
    }
}
