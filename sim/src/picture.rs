//! Pictures: what happened over the time of a run, a line of little bars for each figure.
//!
//! ```text
//! picture, a column is 1s
//!   claims answered       │ ▇█▂▂ ▁     ▁▁   │ 1204 in one second
//! ```

use std::collections::BTreeMap;
use std::fmt;

use portcullis_core::{NodeId, Time};

use crate::plan::{Action, Step};

/// Most columns of a picture: with its label and its figure it fits a page of a hundred.
const COLUMNS_MAX: usize = 60;
/// A run shorter than this many seconds has nothing to show over time.
const SECONDS_LEAST: usize = 10;
pub const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// One figure, second by second.
#[derive(Clone, Debug, Default)]
pub struct Series {
    seconds: Vec<u64>,
    /// Whether it goes on as it was, as a level does, or starts at nothing each second.
    level: bool,
}

impl Series {
    /// One more in this second.
    pub fn count(&mut self, at: Time) {
        *self.second(at) += 1;
    }

    /// The figure reaches this much; a second shows its highest.
    pub fn reach(&mut self, at: Time, value: u64) {
        let highest = self.second(at);
        *highest = value.max(*highest);
    }

    /// The figure is this much from here on; a second shows where it ended.
    pub fn stand(&mut self, at: Time, value: u64) {
        self.level = true;
        *self.second(at) = value;
    }

    /// What a second shows that nothing was said of.
    fn rest(&self) -> u64 {
        self.seconds.last().copied().filter(|_| self.level).unwrap_or_default()
    }

    fn second(&mut self, at: Time) -> &mut u64 {
        let second = usize::try_from(at.0 / 1_000_000).unwrap_or(usize::MAX - 1);
        if self.seconds.len() <= second {
            self.seconds.resize(second + 1, self.rest());
        }
        &mut self.seconds[second]
    }

    /// Draws a line: each column its highest second, or of a level its lowest, or else a short gap
    /// would be hidden by what is around it.
    fn row(
        &self,
        name: &str,
        seconds: usize,
        scale: usize,
        what: &str,
        f: &mut fmt::Formatter<'_>,
    ) -> fmt::Result {
        let highest = self.seconds.iter().copied().max().unwrap_or_default();
        let at = |second: usize| self.seconds.get(second).copied().unwrap_or(self.rest());
        let column = |from: usize| {
            let values = (from..(from + scale).min(seconds)).map(at);
            let value = if self.level { values.min() } else { values.max() };
            bar(value.unwrap_or_default(), highest)
        };
        let bars: String = (0..seconds).step_by(scale).map(column).collect();
        writeln!(f, "  {name:<22}│{bars}│ {highest}{what}")
    }
}

/// Everything that is drawn of a run.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    /// Claims and renewals that were answered.
    pub answered: Series,
    /// Asks in the fullest queue.
    pub queued: Series,
    /// Agents that are logged in.
    pub connected: Series,
    /// Those of each controller, where a front spreads them.
    pub spread: BTreeMap<NodeId, Series>,
}

impl Picture {
    /// Draws it for a run that ended then.
    pub fn draw(&self, ended: Time, steps: &[Step], f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = usize::try_from(ended.0.div_ceil(1_000_000)).unwrap_or(usize::MAX);
        if seconds < SECONDS_LEAST {
            return Ok(());
        }
        let scale = seconds.div_ceil(COLUMNS_MAX);
        writeln!(f, "\npicture, a column is {scale}s")?;
        self.answered.row("claims answered", seconds, scale, " in one second", f)?;
        self.queued.row("queue", seconds, scale, " at most", f)?;
        self.connected.row("agents connected", seconds, scale, " at most", f)?;
        for (node, agents) in &self.spread {
            agents.row(&format!("at {node}"), seconds, scale, " at most", f)?;
        }
        let faults = steps.iter().filter(|step| !matches!(step.action, Action::Claims(_)));
        let faults: Vec<&Step> = faults.collect();
        if faults.is_empty() {
            return Ok(());
        }
        let columns = (0..seconds).step_by(scale);
        let marks: String = columns
            .map(|from| if in_force(&faults, from, from + scale) { '▄' } else { ' ' })
            .collect();
        writeln!(f, "  {:<22}│{marks}│", "faults")
    }
}

/// A bar for a value that is at most `highest`; nothing for nothing.
fn bar(value: u64, highest: u64) -> char {
    match value {
        0 => ' ',
        _ => BARS[usize::try_from((value * 8).div_ceil(highest.max(1)) - 1).unwrap_or(0).min(7)],
    }
}

/// Whether a fault is in force between these seconds.
fn in_force(faults: &[&Step], from: usize, to: usize) -> bool {
    let second = |time: Time| usize::try_from(time.0 / 1_000_000).unwrap_or(usize::MAX);
    faults.iter().any(|step| {
        let until = step.lasts.map_or(step.at, |lasts| step.at + lasts);
        second(step.at) < to && second(until) >= from
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_high_as_its_value() {
        let bars: String = [0, 1, 50, 99, 100].map(|value| bar(value, 100)).iter().collect();
        assert_eq!(bars, " ▁▄██");
    }

    #[test]
    fn a_level_stands_until_it_changes_and_a_count_does_not() {
        let (mut level, mut count) = (Series::default(), Series::default());
        for at in [Time(0), Time(3_500_000)] {
            level.stand(at, 7);
            count.count(at);
        }
        assert_eq!((level.seconds, count.seconds), (vec![7, 7, 7, 7], vec![1, 0, 0, 1]));
    }
}
