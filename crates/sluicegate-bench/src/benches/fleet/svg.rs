//! An SVG, written shape by shape, in tenths of a pixel: written alike on every machine.

use std::fmt::{self, Display, Write as _};

/// A picture that is being drawn. Every shape has a class; [`STYLE`] says what each looks like.
#[derive(Debug, Default)]
pub(super) struct Svg {
    shapes: String,
}

/// From which side of its point a text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A place or length in pixels, written with one digit at most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Px(pub(super) f64);

impl Display for Px {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounded = (self.0 * 10.0).round() / 10.0;
        // No zero with a sign.
        write!(f, "{}", if rounded == 0.0 { 0.0 } else { rounded })
    }
}

impl Svg {
    /// Writes `text` with its base line at a point. It is ours, and has nothing in it that XML knows.
    pub(super) fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        self.shape(format_args!(
            "<text class=\"{class}\" x=\"{}\" y=\"{}\"{anchor}>{text}</text>",
            Px(x),
            Px(y)
        ));
    }

    /// A line between two points.
    pub(super) fn line(&mut self, (x, y): (f64, f64), (to_x, to_y): (f64, f64), class: &str) {
        self.path(&format!("M{} {}L{} {}", Px(x), Px(y), Px(to_x), Px(to_y)), class);
    }

    /// The rectangle between two corners.
    pub(super) fn rectangle(&mut self, (x, y): (f64, f64), (to_x, to_y): (f64, f64), class: &str) {
        self.shape(format_args!(
            "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>",
            Px(x),
            Px(y),
            Px(to_x - x),
            Px(to_y - y)
        ));
    }

    /// A dot.
    pub(super) fn dot(&mut self, (x, y): (f64, f64), class: &str) {
        self.shape(format_args!(
            "<circle class=\"{class}\" cx=\"{}\" cy=\"{}\" r=\"4.5\"/>",
            Px(x),
            Px(y)
        ));
    }

    /// A line through `path`, which is in the form of SVG's `d`.
    pub(super) fn path(&mut self, path: &str, class: &str) {
        self.shape(format_args!("<path class=\"{class}\" d=\"{path}\"/>"));
    }

    /// The whole picture, of this size, on a ground of its own: it may be looked at on a page of any colour.
    pub(super) fn finish(self, (width, height): (f64, f64), title: &str, description: &str) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" role=\"img\" aria-labelledby=\"t d\">\n<title id=\"t\">{title}</title>\n\
             <desc id=\"d\">{description}</desc>\n<style>\n{STYLE}</style>\n\
             <rect class=\"ground\" width=\"{width}\" height=\"{height}\" rx=\"6\"/>\n{}</svg>\n",
            self.shapes
        )
    }

    fn shape(&mut self, shape: fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.shapes, "{shape}");
    }
}

/// Blue and vermilion of the palette by Okabe and Ito, which the colour-blind tell apart, darker on a light ground and lighter on a dark
/// one. What they say is also said in words and by place.
const STYLE: &str = "\
text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',Arial,sans-serif;font-size:13px;fill:#1f2328}
.title{font-size:17px;font-weight:600}
.name{font-weight:600}
.ours{fill:#0067a8}
.soft{font-size:12px;fill:#57606a}
.small{font-size:11px;fill:#57606a}
.over{fill:#b83f00;font-weight:600}
.ground{fill:#fff;stroke:#d0d7de}
.grid{stroke:#e2e7ec;fill:none}
.axis{stroke:#8c959f;fill:none}
.limit{stroke:#1f2328;stroke-dasharray:4 3;fill:none}
.passed{fill:#0067a8;fill-opacity:.16}
.theirs{fill:#57606a;fill-opacity:.16}
.edge{stroke:#0067a8;stroke-width:1.8;fill:none;stroke-linejoin:round}
.edge-theirs{stroke:#57606a;stroke-width:1.4;fill:none;stroke-linejoin:round}
.beyond{fill:#d35400;fill-opacity:.75}
.away{fill:#57606a;fill-opacity:.1}
.dot{fill:#57606a}
.dot-ours{fill:#0067a8}
@media (prefers-color-scheme:dark){
text{fill:#e6edf3}
.ours{fill:#6cbcf0}
.soft,.small{fill:#9da7b1}
.over{fill:#ff9a66}
.ground{fill:#0d1117;stroke:#30363d}
.grid{stroke:#262c33}
.axis{stroke:#6e7781}
.limit{stroke:#e6edf3}
.passed{fill:#56b4e9;fill-opacity:.24}
.theirs{fill:#9da7b1;fill-opacity:.22}
.edge{stroke:#56b4e9}
.edge-theirs{stroke:#9da7b1}
.beyond{fill:#ff8a50;fill-opacity:.8}
.away{fill:#9da7b1;fill-opacity:.16}
.dot{fill:#9da7b1}
.dot-ours{fill:#56b4e9}
}
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_written_with_one_digit_at_most_and_no_zero_has_a_sign() {
        for (px, text) in [(0.04, "0"), (-0.04, "0"), (1.0, "1"), (1.25, "1.3"), (-2.5, "-2.5")] {
            assert_eq!(Px(px).to_string(), text);
        }
    }
}
