//! The limit on logins in progress: its bounds in any world, and its worth in some.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use portcullis_core::admission::{Accept, Admission, Config, Input, Output};
use portcullis_core::{ConnectionId, Machine, Rng, Seed, Time};

use crate::world::{World, chance, draw_of, run};

/// Whoever comes, logs in, or leaves without.
struct Door {
    config: Config,
    logins_max: usize,
    limit: usize,
    inside: BTreeSet<ConnectionId>,
    count: u64,
}

impl World for Door {
    type Machine = Admission;

    fn new(rng: &mut Rng) -> (Door, Admission) {
        let window = Duration::from_millis(rng.below(1_000) + 1);
        let config = Config {
            accept: if chance(90, rng) { Accept::Adaptive } else { Accept::Paced },
            logins_min: rng.below(6) as usize + 1,
            window,
            window_max: window * (rng.below(4) as u32 + 1),
            samples_min: rng.below(5) as usize + 1,
            growth: rng.below(200) + 1,
            share: rng.below(99) + 1,
            time_max: rng.below(300) + 101,
            rest: rng.below(4) as u32,
        };
        let logins_max = rng.below(20) as usize + 1;
        let machine = Admission::new(config, logins_max);
        let limit = machine.limit();
        (Door { config, logins_max, limit, inside: BTreeSet::new(), count: 0 }, machine)
    }

    fn draw(&mut self, _: Time, rng: &mut Rng) -> Option<Input> {
        match rng.below(8) {
            // The listener lets nobody in beyond the limit.
            0..4 if self.inside.len() < self.limit => {
                self.count += 1;
                let connection = ConnectionId(self.count);
                self.inside.insert(connection);
                Some(Input::Connected { connection })
            }
            4..6 => {
                let connection = draw_of(&self.inside, rng)?;
                self.inside.remove(&connection);
                Some(Input::LoggedIn { connection })
            }
            6 => {
                // Some of them have logged in before.
                let connection = ConnectionId(rng.below(self.count + 1));
                self.inside.remove(&connection);
                Some(Input::Disconnected { connection })
            }
            _ => None,
        }
    }

    fn see(&mut self, _: Time, orders: Vec<Output>) {
        for order in orders {
            let Output::Allow { logins } = order;
            assert_ne!(logins, self.limit, "an order changes something");
            assert_eq!(self.config.accept, Accept::Adaptive, "nothing else steers");
            self.limit = logins;
        }
    }

    fn check(&self, _: Time, machine: &Admission) {
        assert_eq!(machine.limit(), self.limit);
        assert_eq!(machine.logins(), self.inside.len());
        let least = self.config.logins_min.min(self.logins_max);
        assert!((least..=self.logins_max).contains(&self.limit), "{} is out of bounds", self.limit);
    }

    fn closing(&mut self) -> Vec<Input> {
        let gone = |connection| Input::Disconnected { connection };
        std::mem::take(&mut self.inside).into_iter().map(gone).collect()
    }

    fn settled(&self, machine: &Admission) {
        assert_eq!(machine.logins(), 0);
        assert_eq!(machine.poll_timeout(), None, "an empty door decides nothing");
    }
}

#[test]
fn admission() {
    run::<Door>("admission");
}

/// A controller with one processor, and a herd that never ends before its door.
struct Herd {
    /// Time of the processor for one login.
    cost: Duration,
    /// How long a client takes by itself, drawn for each; none if it never logs in.
    client: fn(&mut Rng) -> Option<Duration>,
    /// When the processor stands still, and for how long.
    stall: Option<(Time, Duration)>,
}

/// What came of a herd.
struct Came {
    /// How many logged in.
    logins: u64,
    /// The limit in the end.
    limit: usize,
    /// How long the last half of them took, without what the client took itself, on average.
    waited: Duration,
}

const MINUTE: Time = Time(60_000_000);
const LOGIN_WITHIN: Duration = Duration::from_secs(30);

impl Herd {
    /// Lets it come for a minute.
    fn come(&self, config: Config, logins_max: usize) -> Came {
        let mut rng = Seed(5).child("herd", 0).rng();
        let mut machine = Admission::new(config, logins_max);
        let mut due: BTreeMap<(Time, u64), Step> = BTreeMap::new();
        let (mut now, mut count, mut inside) = (Time(0), 0, 0);
        let (mut busy, mut out) = (Time(0), Vec::new());
        let mut waits = VecDeque::new();
        while now < MINUTE {
            while inside < machine.limit() {
                count += 1;
                inside += 1;
                machine.handle(now, Input::Connected { connection: ConnectionId(count) }, &mut out);
                let (at, step) = match (self.client)(&mut rng) {
                    Some(takes) => (now + takes, Step::Asks { takes, since: now }),
                    None => (now + LOGIN_WITHIN, Step::Leaves),
                };
                due.insert((at, count), step);
            }
            let timeout = machine.poll_timeout().map(|due| due.at.max(now));
            let next = due.first_key_value().map(|((at, _), _)| *at);
            if timeout.is_some_and(|at| next.is_none_or(|next| at < next)) {
                now = timeout.expect("it was there just before");
                machine.handle_timeout(now, &mut out);
                continue;
            }
            let ((at, number), step) = due.pop_first().expect("somebody is inside");
            now = at;
            let connection = ConnectionId(number);
            match step {
                Step::Asks { takes, since } => {
                    busy = busy.max(now) + self.cost;
                    if let Some((from, lasts)) = self.stall
                        && busy >= from
                        && now < from + lasts
                    {
                        busy = busy.max(from + lasts);
                    }
                    due.insert((busy, number), Step::Done { takes, since });
                }
                Step::Done { takes, since } => {
                    inside -= 1;
                    waits.push_back(now.since(since) - takes);
                    machine.handle(now, Input::LoggedIn { connection }, &mut out);
                }
                Step::Leaves => {
                    inside -= 1;
                    machine.handle(now, Input::Disconnected { connection }, &mut out);
                }
            }
        }
        let logins = waits.len() as u64;
        let last: Vec<Duration> = waits.drain(waits.len() / 2..).collect();
        let waited = last.iter().sum::<Duration>() / (last.len().max(1) as u32);
        Came { logins, limit: machine.limit(), waited }
    }

    /// How much of what the best fixed limit would have served is served, in percent.
    fn share_of_best(&self, logins_max: usize) -> (u64, Came) {
        let fixed = Config { accept: Accept::Paced, ..Config::default() };
        let best = self.come(fixed, logins_max).logins;
        let came = self.come(Config::default(), logins_max);
        (came.logins * 100 / best.max(1), came)
    }
}

enum Step {
    Asks { takes: Duration, since: Time },
    Done { takes: Duration, since: Time },
    Leaves,
}

const COST: Duration = Duration::from_micros(300);

fn near(rng: &mut Rng) -> Option<Duration> {
    Some(Duration::from_micros(5_000 + rng.below(10_000)))
}

#[test]
fn a_herd_is_served_as_fast_as_can_be_and_waits_outside() {
    let herd = Herd { cost: COST, client: near, stall: None };
    let (share, came) = herd.share_of_best(1_024);
    assert!(share >= 95, "{share} % of {}", came.logins);
    // A thousand at once would take 300 ms each.
    assert!(came.waited < Duration::from_millis(40), "{:?} at {}", came.waited, came.limit);
}

#[test]
fn a_half_that_is_slow_by_itself_does_not_hold_the_other_up() {
    let client = |rng: &mut Rng| match chance(50, rng) {
        true => Some(Duration::from_secs(10)),
        false => near(rng),
    };
    let (share, came) = Herd { cost: COST, client, stall: None }.share_of_best(1_024);
    assert!(share >= 80, "{share} % of {}", came.logins);
}

#[test]
fn a_half_that_never_logs_in_does_not_close_the_door() {
    let client = |rng: &mut Rng| if chance(50, rng) { None } else { near(rng) };
    let (share, came) = Herd { cost: COST, client, stall: None }.share_of_best(1_024);
    assert!(share >= 80, "{share} % of {}", came.logins);
}

#[test]
fn those_who_are_far_away_are_not_taken_for_congestion() {
    // The first are at hand, so that what comes later is a hundred times as long.
    let client = |rng: &mut Rng| match chance(3, rng) {
        true => Some(Duration::from_micros(2_000)),
        false => Some(Duration::from_micros(200_000 + rng.below(50_000))),
    };
    let (share, came) = Herd { cost: COST, client, stall: None }.share_of_best(1_024);
    assert!(share >= 80, "{share} % of {} at {}", came.logins, came.limit);
}

#[test]
fn passwords_that_cost_much_keep_the_limit_low() {
    let cost = Duration::from_millis(50);
    let (share, came) = Herd { cost, client: near, stall: None }.share_of_best(1_024);
    assert!(share >= 95, "{share} % of {}", came.logins);
    // With all of 1,024 a login would take 51 s, and be cut before.
    assert!(came.waited < Duration::from_secs(4), "{:?} at {}", came.waited, came.limit);
}

#[test]
fn a_stall_costs_no_more_than_itself() {
    let stall = Some((Time(20_000_000), Duration::from_secs(5)));
    let (share, came) = Herd { cost: COST, client: near, stall }.share_of_best(1_024);
    assert!(share >= 90, "{share} % of {}", came.logins);
    assert!(came.waited < Duration::from_millis(60), "{:?} at {}", came.waited, came.limit);
}
