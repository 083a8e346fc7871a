//! A proof that a human asks, and work instead of it (R34, R38, W64): before anything is spent, once
//! only, and the same for everybody.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "tests may panic"
)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use base64ct::{Base64, Encoding};
use common::{Backends, KINDS, World, client, typed};
use password_reset::account::{Client, Tenant};
use password_reset::async_trait;
use password_reset::audit::EventKind;
use password_reset::clock::Clock;
use password_reset::error::{Backend, BoxError};
use password_reset::flow::{BuildError, Codes, Limits, Parts, ResetFlow};
use password_reset::human::{
    Demand, Flaw, HumanCheck, MAX_PROOF_BYTES, Proof, ProofOfWork, Verdict, When,
};
use password_reset::limit::Quota;
use password_reset::memory::{MemoryLimiter, MemoryQueue, MemoryTokens};
use password_reset::queue::Channel;
use password_reset::testing::{MemoryUsers, Outbox, block_on};
use password_reset::token::{Key, KeyId, Keyring};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const HOUR: Duration = Duration::from_secs(3_600);
const ADA: &str = "ada@example.com";
const LIFE: Duration = Duration::from_secs(1_200);

fn easy() -> ProofOfWork {
    let mut work = ProofOfWork::default();
    work.max_number = 1_000;
    work
}

fn with_work(backends: Backends, when: When) -> World {
    World::with(backends, |builder| builder.proof_of_work(easy(), when))
}

/// The answer to a new challenge of this flow.
fn solve(flow: &ResetFlow) -> Value {
    let work = flow.challenge().unwrap().unwrap().to_json();
    let work: Value = serde_json::from_str(&work).unwrap();
    let salt = work["salt"].as_str().unwrap();
    let fits = |number: &u64| {
        let digest = Sha256::digest(format!("{salt}{number}"));
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        work["challenge"] == hex
    };
    let number = (0..=1_000).find(fits).unwrap();
    json!({
        "algorithm": "SHA-256", "challenge": work["challenge"], "number": number,
        "salt": work["salt"], "signature": work["signature"],
    })
}

fn proof_of(answer: &Value) -> Proof {
    Proof::parse(&Base64::encode_string(answer.to_string().as_bytes())).unwrap()
}

fn proof(flow: &ResetFlow) -> Proof {
    proof_of(&solve(flow))
}

async fn ask(flow: &ResetFlow, proof: Option<&Proof>) -> String {
    let asked = flow.request_with_proof(&typed(ADA), proof, &client()).await;
    match asked {
        Ok(_) => "accepted".to_owned(),
        Err(error) => format!("{error:?}"),
    }
}

fn refusals(world: &World) -> Vec<Flaw> {
    let kinds = world.recorder.kinds().into_iter();
    let flaws = kinds.filter_map(|kind| match kind {
        EventKind::ProofRefused(flaw) => Some(flaw),
        _ => None,
    });
    flaws.collect()
}

#[test]
fn asked_never_always_or_when_demanded() {
    block_on(async {
        let world = with_work(Backends::default(), When::Never);
        assert!(world.flow.challenge().unwrap().is_none());
        assert_eq!(ask(&world.flow, None).await, "accepted");

        let world = with_work(Backends::default(), When::Always);
        assert_eq!(ask(&world.flow, None).await, "Challenge");
        assert_eq!(
            ask(&world.flow, Some(&proof(&world.flow))).await,
            "accepted"
        );

        let demand = Demand::default();
        let world = with_work(Backends::default(), When::Demanded(demand.clone()));
        assert_eq!(ask(&world.flow, None).await, "accepted");
        demand.until(world.clock.now() + HOUR);
        assert_eq!(ask(&world.flow, None).await, "Challenge");
        assert_eq!(
            ask(&world.flow, Some(&proof(&world.flow))).await,
            "accepted"
        );
        world.clock.advance(HOUR);
        assert_eq!(ask(&world.flow, None).await, "accepted");
    });
}

#[test]
fn r34_whoever_is_over_a_limit_gets_on_with_work_up_to_another() {
    block_on(async {
        let world = with_work(Backends::default(), When::Demanded(Demand::default()));
        for _ in 0..20 {
            assert_eq!(ask(&world.flow, None).await, "accepted");
        }
        assert_eq!(ask(&world.flow, None).await, "Challenge");
        for _ in 0..20 {
            assert_eq!(
                ask(&world.flow, Some(&proof(&world.flow))).await,
                "accepted"
            );
        }
        let over = ask(&world.flow, Some(&proof(&world.flow))).await;
        assert!(over.starts_with("RateLimited"), "{over}");
        // What one identifier may get stays as it is.
        let sent = world.saw(|kind| kind == EventKind::Requested { suppressed: false });
        assert_eq!(sent, 1);
    });
}

/// R34: one answer, brought again and again, takes nothing of those who have done their own work.
#[test]
fn work_that_was_taken_before_takes_no_turn_of_a_neighbour() {
    block_on(async {
        let world = with_work(Backends::default(), When::Demanded(Demand::default()));
        let once = proof(&world.flow);
        assert_eq!(ask(&world.flow, Some(&once)).await, "accepted");
        for _ in 0..1_000 {
            assert_eq!(ask(&world.flow, Some(&once)).await, "Challenge");
        }
        for _ in 1..20 {
            let proof = proof(&world.flow);
            assert_eq!(ask(&world.flow, Some(&proof)).await, "accepted");
        }
    });
}

/// R34: whoever only pretends to have worked uses up nothing of those who have.
#[test]
fn made_up_work_takes_no_turn_of_a_neighbour() {
    block_on(async {
        let world = with_work(Backends::default(), When::Demanded(Demand::default()));
        let made_up = Proof::parse("bm8gd29yaw==").unwrap();
        let start = world.faults.log().len();
        for _ in 0..1_000 {
            assert_eq!(ask(&world.flow, Some(&made_up)).await, "Challenge");
        }
        assert_eq!(world.faults.log().len(), start);
        for _ in 0..20 {
            let proof = proof(&world.flow);
            assert_eq!(ask(&world.flow, Some(&proof)).await, "accepted");
        }
    });
}

#[test]
fn an_answer_is_taken_once_whoever_brings_it_and_wherever() {
    block_on(async {
        let limiter = Arc::new(MemoryLimiter::default());
        let worlds = [0, 1].map(|_| {
            let backends = Backends {
                limiter: limiter.clone(),
                ..Backends::default()
            };
            with_work(backends, When::Always)
        });
        let answer = proof(&worlds[0].flow);
        let mut taken = 0;
        for number in 0..16 {
            let asked = ask(&worlds[number % 2].flow, Some(&answer)).await;
            taken += u32::from(asked == "accepted");
        }
        assert_eq!(taken, 1);
        // Neither another spelling of the same signature nor other members make it new.
        let fresh = solve(&worlds[0].flow);
        assert_eq!(
            ask(&worlds[0].flow, Some(&proof_of(&fresh))).await,
            "accepted"
        );
        let mut upper = fresh.clone();
        upper["signature"] = fresh["signature"].as_str().unwrap().to_uppercase().into();
        let mut more = fresh.clone();
        more["took"] = 12.into();
        for again in [upper, more] {
            assert_eq!(
                ask(&worlds[1].flow, Some(&proof_of(&again))).await,
                "Challenge"
            );
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_sixteen_at_once_with_one_answer_one_gets_in() {
    let world = with_work(Backends::default(), When::Always);
    let answer = Arc::new(proof(&world.flow));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..16 {
        let (flow, answer) = (world.flow.clone(), Arc::clone(&answer));
        tasks.spawn(async move {
            let source = Client::from_ip([10, 0, number, 1].into());
            let ada = typed(ADA);
            let asked = flow.request_with_proof(&ada, Some(&answer), &source);
            asked.await.is_ok()
        });
    }
    let taken = tasks.join_all().await.into_iter().filter(|taken| *taken);
    assert_eq!(taken.count(), 1);
}

#[test]
fn an_answer_that_was_changed_made_up_or_kept_too_long_is_refused() {
    block_on(async {
        let mut limits = Limits::default();
        limits.source = Quota::new(1_000, HOUR);
        let world = World::with(Backends::default(), |builder| {
            builder.limits(limits).proof_of_work(easy(), When::Always)
        });
        let good = solve(&world.flow);
        let zeros = "0".repeat(64);
        let later = good["salt"]
            .as_str()
            .unwrap()
            .replace("expires=", "expires=9");
        for (member, value) in [
            ("algorithm", json!("SHA-1")),
            ("challenge", json!(zeros)),
            ("number", json!(good["number"].as_u64().unwrap() + 1)),
            ("number", json!(-1)),
            ("number", json!("1")),
            ("salt", json!(later)),
            ("salt", json!("")),
            ("signature", json!(zeros)),
            ("signature", json!("")),
        ] {
            let mut edited = good.clone();
            edited[member] = value;
            let asked = ask(&world.flow, Some(&proof_of(&edited))).await;
            assert_eq!(asked, "Challenge", "{edited}");
        }
        // CVE-2025-68113: the number's first digits pushed into the salt.
        let number = good["number"].to_string();
        let (first, rest) = number.split_at(1);
        if !rest.is_empty() {
            let mut spliced = good.clone();
            spliced["salt"] = format!("{}{first}", good["salt"].as_str().unwrap()).into();
            spliced["number"] = rest.parse::<u64>().unwrap().into();
            assert_eq!(
                ask(&world.flow, Some(&proof_of(&spliced))).await,
                "Challenge"
            );
        }
        let long = Base64::encode_string(format!("{good}{}", " ".repeat(2_000)).as_bytes());
        for text in ["nonsense", "AAAA", "e30=", "bnVsbA==", long.as_str()] {
            let proof = Proof::parse(text).unwrap();
            assert_eq!(ask(&world.flow, Some(&proof)).await, "Challenge", "{text}");
        }
        assert!(Proof::parse(&"a".repeat(MAX_PROOF_BYTES + 1)).is_err());
        assert!(refusals(&world).iter().all(|flaw| *flaw == Flaw::Wrong));

        world.clock.advance(LIFE);
        assert_eq!(ask(&world.flow, Some(&proof_of(&good))).await, "Challenge");
        assert_eq!(refusals(&world).last(), Some(&Flaw::Stale));
        assert_eq!(
            world.saw(|kind| matches!(kind, EventKind::Requested { .. })),
            0
        );
    });
}

/// A flow with a key of its own.
fn with_key(key: u8, work: ProofOfWork) -> Result<ResetFlow, BuildError> {
    ResetFlow::builder(Parts {
        site: common::site(),
        keyring: Keyring::new(Key::new(KeyId(1), &[key; 32]).unwrap()),
        users: Arc::new(MemoryUsers::default()),
        tokens: Arc::new(MemoryTokens::default()),
        queue: Arc::new(MemoryQueue::default()),
        mailer: Arc::new(Outbox::default()),
        limiter: Arc::new(MemoryLimiter::default()),
    })
    .hashing(common::cheap_pool())
    .proof_of_work(work, When::Always)
    .build()
}

#[test]
fn w43_work_of_another_tenant_or_another_key_counts_for_nothing() {
    block_on(async {
        let [ours, theirs] = [7, 8].map(|key| with_key(key, easy()).unwrap());
        let tenant = ours.for_tenant(Tenant::parse("acme").unwrap());
        for (flow, other) in [
            (&ours, &theirs),
            (&theirs, &ours),
            (&ours, &tenant),
            (&tenant, &ours),
        ] {
            assert_eq!(ask(flow, Some(&proof(other))).await, "Challenge");
            assert_eq!(ask(flow, Some(&proof(flow))).await, "accepted");
        }
    });
}

#[test]
fn r26_whether_it_is_asked_for_depends_on_no_account() {
    let seen = KINDS.map(|identifier| {
        block_on(async {
            let world = with_work(Backends::default(), When::Demanded(Demand::default()));
            let mut seen = Vec::new();
            for _ in 0..25 {
                let before = world.faults.log().len();
                let asked = world.flow.request(&typed(identifier), &client()).await;
                let calls = world.faults.log().split_off(before);
                seen.push((format!("{asked:?}"), calls));
            }
            seen
        })
    });
    for other in &seen {
        assert_eq!(*other, seen[0]);
    }
    // The identifier's own limit, reached at the second request, is not seen: its owner may have
    // asked a moment ago.
    let challenged = seen[0]
        .iter()
        .filter(|(answer, _)| answer.contains("Challenge"));
    assert_eq!(challenged.count(), 5);
}

#[test]
fn a_code_needs_a_proof_too() {
    block_on(async {
        let world = World::with(Backends::default(), |builder| {
            builder
                .codes(Codes::default())
                .proof_of_work(easy(), When::Always)
        });
        let ask = async |proof: Option<&Proof>| {
            let (typed, client) = (typed(ADA), client());
            let asked = world
                .flow
                .request_code_with_proof(&typed, Channel::Mail, proof, &client);
            asked.await.is_ok()
        };
        assert!(!ask(None).await);
        assert!(ask(Some(&proof(&world.flow))).await);
    });
}

/// Says what it is told to.
struct Says(Result<Verdict, &'static str>);

#[async_trait]
impl HumanCheck for Says {
    async fn check(&self, _: &Proof, _: &Client) -> Result<Verdict, BoxError> {
        self.0.map_err(Into::into)
    }
}

#[test]
fn r38_a_check_that_fails_lets_nobody_in_and_says_so_once_in_the_trail() {
    block_on(async {
        let any = Proof::parse("anything").unwrap();
        let with = |check| {
            World::with(Backends::default(), |builder| {
                builder.human(Says(check), When::Always)
            })
        };
        let world = with(Err("away"));
        assert_eq!(
            ask(&world.flow, Some(&any)).await,
            "accepted",
            "publicly silent"
        );
        assert_eq!(world.recorder.kinds().len(), 1);
        let failed = |kind| {
            let human = Backend::Human;
            matches!(kind, EventKind::BackendFailed { backend, .. } if backend == human)
        };
        assert_eq!(world.saw(failed), 1);
        world.work().await;
        assert!(world.outbox.messages().is_empty());

        let world = with(Ok(Verdict::Refuse(Flaw::LowScore)));
        assert_eq!(ask(&world.flow, Some(&any)).await, "Challenge");
        assert_eq!(refusals(&world), [Flaw::LowScore]);
        let world = with(Ok(Verdict::Accept));
        assert_eq!(ask(&world.flow, Some(&any)).await, "accepted");
        assert_eq!(ask(&world.flow, None).await, "Challenge");
        assert!(world.flow.challenge().unwrap().is_none());
    });
}

#[test]
fn a_source_over_its_limit_does_not_cost_a_call_to_the_check() {
    block_on(async {
        let world = World::with(Backends::default(), |builder| {
            builder.human(Says(Ok(Verdict::Refuse(Flaw::Wrong))), When::Always)
        });
        let any = Proof::parse("anything").unwrap();
        for _ in 0..100 {
            let _ = ask(&world.flow, Some(&any)).await;
        }
        assert_eq!(refusals(&world).len(), 20);
    });
}

#[test]
fn numbers_out_of_their_bounds_build_nothing() {
    let built = |max_number, life| {
        let mut work = ProofOfWork::default();
        (work.max_number, work.life) = (max_number, life);
        with_key(7, work).err()
    };
    let minute = Duration::from_secs(60);
    assert!(built(1_000, HOUR).is_none() && built(10_000_000, minute).is_none());
    for (max_number, life) in [
        (999, HOUR),
        (10_000_001, HOUR),
        (1_000, HOUR + minute),
        (1_000, minute / 2),
    ] {
        assert!(matches!(
            built(max_number, life),
            Some(BuildError::ProofOfWork)
        ));
    }
}
