//! The one change that is due, going by a picture of the cluster.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::{Output, Picture};
use crate::ids::NodeId;
use crate::members::{Preference, Versions};
use crate::mistake::Mistake;

/// What is known at one moment.
pub(super) struct Choice<'a> {
    pub me: NodeId,
    pub reads: Versions,
    pub lag_max: u64,
    pub picture: &'a Picture,
    /// Who was heard of without a break for long enough to be given a role.
    pub steady: BTreeSet<NodeId>,
    /// Who was silent for long enough to be replaced.
    pub lost: BTreeSet<NodeId>,
    /// Who is about to stop.
    pub leaving: BTreeSet<NodeId>,
}

impl Choice<'_> {
    /// What is to be done, the most pressing first; nothing if all is well or nothing is safe.
    pub fn next(&self) -> Option<Output> {
        if self.picture.members.is_empty() {
            return Some(Output::Found);
        }
        self.hand_over()
            .or_else(|| self.finish())
            .or_else(|| self.add())
            .or_else(|| self.appoint())
            .or_else(|| self.drop_surplus())
    }

    fn joined(&self, node: NodeId) -> bool {
        self.picture.members.get(node).is_some()
    }

    /// Whether a member is there, and has the log.
    fn able(&self, node: NodeId) -> bool {
        let Picture { heard, matched, last, .. } = self.picture;
        let matched = matched.get(&node).map(|matched| matched + self.lag_max);
        node == self.me || heard.contains(&node) && matched >= Some(*last)
    }

    fn quorum(&self, voters: &BTreeSet<NodeId>) -> bool {
        voters.iter().filter(|node| self.able(**node)).count() * 2 > voters.len()
    }

    /// Whether a change to these voters can be made, and leaves a majority that is there.
    fn safe(&self, voters: &BTreeSet<NodeId>) -> bool {
        let Picture { voters: present, before, .. } = self.picture;
        let mut all = [present, voters].into_iter().chain(before);
        Mistake::QuorumForgotten.made() || all.all(|voters| self.quorum(voters))
    }

    /// Gives the lead to another if this controller stops, is no member any more, does not write what
    /// every member reads, or is to have no vote.
    fn hand_over(&self) -> Option<Output> {
        let writes = self.picture.members.writes();
        let fit = self.joined(self.me) && self.reads.contain(writes);
        let must = !fit || self.leaving.contains(&self.me);
        let chosen = self.voters();
        if !must && (chosen.is_empty() || chosen.contains(&self.me)) {
            return None;
        }
        let fit = |node: &NodeId| {
            let member = self.picture.members.get(*node);
            *node != self.me
                && (must || chosen.contains(node))
                && !self.leaving.contains(node)
                && member.is_some_and(|member| member.reads.contain(writes))
                && self.able(*node)
        };
        let heirs = self.picture.voters.iter().copied().filter(fit);
        let by_log = |node: &NodeId| (self.picture.matched.get(node), core::cmp::Reverse(*node));
        heirs.max_by_key(by_log).map(|to| Output::HandOver { to })
    }

    /// Finishes a change that an earlier leader began.
    fn finish(&self) -> Option<Output> {
        let Picture { voters, before, .. } = self.picture;
        let due = before.is_some() && self.safe(voters);
        due.then(|| Output::Appoint { voters: voters.clone() })
    }

    /// How many members are to have the log.
    fn replicas_wanted(&self) -> usize {
        let wanted = self.picture.members.wanted();
        usize::from(wanted.voters) + usize::from(wanted.stand_bys)
    }

    fn replicas(&self) -> impl Iterator<Item = NodeId> {
        let Picture { voters, learners, .. } = self.picture;
        let replicas = voters.union(learners).copied();
        replicas.filter(|node| self.joined(*node))
    }

    /// Whether it can be counted upon.
    fn sound(&self, node: NodeId) -> bool {
        !self.lost.contains(&node) && !self.leaving.contains(&node)
    }

    /// Whether that is wanted of its vote.
    fn wished(&self, node: NodeId, wish: Preference) -> bool {
        self.picture.members.preference(node) == Some(wish)
    }

    /// Gives the log to one more member if there are too few that have it, or if it is to vote.
    fn add(&self) -> Option<Output> {
        let Picture { voters, learners, members, heard, .. } = self.picture;
        let sound = self.replicas().filter(|node| self.sound(*node)).count();
        let fits = |node: &NodeId| {
            let spare = !voters.contains(node) && !learners.contains(node);
            spare && self.sound(*node) && self.steady.contains(node) && heard.contains(node)
        };
        let mut spares = members.iter().map(|(node, _)| node).filter(fits);
        let due = sound < self.replicas_wanted();
        let due = |node: &NodeId| due || self.wished(*node, Preference::Vote);
        spares.find(due).map(|node| Output::Add { node })
    }

    fn appoint(&self) -> Option<Output> {
        let voters = self.voters();
        let due = voters != self.picture.voters && !voters.is_empty() && self.safe(&voters);
        due.then_some(Output::Appoint { voters })
    }

    /// Who is to vote. An odd number; first of all whom the operator prefers, and the leader; then who
    /// can be counted upon, in as many failure domains as there are, those with a vote before others;
    /// then who is not to vote; and if those are too few, voters that are silent or leave, whom
    /// nobody can replace.
    fn voters(&self) -> BTreeSet<NodeId> {
        let Picture { members, voters, learners, .. } = self.picture;
        let votes = |node: NodeId| voters.contains(&node);
        let ready = |node: NodeId| {
            learners.contains(&node) && self.steady.contains(&node) && self.able(node)
        };
        let mut candidates: Vec<NodeId> = members.iter().map(|(node, _)| node).collect();
        candidates.retain(|node| votes(*node) || self.sound(*node) && ready(*node));
        let most = odd(usize::from(members.wanted().voters).min(members.len()));
        // Fewer than that vote only as long as others have yet to be given a vote.
        let present = voters.iter().filter(|node| self.joined(**node)).count();
        let wanted = most.min(odd(candidates.len()).max(present));
        let (mut chosen, mut domains) = (BTreeSet::new(), BTreeMap::new());
        while chosen.len() < wanted {
            let crowd = |node: &NodeId| {
                let domain = members.get(*node).map(|member| &*member.domain);
                domain.filter(|domain| !domain.is_empty())
            };
            let rank = |node: &NodeId| {
                let (sound, itself) = (self.sound(*node), Mistake::DemotesItself.made());
                let together = crowd(node).and_then(|domain| domains.get(domain)).unwrap_or(&0_u32);
                let wishes = [Preference::NoVote, Preference::Vote];
                let [last, first] = wishes.map(|wish| self.wished(*node, wish));
                let elsewhere = (*node != self.me) != itself;
                (!sound, last, !first, elsewhere, *together, !votes(*node), *node)
            };
            let left = candidates.iter().copied().filter(|node| !chosen.contains(node));
            let Some(next) = left.min_by_key(rank) else { break };
            if let Some(domain) = crowd(&next) {
                *domains.entry(domain).or_default() += 1;
            }
            chosen.insert(next);
        }
        chosen
    }

    /// Takes the log from who is no member any more, or from one more than is wanted: a silent one
    /// first, and nobody who is to vote.
    fn drop_surplus(&self) -> Option<Output> {
        let learners = || self.picture.learners.iter().copied();
        if let Some(node) = learners().find(|node| !self.joined(*node)) {
            return Some(Output::Drop { node });
        }
        let learners = || learners().filter(|node| !self.wished(*node, Preference::Vote));
        let wanted = self.replicas_wanted();
        let lost = learners().rfind(|node| !self.sound(*node));
        let surplus = match lost {
            Some(node) if self.replicas().count() > wanted => Some(node),
            Some(_) | None => {
                let sound = self.replicas().filter(|node| self.sound(*node)).count();
                learners().rfind(|_| sound > wanted)
            }
        };
        surplus.map(|node| Output::Drop { node })
    }
}

/// The largest odd number that is not above this one.
fn odd(number: usize) -> usize {
    number - usize::from(number.is_multiple_of(2) && number > 0)
}
