//! How a controller stops: who leaves when, and where to.
//!
//! Seed 001: all the agents of a controller that goes come to the others at once. So they go one by
//! one, over half of the time that there is; each to the controller that then has the fewest, and
//! none before what it asked for is answered.
//!
//! ```text
//!             turn, nothing under way
//!   Waiting ──────────────────────────▶ Told ──Disconnected──▶ gone
//!    │   ▲ answered                      ▲  │
//!    ▼   │                               │  └─ drain_max: hung up
//!    Busy ──drain_max: answered──────────┘          all gone, or drain_max: Stopped
//! ```

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use super::{Controller, Output, all_of};
use crate::ids::{ConnectionId, NodeId};
use crate::mistake::Mistake;
use crate::sessions::{Party, Why};
use crate::time::{Time, Timeout, micros};
use crate::{balancer, listener};

/// Everybody who is to leave.
#[derive(Clone, Debug)]
pub(super) struct Drain {
    until: Time,
    /// When the next one is told.
    next_at: Time,
    gap: Duration,
    waiting: BTreeSet<ConnectionId>,
    /// Those whose turn came while something of theirs was under way.
    busy: BTreeSet<ConnectionId>,
    told: BTreeSet<ConnectionId>,
    /// Where they may go, and how many agents each has.
    others: BTreeMap<NodeId, u64>,
    stopped: bool,
}

impl Drain {
    /// How many are still here.
    pub(super) fn left(&self) -> usize {
        self.waiting.len() + self.busy.len() + self.told.len()
    }

    pub(super) fn gone(&mut self, connection: ConnectionId) {
        self.waiting.remove(&connection);
        self.busy.remove(&connection);
        self.told.remove(&connection);
    }

    pub(super) fn unreachable(&mut self, node: NodeId) {
        self.others.remove(&node);
    }

    pub(super) fn poll_timeout(&self) -> Option<Timeout> {
        if self.stopped {
            return None;
        }
        let next = Timeout { at: self.next_at, why: "send the next elsewhere" };
        let next = Some(next).filter(|_| !self.waiting.is_empty());
        Timeout::earlier(next, Some(Timeout { at: self.until, why: "stop" }))
    }

    /// Whoever has the fewest, with one more that is on its way.
    fn target(&mut self) -> Option<NodeId> {
        let (node, agents) =
            self.others.iter_mut().min_by_key(|(node, agents)| (**agents, **node))?;
        *agents += 1;
        Some(*node)
    }
}

impl Controller {
    /// Shuts the doors, and begins to send everybody elsewhere. Harmless if that has begun.
    pub(super) fn stop(&mut self, now: Time, out: &mut Vec<Output>) {
        if self.drain.is_some() {
            return;
        }
        let reachable = |node: &NodeId| *node != self.node && self.readiness.reachable(*node);
        let heard = self.balancer.all_heard();
        let others = heard.filter(|(node, load)| reachable(node) && load.room > 0);
        let mut others: BTreeMap<_, _> = others.map(|(node, load)| (node, load.agents)).collect();
        if others.is_empty() {
            // Without a policy nobody tells counts; then all that can be reached are alike.
            others = self.readiness.linked().filter(reachable).map(|node| (node, 0)).collect();
        }
        let guests = self.sessions.all().filter(|(_, party)| match party {
            Some(Party::Controller(_)) => false,
            Some(Party::Agent | Party::User) | None => true,
        });
        let waiting: BTreeSet<ConnectionId> = guests.map(|(connection, _)| connection).collect();
        let gap = micros(self.drain_max) / 2 / (waiting.len() as u64).max(1);
        self.drain = Some(Drain {
            until: now + self.drain_max,
            next_at: now,
            gap: Duration::from_micros(gap.max(1)),
            waiting,
            busy: BTreeSet::new(),
            told: BTreeSet::new(),
            others,
            stopped: false,
        });
        self.listen(now, listener::Input::Stopping, out);
        self.weigh(now, balancer::Input::Stopping, out);
        self.drain_on(now, out);
    }

    /// Whoever waits for its turn to leave may have nothing under way any more.
    pub(super) fn answered(&mut self, connection: ConnectionId) {
        let idle = !self.is_busy(connection);
        if let Some(drain) = &mut self.drain
            && idle
            && drain.busy.remove(&connection)
        {
            drain.waiting.insert(connection);
        }
    }

    /// Whether somebody's ask is under way; a wait for a release may last forever, and is no reason
    /// to stay.
    fn is_busy(&self, connection: ConnectionId) -> bool {
        self.asks.range(all_of(connection)).next().is_some()
    }

    /// Sends away whose turn it is; at the end of its time, everybody.
    pub(super) fn drain_on(&mut self, now: Time, out: &mut Vec<Output>) {
        while let Some(drain) = &mut self.drain
            && !drain.stopped
            && drain.next_at <= now
            && let Some(connection) = drain.waiting.pop_first()
        {
            drain.next_at = drain.next_at + drain.gap;
            if self.is_busy(connection) {
                self.drain.iter_mut().for_each(|drain| drain.busy.extend([connection]));
            } else {
                self.send_away(connection, out);
            }
        }
        let over = |drain: &Drain| !drain.stopped && drain.until <= now;
        if self.drain.as_ref().is_some_and(over) {
            self.cut_short(now, out);
        }
    }

    /// Tells it where to go: an agent to another controller, if one is known.
    fn send_away(&mut self, connection: ConnectionId, out: &mut Vec<Output>) {
        let Some(drain) = &mut self.drain else { return };
        drain.told.insert(connection);
        if Mistake::DrainForgets.made() {
            return;
        }
        let party = self.sessions.get(connection).and_then(|(_, party)| party);
        let to = if party == Some(Party::Agent) { drain.target() } else { None };
        out.push(match to {
            Some(to) => Output::Redirect { connection, to },
            None => Output::Hangup { connection, why: Why::Stopping },
        });
    }

    /// Whoever proves who it is while this controller stops is not let in.
    pub(super) fn turn_away(
        &mut self,
        connection: ConnectionId,
        party: Party,
        out: &mut Vec<Output>,
    ) {
        let drain = self.drain.as_mut().filter(|_| party == Party::Agent);
        out.push(match drain.and_then(Drain::target) {
            Some(to) => Output::Redirect { connection, to },
            None => Output::Refuse { connection },
        });
    }

    /// Time is up: every ask is answered as it stands, and everybody is told to go.
    fn cut_short(&mut self, now: Time, out: &mut Vec<Output>) {
        for ask in self.unanswered(..) {
            self.cancel(now, ask, out);
        }
        let Some(drain) = &mut self.drain else { return };
        drain.waiting.append(&mut drain.busy);
        let late: Vec<ConnectionId> = drain.told.iter().copied().collect();
        while let Some(connection) = self.drain.as_mut().and_then(|one| one.waiting.pop_first()) {
            self.send_away(connection, out);
        }
        let why = Why::Stopping;
        out.extend(late.into_iter().map(|connection| Output::Hangup { connection, why }));
        self.stopped(out);
    }

    /// Says that nothing is left, once that is so.
    pub(super) fn finish(&mut self, out: &mut Vec<Output>) {
        if self.drain.as_ref().is_some_and(|drain| drain.left() == 0) && self.asks.is_empty() {
            self.stopped(out);
        }
    }

    fn stopped(&mut self, out: &mut Vec<Output>) {
        if let Some(drain) = &mut self.drain
            && !drain.stopped
        {
            drain.stopped = true;
            out.push(Output::Stopped);
        }
    }
}
