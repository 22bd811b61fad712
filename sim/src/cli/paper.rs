//! Paper: where a report goes, and what it says of where a run comes from.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::files::Drawn;
use super::jobs::{child, each};
use super::{carry_out, compare, print};
use crate::history::History;
use crate::logs::Log;
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::report::{self, Origin, Run};
use crate::scenario::{self, Scenario};

/// What is to be written of a run, or of several.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Paper {
    /// Write a page about it to this file: plots, leases, checks, figures.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Write the plots of that page to this folder, as SVG.
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
}

/// The places to write to, which are there before anything runs.
struct Sheets {
    page: Option<(PathBuf, File)>,
    plots: Option<PathBuf>,
}

impl Paper {
    /// Whether anything is to be written.
    pub fn is_wanted(&self) -> bool {
        self.report.is_some() || self.plots.is_some()
    }

    /// Executes one plan in this process, prints its page, and writes what is wanted of it.
    /// `command` is what does so again.
    pub fn run(&self, plan: &Plan, log: Option<Log>, command: String) -> anyhow::Result<u8> {
        let sheets = self.lay_out()?;
        let outcome = carry_out(plan, History::new(plan).logged(log).recorded(plan));
        print(&outcome.to_string());
        sheets.write(&[Run::new(&outcome, origin(plan, command))])?;
        Ok(outcome.verdict().code())
    }

    /// Executes every plan to its end, whatever breaks, prints their figures, and writes what is
    /// wanted of them all.
    pub fn compare(&self, plans: &[Drawn]) -> anyhow::Result<u8> {
        let sheets = self.lay_out()?;
        let mut runs: Vec<Option<anyhow::Result<Run>>> = plans.iter().map(|_| None).collect();
        each(plans, in_a_child, |index, result| runs[index] = Some(result));
        let runs: Vec<Run> = runs.into_iter().flatten().collect::<anyhow::Result<_>>()?;
        print(&compare::of_runs(&runs)?);
        sheets.write(&runs)?;
        Ok(0)
    }

    /// Makes the file and the folder, so that a mistake shows before minutes have gone by.
    fn lay_out(&self) -> anyhow::Result<Sheets> {
        let page = self.report.as_ref().map(|path| {
            let file = File::create(path);
            let file = file.with_context(|| format!("cannot write {}", path.display()))?;
            Ok::<_, anyhow::Error>((path.clone(), file))
        });
        if let Some(folder) = &self.plots {
            let made = std::fs::create_dir_all(folder);
            made.with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
        Ok(Sheets { page: page.transpose()?, plots: self.plots.clone() })
    }
}

impl Sheets {
    /// Writes what is wanted of these runs.
    fn write(self, runs: &[Run]) -> anyhow::Result<()> {
        if let Some((path, mut file)) = self.page {
            let page = report::page(runs);
            let written = file.write_all(page.as_bytes());
            written.with_context(|| format!("cannot write {}", path.display()))?;
            eprintln!("report {}, {} KiB", path.display(), page.len() >> 10);
        }
        if let Some(folder) = self.plots {
            let files = report::files(runs);
            for (name, svg) in &files {
                let path = folder.join(name);
                let written = std::fs::write(&path, svg);
                written.with_context(|| format!("cannot write {}", path.display()))?;
            }
            eprintln!("plots {}, {} files", folder.display(), files.len());
        }
        Ok(())
    }
}

/// Where a run comes from: the words of its scenario, if that is at hand, and what runs it again.
fn origin(plan: &Plan, command: String) -> Origin {
    let path = scenario::find(Path::new(&plan.settings.scenario));
    let text = std::fs::read_to_string(&path).ok();
    let known = text.and_then(|text| Scenario::parse(&plan.settings.scenario, &text).ok());
    // A file elsewhere may have the same name, and another story.
    let known = known.filter(|known| known.title == plan.settings.title);
    let (why, source) = known.map(|known| (known.why, known.source)).unwrap_or_default();
    Origin { why, source, command }
}

/// What a report needs of a run, for another process.
pub fn data(outcome: &Outcome<'_>) -> String {
    let run = Run::new(outcome, Origin::default());
    // A run has no maps, and its keys are names: there is nothing that JSON cannot say.
    serde_json::to_string(&run).expect("a run can be written as JSON")
}

/// Executes one plan in a child of its own.
fn in_a_child(drawn: &Drawn) -> anyhow::Result<Run> {
    let plan = &drawn.plan;
    let said = child(plan, &["--data"])?;
    let run: Result<Run, _> = serde_json::from_str(said.text.trim_end());
    let mut run = run.with_context(|| {
        let name = &plan.settings.scenario;
        format!("{name} did not come to an end\n{}", said.text.trim_end())
    })?;
    run.origin = origin(plan, format!("cargo sim run {}", drawn.again));
    Ok(run)
}
