//! Whether 32 completions at once stall the runtime that they run on, and what memory they take.
//!
//! A ticker on the same two-worker runtime rings every millisecond and notes how long it has been
//! since it last rang. A stalled ticker takes no samples, which flatters whoever stalls it, so the
//! ticks that it missed are filled in. The idle ticker of the same run shows what the machine does
//! by itself.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench may panic"
)]

mod common;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{ADDRESS, Backends, Everyone, Store, address, percentile, sorted};
use password_reset::account::Client;
use password_reset::flow::ResetFlow;
use password_reset::password::{Argon2id, HashPool};
use password_reset::testing::issue;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

const AT_ONCE: usize = 32;
const TICK: Duration = Duration::from_millis(1);
const HASH_MIB: f64 = 19.0;

fn main() {
    let runs = common::number("LIGHT_RUNS", if common::is_test() { 1 } else { 5 });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    // The default pool, unless told otherwise.
    let threads = NonZeroUsize::new(common::number("LIGHT_THREADS", 0));
    let backends = runtime.block_on(Backends::new(Store::Memory, 10_000));
    let flow =
        backends.flow(
            Arc::new(Everyone::default()),
            common::outbox(),
            |builder| match threads {
                None => builder,
                Some(threads) => builder.hashing(
                    HashPool::builder(Argon2id::default())
                        .threads(threads)
                        .queue(AT_ONCE)
                        .build()
                        .unwrap(),
                ),
            },
        );
    let idle_memory = memory("VmRSS");

    let mut results: Vec<_> = (0..runs).map(|run| measure(&runtime, &flow, run)).collect();
    // Runs differ most in their latest tick.
    results.sort_by(|a, b| a.busy.worst.total_cmp(&b.busy.worst));
    for (name, result) in [
        ("median", &results[runs / 2]),
        ("worst", &results[runs - 1]),
    ] {
        let (busy, idle) = (&result.busy, &result.idle);
        println!(
            "{{\"bench\":\"light\",\"run\":\"{name}\",\"runs\":{runs},\"completions\":{AT_ONCE},\
             \"took_ms\":{:.0},\"p50_ms\":{:.2},\"p99_ms\":{:.2},\"worst_ms\":{:.2},\
             \"raw_p99_ms\":{:.2},\"idle_p50_ms\":{:.2},\"idle_p99_ms\":{:.2},\
             \"idle_worst_ms\":{:.2},\"goal_p99_ms\":3,\"goal_worst_ms\":10,\
             \"machine_too_noisy\":{},\"others_cpu\":{}}}",
            result.took,
            busy.p50,
            busy.p99,
            busy.worst,
            busy.raw_p99,
            idle.p50,
            idle.p99,
            idle.worst,
            idle.p99 >= 3.0 || idle.worst >= 10.0,
            result
                .others
                .map_or("null".into(), |share| format!("{share:.2}")),
        );
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let hashing = threads.map_or((cores - 1).max(1), NonZeroUsize::get);
    let bound = (cores as f64 + 1.0) * HASH_MIB;
    if let (Some(idle), Some(peak)) = (idle_memory, memory("VmHWM")) {
        println!(
            "{{\"bench\":\"light\",\"case\":\"memory\",\"over_idle_mib\":{:.1},\
             \"bound_mib\":{bound:.0},\"hash_threads\":{hashing}}}",
            peak - idle,
        );
    }
}

struct Run {
    /// Milliseconds for all completions.
    took: f64,
    busy: Ticks,
    idle: Ticks,
    /// The share of all cores that other processes took meanwhile.
    others: Option<f64>,
}

/// Milliseconds between two ticks.
struct Ticks {
    p50: f64,
    p99: f64,
    worst: f64,
    raw_p99: f64,
}

fn measure(runtime: &Runtime, flow: &ResetFlow, run: usize) -> Run {
    let tokens = runtime.block_on(tokens(flow, run));
    let span = Duration::from_millis(if common::is_test() { 50 } else { 700 });
    let idle = runtime.block_on(ticking(async move {
        tokio::time::sleep(span).await;
    }));
    let (start, before) = (Instant::now(), cpu());
    let flow = flow.clone();
    let busy = runtime.block_on(ticking(async move {
        let mut running = JoinSet::new();
        for token in tokens {
            running.spawn(complete(flow.clone(), token));
        }
        running.join_all().await;
    }));
    let took = start.elapsed().as_secs_f64() * 1e3;
    let others = before.zip(cpu()).map(|(before, after)| {
        let (all, own) = (after.all - before.all, after.own - before.own);
        ((after.busy - before.busy - own) / all).max(0.0)
    });
    Run {
        took,
        busy,
        idle,
        others,
    }
}

async fn tokens(flow: &ResetFlow, run: usize) -> Vec<String> {
    let to = address(ADDRESS);
    let mut tokens = Vec::new();
    for number in 0..AT_ONCE {
        let account = Everyone::fresh(&format!("user-{run}-{number}"));
        let token = issue(flow, &account, &to).await.unwrap();
        tokens.push(token.expose().to_owned());
    }
    tokens
}

async fn complete(flow: ResetFlow, token: String) {
    let client = Client::from_ip([192, 0, 2, 7].into());
    let verified = flow.verify(&token, &client).await.unwrap();
    let password = verified.parse_password("a quiet harbour at dawn").unwrap();
    assert!(verified.complete(password).await.unwrap().settled);
}

/// Ticks on a worker of the runtime while `work` runs on the same workers.
async fn ticking(work: impl Future<Output = ()> + Send + 'static) -> Ticks {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let ticker = tokio::spawn(async move {
        let mut ticks = Vec::with_capacity(100_000);
        let mut interval = tokio::time::interval(TICK);
        interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
        interval.tick().await;
        let mut last = Instant::now();
        while !stopped.load(Ordering::Relaxed) {
            interval.tick().await;
            let now = Instant::now();
            ticks.push((now - last).as_secs_f64() * 1e3);
            last = now;
        }
        ticks
    });
    tokio::spawn(work).await.unwrap();
    stop.store(true, Ordering::Relaxed);
    let raw = ticker.await.unwrap();
    // A tick that was late by several would have been followed by others, each late by one less.
    let mut filled = raw.clone();
    for tick in &raw {
        let mut missed = tick - 1.0;
        while missed > 1.0 {
            filled.push(missed);
            missed -= 1.0;
        }
    }
    let (raw, filled) = (sorted(raw), sorted(filled));
    Ticks {
        p50: percentile(&filled, 0.5),
        p99: percentile(&filled, 0.99),
        worst: percentile(&filled, 1.0),
        raw_p99: percentile(&raw, 0.99),
    }
}

/// Processor time so far, in hundredths of a second.
struct Cpu {
    /// Of all cores, idle or not.
    all: f64,
    busy: f64,
    /// Of this process.
    own: f64,
}

/// From `/proc/stat` and `/proc/self/stat`; Linux only.
fn cpu() -> Option<Cpu> {
    let numbers = |text: &str| -> Vec<f64> {
        let words = text.split_whitespace();
        words.map(|word| word.parse().unwrap_or(0.0)).collect()
    };
    let machine = std::fs::read_to_string("/proc/stat").ok()?;
    // After the word "cpu": user, nice, system, idle, waiting for a disk, and more.
    let machine = numbers(machine.lines().next()?.get(4..)?);
    let own = std::fs::read_to_string("/proc/self/stat").ok()?;
    // After the name in brackets the 12th and 13th are user and system time.
    let own = numbers(own.rsplit_once(')')?.1);
    let all = machine.iter().take(8).sum();
    Some(Cpu {
        all,
        busy: all - machine.get(3)? - machine.get(4)?,
        own: own.get(11)? + own.get(12)?,
    })
}

/// A line of `/proc/self/status` in MiB; Linux only.
fn memory(line: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let found = status.lines().find(|text| text.starts_with(line))?;
    let kib: f64 = found.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}
