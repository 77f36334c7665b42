//! Measures Sluicegate beside its peers: `./x bench`.
//!
//! Everything is measured in the same run, in rounds of all in turn, and told as medians with their least and most. What the
//! loop itself costs is measured too, printed, and subtracted for all alike. `docs/benchmarks.md` says what each bench
//! measures and what it found.
//!
//! Read on in this order: [`clients`], [`contestants`], [`lap`], [`benches`], [`report`].
#![forbid(unsafe_code)]

mod arguments;
mod benches;
mod child;
mod clients;
mod contestants;
mod error;
mod lap;
mod machine;
mod progress;
mod report;
mod spread;
mod stopwatch;

use std::error::Error as _;
use std::process::ExitCode;

use clap::Parser as _;
use serde_json::json;

use arguments::{Arguments, Command, Half, Part, StoreArguments};
use benches::{Scale, Size};
use error::BenchError;
use machine::Machine;
use report::Report;

/// The product's allocator, for everybody: peers and the minimal proxy are not to lose by another one.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            let mut source = error.source();
            while let Some(error) = source {
                eprintln!("  since {error}");
                source = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), BenchError> {
    let json = arguments.json;
    let command = arguments.command.as_ref().unwrap_or(&Command::All);
    let size = if arguments.smoke || matches!(command, Command::Smoke) {
        Size::Smoke
    } else {
        Size::Full
    };
    let scale = Scale {
        size,
        rounds: arguments.rounds,
    };
    let benches: Vec<Bench<'_>> = match command {
        Command::All | Command::Smoke => vec![
            Box::new(benches::decide),
            Box::new(benches::algorithms),
            Box::new(benches::policy),
            Box::new(benches::batch),
            Box::new(benches::tail),
            Box::new(benches::threads),
            Box::new(benches::memory),
            Box::new(benches::flood),
            Box::new(benches::snapshot),
            Box::new(benches::gateway),
            Box::new(benches::fleet_simulated),
            Box::new(benches::fleet_real),
            Box::new(|scale| benches::store(scale, StoreArguments::default())),
        ],
        Command::Decide => vec![Box::new(benches::decide)],
        Command::Algorithms => vec![Box::new(benches::algorithms)],
        Command::Policy => vec![Box::new(benches::policy)],
        Command::Batch => vec![Box::new(benches::batch)],
        Command::Tail => vec![Box::new(benches::tail)],
        Command::Threads => vec![Box::new(benches::threads)],
        Command::Memory => vec![Box::new(benches::memory)],
        Command::Flood => vec![Box::new(benches::flood)],
        Command::Snapshot => vec![Box::new(benches::snapshot)],
        Command::Gateway => vec![Box::new(benches::gateway)],
        Command::Fleet(arguments) => {
            let simulated: Bench<'_> = Box::new(|scale| benches::fleet(scale, arguments));
            match arguments.only {
                None => vec![simulated, Box::new(benches::fleet_real)],
                Some(Half::Simulated) => vec![simulated],
                Some(Half::Real) => vec![Box::new(benches::fleet_real)],
            }
        }
        Command::Store(arguments) => vec![Box::new(|scale| benches::store(scale, *arguments))],
        Command::Part(part) => return run_part(*part),
    };

    let machine = Machine::look();
    if !json {
        print!("{machine}");
    }
    let mut reports = Vec::new();
    for bench in benches {
        let report = bench(scale)?;
        report.check()?;
        match size {
            // Tiny sizes say nothing of speed.
            Size::Smoke => eprintln!("{}: {} figures came out", report.bench, report.figures.len()),
            Size::Full if !json => print!("{report}"),
            Size::Full => {}
        }
        reports.push(report);
    }
    if json {
        println!("{}", json!({ "machine": machine, "benches": reports }));
    }
    Ok(())
}

type Bench<'a> = Box<dyn Fn(Scale) -> Result<Report, BenchError> + 'a>;

/// A part of a bench that needs a process of its own; its answer is JSON.
fn run_part(part: Part) -> Result<(), BenchError> {
    let answer = match part {
        Part::Fill(part) => json!(benches::memory_part(part)?),
        Part::Flood(part) => json!(benches::flood_part(part)?),
        Part::Repeat(part) => return benches::policy_part(part),
        Part::Proxy(part) => return benches::proxy(part),
        Part::Refuser(part) => return benches::refuser(part),
    };
    println!("{answer}");
    Ok(())
}
