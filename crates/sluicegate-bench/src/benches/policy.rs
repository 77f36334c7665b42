//! A request under a whole policy: from the parsed request to its decision, and to the end of what it holds.

use super::{Scale, Size, keys_in_words};
use crate::arguments::{Repeat, Repeated};
use crate::child;
use crate::clients::{Client, Clients};
use crate::contestants::{Allowance, Checks, Contestant, Decides};
use crate::error::BenchError;
use crate::lap::{Entrant, Laps, Named, Nobody, Turns, all_passed, run, turns};
use crate::progress::tell;
use crate::report::{Figure, Goal, Report, Side, Unit};
use crate::spread::{Spread, number};
use crate::stopwatch::pin;

const BENCH: &str = "policy";

const LOOP: &str = "the loop alone (subtracted below)";
const API: &str = "three rules: shared bucket, sliding window, permit";
const API_BESIDE: &str = "the same beside 1 000 rules on other routes";
const BUCKETS: &str = "three token buckets";

/// How many token buckets match, where that is what is varied.
const MATCHING: [(u32, &str); 6] = [
    (1, "1 matching token bucket"),
    (2, "2 matching token buckets"),
    (3, "3 matching token buckets"),
    (4, "4 matching token buckets"),
    (6, "6 matching token buckets"),
    (8, "8 matching token buckets"),
];

/// Measures whole requests, under several policies in turn.
///
/// # Errors
///
/// If a policy does not hold or a request is refused.
pub(crate) fn policy(scale: Scale) -> Result<Report, BenchError> {
    let mut report = Report {
        bench: BENCH,
        about: "processor time from a parsed request to the end of what it holds, clock included; the loop's own cost subtracted",
        table: None,
        figures: Vec::new(),
        goals: Vec::new(),
        notes: Vec::new(),
    };
    std::thread::scope(|scope| {
        let pinned = scope.spawn(|| {
            pin(0);
            whole(scale, 1, scale.rounds(7), &mut report)?;
            whole(scale, scale.pick(1_000_000, 2_000), scale.rounds(5), &mut report)?;
            matching(scale, &mut report)?;
            conditions(scale, &mut report)
        });
        pinned.join().map_err(|_| BenchError::panicked(BENCH))?
    })?;
    if scale.size == Size::Full {
        instructions(&mut report)?;
    }
    Ok(report)
}

/// Three rules apply, alone and beside a thousand others.
fn whole(scale: Scale, clients: u32, rounds: u32, report: &mut Report) -> Result<(), BenchError> {
    let scenario = &match clients {
        1 => "one client".to_owned(),
        many => keys_in_words(many).replace("keys", "clients"),
    };
    // Room for two rules' keys of either size.
    let memory = (clients as usize * 256).max(8 << 20);
    let mut entrants: Vec<Box<dyn Entrant>> = vec![
        Box::new(Named::new(LOOP, Nobody)),
        Box::new(Named::new(API, Decides::by(&api(memory, 0), PATH)?)),
        Box::new(Named::new(API_BESIDE, Decides::by(&api(memory, OTHERS), PATH)?)),
        Box::new(Named::new(BUCKETS, Decides::by(&buckets(memory, 3), PATH)?)),
    ];
    tell(BENCH, &format!("{scenario}: all are known"));
    for entrant in &mut entrants {
        entrant.warm(clients)?;
    }
    let laps = turns(
        BENCH,
        scenario,
        &mut entrants,
        Turns {
            keys: clients,
            decisions: scale.pick(2_000_000, 5_000),
            rounds,
            frugal: &[],
        },
    )?;
    for (entrant, laps) in entrants.iter().zip(&laps) {
        report.figures.push(Figure {
            scenario: scenario.clone(),
            subject: entrant.name().to_owned(),
            spread: laps.spread(),
            unit: Unit::Nanos,
        });
    }
    let beside = Spread::of(
        laps[2]
            .nanos
            .iter()
            .zip(&laps[1].nanos)
            .map(|(beside, alone)| beside / alone),
    );
    report.figures.push(Figure {
        scenario: scenario.clone(),
        subject: "beside 1 000 others ÷ alone, each round".to_owned(),
        spread: beside,
        unit: Unit::Times,
    });
    for (what, laps) in [(API, &laps[1]), (BUCKETS, &laps[3])] {
        report.goals.push(Goal {
            what: format!("{what}, {scenario}"),
            ours: laps.spread().median,
            side: Side::AtMost,
            bound: 250.0,
            unit: Unit::Nanos,
            peer: None,
        });
    }
    report.goals.push(allocated(scenario, &laps));
    report.goals.push(Goal {
        what: format!("1 000 rules on other routes, {scenario}"),
        ours: beside.median,
        side: Side::AtMost,
        bound: 1.05,
        unit: Unit::Times,
        peer: None,
    });
    Ok(())
}

/// One to eight rules apply: what each of them adds.
fn matching(scale: Scale, report: &mut Report) -> Result<(), BenchError> {
    let scenario = "one client, by matching rules";
    let mut entrants: Vec<Box<dyn Entrant>> = vec![Box::new(Named::new(LOOP, Nobody))];
    for (count, name) in MATCHING {
        entrants.push(Box::new(Named::new(name, Decides::by(&buckets(8 << 20, count), PATH)?)));
    }
    for entrant in &mut entrants {
        entrant.warm(1)?;
    }
    let laps = turns(
        BENCH,
        scenario,
        &mut entrants,
        Turns {
            keys: 1,
            decisions: scale.pick(2_000_000, 5_000),
            rounds: scale.rounds(7),
            frugal: &[],
        },
    )?;
    for (entrant, laps) in entrants.iter().zip(&laps).skip(1) {
        report.figures.push(Figure {
            scenario: scenario.to_owned(),
            subject: entrant.name().to_owned(),
            spread: laps.spread(),
            unit: Unit::Nanos,
        });
    }
    let slopes = (0..laps[0].nanos.len()).map(|round| {
        let points = MATCHING.iter().zip(&laps[1..]);
        slope(points.map(|((count, _), laps)| (f64::from(*count), laps.nanos[round])))
    });
    let each = Spread::of(slopes);
    report.figures.push(Figure {
        scenario: scenario.to_owned(),
        subject: "each matching rule adds (slope)".to_owned(),
        spread: each,
        unit: Unit::Nanos,
    });
    report.goals.push(allocated(scenario, &laps));
    report.goals.push(Goal {
        what: "each matching rule".to_owned(),
        ours: each.median,
        side: Side::AtMost,
        bound: 20.0,
        unit: Unit::Nanos,
        peer: None,
    });
    Ok(())
}

/// One rule applies by a condition: what the condition adds to the same rule without one.
fn conditions(scale: Scale, report: &mut Report) -> Result<(), BenchError> {
    let scenario = "one client, one token bucket by a condition";
    let mut entrants: Vec<Box<dyn Entrant>> = vec![
        Box::new(Named::new(LOOP, Nobody)),
        Box::new(Named::new("no condition", Decides::by(&buckets(8 << 20, 1), PATH)?)),
    ];
    for condition in CONDITIONS {
        let decides = Decides::by(&bucket_when(8 << 20, condition.text), PATH)?;
        entrants.push(Box::new(Named::new(condition.name, decides)));
    }
    for entrant in &mut entrants {
        entrant.warm(1)?;
    }
    let laps = turns(
        BENCH,
        scenario,
        &mut entrants,
        Turns {
            keys: 1,
            decisions: scale.pick(500_000, 5_000),
            rounds: scale.rounds(7),
            frugal: &[],
        },
    )?;
    let without = &laps[1];
    for (condition, laps) in CONDITIONS.iter().zip(&laps[2..]) {
        let rounds = laps.nanos.iter().zip(&without.nanos);
        let adds = Spread::of(rounds.map(|(with, without)| with - without));
        report.figures.push(Figure {
            scenario: scenario.to_owned(),
            subject: format!("{} adds", condition.name),
            spread: adds,
            unit: Unit::Nanos,
        });
        report.goals.push(Goal {
            what: format!("a condition, {}", condition.name),
            ours: adds.median,
            side: Side::AtMost,
            bound: condition.goal,
            unit: Unit::Nanos,
            peer: None,
        });
    }
    Ok(())
}

/// A condition that holds for every request of the bench.
struct Measured {
    name: &'static str,
    text: &'static str,
    /// Nanoseconds.
    goal: f64,
}

const CONDITIONS: [Measured; 3] = [
    Measured {
        name: "native, one comparison",
        text: "path.startsWith('/items')",
        goal: 60.0,
    },
    Measured {
        name: "native, three parts",
        text: "method == 'GET' && route in ['item', 'rest'] && !path.contains('admin')",
        goal: 60.0,
    },
    Measured {
        name: "interpreted",
        text: "['/items', '/login'].exists(start, path.startsWith(start))",
        goal: 1_000.0,
    },
];

/// That none of all decisions asked the allocator for anything.
fn allocated(scenario: &str, laps: &[Laps]) -> Goal {
    Goal {
        what: format!("bytes allocated in all decisions, {scenario}"),
        ours: number(laps.iter().map(|laps| laps.allocated).sum()),
        side: Side::AtMost,
        bound: 0.0,
        unit: Unit::Bytes,
        peer: None,
    }
}

/// The slope of the line that lies nearest to some points, by least squares.
fn slope(points: impl Iterator<Item = (f64, f64)> + Clone) -> f64 {
    let count: f64 = points.clone().map(|_| 1.0).sum();
    let (x, y) = points
        .clone()
        .fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
    let (x, y) = (x / count, y / count);
    let along: f64 = points.clone().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let across: f64 = points.map(|point| (point.0 - x).powi(2)).sum();
    along / across
}

/// Instructions of a decision, which no other program on the machine can change.
fn instructions(report: &mut Report) -> Result<(), BenchError> {
    if !child::is_there("valgrind") {
        report
            .notes
            .push("valgrind is missing: instructions are not counted".to_owned());
        return Ok(());
    }
    let scenario = "instructions, one client";
    let counted = |who: Repeated| -> Result<f64, BenchError> {
        tell(BENCH, &format!("{scenario}: {who:?}"));
        let arguments = [REPEATS.to_string()];
        Ok(number(child::instructions("repeat", &who, &arguments)?) / number(REPEATS))
    };
    let nothing = counted(Repeated::Nothing)?;
    for (who, subject) in [
        (Repeated::Check, "check, one token bucket"),
        (Repeated::Buckets, BUCKETS),
        (Repeated::Api, API),
        (Repeated::ApiBesideOthers, API_BESIDE),
    ] {
        report.figures.push(Figure {
            scenario: scenario.to_owned(),
            subject: subject.to_owned(),
            spread: Spread::once(counted(who)? - nothing),
            unit: Unit::Count,
        });
    }
    report.notes.push(
        "instructions are counted by valgrind, which has no steady counter: the clock is the system's there".to_owned(),
    );
    Ok(())
}

/// Decisions whose instructions are counted: enough that one cold one among them does not show.
const REPEATS: u64 = 20_000;

/// Decides again and again in this process, by the loop in which all are measured.
///
/// # Errors
///
/// If a policy does not hold or a request is refused.
pub(crate) fn part(repeat: Repeat) -> Result<(), BenchError> {
    let Repeat { who, decisions } = repeat;
    let memory = 8 << 20;
    match who {
        Repeated::Nothing => again(Nobody, decisions),
        Repeated::Check => again(Checks::new(Allowance::HOT, memory)?, decisions),
        Repeated::Api => again(Decides::by(&api(memory, 0), PATH)?, decisions),
        Repeated::Buckets => again(Decides::by(&buckets(memory, 3), PATH)?, decisions),
        Repeated::ApiBesideOthers => again(Decides::by(&api(memory, OTHERS), PATH)?, decisions),
    }
}

fn again(mut contestant: impl Contestant, decisions: u64) -> Result<(), BenchError> {
    contestant.decide(&Client::at(0));
    let passed = run(&mut contestant, &mut Clients::new(0, 1, 0), decisions);
    all_passed("sluicegate", passed, decisions)
}

const PATH: &str = "/items/7";

/// Rules that apply to other routes, one each.
const OTHERS: u32 = 1_000;

/// The policy of an API: of five rules three apply to a request for an item.
fn api(memory: usize, others: u32) -> String {
    let route = |other: u32| format!("  - {{ name: other-{other}, path: \"/other/{other}/{{id}}\" }}\n");
    let rule = |other: u32| format!("  - {{ name: other-{other}, routes: other-{other}, key: ip, limit: 100/min }}\n");
    let routes: String = (0..others).map(route).collect();
    let rules: String = (0..others).map(rule).collect();
    format!(
        "version: 1
state: {{ memory: {memory}B, split: {{ small: 50%, wide: 50%, logs: 0% }} }}
routes:
  - {{ name: login, methods: POST, path: /auth/login }}
  - {{ name: chat, methods: POST, path: /v1/chat/completions }}
  - {{ name: item, path: \"/items/{{id}}\" }}
  - {{ name: rest, path: \"/{{*rest}}\" }}
{routes}rules:
  - {{ name: everyone, key: [], limit: 100M/s burst 1000M }}
  - {{ name: per-client, key: ip, algorithm: sliding_window, limit: 1000M/d }}
  - {{ name: login-per-address, routes: login, key: ip, limit: 10/min }}
  - {{ name: chat-per-address, routes: chat, key: ip, limit: 100/min }}
  - {{ name: streams, key: ip, algorithm: concurrency, limit: 20 }}
{rules}"
    )
}

/// So many token buckets by address, all of which apply.
fn buckets(memory: usize, count: u32) -> String {
    let limit = Allowance::HOT.text();
    let rule = |number: u32| format!("  - {{ name: bucket-{number}, key: ip, limit: {limit} }}\n");
    let rules: String = (0..count).map(rule).collect();
    let split = "{ small: 100%, wide: 0%, logs: 0% }";
    format!(
        "version: 1\nstate: {{ memory: {memory}B, split: {split} }}\nroutes:\n  - {{ name: item, path: \"/items/{{id}}\" }}\nrules:\n{rules}"
    )
}

/// One token bucket by address, for requests for which a condition holds.
fn bucket_when(memory: usize, condition: &str) -> String {
    let limit = Allowance::HOT.text();
    let split = "{ small: 100%, wide: 0%, logs: 0% }";
    format!(
        "version: 1\nstate: {{ memory: {memory}B, split: {split} }}\nroutes:\n  - {{ name: item, path: \"/items/{{id}}\" }}\n  - {{ name: rest, path: \"/{{*rest}}\" }}\nrules:\n  - {{ name: bucket, key: ip, limit: {limit}, when: \"{condition}\" }}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_is_what_each_step_adds() {
        let points = [(1.0, 12.0), (2.0, 14.0), (4.0, 18.0)];
        assert!((slope(points.into_iter()) - 2.0).abs() < 1e-9);
    }
}
