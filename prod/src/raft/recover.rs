//! The last resort: one store rewritten so that its node is all of the cluster.
//!
//! A majority that is gone for good took the power to decide with it, and no protocol gives it back.
//! An operator may, who knows that none of the others runs: what this node has is then declared to be
//! what the cluster decided. What only the others had is lost, acknowledged or not; what only this one
//! had counts as decided. All others are removed for ever: whoever of them comes back is refused.
//!
//! The tables as of the last entry become a snapshot, the log before it is forgotten, and who votes
//! is this node alone; all in one transaction, so that a crash leaves the one or the other.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use openraft::EntryPayload;
use portcullis_core::members::{Members, Standing};
use portcullis_core::{NodeId, log};
use redb::{Database, ReadableDatabase, ReadableTable, StorageBackend};

use super::store::{Error, Identity, corrupt, encode, refused, reopen};
use super::tail::Tail;
use super::volume::{Stage, Volume};
use super::writer::{self, Change, LOG};
use super::{Formed, LogEntry, LogId, Membership, SnapshotMeta, Vote, kept, peer, versions};

/// Why a store cannot be made a cluster of its own.
#[derive(Debug, thiserror::Error)]
pub enum NotRecovered {
    /// It is no store of this node's that could be read.
    #[error(transparent)]
    Store(#[from] Error),
    /// Nothing was ever written to it, or nothing of who the members are.
    #[error("it has nothing to recover: it never learnt who the members of its cluster are")]
    Empty,
    /// The log says that this node was removed: what came after that it does not know.
    #[error(
        "{0} was removed from the cluster: it knows nothing of what came after; recover another one"
    )]
    Removed(NodeId),
}

/// A store that is opened for this and nothing else.
pub struct Recovery {
    database: Database,
    /// Has an older store be of this format from here on.
    upgrade: Box<dyn Fn() -> io::Result<()> + Send>,
    identity: Identity,
    vote: Option<Vote>,
    last: LogId,
    tables: log::State,
    membership: Membership,
}

impl Recovery {
    /// Reads everything that a store has; of whichever node it is if that is not said.
    pub fn open(
        disk: impl StorageBackend,
        identity: Option<Identity>,
    ) -> Result<Recovery, NotRecovered> {
        let identity = match identity {
            Some(identity) => identity,
            None => Volume::whose(&disk)?.ok_or(NotRecovered::Empty)?,
        };
        let (volume, stage) = Volume::identify(disk, &identity)?;
        if stage == Stage::Empty {
            return Err(NotRecovered::Empty);
        }
        let database = reopen(&volume, stage)?;
        let Tail { vote, last, .. } = Tail::load(&database)?;
        let (tables, membership) = replay(&database)?;
        let last = last.ok_or(NotRecovered::Empty)?;
        match tables.members.standing(identity.node) {
            Standing::Joined => {}
            Standing::Removed => return Err(NotRecovered::Removed(identity.node)),
            Standing::Unknown => return Err(NotRecovered::Empty),
        }
        let upgrade = Box::new({
            let identity = identity.clone();
            move || volume.upgrade(&identity)
        });
        Ok(Recovery { database, upgrade, identity, vote, last, tables, membership })
    }

    /// Whose store it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The last entry of its log. Those after it are lost, if there were any.
    pub fn last(&self) -> LogId {
        self.last
    }

    /// The term that it has voted in last: at least that of its last entry.
    pub fn term(&self) -> u64 {
        self.vote.map_or(self.last.leader_id.term, |vote| vote.leader_id.term)
    }

    /// How many leases are held, by its last entry.
    pub fn leases(&self) -> usize {
        self.tables.leases.len()
    }

    /// Who belongs to the cluster, by its last entry.
    pub fn members(&self) -> &Members {
        &self.tables.members
    }

    /// Who votes, by its last entry.
    pub fn formed(&self) -> Formed {
        Formed::of(self.membership.membership())
    }

    /// Whether it is all of the cluster as it is.
    pub fn is_alone(&self) -> bool {
        self.members().len() == 1 && self.formed().voters == BTreeSet::from([self.identity.node])
    }

    /// Makes it so, durably or not at all.
    pub fn make_alone(mut self) -> Result<(), Error> {
        let me = self.identity.node;
        self.tables.members.leave_only(me);
        let address = self.members().get(me).map(|member| member.address.clone());
        let node = peer(&address.expect("it is a member, as was looked at when it was opened"));
        let nodes = BTreeMap::from([(me.0, node)]);
        let alone = openraft::Membership::new(vec![BTreeSet::from([me.0])], nodes)
            .expect("the one voter is among the nodes");
        let meta = SnapshotMeta {
            last_log_id: Some(self.last),
            last_membership: Membership::new(Some(self.last), alone),
        };
        let data = versions::encode_snapshot(self.tables.freeze());
        let saving = kept::savings(&self.database).map_err(refused)?;
        let purge = Change::Purge { upto: self.last.index, purged: encode(&self.last) };
        let changes: Vec<Change> = kept::changes(saving, &meta, data).chain([purge]).collect();
        (self.upgrade)()?;
        writer::commit(&self.database, changes.iter()).map_err(refused)
    }
}

/// The tables and the roles as of the last entry, whether that was decided or not.
fn replay(database: &Database) -> Result<(log::State, Membership), Error> {
    let read = || -> Result<_, redb::Error> {
        Ok((database.begin_read()?.open_table(LOG)?, kept::snapshot(database)?))
    };
    let (log, snapshot) = read().map_err(refused)?;
    let (mut tables, mut membership, mut covered) =
        (log::State::default(), Membership::default(), None);
    if let Some((meta, data)) = snapshot.transpose().map_err(corrupt)? {
        tables = log::State::restore(versions::decode_snapshot(&data).map_err(corrupt)?);
        (membership, covered) = (meta.last_membership, meta.last_log_id.map(|last| last.index));
    }
    for entry in log.iter().map_err(|error| refused(error.into()))? {
        let (index, bytes) = entry.map_err(|error| refused(error.into()))?;
        if Some(index.value()) <= covered {
            continue;
        }
        let entry: LogEntry = versions::decode_entry(bytes.value()).map_err(corrupt)?;
        match &entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Normal(one) => drop(tables.apply(one)),
            EntryPayload::Membership(formed) => {
                membership = Membership::new(Some(entry.log_id), formed.clone());
            }
        }
    }
    Ok((tables, membership))
}
