//! What was scraped, read back.

use std::collections::{BTreeMap, BTreeSet};

/// The labels of one series.
pub type Labels = BTreeMap<String, String>;

/// One metric, as it is declared.
#[derive(Debug, Default)]
pub struct Metric {
    pub help: String,
    pub kind: String,
    /// Each sample's name, which may have a suffix, its labels and its value.
    pub samples: Vec<(String, Labels, f64)>,
}

/// Everything that was scraped, by name.
#[derive(Debug)]
pub struct Scraped(pub BTreeMap<String, Metric>);

impl Scraped {
    /// Reads the text, and refuses what Prometheus would.
    pub fn read(text: &str) -> Scraped {
        let mut metrics: BTreeMap<String, Metric> = BTreeMap::new();
        let mut current = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("help has a text");
                let metric = Metric { help: help.into(), ..Metric::default() };
                assert!(metrics.insert(name.into(), metric).is_none(), "{name} is declared twice");
                current = name.into();
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type has a name");
                assert_eq!(name, current, "help comes before type");
                metrics.get_mut(name).expect("it was just declared").kind = kind.into();
            } else {
                let (name, labels, value) = sample(line);
                let metric = metrics.get_mut(&current).expect("a sample follows a declaration");
                let suffixes: &[&str] = match metric.kind.as_str() {
                    "histogram" => &["_bucket", "_sum", "_count"],
                    "counter" | "gauge" => &[""],
                    other => panic!("{current} is of no kind that is known: {other}"),
                };
                let fits = suffixes.iter().any(|suffix| format!("{current}{suffix}") == name);
                assert!(fits, "{name} is declared as {current}");
                metric.samples.push((name, labels, value));
            }
        }
        Scraped(metrics)
    }

    /// The sum of all samples of this name that have these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let mut found = Vec::new();
        for (sample, has, value) in self.0.values().flat_map(|metric| &metric.samples) {
            let fits =
                |(label, value): &(&str, &str)| has.get(*label).is_some_and(|is| is == value);
            if sample == name && labels.iter().all(fits) {
                found.push(*value);
            }
        }
        assert!(!found.is_empty(), "there is no {name} {labels:?}");
        found.iter().sum()
    }

    /// The names of all samples, each with all labels that it is seen with.
    pub fn names(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, labels, _) in self.0.values().flat_map(|metric| &metric.samples) {
            names.entry(name.clone()).or_default().extend(labels.keys().cloned());
        }
        names
    }
}

fn sample(line: &str) -> (String, Labels, f64) {
    let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
    let value = value.parse().expect("a number");
    let Some((name, rest)) = series.split_once('{') else {
        return (series.into(), Labels::new(), value);
    };
    let inner = rest.strip_suffix("\"}").expect("labels are closed");
    let pair = |pair: &str| {
        let (label, value) = pair.split_once("=\"").expect("a label has a value");
        (label.to_owned(), value.to_owned())
    };
    (name.into(), inner.split("\",").map(pair).collect(), value)
}
