//! An SVG, written shape by shape.
//!
//! By hand rather than by a plotting crate: pictures are kept beside the documentation and compared byte by byte, so what
//! writes them must not change with a dependency's release, and a reader with another colour scheme, or without colours, needs
//! classes and shapes that such crates do not write.

use std::fmt::{self, Display, Write as _};
use std::ops::{Add, Sub};

/// A place or length in a picture, in tenths of a pixel: whole numbers are written alike on every machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Px(i64);

impl Px {
    pub(super) const fn whole(pixels: i64) -> Self {
        Self(pixels * 10)
    }

    /// `part / all` of this, rounded down; nothing of nothing.
    pub(super) fn share(self, part: u128, all: u128) -> Self {
        let tenths = u128::try_from(self.0).unwrap_or(0) * part / all.max(1);
        Self(i64::try_from(tenths).unwrap_or(i64::MAX))
    }

    pub(super) const fn times(self, number: i64) -> Self {
        Self(self.0 * number)
    }
}

impl Add for Px {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl Sub for Px {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl Display for Px {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, tenths) = (self.0.abs() / 10, self.0.abs() % 10);
        write!(f, "{sign}{whole}")?;
        if tenths > 0 {
            write!(f, ".{tenths}")?;
        }
        Ok(())
    }
}

/// A point in a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) x: Px,
    pub(super) y: Px,
}

/// From which side of its point a text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A picture that is being drawn. Every shape has a class; [`STYLE`] says what each looks like.
#[derive(Debug, Default)]
pub(super) struct Svg {
    shapes: String,
}

impl Svg {
    /// Writes `text` with its base line at `at`.
    pub(super) fn text(&mut self, at: Point, anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let Point { x, y } = at;
        self.shape(format_args!(
            "<text class=\"{class}\" x=\"{x}\" y=\"{y}\"{anchor}>{}</text>",
            Escaped(text)
        ));
    }

    pub(super) fn line(&mut self, from: Point, to: Point, class: &str) {
        self.shape(format_args!(
            "<path class=\"{class}\" d=\"M{} {}L{} {}\"/>",
            from.x, from.y, to.x, to.y
        ));
    }

    /// The rectangle between two corners.
    pub(super) fn rectangle(&mut self, from: Point, to: Point, class: &str) {
        let (width, height) = (to.x - from.x, to.y - from.y);
        self.shape(format_args!(
            "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{width}\" height=\"{height}\"/>",
            from.x, from.y
        ));
    }

    /// A dot: it passed.
    pub(super) fn dot(&mut self, at: Point, class: &str) {
        self.shape(format_args!(
            "<circle class=\"{class}\" cx=\"{}\" cy=\"{}\" r=\"4\"/>",
            at.x, at.y
        ));
    }

    /// A diamond: it waits.
    pub(super) fn diamond(&mut self, at: Point, class: &str) {
        self.shape(format_args!(
            "<path class=\"{class}\" d=\"M{} {}l4.5 4.5l-4.5 4.5l-4.5-4.5z\"/>",
            at.x,
            at.y - Px(45)
        ));
    }

    /// A cross: it was refused.
    pub(super) fn cross(&mut self, at: Point, class: &str) {
        let (x, y) = (at.x - Px(35), at.y - Px(35));
        self.shape(format_args!("<path class=\"{class}\" d=\"M{x} {y}l7 7m0-7l-7 7\"/>"));
    }

    /// A line through `path`, which is in the form of SVG's `d`.
    pub(super) fn path(&mut self, path: &str, class: &str) {
        self.shape(format_args!("<path class=\"{class}\" d=\"{path}\"/>"));
    }

    /// The whole picture, of this size, on a ground of its own: it may be looked at on a page of any colour.
    pub(super) fn finish(self, (width, height): (Px, Px), title: &str, description: &str) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" role=\"img\" aria-labelledby=\"t d\">\n<title id=\"t\">{}</title>\n<desc id=\"d\">{}</desc>\n\
             <style>\n{STYLE}</style>\n<rect class=\"ground\" width=\"{width}\" height=\"{height}\" rx=\"6\"/>\n{}</svg>\n",
            Escaped(title),
            Escaped(description),
            self.shapes
        )
    }

    fn shape(&mut self, shape: fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.shapes, "{shape}");
    }
}

/// Text between tags or quotes, with whatever could end it replaced; what XML knows no form of at all is left out.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                letter if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => f.write_str(" ")?,
                letter => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}

/// Blue, green and vermilion of the palette by Okabe and Ito, which the colour-blind tell apart, darker on a light ground and
/// lighter on a dark one, so that each has a contrast of at least 4.5 to 1 to its ground.
const STYLE: &str = "\
text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',Arial,sans-serif;font-size:13px;fill:#1f2328}
.title{font-size:16px;font-weight:600}
.name{font-weight:600}
.soft{font-size:12px;fill:#57606a}
.ground{fill:#fff;stroke:#d0d7de}
.axis{stroke:#57606a;fill:none}
.grid{stroke:#d8dee4;fill:none}
.seam{stroke:#57606a;stroke-dasharray:4 3;fill:none}
.window{stroke:#57606a;stroke-width:2;fill:none}
.pass{fill:#0067a8}
.wait{fill:#fff;stroke:#00795a;stroke-width:1.6}
.way{stroke:#00795a;stroke-width:1.6;fill:none}
.leave{fill:#00795a}
.refuse{stroke:#c44400;stroke-width:2;fill:none}
.left{stroke:#1f2328;stroke-width:1.6;fill:none}
.under{fill:#0067a8;fill-opacity:.13}
.shut{fill:#c44400;fill-opacity:.1}
@media (prefers-color-scheme:dark){
text{fill:#e6edf3}
.soft{fill:#9da7b1}
.ground{fill:#0d1117;stroke:#30363d}
.axis{stroke:#9da7b1}
.grid{stroke:#2b3138}
.seam{stroke:#9da7b1}
.window{stroke:#9da7b1}
.pass{fill:#56b4e9}
.wait{fill:#0d1117;stroke:#2fc79a}
.way{stroke:#2fc79a}
.leave{fill:#2fc79a}
.refuse{stroke:#ff8a50}
.left{stroke:#e6edf3}
.under{fill:#56b4e9;fill-opacity:.2}
.shut{fill:#ff8a50;fill-opacity:.25}
}
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_written_as_short_as_it_can_be() {
        for (px, text) in [
            (Px(0), "0"),
            (Px(10), "1"),
            (Px(15), "1.5"),
            (Px(-5), "-0.5"),
            (Px(-10), "-1"),
        ] {
            assert_eq!(px.to_string(), text);
        }
        assert_eq!(Px::whole(100).share(1, 3), Px(333));
        assert_eq!(Px::whole(100).share(1, 0), Px(1_000));
    }

    #[test]
    fn no_text_can_end_its_tag_or_start_another() {
        let mut svg = Svg::default();
        let at = Point {
            x: Px::whole(0),
            y: Px::whole(0),
        };
        svg.text(at, Anchor::Start, "soft", "</text><script>\"'&\u{0}\u{1b}[31m");
        let written = svg.finish((Px::whole(1), Px::whole(1)), "</title><script>", "\"<&");
        assert!(
            written.contains("&lt;/text&gt;&lt;script&gt;&quot;&#39;&amp;  [31m"),
            "{written}"
        );
        assert!(
            !written.contains("<script>") && !written.contains('\u{1b}'),
            "{written}"
        );
    }
}
