//! Looking passwords up: [`BreachFilter`].

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::thread;

use async_trait::async_trait;
use futures_channel::oneshot;
use password_reset::error::BoxError;
use password_reset::password::{Breach, BreachCheck, NewPassword};
use sha1::{Digest, Sha1};

use crate::error::FilterError;
use crate::file::{Fingerprint, Index};

/// How many look-ups may wait.
const QUEUE: usize = 256;

/// A file of leaked passwords, as a [`BreachCheck`] that asks nobody.
///
/// Cheap to clone; clones share one thread, which reads the file, so that a slow disk stalls no
/// executor. A look-up reads one piece, 4 bytes for each 65,536th of the list: 90 KiB of a list of
/// 1.5 thousand million. The thread ends with the last clone.
///
/// The file stays open: put a new one beside it, rename it over the old one, and open it again. What
/// is read is held against its check sum, every time.
///
/// ```no_run
/// use password_reset::flow::Builder;
/// use password_reset::password::Unanswered;
/// use password_reset_breach::{BreachFilter, FilterError};
///
/// fn with_breaches(builder: Builder) -> Result<Builder, FilterError> {
///     let filter = BreachFilter::open("/var/lib/app/pwned.filter")?;
///     Ok(builder.breach_check(filter, Unanswered::Refuse))
/// }
/// ```
#[derive(Clone)]
pub struct BreachFilter {
    requests: SyncSender<Request>,
    entries: u64,
}

impl BreachFilter {
    /// Opens a file, and checks its head, its index and its length. Takes milliseconds, and 1.5 MiB
    /// of memory, however long the list is.
    ///
    /// # Errors
    ///
    /// See [`FilterError`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, FilterError> {
        let mut file = File::open(path)?;
        let index = Index::read(&mut file)?;
        let entries = index.entries;
        let (requests, waiting) = mpsc::sync_channel(QUEUE);
        thread::Builder::new()
            .name("breach-filter".into())
            .spawn(move || serve(&mut file, &index, &waiting))?;
        Ok(Self { requests, entries })
    }

    /// Reads a file from end to end and checks all of it; answers the number of its entries.
    ///
    /// # Errors
    ///
    /// See [`FilterError`].
    pub fn verify(path: impl AsRef<Path>) -> Result<u64, FilterError> {
        let mut file = File::open(path)?;
        let index = Index::read(&mut file)?;
        for bucket in index.buckets() {
            let entries = bucket.read(&mut file)?;
            if !entries.is_sorted_by(|a, b| a < b) {
                return Err(FilterError::Damaged { what: "order" });
            }
        }
        Ok(index.entries)
    }

    /// How many passwords are in it.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// How likely a password that is not in the list is taken for one that is: entries divided by
    /// 2^48. 0.0005 % for 1.5 thousand million.
    pub fn false_positive_rate(&self) -> f64 {
        self.entries as f64 / 2_f64.powi(48)
    }
}

#[async_trait]
impl BreachCheck for BreachFilter {
    async fn look_up(&self, password: &NewPassword) -> Result<Breach, BoxError> {
        let (answer, answered) = oneshot::channel();
        let fingerprint = fingerprint(password.expose());
        let request = Request {
            fingerprint,
            answer,
        };
        self.requests
            .try_send(request)
            .map_err(|error| match error {
                TrySendError::Full(_) => FilterError::Busy,
                TrySendError::Disconnected(_) => FilterError::Ended,
            })?;
        let found = answered.await.map_err(|_| FilterError::Ended)?;
        Ok(found?)
    }
}

impl fmt::Debug for BreachFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BreachFilter")
            .field("entries", &self.entries)
            .finish_non_exhaustive()
    }
}

struct Request {
    fingerprint: Fingerprint,
    answer: oneshot::Sender<Result<Breach, FilterError>>,
}

/// The life of the thread.
fn serve(file: &mut File, index: &Index, waiting: &Receiver<Request>) {
    while let Ok(Request {
        fingerprint,
        answer,
    }) = waiting.recv()
    {
        // Somebody hung up.
        if !answer.is_canceled() {
            let _ = answer.send(look_up(file, index, fingerprint));
        }
    }
}

fn look_up(file: &mut File, index: &Index, wanted: Fingerprint) -> Result<Breach, FilterError> {
    let Some((bucket, stored)) = index.place(wanted) else {
        return Ok(Breach::NotFound);
    };
    if bucket.is_empty() {
        return Ok(Breach::NotFound);
    }
    Ok(match bucket.read(file)?.binary_search(&stored) {
        Ok(_) => Breach::Found,
        Err(_) => Breach::NotFound,
    })
}

pub(crate) fn fingerprint(password: &str) -> Fingerprint {
    beginning(Sha1::digest(password).into())
}

pub(crate) fn beginning(digest: [u8; 20]) -> Fingerprint {
    let [a, b, c, d, e, f, ..] = digest;
    [a, b, c, d, e, f]
}
