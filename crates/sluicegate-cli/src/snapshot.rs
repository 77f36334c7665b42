//! What outlives the process: read before the doors open, written from time to time and once they have closed.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use sluicegate::policy::checked::State;
use sluicegate::{Change, Durability, Limiter, Written};
use sluicegate_admin::{Readings, Source, catalogue};
use sluicegate_state::{Clock as _, SystemClock, snapshot};
use tokio::sync::oneshot;

/// The file's name in the state directory.
const FILE: &str = "snapshot";

/// Keeps what a limiter remembers in a file. Dropping it writes nothing more and waits for nothing.
#[derive(Debug)]
pub(crate) struct Keeper {
    /// `None` where nothing is kept, and once it was told to finish.
    thread: Option<WritingThread>,
    tally: Arc<Tally>,
}

#[derive(Debug)]
struct WritingThread {
    /// One message says that it be the last; none, that there be no more.
    finish: SyncSender<()>,
    finished: oneshot::Receiver<()>,
}

impl Keeper {
    /// Restores what the state directory has, and begins to write it anew every so often. Does nothing where the policy keeps nothing.
    ///
    /// A file that cannot be used is set aside, and the limiter starts empty. To be called before the first request.
    ///
    /// # Errors
    ///
    /// If the system has no thread to give.
    pub(crate) fn start(limiter: &Arc<Limiter>, state: &State) -> anyhow::Result<Self> {
        let tally = Arc::new(Tally::new());
        let (Some(directory), Some(every)) = (&state.directory, state.snapshot_every) else {
            return Ok(Self { thread: None, tally });
        };
        let path = directory.join(FILE);
        // What a killed writer has left takes room only, and the next one removes it too.
        let _ = snapshot::remove_leftovers(&path);
        restore(limiter, &path, &tally);
        let writer = FileWriter {
            written: limiter.change(),
            limiter: Arc::clone(limiter),
            path,
            tally: Arc::clone(&tally),
            is_failing: false,
        };
        let thread = Some(writer.start(every)?);
        Ok(Self { thread, tally })
    }

    /// Its numbers.
    pub(crate) fn source(&self) -> Arc<dyn Source> {
        Arc::clone(&self.tally) as Arc<dyn Source>
    }

    /// Writes once more if anything has changed, and then no more. To be called when there are no more requests.
    pub(crate) async fn finish(&mut self) {
        let Some(WritingThread { finish, finished }) = self.thread.take() else {
            return;
        };
        // A thread that is gone by a defect has nothing left to finish.
        if finish.try_send(()).is_ok() {
            let _ = finished.await;
        }
    }
}

/// Reads the file back, if there is one. Whatever is wrong with it, the start goes on.
fn restore(limiter: &Limiter, path: &Path, tally: &Tally) {
    match limiter.restore(path) {
        Ok(None) => {}
        Ok(Some(restored)) => {
            let records = restored.records;
            tally.note(|numbers| (numbers.restored, numbers.lost) = (records.cells, records.no_room));
            tracing::info!(
                keys = records.cells,
                idle = records.idle,
                passed_over = records.passed_over,
                no_room = records.no_room,
                away_s = restored.away.as_secs(),
                "went on from the snapshot"
            );
        }
        Err(error) => {
            tally.note(|numbers| numbers.load_failures += 1);
            let error = anyhow::Error::from(error);
            match snapshot::set_aside(path) {
                Ok(aside) => tracing::warn!(
                    aside = %aside.display(),
                    "every key starts anew, and the snapshot was set aside: {error:#}"
                ),
                Err(refusal) => tracing::warn!(
                    path = %path.display(),
                    "every key starts anew, and the snapshot cannot be set aside ({refusal}): {error:#}"
                ),
            }
        }
    }
}

/// Writes the file, in a thread of its own.
#[derive(Debug)]
struct FileWriter {
    limiter: Arc<Limiter>,
    path: PathBuf,
    tally: Arc<Tally>,
    /// How much had happened when it was last written, or read.
    written: Change,
    /// Whether the last attempt failed: what goes on failing is told once.
    is_failing: bool,
}

impl FileWriter {
    fn start(mut self, every: Duration) -> anyhow::Result<WritingThread> {
        // Room for the one message there is, so that who sends it never waits.
        let (finish, orders) = mpsc::sync_channel(1);
        let (tell, finished) = oneshot::channel();
        let work = move || {
            loop {
                match orders.recv_timeout(every) {
                    Err(RecvTimeoutError::Timeout) => self.write(),
                    Ok(()) => {
                        self.write();
                        // Nobody waits for it any more where the process ends at once.
                        let _ = tell.send(());
                        return;
                    }
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        };
        thread::Builder::new()
            .name("snapshot".to_owned())
            .spawn(work)
            .context("the snapshot has no thread")?;
        Ok(WritingThread { finish, finished })
    }

    /// Writes the file if anything has changed since it was written.
    fn write(&mut self) {
        // Before the walk: what happens meanwhile is a change for the next time.
        let change = self.limiter.change();
        if change == self.written {
            return;
        }
        let begun_at_unix_s = self.tally.clock.unix_now() / NANOS_PER_SECOND;
        let begun_at = self.tally.clock.now();
        // Whether it reaches the disk is left to the system: it outlives this process all the same, and a disk that is slow would
        // hold up the drain.
        let outcome = self.limiter.snapshot(&self.path, Durability::Cached);
        let took = self.tally.clock.now().saturating_since(begun_at);
        match outcome {
            Ok(written) => {
                self.written = change;
                self.tally.note(|numbers| {
                    numbers.writes += 1;
                    numbers.last = Last {
                        begun_at_unix_s,
                        took,
                        written,
                    };
                });
                if self.is_failing {
                    tracing::info!("the snapshot is written again");
                }
                self.is_failing = false;
            }
            Err(error) => {
                self.tally.note(|numbers| numbers.write_failures += 1);
                if !self.is_failing {
                    let error = anyhow::Error::from(error);
                    tracing::error!("a restart would forget what was counted since the last snapshot: {error:#}");
                }
                self.is_failing = true;
            }
        }
    }
}

/// What is counted of snapshots.
#[derive(Debug)]
struct Tally {
    clock: SystemClock,
    numbers: Mutex<Numbers>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Numbers {
    /// The last that was written; zeros until one is.
    last: Last,
    writes: u64,
    write_failures: u64,
    load_failures: u64,
    /// Keys that went on where they were, and those that found no room.
    restored: u64,
    lost: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Last {
    begun_at_unix_s: u64,
    took: Duration,
    written: Written,
}

const NANOS_PER_SECOND: u64 = 1_000_000_000;

impl Tally {
    fn new() -> Self {
        Self {
            clock: SystemClock::new(),
            numbers: Mutex::default(),
        }
    }

    fn note(&self, note: impl FnOnce(&mut Numbers)) {
        // Numbers are whole whoever panicked beside them.
        note(&mut self.numbers.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Source for Tally {
    fn read(&self, readings: &mut Readings) {
        let numbers = *self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        let last = numbers.last;
        readings.whole(&catalogue::SNAPSHOT_TIMESTAMP_SECONDS, &[], last.begun_at_unix_s);
        readings.fraction(&catalogue::SNAPSHOT_WRITE_SECONDS, &[], last.took.as_secs_f64());
        readings.whole(&catalogue::SNAPSHOT_BYTES, &[], last.written.bytes);
        readings.whole(&catalogue::SNAPSHOT_KEYS, &[], last.written.records);
        readings.whole(&catalogue::SNAPSHOT_WRITES, &[], numbers.writes);
        readings.whole(&catalogue::SNAPSHOT_WRITE_FAILURES, &[], numbers.write_failures);
        readings.whole(&catalogue::SNAPSHOT_LOAD_FAILURES, &[], numbers.load_failures);
        readings.whole(&catalogue::SNAPSHOT_KEYS_RESTORED, &[], numbers.restored);
        readings.whole(&catalogue::SNAPSHOT_KEYS_LOST, &[], numbers.lost);
    }
}
