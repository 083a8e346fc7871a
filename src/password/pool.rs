//! A few threads that hash, and a queue that says no when it is full.
//!
//! A password hash takes tens of milliseconds of one core and tens of mebibytes. On the threads of
//! an async executor it stalls every other request; on an unbounded thread pool, a few hundred
//! resets at once take gigabytes (R39, R60). Here both are fixed numbers: one thread for each
//! core but one, each with its own reused memory, and short queues. Beyond that the answer is
//! [`PoolError::Busy`], at once.
//!
//! Three queues take turns: of those who hold a token, of codes that somebody guesses, and of
//! everybody else, logins too. So whoever has codes compared all the time keeps nobody out who has
//! a link, or a password.
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

use super::login::{self, Login};
use super::{Argon2id, Candidate, HasherError, NewPassword, PasswordHash, PasswordHasher, Scratch};
use crate::token::TokenDigest;

/// Threads that hash passwords. Cheap to clone; all clones share the same threads.
///
/// The threads end when the last clone is dropped. Nobody waits for them then, so it may be dropped
/// inside an async function.
///
/// The threads run at ordinary priority, because the standard library has no portable way to lower
/// it. That is why one core is left to the host. A machine that does nothing else than hash may use
/// them all ([`builder`](HashPool::builder)), and gets more hashes a second for later ticks.
#[derive(Clone)]
pub struct HashPool {
    handle: Arc<Handle>,
    share: Share,
}

/// In whose queue a job waits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Share {
    /// Of whoever shows a good token.
    Owners,
    /// Of whoever presents a code, and may have none.
    Guesses,
    /// Of everybody else.
    Others,
}

impl HashPool {
    /// One thread for each core but one (and at least one), and room in each queue for 16 waiting jobs
    /// a core.
    ///
    /// # Errors
    ///
    /// The system's error if it refuses a thread.
    pub fn new(hasher: impl PasswordHasher) -> io::Result<Self> {
        Self::builder(hasher).build()
    }

    /// Chooses the number of threads and the length of the queues.
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

    /// One login: verify, or work as hard where there is nothing to verify, and hash anew where that
    /// is needed. Queued like [`hash`](HashPool::hash), as one job.
    pub(super) async fn login(
        &self,
        candidate: Candidate,
        stored: Option<PasswordHash>,
        nobody: PasswordHash,
    ) -> Result<Login, PoolError> {
        self.run(|answer| Job::Login {
            candidate,
            stored,
            nobody,
            answer,
        })
        .await
    }

    /// Argon2id over a digest, whatever the pool's own hasher is: what a store keeps of a code.
    /// Queued like [`hash`](HashPool::hash).
    pub(crate) async fn stretch(
        &self,
        digest: TokenDigest,
        salt: [u8; 16],
    ) -> Result<TokenDigest, PoolError> {
        self.run(|answer| Job::Stretch {
            digest,
            salt,
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

    /// The same pool, for jobs in another queue.
    pub(crate) fn of(&self, share: Share) -> Self {
        Self {
            handle: Arc::clone(&self.handle),
            share,
        }
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
        #[cfg(feature = "metrics")]
        let asked = std::time::Instant::now();
        self.shared().push(job(answer), self.share)?;
        let answer = receiver.await;
        #[cfg(feature = "metrics")]
        metrics::histogram!(crate::audit::meter::HASH).record(asked.elapsed());
        // Canceled: the job was dropped without an answer, because the hasher panicked.
        answer
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

    /// How many jobs may wait in each of the queues, beside those that run. With 0, a job is taken
    /// only if a thread is free.
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
        let cores = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        // One core stays free for the host: with all of them hashing, a thread of the executor that
        // wakes up waits for the kernel's next tick (`benches/light.rs`).
        let threads = match self.threads {
            Some(threads) => threads.get(),
            None => cores.get().saturating_sub(1).max(1),
        };
        let queue = self
            .queue
            .unwrap_or_else(|| cores.get().saturating_mul(QUEUE_PER_CORE));
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
            share: Share::Others,
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

const QUEUE_PER_CORE: usize = 16;

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
    waiting: Queues,
    running: usize,
    stop: bool,
    stats: PoolStats,
}

/// Jobs that wait, for one turn after the other.
#[derive(Default)]
struct Queues {
    owners: VecDeque<Job>,
    guesses: VecDeque<Job>,
    others: VecDeque<Job>,
    /// Who had the last turn.
    last: Option<Share>,
}

impl Queues {
    fn of(&mut self, share: Share) -> &mut VecDeque<Job> {
        match share {
            Share::Owners => &mut self.owners,
            Share::Guesses => &mut self.guesses,
            Share::Others => &mut self.others,
        }
    }

    fn len(&self) -> usize {
        self.owners.len() + self.guesses.len() + self.others.len()
    }

    fn pop(&mut self) -> Option<Job> {
        use Share::{Guesses, Others, Owners};
        let turns = match self.last {
            None | Some(Others) => [Owners, Guesses, Others],
            Some(Owners) => [Guesses, Others, Owners],
            Some(Guesses) => [Others, Owners, Guesses],
        };
        turns.into_iter().find_map(|share| {
            let job = self.of(share).pop_front()?;
            self.last = Some(share);
            Some(job)
        })
    }
}

impl Shared {
    /// Takes the job or refuses it; never waits for room.
    fn push(&self, job: Job, share: Share) -> Result<(), PoolError> {
        let mut abandoned = VecDeque::new();
        let mut state = self.state();
        if !self.has_room(&mut state, share) {
            // Clients that hung up must not keep the living out.
            let queue = state.waiting.of(share);
            (abandoned, *queue) = mem::take(queue).into_iter().partition(Job::is_abandoned);
            state.stats.skipped += abandoned.len() as u64;
        }
        let room = self.has_room(&mut state, share);
        let refused = if room {
            state.waiting.of(share).push_back(job);
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

    fn has_room(&self, state: &mut State, share: Share) -> bool {
        let mine = state.waiting.of(share).len();
        let before = state.running + state.waiting.len() - mine;
        let free = self.threads.saturating_sub(before);
        mine < self.queue.saturating_add(free)
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
            match state.waiting.pop() {
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
    Login {
        candidate: Candidate,
        stored: Option<PasswordHash>,
        nobody: PasswordHash,
        answer: oneshot::Sender<Result<Login, HasherError>>,
    },
    Stretch {
        digest: TokenDigest,
        salt: [u8; 16],
        answer: oneshot::Sender<Result<TokenDigest, HasherError>>,
    },
}

impl Job {
    fn is_abandoned(&self) -> bool {
        match self {
            Self::Hash { answer, .. } => answer.is_canceled(),
            Self::Verify { answer, .. } => answer.is_canceled(),
            Self::Login { answer, .. } => answer.is_canceled(),
            Self::Stretch { answer, .. } => answer.is_canceled(),
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
            Self::Login {
                candidate,
                stored,
                nobody,
                answer,
            } => {
                let outcome = login::verify(hasher, candidate, stored.as_ref(), &nobody, scratch);
                drop((stored, nobody, running));
                let _ = answer.send(outcome);
            }
            Self::Stretch {
                digest,
                salt,
                answer,
            } => {
                let mut tag = [0; 32];
                let argon2 = Argon2id::default();
                let outcome = argon2.stretch(digest.as_bytes(), &salt, &mut tag, scratch);
                drop((digest, running));
                let _ = answer.send(outcome.map(|()| TokenDigest::from_bytes(tag)));
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
