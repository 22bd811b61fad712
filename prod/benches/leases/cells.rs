//! What is measured, and how one says so.

use std::fmt;

use anyhow::{Result, bail};
use clap::Parser;

use super::side::Side;

/// How many of a herd want the same lease, as in the seeds: the units of an application.
pub const UNITS: usize = 3;

/// A kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Claims of leases that nobody has.
    Claims,
    /// The same by those who come for the first time: on etcd each gets a session first.
    Newcomers,
    /// Claims of leases that two others claim at the same time.
    Contended,
    /// Renewals of the claimer's own lease.
    Renewals,
    /// Everybody at once: see [`UNITS`].
    Herd,
    /// Connections that only stay.
    Idle,
}

/// A kind of work for so many connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    pub work: Work,
    pub connections: usize,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
enum Filter {
    Work(Work),
    Connections(usize),
}

/// Measures three durable controllers beside three durable etcd servers.
#[derive(Parser)]
pub struct Options {
    /// Only these: claims, newcomers, contended, renewals, herd, idle; a number for so many connections
    #[arg(value_name = "FILTER", value_parser = filter)]
    filters: Vec<Filter>,
    /// How long each cell is measured in each round
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=40))]
    pub seconds: u64,
    /// How many rounds; figures are medians over them
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    pub rounds: u64,
    /// Only one side: ours or etcd
    #[arg(long, value_parser = side)]
    pub only: Option<Side>,
    /// Measures this program instead of the one that was built with the benchmark
    #[arg(long, value_name = "FILE", default_value = env!("CARGO_BIN_EXE_portcullis"))]
    pub portcullis: std::path::PathBuf,
    /// The etcd to measure
    #[arg(long, value_name = "FILE", default_value = "etcd")]
    pub etcd: std::path::PathBuf,
    /// Where the figures go
    #[arg(long, value_name = "FILE", default_value = concat!(env!("CARGO_TARGET_TMPDIR"), "/../leases.json"))]
    pub json: std::path::PathBuf,
    /// Said by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn filter(text: &str) -> Result<Filter> {
    match (Work::ALL.into_iter().find(|work| work.name() == text), text.parse()) {
        (Some(work), _) => Ok(Filter::Work(work)),
        (None, Ok(number)) if number > 0 => Ok(Filter::Connections(number)),
        (None, _) => bail!("neither a work nor a number of connections"),
    }
}

fn side(name: &str) -> Result<Side> {
    match name {
        "ours" => Ok(Side::Ours),
        "etcd" => Ok(Side::Etcd),
        _ => bail!("ours or etcd"),
    }
}

impl Work {
    const ALL: [Work; 6] =
        [Work::Idle, Work::Claims, Work::Newcomers, Work::Contended, Work::Renewals, Work::Herd];

    fn name(self) -> &'static str {
        match self {
            Work::Claims => "claims",
            Work::Newcomers => "newcomers",
            Work::Contended => "contended",
            Work::Renewals => "renewals",
            Work::Herd => "herd",
            Work::Idle => "idle",
        }
    }

    /// How many connections unless it is said.
    fn connections(self) -> &'static [usize] {
        match self {
            Work::Claims | Work::Contended | Work::Renewals => &[1, 64, 512],
            Work::Newcomers => &[64, 512],
            Work::Herd => &[12_000],
            Work::Idle => &[9_000],
        }
    }
}

impl Options {
    /// The cells that are asked for, in order.
    pub fn cells(&self) -> Vec<Cell> {
        let (mut works, mut numbers) = (Vec::new(), Vec::new());
        for filter in &self.filters {
            match *filter {
                Filter::Work(work) => works.push(work),
                Filter::Connections(number) => numbers.push(number),
            }
        }
        let wanted = |work: &Work| works.is_empty() || works.contains(work);
        let mut cells = Vec::new();
        for work in Work::ALL.into_iter().filter(wanted) {
            let connections = if numbers.is_empty() { work.connections() } else { &numbers };
            cells.extend(connections.iter().map(|&connections| Cell { work, connections }));
        }
        cells
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.work.name(), self.connections)
    }
}
