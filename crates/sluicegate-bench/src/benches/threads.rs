//! Two threads: on keys of their own, where nothing should be shared, and on one key, where everything is.

use std::sync::Barrier;

use super::{Scale, keys_in_words, memory_for};
use crate::clients::{Client, Clients};
use crate::contestants::{Allowance, Cas, Checks, Contestant, Governor};
use crate::error::BenchError;
use crate::lap::{Nobody, all_passed, run};
use crate::machine::cores;
use crate::progress::tell;
use crate::report::{Figure, Goal, Peer, Report, Side, Unit};
use crate::spread::{Spread, nanos_each};
use crate::stopwatch::{Stopwatch, pin};

const BENCH: &str = "threads";

/// Measures one thread and two in turn.
///
/// # Errors
///
/// If somebody cannot be set up or refuses a request.
pub(crate) fn threads(scale: Scale) -> Result<Report, BenchError> {
    let mut report = Report {
        bench: BENCH,
        about: "time a decision on the wall, each thread on a processor of its own; the loop's own cost subtracted",
        table: None,
        figures: Vec::new(),
        goals: Vec::new(),
        notes: Vec::new(),
    };
    if cores() < 2 {
        report
            .notes
            .push("this machine has one processor: two threads take turns here, and no goal is judged".to_owned());
    }
    // As large as a policy has it that says nothing of memory: in a table just large enough for a thousand keys, keys of
    // both threads would lie in one cache line.
    apart(scale, 1_000, scale.pick(256 << 20, 1 << 20), &mut report)?;
    let many = scale.pick(1_000_000, 10_000);
    apart(scale, many, memory_for(2 * many), &mut report)?;
    together(scale, &mut report)?;
    Ok(report)
}

/// Each thread has keys of its own.
fn apart(scale: Scale, keys: u32, memory: usize, report: &mut Report) -> Result<(), BenchError> {
    let scenario = &format!("{} a thread", keys_in_words(keys));
    let allowance = Allowance::MANY;
    let ours = Checks::new(allowance, memory)?;
    let governor = Governor::quanta(allowance)?;
    warm("sluicegate", &mut ours.clone(), 2 * keys)?;
    warm("governor", &mut governor.clone(), 2 * keys)?;
    let shape = Shape {
        keys,
        stride: keys,
        decisions: scale.pick(5_000_000, 20_000),
    };
    let (mut of_ours, mut of_governor) = (Pairs::default(), Pairs::default());
    let rounds = scale.rounds(7);
    for round in 0..rounds {
        tell(BENCH, &format!("{scenario}: round {} of {rounds}", round + 1));
        let alone = shape.nanos("the loop", &Nobody, 1, round)?;
        let alone_twice = shape.nanos("the loop", &Nobody, 2, round)?;
        of_ours.one.push(shape.nanos("sluicegate", &ours, 1, round)? - alone);
        of_ours
            .two
            .push(shape.nanos("sluicegate", &ours, 2, round)? - alone_twice);
        of_governor
            .one
            .push(shape.nanos("governor", &governor, 1, round)? - alone);
        of_governor
            .two
            .push(shape.nanos("governor", &governor, 2, round)? - alone_twice);
    }
    of_ours.figures(scenario, "sluicegate check", &mut report.figures);
    of_governor.figures(scenario, "governor (quanta)", &mut report.figures);
    for (subject, pairs) in [("sluicegate check", &of_ours), ("governor (quanta)", &of_governor)] {
        let figure = |how: &str, spread| Figure {
            scenario: scenario.clone(),
            subject: format!("{subject}, scaling{how}"),
            spread,
            unit: Unit::Times,
        };
        report.figures.push(figure("", pairs.scaling()));
        report.figures.push(figure(
            " of the fastest rounds",
            Spread::once(pairs.scaling_undisturbed()),
        ));
    }
    if cores() > 1 {
        report.goals.push(Goal {
            what: format!("two threads against one, {scenario}"),
            ours: of_ours.scaling().median,
            side: Side::AtLeast,
            bound: 1.9,
            unit: Unit::Times,
            peer: Some(Peer {
                name: "governor".to_owned(),
                value: of_governor.scaling().median,
            }),
        });
    }
    Ok(())
}

/// Both threads have one key.
fn together(scale: Scale, report: &mut Report) -> Result<(), BenchError> {
    let scenario = "one hot key";
    let allowance = Allowance::HOT;
    let ours = Checks::new(allowance, memory_for(1))?;
    let governor = Governor::quanta(allowance)?;
    let cas = Cas::new(1);
    let shape = Shape {
        keys: 1,
        stride: 0,
        decisions: scale.pick(3_000_000, 20_000),
    };
    let (mut of_ours, mut of_governor, mut of_cas) = (Pairs::default(), Pairs::default(), Pairs::default());
    let rounds = scale.rounds(9);
    for round in 0..rounds {
        tell(BENCH, &format!("{scenario}: round {} of {rounds}", round + 1));
        for (threads, of) in [(1, Pairs::one as fn(&mut Pairs, f64)), (2, Pairs::two)] {
            let alone = shape.nanos("the loop", &Nobody, threads, round)?;
            of(
                &mut of_cas,
                shape.nanos("compare-and-swap", &cas, threads, round)? - alone,
            );
            of(&mut of_ours, shape.nanos("sluicegate", &ours, threads, round)? - alone);
            of(
                &mut of_governor,
                shape.nanos("governor", &governor, threads, round)? - alone,
            );
        }
    }
    of_cas.figures(scenario, "floor: compare-and-swap", &mut report.figures);
    of_ours.figures(scenario, "sluicegate check", &mut report.figures);
    of_governor.figures(scenario, "governor (quanta)", &mut report.figures);
    let contended = |pairs: &Pairs| Spread::of(pairs.two.iter().copied()).median;
    if cores() > 1 {
        report.goals.push(Goal {
            what: "one hot key against the contended compare-and-swap".to_owned(),
            ours: contended(&of_ours) / contended(&of_cas),
            side: Side::AtMost,
            bound: 1.5,
            unit: Unit::Times,
            peer: Some(Peer {
                name: "governor".to_owned(),
                value: contended(&of_governor) / contended(&of_cas),
            }),
        });
    }
    Ok(())
}

/// What every thread does.
#[derive(Clone, Copy)]
struct Shape {
    /// Keys of each thread.
    keys: u32,
    /// How far one thread's keys begin after the other's.
    stride: u32,
    /// Decisions of each thread.
    decisions: u64,
}

impl Shape {
    /// Lets `threads` threads begin at once, and tells how long a decision of theirs took: on the wall, since here other
    /// programs' share of the machine is part of the answer.
    fn nanos<C>(self, who: &str, contestant: &C, threads: u32, round: u32) -> Result<f64, BenchError>
    where
        C: Contestant + Clone + Send,
    {
        let barrier = Barrier::new(threads as usize);
        let one = |thread: u32, mut contestant: C| {
            pin(thread as usize);
            let clients = Clients::new(thread * self.stride, self.keys, round.into());
            // Its own caches know the keys before the others begin.
            run(&mut contestant, &mut clients.clone(), self.decisions / 10);
            barrier.wait();
            let watch = Stopwatch::start();
            let passed = run(&mut contestant, &mut clients.clone(), self.decisions);
            let taken = watch.read();
            all_passed(who, passed, self.decisions).map(|()| nanos_each(taken.wall, self.decisions))
        };
        let all: Result<Vec<f64>, BenchError> = std::thread::scope(|scope| {
            let one = &one;
            let running: Vec<_> = (0..threads)
                .map(|thread| {
                    let contestant = contestant.clone();
                    scope.spawn(move || one(thread, contestant))
                })
                .collect();
            let ended = running
                .into_iter()
                .map(|thread| thread.join().map_err(|_| BenchError::panicked(who))?);
            ended.collect()
        });
        // Rates add up, so the mean is the harmonic one.
        let rates: f64 = all?.iter().map(|nanos| 1.0 / nanos).sum();
        Ok(f64::from(threads) / rates)
    }
}

/// One contestant's rounds, with one thread and with two.
#[derive(Default)]
struct Pairs {
    one: Vec<f64>,
    two: Vec<f64>,
}

impl Pairs {
    fn one(&mut self, nanos: f64) {
        self.one.push(nanos);
    }

    fn two(&mut self, nanos: f64) {
        self.two.push(nanos);
    }

    /// How many times as much both threads do as one, in each round.
    fn scaling(&self) -> Spread {
        Spread::of(self.one.iter().zip(&self.two).map(|(one, two)| 2.0 * one / two))
    }

    /// The same, of the fastest rounds: whatever else a machine does can only slow a round down.
    fn scaling_undisturbed(&self) -> f64 {
        let fastest = |nanos: &[f64]| Spread::of(nanos.iter().copied()).min;
        2.0 * fastest(&self.one) / fastest(&self.two)
    }

    fn figures(&self, scenario: &str, subject: &str, figures: &mut Vec<Figure>) {
        for (threads, nanos) in [("one thread", &self.one), ("each of two threads", &self.two)] {
            figures.push(Figure {
                scenario: scenario.to_owned(),
                subject: format!("{subject}, {threads}"),
                spread: Spread::of(nanos.iter().copied()),
                unit: Unit::Nanos,
            });
        }
    }
}

fn warm(who: &str, contestant: &mut impl Contestant, keys: u32) -> Result<(), BenchError> {
    let passed = (0..keys).filter(|index| contestant.decide(&Client::at(*index))).count();
    all_passed(who, passed as u64, keys.into())
}
