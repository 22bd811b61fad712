//! A disk in memory: what was synced survives a crash, what was not is lost.
//!
//! The log is readable as soon as it is written, as from the kernel's cache; that it is durable is
//! said only when the world has let the sync take its time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard};

use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::{EntryPayload, OptionalSend};
use portcullis::raft::{LeaderId, LogEntry, LogId, Peer, Vote};
use portcullis_core::NodeId;
use tokio::sync::oneshot;

use super::{Inbox, Life, Report, Taken, Types, Write};

/// Most entries that one read for a peer returns.
const READ_MAX: u64 = 256;

/// What one life of a process has on its disk; clones share it.
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<Contents>>);

#[derive(Clone, Default)]
struct Contents {
    vote: Option<Vote>,
    purged: Option<LogId>,
    entries: BTreeMap<u64, LogEntry>,
    /// Entries below this index survive a crash.
    synced: u64,
    snapshot: Option<Taken>,
    /// Why nothing is durable any more: something could not be written. Production's store latches
    /// as well, for a sync says nothing of what one before it lost.
    failed: Option<String>,
}

/// The disk as openraft's log.
#[derive(Clone)]
pub struct Log {
    disk: Disk,
    life: Life,
    inbox: Inbox,
}

impl Disk {
    /// Whether nothing was ever written to it.
    pub fn is_new(&self) -> bool {
        let contents = self.contents();
        contents.vote.is_none() && contents.entries.is_empty() && contents.snapshot.is_none()
    }

    /// What is there after a crash, for the next life.
    pub fn survive(&self) -> Disk {
        let mut contents = self.contents().clone();
        let synced = contents.synced;
        contents.failed = None;
        drop(contents.entries.split_off(&synced));
        Disk(Arc::new(Mutex::new(contents)))
    }

    /// Takes note that something is durable, and says so.
    pub fn synced(&self, write: Write) {
        let failed = self.contents().failed.clone();
        if let Some(why) = failed {
            return self.failed(write, io::Error::other(why));
        }
        match write {
            Write::Vote { vote, done } => {
                self.contents().vote = Some(vote);
                // Whoever does not wait for it has ended.
                let _ = done.send(Ok(()));
            }
            Write::Append { last, done } => {
                {
                    let mut contents = self.contents();
                    let there = contents.entries.get(&last.index);
                    if there.is_some_and(|entry| entry.log_id == last) {
                        contents.synced = contents.synced.max(last.index + 1);
                    }
                }
                done.io_completed(Ok(()));
            }
            Write::Truncate { done } => {
                let _ = done.send(Ok(()));
            }
            Write::Snapshot { taken, done } => {
                self.contents().snapshot = Some(*taken);
                let _ = done.send(Ok(()));
            }
        }
    }

    /// Takes note that something could not be written, and says so: of this, and of all after it.
    pub fn failed(&self, write: Write, error: io::Error) {
        self.contents().failed.get_or_insert_with(|| error.to_string());
        match write {
            Write::Append { done, .. } => done.io_completed(Err(error)),
            Write::Vote { done, .. } | Write::Truncate { done } | Write::Snapshot { done, .. } => {
                // Whoever does not wait for it has ended.
                let _ = done.send(Err(error));
            }
        }
    }

    /// The snapshot that was saved last.
    pub fn snapshot(&self) -> Option<Taken> {
        self.contents().snapshot.clone()
    }

    /// Appends that this node is the whole cluster, as if all had agreed.
    pub fn reduce(&self, node: NodeId) {
        let mut contents = self.contents();
        let last = contents.entries.last_key_value().map(|(_, entry)| entry.log_id);
        let last = last.or(contents.purged);
        let voted = contents.vote.map_or(0, |vote| vote.leader_id().term);
        let term = last.map_or(0, |last| last.leader_id.term).max(voted) + 1;
        let (index, id) = (last.map_or(0, |last| last.index + 1), node.0);
        let nodes = BTreeMap::from([(id, Peer::default())]);
        let members = openraft::Membership::new(vec![BTreeSet::from([id])], nodes);
        let members = members.expect("the one voter is a node");
        let log_id = LogId::new(LeaderId { term, node_id: id }, index);
        let payload = EntryPayload::Membership(members);
        contents.entries.insert(index, LogEntry { log_id, payload });
        contents.synced = index + 1;
        contents.vote = Some(Vote::new(term, id));
    }

    /// openraft's view of it.
    pub fn log(&self, life: Life, inbox: Inbox) -> Log {
        Log { disk: self.clone(), life, inbox }
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        // Nothing panics while it is locked.
        self.0.lock().expect("the lock is never poisoned")
    }
}

/// Writes, and waits until that is durable. The wait of a life that has ended is over at once: nobody
/// hears what comes of it.
pub(super) async fn sync(
    inbox: &Inbox,
    life: Life,
    write: impl FnOnce(oneshot::Sender<io::Result<()>>) -> Write,
) -> io::Result<()> {
    let (done, synced) = oneshot::channel();
    inbox.push(Report::Write { life, write: write(done) });
    synced.await.unwrap_or(Ok(()))
}

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<LogEntry>> {
        let bounds: (Bound<u64>, Bound<u64>) =
            (range.start_bound().cloned(), range.end_bound().cloned());
        Ok(self.disk.contents().entries.range(bounds).map(|(_, entry)| entry.clone()).collect())
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<LogEntry>> {
        self.try_get_log_entries(start..end.min(start + READ_MAX)).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.disk.contents().vote)
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Log;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let contents = self.disk.contents();
        let last = contents.entries.last_key_value().map(|(_, entry)| entry.log_id);
        Ok(LogState { last_purged_log_id: contents.purged, last_log_id: last.or(contents.purged) })
    }

    async fn get_log_reader(&mut self) -> Log {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let vote = *vote;
        sync(&self.inbox, self.life, |done| Write::Vote { vote, done }).await
    }

    async fn append<I>(&mut self, entries: I, done: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = LogEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut last = None;
        {
            let mut contents = self.disk.contents();
            for entry in entries {
                last = Some(entry.log_id);
                contents.entries.insert(entry.log_id.index, entry);
            }
        }
        match last {
            Some(last) => {
                let write = Write::Append { last, done };
                self.inbox.push(Report::Write { life: self.life, write });
            }
            None => done.io_completed(Ok(())),
        }
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let from = last.map_or(0, |last| last.index + 1);
        {
            let mut contents = self.disk.contents();
            drop(contents.entries.split_off(&from));
            contents.synced = contents.synced.min(from);
        }
        sync(&self.inbox, self.life, |done| Write::Truncate { done }).await
    }

    /// Not synced: entries that come back after a crash are covered by the snapshot.
    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let mut contents = self.disk.contents();
        let kept = contents.entries.split_off(&(upto.index + 1));
        contents.entries = kept;
        contents.purged = contents.purged.max(Some(upto));
        contents.synced = contents.synced.max(upto.index + 1);
        Ok(())
    }
}
