//! Scenario files: one story each, in TOML, with the faults beside the workload.
//!
//! Decides what a scenario may say and refuses everything else with file, line, column and a caret.
//! A scenario says what may happen and what must be seen; [`plan`](crate::plan) draws from it, for
//! one engine and one seed, what does happen.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use crate::addresses::Addresses;
use crate::chaos::Chaos;
use crate::members::Members;
use crate::plan::{Action, Claims, Role};
use crate::settings::{
    Agents, Balance, Controllers, Engine, Expect, Front, Network, Policy, duration,
};
use crate::singular::Singular;

/// One scenario, as its file says it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scenario {
    /// What happens, in one line.
    pub title: String,
    /// Why anybody cares, in two.
    pub why: String,
    /// The sentence that asks for it, and which seed document says it.
    pub source: String,
    /// Where it runs.
    pub engines: Vec<Engine>,
    /// Whether a run of everything includes it: seconds of real time, not minutes.
    #[serde(default = "yes")]
    pub quick: bool,
    /// How long faults may act. Afterwards everything heals.
    #[serde(with = "duration")]
    pub acts: Duration,
    /// How long after that everything may take to converge.
    #[serde(with = "duration")]
    pub settles_within: Duration,
    #[serde(default)]
    pub controllers: Controllers,
    #[serde(default)]
    pub members: Option<Members>,
    /// Where controllers are, if they can be elsewhere.
    #[serde(default)]
    pub addresses: Option<Spanned<Addresses>>,
    #[serde(default)]
    pub agents: Agents,
    #[serde(default)]
    pub network: Network,
    #[serde(default)]
    pub balance: Balance,
    #[serde(default)]
    pub singular: Option<Spanned<Singular>>,
    /// What agents dial instead of the controllers, if there is one.
    #[serde(default)]
    pub front: Option<Spanned<Front>>,
    #[serde(default = "usual")]
    pub policy: Spanned<Policy>,
    /// What goes wrong.
    #[serde(default)]
    pub fault: Vec<Spanned<Fault>>,
    /// What goes wrong besides, as the seed has it.
    #[serde(default)]
    pub chaos: Option<Spanned<Chaos>>,
    /// What is asked for beyond the agents' own claims.
    #[serde(default)]
    pub workload: Vec<Spanned<Workload>>,
    #[serde(default)]
    pub expect: Expect,
}

fn yes() -> bool {
    true
}

fn usual() -> Spanned<Policy> {
    Spanned::new(0..0, Policy::default())
}

/// One thing that goes wrong, at a time given or drawn.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Fault {
    #[serde(default, with = "duration::optional")]
    pub at: Option<Duration>,
    /// The two ends of the span that its time is drawn from.
    #[serde(default, with = "duration::pair")]
    pub between: Option<(Duration, Duration)>,
    /// How long it lasts; absent, until the faults end.
    #[serde(default, rename = "for", with = "duration::optional")]
    pub lasts: Option<Duration>,
    #[serde(rename = "do")]
    pub action: Action,
}

/// One thing that is asked for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Workload {
    #[serde(with = "duration")]
    pub at: Duration,
    #[serde(rename = "do")]
    pub work: Work,
}

/// What a workload can be.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Work {
    /// See [`Claims`].
    Claims(Claims),
}

/// Why a file is no scenario: the place, the line and a caret.
#[derive(Debug, PartialEq, Eq)]
pub struct Unreadable(String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreadable {}

impl Scenario {
    /// Reads a scenario's text. `file` is for the messages.
    pub fn parse(file: &str, text: &str) -> Result<Scenario, Unreadable> {
        let scenario: Scenario =
            toml::from_str(text).map_err(|error| Unreadable::new(file, text, &error))?;
        if let Err((span, message)) = scenario.validate() {
            return Err(Unreadable::at(file, text, span.start, span.end, &message));
        }
        Ok(scenario)
    }

    /// Whether it still fits together with what was changed in it.
    pub fn fits(&self) -> Result<(), String> {
        self.validate().map_err(|(_, message)| message)
    }

    /// What no single value can know: that they fit together.
    fn validate(&self) -> Result<(), (std::ops::Range<usize>, String)> {
        for engine in &self.engines {
            let policy = self.policy.get_ref();
            let fits = policy.fits(&self.controllers, *engine);
            fits.map_err(|message| (self.policy.span(), message.to_string()))?;
            if let Some(singular) = &self.singular {
                let fits = singular.get_ref().fits(*engine);
                fits.map_err(|message| (singular.span(), message.to_string()))?;
                if policy.old_way(&self.controllers) {
                    let message = "the old way for leases has no workers of its own";
                    return Err((singular.span(), message.into()));
                }
            }
            if let Some(front) = &self.front {
                let fits = front.get_ref().fits(self.controllers.count, *engine);
                fits.map_err(|message| (front.span(), message.to_string()))?;
            }
        }
        if let Some(chaos) = &self.chaos {
            let addresses = self.addresses.as_ref().map(Spanned::get_ref);
            let fits = |engine: &Engine| chaos.get_ref().fits(*engine, addresses);
            self.engines.iter().try_for_each(fits).map_err(|message| (chaos.span(), message))?;
        }
        if let Some(addresses) = &self.addresses {
            let refuse = |message: &str| Err((addresses.span(), message.to_owned()));
            if self.engines.iter().any(|engine| *engine != Engine::Direct) {
                return refuse("`direct` alone knows of hosts");
            }
            let files = addresses.get_ref().bind_files;
            if files && (self.members.is_none() || self.controllers.controller_api_port == 0) {
                return refuse("`bind-files` need a table `members` and a `controller-api-port`");
            }
        }
        for fault in &self.fault {
            let refuse = |message: String| Err((fault.span(), message));
            let Fault { at, between, lasts, action } = fault.get_ref();
            let latest = match (at, between) {
                (Some(at), None) => *at,
                (None, Some((first, last))) if first <= last => *last,
                (None, Some(_)) => return refuse("`between` ends before it starts".into()),
                (Some(_), Some(_)) | (None, None) => {
                    return refuse("a fault needs either `at` or `between`".into());
                }
            };
            if latest + lasts.unwrap_or_default() > self.acts {
                return refuse(format!("the fault lasts beyond `acts`, {:?}", self.acts));
            }
            if lasts.is_some() && !action.lasts() {
                return refuse("this fault is over at once, so `for` says nothing".into());
            }
            if let Err(message) = action.fits(self.controllers.count) {
                return refuse(message);
            }
            let pauses = matches!(action, Action::Pause { .. });
            if pauses && self.engines.contains(&Engine::Turmoil) {
                return refuse("`turmoil` cannot pause a process".into());
            }
            if self.members.is_none() && action.changes_members() {
                return refuse("members change only where there is a table `members`".into());
            }
            if self.addresses.is_none() && action.moves_controllers() {
                return refuse("controllers move only where there is a table `addresses`".into());
            }
        }
        for workload in &self.workload {
            if workload.get_ref().at > self.acts {
                return Err((workload.span(), "the workload starts after `acts`".into()));
            }
        }
        Ok(())
    }
}

impl Unreadable {
    /// A message of the parser, which draws its own caret, under the place.
    pub fn new(file: &str, text: &str, error: &toml::de::Error) -> Unreadable {
        match error.span() {
            Some(span) => Unreadable::at(file, text, span.start, span.end, error.message()),
            None => Unreadable(format!("{file}: {}", error.message())),
        }
    }

    /// A message about the text between two byte offsets.
    pub fn at(file: &str, text: &str, start: usize, end: usize, message: &str) -> Unreadable {
        let start = start.min(text.len());
        let begin = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line = text[begin..].lines().next().unwrap_or("");
        let number = text[..begin].matches('\n').count() + 1;
        let column = text[begin..start].chars().count();
        let stop = end.clamp(start, begin + line.len());
        let width = text[start..stop].chars().count().max(1);
        let margin = " ".repeat(number.to_string().len());
        Unreadable(format!(
            "{file}:{number}:{}: {message}\n{margin} |\n{number} | {line}\n{margin} | {}{}",
            column + 1,
            " ".repeat(column),
            "^".repeat(width),
        ))
    }
}

/// Where the scenarios are: `scenarios/` of the folder this is run in, or else of the workspace
/// that this was built from.
pub fn root() -> PathBuf {
    let here = PathBuf::from("scenarios");
    if here.is_dir() {
        return here;
    }
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios")
}

/// The file or folder that is meant: a path, or a scenario's name.
pub fn find(path: &Path) -> PathBuf {
    let named = root().join(path);
    let file = named.with_extension("toml");
    [path.to_path_buf(), named, file].into_iter().find(|path| path.exists()).unwrap_or(path.into())
}

/// The name of a scenario's file: its path below `scenarios/`, without the ending. Elsewhere, the
/// file's own name.
pub fn name(path: &Path) -> String {
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let below = parts.iter().rposition(|part| part == "scenarios");
    let below = below.map_or(parts.len().saturating_sub(1), |at| at + 1);
    let name = parts[below..].join("/");
    name.strip_suffix(".toml").unwrap_or(&name).to_string()
}

/// Whether a role is a controller: agents are none, and there is nobody to be the other of.
pub(crate) fn runs(role: &Role) -> bool {
    match role {
        Role::Controller(_) | Role::Leader | Role::Holder | Role::Random | Role::All => true,
        Role::Others | Role::Agents => false,
    }
}
