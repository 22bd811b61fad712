//! The bytes of what has versions: entries of the log, and snapshots.
//!
//! Each is written in the least version that says it, so that a cluster which uses nothing of a newer
//! one can go back to the older program; and an older program that finds a newer version says so,
//! instead of taking it for damage. Versions count from 1 as in
//! [`Entry::version`](log::Entry::version); the byte before each value counts from
//! [`FIRST`].

use openraft::EntryPayload;
use portcullis_core::log;
use portcullis_core::members::{First, READS};

use super::{LogEntry, codec};

/// The byte before a value of version 1. Those below it were before members were in the log.
const FIRST: u8 = 2;

fn byte(version: u16) -> u8 {
    let above = u8::try_from(version - 1).expect("versions are few");
    FIRST + above
}

/// The version that a byte says.
pub(super) fn version_of(byte: u8) -> u16 {
    u16::from(byte.saturating_sub(FIRST)) + 1
}

/// The version that a byte says, if this program reads that.
pub(super) fn version(bytes: &[u8]) -> Result<u16, codec::Error> {
    let found = *bytes.first().ok_or(codec::Error::Malformed)?;
    let version = version_of(found);
    if found >= FIRST && READS.contain(version) {
        return Ok(version);
    }
    Err(codec::Error::Version { found, wanted: byte(READS.most) })
}

/// The bytes of an entry.
pub(super) fn encode_entry(entry: &LogEntry) -> Vec<u8> {
    let version = match &entry.payload {
        EntryPayload::Normal(entry) => entry.version(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 1,
    };
    codec::encode(byte(version), entry)
}

/// The entry of these bytes.
pub(super) fn decode_entry(bytes: &[u8]) -> Result<LogEntry, codec::Error> {
    codec::decode(byte(version(bytes)?), bytes)
}

/// The bytes of a snapshot.
pub(super) fn encode_snapshot(snapshot: log::Snapshot) -> Vec<u8> {
    match snapshot.version() {
        1 => codec::encode(byte(1), &snapshot.first()),
        version => codec::encode(byte(version), &snapshot),
    }
}

/// The snapshot of these bytes.
pub(super) fn decode_snapshot(bytes: &[u8]) -> Result<log::Snapshot, codec::Error> {
    match version(bytes)? {
        1 => codec::decode::<log::Snapshot<First>>(byte(1), bytes).map(Into::into),
        version => codec::decode(byte(version), bytes),
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::members::{Command, Member, Preference, Wanted};
    use portcullis_core::{Address, GlobalTime, NodeId, log::State};

    use super::super::{LeaderId, LogId};
    use super::*;

    fn founded() -> State {
        let address = Address::new("a:1");
        let member = Member { address, api: Vec::new(), domain: "".into(), reads: READS };
        let members = [1, 2].map(|node| (NodeId(node), member.clone())).into();
        let wanted = Wanted { voters: 1, stand_bys: 1 };
        let mut state = State::default();
        let found = Command::Found { members, wanted };
        assert!(state.members.apply(GlobalTime(0), &found).is_ok());
        state
    }

    #[test]
    fn what_is_of_the_first_version_is_written_so() {
        let mut state = founded();
        let bytes = encode_snapshot(state.snapshot());
        assert_eq!(bytes[0], 2);
        assert_eq!(decode_snapshot(&bytes), Ok(state.snapshot()));
        let wish = Command::Prefer { node: NodeId(2), preference: Some(Preference::Vote) };
        assert!(state.members.apply(GlobalTime(0), &wish).is_ok());
        let bytes = encode_snapshot(state.snapshot());
        assert_eq!(bytes[0], 3);
        assert_eq!(decode_snapshot(&bytes), Ok(state.snapshot()));

        let remove = Command::Remove { node: NodeId(2) };
        for (command, first) in [(remove, 2), (wish, 3)] {
            let payload = EntryPayload::Normal(command.into());
            let leader_id = LeaderId { term: 4, node_id: 1 };
            let entry = LogEntry { log_id: LogId { leader_id, index: 9 }, payload };
            let bytes = encode_entry(&entry);
            assert_eq!(bytes[0], first);
            assert_eq!(decode_entry(&bytes).map(|entry| entry.payload), Ok(entry.payload));
        }
    }

    #[test]
    fn what_is_newer_is_not_taken_for_damage() {
        let newer = codec::Error::Version { found: 4, wanted: 3 };
        assert_eq!(decode_entry(&[4, 1, 2]).err(), Some(newer));
        assert_eq!(decode_snapshot(&[4]).err(), Some(newer));
        assert_eq!(decode_entry(&[]).err(), Some(codec::Error::Malformed));
        let older = codec::Error::Version { found: 1, wanted: 3 };
        assert_eq!(decode_entry(&[1, 1, 2]).err(), Some(older));
    }
}
