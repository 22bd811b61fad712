//! A disk whose syncs are timed: the figure that says whether a slow log is a slow disk (seed 002).

use std::fmt;
use std::io;
use std::ops::Bound;

use prometheus_client::metrics::histogram::Histogram;
use redb::{BackendError, StorageBackend};

use crate::env::Env;

/// See the module. Everything is left to the disk itself.
pub struct Timed<E: Env> {
    env: E,
    disk: E::Disk,
    syncs: Histogram,
}

impl<E: Env> Timed<E> {
    /// Times the disk's syncs, in seconds.
    pub fn new(env: E, disk: E::Disk, syncs: Histogram) -> Timed<E> {
        Timed { env, disk, syncs }
    }
}

impl<E: Env> fmt::Debug for Timed<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.disk.fmt(f)
    }
}

type Edge = Bound<u64>;

impl<E: Env> StorageBackend for Timed<E> {
    fn len(&self) -> io::Result<u64> {
        self.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let since = self.env.now();
        let synced = self.disk.sync_data();
        self.syncs.observe(self.env.now().since(since).as_secs_f64());
        synced
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.disk.close()
    }

    fn try_lock_range(&self, start: Edge, end: Edge) -> Result<bool, BackendError> {
        self.disk.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Edge, end: Edge) -> Result<bool, BackendError> {
        self.disk.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Edge, end: Edge) -> Result<(), BackendError> {
        self.disk.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Edge, end: Edge) -> Result<(), BackendError> {
        self.disk.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Edge, end: Edge) -> Result<(), BackendError> {
        self.disk.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Edge, end: Edge) -> Result<bool, BackendError> {
        self.disk.query_lock_range(start, end)
    }
}
