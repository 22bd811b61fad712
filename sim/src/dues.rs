//! What must be done by when, where nearly all of it is done long before.
//!
//! Decides nothing. It keeps each second's dues as they come and looks at them once that second has
//! come: only what is still to be done by then is put in order. So whatever is done in time costs
//! one entry in a list and one look at it, and need not be taken back.

use std::collections::{BTreeMap, BTreeSet};

/// How many microseconds of dues are looked at together.
const SPAN: u64 = 1_000_000;

/// See the module. Times are in microseconds, of whatever clock.
#[derive(Debug)]
pub struct Dues<T> {
    /// By second, in the order in which they came.
    later: BTreeMap<u64, Vec<(u64, T)>>,
    /// Those of the seconds that have come, in order.
    near: BTreeSet<(u64, T)>,
    /// The first second that has not come.
    next: u64,
    /// Until then nothing is overdue.
    quiet: u64,
}

impl<T> Default for Dues<T> {
    fn default() -> Dues<T> {
        Dues { later: BTreeMap::new(), near: BTreeSet::new(), next: 0, quiet: 0 }
    }
}

impl<T: Ord> Dues<T> {
    /// This is to be done by then.
    pub fn add(&mut self, due: u64, what: T) {
        self.quiet = self.quiet.min(due / SPAN * SPAN);
        if due / SPAN < self.next {
            self.near.insert((due, what));
        } else {
            self.later.entry(due / SPAN).or_default().push((due, what));
        }
    }

    /// The first of those that were due before `now` and stand; what is due but does not is forgotten.
    /// Whoever has done something says that it stands no more.
    pub fn overdue(&mut self, now: u64, stands: impl Fn(u64, &T) -> bool) -> Option<&(u64, T)> {
        if now <= self.quiet {
            return None;
        }
        while let Some(second) = self.later.first_entry()
            && *second.key() * SPAN < now
        {
            self.next = *second.key() + 1;
            let standing = second.remove().into_iter().filter(|(due, what)| stands(*due, what));
            self.near.extend(standing);
        }
        while let Some((due, what)) = self.near.first()
            && *due < now
            && !stands(*due, what)
        {
            self.near.pop_first();
        }
        let later = self.later.first_key_value().map(|(second, _)| *second * SPAN);
        let near = self.near.first().map(|(due, _)| *due);
        self.quiet = later.unwrap_or(u64::MAX).min(near.unwrap_or(u64::MAX));
        self.near.first().filter(|(due, _)| *due < now)
    }

    /// Forgets the first of those that were overdue.
    pub fn settle(&mut self) {
        self.near.pop_first();
    }

    /// Takes out what is so, in no order that matters.
    pub fn take(&mut self, is: impl Fn(&T) -> bool) -> Vec<(u64, T)> {
        let mut taken: Vec<_> = self.near.extract_if(.., |(_, what)| is(what)).collect();
        for dues in self.later.values_mut() {
            taken.extend(dues.extract_if(.., |(_, what)| is(what)));
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = SPAN;

    fn some() -> Dues<&'static str> {
        let mut dues = Dues::default();
        for (due, what) in [(3, "c"), (1, "a"), (2, "b"), (3, "d")] {
            dues.add(due * SECOND / 2, what);
        }
        dues
    }

    #[test]
    fn nothing_is_overdue_in_the_moment_that_it_is_due() {
        let mut dues = some();
        assert_eq!(dues.overdue(SECOND / 2, |_, _| true), None);
        assert_eq!(dues.overdue(SECOND / 2 + 1, |_, _| true), Some(&(SECOND / 2, "a")));
    }

    #[test]
    fn the_first_that_stands_is_overdue_until_it_is_settled() {
        let mut dues = some();
        assert_eq!(dues.overdue(9 * SECOND, |_, what| *what != "a"), Some(&(SECOND, "b")));
        assert_eq!(dues.overdue(9 * SECOND, |_, _| true), Some(&(SECOND, "b")));
        dues.settle();
        assert_eq!(dues.overdue(9 * SECOND, |_, _| true), Some(&(3 * SECOND / 2, "c")));
        dues.settle();
        assert_eq!(dues.overdue(9 * SECOND, |_, what| *what != "d"), None);
        assert_eq!(dues.overdue(9 * SECOND, |_, _| true), None);
    }

    #[test]
    fn what_comes_late_takes_its_place() {
        let mut dues = some();
        assert!(dues.overdue(SECOND / 2 + 1, |_, _| true).is_some());
        dues.add(SECOND / 4, "e");
        dues.add(SECOND / 2, "0");
        assert_eq!(dues.overdue(SECOND, |_, _| true), Some(&(SECOND / 4, "e")));
        dues.settle();
        assert_eq!(dues.overdue(SECOND, |_, _| true), Some(&(SECOND / 2, "0")));
    }

    #[test]
    fn what_is_taken_out_is_due_no_more() {
        let mut dues = some();
        assert_eq!(dues.overdue(SECOND / 2, |_, _| true), None);
        let mut taken = dues.take(|what| *what < "c");
        taken.sort_unstable();
        assert_eq!(taken, [(SECOND / 2, "a"), (SECOND, "b")]);
        assert_eq!(dues.overdue(9 * SECOND, |_, _| true), Some(&(3 * SECOND / 2, "c")));
    }
}
