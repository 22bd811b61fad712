//! What is printed and kept: medians over the rounds, and how far they were apart.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::Result;
use serde_json::json;

use super::cells::{Cell, Work};
use super::measure::Sample;
use super::side::Side;

/// All samples, in the order in which the cells were first measured.
#[derive(Default)]
pub struct Table {
    rows: Vec<(Cell, BTreeMap<Side, Vec<Sample>>)>,
}

/// How a figure is called, how one is compared with another, and how it is read.
type Figure = (&'static str, Better, fn(&Sample) -> f64);

/// Which of two figures is ahead: a ratio is above 1 when ours is.
#[derive(Clone, Copy)]
enum Better {
    More,
    Less,
    /// There is no ratio.
    Neither,
}

const RATE: Figure = ("answers/s", Better::More, |sample| sample.rate);
const HERD: Figure = ("all answered, s", Better::Less, |sample| sample.max / 1e3);
const IDLE: Figure = ("KiB a connection", Better::Less, |sample| sample.memory_each / 1024.0);
const PEAK: Figure =
    ("peak MiB of a server", Better::Less, |sample| sample.memory_max as f64 / f64::from(1 << 20));
const REST: [Figure; 8] = [
    ("p50 ms", Better::Less, |sample| sample.p50),
    ("p99 ms", Better::Less, |sample| sample.p99),
    ("refused", Better::Neither, |sample| sample.refused as f64),
    ("failed", Better::Neither, |sample| sample.failed as f64),
    PEAK,
    ("servers' µs each", Better::Less, |sample| sample.server_each),
    ("generator's µs each", Better::Neither, |sample| sample.generator_each),
    ("generator's CPU, %", Better::Neither, |sample| sample.generator_share * 100.0),
];

/// A figure of one side over the rounds.
struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Table {
    /// Adds what came of a cell.
    pub fn add(&mut self, cell: Cell, side: Side, sample: Sample) {
        if !self.rows.iter().any(|(other, _)| *other == cell) {
            self.rows.push((cell, BTreeMap::new()));
        }
        let row = self.rows.iter_mut().find(|(other, _)| *other == cell);
        let (_, sides) = row.expect("it was there or has been added");
        sides.entry(side).or_default().push(sample);
    }

    /// Writes every sample of every round.
    pub fn save(&self, file: &Path) -> Result<()> {
        let rows = self
            .rows
            .iter()
            .map(|(cell, sides)| json!({ "work": cell.to_string(), "samples": sides }));
        let text = serde_json::to_string_pretty(&rows.collect::<Vec<_>>())?;
        Ok(fs::write(file, text + "\n")?)
    }
}

/// One sample in one line.
pub fn line(cell: Cell, sample: &Sample) -> String {
    let Sample { rate, p50, p99, max, refused, failed, memory_max, .. } = sample;
    let memory = memory_max >> 20;
    let trouble = sample.trouble.as_ref().map(|what| format!(" ({what})")).unwrap_or_default();
    match cell.work {
        Work::Idle => format!("{:.1} KiB each", sample.memory_each / 1024.0),
        Work::Herd => format!(
            "all answered after {:.3} s, {refused} refused, {failed} failed, {memory} MiB{trouble}",
            max / 1e3
        ),
        Work::Claims | Work::Newcomers | Work::Contended | Work::Renewals => format!(
            "{rate:.0}/s, p50 {p50:.2} ms, p99 {p99:.2} ms, {refused} refused, {failed} failed, \
             {memory} MiB, servers {:.0} µs and generator {:.0} µs each{trouble}",
            sample.server_each, sample.generator_each
        ),
    }
}

fn spread(samples: &[Sample], figure: impl Fn(&Sample) -> f64) -> Spread {
    let mut figures: Vec<f64> = samples.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    let last = figures.len() - 1;
    let median = (figures[last / 2] + figures[figures.len() / 2]) / 2.0;
    Spread { least: figures[0], median, most: figures[last] }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<24} {:>26} {:>26} {:>8}", "work", "ours", "etcd", "ratio")?;
        for (cell, sides) in &self.rows {
            let (first, rest) = match cell.work {
                Work::Claims | Work::Newcomers | Work::Contended | Work::Renewals => {
                    (RATE, &REST[..])
                }
                Work::Herd => (HERD, &REST[..]),
                Work::Idle => (IDLE, &[PEAK][..]),
            };
            writeln!(f, "{cell}")?;
            for (name, better, figure) in [first].iter().chain(rest) {
                write!(f, "  {name:<22}")?;
                for side in [Side::Ours, Side::Etcd] {
                    let told = sides.get(&side).map(|samples| spread(samples, figure).to_string());
                    write!(f, " {:>26}", told.unwrap_or_else(|| "-".into()))?;
                }
                let median = |side| sides.get(&side).map(|samples| spread(samples, figure).median);
                let ratio = match (better, median(Side::Ours), median(Side::Etcd)) {
                    (Better::More, Some(ours), Some(etcd)) => Some(ours / etcd),
                    (Better::Less, Some(ours), Some(etcd)) => Some(etcd / ours),
                    (_, _, _) => None,
                };
                // Ten milliseconds are the least that the kernel counts of a processor.
                match ratio.filter(|ratio| ratio.is_finite()) {
                    Some(ratio) => writeln!(f, " {:>8}", format!("{ratio:.1}x"))?,
                    None => writeln!(f)?,
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Spread {
    /// The median, and in brackets the least and the most if they differ.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |figure: f64| match figure {
            figure if figure == figure.trunc() => format!("{figure:.0}"),
            figure if figure < 10.0 => format!("{figure:.2}"),
            figure if figure < 100.0 => format!("{figure:.1}"),
            figure => format!("{figure:.0}"),
        };
        let (least, median, most) = (text(self.least), text(self.median), text(self.most));
        match least == most {
            true => f.write_str(&median),
            false => write!(f, "{median} ({least}-{most})"),
        }
    }
}
