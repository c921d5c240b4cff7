//! Line charts as SVG, side by side, with no font or library asked for.

use std::fmt::Write;

const WIDTH: f64 = 340.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 50.0;

/// Told apart in grey and by those who see fewer colours, too.
const COLOURS: [&str; 8] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555", "#000000"];

pub struct Panel {
    pub title: String,
    /// What the axes tell, with their units.
    pub x: String,
    pub y: String,
    pub series: Vec<Series>,
}

pub struct Series {
    pub name: String,
    /// Its place among the colours.
    pub colour: usize,
    pub points: Vec<(f64, f64)>,
    /// Whether each point was measured by itself.
    pub marks: bool,
}

/// One axis, from zero.
struct Axis {
    step: f64,
    most: f64,
}

impl Axis {
    /// To the first round number that takes it all in, by at most six steps of 1, 2 or 5.
    fn up_to(most: f64) -> Axis {
        let most = if most.is_finite() && most > 0.0 { most } else { 1.0 };
        let mut step = 10f64.powi(magnitude(most / 6.0));
        for factor in [2.0, 2.5, 2.0] {
            if most / step <= 6.0 {
                break;
            }
            step *= factor;
        }
        Axis { step, most: (most / step).ceil() * step }
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let (step, count) = (self.step, (self.most / self.step).round() as u32);
        (0..=count).map(move |at| f64::from(at) * step)
    }

    fn label(&self, tick: f64) -> String {
        let digits = (-magnitude(self.step)).clamp(0, 6) as usize;
        format!("{tick:.digits$}")
    }
}

/// The power of ten at or below a positive number. Not by its logarithm: a program with that loads libm at each start.
fn magnitude(number: f64) -> i32 {
    let written = format!("{number:e}");
    written.split_once('e').and_then(|(_, power)| power.parse().ok()).unwrap_or_default()
}

/// The whole file.
pub fn page(panels: &[Panel]) -> String {
    let width = WIDTH * panels.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{HEIGHT}\" \
         viewBox=\"0 0 {width} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"11\" fill=\"#222\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    for (at, panel) in panels.iter().enumerate() {
        let _ = writeln!(svg, "<g transform=\"translate({} 0)\">", WIDTH * at as f64);
        panel.draw(&mut svg);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

impl Panel {
    fn draw(&self, svg: &mut String) {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let across = Axis::up_to(points().map(|point| point.0).fold(0.0, f64::max));
        let up = Axis::up_to(points().map(|point| point.1).fold(0.0, f64::max));
        let x = |value: f64| LEFT + value / across.most * (WIDTH - LEFT - RIGHT);
        let y = |value: f64| HEIGHT - BOTTOM - value / up.most * (HEIGHT - TOP - BOTTOM);
        let middle = (LEFT + WIDTH - RIGHT) / 2.0;
        // A long one is smaller, and no wider.
        let size = (1.6 * WIDTH / self.title.chars().count().max(1) as f64).min(13.0);
        let bold = format!("font-size=\"{size:.1}\" font-weight=\"bold\"");
        text(svg, (middle, 20.0), "middle", &bold, &self.title);
        for tick in up.ticks() {
            line(svg, (LEFT, y(tick)), (WIDTH - RIGHT, y(tick)), "#ddd");
            text(svg, (LEFT - 6.0, y(tick) + 4.0), "end", "", &up.label(tick));
        }
        for tick in across.ticks() {
            line(svg, (x(tick), HEIGHT - BOTTOM), (x(tick), HEIGHT - BOTTOM + 4.0), "#222");
            text(svg, (x(tick), HEIGHT - BOTTOM + 17.0), "middle", "", &across.label(tick));
        }
        line(svg, (LEFT, HEIGHT - BOTTOM), (WIDTH - RIGHT, HEIGHT - BOTTOM), "#222");
        text(svg, (middle, HEIGHT - 12.0), "middle", "", &self.x);
        let turned = format!("transform=\"rotate(-90 14 {HEIGHT_HALF})\"");
        text(svg, (14.0, HEIGHT_HALF), "middle", &turned, &self.y);
        for (at, series) in self.series.iter().enumerate() {
            let colour = COLOURS[series.colour % COLOURS.len()];
            let places: Vec<_> = series.points.iter().map(|point| (x(point.0), y(point.1))).collect();
            series.draw(svg, &places, colour);
            self.name(svg, at, &series.name, colour);
        }
    }

    /// On the right, in the corner that lines which grow, or fall, leave free.
    fn name(&self, svg: &mut String, at: usize, name: &str, colour: &str) {
        let falls = self.series.iter().all(Series::falls);
        let (top, bottom) = (TOP + 16.0, HEIGHT - BOTTOM - 12.0 - 15.0 * (self.series.len() - 1) as f64);
        let y = if falls { top } else { bottom } + 15.0 * at as f64;
        let right = WIDTH - RIGHT - 8.0;
        text(svg, (right - 24.0, y), "end", "", name);
        let _ = writeln!(
            svg,
            "<path d=\"M{:.1} {:.1}h18\" stroke=\"{colour}\" stroke-width=\"3\"/>",
            right - 18.0,
            y - 4.0
        );
    }
}

const HEIGHT_HALF: f64 = (TOP + HEIGHT - BOTTOM) / 2.0;

impl Series {
    fn falls(&self) -> bool {
        let ends = self.points.first().zip(self.points.last());
        ends.is_some_and(|(first, last)| last.1 < first.1 * 0.7)
    }

    fn draw(&self, svg: &mut String, places: &[(f64, f64)], colour: &str) {
        let path: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\"/>",
            path.join(" ")
        );
        for (x, y) in places.iter().filter(|_| self.marks) {
            let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.6\" fill=\"{colour}\"/>");
        }
    }
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), colour: &str) {
    let _ = writeln!(
        svg,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn text(svg: &mut String, at: (f64, f64), anchor: &str, how: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\" {how}>{words}</text>",
        at.0, at.1
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_has_few_round_ticks_and_takes_in_all() {
        for (most, ticks, last) in [(1.0, 6, "1.0"), (1250.0, 8, "1500"), (64.0, 8, "80"), (0.0, 6, "1.0")] {
            let axis = Axis::up_to(most);
            let labels: Vec<String> = axis.ticks().map(|tick| axis.label(tick)).collect();
            assert!(axis.most >= most && labels.len() <= ticks, "{most}: {labels:?}");
            assert_eq!(labels.last().map(String::as_str), Some(last), "{most}: {labels:?}");
        }
    }

    #[test]
    fn a_page_is_closed_and_its_words_are_escaped() {
        let series =
            Series { name: "a<b".into(), colour: 0, points: vec![(0.0, 1.0), (2.0, 3.0)], marks: true };
        let panel = Panel { title: "t & u".into(), x: "x, ms".into(), y: "y".into(), series: vec![series] };
        let svg = page(&[panel]);
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
        assert!(svg.contains("a&lt;b") && svg.contains("t &amp; u") && svg.contains("x, ms"), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 2);
    }
}
