//! Who contends for what, over which connection.

use std::sync::Arc;
use std::time::Duration;

use portcullis_core::Seed;
use portcullis_core::lease::{APPLICATION_LEADERSHIP, Key};

/// What is to be re-created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Workload {
    /// The seeds' own: every lease is wanted by all its units, and kept by one.
    Contenders { processes: u32, leases: u32, units: u32, multiplex: u32 },
    /// Each of so many claims one lease after another that nobody else wants.
    Claimers { claimers: u32, multiplex: u32 },
    /// Agents of units, each with an account and a connection of its own: those of the `first`
    /// application with this prefix and of those after it.
    Agents { prefix: Arc<str>, first: u32, agents: u32, units: u32 },
}

/// Everything that all holders share.
#[derive(Clone, Debug)]
pub struct Plan {
    pub workload: Workload,
    /// UUID of the model that the leases belong to.
    pub model: Arc<str>,
    /// For how long a lease is claimed.
    pub duration: Duration,
    /// When a holder claims again.
    pub renew_after: Duration,
    /// A number that no other run has, for names that no other run claims.
    pub run: u64,
}

/// One connection to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Which controller it goes to, counted around.
    pub controller: usize,
    /// Who shares it.
    pub seats: Vec<Seat>,
}

/// One of those who ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The lease that is contended for, counted through all processes; for claimers, who it is.
    pub lease: u32,
    /// Which of the lease's contenders it is.
    pub unit: u32,
}

impl Plan {
    /// How many processes there are: each makes its connections one after another.
    pub fn processes(&self) -> u32 {
        match self.workload {
            Workload::Contenders { processes, .. } => processes,
            Workload::Claimers { claimers, multiplex } => claimers.div_ceil(multiplex),
            Workload::Agents { .. } => 1,
        }
    }

    /// How many leases are contended for.
    pub fn leases(&self) -> usize {
        match self.workload {
            Workload::Contenders { processes, leases, .. } => processes as usize * leases as usize,
            Workload::Claimers { .. } => 0,
            Workload::Agents { agents, units, .. } => agents.div_ceil(units) as usize,
        }
    }

    /// How many ask.
    pub fn seats(&self) -> u64 {
        match self.workload {
            Workload::Contenders { processes, leases, units, .. } => {
                u64::from(processes) * u64::from(leases) * u64::from(units)
            }
            Workload::Claimers { claimers, .. } => u64::from(claimers),
            Workload::Agents { agents, .. } => u64::from(agents),
        }
    }

    /// How many connections it takes.
    pub fn connections(&self) -> u64 {
        match self.workload {
            Workload::Contenders { processes, leases, units, multiplex } => {
                let each = u64::from(leases.div_ceil(multiplex)) * u64::from(units);
                u64::from(processes) * each
            }
            Workload::Claimers { .. } => u64::from(self.processes()),
            Workload::Agents { agents, .. } => u64::from(agents),
        }
    }

    /// How many of them go to the first of so many controllers, which never has fewer than another.
    pub fn connections_at_most(&self, controllers: usize) -> u64 {
        let controllers = controllers as u64;
        match self.workload {
            Workload::Contenders { units, .. } => {
                let each = self.connections() / u64::from(units);
                each * u64::from(units).div_ceil(controllers)
            }
            Workload::Claimers { .. } => self.connections().div_ceil(controllers),
            // They go where they will.
            Workload::Agents { .. } => self.connections(),
        }
    }

    /// The connections of one process, in the order in which it makes them: lease by lease, the
    /// units of each in random order, unit `u` to controller `u`.
    pub fn jobs(&self, process: u32, seed: Seed) -> Vec<Job> {
        match self.workload {
            Workload::Contenders { leases, units, multiplex, .. } => {
                let mut rng = seed.child("load", u64::from(process)).rng();
                let all: Vec<u32> = (process * leases..(process + 1) * leases).collect();
                let mut jobs = Vec::new();
                for together in all.chunks(multiplex as usize) {
                    let mut order: Vec<u32> = (0..units).collect();
                    rng.shuffle(&mut order);
                    jobs.extend(order.into_iter().map(|unit| Job {
                        controller: unit as usize,
                        seats: together.iter().map(|&lease| Seat { lease, unit }).collect(),
                    }));
                }
                jobs
            }
            Workload::Claimers { claimers, multiplex } => {
                let end = ((process + 1) * multiplex).min(claimers);
                let seats = (process * multiplex..end).map(|lease| Seat { lease, unit: 0 });
                vec![Job { controller: process as usize, seats: seats.collect() }]
            }
            Workload::Agents { agents, units, .. } => {
                let seat = |at: u32| Seat { lease: at / units, unit: at % units };
                (0..agents).map(|at| Job { controller: 0, seats: vec![seat(at)] }).collect()
            }
        }
    }

    /// The lease of a contender: `a0703` is the fourth lease of the eighth process.
    pub fn contended(&self, seat: Seat) -> (Key, Arc<str>) {
        let numbered = |processes, leases| {
            let (process, lease) = (seat.lease / leases, seat.lease % leases);
            let (wide, narrow) = (digits(processes), digits(leases));
            format!("a{process:0wide$}{lease:0narrow$}")
        };
        let name = match &self.workload {
            Workload::Contenders { processes, leases, .. } => numbered(*processes, *leases),
            Workload::Claimers { .. } => numbered(1, u32::MAX),
            Workload::Agents { prefix, first, .. } => format!("{prefix}{}", first + seat.lease),
        };
        let holder = format!("{name}/{}", seat.unit);
        (self.key(&name), holder.into())
    }

    /// The lease that a claimer claims after so many others.
    pub fn fresh(&self, seat: Seat, count: u64) -> (Key, Arc<str>) {
        let name = format!("load-{:x}-{}-{count}", self.run, seat.lease);
        let holder = format!("{name}/0");
        (self.key(&name), holder.into())
    }

    fn key(&self, lease: &str) -> Key {
        Key::new(APPLICATION_LEADERSHIP, &self.model, lease)
    }
}

/// How many digits it takes to count that many from zero, but at least the seeds' two.
fn digits(count: u32) -> usize {
    (count.saturating_sub(1).checked_ilog10().unwrap_or(0) as usize + 1).max(2)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn plan(workload: Workload) -> Plan {
        let (duration, renew_after) = (Duration::from_secs(60), Duration::from_secs(30));
        Plan { workload, model: "m".into(), duration, renew_after, run: 10 }
    }

    fn all(plan: &Plan) -> Vec<Job> {
        (0..plan.processes()).flat_map(|process| plan.jobs(process, Seed(1))).collect()
    }

    #[test]
    fn every_unit_of_every_lease_is_there_once_and_at_its_controller() {
        for multiplex in [1, 3, 60] {
            let workload = Workload::Contenders { processes: 4, leases: 7, units: 3, multiplex };
            let plan = plan(workload);
            let jobs = all(&plan);
            assert_eq!(jobs.len() as u64, plan.connections());
            let mut names = BTreeSet::new();
            for Job { controller, seats } in &jobs {
                assert!(!seats.is_empty() && seats.len() <= multiplex as usize);
                for seat in seats {
                    assert_eq!(*controller, seat.unit as usize);
                    names.insert(plan.contended(*seat).1);
                }
            }
            assert_eq!(names.len() as u64, plan.seats());
            for controllers in [1, 2, 3, 5] {
                let first = |job: &&Job| job.controller.is_multiple_of(controllers);
                let first = jobs.iter().filter(first).count() as u64;
                assert_eq!(first, plan.connections_at_most(controllers));
            }
        }
    }

    #[test]
    fn names_are_the_seeds() {
        let workload = Workload::Contenders { processes: 100, leases: 40, units: 3, multiplex: 1 };
        let (key, holder) = plan(workload).contended(Seat { lease: 7 * 40 + 3, unit: 2 });
        assert_eq!((key.lease(), &*holder), ("a0703", "a0703/2"));
    }

    #[test]
    fn every_claimer_has_a_place() {
        let plan = plan(Workload::Claimers { claimers: 64, multiplex: 10 });
        let jobs = all(&plan);
        assert_eq!((jobs.len(), plan.connections()), (7, 7));
        assert_eq!(jobs.iter().map(|job| job.seats.len()).sum::<usize>(), 64);
        assert_eq!(plan.fresh(Seat { lease: 5, unit: 0 }, 9).0.lease(), "load-a-5-9");
    }
}
