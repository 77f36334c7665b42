//! What syncing a key costs the node: processor time of the thread that shares limits.

use std::hint::black_box;
use std::time::Duration;

use sluicegate::SystemClock;

use super::setting::SHARING;
use super::{RULE, Setting};
use crate::error::BenchError;
use crate::spread::number;
use crate::stopwatch::{Stopwatch, cpu_of_threads, pause};

/// Keys that take turns: some, and as many as fill the calls.
pub(super) const KEYS: [u32; 2] = [10_000, 30_000];

/// Keys that are asked for in a millisecond, one in so many: twenty times a second for each.
const A_MILLISECOND: u32 = 50;

/// One of a hundred nodes, to each of which a key comes as often: what it may let through without a word is little.
const LIMIT: &str = "limit: 1000/s burst 2000, sharing: hybrid, fanout: 100";

/// What a synced key costs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    /// Nanoseconds of the sharing thread, which moves the connection's bytes as well.
    pub(super) sharing: f64,
    /// Keys in the mean call.
    pub(super) keys_a_call: f64,
    /// Keys synced in a second.
    pub(super) keys_a_second: f64,
}

/// Lets a node decide about so many keys for so long, and divides what its threads took by the keys that were synced.
pub(super) fn measure(setting: &Setting, all: u32, span: Duration) -> Result<Found, BenchError> {
    let nodes = setting.nodes(1, LIMIT, &SystemClock::new().into())?;
    let limiter = &nodes[0].limiter;
    let load = |span: Duration| -> Result<(), BenchError> {
        let watch = Stopwatch::start();
        let mut key: u32 = 0;
        let mut milliseconds: u128 = 0;
        while watch.read().wall < span {
            for _ in 0..all / A_MILLISECOND {
                let checked = limiter.check(RULE, key);
                let passes = checked
                    .map_err(|error| BenchError::set_up("sluicegate", &error))?
                    .passes();
                black_box(passes);
                key = (key + 1) % all;
            }
            milliseconds += 1;
            if watch.read().wall.as_millis() < milliseconds {
                pause(Duration::from_micros(500));
            }
        }
        Ok(())
    };
    let counts = || limiter.sharing().map(|sharing| sharing.counts).unwrap_or_default();
    let time = |name| {
        cpu_of_threads(name).ok_or_else(|| BenchError::NoFigure {
            bench: "store",
            what: "this system does not tell a thread's time".to_owned(),
        })
    };
    // Leases begin.
    load(span / 4)?;

    let (counted, sharing) = (counts(), time(SHARING)?);
    let watch = Stopwatch::start();
    load(span)?;
    let wall = watch.read().wall;
    let keys = number((counts().keys - counted.keys).max(1));
    let nanos = |before: Duration, after: Duration| after.saturating_sub(before).as_secs_f64() * 1e9 / keys;
    Ok(Found {
        sharing: nanos(sharing, time(SHARING)?),
        keys_a_second: keys / wall.as_secs_f64(),
        keys_a_call: keys / number((counts().calls - counted.calls).max(1)),
    })
}
