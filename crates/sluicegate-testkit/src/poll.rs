//! Waiting for what other processes do: looking again and again, with a deadline that only what hangs ever meets.

use std::time::{Duration, Instant};

/// What was waited for did not come.
#[derive(Debug, thiserror::Error)]
#[error("not within {patience:?}: {what}")]
pub struct TooLate {
    /// What was waited for.
    pub what: String,
    /// How long.
    pub patience: Duration,
}

/// Looks until there is something, and returns it. Between two looks it pauses for a few milliseconds.
///
/// # Errors
///
/// If there is nothing for `patience`. It is a bound for what hangs, so a second at the least; the last look is after it.
pub fn until<T>(what: &str, patience: Duration, mut look: impl FnMut() -> Option<T>) -> Result<T, TooLate> {
    let begun = now();
    loop {
        let is_last = now().duration_since(begun) >= patience;
        if let Some(found) = look() {
            return Ok(found);
        }
        if is_last {
            return Err(TooLate {
                what: what.to_owned(),
                patience,
            });
        }
        pause();
    }
}

/// As [`until`], for what is only true or false.
///
/// # Errors
///
/// As [`until`].
pub fn until_true(what: &str, patience: Duration, mut look: impl FnMut() -> bool) -> Result<(), TooLate> {
    until(what, patience, || look().then_some(()))
}

#[expect(
    clippy::disallowed_methods,
    reason = "what other processes do is bounded by the machine's clock"
)]
fn now() -> Instant {
    Instant::now()
}

#[expect(
    clippy::disallowed_methods,
    reason = "other processes need the processor between two looks; nothing is judged by how long it takes"
)]
fn pause() {
    std::thread::sleep(LOOK_EVERY);
}

/// Short beside what a child process needs to start (10 ms), long beside a look (0.1 ms).
const LOOK_EVERY: Duration = Duration::from_millis(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_after_a_few_looks_is_found() {
        let mut looks = 0;
        let found = until("the third look", Duration::from_secs(10), || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(found.expect("it came"), 3);
    }

    #[test]
    fn what_never_comes_is_named_once_patience_is_over() {
        let error = until_true("a miracle", Duration::from_millis(10), || false).expect_err("it never comes");
        assert_eq!(error.to_string(), "not within 10ms: a miracle");
    }
}
