//! A disk in memory that survives its host, and loses what was not synced when the power fails.
//!
//! What redb (or anything else) writes is seen at once, but stands only after a sync. When the
//! power fails, each unsynced change is kept, lost or torn on its own: a disk may reorder what it
//! was not told to order. Tearing happens between sectors, because a sector is written whole or not
//! at all.
//!
//! A sync that fails has the same effect, and worse: what was not synced by then is seen as before,
//! but no later sync writes it, as Linux does it since its pages count as clean. Whoever goes on
//! after it believes in what is not there. Whoever opens the file anew sees what is.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard};

use portcullis_core::Rng;
use redb::StorageBackend;
use schemars::JsonSchema;
use serde::Deserialize;

/// Bytes that a disk writes whole or not at all.
pub const SECTOR: usize = 512;

/// What can fail at a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Touch {
    /// A write, which leaves everything as it was.
    Write,
    /// A sync, of which nobody knows what it did.
    Sync,
}

impl Touch {
    /// What whoever touched the disk is told.
    pub fn error(self) -> io::Error {
        io::Error::other(format!("the disk failed a {self}"))
    }
}

impl fmt::Display for Touch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Touch::Write => "write",
            Touch::Sync => "sync",
        })
    }
}

impl FromStr for Touch {
    type Err = String;
    fn from_str(text: &str) -> Result<Touch, String> {
        let known = [Touch::Write, Touch::Sync].into_iter().find(|at| at.to_string() == text);
        known.ok_or_else(|| format!("`{text}` cannot fail: a `write` or a `sync` can"))
    }
}

/// What whoever writes is told where there is no room.
pub fn full() -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, "no room is left on the disk")
}

/// A handle on one disk; clones share it.
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<Platter>>);

#[derive(Default)]
struct Platter {
    /// What stands.
    synced: Vec<u8>,
    /// What is read.
    seen: Vec<u8>,
    /// What leads from the one to the other.
    unsynced: Vec<Change>,
    syncs: u64,
    /// Changes and syncs that still succeed, if the power is about to fail.
    left: Option<u64>,
    /// Whether there is no room.
    full: bool,
    /// What fails next, and what decides of what was not synced by then.
    fails: Option<(Touch, Rng)>,
}

impl Platter {
    /// Uses up one change or sync.
    fn spend(&mut self) -> io::Result<()> {
        match &mut self.left {
            Some(0) => return Err(io::Error::other("the power has failed")),
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(())
    }

    /// Fails if a failure of this kind is due.
    fn touch(&mut self, at: Touch) -> io::Result<()> {
        match self.fails.take() {
            Some((due, mut rng)) if due == at => {
                if at == Touch::Sync {
                    self.lose(&mut rng, true);
                }
                Err(at.error())
            }
            other => {
                self.fails = other;
                Ok(())
            }
        }
    }

    /// Of what was not synced, any part is lost; but no length, if `kept`: those are the file
    /// system's own, which goes on.
    fn lose(&mut self, rng: &mut Rng, kept: bool) {
        for change in std::mem::take(&mut self.unsynced) {
            match change {
                Change::Write { offset, data } => {
                    let end = (offset + data.len()).min(self.synced.len());
                    let mut at = offset;
                    // Drawn for each write: kept whole, lost whole, or each sector by itself.
                    let fate = rng.below(3);
                    while at < end {
                        let next = (at / SECTOR + 1) * SECTOR;
                        if fate == 0 || (fate == 1 && rng.below(2) == 0) {
                            let part = &data[at - offset..next.min(end) - offset];
                            self.synced[at..next.min(end)].copy_from_slice(part);
                        }
                        at = next;
                    }
                }
                Change::SetLen(len) => {
                    if kept || rng.below(2) == 0 {
                        self.synced.resize(len, 0);
                    }
                }
            }
        }
    }
}

/// Makes a change to what is read or to what stands; what is beyond the end of the latter was lost
/// with its length.
fn apply(change: &Change, to: &mut Vec<u8>) {
    match change {
        Change::Write { offset, data } => {
            let end = (offset + data.len()).min(to.len());
            if let Some(part) = to.get_mut(*offset..end) {
                part.copy_from_slice(&data[..end - offset]);
            }
        }
        Change::SetLen(len) => to.resize(*len, 0),
    }
}

enum Change {
    Write { offset: usize, data: Vec<u8> },
    SetLen(usize),
}

impl Disk {
    /// An empty disk.
    pub fn new() -> Disk {
        Disk::default()
    }

    /// Lets so many more changes and syncs succeed, and none after them until
    /// [`crash`](Disk::crash): that is how the power fails in the middle of a transaction.
    pub fn fail_after(&self, changes: u64) {
        self.platter().left = Some(changes);
    }

    /// Cuts the power: of what was not synced, any part is lost.
    ///
    /// The host that had the disk must be gone: what it still writes would be written to.
    pub fn crash(&self, rng: &mut Rng) {
        let mut platter = self.platter();
        platter.left = None;
        platter.lose(rng, false);
        platter.seen = platter.synced.clone();
    }

    /// Has no room from now on, or has room again.
    pub fn fill(&self, full: bool) {
        self.platter().full = full;
    }

    /// Fails the next write or sync. What `rng` draws decides of what was not synced by then.
    pub fn break_next(&self, at: Touch, rng: Rng) {
        self.platter().fails = Some((at, rng));
    }

    /// Fails nothing any more.
    pub fn mend(&self) {
        let mut platter = self.platter();
        platter.full = false;
        platter.fails = None;
    }

    /// Opened by another process, which sees what stands and what is still to be synced. Production's
    /// host has its kernel forget what it has of a file before it opens it.
    pub fn opened(&self) -> Disk {
        let mut platter = self.platter();
        let Platter { synced, unsynced, .. } = &*platter;
        let mut seen = synced.clone();
        unsynced.iter().for_each(|change| apply(change, &mut seen));
        platter.seen = seen;
        self.clone()
    }

    /// Whether anybody but the one who keeps it has a handle on it.
    pub fn is_open(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// How often it was synced: what a modelled disk charges for.
    pub fn syncs(&self) -> u64 {
        self.platter().syncs
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        // Nothing panics while it is locked, but reads and writes beyond the end, which are bugs.
        self.0.lock().expect("the lock is never poisoned")
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let platter = self.platter();
        let (len, unsynced) = (platter.seen.len(), platter.unsynced.len());
        write!(f, "disk of {len} bytes with {unsynced} unsynced changes")
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.platter().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let platter = self.platter();
        let offset = offset as usize;
        let part = platter.seen.get(offset..offset + out.len());
        out.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut platter = self.platter();
        platter.spend()?;
        platter.touch(Touch::Write)?;
        if platter.full && len as usize > platter.seen.len() {
            return Err(full());
        }
        platter.seen.resize(len as usize, 0);
        platter.unsynced.push(Change::SetLen(len as usize));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platter = self.platter();
        platter.spend()?;
        platter.touch(Touch::Sync)?;
        platter.syncs += 1;
        for change in std::mem::take(&mut platter.unsynced) {
            apply(&change, &mut platter.synced);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut platter = self.platter();
        platter.spend()?;
        platter.touch(Touch::Write)?;
        if platter.full {
            return Err(full());
        }
        let offset = offset as usize;
        let part = platter.seen.get_mut(offset..offset + data.len());
        part.ok_or(io::ErrorKind::UnexpectedEof)?.copy_from_slice(data);
        platter.unsynced.push(Change::Write { offset, data: data.to_vec() });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_core::Seed;

    fn bytes(disk: &Disk) -> Vec<u8> {
        let mut bytes = vec![0; disk.len().unwrap() as usize];
        disk.read(0, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn what_was_synced_stands() {
        let disk = Disk::new();
        disk.set_len(2_000).unwrap();
        disk.write(10, b"kept").unwrap();
        disk.sync_data().unwrap();
        let synced = bytes(&disk);
        disk.crash(&mut Seed(1).rng());
        assert_eq!(bytes(&disk), synced);
        assert_eq!(disk.syncs(), 1);
    }

    #[test]
    fn what_was_not_synced_is_kept_lost_or_torn() {
        let (mut kept, mut lost, mut torn) = (0, 0, 0);
        for seed in 0..100 {
            let disk = Disk::new();
            disk.set_len(4 * SECTOR as u64).unwrap();
            disk.sync_data().unwrap();
            disk.write(0, &[1; 4 * SECTOR]).unwrap();
            disk.crash(&mut Seed(seed).rng());
            let bytes = bytes(&disk);
            for sector in bytes.chunks(SECTOR) {
                assert!(sector.iter().all(|byte| byte == &sector[0]), "a sector is torn");
            }
            match bytes.iter().filter(|byte| **byte == 1).count() / SECTOR {
                0 => lost += 1,
                4 => kept += 1,
                _ => torn += 1,
            }
        }
        assert!(kept > 10 && lost > 10 && torn > 10, "{kept} kept, {lost} lost, {torn} torn");
    }

    #[test]
    fn a_full_disk_takes_nothing_and_loses_nothing() {
        let disk = Disk::new();
        disk.set_len(2_000).unwrap();
        disk.write(0, b"before").unwrap();
        disk.fill(true);
        assert_eq!(disk.write(0, b"during").unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(disk.set_len(3_000).unwrap_err().kind(), io::ErrorKind::StorageFull);
        disk.sync_data().unwrap();
        disk.fill(false);
        disk.crash(&mut Seed(1).rng());
        assert_eq!(&bytes(&disk)[..6], b"before");
        disk.write(0, b"behind").unwrap();
    }

    #[test]
    fn a_failed_sync_is_not_made_up_for_by_the_next() {
        let (mut lost, mut kept) = (0, 0);
        for seed in 0..50 {
            let disk = Disk::new();
            disk.set_len(SECTOR as u64).unwrap();
            disk.sync_data().unwrap();
            disk.break_next(Touch::Sync, Seed(seed).rng());
            disk.write(0, b"gone").unwrap();
            disk.sync_data().unwrap_err();
            assert_eq!(&bytes(&disk)[..4], b"gone", "it is seen as before");
            disk.write(100, b"next").unwrap();
            disk.sync_data().unwrap();
            let disk = disk.opened();
            assert_eq!(&bytes(&disk)[100..104], b"next");
            match &bytes(&disk)[..4] == b"gone" {
                true => kept += 1,
                false => lost += 1,
            }
        }
        assert!(lost > 10 && kept > 10, "{lost} lost, {kept} kept");
    }

    #[test]
    fn only_the_next_fails_and_nothing_once_it_is_mended() {
        let disk = Disk::new();
        disk.set_len(10).unwrap();
        disk.break_next(Touch::Write, Seed(1).rng());
        disk.sync_data().unwrap();
        disk.write(0, b"a").unwrap_err();
        disk.write(0, b"b").unwrap();
        disk.break_next(Touch::Sync, Seed(1).rng());
        disk.fill(true);
        disk.mend();
        disk.write(1, b"c").unwrap();
        disk.sync_data().unwrap();
        assert_eq!(&bytes(&disk)[..2], b"bc");
    }

    #[test]
    fn lengths_are_lost_too_and_writes_beyond_them() {
        let mut lengths = std::collections::BTreeSet::new();
        for seed in 0..20 {
            let disk = Disk::new();
            disk.set_len(1_024).unwrap();
            disk.write(0, &[1; 1_024]).unwrap();
            disk.crash(&mut Seed(seed).rng());
            lengths.insert(disk.len().unwrap());
        }
        assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [0, 1_024]);
    }
}
