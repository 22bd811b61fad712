//! What a door's port can be, and what it may do next.

use crate::time::Time;

/// What became of a door's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    Shut,
    Binding,
    /// It could not be bound, and is tried again then.
    Again(Time),
    Bound,
    /// It is bound where it was, and being bound where it is to be.
    Moving,
    /// It is bound where it was; where it is to be it could not be, which is tried again then.
    MovesAgain(Time),
}

impl Port {
    /// Whether it listens anywhere.
    pub fn listens(self) -> bool {
        match self {
            Port::Bound | Port::Moving | Port::MovesAgain(_) => true,
            Port::Shut | Port::Binding | Port::Again(_) => false,
        }
    }
}

/// A permit that is out at a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    Accept,
    Hold,
}
