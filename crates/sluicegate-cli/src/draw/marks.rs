//! Verdicts as marks: upwards from a line what passed, downwards what was refused.

use super::play::{Play, Ruling, Verdict};
use super::scale::Scale;
use super::svg::{Anchor, Point, Px, Svg};

/// Marks in lanes, so that none covers another.
#[derive(Debug)]
pub(super) struct Marks<'a> {
    /// With its lane, from 0 at the line.
    placed: Vec<(&'a Verdict, i64)>,
    above: i64,
    below: i64,
}

impl<'a> Marks<'a> {
    /// Gives each verdict the lane nearest to the line that is free from its arrival to its departure.
    pub(super) fn place(play: &'a Play, scale: &Scale) -> Self {
        let (mut above, mut below) = (Lanes::default(), Lanes::default());
        let placed = play.verdicts.iter().map(|verdict| {
            let from = scale.x(verdict.at);
            let lane = match verdict.departs_at() {
                Some(departs_at) => above.take(from, scale.x(departs_at)),
                None => below.take(from, from),
            };
            (verdict, lane)
        });
        Self {
            placed: placed.collect(),
            above: above.count(),
            below: below.count(),
        }
    }

    /// Room that the marks take above their line, and below.
    pub(super) fn heights(&self) -> (Px, Px) {
        let room = |lanes: i64| LANE.times(lanes) + Px::whole(3);
        (room(self.above), room(self.below))
    }

    /// Draws the line at `y` and the marks on its both sides.
    pub(super) fn draw(&self, svg: &mut Svg, scale: &Scale, y: Px) {
        let (left, right) = (scale.left, scale.left + scale.width);
        svg.line(Point { x: left, y }, Point { x: right, y }, "axis");
        for (verdict, lane) in &self.placed {
            let off = LANE.times(*lane) + Px::whole(8);
            let x = scale.x(verdict.at);
            let (up, down) = (Point { x, y: y - off }, Point { x, y: y + off });
            match verdict.ruling {
                Ruling::Pass => svg.dot(up, "pass"),
                Ruling::Delay(delay) => {
                    let leaves = Point {
                        x: scale.x(verdict.at + delay),
                        ..up
                    };
                    draw_delay(svg, up, leaves);
                }
                Ruling::Refuse(_) => svg.cross(down, "refuse"),
            }
        }
    }
}

/// What each mark means, from `at` on.
pub(super) fn legend(svg: &mut Svg, at: Point, delays: bool) {
    let mark = |x: i64| Point {
        x: at.x + Px::whole(x),
        y: at.y - Px::whole(4),
    };
    let word = |x: i64| Point {
        x: at.x + Px::whole(x),
        ..at
    };
    svg.dot(mark(4), "pass");
    svg.text(word(13), Anchor::Start, "soft", "passes");
    svg.cross(mark(72), "refuse");
    svg.text(word(81), Anchor::Start, "soft", "is refused");
    if delays {
        draw_delay(svg, mark(158), mark(188));
        svg.text(word(198), Anchor::Start, "soft", "waits, then passes");
    }
}

fn draw_delay(svg: &mut Svg, arrives: Point, leaves: Point) {
    svg.line(arrives, leaves, "way");
    svg.diamond(arrives, "wait");
    svg.dot(leaves, "leave");
}

/// Where each lane is taken to.
#[derive(Debug, Default)]
struct Lanes(Vec<Px>);

impl Lanes {
    fn take(&mut self, from: Px, to: Px) -> i64 {
        let to = to + MARK;
        let free = self.0.iter().position(|taken| *taken <= from);
        let lane = free.unwrap_or(self.0.len());
        if free.is_none() {
            self.0.push(to);
        }
        self.0[lane] = to;
        i64::try_from(lane).unwrap_or(i64::MAX)
    }

    fn count(&self) -> i64 {
        i64::try_from(self.0.len()).unwrap_or(i64::MAX)
    }
}

/// The room of one mark beside its neighbour, and one above another.
const MARK: Px = Px::whole(10);
const LANE: Px = Px::whole(10);
