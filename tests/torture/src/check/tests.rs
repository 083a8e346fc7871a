//! The checker must be able to fail: each rule is broken once.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

use super::*;
use crate::book::{Attempt, Fault, Final, Request, Run, Session};
use crate::facts::{Change, Row, Token, Waiting};

const NOW: i64 = 1_000 * SECOND;

/// One account, one reset, and all is well.
fn well() -> (Seen, Facts) {
    let selector = "aa".to_owned();
    let spelling = "User-1@example.com".to_owned();
    let mail = |job: &str, selector: Option<&str>| Mail {
        to: address(1),
        job: job.to_owned(),
        selector: selector.map(str::to_owned),
        process: 7,
        at: 2 * SECOND,
    };
    let seen = Seen {
        requests: vec![Request {
            spelling: spelling.clone(),
            run: 0,
            outcome: Asked::Accepted,
        }],
        attempts: vec![attempt("aa", "new", Tried::Done)],
        sessions: vec![Session {
            account: 1,
            password: "old".to_owned(),
            digest: "5e".to_owned(),
            alive_at_end: Some(false),
        }],
        mails: vec![mail("0b", Some("aa")), mail("0c", None)],
        runs: vec![Run {
            process: 7,
            ended: Some(NOW),
            end: Some(End::Told),
            ready: true,
            failed_requests: 0,
            log: "log".into(),
        }],
        finals: vec![Final {
            account: 1,
            password: Some("new".to_owned()),
        }],
        ..Seen::default()
    };
    let job = |id: &str, what| Job {
        id: id.to_owned(),
        what,
        gone: Some(3 * SECOND),
        waiting: None,
    };
    let notice = Task::Notice {
        user: "11".to_owned(),
        at: 4 * SECOND,
    };
    let facts = Facts {
        users: [(address(1), "11".to_owned())].into(),
        jobs: vec![job("0b", Task::Link { spelling }), job("0c", notice)],
        changes: vec![change(5, 0)],
        sessions: vec![Row {
            digest: "5f".to_owned(),
            user: "11".to_owned(),
            begun: 6,
        }],
        tokens: vec![Token {
            selector,
            user: "11".to_owned(),
            issued_at: SECOND,
            expires_at: 2 * NOW,
            claimed: true,
            spent_at: Some(5 * SECOND),
            ..Token::default()
        }],
        ..Facts::default()
    };
    (seen, facts)
}

fn attempt(selector: &str, password: &str, outcome: Tried) -> Attempt {
    Attempt {
        account: 1,
        selector: selector.to_owned(),
        password: password.to_owned(),
        at: 4 * SECOND,
        outcome,
    }
}

fn change(seq: i64, attempt: usize) -> Change {
    Change {
        seq,
        at: seq * SECOND,
        user: "11".to_owned(),
        hash: "hash".to_owned(),
        attempt: Some(attempt),
    }
}

/// The rules that are broken after `harm`.
fn broken(harm: impl FnOnce(&mut Seen, &mut Facts)) -> Vec<Rule> {
    let (mut seen, mut facts) = well();
    harm(&mut seen, &mut facts);
    let rules: BTreeSet<_> = check(&seen, &facts, NOW)
        .into_iter()
        .map(|v| v.rule)
        .collect();
    rules.into_iter().collect()
}

#[test]
fn what_is_well_breaks_nothing() {
    assert_eq!(broken(|_, _| {}), []);
    let (seen, facts) = well();
    assert!(unsettled(&seen, &facts, NOW).is_empty());
}

#[test]
fn a_token_that_changed_two_passwords_is_found() {
    let twice = broken(|seen, facts| {
        seen.attempts.push(attempt("aa", "newer", Tried::NoAnswer));
        facts.changes.insert(0, change(4, 1));
        facts.jobs.push(Job {
            id: "0d".to_owned(),
            waiting: Some(Waiting {
                due: 2 * NOW,
                dead: false,
            }),
            ..facts.jobs[1].clone()
        });
    });
    assert_eq!(twice, [Rule::OneChange]);
    let audited = broken(|_, facts| _ = facts.audit.changes.insert("aa".to_owned(), 2));
    assert_eq!(audited, [Rule::OneChange]);
    let answered = broken(|seen, _| seen.attempts.push(attempt("aa", "newer", Tried::Done)));
    assert_eq!(answered, [Rule::OneChange, Rule::HonestAnswers]);
}

#[test]
fn a_password_from_nowhere_is_found() {
    let nobodys = broken(|_, facts| facts.changes[0].attempt = None);
    assert!(nobodys.contains(&Rule::OneChange));
    let anothers = broken(|_, facts| facts.changes[0].user = "12".to_owned());
    assert!(anothers.contains(&Rule::OneChange));
}

#[test]
fn answers_that_are_not_true_are_found() {
    for outcome in [
        Tried::Dead,
        Tried::InUse,
        Tried::Unavailable,
        Tried::NotSent,
    ] {
        let denied = broken(|seen, _| seen.attempts[0].outcome = outcome);
        assert_eq!(denied, [Rule::HonestAnswers]);
    }
    for outcome in [Tried::Uncertain, Tried::NoAnswer] {
        assert_eq!(broken(|seen, _| seen.attempts[0].outcome = outcome), []);
    }
    let claimed = broken(|_, facts| {
        facts.changes.clear();
        facts.tokens[0].spent_at = None;
        facts.tokens[0].claimed = false;
    });
    assert!(claimed.contains(&Rule::HonestAnswers));
}

#[test]
fn a_change_whose_token_is_not_spent_is_found() {
    let unspent = broken(|_, facts| {
        facts.tokens[0].spent_at = None;
        facts.tokens[0].claimed = false;
    });
    assert_eq!(unspent, [Rule::NothingLost]);
}

#[test]
fn a_token_that_was_spent_for_nothing_is_found() {
    let spent = broken(|_, facts| {
        let later = Token {
            selector: "ab".to_owned(),
            issued_at: 10 * SECOND,
            ..facts.tokens[0].clone()
        };
        facts.tokens.push(later);
    });
    assert_eq!(spent, [Rule::NothingLost]);
}

#[test]
fn a_request_without_a_mail_is_found() {
    let lost = broken(|seen, facts| {
        seen.mails.remove(0);
        facts.tokens[0].issued_at = 4 * SECOND;
    });
    assert_eq!(lost, [Rule::Mailed]);
    let dead = broken(|seen, facts| {
        seen.mails.remove(0);
        facts.jobs[0].gone = None;
        facts.jobs[0].waiting = Some(Waiting { due: 0, dead: true });
    });
    assert_eq!(dead, [Rule::Mailed]);
}

#[test]
fn a_request_that_left_no_job_is_found_unless_it_was_logged() {
    let request = |seen: &mut Seen| {
        let mut request = seen.requests[0].clone();
        request.spelling = "uSer-1@example.com".to_owned();
        seen.requests.push(request);
    };
    assert_eq!(broken(|seen, _| request(seen)), [Rule::Mailed]);
    let logged = broken(|seen, _| {
        request(seen);
        seen.runs[0].failed_requests = 1;
    });
    assert_eq!(logged, []);
    let twice = broken(|_, facts| facts.jobs.push(facts.jobs[0].clone()));
    assert_eq!(twice, [Rule::Mailed]);
}

#[test]
fn a_mail_may_be_withheld_for_three_live_links_only() {
    let withheld = |why: &str| {
        broken(|seen, facts| {
            seen.mails.remove(0);
            facts.audit.withheld.insert("0b".to_owned(), why.to_owned());
        })
    };
    assert_eq!(withheld("withheld.live_tokens"), []);
    assert_eq!(withheld("withheld.unknown"), [Rule::Mailed]);
    let proven = |tokens: usize| {
        broken(|seen, facts| {
            seen.mails.remove(0);
            let live = Token {
                selector: "ab".to_owned(),
                spent_at: None,
                claimed: false,
                ..facts.tokens[0].clone()
            };
            facts.tokens.extend(vec![live; tokens - 1]);
        })
    };
    assert_eq!((proven(2), proven(3)), (vec![Rule::Mailed], vec![]));
}

#[test]
fn a_second_mail_needs_a_fault_that_explains_it() {
    let twice = |seen: &mut Seen| {
        let mut again = seen.mails[0].clone();
        (again.at, again.process) = (90 * SECOND, 8);
        seen.mails.push(again);
    };
    assert_eq!(broken(|seen, _| twice(seen)), [Rule::MailedOnce]);
    let killed = broken(|seen, _| {
        twice(seen);
        (seen.runs[0].end, seen.runs[0].ended) = (Some(End::Killed), Some(3 * SECOND));
    });
    assert_eq!(killed, []);
    let much_later = broken(|seen, _| {
        twice(seen);
        (seen.runs[0].end, seen.runs[0].ended) = (Some(End::Killed), Some(80 * SECOND));
    });
    assert_eq!(much_later, [Rule::MailedOnce]);
    let (mut seen, _) = well();
    twice(&mut seen);
    seen.faults.push(Fault {
        kind: FaultKind::ConnectionsCut,
        run: None,
        from: 2 * SECOND,
        to: 2 * SECOND,
    });
    let untold = Duplicates {
        untold: 1,
        ..Duplicates::default()
    };
    assert_eq!(duplicates(&seen), untold);
}

#[test]
fn a_session_that_survived_is_found() {
    let stored = broken(|_, facts| facts.sessions[0].begun = 4);
    assert_eq!(stored, [Rule::SessionsEnded]);
    let used = broken(|seen, _| seen.sessions[0].alive_at_end = Some(true));
    assert_eq!(used, [Rule::SessionsEnded]);
    let listed = broken(|seen, _| seen.sessions[0].digest = "5f".to_owned());
    assert_eq!(listed, [Rule::SessionsEnded]);
    let new = broken(|seen, _| {
        seen.sessions[0].alive_at_end = Some(true);
        seen.sessions[0].password = "new".to_owned();
    });
    assert_eq!(new, []);
}

#[test]
fn a_claim_that_hangs_is_found() {
    let hangs = |until| {
        broken(|_, facts| {
            let token = Token {
                selector: "ab".to_owned(),
                hold_until: Some(until),
                spent_at: None,
                ..facts.tokens[0].clone()
            };
            facts.tokens.push(token);
        })
    };
    assert_eq!(hangs(NOW - 1), [Rule::NoClaimHangs]);
    assert_eq!(hangs(NOW + 1), [Rule::NoClaimHangs]);
    let watched = broken(|_, facts| {
        facts.tokens.push(Token {
            claimed: false,
            hold_until: Some(NOW - 1),
            ..Token::default()
        });
    });
    assert_eq!(watched, []);
}

#[test]
fn a_mailed_token_that_is_not_stored_is_found() {
    let missing = broken(|seen, _| seen.mails[0].selector = Some("ff".to_owned()));
    assert_eq!(missing, [Rule::MailedAreStored]);
}

#[test]
fn an_owner_who_was_not_told_is_found() {
    assert_eq!(broken(|seen, _| _ = seen.mails.pop()), [Rule::OwnerTold]);
    let waits = |dead| {
        broken(|seen, facts| {
            seen.mails.pop();
            facts.jobs[1].gone = None;
            facts.jobs[1].waiting = Some(Waiting { due: 2 * NOW, dead });
        })
    };
    assert_eq!((waits(false), waits(true)), (vec![], vec![Rule::OwnerTold]));
}

#[test]
fn a_lost_password_is_found() {
    let none = broken(|seen, _| seen.finals[0].password = None);
    assert_eq!(none, [Rule::PasswordKnown]);
    let old = broken(|seen, _| seen.finals[0].password = Some("old".to_owned()));
    assert_eq!(old, [Rule::PasswordKnown]);
}

#[test]
fn damage_is_found() {
    let damaged = broken(|_, facts| facts.damage.push("row 3 is missing".to_owned()));
    assert_eq!(damaged, [Rule::Sound]);
}

#[test]
fn what_is_on_its_way_is_waited_for() {
    let (seen, mut facts) = well();
    facts.tokens[0].spent_at = None;
    facts.jobs[0].waiting = Some(Waiting {
        due: 2 * NOW,
        dead: false,
    });
    facts.jobs[1].waiting = Some(Waiting {
        due: NOW - 1,
        dead: false,
    });
    facts.sessions[0].begun = 1;
    let rest = unsettled(&seen, &facts, NOW);
    assert_eq!(
        rest,
        [
            "1 requests to mail",
            "1 notices to mail",
            "1 claims",
            "1 changes to settle",
            "1 sessions to end"
        ]
    );
}
