//! The lease table of one node, as openraft drives it.
//!
//! Core's table, as in production; only the snapshot is kept as it is, and what is applied is
//! reported to the heap instead of to an observer, since the history belongs to the heap's task.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::{Stream, TryStreamExt};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use portcullis::raft::{Formed, LogEntry, LogId, Membership, SnapshotMeta};
use portcullis_core::lease::Leases;
use portcullis_core::log::{self, Applied};
use portcullis_core::members::Members;

use super::{Disk, Inbox, Life, Report, Taken, Types, Write, disk};

/// The state machine that openraft drives.
pub struct Table {
    state: Arc<Mutex<State>>,
    life: Life,
    disk: Disk,
    inbox: Inbox,
}

/// A handle for looking into the table.
pub struct View(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    tables: log::State,
    applied: Option<LogId>,
    membership: Membership,
}

impl View {
    /// Looks into the table as of the last applied entry.
    pub fn look<T>(&self, look: impl FnOnce(&Leases) -> T) -> T {
        look(&locked(&self.0).tables.leases)
    }

    /// The members as of the last applied entry.
    pub fn members(&self) -> Members {
        locked(&self.0).tables.members.clone()
    }
}

impl Table {
    /// An empty table; openraft restores it from the disk.
    pub fn new(life: Life, disk: Disk, inbox: Inbox) -> Table {
        Table { state: Arc::default(), life, disk, inbox }
    }

    /// A handle for lookups.
    pub fn view(&self) -> View {
        View(Arc::clone(&self.state))
    }

    fn apply_one(&self, entry: LogEntry, answered: bool) -> Applied {
        let mut state = locked(&self.state);
        state.applied = Some(entry.log_id);
        match entry.payload {
            EntryPayload::Blank => Applied::default(),
            EntryPayload::Normal(payload) => {
                let applied = state.tables.apply(&payload);
                let answer = if answered { applied.clone() } else { Applied::default() };
                let (life, index) = (self.life, entry.log_id.index);
                self.inbox.push(match (payload, applied) {
                    (log::Entry::Leases(entry), Applied::Leases(applied)) => {
                        Report::Applied { life, index, entry, applied }
                    }
                    (log::Entry::Members(command), Applied::Members(outcome)) => {
                        Report::Members { life, index, command, outcome }
                    }
                    (log::Entry::Leases(_) | log::Entry::Members(_), _) => {
                        unreachable!("what was done is of the kind that was asked for")
                    }
                });
                answer
            }
            EntryPayload::Membership(members) => {
                let (life, index) = (self.life, entry.log_id.index);
                let formed = Formed::of(&members);
                self.inbox.push(Report::Formed { life, index, formed });
                state.membership = Membership::new(Some(entry.log_id), members);
                Applied::default()
            }
        }
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Applying panics only on a bug, which ends the run.
    state.lock().expect("the lock is never poisoned")
}

impl RaftStateMachine<Types> for Table {
    type SnapshotData = Arc<log::Snapshot>;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, Membership)> {
        let state = locked(&self.state);
        Ok((state.applied, state.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let applied = self.apply_one(entry, responder.is_some());
            if let Some(responder) = responder {
                responder.send(applied);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let state = locked(&self.state);
        let meta =
            SnapshotMeta { last_log_id: state.applied, last_membership: state.membership.clone() };
        let snapshot = Arc::new(state.tables.snapshot());
        Builder { taken: Taken { meta, snapshot }, life: self.life, inbox: self.inbox.clone() }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Arc<log::Snapshot>,
    ) -> io::Result<()> {
        let kept = self.disk.snapshot().is_some_and(|taken| taken.meta == *meta);
        if !kept {
            let taken = Taken { meta: meta.clone(), snapshot: Arc::clone(&snapshot) };
            let taken = Box::new(taken);
            disk::sync(&self.inbox, self.life, |done| Write::Snapshot { taken, done }).await?;
        }
        *locked(&self.state) = State {
            tables: log::State::restore((*snapshot).clone()),
            applied: meta.last_log_id,
            membership: meta.last_membership.clone(),
        };
        if let Some(last) = meta.last_log_id {
            self.inbox.push(Report::Restored { life: self.life, index: last.index });
        }
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Taken>> {
        Ok(self.disk.snapshot())
    }
}

/// The table as it was at one entry, on its way to the disk.
pub struct Builder {
    taken: Taken,
    life: Life,
    inbox: Inbox,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = Arc<log::Snapshot>;

    async fn build_snapshot(&mut self) -> io::Result<Taken> {
        let taken = Box::new(self.taken.clone());
        disk::sync(&self.inbox, self.life, |done| Write::Snapshot { taken, done }).await?;
        Ok(self.taken.clone())
    }
}
