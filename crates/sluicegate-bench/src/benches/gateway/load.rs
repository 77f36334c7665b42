//! The load: wrk, with a script that tells its counts in JSON.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::servers::write;
use crate::child::{self, Server};
use crate::error::BenchError;

/// Connections, enough that the server always has something to do.
const CONNECTIONS: u32 = 32;

/// The processor of load and upstream; the server has 0.
pub(super) const PROCESSOR: usize = 1;

/// What every answer has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// Let pass, and answered by the upstream.
    Passed,
    /// Refused: 429.
    Refused,
}

pub(super) struct Load {
    script: PathBuf,
    /// Of one turn.
    length: Duration,
}

/// What wrk counted.
#[derive(Debug, Deserialize)]
struct Counted {
    /// Answers, of whatever status.
    requests: u64,
    /// Of these, with a status of 400 and above.
    refused: u64,
    /// Connections refused, broken or timed out.
    broken: u64,
}

impl Load {
    pub(super) fn new(folder: &Path, seconds: u64) -> Result<Self, BenchError> {
        Ok(Self {
            script: write(folder.join("count.lua"), SCRIPT)?,
            length: Duration::from_secs(seconds),
        })
    }

    /// Asks the server as fast as it can answer, and tells how many answers there were.
    pub(super) fn run(&self, server: &Server, expected: Expected) -> Result<u64, BenchError> {
        let mut wrk = child::pinned(PROCESSOR, "wrk");
        wrk.args(["--threads", "1", "--connections", &CONNECTIONS.to_string()])
            .args(["--duration", &format!("{}s", self.length.as_secs())])
            .arg("--script")
            .arg(&self.script)
            .arg(format!("http://{}/items/7", server.address()));
        let said = child::output(wrk)?;
        // After what wrk itself has to say.
        let counted: Counted = serde_json::from_str(said.lines().last().unwrap_or_default())?;
        let Counted {
            requests,
            refused,
            broken,
        } = counted;
        let strayed = match expected {
            Expected::Passed => refused,
            // Those that came before the limit was reached.
            Expected::Refused => (requests - refused).saturating_sub(FIRST_ONES),
        };
        if requests == 0 || strayed > 0 || broken > 0 {
            return Err(BenchError::Strayed {
                who: server.name().to_owned(),
                what: format!(
                    "of {requests} requests {refused} were refused and {broken} broken, in bench {expected:?}"
                ),
            });
        }
        Ok(requests)
    }
}

/// Requests that pass before a limit of one holds: one for each connection that asks at the same moment, at most.
const FIRST_ONES: u64 = CONNECTIONS as u64;

const SCRIPT: &str = r#"
function done(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format('{"requests":%d,"refused":%d,"broken":%d}\n',
        summary.requests, errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
"#;
