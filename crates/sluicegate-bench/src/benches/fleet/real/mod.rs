//! The laboratory on a real Redis: a hundred nodes in this process, at a tenth of the scale.
//!
//! One thread makes the requests and has each node decide; each node has a thread of its own that shares its limits; one thread moves the
//! bytes of all connections. The exact meter counts every request that passes, at the moment at which the node said so.

mod load;
mod nodes;
mod rivals;

use std::time::Duration;

use super::super::Scale;
use super::super::store::Setting;
use crate::error::BenchError;
use crate::progress::tell;
use crate::report::{Columns, Figure, Goal, Report, Side, Unit, short};
use crate::spread::Spread;
use load::{Load, Measured};
use nodes::Contestant;

const BENCH: &str = "fleet, real";

/// Plays on a real Redis.
///
/// # Errors
///
/// If the server or a node cannot be started, or does not answer.
pub(crate) fn real(scale: Scale) -> Result<Report, BenchError> {
    let mut report = Report {
        bench: BENCH,
        about: "nodes in one process and a real redis-server, on this machine's processors together",
        table: None,
        figures: Vec::new(),
        goals: Vec::new(),
        notes: Vec::new(),
    };
    let span = scale.pick(Duration::from_secs(8), Duration::from_millis(300));
    let nodes = scale.pick(100, 5);
    let loads = [
        Load {
            name: "one hot key at 2×",
            limit: "25000/s burst 50000",
            keys: 1,
            a_millisecond: 50,
            nodes,
            span,
        },
        Load {
            name: "100 keys at 0.5×",
            limit: "1000/s burst 2000",
            keys: 100,
            a_millisecond: 50,
            nodes,
            span,
        },
        Load {
            name: "1 000 keys at 0.5×",
            limit: "100/s burst 200",
            keys: 1_000,
            a_millisecond: 50,
            nodes,
            span,
        },
    ];
    let mut runs = Vec::new();
    for load in loads {
        for contestant in Contestant::ALL {
            tell(BENCH, &format!("{}: {}", load.name, contestant.name()));
            // A new server for each: none carries what another left.
            let Some(setting) = Setting::start()? else {
                Setting::left_out(&mut report);
                return Ok(report);
            };
            runs.push((load, contestant, load.run(&setting, contestant)?));
        }
    }
    fill(&mut report, &runs);
    Ok(report)
}

fn fill(report: &mut Report, runs: &[(Load, Contestant, Measured)]) {
    let titles = [
        "scenario",
        "contestant",
        "asked",
        "admitted",
        "worst excess",
        "ops/request",
        "p50",
        "p99",
        "server busy",
        "nodes busy",
        "",
    ];
    let mut columns = Columns::new(titles, 2);
    let mut scenario = "";
    for (load, contestant, run) in runs {
        let named = if load.name == scenario { "" } else { load.name };
        scenario = load.name;
        let percent = |part: f64| format!("{} %", short(part * 100.0));
        columns.push([
            named.to_owned(),
            contestant.name().to_owned(),
            format!("{}/s", short(run.asked)),
            percent(run.admitted),
            percent(run.excess),
            format!("{:.4}", run.operations),
            format!("{} µs", short(run.waits[0])),
            format!("{} µs", short(run.waits[1])),
            percent(run.server),
            percent(run.nodes),
            String::new(),
        ]);
        for (what, value, unit) in [
            ("asked", run.asked, Unit::PerSecond),
            ("admitted of the ideal", run.admitted * 100.0, Unit::Percent),
            ("worst excess, of the burst", run.excess * 100.0, Unit::Percent),
            ("store operations a request", run.operations, Unit::Count),
            ("p50 of a decision", run.waits[0], Unit::Micros),
            ("p99 of a decision", run.waits[1], Unit::Micros),
            ("server busy", run.server * 100.0, Unit::Percent),
            ("nodes and load busy", run.nodes * 100.0, Unit::Percent),
        ] {
            report.figures.push(Figure {
                scenario: load.name.to_owned(),
                subject: format!("{}: {what}", contestant.name()),
                spread: Spread::once(value),
                unit,
            });
        }
    }
    report.table = Some(columns.to_string());
    report.goals = goals(runs);
    report.notes = vec![
        "worst excess: by the exact meter over all windows, as a part of the burst; a moment in which a node decides and the meter counts lie up \
         to a few microseconds apart"
            .to_owned(),
        "100 keys come as often to each node as 1 000 keys do at full scale, five times a second; of the 1 000 keys here each comes once in two \
         seconds, where nothing can be leased ahead and each request is told afterwards"
            .to_owned(),
        "busy: processor time over time on the wall, 100 % is one processor; that of the nodes has the load and the meter in it".to_owned(),
    ];
}

fn goals(runs: &[(Load, Contestant, Measured)]) -> Vec<Goal> {
    let mut goals = Vec::new();
    for (load, contestant, run) in runs {
        if *contestant != Contestant::Hybrid {
            continue;
        }
        goals.push(Goal {
            what: format!("worst excess of ours, {}", load.name),
            ours: run.excess * 100.0,
            side: Side::AtMost,
            // What a hundred nodes may let through before they report it, at least one unit each.
            bound: load.allowed_excess() * 100.0,
            unit: Unit::Percent,
            peer: None,
        });
    }
    goals
}
