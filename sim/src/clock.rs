//! The clock of one host: monotonic, and no better than a real one.
//!
//! Decides what it shows at a real time, and when it shows what. It runs faster or slower than real
//! time by so many millionths, which a plan may change, and never goes back. What a process calls
//! zero is its own affair: a host that was up for a year starts its processes a year late.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis_core::singular::SKEW;
use portcullis_core::{NodeId, Time};

use crate::plan::Plan;
use crate::stage::Place;

/// Millionths of a second in one.
const MILLION: i128 = 1_000_000;
/// Most by which a clock may be wrong in a plan, in millionths: 5 %, a hundred times what is allowed
/// to a crystal.
pub const DRIFT_MAX: u32 = 50_000;
/// By how much a clock may be wrong, in millionths, without anybody noticing: two of them, one fast
/// and one slow, come to the part of a lease that nobody counts on.
pub const DRIFT_BORNE: u32 = 1_000_000 / SKEW / 2;

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// When its rate was set last, and what it showed then.
    since: Time,
    showed: Time,
    /// Millionths by which it is fast; slow, if negative.
    drift: i32,
    /// What the next process finds that it shows; none for what it shows anyway.
    offset: Option<Duration>,
}

impl Clock {
    /// What it shows at a real time, which is not before its rate was set last.
    pub fn shows(&self, real: Time) -> Time {
        // Most clocks are right, and every event asks them; the division is a slow one.
        if self.drift == 0 {
            return Time(self.showed.0.saturating_add(real.0.saturating_sub(self.since.0)));
        }
        let passed = i128::from(real.0.saturating_sub(self.since.0));
        let moved = passed * (MILLION + i128::from(self.drift)) / MILLION;
        at(i128::from(self.showed.0) + moved)
    }

    /// The first real time at which it shows this.
    pub fn when(&self, shown: Time) -> Time {
        if self.drift == 0 {
            return Time(self.since.0.saturating_add(shown.0.saturating_sub(self.showed.0)));
        }
        let wanted = i128::from(shown.0.saturating_sub(self.showed.0)) * MILLION;
        let rate = MILLION + i128::from(self.drift);
        at(i128::from(self.since.0) + (wanted + rate - 1) / rate)
    }

    /// Is fast by so many millionths from now on. The next process starts at `offset`, if that is not
    /// zero.
    pub fn set(&mut self, real: Time, drift: i32, offset: Duration) {
        let offset = Some(offset).filter(|offset| !offset.is_zero()).or(self.offset);
        *self = Clock { since: real, showed: self.shows(real), drift, offset };
    }

    /// A process starts.
    pub fn start(&mut self, real: Time) {
        if let Some(offset) = self.offset {
            (self.since, self.showed) = (real, Time(0) + offset);
        }
    }
}

fn at(micros: i128) -> Time {
    Time(u64::try_from(micros).unwrap_or(u64::MAX))
}

/// The clocks of every place of a run.
#[derive(Clone, Debug)]
pub struct Clocks {
    /// In the order of their numbers, which start from one.
    controllers: Vec<Clock>,
    agents: Clock,
}

impl Clocks {
    /// They are right.
    pub fn new(plan: &Plan) -> Clocks {
        let controllers = plan.controllers().map(|_| Clock::default()).collect();
        Clocks { controllers, agents: Clock::default() }
    }

    /// The clock of a place.
    pub fn at(&mut self, place: Place) -> &mut Clock {
        match place {
            Place::Controller(NodeId(number)) => &mut self.controllers[number as usize - 1],
            Place::Agents => &mut self.agents,
        }
    }
}

/// The clock of one process: it starts at the offset of its host, or at zero.
#[derive(Clone, Debug)]
pub struct Watch {
    clocks: Arc<Mutex<Clocks>>,
    place: Place,
    /// What the host's clock showed at its zero.
    zero: Time,
}

impl Watch {
    /// The clock of a process that starts now.
    pub fn start(clocks: Arc<Mutex<Clocks>>, place: Place, real: Time) -> Watch {
        let zero = {
            // Nothing panics while it is locked.
            let mut clocks = clocks.lock().expect("the lock is never poisoned");
            let clock = clocks.at(place);
            clock.start(real);
            match clock.offset {
                Some(_) => Time(0),
                None => clock.shows(real),
            }
        };
        Watch { clocks, place, zero }
    }

    /// What it shows at a real time.
    pub fn shows(&self, real: Time) -> Time {
        Time(0) + self.clock().shows(real).since(self.zero)
    }

    /// The first real time at which it shows this, as long as it runs as it does.
    pub fn when(&self, shown: Time) -> Time {
        let shown = shown.0.saturating_add(self.zero.0);
        self.clock().when(Time(shown))
    }

    fn clock(&self) -> Clock {
        *self.clocks.lock().expect("the lock is never poisoned").at(self.place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::tests::plan;

    #[test]
    fn a_right_clock_shows_what_it_is() {
        let clock = Clock::default();
        for at in [0, 1, 999_999_999, u64::MAX] {
            assert_eq!((clock.shows(Time(at)), clock.when(Time(at))), (Time(at), Time(at)));
        }
    }

    #[test]
    fn a_wrong_clock_never_goes_back_and_is_asked_neither_early_nor_late() {
        let mut clock = Clock::default();
        let mut showed = Time(0);
        for (at, drift) in [(1_000, 50_000), (70_001, -50_000), (140_002, 333), (900_000, 0)] {
            clock.set(Time(at), drift, Duration::ZERO);
            for real in (at..at + 60_000).step_by(777).map(Time) {
                assert!(clock.shows(real) >= showed, "{clock:?} at {real}");
                showed = clock.shows(real);
                let when = clock.when(showed);
                assert!(when <= real && clock.shows(when) >= showed, "{clock:?} at {real}");
            }
        }
    }

    #[test]
    fn a_percent_in_a_minute_is_more_than_half_a_second() {
        let mut clock = Clock::default();
        clock.set(Time(0), -10_000, Duration::ZERO);
        assert_eq!(clock.shows(Time(60_000_000)), Time(59_400_000));
        assert_eq!(clock.when(Time(59_400_000)), Time(60_000_000));
    }

    #[test]
    fn an_offset_is_for_the_processes_that_start() {
        let clocks = Arc::new(Mutex::new(Clocks::new(&plan(""))));
        let start = |real| Watch::start(clocks.clone(), Place::Agents, Time(real));
        let first = start(5_000);
        assert_eq!(first.shows(Time(6_000)), Time(1_000));
        let set = |drift| {
            let mut clocks = clocks.lock().unwrap();
            clocks.at(Place::Agents).set(Time(10_000), drift, Duration::from_secs(3_600));
        };
        set(50_000);
        assert_eq!(first.shows(Time(30_000)), Time(26_000), "5,000 us, and 5 % of 20,000 us more");
        let second = start(30_000);
        assert_eq!(second.shows(Time(30_000)), Time(3_600_000_000));
        assert_eq!(second.when(Time(3_600_001_050)), Time(31_000));
        let third = start(40_000);
        assert_eq!(third.shows(Time(40_000)), Time(3_600_000_000));
    }
}
