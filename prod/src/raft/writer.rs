//! What is written to the database, and who waits for it.
//!
//! A durable commit blocks for as long as the disk takes. In production a thread of its own does
//! that: it drains what has queued up, makes one transaction of it and then tells everybody (group
//! commit). In a simulation it is done on the spot, because a thread is not deterministic.

use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use openraft::AsyncRuntime;
use openraft::storage::IOFlushed;
use redb::{Database, TableDefinition};
use tokio::sync::{mpsc, oneshot};

use super::Types;
use super::store::{Writer, locked};
use super::tail::Tail;

/// Entries by index.
pub(super) const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
/// Everything that there is one of, by the names below.
pub(super) const STATE: TableDefinition<&str, &[u8]> = TableDefinition::new("state");
pub(super) const VOTE: &str = "vote";
pub(super) const PURGED: &str = "purged";
pub(super) const SNAPSHOT_META: &str = "snapshot meta";
pub(super) const SNAPSHOT: &str = "snapshot";

/// Most jobs that wait for the thread; the next waits in the raft core.
const JOBS_MAX: usize = 1_024;

/// One change, encoded.
pub(super) enum Change {
    Vote(Vec<u8>),
    /// Entries. How far the log is committed is not kept beside them: it would dirty two pages more
    /// a transaction, and a node that starts again learns it from its leader.
    Append {
        entries: Vec<(u64, Vec<u8>)>,
    },
    /// Removes this entry and all after it.
    Truncate {
        from: u64,
    },
    /// Removes this entry and all before it.
    Purge {
        upto: u64,
        purged: Vec<u8>,
    },
    Snapshot {
        meta: Vec<u8>,
        data: Bytes,
    },
}

/// Who is told once a change is durable.
pub(super) enum Told<R: AsyncRuntime> {
    Raft(IOFlushed<Types<R>>),
    Caller(oneshot::Sender<io::Result<()>>),
}

pub(super) struct Job<R: AsyncRuntime> {
    pub(super) change: Change,
    pub(super) told: Told<R>,
}

/// The database's only writer.
pub(super) enum Running<R: AsyncRuntime> {
    Inline { database: Arc<Database>, tail: Arc<Mutex<Tail>> },
    Thread { jobs: Option<mpsc::Sender<Job<R>>>, thread: Option<std::thread::JoinHandle<()>> },
}

impl<R: AsyncRuntime> Running<R> {
    pub(super) fn start(
        writer: Writer,
        database: Arc<Database>,
        tail: Arc<Mutex<Tail>>,
    ) -> io::Result<Running<R>> {
        match writer {
            Writer::Inline => Ok(Running::Inline { database, tail }),
            Writer::Thread => {
                let (jobs, queue) = mpsc::channel(JOBS_MAX);
                let thread = std::thread::Builder::new()
                    .name("raft store".into())
                    .spawn(move || run::<R>(&database, &tail, queue))?;
                Ok(Running::Thread { jobs: Some(jobs), thread: Some(thread) })
            }
        }
    }

    pub(super) async fn submit(&self, job: Job<R>) -> io::Result<()> {
        match self {
            Running::Inline { database, tail } => {
                finish(database, tail, vec![job]);
                Ok(())
            }
            Running::Thread { jobs, .. } => {
                // It is taken away on dropping, when nobody can submit.
                let jobs = jobs.as_ref().expect("the store is not being dropped");
                let gone = |_| io::Error::other("the raft store's thread has ended");
                jobs.send(job).await.map_err(gone)
            }
        }
    }
}

impl<R: AsyncRuntime> Drop for Running<R> {
    /// Waits for the thread, so that the file is closed and can be opened again.
    fn drop(&mut self) {
        if let Running::Thread { jobs, thread } = self {
            drop(jobs.take());
            if thread.take().is_some_and(|thread| thread.join().is_err()) {
                tracing::error!("the raft store's thread panicked");
            }
        }
    }
}

fn run<R: AsyncRuntime>(
    database: &Database,
    tail: &Mutex<Tail>,
    mut queue: mpsc::Receiver<Job<R>>,
) {
    let mut jobs = Vec::with_capacity(JOBS_MAX);
    while queue.blocking_recv_many(&mut jobs, JOBS_MAX) > 0 {
        finish(database, tail, std::mem::take(&mut jobs));
    }
}

fn finish<R: AsyncRuntime>(database: &Database, tail: &Mutex<Tail>, jobs: Vec<Job<R>>) {
    let written = commit(database, jobs.iter().map(|job| &job.change));
    if written.is_ok() {
        locked(tail).written(jobs.iter().map(|job| &job.change));
    }
    for job in jobs {
        // An io::Error cannot be cloned, and each of them is told.
        let result = written.as_ref().map_err(|error| io::Error::other(error.to_string())).copied();
        match job.told {
            Told::Raft(callback) => callback.io_completed(result),
            // Whoever does not wait for the answer needs none.
            Told::Caller(caller) => drop(caller.send(result)),
        }
    }
}

/// All changes, in order, in one durable transaction.
pub(super) fn commit<'a>(
    database: &Database,
    changes: impl Iterator<Item = &'a Change>,
) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut log = transaction.open_table(LOG)?;
        let mut state = transaction.open_table(STATE)?;
        for change in changes {
            match change {
                Change::Vote(vote) => {
                    state.insert(VOTE, vote.as_slice())?;
                }
                Change::Append { entries } => {
                    for (index, entry) in entries {
                        log.insert(index, entry.as_slice())?;
                    }
                }
                Change::Truncate { from } => log.retain_in(*from.., |_, _| false)?,
                Change::Purge { upto, purged } => {
                    log.retain_in(..=*upto, |_, _| false)?;
                    state.insert(PURGED, purged.as_slice())?;
                }
                Change::Snapshot { meta, data } => {
                    state.insert(SNAPSHOT_META, meta.as_slice())?;
                    state.insert(SNAPSHOT, data.as_ref())?;
                }
            }
        }
    }
    transaction.commit()?;
    Ok(())
}
