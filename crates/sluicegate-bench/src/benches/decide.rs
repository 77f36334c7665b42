//! Nanoseconds a decision, on one thread: one hot key, a million keys, ten million keys.

use std::mem::size_of;

use super::{Scale, Size, keys_in_words, memory_for};
use crate::clients::Key;
use crate::contestants::{
    Allowance, Cas, CasAndCounter, Checks, CounterAlone, Decides, Governor, Quota, SharedChecks, Throttlecrab,
};
use crate::error::BenchError;
use crate::lap::{Entrant, JustWritten, Laps, Named, Nobody, Turns, turns};
use crate::progress::tell;
use crate::report::{Figure, Goal, Peer, Report, Side, Unit};
use crate::spread::Spread;
use crate::stopwatch::{Counter, memory_available, pin};

const BENCH: &str = "decide";
const LOOP: &str = "the loop alone (subtracted below)";
const OURS: &str = "sluicegate check";
const OURS_SHARED: &str = "sluicegate check, by a limiter that threads share";
const OURS_JUST_WRITTEN: &str = "sluicegate check, key written just before";
const OURS_WHOLE: &str = "sluicegate decide, by address";

/// One number of keys.
struct Scenario {
    keys: u32,
    allowance: Allowance,
    /// In one turn.
    decisions: u64,
    rounds: u32,
    /// Nanoseconds, section "Numbers to reach" of the design.
    goal: f64,
}

/// Measures decisions, ours and the peers' in turn.
///
/// # Errors
///
/// If somebody cannot be set up, refuses a request, or if our loop allocates.
pub(crate) fn decide(scale: Scale) -> Result<Report, BenchError> {
    // In a thread of its own, which alone is tied to one processor: moving between them would be measured too.
    std::thread::scope(|scope| {
        let pinned = scope.spawn(|| {
            pin(0);
            measure_all(scale)
        });
        pinned.join().map_err(|_| BenchError::panicked(BENCH))?
    })
}

fn measure_all(scale: Scale) -> Result<Report, BenchError> {
    let counter = Counter::new();
    let mut report = Report {
        bench: BENCH,
        about: "processor time a decision, clock included, string key in a stack buffer; the loop's own cost subtracted",
        table: None,
        figures: Vec::new(),
        goals: Vec::new(),
        notes: vec![
            "keys are written 64 ahead; where they are written just before, the writing is in the figure".to_owned(),
            "floors: a flat table of 16-byte slots found by index, without key, hash or comparison".to_owned(),
            format!(
                "governor's keys are {} bytes in place, so that it allocates nothing",
                size_of::<Key>()
            ),
            format!(
                "our table has {} bytes a key, which is the goal of bench memory",
                super::BYTES_A_KEY
            ),
        ],
    };
    for scenario in scenarios(scale) {
        measure(&scenario, &counter, &mut report)?;
    }
    Ok(report)
}

fn scenarios(scale: Scale) -> [Scenario; 3] {
    let smoke = scale.size == Size::Smoke;
    [
        Scenario {
            keys: 1,
            allowance: Allowance::HOT,
            decisions: if smoke { 20_000 } else { 5_000_000 },
            rounds: scale.rounds(9),
            goal: 18.0,
        },
        Scenario {
            keys: if smoke { 2_000 } else { 1_000_000 },
            allowance: Allowance::MANY,
            decisions: if smoke { 20_000 } else { 4_000_000 },
            rounds: scale.rounds(7),
            goal: 40.0,
        },
        Scenario {
            keys: if smoke { 20_000 } else { 10_000_000 },
            allowance: Allowance::MANY,
            decisions: if smoke { 20_000 } else { 4_000_000 },
            rounds: scale.rounds(5),
            goal: 100.0,
        },
    ]
}

fn measure(scenario: &Scenario, counter: &Counter, report: &mut Report) -> Result<(), BenchError> {
    let keys = scenario.keys;
    let name = &keys_in_words(keys);
    let ours = Checks::new(scenario.allowance, memory_for(keys))?;
    let mut entrants: Vec<Box<dyn Entrant>> = vec![
        Box::new(Named::new(LOOP, Nobody)),
        Box::new(Named::new(OURS, ours.clone())),
        Box::new(Named::new(OURS_SHARED, SharedChecks(ours.clone()))),
        Box::new(Named::new(OURS_JUST_WRITTEN, JustWritten(ours.clone()))),
        Box::new(Named::new(
            OURS_WHOLE,
            Decides::new(scenario.allowance, memory_for(keys))?,
        )),
    ];
    let first_peer = entrants.len();
    if memory_available().is_some_and(|bytes| bytes < u64::from(keys) * PEERS_BYTES_A_KEY) {
        report.notes.push(format!(
            "{name}: the peers are left out, this machine has too little memory for them"
        ));
    } else {
        entrants.extend(peers(scenario.allowance, keys)?);
    }
    let first_floor = entrants.len();
    let cas = Cas::new(keys);
    entrants.push(Box::new(Named::new("floor: compare-and-swap", cas.clone())));
    entrants.push(Box::new(Named::new(
        "floor: time stamp counter",
        CounterAlone(counter.clone()),
    )));
    entrants.push(Box::new(Named::new(
        "floor: both, the swap takes the time in",
        CasAndCounter(cas, counter.clone()),
    )));

    tell(BENCH, &format!("{name}: everybody learns them"));
    for entrant in &mut entrants {
        entrant.warm(keys)?;
    }
    if ours.overflowed() > 0 {
        report
            .notes
            .push(format!("{name}: {} of our keys found no cell", ours.overflowed()));
    }

    let laps = turns(
        BENCH,
        name,
        &mut entrants,
        Turns {
            keys,
            decisions: scenario.decisions,
            rounds: scenario.rounds,
            frugal: &[OURS, OURS_SHARED, OURS_JUST_WRITTEN, OURS_WHOLE],
        },
    )?;
    let spreads: Vec<Spread> = laps.iter().map(Laps::spread).collect();
    for (entrant, spread) in entrants.iter().zip(&spreads) {
        report.figures.push(Figure {
            scenario: name.clone(),
            subject: entrant.name().to_owned(),
            spread: *spread,
            unit: Unit::Nanos,
        });
    }
    let named = |at: usize| Some((entrants.get(at)?.name().to_owned(), spreads.get(at)?.median));
    let peer = (first_peer..first_floor)
        .filter_map(named)
        .min_by(|one, two| one.1.total_cmp(&two.1))
        .map(|(name, value)| Peer { name, value });
    report.goals.push(Goal {
        what: format!("a decision, {name}"),
        ours: spreads.get(1).map_or(f64::NAN, |spread| spread.median),
        side: Side::AtMost,
        bound: scenario.goal,
        unit: Unit::Nanos,
        peer,
    });
    Ok(())
}

/// More than all peers together were seen to take of memory for a key, while their maps grow.
const PEERS_BYTES_A_KEY: u64 = 900;

fn peers(allowance: Allowance, keys: u32) -> Result<[Box<dyn Entrant>; 4], BenchError> {
    Ok([
        Box::new(Named::new("governor (quanta)", Governor::quanta(allowance)?)),
        Box::new(Named::new("governor (std)", Governor::monotonic(allowance)?)),
        Box::new(Named::new("quota", Quota::new(allowance, keys))),
        Box::new(Named::new("throttlecrab", Throttlecrab::new(allowance, keys))),
    ])
}
