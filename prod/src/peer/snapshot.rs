//! Snapshots on their way from one controller to another: in chunks, each of which is answered.
//!
//! ```text
//!   leader                                         who is far behind
//!     Chunk at 0, empty ─────────────────────────────▶   which snapshot it is to be
//!     ◀─────────────────────────────────── Wanted from n   n is above 0 if some of it is here already
//!     Chunk at n ────────────────────────────────────▶
//!     ◀─────────────────────────────────── Wanted from m
//!     …
//!     Snapshot ──────────────────────────────────────▶   it is whole: its sum is looked at
//!     ◀──────────────────────────────────────── Restored
//! ```
//!
//! So a connection that breaks costs one chunk, a transfer takes the time that it takes as long as
//! chunks arrive, and neither end has more of it in flight than one. What has come in is in memory
//! alone: whoever is killed meanwhile begins anew, and so does who is sent a newer one.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ring::digest;
use serde::{Deserialize, Serialize};

use crate::raft::SnapshotMeta;

/// Most bytes of a snapshot in one chunk: ten milliseconds of a gigabit network.
pub const CHUNK_MAX: usize = 1 << 20;
/// Longest wait for the answer to one chunk.
pub const CHUNK_WITHIN: Duration = Duration::from_secs(10);
/// Most bytes of a snapshot that is sent or taken in. Room for one of
/// [`LEASES_MAX`](portcullis_core::lease::LEASES_MAX) leases.
pub const SNAPSHOT_MAX: u64 = 512 << 20;
/// Most times that the other end may want something else than what comes next, before it is given up.
pub(super) const TURNS_MAX: usize = 8;

/// Which snapshot it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whole {
    /// The last entry that it covers.
    pub index: u64,
    /// How many bytes it has.
    pub bytes: u64,
    /// Their SHA-256.
    pub sum: [u8; 32],
}

impl Whole {
    /// Describes a snapshot.
    pub fn of(meta: &SnapshotMeta, data: &[u8]) -> Whole {
        let index = meta.last_log_id.map(|last| last.index).unwrap_or_default();
        Whole { index, bytes: data.len() as u64, sum: sum(data) }
    }
}

fn sum(data: &[u8]) -> [u8; 32] {
    let sum = digest::digest(&digest::SHA256, data);
    sum.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// What has come in of a snapshot; of one at a time. Kept until it is whole, or another comes.
#[derive(Debug, Default)]
pub struct Received(Mutex<Option<Coming>>);

#[derive(Debug)]
struct Coming {
    whole: Whole,
    data: BytesMut,
}

impl Received {
    /// Takes a chunk in if it is the next one, and says from where on more is wanted. None if the
    /// snapshot is too large.
    pub fn chunk(&self, whole: Whole, offset: u64, chunk: &[u8]) -> Option<u64> {
        if whole.bytes > SNAPSHOT_MAX {
            return None;
        }
        let mut coming = self.locked();
        let here = coming.take().filter(|coming| coming.whole == whole);
        let known = here.is_some();
        let mut here = here.unwrap_or_else(|| Coming { whole, data: BytesMut::new() });
        let left = whole.bytes - here.data.len() as u64;
        if offset == here.data.len() as u64 && chunk.len() as u64 <= left {
            here.data.extend_from_slice(chunk);
        }
        let wanted = here.data.len() as u64;
        if !known {
            tracing::info!(index = whole.index, bytes = whole.bytes, "a snapshot is coming in");
        } else if chunk.is_empty() {
            tracing::info!(index = whole.index, from = wanted, "the snapshot goes on coming in");
        }
        *coming = Some(here);
        Some(wanted)
    }

    /// Hands the snapshot out if it is whole and is what its sum says; nothing of it is left here.
    pub fn take(&self, whole: Whole) -> Option<Bytes> {
        let came = self.locked().take()?;
        let is_whole = came.whole == whole && sum(&came.data) == whole.sum;
        is_whole.then(|| came.data.freeze())
    }

    fn locked(&self) -> MutexGuard<'_, Option<Coming>> {
        // Nothing panics while it is locked.
        self.0.lock().expect("the lock is never poisoned")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(data: &[u8]) -> Whole {
        Whole { index: 7, bytes: data.len() as u64, sum: sum(data) }
    }

    #[test]
    fn chunks_are_put_together_and_asked_for_again() {
        let (received, data) = (Received::default(), b"a snapshot".as_slice());
        let whole = whole(data);
        assert_eq!(received.chunk(whole, 0, b""), Some(0));
        assert_eq!(received.chunk(whole, 0, b"a sna"), Some(5));
        assert_eq!(received.chunk(whole, 0, b"a sna"), Some(5), "it is here already");
        assert_eq!(received.chunk(whole, 6, b"shot"), Some(5), "one is missing");
        assert_eq!(received.chunk(whole, 0, b""), Some(5), "whoever begins anew goes on");
        assert_eq!(received.chunk(whole, 5, b"pshot and more"), Some(5), "more than there is");
        assert_eq!(received.chunk(whole, 5, b"pshot"), Some(10));
        assert_eq!(received.take(whole).as_deref(), Some(data));
        assert_eq!(received.take(whole), None, "once");
    }

    #[test]
    fn what_is_not_what_its_sum_says_is_let_go_of() {
        let received = Received::default();
        let whole = whole(b"right");
        assert_eq!(received.chunk(whole, 0, b"wrong"), Some(5));
        assert_eq!(received.take(whole), None);
        assert_eq!(received.chunk(whole, 0, b""), Some(0));
    }

    #[test]
    fn another_snapshot_takes_the_place_and_too_large_a_one_none() {
        let received = Received::default();
        let (one, other) = (whole(b"one"), whole(b"other"));
        assert_eq!(received.chunk(one, 0, b"on"), Some(2));
        assert_eq!(received.chunk(other, 0, b""), Some(0));
        assert_eq!(received.take(one), None);
        let large = Whole { bytes: SNAPSHOT_MAX + 1, ..one };
        assert_eq!(received.chunk(large, 0, b""), None);
    }
}
