//! Which member of the cluster has which role: one leader, other voters, stand-bys and spares.
//!
//! Run by the leader (seed 003: "one leader", "up to two other voters", "stand-bys", "spares"). It
//! looks at the cluster and orders one change at a time. It never takes a step after which those
//! that are heard and have the log would be no majority, and no step at all because others are
//! merely silent: only the table of members makes a cluster smaller. A vote moves when its holder
//! was silent for `silent_max`, leaves, or is no member any more, and only to who was heard without a
//! break for `steady_min` and has the log. Or it moves because an operator wants it elsewhere
//! ([`Preference`](crate::members::Preference)), which changes who is chosen and no step of the way.
//!
//! ```text
//!            Led               Look, Seen               one change
//!   resting ─────▶ looking ───────────────▶ deciding ───────────────▶ changing ─┐
//!      ▲              ▲                        │ nothing to do                   │ Changed, NotChanged,
//!      └─ Followed ───┴────────────────────────┴─────────────────────────────────┘ or too late
//! ```

mod choice;
mod parting;
mod words;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::Machine;
use crate::ids::NodeId;
use crate::time::{Time, Timeout};
use choice::Choice;
pub use parting::Stays;
pub use words::{Config, Input, Names, Output, Picture};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It does not lead.
    Resting,
    /// It looks again at this time.
    Looking { again_at: Time },
    /// A change is under way, for which it waits no longer than this.
    Changing { until: Time },
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Roles {
    config: Config,
    phase: Phase,
    stopping: bool,
    /// Since when each member is heard of without a break, or silent without one.
    heard: BTreeMap<NodeId, Time>,
    silent: BTreeMap<NodeId, Time>,
    /// Who said that it leaves, and until when that counts.
    leaving: BTreeMap<NodeId, Time>,
}

impl Roles {
    /// The machine of a controller that does not lead.
    pub fn new(config: Config) -> Roles {
        assert!(!config.look_every.is_zero(), "it would look without end");
        Roles {
            config,
            phase: Phase::Resting,
            stopping: false,
            heard: BTreeMap::new(),
            silent: BTreeMap::new(),
            leaving: BTreeMap::new(),
        }
    }

    /// Notes who is heard. Who it has not known before counts from this moment.
    fn note(&mut self, now: Time, picture: &Picture) {
        let named = picture.members.iter().map(|(node, _)| node);
        let known: BTreeSet<NodeId> =
            named.chain(picture.voters.iter().chain(&picture.learners).copied()).collect();
        self.heard.retain(|node, _| known.contains(node));
        self.silent.retain(|node, _| known.contains(node));
        self.leaving.retain(|node, until| known.contains(node) && *until > now);
        for node in known {
            let heard = node == self.config.node || picture.heard.contains(&node);
            let (to, from) = match heard {
                true => (&mut self.heard, &mut self.silent),
                false => (&mut self.silent, &mut self.heard),
            };
            from.remove(&node);
            to.entry(node).or_insert(now);
        }
    }

    fn seen(&mut self, now: Time, picture: &Picture, out: &mut Vec<Output>) {
        self.note(now, picture);
        let past = |since: &BTreeMap<NodeId, Time>, long| -> BTreeSet<NodeId> {
            let past = since.iter().filter(|(_, since)| now >= **since + long);
            past.map(|(node, _)| *node).collect()
        };
        let mut leaving: BTreeSet<NodeId> = self.leaving.keys().copied().collect();
        if self.stopping {
            leaving.insert(self.config.node);
        }
        let choice = Choice {
            me: self.config.node,
            reads: self.config.reads,
            lag_max: self.config.lag_max,
            picture,
            steady: past(&self.heard, self.config.steady_min),
            lost: past(&self.silent, self.config.silent_max),
            leaving,
        };
        if let Some(change) = choice.next() {
            self.phase = Phase::Changing { until: now + self.config.change_within };
            out.push(change);
        }
    }

    fn look(&mut self, now: Time, out: &mut Vec<Output>) {
        self.phase = Phase::Looking { again_at: now + self.config.look_every };
        out.push(Output::Look);
    }

    /// Looks at once if it leads and nothing is under way.
    fn look_early(&mut self, now: Time, out: &mut Vec<Output>) {
        match self.phase {
            Phase::Looking { .. } => self.look(now, out),
            Phase::Resting | Phase::Changing { .. } => {}
        }
    }
}

impl Machine for Roles {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        match (input, self.phase) {
            (Input::Led, Phase::Resting) => {
                (self.heard, self.silent) = (BTreeMap::new(), BTreeMap::new());
                self.look(now, out);
            }
            (Input::Led, Phase::Looking { .. } | Phase::Changing { .. }) => {}
            (Input::Followed, _) => {
                self.phase = Phase::Resting;
                self.leaving.clear();
            }
            (Input::Seen(picture), Phase::Looking { .. }) => {
                let picture: Box<Picture> = picture;
                self.seen(now, &picture, out);
            }
            (Input::Seen(_), Phase::Resting | Phase::Changing { .. }) => {}
            (Input::Changed, Phase::Changing { .. }) => self.look(now, out),
            (Input::NotChanged, Phase::Changing { .. }) => {
                self.phase = Phase::Looking { again_at: now + self.config.look_every };
            }
            (Input::Changed | Input::NotChanged, Phase::Resting | Phase::Looking { .. }) => {}
            (Input::Leaving { node }, _) => {
                self.leaving.insert(node, now + self.config.leaving_for);
                self.look_early(now, out);
            }
            (Input::Stopping, _) => {
                self.stopping = true;
                self.look_early(now, out);
            }
        }
    }

    fn poll_timeout(&self) -> Option<Timeout> {
        match self.phase {
            Phase::Resting => None,
            Phase::Looking { again_at } => Some(Timeout { at: again_at, why: "look at the roles" }),
            Phase::Changing { until } => Some(Timeout { at: until, why: "a change of roles" }),
        }
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Vec<Output>) {
        match self.phase {
            Phase::Looking { again_at: at } | Phase::Changing { until: at } if now >= at => {
                self.look(now, out);
            }
            Phase::Resting | Phase::Looking { .. } | Phase::Changing { .. } => {}
        }
    }
}
