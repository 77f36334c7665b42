//! Time along a picture's width.

use std::time::Duration;

use super::svg::{Anchor, Point, Px, Svg};

/// Where on the width each time stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    pub(super) left: Px,
    pub(super) width: Px,
    step: Duration,
    end: Duration,
}

impl Scale {
    /// From zero to the first tick that is not before `least`.
    pub(super) fn to(least: Duration, left: Px, width: Px) -> Self {
        let step = step(least);
        // A step of zero there is none.
        let steps = least.as_nanos().div_ceil(step.as_nanos().max(1)).max(1);
        let end = step * u32::try_from(steps).unwrap_or(u32::MAX);
        Self { left, width, step, end }
    }

    /// The last time on it.
    pub(super) const fn end(&self) -> Duration {
        self.end
    }

    /// Where `at` stands; what is beyond the end, at the end.
    pub(super) fn x(&self, at: Duration) -> Px {
        self.left + self.width.share(at.min(self.end).as_nanos(), self.end.as_nanos())
    }

    /// Ticks with their times below `y`, and lines up to `top`.
    pub(super) fn draw(&self, svg: &mut Svg, top: Px, y: Px) {
        let mut at = Duration::ZERO;
        while at <= self.end {
            let x = self.x(at);
            svg.line(Point { x, y: top }, Point { x, y: y + Px::whole(4) }, "grid");
            let text = if at.is_zero() {
                "0".to_owned()
            } else {
                format!("{at:?}")
            };
            let below = Point {
                x,
                y: y + Px::whole(18),
            };
            svg.text(below, Anchor::Middle, "soft", &text);
            at += self.step;
        }
    }
}

/// The least round time, in milliseconds of 1, 2 or 5 and zeros, that has at most [`TICKS_MAX`] steps in `least`.
fn step(least: Duration) -> Duration {
    let mut tens = 1;
    loop {
        for digit in [1, 2, 5] {
            let step = Duration::from_millis(digit * tens);
            if step * TICKS_MAX >= least {
                return step;
            }
        }
        tens *= 10;
    }
}

/// Sixty pixels each, room for `1000ms`.
const TICKS_MAX: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_ends_at_a_round_time_that_shows_all() {
        for (least_ms, step_ms, end_ms) in [
            (0, 1, 1),
            (10, 1, 10),
            (11, 2, 12),
            (4_600, 500, 5_000),
            (5_001, 1_000, 6_000),
            (86_400_000, 10_000_000, 90_000_000),
        ] {
            let scale = Scale::to(Duration::from_millis(least_ms), Px::whole(0), Px::whole(100));
            assert_eq!(
                (scale.step.as_millis(), scale.end().as_millis()),
                (step_ms, end_ms),
                "{least_ms}"
            );
            assert_eq!(scale.x(scale.end()), Px::whole(100));
            assert_eq!(scale.x(Duration::MAX), Px::whole(100));
        }
    }
}
