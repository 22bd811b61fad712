//! What all holders together have seen: counts, latencies, and whether it can all be true.
//!
//! One task owns it and everybody tells it, so that what is shown is of one moment.

use portcullis_core::Time;
use portcullis_core::lease::{Done, Refusal};
use portcullis_core::queue::Answer;

use super::histogram::Histogram;
use super::plan::Seat;
use super::windows::{Window, Windows};

/// Something that a connection or one of its holders has seen.
#[derive(Clone, Debug)]
pub enum Event {
    /// A controller has let a connection in.
    Connected { at: Time },
    /// A connection is gone.
    Disconnected,
    /// An ask was answered.
    Answered { seat: Seat, what: What, asked: Time, at: Time, answer: Answer },
    /// By its own clock or by what it was told, somebody does not hold its lease any more.
    Lost { seat: Seat, at: Time },
    /// All are connected, or no more are waited for: what follows is what is measured.
    Began { at: Time },
    /// No more is asked.
    Ended { at: Time },
}

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// To get a lease. `first` as long as the asker has had no definite answer.
    Claim { until: Time, first: bool },
    /// To keep a lease.
    Extend { until: Time },
    /// To be told when it is free.
    Wait,
}

/// Counts since the start; see each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Counts {
    /// Connections that stand.
    pub connected: u64,
    /// Connections that broke; each was made again.
    pub disconnected: u64,
    /// Leases got.
    pub claimed: u64,
    /// Claims refused because another holds the lease.
    pub denied: u64,
    /// Leases kept.
    pub extended: u64,
    /// Leases that were held and are not, whoever has them.
    pub lost: u64,
    /// Of those, such as another got before they were over: a bug.
    pub taken: u64,
    /// Waits that ended with a free lease.
    pub released: u64,
    /// Asks shed with a time to come back.
    pub overloaded: u64,
    /// Asks that found nobody who leads.
    pub no_leader: u64,
    /// Asks that certainly had no effect because they took too long.
    pub expired: u64,
    /// Asks of which nobody can say what came.
    pub unknown: u64,
    /// Asks refused for any other reason, such as a full table.
    pub refused: u64,
    /// Those who have had a first definite answer to a claim.
    pub settled: u64,
}

impl Counts {
    /// Adds what others have counted.
    pub fn add(&mut self, other: &Counts) {
        let Counts {
            connected,
            disconnected,
            claimed,
            denied,
            extended,
            lost,
            taken,
            released,
            overloaded,
            no_leader,
            expired,
            unknown,
            refused,
            settled,
        } = other;
        self.connected += connected;
        self.disconnected += disconnected;
        self.claimed += claimed;
        self.denied += denied;
        self.extended += extended;
        self.lost += lost;
        self.taken += taken;
        self.released += released;
        self.overloaded += overloaded;
        self.no_leader += no_leader;
        self.expired += expired;
        self.unknown += unknown;
        self.refused += refused;
        self.settled += settled;
    }
}

/// See the module.
#[derive(Debug)]
pub struct Ledger {
    pub counts: Counts,
    /// From asking to a definite answer, whether granted or denied.
    pub claims: Histogram,
    /// The same of extensions.
    pub extensions: Histogram,
    pub windows: Windows,
    /// When the last connection was made that was made before the beginning.
    pub connected_at: Option<Time>,
    /// When everybody had had a first definite answer, or the last so far.
    pub settled_at: Option<Time>,
    pub began: Option<Time>,
    pub ended: Option<Time>,
    /// What had been claimed and extended when it began.
    pub before: Counts,
}

impl Ledger {
    /// Nothing has happened to any of these leases.
    pub fn new(leases: usize) -> Ledger {
        Ledger {
            counts: Counts::default(),
            claims: Histogram::default(),
            extensions: Histogram::default(),
            windows: Windows::new(leases),
            connected_at: None,
            settled_at: None,
            began: None,
            ended: None,
            before: Counts::default(),
        }
    }

    /// Enters an event; none counts that came after the end.
    pub fn enter(&mut self, event: Event) {
        if self.ended.is_some() {
            return;
        }
        match event {
            Event::Connected { at } => {
                self.counts.connected += 1;
                if self.began.is_none() {
                    self.connected_at = Some(at);
                }
            }
            Event::Disconnected => {
                self.counts.connected -= 1;
                self.counts.disconnected += 1;
            }
            Event::Answered { seat, what, asked, at, answer } => {
                self.answered(seat, what, asked, at, answer);
            }
            Event::Lost { seat, at } => {
                self.counts.lost += 1;
                self.windows.ended(seat.lease as usize, seat.unit, at);
            }
            Event::Began { at } => {
                self.began = Some(at);
                self.before = self.counts;
            }
            Event::Ended { at } => self.ended = Some(at),
        }
    }

    fn answered(&mut self, seat: Seat, what: What, asked: Time, at: Time, answer: Answer) {
        let counts = &mut self.counts;
        match answer {
            Answer::Done { done: Done::Granted { fence, .. }, .. } => {
                let until = match what {
                    What::Claim { until, .. } => {
                        counts.claimed += 1;
                        until
                    }
                    What::Extend { until } => {
                        counts.extended += 1;
                        until
                    }
                    What::Wait => unreachable!("nobody is granted a lease for waiting"),
                };
                self.definite(what, asked, at);
                // A grant that took as long as it lasts is none that anybody may believe in. Leases
                // that only one ever claims are not kept.
                if at < until && self.windows.knows(seat.lease as usize) {
                    let window = Window { unit: seat.unit, fence, from: at, until };
                    self.windows.granted(seat.lease as usize, window);
                }
            }
            Answer::Refused { refusal: Refusal::Held { .. }, .. } => {
                counts.denied += 1;
                let keeps = matches!(what, What::Extend { .. });
                if keeps && self.windows.holds(seat.lease as usize, seat.unit, at) {
                    counts.taken += 1;
                }
                self.definite(what, asked, at);
            }
            Answer::Done { .. }
            | Answer::Refused {
                refusal: Refusal::NotHeld | Refusal::Void | Refusal::Full, ..
            } => counts.refused += 1,
            Answer::Released => counts.released += 1,
            Answer::Overloaded { .. } => counts.overloaded += 1,
            Answer::NotLeader { .. } => counts.no_leader += 1,
            Answer::Expired | Answer::Cancelled => counts.expired += 1,
            Answer::Unknown => counts.unknown += 1,
        }
    }

    fn definite(&mut self, what: What, asked: Time, at: Time) {
        match what {
            What::Claim { first, .. } => {
                self.claims.record(at.since(asked));
                if first {
                    self.counts.settled += 1;
                    self.settled_at = self.settled_at.max(Some(at));
                }
            }
            What::Extend { .. } => self.extensions.record(at.since(asked)),
            What::Wait => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portcullis_core::GlobalTime;

    use super::*;

    fn granted(fence: u64) -> Answer {
        let done = Done::Granted { fence, expiry: GlobalTime(0) };
        Answer::Done { index: 1, done }
    }

    fn claimed(unit: u32, from: u64, answer: Answer) -> Event {
        let (asked, at) = (Time(from), Time(from + 10));
        let what = What::Claim { until: asked + Duration::from_micros(100), first: true };
        Event::Answered { seat: Seat { lease: 0, unit }, what, asked, at, answer }
    }

    fn entered(events: impl IntoIterator<Item = Event>) -> Ledger {
        let mut ledger = Ledger::new(1);
        events.into_iter().for_each(|event| ledger.enter(event));
        ledger
    }

    #[test]
    fn what_is_granted_twice_at_a_time_is_seen() {
        let twice = [claimed(0, 0, granted(1)), claimed(1, 50, granted(2))];
        assert_eq!(entered(twice).windows.violations(), 1);
        let after = [claimed(0, 0, granted(1)), claimed(1, 100, granted(2))];
        assert_eq!(entered(after).windows.violations(), 0);
    }

    #[test]
    fn the_window_starts_with_asking_and_not_with_the_answer() {
        // Asked at 0 for 100: nobody may believe in it at 105, though it was told at 10.
        let next = [claimed(0, 0, granted(1)), claimed(1, 95, granted(2))];
        assert_eq!(entered(next).windows.violations(), 0);
    }

    #[test]
    fn only_definite_answers_settle() {
        let retry_after = Duration::from_secs(1);
        let ledger = entered([
            claimed(0, 0, Answer::Overloaded { retry_after }),
            claimed(1, 0, Answer::Unknown),
            claimed(2, 5, granted(1)),
        ]);
        let Counts { settled, claimed, overloaded, unknown, .. } = ledger.counts;
        assert_eq!((settled, claimed, overloaded, unknown), (1, 1, 1, 1));
        assert_eq!(ledger.settled_at, Some(Time(15)));
        assert_eq!(ledger.claims.figures().count, 1);
    }

    #[test]
    fn a_lease_that_another_got_too_early_is_seen() {
        let held = || {
            let refusal = Refusal::Held { holder: "b/1".into(), expiry: GlobalTime(0) };
            Answer::Refused { index: 2, refusal }
        };
        let extended = |asked: u64| Event::Answered {
            seat: Seat { lease: 0, unit: 0 },
            what: What::Extend { until: Time(asked + 100) },
            asked: Time(asked),
            at: Time(asked + 10),
            answer: held(),
        };
        assert_eq!(entered([claimed(0, 0, granted(1)), extended(89)]).counts.taken, 1);
        assert_eq!(entered([claimed(0, 0, granted(1)), extended(90)]).counts.taken, 0);
    }

    #[test]
    fn nothing_counts_after_the_end() {
        let late = [Event::Ended { at: Time(5) }, claimed(0, 0, granted(1))];
        assert_eq!(entered(late).counts, Counts::default());
    }
}
