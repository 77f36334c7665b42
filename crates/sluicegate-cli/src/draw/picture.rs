//! One algorithm, in full: its verdicts, and below them what was left.

use std::fmt::Write as _;
use std::time::Duration;

use super::marks::{self, Marks};
use super::play::{Play, Ruling, Script};
use super::scale::Scale;
use super::svg::{Anchor, Point, Px, Svg};

/// Draws one play.
pub(super) fn draw(play: &Play, script: &Script<'_>, least: Duration) -> String {
    let scale = scale(least);
    let marks = Marks::place(play, &scale);
    let (above, below) = marks.heights();
    let line = HEAD + above;
    let left_top = line + below + Px::whole(22);
    let bottom = left_top + LEFT_HEIGHT;
    let height = bottom + Px::whole(30);

    let mut svg = Svg::default();
    let title = format!("{}, {}", play.subject.as_str(), play.subject.limit_text(script.limit));
    let at = |x: Px, y: i64| Point { x, y: Px::whole(y) };
    svg.text(at(MARGIN, 26), Anchor::Start, "title", &title);
    let delays = play
        .verdicts
        .iter()
        .any(|verdict| matches!(verdict.ruling, Ruling::Delay(_)));
    let legend_width = Px::whole(if delays { 312 } else { 140 });
    marks::legend(&mut svg, at(WIDTH - MARGIN - legend_width, 26), delays);
    svg.text(at(MARGIN, 46), Anchor::Start, "", &play.subject.caption(script.hold));
    let sum = sum(play, script);
    svg.text(at(WIDTH - MARGIN, 46), Anchor::End, "", &sum);

    scale.draw(&mut svg, HEAD, bottom);
    draw_shut(play, &mut svg, &scale, (HEAD, line + below));
    draw_windows(play, &mut svg, &scale, (HEAD, bottom));
    marks.draw(&mut svg, &scale, line);
    let most = play.subject.most(script.limit);
    draw_left(play, &mut svg, &scale, (left_top, most));
    svg.finish(
        (WIDTH, height),
        &title,
        &format!("{} {sum}", play.subject.caption(script.hold)),
    )
}

/// The time axis of this kind of picture.
pub(super) fn scale(least: Duration) -> Scale {
    Scale::to(least, LEFT, WIDTH - LEFT - RIGHT)
}

/// Numbers for a line of text.
fn sum(play: &Play, script: &Script<'_>) -> String {
    let period = script.limit.period();
    format!(
        "{} of {} pass, at most {} within {period:?}",
        play.passed(),
        play.verdicts.len(),
        play.most_within(period)
    )
}

/// Bars where even nothing is refused.
pub(super) fn draw_shut(play: &Play, svg: &mut Svg, scale: &Scale, (top, bottom): (Px, Px)) {
    for (from, to) in &play.shut {
        let (from, to) = (scale.x(*from), scale.x(*to));
        svg.rectangle(Point { x: from, y: top }, Point { x: to, y: bottom }, "shut");
        let at = Point {
            x: from + Px::whole(5),
            y: top + Px::whole(11),
        };
        svg.text(at, Anchor::Start, "soft", "locked");
    }
}

/// A bracket over each window, with its sides down to `bottom`.
pub(super) fn draw_windows(play: &Play, svg: &mut Svg, scale: &Scale, (top, bottom): (Px, Px)) {
    let mut last = Duration::ZERO;
    for (begins_at, ends_at) in &play.windows {
        let (from, to) = (scale.x(*begins_at), scale.x(*ends_at));
        let inset = Px::whole(2);
        let across = |x: Px| Point { x, y: top };
        svg.line(across(from + inset), across(to - inset), "window");
        // Where two windows meet they share a side; the axis has ends of its own.
        for (x, is_shown) in [(from, *begins_at > last), (to, *ends_at < scale.end())] {
            if is_shown {
                svg.line(across(x), Point { x, y: bottom }, "seam");
            }
        }
        last = *ends_at;
    }
}

/// Units left as a line of steps, between none and `most`.
fn draw_left(play: &Play, svg: &mut Svg, scale: &Scale, (top, most): (Px, u64)) {
    let bottom = top + LEFT_HEIGHT;
    let y = |units: u64| bottom - LEFT_HEIGHT.share(units.into(), most.into());
    let right = scale.left + scale.width;
    for units in [0, most] {
        let y = y(units);
        svg.line(Point { x: scale.left, y }, Point { x: right, y }, "grid");
        let label = Point {
            x: scale.left - Px::whole(8),
            y: y + Px::whole(4),
        };
        svg.text(label, Anchor::End, "soft", &short(units));
    }
    let label = Point {
        x: MARGIN,
        y: top - Px::whole(8),
    };
    svg.text(label, Anchor::Start, "soft", "units left");
    let mut steps = String::new();
    for (at, units) in &play.remaining {
        let (x, y) = (scale.x(*at), y(*units));
        // Writing to a string does not fail.
        let _ = if steps.is_empty() {
            write!(steps, "M{x} {y}")
        } else {
            write!(steps, "H{x}V{y}")
        };
    }
    let _ = write!(steps, "H{right}");
    svg.path(&format!("{steps}V{bottom}H{}Z", scale.left), "under");
    svg.path(&steps, "left");
}

/// A number of at most six letters.
fn short(units: u64) -> String {
    if units < 1_000_000 {
        units.to_string()
    } else {
        format!("{units:.1e}")
    }
}

/// As wide as a page of documentation.
pub(super) const WIDTH: Px = Px::whole(800);
pub(super) const MARGIN: Px = Px::whole(16);
/// Room for the numbers of the lower part.
const LEFT: Px = Px::whole(56);
/// Room for half of the last time, such as `86400s`.
pub(super) const RIGHT: Px = Px::whole(24);
/// Title and caption.
const HEAD: Px = Px::whole(64);
const LEFT_HEIGHT: Px = Px::whole(60);
