//! Live: what a history shows of itself while it goes on.

use std::collections::VecDeque;
use std::io::Write as _;

use portcullis_core::Time;
use tracing::Level;

use super::rein::Rein;
use super::view::View;
use crate::action::Second;
use crate::facts::Facts;
use crate::logs::Line;
use crate::outcome::Break;
use crate::plan::Plan;
use crate::report::Record;

/// Most lines that are kept for the screen; more fit no terminal.
const LINES_MAX: usize = 100;
/// From one line to the next where there is no screen, in microseconds.
const LINE_EVERY: u64 = 1_000_000;

/// What a view is made of.
pub struct Scene<'a> {
    pub record: &'a Record,
    pub facts: &'a Facts,
    /// Every check, and how it broke if it did.
    pub checks: Vec<(&'static str, Option<&'a Break>)>,
    pub events: u64,
}

/// See the module.
pub struct Live {
    plan: Plan,
    rein: Rein,
    /// What mattered last.
    lines: VecDeque<(String, String, String)>,
    /// When the next line is printed, where there is no screen.
    line_at: Option<Time>,
    /// When something happened last.
    last: Time,
}

impl Live {
    /// Shows a run of this plan at the end of a rein; with `plain`, prints a line each simulated
    /// second instead.
    pub fn new(plan: &Plan, rein: Rein, plain: bool) -> Live {
        let line_at = plain.then_some(Time(LINE_EVERY));
        Live { plan: plan.clone(), rein, lines: VecDeque::new(), line_at, last: Time(0) }
    }

    /// Whether there is anything to be done before something happens at this time.
    pub fn is_due(&mut self, at: Time) -> bool {
        let is_due = self.line_at.is_some_and(|line_at| line_at <= at) || self.rein.pulls(at);
        if !is_due {
            self.last = at;
        }
        is_due
    }

    /// Shows the run before something happens at this time.
    pub fn look(&mut self, at: Time, scene: &Scene<'_>) {
        while let Some(line_at) = self.line_at.filter(|line_at| *line_at <= at) {
            self.wait(line_at, scene);
            let line = View::of(line_at, &self.plan, scene).line();
            // A reader that has had enough ends nothing but the printing.
            let printed = writeln!(std::io::stdout(), "{line}").is_ok();
            self.line_at = printed.then_some(Time(line_at.0 + LINE_EVERY));
        }
        self.wait(at, scene);
        self.last = at;
    }

    /// Shows how the run ended, whether or not anybody has asked yet.
    pub fn end(&mut self, at: Time, scene: &Scene<'_>) {
        self.look(at, scene);
        self.rein.show(at, self.view(at, scene));
    }

    fn view(&self, at: Time, scene: &Scene<'_>) -> View {
        let lines = self.lines.iter().cloned().collect();
        View { lines, ..View::of(at, &self.plan, scene) }
    }

    /// Shows views until the run may go on to this time.
    fn wait(&self, at: Time, scene: &Scene<'_>) {
        while self.rein.pulls(at) {
            let shown = at.min(self.rein.until()).max(self.last);
            self.rein.show(at, self.view(shown, scene));
        }
    }

    /// A line was written.
    pub fn line(&mut self, line: &Line) {
        if line.weight.level > Level::INFO {
            return;
        }
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
        }
        let at = Second(line.at.since(Time(0))).to_string();
        self.lines.push_back((at, line.who.to_string(), line.text.clone()));
    }
}
