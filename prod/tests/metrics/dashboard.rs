//! Whether the dashboard draws what there is, and all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::scraped::Scraped;
use super::world::World;

/// What a metric may go undrawn for.
const UNDRAWN: [(&str, &str); 0] = [];

/// Labels that Prometheus adds itself.
const ADDED: [&str; 3] = ["instance", "job", "le"];

/// Words of the query language that are no metrics.
const WORDS: [&str; 15] = [
    "avg",
    "by",
    "count",
    "deriv",
    "histogram_quantile",
    "ignoring",
    "increase",
    "max",
    "min",
    "on",
    "rate",
    "scalar",
    "sum",
    "topk",
    "without",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards")
}

/// Every query of a dashboard, by the title of its panel.
fn queries(file: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(folder().join(file)).expect("it is there");
    let dashboard: Value = serde_json::from_str(&text).expect("it is JSON");
    assert!(dashboard["schemaVersion"].as_u64() >= Some(36), "Grafana 10 and later load it");
    assert_eq!(dashboard["id"], Value::Null, "an import gets an id of its own");
    let mut queries = Vec::new();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().expect("there are panels") {
        let title = panel["title"].as_str().expect("a panel has a title");
        assert!(ids.insert(panel["id"].as_u64().expect("a panel has an id")), "{title}");
        if panel["type"] == "row" {
            continue;
        }
        let targets = panel["targets"].as_array().expect("a panel has queries");
        assert!(!targets.is_empty(), "{title} draws nothing");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        for target in targets {
            queries.push((title.to_owned(), target["expr"].as_str().expect("a query").to_owned()));
        }
    }
    queries
}

/// The metrics that a query names, each with the labels that it is selected by; and the labels that
/// what is found is grouped by.
fn named(query: &str) -> (Vec<(String, BTreeSet<String>)>, BTreeSet<String>) {
    let (mut metrics, mut groups) = (Vec::new(), BTreeSet::new());
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut rest = query;
    while let Some(at) = rest.find(|c: char| c.is_ascii_alphabetic() || c == '[') {
        if rest[at..].starts_with('[') {
            // A range of time.
            rest = parted(rest, '[', ']').1;
            continue;
        }
        let end = rest[at..].find(|c| !word(c)).map_or(rest.len(), |end| at + end);
        let name = &rest[at..end];
        rest = &rest[end..];
        if WORDS.contains(&name) {
            if let "by" | "ignoring" | "on" | "without" = name {
                let (inside, after) = parted(rest, '(', ')');
                groups.extend(inside.split(',').map(|label| label.trim().to_owned()));
                rest = after;
            }
            continue;
        }
        let mut labels = BTreeSet::new();
        if rest.starts_with('{') {
            let (inside, after) = parted(rest, '{', '}');
            let label = |pair: &str| {
                let (label, value) = pair.split_once('=').expect("a label is compared");
                assert!(value.contains('"'), "{query}");
                label.trim_end_matches('!').to_owned()
            };
            labels.extend(inside.split(',').map(label));
            rest = after;
        }
        metrics.push((name.to_owned(), labels));
    }
    groups.remove("");
    (metrics, groups)
}

/// What is between these, and what comes after.
fn parted(text: &str, open: char, close: char) -> (&str, &str) {
    let (_, inside) = text.split_once(open).expect("it opens");
    inside.split_once(close).expect("it closes")
}

/// What a real controller exports, after somebody has come and asked.
async fn exported() -> Scraped {
    let world = World::start().await;
    let unit = world.enter("unit-mysql-0").await;
    let claim = json!({ "lease": "mysql", "duration": 60.0 });
    let claimed = unit.call("Portcullis", 1, "Claim", claim, Some(world.soon())).await;
    claimed.expect("it is free");
    let scraped = world.scrape().await;
    world.node.stop().await;
    scraped
}

#[test]
fn queries_are_understood() {
    let query = r#"histogram_quantile(0.99, sum by (le, a) (rate(m_bucket{x=~"$y",z!="w"}[5m])))"#;
    let (metrics, groups) = named(query);
    let labels = BTreeSet::from(["x".to_owned(), "z".to_owned()]);
    assert_eq!(metrics, [("m_bucket".to_owned(), labels)]);
    assert_eq!(groups, BTreeSet::from(["a".to_owned(), "le".to_owned()]));
    let (metrics, _) = named("a - ignoring(of) b / scalar(max(c_total))");
    assert_eq!(metrics.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["a", "b", "c_total"]);
}

#[tokio::test]
async fn the_dashboard_draws_what_is_exported_and_all_of_it() {
    draws("portcullis.json", &exported().await);
}

/// Whether a dashboard draws what was scraped, and all of it.
pub fn draws(file: &str, scraped: &Scraped) {
    let names = scraped.names();
    let mut drawn = BTreeSet::new();
    for (title, query) in queries(file) {
        let (metrics, groups) = named(&query);
        assert!(!metrics.is_empty(), "{title}: {query}");
        for (metric, labels) in metrics {
            let has = names.get(&metric);
            let has = has.unwrap_or_else(|| panic!("{title}: nobody exports {metric}"));
            for label in labels.iter().chain(&groups) {
                let known = has.contains(label) || ADDED.contains(&label.as_str());
                assert!(known, "{title}: {metric} has no label {label}");
            }
            drawn.insert(metric);
        }
    }
    let reasons: BTreeMap<_, _> = UNDRAWN.into_iter().collect();
    for (name, metric) in &scraped.0 {
        let mut samples = metric.samples.iter().map(|(sample, _, _)| sample);
        let is_drawn = samples.any(|sample| drawn.contains(sample));
        let excused = reasons.contains_key(name.as_str());
        assert!(is_drawn != excused, "{name}: drawn {is_drawn}, excused {excused}");
    }
}

#[tokio::test]
async fn the_readme_lists_every_metric() {
    lists(&exported().await);
}

/// Whether the README has a table of all that was scraped.
pub fn lists(scraped: &Scraped) {
    let names = scraped.names();
    let mut table = String::from("| metric | kind | labels | what it is |\n|---|---|---|---|\n");
    for (name, metric) in &scraped.0 {
        assert!(metric.help.len() > 8 && metric.help.ends_with('.'), "{name}: {}", metric.help);
        let samples = metric.samples.iter().flat_map(|(sample, _, _)| &names[sample]);
        let labels: BTreeSet<&str> = samples.map(String::as_str).filter(|l| *l != "le").collect();
        let labels: Vec<String> = labels.into_iter().map(|label| format!("`{label}`")).collect();
        let (kind, labels) = (&metric.kind, labels.join(", "));
        // Writing to a string cannot fail.
        let _ = writeln!(table, "| `{name}` | {kind} | {labels} | {} |", metric.help);
    }
    let readme = fs::read_to_string(folder().join("README.md")).expect("it is there");
    assert!(readme.contains(&table), "dashboards/README.md must have this table:\n\n{table}");
}
