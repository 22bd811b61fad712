//! What the processes of a herd tell the one that started them: a line of JSON each time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::histogram::Histogram;
use super::super::ledger::Counts;

/// How the agents of one process stand, or those of all.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Told {
    /// How many agents each controller of the client file has.
    pub controllers: Vec<u64>,
    /// What their holders have seen, and how many connections stand and broke.
    pub counts: Counts,
    /// Leases held by two at one time.
    pub violations: u64,
    /// How often an agent was sent elsewhere by a controller that had let it in.
    pub moves: u64,
    /// How often one was sent elsewhere at the login.
    pub redirects: u64,
    /// Who was refused for good, and why: the client file does not fit the cluster.
    pub refused: Option<String>,
    /// The rest of it, once it is over.
    pub ended: Option<Ended>,
}

/// What is told once, at the end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Ended {
    /// How many agents were moved how often.
    pub moves: BTreeMap<u64, u64>,
    /// How many had to connect again how often, besides.
    pub reconnects: BTreeMap<u64, u64>,
    /// The least time between two moves of one agent, in seconds, if any was moved twice.
    pub moves_apart: Option<f64>,
    pub claims: Histogram,
    pub extensions: Histogram,
    /// The first violations, in words.
    pub violated: Vec<String>,
}

impl Told {
    /// Adds what another process tells.
    pub fn add(&mut self, other: &Told) {
        let most = self.controllers.len().max(other.controllers.len());
        self.controllers.resize(most, 0);
        let both = self.controllers.iter_mut().zip(&other.controllers);
        both.for_each(|(own, other)| *own += other);
        self.counts.add(&other.counts);
        self.violations += other.violations;
        self.moves += other.moves;
        self.redirects += other.redirects;
        self.refused = self.refused.take().or_else(|| other.refused.clone());
        if let Some(other) = &other.ended {
            self.ended.get_or_insert_default().add(other);
        }
    }
}

impl Ended {
    fn add(&mut self, other: &Ended) {
        for (own, other) in
            [(&mut self.moves, &other.moves), (&mut self.reconnects, &other.reconnects)]
        {
            other.iter().for_each(|(often, agents)| *own.entry(*often).or_default() += agents);
        }
        let apart = [self.moves_apart, other.moves_apart].into_iter().flatten();
        self.moves_apart = apart.reduce(f64::min);
        self.claims.add(&other.claims);
        self.extensions.add(&other.extensions);
        self.violated.extend(other.violated.iter().cloned());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_two_processes_tell_is_added_up() {
        let mut ended = Ended { moves: [(0, 5), (1, 2)].into(), ..Ended::default() };
        ended.moves_apart = Some(70.0);
        ended.claims.record(Duration::from_millis(3));
        let one = Told { controllers: vec![3, 4], moves: 2, ended: Some(ended), ..Told::default() };
        let text = serde_json::to_string(&one).expect("it has no other keys than texts");
        let mut both: Told = serde_json::from_str(&text).expect("it was just written");
        both.add(&one);
        assert_eq!((both.controllers, both.moves), (vec![6, 8], 4));
        let ended = both.ended.expect("both have ended");
        assert_eq!(ended.moves, [(0, 10), (1, 4)].into());
        assert_eq!(ended.moves_apart, Some(70.0));
        assert_eq!(ended.claims.figures().count, 2);
    }
}
