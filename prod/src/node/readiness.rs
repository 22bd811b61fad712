//! How ready a controller is, for everybody who wants to know: `/health`, metrics, the service
//! manager, and the program that embeds it.

use std::fmt;

use portcullis_core::controller::Controller;
use portcullis_core::readiness::Condition;

/// What the API door says when it lets agents in.
const OPEN: &str = "open";

/// What a controller said last of its readiness.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Whether agents are let in.
    pub open: bool,
    /// What the API door does, or waits for.
    pub api_door: &'static str,
    /// What must be so before agents are let in, and since when it is or is not.
    pub conditions: Vec<Condition>,
    /// What is wrong with the file that says where the controller door is to be bound, if anything.
    pub lack: Option<String>,
}

impl Readiness {
    /// The conditions that are waited for.
    pub fn waits(&self) -> impl Iterator<Item = &str> {
        self.conditions.iter().filter(|one| !one.met).map(|one| &*one.name)
    }

    /// What the machine says.
    pub(super) fn of(machine: &Controller) -> Readiness {
        let api_door = machine.listener().phase();
        let conditions = machine.readiness().conditions();
        Readiness { open: api_door == OPEN, api_door, conditions, lack: None }
    }
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "api door {}", self.api_door)?;
        let mut between = "; waits for";
        for name in self.waits() {
            write!(f, "{between} {name}")?;
            between = ",";
        }
        if let Some(lack) = &self.lack {
            write!(f, "; {lack}")?;
        }
        Ok(())
    }
}
