use portcullis_core::front::{Config, Fault, Front, Input, Verdict};
use portcullis_core::{Address, BackendId, ConnectionId, Seed, pace};

use super::{Story, lasting, three_addresses};

const A: BackendId = BackendId(1);
const B: BackendId = BackendId(2);
const C: BackendId = BackendId(3);
const HEALTHY: Verdict = Verdict::Healthy { connections: None };

fn config() -> Config {
    let fill = pace::Config { burst: 0, ..Config::default().fill };
    Config { fill, hold: lasting("5s"), ..Config::default() }
}

/// A front of so many backends, none of which has answered yet.
fn unprobed(config: Config, backends: usize) -> Story<Front> {
    let mut story = Story::of(Front::new(config, Seed(7)));
    let addresses = three_addresses().into_iter().take(backends).collect();
    story.tell(Input::BackendsSet { addresses }).run_until("0s");
    story
}

/// A front of so many healthy backends, which has given a permit.
fn story(config: Config, backends: usize) -> Story<Front> {
    let mut story = unprobed(config, backends);
    for backend in [A, B, C].into_iter().take(backends) {
        story.tell(Input::Probed { backend, verdict: HEALTHY });
    }
    story
}

trait Crowd {
    /// A connection comes in, and reaches whichever backend it is given to.
    fn enters(&mut self, connection: u64) -> &mut Self;
    fn asks_all(&mut self) -> &mut Self;
}

impl Crowd for Story<Front> {
    fn enters(&mut self, connection: u64) -> &mut Self {
        let connection = ConnectionId(connection);
        self.tell(Input::Accepted { connection }).tell(Input::Joined { connection })
    }

    fn asks_all(&mut self) -> &mut Self {
        self.ask("connections", |front| {
            let each = front.backends().map(|(id, status)| {
                let (elsewhere, standing) = (status.elsewhere, status.standing);
                format!("{id} {standing} {}+{elsewhere}", status.connections)
            });
            format!("{} {:?}", front.phase(), each.collect::<Vec<_>>())
        })
    }
}

#[test]
fn nobody_enters_before_a_backend_is_healthy() {
    let mut story = unprobed(config(), 2);
    story
        .tell(Input::Probed { backend: A, verdict: Verdict::Unready })
        .tell(Input::Probed { backend: B, verdict: Verdict::Failed })
        .asks_all()
        .run_until("2s")
        .tell(Input::Probed { backend: A, verdict: HEALTHY })
        .run_until("2.5s")
        .asks_all()
        .tell(Input::Probed { backend: A, verdict: HEALTHY })
        .asks_all()
        .reads("front/nobody_enters_before_a_backend_is_healthy");
}

#[test]
fn the_fewest_connections_get_the_next() {
    let mut story = story(config(), 3);
    (1..=7).for_each(|connection| {
        story.enters(connection);
    });
    story.asks_all().tell(Input::Ended { backend: B }).tell(Input::Ended { backend: B });
    story.enters(8).asks_all().reads("front/the_fewest_connections_get_the_next");
}

#[test]
fn what_a_backend_has_from_elsewhere_counts() {
    let mut story = story(config(), 2);
    story.run_until("2s");
    story.tell(Input::Probed { backend: A, verdict: Verdict::Healthy { connections: Some(3) } });
    (1..=4).for_each(|connection| {
        story.enters(connection);
    });
    story.asks_all().reads("front/what_a_backend_has_from_elsewhere_counts");
}

#[test]
fn a_refused_connection_goes_elsewhere() {
    let one = ConnectionId(1);
    story(Config { tries_max: 2, ..config() }, 2)
        .tell(Input::Accepted { connection: one })
        .tell(Input::NotJoined { connection: one, fault: Fault::Backend })
        .tell(Input::NotJoined { connection: one, fault: Fault::Here })
        .asks_all()
        .reads("front/a_refused_connection_goes_elsewhere");
}

#[test]
fn failed_connections_bring_a_backend_down() {
    let mut story = story(config(), 1);
    for connection in [1, 2, 3].map(ConnectionId) {
        story.tell(Input::Accepted { connection });
        story.tell(Input::NotJoined { connection, fault: Fault::Backend });
    }
    story.tell(Input::Withdrawn).asks_all().run_until("0.5s");
    // They wait for it, and none is thrown out if it is back soon.
    story.tell(Input::Probed { backend: A, verdict: HEALTHY }).run_until("1s");
    story.tell(Input::Probed { backend: A, verdict: HEALTHY });
    story.reads("front/failed_connections_bring_a_backend_down");
}

#[test]
fn one_who_raced_the_withdrawal_is_held_and_then_refused() {
    let (one, two) = (ConnectionId(1), ConnectionId(2));
    story(config(), 1)
        .run_until("2s")
        .tell(Input::Probed { backend: A, verdict: Verdict::Unready })
        .tell(Input::Accepted { connection: one })
        .run_until("4s")
        .tell(Input::Probed { backend: A, verdict: HEALTHY })
        .run_until("4.5s")
        .tell(Input::Probed { backend: A, verdict: HEALTHY })
        .tell(Input::Joined { connection: one })
        .run_until("6.5s")
        .tell(Input::Probed { backend: A, verdict: Verdict::Unready })
        .tell(Input::Accepted { connection: two })
        .run_until("12s")
        .asks_all()
        .reads("front/one_who_raced_the_withdrawal_is_held_and_then_refused");
}

#[test]
fn a_backend_that_wavers_must_prove_itself() {
    let mut story = story(config(), 1);
    for at in ["2s", "2.5s"] {
        story.run_until(at).tell(Input::Probed { backend: A, verdict: Verdict::Failed });
    }
    story.run_until("3s").tell(Input::Probed { backend: A, verdict: HEALTHY });
    for at in ["5s", "5.5s", "6s"] {
        story.run_until(at).tell(Input::Probed { backend: A, verdict: Verdict::Failed });
    }
    story.tell(Input::Withdrawn).run_until("7s");
    for verdict in [HEALTHY, Verdict::Failed, HEALTHY, HEALTHY] {
        story.tell(Input::Probed { backend: A, verdict }).asks_all();
        story.run_for("1s");
    }
    story.reads("front/a_backend_that_wavers_must_prove_itself");
}

#[test]
fn one_that_returns_is_filled_gently() {
    let fill = pace::Config { burst: 2, interval: lasting("100ms") };
    let config = Config { fill, fill_for: lasting("1s"), ..config() };
    let mut story = story(config, 1);
    (1..=3).for_each(|connection| {
        story.enters(connection);
        story.run_for("100ms");
    });
    story.enters(4).enters(5).run_until("1s");
    (6..=9).for_each(|connection| {
        story.enters(connection);
    });
    story.asks_all().reads("front/one_that_returns_is_filled_gently");
}

#[test]
fn a_full_front_lets_in_for_each_that_leaves() {
    story(Config { connections_max: 2, ..config() }, 1)
        .enters(1)
        .enters(2)
        .asks_all()
        .tell(Input::Ended { backend: A })
        .reads("front/a_full_front_lets_in_for_each_that_leaves");
}

#[test]
fn a_removed_backend_keeps_its_connections_for_a_while() {
    let mut story = story(Config { drain: lasting("3s"), ..config() }, 2);
    story.enters(1).enters(2).at("1s");
    let addresses = ["b:17070", "d:17070"].map(Address::new).to_vec();
    story.tell(Input::BackendsSet { addresses }).enters(3).run_until("5s");
    story.tell(Input::Ended { backend: A }).asks_all();
    story.reads("front/a_removed_backend_keeps_its_connections_for_a_while");
}

#[test]
fn one_that_comes_back_in_time_stays() {
    let mut story = story(config(), 1);
    story.enters(1).tell(Input::BackendsSet { addresses: Vec::new() }).tell(Input::Withdrawn);
    let addresses = vec![Address::new("a:17070")];
    story.at("1s").tell(Input::BackendsSet { addresses }).run_until("2s").asks_all();
    story.reads("front/one_that_comes_back_in_time_stays");
}

#[test]
fn stop_waits_for_the_connections() {
    story(config(), 1)
        .enters(1)
        .at("1s")
        .tell(Input::Stopping)
        .tell(Input::Withdrawn)
        .at("1.5s")
        .tell(Input::Ended { backend: A })
        .run_until("10m")
        .reads("front/stop_waits_for_the_connections");
}

#[test]
fn stop_waits_no_longer_than_it_may() {
    story(Config { drain: lasting("1s"), ..config() }, 1)
        .enters(1)
        .tell(Input::Stopping)
        .tell(Input::Accepted { connection: ConnectionId(2) })
        .run_until("1s")
        .tell(Input::Ended { backend: A })
        .tell(Input::NotJoined { connection: ConnectionId(2), fault: Fault::Here })
        .reads("front/stop_waits_no_longer_than_it_may");
}

#[test]
fn stop_said_twice_hangs_up() {
    story(config(), 1)
        .enters(1)
        .tell(Input::Stopping)
        .tell(Input::Stopping)
        .tell(Input::Withdrawn)
        .tell(Input::Ended { backend: A })
        .reads("front/stop_said_twice_hangs_up");
}
