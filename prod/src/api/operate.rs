//! `Cluster` version 1: how users look after the cluster's members.
//!
//! What is asked of any controller is done by the one that leads. A change is in the log by the time
//! it is answered; the roles that follow from it are given out one careful step at a time, and
//! `Members` shows how far that is.

use portcullis_core::NodeId;
use portcullis_core::members::{self, Command, Done, Preference, Refusal, Versions, Wanted};
use portcullis_core::roles::{Picture, Stays};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Handler;
use super::session::Caller;
use super::told::denied;
use crate::credentials::Identity;
use crate::raft::NotWritten;
use crate::raft::membership::Seen;
use crate::rpc::{self, Error, Request, code};

/// What a controller is in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// It leads.
    Leader,
    /// It votes.
    Voter,
    /// It has the log and no vote.
    StandBy,
    /// It is a member and has no log.
    Spare,
    /// It was removed, and still has the log or even a vote: the leader is about to take it.
    Removed,
}

/// One controller, as the leader sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct MemberReport {
    /// Its number.
    pub id: u64,
    /// What it is.
    pub role: Role,
    /// Where other controllers dial it.
    pub address: String,
    /// Where agents and users reach it.
    pub api_addresses: Vec<String>,
    /// What it shares the fate of; empty if nobody said.
    pub domain: String,
    /// What an operator wants of its vote: true if it is to have one, false if not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vote_wanted: Option<bool>,
    /// Whether the leader hears it.
    pub heard: bool,
    /// Seconds since it has answered the leader, if it ever did; spares are not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_ago: Option<f64>,
    /// How many entries of the log it lacks, as far as known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
    /// The oldest version of log entries that it reads.
    pub reads_least: u16,
    /// The newest.
    pub reads_most: u16,
}

/// The cluster, as its leader sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct MembersReport {
    /// The number of the controller that leads.
    pub leader: u64,
    /// The term that it leads in.
    pub term: u64,
    /// The last entry of its log.
    pub last: u64,
    /// How many are to vote.
    pub voters_wanted: u8,
    /// How many others are to have the log.
    pub stand_bys_wanted: u8,
    /// The newest version of log entries that every member reads, and so that is written.
    pub writes: u16,
    /// Every member, and who was one until just before.
    pub members: Vec<MemberReport>,
}

/// Whom a change is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Target {
    /// Its number.
    pub node: u64,
    /// Whether the wish of before is taken back instead (`Promote` and `Demote` alone).
    #[serde(default)]
    pub undo: bool,
}

/// How many of each role are to be; what is not given stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct WantedParams {
    /// Voters: odd.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub voters: Option<u8>,
    /// Stand-bys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stand_bys: Option<u8>,
}

impl From<&Seen> for MembersReport {
    fn from(seen: &Seen) -> MembersReport {
        let Picture { members, voters, before, learners, last, .. } = &seen.picture;
        let before = before.iter().flatten();
        let removed = voters.iter().chain(learners).chain(before);
        let removed = removed.copied().filter(|node| members.get(*node).is_none());
        let joined = members.iter().map(|(node, _)| node);
        let all: std::collections::BTreeSet<NodeId> = joined.chain(removed).collect();
        let Wanted { voters, stand_bys } = members.wanted();
        MembersReport {
            leader: seen.leader.0,
            term: seen.term,
            last: *last,
            voters_wanted: voters,
            stand_bys_wanted: stand_bys,
            writes: members.writes(),
            members: all.into_iter().map(|node| report(seen, node)).collect(),
        }
    }
}

fn report(seen: &Seen, node: NodeId) -> MemberReport {
    let Picture { members, voters, before, learners, heard, last, matched } = &seen.picture;
    let votes = voters.contains(&node) || before.iter().flatten().any(|one| *one == node);
    let member = members.get(node);
    let role = match (member, votes) {
        _ if node == seen.leader => Role::Leader,
        (None, _) => Role::Removed,
        (Some(_), true) => Role::Voter,
        (Some(_), false) if learners.contains(&node) => Role::StandBy,
        (Some(_), false) => Role::Spare,
    };
    let reads = member.map_or(Versions { least: 0, most: 0 }, |member| member.reads);
    let texts = |member: &members::Member| member.api.iter().map(ToString::to_string).collect();
    MemberReport {
        id: node.0,
        role,
        address: member.map(|member| member.address.to_string()).unwrap_or_default(),
        api_addresses: member.map(texts).unwrap_or_default(),
        domain: member.map(|member| member.domain.to_string()).unwrap_or_default(),
        vote_wanted: members.preference(node).map(|wish| wish == Preference::Vote),
        heard: node == seen.leader || heard.contains(&node),
        heard_ago: seen.answered.get(&node).map(std::time::Duration::as_secs_f64),
        lag: matched.get(&node).map(|matched| last.saturating_sub(*matched)),
        reads_least: reads.least,
        reads_most: reads.most,
    }
}

/// `Members`: how the cluster stands.
pub(super) async fn members<H: Handler>(caller: &Caller<'_, H>) -> rpc::Outcome {
    users_only(caller)?;
    Ok(json!(MembersReport::from(&seen(caller).await?)))
}

/// Every method that changes something. Each may be repeated.
pub(super) async fn change<H: Handler>(caller: &Caller<'_, H>, request: &Request) -> rpc::Outcome {
    users_only(caller)?;
    let target = || request.given::<Target>();
    let prefer = |Target { node, undo }: Target, wish| {
        let preference = (!undo).then_some(wish);
        Command::Prefer { node: NodeId(node), preference }
    };
    let command = match request.method.as_str() {
        "Remove" => removal(caller, NodeId(target()?.node)).await?,
        "Promote" => prefer(target()?, Preference::Vote),
        "Demote" => prefer(target()?, Preference::NoVote),
        "Want" => {
            let WantedParams { voters, stand_bys } = request.given()?;
            let now = seen(caller).await?.picture.members.wanted();
            let voters = voters.unwrap_or(now.voters);
            let wanted = Wanted { voters, stand_bys: stand_bys.unwrap_or(now.stand_bys) };
            Command::Want { wanted }
        }
        "HandOver" => {
            let led = caller.handler.lead(NodeId(target()?.node)).await;
            return match led {
                Ok(()) => Ok(json!({})),
                Err(why) => Err(Error::new(why.to_string(), code::NOT_LEADER)),
            };
        }
        _ => unreachable!("only methods of the facade are called"),
    };
    changed(caller.handler.change_members(command).await).map(|_| json!({}))
}

/// Only those who may do everything may do this.
pub(super) fn users_only<H: Handler>(caller: &Caller<'_, H>) -> Result<(), Error> {
    match &*caller.identity {
        Identity::User(_) => Ok(()),
        Identity::Unit { .. } | Identity::Machine(_) | Identity::Controller(_) => Err(denied()),
    }
}

/// How the cluster stands, or that nobody can say.
pub(super) async fn seen<H: Handler>(caller: &Caller<'_, H>) -> Result<Seen, Error> {
    let nobody = || Error::new("no leader could be asked", code::NOT_LEADER);
    caller.handler.members().await.ok_or_else(nobody)
}

/// What removes a member, if those that are heard can do without it.
async fn removal<H: Handler>(caller: &Caller<'_, H>, node: NodeId) -> Result<Command, Error> {
    let picture = seen(caller).await?.picture;
    match picture.stays(node) {
        None => Ok(Command::Remove { node }),
        Some(Stays::NotMember) => {
            Err(Error::new(format!("{node}: {}", Stays::NotMember), code::NOT_FOUND))
        }
        Some(stays @ (Stays::Last | Stays::Unheard { .. })) => {
            Err(Error::new(format!("{node} must stay: {stays}"), code::NOT_VALID))
        }
    }
}

/// What came of a command about the members, in the words of the protocol.
pub(super) fn changed(outcome: Result<members::Outcome, NotWritten>) -> Result<Done, Error> {
    match outcome {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(refusal)) => Err(Error::new(refusal.to_string(), refused(refusal))),
        Err(why @ NotWritten::Definite { .. }) => {
            Err(Error::new(format!("no leader could be asked: {why}"), code::NOT_LEADER))
        }
        Err(why @ NotWritten::Unknown) => Err(Error::new(why.to_string(), code::DEADLINE)),
        Err(why @ NotWritten::TooNew { .. }) => {
            Err(Error::new(why.to_string(), code::NOT_SUPPORTED))
        }
    }
}

fn refused(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Full => code::QUOTA,
        Refusal::NotMember | Refusal::NoToken => code::NOT_FOUND,
        Refusal::Founded
        | Refusal::NotFounded
        | Refusal::TooLarge
        | Refusal::UsedToken
        | Refusal::Last
        | Refusal::AddressTaken
        | Refusal::Unreadable { .. }
        | Refusal::Unwanted
        | Refusal::Needed
        | Refusal::Voters => code::NOT_VALID,
    }
}
