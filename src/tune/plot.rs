//! The frontier between throughput and latency, as SVG. Pure.

use std::fmt::Write as _;

use super::setting::{Capacity, Setting};
use crate::batcher::Slo;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 480.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 40.0;
const PLOT_WIDTH: f64 = 760.0;
const PLOT_HEIGHT: f64 = 330.0;
const COLOURS: [&str; 4] = ["#0a7d53", "#2563c9", "#b4541a", "#7a3fa8"];

/// Lines of the settings that are named, dots of all others: requests a second to the right, milliseconds of
/// the objective's quantile upwards, both on the scale of what was measured within three times the objective.
pub fn svg(
    title: &str,
    named: &[(&str, &Setting, &Capacity)],
    others: &[&Capacity],
    slo: Slo,
) -> String {
    let slo_ms = slo.within.as_secs_f64() * 1e3;
    let highest = 3.0 * slo_ms;
    let all = named.iter().map(|(_, _, c)| *c).chain(others.iter().copied());
    let shown = all.flat_map(|c| &c.points).filter(|p| p.tail * 1e3 <= highest);
    let most = shown.map(|p| p.offered).fold(1.0, f64::max) * 1.05;
    let x = |rate: f64| LEFT + PLOT_WIDTH * rate / most;
    let y = |ms: f64| TOP + PLOT_HEIGHT * (1.0 - ms / highest);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"15\" font-weight=\"bold\">{}</text>\n",
        escape(title)
    );
    let mut line = |text: String| {
        // Writing to a String can't fail.
        let _ = writeln!(out, "{text}");
    };
    for step in 0..=6 {
        let part = f64::from(step) / 6.0;
        let (ms, rate) = (highest * part, most * part);
        let (row, column) = (y(ms), x(rate));
        line(format!(
            "<path d=\"M{LEFT} {row:.1}h{PLOT_WIDTH}\" stroke=\"#e3e3e3\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{ms:.0}</text>\
             <text x=\"{column:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            LEFT - 8.0,
            row + 4.0,
            TOP + PLOT_HEIGHT + 18.0,
            number(rate)
        ));
    }
    line(format!(
        "<path d=\"M{LEFT} {:.1}h{PLOT_WIDTH}\" stroke=\"#c62828\" stroke-dasharray=\"6 4\"/>\
         <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#c62828\">objective {slo}</text>",
        y(slo_ms),
        LEFT + PLOT_WIDTH,
        y(slo_ms) - 6.0
    ));
    line(format!(
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">requests a second</text>\
         <text transform=\"translate(18 {}) rotate(-90)\" text-anchor=\"middle\">{}, ms</text>",
        LEFT + PLOT_WIDTH / 2.0,
        TOP + PLOT_HEIGHT + 38.0,
        TOP + PLOT_HEIGHT / 2.0,
        slo.quantile()
    ));
    for point in others.iter().flat_map(|c| &c.points).filter(|p| p.tail * 1e3 <= highest) {
        let (cx, cy) = (x(point.offered), y(point.tail * 1e3));
        line(format!("<circle cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"2\" fill=\"#bbbbbb\"/>"));
    }
    for (i, (name, setting, capacity)) in named.iter().enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        let mut points: Vec<_> =
            capacity.points.iter().filter(|p| p.tail * 1e3 <= highest).collect();
        points.sort_by(|a, b| a.offered.total_cmp(&b.offered));
        let at: Vec<_> =
            points.iter().map(|p| format!("{:.1},{:.1}", x(p.offered), y(p.tail * 1e3))).collect();
        line(format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            at.join(" ")
        ));
        for at in &at {
            let (cx, cy) = at.split_once(',').unwrap_or((at, "0"));
            line(format!("<circle cx=\"{cx}\" cy=\"{cy}\" r=\"3.5\" fill=\"{colour}\"/>"));
        }
        let row = TOP + PLOT_HEIGHT + 58.0 + 17.0 * i as f64;
        line(format!(
            "<rect x=\"{LEFT}\" y=\"{:.1}\" width=\"18\" height=\"4\" fill=\"{colour}\"/>\
             <text x=\"{}\" y=\"{row:.1}\">{}: {} ({}/s)</text>",
            row - 6.0,
            LEFT + 26.0,
            escape(name),
            escape(&setting.to_string()),
            number(capacity.rate)
        ));
    }
    out + "</svg>\n"
}

fn number(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::setting::Point;
    use super::*;
    use crate::batcher::Rule;
    use crate::engine::Precision;

    #[test]
    fn draws_what_is_on_the_scale_and_escapes_names() {
        let setting = Setting {
            engine: "tract",
            precision: Precision::F32,
            instances: 2,
            threads: 1,
            rule: Rule::Tuned,
            max_batch: 8,
            delay: Duration::ZERO,
        };
        let point = |offered, tail| Point { offered, in_time: 1.0, p50: tail / 2.0, tail };
        let points = vec![point(100.0, 0.02), point(200.0, 0.05), point(300.0, f64::INFINITY)];
        let capacity = Capacity { rate: 200.0, points };
        let slo = Slo { share: 0.99, within: Duration::from_millis(50) };
        let drawn = svg("a<b", &[("now", &setting, &capacity)], &[&capacity], slo);
        // 200/s of 210 to the right, 50 of 150 ms upwards.
        assert!(drawn.contains("points=\"431.9,326.0 793.8,260.0\""), "{drawn}");
        assert!(drawn.contains("a&lt;b") && drawn.contains("p99, ms"), "{drawn}");
        assert!(!drawn.contains("inf") && !drawn.contains("NaN"), "{drawn}");
        assert_eq!(drawn.matches("#bbbbbb").count(), 2);
    }
}
