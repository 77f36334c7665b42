//! The laboratory: what a hundred nodes make of one limit, in simulated time and on a real Redis, beside what others do.
//!
//! ```text
//!  scenario ──► contestants: ours, rivals ──► fleet::run (simulated time) ──► played ──► table, pictures
//!  load ──► real: Limiter::share over RedisStore, rivals over the same client ──► exact meter ──► table
//! ```

mod contestants;
mod picture;
mod played;
mod real;
mod rivals;
mod scenario;
mod svg;

use std::fs;
use std::path::Path;

use super::Scale;
use crate::arguments::FleetArguments;
use crate::error::BenchError;
use crate::progress::tell;
use crate::report::{Figure, Goal, Report, Side, Unit};
use crate::spread::Spread;
use contestants::Contestant;
use played::{Played, table};
pub(crate) use real::real;
use scenario::{HOT_TWICE, MANY_KEYS, MOVES, NODES, OUTAGE, STEP, Scenario, WIPED};

const BENCH: &str = "fleet";

/// The seed of a run that names none.
pub(crate) const SEED: u64 = 4;

/// Plays all scenarios in simulated time.
///
/// # Errors
///
/// If a picture cannot be written.
pub(crate) fn simulated(scale: Scale) -> Result<Report, BenchError> {
    simulate(scale, &FleetArguments::default())
}

/// As [`simulated`], as the command line wants it.
///
/// # Errors
///
/// If a picture cannot be written.
pub(crate) fn simulate(scale: Scale, arguments: &FleetArguments) -> Result<Report, BenchError> {
    let seed = arguments.seed;
    let scenarios = scenario::all(scale)?;
    let mut runs = Vec::new();
    for scenario in &scenarios {
        tell(BENCH, scenario.name);
        runs.extend(Contestant::ALL.map(|contestant| Played::play(scenario, contestant, seed)));
    }
    if let Some(folder) = &arguments.into {
        write(folder, &pictures(&scenarios, &runs, seed))?;
    }
    Ok(report(&scenarios, &runs, seed))
}

/// What is drawn: the scenario, the picture's name, and its title.
const PICTURES: [(&str, &str, &str); 5] = [
    (
        HOT_TWICE,
        "twice",
        "What 100 nodes admit of one limit when twice as much is asked",
    ),
    (
        OUTAGE,
        "outage",
        "What 100 nodes admit while the store is away for ten seconds, and after",
    ),
    (WIPED, "wiped", "What 100 nodes admit when the store loses all data"),
    (
        STEP,
        "step",
        "What 100 nodes admit of a small limit when the load rises to five times as much",
    ),
    (
        MOVES,
        "moves",
        "What 100 nodes admit when all traffic moves to the other half of them",
    ),
];

/// Who is drawn, from above.
const DRAWN: [Contestant; 5] = [
    Contestant::Hybrid,
    Contestant::PushOften,
    Contestant::PushSeldom,
    Contestant::Exact,
    Contestant::Split,
];

/// Each picture's name and text.
fn pictures(scenarios: &[Scenario], runs: &[Played], seed: u64) -> Vec<(&'static str, String)> {
    let mut pictures = Vec::new();
    for (name, file, title) in PICTURES {
        let rows = DRAWN.iter().filter_map(|drawn| find(runs, name, *drawn));
        if let Some(scenario) = scenarios.iter().find(|scenario| scenario.name == name) {
            pictures.push((file, picture::draw(title, scenario, &rows.collect::<Vec<_>>(), seed)));
        }
    }
    pictures
}

/// Writes each picture as `NAME.svg`; what is there by that name is replaced.
fn write(folder: &Path, pictures: &[(&str, String)]) -> Result<(), BenchError> {
    let file = |path: &Path| {
        let path = path.to_owned();
        move |source| BenchError::File { path, source }
    };
    fs::create_dir_all(folder).map_err(file(folder))?;
    for (name, text) in pictures {
        let path = folder.join(name).with_extension("svg");
        fs::write(&path, text).map_err(file(&path))?;
    }
    Ok(())
}

fn find<'a>(runs: &'a [Played], scenario: &str, contestant: Contestant) -> Option<&'a Played> {
    runs.iter()
        .find(|run| run.scenario == scenario && run.contestant == contestant)
}

fn report(scenarios: &[Scenario], runs: &[Played], seed: u64) -> Report {
    let mut figures = Vec::new();
    for run in runs {
        let mut figure = |what: &str, value, unit| {
            figures.push(Figure {
                scenario: run.scenario.to_owned(),
                subject: format!("{}: {what}", run.contestant.name()),
                spread: Spread::once(value),
                unit,
            });
        };
        figure("admitted of the ideal", run.admitted * 100.0, Unit::Percent);
        figure("worst excess, of the burst", run.excess * 100.0, Unit::Percent);
        figure("store operations a request", run.operations, Unit::Count);
        figure("store busy", run.busy * 100.0, Unit::Percent);
        figure("requests that wait", run.waiting * 100.0, Unit::Percent);
        figure("p99 of the wait of all", run.wait_p99, Unit::Micros);
    }
    let goal = |what: &str, scenario, side, bound, unit, value: fn(&Played) -> f64| Goal {
        what: format!("{what}, {scenario}"),
        ours: find(runs, scenario, Contestant::Hybrid).map_or(f64::NAN, value),
        side,
        bound,
        unit,
        peer: None,
    };
    let operations = |run: &Played| run.operations;
    let limits = scenarios
        .iter()
        .map(|scenario| format!("{}: {}", scenario.name, scenario.limit));
    Report {
        bench: "fleet, simulated",
        about: "100 nodes and one store, in simulated time with measured costs",
        table: Some(table(runs)),
        figures,
        goals: vec![
            goal("store operations a request", HOT_TWICE, Side::AtMost, 0.003, Unit::Count, operations),
            goal("store operations a request", MANY_KEYS, Side::AtMost, 0.4, Unit::Count, operations),
            goal("worst excess", HOT_TWICE, Side::AtMost, 1.0, Unit::Percent, |run| run.excess * 100.0),
            goal("admitted of the ideal", HOT_TWICE, Side::AtLeast, 98.5, Unit::Percent, |run| run.admitted * 100.0),
            goal("requests that wait", HOT_TWICE, Side::AtMost, 0.0, Unit::Percent, |run| run.waiting * 100.0),
        ],
        notes: vec![
            format!("seed {seed}, {NODES} nodes, a round trip of 0.5 to 2 ms, all at full scale; the limits:"),
            limits.collect::<Vec<_>>().join("; "),
            "admitted: of what one bucket alone would have let through; worst excess: of the worst of all windows, as a part of the burst"
                .to_owned(),
            format!(
                "the store's time: ours and push-pull {} µs a call and {} µs a key, exact {} µs a script, as bench store measures on a quiet machine",
                contestants::OURS.call,
                contestants::OURS.key,
                contestants::EXACT.key
            ),
            "exact refuses whom the store does not answer; push-pull and limit/N go on by what they know".to_owned(),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documented() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/sharing-laboratory")
    }

    /// The scenarios that pictures show, at full scale, from the seed that the command takes unless told otherwise.
    fn drawn() -> Vec<(&'static str, String)> {
        let full = Scale {
            size: super::super::Size::Full,
            rounds: None,
        };
        let mut scenarios = scenario::all(full).expect("limits that can be read");
        scenarios.retain(|scenario| PICTURES.iter().any(|(name, ..)| *name == scenario.name));
        let runs: Vec<_> = scenarios
            .iter()
            .flat_map(|scenario| DRAWN.map(|contestant| Played::play(scenario, contestant, SEED)))
            .collect();
        pictures(&scenarios, &runs, SEED)
    }

    #[test]
    fn the_documentations_pictures_are_what_the_laboratory_draws_today() {
        let drawn = drawn();
        assert_eq!(drawn.len(), PICTURES.len());
        let stale: Vec<_> = drawn
            .iter()
            .filter(|(name, text)| {
                let kept = fs::read_to_string(documented().join(name).with_extension("svg"));
                kept.ok().as_ref() != Some(text)
            })
            .map(|(name, _)| name)
            .collect();
        assert!(
            stale.is_empty(),
            "{stale:?} are out of date: run `./x bench fleet --only simulated --into docs/sharing-laboratory`, and look at them"
        );
    }

    #[test]
    fn every_picture_is_in_the_documentation_beside_a_text_that_stands_for_it() {
        let page = fs::read_to_string(documented().with_file_name("benchmarks.md")).expect("docs/benchmarks.md");
        for (_, name, _) in PICTURES {
            let at = page.find(&format!("](sharing-laboratory/{name}.svg)")).expect(name);
            let alternative = page[..at].rsplit_once("![").expect(name).1;
            assert!(alternative.len() > 40, "{name}: {alternative:?}");
        }
    }

    #[test]
    fn a_picture_needs_nothing_from_outside_and_says_in_words_what_it_shows() {
        for (_, name, title) in PICTURES {
            let text = fs::read_to_string(documented().join(name).with_extension("svg")).expect(name);
            for foreign in ["href", "url(", "<script", "<image", "@import", "<foreignObject"] {
                assert!(!text.contains(foreign), "{name} has {foreign}");
            }
            assert!(text.contains(&format!("<title id=\"t\">{title}</title>")), "{name}");
            for contestant in DRAWN {
                assert!(text.contains(&format!(" {}: admits ", contestant.name())), "{name}");
            }
        }
    }
}
