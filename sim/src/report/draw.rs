//! Drawing: which panels a run gets, and what it says nothing of.

use portcullis_core::{NodeId, Time};

use super::controller::{Controller, ink};
use super::panel::{Lane, Line, Panel, Plot, Shape, Span, State, Strip};
use super::record::Record;
use super::scale::Kind;
use super::series::Level;
use super::text::{Unit, figure};
use crate::action::Second;
use crate::plan::{Action, Plan, Step};
use crate::settings::Engine;

/// Every panel of a run that ended then, in the order of the page.
pub fn panels(plan: &Plan, record: &Record, ended: Time) -> Vec<Panel> {
    let mut panels = vec![
        faults(plan, ended),
        leadership(record, ended),
        doors(plan, record, ended),
        connections(record),
        queue_at_the_door(plan, record),
        memory(plan, record, ended),
        answers(record, ended),
        delays(record, ended),
        queue(plan, record),
        clock(record),
    ];
    if let (Some(front), Some(set)) = (&record.front, &plan.settings.front) {
        // Beside the connections that controllers have, which come through it.
        panels.splice(AFTER_CONNECTIONS..AFTER_CONNECTIONS, front.panels(set, ended));
    }
    panels
}

/// Where the panels of a front stand.
const AFTER_CONNECTIONS: usize = 4;

/// When a line of a plan begins and ends, in milliseconds.
pub fn lasts(plan: &Plan, step: &Step) -> (u64, u64) {
    let settle = plan.acts_until();
    let until = match step.lasts {
        Some(lasts) => (step.at + lasts).min(settle),
        None if step.action.lasts() => settle,
        None => step.at,
    };
    (step.at.0 / 1_000, until.0 / 1_000)
}

fn faults(plan: &Plan, ended: Time) -> Panel {
    let lane = |step: &Step| {
        let (from, until) = lasts(plan, step);
        let state = match step.action {
            Action::Claims(_) => State::Work,
            _ if step.action.lasts() => State::Fault,
            _ => State::Moment,
        };
        let label = step.action.to_string();
        Lane { name: String::new(), spans: vec![Span { from, until, state, label }] }
    };
    let lanes: Vec<Lane> = plan.steps.iter().filter(|step| step.at <= ended).map(lane).collect();
    let (id, title) = ("faults", "Faults and workloads");
    if lanes.is_empty() {
        let why = "Nothing goes wrong here, and nobody asks for more.".into();
        return Panel::Absent { id: id.into(), title: title.into(), why };
    }
    let note = format!("all heals at {}", Second(plan.settings.acts));
    Panel::Strip(Strip { id: id.into(), title: title.into(), note, lanes })
}

fn leadership(record: &Record, ended: Time) -> Panel {
    let lanes = record.controllers.iter();
    let lanes = lanes.map(|(node, of)| of.leads.lane(&node.to_string(), ended));
    Panel::Strip(Strip {
        id: "leadership".into(),
        title: "Leadership".into(),
        note: "terms counted from the start of the run".into(),
        lanes: lanes.collect(),
    })
}

fn doors(plan: &Plan, record: &Record, ended: Time) -> Panel {
    let two = plan.settings.controllers.has_controller_door();
    let toggled =
        plan.steps.iter().any(|step| matches!(step.action, Action::ControllerPort { .. }));
    let mut lanes = Vec::new();
    for (node, of) in &record.controllers {
        if two || toggled {
            lanes.push(of.controller_door.lane(&format!("{} ctl", node.0), ended));
        }
        lanes.push(of.api_door.lane(&format!("{} api", node.0), ended));
    }
    Panel::Strip(Strip {
        id: "doors".into(),
        title: "Doors".into(),
        note: "by controller: its door for controllers (ctl) and for agents (api)".into(),
        lanes,
    })
}

/// A line for each controller.
fn each(record: &Record, level: fn(&Controller) -> &Level) -> Vec<Line> {
    let line = |(node, of): (&NodeId, &Controller)| Line {
        name: node.to_string(),
        ink: ink(*node),
        dashed: false,
        points: level(of).points(),
    };
    record.controllers.iter().map(line).collect()
}

fn connections(record: &Record) -> Panel {
    let mut lines = each(record, |of| &of.connections);
    lines.push(Line {
        name: "agents in".into(),
        ink: 8,
        dashed: false,
        points: record.agents.points(),
    });
    Panel::Plot(Plot {
        id: "connections".into(),
        title: "Connections through the API door".into(),
        note: "and agents that are logged in, of all controllers together".into(),
        unit: Unit::Count,
        kind: Kind::Linear,
        shape: Shape::Steps,
        lines,
    })
}

fn queue_at_the_door(plan: &Plan, record: &Record) -> Panel {
    let (id, title) = ("door-queue", "Waiting at the door");
    let holds = record.controllers.values().any(|of| of.held.highest() > 0);
    let mut lines = Vec::new();
    let mut notes = Vec::new();
    match plan.settings.engine {
        Engine::Direct => {
            lines.extend(each(record, |of| &of.backlog));
            notes.push(format!("backlog, room for {}", plan.settings.controllers.backlog));
        }
        engine @ (Engine::Turmoil | Engine::Madsim) if holds => {
            notes.push(format!("{engine} shows no backlog"));
        }
        Engine::Turmoil | Engine::Madsim => {
            let why = "The shell shows no backlog, and nobody is held at a door here.".into();
            return Panel::Absent { id: id.into(), title: title.into(), why };
        }
    }
    if !holds && lines.iter().all(Line::is_flat) {
        let why = "Nobody waited at a door.".into();
        return Panel::Absent { id: id.into(), title: title.into(), why };
    }
    if holds {
        notes.push("dashed, held: let stand at the door until it is ready".into());
        let held = each(record, |of| &of.held).into_iter();
        lines.extend(held.map(|line| Line {
            name: format!("{} held", line.name),
            dashed: true,
            ..line
        }));
    }
    Panel::Plot(Plot {
        id: id.into(),
        title: title.into(),
        note: notes.join("; "),
        unit: Unit::Count,
        kind: Kind::Linear,
        shape: Shape::Steps,
        lines,
    })
}

fn memory(plan: &Plan, record: &Record, ended: Time) -> Panel {
    let (id, title) = ("memory", "Memory");
    match plan.settings.engine {
        Engine::Direct => {}
        Engine::Turmoil | Engine::Madsim => {
            let why = "The shell has no memory to run out of in simulation.".into();
            return Panel::Absent { id: id.into(), title: title.into(), why };
        }
    }
    let mut lines = each(record, |of| &of.memory);
    let highest = record.controllers.values().map(|of| of.memory.highest()).max();
    let limits = record.limit.points();
    let limit = limits.last().and_then(|(_, limit)| *limit).unwrap_or_default();
    let lowest = limits.iter().skip(1).filter_map(|(_, limit)| *limit).min().unwrap_or(limit);
    // A limit far above all that was used would leave nothing to see of what was.
    let near = highest.is_some_and(|highest| lowest / 4 <= highest);
    if near {
        let mut points = limits;
        points.push((ended.0 / 1_000, Some(limit)));
        lines.push(Line { name: "limit".into(), ink: 0, dashed: true, points });
    }
    Panel::Plot(Plot {
        id: id.into(),
        title: title.into(),
        note: format!("killed above {}", figure(Unit::Bytes, lowest)),
        unit: Unit::Bytes,
        kind: Kind::Linear,
        shape: Shape::Steps,
        lines,
    })
}

fn answers(record: &Record, ended: Time) -> Panel {
    let rates = [
        ("granted", 1, &record.granted),
        ("extended", 3, &record.extended),
        ("held by another", 7, &record.denied),
        ("without effect", 2, &record.without_effect),
    ];
    let width = rates.iter().map(|(_, _, rate)| rate.width()).max().unwrap_or(1);
    let seen = rates.iter().filter(|(_, _, rate)| rate.sum() > 0);
    let lines: Vec<Line> = seen
        .map(|(name, ink, rate)| Line {
            name: (*name).into(),
            ink: *ink,
            dashed: false,
            points: rate.points(ended, width),
        })
        .collect();
    let (id, title) = ("answers", "Lease operations answered, a second");
    if lines.is_empty() {
        let why = "Nobody was answered.".into();
        return Panel::Absent { id: id.into(), title: title.into(), why };
    }
    let bins = if width > 1 { format!(", mean of {width} s each") } else { String::new() };
    Panel::Plot(Plot {
        id: id.into(),
        title: title.into(),
        note: format!("one on top of the other{bins}"),
        unit: Unit::Rate,
        kind: Kind::Linear,
        shape: Shape::Stack,
        lines,
    })
}

fn delays(record: &Record, ended: Time) -> Panel {
    let (id, title) = ("latency", "Wait for a definite answer");
    let line = |name: &str, ink, share| Line {
        name: name.into(),
        ink,
        dashed: false,
        points: record.delays.percent(share, ended),
    };
    let lines = vec![line("max", 2, 100), line("p99", 4, 99), line("p50", 1, 50)];
    if lines[0].points.iter().all(|(_, value)| value.is_none()) {
        let why = "Nobody had a definite answer.".into();
        return Panel::Absent { id: id.into(), title: title.into(), why };
    }
    Panel::Plot(Plot {
        id: id.into(),
        title: title.into(),
        note: format!("of those answered within the same {} s", record.delays.width()),
        unit: Unit::Time,
        kind: Kind::Doublings,
        shape: Shape::Steps,
        lines,
    })
}

fn queue(plan: &Plan, record: &Record) -> Panel {
    let controllers = &plan.settings.controllers;
    let (id, title) = ("queue", "Asks of other controllers, unanswered");
    let lines = each(record, |of| &of.queued);
    if lines.iter().all(Line::is_flat) {
        let why = match plan.settings.policy.old_way(controllers) {
            true => "The old way for leases hands asks to nobody's queue.",
            false => "No controller handed an ask to another.",
        };
        return Panel::Absent { id: id.into(), title: title.into(), why: why.into() };
    }
    Panel::Plot(Plot {
        id: id.into(),
        title: title.into(),
        note: format!("in the queue or in flight; room for {} that wait", controllers.waiting_max),
        unit: Unit::Count,
        kind: Kind::Linear,
        shape: Shape::Steps,
        lines,
    })
}

fn clock(record: &Record) -> Panel {
    Panel::Plot(Plot {
        id: "clock".into(),
        title: "Lag of the global clock".into(),
        note: "grows until an entry is applied".into(),
        unit: Unit::Time,
        kind: Kind::Linear,
        shape: Shape::Slope,
        lines: vec![Line {
            name: "lag".into(),
            ink: 1,
            dashed: false,
            points: record.lag.points(),
        }],
    })
}
