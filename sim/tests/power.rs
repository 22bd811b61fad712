//! The raft store on disks whose power fails at any moment.

use openraft::AsyncRuntime;
use openraft::storage::{RaftLogReader, RaftLogStorage, RaftLogStorageExt};
use openraft::{EntryPayload, Vote};
use portcullis::raft::{Error, Identity, LeaderId, LogEntry, LogId, Store, Writer};
use portcullis_core::lease::Entry;
use portcullis_core::{GlobalTime, NodeId, Rng, Seed};
use portcullis_sim::disk::Disk;

type Runtime = openraft_rt_sim::SimRuntime;

fn open(disk: &Disk) -> Store<Runtime> {
    let identity = Identity { cluster: "test".into(), node: NodeId(1) };
    Store::open(disk.clone(), &identity, Writer::Inline).expect("a power cut damages nothing")
}

fn entry(term: u64, index: u64) -> LogEntry {
    let entry = Entry { now: GlobalTime(index), commands: Default::default() };
    LogEntry {
        log_id: LogId::new(LeaderId { term, node_id: 1 }, index),
        payload: EntryPayload::Normal(entry.into()),
    }
}

/// What the store has acknowledged.
#[derive(Default)]
struct Acknowledged {
    vote: Option<Vote<LeaderId>>,
    purged: Option<LogId>,
    log: Vec<LogEntry>,
}

impl Acknowledged {
    async fn check(&self, store: &mut Store<Runtime>) {
        assert_eq!(store.read_vote().await.unwrap(), self.vote);
        assert_eq!(store.get_log_state().await.unwrap().last_purged_log_id, self.purged);
        assert_eq!(store.try_get_log_entries(..).await.unwrap(), self.log);
    }

    /// One change at random, acknowledged before it returns.
    async fn change(&mut self, store: &mut Store<Runtime>, rng: &mut Rng, term: u64) {
        let next = match (self.log.last(), self.purged) {
            (Some(last), _) => last.log_id.index + 1,
            (None, Some(purged)) => purged.index + 1,
            (None, None) => 0,
        };
        match rng.below(10) {
            0 => {
                let vote = Vote::new_committed(term, 1);
                store.save_vote(&vote).await.unwrap();
                self.vote = Some(vote);
            }
            1 if self.log.len() > 1 => {
                let kept = 1 + rng.below(self.log.len() as u64 - 1) as usize;
                self.log.truncate(kept);
                store.truncate_after(self.log.last().map(|last| last.log_id)).await.unwrap();
            }
            2 if self.log.len() > 1 => {
                let gone = 1 + rng.below(self.log.len() as u64 - 1) as usize;
                let upto = self.log[gone - 1].log_id;
                self.log.drain(..gone);
                store.purge(upto).await.unwrap();
                self.purged = Some(upto);
            }
            _ => {
                let entries: Vec<_> =
                    (next..next + 1 + rng.below(20)).map(|index| entry(term, index)).collect();
                store.blocking_append(entries.clone()).await.unwrap();
                self.log.extend(entries);
            }
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost() {
    Runtime::run(async {
        for seed in 0..40 {
            let mut rng = Seed(seed).child("power", 0).rng();
            let disk = Disk::new();
            let mut acknowledged = Acknowledged::default();
            for life in 1..8 {
                let mut store = open(&disk);
                acknowledged.check(&mut store).await;
                for _ in 0..rng.below(12) {
                    acknowledged.change(&mut store, &mut rng, life).await;
                }
                // A host that loses its power closes nothing.
                std::mem::forget(store);
                disk.crash(&mut rng);
            }
            acknowledged.check(&mut open(&disk)).await;
        }
    });
}

/// The power may also fail half-way through a change, or through the making of the file: then what
/// was acknowledged before stands, with or without the change.
#[test]
fn changes_are_whole_or_not_at_all() {
    Runtime::run(async {
        for seed in 0..40 {
            let mut rng = Seed(seed).child("half", 0).rng();
            let disk = Disk::new();
            let mut log = Vec::new();
            for life in 0..6 {
                disk.fail_after(if life == 0 { rng.below(12) } else { rng.below(30) });
                let half = halfway(&disk, &mut log).await;
                disk.crash(&mut rng);
                let mut store = open(&disk);
                let found = store.try_get_log_entries(..).await.unwrap();
                let with: Vec<_> = log.iter().cloned().chain(half).collect();
                assert!(found == log || found == with, "seed {seed}: the change is neither");
                log = found;
                std::mem::forget(store);
                disk.crash(&mut rng);
            }
        }
    });
}

/// Appends until the disk fails; returns what was being appended then.
async fn halfway(disk: &Disk, log: &mut Vec<LogEntry>) -> Vec<LogEntry> {
    let identity = Identity { cluster: "test".into(), node: NodeId(1) };
    let opened = Store::<Runtime>::open(disk.clone(), &identity, Writer::Inline);
    let mut store = match opened {
        Ok(store) => store,
        Err(Error::Io(_)) => return Vec::new(),
        Err(error) => panic!("{error}"),
    };
    let half = loop {
        let next = log.len() as u64;
        let entries: Vec<_> = (next..next + 5).map(|index| entry(1, index)).collect();
        if store.blocking_append(entries.clone()).await.is_err() {
            break entries;
        }
        log.extend(entries);
    };
    std::mem::forget(store);
    half
}
