//! Where controllers are, by their files, the log and the operator, and what agents are told of it.
//!
//! As in production, a controller looks at its file once a second and is bound where core's machine
//! says; then it has the log say so, and every controller tells its agents by what its own copy of
//! the log says. What operators set reaches all that run at once. Agents write down what they are
//! told, and dial nothing else; where nobody is, nobody answers.

use std::collections::BTreeMap;
use std::time::Duration;

use portcullis::node::Whereabouts;
use portcullis_core::addresses::{HostPort, for_agents, for_clients, to_dial};
use portcullis_core::agent::Output;
use portcullis_core::controller::Input;
use portcullis_core::members::{Command, Member, Members};
use portcullis_core::{Address, Door, NodeId};

use super::link::{Caller, Down, LinkId, Message};
use super::raft::Life;
use super::{Event, World};
use crate::addresses::{Addresses, Hosts, Written, at_home, controller_door, has_file, home};
use crate::history::{Event as Fact, Who};
use crate::plan::Plan;

/// From a process's start to its first look at its file.
pub(super) const LOOKS_AFTER: Duration = Duration::from_millis(100);
/// From one look to the next, as in production.
const LOOKS_EVERY: Duration = Duration::from_secs(1);
/// From one look at what the log says of a controller to the next, as in production.
const OWN_EVERY: Duration = Duration::from_secs(5);

/// What is so whichever process runs.
pub struct Places {
    set: Addresses,
    /// Whether nobody is told that controllers are nowhere; see the policy `keeps-lists`.
    keeps_lists: bool,
    /// What each file says, and how often it was written.
    files: BTreeMap<NodeId, (Written, u64)>,
    /// Whose host it is.
    hosts: BTreeMap<String, NodeId>,
    /// What operators have set.
    whereabouts: Whereabouts,
    /// Where everybody is in the beginning, and what each agent has written down.
    at_first: Vec<Address>,
    lists: Vec<Vec<Address>>,
}

/// What one process knows.
#[derive(Debug, Default)]
pub struct Known {
    /// Which state of its file it has looked at last.
    looked: Option<u64>,
    /// Where its controller door is to be bound, and where it is.
    host: Option<String>,
    pub bound: Option<String>,
    /// What it tells agents and users.
    servers: BTreeMap<NodeId, Vec<HostPort>>,
    /// Where it has dialled the others, by the log.
    logged: BTreeMap<NodeId, Address>,
}

impl Places {
    /// Everybody is at home, if the plan knows of hosts.
    pub fn new(plan: &Plan) -> Option<Places> {
        let set = plan.settings.addresses.clone()?;
        let file = |node| match has_file(plan, node) {
            true => Written::Hosts(vec![home(node)]),
            false => Written::Gone,
        };
        let peers = plan.controllers().map(|node| (node, vec![controller_door(&home(node))]));
        let servers = plan.controllers().map(|node| (node, at_home(node))).collect();
        let whereabouts = Whereabouts::new(servers, &peers.collect());
        let all: Vec<Vec<HostPort>> = plan.controllers().map(at_home).collect();
        let at_first = to_dial(&all);
        let agents = plan.settings.agents.count as usize;
        Some(Places {
            set,
            keeps_lists: plan.settings.policy.keeps_lists,
            files: plan.controllers().map(|node| (node, (file(node), 0))).collect(),
            hosts: plan.controllers().map(|node| (home(node), node)).collect(),
            whereabouts,
            lists: vec![at_first.clone(); agents],
            at_first,
        })
    }

    /// Whether a file says where a controller door is bound.
    pub fn bind_files(&self) -> bool {
        self.set.bind_files
    }

    /// Who answers at an address, if anybody does.
    pub fn whose(&self, address: &Address) -> Option<NodeId> {
        let (host, _) = address.as_str().rsplit_once(':')?;
        self.hosts.get(host).copied()
    }

    /// What whoever is new is told.
    pub fn at_first(&self) -> &[Address] {
        &self.at_first
    }

    /// What an agent has written down.
    pub fn list(&self, agent: u32) -> Vec<Address> {
        self.lists.get(agent as usize).cloned().unwrap_or_default()
    }

    /// What agents are told of one controller.
    fn usable(&self, all: &[HostPort]) -> Vec<HostPort> {
        let space = self.set.juju_mgmt_space.as_deref();
        match self.keeps_lists {
            true => for_agents(all, space),
            false => {
                let inside = |at: &HostPort| space.is_none() || at.space_name.as_deref() == space;
                for_clients(all).into_iter().filter(inside).collect()
            }
        }
    }
}

impl World<'_> {
    /// A controller looks at its file.
    pub(super) fn look(&mut self, life: Life) {
        if !self.process(life.node).lives(life) {
            return;
        }
        let file = self.places.as_ref().and_then(|places| places.files.get(&life.node).cloned());
        if let Some((says, written)) = file
            && self.process(life.node).known.looked.replace(written) != Some(written)
        {
            self.tell(life.node, Input::Offered { offer: says.offer() });
        }
        self.heap.push(self.now + LOOKS_EVERY, Event::Look(life));
    }

    /// A controller's file is written.
    pub(super) fn write_file(&mut self, node: NodeId, says: Written) {
        let Some(places) = &mut self.places else { return };
        if let Written::Hosts(hosts) = &says {
            places.hosts.extend(hosts.iter().map(|host| (host.clone(), node)));
        }
        if let Some(file) = places.files.get_mut(&node) {
            *file = (says, file.1 + 1);
        }
    }

    /// A controller has other hosts, and all operators say so.
    pub(super) fn move_api(&mut self, node: NodeId, are: &Hosts) {
        let Some(places) = &mut self.places else { return };
        places.hosts.retain(|_, owner| *owner != node);
        places.hosts.extend(are.0.iter().map(|(host, _)| (host.clone(), node)));
        places.whereabouts.servers.insert(node, are.addresses());
        for node in self.plan.controllers() {
            self.tell_servers(node);
        }
    }

    /// The controller door is to be bound there.
    pub(super) fn bind(&mut self, node: NodeId, host: String) {
        self.process(node).known.host = Some(host);
    }

    /// The controller door is bound; whoever waited where it was is let go.
    pub(super) fn bound(&mut self, node: NodeId, door: Door) {
        let port = std::mem::take(self.process(node).door(door));
        port.backlog.into_iter().for_each(|link| self.let_go(link));
        let process = self.process(node);
        process.door(door).bound = true;
        if door == Door::Controller && process.known.host.is_some() {
            process.known.bound.clone_from(&process.known.host);
            self.tell_servers(node);
            self.say_where(node);
        }
    }

    /// Whether a controller waits for its address: raft travels over connections that others make.
    pub(super) fn is_unbound(&mut self, node: NodeId) -> bool {
        let files = self.places.as_ref().is_some_and(Places::bind_files);
        files && self.process(node).known.bound.is_none()
    }

    /// Looks again and again whether the log says where a controller is.
    pub(super) fn own(&mut self, life: Life) {
        if self.process(life.node).lives(life) {
            self.say_where(life.node);
            self.heap.push(self.now + OWN_EVERY, Event::Own(life));
        }
    }

    /// Has the log say where a controller is, if there is a leader that it reaches.
    fn say_where(&mut self, node: NodeId) {
        if self.plan.settings.members.is_none() {
            return;
        }
        let process = self.process(node);
        let Some(raft) = &process.raft else { return };
        let Some(said) = raft.members().get(node).cloned() else { return };
        let at = process.known.bound.as_deref().map(controller_door);
        let api = process.known.servers.get(&node).into_iter().flatten();
        let api = api.map(|at| Address::from(at.joined())).collect();
        let address = at.unwrap_or_else(|| said.address.clone());
        let member = Member { address, api, ..said.clone() };
        let leader = self.history.leader();
        let process = self.process(node);
        let linked = leader.filter(|leader| {
            let peer = process.peers.get(leader);
            *leader == node || peer.is_some_and(|peer| matches!(peer.link, Some((_, true))))
        });
        if let Some(leader) = linked.filter(|_| member != said)
            && let Some(raft) = &self.process(leader).raft
        {
            raft.command(Command::Update { node, member });
        }
    }

    /// A controller's copy of the log says something of the members: it dials whoever moved anew, and
    /// tells its agents.
    pub(super) fn follow_members(&mut self, node: NodeId) {
        if self.places.is_none() {
            return;
        }
        let members = self.members(node);
        for (to, member) in members.iter() {
            let address = member.address.clone();
            let before = self.process(node).known.logged.insert(to, address.clone());
            if before.is_some_and(|before| before != address) {
                let link = self.process(node).peers.get(&to).and_then(|peer| peer.link);
                if let Some((link, _)) = link {
                    self.unwanted(link);
                    self.process(node).peers.entry(to).or_default().next = 0;
                    self.peer_lost(node, to);
                }
            }
        }
        self.tell_servers(node);
    }

    /// The hosts at which a controller dials another, best first.
    pub(super) fn hosts(&mut self, node: NodeId, to: NodeId) -> Vec<Option<String>> {
        if self.places.as_ref().is_none_or(|places| !places.bind_files()) || node == to {
            return vec![None];
        }
        let logged = self.process(node).known.logged.get(&to);
        let logged = logged.and_then(|at| at.as_str().rsplit_once(':')).map(|(host, _)| host);
        let newer = logged.filter(|host| *host != home(to)).map(str::to_owned);
        newer.into_iter().chain([home(to)]).map(Some).collect()
    }

    /// Tells a controller's agents where controllers are, if that is not where they were told.
    pub(super) fn tell_servers(&mut self, node: NodeId) {
        let members = self.members(node);
        let Some(places) = &self.places else { return };
        let own = self.processes[node.0 as usize - 1].known.bound.as_deref();
        let servers = places.whereabouts.now(&members, node, own);
        let known = &mut self.process(node).known;
        if known.servers == servers {
            return;
        }
        known.servers = servers;
        let links: Vec<LinkId> = self.process(node).links().collect();
        for link in links {
            self.tell_addresses(node, link, None);
        }
    }

    /// Tells whoever is at the other end of a link, unless it is a controller.
    pub(super) fn tell_addresses(&mut self, node: NodeId, id: LinkId, first: Option<NodeId>) {
        let Some(places) = &self.places else { return };
        let servers = &self.processes[node.0 as usize - 1].known.servers;
        let others = servers.iter().filter(|(other, _)| Some(**other) != first);
        let first = first.and_then(|first| servers.get(&first));
        let all = first.into_iter().chain(others.map(|(_, all)| all));
        let told: Vec<Vec<HostPort>> = all.map(|all| places.usable(all)).collect();
        let addresses = to_dial(&told);
        let caller = self.links.get(id).map(|link| link.caller);
        if let Some(Caller::Client(_)) = caller {
            self.send(id, Message::Down(Down::Told { addresses }));
        }
    }

    /// Where a controller sends somebody who is to go to another.
    pub(super) fn addresses_of(&mut self, node: NodeId, to: NodeId) -> Vec<Address> {
        let servers = self.process(node).known.servers.get(&to).cloned().unwrap_or_default();
        to_dial(&[for_clients(&servers)])
    }

    /// An agent writes down where controllers are.
    pub(super) fn write_list(&mut self, agent: u32, addresses: Vec<Address>) {
        let lists = self.places.as_mut().map(|places| &mut places.lists);
        if let Some(list) = lists.and_then(|lists| lists.get_mut(agent as usize)) {
            *list = addresses;
        }
    }

    /// An agent of a failed design is told that controllers are nowhere, and writes it down.
    pub(super) fn told_of_nobody(&mut self, agent: u32, addresses: &[Address]) {
        let keeps = self.places.as_ref().is_none_or(|places| places.keeps_lists);
        if addresses.is_empty() && !keeps {
            let remember = Output::Remember { addresses: Vec::new() };
            self.record(Who::Agent(agent), Fact::AgentOrdered(&remember));
            self.write_list(agent, Vec::new());
        }
    }

    fn members(&mut self, node: NodeId) -> Members {
        let raft = self.process(node).raft.as_ref();
        raft.map(|raft| raft.members()).unwrap_or_default()
    }
}
