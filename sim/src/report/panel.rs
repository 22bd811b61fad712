//! Panels: what is drawn of a run, before it is drawn. One column of them shares one axis of time.

use portcullis_core::Time;
use serde::{Deserialize, Serialize};

use super::scale::Kind;
use super::series::Point;
use super::text::Unit;

/// Most spans of one lane; what flaps more often than that is told apart by nobody.
const SPANS_MAX: usize = 400;

/// One thing to look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Panel {
    Plot(Plot),
    Strip(Strip),
    /// What this run says nothing of, and why.
    Absent {
        id: String,
        title: String,
        why: String,
    },
}

impl Panel {
    /// What tells it apart from the run's other panels, and is the same in every run.
    pub fn id(&self) -> &str {
        match self {
            Panel::Plot(Plot { id, .. }) | Panel::Strip(Strip { id, .. }) => id,
            Panel::Absent { id, .. } => id,
        }
    }

    /// What it shows, in a few words.
    pub fn title(&self) -> &str {
        match self {
            Panel::Plot(Plot { title, .. }) | Panel::Strip(Strip { title, .. }) => title,
            Panel::Absent { title, .. } => title,
        }
    }
}

/// Figures over time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plot {
    pub id: String,
    pub title: String,
    /// What the title does not say; may be empty.
    pub note: String,
    pub unit: Unit,
    pub kind: Kind,
    pub shape: Shape,
    pub lines: Vec<Line>,
}

/// How the points of a line belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// A value stands until the next.
    Steps,
    /// It moves to the next.
    Slope,
    /// It stands until the next, on top of the lines before it, which have the same times.
    Stack,
}

/// One figure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub name: String,
    /// Which of the page's colours, from one; zero is that of limits.
    pub ink: u8,
    pub dashed: bool,
    pub points: Vec<Point>,
}

impl Line {
    /// Whether it never was anything but zero.
    pub fn is_flat(&self) -> bool {
        self.points.iter().all(|(_, value)| value.unwrap_or_default() == 0)
    }
}

/// States over time, a lane for each of whom they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Strip {
    pub id: String,
    pub title: String,
    pub note: String,
    pub lanes: Vec<Lane>,
}

/// What somebody was in, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    pub name: String,
    pub spans: Vec<Span>,
}

/// From when to when somebody was in which state, in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    pub from: u64,
    pub until: u64,
    pub state: State,
    /// The state in words.
    pub label: String,
}

/// How a span looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Not there.
    Down,
    /// There, and nothing more.
    Idle,
    /// On the way.
    Waiting,
    /// There, for everybody.
    Open,
    /// There, with this colour: see [`Line::ink`].
    Active(u8),
    /// A fault that lasts, and one that is over at once.
    Fault,
    Moment,
    /// Nothing that goes wrong, but worth a mark.
    Work,
}

/// A lane that is made while time passes.
#[derive(Clone, Debug)]
pub struct Track {
    spans: Vec<Span>,
    since: Time,
    state: State,
    label: String,
}

impl Track {
    /// In this state from the beginning.
    pub fn new(state: State, label: &str) -> Track {
        Track { spans: Vec::new(), since: Time(0), state, label: label.into() }
    }

    /// From here on in this state.
    pub fn turn(&mut self, at: Time, state: State, label: &str) {
        if (self.state, self.label.as_str()) == (state, label) || self.spans.len() == SPANS_MAX {
            return;
        }
        self.end(at);
        (self.since, self.state, self.label) = (at, state, label.into());
    }

    /// The present state in words.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The whole lane, up to the end of the run.
    pub fn lane(&self, name: &str, ended: Time) -> Lane {
        let mut whole = self.clone();
        whole.end(ended);
        Lane { name: name.into(), spans: whole.spans }
    }

    fn end(&mut self, at: Time) {
        if at > self.since {
            let (from, until) = (self.since.0 / 1_000, at.0 / 1_000);
            let (state, label) = (self.state, self.label.clone());
            self.spans.push(Span { from, until, state, label });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_track_tells_only_changes_and_none_that_last_no_time() {
        let mut track = Track::new(State::Down, "down");
        track.turn(Time(1_000), State::Down, "down");
        track.turn(Time(2_000), State::Idle, "follows");
        track.turn(Time(2_000), State::Active(1), "leads");
        let spans = track.lane("controller-1", Time(5_000)).spans;
        let told: Vec<(u64, u64, &str)> =
            spans.iter().map(|span| (span.from, span.until, span.label.as_str())).collect();
        assert_eq!(told, [(0, 2, "down"), (2, 5, "leads")]);
    }

    #[test]
    fn what_flaps_is_cut_short() {
        let mut track = Track::new(State::Down, "down");
        for at in 1..10_000 {
            let state = if at % 2 == 0 { State::Down } else { State::Idle };
            track.turn(Time(at * 1_000), state, if at % 2 == 0 { "down" } else { "up" });
        }
        let spans = track.lane("controller-1", Time(20_000_000)).spans;
        assert_eq!((spans.len(), spans[SPANS_MAX].until), (SPANS_MAX + 1, 20_000));
    }
}
