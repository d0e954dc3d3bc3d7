//! The figures of `price` as a picture: two bars for each protection.

use std::fmt::Write as _;

use super::Row;
use crate::bench::compare::significant;

/// Widths and heights in pixels.
const TEXT: f64 = 230.0;
const BAR: f64 = 240.0;
const ROW: f64 = 30.0;
const HEAD: f64 = 34.0;

/// An SVG of all rows: how many messages a second, and how long a lone one takes.
pub(super) fn svg(rows: &[Row]) -> String {
    let (width, height) = (TEXT + 2.0 * (BAR + 70.0), HEAD + ROW * rows.len() as f64 + 10.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let throughputs = rows.iter().map(|row| Some(row.throughput.median));
    let latencies = rows.iter().map(|row| row.alone.as_ref().map(|alone| alone.median));
    column(&mut svg, TEXT, "messages a second", "#3b7dd8", &throughputs.collect::<Vec<_>>());
    column(
        &mut svg,
        TEXT + BAR + 70.0,
        "a lone message, p50 in us",
        "#d8703b",
        &latencies.collect::<Vec<_>>(),
    );
    for (i, row) in rows.iter().enumerate() {
        let _ = writeln!(svg, "<text x=\"8\" y=\"{}\">{}</text>", middle(i), row.step.name);
    }
    svg + "</svg>\n"
}

fn column(svg: &mut String, x: f64, title: &str, color: &str, values: &[Option<f64>]) {
    let most = values.iter().flatten().copied().fold(1.0, f64::max);
    let _ = writeln!(svg, "<text x=\"{x}\" y=\"20\" font-weight=\"bold\">{title}</text>");
    for (i, value) in values.iter().enumerate() {
        let Some(value) = value else { continue };
        let (y, width) = (HEAD + ROW * i as f64 + 4.0, value / most * BAR);
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width:.1}\" height=\"{}\" fill=\"{color}\"/>\n<text x=\"{:.1}\" y=\"{}\">{}</text>",
            ROW - 10.0,
            x + width + 6.0,
            middle(i),
            significant(*value)
        );
    }
}

/// Where the text of a row stands.
fn middle(row: usize) -> f64 {
    HEAD + ROW * row as f64 + 18.0
}
