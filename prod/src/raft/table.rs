//! openraft's state machine: core's lease table, its snapshots, and who is told of what is applied.
//!
//! The table itself lives in memory. After a restart openraft restores it from the last snapshot
//! and the log, both of which are durable, so applying an entry writes nothing.

use std::collections::BTreeSet;
use std::io;
use std::ops::{ControlFlow, Deref};
use std::sync::{Arc, RwLock};

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot};
use openraft::{AsyncRuntime, EntryPayload, OptionalSend};
use portcullis_core::lease::{self, Key, Lease};
use portcullis_core::members::{self, Members};
use portcullis_core::{GlobalTime, NodeId, log};

use super::{Formed, LogId, Membership, SnapshotMeta, Store, Types, versions};

/// Most leases that one scan looks at under the table's lock, which keeps entries from being applied
/// meanwhile: less than a millisecond of a table of a million leases.
pub const SCAN_MAX: usize = 4_096;

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
    /// The log's entry `index` was applied, which is about the members.
    Members {
        /// Where it stands in the log.
        index: u64,
        /// What was to be done.
        command: &'a members::Command,
        /// What came of it.
        outcome: &'a members::Outcome,
    },
    /// The log's entry `index` was applied, which gives out roles.
    Formed {
        /// Where it stands in the log.
        index: u64,
        /// Who votes.
        voters: &'a BTreeSet<NodeId>,
        /// Who voted before, while both must agree.
        before: Option<&'a BTreeSet<NodeId>>,
        /// Who has the log and no vote.
        learners: &'a BTreeSet<NodeId>,
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
    tables: log::State,
    applied: Option<LogId>,
    membership: Membership,
}

/// How far a scan has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scanned {
    /// The table's time meanwhile.
    pub now: GlobalTime,
    /// The last key that was shown, to go on after; nothing at the end of the table, or once enough
    /// was seen.
    pub next: Option<Key>,
}

fn look<'a, T>(
    entries: impl Iterator<Item = (&'a Key, &'a T)>,
    mut see: impl FnMut(&Key, &T) -> ControlFlow<()>,
) -> Option<Key>
where
    T: 'a,
{
    for (count, (key, entry)) in (1..).zip(entries) {
        if see(key, entry).is_break() {
            return None;
        }
        if count == SCAN_MAX {
            return Some(key.clone());
        }
    }
    None
}

/// The table, locked against change for as long as this lives. Never hold it across an `await`.
pub struct View<'a>(std::sync::RwLockReadGuard<'a, State>);

impl Leases {
    /// The table as of the last applied entry.
    pub fn view(&self) -> View<'_> {
        // Applying panics only on a bug, which ends the node.
        View(self.0.read().expect("the lock is never poisoned"))
    }

    /// Shows the leases that come after this one, in order, to somebody who may have seen enough;
    /// locks the table for no more than [`SCAN_MAX`] of them.
    pub fn scan(
        &self,
        after: Option<&Key>,
        see: impl FnMut(&Key, &Lease) -> ControlFlow<()>,
    ) -> Scanned {
        let view = self.view();
        Scanned { now: view.now(), next: look(view.after(after), see) }
    }

    /// The same with the pinned leases and those who pin them.
    pub fn scan_pins(
        &self,
        after: Option<&Key>,
        see: impl FnMut(&Key, &BTreeSet<Arc<str>>) -> ControlFlow<()>,
    ) -> Scanned {
        let view = self.view();
        Scanned { now: view.now(), next: look(view.pins_after(after), see) }
    }

    /// The table as of the last applied entry, at hardly any cost, and what it covers.
    pub(super) fn freeze(&self) -> (SnapshotMeta, log::Frozen) {
        let view = self.view();
        let (last_log_id, last_membership) = (view.0.applied, view.0.membership.clone());
        (SnapshotMeta { last_log_id, last_membership }, view.0.tables.freeze())
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

    /// The members as of that entry.
    pub fn members(&self) -> &Members {
        &self.0.tables.members
    }
}

impl Deref for View<'_> {
    type Target = lease::Leases;

    fn deref(&self) -> &lease::Leases {
        &self.0.tables.leases
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

    fn apply_one(&self, entry: &super::LogEntry) -> log::Applied {
        let index = entry.log_id.index;
        let mut applied = log::Applied::default();
        {
            let mut state = self.leases.change();
            state.applied = Some(entry.log_id);
            match &entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Normal(entry) => applied = state.tables.apply(entry),
                EntryPayload::Membership(members) => {
                    state.membership = Membership::new(Some(entry.log_id), members.clone());
                }
            }
        }
        match (&entry.payload, &applied) {
            (EntryPayload::Blank, _) => {}
            (EntryPayload::Membership(members), _) => {
                let Formed { voters, before, learners } = Formed::of(members);
                let (before, voters, learners) = (before.as_ref(), &voters, &learners);
                (self.observer)(Observed::Formed { index, voters, before, learners });
            }
            (EntryPayload::Normal(log::Entry::Leases(entry)), log::Applied::Leases(applied)) => {
                (self.observer)(Observed::Applied { index, entry, applied })
            }
            (
                EntryPayload::Normal(log::Entry::Members(command)),
                log::Applied::Members(outcome),
            ) => (self.observer)(Observed::Members { index, command, outcome }),
            (EntryPayload::Normal(log::Entry::Leases(_) | log::Entry::Members(_)), _) => {
                unreachable!("what was done is of the kind that was asked for")
            }
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
        let (meta, snapshot) = self.leases.freeze();
        Builder { store: self.store.clone(), meta, snapshot }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, data: Bytes) -> io::Result<()> {
        let snapshot = versions::decode_snapshot(&data).map_err(io::Error::other)?;
        let tables = log::State::restore(snapshot);
        // On a restart openraft installs the very snapshot that is in the store.
        if self.store.snapshot_meta()?.as_ref() != Some(meta) {
            self.store.save_snapshot(meta, data).await?;
        }
        *self.leases.change() =
            State { tables, applied: meta.last_log_id, membership: meta.last_membership.clone() };
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
pub type Taken = Snapshot<super::LeaderId, u64, super::Peer, Bytes>;

/// The table as it was at one entry, on its way to the store.
pub struct Builder<R: AsyncRuntime> {
    store: Store<R>,
    meta: SnapshotMeta,
    snapshot: log::Frozen,
}

impl<R: AsyncRuntime> RaftSnapshotBuilder<Types<R>> for Builder<R> {
    type SnapshotData = Bytes;

    async fn build_snapshot(&mut self) -> io::Result<Taken> {
        let snapshot = versions::encode_snapshot(self.snapshot.clone());
        self.store.save_snapshot(&self.meta, snapshot.clone()).await?;
        Ok(Snapshot { meta: self.meta.clone(), snapshot })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portcullis_core::lease::{Command, Entry, Operation};

    use super::*;

    /// A table in which so many leases are held and pinned.
    fn table(count: usize) -> Leases {
        let table = Leases::default();
        let mut commands = Vec::new();
        for number in 0..count {
            let lease = format!("lease-{number:09}");
            let key = Key::new("n", "m", &lease);
            let duration = Duration::from_secs(60);
            let (holder, entity) = ("h".into(), "e".into());
            for operation in [
                Operation::Claim { key: key.clone(), holder, duration },
                Operation::Pin { key, entity },
            ] {
                commands.push(Command { operation, void_after: GlobalTime(u64::MAX) });
            }
        }
        let entry = Entry { now: GlobalTime(1), commands: commands.into() };
        table.change().tables.leases.apply(&entry);
        table
    }

    #[test]
    fn a_scan_frees_the_table_after_each_part_and_misses_nothing() {
        let count = 2 * SCAN_MAX + 1;
        let table = table(count);
        let (mut seen, mut parts, mut after) = (Vec::new(), 0, None);
        loop {
            let before = seen.len();
            let scanned = table.scan(after.as_ref(), |key, _| {
                seen.push(key.clone());
                ControlFlow::Continue(())
            });
            parts += 1;
            assert!(seen.len() - before <= SCAN_MAX, "the lock is held for one part only");
            // In between the table can change.
            table
                .change()
                .tables
                .leases
                .apply(&Entry { now: GlobalTime(parts), commands: Default::default() });
            match scanned.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        assert_eq!((seen.len(), parts), (count, 3));
        assert!(seen.is_sorted(), "in the order of their names, none twice");
    }

    #[test]
    fn a_frozen_table_is_written_as_its_snapshot_and_does_not_change() {
        let table = table(1_000);
        let frozen = table.freeze().1;
        let snapshot = table.view().0.tables.snapshot();
        table
            .change()
            .tables
            .leases
            .apply(&Entry { now: GlobalTime(u64::MAX), commands: Default::default() });
        let bytes = versions::encode_snapshot(frozen);
        assert_eq!(bytes, versions::encode_snapshot(snapshot.clone()));
        assert_eq!(versions::decode_snapshot(&bytes), Ok(snapshot));
    }

    #[test]
    fn who_has_seen_enough_sees_no_more() {
        let table = table(5);
        let mut seen = 0;
        let scanned = table.scan_pins(None, |_, entities| {
            seen += entities.len();
            if seen == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!((seen, scanned.next), (2, None));
    }
}
