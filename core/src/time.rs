//! The two times: a node's own monotonic [`Time`], and the replicated [`GlobalTime`].
//!
//! They are different types so that they never mix: leases expire by global time alone, and
//! everything that one node does by itself goes by its own.

use core::fmt;
use core::ops::{Add, Sub};
use core::time::Duration;

use serde::{Deserialize, Serialize};

/// Microseconds since this node started: monotonic, local, printable.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Time(pub u64);

/// Microseconds of the replicated clock that leases expire by.
///
/// It starts at zero with the cluster, moves only by entries of the raft log, never goes back and
/// never runs faster than real time (see [`clock`](crate::clock)).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct GlobalTime(pub u64);

/// When a machine wants to be called again, and why; the reason is for people reading transcripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timeout {
    /// The time from which on `handle_timeout` has something to do.
    pub at: Time,
    /// What the machine is waiting for.
    pub why: &'static str,
}

impl Timeout {
    /// The earlier of two, either of which may be absent; the first wins a tie.
    pub fn earlier(one: Option<Timeout>, other: Option<Timeout>) -> Option<Timeout> {
        match (one, other) {
            (Some(one), Some(other)) if other.at < one.at => Some(other),
            (Some(one), _) => Some(one),
            (None, other) => other,
        }
    }
}

/// Whole microseconds of a duration; more than 584,000 years count as that.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

macro_rules! arithmetic {
    ($time:ident) => {
        impl $time {
            /// How long after `earlier` this is; zero if it is not after it.
            pub fn since(self, earlier: $time) -> Duration {
                Duration::from_micros(self.0.saturating_sub(earlier.0))
            }
        }

        impl Add<Duration> for $time {
            type Output = $time;
            /// Saturates at the end of time.
            fn add(self, duration: Duration) -> $time {
                $time(self.0.saturating_add(micros(duration)))
            }
        }

        impl Sub<Duration> for $time {
            type Output = $time;
            /// Saturates at zero.
            fn sub(self, duration: Duration) -> $time {
                $time(self.0.saturating_sub(micros(duration)))
            }
        }

        impl fmt::Display for $time {
            /// Seconds with six digits after the point, as plans and transcripts print them.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
            }
        }
    };
}

arithmetic!(Time);
arithmetic!(GlobalTime);
