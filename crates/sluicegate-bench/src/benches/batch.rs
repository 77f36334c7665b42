//! Many keys decided in one call, over ten million keys: the clock is read once, and memory is asked for ahead.

use super::{Scale, keys_in_words, memory_for};
use crate::contestants::{Allowance, Cas, CasAndCounter, CasRow, Checks, ChecksMany};
use crate::error::BenchError;
use crate::lap::{AHEAD, Entrant, Laps, Named, Nobody, Turns, turns};
use crate::progress::tell;
use crate::report::{Figure, Goal, Report, Side, Unit};
use crate::spread::Spread;
use crate::stopwatch::{Counter, pin};

const BENCH: &str = "batch";

const LOOP: &str = "the loop alone (subtracted below)";
const SINGLE: &str = "sluicegate check, one by one";
const MANY: &str = "sluicegate check_many";

/// Measures the batch call against single calls and the floors.
///
/// # Errors
///
/// If somebody cannot be set up, refuses a request, or if our loop allocates.
pub(crate) fn batch(scale: Scale) -> Result<Report, BenchError> {
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
    let scenario = keys_in_words(keys);
    let ours = Checks::new(Allowance::MANY, memory_for(keys))?;
    let (cas, counter) = (Cas::new(keys), Counter::new());
    let mut entrants: Vec<Box<dyn Entrant>> = vec![
        Box::new(Named::new(LOOP, Nobody)),
        Box::new(Named::new(SINGLE, ours.clone())),
        Box::new(Named::new(MANY, ChecksMany(ours.clone()))),
        Box::new(Named::new("floor: compare-and-swap", cas.clone())),
        Box::new(Named::new(
            "floor: one reading of the counter for each swap",
            CasAndCounter(cas.clone(), counter.clone()),
        )),
        Box::new(Named::new(
            "floor: one reading for a row of swaps",
            CasRow(cas, counter),
        )),
    ];
    tell(BENCH, &format!("{scenario}: all are known"));
    for entrant in &mut entrants {
        entrant.warm(keys)?;
    }
    let overflowed = ours.overflowed();
    let laps = turns(
        BENCH,
        &scenario,
        &mut entrants,
        Turns {
            keys,
            decisions: scale.pick(4_000_000, 20_000),
            rounds: scale.rounds(7),
            frugal: &[SINGLE, MANY],
        },
    )?;
    let spreads: Vec<Spread> = laps.iter().map(Laps::spread).collect();
    let figures = entrants.iter().zip(&spreads).map(|(entrant, spread)| Figure {
        scenario: scenario.clone(),
        subject: entrant.name().to_owned(),
        spread: *spread,
        unit: Unit::Nanos,
    });
    Ok(Report {
        bench: BENCH,
        about: "processor time a decision, in rows of keys that are at hand together; the loop's own cost subtracted",
        table: None,
        figures: figures.collect(),
        goals: vec![Goal {
            what: format!("a decision in a batch, {scenario}"),
            ours: spreads[2].median,
            side: Side::AtMost,
            bound: 35.0,
            unit: Unit::Nanos,
            peer: None,
        }],
        notes: vec![
            format!("rows of {AHEAD} keys; {overflowed} charges of ours found no cell"),
            "check_many reads the clock once for each 32 keys".to_owned(),
        ],
    })
}
