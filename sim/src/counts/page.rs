//! The figures as a run's page has them.

use std::fmt;

use portcullis_core::Time;

use super::Counts;
use crate::settings::Bytes;
use crate::spread::millis;

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (node, it) in &self.controllers {
            write!(f, "  {:<22}api door {}", node.to_string(), it.api_door)?;
            write!(f, ", controller door {}", it.controller_door)?;
            let figures = [
                ("held", it.held),
                ("hung up", it.hangups),
                ("backlog full", it.backlog_full),
                ("killed", it.killed),
                ("queued at most", it.queued),
            ];
            for (name, count) in figures.into_iter().filter(|(_, count)| *count > 0) {
                write!(f, ", {name} {count}")?;
            }
            if it.memory > Bytes(0) {
                write!(f, ", memory {} KiB at most", it.memory.0 >> 10)?;
            }
            writeln!(f)?;
        }
        let row = |f: &mut fmt::Formatter<'_>, name: &str, figures: &[(&str, u64)]| {
            write!(f, "  {name:<22}")?;
            for (index, (figure, count)) in figures.iter().enumerate() {
                write!(f, "{}{figure} {count}", if index > 0 { ", " } else { "" })?;
            }
            writeln!(f)
        };
        row(f, "leadership", &[("terms", self.leaders), ("changes", self.leader_changes)])?;
        let log = [
            ("entries", self.entries),
            ("commands", self.commands),
            ("in one entry at most", self.commands_most),
            ("for nobody", self.for_nobody),
        ];
        row(f, "log", &log)?;
        row(f, "handed on", &[("asks", self.forwarded), ("again", self.tried_again)])?;
        let (calm, ever) = (millis(self.clock_lag_calm), millis(self.clock_lag));
        writeln!(f, "  {:<22}lag {calm} at most while nothing was wrong, {ever} ever", "clock")?;
        row(
            f,
            "claims",
            &[
                ("granted", self.granted),
                ("extended", self.extended),
                ("held by another", self.held_by_another),
                ("refused", self.refused),
                ("void", self.void),
            ],
        )?;
        row(
            f,
            "other answers",
            &[
                ("released", self.released),
                ("overloaded", self.overloaded),
                ("not leader", self.not_leader),
                ("expired", self.expired),
                ("cancelled", self.cancelled),
                ("unknown", self.unknown),
            ],
        )?;
        row(
            f,
            "leases",
            &[
                ("granted", self.leases_granted),
                ("renewed", self.leases_renewed),
                ("renewed late", self.lived.late),
                ("expired", self.leases_expired),
                ("lost", self.lived.lost),
            ],
        )?;
        row(
            f,
            "dials",
            &[
                ("made", self.dials),
                ("failed", self.dials_failed),
                ("refused", self.refusals),
                ("redirected", self.redirects),
            ],
        )?;
        row(f, "balance", &[("moved", self.crowd.moved)])?;
        if let Some(gate) = &self.gate {
            let through = [
                ("let in", gate.let_in),
                ("joined", gate.joined),
                ("missed", gate.missed),
                ("refused", gate.refused),
                ("hung up", gate.hung_up),
                ("at most", gate.connections_most as u64),
                ("of them without a controller", gate.joining_most as u64),
            ];
            row(f, "front", &through)?;
            let seen = [
                ("up", gate.up),
                ("down", gate.down),
                ("not ready", gate.unready),
                ("taken out", gate.leaving),
                ("probes", gate.probes),
            ];
            row(f, "seen by the front", &seen)?;
        }
        if let Some(singles) = &self.singles {
            row(f, "single workers", &singles.figures())?;
        }
        if self.complaints + self.doors_moved > 0 {
            let moves = [("complaints", self.complaints), ("moved", self.doors_moved)];
            row(f, "controller doors", &moves)?;
        }
        if self.stopped > 0 {
            let stops = [("stopped", self.stopped), ("sent elsewhere", self.sent_elsewhere)];
            row(f, "stops", &stops)?;
        }
        let time = |time: Option<Time>| time.map_or("never".into(), |time| time.to_string());
        writeln!(f, "  {:<22}{}", "all connected at", time(self.all_connected))?;
        writeln!(f, "  {:<22}{}", "and for good at", time(self.all_connected_again))?;
        writeln!(f, "  {:<22}{}", "even since", time(self.crowd.even))?;
        writeln!(f, "  {:<22}{}", "all answered at", time(self.lived.all_answered))?;
        writeln!(f, "  {:<22}{}", "and for good at", time(self.lived.all_answered_again))?;
        writeln!(f, "\nwaits")?;
        writeln!(f, "  {:<22}{}", "claims", self.lived.claims)?;
        writeln!(f, "  {:<22}{}", "renewals", self.lived.renewals)?;
        writeln!(f, "  {:<22}{}", "commits", self.commits)
    }
}
