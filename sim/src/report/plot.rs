//! Plots as SVG: the same in a page and as files.
//!
//! Decides how a panel looks. A plot has three parts: what names its values on the left, the area,
//! and what names its lines on the right. The area is as wide as it is made: its lines stand in a
//! lens whose units are milliseconds, so that a page zooms by turning the lens alone, and its texts
//! and rules at shares of its width.

use super::panel::{Line, Panel, Plot, Shape, Span, State, Strip};
use super::paths::{layer, slope, stacked, steps, tenths};
use super::scale::{Scale, times};
use super::series::Point;
use super::text::{escape, figure, seconds, tick};
use super::theme;

/// How high the area of a plot is, in pixels, and how much of it is above the highest value.
const HEIGHT: u64 = 116;
/// See [`HEIGHT`].
const ABOVE: u64 = 10;
/// How high a lane of a strip is, and its bar within.
const LANE: u64 = 20;
/// See [`LANE`].
const BAR: u64 = 14;
/// How far apart the names of lines are at least.
const APART: u64 = 14;
/// The widths of the parts, as files have them.
pub const LEFT: u64 = 76;
/// See [`LEFT`].
pub const RIGHT: u64 = 156;
/// See [`LEFT`].
const AREA: u64 = 728;

/// What all panels of a run have in common.
pub struct View<'a> {
    /// Milliseconds: how far the axis goes, and when the run ended.
    pub until: u64,
    pub ended: u64,
    /// Faults that last.
    pub bands: &'a [(u64, u64)],
    pub marks: &'a [Mark],
}

/// A moment that is marked in every panel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    pub at: u64,
    /// Its class in the style sheet.
    pub class: &'static str,
    pub label: String,
}

/// A panel, drawn.
pub struct Drawn {
    pub height: u64,
    pub left: String,
    pub area: String,
    pub right: String,
}

/// Draws a panel on a scale that fits `most` as well; none if there is nothing to draw.
pub fn draw(panel: &Panel, view: &View<'_>, most: u64) -> Option<Drawn> {
    match panel {
        Panel::Plot(plot) => Some(of_plot(plot, view, most)),
        Panel::Strip(strip) if strip.lanes.is_empty() => None,
        Panel::Strip(strip) => Some(of_strip(strip, view)),
        Panel::Absent { .. } => None,
    }
}

/// The highest value that a panel must have room for.
pub fn most(panel: &Panel) -> u64 {
    let Panel::Plot(plot) = panel else { return 0 };
    let highest = |line: &Line| line.points.iter().filter_map(|(_, value)| *value).max();
    match plot.shape {
        Shape::Steps | Shape::Slope => plot.lines.iter().filter_map(highest).max().unwrap_or(0),
        Shape::Stack => stacked(plot)
            .last()
            .map_or(0, |top| top.iter().filter_map(|(_, value)| *value).max().unwrap_or_default()),
    }
}

/// The axis of time, with the names of the marks above it.
pub fn axis(view: &View<'_>) -> Drawn {
    let mut area = String::new();
    for at in times(view.until) {
        let (x, label) = (share(at, view.until), tick(at));
        let anchor = if at == 0 { "start" } else { "middle" };
        area += &format!(
            "<text class=\"tick\" x=\"{x}\" y=\"12\" text-anchor=\"{anchor}\">{label}</text>"
        );
    }
    Drawn { height: 18, left: String::new(), area, right: String::new() }
}

/// The names of the marks, for the head of a column of panels.
pub fn marks(view: &View<'_>) -> Drawn {
    let mut area = String::new();
    let mut row = 0;
    let named = view.marks.iter().filter(|mark| !mark.label.is_empty());
    for Mark { at, class, label } in named {
        let late = *at * 2 > view.until;
        let (anchor, shift) = if late { ("end", "-4") } else { ("start", "4") };
        let (x, y, label) = (share(*at, view.until), 12 + row * 15, escape(label));
        area += &format!(
            "<text class=\"{class}\" data-t=\"{at}\" x=\"{x}\" dx=\"{shift}\" y=\"{y}\" \
             text-anchor=\"{anchor}\">{label}</text>"
        );
        row += 1;
    }
    Drawn { height: row * 15 + 3, left: String::new(), area, right: String::new() }
}

/// A panel as a file of its own.
pub fn file(panel: &Panel, view: &View<'_>) -> Option<String> {
    let drawn = draw(panel, view, most(panel))?;
    let (head, axis) = (marks(view), axis(view));
    let note = match panel {
        Panel::Plot(Plot { note, .. }) | Panel::Strip(Strip { note, .. }) => note,
        Panel::Absent { why, .. } => why,
    };
    let title = panel.title();
    let (top, width) = (30 + head.height, LEFT + AREA + RIGHT);
    let foot = top + drawn.height;
    let height = foot + axis.height + 8;
    let style = include_str!("plot.css");
    let (light, dark) = (theme::spelt_out(style, false), theme::spelt_out(style, true));
    let part = |x: u64, y: u64, width: u64, height: u64, inner: &str| {
        format!(
            "<svg x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" \
             overflow=\"visible\">{inner}</svg>\n"
        )
    };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\">\n<title>{}</title>\n\
         <style>\n{light}.paper {{ fill: {}; }}\n@media (prefers-color-scheme: dark) {{\n{dark}\
         .paper {{ fill: {}; }}\n}}\n</style>\n\
         <rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n\
         <text class=\"name\" x=\"12\" y=\"18\">{}\
         <tspan dx=\"10\" fill-opacity=\".7\">{}</tspan></text>\n",
        escape(title),
        theme::spelt_out("var(--paper)", false),
        theme::spelt_out("var(--paper)", true),
        escape(title),
        escape(note),
    );
    svg += &part(LEFT, 26, AREA, head.height, &head.area);
    svg += &part(0, top, LEFT, drawn.height, &drawn.left);
    svg += &part(LEFT, top, AREA, drawn.height, &drawn.area);
    svg += &part(LEFT + AREA, top, RIGHT, drawn.height, &drawn.right);
    svg += &part(LEFT, foot, AREA, axis.height, &axis.area);
    svg += "</svg>\n";
    Some(svg)
}

fn of_plot(plot: &Plot, view: &View<'_>, most: u64) -> Drawn {
    let values = plot.lines.iter().flat_map(|line| &line.points);
    let least = values.filter_map(|(_, value)| *value).min().unwrap_or_default();
    let scale = Scale::new(plot.kind, plot.unit, least, most);
    let height = |value: u64| ABOVE * 10 + HEIGHT * 10 - scale.height(value, HEIGHT * 10);
    let (mut left, mut rules) = (String::new(), String::new());
    for tick in scale.ticks(plot.unit) {
        let (y, label) = (height(tick), figure(plot.unit, tick));
        let (rule, text) = (tenths(y), tenths(y + 40));
        let class = if y == (ABOVE + HEIGHT) * 10 { "base" } else { "grid" };
        rules +=
            &format!("<line class=\"{class}\" x1=\"0\" x2=\"100%\" y1=\"{rule}\" y2=\"{rule}\"/>");
        left +=
            &format!("<text x=\"100%\" dx=\"-8\" y=\"{text}\" text-anchor=\"end\">{label}</text>");
    }
    let tops = if plot.shape == Shape::Stack { stacked(plot) } else { Vec::new() };
    let mut lens = String::new();
    for (place, line) in plot.lines.iter().enumerate() {
        let (class, path) = match plot.shape {
            Shape::Steps => ("line", steps(&line.points, view.ended, &height)),
            Shape::Slope => ("line", slope(&line.points, &height)),
            Shape::Stack => {
                let below = place.checked_sub(1).and_then(|below| tops.get(below));
                ("area", layer(&tops[place], below, view.ended, &height))
            }
        };
        let limit = if line.ink == 0 { " limit" } else { "" };
        lens += &format!("<path class=\"{class} i{}{limit}\" d=\"{path}\"/>", line.ink);
    }
    let whole = HEIGHT + ABOVE + 2;
    let right = names(plot, &tops, &height);
    Drawn { height: whole, left, area: area(view, whole, &rules, &lens, ""), right }
}

fn of_strip(strip: &Strip, view: &View<'_>) -> Drawn {
    let height = strip.lanes.len() as u64 * LANE + 4;
    let (mut left, mut lens, mut labels) = (String::new(), String::new(), String::new());
    let mut right = String::new();
    for (place, lane) in (0..).zip(&strip.lanes) {
        let (top, text) = (place * LANE + 3, place * LANE + 14);
        if !lane.name.is_empty() {
            let name = escape(&lane.name);
            left += &format!(
                "<text class=\"name\" x=\"100%\" dx=\"-8\" y=\"{text}\" \
                 text-anchor=\"end\">{name}</text>"
            );
            let last = lane.spans.last().map_or("", |span| &span.label);
            right += &format!(
                "<text class=\"end\" data-line=\"{place}\" x=\"8\" y=\"{text}\">\
                 <tspan class=\"value\">{}</tspan></text>",
                escape(last)
            );
        }
        lens += &format!(
            "<rect class=\"lane\" x=\"0\" y=\"{top}\" width=\"{}\" height=\"{BAR}\"/>",
            view.ended
        );
        for span in &lane.spans {
            lens += &bar(span, top);
            if lane.name.is_empty() {
                labels += &name_span(span, text, view);
            }
        }
    }
    Drawn { height, left, area: area(view, height, "", &lens, &labels), right }
}

/// What a state lasted, as a bar; one that was over at once is marked by a rule of the area.
fn bar(span: &Span, top: u64) -> String {
    let class = match span.state {
        State::Down => return String::new(),
        State::Idle => "idle".into(),
        State::Waiting => "waiting".into(),
        State::Open => "open".into(),
        State::Active(ink) => format!("area i{ink}"),
        State::Fault => "fault".into(),
        State::Moment => "moment".into(),
        State::Work => "work".into(),
    };
    let (from, label) = (span.from, escape(&span.label));
    let width = span.until.saturating_sub(from);
    format!(
        "<rect class=\"{class}\" x=\"{from}\" y=\"{top}\" width=\"{width}\" height=\"{BAR}\">\
         <title>{label}, {} to {}</title></rect>",
        seconds(from),
        seconds(span.until),
    )
}

/// The name of a span beside its beginning, on the side where there is more room.
fn name_span(span: &Span, y: u64, view: &View<'_>) -> String {
    let (from, until) = (span.from, span.until);
    let late = from * 2 > view.until;
    let (anchor, shift) = if late { ("end", "-5") } else { ("start", "5") };
    let (x, label) = (share(from, view.until), escape(&span.label));
    let mut labels = String::new();
    if until == from {
        labels += &format!(
            "<circle class=\"moment\" data-t=\"{from}\" cx=\"{x}\" cy=\"{}\" r=\"3.5\"/>",
            y - 4
        );
    }
    labels += &format!(
        "<text class=\"name halo\" data-t=\"{from}\" data-until=\"{until}\" x=\"{x}\" \
         dx=\"{shift}\" y=\"{y}\" text-anchor=\"{anchor}\">{label}</text>"
    );
    labels
}

/// The area: rules and bands behind, the lens, and above it marks and labels.
fn area(view: &View<'_>, height: u64, rules: &str, lens: &str, labels: &str) -> String {
    let View { until, .. } = view;
    let mut text = String::from("<g class=\"times\">");
    for at in times(*until).into_iter().skip(1) {
        let x = share(at, *until);
        text += &format!("<line class=\"grid\" x1=\"{x}\" x2=\"{x}\" y1=\"0\" y2=\"{height}\"/>");
    }
    text += &format!(
        "</g>{rules}<svg class=\"lens\" width=\"100%\" height=\"{height}\" \
         viewBox=\"0 0 {until} {height}\" preserveAspectRatio=\"none\">"
    );
    for (from, to) in view.bands {
        let width = to.saturating_sub(*from);
        text += &format!(
            "<rect class=\"band\" x=\"{from}\" y=\"0\" width=\"{width}\" height=\"{height}\"/>"
        );
    }
    text += &format!("{lens}</svg>");
    for Mark { at, class, .. } in view.marks {
        let x = share(*at, *until);
        text += &format!(
            "<line class=\"mark {class}\" data-t=\"{at}\" x1=\"{x}\" x2=\"{x}\" y1=\"0\" \
             y2=\"{height}\"/>"
        );
    }
    text + labels
}

/// The names of the lines at their right ends, none above another.
fn names(plot: &Plot, tops: &[Vec<Point>], height: &impl Fn(u64) -> u64) -> String {
    if plot.lines.len() as u64 * APART > HEIGHT + APART {
        return String::new();
    }
    let last = |points: &[Point]| points.iter().rev().find_map(|(_, value)| *value);
    let mut ends: Vec<(u64, usize)> = (0..plot.lines.len())
        .map(|place| {
            let points = tops.get(place).unwrap_or(&plot.lines[place].points);
            (height(last(points).unwrap_or_default()) / 10 + 4, place)
        })
        .collect();
    ends.sort_unstable();
    // First down from the top, then up from the bottom, which is the lowest there is.
    let mut free = ABOVE + 2;
    for (y, _) in &mut ends {
        *y = free.max(*y);
        free = *y + APART;
    }
    let mut free = ABOVE + HEIGHT + 4;
    for (y, _) in ends.iter_mut().rev() {
        *y = free.min(*y);
        free = y.saturating_sub(APART);
    }
    let mut text = String::new();
    for (y, place) in ends {
        let Line { name, ink, points } = &plot.lines[place];
        let value = last(points).map_or(String::new(), |value| figure(plot.unit, value));
        text += &format!(
            "<text class=\"end i{ink}\" data-line=\"{place}\" x=\"8\" y=\"{y}\">{} \
             <tspan class=\"value\">{value}</tspan></text>",
            escape(name)
        );
    }
    text
}

/// A share of the width.
fn share(at: u64, until: u64) -> String {
    let thousandths = u128::from(at) * 100_000 / u128::from(until.max(1));
    format!("{}.{:03}%", thousandths / 1_000, thousandths % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::scale::Kind;
    use crate::report::text::Unit;

    fn plot(lines: u8) -> Plot {
        let line = |ink| Line { name: format!("line-{ink}"), ink, points: vec![(0, Some(5))] };
        Plot {
            id: "id".into(),
            title: "title".into(),
            note: String::new(),
            unit: Unit::Count,
            kind: Kind::Linear,
            shape: Shape::Steps,
            lines: (1..=lines).map(line).collect(),
        }
    }

    /// How far down each text of a drawing stands.
    fn downs(drawing: &str) -> Vec<u64> {
        let after = drawing.split(" y=\"").skip(1);
        after.filter_map(|text| text.split('"').next()?.parse().ok()).collect()
    }

    #[test]
    fn names_of_equal_lines_stand_apart() {
        let view = View { until: 100, ended: 100, bands: &[], marks: &[] };
        let drawn = of_plot(&plot(5), &view, 5);
        let downs = downs(&drawn.right);
        assert!(
            downs.len() == 5 && downs.windows(2).all(|pair| pair[1] >= pair[0] + APART),
            "{downs:?}"
        );
        assert_eq!(of_plot(&plot(50), &view, 5).right, "", "where there is no room, none");
    }

    #[test]
    fn a_run_that_ended_before_the_others_is_not_drawn_on() {
        let view = View { until: 1_000, ended: 100, bands: &[(10, 20)], marks: &[] };
        let area = of_plot(&plot(1), &view, 5).area;
        assert!(area.contains("viewBox=\"0 0 1000 128\""), "{area}");
        assert!(area.contains("H100\""), "{area}");
        assert!(area.contains("<rect class=\"band\" x=\"10\" y=\"0\" width=\"10\""), "{area}");
    }

    #[test]
    fn shares_are_exact_to_a_thousandth() {
        assert_eq!(share(0, 7), "0.000%");
        assert_eq!(share(5, 7), "71.428%");
        assert_eq!(share(7, 7), "100.000%");
        assert_eq!((tenths(1_005), tenths(1_000)), ("100.5".into(), "100".into()));
    }
}
