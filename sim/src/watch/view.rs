//! What is shown of a run at one moment, before it is drawn: figures and words, and nothing that
//! goes on changing.

use portcullis_core::{NodeId, Time};

use super::live::Scene;
use crate::action::Second;
use crate::outcome::Break;
use crate::plan::Plan;
use crate::report::{Health, Record, lasts};
use crate::settings::Engine;

/// For how long back little bars are drawn, in microseconds.
const BACK: u64 = 60_000_000;
/// Most bars of a figure.
pub const BARS_MAX: usize = 60;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    pub at: Time,
    /// When the faults end, and when the run does at the latest.
    pub settle: Time,
    pub ends: Time,
    /// Scenario, engine, seed.
    pub name: String,
    /// Faults that act, each with its end, and the next line of the plan.
    pub faults: Vec<String>,
    pub next: Option<String>,
    /// Agents that are logged in, and how many there are.
    pub agents: (u64, u64),
    pub rows: Vec<Row>,
    pub front: Option<Front>,
    pub operations: Operations,
    /// Microseconds by which the global clock is behind.
    pub lag: u64,
    /// Bytes at which a process is killed; none where there is no such limit.
    pub limit: Option<u64>,
    pub held: usize,
    /// Checks that broke, as one line each.
    pub broken: Vec<String>,
    pub events: u64,
    /// What happened last: time, node, words.
    pub lines: Vec<(String, String, String)>,
}

/// One controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub node: NodeId,
    pub role: String,
    pub is_up: bool,
    pub leads: bool,
    /// The controller door, if there is one, and the API door.
    pub doors: String,
    pub connections: u64,
    pub bars: Vec<u64>,
    /// Connections in the backlog, where the engine knows, and those that are held at the door.
    pub backlog: Option<u64>,
    pub stands: u64,
    pub queued: u64,
    pub memory: Option<u64>,
    /// Microseconds by which its copy of the table is behind; none while it is down.
    pub lag: Option<u64>,
}

/// The front, if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Front {
    pub connections: u64,
    pub joining: u64,
    /// By controller, its connections and how it looks from there.
    pub backends: Vec<(NodeId, u64, Health)>,
}

/// What became of asks from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operations {
    /// In each second before this one; the last of them is the rate.
    pub bars: Vec<u64>,
    /// Microseconds that ninety-nine of a hundred did not exceed lately, if there were any.
    pub wait: Option<u64>,
}

impl View {
    /// What a run is like at this time.
    pub fn of(at: Time, plan: &Plan, scene: &Scene<'_>) -> View {
        let Scene { record, facts, checks, events, .. } = scene;
        let settings = &plan.settings;
        let knows = match settings.engine {
            Engine::Direct => true,
            Engine::Turmoil | Engine::Madsim => false,
        };
        let broken = checks.iter().filter_map(|(name, broke)| Some((*name, (*broke)?)));
        let broken: Vec<String> = broken
            .map(|(name, Break { at, message, .. })| format!("{name} at {at}: {message}"))
            .collect();
        View {
            at,
            settle: plan.acts_until(),
            ends: plan.ends(),
            name: format!("{}  {}  seed {}", settings.scenario, settings.engine, settings.seed),
            faults: faults(at, plan),
            next: next(at, plan),
            agents: (facts.agents_connected() as u64, settings.agents.count.into()),
            rows: rows(at, plan, record, knows),
            front: record.front.as_ref().map(|front| Front {
                connections: front.connections.value(),
                joining: front.joining.value(),
                backends: front
                    .backends()
                    .map(|(node, of)| (node, of.connections.value(), of.health))
                    .collect(),
            }),
            operations: operations(at, record),
            lag: at.0.saturating_sub(facts.clock().0),
            limit: knows.then_some(record.limit.value()),
            held: checks.len() - broken.len(),
            broken,
            events: *events,
            lines: Vec::new(),
        }
    }

    /// The whole of it in one line, for whoever has no terminal.
    pub fn line(&self) -> String {
        let leader = self.rows.iter().find(|row| row.leads);
        let leader = leader.map_or("nobody leads".into(), |row| format!("{} leads", row.node));
        let connections: Vec<_> = self.rows.iter().map(|row| row.connections.to_string()).collect();
        let mut line = format!(
            "{}  {leader}  connections {}  agents {} of {}  operations {}/s",
            Second(self.at.since(Time(0))),
            connections.join(" "),
            self.agents.0,
            self.agents.1,
            self.operations.bars.last().copied().unwrap_or_default(),
        );
        if !self.faults.is_empty() {
            line += &format!("  faults: {}", self.faults.join("; "));
        }
        if !self.broken.is_empty() {
            line += &format!("  broke: {}", self.broken.join("; "));
        }
        line
    }
}

fn faults(at: Time, plan: &Plan) -> Vec<String> {
    let acts = |from: u64, until: u64| from * 1_000 <= at.0 && at.0 < until * 1_000;
    let lasting = plan.steps.iter().filter(|step| step.action.lasts());
    let acting = lasting.map(|step| (step, lasts(plan, step)));
    let acting = acting.filter(|(_, (from, until))| acts(*from, *until));
    let text = |until: u64| Second(std::time::Duration::from_millis(until));
    acting.map(|(step, (_, until))| format!("{} until {}", step.action, text(until))).collect()
}

fn next(at: Time, plan: &Plan) -> Option<String> {
    if at >= plan.acts_until() {
        return None;
    }
    let step = plan.steps.iter().find(|step| step.at > at && step.at < plan.acts_until());
    let heals = || format!("{} all heals", Second(plan.settings.acts));
    Some(step.map_or_else(heals, |step| step.to_string()))
}

fn rows(at: Time, plan: &Plan, record: &Record, knows: bool) -> Vec<Row> {
    let two = plan.settings.controllers.has_controller_door();
    let from = Time(at.0.saturating_sub(BACK));
    let row = |(node, of): (&NodeId, &crate::report::Controller)| {
        let (role, api) = (of.leads.label(), of.api_door.label());
        let is_up = role != "down";
        Row {
            node: *node,
            role: role.into(),
            is_up,
            leads: role.starts_with("leads"),
            doors: if two { format!("{}, {api}", of.controller_door.label()) } else { api.into() },
            connections: of.connections.value(),
            bars: of.connections.lows(from, at, BARS_MAX),
            backlog: knows.then_some(of.backlog.value()),
            stands: of.held.value(),
            queued: of.queued.value(),
            memory: knows.then_some(of.memory.value()),
            lag: is_up.then(|| record.lag_of(*node, at)),
        }
    };
    record.controllers.iter().map(row).collect()
}

fn operations(at: Time, record: &Record) -> Operations {
    let rates = [&record.granted, &record.extended, &record.denied, &record.without_effect];
    let width = rates.iter().map(|rate| rate.width()).max().unwrap_or(1);
    // Only what is whole: the present bin goes on.
    let whole = Time(at.0 / (width * 1_000_000) * (width * 1_000_000));
    let mut bars: Vec<u64> = Vec::new();
    for rate in rates {
        for (bin, (_, value)) in rate.points(whole, width).into_iter().enumerate() {
            bars.resize(bars.len().max(bin + 1), 0);
            bars[bin] += value.unwrap_or_default();
        }
    }
    bars.iter_mut().for_each(|thousandths| *thousandths /= 1_000);
    bars.drain(..bars.len().saturating_sub(BARS_MAX));
    let waits = record.delays.percent(99, at);
    let lately = waits.iter().rev().take(LATELY).find_map(|(_, wait)| *wait);
    Operations { bars, wait: lately }
}

/// In how many of the last bins waits are looked for.
const LATELY: usize = 5;
