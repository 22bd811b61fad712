use std::collections::BTreeMap;
use std::fmt;

use portcullis_core::log::{Applied, Entry, State};
use portcullis_core::members::{
    API_ADDRESSES_MAX, Command, Done, KeyHash, Member, Members, NAME_MAX, Outcome, Preference,
    Refusal, Standing, TOKENS_MAX, TokenHash, Versions, Wanted,
};
use portcullis_core::{Address, GlobalTime, Machine, NodeId, Time, Timeout, lease};

use super::{Story, time};

/// Both tables told as a story: they are no machine themselves, for they know no local time.
struct Cluster(State);

/// One command at a global time, or a trip through a snapshot.
enum Input {
    At(GlobalTime, Command),
    Snapshot,
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Input::At(now, command) => write!(f, "at {now}: {command}"),
            Input::Snapshot => f.write_str("goes through a snapshot"),
        }
    }
}

impl Machine for Cluster {
    type Input = Input;
    type Output = String;

    fn handle(&mut self, _: Time, input: Input, out: &mut Vec<String>) {
        match input {
            Input::At(now, command) => {
                let advance = lease::Entry { now, commands: Default::default() };
                self.0.apply(&Entry::Leases(advance));
                match self.0.apply(&Entry::Members(command)) {
                    Applied::Members(Ok(done)) => out.push(done.to_string()),
                    Applied::Members(Err(refusal)) => out.push(format!("refused: {refusal}")),
                    Applied::Leases(_) => unreachable!("it is about the members"),
                }
            }
            Input::Snapshot => {
                let snapshot = self.0.snapshot();
                let restored = State::restore(match snapshot.version() {
                    1 => snapshot.first().into(),
                    _ => snapshot,
                });
                assert_eq!(restored, self.0, "a snapshot loses nothing");
                self.0 = restored;
            }
        }
    }

    fn poll_timeout(&self) -> Option<Timeout> {
        None
    }

    fn handle_timeout(&mut self, _: Time, _: &mut Vec<String>) {}
}

pub fn member(address: &str, reads: (u16, u16)) -> Member {
    Member {
        address: Address::new(address),
        api: vec![Address::new("10.0.0.1:17070")],
        domain: "".into(),
        reads: Versions { least: reads.0, most: reads.1 },
    }
}

fn at(now: &str, command: Command) -> Input {
    Input::At(GlobalTime(time(now).0), command)
}

fn token(byte: u8) -> TokenHash {
    TokenHash([byte; 32])
}

fn invite(byte: u8, until: &str) -> Command {
    Command::Invite { token: token(byte), void_after: GlobalTime(time(until).0) }
}

/// Each host has a key of its own.
fn join(byte: u8, address: &str) -> Command {
    join_by(byte, address, address)
}

fn join_by(byte: u8, address: &str, host: &str) -> Command {
    let mut key = [0; 32];
    key[..host.len()].copy_from_slice(host.as_bytes());
    Command::Join { token: token(byte), member: member(address, (1, 1)), key: KeyHash(key) }
}

fn found() -> Command {
    let members = (1..=3).map(|id| (NodeId(id), member(&format!("host-{id}:17022"), (1, 1))));
    Command::Found { members: members.collect(), wanted: Wanted::default() }
}

fn story() -> Story<Cluster> {
    Story::of(Cluster(State::default()))
}

fn list(cluster: &Cluster) -> String {
    let members: &Members = &cluster.0.members;
    let line = |(node, member): (NodeId, &Member)| {
        format!(
            "{node} at {} reads {} to {}",
            member.address, member.reads.least, member.reads.most
        )
    };
    let lines: Vec<String> = members.iter().map(line).collect();
    format!("{}; writes {}", lines.join(", "), members.writes())
}

fn standings(cluster: &Cluster) -> String {
    let standing = |id| format!("{id} {:?}", cluster.0.members.standing(NodeId(id)));
    (0..6).map(standing).collect::<Vec<_>>().join(", ")
}

#[test]
fn a_cluster_is_founded_once() {
    story()
        .tell(at("0s", Command::Remove { node: NodeId(1) }))
        .tell(at("1s", found()))
        .tell(at("2s", found()))
        .ask("members", list)
        .ask("standings", standings)
        .reads("members/a_cluster_is_founded_once");
}

#[test]
fn who_joins_by_a_token_is_the_only_one() {
    story()
        .tell(at("0s", found()))
        .tell(at("1s", join(7, "host-4:17022")))
        .tell(at("2s", invite(7, "60s")))
        .tell(at("3s", join(7, "host-2:17022")))
        .tell(at("3s", join(7, "host-4:17022")))
        .tell(Input::Snapshot)
        .tell(at("4s", join(7, "host-4:17022")))
        .tell(at("5s", join(7, "host-5:17022")))
        .tell(at("60s", join(7, "host-4:17022")))
        .tell(at("61s", join(7, "host-4:17022")))
        .ask("members", list)
        .reads("members/who_joins_by_a_token_is_the_only_one");
}

#[test]
fn whoever_asks_again_is_known_by_its_key() {
    story()
        .tell(at("0s", found()))
        .tell(at("1s", invite(7, "60s")))
        .tell(at("2s", join_by(7, "host-4:17022", "one")))
        .tell(at("3s", join_by(7, "host-4:17022", "other")))
        .tell(at("4s", join_by(7, "host-4b:17022", "one")))
        .tell(at("5s", join_by(7, "host-1:17022", "one")))
        .ask("members", list)
        .tell(at("6s", Command::Remove { node: NodeId(4) }))
        .tell(at("7s", join_by(7, "host-4b:17022", "one")))
        .ask("standings", standings)
        .reads("members/whoever_asks_again_is_known_by_its_key");
}

#[test]
fn a_token_that_was_taken_back_or_is_old_lets_nobody_in() {
    story()
        .tell(at("0s", found()))
        .tell(at("1s", invite(7, "10s")))
        .tell(at("2s", invite(8, "60s")))
        .tell(at("3s", Command::Uninvite { token: token(8) }))
        .tell(at("4s", Command::Uninvite { token: token(8) }))
        .tell(at("5s", join(8, "host-4:17022")))
        .tell(at("11s", join(7, "host-4:17022")))
        .reads("members/a_token_that_was_taken_back_or_is_old_lets_nobody_in");
}

#[test]
fn who_was_removed_never_comes_back() {
    let back = member("host-3:17022", (1, 1));
    story()
        .tell(at("0s", found()))
        .tell(at("1s", Command::Remove { node: NodeId(3) }))
        .tell(at("2s", Command::Remove { node: NodeId(3) }))
        .tell(at("3s", Command::Update { node: NodeId(3), member: back }))
        .tell(at("4s", invite(1, "60s")))
        .tell(at("5s", join(1, "host-3:17022")))
        .ask("standings", standings)
        .tell(at("6s", Command::Remove { node: NodeId(1) }))
        .tell(at("7s", Command::Remove { node: NodeId(2) }))
        .tell(at("8s", Command::Remove { node: NodeId(4) }))
        .ask("members", list)
        .reads("members/who_was_removed_never_comes_back");
}

#[test]
fn a_rolling_upgrade_writes_what_the_last_one_reads() {
    let upgrade = |id, reads| Command::Update {
        node: NodeId(id),
        member: member(&format!("host-{id}:17022"), reads),
    };
    let mut story = story();
    story.tell(at("0s", found()));
    for (now, id) in [("1s", 1), ("2s", 2), ("3s", 3)] {
        story.ask("members", list).tell(at(now, upgrade(id, (1, 2))));
    }
    story
        .ask("members", list)
        .tell(at("4s", upgrade(1, (1, 1))))
        .tell(at("5s", upgrade(1, (3, 3))))
        .tell(at("6s", upgrade(1, (2, 3))))
        .tell(at("7s", invite(1, "60s")))
        .tell(at("8s", join(1, "host-4:17022")))
        .ask("members", list)
        .reads("members/a_rolling_upgrade_writes_what_the_last_one_reads");
}

#[test]
fn a_wish_stands_until_it_is_taken_back_or_its_member_leaves() {
    let prefer = |id, preference| Command::Prefer { node: NodeId(id), preference };
    let (vote, none) = (Some(Preference::Vote), Some(Preference::NoVote));
    let wished = |cluster: &Cluster| {
        let wish = |id| cluster.0.members.preference(NodeId(id));
        let wishes = (1..=4).filter_map(|id| Some(format!("{id} {}", wish(id)?)));
        let version = cluster.0.snapshot().version();
        format!("{}; snapshot of version {version}", wishes.collect::<Vec<_>>().join(", "))
    };
    story()
        .tell(at("0s", found()))
        .tell(at("1s", prefer(1, none)))
        .tell(at("2s", invite(1, "60s")))
        .tell(at("3s", join(1, "host-4:17022")))
        .ask("wishes", wished)
        .tell(at("4s", prefer(1, none)))
        .tell(at("5s", prefer(2, none)))
        .tell(at("6s", prefer(2, vote)))
        .tell(Input::Snapshot)
        .ask("wishes", wished)
        .tell(at("7s", Command::Want { wanted: Wanted { voters: 1, stand_bys: 3 } }))
        .tell(at("8s", prefer(3, vote)))
        .tell(at("9s", prefer(2, None)))
        .tell(at("10s", prefer(3, vote)))
        .tell(at("11s", prefer(5, vote)))
        .ask("wishes", wished)
        .tell(at("12s", Command::Remove { node: NodeId(1) }))
        .tell(at("13s", prefer(3, None)))
        .ask("wishes", wished)
        .reads("members/a_wish_stands_until_it_is_taken_back_or_its_member_leaves");
}

#[test]
fn everything_is_bounded() {
    let mut cluster = State::default();
    let mut apply = |command| cluster.apply(&Entry::Members(command));
    let want = |voters, stand_bys| Command::Want { wanted: Wanted { voters, stand_bys } };
    let mut told = Vec::new();
    apply(found());
    for byte in 0..=TOKENS_MAX as u8 {
        told.push(apply(invite(byte, "60s")));
    }
    for byte in 0..20 {
        told.push(apply(join(byte, &format!("join-{byte}:17022"))));
    }
    told.extend([want(2, 0), want(0, 0), want(9, 0), want(3, 8), want(5, 0)].map(&mut apply));
    let large = |address: &str, api| Member {
        api: vec![Address::new("a:1"); api],
        ..member(address, (1, 1))
    };
    let update = |member| Command::Update { node: NodeId(1), member };
    told.push(apply(update(large("a:1", API_ADDRESSES_MAX + 1))));
    told.push(apply(update(large(&"a".repeat(NAME_MAX + 1), 1))));
    let mut counts = BTreeMap::new();
    for one in told {
        let word = match one {
            Applied::Members(Ok(done)) => done.to_string().split(' ').next().map(str::to_owned),
            Applied::Members(Err(refusal)) => Some(refusal.to_string()),
            Applied::Leases(_) => None,
        };
        *counts.entry(word.expect("it is about the members")).or_insert(0) += 1;
    }
    let page: Vec<String> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
    super::snapshot("members/everything_is_bounded", &page.join("\n"));
}

#[test]
fn who_goes_on_alone_gives_no_name_twice() {
    let mut members = Members::default();
    let now = GlobalTime(0);
    for command in [found(), invite(7, "60s"), invite(8, "60s")] {
        assert!(members.apply(now, &command).is_ok());
    }
    // The copy that goes on does not know who joined next.
    let mut alone = members.clone();
    let joined = |outcome: Outcome| match outcome {
        Ok(Done::Joined { node }) => node,
        other => panic!("nobody joined: {other:?}"),
    };
    let lost = joined(members.apply(now, &join(7, "host-4:17022")));
    alone.leave_only(NodeId(2));
    assert_eq!(alone.iter().map(|(node, _)| node).collect::<Vec<_>>(), [NodeId(2)]);
    assert_eq!(alone.standing(lost), Standing::Removed);
    assert_eq!(alone.apply(now, &join(8, "host-5:17022")), Err(Refusal::NoToken));
    assert!(alone.apply(now, &invite(9, "60s")).is_ok());
    assert!(joined(alone.apply(now, &join(9, "host-5:17022"))) > lost);
}
