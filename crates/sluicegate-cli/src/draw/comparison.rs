//! Several algorithms, one above the other, on one time axis.

use std::time::Duration;

use super::marks::{self, Marks};
use super::picture::{MARGIN, RIGHT, WIDTH, draw_shut, draw_windows};
use super::play::{Play, Script};
use super::scale::Scale;
use super::svg::{Anchor, Point, Px, Svg};

/// Draws the plays in their order.
pub(super) fn draw(plays: &[Play], script: &Script<'_>, least: Duration) -> String {
    let scale = scale(least);
    let mut svg = Svg::default();
    let count = plays.first().map_or(0, |play| play.verdicts.len());
    let title = format!("The same {count} requests, {}", script.limit);
    let at = |x: Px, y: Px| Point { x, y };
    svg.text(at(MARGIN, Px::whole(26)), Anchor::Start, "title", &title);
    marks::legend(&mut svg, at(WIDTH - MARGIN - Px::whole(312), Px::whole(26)), true);

    let strips: Vec<Strip<'_>> = plays.iter().map(|play| Strip::new(play, script, &scale)).collect();
    let bottom = strips.iter().fold(HEAD, |bottom, strip| bottom + strip.height() + GAP);
    scale.draw(&mut svg, HEAD, bottom);
    let mut top = HEAD;
    for strip in &strips {
        strip.draw(&mut svg, &scale, top);
        top = top + strip.height() + GAP;
    }
    let told: Vec<&str> = strips.iter().map(|strip| strip.told.as_str()).collect();
    svg.finish((WIDTH, bottom + Px::whole(30)), &title, &told.join(" "))
}

/// The time axis of this kind of picture.
pub(super) fn scale(least: Duration) -> Scale {
    Scale::to(least, LEFT, WIDTH - LEFT - RIGHT)
}

struct Strip<'a> {
    play: &'a Play,
    marks: Marks<'a>,
    lines: [String; 2],
    /// The same in a sentence.
    told: String,
}

impl<'a> Strip<'a> {
    fn new(play: &'a Play, script: &Script<'_>, scale: &Scale) -> Self {
        let (name, passed) = (play.subject.as_str(), play.passed());
        let period = script.limit.period();
        let lines = [
            format!("{passed} of {} pass,", play.verdicts.len()),
            format!("at most {} within {period:?}", play.most_within(period)),
        ];
        Self {
            play,
            marks: Marks::place(play, scale),
            told: format!("{name}: {} {}.", lines[0], lines[1]),
            lines,
        }
    }

    fn height(&self) -> Px {
        let (above, below) = self.marks.heights();
        (above + below).max(LEAST)
    }

    fn draw(&self, svg: &mut Svg, scale: &Scale, top: Px) {
        let bottom = top + self.height();
        let (above, _) = self.marks.heights();
        draw_shut(self.play, svg, scale, (top, bottom));
        draw_windows(self.play, svg, scale, (top, bottom));
        self.marks.draw(svg, scale, top + above);
        let at = |y: i64| Point {
            x: MARGIN,
            y: top + Px::whole(y),
        };
        svg.text(at(14), Anchor::Start, "name", self.play.subject.as_str());
        svg.text(at(31), Anchor::Start, "soft", &self.lines[0]);
        svg.text(at(47), Anchor::Start, "soft", &self.lines[1]);
    }
}

/// Room for the names.
const LEFT: Px = Px::whole(192);
const HEAD: Px = Px::whole(48);
const GAP: Px = Px::whole(14);
/// Three lines of text.
const LEAST: Px = Px::whole(52);
