//! An error in the log means a bug, and fails the run.

use portcullis_core::Time;

use super::{Check, Sentence};
use crate::facts::Facts;
use crate::history::{Event, Kind, Kinds, Who};
use crate::plan::Plan;

/// See the module.
struct NoError;

pub(super) fn make(_: &Plan) -> Option<Box<dyn Check>> {
    Some(Box::new(NoError))
}

impl Check for NoError {
    fn name(&self) -> &'static str {
        "no_error"
    }

    fn sentence(&self) -> Sentence {
        Sentence { seed: "004", text: "Worse still, no errors are returned in this case." }
    }

    fn hears(&self) -> Kinds {
        Kinds::of(&[Kind::Error])
    }

    fn always(&mut self, _: Time, who: Who, event: &Event<'_>, _: &Facts) -> Result<(), String> {
        match event {
            Event::Error(line) => Err(format!("{who} logged an error: {line}")),
            Event::Did(_)
            | Event::Told(_)
            | Event::Ordered(_)
            | Event::AgentTold(_)
            | Event::AgentOrdered(_)
            | Event::Applied { .. }
            | Event::Memory(_)
            | Event::Front(_)
            | Event::BacklogFull
            | Event::Cluster(_)
            | Event::Singular(_)
            | Event::Killed(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::tests::{ONE, Story};

    #[test]
    fn an_error_line_is_caught() {
        let mut story = Story::new(make, "");
        assert!(story.event(0, ONE, Event::Error("the table is torn")).is_err());
    }
}
