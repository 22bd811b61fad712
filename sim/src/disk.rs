//! A disk in memory that survives its host, and loses what was not synced when the power fails.
//!
//! What redb (or anything else) writes is seen at once, but stands only after a sync. When the
//! power fails, each unsynced change is kept, lost or torn on its own: a disk may reorder what it
//! was not told to order. Tearing happens between sectors, because a sector is written whole or not
//! at all.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use portcullis_core::Rng;
use redb::StorageBackend;

/// Bytes that a disk writes whole or not at all.
pub const SECTOR: usize = 512;

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
        for change in std::mem::take(&mut platter.unsynced) {
            match change {
                Change::Write { offset, data } => {
                    let end = (offset + data.len()).min(platter.synced.len());
                    let mut at = offset;
                    // Drawn for each write: kept whole, lost whole, or each sector by itself.
                    let fate = rng.below(3);
                    while at < end {
                        let next = (at / SECTOR + 1) * SECTOR;
                        if fate == 0 || (fate == 1 && rng.below(2) == 0) {
                            let part = &data[at - offset..next.min(end) - offset];
                            platter.synced[at..next.min(end)].copy_from_slice(part);
                        }
                        at = next;
                    }
                }
                Change::SetLen(len) => {
                    if rng.below(2) == 0 {
                        platter.synced.resize(len, 0);
                    }
                }
            }
        }
        platter.seen = platter.synced.clone();
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
        platter.seen.resize(len as usize, 0);
        platter.unsynced.push(Change::SetLen(len as usize));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platter = self.platter();
        platter.spend()?;
        platter.syncs += 1;
        for change in std::mem::take(&mut platter.unsynced) {
            match change {
                Change::Write { offset, data } => {
                    platter.synced[offset..offset + data.len()].copy_from_slice(&data);
                }
                Change::SetLen(len) => platter.synced.resize(len, 0),
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut platter = self.platter();
        platter.spend()?;
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
