//! What waits to be proposed, in two lanes: renewals go before everything else, within reason.
//!
//! A renewal that comes too late costs a leader, a claim that comes late costs nothing but time, so
//! renewals go first. Not for ever: after [`Lanes::ahead_max`] renewals in a row the oldest of the
//! others goes, whatever else waits, so the others keep their share of the log under any flood of
//! renewals. A share, and not "whoever is old enough goes first": under a lasting overload all
//! claims are old, and that rule would put every renewal behind them just when it matters.

use alloc::collections::BTreeMap;

use crate::ids::AskId;
use crate::lease::{Lease, Operation};

/// What an operation takes beside its names: the command around it, and its place in the queue.
pub const OPERATION_BYTES: usize = 64;

/// Bytes that an operation counts for: [`OPERATION_BYTES`], and its names as they are written (the
/// namespace, the model, the lease, and the holder or the entity).
pub fn size(operation: &Operation) -> usize {
    let key = operation.key();
    let who = match operation {
        Operation::Claim { holder, .. }
        | Operation::Extend { holder, .. }
        | Operation::Revoke { holder, .. } => holder,
        Operation::Pin { entity, .. } | Operation::Unpin { entity, .. } => entity,
    };
    OPERATION_BYTES + key.namespace().len() + key.model().len() + key.lease().len() + who.len()
}

/// Whether an operation renews what its asker holds already, by the lease as some copy of the table
/// has it: an extension or a claim by the present holder, which is how Juju's agents renew. A copy
/// may lag, so this is good for an order of things and for nothing else.
pub fn renews(operation: &Operation, held: Option<&Lease>) -> bool {
    match operation {
        Operation::Claim { holder, .. } | Operation::Extend { holder, .. } => {
            held.is_some_and(|lease| lease.holder == *holder)
        }
        Operation::Revoke { .. } | Operation::Pin { .. } | Operation::Unpin { .. } => false,
    }
}

/// An ask that waits.
#[derive(Clone, Debug)]
pub struct Waiting {
    pub ask: AskId,
    pub operation: Operation,
}

/// Where an ask waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    renews: bool,
    number: u64,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Lanes {
    /// Most renewals that go ahead of another operation that waits, one after the other.
    ahead_max: u32,
    renewals: BTreeMap<u64, Waiting>,
    others: BTreeMap<u64, Waiting>,
    turns: u64,
    bytes: usize,
    /// Renewals that have gone ahead since one of the others went.
    ahead: u32,
}

impl Lanes {
    /// Nothing waits.
    pub fn new(ahead_max: u32) -> Lanes {
        Lanes {
            ahead_max,
            renewals: BTreeMap::new(),
            others: BTreeMap::new(),
            turns: 0,
            bytes: 0,
            ahead: 0,
        }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.renewals.len() + self.others.len()
    }

    /// How large everything that waits is, by [`size`].
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many would go before one that comes now, as things stand.
    pub fn before(&self, renews: bool) -> usize {
        match (renews, self.ahead_max as usize) {
            (false, _) | (true, 0) => self.len(),
            (true, most) => self.renewals.len() + self.others.len().min(self.renewals.len() / most),
        }
    }

    /// Puts one at the end of its lane.
    pub fn push(&mut self, waiting: Waiting, renews: bool) -> Turn {
        self.turns += 1;
        self.bytes += size(&waiting.operation);
        let turn = Turn { renews, number: self.turns };
        self.lane(turn).insert(turn.number, waiting);
        turn
    }

    /// Takes one out of turn.
    pub fn remove(&mut self, turn: Turn) {
        if let Some(waiting) = self.lane(turn).remove(&turn.number) {
            self.bytes -= size(&waiting.operation);
        }
    }

    /// Takes the next one, if it is no larger than `room`.
    pub fn pop(&mut self, room: usize) -> Option<Waiting> {
        let turn_of_others = self.renewals.is_empty() || self.ahead >= self.ahead_max;
        let renewal = !turn_of_others || self.others.is_empty();
        let lane = if renewal { &mut self.renewals } else { &mut self.others };
        let first = lane.first_entry()?;
        let bytes = size(&first.get().operation);
        if bytes > room {
            return None;
        }
        let waiting = first.remove();
        self.bytes -= bytes;
        let overtook = renewal && !self.others.is_empty();
        self.ahead = if overtook { self.ahead + 1 } else { 0 };
        Some(waiting)
    }

    /// The newest of the others, if they are more than their share of what waits: the one that
    /// makes way for a renewal when there is no more room. The last one never does.
    pub fn makes_way(&self) -> Option<AskId> {
        let share = self.len() / (self.ahead_max as usize).saturating_add(1);
        let (_, newest) = self.others.last_key_value()?;
        (self.others.len() > share.max(1)).then_some(newest.ask)
    }

    /// Whoever goes first, if anybody waits.
    pub fn first(&self) -> Option<AskId> {
        let first = self.renewals.values().next().or_else(|| self.others.values().next());
        first.map(|waiting| waiting.ask)
    }

    fn lane(&mut self, turn: Turn) -> &mut BTreeMap<u64, Waiting> {
        match turn.renews {
            true => &mut self.renewals,
            false => &mut self.others,
        }
    }
}
