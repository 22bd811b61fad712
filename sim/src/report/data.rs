//! The data of a page: what its script looks up, as JSON.

use serde_json::{Value, json};

use super::leases::{Selection, Shown};
use super::panel::{Lane, Line, Panel, Shape};
use super::run::Run;

/// Everything of several runs whose axis goes to so many milliseconds.
pub fn json(runs: &[Run], until: u64) -> String {
    let runs: Vec<Value> = runs.iter().map(run).collect();
    json!({ "until": until, "runs": runs }).to_string()
}

fn run(run: &Run) -> Value {
    let panels: Vec<Value> = run.panels.iter().map(panel).collect();
    json!({
        "name": format!("{}, {}, seed {}", run.name(), run.engine, run.seed),
        "ended": run.ended,
        "panels": panels,
        "leases": leases(&run.leases),
    })
}

fn panel(panel: &Panel) -> Value {
    match panel {
        Panel::Plot(plot) => json!({
            "id": plot.id,
            "unit": plot.unit,
            "slope": plot.shape == Shape::Slope,
            "lines": plot.lines.iter().map(line).collect::<Vec<Value>>(),
        }),
        Panel::Strip(strip) => json!({
            "id": strip.id,
            "lanes": strip.lanes.iter().map(lane).collect::<Vec<Value>>(),
        }),
        Panel::Absent { id, .. } => json!({ "id": id }),
    }
}

/// Times and values apart, which is shorter.
fn line(line: &Line) -> Value {
    let (times, values): (Vec<u64>, Vec<Option<u64>>) = line.points.iter().copied().unzip();
    json!({ "name": line.name, "times": times, "values": values })
}

fn lane(lane: &Lane) -> Value {
    let span = |span: &super::panel::Span| json!([span.from, span.until, span.label]);
    json!({ "name": lane.name, "spans": lane.spans.iter().map(span).collect::<Vec<Value>>() })
}

fn leases(selection: &Selection) -> Value {
    let leases: Vec<Value> = selection.leases.iter().map(lease).collect();
    json!({ "of": selection.of, "leases": leases })
}

/// Those who ask stand in a list, and events name them by their places there.
fn lease(shown: &Shown) -> Value {
    let mut names: Vec<&str> = Vec::new();
    let mut events: Vec<Value> = Vec::new();
    for event in &shown.events {
        let place = names.iter().position(|name| *name == &*event.who).unwrap_or_else(|| {
            names.push(&event.who);
            names.len() - 1
        });
        events.push(json!([event.at, event.what, place, event.node, event.fence, event.until]));
    }
    json!({
        "name": shown.name,
        "trouble": shown.trouble,
        "out": shown.left_out,
        "names": names,
        "events": events,
    })
}
