//! Ten million fresh keys as fast as the machine can: does memory keep its bound, does any decision take long, and does a
//! client that was limited before stay so?

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::{Scale, memory_for};
use crate::arguments::{Filled, FloodPart};
use crate::child;
use crate::clients::{Client, Clients};
use crate::contestants::{Allowance, Checks, Contestant, FixedWindow, Governor, Limitador, Quota, Throttlecrab};
use crate::error::BenchError;
use crate::progress::tell;
use crate::report::{Figure, Goal, Peer, Report, Side, Unit};
use crate::spread::{Spread, number};
use crate::stopwatch::{self, Counter, pin};

const BENCH: &str = "flood";

/// Beside the table: the program itself, its stacks, and what the allocator holds back.
const BESIDE_THE_TABLE: u64 = 64 << 20;

/// What one flooded process found.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Flooding {
    /// Nanoseconds of which this share of decisions took less: 50 %, 99 %, 99.99 %, all.
    nanos: [u64; 4],
    /// Keys that met the overflow; zero for peers.
    overflowed: u64,
    /// How often the victim passed during the flood; zero for peers, who forget nobody.
    victim_passed: u64,
    /// How often the victim asked.
    victim_asked: u64,
    /// Most bytes that the whole process ever held; `None` where the system does not say.
    peak: Option<u64>,
}

/// Floods each limiter in a process of its own.
///
/// # Errors
///
/// If a process cannot be started or answers something else.
pub(crate) fn flood(scale: Scale) -> Result<Report, BenchError> {
    let keys = scale.pick(10_000_000, 50_000);
    let room = memory_for(keys);
    let mut subjects = [
        Subject::new("sluicegate, room for all", Filled::Sluicegate, room),
        Subject::new(
            "sluicegate, room for a quarter",
            Filled::Sluicegate,
            (room / 4).max(1 << 20),
        ),
        Subject::new("governor", Filled::Governor, 0),
        Subject::new("quota", Filled::Quota, 0),
        Subject::new("throttlecrab", Filled::Throttlecrab, 0),
    ];
    let rounds = scale.rounds(3);
    for round in 0..rounds {
        for subject in &mut subjects {
            tell(BENCH, &format!("round {} of {rounds}: {}", round + 1, subject.name));
            let arguments = [keys.to_string(), subject.memory.to_string()];
            subject.rounds.push(child::ask("flood", &subject.who, &arguments)?);
        }
    }
    let (ours, peers) = subjects.split_at(2);
    let victims = || ours.iter().flat_map(|subject| &subject.rounds);
    let asked: u64 = victims().map(|flooding| flooding.victim_asked).sum();
    let met = victims().map(|flooding| flooding.overflowed).max().unwrap_or(0);
    Ok(Report {
        bench: BENCH,
        about: "random keys, each new; every single decision timed by the time stamp counter, whose reading is included",
        table: None,
        figures: subjects.iter().flat_map(Subject::figures).collect(),
        goals: goals(ours, peers),
        notes: vec![format!(
            "the drained client asked {asked} times; in the small table {met} of {keys} keys met the overflow"
        )],
    })
}

/// The first of `ours` has room for all keys; only it is compared with the peers, who have no bound.
fn goals(ours: &[Subject], peers: &[Subject]) -> Vec<Goal> {
    let mut goals = Vec::new();
    for (at, subject) in ours.iter().enumerate() {
        let peers = peers.iter().filter(|_| at == 0).map(|peer| Peer {
            name: peer.name.to_owned(),
            value: peer.rare_micros(),
        });
        goals.push(Goal {
            what: format!("p99.99 of a decision, {}", subject.name),
            ours: subject.rare_micros(),
            side: Side::AtMost,
            bound: 20.0,
            unit: Unit::Micros,
            peer: peers.min_by(|one, two| one.value.total_cmp(&two.value)),
        });
        if let Some(peak) = subject.peak() {
            goals.push(Goal {
                what: format!("memory of the whole process, {}", subject.name),
                ours: mib(peak),
                side: Side::AtMost,
                bound: mib(subject.memory as u64 + BESIDE_THE_TABLE),
                unit: Unit::MiB,
                peer: None,
            });
        }
        goals.push(Goal {
            what: format!("times a drained client passed, {}", subject.name),
            ours: number(subject.rounds.iter().map(|flooding| flooding.victim_passed).sum()),
            side: Side::AtMost,
            bound: 0.0,
            unit: Unit::Count,
            peer: None,
        });
    }
    goals
}

/// Who is flooded, and what came of it.
struct Subject {
    name: &'static str,
    who: Filled,
    /// Bytes of our table.
    memory: usize,
    rounds: Vec<Flooding>,
}

impl Subject {
    const fn new(name: &'static str, who: Filled, memory: usize) -> Self {
        Self {
            name,
            who,
            memory,
            rounds: Vec::new(),
        }
    }

    fn figures(&self) -> Vec<Figure> {
        let figure = |subject: &str, spread, unit| Figure {
            scenario: self.name.to_owned(),
            subject: subject.to_owned(),
            spread,
            unit,
        };
        let nanos = |at: usize| Spread::of(self.rounds.iter().map(|flooding| number(flooding.nanos[at])));
        let mut figures = vec![
            figure("p50", nanos(0), Unit::Nanos),
            figure("p99", nanos(1), Unit::Nanos),
            figure("p99.99", nanos(2), Unit::Nanos),
            figure("slowest", nanos(3), Unit::Nanos),
        ];
        if let Some(peak) = self.peak() {
            figures.push(figure("most memory", Spread::once(mib(peak)), Unit::MiB));
        }
        figures
    }

    fn rare_micros(&self) -> f64 {
        Spread::of(self.rounds.iter().map(|flooding| number(flooding.nanos[2]) / 1e3)).median
    }

    fn peak(&self) -> Option<u64> {
        self.rounds.iter().filter_map(|flooding| flooding.peak).max()
    }
}

fn mib(bytes: u64) -> f64 {
    number(bytes) / number(1 << 20)
}

/// Floods one limiter in this process.
///
/// # Errors
///
/// If it cannot be set up.
pub(crate) fn part(flood: FloodPart) -> Result<Flooding, BenchError> {
    let FloodPart { who, keys, memory } = flood;
    match who {
        Filled::Sluicegate => {
            let mut ours = Checks::new(SMALL, memory)?;
            let mut flooding = Flood::new(keys).run(&mut ours, Some(VICTIM))?;
            flooding.overflowed = ours.overflowed();
            Ok(flooding)
        }
        Filled::Governor => Flood::new(keys).run(&mut Governor::quanta(SMALL)?, None),
        // Nobody tells a limiter how many keys a flood will bring.
        Filled::Quota => Flood::new(keys).run(&mut Quota::new(SMALL, 0), None),
        Filled::Throttlecrab => Flood::new(keys).run(&mut Throttlecrab::new(SMALL, 0), None),
        Filled::Limitador => Flood::new(keys).run(&mut Limitador::new(FixedWindow::LARGE, keys)?, None),
    }
}

/// Few at once and one an hour, so that a victim is soon drained and stays it.
const SMALL: Allowance = Allowance {
    period_seconds: 3_600,
    burst: 5,
};

/// The one client that the flood never draws.
const VICTIM: u32 = u32::MAX;

/// After how many keys of the flood the victim tries again.
const VICTIM_EVERY: u32 = 10_000;

struct Flood {
    keys: u32,
    counter: Counter,
}

impl Flood {
    fn new(keys: u32) -> Self {
        Self {
            keys,
            counter: Counter::new(),
        }
    }

    fn run(&self, contestant: &mut impl Contestant, victim: Option<u32>) -> Result<Flooding, BenchError> {
        pin(0);
        let histogram = |error: hdrhistogram::CreationError| BenchError::set_up("hdrhistogram", &error);
        // To a minute, within one part in a thousand.
        let mut times = Histogram::<u64>::new_with_max(60_000_000_000, 3).map_err(histogram)?;
        let victim = victim.map(Client::at);
        if let Some(victim) = &victim {
            while contestant.decide(victim) {}
        }
        let (mut victim_passed, mut victim_asked) = (0, 0);
        let mut clients = Clients::new(0, VICTIM, 1);
        for index in 0..self.keys {
            let client = clients.draw();
            let before = self.counter.read();
            std::hint::black_box(contestant.decide(std::hint::black_box(&client)));
            let after = self.counter.read();
            times.saturating_record(self.counter.nanos_between(before, after));
            if index % VICTIM_EVERY == 0
                && let Some(victim) = &victim
            {
                victim_asked += 1;
                victim_passed += u64::from(contestant.decide(victim));
            }
        }
        Ok(Flooding {
            nanos: [0.5, 0.99, 0.9999, 1.0].map(|share| times.value_at_quantile(share)),
            overflowed: 0,
            victim_passed,
            victim_asked,
            peak: stopwatch::memory().map(|memory| memory.peak),
        })
    }
}
