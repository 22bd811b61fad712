use std::collections::BTreeSet;

use portcullis_core::members::{Command, Members, Preference, Versions, Wanted};
use portcullis_core::roles::{Config, Input, Picture, Roles};
use portcullis_core::{GlobalTime, NodeId};

use super::Story;
use super::members::member;

fn set<const N: usize>(ids: [u64; N]) -> BTreeSet<NodeId> {
    ids.into_iter().map(NodeId).collect()
}

/// Members 1 to `count`, in these failure domains, of whom 3 are to vote and 3 to stand by.
fn members(count: u64, domains: &[&str]) -> Members {
    let one = |id: u64| {
        let domain = domains.get(id as usize - 1).copied().unwrap_or_default();
        (
            NodeId(id),
            portcullis_core::members::Member {
                domain: domain.into(),
                ..member(&format!("host-{id}:17022"), (1, 1))
            },
        )
    };
    let mut members = Members::default();
    let found = Command::Found { members: (1..=count).map(one).collect(), wanted: wanted(3, 3) };
    assert!(members.apply(GlobalTime(0), &found).is_ok());
    members
}

fn wanted(voters: u8, stand_bys: u8) -> Wanted {
    Wanted { voters, stand_bys }
}

fn change(members: &mut Members, command: Command) {
    assert!(members.apply(GlobalTime(0), &command).is_ok());
}

/// Everybody is heard and has the whole log.
fn picture<const V: usize, const L: usize>(
    members: &Members,
    voters: [u64; V],
    learners: [u64; L],
) -> Picture {
    let (voters, learners) = (set(voters), set(learners));
    let heard: BTreeSet<NodeId> = members.iter().map(|(node, _)| node).collect();
    let matched = voters.union(&learners).map(|node| (*node, 1_000)).collect();
    Picture {
        members: members.clone(),
        voters,
        learners,
        heard,
        matched,
        last: 1_000,
        before: None,
    }
}

/// The same without a word from these.
fn silent<const N: usize>(mut picture: Picture, ids: [u64; N]) -> Picture {
    picture.heard.retain(|node| !ids.contains(&node.0));
    picture
}

/// Controller 1 leads.
fn story() -> Story<Roles> {
    let mut story = Story::of(Roles::new(Config::new(NodeId(1))));
    story.tell(Input::Led);
    story
}

fn sees(story: &mut Story<Roles>, at: &str, picture: &Picture) {
    story.at(at).tell(Input::Seen(Box::new(picture.clone())));
}

#[test]
fn two_that_join_get_the_log_and_then_a_vote_together() {
    let members = members(3, &[]);
    let mut story = story();
    sees(&mut story, "0s", &picture(&members, [1], []));
    sees(&mut story, "3s", &picture(&members, [1], []));
    story.tell(Input::Changed);
    sees(&mut story, "3s", &picture(&members, [1], [2]));
    story.tell(Input::Changed);
    let mut behind = picture(&members, [1], [2, 3]);
    behind.matched.insert(NodeId(3), 10);
    sees(&mut story, "4s", &behind);
    sees(&mut story, "5s", &picture(&members, [1], [2, 3]));
    story.tell(Input::Changed);
    sees(&mut story, "6s", &picture(&members, [1, 2, 3], []));
    story.run_until("7s");
    story.reads("roles/two_that_join_get_the_log_and_then_a_vote_together");
}

#[test]
fn a_silent_voter_is_replaced_by_who_has_the_log() {
    let members = members(5, &[]);
    let mut story = story();
    let whole = picture(&members, [1, 2, 3], [4, 5]);
    sees(&mut story, "0s", &whole);
    sees(&mut story, "5s", &silent(whole.clone(), [3]));
    sees(&mut story, "19s", &silent(whole.clone(), [3]));
    let mut behind = silent(whole.clone(), [3]);
    behind.matched.insert(NodeId(4), 10);
    sees(&mut story, "20s", &behind);
    story.tell(Input::Changed);
    sees(&mut story, "21s", &picture(&members, [1, 2, 5], [3, 4]));
    sees(&mut story, "90s", &picture(&members, [1, 2, 5], [3, 4]));
    story.reads("roles/a_silent_voter_is_replaced_by_who_has_the_log");
}

#[test]
fn silence_makes_no_cluster_smaller() {
    let members = members(3, &[]);
    let mut story = story();
    let whole = picture(&members, [1, 2, 3], []);
    sees(&mut story, "0s", &silent(whole.clone(), [3]));
    sees(&mut story, "60s", &silent(whole.clone(), [3]));
    sees(&mut story, "120s", &silent(whole, [2, 3]));
    story.reads("roles/silence_makes_no_cluster_smaller");
}

#[test]
fn down_to_one_when_the_members_say_so() {
    let mut members = members(3, &[]);
    let mut story = story();
    sees(&mut story, "0s", &picture(&members, [1, 2, 3], []));
    change(&mut members, Command::Remove { node: NodeId(3) });
    // Of two only one votes: with both, either of them would be missed.
    sees(&mut story, "10s", &picture(&members, [1, 2, 3], []));
    story.tell(Input::Changed);
    sees(&mut story, "11s", &picture(&members, [1], [2, 3]));
    story.tell(Input::Changed);
    sees(&mut story, "12s", &picture(&members, [1], [2]));
    change(&mut members, Command::Remove { node: NodeId(2) });
    sees(&mut story, "13s", &silent(picture(&members, [1], [2]), [2]));
    story.tell(Input::Changed);
    sees(&mut story, "14s", &picture(&members, [1], []));
    story.reads("roles/down_to_one_when_the_members_say_so");
}

#[test]
fn who_comes_and_goes_gets_no_vote_and_loses_none() {
    let members = members(4, &[]);
    let mut story = story();
    let whole = picture(&members, [1, 2, 3], [4]);
    for second in 0..30 {
        let gone = if second % 2 == 0 { 3 } else { 4 };
        sees(&mut story, &format!("{second}s"), &silent(whole.clone(), [gone]));
    }
    // Three is silent for good, but four goes on like that.
    for second in 30..60 {
        let seen = silent(whole.clone(), [3]);
        let seen = if second % 2 == 0 { seen } else { silent(seen, [4]) };
        sees(&mut story, &format!("{second}s"), &seen);
    }
    story.reads("roles/who_comes_and_goes_gets_no_vote_and_loses_none");
}

#[test]
fn a_leader_that_was_removed_hands_over_first() {
    let mut members = members(4, &[]);
    let mut story = story();
    change(&mut members, Command::Remove { node: NodeId(1) });
    let mut seen = picture(&members, [1, 2, 3], [4]);
    seen.matched.insert(NodeId(2), 990);
    sees(&mut story, "5s", &seen);
    story.tell(Input::NotChanged);
    sees(&mut story, "6s", &silent(seen, [3]));
    story.tell(Input::Changed).tell(Input::Followed).run_until("60s");
    story.reads("roles/a_leader_that_was_removed_hands_over_first");
}

#[test]
fn who_leaves_gives_its_vote_to_a_stand_by() {
    let members = members(4, &[]);
    let mut story = story();
    let whole = picture(&members, [1, 2, 3], [4]);
    sees(&mut story, "0s", &whole);
    sees(&mut story, "5s", &whole);
    story.tell(Input::Leaving { node: NodeId(2) });
    sees(&mut story, "5s", &whole);
    story.tell(Input::Changed);
    sees(&mut story, "6s", &silent(picture(&members, [1, 3, 4], [2]), [2]));
    story.tell(Input::Stopping);
    sees(&mut story, "6s", &silent(picture(&members, [1, 3, 4], [2]), [2]));
    story.reads("roles/who_leaves_gives_its_vote_to_a_stand_by");
}

#[test]
fn votes_are_spread_over_failure_domains() {
    let members = members(5, &["a", "a", "a", "b", "c"]);
    let mut story = story();
    sees(&mut story, "0s", &picture(&members, [1, 2, 3], [4, 5]));
    sees(&mut story, "3s", &picture(&members, [1, 2, 3], [4, 5]));
    story.tell(Input::Changed);
    sees(&mut story, "4s", &picture(&members, [1, 4, 5], [2, 3]));
    sees(&mut story, "60s", &picture(&members, [1, 4, 5], [2, 3]));
    story.reads("roles/votes_are_spread_over_failure_domains");
}

#[test]
fn a_surplus_is_taken_away_and_a_lack_is_filled() {
    let mut members = members(6, &[]);
    change(&mut members, Command::Want { wanted: wanted(3, 1) });
    let mut story = story();
    sees(&mut story, "0s", &picture(&members, [1, 2, 3, 4, 5], [6]));
    story.tell(Input::Changed);
    sees(&mut story, "1s", &silent(picture(&members, [1, 2, 3], [4, 5, 6]), [5]));
    story.tell(Input::Changed);
    sees(&mut story, "20s", &silent(picture(&members, [1, 2, 3], [4, 5]), [5]));
    story.tell(Input::Changed);
    sees(&mut story, "40s", &silent(picture(&members, [1, 2, 3], [4]), [4]));
    sees(&mut story, "60s", &silent(picture(&members, [1, 2, 3], [4]), [4]));
    story.tell(Input::Changed);
    sees(&mut story, "61s", &silent(picture(&members, [1, 2, 3], [4, 5]), [4]));
    story.reads("roles/a_surplus_is_taken_away_and_a_lack_is_filled");
}

fn prefer(members: &mut Members, id: u64, preference: Preference) {
    change(members, Command::Prefer { node: NodeId(id), preference: Some(preference) });
}

#[test]
fn who_is_to_vote_gets_the_log_and_a_vote_wherever_it_stands() {
    let mut members = members(5, &["a", "b", "c", "c", "c"]);
    change(&mut members, Command::Want { wanted: wanted(3, 1) });
    prefer(&mut members, 5, Preference::Vote);
    let mut story = story();
    sees(&mut story, "0s", &picture(&members, [1, 2, 3], [4]));
    sees(&mut story, "4s", &picture(&members, [1, 2, 3], [4]));
    story.tell(Input::Changed);
    let mut behind = picture(&members, [1, 2, 3], [4, 5]);
    behind.matched.insert(NodeId(5), 10);
    sees(&mut story, "5s", &behind);
    story.tell(Input::Changed);
    sees(&mut story, "6s", &picture(&members, [1, 2, 3], [5]));
    story.tell(Input::Changed);
    sees(&mut story, "7s", &picture(&members, [1, 2, 5], [3]));
    sees(&mut story, "9s", &picture(&members, [1, 2, 5], [3]));
    story.reads("roles/who_is_to_vote_gets_the_log_and_a_vote_wherever_it_stands");
}

#[test]
fn who_is_not_to_vote_hands_the_lead_over_first() {
    let mut members = members(4, &[]);
    prefer(&mut members, 1, Preference::NoVote);
    let mut story = story();
    sees(&mut story, "0s", &picture(&members, [1, 2, 3], [4]));
    sees(&mut story, "4s", &picture(&members, [1, 2, 3], [4]));
    story.tell(Input::Followed).tell(Input::Led);
    prefer(&mut members, 1, Preference::Vote);
    prefer(&mut members, 2, Preference::NoVote);
    sees(&mut story, "5s", &picture(&members, [1, 2, 3], [4]));
    sees(&mut story, "9s", &picture(&members, [1, 2, 3], [4]));
    story.tell(Input::Changed);
    // The others are too few: it votes after all.
    sees(&mut story, "10s", &silent(picture(&members, [1, 3, 4], [2]), [4]));
    sees(&mut story, "30s", &silent(picture(&members, [1, 3, 4], [2]), [4]));
    story.tell(Input::Changed);
    story.reads("roles/who_is_not_to_vote_hands_the_lead_over_first");
}

#[test]
fn a_member_stays_while_those_that_are_left_could_decide_nothing() {
    let says = |seen: &Picture, id| match seen.stays(NodeId(id)) {
        None => format!("{id} may go"),
        Some(stays) => format!("{id} stays: {stays}"),
    };
    let mut lines = Vec::new();
    let mut judge = |what: &str, seen: &Picture, ids: std::ops::RangeInclusive<u64>| {
        let said: Vec<String> = ids.map(|id| says(seen, id)).collect();
        lines.push(format!("{what}: {seen}\n  {}", said.join("\n  ")));
    };
    let whole = picture(&members(4, &[]), [1, 2, 3], [4]);
    judge("all are heard", &whole, 1..=5);
    judge("a voter is silent", &silent(whole.clone(), [3]), 1..=4);
    judge(
        "five, of whom two are silent",
        &silent(picture(&members(5, &[]), [1, 2, 3, 4, 5], []), [4, 5]),
        1..=5,
    );
    let one = picture(&members(2, &[]), [1], [2]);
    judge("one votes", &one, 1..=2);
    judge("one votes, the other is silent", &silent(one, [2]), 1..=2);
    judge("alone", &picture(&members(1, &[]), [1], []), 1..=1);
    let mut torn = picture(&members(5, &[]), [1, 4, 5], [2, 3]);
    torn.before = Some(set([1, 2, 3]));
    judge("between two sets", &silent(torn, [3]), 1..=5);
    super::snapshot(
        "roles/a_member_stays_while_those_that_are_left_could_decide_nothing",
        &lines.join("\n"),
    );
}

#[test]
fn a_change_that_an_earlier_leader_began_is_finished() {
    let members = members(4, &[]);
    let mut story = story();
    let mut seen = picture(&members, [1, 2, 4], [3]);
    seen.before = Some(set([1, 2, 3]));
    sees(&mut story, "1s", &silent(seen.clone(), [2, 3]));
    sees(&mut story, "2s", &silent(seen, [3]));
    story.run_until("40s");
    story.reads("roles/a_change_that_an_earlier_leader_began_is_finished");
}

#[test]
fn who_cannot_write_what_all_can_read_does_not_lead() {
    let config = Config { reads: Versions { least: 2, most: 2 }, ..Config::new(NodeId(1)) };
    let mut story = Story::of(Roles::new(config));
    let members = members(3, &[]);
    story.tell(Input::Led);
    sees(&mut story, "0s", &picture(&members, [1, 2, 3], []));
    story.reads("roles/who_cannot_write_what_all_can_read_does_not_lead");
}

#[test]
fn a_cluster_without_members_is_founded() {
    let mut story = story();
    sees(&mut story, "0s", &picture(&Members::default(), [1, 2, 3], []));
    story.tell(Input::Changed);
    sees(&mut story, "1s", &picture(&members(3, &[]), [1, 2, 3], []));
    story.reads("roles/a_cluster_without_members_is_founded");
}
