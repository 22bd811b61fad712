//! Roles and members, in clusters that grow, shrink, fall silent and fall behind.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_core::members::{
    Command, Done, KeyHash, MEMBERS_MAX, Member, Members, Preference, Standing, TOKENS_MAX,
    TokenHash, Versions, Wanted,
};
use portcullis_core::roles::{Config, Input, Output, Picture, Roles};
use portcullis_core::{Address, GlobalTime, Machine, NodeId, Rng, Seed, Time};

use crate::world::{World, chance, draw_of, run};

const ME: NodeId = NodeId(1);

fn draw_member(id: u64, rng: &mut Rng) -> Member {
    let domain = ["", "a", "b", "c"][rng.below(4) as usize];
    Member {
        address: Address::new(&format!("host-{id}:17022")),
        api: Vec::new(),
        domain: domain.into(),
        reads: Versions { least: 1, most: 1 },
    }
}

fn draw_preference(rng: &mut Rng) -> Option<Preference> {
    [None, Some(Preference::Vote), Some(Preference::NoVote)][rng.below(3) as usize]
}

/// One cluster, led by controller 1 or by nobody that matters here.
struct Cluster {
    config: Config,
    picture: Picture,
    /// What the machine was shown last: by that it is judged.
    shown: Option<Picture>,
    due: Option<Output>,
    looks: u32,
    tokens: u8,
}

impl Cluster {
    fn founded(rng: &mut Rng) -> Cluster {
        let count = rng.below(7) + 1;
        let mut picture = Picture { last: 1_000, ..Picture::default() };
        let members: BTreeMap<NodeId, Member> =
            (1..=count).map(|id| (NodeId(id), draw_member(id, rng))).collect();
        let voters = [1, 3, 5, 7][rng.below(4) as usize];
        let wanted = Wanted { voters, stand_bys: rng.below(4) as u8 };
        let found = Command::Found { members, wanted };
        assert!(picture.members.apply(GlobalTime(0), &found).is_ok());
        picture.voters = (1..=rng.below(count) + 1).map(NodeId).collect();
        picture.heard = (1..=count).map(NodeId).collect();
        let mut cluster = Cluster {
            config: Config::new(ME),
            picture,
            shown: None,
            due: None,
            looks: 0,
            tokens: 0,
        };
        cluster.catch_up();
        cluster
    }

    fn catch_up(&mut self) {
        let Picture { voters, learners, heard, matched, last, .. } = &mut self.picture;
        matched.retain(|node, _| voters.contains(node) || learners.contains(node));
        for node in voters.union(learners).filter(|node| heard.contains(*node)) {
            matched.insert(*node, *last);
        }
    }

    fn able(&self, picture: &Picture, node: NodeId) -> bool {
        let matched = picture.matched.get(&node).copied().unwrap_or_default();
        node == ME || picture.heard.contains(&node) && matched + self.config.lag_max >= picture.last
    }

    fn judge(&self, order: &Output) {
        let picture = self.shown.as_ref().expect("it has seen what it changes");
        let joined = |node: NodeId| picture.members.get(node).is_some();
        match order {
            Output::Look => unreachable!("looking is no change"),
            Output::Found => assert!(picture.members.is_empty(), "it is founded already"),
            Output::Appoint { voters } => {
                let configs = [voters, &picture.voters];
                for config in configs.into_iter().chain(&picture.before) {
                    let able = config.iter().filter(|node| self.able(picture, **node)).count();
                    assert!(able * 2 > config.len(), "{order} in {picture} loses the quorum");
                }
                let unfinished = picture.before.is_some();
                assert!(
                    unfinished || voters.iter().all(|node| joined(*node)),
                    "{order}: a stranger"
                );
                let replicas = |node: &NodeId| {
                    picture.voters.contains(node) || picture.learners.contains(node)
                };
                assert!(voters.iter().all(replicas), "{order}: one without the log");
                let wanted = usize::from(picture.members.wanted().voters);
                let most = wanted.min(picture.members.len());
                let most = most - usize::from(most.is_multiple_of(2));
                let present = picture.voters.iter().filter(|node| joined(**node)).count();
                assert!(unfinished || voters.len() >= present.min(most), "{order}: smaller");
                assert!(unfinished || voters.len() <= most.max(present), "{order}: larger");
            }
            Output::Add { node } => {
                let known = picture.voters.contains(node) || picture.learners.contains(node);
                assert!(joined(*node) && !known && picture.heard.contains(node), "{order}");
            }
            Output::Drop { node } => assert!(picture.learners.contains(node), "{order}"),
            Output::HandOver { to } => {
                let able = self.able(picture, *to) && picture.voters.contains(to) && joined(*to);
                assert!(*to != ME && able, "{order} in {picture}");
            }
        }
    }

    fn perform(&mut self, order: &Output) {
        let Picture { voters, before, learners, members, .. } = &mut self.picture;
        match order {
            Output::Look | Output::Found | Output::HandOver { .. } => {}
            Output::Appoint { voters: chosen } => {
                let replicas: BTreeSet<NodeId> = voters.union(learners).copied().collect();
                *learners = replicas.difference(chosen).copied().collect();
                (*voters, *before) = (chosen.clone(), None);
            }
            Output::Add { node } => {
                assert!(members.get(*node).is_some(), "it was a member when that was ordered");
                learners.insert(*node);
            }
            Output::Drop { node } => {
                learners.remove(node);
            }
        }
    }

    /// Members come and go.
    fn change_members(&mut self, rng: &mut Rng) {
        let names: BTreeSet<NodeId> = self.picture.members.iter().map(|(node, _)| node).collect();
        let command = if chance(30, rng) {
            let Some(node) = draw_of(&names, rng) else { return };
            Command::Prefer { node, preference: draw_preference(rng) }
        } else if chance(50, rng) {
            self.tokens = self.tokens.wrapping_add(1);
            let token = TokenHash([self.tokens; 32]);
            let invite = Command::Invite { token, void_after: GlobalTime(u64::MAX) };
            // With too many tokens, nobody joins any more.
            let _ = self.picture.members.apply(GlobalTime(0), &invite);
            let id = 100 + u64::from(self.tokens);
            Command::Join { token, member: draw_member(id, rng), key: KeyHash([0; 32]) }
        } else {
            let Some(node) = draw_of(&names, rng) else { return };
            Command::Remove { node }
        };
        // A change of roles is never made for who left meanwhile: raft would refuse it.
        if self.due.is_none()
            && let Ok(Done::Joined { node }) = self.picture.members.apply(GlobalTime(0), &command)
        {
            self.picture.heard.insert(node);
        }
    }
}

impl World for Cluster {
    type Machine = Roles;

    fn new(rng: &mut Rng) -> (Cluster, Roles) {
        let cluster = Cluster::founded(rng);
        let roles = Roles::new(cluster.config.clone());
        (cluster, roles)
    }

    fn draw(&mut self, _: Time, rng: &mut Rng) -> Option<Input> {
        let names: BTreeSet<NodeId> = self.picture.members.iter().map(|(node, _)| node).collect();
        let one = draw_of(&names, rng).unwrap_or(ME);
        match rng.below(24) {
            0..10 => {
                self.catch_up();
                let picture = self.picture.clone();
                if self.due.is_none() {
                    self.shown = Some(picture.clone());
                }
                return Some(Input::Seen(Box::new(picture)));
            }
            10..14 => {
                let order = self.due.take()?;
                let done = chance(80, rng);
                if done {
                    self.perform(&order);
                }
                return Some(if done { Input::Changed } else { Input::NotChanged });
            }
            14 => drop(self.picture.heard.remove(&one)),
            15..18 => drop(self.picture.heard.insert(one)),
            18 => self.picture.last += rng.below(1_000),
            19 => self.change_members(rng),
            20 => return Some(Input::Leaving { node: one }),
            21 if chance(20, rng) => {
                // An earlier leader left a change unfinished.
                let fits = self.due.is_none() && self.picture.before.is_none();
                self.picture.before = fits.then(|| self.picture.voters.clone());
            }
            22 if chance(20, rng) => {
                self.due = None;
                return Some(Input::Followed);
            }
            _ => return Some(Input::Led),
        }
        None
    }

    fn see(&mut self, _: Time, orders: Vec<Output>) {
        for order in orders {
            if order == Output::Look {
                // Whatever was under way by now is given up: nobody knows what came of it.
                self.due = None;
                self.looks += 1;
                continue;
            }
            assert!(self.due.is_none(), "{order} before it knows of the last change");
            self.judge(&order);
            self.due = Some(order);
        }
    }

    fn check(&self, _: Time, machine: &Roles) {
        assert!(self.due.is_none() || machine.poll_timeout().is_some(), "it waits without end");
    }

    fn closing(&mut self) -> Vec<Input> {
        vec![Input::Stopping, Input::Followed]
    }

    fn settled(&self, machine: &Roles) {
        assert_eq!(machine.poll_timeout(), None, "who does not lead waits for nothing");
    }
}

#[test]
fn roles() {
    run::<Cluster>("roles");
}

/// When all are heard, every cluster comes to have its roles in a few steps, and then rests.
#[test]
fn a_cluster_that_is_well_comes_to_rest() {
    for seed in 0..500 {
        let mut rng = Seed(seed).child("rest", 0).rng();
        let mut cluster = Cluster::founded(&mut rng);
        for _ in 0..rng.below(4) {
            cluster.change_members(&mut rng);
        }
        let me = cluster.picture.members.get(ME).is_some();
        let (mut roles, mut orders, mut quiet) = (Roles::new(Config::new(ME)), Vec::new(), 0);
        let mut hands_over = false;
        roles.handle(Time(0), Input::Led, &mut orders);
        for second in 0..200 {
            cluster.catch_up();
            cluster.shown = Some(cluster.picture.clone());
            let now = Time(second * 1_000_000);
            roles.handle_timeout(now, &mut orders);
            orders.clear();
            let seen = Input::Seen(Box::new(cluster.picture.clone()));
            roles.handle(now, seen, &mut orders);
            quiet += 1;
            for order in std::mem::take(&mut orders) {
                quiet = 0;
                hands_over = matches!(order, Output::HandOver { .. });
                cluster.judge(&order);
                cluster.perform(&order);
                roles.handle(now, Input::Changed, &mut Vec::new());
            }
        }
        let Picture { voters, learners, members, .. } = &cluster.picture;
        if !me || hands_over {
            // It orders nothing but that another leads, until that one does.
            continue;
        }
        let wanted = members.wanted();
        let most = usize::from(wanted.voters).min(members.len());
        assert_eq!(voters.len(), most - usize::from(most.is_multiple_of(2)), "seed {seed}");
        let replicas = usize::from(wanted.voters + wanted.stand_bys).min(members.len());
        assert_eq!(voters.len() + learners.len(), replicas, "seed {seed}");
        assert!(quiet > 100, "seed {seed}: it goes on changing");
    }
}

/// Names are never used twice, a token lets one in, and everything is bounded.
#[test]
fn members() {
    for seed in 0..200 {
        let mut rng = Seed(seed).child("members", 0).rng();
        let mut members = Members::default();
        let (mut removed, mut by_token) = (BTreeSet::new(), BTreeMap::new());
        for now in 0..300 {
            let node = NodeId(rng.below(20));
            let token = TokenHash([rng.below(80) as u8; 32]);
            let mut member = draw_member(rng.below(30), &mut rng);
            member.reads.most = rng.below(3) as u16 + 1;
            let command = match rng.below(14) {
                11 | 12 => Command::Prefer { node, preference: draw_preference(&mut rng) },
                0 => Command::Found {
                    members: [(node, member.clone())].into(),
                    wanted: Wanted::default(),
                },
                1..4 => Command::Invite { token, void_after: GlobalTime(now + rng.below(100)) },
                4 => Command::Uninvite { token },
                5..8 => {
                    let key = KeyHash([rng.below(2) as u8; 32]);
                    Command::Join { token, member: member.clone(), key }
                }
                8 => Command::Update { node, member: member.clone() },
                9..11 => Command::Remove { node },
                _ => Command::Want {
                    wanted: Wanted { voters: rng.below(9) as u8, stand_bys: rng.below(9) as u8 },
                },
            };
            let before = members.clone();
            let outcome = members.apply(GlobalTime(now), &command);
            match (&command, outcome) {
                (Command::Join { token, key, .. }, Ok(Done::Joined { node })) => {
                    assert!(!removed.contains(&node), "seed {seed}: {node} is back");
                    let first = *by_token.entry(*token).or_insert((node, *key));
                    assert_eq!(first, (node, *key), "seed {seed}: two by one token");
                }
                (Command::Invite { token, .. }, Ok(_)) => drop(by_token.remove(token)),
                (Command::Remove { node }, Ok(_)) => drop(removed.insert(*node)),
                (_, Err(_)) => {
                    let names =
                        |one: &Members| one.iter().map(|(node, _)| node).collect::<Vec<_>>();
                    assert_eq!(names(&before), names(&members), "a refusal has no effect");
                }
                (_, Ok(_)) => {}
            }
            assert!(members.len() <= MEMBERS_MAX && members.tokens().count() <= TOKENS_MAX);
            assert_eq!(members.founded(), before.founded() || members.founded());
            assert!(members.wanted().voters % 2 == 1, "seed {seed}: even voters are wanted");
            for node in &removed {
                assert_eq!(members.standing(*node), Standing::Removed, "seed {seed}");
            }
            for node in (0..30).map(NodeId).filter(|node| members.preference(*node).is_some()) {
                assert_eq!(members.standing(node), Standing::Joined, "seed {seed}: of a stranger");
            }
            let writes = members.writes();
            let reads = |(_, member): (NodeId, &Member)| member.reads.contain(writes);
            assert!(!members.founded() || members.iter().all(reads), "seed {seed}: unreadable");
        }
    }
}
