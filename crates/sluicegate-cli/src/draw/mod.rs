//! `sluicegate draw`: what each algorithm says to the same requests, as pictures.
//!
//! ```text
//!  arrivals, subject ──► play: the table, in simulated time ──► picture, comparison ──► svg
//! ```

mod arrivals;
mod comparison;
mod folder;
mod marks;
mod picture;
mod play;
mod scale;
mod subject;
mod svg;

use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;
use sluicegate_core::{Limit, Retry};

use crate::arguments::Draw;
use crate::exit::Exit;
use crate::output;
use play::{Play, Ruling, Script, Verdict};

pub(crate) use arrivals::{Arrivals, time};
pub(crate) use subject::Subject;

/// Draws what was asked for: one algorithm in full, or several beside each other.
///
/// # Errors
///
/// When standard output takes no more, or a file cannot be written. A limit that an algorithm cannot keep is no error but
/// [`Exit::Usage`].
pub(crate) fn draw(arguments: &Draw) -> anyhow::Result<Exit> {
    let subjects = if arguments.algorithms.is_empty() {
        Subject::value_variants()
    } else {
        &arguments.algorithms
    };
    for subject in subjects {
        if let Err(fault) = subject.meter(arguments.limit) {
            output::tell(&format_args!("sluicegate: {fault}"));
            return Ok(Exit::Usage);
        }
    }
    let gallery = Gallery::new(arguments, subjects)?;
    if arguments.json {
        output::print_json(&Report::new(&gallery))?;
    } else if let Some(folder) = &arguments.into {
        folder::write(folder, &gallery.pictures())?;
    } else {
        output::print(&gallery.picture())?;
    }
    Ok(Exit::Success)
}

/// All that was played.
struct Gallery<'a> {
    script: Script<'a>,
    /// What the time axis has to show.
    least: Duration,
    plays: Vec<Play>,
}

impl<'a> Gallery<'a> {
    fn new(arguments: &'a Draw, subjects: &[Subject]) -> anyhow::Result<Self> {
        // The same for every algorithm, so that pictures can be laid beside each other.
        let after = subject::MAX_WAIT.max(arguments.hold);
        let least = arguments.arrivals.last() + after;
        let script = Script {
            limit: arguments.limit,
            arrivals: &arguments.arrivals,
            hold: arguments.hold,
            end: picture::scale(least).end(),
        };
        let plays = subjects.iter().map(|subject| Play::new(*subject, &script));
        Ok(Self {
            plays: plays.collect::<Result<_, _>>()?,
            script,
            least,
        })
    }

    /// The one picture of what was asked for.
    fn picture(&self) -> String {
        match self.plays.as_slice() {
            [play] => picture::draw(play, &self.script, self.least),
            plays => comparison::draw(plays, &self.script, self.least),
        }
    }

    /// A picture of each, by its name, and one of all.
    fn pictures(&self) -> Vec<(&str, String)> {
        let one = |play: &Play| picture::draw(play, &self.script, self.least);
        let mut pictures: Vec<_> = self
            .plays
            .iter()
            .map(|play| (play.subject.as_str(), one(play)))
            .collect();
        pictures.push((ALL, comparison::draw(&self.plays, &self.script, self.least)));
        pictures
    }
}

/// The name of the picture that has them all.
const ALL: &str = "all";

/// What is told to programs.
#[derive(Debug, Serialize)]
struct Report {
    limit: String,
    period_ns: u64,
    algorithms: Vec<PlayReport>,
}

/// What one algorithm said.
#[derive(Debug, Serialize)]
struct PlayReport {
    name: &'static str,
    passed: usize,
    refused: usize,
    /// Most requests that went on within any period of the limit.
    most_in_a_period: usize,
    /// In the order of the arrivals.
    verdicts: Vec<VerdictReport>,
}

#[derive(Debug, Serialize)]
struct VerdictReport {
    at_ns: u64,
    /// `pass`, `delay` or `refuse`.
    verdict: &'static str,
    remaining: u64,
    reset_after_ns: u64,
    /// Zero for one that passes at once; `None` for a refusal.
    delay_ns: Option<u64>,
    /// `None` for one that passes, and where waiting will not help.
    retry_after_ns: Option<u64>,
}

impl Report {
    fn new(gallery: &Gallery<'_>) -> Self {
        let limit: Limit = gallery.script.limit;
        let period = limit.period();
        Self {
            limit: limit.to_string(),
            period_ns: nanos(period),
            algorithms: gallery.plays.iter().map(|play| PlayReport::new(play, period)).collect(),
        }
    }
}

impl PlayReport {
    fn new(play: &Play, period: Duration) -> Self {
        let passed = play.passed();
        Self {
            name: play.subject.as_str(),
            passed,
            refused: play.verdicts.len() - passed,
            most_in_a_period: play.most_within(period),
            verdicts: play.verdicts.iter().map(VerdictReport::from).collect(),
        }
    }
}

impl From<&Verdict> for VerdictReport {
    fn from(verdict: &Verdict) -> Self {
        let (word, delay, retry) = match verdict.ruling {
            Ruling::Pass => ("pass", Some(Duration::ZERO), None),
            Ruling::Delay(delay) => ("delay", Some(delay), None),
            Ruling::Refuse(Retry::After(wait)) => ("refuse", None, Some(wait)),
            Ruling::Refuse(Retry::Never) => ("refuse", None, None),
        };
        Self {
            at_ns: nanos(verdict.at),
            verdict: word,
            remaining: verdict.remaining,
            reset_after_ns: nanos(verdict.reset_after),
            delay_ns: delay.map(nanos),
            retry_after_ns: retry.map(nanos),
        }
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
