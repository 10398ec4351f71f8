//! Plots as SVG, drawn with the colours of the page around them.

use std::fmt::Write;

use super::numbers::moments;
use super::{Bin, Rate};

/// Text escaped for HTML and SVG.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            letter if letter.is_control() => escaped.push(' '),
            letter => escaped.push(letter),
        }
    }
    escaped
}

const WIDTH: f64 = 720.0;
/// Width for names of principles.
const NAMES: f64 = 210.0;

/// A drawing with its size and its label for screen readers.
fn svg(height: f64, label: &str, body: &str) -> String {
    let label = escaped(label);
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"{label}\"><title>{label}</title>\
         {body}</svg>\n"
    )
}

/// A value's place on a line.
#[derive(Clone, Copy)]
struct Scale {
    from: f64,
    to: f64,
    /// Pixels of both ends.
    pixels: [f64; 2],
}

impl Scale {
    fn at(&self, value: f64) -> f64 {
        let part = (value - self.from) / (self.to - self.from);
        self.pixels[0] + part.clamp(0.0, 1.0) * (self.pixels[1] - self.pixels[0])
    }

    /// About `count` round numbers between the ends.
    fn ticks(&self, count: usize) -> Vec<f64> {
        let raw = (self.to - self.from) / count as f64;
        let unit = 10f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * unit).into_iter().find(|step| *step >= raw);
        let step = step.unwrap_or(unit * 10.0);
        let first = (self.from / step).ceil() as i64;
        let last = (self.to / step).floor() as i64;
        (first..=last).map(|tick| tick as f64 * step).collect()
    }
}

/// The shortest axis: on a shorter one, ticks with two decimals would look the same.
const SHORTEST: f64 = 0.06;

/// The ends of an axis for some values, with a small margin; the two are never equal.
fn range(values: impl Iterator<Item = f64> + Clone) -> [f64; 2] {
    let low = values.clone().fold(f64::INFINITY, f64::min);
    let high = values.fold(f64::NEG_INFINITY, f64::max);
    // A constant gets an axis of a tenth of its value: on a shorter one it would look like a change.
    let flat = if high == low { high.abs() * 0.05 } else { 0.0 };
    let air = ((high - low) * 0.05).max((SHORTEST - (high - low)) / 2.0).max(flat);
    if low.is_finite() && high.is_finite() { [low - air, high + air] } else { [0.0, 1.0] }
}

/// A number with at most two decimals, without trailing zeros and without "-0".
fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// One bar of a row: its length, its interval and its tooltip.
pub(crate) struct Bar {
    pub value: f64,
    pub bounds: Option<[f64; 2]>,
    pub says: String,
}

impl Bar {
    /// A rate with its interval.
    pub fn of_rate(name: &str, rate: Rate) -> Bar {
        let Rate { hits, of, rate, low, high } = rate;
        Bar {
            value: rate,
            bounds: Some([low, high]),
            says: format!(
                "{name}: {:.0}% ({hits} of {of}, 95% interval {low:.2} to {high:.2})",
                rate * 100.0
            ),
        }
    }
}

/// Rows of bars side by side, from 0 to `most`, with a line at `mark`. The bars of a row have the colours
/// `s1`, `s2` and so on.
pub(crate) fn bars(label: &str, rows: &[(String, Vec<Bar>)], most: f64, mark: Option<f64>) -> String {
    const BAR: f64 = 9.0;
    let per_row = rows.iter().map(|(_, bars)| bars.len()).max().unwrap_or(1).max(1) as f64;
    let row_height = per_row * (BAR + 2.0) + 10.0;
    let top = 8.0;
    let bottom = top + rows.len() as f64 * row_height;
    let scale = Scale { from: 0.0, to: most, pixels: [NAMES, WIDTH - 20.0] };
    let mut body = String::new();
    for tick in scale.ticks(5) {
        let (x, text) = (scale.at(tick), number(tick));
        let _ = write!(
            body,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top}\" y2=\"{bottom:.1}\"/>\
             <text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{text}</text>",
            bottom + 16.0
        );
    }
    for (place, (name, bars)) in rows.iter().enumerate() {
        let y = top + place as f64 * row_height + 5.0;
        let middle = y + per_row * (BAR + 2.0) / 2.0 + 3.0;
        let _ = write!(
            body,
            "<text class=\"name\" x=\"{:.1}\" y=\"{middle:.1}\" text-anchor=\"end\">{}</text>",
            NAMES - 10.0,
            escaped(name)
        );
        for (series, bar) in bars.iter().enumerate() {
            let y = y + series as f64 * (BAR + 2.0);
            let width = scale.at(bar.value) - NAMES;
            let _ = write!(
                body,
                "<rect class=\"s{}\" x=\"{NAMES}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR}\" rx=\"2\">\
                 <title>{}</title></rect>",
                series + 1,
                escaped(&bar.says)
            );
            if let Some([low, high]) = bar.bounds {
                let middle = y + BAR / 2.0;
                let _ = write!(
                    body,
                    "<line class=\"whisker\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\"/>",
                    scale.at(low),
                    scale.at(high)
                );
            }
        }
    }
    if let Some(mark) = mark {
        let x = scale.at(mark);
        let _ = write!(
            body,
            "<line class=\"mark\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top}\" y2=\"{bottom:.1}\"/>"
        );
    }
    svg(bottom + 24.0, label, &body)
}

/// Frame, grid and names of a plot of two axes, and its scales.
fn axes(ranges: [[f64; 2]; 2], names: [&str; 2], height: f64) -> (String, [Scale; 2]) {
    let (left, right, top, bottom) = (60.0, WIDTH - 20.0, 10.0, height - 40.0);
    let x = Scale { from: ranges[0][0], to: ranges[0][1], pixels: [left, right] };
    let y = Scale { from: ranges[1][0], to: ranges[1][1], pixels: [bottom, top] };
    let mut body = String::new();
    for tick in x.ticks(8) {
        let at = x.at(tick);
        let _ = write!(
            body,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{top}\" y2=\"{bottom}\"/>\
             <text class=\"tick\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            bottom + 15.0,
            number(tick)
        );
    }
    for tick in y.ticks(5) {
        let at = y.at(tick);
        let _ = write!(
            body,
            "<line class=\"grid\" x1=\"{left}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            left - 6.0,
            at + 4.0,
            number(tick)
        );
    }
    let _ = write!(
        body,
        "<text class=\"axis\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
         <text class=\"axis\" transform=\"translate(14 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
        (left + right) / 2.0,
        height - 6.0,
        escaped(names[0]),
        (top + bottom) / 2.0,
        escaped(names[1])
    );
    (body, [x, y])
}

/// Points of several series, each with a straight line of least squares.
pub(crate) fn scatter(label: &str, names: [&str; 2], series: &[Vec<[f64; 2]>]) -> String {
    let all = || series.iter().flatten();
    let ranges = [range(all().map(|point| point[0])), range(all().map(|point| point[1]))];
    let (mut body, [x, y]) = axes(ranges, names, 320.0);
    for (number, points) in series.iter().enumerate() {
        for [at_x, at_y] in points {
            let _ = write!(
                body,
                "<circle class=\"p{}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.5\"/>",
                number + 1,
                x.at(*at_x),
                y.at(*at_y)
            );
        }
        if let Some((slope, intercept)) = least_squares(points) {
            let ends = ranges[0].map(|end| (x.at(end), y.at(slope * end + intercept)));
            let [(x1, y1), (x2, y2)] = ends;
            let _ = write!(
                body,
                "<line class=\"l{}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>",
                number + 1
            );
        }
    }
    svg(320.0, label, &body)
}

/// Distance from one line of text to the next.
const LINE: f64 = 14.0;

/// A few points, each with its name.
pub(crate) fn labelled(label: &str, names: [&str; 2], points: &[(String, [f64; 2])]) -> String {
    let ranges = [0, 1].map(|axis| range(points.iter().map(|(_, point)| point[axis])));
    let (mut body, [x, y]) = axes(ranges, names, 320.0);
    let mut written: Vec<[f64; 2]> = Vec::new();
    for (name, point) in points {
        let (at_x, at_y, name) = (x.at(point[0]), y.at(point[1]), escaped(name));
        // Names are placed away from the right edge and from earlier names.
        let (anchor, beside) = if at_x > WIDTH / 2.0 { ("end", -8.0) } else { ("start", 8.0) };
        let line = if at_y > 100.0 { -LINE } else { LINE };
        let mut name_y = at_y - 6.0;
        while written.iter().any(|[x, y]| (x - at_x).abs() < 80.0 && (y - name_y).abs() < LINE) {
            name_y += line;
        }
        written.push([at_x, name_y]);
        let _ = write!(
            body,
            "<circle class=\"s1\" cx=\"{at_x:.1}\" cy=\"{at_y:.1}\" r=\"4\"><title>{name}: {}, {}</title></circle>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{name}</text>",
            number(point[0]),
            number(point[1]),
            at_x + beside,
            name_y
        );
    }
    svg(320.0, label, &body)
}

/// A figure over the steps.
pub(crate) fn curve(label: &str, names: [&str; 2], points: &[[f64; 2]]) -> String {
    let ranges = [0, 1].map(|axis| range(points.iter().map(|point| point[axis])));
    let (mut body, [x, y]) = axes(ranges, names, 220.0);
    let places: Vec<String> =
        points.iter().map(|point| format!("{:.1},{:.1}", x.at(point[0]), y.at(point[1]))).collect();
    let _ = write!(body, "<polyline class=\"l1\" points=\"{}\"/>", places.join(" "));
    for point in points {
        let (at, height, says) = (x.at(point[0]), y.at(point[1]), number(point[1]));
        let _ = write!(
            body,
            "<circle class=\"s1\" cx=\"{at:.1}\" cy=\"{height:.1}\" r=\"2.5\"><title>{}: {says}</title></circle>",
            number(point[0])
        );
    }
    svg(220.0, label, &body)
}

fn least_squares(points: &[[f64; 2]]) -> Option<(f64, f64)> {
    let side = |side: usize| -> Vec<f64> { points.iter().map(|point| point[side]).collect() };
    let ((mean_x, deviation), (mean_y, _)) = (moments(&side(0)), moments(&side(1)));
    let shared =
        points.iter().map(|[x, y]| (x - mean_x) * (y - mean_y)).sum::<f64>() / points.len().max(1) as f64;
    let slope = shared / (deviation * deviation);
    (deviation > 0.0).then_some((slope, mean_y - slope * mean_x))
}

/// Predicted against observed frequencies, with intervals and the diagonal.
pub(crate) fn reliability(label: &str, names: [&str; 2], bins: &[Bin]) -> String {
    let (mut body, [x, y]) = axes([[0.0, 1.0]; 2], names, 320.0);
    let _ = write!(
        body,
        "<line class=\"mark\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
        x.at(0.0),
        y.at(0.0),
        x.at(1.0),
        y.at(1.0)
    );
    let place = |bin: &Bin| format!("{:.1},{:.1}", x.at(bin.predicted), y.at(bin.observed.rate));
    let line: Vec<String> = bins.iter().map(place).collect();
    let _ = write!(body, "<polyline class=\"l1\" points=\"{}\"/>", line.join(" "));
    for bin in bins {
        let Rate { hits, of, low, high, rate } = bin.observed;
        let at = x.at(bin.predicted);
        let _ = write!(
            body,
            "<line class=\"whisker\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>\
             <circle class=\"s1\" cx=\"{at:.1}\" cy=\"{:.1}\" r=\"{:.1}\"><title>predicted {:.2}: {hits} of {of}\
             </title></circle>",
            y.at(low),
            y.at(high),
            y.at(rate),
            3.0 + (of as f64).ln_1p() / 2.0,
            bin.predicted
        );
    }
    svg(320.0, label, &body)
}

/// A histogram with equal steps; values below 0 have another colour.
pub(crate) fn histogram(label: &str, names: [&str; 2], values: &[f64]) -> String {
    const STEPS: usize = 30;
    let most = values.iter().fold(1e-6f64, |most, value| most.max(value.abs())) * 1.02;
    let step = 2.0 * most / STEPS as f64;
    let mut counts = [0usize; STEPS];
    for value in values {
        counts[(((value + most) / step) as usize).min(STEPS - 1)] += 1;
    }
    let highest = counts.iter().copied().max().unwrap_or(1).max(1) as f64;
    let (mut body, [x, y]) = axes([[-most, most], [0.0, highest * 1.05]], names, 260.0);
    for (place, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let from = -most + place as f64 * step;
        let (left, right, top) = (x.at(from), x.at(from + step), y.at(count as f64));
        let class = if from + step / 2.0 > 0.0 { "s1" } else { "s2" };
        let _ = write!(
            body,
            "<rect class=\"{class}\" x=\"{:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\">\
             <title>{from:.2} to {:.2}: {count}</title></rect>",
            left + 0.5,
            right - left - 1.0,
            y.at(0.0) - top,
            from + step
        );
    }
    svg(260.0, label, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_texts_say_is_no_markup() {
        assert_eq!(escaped("<a b=\"c\">&\u{7}"), "&lt;a b=&quot;c&quot;&gt;&amp; ");
        let bar = Bar { value: 0.5, bounds: None, says: "<script>".to_owned() };
        let drawn = bars("a <label>", &[("<b>name".to_owned(), vec![bar])], 1.0, Some(0.5));
        assert!(!drawn.contains("<script>") && !drawn.contains("<b>") && !drawn.contains("<label>"));
        assert!(drawn.contains("&lt;b&gt;name"), "{drawn}");
    }

    #[test]
    fn ticks_are_round_and_within() {
        let scale = Scale { from: -0.37, to: 1.91, pixels: [0.0, 100.0] };
        assert_eq!(
            scale.ticks(5).iter().map(|tick| number(*tick)).collect::<Vec<_>>(),
            ["0", "0.5", "1", "1.5"]
        );
        assert_eq!((scale.at(-9.0), scale.at(9.0)), (0.0, 100.0), "nothing is drawn outside");
    }

    #[test]
    fn a_constant_has_an_axis_that_shows_it_as_one() {
        assert_eq!(range([32.0, 32.0].into_iter()), [30.4, 33.6]);
        assert_eq!(range([0.0].into_iter()), [-SHORTEST / 2.0, SHORTEST / 2.0]);
    }

    #[test]
    fn no_two_ticks_of_an_axis_read_alike() {
        for values in [[1.0, 1.0], [32.0, 32.0], [-1e-9, 2e-9], [0.4, 0.41], [0.0, 0.07], [-3.0, 900.0]] {
            let [from, to] = range(values.into_iter());
            assert!(from < values[0] && values[1] < to);
            for count in [5, 8] {
                let mut ticks: Vec<String> =
                    Scale { from, to, pixels: [0.0, 1.0] }.ticks(count).into_iter().map(number).collect();
                let all = ticks.len();
                ticks.dedup();
                assert!(ticks.len() == all && all > 1, "{values:?}: {ticks:?}");
            }
        }
    }

    #[test]
    fn names_of_the_same_point_are_on_lines_of_their_own() {
        let point = |name: &str| (name.to_owned(), [1.0, 1.0]);
        let drawn = labelled("names", ["x", "y"], &[point("one"), point("two"), point("three")]);
        let lines: std::collections::BTreeSet<&str> = ["one", "two", "three"]
            .iter()
            .map(|name| {
                let (before, _) = drawn.split_once(&format!(">{name}</text>")).expect("it is named");
                let (_, y) = before.rsplit_once(" y=\"").expect("it has a place");
                y.split_once('"').expect("of its own").0
            })
            .collect();
        assert_eq!(lines.len(), 3, "{drawn}");
    }

    #[test]
    fn nothing_and_the_same_thing_twice_can_be_drawn() {
        for drawn in [
            bars("bars", &[], 1.0, None),
            scatter("points", ["x", "y"], &[vec![], vec![[1.0, 1.0], [1.0, 1.0]]]),
            reliability("bins", ["x", "y"], &[]),
            labelled("names", ["x", "y"], &[]),
            labelled(
                "names",
                ["x", "y"],
                &[("one".to_owned(), [1.0, 1.0]), ("<two>".to_owned(), [1.0, 1.0])],
            ),
            histogram("values", ["x", "y"], &[]),
            histogram("values", ["x", "y"], &[0.0, 0.0]),
        ] {
            assert!(drawn.starts_with("<svg") && drawn.trim_end().ends_with("</svg>"));
            assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
        }
    }
}
