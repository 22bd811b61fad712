//! What raft nodes report, and what the world makes of it.

use portcullis::env::Affair;
use portcullis::raft::{Formed, Proposed, Role};
use portcullis_core::controller::Input;
use portcullis_core::{NodeId, roles};
use tracing::Instrument as _;

use super::raft::{Fate, Letter, Node, Report, spawn};
use super::{Event, Waiting, World, configuration};
use crate::engine::network::Passage;
use crate::history::{Event as Fact, Who};
use crate::logs;
use crate::members;
use crate::stage::Place;

impl World<'_> {
    /// Starts the raft node of a process.
    pub(super) fn start_raft(&mut self, node: NodeId) {
        let founds = |node: &NodeId| members::founds(self.plan, *node);
        let members: Vec<NodeId> = self.plan.controllers().filter(founds).collect();
        let (inbox, config) = (self.inbox.clone(), configuration::raft(self.plan));
        let process = self.process(node);
        let (life, disk) = (process.life, process.disk.clone());
        // One node founds the cluster, again if it died before that was on its disk.
        let founds = members.first() == Some(&node) && disk.is_new();
        let starts = async move {
            let node = Node::start(life, &config, disk, founds.then_some(&*members), &inbox).await;
            inbox.push(Report::Started { node });
        };
        spawn(starts.instrument(logs::of(Who::Controller(node))));
    }

    /// Takes note of one report. Those of past lives go nowhere.
    pub(super) fn report(&mut self, report: Report) {
        let Some(report) = self.miss_report(report) else { return };
        match report {
            Report::Started { node } => {
                let process = self.process(node.life().node);
                if process.lives(node.life()) {
                    process.raft = Some(node);
                } else {
                    node.kill();
                }
            }
            Report::Letter(letter) => self.post(letter),
            Report::Write { life, write } => {
                let (now, takes) = (self.now, self.plan.settings.controllers.sync_time);
                let process = self.process(life.node);
                if !process.lives(life) {
                    // Nobody waits for it.
                } else if let Some(error) = process.refuses_writes() {
                    process.disk.failed(write, error);
                } else {
                    let at = process.sync(now, takes);
                    self.heap.push(at, Event::Durable(life, write));
                }
            }
            Report::Applied { life, index, entry, applied } => {
                if self.process(life.node).lives(life) {
                    let fact = Fact::Applied { index, entry: &entry, applied: &applied };
                    self.record(Who::Controller(life.node), fact);
                    let released = applied.released;
                    self.tell(life.node, Input::Applied { index, released });
                    // A leader that has begun with nothing committed says so with its first entry.
                    if !self.process(life.node).heard {
                        self.hear_leader(life.node);
                    }
                }
            }
            Report::Members { life, index, command, outcome } => {
                if self.process(life.node).lives(life) {
                    let affair = Affair::Applied { index, command: &command, outcome: &outcome };
                    self.record(Who::Controller(life.node), Fact::Cluster(affair));
                    self.tell(life.node, Input::Applied { index, released: Vec::new() });
                    self.leave_if_removed(life.node);
                    self.follow_members(life.node);
                }
            }
            Report::Formed { life, index, formed } => {
                if self.process(life.node).lives(life) {
                    let Formed { voters, before, learners } = &formed;
                    let before = before.as_ref();
                    let affair = Affair::Formed { index, voters, before, learners };
                    self.record(Who::Controller(life.node), Fact::Cluster(affair));
                    self.leave_if_removed(life.node);
                }
            }
            Report::Changed { life, done } => {
                if self.process(life.node).lives(life) {
                    let told = if done { roles::Input::Changed } else { roles::Input::NotChanged };
                    self.tell_roles(life.node, told);
                }
            }
            Report::Restored { life, index } => {
                if self.process(life.node).lives(life) {
                    self.tell(life.node, Input::Restored { index });
                    self.follow_members(life.node);
                }
            }
            Report::Failed { life } => self.fail(life),
            Report::Role { life, role } => {
                let process = self.process(life.node);
                if !process.lives(life) {
                    return;
                }
                let told = match role {
                    Role::Leader { .. } => roles::Input::Led,
                    Role::Follower { .. } => roles::Input::Followed,
                };
                self.tell_roles(life.node, told);
                let process = self.process(life.node);
                let global = process.raft.as_ref().map(Node::global).unwrap_or_default();
                process.heard = false;
                process.leader = match role {
                    Role::Leader { .. } => None,
                    Role::Follower { leader } => leader,
                };
                self.tell(
                    life.node,
                    match role {
                        Role::Leader { .. } => Input::Led { global },
                        Role::Follower { leader } => Input::Followed { leader },
                    },
                );
                self.hear_leader(life.node);
            }
            Report::Proposed { life, batch, proposed } => {
                if self.process(life.node).lives(life) {
                    self.tell(
                        life.node,
                        match proposed {
                            Proposed::Committed { index, applied } => {
                                Input::Committed { batch, index, outcomes: applied.outcomes }
                            }
                            Proposed::NotProposed { leader } => {
                                Input::NotProposed { batch, leader }
                            }
                            Proposed::Unknown => Input::BatchLost { batch },
                        },
                    );
                }
            }
        }
    }

    /// Sends a letter. One that is lost is dropped, which tells its sender nothing.
    pub(super) fn post(&mut self, letter: Letter) {
        if !self.process(letter.from.node).lives(letter.from) {
            return;
        }
        let (from, to) = (Place::Controller(letter.from.node), Place::Controller(letter.to));
        match self.network.pass(self.now, from, to) {
            Passage::Arrives(at) => self.heap.push(at, Event::Letter(letter)),
            Passage::Held => self.held.push((from, to, Waiting::Letter(letter))),
            Passage::Lost => {}
        }
    }

    /// A letter arrives.
    pub(super) fn deliver(&mut self, letter: Letter) {
        if self.gone(letter.to, letter.from.node) {
            // It is told so, and drops the letter.
            return self.left(letter.from.node);
        }
        let locked = self.locks_out(letter.to) || self.is_unbound(letter.to);
        let process = self.process(letter.to);
        let fate = match &process.raft {
            Some(_) if locked => Fate::Refused,
            Some(node) => Fate::Arrived { raft: node.raft(), life: process.life.number },
            None => Fate::Refused,
        };
        // Its sender may have given up or died.
        let _ = letter.fate.send(fate);
    }
}
