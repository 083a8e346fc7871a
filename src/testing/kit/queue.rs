//! Checks of the [`JobQueue`] contract.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::{Answered, RACERS, Race, at, cut, fresh, just_before, word};
use crate::account::{Address, Identifier, Seen, Tenant, UserId};
use crate::audit::Actor;
use crate::clock::Timestamp;
use crate::queue::Channel;
use crate::queue::{DeadLetter, Job, JobId, JobQueue, Lease, LeasedJob, QueueLength, Task};
use crate::token::{Epoch, KeyId, Purpose, Selector};

/// The one list of this trait's promises.
#[doc(hidden)]
#[macro_export]
macro_rules! __queue_promises {
    ($then:ident $($rest:tt)*) => {
        $crate::$then! { [
            a_job_comes_back_as_it_went_in
            a_job_is_leased_to_one_worker
            a_job_is_not_leased_before_it_is_due
            the_longest_due_are_leased_first
            a_lost_lease_is_handed_over
            a_lost_lease_is_handed_to_one_worker
            every_lease_counts_an_attempt
            an_old_lease_settles_nothing
            a_lease_is_settled_once
            a_retried_job_waits_for_its_time
            an_acknowledged_job_never_returns
            no_job_is_lost_under_contention
            a_dropped_lease_loses_no_job
            a_dead_letter_is_never_leased
            dead_letters_come_back_as_they_were
            a_revived_job_starts_over
            a_dead_letter_is_revived_once
            purging_dead_letters_spares_the_others
            the_length_counts_every_job
        ] $($rest)* }
    };
}

/// Writes one test for each promise of a [`JobQueue`]; see [`testing::kit`](crate::testing::kit).
#[macro_export]
macro_rules! conformance_queue {
    ($($tests:tt)+) => { $crate::__queue_promises! { __conformance_tests queue $($tests)+ } };
}

crate::__queue_promises! { __conformance_checks dyn JobQueue }

type Store = Arc<dyn JobQueue>;

fn job(due: Timestamp) -> Job {
    let typed = format!("{}@example.com", word());
    Job {
        id: JobId::from_bytes(fresh()),
        due,
        task: Task::Deliver {
            identifier: Identifier::parse(&typed).expect("a valid identifier"),
            suppressed: false,
        },
    }
}

/// The queue, with every failure a panic.
#[derive(Clone)]
struct Probe(Store);

impl Probe {
    async fn push(&self, job: &Job) {
        self.0.push(job).await.answered("push");
    }

    async fn pushed(&self, due: Timestamp) -> Job {
        let job = job(due);
        self.push(&job).await;
        job
    }

    async fn lease(&self, now: Timestamp, until: Timestamp, max: u32) -> Vec<LeasedJob> {
        let leased = self.0.lease(now, until, max).await.answered("lease");
        for leased in &leased {
            assert_eq!(
                leased.lease.job, leased.job.id,
                "the lease names another job"
            );
        }
        leased
    }

    /// The lease on the only job that is due.
    async fn only(&self, now: Timestamp, until: Timestamp) -> Lease {
        match self.lease(now, until, 10).await.as_slice() {
            [only] => only.lease,
            other => panic!("{} jobs were leased where one is due", other.len()),
        }
    }

    async fn ack(&self, lease: &Lease) -> bool {
        self.0.ack(lease).await.answered("ack")
    }

    async fn retry(&self, lease: &Lease, due: Timestamp) -> bool {
        self.0.retry(lease, due).await.answered("retry")
    }

    async fn bury(&self, lease: &Lease, now: Timestamp) -> bool {
        self.0.bury(lease, now).await.answered("bury")
    }

    async fn dead(&self, max: u32) -> Vec<DeadLetter> {
        self.0.dead_letters(max).await.answered("dead_letters")
    }

    async fn revive(&self, dead: &JobId, id: &JobId, due: Timestamp) -> bool {
        self.0.revive(dead, id, due).await.answered("revive")
    }

    async fn purge_dead(&self, before: Timestamp, limit: u32) -> u64 {
        self.0
            .purge_dead(before, limit)
            .await
            .answered("purge_dead")
    }

    async fn length(&self, now: Timestamp) -> QueueLength {
        self.0.length(now).await.answered("length")
    }

    /// A job that was leased once and given up at `now`.
    async fn buried(&self, now: Timestamp) -> Job {
        let job = self.pushed(at(0)).await;
        let lease = self.only(at(0), at(60)).await;
        assert!(self.bury(&lease, now).await, "the present worker gives up");
        job
    }
}

/// Every field and every kind of task survives.
pub async fn a_job_comes_back_as_it_went_in(store: Store, _: Race) {
    let store = Probe(store);
    let tenant = || Tenant::parse("Größe 東京").expect("a valid tenant");
    let identifier = |text: &str| Identifier::parse(text).expect("a valid identifier");
    let deliver = |identifier, suppressed| Task::Deliver {
        identifier,
        suppressed,
    };
    let notice = |tenant, locale: Option<&str>| Task::Notice {
        user: UserId::parse("O'Brien%_").expect("a valid id"),
        tenant,
        address: Address::parse("ada@example.com").expect("a valid address"),
        locale: locale.map(str::to_owned),
        at: at(7),
        key: KeyId(u32::MAX),
        token: Selector::from_bytes([0xfe; 16]),
        seal: [0xfb; 16],
        seen: locale.and_then(|_| Seen::default().device("Firefox on Linux").ok()),
        epoch: Epoch::from_bytes([0xa5; 32]),
    };
    let tasks = [
        deliver(identifier("ada@example.com"), false),
        deliver(identifier("ada@example.com").in_tenant(tenant()), true),
        deliver(identifier(&"ü".repeat(127)), false),
        notice(None, None),
        notice(Some(tenant()), Some("de-AT")),
        Task::Code {
            identifier: identifier("ada@example.com").in_tenant(tenant()),
            channel: Channel::Sms,
            handle: Selector::from_bytes([0xfd; 16]),
            suppressed: false,
        },
        Task::Start {
            user: UserId::parse("42").expect("a valid id"),
            tenant: Some(tenant()),
            purpose: Purpose::First,
            life: Duration::from_secs(86_400),
            actor: Actor::parse("ticket 7").expect("a valid actor"),
        },
        Task::Unreadable((0..=u8::MAX).collect()),
        Task::Unreadable(vec![0xff; 4_096]),
    ];
    let mut jobs = Vec::new();
    for (task, micros) in tasks.into_iter().zip(0..) {
        let due = Timestamp::from_unix_micros(at(0).unix_micros() + micros);
        jobs.push(Job { task, ..job(due) });
    }
    for job in &jobs {
        store.push(job).await;
    }
    let mut leased = store.lease(at(60), at(120), 100).await;
    leased.sort_by_key(|leased| leased.job.due);
    let leased: Vec<_> = leased.into_iter().map(|leased| leased.job).collect();
    assert_eq!(leased, jobs, "a mail goes to nobody, or to somebody else");
}

/// Workers that race share the due jobs among them, each job once.
pub async fn a_job_is_leased_to_one_worker(store: Store, race: Race) {
    let store = Probe(store);
    for _ in 0..race.rounds {
        let mut missing = HashSet::new();
        for _ in 0..8 {
            missing.insert(store.pushed(at(0)).await.id);
        }
        take_all(&store, &race, at(1), &mut missing).await;
    }
}

/// Workers race for due jobs; takes what each got out of `missing` and acknowledges it.
async fn take_all(store: &Probe, race: &Race, now: Timestamp, missing: &mut HashSet<JobId>) {
    let until = now + Duration::from_secs(60);
    let work = |store: Probe| async move { store.lease(now, until, 3).await };
    let mut taken = race.run((0..RACERS).map(|_| work(store.clone()))).await;
    // Workers that met may have left some behind; the next ones find them.
    for _ in 0..8 {
        taken.push(work(store.clone()).await);
    }
    for leased in taken {
        assert!(leased.len() <= 3, "a worker got more than it asked for");
        for leased in leased {
            assert!(
                missing.remove(&leased.job.id),
                "two workers got one job: the mail is sent twice, and a mailbox can be flooded"
            );
            assert!(
                store.ack(&leased.lease).await,
                "the lease that was given is not good"
            );
        }
    }
    assert!(
        missing.is_empty(),
        "a due job was given to nobody: a mail is lost"
    );
}

/// Due means due, to the microsecond.
pub async fn a_job_is_not_leased_before_it_is_due(store: Store, _: Race) {
    let store = Probe(store);
    let job = store.pushed(at(30)).await;
    let why = "the random delay that hides who has an account is undone";
    for now in [at(-60), at(0), just_before(at(30))] {
        assert!(store.lease(now, at(60), 10).await.is_empty(), "{why}");
    }
    let lease = store.only(at(30), at(60)).await;
    assert_eq!(lease.job, job.id, "a due job is leased");
}

/// The longest due first, and no more than asked.
pub async fn the_longest_due_are_leased_first(store: Store, _: Race) {
    let store = Probe(store);
    let mut due = Vec::new();
    for second in [50, 10, 40, 20, 30, 60] {
        due.push((second, store.pushed(at(second)).await.id));
    }
    due.sort_unstable();
    let lease = async |max| {
        let leased = store.lease(at(55), at(1_000), max).await;
        leased.into_iter().map(|l| l.job.id).collect::<HashSet<_>>()
    };
    let why = "under load the mail of whoever asked first is never sent";
    assert!(lease(0).await.is_empty(), "at most none");
    for pair in due.chunks(2).take(2) {
        let expected: HashSet<_> = pair.iter().map(|(_, id)| *id).collect();
        assert_eq!(lease(2).await, expected, "{why}");
    }
    assert_eq!(lease(2).await.len(), 1, "{why}");
}

/// A job whose worker died is leased again at the end of the lease, not sooner.
pub async fn a_lost_lease_is_handed_over(store: Store, _: Race) {
    let store = Probe(store);
    let job = store.pushed(at(0)).await;
    let until = at(60);
    store.only(at(0), until).await;
    for now in [at(0), at(30), just_before(until)] {
        let leased = store.lease(now, at(600), 10).await;
        assert!(
            leased.is_empty(),
            "a job is worked on twice: the mail is sent twice"
        );
    }
    let leased = store.lease(until, at(120), 10).await;
    let [again] = leased.as_slice() else {
        panic!("a worker that dies takes the mail with it");
    };
    assert_eq!(
        (again.job.id, &again.job.task),
        (job.id, &job.task),
        "the job changed"
    );
    let third = store.only(at(120), at(180)).await;
    assert_eq!(third.job, job.id, "handed over once only");
}

/// Workers that race for jobs of a dead one get each once.
pub async fn a_lost_lease_is_handed_to_one_worker(store: Store, race: Race) {
    let store = Probe(store);
    for _ in 0..race.rounds {
        let mut missing = HashSet::new();
        for _ in 0..8 {
            missing.insert(store.pushed(at(0)).await.id);
        }
        let dead = store.lease(at(0), at(60), 8).await;
        assert_eq!(dead.len(), 8, "every due job is leased");
        take_all(&store, &race, at(60), &mut missing).await;
    }
}

/// The first lease is attempt 1, and each further one counts, however the last ended.
pub async fn every_lease_counts_an_attempt(store: Store, _: Race) {
    let store = Probe(store);
    store.pushed(at(0)).await;
    let why = "a job that kills its worker is tried for ever";
    let lost = store.only(at(0), at(60)).await;
    assert_eq!(lost.attempt, 1, "{why}");
    let second = store.only(at(60), at(120)).await;
    assert_eq!(second.attempt, 2, "{why}");
    assert!(store.retry(&second, at(100)).await);
    let third = store.only(at(100), at(160)).await;
    assert_eq!(third.attempt, 3, "{why}");
}

/// A worker that lost its lease can neither remove the job nor move it.
pub async fn an_old_lease_settles_nothing(store: Store, _: Race) {
    let store = Probe(store);
    let job = store.pushed(at(0)).await;
    let why = "a slow worker removes a job that another one has taken over: the mail is lost";
    let never = Lease {
        job: job.id,
        attempt: 0,
    };
    assert!(
        !store.ack(&never).await
            && !store.retry(&never, at(9)).await
            && !store.bury(&never, at(9)).await,
        "nobody holds it"
    );
    let old = store.only(at(0), at(60)).await;
    let present = store.only(at(60), at(120)).await;
    let future = Lease {
        attempt: 3,
        ..present
    };
    let unknown = Lease {
        job: JobId::from_bytes(fresh()),
        ..present
    };
    for lease in [old, never, future, unknown] {
        assert!(!store.ack(&lease).await, "{why}");
        assert!(!store.retry(&lease, at(61)).await, "{why}");
        assert!(!store.bury(&lease, at(61)).await, "{why}");
    }
    assert!(store.lease(at(119), at(180), 10).await.is_empty(), "{why}");
    // The lease is over, but nobody took the job: its worker may still finish.
    assert!(
        store.ack(&present).await,
        "a late worker cannot finish: the mail is sent twice"
    );
    assert!(
        store.lease(at(9_999), at(10_000), 10).await.is_empty(),
        "{why}"
    );
}

/// Of all calls that settle one lease at once, one does.
pub async fn a_lease_is_settled_once(store: Store, race: Race) {
    let store = Probe(store);
    for round in race.turns() {
        store.pushed(at(0)).await;
        let lease = store.only(at(0), at(60)).await;
        let settled = race
            .run((0..RACERS).map(|racer| {
                let store = store.clone();
                async move {
                    match (racer + round) % 3 {
                        0 => store.ack(&lease).await,
                        1 => store.retry(&lease, at(70)).await,
                        _ => store.bury(&lease, at(70)).await,
                    }
                }
            }))
            .await;
        let settled = settled.into_iter().filter(|settled| *settled).count();
        assert_eq!(
            settled, 1,
            "a job was finished, put back and given up at once, or none of it"
        );
        for rest in store.lease(at(70), at(130), 10).await {
            assert!(store.ack(&rest.lease).await);
        }
    }
}

/// `retry` ends the lease and makes the job due when it says, earlier or later than the lease.
pub async fn a_retried_job_waits_for_its_time(store: Store, _: Race) {
    let store = Probe(store);
    store.pushed(at(0)).await;
    let mut lease = store.only(at(0), at(60)).await;
    for (due, until) in [(at(30), at(90)), (at(300), at(360))] {
        assert!(
            store.retry(&lease, due).await,
            "the present worker puts its job back"
        );
        assert!(
            !store.ack(&lease).await,
            "a lease that was ended still settles"
        );
        assert!(
            !store.retry(&lease, at(0)).await,
            "a lease that was ended still settles"
        );
        let early = store.lease(just_before(due), until, 10).await;
        assert!(early.is_empty(), "a failing mail server is hammered");
        lease = store.only(due, until).await;
    }
}

/// Finished is finished, also after the lease.
pub async fn an_acknowledged_job_never_returns(store: Store, _: Race) {
    let store = Probe(store);
    store.pushed(at(0)).await;
    let waiting = store.pushed(at(500)).await;
    let lease = store.only(at(0), at(60)).await;
    assert!(
        store.ack(&lease).await,
        "the present worker finishes its job"
    );
    assert!(!store.ack(&lease).await, "finished twice");
    assert!(
        !store.retry(&lease, at(0)).await,
        "a finished job was put back"
    );
    assert!(
        store.lease(at(400), at(460), 10).await.is_empty(),
        "the mail is sent again and again"
    );
    let other = store.only(at(500), at(560)).await;
    assert_eq!(other.job, waiting.id, "finishing one job removed another");
}

/// Pushing and leasing at once loses no job.
pub async fn no_job_is_lost_under_contention(store: Store, race: Race) {
    let store = Probe(store);
    for round in race.turns() {
        let taken = race
            .run((0..RACERS).map(|racer| {
                let store = store.clone();
                async move {
                    if (racer + round) % 2 == 0 {
                        return (Some(store.pushed(at(0)).await.id), Vec::new());
                    }
                    let mut taken = Vec::new();
                    for leased in store.lease(at(1), at(60), 2).await {
                        assert!(store.ack(&leased.lease).await);
                        taken.push(leased.job.id);
                    }
                    (None, taken)
                }
            }))
            .await;
        let mut taken_now = Vec::new();
        let mut pushed = HashSet::new();
        for (id, ids) in taken {
            pushed.extend(id);
            taken_now.extend(ids);
        }
        for leased in store.lease(at(1), at(60), 1_000).await {
            assert!(store.ack(&leased.lease).await);
            taken_now.push(leased.job.id);
        }
        assert_eq!(
            taken_now.len(),
            pushed.len(),
            "a job was lost, or given out twice"
        );
        assert_eq!(
            taken_now.into_iter().collect::<HashSet<_>>(),
            pushed,
            "a job was lost"
        );
    }
}

/// A worker that dies inside `lease` loses no job.
pub async fn a_dropped_lease_loses_no_job(store: Store, race: Race) {
    let store = Probe(store);
    for round in 0..race.rounds {
        let job = store.pushed(at(0)).await;
        let _ = cut(store.0.lease(at(0), at(60), 10), 1 + round % 8).await;
        // What was cut off may be on its way yet, and keep the job for another moment.
        let mut leased = Vec::new();
        for _ in 0..1_000 {
            leased = store.lease(at(60), at(120), 10).await;
            if !leased.is_empty() {
                break;
            }
        }
        let lease = match leased.as_slice() {
            [only] => only.lease,
            other => panic!("{} jobs were leased where one is due", other.len()),
        };
        assert_eq!(
            lease.job, job.id,
            "a worker that dies takes the mail with it"
        );
        assert!(
            store.ack(&lease).await,
            "the lease that was given is not good"
        );
    }
}

/// Given up is given up, and its lease is over.
pub async fn a_dead_letter_is_never_leased(store: Store, _: Race) {
    let store = Probe(store);
    let job = store.pushed(at(0)).await;
    let waiting = store.pushed(at(500)).await;
    let lease = store.only(at(0), at(60)).await;
    assert!(
        store.bury(&lease, at(1)).await,
        "the present worker gives up"
    );
    let why = "a lease that was ended still settles";
    assert!(!store.ack(&lease).await, "{why}");
    assert!(!store.retry(&lease, at(0)).await, "{why}");
    assert!(!store.bury(&lease, at(2)).await, "{why}");
    let far = Timestamp::from_unix_micros(i64::MAX);
    assert!(
        store.lease(at(400), at(460), 10).await.is_empty(),
        "a poison job is tried for ever"
    );
    let other = store.only(at(9_999), at(10_000)).await;
    assert_eq!(other.job, waiting.id, "giving one job up took another");
    assert!(store.ack(&other).await);
    assert!(
        store.lease(far, far, 10).await.is_empty(),
        "a poison job comes back at the end of time"
    );
    let dead: Vec<_> = store.dead(10).await.iter().map(|dead| dead.id).collect();
    assert_eq!(dead, [job.id], "nobody learns whose mail was not sent");
}

/// Content, attempts and time survive; who was given up first comes first.
pub async fn dead_letters_come_back_as_they_were(store: Store, _: Race) {
    let store = Probe(store);
    let unreadable = Task::Unreadable((0..=u8::MAX).collect());
    let mut expected = Vec::new();
    for (second, task) in [(50, Some(unreadable)), (10, None), (40, None)] {
        let mut job = job(at(0));
        job.task = task.unwrap_or(job.task);
        store.push(&job).await;
        let first = store.only(at(0), at(60)).await;
        assert!(store.retry(&first, at(5)).await);
        let second_try = store.only(at(5), at(65)).await;
        assert!(store.bury(&second_try, at(second)).await);
        expected.push(DeadLetter {
            id: job.id,
            task: job.task,
            attempts: 2,
            at: at(second),
        });
    }
    expected.sort_by_key(|dead| dead.at);
    let why = "an operator cannot tell what was not sent";
    assert_eq!(store.dead(10).await, expected, "{why}");
    assert!(store.dead(0).await.is_empty(), "at most none");
    expected.truncate(2);
    assert_eq!(store.dead(2).await, expected, "{why}");
}

/// Under a new name, with no attempt counted, and out of the reach of every old lease.
pub async fn a_revived_job_starts_over(store: Store, _: Race) {
    let store = Probe(store);
    let job = store.pushed(at(0)).await;
    let old = store.only(at(0), at(60)).await;
    let id = JobId::from_bytes(fresh());
    assert!(
        !store.revive(&job.id, &id, at(0)).await,
        "a job that somebody works on is doubled"
    );
    assert!(store.bury(&old, at(1)).await);
    let unknown = JobId::from_bytes(fresh());
    assert!(
        !store.revive(&unknown, &id, at(0)).await,
        "nothing was revived"
    );
    assert!(
        store.revive(&job.id, &id, at(30)).await,
        "a dead letter stays dead"
    );
    assert!(!store.revive(&job.id, &id, at(30)).await, "revived twice");
    assert!(store.dead(10).await.is_empty(), "alive and dead at once");
    assert!(
        store
            .lease(just_before(at(30)), at(90), 10)
            .await
            .is_empty(),
        "due means due"
    );
    let leased = store.lease(at(30), at(90), 10).await;
    let [again] = leased.as_slice() else {
        panic!("the mail is lost, or sent twice");
    };
    assert_eq!(again.job.id, id, "its name");
    assert_eq!(again.job.task, job.task, "its content");
    assert_eq!(again.lease.attempt, 1, "a revived job is given up at once");
    let why = "a worker that was paused since removes the job: the mail is lost";
    assert!(!store.ack(&old).await, "{why}");
    assert!(!store.retry(&old, at(0)).await, "{why}");
    assert!(store.ack(&again.lease).await, "its worker finishes it");
}

/// Of all operators that revive one dead letter at once, one does.
pub async fn a_dead_letter_is_revived_once(store: Store, race: Race) {
    let store = Probe(store);
    for _ in 0..race.rounds {
        let dead = store.buried(at(1)).await.id;
        let revived = race
            .run((0..RACERS).map(|_| {
                let store = store.clone();
                async move {
                    store
                        .revive(&dead, &JobId::from_bytes(fresh()), at(2))
                        .await
                }
            }))
            .await;
        let revived = revived.into_iter().filter(|revived| *revived).count();
        assert_eq!(revived, 1, "the mail is sent more than once, or never");
        let lease = store.only(at(2), at(62)).await;
        assert!(store.ack(&lease).await);
    }
}

/// Only dead letters, only old ones, no more than asked.
pub async fn purging_dead_letters_spares_the_others(store: Store, _: Race) {
    let store = Probe(store);
    let mut dead = Vec::new();
    for second in [10, 20, 30, 40] {
        dead.push(store.buried(at(second)).await.id);
    }
    let waiting = store.pushed(at(0)).await;
    assert_eq!(store.purge_dead(at(40), 0).await, 0, "at most none");
    assert_eq!(store.purge_dead(at(10), 10).await, 0, "purged too early");
    assert_eq!(store.purge_dead(at(40), 2).await, 2, "at most two");
    let left: Vec<_> = store.dead(10).await.iter().map(|dead| dead.id).collect();
    assert_eq!(left, dead.split_off(2), "the oldest go first");
    assert_eq!(
        store.purge_dead(at(40), 10).await,
        1,
        "personal data stays for ever"
    );
    assert_eq!(store.dead(10).await.len(), 1, "a dead letter is lost");
    let lease = store.only(at(0), at(60)).await;
    assert_eq!(lease.job, waiting.id, "a job that waits is lost");
}

/// Due, waiting, leased and dead ones, each once.
pub async fn the_length_counts_every_job(store: Store, _: Race) {
    let store = Probe(store);
    let length = |due, waiting, dead| QueueLength { due, waiting, dead };
    assert_eq!(store.length(at(0)).await, length(0, 0, 0));
    store.buried(at(1)).await;
    let leased = store.pushed(at(0)).await;
    let lease = store.only(at(0), at(60)).await;
    assert_eq!(lease.job, leased.id);
    for second in [10, 20, 30] {
        store.pushed(at(second)).await;
    }
    assert_eq!(store.length(at(5)).await, length(0, 4, 1));
    assert_eq!(store.length(at(20)).await, length(2, 2, 1));
    assert_eq!(store.length(at(60)).await, length(4, 0, 1), "a lost lease");
    assert!(store.ack(&lease).await);
    assert_eq!(store.length(at(60)).await, length(3, 0, 1));
    for dead in store.dead(1).await {
        let id = JobId::from_bytes(fresh());
        assert!(store.revive(&dead.id, &id, at(90)).await);
    }
    assert_eq!(store.length(at(60)).await, length(3, 1, 0), "revived");
}
