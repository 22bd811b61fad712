//! The raft store against openraft's own suite, and against files that are not it.

#[path = "common/disk.rs"]
mod disk;

use std::sync::{Arc, Mutex};

use disk::Disk;
use openraft::StorageError;
use openraft::impls::TokioRuntime;
use openraft::storage::{RaftLogReader, RaftLogStorage, RaftLogStorageExt};
use openraft::testing::log::{StoreBuilder, Suite};
use portcullis::raft::store::CLUSTER_MAX;
use portcullis::raft::{Error, Identity, LeaderId, LogEntry, LogId, Store, Table, Types, Writer};
use portcullis_core::lease::{Command, Entry, Key, Operation};
use portcullis_core::{GlobalTime, NodeId};
use redb::StorageBackend;
use redb::backends::InMemoryBackend;

type Runtime = TokioRuntime;

fn copy(disk: &Disk) -> Vec<u8> {
    disk.0.lock().unwrap().clone()
}

fn flip(disk: &Disk, at: usize) {
    disk.0.lock().unwrap()[at] ^= 0x55;
}

fn identity() -> Identity {
    Identity { cluster: "test".into(), node: NodeId(1) }
}

fn open(disk: impl StorageBackend) -> Result<Store<Runtime>, Error> {
    Store::open(disk, &identity(), Writer::Inline)
}

fn claim(lease: &str) -> Entry {
    let key = Key::new("n", "m", lease);
    let duration = std::time::Duration::from_secs(30);
    let operation = Operation::Claim { key, holder: "h".into(), duration };
    Entry {
        now: GlobalTime(7),
        commands: [Command { operation, void_after: GlobalTime(9) }].into(),
    }
}

fn at(index: u64) -> LogId {
    LogId::new(LeaderId { term: 1, node_id: 1 }, index)
}

fn entries(range: std::ops::Range<u64>) -> Vec<LogEntry> {
    let entry = |index| LogEntry {
        log_id: at(index),
        payload: openraft::EntryPayload::Normal(claim(&format!("lease-{index}")).into()),
    };
    range.map(entry).collect()
}

struct Builder(Writer);

impl StoreBuilder<Types<Runtime>, Store<Runtime>, Table<Runtime>> for Builder {
    async fn build(
        &self,
    ) -> Result<((), Store<Runtime>, Table<Runtime>), StorageError<Types<Runtime>>> {
        let store = Store::open(InMemoryBackend::new(), &identity(), self.0).unwrap();
        let table = Table::new(store.clone(), |_| {});
        Ok(((), store, table))
    }
}

#[tokio::test]
async fn openraft_is_content_with_the_inline_writer() {
    Suite::test_all(Builder(Writer::Inline)).await.unwrap();
}

#[tokio::test]
async fn openraft_is_content_with_the_thread() {
    Suite::test_all(Builder(Writer::Thread)).await.unwrap();
}

#[tokio::test]
async fn everything_is_there_after_reopening() {
    for writer in [Writer::Inline, Writer::Thread] {
        let disk = Disk::default();
        let vote = openraft::Vote::new_committed(1, 1);
        {
            let mut store = Store::<Runtime>::open(disk.clone(), &identity(), writer).unwrap();
            store.save_vote(&vote).await.unwrap();
            store.blocking_append(entries(0..10)).await.unwrap();
            store.truncate_after(Some(at(7))).await.unwrap();
            store.purge(at(2)).await.unwrap();
            store.blocking_append(entries(8..12)).await.unwrap();
        }
        let mut store = Store::<Runtime>::open(disk, &identity(), writer).unwrap();
        assert_eq!(store.read_vote().await.unwrap(), Some(vote));
        let state = store.get_log_state().await.unwrap();
        assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(at(2)), Some(at(11))));
        assert_eq!(store.try_get_log_entries(..).await.unwrap(), entries(3..12));
        assert_eq!(store.try_get_log_entries(5..=6).await.unwrap(), entries(5..7));
    }
}

#[tokio::test]
async fn entries_beyond_the_tail_are_read_from_disk() {
    let mut store = open(InMemoryBackend::new()).unwrap();
    let large = "x".repeat(portcullis::raft::store::READ_MAX / 4);
    let entry = |index| LogEntry {
        log_id: at(index),
        payload: openraft::EntryPayload::Normal(claim(&large).into()),
    };
    store.blocking_append((0..100).map(entry)).await.unwrap();
    assert_eq!(store.try_get_log_entries(0..100).await.unwrap().len(), 100);
    let limited = store.limited_get_log_entries(0, 100).await.unwrap();
    assert_eq!(limited.iter().map(|entry| entry.log_id.index).collect::<Vec<_>>(), [0, 1, 2]);
    let limited = store.limited_get_log_entries(97, 100).await.unwrap();
    assert_eq!(limited.len(), 3);
}

#[test]
fn encoded_entries_keep_their_bytes() {
    let bytes = portcullis::raft::codec::encode(1, &entries(3..4)[0]);
    let golden = [
        1, 1, 1, 3, 1, 0, 7, 1, 0, 1, b'n', 1, b'm', 7, b'l', b'e', b'a', b's', b'e', b'-', b'3',
        1, b'h', 30, 0, 9,
    ];
    assert_eq!(bytes, golden);
    assert_eq!(portcullis::raft::codec::decode(1, &golden), Ok(entries(3..4).remove(0)));
}

/// Opening must fail with the error, and change nothing.
fn refused(disk: &Disk, identity: &Identity) -> Error {
    let before = copy(disk);
    let opened = Store::<Runtime>::open(disk.clone(), identity, Writer::Inline);
    let error = opened.err().expect("the store was opened");
    assert!(before == copy(disk), "the file was touched");
    error
}

#[tokio::test]
async fn other_peoples_files_are_refused_and_left_alone() {
    let disk = Disk::default();
    drop(open(disk.clone()).unwrap());
    let other = Identity { node: NodeId(2), ..identity() };
    assert!(matches!(
        refused(&disk, &other),
        Error::OtherNode { found: NodeId(1), wanted: NodeId(2) }
    ));
    let other = Identity { cluster: "c".repeat(CLUSTER_MAX), ..identity() };
    assert!(matches!(refused(&disk, &other), Error::OtherCluster { .. }));

    let text = Disk(Arc::new(Mutex::new(b"Dear diary, today I wrote a raft store.".to_vec())));
    assert!(matches!(refused(&text, &identity()), Error::Foreign));

    let redb = Disk::default();
    drop(redb::Database::builder().create_with_backend(redb.clone()).unwrap());
    assert!(matches!(refused(&redb, &identity()), Error::Foreign));

    let later = Disk(Arc::new(Mutex::new(copy(&disk))));
    flip(&later, 16);
    assert!(matches!(refused(&later, &identity()), Error::Format { wanted: 3, .. }));
}

#[tokio::test]
async fn damage_is_refused_or_harmless() {
    let disk = Disk::default();
    {
        let mut store = open(disk.clone()).unwrap();
        store.blocking_append(entries(0..200)).await.unwrap();
    }
    let len = copy(&disk).len();
    let mut found = 0;
    for at in (0..len).step_by(509) {
        let damaged = Disk(Arc::new(Mutex::new(copy(&disk))));
        flip(&damaged, at);
        let before = copy(&damaged);
        match open(damaged.clone()) {
            // What was damaged is in no use.
            Ok(mut store) => {
                assert_eq!(store.try_get_log_entries(..).await.unwrap(), entries(0..200));
            }
            Err(error) => {
                found += 1;
                assert!(matches!(error, Error::Corrupt(_) | Error::Foreign), "{error}");
                assert!(before == copy(&damaged), "the file was touched");
            }
        }
    }
    assert!(found > 0, "no damage was noticed");
}

#[tokio::test]
async fn torn_beginnings_are_made_anew() {
    let whole = Disk::default();
    drop(open(whole.clone()).unwrap());
    for len in [1, 100, 512, 4_096] {
        let torn = Disk(Arc::new(Mutex::new(copy(&whole)[..len].to_vec())));
        torn.0.lock().unwrap().iter_mut().skip(30).for_each(|byte| *byte = 0);
        open(torn).unwrap();
    }
}
