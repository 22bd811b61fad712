//! Who stands at the API door, and in which order they are let in.
//!
//! Not a [`Machine`](crate::Machine): it orders nothing and is only asked.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::Kind;
use crate::ids::ConnectionId;
use crate::time::Time;

#[derive(Clone, Copy, Debug)]
struct Standing {
    since: Time,
    /// None until it has said who it is.
    kind: Option<Kind>,
}

/// Everybody at the door. First come, first served: connections are numbered as they come.
#[derive(Clone, Debug, Default)]
pub struct Held {
    standing: BTreeMap<ConnectionId, Standing>,
    by_time: BTreeSet<(Time, ConnectionId)>,
    controllers: BTreeSet<ConnectionId>,
    others: BTreeSet<ConnectionId>,
}

impl Held {
    /// How many stand at the door, whether they have said who they are or not.
    pub fn len(&self) -> usize {
        self.standing.len()
    }

    /// One more comes to stand at the door.
    pub fn knock(&mut self, now: Time, connection: ConnectionId) {
        let standing = Standing { since: now, kind: None };
        let before = self.standing.insert(connection, standing);
        assert!(before.is_none(), "a name is never used twice");
        self.by_time.insert((now, connection));
    }

    /// It has said who it is; whoever stands here no more, or has said so before, is not heard.
    pub fn arrive(&mut self, connection: ConnectionId, kind: Kind) {
        let Some(standing) = self.standing.get_mut(&connection) else { return };
        if standing.kind.is_none() {
            standing.kind = Some(kind);
            self.row(kind).insert(connection);
        }
    }

    /// It stands here no more.
    pub fn remove(&mut self, connection: ConnectionId) {
        let Some(standing) = self.standing.remove(&connection) else { return };
        self.by_time.remove(&(standing.since, connection));
        if let Some(kind) = standing.kind {
            self.row(kind).remove(&connection);
        }
    }

    /// Who of this kind came first.
    pub fn first(&self, kind: Kind) -> Option<ConnectionId> {
        match kind {
            Kind::Controller => self.controllers.first().copied(),
            Kind::Other => self.others.first().copied(),
        }
    }

    /// Who has stood here the longest, and since when.
    pub fn oldest(&self) -> Option<(Time, ConnectionId)> {
        self.by_time.first().copied()
    }

    /// Everybody leaves.
    pub fn clear(&mut self) -> Vec<ConnectionId> {
        let all = self.standing.keys().copied().collect();
        *self = Held::default();
        all
    }

    fn row(&mut self, kind: Kind) -> &mut BTreeSet<ConnectionId> {
        match kind {
            Kind::Controller => &mut self.controllers,
            Kind::Other => &mut self.others,
        }
    }
}
