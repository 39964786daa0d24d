//! The few shapes of SVG that the pictures are made of.

use std::fmt::Write;

/// Text.
pub(crate) const INK: &str = "#222222";
/// Lines of an axis.
pub(crate) const PALE: &str = "#dddddd";
/// `launch`.
pub(crate) const LAUNCH: &str = "#1f5fa8";
/// Containers.
pub(crate) const CONTAINER: &str = "#d9701a";

/// A picture under construction; lengths are pixels, from the upper left corner.
#[derive(Debug)]
pub(crate) struct Svg {
    width: f64,
    height: f64,
    body: String,
}

/// Where a text stands against its point.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Anchor {
    /// The text begins there.
    Start,
    /// Its middle is there.
    Middle,
    /// It ends there.
    End,
}

impl Svg {
    /// An empty picture on white.
    pub(crate) fn new(width: f64, height: f64) -> Self {
        let mut svg = Self { width, height, body: String::new() };
        svg.rectangle(0.0, 0.0, width, height, "#ffffff");
        svg
    }

    /// A filled rectangle.
    pub(crate) fn rectangle(&mut self, x: f64, y: f64, width: f64, height: f64, color: &str) {
        self.add(&format!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{color}\"/>"
        ));
    }

    /// A filled circle that lets others shine through.
    pub(crate) fn dot(&mut self, x: f64, y: f64, radius: f64, color: &str) {
        self.add(&format!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\" fill=\"{color}\" fill-opacity=\"0.45\"/>"
        ));
    }

    /// A line.
    pub(crate) fn line(&mut self, from: (f64, f64), to: (f64, f64), width: f64, color: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.add(&format!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{color}\" \
             stroke-width=\"{width}\"/>"
        ));
    }

    /// A line of text; `y` is its base line.
    pub(crate) fn text(
        &mut self,
        at: (f64, f64),
        size: f64,
        anchor: Anchor,
        color: &str,
        text: &str,
    ) {
        let (x, y) = at;
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escape(text);
        self.add(&format!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" text-anchor=\"{anchor}\" \
             fill=\"{color}\">{text}</text>"
        ));
    }

    /// The file.
    pub(crate) fn render(&self) -> String {
        let Self { width, height, body } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" font-family=\"DejaVu Sans, Verdana, sans-serif\">\n{body}</svg>\n"
        )
    }

    fn add(&mut self, element: &str) {
        let _ = writeln!(self.body, "{element}");
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_cannot_become_an_element() {
        let mut svg = Svg::new(10.0, 10.0);
        svg.text((1.0, 2.0), 12.0, Anchor::End, "#000000", "a < b & c");
        assert!(svg.render().contains(">a &lt; b &amp; c</text>"));
    }
}
