//! Which plans are meant: by paths, by names, with what is set otherwise.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::again;
use super::arguments::{AS_IT_IS, Instead, Scale, Which};
use crate::deployment::Deployment;
use crate::plan::{Choice, Plan};
use crate::scenario::{self, Scenario};
use crate::settings::Engine;

/// Most letters that a name may differ in to be taken for another one.
const TYPOS: usize = 3;

/// A plan, and what is to be typed to draw it again.
pub struct Drawn {
    pub plan: Plan,
    pub again: String,
}

/// Every plan that the paths come to.
pub fn plans(paths: &[PathBuf], which: &Which, scale: &Scale) -> anyhow::Result<Vec<Drawn>> {
    let mut plans = Vec::new();
    for (file, scenario) in scenarios(paths, scale)? {
        let name = scenario::name(&file);
        let wanted = |engine: &&Engine| which.engine.is_none_or(|wanted| wanted == **engine);
        for engine in scenario.engines.iter().filter(wanted) {
            let plan = Plan::draw(&name, &scenario, &choice(*engine, which, scale));
            let again = again::arguments(&file, *engine, which.seed, scale);
            plans.push(Drawn { plan, again });
        }
    }
    if plans.is_empty() {
        bail!("no scenario there runs on that engine");
    }
    Ok(plans)
}

/// The plans of a comparison: each scenario as it is, and then with each group of settings.
pub fn columns(
    paths: &[PathBuf],
    with: &[Instead],
    which: &Which,
    scale: &Scale,
) -> anyhow::Result<Vec<Drawn>> {
    let mut columns = Vec::new();
    for path in paths {
        let paths = std::slice::from_ref(path);
        columns.extend(plans(paths, which, scale)?);
        for Instead(more) in with {
            let set = [&scale.set[..], more].concat();
            columns.extend(plans(paths, which, &Scale { set, ..scale.clone() })?);
        }
    }
    Ok(columns)
}

pub fn choice(engine: Engine, which: &Which, scale: &Scale) -> Choice {
    Choice { engine, seed: which.seed, agents: scale.agents, intensity: scale.intensity }
}

/// The scenarios at or below the paths, by file; without any path, all that are quick.
pub fn scenarios(paths: &[PathBuf], scale: &Scale) -> anyhow::Result<Vec<(PathBuf, Scenario)>> {
    let everything = paths.is_empty();
    let mut files = if everything { files(&scenario::root())? } else { Vec::new() };
    for path in paths {
        if is_plan(path) {
            bail!("{0} is a plan, and no scenario: cargo sim replay {0}", path.display());
        }
        files.extend(self::files(&find(path)?)?);
    }
    let deployment = scale.config.as_deref().map(Deployment::load).transpose()?;
    if let Some(beyond) = deployment.as_ref().and_then(Deployment::beyond) {
        eprintln!("{beyond}");
    }
    let mut scenarios = Vec::new();
    for file in files {
        let (name, text) = (file.display().to_string(), read(&file)?);
        let (name, text) = match (&deployment, &scale.config) {
            (Some(deployment), Some(config)) => {
                let told = deployment.told(&name, &text)?;
                (format!("{name} with {}", config.display()), told)
            }
            (_, _) => (name, text),
        };
        let mut scenario = Scenario::parse_with(&name, &text, &scale.set)?;
        if scale.full {
            scenario.agents.direct = None;
        }
        if scenario.quick || !everything {
            scenarios.push((file, scenario));
        }
    }
    let chaos = || scenarios.iter().any(|(_, scenario)| scenario.chaos.is_some());
    if scale.intensity != AS_IT_IS.intensity && !chaos() {
        bail!("--intensity is of faults that a table `[chaos]` draws, and there is none");
    }
    Ok(scenarios)
}

/// The plan that is meant by the path of one, or by a scenario.
pub fn one_plan(path: &Path, which: &Which, scale: &Scale) -> anyhow::Result<Plan> {
    if is_plan(path) {
        if !scale.is_as_it_is() {
            bail!("a plan is run as it is written: change {}, or the scenario", path.display());
        }
        return read_plan(path);
    }
    let mut plans = plans(&[path.to_path_buf()], which, scale)?;
    match (plans.pop(), plans.len()) {
        (Some(drawn), 0) => Ok(drawn.plan),
        (_, others) => bail!("{} plans: choose one scenario, and one --engine", others + 1),
    }
}

/// Whether a path means a plan, and no scenario.
pub fn is_plan(path: &Path) -> bool {
    path == Path::new("-") || path.extension().is_some_and(|ending| ending == "plan")
}

pub fn read_plan(path: &Path) -> anyhow::Result<Plan> {
    if path.extension().is_some_and(|ending| ending == "toml") {
        bail!("{0} is a scenario, and no plan: cargo sim run {0}", path.display());
    }
    let (name, text) = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read the plan")?;
        ("standard input".to_string(), text)
    } else {
        (path.display().to_string(), read(path)?)
    };
    Ok(Plan::parse(&name, &text)?)
}

/// The file or folder that is meant; refuses what is neither there nor a scenario's name.
pub fn find(path: &Path) -> anyhow::Result<PathBuf> {
    let found = scenario::find(path);
    if found.exists() {
        return Ok(found);
    }
    let wanted = path.display().to_string();
    let known = files(&scenario::root())?;
    let names = known.iter().map(|file| scenario::name(file));
    let near = |name: &String| strsim::damerau_levenshtein(name, &wanted);
    match names.min_by_key(near).filter(|name| near(name) <= TYPOS) {
        Some(name) => bail!("cannot read {wanted}: no such file or scenario; did you mean {name}?"),
        None => bail!("cannot read {wanted}: no such file or scenario; `cargo sim list` has all"),
    }
}

/// Refuses a file that could not be written later, before anything has run.
pub fn writable(path: &Path) -> anyhow::Result<()> {
    let before = path.exists();
    let opened = std::fs::OpenOptions::new().append(true).create(true).open(path);
    opened.with_context(|| format!("cannot write {}", path.display()))?;
    if !before {
        // Nothing is in it.
        let _ = std::fs::remove_file(path);
    }
    Ok(())
}

/// The scenario files at or below a path, in order.
pub fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let at = || format!("cannot read {}", path.display());
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let entries: Vec<_> = std::fs::read_dir(path).with_context(at)?.collect::<Result<_, _>>()?;
    let mut entries: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    entries.sort();
    let mut found = Vec::new();
    for entry in entries {
        if entry.is_dir() || entry.extension().is_some_and(|ending| ending == "toml") {
            found.extend(files(&entry)?);
        }
    }
    Ok(found)
}

pub fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

pub fn load(path: &Path) -> anyhow::Result<Scenario> {
    Ok(Scenario::parse(&path.display().to_string(), &read(path)?)?)
}
