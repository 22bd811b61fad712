//! The cluster as it is, its leader's machine, and what that machine may order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use portcullis_core::members::{Command, Member, READS, Wanted};
use portcullis_core::roles::{Config, Input, Output, Picture, Roles};
use portcullis_core::{Address, GlobalTime, Machine, NodeId};

use super::{Action, Bounds, Cluster, Fate};
use crate::explore::{Judged, Tick, demand, time};

const QUORUM: &str =
    "every majority that counts is heard and has the log, before a change and after";
const SHRINK: &str = "fewer vote only if the table of members says so";
const MEMBER: &str = "only members that have the log are given a vote";
const OWN: &str = "a leader that stays keeps its vote";
const ONE_CHANGE: &str = "one change at a time, and only by who leads";
const ADD: &str = "the log is given to members that are heard";
const DROP: &str =
    "the log is taken from nobody who votes, and from members only if enough have it";
const HEIR: &str = "the lead is given to a voter that is heard, has the log and stays";

const LAG_MAX: u64 = 10;
const LAST: u64 = 100;

#[derive(Clone, Debug)]
pub struct World {
    pub now: Tick,
    /// The cluster as it is; the leader's picture is made of it when it looks.
    pub picture: Picture,
    pub lagging: BTreeSet<NodeId>,
    pub leader: NodeId,
    machines: BTreeMap<NodeId, Roles>,
    /// Whether the leader waits to be shown the cluster.
    pub looks: bool,
    /// A change under way, and the picture by which it was ordered.
    pub change: Option<Output>,
    shown: Picture,
    pub stopping: BTreeSet<NodeId>,
    pub left: Bounds,
    pub broken: Option<&'static str>,
}

impl Judged for World {
    fn broken(&self) -> Option<&'static str> {
        self.broken
    }
}

fn member(id: u64) -> (NodeId, Member) {
    let address = Address::new(&format!("host-{id}:17022"));
    (NodeId(id), Member { address, api: Vec::new(), domain: "".into(), reads: READS })
}

fn config(node: NodeId) -> Config {
    Config {
        silent_max: Duration::from_secs(2),
        steady_min: Duration::from_secs(1),
        lag_max: LAG_MAX,
        look_every: Duration::from_secs(1),
        change_within: Duration::from_secs(1),
        leaving_for: Duration::from_secs(60),
        ..Config::new(node)
    }
}

/// Whether a node counts towards a majority in this picture; the leader always does.
fn able(picture: &Picture, leader: NodeId, node: NodeId) -> bool {
    let matched = picture.matched.get(&node).copied().unwrap_or_default();
    node == leader || picture.heard.contains(&node) && matched + LAG_MAX >= picture.last
}

fn majority(picture: &Picture, leader: NodeId, voters: &BTreeSet<NodeId>) -> bool {
    voters.iter().filter(|node| able(picture, leader, **node)).count() * 2 > voters.len()
}

/// The odd number of voters that the table asks for.
fn most(picture: &Picture) -> usize {
    let wanted = usize::from(picture.members.wanted().voters).min(picture.members.len());
    wanted - usize::from(wanted % 2 == 0)
}

impl World {
    pub fn new(cluster: &Cluster) -> World {
        let members: BTreeMap<NodeId, Member> = (1..=cluster.members).map(member).collect();
        let nodes: BTreeSet<NodeId> = members.keys().copied().collect();
        let stand_bys = u8::try_from(cluster.members - cluster.voters).unwrap_or(u8::MAX);
        let wanted = Wanted { voters: cluster.wanted, stand_bys };
        let mut picture = Picture { last: LAST, heard: nodes.clone(), ..Picture::default() };
        let founded = picture.members.apply(GlobalTime(0), &Command::Found { members, wanted });
        assert!(founded.is_ok(), "a cluster can be founded once");
        picture.voters = (1..=cluster.voters).map(NodeId).collect();
        picture.learners = nodes.difference(&picture.voters).copied().collect();
        let mut world = World {
            now: 0,
            shown: Picture::default(),
            picture,
            lagging: BTreeSet::new(),
            leader: NodeId(1),
            machines: nodes.iter().map(|node| (*node, Roles::new(config(*node)))).collect(),
            looks: false,
            change: None,
            stopping: BTreeSet::new(),
            left: cluster.bounds,
            broken: None,
        };
        world.tell(NodeId(1), Input::Led);
        world
    }

    fn tell(&mut self, node: NodeId, input: Input) {
        let mut orders = Vec::new();
        let machine = self.machines.get_mut(&node).expect("every node has a machine");
        machine.handle(time(self.now), input, &mut orders);
        self.see(node, orders);
    }

    fn see(&mut self, node: NodeId, orders: Vec<Output>) {
        for order in orders {
            let verdict = self.judge(node, &order);
            self.broken = self.broken.or(verdict.err());
            match order {
                Output::Look => (self.looks, self.change) = (true, None),
                change => self.change = Some(change),
            }
        }
    }

    fn judge(&self, node: NodeId, order: &Output) -> Result<(), &'static str> {
        demand(node == self.leader && self.change.is_none() || *order == Output::Look, ONE_CHANGE)?;
        let picture = &self.shown;
        let joined = |node: NodeId| picture.members.get(node).is_some();
        let has_log =
            |node: &NodeId| picture.voters.contains(node) || picture.learners.contains(node);
        match order {
            Output::Look => Ok(()),
            Output::Found => Err(ONE_CHANGE),
            Output::Appoint { voters } => {
                let configs = [voters, &picture.voters].into_iter().chain(&picture.before);
                let safe = |voters: &BTreeSet<NodeId>| majority(picture, node, voters);
                demand(configs.into_iter().all(safe), QUORUM)?;
                if picture.before.is_some() {
                    return demand(*voters == picture.voters, ONE_CHANGE);
                }
                demand(voters.iter().all(|node| joined(*node) && has_log(node)), MEMBER)?;
                let present = picture.voters.iter().filter(|node| joined(**node)).count();
                demand(voters.len() >= present.min(most(picture)), SHRINK)?;
                let stays = joined(node) && !self.stopping.contains(&node);
                demand(!stays || voters.contains(&node), OWN)
            }
            Output::Add { node } => {
                let fits = joined(*node) && !has_log(node) && picture.heard.contains(node);
                demand(fits, ADD)
            }
            Output::Drop { node } => {
                let wanted = picture.members.wanted();
                let wanted = usize::from(wanted.voters) + usize::from(wanted.stand_bys);
                let all = picture.voters.iter().chain(&picture.learners);
                let enough = all.filter(|node| joined(**node)).count() > wanted;
                let votes = picture.voters.contains(node);
                demand(!votes && (!joined(*node) || enough), DROP)
            }
            Output::HandOver { to } => {
                let fit = picture.voters.contains(to) && able(picture, node, *to) && joined(*to);
                let due = !joined(node) || self.stopping.contains(&node);
                demand(fit && due && *to != node && !self.stopping.contains(to), HEIR)
            }
        }
    }

    pub fn step(&mut self, action: Action) {
        match action {
            Action::Look => {
                self.looks = false;
                self.shown = self.view();
                self.tell(self.leader, Input::Seen(Box::new(self.shown.clone())));
            }
            Action::Change(fate) => self.change(fate),
            Action::Silence(node) => {
                self.left.silences -= 1;
                self.picture.heard.remove(&node);
            }
            Action::Hear(node) => {
                self.picture.heard.insert(node);
            }
            Action::Lag(node) => {
                self.left.lags -= 1;
                self.lagging.insert(node);
            }
            Action::CatchUp(node) => {
                self.lagging.remove(&node);
            }
            Action::Elect(node) => {
                self.left.elections -= 1;
                self.lead(node);
            }
            Action::Remove(node) => {
                self.left.removals -= 1;
                let removed = self.picture.members.apply(GlobalTime(0), &Command::Remove { node });
                assert!(removed.is_ok(), "a member can be removed, but not the last");
            }
            Action::Stop => {
                self.left.stops -= 1;
                self.stopping.insert(self.leader);
                self.tell(self.leader, Input::Stopping);
            }
            Action::Timeout => {
                let mut orders = Vec::new();
                let machine = self.machines.get_mut(&self.leader).expect("the leader is a node");
                machine.handle_timeout(time(self.now), &mut orders);
                self.see(self.leader, orders);
            }
            Action::Tick => self.now += 1,
        }
    }

    /// What the leader is shown: the cluster as it is, and who has the log as far as it has heard.
    fn view(&self) -> Picture {
        let mut view = self.picture.clone();
        let before = view.before.iter().flatten();
        for node in view.voters.iter().chain(&view.learners).chain(before) {
            let lags = self.lagging.contains(node) || !view.heard.contains(node);
            view.matched.insert(*node, if lags { 0 } else { LAST });
        }
        view
    }

    fn lead(&mut self, node: NodeId) {
        let before = std::mem::replace(&mut self.leader, node);
        (self.looks, self.change) = (false, None);
        self.tell(before, Input::Followed);
        self.tell(node, Input::Led);
        // Whoever stops goes on saying so to whoever leads.
        for leaving in self.stopping.clone() {
            self.tell(node, Input::Leaving { node: leaving });
        }
    }

    fn change(&mut self, fate: Fate) {
        let Some(change) = self.change.take() else { return };
        self.left.failures -= u8::from(fate != Fate::Done);
        let made = matches!(fate, Fate::Done | Fate::Unknown | Fate::Half);
        match &change {
            Output::Appoint { voters } if made => {
                let Picture { voters: present, learners, before, .. } = &mut self.picture;
                let earlier = before.take().unwrap_or_default();
                let all = present.iter().chain(&*learners).chain(&earlier);
                let mut all: BTreeSet<NodeId> = all.copied().collect();
                all.retain(|node| !voters.contains(node));
                if fate == Fate::Half {
                    all.retain(|node| !present.contains(node));
                    *before = Some(present.clone());
                }
                (*learners, *present) = (all, voters.clone());
            }
            Output::Add { node } if made => {
                self.picture.learners.insert(*node);
            }
            Output::Drop { node } if made => {
                self.picture.learners.remove(node);
            }
            Output::HandOver { to } if made => return self.lead(*to),
            Output::Look
            | Output::Found
            | Output::Appoint { .. }
            | Output::Add { .. }
            | Output::Drop { .. }
            | Output::HandOver { .. } => {}
        }
        match fate {
            Fate::Done => self.tell(self.leader, Input::Changed),
            Fate::Failed | Fate::Unknown | Fate::Half => {
                self.tell(self.leader, Input::NotChanged);
            }
            Fate::Silent => {}
        }
    }

    pub fn due(&self) -> bool {
        let timeout = self.machines[&self.leader].poll_timeout();
        timeout.is_some_and(|due| due.at <= time(self.now))
    }

    /// Whether a majority of every set of voters that counts could agree, with `node` as leader.
    pub fn can_agree(&self, node: NodeId, next: Option<&BTreeSet<NodeId>>) -> bool {
        let view = self.view();
        let configs = [&view.voters].into_iter().chain(&view.before).chain(next);
        configs.into_iter().all(|voters| majority(&view, node, voters))
    }

    pub fn over(&self, cluster: &Cluster) -> bool {
        self.now == cluster.end && !self.due() && !self.looks && self.change.is_none()
    }

    pub fn settled(&self) -> bool {
        let Picture { members, voters, learners, before, .. } = &self.picture;
        let wanted = members.wanted();
        let replicas = usize::from(wanted.voters) + usize::from(wanted.stand_bys);
        let all = voters.iter().chain(learners);
        before.is_none()
            && voters.len() == most(&self.picture)
            && all.clone().all(|node| members.get(*node).is_some())
            && all.count() == replicas.min(members.len())
            && (voters.contains(&self.leader) && !self.stopping.contains(&self.leader))
    }
}
