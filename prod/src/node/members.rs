//! Who belongs to the cluster and has which role: core's [`Roles`] with openraft around it, and links
//! that follow the members.
//!
//! Every controller drives the machine; it rests on all but the leader. The first leader writes the
//! members of its configuration into the log, once; from then on the log says who they are. A
//! controller that was removed stops, and says why: it would serve a past that nobody shares.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use portcullis_core::members::{Command, Member, Outcome, READS, Refusal, Standing, Wanted};
use portcullis_core::roles::{self, Roles};
use portcullis_core::{Address, NodeId, Time};
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use super::own::{ROLE_ADJUSTER, leading};
use super::peers::firsts;
use super::stop::HEIR_LOOKED_AT;
use super::{Config, Serve};
use crate::drive::{Shell, drive};
use crate::env::Env;
use crate::metrics::Limit;
use crate::peer::{Reply, Request};
use crate::raft::{self, NotWritten, membership};
use crate::singular::{Runner, runner};

/// Most inputs that wait for the machine; who has another one waits.
pub const INBOX_MAX: usize = 64;
/// Time from one look to the next at whether the log says of this controller what is so.
const LOOKED_AT: Duration = Duration::from_secs(5);
/// Longest wait for the leader's answer, and for its next step.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);
/// Longest wait for a command about the members to be done.
const COMMAND_WITHIN: Duration = Duration::from_secs(10);

/// How a cluster's members are looked after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Limits of the machine that gives out roles.
    pub roles: roles::Config,
    /// How many voters and stand-bys are wanted, if this controller founds the cluster.
    pub wanted: Wanted,
    /// What this controller shares the fate of, such as an availability zone; empty if nobody said.
    pub domain: Arc<str>,
}

impl Membership {
    /// Every limit at its default.
    pub fn new(node: NodeId) -> Membership {
        let roles = roles::Config::new(node);
        Membership { roles, wanted: Wanted::default(), domain: "".into() }
    }
}

/// What the log is to say, by this controller's configuration.
#[derive(Clone, Debug)]
pub struct Known {
    peers: BTreeMap<NodeId, Address>,
    members: BTreeMap<NodeId, Member>,
    wanted: Wanted,
}

impl Known {
    /// By this configuration. Of others it is believed that they read what this one does.
    pub fn of(config: &Config) -> Known {
        let me = config.controller.node;
        let membership = config.membership.as_ref();
        let api = |node| {
            let told = config.servers.get(&node).into_iter().flatten();
            told.map(|at| Address::from(at.joined())).collect()
        };
        let domain = |node| membership.filter(|_| node == me).map(|one| one.domain.clone());
        let member = |(&node, address): (&NodeId, &Address)| {
            let domain = domain(node).unwrap_or_default();
            (node, Member { address: address.clone(), api: api(node), domain, reads: READS })
        };
        let peers = firsts(&config.peers);
        Known {
            members: peers.iter().map(member).collect(),
            peers,
            wanted: membership.map(|one| one.wanted).unwrap_or_default(),
        }
    }
}

/// Starts everything, until the controller closes.
/// What is returned turns true when this controller learns that it was removed.
pub fn start<E: Env>(
    serve: &Arc<Serve<E>>,
    membership: Membership,
    known: Known,
    told: mpsc::Receiver<roles::Input>,
) -> watch::Receiver<bool> {
    let (removed_out, removed) = watch::channel(false);
    let known = Arc::new(known);
    let shell = Steward { serve: serve.clone(), known: known.clone() };
    let driven = drive(serve.env.clone(), Roles::new(membership.roles), shell, told);
    serve.env.spawn(serve.clone().until_closing(driven));
    let adjuster = adjust_roles(serve);
    serve.env.spawn(serve.clone().until_closing(async move {
        let _adjuster = adjuster;
        std::future::pending().await
    }));
    serve.env.spawn(serve.clone().until_closing(follow(serve.clone(), known.clone())));
    serve.env.spawn(serve.clone().until_closing(own(serve.clone(), known)));
    serve.env.spawn(serve.clone().until_closing(watch_standing(serve.clone(), removed_out)));
    removed
}

/// The shell of the machine.
struct Steward<E: Env> {
    serve: Arc<Serve<E>>,
    known: Arc<Known>,
}

impl<E: Env> Shell<Roles> for Steward<E> {
    type Arrival = roles::Input;

    fn admit(&mut self, _: &Roles, arrival: roles::Input) -> Option<roles::Input> {
        Some(arrival)
    }

    fn act(&mut self, _: &Roles, _: Time, order: roles::Output) -> Option<roles::Input> {
        let serve = &self.serve;
        if order == roles::Output::Look {
            let members = serve.leases.view().members().clone();
            let reaches = |node| serve.peers.reaches(node);
            let seen = membership::picture(&serve.raft, &members, serve.heard_within, reaches);
            return seen.map(|picture| roles::Input::Seen(Box::new(picture)));
        }
        info!(%order, "roles");
        let serve = serve.clone();
        let Known { members, wanted, .. } = (*self.known).clone();
        let task = async move {
            let found = Command::Found { members, wanted };
            let members = serve.leases.view().members().clone();
            let changed = membership::change(&serve.raft, &members, found, &order).await;
            let told = if changed { roles::Input::Changed } else { roles::Input::NotChanged };
            // Refused only when the controller is closing.
            let _ = serve.roles.send(told).await;
        };
        self.serve.env.spawn(self.serve.clone().until_closing(task));
        None
    }
}

/// Has the machine give out roles as long as this controller leads: a worker that runs where the
/// leader is.
fn adjust_roles<E: Env>(serve: &Arc<Serve<E>>) -> Runner {
    let told = serve.roles.clone();
    let (responsible, config) = (leading(serve, ROLE_ADJUSTER), runner::Config::new(ROLE_ADJUSTER));
    Runner::start(&serve.env, responsible, config, move |stop, _| {
        let told = told.clone();
        async move {
            // Refused only when the controller is closing.
            if told.send(roles::Input::Led).await.is_ok() {
                stop.cancelled().await;
                let _ = told.send(roles::Input::Followed).await;
            }
            Ok(())
        }
    })
}

/// Keeps a link to every member, and to nobody else. Before the cluster is founded its members are
/// those of the configuration.
async fn follow<E: Env>(serve: Arc<Serve<E>>, known: Arc<Known>) {
    let (mut moved, mut metrics) = (serve.news.moves(), serve.raft.metrics());
    let mut linked = BTreeMap::new();
    loop {
        let mut wanted = membership::addresses(&serve.raft);
        {
            let view = serve.leases.view();
            let members = view.members();
            if !members.founded() {
                wanted.extend(known.peers.clone());
            }
            wanted.extend(members.iter().map(|(node, member)| (node, member.address.clone())));
        }
        // It dials itself, whatever it is to the others: that shows that its own door works.
        let own = known.peers.get(&serve.node).cloned();
        wanted.entry(serve.node).or_insert(own.unwrap_or_else(|| Address::new("")));
        serve.tell_servers();
        if wanted != linked {
            serve.peers.follow(&wanted);
            linked = wanted;
        }
        tokio::select! {
            biased;
            changed = moved.changed() => if changed.is_err() { return },
            changed = metrics.changed() => if changed.is_err() { return },
        }
    }
}

/// Has the log say of this controller what its configuration says: its addresses, its failure domain
/// and the versions that it reads. Where its door is to be bound by a file, that says the address.
async fn own<E: Env>(serve: Arc<Serve<E>>, known: Arc<Known>) {
    let Some(mine) = known.members.get(&serve.node) else { return };
    let mut bound = serve.bound.subscribe();
    loop {
        let soon = serve.env.now() + LOOKED_AT;
        tokio::select! {
            biased;
            changed = bound.changed() => if changed.is_err() { return },
            () = serve.env.sleep_until(soon) => {}
        }
        let bound = *bound.borrow_and_update();
        if bound.is_none() && serve.bind_file.is_some() {
            continue;
        }
        let at = bound.map(|at| Address::from(at.to_string()));
        // What agents are told may change while it runs.
        let told = serve.servers().remove(&serve.node).unwrap_or_default();
        let api = told.iter().map(|at| Address::from(at.joined())).collect();
        let address = at.unwrap_or_else(|| mine.address.clone());
        let mine = Member { address, api, ..mine.clone() };
        let differs = {
            let view = serve.leases.view();
            view.members().get(serve.node).is_some_and(|said| *said != mine)
        };
        if differs {
            let update = Command::Update { node: serve.node, member: mine };
            match serve.change_members(update).await {
                Ok(Ok(_)) => info!("the log knows of this controller's configuration"),
                Ok(Err(refusal)) => warn!(%refusal, "this controller's configuration is refused"),
                Err(error) => tracing::debug!(%error, "the members could not be changed"),
            }
        }
    }
}

/// Waits until this controller learns that it was removed, and has no vote left by which it could
/// be missed.
async fn watch_standing<E: Env>(serve: Arc<Serve<E>>, removed: watch::Sender<bool>) {
    let (mut moved, mut metrics) = (serve.news.moves(), serve.raft.metrics());
    loop {
        let gone = serve.leases.view().members().standing(serve.node) == Standing::Removed;
        let votes = {
            let metrics = metrics.borrow_and_update();
            metrics.membership_config.membership().voter_ids().any(|id| id == serve.node.0)
        };
        if serve.disowned.is_cancelled() || gone && !votes {
            warn!("this controller was removed from the cluster, and stops");
            removed.send_replace(true);
            serve.tell(portcullis_core::controller::Input::Stopping).await;
            serve.closing.cancel();
            return;
        }
        tokio::select! {
            biased;
            () = serve.disowned.cancelled() => {}
            changed = moved.changed() => if changed.is_err() { return },
            changed = metrics.changed() => if changed.is_err() { return },
        }
    }
}

/// Hands over what this controller has: the lead as the machine does, and then its vote.
pub async fn step_back<E: Env>(serve: &Serve<E>) {
    // Refused only when the controller is closing.
    let _ = serve.roles.send(roles::Input::Stopping).await;
    let mut metrics = serve.raft.metrics();
    let mut leads = metrics.borrow_watched().current_leader == Some(serve.node.0);
    // Whoever stops at the same time takes nothing over, and is soon not reached any more.
    while leads {
        let soon = serve.env.now() + HEIR_LOOKED_AT;
        tokio::select! {
            biased;
            changed = metrics.changed() => if changed.is_err() { return },
            () = serve.env.sleep_until(soon) => {}
        }
        let metrics = metrics.borrow_watched();
        let other = metrics.current_leader.is_some_and(|leader| leader != serve.node.0);
        let mut voters = metrics.membership_config.membership().voter_ids();
        let heir = |node: u64| node != serve.node.0 && serve.peers.reaches(NodeId(node));
        leads = !other && voters.any(heir);
    }
    leave(serve).await;
}

/// Gives this controller's vote to a stand-by, if there is one that can be reached. Ends when it has
/// been taken.
async fn leave<E: Env>(serve: &Serve<E>) {
    let mut metrics = serve.raft.metrics();
    let (votes, leader) = {
        let metrics = metrics.borrow_watched();
        let formed = raft::Formed::of(metrics.membership_config.membership());
        let stand_by = formed.learners.iter().any(|node| serve.peers.reaches(*node));
        (formed.voters.contains(&serve.node) && stand_by, metrics.current_leader)
    };
    let leader = leader.map(NodeId).filter(|leader| *leader != serve.node);
    let Some(link) = leader.and_then(|leader| serve.peers.get(leader)).filter(|_| votes) else {
        return;
    };
    if link.call(&Request::Leaving, LEAVE_WITHIN).await.is_err() {
        return;
    }
    let votes = |membership: &raft::Membership| membership.voter_ids().any(|id| id == serve.node.0);
    while votes(&metrics.borrow_watched().membership_config) {
        let until = serve.env.now() + LEAVE_WITHIN;
        tokio::select! {
            biased;
            changed = metrics.changed() => if changed.is_err() { return },
            () = serve.env.sleep_until(until) => return,
        }
    }
}

impl<E: Env> Serve<E> {
    /// Puts a command about the members into the log, if this controller leads and all read it.
    pub async fn propose_members(&self, command: Command) -> Result<Outcome, NotWritten> {
        let writes = self.leases.view().members().writes();
        raft::propose_members(&self.raft, writes, command).await
    }

    /// Has a command about the members done, here or by the leader. Unknown after
    /// [`COMMAND_WITHIN`].
    pub async fn change_members(&self, command: Command) -> Result<Outcome, NotWritten> {
        let invites = matches!(command, Command::Invite { .. });
        let done = async {
            match self.propose_members(command.clone()).await {
                Err(NotWritten::Definite { leader: Some(leader) }) => {
                    let unreached = NotWritten::Definite { leader: Some(leader) };
                    let link = self.peers.get(leader).ok_or(unreached)?;
                    let called = link.call(&Request::Members(command), COMMAND_WITHIN).await;
                    match called {
                        Ok(Reply::Members(outcome)) => outcome,
                        Ok(_) => Err(NotWritten::Unknown),
                        Err(failure) if failure.never_sent() => Err(unreached),
                        Err(_) => Err(NotWritten::Unknown),
                    }
                }
                done => done,
            }
        };
        let done = tokio::select! {
            biased;
            done = done => done,
            () = self.env.sleep_until(self.env.now() + COMMAND_WITHIN) => Err(NotWritten::Unknown),
        };
        if done == Ok(Err(Refusal::Full)) {
            self.metrics.refused(if invites { Limit::Tokens } else { Limit::Members });
        }
        done
    }
}
