//! A reset is no way around a second factor (R15, R67, R68, W64; ASVS 5.0, 6.4.3).

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

mod common;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Backends, GOOD, SPREAD, World, account, client, typed, user};
use password_reset::Verified;
use password_reset::account::Account;
use password_reset::audit::{EventKind, Refused, Severity};
use password_reset::error::BoxError;
use password_reset::flow::{Codes, CompleteError, StepUpError, TextLimits};
use password_reset::queue::Channel;
use password_reset::recovery::{
    FactorResponse, Means, Recovery, RecoveryAttempt, RecoveryPolicy, SecondFactor,
    SecondFactorCheck, StepUpProof,
};
use password_reset::sms::{PhoneNumber, SendError, SmsSender, TextMessage};
use password_reset::testing::block_on;

const GUARDED: &str = "guarded@example.com";
const MINUTE: Duration = Duration::from_secs(60);

/// Counters instead of clocks: each number is good once, and then every greater one (RFC 6238, 5.2).
#[derive(Clone, Default)]
struct Counter(Arc<AtomicU64>);

#[password_reset::async_trait]
impl SecondFactorCheck for Counter {
    async fn check(
        &self,
        attempt: &RecoveryAttempt<'_>,
        response: &FactorResponse,
    ) -> Result<Option<SecondFactor>, BoxError> {
        assert!(attempt.account.has_second_factor());
        let kind = attempt.account.second_factors.last().copied();
        let Some(number) = response.digits().and_then(|digits| digits.parse().ok()) else {
            return Ok(None);
        };
        // These are wrong ones.
        if number >= 900_000 {
            return Ok(None);
        }
        let before = self.0.fetch_max(number, Ordering::SeqCst);
        Ok(kind.filter(|_| before < number))
    }
}

fn guarded() -> World {
    World::with(Backends::unlimited(), |flow| {
        flow.second_factor(Counter::default())
    })
}

fn response(text: &str) -> FactorResponse {
    FactorResponse::parse(text).unwrap()
}

async fn verified(world: &World, token: &str) -> Verified {
    world.flow.verify(token, &client()).await.unwrap()
}

async fn prove(world: &World, token: &str, typed: &str) -> Result<StepUpProof, StepUpError> {
    let verified = verified(world, token).await;
    verified.prove_factor(&response(typed)).await
}

/// `None` is no proof at all.
async fn complete(world: &World, token: &str, proof: Option<&str>) -> Result<(), CompleteError> {
    complete_with(world, token, proof, GOOD).await
}

async fn complete_with(
    world: &World,
    token: &str,
    proof: Option<&str>,
    new: &str,
) -> Result<(), CompleteError> {
    let mut verified = verified(world, token).await;
    if let Some(proof) = proof {
        verified = verified.with_proof(proof);
    }
    let password = verified.parse_password(new).unwrap();
    verified.complete(password).await.map(|_| ())
}

fn is_asked_for(outcome: &Result<(), CompleteError>) -> bool {
    matches!(outcome, Err(CompleteError::StepUp))
}

#[test]
fn r67_an_enrolled_account_without_a_gate_is_refused_and_the_token_stays_good() {
    let world = World::unlimited();
    block_on(async {
        let token = world.mailed(GUARDED).await.unwrap();
        assert!(verified(&world, &token).await.needs_second_factor());
        let refused = prove(&world, &token, "100001").await.unwrap_err();
        assert!(matches!(refused, StepUpError::NoFactor), "{refused:?}");
        for _ in 0..3 {
            assert!(is_asked_for(&complete(&world, &token, None).await));
        }
        assert_eq!(world.users.calls().set_password, 0);
        // Usable afterwards: whoever takes the factor away by the application's own, strict process
        // finds the link as good as before.
        world
            .users
            .edit(&user("5"), |account| account.second_factors.clear());
        complete(&world, &token, None).await.unwrap();
        assert!(world.logs_in("5", GOOD));
    });
}

#[test]
fn r67_unsatisfied_refuses_and_spends_nothing_satisfied_changes_the_password() {
    let world = guarded();
    block_on(async {
        let token = world.mailed(GUARDED).await.unwrap();
        assert!(is_asked_for(&complete(&world, &token, None).await));
        let wrong = prove(&world, &token, "900001").await.unwrap_err();
        assert!(matches!(wrong, StepUpError::Wrong), "{wrong:?}");
        assert!(is_asked_for(&complete(&world, &token, None).await));
        let nonsense = "A".repeat(60);
        for no_proof in ["", "null", "true", "900001", &token, &nonsense] {
            assert!(is_asked_for(
                &complete(&world, &token, Some(no_proof)).await
            ));
        }
        assert_eq!(world.users.calls().set_password, 0);

        let proof = prove(&world, &token, "100002").await.unwrap();
        let shown = verified(&world, &token).await.with_proof(proof.expose());
        assert!(!shown.needs_second_factor());
        complete(&world, &token, Some(proof.expose()))
            .await
            .unwrap();
        assert!(world.logs_in("5", GOOD));
    });
    assert_eq!(world.saw(|kind| kind == EventKind::FactorProven), 1);
    let wrong = EventKind::Refused(Refused::WrongFactor);
    assert_eq!(world.saw(|kind| kind == wrong), 1);
}

#[test]
fn r68_a_reset_leaves_the_factors_as_they_were() {
    let world = guarded();
    block_on(async {
        let token = world.mailed(GUARDED).await.unwrap();
        let proof = prove(&world, &token, "100003").await.unwrap();
        complete(&world, &token, Some(proof.expose()))
            .await
            .unwrap();
        // The next one needs it too.
        world.clock.advance(MINUTE);
        let token = world.mailed(GUARDED).await.unwrap();
        assert_eq!(
            verified(&world, &token).await.usable_factors(),
            [SecondFactor::Device]
        );
        assert!(is_asked_for(&complete(&world, &token, None).await));
    });
}

#[test]
fn r67_the_proof_of_another_reset_is_none() {
    let world = guarded();
    world
        .users
        .add(account("6", "other@example.com").second_factor(SecondFactor::Device));
    block_on(async {
        let first = world.mailed(GUARDED).await.unwrap();
        let proof = prove(&world, &first, "100004").await.unwrap();
        // Of the same account: its owner proved that *that* reset is theirs.
        let second = world.mailed(GUARDED).await.unwrap();
        let other = world.mailed("other@example.com").await.unwrap();
        for token in [&second, &other] {
            assert!(is_asked_for(
                &complete(&world, token, Some(proof.expose())).await
            ));
        }
        complete(&world, &first, Some(proof.expose()))
            .await
            .unwrap();
    });
}

#[test]
fn r67_a_proof_is_spent_with_its_token() {
    let world = guarded();
    block_on(async {
        let token = world.mailed(GUARDED).await.unwrap();
        let proof = prove(&world, &token, "100005").await.unwrap();
        let (one, other) = (
            verified(&world, &token).await.with_proof(proof.expose()),
            verified(&world, &token).await.with_proof(proof.expose()),
        );
        let password = one.parse_password(GOOD).unwrap();
        one.complete(password).await.unwrap();
        let password = other.parse_password("another harbour at dusk").unwrap();
        assert!(other.complete(password).await.is_err());
        assert!(world.flow.verify(&token, &client()).await.is_err());
        assert!(world.logs_in("5", GOOD));
    });
}

#[test]
fn r61_sixteen_at_once_with_one_proof_make_one_change() {
    let world = Arc::new(guarded());
    let token = block_on(world.mailed(GUARDED)).unwrap();
    let proof = block_on(prove(&world, &token, "100006")).unwrap();
    let proof = proof.expose().to_owned();
    let barrier = Arc::new(std::sync::Barrier::new(16));
    let racers: Vec<_> = (0..16)
        .map(|_| {
            let (world, token) = (Arc::clone(&world), token.clone());
            let (proof, barrier) = (proof.clone(), Arc::clone(&barrier));
            std::thread::spawn(move || {
                let shown = block_on(verified(&world, &token)).with_proof(&proof);
                let password = shown.parse_password(GOOD).unwrap();
                barrier.wait();
                block_on(shown.complete(password)).is_ok()
            })
        })
        .collect();
    let won = racers.into_iter().map(|racer| racer.join().unwrap());
    assert_eq!(won.filter(|won| *won).count(), 1);
    assert_eq!(world.users.calls().set_password, 1);
}

#[test]
fn r67_a_one_time_password_proves_once_whoever_is_first() {
    let world = Arc::new(guarded());
    let token = block_on(world.mailed(GUARDED)).unwrap();
    let barrier = Arc::new(std::sync::Barrier::new(4));
    let racers: Vec<_> = (0..4)
        .map(|_| {
            let (world, token, barrier) = (Arc::clone(&world), token.clone(), barrier.clone());
            std::thread::spawn(move || {
                barrier.wait();
                block_on(prove(&world, &token, "100 007")).is_ok()
            })
        })
        .collect();
    let won = racers.into_iter().map(|racer| racer.join().unwrap());
    assert_eq!(won.filter(|won| *won).count(), 1);
}

#[test]
fn r67_a_proof_lasts_ten_minutes_and_no_longer_than_its_token() {
    let world = guarded();
    block_on(async {
        let token = world.mailed(GUARDED).await.unwrap();
        let proof = prove(&world, &token, "100008").await.unwrap();
        let now = world.flow.verify(&token, &client()).await.unwrap();
        assert!(proof.expires_at() < now.expires_at());
        world.clock.advance(10 * MINUTE);
        assert!(is_asked_for(
            &complete(&world, &token, Some(proof.expose())).await
        ));
        world.clock.advance(15 * MINUTE);
        let proof = prove(&world, &token, "100009").await.unwrap();
        assert_eq!(proof.expires_at(), now.expires_at());
        complete(&world, &token, Some(proof.expose()))
            .await
            .unwrap();
    });
}

#[test]
fn w17_five_tries_for_a_token_and_then_not_even_the_right_one() {
    let world = guarded();
    block_on(async {
        let token = world.mailed(GUARDED).await.unwrap();
        for _ in 0..5 {
            let wrong = prove(&world, &token, "999999").await.unwrap_err();
            assert!(matches!(wrong, StepUpError::Wrong), "{wrong:?}");
        }
        let over = prove(&world, &token, "100010").await.unwrap_err();
        assert!(matches!(over, StepUpError::TooManyTries), "{over:?}");
        let event = EventKind::Refused(Refused::FactorTries);
        assert_eq!(world.saw(|kind| kind == event), 1);
        assert_eq!(event.severity(), Severity::Critical);
        // Another link has five of its own.
        let token = world.mailed(GUARDED).await.unwrap();
        assert!(prove(&world, &token, "100010").await.is_ok());
    });
}

#[test]
fn r32_twenty_tries_an_hour_for_an_account_whatever_the_token() {
    let world = World::with(Backends::default(), |flow| {
        let mut limits = password_reset::flow::Limits::default();
        let many = password_reset::limit::Quota::new(1_000, MINUTE);
        (limits.identifier, limits.mails, limits.verifications) = (many, many, many);
        flow.limits(limits)
            .live(password_reset::store::Live::newest(1.try_into().unwrap()))
            .second_factor(Counter::default())
    });
    block_on(async {
        for _ in 0..4 {
            let token = world.mailed(GUARDED).await.unwrap();
            for _ in 0..5 {
                assert!(matches!(
                    prove(&world, &token, "999999").await,
                    Err(StepUpError::Wrong)
                ));
            }
        }
        let token = world.mailed(GUARDED).await.unwrap();
        let over = prove(&world, &token, "100012").await.unwrap_err();
        let StepUpError::RateLimited { retry_after } = over else {
            panic!("{over:?}");
        };
        assert!(retry_after <= Duration::from_secs(180), "{retry_after:?}");
        world.clock.advance(retry_after);
        assert!(prove(&world, &token, "100013").await.is_ok());
    });
}

/// What a policy was asked.
type Asked = Arc<Mutex<Vec<(Means, Option<SecondFactor>)>>>;

/// Answers whatever the test wants, and notes what it was asked.
struct Says(Recovery, Asked);

#[password_reset::async_trait]
impl RecoveryPolicy for Says {
    async fn decide(&self, attempt: &RecoveryAttempt<'_>) -> Result<Recovery, BoxError> {
        self.1.lock().unwrap().push((attempt.means, attempt.proven));
        Ok(self.0)
    }
}

fn ruled(recovery: Recovery) -> (World, Asked) {
    let asked = Asked::default();
    let says = Says(recovery, Arc::clone(&asked));
    let world = World::with(Backends::unlimited(), |flow| {
        flow.recovery(says).second_factor(Counter::default())
    });
    (world, asked)
}

#[test]
fn w64_no_policy_lowers_what_an_enrolled_account_needs() {
    let (world, asked) = ruled(Recovery::Allow);
    block_on(async {
        let token = world.mailed(GUARDED).await.unwrap();
        assert!(is_asked_for(&complete(&world, &token, None).await));
        let proof = prove(&world, &token, "100014").await.unwrap();
        complete(&world, &token, Some(proof.expose()))
            .await
            .unwrap();
    });
    let device = Some(SecondFactor::Device);
    let expected = [(Means::Link, None), (Means::Link, device)];
    assert_eq!(*asked.lock().unwrap(), expected);
}

#[test]
fn r67_a_policy_may_ask_for_more() {
    let (world, _) = ruled(Recovery::StepUp);
    block_on(async {
        let token = world.mailed("ada@example.com").await.unwrap();
        assert!(is_asked_for(&complete(&world, &token, None).await));
        let token = world.mailed(GUARDED).await.unwrap();
        let proof = prove(&world, &token, "100015").await.unwrap();
        complete(&world, &token, Some(proof.expose()))
            .await
            .unwrap();
    });
    let (world, _) = ruled(Recovery::Deny);
    block_on(async {
        let token = world.mailed(GUARDED).await.unwrap();
        let proof = prove(&world, &token, "100016").await.unwrap();
        let denied = complete(&world, &token, Some(proof.expose())).await;
        assert!(matches!(denied, Err(CompleteError::Denied)));
    });
}

/// Keeps the last text message.
#[derive(Clone, Default)]
struct Phone(Arc<Mutex<Option<String>>>);

#[password_reset::async_trait]
impl SmsSender for Phone {
    async fn send(&self, message: &TextMessage) -> Result<(), SendError> {
        *self.0.lock().unwrap() = Some(message.text().to_owned());
        Ok(())
    }
}

/// A token for the account of `mail`, by a code that came this way.
async fn by_code(world: &World, phone: &Phone, mail: &str, channel: Channel) -> String {
    let (identifier, client) = (typed(mail), client());
    let asked = world.flow.request_code(&identifier, channel, &client);
    let handle = asked.await.unwrap().handle.to_string();
    world.clock.advance(SPREAD);
    world.flow.worker().run_due().await;
    let text = match channel {
        Channel::Sms => phone.0.lock().unwrap().take().unwrap(),
        _ => world.outbox.messages().last().unwrap().text.clone(),
    };
    let digits = |word: &&str| word.chars().filter(char::is_ascii_digit).count() == 8;
    let squeezed = text.replace(' ', "_");
    let words: Vec<_> = squeezed
        .split(|c: char| !c.is_ascii_digit() && c != '_')
        .collect();
    let code = words.iter().copied().find(digits).unwrap();
    let code = code.replace('_', "");
    let redeemed = world.flow.redeem_code(&handle, &code, &client);
    redeemed.await.unwrap().token.expose().to_owned()
}

#[test]
fn r67_a_factor_that_travels_as_the_token_did_does_not_count() {
    use SecondFactor::{Device, Mail, Phone as Texts};
    let phone = Phone::default();
    let sender = phone.clone();
    let world = World::with(Backends::unlimited(), |flow| {
        flow.second_factor(Counter::default())
            .codes(Codes::default())
            .sms(sender, TextLimits::default())
    });
    let mut code = 200_000;
    for (number, factor) in [(1, Device), (2, Mail), (3, Texts)] {
        let mail = format!("f{number}@example.com");
        let mut own: Account = account(&format!("f{number}"), &mail).second_factor(factor);
        own.phone = Some(PhoneNumber::parse(&format!("+493012345{number}")).unwrap());
        world.users.add(own);
        for means in [Means::Link, Means::MailedCode, Means::TextedCode] {
            block_on(async {
                let token = match means {
                    Means::Link => world.mailed(&mail).await.unwrap(),
                    _ => by_code(&world, &phone, &mail, means.channel()).await,
                };
                let shown = verified(&world, &token).await;
                assert_eq!(shown.means(), means);
                code += 1;
                let same = matches!(
                    (factor, means.channel()),
                    (Mail, Channel::Mail) | (Texts, Channel::Sms)
                );
                let proof = shown.prove_factor(&response(&code.to_string())).await;
                assert_eq!(proof.is_err(), same, "{factor:?} behind {means:?}");
                // Nor in a ceremony of the application's own, which says that it is fine.
                match shown.begin_step_up().await {
                    Ok(step_up) => assert!(step_up.proven(factor).is_ok() && !same),
                    Err(refused) => assert!(matches!(refused, StepUpError::NoFactor) && same),
                }
                let proof = proof.ok();
                let proof = proof.as_ref().map(StepUpProof::expose);
                // The present password is not taken again.
                let new = format!("{GOOD}, {code}");
                let outcome = complete_with(&world, &token, proof, &new).await;
                assert_eq!(is_asked_for(&outcome), same, "{outcome:?}");
                assert_eq!(outcome.is_ok(), !same, "{outcome:?}");
                world.clock.advance(MINUTE);
            });
        }
    }
    let refused = EventKind::Refused(Refused::SameChannel);
    assert!(world.saw(|kind| kind == refused) >= 9);
}

#[test]
fn r67_of_several_factors_only_the_other_way_counts() {
    let world = guarded();
    let both = account("7", "both@example.com")
        .second_factor(SecondFactor::Device)
        .second_factor(SecondFactor::Mail);
    world.users.add(both);
    block_on(async {
        let token = world.mailed("both@example.com").await.unwrap();
        let shown = verified(&world, &token).await;
        assert_eq!(shown.usable_factors(), [SecondFactor::Device]);
        // The check answers the last one, which is the mail.
        let refused = prove(&world, &token, "300001").await.unwrap_err();
        assert!(matches!(refused, StepUpError::NoFactor), "{refused:?}");
        let step_up = shown.begin_step_up().await.unwrap();
        assert!(step_up.proven(SecondFactor::Phone).is_err(), "not enrolled");
        let step_up = shown.begin_step_up().await.unwrap();
        let proof = step_up.proven(SecondFactor::Device).unwrap();
        complete(&world, &token, Some(proof.expose()))
            .await
            .unwrap();
    });
}

#[test]
fn r67_a_factor_that_is_gone_proves_nothing() {
    let world = guarded();
    block_on(async {
        let token = world.mailed(GUARDED).await.unwrap();
        let proof = prove(&world, &token, "100017").await.unwrap();
        let shown = verified(&world, &token).await.with_proof(proof.expose());
        let password = shown.parse_password(GOOD).unwrap();
        // Exchanged for another one between the proof and the change.
        world.users.edit(&user("5"), |account| {
            account.second_factors = vec![SecondFactor::Phone];
        });
        let refused = shown.complete(password).await.unwrap_err();
        assert!(matches!(refused, CompleteError::StepUp), "{refused:?}");
        assert_eq!(world.users.calls().set_password, 0);
    });
}

/// Fails.
struct Broken;

#[password_reset::async_trait]
impl SecondFactorCheck for Broken {
    async fn check(
        &self,
        _: &RecoveryAttempt<'_>,
        _: &FactorResponse,
    ) -> Result<Option<SecondFactor>, BoxError> {
        Err("the table is gone".into())
    }
}

#[test]
fn r38_a_part_that_fails_proves_nothing() {
    let world = World::with(Backends::unlimited(), |flow| flow.second_factor(Broken));
    block_on(async {
        let token = world.mailed(GUARDED).await.unwrap();
        let failed = prove(&world, &token, "100018").await.unwrap_err();
        assert!(matches!(&failed, StepUpError::Unavailable(_)) && failed.is_transient());
        assert!(!format!("{failed:?} {failed}").contains("table"));
        assert!(is_asked_for(&complete(&world, &token, None).await));
    });
    let world = guarded();
    block_on(async {
        let token = world.mailed(GUARDED).await.unwrap();
        let shown = verified(&world, &token).await;
        world.faults.always_fail();
        let failed = shown.prove_factor(&response("100019")).await.unwrap_err();
        assert!(matches!(failed, StepUpError::Unavailable(_)), "{failed:?}");
    });
}

#[test]
fn r69_the_result_says_when_so_that_later_changes_can_ask_again() {
    let world = guarded();
    block_on(async {
        let token = world.mailed(GUARDED).await.unwrap();
        let proof = prove(&world, &token, "100020").await.unwrap();
        let shown = verified(&world, &token).await.with_proof(proof.expose());
        let password = shown.parse_password(GOOD).unwrap();
        let before = world
            .flow
            .verify(&token, &client())
            .await
            .unwrap()
            .expires_at();
        let done = shown.complete(password).await.unwrap();
        assert!(done.at < before);
        // R15, R65: and it is all there is. No session, and no word of a factor.
        let printed = format!("{done:?}");
        assert!(
            !printed.contains("factor") && !printed.contains("session"),
            "{printed}"
        );
    });
}
