//! Whether two holders ever believed at one time that they hold one lease.
//!
//! A holder believes from the answer on, until the lease's duration after it *asked*: no answer can
//! make it hold for less. That is all it goes by, so nothing that a controller says of itself can
//! hide a lease that was granted twice. The numbers of grants are checked too: two holders with the
//! same one could not be told apart by whatever the lease protects.

use std::fmt;

use portcullis_core::Time;

/// Most violations that are kept in words; all are counted.
const SHOWN_MAX: usize = 10;

/// One holder's belief.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Which of the lease's contenders.
    pub unit: u32,
    /// The fencing number of the grant.
    pub fence: u64,
    /// When it was told.
    pub from: Time,
    /// Until when it surely holds.
    pub until: Time,
}

/// The last window of every holder, by lease: what a late report can still contradict.
#[derive(Clone, Debug, Default)]
pub struct Windows {
    leases: Vec<Vec<Window>>,
    violations: u64,
    shown: Vec<Violation>,
}

/// Two windows of one lease that cannot both be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    lease: usize,
    one: Window,
    other: Window,
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Window { unit, fence, from, until } = self;
        write!(f, "unit {unit} from {from} until {until} with fence {fence}")
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { lease, one, other } = self;
        write!(f, "lease {lease} was held by {one}, and by {other}")
    }
}

impl Windows {
    /// Nobody holds any of these leases.
    pub fn new(leases: usize) -> Windows {
        Windows { leases: vec![Vec::new(); leases], ..Windows::default() }
    }

    /// Whether it is one of the leases that are looked after.
    pub fn knows(&self, lease: usize) -> bool {
        lease < self.leases.len()
    }

    /// A holder was told that it holds the lease.
    pub fn granted(&mut self, lease: usize, window: Window) {
        let known = &mut self.leases[lease];
        for other in known.iter().filter(|other| other.unit != window.unit) {
            let overlap = window.from < other.until && other.from < window.until;
            if overlap || window.fence == other.fence {
                self.violations += 1;
                if self.shown.len() < SHOWN_MAX {
                    self.shown.push(Violation { lease, one: *other, other: window });
                }
            }
        }
        match known.iter_mut().find(|other| other.unit == window.unit) {
            // It went on holding: one window, as long as both.
            Some(own) if window.from < own.until && window.fence == own.fence => {
                own.until = own.until.max(window.until);
            }
            Some(own) => *own = window,
            None => known.push(window),
        }
    }

    /// A holder was told, or knew by its own clock, that it does not hold the lease from here on.
    pub fn ended(&mut self, lease: usize, unit: u32, at: Time) {
        let own = self.leases[lease].iter_mut().find(|window| window.unit == unit);
        if let Some(own) = own {
            own.until = own.until.min(at);
        }
    }

    /// Whether a holder surely holds the lease at that time, by all that it was told.
    pub fn holds(&self, lease: usize, unit: u32, at: Time) -> bool {
        let known = self.leases.get(lease).into_iter().flatten();
        known.into_iter().any(|own| own.unit == unit && at < own.until)
    }

    /// How many pairs of windows cannot both be.
    pub fn violations(&self) -> u64 {
        self.violations
    }

    /// The first of them.
    pub fn shown(&self) -> &[Violation] {
        &self.shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(unit: u32, fence: u64, from: u64, until: u64) -> Window {
        Window { unit, fence, from: Time(from), until: Time(until) }
    }

    fn violations(told: &[Window]) -> u64 {
        let mut windows = Windows::new(1);
        told.iter().for_each(|window| windows.granted(0, *window));
        assert_eq!(windows.shown().len() as u64, windows.violations().min(SHOWN_MAX as u64));
        windows.violations()
    }

    #[test]
    fn one_after_the_other_is_as_it_must_be() {
        assert_eq!(violations(&[window(0, 1, 0, 10), window(1, 2, 10, 20)]), 0);
        let renewed = [window(0, 1, 0, 10), window(0, 1, 5, 15), window(1, 2, 15, 25)];
        assert_eq!(violations(&renewed), 0);
    }

    #[test]
    fn two_at_one_time_are_caught() {
        assert_eq!(violations(&[window(0, 1, 0, 10), window(1, 2, 9, 19)]), 1);
        // A renewal makes the window longer.
        let renewed = [window(0, 1, 0, 10), window(0, 1, 5, 15), window(1, 2, 12, 22)];
        assert_eq!(violations(&renewed), 1);
        // The one inside the other.
        assert_eq!(violations(&[window(0, 1, 0, 10), window(1, 2, 2, 3)]), 1);
    }

    #[test]
    fn two_are_caught_whoever_reports_first() {
        assert_eq!(violations(&[window(1, 2, 9, 19), window(0, 1, 0, 10)]), 1);
        // A renewal does not push the beginning on, which a late report may still contradict.
        let late = [window(0, 1, 0, 10), window(0, 1, 8, 18), window(1, 2, 3, 5)];
        assert_eq!(violations(&late), 1);
    }

    #[test]
    fn two_with_one_number_are_caught_though_one_came_after_the_other() {
        assert_eq!(violations(&[window(0, 7, 0, 10), window(1, 7, 10, 20)]), 1);
    }

    #[test]
    fn whoever_was_told_that_it_is_over_holds_no_longer() {
        let mut windows = Windows::new(2);
        windows.granted(1, window(0, 1, 0, 10));
        windows.ended(1, 0, Time(4));
        windows.granted(1, window(1, 2, 5, 15));
        assert_eq!(windows.violations(), 0);
        windows.granted(0, window(1, 1, 0, 10));
        assert_eq!(windows.violations(), 0, "another lease is another matter");
    }

    #[test]
    fn all_violations_are_counted_and_the_first_are_shown() {
        let told: Vec<Window> = (0..20).map(|unit| window(unit, u64::from(unit), 0, 10)).collect();
        assert_eq!(violations(&told), 20 * 19 / 2);
    }
}
