//! Changes of the cluster: what each asks for, says beforehand, and waits for.

use std::time::Duration;

use portcullis::api::{MemberReport, MembersReport, Role, Target, WantedParams};
use portcullis::env::Env;
use serde_json::{Value, json};

use super::super::client::Asking;
use super::super::exit::{Exit, Failure};
use super::super::lease::as_json;
use super::ask::Desk;
use super::list::role;

/// Time from one look at whether it has come true to the next.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What is to be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Remove(u64),
    Promote { node: u64, undo: bool },
    Demote { node: u64, undo: bool },
    Want { voters: Option<u8>, stand_bys: Option<u8> },
    Lead(u64),
}

impl Change {
    /// The method that does it, and what that is given.
    fn call(self) -> (&'static str, Value) {
        let target = |node, undo| json!(Target { node, undo });
        match self {
            Change::Remove(node) => ("Remove", target(node, false)),
            Change::Promote { node, undo } => ("Promote", target(node, undo)),
            Change::Demote { node, undo } => ("Demote", target(node, undo)),
            Change::Want { voters, stand_bys } => {
                ("Want", json!(WantedParams { voters, stand_bys }))
            }
            Change::Lead(node) => ("HandOver", target(node, false)),
        }
    }

    /// What will happen, going by how the cluster stands.
    fn says(self, report: &MembersReport) -> String {
        let has = |node: u64| {
            let member = report.members.iter().find(|member| member.id == node);
            member.map_or("no member", |member| role(member.role))
        };
        match self {
            Change::Remove(node) => format!(
                "controller-{node} ({}) leaves for ever: it stops, and is refused from then on",
                has(node)
            ),
            Change::Promote { node, undo: false } => {
                format!("controller-{node} ({}) is to vote", has(node))
            }
            Change::Demote { node, undo: false } => {
                format!("controller-{node} ({}) is to have no vote", has(node))
            }
            Change::Promote { node, undo: true } | Change::Demote { node, undo: true } => {
                format!("nothing is wanted any more of the vote of controller-{node}")
            }
            Change::Want { voters, stand_bys } => {
                let voters = voters.unwrap_or(report.voters_wanted);
                let stand_bys = stand_bys.unwrap_or(report.stand_bys_wanted);
                format!("{voters} are to vote, and {stand_bys} more to have the log")
            }
            Change::Lead(node) => format!("controller-{node} ({}) is to lead", has(node)),
        }
    }

    /// What is missing until it has come true; nothing once it has.
    fn lacks(self, report: &MembersReport) -> Option<String> {
        let member = |node: u64| report.members.iter().find(|member| member.id == node);
        let as_yet = |node: u64| member(node).map(|one| format!("{node} is {}", role(one.role)));
        let votes = |one: &MemberReport| matches!(one.role, Role::Leader | Role::Voter);
        match self {
            Change::Remove(node) => as_yet(node),
            Change::Promote { node, undo: false } => {
                as_yet(node).filter(|_| !member(node).is_some_and(votes))
            }
            Change::Demote { node, undo: false } => {
                as_yet(node).filter(|_| member(node).is_some_and(votes))
            }
            Change::Promote { undo: true, .. } | Change::Demote { undo: true, .. } => None,
            Change::Want { .. } => want_lacks(report),
            Change::Lead(node) => {
                let leads = report.leader == node;
                (!leads).then(|| format!("controller-{} leads", report.leader))
            }
        }
    }
}

/// How far the roles are from what is wanted, and can be had of the members that there are.
fn want_lacks(report: &MembersReport) -> Option<String> {
    let count = |wanted: fn(Role) -> bool| {
        report.members.iter().filter(|member| wanted(member.role)).count()
    };
    let joined = count(|role| role != Role::Removed);
    let (voters, stand_bys) = (
        count(|role| matches!(role, Role::Leader | Role::Voter)),
        count(|role| role == Role::StandBy),
    );
    let most = usize::from(report.voters_wanted).min(joined);
    let most = most - usize::from(most.is_multiple_of(2));
    let spare = usize::from(report.stand_bys_wanted) + usize::from(report.voters_wanted);
    let most_stand_bys = spare.min(joined) - most;
    ((voters, stand_bys) != (most, most_stand_bys))
        .then(|| format!("{voters} of {most} vote, {stand_bys} of {most_stand_bys} stand by"))
}

/// Has it done, and waits until it has come true, if for as long as that is wanted.
pub async fn change(
    asking: Asking,
    change: Change,
    wait: Option<Duration>,
    json: bool,
) -> Result<(), Failure> {
    let mut desk = Desk::new(asking);
    let say = |text: &str| {
        if !json {
            println!("{text}")
        }
    };
    say(&change.says(&desk.members().await?));
    let (method, params) = change.call();
    desk.call(method, params).await?;
    if let Some(patience) = wait {
        desk.allow(patience);
        come_true(&mut desk, change, say).await?;
    }
    let report = desk.members().await?;
    match json {
        true => println!("{}", as_json(&report)),
        false => say(&ended(change, &report)),
    }
    Ok(())
}

async fn come_true(desk: &mut Desk, change: Change, say: impl Fn(&str)) -> Result<(), Failure> {
    let mut last = String::new();
    loop {
        let lacks = match desk.members().await {
            Ok(report) => match change.lacks(&report) {
                Some(lacks) => lacks,
                None => return Ok(()),
            },
            Err(failure) => failure.says,
        };
        if lacks != last {
            say(&format!("  not yet: {lacks}"));
            last = lacks;
        }
        let at = desk.asking.env.now() + LOOK_EVERY;
        if at >= desk.asking.deadline {
            let says = format!(
                "it is noted, and has not come true in time ({last}); the leader goes on with it: \
                 see `portcullis cluster list --watch`"
            );
            return Err(Failure::new(Exit::Unknown, says));
        }
        desk.asking.env.sleep_until(at).await;
    }
}

/// What is said in the end, and what the operator has yet to do.
fn ended(change: Change, report: &MembersReport) -> String {
    let joined = report.members.iter().filter(|member| member.role != Role::Removed).count();
    let wanted = usize::from(report.voters_wanted);
    match change {
        Change::Want { .. } if joined < wanted => format!(
            "noted; there are {joined} controllers for {wanted} votes: `portcullis cluster add` \
             invites {} more, which then get them",
            wanted - joined
        ),
        Change::Remove(_)
        | Change::Promote { .. }
        | Change::Demote { .. }
        | Change::Want { .. }
        | Change::Lead(_) => match change.lacks(report) {
            Some(lacks) => format!("noted; not yet: {lacks}"),
            None => "done".to_owned(),
        },
    }
}
