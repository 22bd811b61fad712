//! What one entry of the log did, for comparing answers and replicas with it.

use portcullis_core::lease::{Applied, Done, Entry, Operation, Outcome, Refusal};

use crate::history::Hash;
use crate::lookup;

/// See the module.
pub struct Effects {
    /// A mark of all that it did.
    pub mark: Hash,
    entry: Entry,
    outcomes: Vec<Outcome>,
    /// The hashes of its leases and their commands' places, in order.
    places: Vec<(u64, usize)>,
}

impl Effects {
    /// What came of this entry, which `mark` tells apart from others.
    pub fn new(mark: Hash, entry: &Entry, outcomes: &[Outcome]) -> Effects {
        let keys = entry.commands.iter().map(|command| lookup::hash(command.operation.key()));
        let mut places: Vec<_> = keys.zip(0..).collect();
        places.sort_unstable();
        Effects { mark, entry: entry.clone(), outcomes: outcomes.to_vec(), places }
    }

    /// Whether it did this, with this outcome.
    pub fn hold(&self, operation: &Operation, outcome: &Outcome) -> bool {
        let key = lookup::hash(operation.key());
        let first = self.places.partition_point(|(other, _)| *other < key);
        let places = self.places[first..].iter().take_while(|(other, _)| *other == key);
        let mut places = places.map(|(_, place)| *place);
        let (commands, outcomes) = (&self.entry.commands, &self.outcomes);
        places.any(|place| {
            commands[place].operation == *operation && outcomes.get(place) == Some(outcome)
        })
    }
}

/// Tells apart what two replicas did.
pub fn mark(entry: &Entry, applied: &Applied) -> Hash {
    let mut hash = Hash::default();
    hash.word(entry.now.0);
    for outcome in &applied.outcomes {
        match outcome {
            Ok(Done::Granted { fence, expiry }) => {
                hash.word(*fence);
                hash.word(expiry.0);
            }
            Ok(Done::Revoked) => hash.word(1),
            Ok(Done::Pinned) => hash.word(2),
            Ok(Done::Unpinned) => hash.word(3),
            Err(Refusal::Held { holder, expiry }) => {
                hash.bytes(holder.as_bytes());
                hash.word(expiry.0);
            }
            Err(Refusal::NotHeld) => hash.word(4),
            Err(Refusal::Void) => hash.word(5),
            Err(Refusal::Full) => hash.word(6),
        }
    }
    applied.released.iter().for_each(|key| hash.bytes(key.lease().as_bytes()));
    hash
}
