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
}

/// A permit that is out at a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    Accept,
    Hold,
}
