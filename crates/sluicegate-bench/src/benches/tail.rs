//! The slowest decisions while ten million keys come into an empty table, and while ten million others take the places of
//! those that have become idle.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;
use sluicegate::{Cleaner, ManualClock};

use super::{Scale, keys_in_words, memory_for};
use crate::clients::Client;
use crate::contestants::{Allowance, Checks, Contestant, FixedWindow, Kept, Throttlecrab};
use crate::error::BenchError;
use crate::lap::Nobody;
use crate::progress::tell;
use crate::report::{Figure, Goal, Peer, Report, Side, Unit};
use crate::spread::{Spread, number};
use crate::stopwatch::{own_time, pin};

const BENCH: &str = "tail";

/// Longer than any limit of this bench remembers.
const LATER: Duration = Duration::from_hours(72);

/// The goal for the slowest decision of ten thousand.
const GOAL_NANOS: u64 = 20_000;

const COMING: &str = "keys come into an empty table";
const GOING: &str = "others take the places of idle ones";

/// Measures each decision by itself.
///
/// # Errors
///
/// If somebody cannot be set up.
pub(crate) fn tail(scale: Scale) -> Result<Report, BenchError> {
    std::thread::scope(|scope| {
        let pinned = scope.spawn(|| {
            pin(0);
            measure(scale)
        });
        pinned.join().map_err(|_| BenchError::panicked(BENCH))?
    })
}

fn measure(scale: Scale) -> Result<Report, BenchError> {
    let keys = scale.pick(10_000_000, 20_000);
    let rounds = scale.rounds(3);
    let mut subjects = [
        Subject::new("the loop alone"),
        Subject::new("sluicegate, token_bucket"),
        Subject::new("sluicegate, sliding_window"),
        Subject::new("throttlecrab"),
    ];
    let bucket = Kept::by_bucket(Allowance::MANY);
    let window = Kept {
        by: format!("algorithm: sliding_window, limit: {}", FixedWindow::LARGE.text()),
        split: Kept::WIDE,
    };
    for round in 0..rounds {
        tell(BENCH, &format!("round {} of {rounds}", round + 1));
        let [alone, by_bucket, by_window, throttlecrab] = &mut subjects;
        // As long as the others take for less: the system's interrupts come by time, and not by decisions.
        alone.coming.push(Slowest::of(&mut Nobody, 0, 3 * keys)?);
        ours(by_bucket, &bucket, memory_for(keys), keys)?;
        ours(by_window, &window, 2 * memory_for(keys), keys)?;
        // Once: it alone takes as long as all else, and its sweep is the same each time.
        if round == 0 {
            let mut peer = Throttlecrab::new(Allowance::MANY, 0);
            throttlecrab.coming.push(Slowest::of(&mut peer, 0, keys)?);
            peer.advance(LATER);
            throttlecrab.going.push(Slowest::of(&mut peer, keys, keys)?);
        }
    }
    let mut goals = Vec::new();
    let [_, ours @ .., peer] = &subjects;
    for subject in ours {
        for (scenario, rounds, peers) in [
            (COMING, &subject.coming, &peer.coming),
            (GOING, &subject.going, &peer.going),
        ] {
            goals.push(Goal {
                what: format!("p99.99, {}, {scenario}", subject.name),
                ours: rare(rounds),
                side: Side::AtMost,
                bound: number(GOAL_NANOS) / 1e3,
                unit: Unit::Micros,
                peer: Some(Peer {
                    name: peer.name.to_owned(),
                    value: rare(peers),
                }),
            });
        }
    }
    Ok(Report {
        bench: BENCH,
        about: "own processor time of each single decision, the asking for that time included",
        table: None,
        figures: subjects.iter().flat_map(Subject::figures).collect(),
        goals,
        notes: vec![
            format!(
                "{} each; the cleaner runs beside, as in the product",
                keys_in_words(keys)
            ),
            "the system counts interrupts as the time of whoever is interrupted; the loop alone runs about as long as the others \
             and meets about as many"
                .to_owned(),
        ],
    })
}

fn ours(subject: &mut Subject, kept: &Kept, memory: usize, keys: u32) -> Result<(), BenchError> {
    let clock = Arc::new(ManualClock::default());
    let mut ours = Checks::kept(kept, memory, Arc::clone(&clock))?;
    let _cleaner = Cleaner::start(Arc::clone(ours.limiter()))?;
    let mut coming = Slowest::of(&mut ours, 0, keys)?;
    coming.overflowed = ours.overflowed();
    clock.advance(LATER);
    let mut going = Slowest::of(&mut ours, keys, keys)?;
    going.overflowed = ours.overflowed() - coming.overflowed;
    subject.coming.push(coming);
    subject.going.push(going);
    Ok(())
}

/// Who is measured, and each round's slowest decisions.
struct Subject {
    name: &'static str,
    coming: Vec<Slowest>,
    going: Vec<Slowest>,
}

impl Subject {
    const fn new(name: &'static str) -> Self {
        Self {
            name,
            coming: Vec::new(),
            going: Vec::new(),
        }
    }

    fn figures(&self) -> Vec<Figure> {
        let mut figures = Vec::new();
        for (scenario, rounds) in [(COMING, &self.coming), (GOING, &self.going)] {
            let mut figure = |subject: &str, spread: Spread, unit: Unit| {
                figures.push(Figure {
                    scenario: format!("{}: {scenario}", self.name),
                    subject: subject.to_owned(),
                    spread,
                    unit,
                });
            };
            if rounds.is_empty() {
                continue;
            }
            for (at, share) in ["p50", "p99", "p99.99", "slowest"].into_iter().enumerate() {
                let micros = rounds.iter().map(|slowest| number(slowest.nanos[at]) / 1e3);
                figure(share, Spread::of(micros), Unit::Micros);
            }
            let above = rounds.iter().map(|slowest| slowest.above_each_second);
            figure("above 20 µs, each second", Spread::of(above), Unit::Count);
            let overflowed = rounds.iter().map(|slowest| number(slowest.overflowed));
            figure("keys that found no cell", Spread::of(overflowed), Unit::Count);
        }
        figures
    }
}

/// Microseconds that one decision in ten thousand exceeds.
fn rare(rounds: &[Slowest]) -> f64 {
    Spread::of(rounds.iter().map(|slowest| number(slowest.nanos[2]) / 1e3)).median
}

/// How long decisions took of one's own time.
pub(super) struct Slowest {
    /// Nanoseconds of which this share of decisions took less: 50 %, 99 %, 99.99 %, all.
    pub(super) nanos: [u64; 4],
    /// Decisions above the goal in each second of own time.
    above_each_second: f64,
    /// Keys that found no cell.
    overflowed: u64,
}

impl Slowest {
    /// Lets `keys` fresh clients ask, beginning with `first`.
    ///
    /// One reading of the time ends a decision and begins the next, since a reading costs as much as a decision.
    pub(super) fn of(contestant: &mut impl Contestant, first: u32, keys: u32) -> Result<Self, BenchError> {
        let histogram = |error: hdrhistogram::CreationError| BenchError::set_up("hdrhistogram", &error);
        // To a minute, within one part in a thousand.
        let mut times = Histogram::<u64>::new_with_max(60_000_000_000, 3).map_err(histogram)?;
        let started = own_time();
        let mut before = started;
        for index in first..first + keys {
            let client = Client::at(index);
            black_box(contestant.decide(black_box(&client)));
            let after = own_time();
            let taken = u64::try_from(after.saturating_sub(before).as_nanos()).unwrap_or(u64::MAX);
            times.saturating_record(taken);
            before = after;
        }
        let seconds = before.saturating_sub(started).as_secs_f64();
        Ok(Self {
            nanos: [0.5, 0.99, 0.9999, 1.0].map(|share| times.value_at_quantile(share)),
            above_each_second: number(times.count_between(GOAL_NANOS, times.high())) / seconds,
            overflowed: 0,
        })
    }
}
