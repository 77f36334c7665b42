//! The cleaner: a thread beside the traffic that frees idle cells, and sees whose keys find none.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::Limiter;
use super::alarm::Alarm;

/// Between two steps: often enough that each is short (0.2 ms for 10 million keys), seldom enough that an idle process
/// sleeps.
const STEP_EVERY: Duration = Duration::from_millis(100);

/// Steps for one round of the whole table, which then takes a minute: an idle cell is in nobody's way where requests
/// look, since they find it themselves; the cleaner is for the counts and shares.
const STEPS_PER_ROUND: usize = 600;

/// Frees a limiter's idle cells until it is dropped.
#[derive(Debug)]
pub struct Cleaner {
    /// Dropped to stop the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Cleaner {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// If the system has no thread to give.
    pub fn start(limiter: Arc<Limiter>) -> io::Result<Self> {
        Self::start_telling(limiter, |_, _| {})
    }

    /// Starts the thread. It calls `overflows` with the name of a rule whose keys find no cell, and how many requests have met its
    /// overflow: within a tenth of a second of the first, and then once a minute for as long as it goes on.
    ///
    /// # Errors
    ///
    /// If the system has no thread to give.
    pub fn start_telling(
        limiter: Arc<Limiter>,
        mut overflows: impl FnMut(&str, u64) + Send + 'static,
    ) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let mut alarm = Alarm::default();
        let clean = move || {
            while stopped.recv_timeout(STEP_EVERY) == Err(RecvTimeoutError::Timeout) {
                let fill = limiter.table().fill();
                // Where nothing is owned or open, not even the memory is touched.
                if fill.owned > 0 || limiter.reservations_open() > 0 {
                    limiter.clean(fill.cells.div_ceil(STEPS_PER_ROUND));
                    alarm.look(&limiter.engine(), &mut overflows);
                }
            }
        };
        let thread = thread::Builder::new()
            .name("sluicegate-clean".to_owned())
            .spawn(clean)?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Cleaner {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A cleaner that panicked has nothing more to say; the limiter goes on without.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;
    use crate::{ManualClock, Secret};

    #[test]
    fn idle_cells_are_freed_beside_the_traffic_and_the_thread_ends_when_told() {
        let text = "version: 1\nstate: {memory: 1MiB}\nrules:\n  - {name: each, key: ip, limit: 1/s}\n";
        let (policy, _) = Policy::parse("policy.yaml", text).expect("a good policy");
        let clock = Arc::new(ManualClock::default());
        let secret = Secret::from_bytes([1; 32]);
        let limiter = Arc::new(Limiter::new(&policy, &secret, Arc::clone(&clock)).expect("a small table"));
        let rule = limiter.rule("each").expect("the rule");
        for n in 0..100u8 {
            assert!(limiter.check(&rule, n).expect("the rule").passes());
        }
        assert_eq!(limiter.table().fill().owned, 100);
        clock.advance(Duration::from_secs(2));
        // The same steps that the thread takes, without its waits.
        let cells = limiter.table().fill().cells.div_ceil(STEPS_PER_ROUND);
        let freed: usize = (0..STEPS_PER_ROUND).map(|_| limiter.clean(cells)).sum();
        assert_eq!((freed, limiter.table().fill().owned), (100, 0));
        let cleaner = Cleaner::start(limiter).expect("a thread");
        drop(cleaner);
    }
}
