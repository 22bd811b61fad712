//! What is left of a herd's run, for people and for scripts.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use portcullis_core::Address;
use serde::Serialize;

use super::super::histogram::Figures;
use super::super::ledger::Counts;
use super::course::{Course, Outage, OverTime};
use super::told::{Ended, Told};

/// Columns of the picture.
const COLUMNS: usize = 72;

/// See the module. Times are in seconds since the start, unless said otherwise.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Summary {
    workload: &'static str,
    agents: u64,
    applications: u64,
    /// How many processes the agents were in.
    processes: usize,
    /// When all were connected for the first time.
    all_connected: Option<f64>,
    /// How long it went on in all.
    seconds: f64,
    controllers: Vec<Controller>,
    over_time: OverTime,
    outages: Vec<Lost>,
    /// How often an agent was sent elsewhere by a controller that had let it in.
    moves: u64,
    /// How many agents were moved how often.
    moves_per_agent: BTreeMap<u64, u64>,
    /// The least time between two moves of one agent, if any was moved twice.
    moves_apart: Option<f64>,
    /// How often one was sent elsewhere at the login.
    redirects: u64,
    /// How many had to connect again how often, besides moves.
    reconnects_per_agent: BTreeMap<u64, u64>,
    #[serde(flatten)]
    counts: Counts,
    claim_milliseconds: Figures,
    extend_milliseconds: Figures,
    violations: u64,
    violated: Vec<String>,
}

/// One controller at the end.
#[derive(Serialize)]
struct Controller {
    address: String,
    agents: u64,
}

/// The loss of a controller, and how long after it what came.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Lost {
    controller: String,
    at: f64,
    agents: u64,
    all_back_after: Option<f64>,
    first_agent_after: Option<f64>,
    even_after: Option<f64>,
}

/// What is summed up.
pub struct Run<'a> {
    pub agents: u64,
    pub applications: u64,
    pub processes: usize,
    pub addresses: &'a [Address],
    pub course: &'a Course,
    pub told: Told,
    pub took: Duration,
}

impl Summary {
    /// Sums up.
    pub fn new(run: Run<'_>) -> Summary {
        let Run { agents, applications, processes, addresses, course, told, took } = run;
        let Told { controllers, counts, violations, moves, redirects, ended, .. } = told;
        let ended = ended.unwrap_or_default();
        let Ended { moves: moved, reconnects, moves_apart, claims, extensions, violated } = ended;
        let named = addresses.iter().map(ToString::to_string);
        let lost = |outage: &Outage| Lost {
            controller: addresses[outage.controller].to_string(),
            at: outage.lost.as_secs_f64(),
            agents: outage.had,
            all_back_after: after(outage, outage.all_back),
            first_agent_after: after(outage, outage.again),
            even_after: after(outage, outage.even),
        };
        Summary {
            workload: "agents",
            agents,
            applications,
            processes,
            all_connected: course.connected().map(|at| at.as_secs_f64()),
            seconds: took.as_secs_f64(),
            controllers: named
                .zip(controllers)
                .map(|(address, agents)| Controller { address, agents })
                .collect(),
            over_time: course.over_time(COLUMNS),
            outages: course.outages().iter().map(lost).collect(),
            moves,
            moves_per_agent: moved,
            moves_apart,
            redirects,
            reconnects_per_agent: reconnects,
            counts,
            claim_milliseconds: claims.figures(),
            extend_milliseconds: extensions.figures(),
            violations,
            violated,
        }
    }

    /// Whether anything was seen that must never be.
    pub fn is_violated(&self) -> bool {
        self.violations > 0 || self.counts.taken > 0
    }

    /// Whether anybody was let in at all.
    pub fn is_connected(&self) -> bool {
        self.counts.connected + self.counts.disconnected > 0
    }

    /// The same for people.
    pub fn shown(&self) -> String {
        let mut lines = vec![self.headline()];
        lines.extend(self.picture());
        lines.extend(self.outages.iter().map(Lost::shown));
        let twice = match self.moves_apart {
            Some(apart) => format!(", one agent's at least {apart:.1} s apart"),
            None => String::new(),
        };
        lines.push(format!(
            "{} moves: {}{twice}; {} sent on at the login",
            self.moves,
            often(&self.moves_per_agent),
            self.redirects
        ));
        lines.push(format!("connected again, besides: {}", often(&self.reconnects_per_agent)));
        lines.extend(self.leases());
        lines.push(match (self.violations, self.counts.taken) {
            (0, 0) => {
                "no lease was ever held by two, and none that was renewed in time lost".into()
            }
            (two, taken) => {
                format!("INVARIANT VIOLATED: {two} times held by two, {taken} lost too early")
            }
        });
        lines.extend(self.violated.iter().map(|violation| format!("  {violation}")));
        lines.join("\n")
    }

    fn headline(&self) -> String {
        let Summary { agents, applications, processes, counts, seconds, .. } = self;
        let connected = match self.all_connected {
            Some(at) => format!("all connected after {at:.1} s"),
            None => "never all connected".to_owned(),
        };
        format!(
            "{agents} agents of {applications} applications in {processes} processes, {connected}, \
             {} at the end after {seconds:.1} s",
            counts.connected
        )
    }

    fn picture(&self) -> Vec<String> {
        let OverTime { seconds_each, .. } = self.over_time;
        let most = self.over_time.most();
        let mut lines =
            vec![format!("agents of each controller, {seconds_each:.1} s a column, █ is {most}:")];
        for (Controller { address, agents }, bars) in
            self.controllers.iter().zip(self.over_time.picture())
        {
            lines.push(format!("  {address:<21} {bars} {agents}"));
        }
        lines
    }

    fn leases(&self) -> Vec<String> {
        let Counts { claimed, denied, extended, lost, taken, .. } = self.counts;
        let Counts { released, overloaded, no_leader, expired, unknown, .. } = self.counts;
        let mut lines = vec![
            format!(
                "leases: {claimed} claimed, {denied} denied, {extended} extended, {released} waits \
                 released, {lost} lost, {taken} of them though renewed in time"
            ),
            format!(
                "        {overloaded} shed, {no_leader} without a leader, {expired} expired, \
                 {unknown} unknown"
            ),
        ];
        let named = [("claim", &self.claim_milliseconds), ("extend", &self.extend_milliseconds)];
        for (name, Figures { count, p50, p99, max, .. }) in named {
            lines.push(format!(
                "{name:<7} {count} answered, in ms: p50 {p50:.2}  p99 {p99:.2}  max {max:.2}"
            ));
        }
        lines
    }
}

impl Lost {
    fn shown(&self) -> String {
        let Lost { controller, at, agents, .. } = self;
        let mut line = format!("{controller} lost at {at:.1} s with {agents} agents");
        for (what, after) in [
            ("all connected again", self.all_back_after),
            ("its first agent", self.first_agent_after),
            ("all even", self.even_after),
        ] {
            // A string takes whatever is written to it.
            let _ = match after {
                Some(after) => write!(line, "; {what} after {after:.1} s"),
                None => write!(line, "; {what} never"),
            };
        }
        line
    }
}

fn after(outage: &Outage, at: Option<Duration>) -> Option<f64> {
    at.map(|at| at.saturating_sub(outage.lost).as_secs_f64())
}

/// How many agents had something happen to them how often.
fn often(counted: &BTreeMap<u64, u64>) -> String {
    let each = counted.iter().map(|(often, agents)| match often {
        0 => format!("{agents} agents never"),
        1 => format!("{agents} once"),
        often => format!("{agents} {often} times"),
    });
    each.collect::<Vec<_>>().join(", ")
}
