//! Each algorithm: nanoseconds a decision for keys in the caches and for a million of them, and bytes a key.

use sluicegate::{Limiter, SystemClock};

use super::memory::{fill, filled, until_overflow};
use super::{Scale, keys_in_words, memory_for};
use crate::arguments::Filled;
use crate::contestants::{
    Acquires, Allowance, Cas, CasAndCounter, Checks, FixedWindow, Governor, Kept, Limitador, Quota, Throttlecrab,
};
use crate::error::BenchError;
use crate::lap::{Entrant, Laps, Named, Nobody, Turns, turns};
use crate::progress::tell;
use crate::report::{Figure, Report, Unit};
use crate::spread::{Spread, number};
use crate::stopwatch::{Counter, pin};

const BENCH: &str = "algorithms";

const LOOP: &str = "the loop alone (subtracted below)";

/// Measures every algorithm, ours and the peers' in turn.
///
/// # Errors
///
/// If somebody cannot be set up, refuses a request, or if one of our loops allocates.
pub(crate) fn algorithms(scale: Scale) -> Result<Report, BenchError> {
    let mut report = Report {
        bench: BENCH,
        about: "processor time a decision, clock included, string key in a stack buffer; the loop's own cost subtracted",
        table: None,
        figures: Vec::new(),
        goals: Vec::new(),
        notes: vec![
            "concurrency: a permit taken and given back".to_owned(),
            "a sliding log of one key would be full at once, so its hot keys are a thousand".to_owned(),
            "leaky, sliding windows, logs and permits are not offered by the peers; limitador has fixed windows only"
                .to_owned(),
            "bytes a key: ours by table, at the first key without a cell; limitador's by growth of its process"
                .to_owned(),
        ],
    };
    std::thread::scope(|scope| {
        let pinned = scope.spawn(|| {
            pin(0);
            let many = scale.pick(1_000_000, 2_000);
            for (keys, rounds) in [(1, scale.rounds(5)), (many, scale.rounds(3))] {
                time(scale, keys, rounds, &mut report)?;
            }
            weigh(scale, &mut report)
        });
        pinned.join().map_err(|_| BenchError::panicked(BENCH))?
    })?;
    Ok(report)
}

/// How each algorithm is asked so that every request passes.
fn kept(allowance: Allowance) -> [(&'static str, Kept); 4] {
    let window = FixedWindow::LARGE.text();
    [
        ("token_bucket", Kept::by_bucket(allowance)),
        (
            "leaky_bucket, free of delay",
            Kept {
                by: format!(
                    "algorithm: leaky_bucket, limit: {}, free: {}",
                    allowance.text(),
                    allowance.burst - 1
                ),
                split: Kept::SMALL,
            },
        ),
        (
            "fixed_window",
            Kept {
                by: format!("algorithm: fixed_window, limit: {window}"),
                split: Kept::WIDE,
            },
        ),
        (
            "sliding_window",
            Kept {
                by: format!("algorithm: sliding_window, limit: {window}"),
                split: Kept::WIDE,
            },
        ),
    ]
}

/// A log of so short a window that it does not fill up while its keys are few.
const SHORT_LOG: &str = "algorithm: sliding_log, limit: 1000/ms";
/// A log that forgets nothing while it is measured.
const LONG_LOG: &str = "algorithm: sliding_log, limit: 1000/h";
/// Keys of the short log: each is asked for every 100 µs or so.
const SHORT_LOG_KEYS: u32 = 1_000;

fn time(scale: Scale, keys: u32, rounds: u32, report: &mut Report) -> Result<(), BenchError> {
    let allowance = if keys == 1 { Allowance::HOT } else { Allowance::MANY };
    let scenario = &keys_in_words(keys);
    let decisions = scale.pick(2_000_000, 5_000);
    let mut entrants: Vec<Box<dyn Entrant>> = vec![Box::new(Named::new(LOOP, Nobody))];
    // Twice as much as small cells need, for those of twice the size.
    for (name, kept) in kept(allowance) {
        let ours = Checks::kept(&kept, 2 * memory_for(keys), SystemClock::new())?;
        entrants.push(Box::new(Named::new(name, ours)));
    }
    entrants.push(Box::new(Named::new("concurrency", Acquires::new(memory_for(keys))?)));
    let first_peer = entrants.len();
    entrants.push(Box::new(Named::new(
        "token bucket: governor (quanta)",
        Governor::quanta(allowance)?,
    )));
    entrants.push(Box::new(Named::new("token bucket: quota", Quota::new(allowance, keys))));
    entrants.push(Box::new(Named::new(
        "token bucket: throttlecrab",
        Throttlecrab::new(allowance, keys),
    )));
    entrants.push(Box::new(Named::slow(
        "fixed window: limitador",
        Limitador::new(FixedWindow::LARGE, keys)?,
        10,
    )));
    entrants.push(Box::new(Named::new(
        "floor: time stamp counter and compare-and-swap",
        CasAndCounter(Cas::new(keys), Counter::new()),
    )));
    tell(BENCH, &format!("{scenario}: everybody learns them"));
    for entrant in &mut entrants {
        entrant.warm(keys)?;
    }
    let ours: Vec<String> = entrants[1..first_peer]
        .iter()
        .map(|one| one.name().to_owned())
        .collect();
    let frugal: Vec<&str> = ours.iter().map(String::as_str).collect();
    let laps = turns(
        BENCH,
        scenario,
        &mut entrants,
        Turns {
            keys,
            decisions,
            rounds,
            frugal: &frugal,
        },
    )?;
    let mut figure = |scenario: &str, subject: &str, laps: &Laps| {
        report.figures.push(Figure {
            scenario: scenario.to_owned(),
            subject: subject.to_owned(),
            spread: laps.spread(),
            unit: Unit::Nanos,
        });
    };
    for (entrant, laps) in entrants.iter().zip(&laps) {
        figure(scenario, entrant.name(), laps);
    }
    drop(entrants);

    let (log_keys, by) = if keys == 1 {
        (SHORT_LOG_KEYS, SHORT_LOG)
    } else {
        (keys, LONG_LOG)
    };
    let laps = log(scale, by, log_keys, rounds)?;
    figure(
        &format!("sliding_log, {}", keys_in_words(log_keys)),
        "sliding_log",
        &laps,
    );
    Ok(())
}

/// The log, apart from the others since it cannot be asked as often.
fn log(scale: Scale, by: &str, keys: u32, rounds: u32) -> Result<Laps, BenchError> {
    let decisions = scale.pick(2_000_000, 5_000);
    let kept = Kept {
        by: by.to_owned(),
        split: Kept::LOGS,
    };
    // Up to three blocks of entries a key by the end.
    let memory = (keys as usize * 560).max(8 << 20);
    let mut entrants: Vec<Box<dyn Entrant>> = vec![
        Box::new(Named::new(LOOP, Nobody)),
        Box::new(Named::new(
            "sliding_log",
            Checks::kept(&kept, memory, SystemClock::new())?,
        )),
    ];
    for entrant in &mut entrants {
        entrant.warm(keys)?;
    }
    let turns_of_it = Turns {
        keys,
        decisions,
        rounds,
        frugal: &["sliding_log"],
    };
    let mut laps = turns(
        BENCH,
        &format!("sliding_log, {}", keys_in_words(keys)),
        &mut entrants,
        turns_of_it,
    )?;
    Ok(laps.pop().unwrap_or_default())
}

/// Bytes a key of each algorithm.
fn weigh(scale: Scale, report: &mut Report) -> Result<(), BenchError> {
    let memory = scale.pick(64 << 20, 1 << 20);
    let scenario = &format!("bytes a key, {} MiB", memory >> 20);
    let mut figure = |subject: &str, spread: Spread| {
        report.figures.push(Figure {
            scenario: scenario.clone(),
            subject: subject.to_owned(),
            spread,
            unit: Unit::Bytes,
        });
    };
    // At 16 bytes a cell no table can hold more.
    let most = u32::try_from(memory / 16).unwrap_or(u32::MAX);
    let log = Kept {
        by: LONG_LOG.to_owned(),
        split: Kept::LOGS,
    };
    let all = kept(Allowance::MANY).into_iter();
    for (name, kept) in all.chain([("sliding_log, up to seven entries", log)]) {
        tell(BENCH, &format!("{scenario}: {name}"));
        let mut rounds = Vec::new();
        for _ in 0..scale.rounds(3) {
            let mut ours = Checks::kept(&kept, memory, SystemClock::new())?;
            let keys = filled(&mut ours, most);
            rounds.push(each(ours.limiter(), keys));
        }
        figure(name, Spread::of(rounds));
    }
    tell(BENCH, &format!("{scenario}: concurrency"));
    let mut rounds = Vec::new();
    for _ in 0..scale.rounds(3) {
        let ours = Acquires::new(memory)?;
        let mut held = Vec::new();
        let keys = until_overflow(ours.limiter(), most, |client| held.extend(ours.acquire(client)));
        rounds.push(each(ours.limiter(), keys));
    }
    figure("concurrency", Spread::of(rounds));
    let keys = scale.pick(1_000_000, 2_000);
    tell(BENCH, &format!("{scenario}: limitador"));
    let limitador = fill(Filled::Limitador, keys, 0)?;
    if let Some(grown) = limitador.grown_each() {
        figure("fixed window: limitador", Spread::once(grown));
    }
    Ok(())
}

/// Bytes of the table for each key in it.
fn each(limiter: &Limiter, keys: u64) -> f64 {
    number(limiter.table().fill().bytes as u64) / number(keys)
}
