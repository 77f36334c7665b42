//! Processor time of one proxied and of one refused request: our gateway, the least that a proxy on the same libraries can
//! be, and nginx.
//!
//! The server has one processor, the load and the upstream have the other. What is measured is the server's own user and
//! system time divided by the requests that were answered, so that neither the load's speed nor the upstream's is in it.

mod load;
mod minimal;
mod servers;

use super::Scale;
use crate::child::{Server, is_there};
use crate::error::BenchError;
use crate::machine::cores;
use crate::progress::tell;
use crate::report::{Figure, Goal, Peer, Report, Side, Unit};
use crate::spread::{Spread, nanos_each};
use crate::stopwatch::cpu_of;
use load::{Expected, Load};
use servers::Stage;

pub(crate) use minimal::{proxy, refuser};

const BENCH: &str = "gateway";

/// Measures processor time a request, in rounds of all servers in turn.
///
/// # Errors
///
/// If a server cannot be built or started, or answers something else than it should.
pub(crate) fn gateway(scale: Scale) -> Result<Report, BenchError> {
    let mut report = Report {
        bench: BENCH,
        about: "user and system time of the server process ÷ requests answered; keep-alive, 32 connections, bodies of 1 KiB",
        table: None,
        figures: Vec::new(),
        goals: Vec::new(),
        notes: Vec::new(),
    };
    if let Some(missing) = ["nginx", "wrk"].into_iter().find(|program| !is_there(program)) {
        report.figures.push(Figure {
            scenario: "left out".to_owned(),
            subject: format!("{missing} is missing"),
            spread: Spread::once(0.0),
            unit: Unit::Count,
        });
        return Ok(report);
    }
    if cores() < 2 {
        report
            .notes
            .push("this machine has one processor: load, upstream and server take turns on it".to_owned());
    }
    let stage = Stage::set(BENCH)?;
    let load = Load::new(stage.folder(), scale.pick(5, 1))?;

    let servers = [stage.ours_passing()?, stage.minimal_proxy()?, stage.nginx_passing()?];
    let rounds = scale.rounds(7);
    let passing = measure("proxied", &servers, &load, Expected::Passed, rounds, &mut report)?;
    drop(servers);
    let servers = [
        stage.ours_refusing()?,
        stage.minimal_refuser()?,
        stage.nginx_refusing()?,
    ];
    let refusing = measure("refused", &servers, &load, Expected::Refused, rounds, &mut report)?;

    for (what, [ours, minimal, nginx], bound) in [
        ("a proxied request, three rules", passing, 1.08),
        ("a refused request", refusing, 1.1),
    ] {
        report.goals.push(Goal {
            what: format!("{what}, against the minimal server"),
            ours: ours / minimal,
            side: Side::AtMost,
            bound,
            unit: Unit::Times,
            peer: Some(Peer {
                name: "nginx".to_owned(),
                value: nginx / minimal,
            }),
        });
    }
    Ok(report)
}

/// Measures three servers in turn; the medians, in microseconds.
fn measure(
    scenario: &str,
    servers: &[Server; 3],
    load: &Load,
    expected: Expected,
    rounds: u32,
    report: &mut Report,
) -> Result<[f64; 3], BenchError> {
    let mut micros: [Vec<f64>; 3] = std::array::from_fn(|_| Vec::new());
    let mut ratios = Vec::new();
    for round in 0..rounds {
        tell(BENCH, &format!("{scenario}: round {} of {rounds}", round + 1));
        let mut of_round = [f64::NAN; 3];
        for (server, micros) in servers.iter().zip(&mut of_round) {
            let before = cpu_of(server.pid());
            let answered = load.run(server, expected)?;
            let after = cpu_of(server.pid());
            let (Some(before), Some(after)) = (before, after) else {
                return Err(BenchError::NoFigure {
                    bench: BENCH,
                    what: "this system does not tell a process's time".to_owned(),
                });
            };
            *micros = nanos_each(after.saturating_sub(before), answered) / 1e3;
        }
        for (all, one) in micros.iter_mut().zip(of_round) {
            all.push(one);
        }
        ratios.push(of_round[0] / of_round[1]);
    }
    let spreads = micros.map(Spread::of);
    for (server, spread) in servers.iter().zip(spreads) {
        report.figures.push(Figure {
            scenario: scenario.to_owned(),
            subject: server.name().to_owned(),
            spread,
            unit: Unit::Micros,
        });
    }
    report.figures.push(Figure {
        scenario: scenario.to_owned(),
        subject: "sluicegate ÷ minimal, each round".to_owned(),
        spread: Spread::of(ratios),
        unit: Unit::Times,
    });
    Ok(spreads.map(|spread| spread.median))
}
