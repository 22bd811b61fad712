//! What is shown while a run lasts, and what is left of it.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::time::Duration;

use portcullis_core::Time;
use serde::Serialize;

use super::histogram::{Figures, Histogram};
use super::ledger::{Counts, Ledger};
use super::plan::{Plan, Workload};

/// How often a terminal is told.
const ON_TERMINAL: Duration = Duration::from_secs(1);
/// How often anything else is.
const IN_LOG: Duration = Duration::from_secs(10);

/// A line on standard error: one that changes on a terminal, one after another elsewhere.
pub struct Shown {
    every: Duration,
    next: Time,
    on_terminal: bool,
}

/// The line that shows how it goes.
pub struct Progress {
    shown: Shown,
    connections: u64,
}

impl Progress {
    /// Shows progress on standard error.
    pub fn new(now: Time, plan: &Plan) -> Progress {
        Progress { shown: Shown::new(now), connections: plan.connections() }
    }

    /// When it wants to be shown again.
    pub fn due(&self) -> Time {
        self.shown.next
    }

    /// Shows how it goes.
    pub fn show(&mut self, now: Time, ledger: &Ledger) {
        self.shown.show(now, || line(now, self.connections, ledger));
    }

    /// Leaves the line as it is, and lets others follow.
    pub fn end(&self) {
        self.shown.end();
    }
}

impl Shown {
    /// Nothing is shown at first.
    pub fn new(now: Time) -> Shown {
        let on_terminal = io::stderr().is_terminal();
        let every = if on_terminal { ON_TERMINAL } else { IN_LOG };
        Shown { every, next: now + every, on_terminal }
    }

    /// Shows another line, if it is time for that.
    pub fn show(&mut self, now: Time, line: impl FnOnce() -> String) {
        if now < self.next {
            return;
        }
        self.next = now + self.every;
        let line = line();
        // A run goes on whether or not anybody can read of it.
        let _ = match self.on_terminal {
            true => write!(io::stderr(), "\r\x1b[K{line}"),
            false => writeln!(io::stderr(), "{line}"),
        };
    }

    /// Leaves the line as it is, and lets others follow.
    pub fn end(&self) {
        if self.on_terminal {
            eprintln!();
        }
    }
}

fn line(now: Time, connections: u64, ledger: &Ledger) -> String {
    let Counts { connected, claimed, extended, lost, overloaded, unknown, .. } = ledger.counts;
    let mut line = format!(
        "{:>4}s {connected}/{connections} connected, {claimed} claimed, {extended} extended, \
         {lost} lost, {overloaded} shed, {unknown} unknown",
        now.0 / 1_000_000,
    );
    for (name, latencies) in [("claim", &ledger.claims), ("extend", &ledger.extensions)] {
        let Figures { p50, p99, .. } = latencies.figures();
        // A string takes whatever is written to it.
        let _ = write!(line, ", {name} p50 {p50:.1} p99 {p99:.1} ms");
    }
    let violations = ledger.windows.violations();
    if violations > 0 {
        let _ = write!(line, ", {violations} VIOLATIONS");
    }
    line
}

/// What is left of a run, for people and for scripts.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Summary {
    workload: &'static str,
    /// How many asked.
    askers: u64,
    /// How many leases they contended for; zero if each claimed its own.
    leases: usize,
    connections: u64,
    /// From the start until the last was connected.
    connecting_seconds: f64,
    /// How long was measured: from when all were connected.
    seconds: f64,
    #[serde(flatten)]
    counts: Counts,
    /// In the time that was measured.
    claims_per_second: f64,
    extends_per_second: f64,
    /// From when all were connected until each had a first definite answer; absent if some have
    /// none, zero if all had one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    settled_seconds: Option<f64>,
    claim_milliseconds: Figures,
    extend_milliseconds: Figures,
    violations: u64,
    /// The first violations, in words.
    violated: Vec<String>,
}

impl Summary {
    /// Sums up.
    pub fn new(plan: &Plan, started: Time, ledger: &Ledger) -> Summary {
        let began = ledger.began.unwrap_or(started);
        let seconds = ledger.ended.unwrap_or(began).since(began).as_secs_f64();
        let per_second = |now: u64, before: u64| match seconds > 0.0 {
            true => (now - before) as f64 / seconds,
            false => 0.0,
        };
        let counts = ledger.counts;
        let all_settled = counts.settled == plan.seats();
        let settled_at = ledger.settled_at.filter(|_| all_settled);
        let connected_at = ledger.connected_at.unwrap_or(started);
        let figures = |histogram: &Histogram| histogram.figures();
        Summary {
            workload: match plan.workload {
                Workload::Contenders { .. } => "contenders",
                Workload::Claimers { .. } => "claimers",
                Workload::Agents { .. } => "agents",
            },
            askers: plan.seats(),
            leases: plan.leases(),
            connections: plan.connections(),
            connecting_seconds: connected_at.since(started).as_secs_f64(),
            seconds,
            counts,
            claims_per_second: per_second(counts.claimed, ledger.before.claimed),
            extends_per_second: per_second(counts.extended, ledger.before.extended),
            settled_seconds: settled_at.map(|at| at.since(began).as_secs_f64()),
            claim_milliseconds: figures(&ledger.claims),
            extend_milliseconds: figures(&ledger.extensions),
            violations: ledger.windows.violations(),
            violated: ledger.windows.shown().iter().map(ToString::to_string).collect(),
        }
    }

    /// Whether anything was seen that must never be.
    pub fn is_violated(&self) -> bool {
        self.violations > 0
    }

    /// Whether anybody was let in at all.
    pub fn is_connected(&self) -> bool {
        self.counts.connected + self.counts.disconnected > 0
    }

    /// The same for people.
    pub fn shown(&self) -> String {
        let Summary { askers, connections, connecting_seconds, seconds, counts, .. } = self;
        let Counts { claimed, denied, extended, lost, released, .. } = counts;
        let Counts { overloaded, no_leader, expired, unknown, refused, disconnected, .. } = counts;
        let what = match self.leases {
            0 => format!("{askers} claimers of leases of their own"),
            leases => format!("{askers} contenders for {leases} leases"),
        };
        let mut lines = vec![
            format!(
                "{what}, {} of {connections} connections in {connecting_seconds:.1} s, \
                 {disconnected} broken since",
                counts.connected
            ),
            format!(
                "{seconds:.1} s measured: {:.0} claims/s, {:.0} extensions/s",
                self.claims_per_second, self.extends_per_second
            ),
            format!(
                "in all {claimed} claimed, {denied} denied, {extended} extended, {lost} lost, \
                 {released} waits released"
            ),
            format!(
                "        {overloaded} shed, {no_leader} without a leader, {expired} expired, \
                 {unknown} unknown, {refused} refused otherwise"
            ),
        ];
        for (name, figures) in
            [("claim", &self.claim_milliseconds), ("extend", &self.extend_milliseconds)]
        {
            let Figures { count, p50, p90, p99, p999, max } = figures;
            lines.push(format!(
                "{name:<7} {count} answered, in ms: p50 {p50:.2}  p90 {p90:.2}  p99 {p99:.2}  \
                 p99.9 {p999:.2}  max {max:.2}"
            ));
        }
        if self.leases > 0 {
            lines.push(match self.settled_seconds {
                Some(seconds) => format!(
                    "all had a definite answer within {seconds:.3} s of the last connection"
                ),
                None => format!("{} of {askers} had a definite answer", counts.settled),
            });
            lines.push(match self.violations {
                0 => "no lease was ever held by two".to_owned(),
                violations => format!("INVARIANT VIOLATED {violations} times:"),
            });
        }
        lines.extend(self.violated.iter().map(|violation| format!("  {violation}")));
        lines.join("\n")
    }
}
