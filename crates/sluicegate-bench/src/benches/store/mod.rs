//! What sharing limits costs a real Redis, and the node.

mod batches;
mod exact;
mod node;
mod setting;

use std::time::Duration;

use super::Scale;
use crate::arguments::{StoreArguments, StorePart};
use crate::error::BenchError;
use crate::progress::tell;
use crate::report::{Figure, Goal, Peer, Report, Side, Unit};
use crate::spread::{Spread, number};

pub(super) use exact::{GCRA, Link};
pub(super) use setting::{Node, RULE, Setting};

const BENCH: &str = "store";

/// Measures the script in full batches, exact mode beside a plain script for each request, and the node's own work.
///
/// # Errors
///
/// If a server does not start or does not answer.
pub(crate) fn store(scale: Scale, arguments: StoreArguments) -> Result<Report, BenchError> {
    let mut report = Report {
        bench: BENCH,
        about: "one redis-server and one node on the same machine; the server's own processor time, system calls included",
        table: None,
        figures: Vec::new(),
        goals: Vec::new(),
        notes: Vec::new(),
    };
    let span = scale.pick(Duration::from_secs(4), Duration::from_millis(200));
    let mut found = Found::default();
    let rounds = scale.rounds(3);
    for round in 0..rounds {
        tell(BENCH, &format!("round {} of {rounds}", round + 1));
        // A new server in each round: none carries what another left.
        let Some(setting) = Setting::start()? else {
            Setting::left_out(&mut report);
            return Ok(report);
        };
        let is_asked = |part| arguments.only.is_none_or(|only| only == part);
        if is_asked(StorePart::Batches) {
            found.batches.push(batches::measure(&setting, batches::FULL, span)?);
            found.single.push(batches::measure(&setting, 1, span)?);
        }
        if is_asked(StorePart::Exact) {
            found.exact.push(exact::ours(&setting, span)?);
            found.plain.push(exact::plain(&setting, span)?);
        }
        if is_asked(StorePart::Node) {
            for (found, keys) in found.node.iter_mut().zip(node::KEYS) {
                found.push(node::measure(&setting, keys, span)?);
            }
        }
    }
    found.tell(&mut report);
    Ok(report)
}

/// What all rounds found.
#[derive(Debug, Default)]
struct Found {
    batches: Vec<Load>,
    single: Vec<Load>,
    exact: Vec<Load>,
    plain: Vec<Load>,
    node: [Vec<node::Found>; node::KEYS.len()],
}

/// What came of asking a server as fast as it answers.
#[derive(Debug, Clone, Copy)]
struct Load {
    /// Keys that were asked about, or requests that were decided.
    done: f64,
    wall: Duration,
    /// The server's processor time.
    server: Duration,
    /// Processor time of the threads that share limits.
    sharing: Duration,
    /// Processor time of the thread that asks.
    asking: Duration,
    /// Microseconds that scripts took by the server's own clock.
    scripts: f64,
    /// Calls of scripts.
    calls: f64,
    /// Calls above half a millisecond, and the longest in microseconds.
    slow: (u64, u64),
}

impl Load {
    /// Microseconds of processor time for each, of the server, the threads that share, and the one that asks.
    fn micros_each(&self) -> [f64; 3] {
        [self.server, self.sharing, self.asking].map(|time| time.as_secs_f64() * 1e6 / self.done)
    }

    /// How many of them a second on the wall.
    fn a_second(&self) -> f64 {
        self.done / self.wall.as_secs_f64()
    }

    /// How many of them a second of the server's processor.
    fn a_server_second(&self) -> f64 {
        self.done / self.server.as_secs_f64()
    }
}

impl Found {
    fn tell(&self, report: &mut Report) {
        if !self.batches.is_empty() {
            self.tell_batches(report);
        }
        if !self.exact.is_empty() {
            self.tell_exact(report);
        }
        for (found, keys) in self.node.iter().zip(node::KEYS) {
            if !found.is_empty() {
                tell_node(found, keys, report);
            }
        }
        report.notes = vec![
            "a key of a batch reports a lease, asks for the next and pays nothing; 12 800 keys in turn, three calls under way".to_owned(),
            "on the wall the server shares the machine's processors with the node and the load, and a call's time by its clock \
             includes what others took of its processor"
                .to_owned(),
            "a script for each request: one GCRA by EVALSHA, pipelined over two connections, 1 024 under way".to_owned(),
        ];
    }

    fn tell_batches(&self, report: &mut Report) {
        let mut tell = |subject: &str, value: fn(&Load) -> f64, unit| {
            let spread = Spread::of(self.batches.iter().map(value));
            figure(report, "calls of 128 keys", subject, spread, unit)
        };
        let keys = tell(
            "keys, a second of the server's processor",
            Load::a_server_second,
            Unit::PerSecond,
        );
        tell("keys, a second on the wall", Load::a_second, Unit::PerSecond);
        tell(
            "a key, in the script alone",
            |load| load.scripts * 1e3 / load.done,
            Unit::Nanos,
        );
        let mean = tell(
            "a call, by the server's clock",
            |load| load.scripts / load.calls,
            Unit::Micros,
        );
        let slow = |load: &Load| number(load.slow.0) / load.calls * 100.0;
        let slow = tell("calls above 0.5 ms, of all", slow, Unit::Percent);
        tell("the longest call", |load| number(load.slow.1), Unit::Micros);
        let spread = Spread::of(
            self.single
                .iter()
                .map(|load| load.server.as_secs_f64() * 1e6 / load.done),
        );
        figure(
            report,
            "calls of one key",
            "a call, of the server's processor",
            spread,
            Unit::Micros,
        );
        report.goals.extend([
            goal(
                "keys, a second of a Redis core",
                keys,
                Side::AtLeast,
                250_000.0,
                Unit::PerSecond,
                None,
            ),
            goal(
                "a call of 128 keys, mean",
                mean,
                Side::AtMost,
                500.0,
                Unit::Micros,
                None,
            ),
            goal("calls above 0.5 ms", slow, Side::AtMost, 0.0, Unit::Percent, None),
        ]);
    }

    fn tell_exact(&self, report: &mut Report) {
        let mut tell = |subject: &str, loads: &[Load], value: fn(&Load) -> f64| {
            let spread = Spread::of(loads.iter().map(value));
            figure(report, "exact, 2 connections", subject, spread, Unit::PerSecond)
        };
        let ours = tell("ours, a second on the wall", &self.exact, Load::a_second);
        let plain = tell(
            "a script for each request, a second on the wall",
            &self.plain,
            Load::a_second,
        );
        let core = "ours, a second of the server's processor";
        let ours_of_core = tell(core, &self.exact, Load::a_server_second);
        let core = "a script for each, a second of the server's processor";
        let plain_of_core = tell(core, &self.plain, Load::a_server_second);
        let names = [
            "the server's processor, a decision",
            "the sharing threads, a decision",
            "the asking thread, a decision",
        ];
        for (index, name) in names.into_iter().enumerate() {
            let spread = Spread::of(self.exact.iter().map(|load| load.micros_each()[index]));
            figure(report, "exact, ours", name, spread, Unit::Micros);
        }
        for (what, ours, plain) in [
            ("exact decisions a second", ours, plain),
            ("the same, a second of a Redis core", ours_of_core, plain_of_core),
        ] {
            report
                .goals
                .push(goal(what, ours, Side::AtLeast, 190_000.0, Unit::PerSecond, Some(plain)));
        }
    }
}

fn tell_node(found: &[node::Found], keys: u32, report: &mut Report) {
    let scenario = format!("a node that shares {} 000 keys", keys / 1_000);
    let mut tell = |subject: &str, value: fn(&node::Found) -> f64, unit| {
        let spread = Spread::of(found.iter().map(value));
        figure(report, &scenario, subject, spread, unit)
    };
    let sharing = tell("sharing thread, a synced key", |found| found.sharing, Unit::Nanos);
    let carried = tell("keys in a call", |found| found.keys_a_call, Unit::Count);
    tell("keys synced, a second", |found| found.keys_a_second, Unit::PerSecond);
    let what = format!("node's processor time, a synced key of {carried:.0} in a call");
    report
        .goals
        .push(goal(&what, sharing / 1e3, Side::AtMost, 1.5, Unit::Micros, None));
}

/// Adds a figure, and gives its median.
fn figure(report: &mut Report, scenario: &str, subject: &str, spread: Spread, unit: Unit) -> f64 {
    report.figures.push(Figure {
        scenario: scenario.to_owned(),
        subject: subject.to_owned(),
        spread,
        unit,
    });
    spread.median
}

fn goal(what: &str, ours: f64, side: Side, bound: f64, unit: Unit, plain: Option<f64>) -> Goal {
    Goal {
        what: what.to_owned(),
        ours,
        side,
        bound,
        unit,
        peer: plain.map(|value| Peer {
            name: "a script each".to_owned(),
            value,
        }),
    }
}
