//! The audit trail: every step emits exactly its event, and one journey can be read as one (R74,
//! R75); nothing that an application calls its users breaks a line (R77).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::{Backends, Captured, GOOD, World, client, site, typed, user};
use password_reset::account::{Client, Tenant, UserId};
use password_reset::audit::log::{AuditLog, Entry, Query, Thread, journey};
use password_reset::audit::{Actor, AuditSink, Event, EventKind, TracingSink};
use password_reset::error::BoxError;
use password_reset::flow::{Cancelable, Codes, Limits};
use password_reset::human::{Flaw, HumanCheck, Proof, Verdict, When};
use password_reset::limit::Quota;
use password_reset::mail::{Kind, LinkBase};
use password_reset::memory::MemoryLog;
use password_reset::queue::Channel;
use password_reset::recovery::{FactorResponse, RecoveryAttempt, SecondFactor, SecondFactorCheck};
use password_reset::testing::{Behaviour, block_on};

const ADA: &str = "ada@example.com";
const HOUR: Duration = Duration::from_secs(3_600);

/// A world with everything switched on.
fn world(backends: Backends, log: Option<&MemoryLog>) -> World {
    let not_me = LinkBase::parse("https://app.example.com/not-me").unwrap();
    World::at(site().cancel_page(not_me), backends, |builder| {
        let builder = builder.codes(Codes::default());
        match log {
            Some(log) => builder.audit(log.clone()),
            None => builder,
        }
    })
}

/// What was recorded since the last look.
fn codes(world: &World) -> Vec<String> {
    let codes = world
        .recorder
        .kinds()
        .iter()
        .map(ToString::to_string)
        .collect();
    world.recorder.clear();
    codes
}

async fn mailed_code(world: &World) -> (String, String) {
    let (ada, client) = (typed(ADA), client());
    let asked = world.flow.request_code(&ada, Channel::Mail, &client).await;
    let handle = asked.unwrap().handle.to_string();
    world.work().await;
    let sent = world.outbox.messages();
    let letter = sent.iter().rev().find(|sent| sent.kind == Kind::ResetCode);
    let text = &letter.unwrap().text;
    let is_code = |line: &&str| line.starts_with(|c: char| c.is_ascii_digit());
    let code = text.lines().find(is_code).unwrap();
    (handle, code.replace(' ', ""))
}

/// The token with another last byte of the verifier.
fn forged(token: &str) -> String {
    let other = if token.ends_with('A') { 'B' } else { 'A' };
    let end = token.len() - 3;
    format!("{}{other}{}", &token[..end], &token[end + 1..])
}

/// R74: request, issue, verify, failure with its cause, consume, supersede, throttle, notify.
#[test]
fn every_step_of_a_link_emits_exactly_its_event() {
    let world = world(Backends::default(), None);
    let flow = &world.flow;
    block_on(async {
        let _ = flow.request(&typed(ADA), &client()).await.unwrap();
        assert_eq!(codes(&world), ["requested"]);
        world.work().await;
        assert_eq!(codes(&world), ["issued", "link_sent"]);
        let token = world.outbox.last_token().unwrap();

        for (presented, event) in [
            ("no token", "refused.malformed"),
            (&"A".repeat(64), "refused.unknown"),
            (&forged(&token), "refused.wrong_verifier"),
        ] {
            assert!(flow.verify(presented, &client()).await.is_err());
            assert_eq!(codes(&world), [event]);
        }
        let elsewhere = flow.for_tenant(Tenant::parse("acme").unwrap());
        assert!(elsewhere.verify(&token, &client()).await.is_err());
        assert_eq!(codes(&world), ["refused.wrong_tenant"]);

        let verified = flow.verify(&token, &client()).await.unwrap();
        assert_eq!(codes(&world), ["verified"]);
        let password = verified.parse_password(GOOD).unwrap();
        verified.complete(password).await.unwrap();
        assert_eq!(codes(&world), ["completed", "settled"]);
        world.work().await;
        assert_eq!(codes(&world), ["notice_sent"]);
        assert!(flow.verify(&token, &client()).await.is_err());
        assert_eq!(codes(&world), ["refused.spent"]);

        // Over the identifier's limit: the same public answer, another event.
        let _ = flow.request(&typed(ADA), &client()).await.unwrap();
        assert_eq!(codes(&world), ["requested.suppressed"]);
        world.work().await;
        assert_eq!(codes(&world), ["withheld.identifier_limit"]);
        for (identifier, why) in [
            ("nobody@example.com", "withheld.unknown"),
            ("disabled@example.com", "withheld.disabled"),
            ("unverified@example.com", "withheld.unverified"),
            ("external@example.com", "withheld.external"),
        ] {
            let _ = flow.request(&typed(identifier), &client()).await.unwrap();
            world.work().await;
            assert_eq!(codes(&world), ["requested", why]);
        }
        // Over the source's limit.
        while flow
            .request(&typed("x@example.com"), &client())
            .await
            .is_ok()
        {
            world.recorder.clear();
        }
        assert_eq!(codes(&world), ["rate_limited"]);
    });
}

#[test]
fn every_way_a_token_dies_emits_exactly_its_event() {
    let world = world(Backends::unlimited(), None);
    let flow = &world.flow;
    block_on(async {
        let refused = async |token: &str, event: &str| {
            world.recorder.clear();
            assert!(flow.verify(token, &client()).await.is_err());
            assert_eq!(codes(&world), [event]);
        };
        let token = world.mailed(ADA).await.unwrap();
        world.recorder.clear();
        flow.revoke_all(&user("1")).await.unwrap();
        assert_eq!(codes(&world), ["revoked:1"]);
        refused(&token, "refused.revoked").await;

        let token = world.mailed(ADA).await.unwrap();
        world.clock.advance(Duration::from_secs(31 * 60));
        refused(&token, "refused.expired").await;

        let token = world.mailed(ADA).await.unwrap();
        world
            .users
            .set_credential(&user("1"), common::credential("$insecure$00$another"));
        refused(&token, "refused.credential_changed").await;

        let token = world.mailed(ADA).await.unwrap();
        let not_me = world.outbox.last_cancel_token().unwrap();
        world.recorder.clear();
        let looked = flow.look_at_cancel(&not_me, &client()).await.unwrap();
        let () = looked.cancel(Cancelable::PAUSE).await.map(|_| ()).unwrap();
        assert_eq!(codes(&world), ["disowned:3"]);
        refused(&token, "refused.revoked").await;
        let _ = flow.request(&typed(ADA), &client()).await.unwrap();
        world.work().await;
        assert_eq!(codes(&world), ["requested", "withheld.paused"]);
    });
}

#[test]
fn every_step_of_a_code_emits_exactly_its_event() {
    let world = world(Backends::unlimited(), None);
    let flow = &world.flow;
    block_on(async {
        let (handle, code) = mailed_code(&world).await;
        assert_eq!(codes(&world), ["requested", "issued", "code_sent"]);
        let wrong = if code == "00000000" {
            "00000001"
        } else {
            "00000000"
        };
        assert!(flow.redeem_code(&handle, wrong, &client()).await.is_err());
        assert_eq!(codes(&world), ["refused.wrong_code"]);
        let redeemed = flow.redeem_code(&handle, &code, &client()).await.unwrap();
        assert_eq!(codes(&world), ["code_redeemed"]);
        assert!(flow.redeem_code(&handle, &code, &client()).await.is_err());
        assert_eq!(codes(&world), ["refused.spent"]);
        let token = redeemed.token.expose().to_owned();
        world.reset(&token, GOOD).await.unwrap();
        assert_eq!(codes(&world), ["verified", "completed", "settled"]);
    });
}

/// Says what it was told to.
struct Says(Verdict);

#[password_reset::async_trait]
impl HumanCheck for Says {
    async fn check(&self, _: &Proof, _: &Client) -> Result<Verdict, BoxError> {
        Ok(self.0)
    }
}

#[test]
fn every_refusal_at_the_door_emits_exactly_its_event() {
    block_on(async {
        let proof = Proof::parse("what-the-widget-answered").unwrap();
        for (verdict, events) in [
            (Verdict::Accept, ["requested"]),
            (Verdict::Refuse(Flaw::Wrong), ["proof_refused.wrong"]),
        ] {
            let world = World::with(Backends::default(), |flow| {
                flow.human(Says(verdict), When::Always)
            });
            let ada = typed(ADA);
            assert!(world.flow.request(&ada, &client()).await.is_err());
            assert_eq!(codes(&world), ["challenged"]);
            let client = client();
            let asked = world.flow.request_with_proof(&ada, Some(&proof), &client);
            assert_eq!(asked.await.is_ok(), verdict == Verdict::Accept);
            assert_eq!(codes(&world), events);
        }

        let mut limits = Limits::default();
        limits.sources_per_network = 1;
        limits.source = Quota::new(2, HOUR);
        limits.global = Quota::new(3, HOUR);
        limits.reserve = Quota::new(1, HOUR);
        let world = World::with(Backends::default(), |flow| flow.limits(limits));
        let asked = async |number: u8, source: [u8; 4], events: &[&str]| {
            let somebody = typed(&format!("user-{number}@example.com"));
            let _ = world
                .flow
                .request(&somebody, &Client::from_ip(source.into()))
                .await;
            assert_eq!(codes(&world), events, "{number}");
        };
        asked(0, [192, 0, 2, 1], &["requested"]).await;
        asked(1, [192, 0, 2, 1], &["requested"]).await;
        asked(2, [192, 0, 2, 1], &["rate_limited"]).await;
        asked(3, [192, 0, 2, 2], &["network_limited"]).await;
        asked(4, [198, 51, 100, 1], &["requested"]).await;
        // All of it is used: one more out of the reserve.
        asked(5, [203, 0, 113, 1], &["global_limited", "requested"]).await;
        asked(6, [203, 0, 113, 2], &["global_limited"]).await;
    });
}

#[test]
fn every_step_of_a_second_factor_emits_exactly_its_event() {
    let world = World::with(Backends::unlimited(), |flow| flow.second_factor(Pin));
    block_on(async {
        let token = world.mailed("guarded@example.com").await.unwrap();
        world.recorder.clear();
        let verified = async || world.flow.verify(&token, &client()).await.unwrap();
        let response = |typed: &str| FactorResponse::parse(typed).unwrap();

        let unproven = verified().await;
        let password = unproven.parse_password(GOOD).unwrap();
        assert!(unproven.complete(password).await.is_err());
        assert_eq!(codes(&world), ["verified", "refused.step_up"]);
        let wrong = verified().await.prove_factor(&response("111111")).await;
        assert!(wrong.is_err());
        assert_eq!(codes(&world), ["verified", "refused.wrong_factor"]);
        let proof = verified()
            .await
            .prove_factor(&response("246810"))
            .await
            .unwrap();
        assert_eq!(codes(&world), ["verified", "factor_proven"]);
        let proven = verified().await.with_proof(proof.expose());
        let password = proven.parse_password(GOOD).unwrap();
        proven.complete(password).await.unwrap();
        assert_eq!(codes(&world), ["verified", "completed", "settled"]);

        let token = world.mailed("guarded@example.com").await.unwrap();
        world.recorder.clear();
        for _ in 0..5 {
            let verified = world.flow.verify(&token, &client()).await.unwrap();
            assert!(verified.prove_factor(&response("111111")).await.is_err());
            assert_eq!(codes(&world), ["verified", "refused.wrong_factor"]);
        }
        let verified = world.flow.verify(&token, &client()).await.unwrap();
        assert!(verified.prove_factor(&response("246810")).await.is_err());
        assert_eq!(codes(&world), ["verified", "refused.factor_tries"]);
    });
}

/// Always the same, which no real one may be.
struct Pin;

#[password_reset::async_trait]
impl SecondFactorCheck for Pin {
    async fn check(
        &self,
        attempt: &RecoveryAttempt<'_>,
        response: &FactorResponse,
    ) -> Result<Option<SecondFactor>, BoxError> {
        let right = response.digits() == Some("246810".into());
        let first = attempt.account.second_factors.first().copied();
        Ok(first.filter(|_| right))
    }
}

#[test]
fn every_failure_of_a_mail_emits_exactly_its_event() {
    let world = world(Backends::unlimited(), None);
    block_on(async {
        world.outbox.fail_next(1);
        let _ = world.flow.request(&typed(ADA), &client()).await.unwrap();
        world.work().await;
        let failed = ["backend_failed.mailer.deliver", "mail_failed.link:1"];
        assert_eq!(
            codes(&world),
            [&["requested", "issued"][..], &failed].concat()
        );
        world.clock.advance(Duration::from_secs(600));
        world.work().await;
        assert_eq!(codes(&world), ["issued", "link_sent"]);
        world.outbox.behave(Behaviour::Panic);
        let _ = world.flow.request(&typed(ADA), &client()).await.unwrap();
        world.work().await;
        assert_eq!(codes(&world), ["requested", "issued", "worker_panicked"]);
    });
}

async fn everything(log: &MemoryLog) -> Vec<Entry> {
    log.read(&Query::oldest(1_000)).await.unwrap().entries
}

/// From whichever job or token it is followed, a journey is the same events, all of them, from the
/// request to the notice; and another person's are not among them.
#[test]
fn r75_a_journey_is_joined_from_the_request_to_the_notice() {
    let log = MemoryLog::default();
    let world = world(Backends::unlimited(), Some(&log));
    let link = async {
        let token = world.mailed(ADA).await.unwrap();
        world.reset(&token, GOOD).await.unwrap();
        world.work().await;
        assert!(world.flow.verify(&token, &client()).await.is_err());
    };
    let code = async {
        let (handle, code) = mailed_code(&world).await;
        let redeemed = world
            .flow
            .redeem_code(&handle, &code, &client())
            .await
            .unwrap();
        world
            .reset(redeemed.token.expose(), "another quiet harbour at dusk")
            .await
            .unwrap();
        world.work().await;
    };
    let operator = async {
        let operator = world.flow.operator(Actor::parse("grace").unwrap());
        operator
            .start_reset(&user("1"), Duration::from_secs(3_600))
            .await
            .unwrap();
        world.work().await;
        let token = world.outbox.last_token().unwrap();
        world
            .reset(&token, "a third quiet harbour at noon")
            .await
            .unwrap();
        world.work().await;
    };
    block_on(async {
        let mut seen = 0;
        link.await;
        code.await;
        operator.await;
        let all = everything(&log).await;
        // Three journeys, told apart by their first events.
        let first = all.iter().filter(|entry| {
            matches!(
                entry.event.kind,
                EventKind::Requested { .. } | EventKind::Started
            )
        });
        for (first, expected) in first.zip([
            "requested issued link_sent verified completed settled notice_sent refused.spent",
            "requested issued code_sent code_redeemed verified completed settled notice_sent",
            "started issued link_sent verified completed settled notice_sent",
        ]) {
            let whole = journey(&log, Thread::Job(first.event.job.unwrap()))
                .await
                .unwrap();
            let told: Vec<_> = whole.iter().map(|entry| entry.event.kind.code()).collect();
            assert_eq!(told.join(" "), expected);
            seen += whole.len();
            let ids: BTreeSet<_> = whole.iter().map(|entry| entry.id).collect();
            let threads = whole.iter().flat_map(|entry| {
                let job = entry.event.job.map(Thread::Job);
                job.into_iter().chain(entry.event.token.map(Thread::Token))
            });
            for thread in threads {
                let again = journey(&log, thread).await.unwrap();
                let again: BTreeSet<_> = again.iter().map(|entry| entry.id).collect();
                assert_eq!(again, ids, "{thread:?}");
            }
        }
        assert_eq!(seen, all.len(), "an event belongs to no journey");
    });
}

/// R75: when, where, who and what.
#[test]
fn r75_every_event_says_what_is_known() {
    let log = MemoryLog::default();
    let world = world(Backends::unlimited(), Some(&log));
    block_on(async {
        let begun = world.clock.clone();
        let token = world.mailed(ADA).await.unwrap();
        world.reset(&token, GOOD).await.unwrap();
        world.work().await;
        world.mailed("nobody@example.com").await;
        let pseudonym = world.flow.pseudonyms(&typed(" ADA@example.com "));
        for entry in everything(&log).await {
            let (event, code) = (&entry.event, entry.event.kind.code());
            assert!(
                event.at <= password_reset::clock::Clock::now(&begun),
                "{code}"
            );
            let of_nobody = event.identifier.is_some_and(|it| !pseudonym.contains(&it));
            // Where: whatever a client did.
            let by_client = ["requested", "verified", "completed"].contains(&code.as_str());
            assert_eq!(event.source.is_some(), by_client, "{code}");
            // Who: the pseudonym of what was typed, and the account once it was looked up.
            let typed = ["requested", "issued", "link_sent", "withheld.unknown"];
            assert_eq!(
                event.identifier.is_some(),
                typed.contains(&code.as_str()),
                "{code}"
            );
            assert_eq!(
                event.user.is_some(),
                code != "requested" && !of_nobody,
                "{code}"
            );
            // Which: a job, a token, or both.
            assert!(event.job.is_some() || event.token.is_some(), "{code}");
        }
        // One person's events, by what they typed, and by nothing else.
        let mut query = Query::newest(100);
        query.identifiers = pseudonym;
        assert_eq!(log.read(&query).await.unwrap().entries.len(), 3);
    });
}

/// The table of `docs/audit.md`: each kind with its causes, OWASP's name or ours, and how severe it
/// is.
fn vocabulary() -> String {
    let mut rows: Vec<(&str, &str, &str, Vec<String>)> = Vec::new();
    for kind in EventKind::every() {
        let (word, name, severity) = (kind.word(), kind.name(), kind.severity().as_str());
        let code = kind.code();
        let cause = match kind {
            EventKind::BackendFailed { .. } => "PART.STEP",
            EventKind::Alarm { .. } => "RULE",
            _ => code.split_once('.').map_or("", |(_, cause)| cause),
        };
        let place = rows
            .iter()
            .position(|row| (row.0, row.1, row.2) == (word, name, severity));
        let place = place.unwrap_or_else(|| {
            rows.push((word, name, severity, Vec::new()));
            rows.len() - 1
        });
        let causes = &mut rows[place].3;
        if !causes.iter().any(|it| it == cause) {
            causes.push(cause.to_owned());
        }
    }
    let line = |(word, name, severity, causes): &(&str, &str, &str, Vec<String>)| {
        let causes: Vec<_> = causes
            .iter()
            .filter(|cause| !cause.is_empty())
            .cloned()
            .collect();
        format!(
            "| `{word}` | {} | `{name}` | {severity} |\n",
            causes.join(", ")
        )
    };
    rows.iter().map(line).collect()
}

/// R75: names that are in OWASP's logging vocabulary are spelled as there, and the documented table
/// is the code's.
#[test]
fn r75_the_vocabulary_is_documented() {
    let table = vocabulary();
    for name in [
        "authn_password_change",
        "authn_password_change_fail",
        "authn_token_created",
        "authn_token_revoked",
        "authn_token_reuse",
        "excess_rate_limit_exceeded",
    ] {
        assert!(table.contains(&format!("`{name}`")), "{name}");
    }
    let documented = include_str!("../docs/audit.md");
    assert!(
        documented.contains(&table),
        "docs/audit.md should hold:\n{table}"
    );
}

/// R77, CWE-117: line feeds and escape sequences are refused by the types; separators of lines, and
/// what turns text around, are escaped.
#[test]
fn r77_hostile_names_stay_on_one_traced_line() {
    let hostile = "a\u{2028}b\u{2029}c\u{202e}d\u{200b}\" severity=info event=\"forged";
    let mut event = Event::new(
        password_reset::Timestamp::from_unix_micros(1),
        EventKind::LinkHandedOver,
    );
    event.user = UserId::parse(hostile).ok();
    event.tenant = Tenant::parse(hostile).ok();
    event.actor = Actor::parse(hostile).ok();
    assert!(event.user.is_some() && event.tenant.is_some() && event.actor.is_some());
    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, || TracingSink.record(&event)).unwrap();
    let text = String::from_utf8(captured.bytes()).unwrap();
    assert_eq!(text.lines().count(), 1);
    for hidden in ['\u{2028}', '\u{2029}', '\u{202e}', '\u{200b}'] {
        assert!(!text.contains(hidden), "{text:?}");
    }
    // The forged field is inside a quoted text.
    assert_eq!(text.matches("event=\"").count(), 1, "{text}");
    for refused in ["a\r\nb", "a\u{1b}[31mb", "a\u{9b}31mb", "a\u{85}b"] {
        assert!(UserId::parse(refused).is_err() && Actor::parse(refused).is_err());
    }
}
