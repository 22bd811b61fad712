//! The page: a head that says what came of each run, the timeline, and the tables below it.

use super::data;
use super::leases::{EVENTS_SHOWN, LEASES_SHOWN};
use super::panel::{Panel, Plot, Strip};
use super::plot::{self, Drawn, Mark, View};
use super::run::Run;
use super::tables;
use super::text::{embed, escape, figure, thousands};
use super::theme;

/// How a page looks, its colours and plots apart.
const STYLE: &str = concat!(
    include_str!("page.css"),
    include_str!("timeline.css"),
    include_str!("tables.css"),
    include_str!("screens.css"),
);

/// All that a page does by itself.
const SCRIPT: &str = concat!(
    include_str!("1-view.js"),
    include_str!("2-read.js"),
    include_str!("3-leases.js"),
    include_str!("4-rest.js"),
);

/// One or several runs as a page.
pub fn page(runs: &[Run]) -> String {
    let until = runs.iter().map(|run| run.ended).max().unwrap_or_default().max(1);
    let title = match runs {
        [run] => run.title.clone(),
        _ => format!("{} runs side by side", runs.len()),
    };
    let style = format!(
        ":root{{{}}}\n@media (prefers-color-scheme:dark)\
         {{:root:not([data-theme=light]){{{dark}}}}}\n:root[data-theme=dark]{{{dark}}}\n{}\n{}",
        theme::variables(false),
        STYLE,
        include_str!("plot.css"),
        dark = theme::variables(true),
    );
    let broken = runs.iter().any(|run| !run.moments.is_empty());
    let moments: String = runs.iter().map(tables::moments).collect();
    let parts = [
        ("title", escape(&title)),
        ("style", style),
        ("many", if runs.len() > 1 { "many".into() } else { "one".into() }),
        ("heads", heads(runs)),
        ("timeline", timeline(runs, until)),
        (
            "to-moments",
            if broken { "<a href=\"#moments\">What broke</a>".into() } else { String::new() },
        ),
        (
            "moments",
            match broken {
                true => format!("<section id=\"moments\"><h2>What broke</h2>{moments}</section>"),
                false => String::new(),
            },
        ),
        ("leases", leases(runs)),
        ("checks", tables::checks(runs)),
        ("sights", tables::sights(runs)),
        ("figures", tables::figures(runs)),
        ("plans", runs.iter().map(tables::plan).collect()),
        ("data", embed(&data::json(runs, until))),
        ("script", SCRIPT.into()),
    ];
    fill(include_str!("template.html"), &parts)
}

/// The plots of the runs as files: names, and SVG. Where there are several runs, each file's name
/// begins with the number of its run.
pub fn files(runs: &[Run]) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for (number, run) in (1..).zip(runs) {
        let (bands, marks) = (bands(run), marks(run));
        let view = View { until: run.ended.max(1), ended: run.ended, bands: &bands, marks: &marks };
        for panel in &run.panels {
            let name = match runs {
                [_] => format!("{}.svg", panel.id()),
                _ => format!("{number}-{}.svg", panel.id()),
            };
            files.extend(plot::file(panel, &view).map(|svg| (name, svg)));
        }
    }
    files
}

/// Puts each part where the template names it, `{{so}}`, once through.
fn fill(template: &str, parts: &[(&str, String)]) -> String {
    let mut pieces = template.split("{{");
    let mut page = pieces.next().unwrap_or_default().to_string();
    for piece in pieces {
        let (name, rest) = piece.split_once("}}").expect("the template closes what it opens");
        let (_, part) = parts.iter().find(|(known, _)| *known == name).expect("known to `page`");
        page += part;
        page += rest;
    }
    page
}

fn bands(run: &Run) -> Vec<(u64, u64)> {
    let faults = run.lines.iter().filter(|line| line.fault && line.until > line.from);
    faults.map(|line| (line.from, line.until.min(run.ended))).collect()
}

fn marks(run: &Run) -> Vec<Mark> {
    let instant = run.lines.iter().filter(|line| line.fault && line.until == line.from);
    let instant =
        instant.map(|line| Mark { at: line.from, class: "instant", label: String::new() });
    let settle = Mark { at: run.settle, class: "settle", label: "all heals".into() };
    let settled =
        run.converged.map(|at| Mark { at, class: "settled", label: "all settled".into() });
    let broke = run.moments.iter().map(|moment| Mark {
        at: moment.at / 1_000,
        class: "broke",
        label: match moment.settled {
            true => format!("{} never held", moment.check),
            false => format!("{} broke", moment.check),
        },
    });
    let all = instant.chain([settle]).chain(settled).chain(broke);
    all.filter(|mark| mark.at <= run.ended).collect()
}

fn heads(runs: &[Run]) -> String {
    runs.iter().map(head).collect()
}

fn head(run: &Run) -> String {
    let class = if run.passed { "passed" } else { "failed" };
    let words: String = run.words.iter().map(|text| format!("<p>{}</p>", escape(text))).collect();
    let why = run.origin.why.trim();
    let why = match why.is_empty() {
        true => String::new(),
        false => format!("<p class=\"why\">{}</p>", escape(why)),
    };
    let source = match run.origin.source.trim() {
        "" => String::new(),
        source => format!("<blockquote>{}</blockquote>", escape(source)),
    };
    let size = run.size.iter();
    let size = size.map(|(name, figure)| {
        let figure = figure.parse().map_or_else(|_| figure.clone(), thousands);
        format!("<div><dt>{}</dt><dd>{}</dd></div>", escape(name), escape(&figure))
    });
    format!(
        "<article class=\"run {class}\"><p class=\"path\"><code>{}</code></p><h1>{}</h1>\
         <div class=\"verdict\"><strong>{}</strong>{words}</div>{why}{source}\
         <dl class=\"size\">{}</dl><p class=\"again\"><code>{}</code>\
         <button type=\"button\" class=\"copy\">Copy</button></p></article>",
        escape(&run.name()),
        escape(&run.title),
        escape(&run.verdict),
        size.collect::<String>(),
        escape(&run.origin.command),
    )
}

fn timeline(runs: &[Run], until: u64) -> String {
    let every_band: Vec<_> = runs.iter().map(bands).collect();
    let every_mark: Vec<_> = runs.iter().map(marks).collect();
    let view =
        |(run, (bands, marks)): (&Run, (_, _))| View { until, ended: run.ended, bands, marks };
    let drawn = every_band.iter().map(Vec::as_slice).zip(every_mark.iter().map(Vec::as_slice));
    let views: Vec<View<'_>> = runs.iter().zip(drawn).map(view).collect();
    let columns = |drawn: fn(&View<'_>) -> Drawn| -> String {
        let column = |view| format!("<div class=\"column\">{}</div>", parts(&drawn(view), ""));
        views.iter().map(column).collect()
    };
    let mut text = format!("<div class=\"runs axis\">{}</div>", columns(plot::axis));
    if runs.len() > 1 {
        let name = |run: &Run| format!("<p>{}</p>", escape(&run.name()));
        let names: String = runs.iter().map(name).collect();
        text = format!("<div class=\"runs names\">{names}</div>{text}");
    }
    text = format!("<div class=\"pinned\">{text}</div>");
    if every_mark.iter().flatten().any(|mark| !mark.label.is_empty()) {
        text += &format!("<div class=\"runs marks\">{}</div>", columns(plot::marks));
    }
    let Some(first) = runs.first() else { return text };
    for panel in &first.panels {
        let same = |run: &Run| run.panels.iter().position(|other| other.id() == panel.id());
        let places: Vec<Option<usize>> = runs.iter().map(same).collect();
        let of = |(run, place): (usize, &Option<usize>)| {
            let place = (*place)?;
            Some((run, place, &runs[run].panels[place]))
        };
        let there: Vec<(usize, usize, &Panel)> = places.iter().enumerate().filter_map(of).collect();
        let extents = there.iter().map(|(.., panel)| plot::extent(panel));
        let extent = extents.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)));
        let extent = extent.unwrap_or_default();
        let columns: String = there
            .iter()
            .map(|(run, place, panel)| {
                column(panel, &views[*run], &runs[*run], (*run, *place), extent)
            })
            .collect();
        let note = match panel {
            Panel::Plot(Plot { note, .. }) | Panel::Strip(Strip { note, .. }) => note,
            Panel::Absent { .. } => "",
        };
        text += &format!(
            "<section class=\"panel\" data-panel=\"{}\"><h3>{}<small>{}</small></h3>\
             <div class=\"runs\">{columns}</div></section>",
            panel.id(),
            escape(panel.title()),
            escape(note)
        );
    }
    text
}

/// One panel of one run.
fn column(
    panel: &Panel,
    view: &View<'_>,
    run: &Run,
    (number, place): (usize, usize),
    extent: plot::Extent,
) -> String {
    let name = escape(&run.name());
    let Some(drawn) = plot::draw(panel, view, extent) else {
        let why = match panel {
            Panel::Absent { why, .. } => why,
            Panel::Plot(Plot { note, .. }) | Panel::Strip(Strip { note, .. }) => note,
        };
        let why = escape(why);
        return format!("<p class=\"column absent\" data-name=\"{name}\">{why}</p>");
    };
    let label = format!("aria-label=\"{}\"", escape(panel.title()));
    let keys = match panel {
        Panel::Plot(plot) => keys(plot),
        Panel::Strip(_) | Panel::Absent { .. } => String::new(),
    };
    let crowded = if drawn.right.is_empty() { " crowded" } else { "" };
    format!(
        "<figure class=\"column plot{crowded}\" data-name=\"{name}\" data-run=\"{number}\" \
         data-place=\"{place}\">{keys}{}</figure>",
        parts(&drawn, &label)
    )
}

/// The names of the lines where there is no room beside them.
fn keys(plot: &Plot) -> String {
    let key = |(place, line): (usize, &super::panel::Line)| {
        let last = line.points.iter().rev().find_map(|(_, value)| *value);
        let last = last.map_or(String::new(), |value| figure(plot.unit, value));
        format!(
            "<li class=\"k{}\" data-line=\"{place}\">{} <b class=\"value\">{last}</b></li>",
            line.ink,
            escape(&line.name)
        )
    };
    let keys: String = plot.lines.iter().enumerate().map(key).collect();
    format!("<ul class=\"keys\">{keys}</ul>")
}

/// The three parts of a drawing beside each other.
fn parts(drawn: &Drawn, label: &str) -> String {
    let Drawn { height, left, area, right } = drawn;
    let role = if label.is_empty() { "aria-hidden=\"true\"" } else { "role=\"img\"" };
    format!(
        "<div class=\"parts\">\
         <svg class=\"left\" height=\"{height}\" aria-hidden=\"true\">{left}</svg>\
         <svg class=\"over\" height=\"{height}\" {role} {label}>{area}</svg>\
         <svg class=\"right\" height=\"{height}\" aria-hidden=\"true\">{right}</svg></div>"
    )
}

fn leases(runs: &[Run]) -> String {
    let of: usize = runs.iter().map(|run| run.leases.of).sum();
    let shown: usize = runs.iter().map(|run| run.leases.leases.len()).sum();
    if of == 0 {
        return "<p>Nobody asked for a lease.</p>".into();
    }
    let said = match shown < of {
        false => format!("All {} leases, with the last events of each.", thousands(of as u64)),
        true => format!(
            "{} of {} leases: those that broke a check by name, then those with the most trouble. \
             A page has at most {} leases and {} events of a run.",
            thousands(shown as u64),
            thousands(of as u64),
            thousands(LEASES_SHOWN as u64),
            thousands(EVENTS_SHOWN as u64)
        ),
    };
    format!(
        "<p>{said} Real time, as everywhere here; <em>until</em> is global time.</p>\
         <div class=\"lookup\"><div class=\"finder\"><label for=\"lease-search\">Search by name or \
         holder</label><input id=\"lease-search\" type=\"search\" autocomplete=\"off\" \
         spellcheck=\"false\"><ul id=\"lease-list\"></ul></div>\
         <div id=\"lease\" aria-live=\"polite\"></div></div>\
         <noscript><p>Looking leases up needs scripts.</p></noscript>"
    )
}
