//! The file below redb: one page that says whose store it is, then redb's own bytes.
//!
//! redb writes into whatever it opens, and knows nothing of nodes. So the identity stands before
//! redb's part and is checked without redb, and while redb checks its own part, what it writes is
//! held back. A file that is refused keeps every byte it had.
//!
//! ```text
//! 0      16      20    28              30       504       512    513   4096
//! │ magic │ format │ node │ cluster length │ cluster │ checksum │ ready │ zero │ redb …
//! ```

use std::io;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};

use portcullis_core::NodeId;
use redb::{BackendError, StorageBackend};

use super::store::{Error, Identity};

/// Bytes before redb's part: one page, so that redb's pages stay aligned.
pub(super) const HEADER: u64 = 4_096;
/// Longest name of a cluster in bytes.
pub const CLUSTER_MAX: usize = 255;

/// Version of the header and of all that redb's tables hold.
pub(super) const FORMAT: u32 = 2;
const MAGIC: &[u8; 16] = b"portcullis raft\n";
const CHECKSUM: usize = 504;
const READY: usize = 512;

/// What redb's file begins with; it writes that last of all when it makes one.
const REDB_MAGIC: &[u8; 9] = b"redb\x1A\x0A\xA9\x0D\x0A";

/// How far a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing was ever acknowledged from it: redb's part is to be made.
    Empty,
    /// redb's part is made, but the power failed before that was noted.
    Made,
    /// It was made in full.
    Ready,
}

/// redb's view of the file; a handle, so that we keep one while redb has the other.
#[derive(Debug)]
pub(super) struct Volume<B>(Arc<Shared<B>>);

#[derive(Debug)]
struct Shared<B> {
    inner: B,
    /// While redb's part is being checked: what redb wants done to it, in order.
    held: Mutex<Option<Vec<Change>>>,
}

#[derive(Debug)]
enum Change {
    Write { offset: u64, data: Vec<u8> },
    SetLen(u64),
    Sync,
}

impl<B: StorageBackend> Volume<B> {
    /// Reads whose store this is. Writes nothing.
    pub(super) fn identify(inner: B, identity: &Identity) -> Result<(Volume<B>, Stage), Error> {
        let wanted = header(identity);
        let len = inner.len()?;
        let mut found = vec![0; len.min(HEADER) as usize];
        inner.read(0, &mut found)?;
        if len <= HEADER && torn(&found, &wanted) {
            found = wanted;
        } else {
            check(&found, identity)?;
        }
        let mut magic = [0; REDB_MAGIC.len()];
        if len >= HEADER + magic.len() as u64 {
            inner.read(HEADER, &mut magic)?;
        }
        // Both marks must be missing before anything is made anew: one lost sector costs no data.
        let stage = match (found[READY], magic == *REDB_MAGIC) {
            (0, false) => Stage::Empty,
            (0, true) => Stage::Made,
            _ => Stage::Ready,
        };
        Ok((Volume(Arc::new(Shared { inner, held: Mutex::new(None) })), stage))
    }

    /// Whose store a disk has; nothing if it is empty. Writes nothing.
    pub(super) fn whose(inner: &B) -> Result<Option<Identity>, Error> {
        let mut found = vec![0; inner.len()?.min(HEADER) as usize];
        inner.read(0, &mut found)?;
        if found.is_empty() { Ok(None) } else { parse(&found).map(Some) }
    }

    /// Empties redb's part and writes the header, so that redb can make its part.
    pub(super) fn found(&self, identity: &Identity) -> io::Result<()> {
        let inner = &self.0.inner;
        inner.set_len(HEADER)?;
        inner.write(0, &header(identity))?;
        inner.sync_data()
    }

    /// Notes that redb's part is made.
    pub(super) fn ready(&self) -> io::Result<()> {
        self.0.inner.write(READY as u64, &[1])?;
        self.0.inner.sync_data()
    }

    /// Keeps what redb writes in memory until [`release`](Volume::release).
    pub(super) fn hold(&self) {
        *self.held() = Some(Vec::new());
    }

    /// Does all that was held back, in redb's own order of writes and syncs, since it may be
    /// interrupted as redb may.
    pub(super) fn release(&self) -> io::Result<()> {
        let mut held = self.held();
        let inner = &self.0.inner;
        for change in held.take().into_iter().flatten() {
            match change {
                Change::Write { offset, data } => inner.write(HEADER + offset, &data)?,
                Change::SetLen(len) => inner.set_len(HEADER + len)?,
                Change::Sync => inner.sync_data()?,
            }
        }
        Ok(())
    }

    fn held(&self) -> MutexGuard<'_, Option<Vec<Change>>> {
        // Nothing panics while it is locked.
        self.0.held.lock().expect("the lock is never poisoned")
    }

    fn inner_len(&self) -> io::Result<u64> {
        Ok(self.0.inner.len()?.saturating_sub(HEADER))
    }
}

impl<B> Clone for Volume<B> {
    fn clone(&self) -> Self {
        Volume(Arc::clone(&self.0))
    }
}

impl<B: StorageBackend> StorageBackend for Volume<B> {
    fn len(&self) -> io::Result<u64> {
        let resized = self.held().iter().flatten().rev().find_map(|change| match change {
            Change::SetLen(len) => Some(*len),
            Change::Write { .. } | Change::Sync => None,
        });
        resized.map_or_else(|| self.inner_len(), Ok)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let held = self.held();
        let Some(changes) = held.as_ref() else {
            return self.0.inner.read(HEADER + offset, out);
        };
        out.fill(0);
        let there = self.inner_len()?.saturating_sub(offset).min(out.len() as u64) as usize;
        self.0.inner.read(HEADER + offset, &mut out[..there])?;
        for change in changes {
            match change {
                Change::Write { offset: at, data } => overlay(offset, out, *at, data),
                Change::SetLen(len) => {
                    let kept = len.saturating_sub(offset).min(out.len() as u64) as usize;
                    out[kept..].fill(0);
                }
                Change::Sync => {}
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        match self.held().as_mut() {
            Some(changes) => changes.push(Change::SetLen(len)),
            None => self.0.inner.set_len(HEADER + len)?,
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        match self.held().as_mut() {
            Some(changes) => changes.push(Change::Sync),
            None => self.0.inner.sync_data()?,
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        match self.held().as_mut() {
            Some(changes) => changes.push(Change::Write { offset, data: data.to_vec() }),
            None => self.0.inner.write(HEADER + offset, data)?,
        }
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.0.inner.close()
    }

    /// Locks the whole file or nothing: that is all redb needs for one process that owns it.
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        whole(start, end)?;
        self.0.inner.try_lock_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        whole(start, end)?;
        self.0.inner.unlock_range(start, end)
    }
}

fn whole(start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
    match (start, end) {
        (Bound::Unbounded | Bound::Included(0), Bound::Unbounded) => Ok(()),
        _ => Err(BackendError::Unsupported),
    }
}

/// Copies the part of `data` (which stands at `at`) that lies within `out` (which stands at
/// `offset`).
fn overlay(offset: u64, out: &mut [u8], at: u64, data: &[u8]) {
    let start = offset.max(at);
    let end = (offset + out.len() as u64).min(at + data.len() as u64);
    if start < end {
        let into = (start - offset) as usize..(end - offset) as usize;
        let from = (start - at) as usize..(end - at) as usize;
        out[into].copy_from_slice(&data[from]);
    }
}

fn header(identity: &Identity) -> Vec<u8> {
    let cluster = identity.cluster.as_bytes();
    assert!(cluster.len() <= CLUSTER_MAX, "the cluster's name is too long");
    let mut page = Vec::with_capacity(HEADER as usize);
    page.extend_from_slice(MAGIC);
    page.extend_from_slice(&FORMAT.to_le_bytes());
    page.extend_from_slice(&identity.node.0.to_le_bytes());
    page.extend_from_slice(&(cluster.len() as u16).to_le_bytes());
    page.extend_from_slice(cluster);
    page.resize(CHECKSUM, 0);
    page.extend_from_slice(&checksum(&page).to_le_bytes());
    page.resize(HEADER as usize, 0);
    page
}

/// Whether the power failed while the header was first written: a lost sector reads as zeros.
fn torn(found: &[u8], wanted: &[u8]) -> bool {
    found.iter().zip(wanted).all(|(found, wanted)| *found == 0 || found == wanted)
}

/// Whose store a whole header says it is.
fn parse(found: &[u8]) -> Result<Identity, Error> {
    if !found.starts_with(MAGIC) {
        return Err(Error::Foreign);
    }
    if found.len() < HEADER as usize {
        return Err(Error::Corrupt("the header is cut short".into()));
    }
    // The slices have the lengths of the integers.
    let format = u32::from_le_bytes(found[16..20].try_into().expect("four bytes"));
    if format != FORMAT {
        return Err(Error::Format { found: format, wanted: FORMAT });
    }
    let sum = u64::from_le_bytes(found[CHECKSUM..READY].try_into().expect("eight bytes"));
    if sum != checksum(&found[..CHECKSUM]) {
        return Err(Error::Corrupt("the header's checksum is wrong".into()));
    }
    let node = NodeId(u64::from_le_bytes(found[20..28].try_into().expect("eight bytes")));
    let len = usize::from(u16::from_le_bytes([found[28], found[29]])).min(CLUSTER_MAX);
    let cluster = String::from_utf8_lossy(&found[30..30 + len]).into_owned();
    Ok(Identity { cluster, node })
}

fn check(found: &[u8], wanted: &Identity) -> Result<(), Error> {
    let found = parse(found)?;
    if found.node != wanted.node {
        return Err(Error::OtherNode { found: found.node, wanted: wanted.node });
    }
    if found.cluster != wanted.cluster {
        let wanted = wanted.cluster.clone();
        return Err(Error::OtherCluster { found: found.cluster, wanted });
    }
    Ok(())
}

/// FNV-1a.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
