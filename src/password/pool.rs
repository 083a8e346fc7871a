//! A few threads that hash, and a queue that says no when it is full.
//!
//! A password hash takes tens of milliseconds of one core and tens of mebibytes. On the threads of
//! an async executor it stalls every other request; on an unbounded thread pool, a few hundred
//! resets at once take gigabytes (R39, R60). Here both are fixed numbers: one thread a core with
//! its own reused memory, and a short queue. Beyond that the answer is [`PoolError::Busy`], at
//! once.
//!
//! The pool knows no async runtime. Its futures can be awaited on any.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::mem;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use futures_channel::oneshot;

use super::{Candidate, HasherError, NewPassword, PasswordHash, PasswordHasher, Scratch};

/// Threads that hash passwords. Cheap to clone; all clones share the same threads.
///
/// The threads end when the last clone is dropped. Nobody waits for them then, so it may be dropped
/// inside an async function.
///
/// The threads run at ordinary priority, because the standard library has no portable way to lower
/// it. On a host that must answer within a millisecond under full hashing load, give the pool one
/// thread less than there are cores.
#[derive(Clone)]
pub struct HashPool {
    handle: Arc<Handle>,
}

impl HashPool {
    /// One thread a core, and room for 16 waiting jobs a thread.
    ///
    /// # Errors
    ///
    /// The system's error if it refuses a thread.
    pub fn new(hasher: impl PasswordHasher) -> io::Result<Self> {
        Self::builder(hasher).build()
    }

    /// Chooses the number of threads and the length of the queue.
    ///
    /// ```
    /// use std::num::NonZeroUsize;
    ///
    /// use password_reset::password::{Argon2id, HashPool};
    ///
    /// let pool = HashPool::builder(Argon2id::default())
    ///     .threads(NonZeroUsize::MIN)
    ///     .queue(8)
    ///     .build()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn builder(hasher: impl PasswordHasher) -> HashPoolBuilder {
        HashPoolBuilder {
            hasher: Box::new(hasher),
            threads: None,
            queue: None,
        }
    }

    /// Hashes a new password.
    ///
    /// The job is queued when the future is first polled. It owns the password: if the future is
    /// dropped, a job that waits is skipped, and one that runs comes to its end for nobody.
    ///
    /// # Errors
    ///
    /// - [`PoolError::Busy`] at once, if the queue is full.
    /// - [`PoolError::Hasher`] if the hasher fails.
    /// - [`PoolError::Lost`] if the hasher panics.
    pub async fn hash(&self, password: NewPassword) -> Result<PasswordHash, PoolError> {
        self.run(|answer| Job::Hash { password, answer }).await
    }

    /// Checks a candidate against a stored hash. Queued like [`hash`](HashPool::hash).
    ///
    /// # Errors
    ///
    /// As for [`hash`](HashPool::hash). A wrong password is not an error, it is `Ok(false)`.
    pub async fn verify(
        &self,
        candidate: Candidate,
        stored: PasswordHash,
    ) -> Result<bool, PoolError> {
        self.run(|answer| Job::Verify {
            candidate,
            stored,
            answer,
        })
        .await
    }

    /// Whether a stored hash should be replaced: [`PasswordHasher::needs_rehash`]. Does not use the
    /// queue.
    pub fn needs_rehash(&self, stored: &PasswordHash) -> bool {
        self.shared().hasher.needs_rehash(stored)
    }

    /// The hasher's limit, for [`Policy::max_bytes_of_hasher`](super::Policy::max_bytes_of_hasher).
    pub fn max_bytes(&self) -> Option<usize> {
        self.shared().hasher.max_bytes()
    }

    /// What the pool has done so far.
    pub fn stats(&self) -> PoolStats {
        self.shared().state().stats
    }

    async fn run<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, HasherError>>) -> Job,
    ) -> Result<T, PoolError> {
        let (answer, receiver) = oneshot::channel();
        self.shared().push(job(answer))?;
        // Canceled: the job was dropped without an answer, because the hasher panicked.
        receiver
            .await
            .map_err(|_| PoolError::Lost)?
            .map_err(PoolError::Hasher)
    }

    fn shared(&self) -> &Shared {
        &self.handle.shared
    }
}

/// Only sizes: the hasher may hold a secret key, and the queue holds passwords.
impl fmt::Debug for HashPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashPool")
            .field("threads", &self.shared().threads)
            .field("queue", &self.shared().queue)
            .finish_non_exhaustive()
    }
}

/// Sizes of a [`HashPool`].
pub struct HashPoolBuilder {
    hasher: Box<dyn PasswordHasher>,
    threads: Option<NonZeroUsize>,
    queue: Option<usize>,
}

impl HashPoolBuilder {
    /// How many hashes may run in parallel. Each thread keeps the memory of one hash.
    #[must_use]
    pub fn threads(self, threads: NonZeroUsize) -> Self {
        Self {
            threads: Some(threads),
            ..self
        }
    }

    /// How many jobs may wait, beside those that run. With 0, a job is taken only if a thread is
    /// free.
    #[must_use]
    pub fn queue(self, queue: usize) -> Self {
        Self {
            queue: Some(queue),
            ..self
        }
    }

    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// The system's error if it refuses a thread. Those already started end.
    pub fn build(self) -> io::Result<HashPool> {
        let threads = self
            .threads
            .or_else(|| thread::available_parallelism().ok())
            .unwrap_or(NonZeroUsize::MIN)
            .get();
        let queue = self
            .queue
            .unwrap_or_else(|| threads.saturating_mul(QUEUE_PER_THREAD));
        let shared = Arc::new(Shared {
            hasher: self.hasher,
            threads,
            queue,
            state: Mutex::new(State::default()),
            work: Condvar::new(),
        });
        // Made before the threads: if one is refused, dropping it stops the others.
        let pool = HashPool {
            handle: Arc::new(Handle {
                shared: Arc::clone(&shared),
            }),
        };
        for number in 0..threads {
            let shared = Arc::clone(&shared);
            thread::Builder::new()
                .name(format!("password-hash-{number}"))
                .spawn(move || shared.work())?;
        }
        Ok(pool)
    }
}

impl fmt::Debug for HashPoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashPoolBuilder")
            .field("threads", &self.threads)
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}

/// Counters of a [`HashPool`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct PoolStats {
    /// Hashes and verifications that a thread began.
    pub started: u64,
    /// Jobs that were skipped because nobody waited for them any more.
    pub skipped: u64,
    /// The most jobs that ever ran at the same time.
    pub peak: usize,
}

/// Why the pool has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// The queue is full. Answer "try again", and spend nothing.
    #[error("too many password hashes are waiting")]
    Busy,
    /// The hasher failed.
    #[error("a password could not be hashed or checked")]
    Hasher(#[source] HasherError),
    /// The hasher panicked, and the job is gone. The pool goes on.
    #[error("the password hasher panicked")]
    Lost,
}

impl PoolError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Busy => true,
            Self::Hasher(error) => error.is_transient(),
            Self::Lost => false,
        }
    }
}

const QUEUE_PER_THREAD: usize = 16;

/// Stops the threads when the last pool is gone. The threads hold [`Shared`] only, or they would
/// keep themselves alive.
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.state().stop = true;
        // Not joined: this may be the thread of an executor, or one of the pool's own.
        self.shared.work.notify_all();
    }
}

struct Shared {
    hasher: Box<dyn PasswordHasher>,
    threads: usize,
    queue: usize,
    state: Mutex<State>,
    work: Condvar,
}

/// Under the lock there is only bookkeeping: hashing, wiping and waking happen outside, so that an
/// executor's thread never waits here for long.
#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    running: usize,
    stop: bool,
    stats: PoolStats,
}

impl Shared {
    /// Takes the job or refuses it; never waits for room.
    fn push(&self, job: Job) -> Result<(), PoolError> {
        let mut abandoned = VecDeque::new();
        let mut state = self.state();
        if !self.has_room(&state) {
            // Clients that hung up must not keep the living out.
            (abandoned, state.waiting) = mem::take(&mut state.waiting)
                .into_iter()
                .partition(Job::is_abandoned);
            state.stats.skipped += abandoned.len() as u64;
        }
        let room = self.has_room(&state);
        let refused = if room {
            state.waiting.push_back(job);
            None
        } else {
            Some(job)
        };
        drop(state);
        // Passwords are wiped here, outside the lock.
        drop((abandoned, refused));
        if !room {
            return Err(PoolError::Busy);
        }
        self.work.notify_one();
        Ok(())
    }

    fn has_room(&self, state: &State) -> bool {
        let free = self.threads.saturating_sub(state.running);
        state.waiting.len() < self.queue.saturating_add(free)
    }

    /// The life of one thread.
    fn work(&self) {
        let mut scratch = Scratch::new();
        while let Some(job) = self.next() {
            let running = Running(self);
            // The scratch is wiped by its own guard and the job's secrets by their drop, so nothing
            // is left half done behind the unwinding.
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                job.run(self.hasher.as_ref(), &mut scratch, running);
            }));
            if let Err(payload) = outcome {
                // A payload may panic again when dropped, and that would end the thread.
                mem::forget(payload);
            }
        }
    }

    /// Waits for a job that somebody waits for. `None`: the pool is gone.
    fn next(&self) -> Option<Job> {
        let mut state = self.state();
        loop {
            if state.stop {
                let waiting = mem::take(&mut state.waiting);
                drop(state);
                drop(waiting);
                return None;
            }
            match state.waiting.pop_front() {
                Some(job) if job.is_abandoned() => {
                    state.stats.skipped += 1;
                    drop(state);
                    drop(job);
                    state = self.state();
                }
                Some(job) => {
                    state.running += 1;
                    state.stats.started += 1;
                    state.stats.peak = state.stats.peak.max(state.running);
                    return Some(job);
                }
                None => {
                    state = self
                        .work
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner)
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a job as running until it is dropped, through a panic as well.
struct Running<'a>(&'a Shared);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.running = state.running.saturating_sub(1);
    }
}

enum Job {
    Hash {
        password: NewPassword,
        answer: oneshot::Sender<Result<PasswordHash, HasherError>>,
    },
    Verify {
        candidate: Candidate,
        stored: PasswordHash,
        answer: oneshot::Sender<Result<bool, HasherError>>,
    },
}

impl Job {
    fn is_abandoned(&self) -> bool {
        match self {
            Self::Hash { answer, .. } => answer.is_canceled(),
            Self::Verify { answer, .. } => answer.is_canceled(),
        }
    }

    /// Secrets are wiped and the place is free before the answer goes out: who has the answer may
    /// count on both.
    fn run(self, hasher: &dyn PasswordHasher, scratch: &mut Scratch, running: Running<'_>) {
        match self {
            Self::Hash { password, answer } => {
                let outcome = hasher.hash(&password, scratch);
                drop((password, running));
                // Nobody there any more: the hash is dropped and wiped.
                let _ = answer.send(outcome);
            }
            Self::Verify {
                candidate,
                stored,
                answer,
            } => {
                let outcome = hasher.verify(&candidate, &stored, scratch);
                drop((candidate, stored, running));
                let _ = answer.send(outcome);
            }
        }
    }
}

#[cfg(test)]
mod tests {
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
    fn block_on<F: Future>(future: F) -> F::Output {
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
        fn hash(
            &self,
            password: &NewPassword,
            _: &mut Scratch,
        ) -> Result<PasswordHash, HasherError> {
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
}
