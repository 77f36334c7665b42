//! What ten million keys cost to write down and to read back, and what decisions beside the writing notice of it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sluicegate::{Durability, Limiter, ManualClock, Secret, secret};

use super::tail::Slowest;
use super::{Scale, keys_in_words, memory_for};
use crate::clients::Client;
use crate::contestants::{Allowance, Checks, Contestant as _, Kept};
use crate::error::BenchError;
use crate::progress::tell;
use crate::report::{Figure, Goal, Report, Side, Unit};
use crate::spread::{Spread, number};
use crate::stopwatch::{Stopwatch, Taken, pin};

const BENCH: &str = "snapshot";

/// Measures writing, reading, and decisions beside the writing.
///
/// # Errors
///
/// If somebody cannot be set up, or the file system has no room.
pub(crate) fn snapshot(scale: Scale) -> Result<Report, BenchError> {
    let keys = scale.pick(10_000_000, 20_000);
    let rounds = scale.rounds(5);
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("snapshot");
    let secret = secret::generate().map_err(|error| BenchError::set_up("sluicegate", &error))?;
    let mut found = Found::default();
    for round in 0..rounds {
        tell(BENCH, &format!("round {} of {rounds}", round + 1));
        found.round(keys, &secret, &path)?;
    }
    Ok(found.report(keys))
}

/// What all rounds found.
#[derive(Default)]
struct Found {
    /// Milliseconds on the wall, and of processor time.
    writing: [Vec<f64>; 2],
    reading: [Vec<f64>; 2],
    alone: Vec<Slowest>,
    beside: Vec<Slowest>,
    bytes: u64,
}

impl Found {
    fn round(&mut self, keys: u32, secret: &Secret, path: &Path) -> Result<(), BenchError> {
        let make = || {
            // A clock that stands: no key goes idle, and none is read a second time.
            let clock = Arc::new(ManualClock::default());
            Checks::under(secret, &Kept::by_bucket(Allowance::MANY), memory_for(keys), clock)
        };
        let mut full = make()?;
        for index in 0..keys {
            full.decide(&Client::at(index));
        }
        self.alone.push(Slowest::of(&mut full, 0, keys)?);
        self.beside.push(beside(&full, keys, path)?);

        let watch = Stopwatch::start();
        let written = write(full.limiter(), path)?;
        keep(&mut self.writing, watch.read());
        self.bytes = written.bytes;
        drop(full);

        let empty = make()?;
        let watch = Stopwatch::start();
        let restored = empty.limiter().restore(path);
        keep(&mut self.reading, watch.read());
        let restored = restored.map_err(|error| BenchError::set_up("sluicegate", &error))?;
        let cells = restored.map_or(0, |restored| restored.records.cells);
        if cells != u64::from(keys) || written.records != cells {
            return Err(BenchError::Strayed {
                who: "sluicegate".to_owned(),
                what: format!("of {keys} keys {} were written and {cells} read", written.records),
            });
        }
        Ok(())
    }

    fn report(&self, keys: u32) -> Report {
        let figure = |scenario: &str, subject: &str, spread, unit| Figure {
            scenario: scenario.to_owned(),
            subject: subject.to_owned(),
            spread,
            unit,
        };
        let spread = |millis: &[f64]| Spread::of(millis.iter().copied());
        let mut figures = Vec::new();
        for (scenario, [wall, cpu]) in [("written", &self.writing), ("read back", &self.reading)] {
            figures.push(figure(scenario, "on the wall", spread(wall), Unit::Millis));
            figures.push(figure(scenario, "processor time", spread(cpu), Unit::Millis));
        }
        for (scenario, rounds) in [("decisions, alone", &self.alone), ("decisions, beside", &self.beside)] {
            for (at, share) in ["p50", "p99", "p99.99", "slowest"].into_iter().enumerate() {
                figures.push(figure(scenario, share, micros(rounds, at), Unit::Micros));
            }
        }
        let goal = |what: &str, ours, bound, unit| Goal {
            what: what.to_owned(),
            ours,
            side: Side::AtMost,
            bound,
            unit,
            peer: None,
        };
        Report {
            bench: BENCH,
            about: "token buckets, all live; the file in the system's cache, not brought to the disk",
            table: None,
            figures,
            goals: vec![
                goal("writing", spread(&self.writing[0]).median, 300.0, Unit::Millis),
                goal("reading", spread(&self.reading[0]).median, 100.0, Unit::Millis),
                // Unmoved: within a tenth.
                goal(
                    "p99 of decisions beside it",
                    micros(&self.beside, 1).median,
                    1.1 * micros(&self.alone, 1).median,
                    Unit::Micros,
                ),
            ],
            notes: vec![
                format!("{} in a file of {} MiB", keys_in_words(keys), self.bytes >> 20),
                "own processor time of each single decision, the asking for that time included, on one processor, and one \
                 snapshot after the other on the other one"
                    .to_owned(),
            ],
        }
    }
}

/// Decisions on one processor, while snapshots are written on the other.
fn beside(full: &Checks, keys: u32, path: &Path) -> Result<Slowest, BenchError> {
    let is_over = AtomicBool::new(false);
    let (limiter, mut deciding) = (full.limiter(), full.clone());
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| -> Result<(), BenchError> {
            pin(1);
            while !is_over.load(Ordering::Relaxed) {
                write(limiter, path)?;
            }
            Ok(())
        });
        let is_over = &is_over;
        let decider = scope.spawn(move || {
            pin(0);
            let slowest = Slowest::of(&mut deciding, 0, keys);
            is_over.store(true, Ordering::Relaxed);
            slowest
        });
        let panicked = |_| BenchError::panicked(BENCH);
        let slowest = decider.join().map_err(panicked)?;
        writer.join().map_err(panicked)??;
        slowest
    })
}

fn write(limiter: &Limiter, path: &Path) -> Result<sluicegate::Written, BenchError> {
    let written = limiter.snapshot(path, Durability::Cached);
    written.map_err(|error| BenchError::set_up("sluicegate", &error))
}

fn keep([wall, cpu]: &mut [Vec<f64>; 2], taken: Taken) {
    wall.push(taken.wall.as_secs_f64() * 1e3);
    cpu.push(taken.cpu.as_secs_f64() * 1e3);
}

/// Microseconds of the decision that such a share of all is faster than.
fn micros(rounds: &[Slowest], at: usize) -> Spread {
    Spread::of(rounds.iter().map(|slowest| number(slowest.nanos[at]) / 1e3))
}
