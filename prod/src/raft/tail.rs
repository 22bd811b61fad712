//! The end of the log as it is kept in memory, so that replication and the table seldom read disk.

use std::collections::BTreeMap;

use redb::{Database, ReadableDatabase, ReadableTable};

use super::store::{Error, corrupt, decode, refused};
use super::versions::{decode_entry, version};
use super::writer::{self, Change, LOG, STATE};
use super::{LogEntry, LogId, SnapshotMeta, Vote};

/// Encoded bytes of the log's tail that are kept in memory.
pub const TAIL_MAX: usize = 16 << 20;

/// What is known of the log without the disk.
#[derive(Default)]
pub(super) struct Tail {
    pub(super) vote: Option<Vote>,
    pub(super) purged: Option<LogId>,
    pub(super) last: Option<LogId>,
    /// The newest entries with their encoded lengths, without a hole.
    pub(super) entries: BTreeMap<u64, (LogEntry, usize)>,
    bytes: usize,
    /// Entries below this index are in the database.
    written: u64,
}

impl Tail {
    /// Reads the whole log, so that what cannot be decoded is found at the start and not in the
    /// middle of an election.
    pub(super) fn load(database: &Database) -> Result<Tail, Error> {
        let failed = |error: redb::Error| refused(error);
        let read = || -> Result<_, redb::Error> {
            let transaction = database.begin_read()?;
            Ok((transaction.open_table(LOG)?, transaction.open_table(STATE)?))
        };
        let (log, state) = read().map_err(failed)?;
        let one = |name: &str| state.get(name).map_err(|error| failed(error.into()));
        let mut tail = Tail::default();
        if let Some(vote) = one(writer::VOTE)? {
            tail.vote = Some(decode(vote.value()).map_err(corrupt)?);
        }
        if let Some(purged) = one(writer::PURGED)? {
            tail.purged = Some(decode(purged.value()).map_err(corrupt)?);
        }
        if let Some(meta) = one(writer::SNAPSHOT_META)? {
            decode::<SnapshotMeta>(meta.value()).map_err(corrupt)?;
        }
        if let Some(snapshot) = one(writer::SNAPSHOT)? {
            version(snapshot.value()).map_err(corrupt)?;
        }
        tail.last = tail.purged;
        tail.written = tail.purged.map_or(0, |purged| purged.index + 1);
        for entry in log.iter().map_err(|error| failed(error.into()))? {
            let (index, bytes) = entry.map_err(|error| failed(error.into()))?;
            let entry = decode_entry(bytes.value()).map_err(corrupt)?;
            if index.value() != tail.written || entry.log_id.index != tail.written {
                return Err(Error::Corrupt(format!("entry {} is missing", tail.written)));
            }
            tail.written += 1;
            tail.push(entry, bytes.value().len());
            tail.trim();
        }
        Ok(tail)
    }

    /// Index of the oldest entry in memory; older ones are read from the database.
    fn first(&self) -> u64 {
        self.entries.keys().next().copied().unwrap_or(self.written)
    }

    /// The entries of a range that are in memory, up to a size but at least one, and the index from
    /// which on all are.
    pub(super) fn read(&self, start: u64, end: u64, bytes_max: usize) -> (u64, Vec<LogEntry>) {
        let first = self.first();
        let from = start.max(first);
        let mut bytes = 0;
        let mut found = Vec::new();
        for (entry, len) in self.entries.range(from..end.max(from)).map(|(_, entry)| entry) {
            bytes += len;
            if !found.is_empty() && bytes > bytes_max {
                break;
            }
            found.push(entry.clone());
        }
        (first, found)
    }

    pub(super) fn push(&mut self, entry: LogEntry, len: usize) {
        self.last = Some(entry.log_id);
        self.bytes += len;
        if let Some((_, old)) = self.entries.insert(entry.log_id.index, (entry, len)) {
            self.bytes -= old;
        }
    }

    pub(super) fn forget(&mut self, index: u64) {
        if let Some((_, len)) = self.entries.remove(&index) {
            self.bytes -= len;
        }
    }

    /// Forgets the oldest entries beyond the limit, but none that is not in the database.
    fn trim(&mut self) {
        while let Some(first) = self.entries.keys().next().copied() {
            if self.bytes <= TAIL_MAX || first >= self.written {
                break;
            }
            self.forget(first);
        }
    }

    /// Learns what has become durable.
    pub(super) fn written<'a>(&mut self, changes: impl Iterator<Item = &'a Change>) {
        for change in changes {
            match change {
                Change::Append { entries } => {
                    self.written = entries.last().map_or(self.written, |(index, _)| index + 1);
                }
                Change::Truncate { from } => self.written = self.written.min(*from),
                Change::Purge { upto, .. } => self.written = self.written.max(*upto + 1),
                Change::Vote(_) | Change::Snapshot { .. } => {}
            }
        }
        self.trim();
    }
}
