//! What whoever runs the tests may ask for: the one place that reads the environment for them.

use std::env;
use std::path::PathBuf;

/// The program that stands for `redis-server`: `SLUICEGATE_REDIS_SERVER`, such as the path of a `valkey-server` or of another version;
/// without it, `redis-server` of the search path.
pub fn server() -> PathBuf {
    variable("SLUICEGATE_REDIS_SERVER").map_or_else(|| PathBuf::from("redis-server"), PathBuf::from)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test is told by nothing else how long and with what it is to run"
)]
fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}
