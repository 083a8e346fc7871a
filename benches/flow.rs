//! What each step costs, beside what it cannot do without.
//!
//! Every case is measured interleaved with its bare cost: the random bytes, base64url, HMACs or the
//! password hashes that any correct implementation has to pay. The ratio of the two medians is
//! the flow's own overhead; it survives a noisy machine better than either number.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench may panic"
)]

mod common;

use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64ct::{Base64UrlUnpadded, Encoding};
use common::{ADDRESS, Backends, Dice, Everyone, STORED, Store, address, median, nanos};
use criterion::Criterion;
use hmac::{Hmac, KeyInit, Mac};
use password_reset::account::{Account, Client, Identifier};
use password_reset::audit::TracingSink;
use password_reset::flow::ResetFlow;
use password_reset::password::{Argon2id, Context, HashPool, NewPassword, PasswordHash};
use password_reset::testing::{InsecureHasher, issue};
use password_reset::{Timestamp, Verified};
use sha2::Sha256;
use tokio::runtime::Runtime;

const PASSWORD: &str = "a quiet harbour at dawn";
/// The most calls whose inputs are prepared at once.
const CHUNK: u64 = 256;

/// Runs `n` calls and says how long they took, without preparing and cleaning up.
type Run = Box<dyn FnMut(u64) -> Duration>;

struct Case {
    store: &'static str,
    name: String,
    /// Calls a round of the interleaved measurement.
    batch: u64,
    rounds: usize,
    run: Run,
    bare: Run,
    /// The most that the ratio may be.
    goal: Option<f64>,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = Rc::new(runtime.unwrap());
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20)
        .configure_from_args();

    for store in runtime.block_on(Store::all()) {
        let mut cases = steps(&runtime, store);
        cases.extend(completions(&runtime, store));
        for case in cases {
            report(case, &mut criterion);
        }
    }
    flat(&runtime);
    criterion.final_summary();
}

fn report(mut case: Case, criterion: &mut Criterion) {
    let name = format!("{}/{}", case.store, case.name);
    criterion.bench_function(&name, |b| b.iter_custom(|count| (case.run)(count)));
    let (ours, bare) = interleaved(&mut case);
    let goal = case.goal.map_or("null".into(), |goal| goal.to_string());
    println!(
        "{{\"bench\":\"flow\",\"case\":\"{}\",\"store\":\"{}\",\"median_ns\":{ours:.0},\
         \"bare_ns\":{bare:.0},\"ratio\":{:.3},\"goal\":{goal}}}",
        case.name,
        case.store,
        ours / bare,
    );
}

/// The medians of the case and of its bare cost, in rounds of both in random order.
fn interleaved(case: &mut Case) -> (f64, f64) {
    let rounds = if common::is_test() { 2 } else { case.rounds };
    let mut dice = Dice::new(7);
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let bare_first = dice.below(2) == 0;
        if bare_first {
            bare.push(nanos((case.bare)(case.batch), case.batch));
        }
        ours.push(nanos((case.run)(case.batch), case.batch));
        if !bare_first {
            bare.push(nanos((case.bare)(case.batch), case.batch));
        }
    }
    (median(&ours), median(&bare))
}

/// Times `work` in chunks, each after `prepare`.
fn chunked(total: u64, mut work: impl FnMut(u64) -> Duration) -> Duration {
    let mut spent = Duration::ZERO;
    let mut left = total;
    while left > 0 {
        let chunk = left.min(CHUNK);
        spent += work(chunk);
        left -= chunk;
    }
    spent
}

struct World {
    flow: ResetFlow,
    backends: Backends,
    runtime: Rc<Runtime>,
    /// Accounts made so far; each is used once.
    accounts: u64,
}

impl World {
    fn new(runtime: &Rc<Runtime>, store: Store, pool: HashPool) -> Self {
        let backends = runtime.block_on(Backends::new(store, 2_000_000));
        let flow = backends.flow(Arc::new(Everyone::default()), common::outbox(), |builder| {
            builder.hashing(pool)
        });
        Self {
            flow,
            backends,
            runtime: Rc::clone(runtime),
            accounts: 0,
        }
    }

    /// With the limiter and the audit sink that a host would have.
    fn with_defaults(runtime: &Rc<Runtime>) -> Self {
        let mut world = Self::new(runtime, Store::Memory, cheap_pool());
        world.backends = world.backends.limited(2_000_000);
        let users = Arc::new(Everyone::default());
        world.flow = world.backends.flow(users, common::outbox(), |builder| {
            builder.hashing(cheap_pool()).audit(TracingSink)
        });
        world
    }

    fn accounts(&mut self, count: u64) -> Vec<Account> {
        let first = self.accounts;
        self.accounts += count;
        (first..self.accounts)
            .map(|number| Everyone::fresh(&format!("user-{number:08}")))
            .collect()
    }

    fn tokens(&mut self, count: u64) -> Vec<String> {
        let to = address(ADDRESS);
        let accounts = self.accounts(count);
        self.runtime.block_on(async {
            let mut tokens = Vec::with_capacity(accounts.len());
            for account in &accounts {
                let token = issue(&self.flow, account, &to).await.unwrap();
                tokens.push(token.expose().to_owned());
            }
            tokens
        })
    }

    /// Drops the oldest records, so that a measurement leaves as many as it found.
    fn purge(&self, count: u64) {
        let far = Timestamp::from_unix_micros(i64::MAX);
        let count = u32::try_from(count).unwrap();
        self.runtime
            .block_on(self.backends.tokens.purge(far, count))
            .unwrap();
    }

    fn drain(&self) {
        let far = Timestamp::from_unix_micros(i64::MAX);
        let queue = &self.backends.queue;
        self.runtime.block_on(async {
            loop {
                let now = Timestamp::from_unix_micros(i64::MAX - 1);
                let jobs = queue.lease(now, far, 1_000).await.unwrap();
                for job in &jobs {
                    queue.ack(&job.lease).await.unwrap();
                }
                if jobs.is_empty() {
                    return;
                }
            }
        });
    }

    fn issue(&mut self, count: u64) -> Duration {
        let to = address(ADDRESS);
        chunked(count, |count| {
            let accounts = self.accounts(count);
            let spent = self.runtime.block_on(async {
                let start = Instant::now();
                for account in &accounts {
                    black_box(issue(&self.flow, account, &to).await.unwrap());
                }
                start.elapsed()
            });
            self.purge(count);
            spent
        })
    }

    fn verify(&self, tokens: &[String], dice: &mut Dice, count: u64, good: bool) -> Duration {
        chunked(count, |count| {
            // Copied, because a presented token has just come in: only its record may be cold.
            let picked: Vec<_> = (0..count)
                .map(|_| (tokens[dice.below(tokens.len())].clone(), client(dice)))
                .collect();
            self.runtime.block_on(async {
                let start = Instant::now();
                for (token, client) in &picked {
                    let verified = black_box(self.flow.verify(token, client).await);
                    assert_eq!(verified.is_ok(), good);
                }
                start.elapsed()
            })
        })
    }

    fn request(&self, dice: &mut Dice, count: u64) -> Duration {
        chunked(count, |count| {
            let asking: Vec<_> = (0..count)
                .map(|_| (identifier(dice), client(dice)))
                .collect();
            let spent = self.runtime.block_on(async {
                let start = Instant::now();
                for (identifier, client) in &asking {
                    let _ = black_box(self.flow.request(identifier, client).await.unwrap());
                }
                start.elapsed()
            });
            self.drain();
            spent
        })
    }

    /// `POST /reset`: the link is looked at again, the password judged, hashed and set. The first
    /// span is all of it, the second `complete` alone.
    fn complete(&mut self, count: u64) -> (Duration, Duration) {
        let mut alone = Duration::ZERO;
        let whole = chunked(count, |count| {
            let tokens = self.tokens(count);
            let client = Client::from_ip([192, 0, 2, 7].into());
            let spent = self.runtime.block_on(async {
                let start = Instant::now();
                for token in &tokens {
                    let verified: Verified = self.flow.verify(token, &client).await.unwrap();
                    let password = verified.parse_password(PASSWORD).unwrap();
                    let begun = Instant::now();
                    assert!(verified.complete(password).await.unwrap().settled);
                    alone += begun.elapsed();
                }
                start.elapsed()
            });
            self.drain();
            self.purge(count);
            spent
        });
        (whole, alone)
    }

    /// The two runs of the hasher alone, on the flow's own pool: the look at the present password,
    /// and the new hash.
    fn hash(&self, count: u64) -> Duration {
        chunked(count, |count| {
            let passwords: Vec<_> = (0..count).map(|_| self.password()).collect();
            self.runtime.block_on(async {
                let start = Instant::now();
                for password in passwords {
                    let present = PasswordHash::parse(STORED).unwrap();
                    let same = self.flow.hashing().verify((&password).into(), present);
                    let _ = black_box(same.await);
                    black_box(self.flow.hashing().hash(password).await.unwrap());
                }
                start.elapsed()
            })
        })
    }

    fn password(&self) -> NewPassword {
        self.flow
            .policy()
            .parse(PASSWORD, &Context::default())
            .unwrap()
    }
}

fn cheap_pool() -> HashPool {
    HashPool::new(InsecureHasher).unwrap()
}

fn client(dice: &mut Dice) -> Client {
    let number = u32::try_from(dice.roll() >> 32).unwrap();
    Client::from_ip(std::net::Ipv4Addr::from(number).into())
}

fn identifier(dice: &mut Dice) -> Identifier {
    Identifier::parse(&format!("user-{:016x}@example.com", dice.roll())).unwrap()
}

fn steps(runtime: &Rc<Runtime>, store: Store) -> Vec<Case> {
    let (batch, rounds) = match store {
        Store::Memory => (64, 3_000),
        Store::Sqlite | Store::Postgres => (4, 300),
    };
    let fast = store == Store::Memory;
    let case = |name: &str, goal: Option<f64>, run: Run, bare: fn()| Case {
        store: store.name(),
        name: name.into(),
        batch,
        rounds,
        run,
        bare: Box::new(move |count| repeated(count, bare)),
        goal: goal.filter(|_| fast),
    };
    let world = || World::new(runtime, store, cheap_pool());

    let mut minting = world();
    let issue = case(
        "issue",
        Some(2.0),
        Box::new(move |count| minting.issue(count)),
        bare::issue,
    );

    let with_tokens = |mut world: World, good: bool, change: fn(&mut String)| -> Run {
        let mut tokens = world.tokens(1_000);
        tokens.iter_mut().for_each(change);
        let mut dice = Dice::new(1);
        Box::new(move |count| world.verify(&tokens, &mut dice, count, good))
    };
    // One character of the verifier, or of the selector.
    let wrong = |token: &mut String| flip(token, 60);
    let unknown = |token: &mut String| flip(token, 3);
    let good = with_tokens(world(), true, |_| {});
    let wrong = with_tokens(world(), false, wrong);
    let unknown = with_tokens(world(), false, unknown);

    let asked = world();
    let mut dice = Dice::new(2);
    let request: Run = Box::new(move |count| asked.request(&mut dice, count));

    let mut cases = vec![
        issue,
        case("verify_good", Some(2.0), good, bare::verify),
        case("verify_wrong", None, wrong, bare::refuse),
        case("verify_unknown", None, unknown, bare::refuse),
        case("request", None, request, bare::request),
    ];
    if fast {
        let good = with_tokens(World::with_defaults(runtime), true, |_| {});
        cases.push(case("verify_good_defaults", None, good, bare::verify));
        let asked = World::with_defaults(runtime);
        let mut dice = Dice::new(3);
        let request: Run = Box::new(move |count| asked.request(&mut dice, count));
        cases.push(case("request_defaults", None, request, bare::request));
    }
    cases
}

fn flip(token: &mut String, place: usize) {
    let other = if token[place..].starts_with('A') {
        "B"
    } else {
        "A"
    };
    token.replace_range(place..=place, other);
}

fn repeated(count: u64, work: fn()) -> Duration {
    let start = Instant::now();
    for _ in 0..count {
        work();
    }
    start.elapsed()
}

fn completions(runtime: &Rc<Runtime>, store: Store) -> Vec<Case> {
    let mut cases = Vec::new();
    for argon2 in [false, true] {
        let world = || {
            let pool = if argon2 {
                HashPool::new(Argon2id::default()).unwrap()
            } else {
                cheap_pool()
            };
            std::cell::RefCell::new(World::new(runtime, store, pool))
        };
        let hasher = if argon2 { "argon2id" } else { "no_hash" };
        for whole in [false, true] {
            let world = Rc::new(world());
            let hashing = Rc::clone(&world);
            let name = if whole { "post" } else { "complete" };
            cases.push(Case {
                store: store.name(),
                name: format!("{name}_{hasher}"),
                batch: if argon2 { 1 } else { 16 },
                rounds: if argon2 { 200 } else { 300 },
                run: Box::new(move |count| {
                    let (all, alone) = world.borrow_mut().complete(count);
                    if whole { all } else { alone }
                }),
                bare: Box::new(move |count| hashing.borrow().hash(count)),
                goal: (argon2 && !whole).then_some(1.15),
            });
        }
    }
    cases
}

/// A million live tokens beside a thousand: fresh accounts and random tokens, so that the caches
/// are as cold as they would be.
fn flat(runtime: &Rc<Runtime>) {
    let sizes: &[u64] = if common::is_test() {
        &[1_000, 10_000]
    } else {
        &[1_000, 100_000, 1_000_000]
    };
    let rounds = if common::is_test() { 2 } else { 2_000 };
    let mut worlds: Vec<_> = sizes
        .iter()
        .map(|size| {
            let mut world = World::new(runtime, Store::Memory, cheap_pool());
            let mut tokens = Vec::new();
            let mut dice = Dice::new(*size);
            // Twenty thousand of them stand for all.
            for first in (0..*size).step_by(1_000) {
                let issued = world.tokens(1_000.min(size - first));
                tokens.extend(
                    issued
                        .into_iter()
                        .filter(|_| dice.below((*size).max(20_000) as usize) < 20_000),
                );
            }
            dice.shuffle(&mut tokens);
            (world, tokens, dice, Vec::new(), Vec::new())
        })
        .collect();
    for _ in 0..rounds {
        for (world, tokens, dice, verified, _) in &mut worlds {
            verified.push(nanos(world.verify(tokens, dice, 32, true), 32));
        }
    }
    for _ in 0..rounds {
        for (world, _, _, _, issued) in &mut worlds {
            issued.push(nanos(world.issue(32), 32));
        }
    }
    let least = (median(&worlds[0].4), median(&worlds[0].3));
    for (size, (.., verified, issued)) in sizes.iter().zip(&worlds) {
        for (case, ours, least) in [
            ("issue", median(issued), least.0),
            ("verify_good", median(verified), least.1),
        ] {
            println!(
                "{{\"bench\":\"flow\",\"case\":\"flat_{case}\",\"store\":\"memory\",\
                 \"live\":{size},\"median_ns\":{ours:.0},\"ratio\":{:.3}}}",
                ours / least,
            );
        }
    }
}

/// What a step cannot do without: the same primitives on messages of the same lengths, with the key
/// state ready, and nothing else.
mod bare {
    use super::*;

    type HmacSha256 = Hmac<Sha256>;

    fn key() -> HmacSha256 {
        thread_local! {
            static KEY: HmacSha256 = HmacSha256::new_from_slice(&[7; 32]).unwrap();
        }
        KEY.with(Clone::clone)
    }

    fn digest(bytes: usize) {
        let mut mac = key();
        mac.update(black_box(&[1; 256][..bytes]));
        black_box(mac.finalize().into_bytes());
    }

    /// Two digests that share all but the address: tenant, id and credential.
    fn epoch() {
        let mut mac = key();
        let shared = 1 + 4 + 13 + 4 + STORED.len();
        mac.update(black_box(&[1; 256][..shared]));
        let mut second = mac.clone();
        mac.update(&[0]);
        black_box(mac.finalize().into_bytes());
        second.update(black_box(&[1; 256][..5 + ADDRESS.len()]));
        black_box(second.finalize().into_bytes());
    }

    /// Purpose, tenant, id, epoch, expiry, verifier.
    fn token() {
        digest(4 + 5 + 1 + 4 + 13 + 4 + 32 + 8 + 4 + 32);
    }

    pub(super) fn issue() {
        let mut raw = [0_u8; 48];
        getrandom::fill(&mut raw).unwrap();
        let mut text = [0_u8; 64];
        black_box(Base64UrlUnpadded::encode(&raw, &mut text).unwrap());
        epoch();
        token();
    }

    /// A refused token: decoded, its source named, its digest compared.
    pub(super) fn refuse() {
        let mut raw = [0_u8; 48];
        let text = black_box("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
        black_box(Base64UrlUnpadded::decode(text, &mut raw).unwrap());
        digest(4 + 13 + 1 + 4 + 4);
        token();
    }

    pub(super) fn verify() {
        refuse();
        epoch();
    }

    /// Pseudonym, two limiter keys, the job's id and its due time.
    pub(super) fn request() {
        digest(1 + 4 + 33);
        digest(4 + 14 + 1 + 4 + 4);
        digest(4 + 18 + 1 + 4 + 33);
        let (mut id, mut due) = ([0_u8; 16], [0_u8; 8]);
        getrandom::fill(&mut id).unwrap();
        getrandom::fill(&mut due).unwrap();
        black_box((id, due));
    }
}
