//! What whoever runs the tests may ask for: the one place that reads the environment for them.

use std::env;
use std::path::PathBuf;

/// The program that stands for `redis-server`: `SLUICEGATE_REDIS_SERVER`, such as the path of a `valkey-server` or of another version;
/// without it, `redis-server` of the search path.
pub fn server() -> PathBuf {
    variable("SLUICEGATE_REDIS_SERVER").map_or_else(|| PathBuf::from("redis-server"), PathBuf::from)
}

/// How many seeded runs a test of real processes makes: `SLUICEGATE_RUNS`, which a soak sets; without it, or where it is no number,
/// `otherwise`.
pub fn runs(otherwise: u64) -> u64 {
    variable("SLUICEGATE_RUNS")
        .and_then(|runs| runs.parse().ok())
        .unwrap_or(otherwise)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test is told by nothing else how long and with what it is to run"
)]
fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}
