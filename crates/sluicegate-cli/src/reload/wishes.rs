//! Wishes that the policy file be read again, and when the time for it has come.
//!
//! ```text
//!  a signal, the admin listener ──► wish ──┐
//!                                          ├──► at most one reading under way, and one more wished for
//!  an event in the file's folder ► touch ──┘    after the events have ceased, or have gone on for long
//! ```

use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sluicegate_admin::{Reload, Reloaded};
use tokio::sync::oneshot;

/// Wishes of all who may have any; clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wishes(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    wanted: Mutex<Wanted>,
    changed: Condvar,
}

/// Who waits for what a reading comes to.
pub(crate) type Waiters = Vec<oneshot::Sender<Arc<Reloaded>>>;

impl Wishes {
    /// Wishes for a reading, at once.
    pub(crate) fn wish(&self) {
        self.wanted().wish();
        self.0.changed.notify_one();
    }

    /// Something happened to the file, or beside it.
    pub(crate) fn touch(&self) {
        self.wanted().touch();
        self.0.changed.notify_one();
    }

    /// Waits until the file is to be read; gives back who waits for the outcome. Whatever is wished for from now on needs another
    /// reading.
    pub(crate) fn next(&self) -> Waiters {
        let mut wanted = self.wanted();
        loop {
            match wanted.poll() {
                Step::Read => return mem::take(&mut wanted.waiters),
                Step::Rest => {
                    wanted = self.0.changed.wait(wanted).unwrap_or_else(PoisonError::into_inner);
                }
                Step::Settle => {
                    let is_calm = |wanted: &mut Wanted| !wanted.is_wished;
                    let waited = self.0.changed.wait_timeout_while(wanted, QUIET, is_calm);
                    wanted = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }

    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        // Nothing that is done under the lock can panic half-way.
        self.0.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reload for Wishes {
    fn reload(&self) -> Option<oneshot::Receiver<Arc<Reloaded>>> {
        let (tell, told) = oneshot::channel();
        let mut wanted = self.wanted();
        if wanted.waiters.len() == WAITERS_MAX {
            return None;
        }
        wanted.waiters.push(tell);
        wanted.wish();
        drop(wanted);
        self.0.changed.notify_one();
        Some(told)
    }
}

/// What is wished for and not begun. However often anybody wishes, this is all there is to remember.
#[derive(Debug, Default)]
struct Wanted {
    is_wished: bool,
    is_touched: bool,
    /// How many spans the events have gone on for, if they have not ceased.
    settling: Option<u32>,
    waiters: Waiters,
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Wait until somebody wishes for something.
    Rest,
    /// Wait for [`QUIET`], or until somebody wishes for a reading, and ask again.
    Settle,
    /// Read the file.
    Read,
}

impl Wanted {
    fn wish(&mut self) {
        self.is_wished = true;
    }

    fn touch(&mut self) {
        self.is_touched = true;
    }

    /// To be called again after the step is done.
    fn poll(&mut self) -> Step {
        let touched = mem::take(&mut self.is_touched);
        if mem::take(&mut self.is_wished) {
            self.settling = None;
            return Step::Read;
        }
        match self.settling {
            None if !touched => Step::Rest,
            None => {
                self.settling = Some(0);
                Step::Settle
            }
            Some(spans) if touched && spans + 1 < SETTLING_MAX => {
                self.settling = Some(spans + 1);
                Step::Settle
            }
            Some(_) => {
                self.settling = None;
                Step::Read
            }
        }
    }
}

/// A span without an event after which the file is taken to be written. Editors, `kubectl` and unpackers are done with a file within
/// milliseconds, and nobody misses a tenth of a second.
const QUIET: Duration = Duration::from_millis(100);

/// After so many spans the file is read all the same: a second, in a folder where something is written all the time.
const SETTLING_MAX: u32 = 10;

/// As many as the admin listener has connections.
const WAITERS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays `events` in front of each step: `t` a touch, `w` a wish, `.` nothing; gives back the steps.
    #[track_caller]
    fn check(events: &str, expected: &str) {
        let mut wanted = Wanted::default();
        let steps: String = events
            .chars()
            .map(|event| {
                match event {
                    't' => wanted.touch(),
                    'w' => wanted.wish(),
                    _ => {}
                }
                match wanted.poll() {
                    Step::Rest => '-',
                    Step::Settle => 's',
                    Step::Read => 'R',
                }
            })
            .collect();
        assert_eq!(steps, expected);
    }

    #[test]
    fn a_wish_is_granted_at_once_and_once() {
        check("w..w.", "R--R-");
    }

    #[test]
    fn a_touched_file_is_read_after_a_quiet_span() {
        check("t..", "sR-");
        check("ttt.", "sssR");
    }

    #[test]
    fn a_file_that_is_touched_all_the_time_is_read_after_a_second_all_the_same() {
        check("tttttttttttttttttttt", "ssssssssssRsssssssss");
    }

    #[test]
    fn a_wish_does_not_wait_for_the_file_to_settle() {
        check("ttw..", "ssR--");
    }

    #[test]
    fn a_thousand_wishes_are_one_reading_and_whoever_waits_is_told() {
        let wishes = Wishes::default();
        for _ in 0..1000 {
            wishes.wish();
            wishes.touch();
        }
        let mut told: Vec<_> = (0..=WAITERS_MAX).map(|_| wishes.reload()).collect();
        assert!(told.pop().is_some_and(|last| last.is_none()), "one too many");
        for waiter in wishes.next() {
            waiter.send(Arc::new(Reloaded::Unchanged)).expect("it waits");
        }
        for told in told {
            assert!(told.expect("there was room").blocking_recv().is_ok());
        }
        assert_eq!(wishes.wanted().poll(), Step::Rest);
    }
}
