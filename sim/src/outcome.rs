//! Outcomes: the one page that says what a run showed.
//!
//! Decides the verdict: a scenario passes when nothing broke, everything settled, and what had to
//! be seen was seen; one of a failed design passes when what had to break broke.

use std::fmt;
use std::process::ExitCode;

use portcullis_core::Time;

use crate::counts::Counts;
use crate::engine::Ran;
use crate::history::Found;
use crate::plan::Plan;
use crate::scenario::words;
use crate::spread::millis;

/// A thing to be seen: its name and how the counts tell.
pub type Sight = (&'static str, fn(&Counts) -> bool);

/// Everything that a scenario can want to have seen.
pub const SOMETIMES: &[Sight] = &[
    ("leader_changed", |counts| counts.leader_changes > 0),
    ("crashed", |counts| counts.crashes > 0),
    ("oom_killed", |counts| counts.sum(|one| one.killed) > 0),
    ("backlog_full", |counts| counts.sum(|one| one.backlog_full) > 0),
    ("hung_up", |counts| counts.sum(|one| one.hangups) > 0),
    ("dial_failed", |counts| counts.dials_failed > 0),
    ("api_door_opened_late", |counts| counts.api_door_opened_late > 0),
    ("api_door_shut_again", |counts| counts.api_door_shut > 0),
    ("held", |counts| counts.sum(|one| one.held) > 0),
    ("toggled", |counts| counts.toggled > 0),
    ("stopped", |counts| counts.stopped > 0),
    ("sent_elsewhere", |counts| counts.sent_elsewhere > 0),
    ("moved", |counts| counts.crowd.moved > 0),
    ("refused", |counts| counts.refusals > 0),
    ("redirected", |counts| counts.redirects > 0),
    ("forwarded", |counts| counts.forwarded > 0),
    ("handed_on_again", |counts| counts.tried_again > 0),
    ("granted", |counts| counts.granted > 0),
    ("extended", |counts| counts.extended > 0),
    ("held_by_another", |counts| counts.held_by_another > 0),
    ("waited", |counts| counts.waited > 0),
    ("released", |counts| counts.released > 0),
    ("overloaded", |counts| counts.overloaded > 0),
    ("not_leader", |counts| counts.not_leader > 0),
    ("expired", |counts| counts.expired > 0),
    ("cancelled", |counts| counts.cancelled > 0),
    ("unknown", |counts| counts.unknown > 0),
    ("lease_renewed", |counts| counts.leases_renewed > 0),
    ("lease_expired", |counts| counts.leases_expired > 0),
    ("lease_lost", |counts| counts.lived.lost > 0),
    ("renewed_late", |counts| counts.lived.late > 0),
    ("slow_disk_hit", |counts| counts.slow_disk_hits > 0),
    ("voters_changed", |counts| counts.appointed > 0),
    ("handed_over", |counts| counts.handed_over > 0),
    ("snapshot_sent", |counts| counts.snapshots_sent > 0),
    ("left", |counts| counts.left > 0),
    ("backend_down", |counts| counts.gate().down > 0),
    ("backend_unready", |counts| counts.gate().unready > 0),
    ("backend_missed", |counts| counts.gate().missed > 0),
    ("backend_taken_out", |counts| counts.gate().hung_up > 0),
    ("flag_raised", |counts| counts.singles().raised > 0),
    ("flag_lowered", |counts| counts.singles().lowered > 0),
    ("worker_moved", |counts| counts.singles().moved > 0),
    ("old_fence_refused", |counts| counts.singles().refused > 0),
    ("paused", |counts| counts.paused > 0),
    ("clock_drifted", |counts| counts.drifts > 0),
    ("disk_failed", |counts| counts.failed > 0),
    ("agents_restarted", |counts| counts.agents_restarted() > 0),
    ("complained", |counts| counts.complaints > 0),
    ("door_moved", |counts| counts.doors_moved > 0),
    ("lists_written", |counts| counts.lists_written > 0),
];

/// How a check broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Break {
    pub at: Time,
    pub half: Half,
    pub message: String,
}

/// Which half of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    Always,
    Settled,
}

/// How a run ended, from best to worst.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    /// Checks that broke, by name.
    Broke(Vec<&'static str>),
    /// Checks that did not come to hold.
    NotSettled(Vec<&'static str>),
    /// What must not be seen, but was.
    Saw(Vec<&'static str>),
    /// What was never seen, or of a failed design, what did not break.
    NeverSeen(Vec<&'static str>),
}

impl Verdict {
    /// The process's exit code for it.
    pub fn code(&self) -> u8 {
        match self {
            Verdict::Passed => 0,
            Verdict::Broke(_) | Verdict::Saw(_) => 2,
            Verdict::NotSettled(_) => 3,
            Verdict::NeverSeen(_) => 4,
        }
    }
}

impl From<&Verdict> for ExitCode {
    fn from(verdict: &Verdict) -> ExitCode {
        ExitCode::from(verdict.code())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Passed => f.write_str("passed"),
            Verdict::Broke(names) => write!(f, "broke {}", names.join(", ")),
            Verdict::NotSettled(names) => write!(f, "not settled: {}", names.join(", ")),
            Verdict::Saw(names) => write!(f, "saw {}", names.join(", ")),
            Verdict::NeverSeen(names) => write!(f, "never seen: {}", names.join(", ")),
        }
    }
}

/// One run, judged.
pub struct Outcome<'a> {
    plan: &'a Plan,
    ran: Ran,
    found: Found,
    verdict: Verdict,
}

impl<'a> Outcome<'a> {
    /// Judges a run.
    pub fn new(plan: &'a Plan, ran: Ran, found: Found) -> Outcome<'a> {
        let verdict = judge(plan, &found);
        Outcome { plan, ran, found, verdict }
    }

    /// What it comes down to.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// What was run.
    pub fn plan(&self) -> &'a Plan {
        self.plan
    }

    /// How it was run.
    pub fn ran(&self) -> Ran {
        self.ran
    }

    /// What it was judged by.
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// Its figures, one a line, for standing beside those of other runs.
    pub fn column(&self) -> Vec<(&'static str, String)> {
        let counts = &self.found.counts;
        let controllers = || counts.controllers.values();
        let memory = controllers().map(|one| one.memory.0 >> 10).max().unwrap_or_default();
        let doors: Vec<_> = controllers().map(|one| one.api_door.to_string()).collect();
        let mut column = vec![
            ("granted", counts.granted.to_string()),
            ("extended", counts.extended.to_string()),
            ("held by another", counts.held_by_another.to_string()),
            ("overloaded", counts.overloaded.to_string()),
            ("not leader", counts.not_leader.to_string()),
            ("expired", counts.expired.to_string()),
            ("cancelled", counts.cancelled.to_string()),
            ("unknown", counts.unknown.to_string()),
            ("50% definite within", millis(counts.definite.percent(50)).to_string()),
            ("99% definite within", millis(counts.definite.percent(99)).to_string()),
            ("log entries", counts.entries.to_string()),
            ("log commands", counts.commands.to_string()),
            ("of them for nobody", counts.for_nobody.to_string()),
            ("handed on", counts.forwarded.to_string()),
            ("handed on again", counts.tried_again.to_string()),
            ("memory at most", format!("{memory} KiB")),
            ("killed for memory", counts.sum(|one| one.killed).to_string()),
            ("leader changes", counts.leader_changes.to_string()),
            ("let in, by controller", doors.join(" ")),
            ("dials", counts.dials.to_string()),
            ("logins an agent", counts.logins_each()),
            ("redirected", counts.redirects.to_string()),
            ("moved", counts.crowd.moved.to_string()),
            ("leases lost", counts.lived.lost.to_string()),
            ("even since", counts.crowd.even.map_or("-".into(), |at| at.to_string())),
        ];
        column.extend(self.found.checks.iter().map(|check| {
            let state = match (&check.broke, check.always) {
                (Some(Break { at, half: Half::Always, .. }), _) => format!("broke at {at}"),
                (Some(Break { half: Half::Settled, .. }), _) => "never held".into(),
                (None, true) => "held".into(),
                (None, false) => "-".into(),
            };
            (check.name, state)
        }));
        column.push(("settled at", self.found.converged.map_or("-".into(), |at| at.to_string())));
        column
    }

    /// Why it did not pass, where the eye is once all has gone by.
    fn reasons(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.verdict == Verdict::Passed {
            return Ok(());
        }
        let broken =
            self.found.checks.iter().filter_map(|one| Some((one.name, one.broke.as_ref()?)));
        for (name, Break { at, message, .. }) in broken {
            writeln!(f, "  {name} at {at}: {message}")?;
        }
        Ok(())
    }

    fn sights(&self) -> impl Iterator<Item = (&'static str, bool)> {
        let wanted = self.plan.settings.expect.sometimes.iter();
        wanted.map(|name| (name.0, seen(name.0, &self.found.counts)))
    }
}

/// Whether the counts tell of something to be seen.
pub fn seen(name: &str, counts: &Counts) -> bool {
    SOMETIMES.iter().any(|(known, seen)| *known == name && seen(counts))
}

fn judge(plan: &Plan, found: &Found) -> Verdict {
    let expect = &plan.settings.expect;
    let broken = |half: Half| -> Vec<&'static str> {
        let broke = found.checks.iter();
        broke
            .filter(|one| one.broke.as_ref().is_some_and(|broke| broke.half == half))
            .map(|one| one.name)
            .collect()
    };
    let (always, settled) = (broken(Half::Always), broken(Half::Settled));
    let unseen: Vec<_> = expect.sometimes.iter().map(|name| name.0).collect();
    let unseen = unseen.into_iter().filter(|name| !seen(name, &found.counts));
    if !expect.breaks.is_empty() {
        let whole = |name: &&str| !always.contains(name) && !settled.contains(name);
        let whole = expect.breaks.iter().map(|name| name.0).filter(whole);
        let missing: Vec<_> = whole.chain(unseen).collect();
        return if missing.is_empty() { Verdict::Passed } else { Verdict::NeverSeen(missing) };
    }
    let unseen: Vec<_> = unseen.collect();
    let saw = expect.never.iter().map(|name| name.0).filter(|name| seen(name, &found.counts));
    let saw: Vec<_> = saw.collect();
    if !always.is_empty() {
        Verdict::Broke(always)
    } else if !saw.is_empty() {
        Verdict::Saw(saw)
    } else if !settled.is_empty() {
        Verdict::NotSettled(settled)
    } else if !unseen.is_empty() {
        Verdict::NeverSeen(unseen)
    } else {
        Verdict::Passed
    }
}

impl fmt::Display for Outcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = &self.plan.settings;
        writeln!(f, "{}: {}", settings.scenario, settings.title)?;
        writeln!(
            f,
            "engine {}  seed {}  controllers {}  agents {}  leases {}",
            settings.engine,
            settings.seed,
            settings.controllers.count,
            settings.agents.count,
            settings.agents.leases,
        )?;
        if !settings.instead.is_empty() {
            writeln!(f, "with {}", words(&settings.instead))?;
        }
        writeln!(f, "\nplan")?;
        self.plan.steps.iter().try_for_each(|step| writeln!(f, "  {step}"))?;
        writeln!(f, "  {} settle", crate::action::Second(settings.acts))?;
        write!(f, "\ncounts\n{}", self.found.counts)?;
        self.found.counts.picture.draw(self.ran.ended, &self.plan.steps, f)?;
        writeln!(f, "\nchecks")?;
        for check in &self.found.checks {
            let state = match &check.broke {
                Some(Break { at, half: Half::Always, message }) => {
                    format!("broke at {at}: {message}")
                }
                Some(Break { at, half: Half::Settled, message }) => {
                    format!("did not come to hold by {at}: {message}")
                }
                None if check.always => "held".into(),
                None => "not asked for".into(),
            };
            writeln!(f, "  {:<22}{state}", check.name)?;
            if check.broke.is_some() {
                writeln!(f, "  {:<22}{}", "", check.sentence)?;
            }
        }
        let mut sights = self.sights().peekable();
        if sights.peek().is_some() {
            writeln!(f, "\nsometimes")?;
        }
        for (name, seen) in sights {
            writeln!(f, "  {name:<22}{}", if seen { "seen" } else { "never seen" })?;
        }
        let never = &self.plan.settings.expect.never;
        if !never.is_empty() {
            writeln!(f, "\nnever")?;
        }
        for name in never {
            let seen = seen(name.0, &self.found.counts);
            writeln!(f, "  {:<22}{}", name.0, if seen { "seen" } else { "never seen" })?;
        }
        if self.verdict != Verdict::Passed && !self.found.lines.is_empty() {
            writeln!(f, "\nthe last {} events", self.found.lines.len())?;
            self.found.lines.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        }
        match self.found.converged {
            Some(at) => writeln!(f, "\nverdict {}, settled at {at}", self.verdict)?,
            None => writeln!(f, "\nverdict {}, ended at {}", self.verdict, self.ran.ended)?,
        }
        self.reasons(f)?;
        let Found { events, hash, .. } = &self.found;
        writeln!(f, "draws {}  events {events}  hash {hash}", self.ran.draws)
    }
}
