//! Running futures without a runtime, whole or cut short.

use std::pin::{Pin, pin};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use crate::testing::lock;

/// How long [`cut_after`] waits for a future that may have hung.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs a future to its end on this thread.
///
/// A future that never wakes blocks for ever; use [`poll_once`] or [`cut_after`] for those.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(bell.clone());
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        while !bell.wait(PATIENCE) {}
    }
}

/// Polls a future one time; `None` while it is not ready. The future can be polled again.
///
/// ```
/// use password_reset::testing::poll_once;
///
/// let mut hung = Box::pin(std::future::pending::<()>());
/// assert_eq!(poll_once(&mut hung), None);
/// ```
pub fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    let mut context = Context::from_waker(Waker::noop());
    match Pin::new(future).poll(&mut context) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// Polls a future at most `polls` times, each time after it asked to be woken, and then drops it
/// where it stands, as a server does when the client goes away.
///
/// `None` when it was dropped. With [`Faults::yield_each_call`](crate::testing::Faults) every call
/// of a backend is two polls, so counting `polls` up cuts a flow before and after the effect of
/// each call:
///
/// ```
/// use password_reset::testing::cut_after;
///
/// let mut polls = 0;
/// while cut_after(async { /* one step of the journey */ }, polls).is_none() {
///     // … here a test looks at what the cut has left behind …
///     polls += 1;
/// }
/// assert_eq!(polls, 1);
/// ```
pub fn cut_after<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(bell.clone());
    let mut context = Context::from_waker(&waker);
    for poll in 0..polls {
        // Waits for whoever works on other threads (the hashing pool), so that the number of polls
        // does not depend on their speed. What hangs is cut as well.
        if poll > 0 && !bell.wait(PATIENCE) {
            return None;
        }
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
    }
    None
}

/// Rings when the future can go on.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    /// Waits for one ring and takes it; `false` when none came in time.
    fn wait(&self, patience: Duration) -> bool {
        let (mut rung, _) = self
            .changed
            .wait_timeout_while(lock(&self.rung), patience, |rung| !*rung)
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *rung)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        *lock(&self.rung) = true;
        self.changed.notify_one();
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

    use std::future::{pending, poll_fn};
    use std::thread;

    use super::*;

    /// Ready at the `polls`-th poll.
    fn slow(polls: usize) -> impl Future<Output = usize> + Unpin {
        let mut polled = 0;
        poll_fn(move |context| {
            polled += 1;
            if polled == polls {
                return Poll::Ready(polled);
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
    }

    #[test]
    fn block_on_runs_to_the_end_also_when_another_thread_wakes() {
        assert_eq!(block_on(slow(5)), 5);
        let mut started = false;
        let woken_elsewhere = poll_fn(move |context| {
            if started {
                return Poll::Ready(());
            }
            started = true;
            let waker = context.waker().clone();
            thread::spawn(move || waker.wake());
            Poll::Pending
        });
        block_on(woken_elsewhere);
    }

    #[test]
    fn a_cut_future_is_dropped_after_exactly_so_many_polls() {
        assert_eq!(cut_after(slow(3), 0), None);
        assert_eq!(cut_after(slow(3), 2), None);
        assert_eq!(cut_after(slow(3), 3), Some(3));
        assert_eq!(cut_after(pending::<()>(), 1), None);
    }

    #[test]
    fn a_future_polled_once_can_go_on() {
        let mut future = slow(2);
        assert_eq!(poll_once(&mut future), None);
        assert_eq!(block_on(future), 2);
    }
}
