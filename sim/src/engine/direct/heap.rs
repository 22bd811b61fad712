//! The event heap: what happens next, in exact order.
//!
//! Four children to a node and keys of sixteen bytes, so that a level of the heap is one line of
//! cache; what happens lies beside it and never moves. Equal times keep the order in which they were
//! pushed, so a run depends on nothing but its plan.

use portcullis_core::Time;

/// Bits of a key for the place of the event, and for its turn among equal times.
const PLACE_BITS: u32 = 32;
const TURN_BITS: u32 = 40;

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub enum Due<E> {
    /// The timer of this agent: there are too many of them to lie beside the heap.
    Timer(u32),
    Event(E),
}

/// See the module.
#[derive(Debug)]
pub struct Heap<E> {
    /// Time, turn, place: from the highest bit to the lowest.
    keys: Vec<u128>,
    events: Vec<Option<E>>,
    free: Vec<u32>,
    turns: u64,
}

/// Places from here on are timers.
const TIMERS: u32 = 1 << 31;

impl<E> Heap<E> {
    /// A heap in which nothing is due.
    pub fn new() -> Heap<E> {
        Heap { keys: Vec::new(), events: Vec::new(), free: Vec::new(), turns: 0 }
    }

    /// When something is due next.
    pub fn next(&self) -> Option<Time> {
        self.keys.first().map(|key| Time((key >> (PLACE_BITS + TURN_BITS)) as u64))
    }

    /// Makes the event due at a time.
    pub fn push(&mut self, at: Time, event: E) {
        let place = match self.free.pop() {
            Some(place) => {
                self.events[place as usize] = Some(event);
                place
            }
            None => {
                self.events.push(Some(event));
                self.events.len() as u32 - 1
            }
        };
        assert!(place < TIMERS, "two thousand million events are due at once");
        self.insert(at, place);
    }

    /// Makes the timer of an agent due at a time.
    pub fn push_timer(&mut self, at: Time, agent: u32) {
        assert!(agent < TIMERS, "agents are numbered below two thousand million");
        self.insert(at, agent | TIMERS);
    }

    /// Takes what is due next.
    pub fn pop(&mut self) -> Option<(Time, Due<E>)> {
        let key = *self.keys.first()?;
        let last = self.keys.pop()?;
        if !self.keys.is_empty() {
            self.sink(last);
        }
        let at = Time((key >> (PLACE_BITS + TURN_BITS)) as u64);
        let place = key as u32;
        if place >= TIMERS {
            return Some((at, Due::Timer(place - TIMERS)));
        }
        self.free.push(place);
        let event = self.events[place as usize].take().expect("a key points at its event");
        Some((at, Due::Event(event)))
    }

    fn insert(&mut self, at: Time, place: u32) {
        self.turns += 1;
        let key = u128::from(at.0) << (PLACE_BITS + TURN_BITS)
            | u128::from(self.turns) << PLACE_BITS
            | u128::from(place);
        let mut hole = self.keys.len();
        self.keys.push(key);
        while hole > 0 {
            let parent = (hole - 1) / 4;
            if self.keys[parent] <= key {
                break;
            }
            self.keys[hole] = self.keys[parent];
            hole = parent;
        }
        self.keys[hole] = key;
    }

    /// Puts a key where the first one was, and then as deep as it belongs.
    fn sink(&mut self, key: u128) {
        let mut hole = 0;
        loop {
            let first = hole * 4 + 1;
            if first >= self.keys.len() {
                break;
            }
            let mut least = first;
            for child in first + 1..self.keys.len().min(first + 4) {
                if self.keys[child] < self.keys[least] {
                    least = child;
                }
            }
            if self.keys[least] >= key {
                break;
            }
            self.keys[hole] = self.keys[least];
            hole = least;
        }
        self.keys[hole] = key;
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::Seed;

    use super::*;

    #[test]
    fn events_come_in_order_of_time_and_then_of_pushing() {
        let mut heap = Heap::new();
        let mut rng = Seed(1).rng();
        let mut expected = Vec::new();
        for turn in 0..10_000_u64 {
            let at = Time(rng.below(500));
            heap.push(at, turn);
            expected.push((at, turn));
        }
        expected.sort();
        for (at, turn) in expected {
            assert_eq!(heap.next(), Some(at));
            assert_eq!(heap.pop(), Some((at, Due::Event(turn))));
        }
        assert_eq!(heap.pop(), None);
    }

    #[test]
    fn timers_and_events_share_the_order() {
        let mut heap = Heap::new();
        heap.push_timer(Time(5), 7);
        heap.push(Time(5), "later");
        heap.push(Time(4), "earlier");
        assert_eq!(heap.pop(), Some((Time(4), Due::Event("earlier"))));
        assert_eq!(heap.pop(), Some((Time(5), Due::Timer(7))));
        assert_eq!(heap.pop(), Some((Time(5), Due::Event("later"))));
    }
}
