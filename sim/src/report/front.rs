//! What is kept of the front: whom it has let in, where they are, and how controllers look from
//! there. Its panels are there in runs that have a front alone.

use std::collections::BTreeMap;

use portcullis_core::front::{News, Output};
use portcullis_core::{Address, BackendId, NodeId, Time};

use super::controller::ink;
use super::panel::{Lane, Line, Panel, Plot, Shape, State, Strip, Track};
use super::scale::Kind;
use super::series::Level;
use super::text::{Unit, figure};
use crate::engine::configuration;
use crate::gate::Gate;
use crate::history::Fronted;
use crate::settings;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Front {
    gate: Gate,
    /// Connections that were let in and are not over.
    pub connections: Level,
    /// Those of them that no controller has.
    pub joining: Level,
    /// Permits that nobody has come in by.
    permits: Level,
    backends: BTreeMap<NodeId, Backend>,
    nodes: BTreeMap<BackendId, NodeId>,
}

/// A controller as the front sees it; the same one, however often it is taken out and put back.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Those on their way there included.
    pub connections: Level,
    pub health: Health,
    seen: Track,
}

/// How a controller looks from the front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Nothing is known of it.
    Unseen,
    Up,
    Down,
    Unready,
    /// It is taken out, and its connections go on for a while.
    Leaving,
    Gone,
}

impl Health {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Health::Unseen => "not seen",
            Health::Up => "up",
            Health::Down => "down",
            Health::Unready => "not ready",
            Health::Leaving => "taken out",
            Health::Gone => "gone",
        }
    }

    fn state(self) -> State {
        match self {
            Health::Unseen | Health::Gone => State::Down,
            Health::Up => State::Open,
            Health::Down => State::Fault,
            Health::Unready | Health::Leaving => State::Waiting,
        }
    }
}

impl Front {
    /// The controllers that it knows, in order.
    pub fn backends(&self) -> impl Iterator<Item = (NodeId, &Backend)> {
        self.backends.iter().map(|(node, backend)| (*node, backend))
    }

    /// Takes note of what its machine was told, or ordered.
    pub fn note(&mut self, at: Time, event: &Fronted<'_>) {
        if let Fronted::Ordered(output) = event {
            self.ordered(at, output);
        }
        self.gate.note(event);
        self.connections.set(at, self.gate.connections as u64);
        self.joining.set(at, self.gate.joining.len() as u64);
        self.permits.set(at, self.gate.permits);
        for (node, backend) in &mut self.backends {
            let of_node = |id: &BackendId| self.nodes.get(id) == Some(node);
            let theirs = self.gate.backends.iter().filter(|(id, _)| of_node(id));
            let count: usize = theirs.map(|(_, (count, _))| *count).sum();
            backend.connections.set(at, count as u64);
        }
    }

    fn ordered(&mut self, at: Time, output: &Output) {
        match output {
            Output::Probe { backend, address } | Output::Connect { backend, address, .. } => {
                self.of(*backend, address);
            }
            Output::Announce { backend, address, news } => {
                let health = match news {
                    News::Up => Health::Up,
                    News::Down => Health::Down,
                    News::Unready => Health::Unready,
                    News::Leaving => Health::Leaving,
                    News::Gone => Health::Gone,
                };
                let of = self.of(*backend, address);
                of.health = health;
                of.seen.turn(at, health.state(), health.word());
            }
            Output::Accept
            | Output::Withdraw
            | Output::Refuse { .. }
            | Output::HangUp { .. }
            | Output::Shut
            | Output::Exit => {}
        }
    }

    fn of(&mut self, backend: BackendId, address: &Address) -> &mut Backend {
        let node = *self.nodes.entry(backend).or_insert_with(|| configuration::node(address));
        self.backends.entry(node).or_insert_with(|| Backend {
            connections: Level::default(),
            health: Health::Unseen,
            seen: Track::new(State::Down, Health::Unseen.word()),
        })
    }

    /// What a page shows of it, in order.
    pub fn panels(&self, set: &settings::Front, ended: Time) -> Vec<Panel> {
        vec![self.behind(set), self.health(ended), self.door(set)]
    }

    fn behind(&self, set: &settings::Front) -> Panel {
        let of_backend = |(node, of): (&NodeId, &Backend)| {
            line(&node.to_string(), ink(*node), false, &of.connections)
        };
        let mut lines: Vec<Line> = self.backends.iter().map(of_backend).collect();
        lines.push(line("let in", 8, false, &self.connections));
        let (all, each) = (count(set.connections_max), count(set.connections_per_backend_max));
        Panel::Plot(Plot {
            id: "front-backends".into(),
            title: "Connections through the front".into(),
            note: format!("by controller, and all that it has let in; at most {each} and {all}"),
            unit: Unit::Count,
            kind: Kind::Linear,
            shape: Shape::Steps,
            lines,
        })
    }

    fn health(&self, ended: Time) -> Panel {
        let lane = |(node, of): (&NodeId, &Backend)| of.seen.lane(&node.to_string(), ended);
        let lanes: Vec<Lane> = self.backends.iter().map(lane).collect();
        Panel::Strip(Strip {
            id: "front-health".into(),
            title: "Controllers as the front sees them".into(),
            note: "by its probes, and by what becomes of its connections".into(),
            lanes,
        })
    }

    fn door(&self, set: &settings::Front) -> Panel {
        Panel::Plot(Plot {
            id: "front-door".into(),
            title: "At the front's door".into(),
            note: format!(
                "joining: let in, and no controller has them yet, at most {}; permits that nobody \
                 has come in by",
                count(set.joining_max)
            ),
            unit: Unit::Count,
            kind: Kind::Linear,
            shape: Shape::Steps,
            lines: vec![
                line("joining", 4, false, &self.joining),
                line("permits", 3, true, &self.permits),
            ],
        })
    }
}

fn line(name: &str, ink: u8, dashed: bool, level: &Level) -> Line {
    Line { name: name.into(), ink, dashed, points: level.points() }
}

fn count(most: usize) -> String {
    figure(Unit::Count, most as u64)
}

#[cfg(test)]
mod tests {
    use portcullis_core::ConnectionId;
    use portcullis_core::front::Input;

    use super::*;

    fn told(front: &mut Front, at: u64, input: &Input) {
        front.note(Time(at * 1_000), &Fronted::Told(input));
    }

    fn ordered(front: &mut Front, at: u64, output: &Output) {
        front.note(Time(at * 1_000), &Fronted::Ordered(output));
    }

    #[test]
    fn a_controller_is_one_line_however_often_it_is_put_back() {
        let mut front = Front::default();
        let address = Address::from(String::from("controller-2:17070"));
        for (at, number) in [(1_000, 1), (5_000, 2)] {
            let backend = BackendId(number);
            let connection = ConnectionId(number);
            let news = |news| Output::Announce { backend, address: address.clone(), news };
            ordered(&mut front, at, &Output::Probe { backend, address: address.clone() });
            ordered(&mut front, at, &news(News::Up));
            ordered(&mut front, at + 100, &Output::Accept);
            told(&mut front, at + 200, &Input::Accepted { connection });
            let connect = Output::Connect { connection, backend, address: address.clone() };
            ordered(&mut front, at + 300, &connect);
            told(&mut front, at + 400, &Input::Joined { connection });
            told(&mut front, at + 900, &Input::Ended { backend });
            ordered(&mut front, at + 900, &news(News::Gone));
        }
        let backends: Vec<_> = front.backends().collect();
        assert_eq!(backends.len(), 1);
        let (node, backend) = backends[0];
        assert_eq!((node, backend.health), (NodeId(2), Health::Gone));
        let expected =
            [(0, 0), (1_300, 1), (1_900, 0), (5_300, 1), (5_900, 0)].map(|(at, is)| (at, Some(is)));
        assert_eq!(backend.connections.points(), expected);
        let expected = [(0, 0), (1_100, 1), (1_200, 0), (5_100, 1), (5_200, 0)];
        assert_eq!(front.permits.points(), expected.map(|(at, is)| (at, Some(is))));
        let Panel::Strip(strip) = front.health(Time(9_000_000)) else { panic!("it is a strip") };
        let labels: Vec<&str> = strip.lanes[0].spans.iter().map(|span| &*span.label).collect();
        assert_eq!(labels, ["not seen", "up", "gone", "up", "gone"]);
    }
}
