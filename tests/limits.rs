//! Limits that strangers share (R31, R36, R37, W51, W56): a flood leaves room for everybody else,
//! and nothing in them depends on who has an account.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "tests may panic"
)]

mod common;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use common::{Backends, GOOD, KINDS, SPREAD, World, typed};
use password_reset::account::{Client, Tenant};
use password_reset::audit::EventKind;
use password_reset::flow::{Codes, Limits, RequestError};
use password_reset::limit::Quota;
use password_reset::memory::MemoryLimiter;
use password_reset::queue::Channel;
use password_reset::testing::block_on;
use proptest::prelude::*;

const HOUR: Duration = Duration::from_secs(3_600);
const VICTIM: &str = "ada@example.com";

/// A client in a network of its own.
fn network(number: u32) -> Client {
    let [_, _, high, low] = number.to_be_bytes();
    Client::from_ip(IpAddr::V4(Ipv4Addr::new(10, high, low, 1)))
}

/// A client of one /48, in a /64 of its own.
fn subnet(number: u32) -> Client {
    let number = u16::try_from(number).unwrap();
    let address = Ipv6Addr::new(0x2001, 0xdb8, 7, number, 0, 0, 0, 1);
    Client::from_ip(IpAddr::V6(address))
}

fn with_limits(change: impl FnOnce(&mut Limits)) -> World {
    let mut limits = Limits::default();
    change(&mut limits);
    World::with(Backends::default(), |builder| builder.limits(limits))
}

/// What a request is answered, as the asker sees it.
async fn ask(world: &World, identifier: &str, client: &Client) -> String {
    format!("{:?}", world.flow.request(&typed(identifier), client).await)
}

async fn is_taken(world: &World, identifier: &str, client: &Client) -> bool {
    let asked = world.flow.request(&typed(identifier), client).await;
    assert!(
        matches!(asked, Ok(_) | Err(RequestError::RateLimited { .. })),
        "{asked:?}"
    );
    asked.is_ok()
}

async fn taken(world: &World, requests: u32, from: impl Fn(u32) -> Client) -> u32 {
    let mut taken = 0;
    for number in 0..requests {
        let identifier = format!("stranger-{number}@example.org");
        taken += u32::from(is_taken(world, &identifier, &from(number)).await);
    }
    taken
}

/// Somebody at home resets a password, from asking to the new one.
async fn gets_in(world: &World) {
    let home = Client::from_ip([198, 51, 100, 7].into());
    assert!(is_taken(world, VICTIM, &home).await);
    while world.outbox.last_token().is_none() {
        world.work().await;
    }
    let token = world.outbox.last_token().unwrap();
    assert_eq!(world.reset(&token, GOOD).await, Ok(true));
}

#[test]
fn w56_ten_thousand_requests_of_one_source_leave_the_victim_able_to_reset() {
    block_on(async {
        let world = World::new();
        let source = Client::from_ip([192, 0, 2, 7].into());
        assert_eq!(taken(&world, 10_000, |_| source).await, 20);
        gets_in(&world).await;
    });
}

#[test]
fn w56_ten_thousand_requests_of_one_48_leave_the_victim_able_to_reset() {
    block_on(async {
        let world = World::new();
        assert_eq!(taken(&world, 10_000, subnet).await, 100);
        gets_in(&world).await;
    });
}

/// Whoever asks in many tenants uses up no more of their network than in one.
#[test]
fn w56_one_source_in_five_tenants_is_one_source() {
    block_on(async {
        let world = World::new();
        let source = Client::from_ip([192, 0, 2, 7].into());
        let neighbour = Client::from_ip([192, 0, 2, 8].into());
        let mut taken = 0;
        for tenant in 0..5 {
            let tenant = Tenant::parse(&format!("tenant-{tenant}")).unwrap();
            let flow = world.flow.for_tenant(tenant);
            for number in 0..20 {
                let identifier = typed(&format!("stranger-{number}@example.org"));
                taken += u32::from(flow.request(&identifier, &source).await.is_ok());
            }
        }
        assert_eq!(taken, 20);
        assert!(is_taken(&world, VICTIM, &neighbour).await);
    });
}

/// W56, R35: a long secret cannot be guessed, so junk from all over a network keeps no neighbour from
/// a good link; and codes that are tried keep nobody from a link, not even on the same address.
#[test]
fn w56_junk_from_a_whole_network_leaves_a_neighbours_link_alone() {
    block_on(async {
        let world = World::with(Backends::default(), |builder| {
            builder.codes(Codes::default())
        });
        let token = world.mailed(VICTIM).await.unwrap();
        let (mail, first) = (Channel::Mail, subnet(0));
        let asked = world.flow.request_code_unreadable(mail, None, &first);
        let handle = asked.await.unwrap().handle.to_string();
        for number in 0..1_000 {
            let junk = format!("{number:064}");
            let _ = world.flow.verify(&junk, &subnet(number)).await;
            let _ = world
                .flow
                .redeem_code(&handle, "00000000", &subnet(1_000))
                .await;
        }
        for client in [subnet(1_000), subnet(1_001)] {
            assert!(world.flow.verify(&token, &client).await.is_ok());
        }
    });
}

#[test]
fn w56_a_flood_from_everywhere_leaves_the_reserve() {
    block_on(async {
        // Whoever uses up what all share is turned away; who has not asked yet is not.
        let world = with_limits(|limits| {
            limits.global = Quota::new(50, HOUR);
            limits.reserve = Quota::new(10, HOUR);
        });
        let flood = |number| network(number % 10);
        assert_eq!(taken(&world, 1_000, flood).await, 50 + 10);
        let limited = world.saw(|kind| kind == EventKind::GlobalLimited);
        // Those that were turned away, and those that drew on the reserve; the others were over the
        // limit of their own source before.
        assert!(limited > 10, "{limited}");

        let world = with_limits(|limits| {
            limits.global = Quota::new(50, HOUR);
            limits.reserve = Quota::new(10, HOUR);
        });
        let flood = |number| network(number % 9);
        assert_eq!(taken(&world, 1_000, flood).await, 50 + 9);
        gets_in(&world).await;
    });
}

#[test]
fn the_reserve_ends_and_grows_back() {
    block_on(async {
        let world = with_limits(|limits| {
            limits.global = Quota::new(5, HOUR);
            limits.reserve = Quota::new(3, HOUR);
        });
        assert_eq!(taken(&world, 100, network).await, 5 + 3);
        // One hour and nothing is used up any more.
        world.clock.advance(HOUR);
        assert_eq!(
            taken(&world, 100, |number| network(1_000 + number)).await,
            5 + 3
        );
    });
}

#[test]
fn r37_clients_of_whom_nothing_is_known_share_one_bucket_and_no_reserve() {
    block_on(async {
        let world = World::new();
        assert_eq!(taken(&world, 100, |_| Client::unknown()).await, 20);
        let world = with_limits(|limits| limits.global = Quota::new(5, HOUR));
        assert_eq!(taken(&world, 100, |_| Client::unknown()).await, 5);
    });
}

#[test]
fn whoever_is_turned_away_early_uses_up_nothing_that_others_share() {
    block_on(async {
        let world = with_limits(|limits| limits.global = Quota::new(21, HOUR));
        let source = Client::from_ip([192, 0, 2, 7].into());
        assert_eq!(taken(&world, 1_000, |_| source).await, 20);
        // Of the 21 that all have, one is left for a stranger, without the reserve.
        assert!(is_taken(&world, "somebody@example.org", &network(1)).await);
        assert_eq!(world.saw(|kind| kind == EventKind::GlobalLimited), 0);

        // Nor does it use up what the owner of an identifier may ask for.
        let world = World::new();
        for _ in 0..1_000 {
            let _ = ask(&world, "other@example.org", &source).await;
        }
        for _ in 0..1_000 {
            assert!(ask(&world, VICTIM, &source).await.contains("RateLimited"));
        }
        gets_in(&world).await;
    });
}

/// R28, R26: answers, retry hints and the calls behind them, over every kind of account.
#[test]
fn r28_no_limit_knows_who_has_an_account() {
    let seen = KINDS.map(|identifier| {
        block_on(async {
            let world = World::new();
            let mut seen = Vec::new();
            // The source is the same until it is over its limit, and then everywhere else.
            for number in 0..30 {
                let before = world.faults.log().len();
                let client = match number {
                    0..25 => Client::from_ip([192, 0, 2, 7].into()),
                    _ => network(number),
                };
                let answer = ask(&world, identifier, &client).await;
                seen.push((answer, world.faults.log().split_off(before)));
                world.clock.advance(Duration::from_secs(7));
            }
            seen
        })
    });
    for other in &seen {
        assert_eq!(*other, seen[0]);
    }
    let hints = seen[0]
        .iter()
        .filter(|(answer, _)| answer.contains("retry_after"));
    assert_eq!(hints.count(), 5);
}

/// DESIGN's two answers to "too often": an identifier over its limit looks and costs what any other
/// request does, a source over its limit hears of it and costs less.
#[test]
fn over_the_identifiers_limit_costs_the_same_and_over_the_sources_less() {
    block_on(async {
        let world = World::new();
        let calls = async |client: &Client| {
            let before = world.faults.log().len();
            let answer = ask(&world, VICTIM, client).await;
            (answer, world.faults.log().split_off(before))
        };
        let source = Client::from_ip([192, 0, 2, 7].into());
        let first = calls(&source).await;
        for _ in 0..19 {
            assert_eq!(
                calls(&source).await,
                first,
                "suppressed, and nobody can tell"
            );
        }
        let suppressed = world.saw(|kind| kind == EventKind::Requested { suppressed: true });
        assert_eq!(suppressed, 19);
        let (answer, denied) = calls(&source).await;
        assert!(answer.contains("RateLimited"));
        assert!(denied.len() < first.1.len(), "{denied:?} {:?}", first.1);
    });
}

#[test]
fn r36_two_processes_count_together() {
    block_on(async {
        let limiter = Arc::new(MemoryLimiter::default());
        let worlds = [0, 1].map(|_| {
            let backends = Backends {
                limiter: limiter.clone(),
                ..Backends::default()
            };
            World::with(backends, |builder| builder)
        });
        let source = Client::from_ip([192, 0, 2, 7].into());
        let mut taken = 0;
        for number in 0..100 {
            let identifier = format!("stranger-{number}@example.org");
            taken += u32::from(is_taken(&worlds[number % 2], &identifier, &source).await);
        }
        assert_eq!(taken, 20);
    });
}

/// Spellings that reach the same account in one table or another.
fn respelled() -> impl Strategy<Value = String> {
    let letters = "ada@example.com".chars().map(|letter| {
        let upper = letter.to_ascii_uppercase();
        // Full width, which NFKC folds.
        let wide = char::from_u32(u32::from(letter) + 0xfee0).unwrap_or(letter);
        let wide = if letter.is_ascii_alphanumeric() {
            wide
        } else {
            letter
        };
        prop::sample::select(vec![letter, upper, wide])
    });
    let letters: Vec<_> = letters.collect();
    let space = prop::sample::select(vec!["", " ", "\u{a0}", "\u{3000}", "   "]);
    let end = prop::sample::select(vec!["", ".", ".."]);
    (space.clone(), letters, end, space).prop_map(|(before, letters, end, behind)| {
        let letters: String = letters.into_iter().collect();
        format!("{before}{letters}{end}{behind}")
    })
}

proptest! {
    /// W51, R21: no spelling opens a bucket of its own.
    #[test]
    fn w51_no_respelling_gives_a_fresh_bucket(spellings in prop::collection::vec(respelled(), 2..6)) {
        block_on(async {
            let world = World::new();
            for (number, spelling) in (0_u32..).zip(&spellings) {
                assert!(is_taken(&world, spelling, &network(number)).await);
            }
            let requested = |wanted| {
                world.saw(|kind| kind == EventKind::Requested { suppressed: wanted })
            };
            assert_eq!((requested(false), requested(true)), (1, spellings.len() - 1));
            world.clock.advance(SPREAD);
        });
    }
}
