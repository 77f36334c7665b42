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

use arguments::{Arguments, Command, Part};
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
    let command = arguments.command.unwrap_or(Command::All);
    let size = if arguments.smoke || matches!(command, Command::Smoke) {
        Size::Smoke
    } else {
        Size::Full
    };
    let scale = Scale {
        size,
        rounds: arguments.rounds,
    };
    let benches: &[Bench] = match command {
        Command::All | Command::Smoke => &[
            benches::decide,
            benches::algorithms,
            benches::policy,
            benches::batch,
            benches::tail,
            benches::threads,
            benches::memory,
            benches::flood,
            benches::snapshot,
            benches::gateway,
        ],
        Command::Decide => &[benches::decide],
        Command::Algorithms => &[benches::algorithms],
        Command::Policy => &[benches::policy],
        Command::Batch => &[benches::batch],
        Command::Tail => &[benches::tail],
        Command::Threads => &[benches::threads],
        Command::Memory => &[benches::memory],
        Command::Flood => &[benches::flood],
        Command::Snapshot => &[benches::snapshot],
        Command::Gateway => &[benches::gateway],
        Command::Part(part) => return run_part(part),
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

type Bench = fn(Scale) -> Result<Report, BenchError>;

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
