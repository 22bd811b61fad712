//! The end of the log as it is kept in memory, so that replication and the table seldom read disk.

use std::collections::BTreeMap;

use redb::{Database, ReadableDatabase, ReadableTable};

use super::kept::Place;
use super::store::{Error, corrupt, decode, refused};
use super::versions::{decode_entry, version};
use super::writer::{self, Change, LOG, PARTS, STATE};
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
    /// Encoded lengths of all entries of the log.
    lengths: Lengths,
}

/// How much the log holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Lengths {
    each: BTreeMap<u64, usize>,
    total: usize,
}

impl Lengths {
    /// How many entries there are.
    pub(super) fn entries(&self) -> u64 {
        self.each.len() as u64
    }

    /// Encoded bytes of all of them.
    pub(super) fn bytes(&self) -> u64 {
        self.total as u64
    }

    /// Encoded bytes of the entries after this one.
    pub(super) fn bytes_after(&self, index: u64) -> u64 {
        self.each.range(index + 1..).map(|(_, len)| *len as u64).sum()
    }

    /// The last entry that must go so that no more than so many bytes are left; none if there are
    /// no more. The newest stays.
    pub(super) fn beyond(&self, bytes_max: u64) -> Option<u64> {
        let mut left = self.bytes();
        let mut beyond = None;
        for (index, len) in &self.each {
            if left <= bytes_max {
                break;
            }
            left -= *len as u64;
            beyond = Some(*index);
        }
        let newest = self.each.last_key_value().map(|(index, _)| *index);
        beyond.filter(|_| newest != beyond)
    }

    fn insert(&mut self, index: u64, len: usize) {
        self.total += len;
        self.total -= self.each.insert(index, len).unwrap_or_default();
    }

    fn purge(&mut self, upto: u64) {
        let kept = self.each.split_off(&(upto + 1));
        self.total -= self.each.values().sum::<usize>();
        self.each = kept;
    }

    fn truncate(&mut self, from: u64) {
        self.total -= self.each.split_off(&from).values().sum::<usize>();
    }
}

impl Tail {
    /// Reads the whole log, so that what cannot be decoded is found at the start and not in the
    /// middle of an election.
    pub(super) fn load(database: &Database) -> Result<Tail, Error> {
        let failed = |error: redb::Error| refused(error);
        let read = || -> Result<_, redb::Error> {
            let transaction = database.begin_read()?;
            let parts = transaction.open_table(PARTS)?;
            Ok((transaction.open_table(LOG)?, transaction.open_table(STATE)?, parts))
        };
        let (log, state, parts) = read().map_err(failed)?;
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
        if let Some(place) = one(writer::SNAPSHOT_PLACE)? {
            let first = decode::<Place>(place.value()).map_err(corrupt)?.first();
            if let Some(part) = parts.get(first).map_err(|error| failed(error.into()))? {
                version(part.value()).map_err(corrupt)?;
            }
        }
        // As format 2 has it.
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
        self.lengths.insert(entry.log_id.index, len);
        if let Some((_, old)) = self.entries.insert(entry.log_id.index, (entry, len)) {
            self.bytes -= old;
        }
    }

    /// How much the log holds.
    pub(super) fn lengths(&self) -> &Lengths {
        &self.lengths
    }

    /// Takes all entries from this one on out of the log, so that `last` is its last.
    pub(super) fn truncate(&mut self, from: u64, last: Option<LogId>) {
        for (_, len) in self.entries.split_off(&from).into_values() {
            self.bytes -= len;
        }
        self.lengths.truncate(from);
        // Nothing may stand after it; that the log is shorter anyway is no reason to grow it.
        self.last = self.last.min(last);
    }

    /// Takes this entry and all before it out of the log.
    pub(super) fn purge(&mut self, upto: LogId) {
        let kept = self.entries.split_off(&(upto.index + 1));
        for (_, len) in std::mem::replace(&mut self.entries, kept).into_values() {
            self.bytes -= len;
        }
        self.lengths.purge(upto.index);
        self.purged = Some(upto);
        self.last = self.last.max(Some(upto));
    }

    fn forget(&mut self, index: u64) {
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
                Change::Vote(_)
                | Change::Part { .. }
                | Change::Snapshot { .. }
                | Change::Quiet(_) => {}
            }
        }
        self.trim();
    }
}
