//! Tests of `pool`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::*;
use crate::password::{Argon2id, Context as Words, Policy};

/// No runtime, not even a test one.
pub(in crate::password) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn password(raw: &str) -> NewPassword {
    Policy::default().parse(raw, &Words::default()).unwrap()
}

fn owls() -> NewPassword {
    password("seven quiet owls at noon")
}

fn owls_candidate() -> Candidate {
    Candidate::parse("seven quiet owls at noon").unwrap()
}

fn pool(hasher: impl PasswordHasher, threads: usize, queue: usize) -> HashPool {
    let threads = NonZeroUsize::new(threads).unwrap();
    HashPool::builder(hasher)
        .threads(threads)
        .queue(queue)
        .build()
        .unwrap()
}

/// Reports each start, and then waits to be let go.
struct Gate {
    entered: mpsc::Sender<()>,
    go: Mutex<mpsc::Receiver<()>>,
}

impl Gate {
    fn new() -> (Self, mpsc::Receiver<()>, mpsc::Sender<()>) {
        let (entered, entered_rx) = mpsc::channel();
        let (go_tx, go) = mpsc::channel();
        (
            Self {
                entered,
                go: Mutex::new(go),
            },
            entered_rx,
            go_tx,
        )
    }
}

impl PasswordHasher for Gate {
    fn hash(&self, _: &NewPassword, _: &mut Scratch) -> Result<PasswordHash, HasherError> {
        self.entered.send(()).unwrap();
        self.go.lock().unwrap().recv().unwrap();
        Ok(PasswordHash::parse("$gate$").unwrap())
    }

    fn verify(
        &self,
        _: &Candidate,
        _: &PasswordHash,
        _: &mut Scratch,
    ) -> Result<bool, HasherError> {
        Ok(false)
    }

    fn needs_rehash(&self, _: &PasswordHash) -> bool {
        false
    }

    fn max_bytes(&self) -> Option<usize> {
        Some(72)
    }
}

/// Counts how many run at once, and panics when a password asks for it.
#[derive(Default)]
struct Meter {
    running: AtomicUsize,
    peak: AtomicUsize,
}

impl PasswordHasher for Meter {
    fn hash(&self, password: &NewPassword, _: &mut Scratch) -> Result<PasswordHash, HasherError> {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.peak.fetch_max(running, Ordering::SeqCst);
        // Long enough for an unbounded pool to start the next one.
        thread::sleep(Duration::from_millis(2));
        self.running.fetch_sub(1, Ordering::SeqCst);
        assert!(!password.expose().contains("panic"), "as asked");
        Ok(PasswordHash::parse("$meter$").unwrap())
    }

    fn verify(
        &self,
        _: &Candidate,
        _: &PasswordHash,
        _: &mut Scratch,
    ) -> Result<bool, HasherError> {
        Err(HasherError::Unsupported)
    }

    fn needs_rehash(&self, _: &PasswordHash) -> bool {
        false
    }

    fn max_bytes(&self) -> Option<usize> {
        None
    }
}

#[test]
fn a_hash_from_the_pool_verifies_in_the_pool() {
    let pool = HashPool::new(Argon2id::default()).unwrap();
    let stored = block_on(pool.hash(owls())).unwrap();
    assert!(!pool.needs_rehash(&stored));
    assert!(block_on(pool.verify(owls_candidate(), stored.clone())).unwrap());
    let wrong = Candidate::parse("Seven quiet owls at noon").unwrap();
    assert!(!block_on(pool.verify(wrong, stored)).unwrap());
    assert_eq!(pool.stats().started, 3);
}

#[test]
fn a_full_queue_answers_busy_at_once() {
    // R39: two run or wait, the third is told so.
    let (gate, entered, go) = Gate::new();
    let pool = pool(gate, 1, 1);
    let mut first = pin!(pool.hash(owls()));
    let mut second = pin!(pool.hash(owls()));
    assert!(poll_once(first.as_mut()).is_pending());
    entered.recv().unwrap();
    assert!(poll_once(second.as_mut()).is_pending());
    let third = poll_once(pin!(pool.hash(owls())));
    assert!(matches!(third, Poll::Ready(Err(PoolError::Busy))));

    go.send(()).unwrap();
    go.send(()).unwrap();
    assert!(block_on(first).is_ok() && block_on(second).is_ok());
    go.send(()).unwrap();
    assert!(block_on(pool.hash(owls())).is_ok(), "there is room again");
}

/// R39: what strangers make the pool do keeps nobody out who holds a link.
#[test]
fn a_flood_in_one_queue_leaves_room_in_the_others() {
    let (gate, entered, go) = Gate::new();
    let pool = pool(gate, 1, 1);
    let shares = [Share::Guesses, Share::Others, Share::Owners];
    let pools = shares.map(|share| pool.of(share));
    let mut running = pin!(pool.hash(owls()));
    assert!(poll_once(running.as_mut()).is_pending());
    entered.recv().unwrap();

    let mut waiting = Vec::new();
    for pool in &pools {
        let mut one = Box::pin(pool.hash(owls()));
        assert!(poll_once(one.as_mut()).is_pending());
        let more = poll_once(pin!(pool.hash(owls())));
        assert!(matches!(more, Poll::Ready(Err(PoolError::Busy))));
        waiting.push(one);
    }
    for _ in 0..4 {
        go.send(()).unwrap();
    }
    assert!(block_on(running).is_ok());
    assert!(waiting.into_iter().all(|one| block_on(one).is_ok()));
}

#[test]
fn the_queues_take_turns() {
    let (gate, entered, go) = Gate::new();
    let pool = pool(gate, 1, 3);
    let mut running = pin!(pool.hash(owls()));
    assert!(poll_once(running.as_mut()).is_pending());
    entered.recv().unwrap();

    let come = [
        Share::Guesses,
        Share::Guesses,
        Share::Guesses,
        Share::Others,
        Share::Others,
        Share::Owners,
    ];
    let pools = come.map(|share| pool.of(share));
    let mut waiting: Vec<_> = pools
        .iter()
        .zip(come)
        .map(|(pool, share)| (Box::pin(pool.hash(owls())), share))
        .collect();
    for (job, _) in &mut waiting {
        assert!(poll_once(job.as_mut()).is_pending());
    }
    let mut served = Vec::new();
    for turn in 0..come.len() {
        go.send(()).unwrap();
        entered.recv().unwrap();
        // What ran before has its answer; what runs now has none.
        let mut done = None;
        for (place, (job, share)) in waiting.iter_mut().enumerate() {
            if poll_once(job.as_mut()).is_ready() {
                done = Some((place, *share));
                break;
            }
        }
        assert_eq!(done.is_some(), turn > 0);
        if let Some((place, share)) = done {
            drop(waiting.remove(place));
            served.push(share);
        }
    }
    go.send(()).unwrap();
    served.extend(waiting.into_iter().map(|(job, share)| {
        assert!(block_on(job).is_ok());
        share
    }));
    use Share::{Guesses, Others, Owners};
    assert_eq!(served, [Owners, Guesses, Others, Guesses, Others, Guesses]);
}

#[test]
fn without_a_queue_only_free_threads_take_jobs() {
    let (gate, entered, go) = Gate::new();
    let pool = pool(gate, 1, 0);
    let mut first = pin!(pool.hash(owls()));
    assert!(
        poll_once(first.as_mut()).is_pending(),
        "taken before the thread has even started"
    );
    let refused = poll_once(pin!(pool.hash(owls())));
    assert!(matches!(refused, Poll::Ready(Err(PoolError::Busy))));
    entered.recv().unwrap();
    go.send(()).unwrap();
    assert!(block_on(first).is_ok());
    go.send(()).unwrap();
    assert!(block_on(pool.hash(owls())).is_ok());
}

#[test]
fn never_more_in_parallel_than_threads() {
    // R39.
    let meter = Arc::new(Meter::default());
    let pool = pool(Arc::clone(&meter), 2, 64);
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..4 {
                    block_on(pool.hash(owls())).unwrap();
                }
            });
        }
    });
    let stats = pool.stats();
    assert_eq!((stats.started, stats.peak), (64, 2));
    assert_eq!(meter.peak.load(Ordering::SeqCst), 2);
}

#[test]
fn the_pool_survives_a_panicking_hasher() {
    let pool = pool(Meter::default(), 1, 4);
    for _ in 0..3 {
        let lost = block_on(pool.hash(password("panic, said the owls"))).unwrap_err();
        assert!(matches!(lost, PoolError::Lost));
        assert!(
            block_on(pool.hash(owls())).is_ok(),
            "the same single thread goes on"
        );
    }
    assert_eq!(pool.shared().state().running, 0);
}

#[test]
fn a_job_that_nobody_waits_for_is_skipped() {
    let (gate, entered, go) = Gate::new();
    let pool = pool(gate, 1, 4);
    let mut first = pin!(pool.hash(owls()));
    assert!(poll_once(first.as_mut()).is_pending());
    entered.recv().unwrap();
    {
        let mut dropped = pin!(pool.hash(owls()));
        assert!(poll_once(dropped.as_mut()).is_pending());
    }
    let mut last = pin!(pool.hash(owls()));
    assert!(poll_once(last.as_mut()).is_pending());
    go.send(()).unwrap();
    go.send(()).unwrap();
    assert!(block_on(first).is_ok() && block_on(last).is_ok());
    let stats = pool.stats();
    assert_eq!((stats.started, stats.skipped), (2, 1));
}

#[test]
fn clients_that_hung_up_free_their_places() {
    let (gate, entered, go) = Gate::new();
    let pool = pool(gate, 1, 2);
    let mut first = pin!(pool.hash(owls()));
    assert!(poll_once(first.as_mut()).is_pending());
    entered.recv().unwrap();
    for _ in 0..10 {
        let mut dropped = pin!(pool.hash(owls()));
        assert!(
            poll_once(dropped.as_mut()).is_pending(),
            "never Busy because of the dead"
        );
    }
    go.send(()).unwrap();
    assert!(block_on(first).is_ok());
}

#[test]
fn a_future_that_is_never_polled_queues_nothing() {
    let pool = pool(Meter::default(), 1, 0);
    drop(pool.hash(owls()));
    assert!(block_on(pool.hash(owls())).is_ok());
    assert_eq!(pool.stats().started, 1);
}

#[test]
fn the_hashers_error_comes_through() {
    let pool = pool(Meter::default(), 1, 1);
    let stored = PasswordHash::parse("$other$").unwrap();
    let error = block_on(pool.verify(owls_candidate(), stored)).unwrap_err();
    assert!(matches!(error, PoolError::Hasher(HasherError::Unsupported)));
    assert!(!error.is_transient() && PoolError::Busy.is_transient());
}

#[test]
fn the_threads_end_with_the_last_clone() {
    let hasher = Arc::new(Meter::default());
    let pool = pool(Arc::clone(&hasher), 3, 4);
    let clone = pool.clone();
    drop(pool);
    assert!(
        block_on(clone.hash(owls())).is_ok(),
        "a clone keeps the threads"
    );
    drop(clone);
    // Each thread holds the hasher through the shared state.
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while Arc::strong_count(&hasher) > 1 {
        assert!(
            std::time::Instant::now() < deadline,
            "the threads are still there"
        );
        thread::yield_now();
    }
}

#[test]
fn futures_can_move_between_threads() {
    fn is_send<T: Send>(_: &T) {}
    let pool = pool(Meter::default(), 1, 1);
    is_send(&pool.hash(owls()));
    is_send(&pool.verify(owls_candidate(), PasswordHash::parse("$x$").unwrap()));
}

#[test]
fn debug_prints_sizes_and_no_hasher() {
    let (gate, _entered, _go) = Gate::new();
    let pool = pool(gate, 2, 3);
    assert_eq!(format!("{pool:?}"), "HashPool { threads: 2, queue: 3, .. }");
    assert_eq!(pool.max_bytes(), Some(72));
}
