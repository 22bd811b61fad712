//! Findings: what a run came to, as one process tells another.
//!
//! Lines of a word and what belongs to it. `explore` and `shrink` read them; people read pages.

use std::collections::BTreeSet;

use anyhow::{Context as _, bail};

use super::jobs;
use crate::history::Found;
use crate::outcome::{Break, Half, SOMETIMES, Verdict};
use crate::plan::Plan;

/// What one run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// As the page says it.
    pub verdict: String,
    pub code: u8,
    pub broken: Vec<Broken>,
    /// Everything that was seen, whether the scenario asks for it or not.
    pub seen: BTreeSet<String>,
    /// See [`coverage`](crate::coverage).
    pub states: BTreeSet<u64>,
}

/// A check that broke, or did not come to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    pub check: String,
    /// Whether in the half that holds after every event.
    pub always: bool,
    pub at: String,
    pub message: String,
}

impl Broken {
    /// Whether the same half of the same check broke.
    pub fn is_alike(&self, other: &Broken) -> bool {
        (&self.check, self.always) == (&other.check, other.always)
    }
}

/// Writes what [`run`] reads.
pub fn print(verdict: &Verdict, found: &Found) -> String {
    let mut text = format!("verdict {} {verdict}\n", verdict.code());
    let broken = found.checks.iter().filter_map(|one| Some((one.name, one.broke.as_ref()?)));
    for (name, Break { at, half, message }) in broken {
        let half = match half {
            Half::Always => "broke",
            Half::Settled => "unsettled",
        };
        text.push_str(&format!("{half} {name} {at} {}\n", message.replace('\n', " ")));
    }
    for (name, _) in SOMETIMES.iter().filter(|(_, seen)| seen(&found.counts)) {
        text.push_str(&format!("seen {name}\n"));
    }
    for state in found.coverage.iter().flat_map(|coverage| coverage.states()) {
        text.push_str(&format!("state {state:016x}\n"));
    }
    text
}

/// Executes a plan in a process of its own.
pub fn run(plan: &Plan) -> anyhow::Result<Findings> {
    let said = jobs::child(plan, &["--findings"])?;
    let mut findings = Findings { code: said.code, ..Findings::default() };
    for line in said.text.lines() {
        findings.read(line).with_context(|| format!("the child said {line:?}"))?;
    }
    if findings.verdict.is_empty() {
        // A panic ends the process before it can say more: that is a finding too.
        let last = said.text.lines().next().unwrap_or("nothing");
        findings.verdict = format!("ended without a verdict: {last}");
    }
    Ok(findings)
}

impl Findings {
    fn read(&mut self, line: &str) -> anyhow::Result<()> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "verdict" => {
                let (code, verdict) = rest.split_once(' ').context("no verdict")?;
                (self.code, self.verdict) = (code.parse()?, verdict.to_string());
            }
            "broke" | "unsettled" => {
                let mut words = rest.splitn(3, ' ').map(String::from);
                let [Some(check), Some(at), message] = [(); 3].map(|()| words.next()) else {
                    bail!("no check and time");
                };
                let message = message.unwrap_or_default();
                self.broken.push(Broken { check, always: word == "broke", at, message });
            }
            "seen" => drop(self.seen.insert(rest.to_string())),
            "state" => drop(self.states.insert(u64::from_str_radix(rest, 16)?)),
            // What panics and runtimes print.
            _ => {}
        }
        Ok(())
    }
}
