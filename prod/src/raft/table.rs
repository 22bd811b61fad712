//! openraft's state machine: core's lease table, its snapshots, and who is told of what is applied.
//!
//! The table itself lives in memory. After a restart openraft restores it from the last snapshot
//! and the log, both of which are durable, so applying an entry writes nothing.

use std::io;
use std::ops::Deref;
use std::sync::{Arc, RwLock};

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot};
use openraft::{AsyncRuntime, EntryPayload, OptionalSend};
use portcullis_core::lease;

use super::{LogId, Membership, SnapshotMeta, Store, Types, codec};

/// Version of an encoded snapshot.
const VERSION: u8 = 1;

/// What happened to the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed<'a> {
    /// The log's entry `index` was applied.
    Applied {
        /// Where it stands in the log.
        index: u64,
        /// The entry.
        entry: &'a lease::Entry,
        /// What it did.
        applied: &'a lease::Applied,
    },
    /// The table was replaced by a snapshot of all entries up to `index`. Leases may have become
    /// free that no [`Observed::Applied`] names, so whoever waits for one must look.
    Restored {
        /// The last entry that the snapshot covers.
        index: u64,
    },
}

/// A handle for looking into the table; clones share it.
///
/// The one place of the shell that is shared and locked: a lookup must not queue behind the log.
#[derive(Clone, Debug, Default)]
pub struct Leases(Arc<RwLock<State>>);

#[derive(Debug, Default)]
struct State {
    leases: lease::Leases,
    applied: Option<LogId>,
    membership: Membership,
}

/// The table, locked against change for as long as this lives. Never hold it across an `await`.
pub struct View<'a>(std::sync::RwLockReadGuard<'a, State>);

impl Leases {
    /// The table as of the last applied entry.
    pub fn view(&self) -> View<'_> {
        // Applying panics only on a bug, which ends the node.
        View(self.0.read().expect("the lock is never poisoned"))
    }

    fn change(&self) -> std::sync::RwLockWriteGuard<'_, State> {
        self.0.write().expect("the lock is never poisoned")
    }
}

impl View<'_> {
    /// Index of the last applied entry.
    pub fn index(&self) -> Option<u64> {
        self.0.applied.map(|applied| applied.index)
    }
}

impl Deref for View<'_> {
    type Target = lease::Leases;

    fn deref(&self) -> &lease::Leases {
        &self.0.leases
    }
}

type Observer = Arc<dyn Fn(Observed<'_>) + Send + Sync>;

/// The state machine that openraft drives.
pub struct Table<R: AsyncRuntime> {
    leases: Leases,
    store: Store<R>,
    observer: Observer,
}

impl<R: AsyncRuntime> Table<R> {
    /// An empty table over the store of its snapshots. The observer is told of every change in
    /// order, after the table shows it and before whoever proposed it is told; it must not block.
    pub fn new(
        store: Store<R>,
        observer: impl Fn(Observed<'_>) + Send + Sync + 'static,
    ) -> Table<R> {
        Table { leases: Leases::default(), store, observer: Arc::new(observer) }
    }

    /// A handle for lookups.
    pub fn leases(&self) -> Leases {
        self.leases.clone()
    }

    fn apply_one(&self, entry: &super::LogEntry) -> lease::Applied {
        let index = entry.log_id.index;
        let mut applied = lease::Applied::default();
        {
            let mut state = self.leases.change();
            state.applied = Some(entry.log_id);
            match &entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Normal(entry) => applied = state.leases.apply(entry),
                EntryPayload::Membership(members) => {
                    state.membership = Membership::new(Some(entry.log_id), members.clone());
                }
            }
        }
        if let EntryPayload::Normal(entry) = &entry.payload {
            (self.observer)(Observed::Applied { index, entry, applied: &applied });
        }
        applied
    }
}

impl<R: AsyncRuntime> RaftStateMachine<Types<R>> for Table<R> {
    type SnapshotData = Bytes;
    type SnapshotBuilder = Builder<R>;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, Membership)> {
        let view = self.leases.view();
        Ok((view.0.applied, view.0.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<Types<R>>>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let applied = self.apply_one(&entry);
            if let Some(responder) = responder {
                responder.send(applied);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder<R> {
        let view = self.leases.view();
        Builder {
            store: self.store.clone(),
            meta: SnapshotMeta {
                last_log_id: view.0.applied,
                last_membership: view.0.membership.clone(),
            },
            snapshot: view.snapshot(),
        }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, data: Bytes) -> io::Result<()> {
        let snapshot = codec::decode(VERSION, &data).map_err(io::Error::other)?;
        let leases = lease::Leases::restore(snapshot);
        // On a restart openraft installs the very snapshot that is in the store.
        if self.store.snapshot_meta()?.as_ref() != Some(meta) {
            self.store.save_snapshot(meta, data).await?;
        }
        *self.leases.change() =
            State { leases, applied: meta.last_log_id, membership: meta.last_membership.clone() };
        if let Some(last) = meta.last_log_id {
            (self.observer)(Observed::Restored { index: last.index });
        }
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Taken>> {
        Ok(self.store.snapshot()?.map(|(meta, snapshot)| Snapshot { meta, snapshot }))
    }
}

/// A snapshot with its bytes.
pub type Taken = Snapshot<super::LeaderId, u64, openraft::EmptyNode, Bytes>;

/// The table as it was at one entry, on its way to the store.
pub struct Builder<R: AsyncRuntime> {
    store: Store<R>,
    meta: SnapshotMeta,
    snapshot: lease::Snapshot,
}

impl<R: AsyncRuntime> RaftSnapshotBuilder<Types<R>> for Builder<R> {
    type SnapshotData = Bytes;

    async fn build_snapshot(&mut self) -> io::Result<Taken> {
        let snapshot = Bytes::from(codec::encode(VERSION, &self.snapshot));
        self.store.save_snapshot(&self.meta, snapshot.clone()).await?;
        Ok(Snapshot { meta: self.meta.clone(), snapshot })
    }
}
