//! Which sentence of the documents is told by which scenarios and held by which checks.
//!
//! Decides nothing: scenarios and checks quote, and this puts quotes that are alike side by side.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::check;
use crate::scenario::Scenario;
use crate::settings::Expect;

/// Where a sentence is quoted.
#[derive(Default)]
struct Quoted {
    scenarios: Vec<String>,
    checks: Vec<String>,
}

/// The page, in Markdown: one row for each sentence, in the order of the documents.
pub fn page(scenarios: &[(String, Scenario)]) -> String {
    let mut sentences: BTreeMap<(String, String), Quoted> = BTreeMap::new();
    for (name, scenario) in scenarios {
        for quote in quotes(&scenario.source) {
            let row = sentences.entry(quote).or_default();
            row.scenarios.push(name.clone());
            row.checks.extend(named(&scenario.expect));
        }
    }
    for (name, sentence) in check::sentences() {
        let quote = (sentence.seed.to_string(), one_line(sentence.text));
        sentences.entry(quote).or_default().checks.push(name.into());
    }
    let sentences = merged(sentences);
    let mut page = String::from(HEAD);
    for ((seed, text), Quoted { scenarios, checks }) in sentences {
        let scenarios = scenarios.iter().map(|name| format!("[{name}]({name}.toml)"));
        let scenarios = scenarios.collect::<Vec<_>>().join(", ");
        let checks: Vec<String> = checks.iter().map(|name| format!("`{name}`")).collect();
        let _ = writeln!(page, "| {seed} | {text} | {scenarios} | {} |", checks.join(", "));
    }
    page
}

/// The checks that a scenario names: those that must break, or those that alone must hold.
fn named(expect: &Expect) -> impl Iterator<Item = String> {
    let breaks = Some(&expect.breaks).into_iter();
    let lists = breaks.chain(&expect.always).chain(&expect.settles);
    lists.flatten().map(|name| name.0.to_string())
}

/// Quotes of one document, the parts of another beneath the whole.
fn merged(all: BTreeMap<(String, String), Quoted>) -> BTreeMap<(String, String), Quoted> {
    let keys: Vec<(String, String)> = all.keys().cloned().collect();
    let mut merged: BTreeMap<(String, String), Quoted> = BTreeMap::new();
    for ((seed, text), quoted) in all {
        let whole = |(of, other): &&(String, String)| {
            let part = |part: &str| other.contains(part.trim().trim_end_matches(['.', ',']));
            *of == seed && other.len() >= text.len() && text.split("[...]").all(part)
        };
        let longest = keys.iter().filter(whole).max_by_key(|(_, text)| text.len());
        let key = longest.cloned().unwrap_or((seed, text));
        let row = merged.entry(key).or_default();
        row.scenarios.extend(quoted.scenarios);
        row.checks.extend(quoted.checks);
        row.scenarios.sort();
        row.checks.sort();
        row.checks.dedup();
    }
    merged
}

const HEAD: &str = "\
# Which sentence is told where

Written by `cargo sim list --sentences`, from what scenarios and checks quote. A check is named where
it quotes the sentence, or where a scenario that does must break it or rests on it alone; all the
others watch every scenario too, and its page under `snapshots/` says what held.

| seed | sentence | scenarios | checks |
|---|---|---|---|
";

/// The sentences that a source quotes, each with its document's number: `Seed 002: \"...\"`. What is
/// not quoted belongs to the document named last.
fn quotes(source: &str) -> Vec<(String, String)> {
    let mut quotes = Vec::new();
    let text = one_line(source);
    let mut seed = String::new();
    for (at, part) in text.split('"').enumerate() {
        match at % 2 {
            0 => {
                let named = part.to_lowercase();
                if let Some(at) = named.rfind("seed ") {
                    seed = named[at + 5..].chars().take_while(char::is_ascii_digit).collect();
                }
            }
            _ => quotes.push((seed.clone(), part.trim().to_string())),
        }
    }
    quotes
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_belong_to_the_document_before_them() {
        let source = "Seed 002: \"one\ntwo.\" and: \"three\" Seed 000, in a comment: \"four\"";
        let quote = |seed: &str, text: &str| (seed.to_string(), text.to_string());
        let expected = [quote("002", "one two."), quote("002", "three"), quote("000", "four")];
        assert_eq!(quotes(source), expected);
    }
}
