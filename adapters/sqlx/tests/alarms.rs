//! Alarms over processes that share a database: all of them count, one of them tells (R36, R78).

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;
#[path = "../../../tests/support/processes.rs"]
mod processes;
#[path = "common/servers.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod servers;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::Scratch;
use password_reset::account::Client;
use password_reset::async_trait;
use password_reset::audit::EventKind;
use password_reset::audit::log::{AuditLog, CodePrefix, Query};
use password_reset::audit::monitor::{Alarm, AlarmSink};
use password_reset::error::BoxError;
use password_reset::human::{Demand, HumanCheck, Proof, Verdict, When};
use password_reset_sqlx::{Driver, SqlAudit, SqlBackend};
use processes::{processes_within, typed};
use servers::Isolation;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sqlite() {
    let scratch = Scratch::new("alarms");
    one_of_two_tells([scratch.backend().await, scratch.backend().await]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn postgres() {
    for isolation in [Isolation::ReadCommitted, Isolation::Serializable] {
        if let Some(backends) = servers::postgres_processes(isolation).await {
            one_of_two_tells(backends).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn mysql() {
    if let Some(backends) = servers::mysql_processes().await {
        one_of_two_tells(backends).await;
    }
}

/// What both processes were told to tell.
#[derive(Clone, Default)]
struct Pager(Arc<Mutex<Vec<String>>>);

#[async_trait]
impl AlarmSink for Pager {
    async fn raise(&self, alarm: &Alarm) -> Result<(), BoxError> {
        let told = format!("{} {}", alarm.rule, alarm.subject);
        self.0.lock().unwrap().push(told);
        Ok(())
    }
}

struct Nobody;

#[async_trait]
impl HumanCheck for Nobody {
    async fn check(&self, _: &Proof, _: &Client) -> Result<Verdict, BoxError> {
        Ok(Verdict::Accept)
    }
}

/// A sweep of which each process sees a half, less than the threshold.
async fn one_of_two_tells<D: Driver>(backends: [SqlBackend<D>; 2]) {
    backends[0].migrate().await.unwrap();
    let trails = [&backends[0], &backends[1]].map(|backend| SqlAudit::spawn(backend).unwrap());
    let demands = [Demand::default(), Demand::default()];
    let next = Mutex::new(trails.iter().zip(&demands));
    let processes = processes_within(
        backends.clone(),
        |backend| Arc::new(backend.clone()),
        |_, builder| {
            let (trail, demand) = next.lock().unwrap().next().unwrap();
            builder
                .audit(trail.clone())
                .human(Nobody, When::Demanded(demand.clone()))
        },
    );
    let pager = Pager::default();
    let mut watchers = [0, 1].map(|number| {
        let watcher = processes[number].flow.watcher(trails[number].clone());
        watcher.alarms(pager.clone())
    });
    for watcher in &mut watchers {
        assert_eq!(watcher.run_once().await.failures, 0);
    }

    let source = Client::from_ip([192, 0, 2, 7].into());
    for number in 0..60 {
        let process = &processes[number % 2];
        let identifier = typed(&format!("nobody-{number}@example.com"));
        let _ = process.flow.request(&identifier, &source).await;
    }
    for trail in &trails {
        trail.flush().await.unwrap();
    }
    processes[0].clock.advance(Duration::from_secs(10));
    let now = password_reset::clock::Clock::now(&processes[0].clock);
    let [first, second] = &mut watchers;
    // At the same time, as in life.
    let (first, second) = tokio::join!(first.run_once(), second.run_once());
    assert_eq!(first.alarms + second.alarms, 1, "{first:?} {second:?}");
    assert_eq!(
        *pager.0.lock().unwrap(),
        ["identifiers_of_a_source source 192.0.2.7"]
    );
    for demand in &demands {
        assert!(demand.is_on(now), "each process asks for proofs by itself");
    }

    for trail in &trails {
        trail.flush().await.unwrap();
    }
    let alarms = Query::newest(10).code(CodePrefix::parse("alarm").unwrap());
    let alarms = trails[1].read(&alarms).await.unwrap().entries;
    assert_eq!(alarms.len(), 1, "the trail has it once");
    assert!(matches!(alarms[0].event.kind, EventKind::Alarm { .. }));
    for watcher in &mut watchers {
        assert_eq!(watcher.run_once().await.alarms, 0, "it does not ring again");
    }
}
