//! The snapshot as the store keeps it: in parts, each in a transaction of its own.
//!
//! A transaction of a whole snapshot would hold up every entry behind it for as long as the disk takes
//! for all of it, and would need that much room in one piece. Parts take turns with entries; the
//! snapshot before stays until the last part is durable, and what was left of an attempt that the
//! power cut short goes with the next.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use openraft::AsyncRuntime;
use redb::{Database, ReadableDatabase, ReadableTable};
use serde::{Deserialize, Serialize};

use super::store::{Store, decode, encode};
use super::writer::{self, Change, PARTS, STATE};
use super::{SnapshotMeta, codec};

#[cfg(test)]
#[path = "../../tests/common/disk.rs"]
mod disk;

/// Bytes of one part of a snapshot: what a disk writes in some milliseconds. With its key it fits into a
/// page of redb's of 1 MiB, whose sizes are powers of two.
pub const PART_MAX: usize = (1 << 20) - (4 << 10);

/// Where a snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// The count of the saving whose parts it is.
    saving: u64,
    /// Bytes of all parts.
    bytes: u64,
}

impl Place {
    /// Where its first part is, which begins with the snapshot's version.
    pub(super) fn first(&self) -> (u64, u64) {
        (self.saving, 0)
    }
}

/// What is to be written so that the snapshot is kept as that saving, in this order.
pub(super) fn changes(
    saving: u64,
    meta: &SnapshotMeta,
    mut data: Bytes,
) -> impl Iterator<Item = Change> {
    let (place, meta) = (encode(&Place { saving, bytes: data.len() as u64 }), encode(meta));
    let parts = (0..).map_while(move |number| {
        let data = data.split_to(data.len().min(PART_MAX));
        (!data.is_empty()).then_some(Change::Part { place: (saving, number), data })
    });
    parts.chain([Change::Snapshot { saving, meta, place }])
}

impl<R: AsyncRuntime> Store<R> {
    /// Keeps a snapshot instead of the one before it; durable on return. One that covers less than
    /// what is kept already is let go of.
    pub(super) async fn save_snapshot(&self, meta: &SnapshotMeta, data: Bytes) -> io::Result<()> {
        let _turn = self.saving().await;
        if self.snapshot_meta()?.is_some_and(|kept| kept.last_log_id > meta.last_log_id) {
            return Ok(());
        }
        let saving = savings(self.database()).map_err(io::Error::other)?;
        for change in changes(saving, meta, data) {
            self.change(change).await?;
        }
        Ok(())
    }

    /// The snapshot that was saved last.
    pub(super) fn snapshot(&self) -> io::Result<Option<(SnapshotMeta, Bytes)>> {
        let read = snapshot(self.database()).map_err(io::Error::other)?;
        read.transpose().map_err(io::Error::other)
    }

    /// What the snapshot that was saved last covers.
    pub(super) fn snapshot_meta(&self) -> io::Result<Option<SnapshotMeta>> {
        self.one(writer::SNAPSHOT_META)
    }

    /// Bytes of the snapshot that was saved last.
    pub fn snapshot_len(&self) -> io::Result<Option<u64>> {
        Ok(self.one::<Place>(writer::SNAPSHOT_PLACE)?.map(|place| place.bytes))
    }

    /// For how long nobody may lead from the start of this node on; zero unless it was restored from
    /// a backup and has not waited yet.
    pub fn quiet(&self) -> io::Result<Duration> {
        Ok(self.one(writer::QUIET)?.unwrap_or_default())
    }

    /// Notes that it was waited for.
    pub async fn end_quiet(&self) -> io::Result<()> {
        self.change(Change::Quiet(None)).await
    }

    /// A value that there is one of.
    pub(super) fn one<T: serde::de::DeserializeOwned>(&self, name: &str) -> io::Result<Option<T>> {
        let read = || -> Result<_, redb::Error> {
            let state = self.database().begin_read()?.open_table(STATE)?;
            Ok(state.get(name)?.map(|value| decode(value.value())))
        };
        read().map_err(io::Error::other)?.transpose().map_err(io::Error::other)
    }
}

/// The count of the next saving: above that of all parts there are.
pub(super) fn savings(database: &Database) -> Result<u64, redb::Error> {
    let parts = database.begin_read()?.open_table(PARTS)?;
    Ok(parts.last()?.map_or(1, |(place, _)| place.value().0 + 1))
}

type Whole = (SnapshotMeta, Bytes);

/// The snapshot of a database, if it can be decoded.
pub(super) fn snapshot(
    database: &Database,
) -> Result<Option<Result<Whole, codec::Error>>, redb::Error> {
    let transaction = database.begin_read()?;
    let state = transaction.open_table(STATE)?;
    let Some(meta) = state.get(writer::SNAPSHOT_META)? else { return Ok(None) };
    let meta = match decode(meta.value()) {
        Ok(meta) => meta,
        Err(error) => return Ok(Some(Err(error))),
    };
    let Some(place) = state.get(writer::SNAPSHOT_PLACE)? else {
        // As format 2 has it.
        let whole = state.get(writer::SNAPSHOT)?;
        return Ok(whole.map(|whole| Ok((meta, Bytes::copy_from_slice(whole.value())))));
    };
    let place: Place = match decode(place.value()) {
        Ok(place) => place,
        Err(error) => return Ok(Some(Err(error))),
    };
    let parts = transaction.open_table(PARTS)?;
    let mut data = BytesMut::new();
    for part in parts.range((place.saving, 0)..(place.saving + 1, 0))? {
        data.extend_from_slice(part?.1.value());
    }
    let whole = data.len() as u64 == place.bytes;
    let whole = whole.then(|| (meta, data.freeze()));
    Ok(Some(whole.ok_or(codec::Error::Malformed)))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use openraft::impls::TokioRuntime;
    use portcullis_core::NodeId;

    use super::disk::Disk;
    use super::*;
    use crate::raft::store::{Identity, WASTE_MAX, Writer};
    use crate::raft::volume;
    use crate::raft::{LeaderId, LogId, Membership};

    fn open(disk: &Disk) -> Store<TokioRuntime> {
        let identity = Identity { cluster: "test".into(), node: NodeId(1) };
        Store::open(disk.clone(), &identity, Writer::Inline).expect("it is ours")
    }

    fn meta(index: u64) -> SnapshotMeta {
        let last = LogId::new(LeaderId { term: 1, node_id: 1 }, index);
        SnapshotMeta { last_log_id: Some(last), last_membership: Membership::default() }
    }

    fn data(len: usize) -> Bytes {
        // The first byte is a version that is read.
        (2..len + 2).map(|at| (at % 251) as u8).collect()
    }

    fn parts(store: &Store<TokioRuntime>) -> Vec<(u64, u64)> {
        let parts = store.database().begin_read().expect("open").open_table(PARTS).expect("there");
        let parts = parts.iter().expect("there").map(|part| part.expect("whole").0.value());
        parts.collect()
    }

    #[tokio::test]
    async fn a_snapshot_is_read_as_it_was_written_and_takes_the_place_of_the_last() {
        let disk = Disk::default();
        let (large, small) = (data(2 * PART_MAX + 1), data(3));
        {
            let store = open(&disk);
            assert_eq!(store.snapshot().expect("readable"), None);
            store.save_snapshot(&meta(5), large.clone()).await.expect("there is room");
            assert_eq!(parts(&store), [(1, 0), (1, 1), (1, 2)]);
        }
        let store = open(&disk);
        assert_eq!(store.snapshot().expect("readable"), Some((meta(5), large.clone())));
        assert_eq!(store.snapshot_len().expect("readable"), Some(large.len() as u64));
        // What the power cut short is of no use, and goes with the next.
        let part = Change::Part { place: (2, 0), data: small.clone() };
        store.change(part).await.expect("there is room");
        store.save_snapshot(&meta(9), small.clone()).await.expect("there is room");
        assert_eq!(parts(&store), [(3, 0)]);
        store.save_snapshot(&meta(7), large).await.expect("it is let go of");
        assert_eq!(store.snapshot().expect("readable"), Some((meta(9), small)));
        store.save_snapshot(&meta(11), Bytes::new()).await.expect("there is room");
        assert_eq!(store.snapshot().expect("readable"), Some((meta(11), Bytes::new())));
    }

    #[tokio::test]
    async fn a_snapshot_whose_part_is_missing_is_no_snapshot() {
        let store = open(&Disk::default());
        store.save_snapshot(&meta(5), data(2 * PART_MAX)).await.expect("there is room");
        let transaction = store.database().begin_write().expect("open");
        transaction.open_table(PARTS).expect("there").remove((1, 1)).expect("there");
        transaction.commit().expect("there is room");
        store.snapshot().expect_err("half of it is missing");
    }

    #[tokio::test]
    async fn a_store_of_format_2_is_read_and_becomes_one_of_this() {
        let disk = Disk::default();
        {
            let store = open(&disk);
            let transaction = store.database().begin_write().expect("open");
            {
                let mut state = transaction.open_table(STATE).expect("there");
                state.insert(writer::SNAPSHOT_META, &*encode(&meta(5))).expect("room");
                state.insert(writer::SNAPSHOT, &*data(9)).expect("room");
            }
            transaction.delete_table(PARTS).expect("there");
            transaction.commit().expect("there is room");
        }
        let older = |disk: &Disk| disk.0.lock().expect("nobody panicked")[16..20] == [2, 0, 0, 0];
        volume::tests::age(&mut disk.0.lock().expect("nobody panicked"));
        assert!(older(&disk));
        let store = open(&disk);
        assert!(!older(&disk));
        assert_eq!(store.snapshot().expect("readable"), Some((meta(5), data(9))));
        store.save_snapshot(&meta(6), data(4)).await.expect("there is room");
        drop(store);
        let store = open(&disk);
        assert_eq!(store.snapshot().expect("readable"), Some((meta(6), data(4))));
        assert_eq!(store.one::<()>(writer::SNAPSHOT).expect("readable"), None);
    }

    #[tokio::test]
    async fn what_was_once_needed_is_given_back_at_the_next_start() {
        let disk = Disk(Arc::new(Mutex::new(Vec::new())));
        let len = |disk: &Disk| disk.0.lock().expect("nobody panicked").len() as u64;
        {
            let store = open(&disk);
            let waste = usize::try_from(WASTE_MAX).expect("small");
            // The second lies behind the first, which is in no use from then on.
            store.save_snapshot(&meta(5), data(3 * waste)).await.expect("there is room");
            store.save_snapshot(&meta(6), data(waste)).await.expect("there is room");
        }
        let before = len(&disk);
        let store = open(&disk);
        let after = len(&disk);
        assert!(before > 4 * WASTE_MAX && after < 2 * WASTE_MAX, "{before} became {after}");
        let (meta_kept, kept) = store.snapshot().expect("readable").expect("there is one");
        assert_eq!((meta_kept, kept.len() as u64), (meta(6), WASTE_MAX));
    }
}
