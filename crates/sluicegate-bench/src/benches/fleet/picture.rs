//! One scenario as a picture: a row for each contestant, what it admits over time, how far it goes beyond, and what it asks of the store.

use std::fmt::Write as _;

use sluicegate_testkit::fleet::{BIN_US, What};

use super::contestants::Contestant;
use super::played::Played;
use super::scenario::Scenario;
use super::svg::{Anchor, Px, Svg};
use crate::spread::number;

/// Draws what came of a scenario. `headline` is the title, `runs` are the rows.
pub(super) fn draw(headline: &str, scenario: &Scenario, runs: &[&Played], seed: u64) -> String {
    let limit = 1e6 / scenario.setup.plan.terms.interval;
    let seconds = scenario.setup.load.lasts() / 1e6;
    let curves: Vec<_> = runs.iter().map(|run| Curve::of(run, seconds)).collect();
    let most = curves.iter().map(Curve::most).fold(limit, f64::max);
    let frame = Frame { seconds, most, limit };
    let bottom = HEAD + ROW * number(runs.len() as u64);

    let mut svg = Svg::default();
    svg.text((MARGIN, 30.0), Anchor::Start, "title", headline);
    let subtitle = format!(
        "{}, {}; {} nodes; simulated time, measured costs, seed {seed}",
        scenario.keys_in_words(),
        scenario.limit_in_words(),
        scenario.setup.nodes
    );
    svg.text((MARGIN, 50.0), Anchor::Start, "soft", &subtitle);
    draw_heads(&mut svg);
    frame.draw_faults(&mut svg, scenario, bottom);
    frame.draw_seconds(&mut svg, bottom);
    draw_operations_axis(&mut svg, bottom);
    for (index, (run, curve)) in runs.iter().zip(&curves).enumerate() {
        let top = HEAD + ROW * number(index as u64);
        draw_name(&mut svg, run, top);
        frame.draw_curve(&mut svg, curve, run.contestant, top);
        if index == 0 {
            frame.draw_words(&mut svg, scenario, top);
        }
        draw_excess(&mut svg, run, top);
        draw_operations(&mut svg, run, top);
    }
    svg.finish((WIDTH, bottom + 56.0), headline, &told(scenario, runs))
}

/// The same in words, for whoever cannot see it.
fn told(scenario: &Scenario, runs: &[&Played]) -> String {
    let mut text = format!("{}, {}.", scenario.name, scenario.limit_in_words());
    for run in runs {
        // Writing to a string does not fail.
        let _ = write!(
            text,
            " {}: admits {} of what one bucket would, at worst {} of the burst beyond it, with {} store operations a request.",
            run.contestant.name(),
            percent(run.admitted),
            percent(run.excess),
            operations(run.operations)
        );
    }
    text
}

/// What passed over time, in points a fixed number of bins apart.
struct Curve {
    /// Units a second that passed.
    passed: Vec<f64>,
    /// Of them those that nobody would have let through who knows everything.
    beyond: Vec<f64>,
    step: f64,
}

impl Curve {
    fn of(run: &Played, seconds: f64) -> Self {
        let bins = (seconds * 1e6 / BIN_US).round();
        let per_point = (bins / POINTS).ceil().max(1.0);
        let step = per_point * BIN_US / 1e6;
        let (points, each) = (whole((bins / per_point).ceil()), whole(per_point));
        let sums = |bins: &[f32]| -> Vec<f64> {
            let sum = |point: usize| {
                bins.iter()
                    .skip(point * each)
                    .take(each)
                    .copied()
                    .map(f64::from)
                    .sum::<f64>()
            };
            (0..points).map(|point| sum(point) / step).collect()
        };
        let (passed, ideal) = (sums(&run.passed_in), sums(&run.ideal_in));
        // Who admitted less before may admit more now: only what is ahead of the ideal in the sum is beyond it.
        let mut ahead: f64 = 0.0;
        let beyond = passed.iter().zip(&ideal).map(|(passed, ideal)| {
            ahead += passed - ideal;
            (passed - ideal).min(ahead).max(0.0)
        });
        Self {
            beyond: beyond.collect(),
            passed,
            step,
        }
    }

    fn most(&self) -> f64 {
        self.passed.iter().copied().fold(0.0, f64::max)
    }
}

/// Where moments and rates stand within a row.
struct Frame {
    seconds: f64,
    most: f64,
    limit: f64,
}

impl Frame {
    fn x(&self, seconds: f64) -> f64 {
        PLOT.0 + (PLOT.1 - PLOT.0) * (seconds / self.seconds).min(1.0)
    }

    /// `top` is the row's.
    fn y(&self, top: f64, rate: f64) -> f64 {
        top + ROW - GAP - (ROW - 2.0 * GAP) * rate / self.most
    }

    /// Steps along `rates`, from the left to the right end.
    fn steps(&self, top: f64, step: f64, rates: impl Iterator<Item = f64>) -> String {
        let mut path = String::new();
        for (index, rate) in rates.enumerate() {
            let at = number(index as u64) * step;
            let (from, to, y) = (Px(self.x(at)), Px(self.x(at + step)), Px(self.y(top, rate)));
            let letter = if index == 0 { 'M' } else { 'L' };
            // Writing to a string does not fail.
            let _ = write!(path, "{letter}{from} {y}H{to}");
        }
        path
    }

    fn draw_curve(&self, svg: &mut Svg, curve: &Curve, who: Contestant, top: f64) {
        let (fill, edge) = if who.is_ours() {
            ("passed", "edge")
        } else {
            ("theirs", "edge-theirs")
        };
        let base = self.y(top, 0.0);
        let line = self.steps(top, curve.step, curve.passed.iter().copied());
        svg.path(&format!("{line}V{}H{}Z", Px(base), Px(PLOT.0)), fill);
        svg.path(&self.beyond(curve, top), "beyond");
        svg.path(&line, edge);
        svg.line((PLOT.0, base), (PLOT.1, base), "axis");
        let limit = self.y(top, self.limit);
        svg.line((PLOT.0, limit), (PLOT.1, limit), "limit");
        if !who.is_ours() {
            svg.text((PLOT.0 - 6.0, limit + 4.0), Anchor::End, "small", &rate(self.limit));
        }
        // Where the limit is near the ground there is no room for both numbers.
        if base - limit > 14.0 {
            svg.text((PLOT.0 - 6.0, base + 1.0), Anchor::End, "small", "0");
        }
    }

    /// What the line is, and what stands above it at first.
    fn draw_words(&self, svg: &mut Svg, scenario: &Scenario, top: f64) {
        let limit = self.y(top, self.limit);
        let word = format!("limit {}", rate(self.limit));
        svg.text((PLOT.0 - 6.0, limit + 4.0), Anchor::End, "small", &word);
        let asked = scenario.setup.load.phases.first().map_or(0.0, |phase| phase.rate * 1e6);
        let burst = scenario.setup.plan.terms.burst / (asked - self.limit);
        let room = self.x(burst) - self.x(0.0);
        if burst > 0.0 && room > 40.0 {
            let middle = self.x(burst / 2.0);
            let half = f64::midpoint(limit, self.y(top, 0.0)) + 4.0;
            svg.text((middle, half), Anchor::Middle, "small", "the burst");
        }
    }

    /// What is beyond the limit, each stretch of it as one shape.
    fn beyond(&self, curve: &Curve, top: f64) -> String {
        let mut path = String::new();
        let mut below = Vec::new();
        for (index, (passed, beyond)) in curve.passed.iter().zip(&curve.beyond).enumerate() {
            let (high, low) = (self.y(top, *passed), self.y(top, passed - beyond));
            let at = number(index as u64) * curve.step;
            let (from, to) = (Px(self.x(at)), Px(self.x(at + curve.step)));
            // Less than half a pixel is nobody's fault.
            if low - high > 0.5 {
                let letter = if below.is_empty() { 'M' } else { 'L' };
                // Writing to a string does not fail.
                let _ = write!(path, "{letter}{from} {}H{to}", Px(high));
                below.push((from, to, Px(low)));
            } else {
                close(&mut path, &mut below);
            }
        }
        close(&mut path, &mut below);
        path
    }

    fn draw_seconds(&self, svg: &mut Svg, bottom: f64) {
        let step = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0, 120.0]
            .into_iter()
            .find(|step| self.seconds / step <= 8.0)
            .unwrap_or(self.seconds);
        let mut at = 0.0;
        while at <= self.seconds * 1.001 {
            let x = self.x(at);
            svg.line((x, HEAD), (x, bottom), "grid");
            let text = if at == 0.0 { "0".to_owned() } else { format!("{at} s") };
            svg.text((x, bottom + 16.0), Anchor::Middle, "small", &text);
            at += step;
        }
    }

    fn draw_faults(&self, svg: &mut Svg, scenario: &Scenario, bottom: f64) {
        let mut stopped = None;
        for fault in &scenario.setup.faults {
            let at = fault.at / 1e6;
            match fault.what {
                What::Stop => stopped = Some(at),
                What::Start => {
                    let from = self.x(stopped.take().unwrap_or(0.0));
                    svg.rectangle((from, HEAD - 6.0), (self.x(at), bottom), "away");
                    svg.text((from + 5.0, HEAD + 6.0), Anchor::Start, "small", "the store is away");
                }
                What::Wipe => {
                    let x = self.x(at);
                    svg.line((x, HEAD - 6.0), (x, bottom), "axis");
                    svg.text(
                        (x + 5.0, HEAD + 6.0),
                        Anchor::Start,
                        "small",
                        "the store forgets everything",
                    );
                }
                _ => {}
            }
        }
    }
}

/// Ends a shape along its lower edge, from the right to the left.
fn close(path: &mut String, below: &mut Vec<(Px, Px, Px)>) {
    let is_open = !below.is_empty();
    for (from, to, low) in below.drain(..).rev() {
        // Writing to a string does not fail.
        let _ = write!(path, "L{to} {low}H{from}");
    }
    path.push_str(if is_open { "Z" } else { "" });
}

fn draw_heads(svg: &mut Svg) {
    for ((x, anchor), text) in [
        ((PLOT.0, Anchor::Start), "admitted a second"),
        ((EXCESS, Anchor::Middle), "beyond the limit"),
        (
            (f64::midpoint(OPERATIONS.0, OPERATIONS.1), Anchor::Middle),
            "store operations a request",
        ),
    ] {
        svg.text((x, HEAD - 12.0), anchor, "soft", text);
    }
}

fn draw_name(svg: &mut Svg, run: &Played, top: f64) {
    let class = if run.contestant.is_ours() { "name ours" } else { "name" };
    let middle = top + ROW / 2.0;
    svg.text((MARGIN, middle), Anchor::Start, class, run.contestant.title());
    svg.text((MARGIN, middle + 17.0), Anchor::Start, "soft", run.contestant.about());
}

fn draw_excess(svg: &mut Svg, run: &Played, top: f64) {
    let middle = top + ROW / 2.0;
    // Below half a per cent it is rounding of the burst, which no reader could see.
    if run.excess < 0.005 {
        svg.text((EXCESS, middle), Anchor::Middle, "name", "none");
        let below = format!("admits {}", percent(run.admitted));
        svg.text((EXCESS, middle + 17.0), Anchor::Middle, "soft", &below);
    } else {
        svg.text(
            (EXCESS, middle),
            Anchor::Middle,
            "over",
            &format!("+{}", percent(run.excess)),
        );
        svg.text((EXCESS, middle + 17.0), Anchor::Middle, "soft", "of the burst");
    }
}

/// Each grid line is ten times the one before.
fn draw_operations_axis(svg: &mut Svg, bottom: f64) {
    for (value, text) in [(1e-4, "0.0001"), (1e-3, ""), (1e-2, "0.01"), (1e-1, ""), (1.0, "1")] {
        let x = operations_x(value);
        svg.line((x, HEAD), (x, bottom), "grid");
        svg.text((x, bottom + 16.0), Anchor::Middle, "small", text);
    }
    svg.text(
        (OPERATIONS.1, bottom + 34.0),
        Anchor::End,
        "small",
        "each line ten times the one before",
    );
}

fn draw_operations(svg: &mut Svg, run: &Played, top: f64) {
    let middle = top + ROW / 2.0 + 3.0;
    let class = if run.contestant.is_ours() { "dot-ours" } else { "dot" };
    let x = operations_x(run.operations);
    if run.operations > 0.0 {
        svg.line((OPERATIONS.0, middle), (x, middle), "axis");
        svg.dot((x, middle), class);
    }
    if run.busy > 0.0 {
        let busy = format!("store {} busy", percent(run.busy.min(1.0)));
        svg.text((OPERATIONS.0, middle + 18.0), Anchor::Start, "small", &busy);
    }
    let class = if run.contestant.is_ours() { "name ours" } else { "" };
    svg.text(
        (x.clamp(OPERATIONS.0 + 12.0, OPERATIONS.1 - 12.0), middle - 12.0),
        Anchor::Middle,
        class,
        &operations(run.operations),
    );
}

fn operations_x(value: f64) -> f64 {
    let part = (value.max(1e-5).log10() + 5.0) / 5.0;
    OPERATIONS.0 + (OPERATIONS.1 - OPERATIONS.0) * part.clamp(0.0, 1.0)
}

fn operations(value: f64) -> String {
    match value {
        value if value <= 0.0 => "0".to_owned(),
        value if value >= 0.095 => format!("{value:.2}"),
        value => format!("{value:.4}"),
    }
}

fn percent(part: f64) -> String {
    let digits = usize::from(part < 0.1 && part > 0.0);
    format!("{:.digits$} %", part * 100.0)
}

fn rate(per_second: f64) -> String {
    if per_second >= 1_000.0 {
        format!("{} k", per_second / 1e3)
    } else {
        format!("{per_second}")
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of bins, far below 2³²"
)]
const fn whole(value: f64) -> usize {
    value as usize
}

/// As wide as a page of documentation, and as a README.
const WIDTH: f64 = 860.0;
const MARGIN: f64 = 20.0;
/// Title, subtitle and heads of the columns.
const HEAD: f64 = 92.0;
const ROW: f64 = 74.0;
/// Above and below each plot.
const GAP: f64 = 7.0;
/// From where to where plots reach.
const PLOT: (f64, f64) = (214.0, 560.0);
/// The middle of the column.
const EXCESS: f64 = 620.0;
/// From 0.00001 to 1.
const OPERATIONS: (f64, f64) = (690.0, 828.0);
/// Most points of a curve.
const POINTS: f64 = 100.0;
