//! Lines: one event each, in fixed columns.
//!
//! Decides how much each event of a history matters, as production has it: what a machine was told
//! is a frame, what it ordered is an output executed, and a phase that changed is worth knowing.

use std::fmt;

use portcullis::env::Affair;
use portcullis_core::controller::{Input, Output};
use portcullis_core::front;
use portcullis_core::{Time, roles};
use tracing::Level;

use crate::history::{Event, Fronted, Who};
use crate::singular::What;

/// Widest target that is shown whole; longer ones end in `…`. Fits most modules of production.
const TARGET_WIDTH: usize = 26;

/// What targets are called that no module has: those of the history's own events.
pub const MACHINES: &[&str] =
    &["plan", "controller", "agent", "front", "table", "members", "worker", "process", "log"];

/// How much an event matters, and which machine it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    pub level: Level,
    /// A module of production, or one of [`MACHINES`].
    pub target: &'static str,
}

/// One line, as it is kept and as it is printed.
pub struct Line {
    pub at: Time,
    pub who: Who,
    pub weight: Weight,
    pub text: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line { at, who, weight: Weight { level, target }, text } = self;
        write!(f, "{:>14}  {who:<14}  {:<5}  ", at.to_string(), level.as_str())?;
        match target.char_indices().nth(TARGET_WIDTH) {
            Some(_) => write!(f, "{:.*}…  {text}", TARGET_WIDTH - 1, target),
            None => write!(f, "{target:<TARGET_WIDTH$}  {text}"),
        }
    }
}

impl Weight {
    /// How much an event of a history matters.
    pub fn of(event: &Event<'_>) -> Weight {
        let (level, target) = match event {
            Event::Did(_) => (Level::INFO, "plan"),
            Event::Told(input) => (told(input), "controller"),
            Event::Ordered(output) => (ordered(output), "controller"),
            Event::AgentTold(_) => (Level::TRACE, "agent"),
            Event::AgentOrdered(_) => (Level::DEBUG, "agent"),
            Event::Front(Fronted::Told(_)) => (Level::TRACE, "front"),
            Event::Front(Fronted::Ordered(output)) => (fronted(output), "front"),
            Event::Applied { .. } => (Level::DEBUG, "table"),
            Event::Cluster(affair) => (affairs(affair), "members"),
            Event::Singular(single) => match single.what {
                What::Told(_) => (Level::TRACE, "worker"),
                What::Ordered(_) | What::Began { .. } | What::Wrote { .. } => {
                    (Level::DEBUG, "worker")
                }
            },
            Event::Memory(_) => (Level::TRACE, "process"),
            Event::BacklogFull => (Level::DEBUG, "process"),
            Event::Killed(_) => (Level::WARN, "process"),
            Event::Error(_) => (Level::ERROR, "log"),
        };
        Weight { level, target }
    }
}

fn told(input: &Input) -> Level {
    match input {
        Input::Started
        | Input::Opened { .. }
        | Input::Led { .. }
        | Input::Followed { .. }
        | Input::Restored { .. }
        | Input::Reconfigured { .. }
        | Input::Stopping => Level::INFO,
        Input::NotOpened { .. } => Level::WARN,
        Input::Knocked { .. }
        | Input::Offered { .. }
        | Input::Connected { .. }
        | Input::Arrived { .. }
        | Input::Disconnected { .. }
        | Input::LoggedIn { .. }
        | Input::Pinged { .. }
        | Input::Asked { .. }
        | Input::Cancelled { .. }
        | Input::Answered { .. }
        | Input::NotSent { .. }
        | Input::Lost { .. }
        | Input::Looked { .. }
        | Input::Committed { .. }
        | Input::NotProposed { .. }
        | Input::BatchLost { .. }
        | Input::Applied { .. }
        | Input::Linked { .. }
        | Input::Committing { .. }
        | Input::Working { .. }
        | Input::Heard { .. }
        | Input::Memory { .. } => Level::TRACE,
    }
}

fn ordered(output: &Output) -> Level {
    match output {
        Output::Condition { .. }
        | Output::Bind { .. }
        | Output::Open { .. }
        | Output::Shut { .. }
        | Output::Stopped => Level::INFO,
        Output::Complain { .. } => Level::WARN,
        Output::Accept { .. }
        | Output::Hold { .. }
        | Output::Admit { .. }
        | Output::Hangup { .. }
        | Output::Answer { .. }
        | Output::Propose { .. }
        | Output::Send { .. }
        | Output::Recall { .. }
        | Output::Welcome { .. }
        | Output::Refuse { .. }
        | Output::Redirect { .. }
        | Output::Tell { .. }
        | Output::Look { .. } => Level::DEBUG,
    }
}

/// As production says what becomes of a backend.
fn fronted(output: &front::Output) -> Level {
    match output {
        front::Output::Announce { news, .. } => match news {
            front::News::Up | front::News::Leaving | front::News::Gone => Level::INFO,
            front::News::Down | front::News::Unready => Level::WARN,
        },
        front::Output::Shut | front::Output::Exit => Level::INFO,
        front::Output::Accept
        | front::Output::Withdraw
        | front::Output::Probe { .. }
        | front::Output::Connect { .. }
        | front::Output::Refuse { .. }
        | front::Output::HangUp { .. } => Level::DEBUG,
    }
}

fn affairs(affair: &Affair<'_>) -> Level {
    match affair {
        Affair::Applied { .. } | Affair::Formed { .. } => Level::INFO,
        Affair::Told(_) => Level::TRACE,
        Affair::Ordered(order) => match order {
            roles::Output::Appoint { .. }
            | roles::Output::HandOver { .. }
            | roles::Output::Add { .. }
            | roles::Output::Drop { .. } => Level::INFO,
            roles::Output::Look | roles::Output::Found => Level::DEBUG,
        },
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::NodeId;

    use super::*;

    #[test]
    fn columns_stand_where_they_stood() {
        let line = |who, level, target, text: &str| {
            let weight = Weight { level, target };
            Line { at: Time(12_345_678), who, weight, text: text.into() }.to_string()
        };
        let lines = [
            line(Who::World, Level::INFO, "plan", "* crash controller-1"),
            line(Who::Controller(NodeId(2)), Level::TRACE, "portcullis::raft", "a frame"),
            line(Who::Agent(17), Level::ERROR, "openraft::core::raft_core::far_below", "torn"),
        ];
        assert_eq!(
            lines.join("\n"),
            "    12.345678s  world           INFO   plan                        \
             * crash controller-1\n    \
             12.345678s  controller-2    TRACE  portcullis::raft            a frame\n    \
             12.345678s  agent-17        ERROR  openraft::core::raft_core…  torn"
        );
    }
}
