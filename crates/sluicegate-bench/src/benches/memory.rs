//! Bytes a key: filled with fresh keys until one of them finds no cell.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sluicegate::Limiter;

use super::Scale;
use crate::arguments::{Fill, Filled};
use crate::child;
use crate::clients::Client;
use crate::contestants::{Allowance, Checks, Contestant, FixedWindow, GovernorStrings, Limitador, Quota, Throttlecrab};
use crate::error::BenchError;
use crate::progress::tell;
use crate::report::{Figure, Goal, Peer, Report, Side, Unit};
use crate::spread::{Spread, number};
use crate::stopwatch;

const BENCH: &str = "memory";

/// What one filled process found.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Filling {
    /// Keys it holds; with ours, those before the first one without a cell.
    keys: u64,
    /// Bytes of our table; zero for peers, who have no bound.
    table: u64,
    /// How much the process grew by them; `None` where the system does not say.
    grown: Option<u64>,
}

impl Filling {
    /// Bytes by which the process grew for each key; `None` where the system does not say.
    pub(super) fn grown_each(&self) -> Option<f64> {
        Some(number(self.grown?) / number(self.keys))
    }
}

/// Measures memory, each limiter in a process of its own.
///
/// # Errors
///
/// If a process cannot be started or answers something else.
pub(crate) fn memory(scale: Scale) -> Result<Report, BenchError> {
    let mut report = Report {
        bench: BENCH,
        about: "bytes a key, full with live token buckets under string keys",
        table: None,
        figures: Vec::new(),
        goals: Vec::new(),
        notes: vec![
            "by table: bytes of all cells ÷ keys when the first one found no cell; by growth: what the process grew by"
                .to_owned(),
            "the peers' keys are Strings, in maps that grow by themselves unless they can be reserved".to_owned(),
        ],
    };
    let bytes = scale.pick(248 << 20, 1 << 20);
    // At 16 bytes a cell no table can hold more.
    let most = u32::try_from(bytes / 16).unwrap_or(u32::MAX);
    let scenario = format!("a table of {} MiB", bytes >> 20);
    let mut figure = |subject: &str, spread: Spread| {
        report.figures.push(Figure {
            scenario: scenario.clone(),
            subject: subject.to_owned(),
            spread,
            unit: Unit::Bytes,
        });
    };

    // Every limiter has a secret of its own, and with it other keys meet in one group: the first key without a cell is the
    // unluckiest of millions, and comes sooner under one secret than under another.
    let mut fillings = Vec::new();
    let rounds = scale.rounds(9);
    for round in 0..rounds {
        tell(BENCH, &format!("sluicegate, secret {} of {rounds}", round + 1));
        fillings.push(fill(Filled::Sluicegate, most, bytes)?);
    }
    let by_table = Spread::of(fillings.iter().map(|ours| number(ours.table) / number(ours.keys)));
    figure("sluicegate, by table", by_table);
    let by_growth: Vec<f64> = fillings.iter().filter_map(Filling::grown_each).collect();
    if !by_growth.is_empty() {
        figure("sluicegate, by growth", Spread::of(by_growth));
    }
    let keys = fillings.iter().map(|ours| ours.keys).min().unwrap_or(0);
    let mut least: Option<Peer> = None;
    for (who, name) in [
        (Filled::Governor, "governor"),
        (Filled::Quota, "quota"),
        (Filled::Throttlecrab, "throttlecrab"),
    ] {
        tell(BENCH, name);
        let filling = fill(who, u32::try_from(keys).unwrap_or(u32::MAX), bytes)?;
        let Some(value) = filling.grown_each() else { continue };
        figure(&format!("{name}, by growth"), Spread::once(value));
        if least.as_ref().is_none_or(|least| value < least.value) {
            least = Some(Peer {
                name: name.to_owned(),
                value,
            });
        }
    }
    report.notes.push(format!(
        "each of our rounds has a secret of its own; the peers hold {keys} keys"
    ));
    report.goals.push(Goal {
        what: "bytes a key at the first overflow".to_owned(),
        ours: by_table.median,
        side: Side::AtMost,
        bound: 26.0,
        unit: Unit::Bytes,
        peer: least,
    });
    Ok(report)
}

/// Fills one limiter in a process of its own.
///
/// # Errors
///
/// If it cannot be started or answers something else.
pub(super) fn fill(who: Filled, keys: u32, memory: usize) -> Result<Filling, BenchError> {
    child::ask("fill", &who, &[keys.to_string(), memory.to_string()])
}

/// Fills one limiter in this process.
///
/// # Errors
///
/// If it cannot be set up.
pub(crate) fn part(fill: Fill) -> Result<Filling, BenchError> {
    let Fill { who, keys, memory } = fill;
    let allowance = Allowance::MANY;
    let before = stopwatch::memory().map(|memory| memory.now);
    let grown = || Some(stopwatch::memory()?.now.saturating_sub(before?));
    let fill_all = |contestant: &mut dyn Contestant| {
        for index in 0..keys {
            contestant.decide(&Client::at(index));
        }
        Filling {
            keys: keys.into(),
            table: 0,
            grown: grown(),
        }
    };
    match who {
        Filled::Sluicegate => {
            let mut ours = Checks::new(allowance, memory)?;
            Ok(Filling {
                keys: filled(&mut ours, keys),
                table: ours.limiter().table().fill().bytes as u64,
                grown: grown(),
            })
        }
        Filled::Governor => Ok(fill_all(&mut GovernorStrings::new(allowance)?)),
        // Their own measure of what is reserved is part of what they take.
        Filled::Quota => Ok(fill_all(&mut Quota::new(allowance, keys))),
        Filled::Throttlecrab => Ok(fill_all(&mut Throttlecrab::new(allowance, keys))),
        Filled::Limitador => Ok(fill_all(&mut Limitador::new(FixedWindow::LARGE, keys)?)),
    }
}

/// Lets fresh keys ask, `most` at most, until one of them finds no cell; how many did before.
pub(super) fn filled(ours: &mut Checks, most: u32) -> u64 {
    let limiter = Arc::clone(ours.limiter());
    until_overflow(&limiter, most, |client| {
        ours.decide(client);
    })
}

/// Lets fresh keys `ask`, `most` at most, until one of them finds no cell; how many did before.
pub(super) fn until_overflow(limiter: &Limiter, most: u32, mut ask: impl FnMut(&Client)) -> u64 {
    let buckets = limiter.table().buckets();
    let overflowed = || buckets.iter().any(|bucket| bucket.overflowed() > 0);
    let held = (0..most).take_while(|index| {
        ask(&Client::at(*index));
        !overflowed()
    });
    held.count() as u64
}
