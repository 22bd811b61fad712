//! The durable log of one node: entries, vote and snapshot, in one redb database.
//!
//! Nothing is acknowledged before it is durable. A file that is not this node's store, or is
//! damaged, is refused and keeps every byte (see [`Error`]). The tail of the log is also kept in
//! memory, so that replication and the table read no disk unless somebody is far behind.

use std::fmt::Debug;
use std::io;
use std::marker::PhantomData;
use std::ops::{Bound, Range, RangeBounds};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::{AsyncRuntime, OptionalSend};
use portcullis_core::NodeId;
use redb::{Database, ReadableDatabase, StorageBackend};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

pub use super::tail::TAIL_MAX;
use super::tail::Tail;
use super::versions::{self, decode_entry, encode_entry};
pub use super::volume::CLUSTER_MAX;
use super::volume::{Stage, Volume};
use super::writer::{self, Change, Job, LOG, Running, STATE, Told};
use super::{LogEntry, LogId, SnapshotMeta, Types, Vote, codec};

/// Memory that redb may use for its pages. Its own default is a gigabyte.
pub const CACHE: usize = 16 << 20;
/// Encoded bytes of entries that one read for a peer returns at most, but never less than one
/// entry. openraft gives an append the time of one heartbeat, so it should be small enough for a
/// slow link.
pub const READ_MAX: usize = 1 << 20;
/// Version of every encoded value.
const VERSION: u8 = 2;

/// Whose store it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster that it belongs to; at most [`CLUSTER_MAX`] bytes.
    pub cluster: String,
    /// The node that it belongs to.
    pub node: NodeId,
}

/// Who makes the transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// The caller, on the spot: deterministic, for simulations.
    Inline,
    /// A thread, many at a time: for disks that take their time.
    Thread,
}

/// Why a store is refused. The file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is something else.
    #[error("not a portcullis raft store")]
    Foreign,
    /// Another version of this program wrote it.
    #[error("raft store of format {found}, but this program reads format {wanted}")]
    Format { found: u32, wanted: u32 },
    /// A newer version of this program wrote something that this one does not read.
    #[error(
        "raft store has what version {found} of the log says, but this program reads up to \
         version {wanted}: run the newer one"
    )]
    Newer { found: u16, wanted: u16 },
    /// It belongs to another node of the cluster.
    #[error("raft store of {found}, but this is {wanted}")]
    OtherNode { found: NodeId, wanted: NodeId },
    /// It belongs to another cluster.
    #[error("raft store of cluster {found:?}, but this is cluster {wanted:?}")]
    OtherCluster { found: String, wanted: String },
    /// It is ours, and damaged: this node must be given an empty folder and a new id.
    #[error("raft store is damaged: {0}")]
    Corrupt(String),
    /// Another process has it open.
    #[error("raft store is in use")]
    InUse,
    /// The disk failed.
    #[error("raft store cannot be read or written")]
    Io(#[from] io::Error),
}

/// A handle on the store; clones share it.
pub struct Store<R: AsyncRuntime>(Arc<Shared<R>>);

struct Shared<R: AsyncRuntime> {
    // First, so that the thread has ended when the database is closed.
    writer: Running<R>,
    tail: Arc<Mutex<Tail>>,
    database: Arc<Database>,
    runtime: PhantomData<fn() -> R>,
}

impl<R: AsyncRuntime> Clone for Store<R> {
    fn clone(&self) -> Self {
        Store(Arc::clone(&self.0))
    }
}

impl<R: AsyncRuntime> Store<R> {
    /// Opens the store of a node, or makes one if the disk is empty.
    pub fn open(
        disk: impl StorageBackend,
        identity: &Identity,
        writer: Writer,
    ) -> Result<Store<R>, Error> {
        let (volume, stage) = Volume::identify(disk, identity)?;
        let database = match stage {
            Stage::Empty => {
                volume.found(identity)?;
                let database = create(&volume)?;
                volume.ready()?;
                database
            }
            Stage::Made | Stage::Ready => reopen(&volume, stage)?,
        };
        let database = Arc::new(database);
        let tail = Arc::new(Mutex::new(Tail::load(&database)?));
        let writer = Running::start(writer, Arc::clone(&database), Arc::clone(&tail))?;
        Ok(Store(Arc::new(Shared { writer, tail, database, runtime: PhantomData })))
    }

    /// Keeps a snapshot instead of the one before it; durable on return.
    pub(super) async fn save_snapshot(&self, meta: &SnapshotMeta, data: Bytes) -> io::Result<()> {
        self.change(Change::Snapshot { meta: encode(meta), data }).await
    }

    /// The snapshot that was saved last.
    pub(super) fn snapshot(&self) -> io::Result<Option<(SnapshotMeta, Bytes)>> {
        let read = || -> Result<_, redb::Error> {
            let state = self.0.database.begin_read()?.open_table(STATE)?;
            let meta = state.get(writer::SNAPSHOT_META)?.map(|meta| meta.value().to_vec());
            let data = state.get(writer::SNAPSHOT)?;
            Ok(meta.zip(data.map(|data| Bytes::copy_from_slice(data.value()))))
        };
        match read().map_err(io::Error::other)? {
            Some((meta, data)) => Ok(Some((decode(&meta).map_err(io::Error::other)?, data))),
            None => Ok(None),
        }
    }

    /// What the snapshot that was saved last covers.
    pub(super) fn snapshot_meta(&self) -> io::Result<Option<SnapshotMeta>> {
        let read = || -> Result<_, redb::Error> {
            let state = self.0.database.begin_read()?.open_table(STATE)?;
            Ok(state.get(writer::SNAPSHOT_META)?.map(|meta| decode(meta.value())))
        };
        read().map_err(io::Error::other)?.transpose().map_err(io::Error::other)
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        locked(&self.0.tail)
    }

    async fn change(&self, change: Change) -> io::Result<()> {
        let (told, done) = oneshot::channel();
        self.0.writer.submit(Job { change, told: Told::Caller(told) }).await?;
        done.await.map_err(|_| io::Error::other("the raft store's thread has ended"))?
    }

    /// The entries of a range up to a size, oldest first; at least one if there is one.
    fn read(&self, start: u64, end: u64, bytes_max: usize) -> io::Result<Vec<LogEntry>> {
        // Memory first: what the tail forgets in between is in the database by then, so that there
        // is no hole between the two.
        let (first, newer) = self.tail().read(start, end, bytes_max);
        let older = start..end.min(first);
        if older.is_empty() {
            return Ok(newer);
        }
        let mut entries = self.read_disk(older, bytes_max)?;
        // A read with a limit may return fewer, so it need not count across the two.
        if entries.is_empty() || bytes_max == usize::MAX {
            entries.extend(newer);
        }
        Ok(entries)
    }

    fn read_disk(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<LogEntry>> {
        let read = || -> Result<_, redb::Error> {
            let log = self.0.database.begin_read()?.open_table(LOG)?;
            let mut found = Vec::new();
            let mut bytes = 0;
            for entry in log.range(range)? {
                let (_, entry) = entry?;
                bytes += entry.value().len();
                if !found.is_empty() && bytes > bytes_max {
                    break;
                }
                found.push(decode_entry(entry.value()));
            }
            Ok(found)
        };
        let found = read().map_err(io::Error::other)?;
        found.into_iter().map(|entry| entry.map_err(io::Error::other)).collect()
    }
}

impl<R: AsyncRuntime> RaftLogReader<Types<R>> for Store<R> {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<LogEntry>> {
        let (start, end) = bounds(&range);
        self.read(start, end, usize::MAX)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<LogEntry>> {
        self.read(start, end, READ_MAX)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.tail().vote)
    }
}

impl<R: AsyncRuntime> RaftLogStorage<Types<R>> for Store<R> {
    type LogReader = Store<R>;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types<R>>> {
        let tail = self.tail();
        Ok(LogState { last_purged_log_id: tail.purged, last_log_id: tail.last })
    }

    async fn get_log_reader(&mut self) -> Store<R> {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.change(Change::Vote(encode(vote))).await?;
        self.tail().vote = Some(*vote);
        Ok(())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types<R>>) -> io::Result<()>
    where
        I: IntoIterator<Item = LogEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let change = {
            let mut tail = self.tail();
            let mut encoded = Vec::new();
            for entry in entries {
                let bytes = encode_entry(&entry);
                encoded.push((entry.log_id.index, bytes));
                tail.push(entry, encoded.last().map_or(0, |(_, bytes)| bytes.len()));
            }
            Change::Append { entries: encoded }
        };
        self.0.writer.submit(Job { change, told: Told::Raft(callback) }).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let from = last.map_or(0, |last| last.index + 1);
        {
            let mut tail = self.tail();
            let gone: Vec<u64> = tail.entries.range(from..).map(|(index, _)| *index).collect();
            gone.into_iter().for_each(|index| tail.forget(index));
            // Nothing may stand after it; that the log is shorter anyway is no reason to grow it.
            tail.last = tail.last.min(last);
        }
        self.change(Change::Truncate { from }).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        {
            let mut tail = self.tail();
            let gone: Vec<u64> = tail.entries.range(..=upto.index).map(|(at, _)| *at).collect();
            gone.into_iter().for_each(|index| tail.forget(index));
            tail.purged = Some(upto);
            tail.last = tail.last.max(Some(upto));
        }
        self.change(Change::Purge { upto: upto.index, purged: encode(&upto) }).await
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that is done under these locks panics, short of a bug that ends the node anyway.
    mutex.lock().expect("the lock is never poisoned")
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start + 1,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end + 1,
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

pub(super) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    codec::encode(VERSION, value)
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, codec::Error> {
    codec::decode(VERSION, bytes)
}

/// What it means that something in the store cannot be read.
pub(super) fn corrupt(error: codec::Error) -> Error {
    match error {
        codec::Error::Version { found, wanted } if found > wanted => Error::Newer {
            found: versions::version_of(found),
            wanted: versions::version_of(wanted),
        },
        codec::Error::Version { .. } | codec::Error::Malformed => Error::Corrupt(error.to_string()),
    }
}

fn create<B: StorageBackend>(volume: &Volume<B>) -> Result<Database, Error> {
    let database = open_redb(volume)?;
    tables(&database).map_err(refused)?;
    Ok(database)
}

/// Opens redb's part and checks all of it, before anything is written to the disk.
pub(super) fn reopen<B: StorageBackend>(
    volume: &Volume<B>,
    stage: Stage,
) -> Result<Database, Error> {
    volume.hold();
    // redb notices some damage by assertions only. What panicked is dropped, and wrote nothing.
    let checked = catch_unwind(AssertUnwindSafe(|| {
        let mut database = open_redb(volume)?;
        if !database.check_integrity().map_err(|error| refused(error.into()))? {
            // Repaired may mean rolled back, and what was rolled back may have been acknowledged.
            return Err(Error::Corrupt("the last commit does not check out".into()));
        }
        tables(&database).map_err(refused)?;
        Tail::load(&database)?;
        Ok(database)
    }));
    let database = checked.unwrap_or_else(|_| Err(Error::Corrupt("redb gave up".into())))?;
    volume.release()?;
    if stage == Stage::Made {
        volume.ready()?;
    }
    Ok(database)
}

fn open_redb<B: StorageBackend>(volume: &Volume<B>) -> Result<Database, Error> {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE);
    builder.create_with_backend(volume.clone()).map_err(|error| refused(error.into()))
}

fn tables(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(LOG)?;
    transaction.open_table(STATE)?;
    transaction.commit()?;
    Ok(())
}

pub(super) fn refused(error: redb::Error) -> Error {
    match error {
        redb::Error::DatabaseAlreadyOpen => Error::InUse,
        redb::Error::Io(error) if error.kind() != io::ErrorKind::InvalidData => Error::Io(error),
        other => Error::Corrupt(other.to_string()),
    }
}
