//! Scenario files: one story each, in TOML, with the faults beside the workload.
//!
//! Decides what a scenario may say and refuses everything else with file, line, column and a caret.
//! A scenario says what may happen and what must be seen; [`plan`](crate::plan) draws from it, for
//! one engine and one seed, what does happen.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::addresses::Addresses;
use crate::bounds::{self, Given, Outside};
use crate::chaos::Chaos;
use crate::members::Members;
use crate::plan::{Action, Claims, Role};
use crate::settings::{
    Agents, Balance, Controllers, Engine, Expect, Front, MaybeSpan, Network, Policy, Span, SpanPair,
};
use crate::singular::Singular;

/// One scenario, as its file says it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
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
    #[serde(with = "Span")]
    pub acts: Duration,
    /// How long after that everything may take to converge.
    #[serde(with = "Span")]
    pub settles_within: Duration,
    /// The controllers: how many, Juju's keys, limits, and what `direct` says that things cost.
    #[serde(default)]
    pub controllers: Controllers,
    /// Who founds the cluster, and how many of each role are wanted. Without it all vote, for ever.
    #[serde(default)]
    pub members: Option<Members>,
    /// Where controllers are, if they can be elsewhere.
    #[serde(default)]
    #[schemars(with = "Option<Addresses>")]
    pub addresses: Option<Spanned<Addresses>>,
    /// The agents, each a unit of an application and a contender for its leadership.
    #[serde(default)]
    pub agents: Agents,
    /// The network when nothing is wrong with it.
    #[serde(default)]
    pub network: Network,
    /// What is done about a controller that has more agents than the others.
    #[serde(default)]
    pub balance: Balance,
    /// Workers that run on one controller alone.
    #[serde(default)]
    #[schemars(with = "Option<Singular>")]
    pub singular: Option<Spanned<Singular>>,
    /// What agents dial instead of the controllers, if there is one.
    #[serde(default)]
    #[schemars(with = "Option<Front>")]
    pub front: Option<Spanned<Front>>,
    /// Failed designs of the documents, switched on.
    #[serde(default = "usual")]
    #[schemars(with = "Policy")]
    pub policy: Spanned<Policy>,
    /// What goes wrong.
    #[serde(default)]
    #[schemars(with = "Vec<Fault>")]
    pub fault: Vec<Spanned<Fault>>,
    /// What goes wrong besides, as the seed has it.
    #[serde(default)]
    #[schemars(with = "Option<Chaos>")]
    pub chaos: Option<Spanned<Chaos>>,
    /// What is asked for beyond the agents' own claims.
    #[serde(default)]
    #[schemars(with = "Vec<Workload>")]
    pub workload: Vec<Spanned<Workload>>,
    /// What the run must show.
    #[serde(default)]
    pub expect: Expect,
    /// What was set otherwise than the file has it.
    #[serde(skip)]
    pub instead: Vec<Setting>,
}

/// A key of one of a scenario's tables and what it is set to: `controllers.count=5`. A value that is
/// none of TOML's is text, so that `agents.renew=5s` needs no quotes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Setting {
    path: Vec<String>,
    value: String,
}

fn yes() -> bool {
    true
}

fn usual() -> Spanned<Policy> {
    Spanned::new(0..0, Policy::default())
}

/// One thing that goes wrong, at a time given or drawn.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Fault {
    /// When it begins; this or `between`.
    #[serde(default, with = "MaybeSpan")]
    pub at: Option<Duration>,
    /// The two ends of the span that its time is drawn from.
    #[serde(default, with = "SpanPair")]
    pub between: Option<(Duration, Duration)>,
    /// How long it lasts; absent, until the faults end.
    #[serde(default, rename = "for", with = "MaybeSpan")]
    pub lasts: Option<Duration>,
    /// What it is, and to whom.
    #[serde(rename = "do")]
    pub action: Action,
}

/// One thing that is asked for.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Workload {
    /// When it begins.
    #[serde(with = "Span")]
    pub at: Duration,
    /// What it is.
    #[serde(rename = "do")]
    pub work: Work,
}

/// What a workload can be.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Work {
    /// A burst of claims, from clients that may take them back.
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
        scenario.bounds().map_err(|outside| outside.shown(file, text))?;
        if let Err((span, message)) = scenario.validate() {
            return Err(Unreadable::at(file, text, span.start, span.end, &message));
        }
        Ok(scenario)
    }

    /// Reads a scenario's text, and has some keys otherwise than it says.
    pub fn parse_with(file: &str, text: &str, instead: &[Setting]) -> Result<Scenario, Unreadable> {
        let as_it_is = Scenario::parse(file, text)?;
        if instead.is_empty() {
            return Ok(as_it_is);
        }
        let mut table: toml::Table =
            toml::from_str(text).map_err(|error| Unreadable::new(file, text, &error))?;
        for setting in instead {
            setting.put(&mut table).map_err(|error| Unreadable(format!("{file}: {error}")))?;
        }
        let file = format!("{file} with {}", words(instead));
        let mut scenario = Scenario::parse(&file, &table.to_string())?;
        scenario.instead = instead.to_vec();
        Ok(scenario)
    }

    /// What every single value must be.
    fn bounds(&self) -> Result<(), Outside> {
        let Scenario { controllers, agents, balance, network, members, .. } = self;
        let members = members.as_ref();
        bounds::check(&Given { controllers, agents, balance, network, members })
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
            let Work::Claims(claims) = &workload.get_ref().work;
            let fits = self.engines.iter().try_for_each(|engine| claims.fits(*engine));
            fits.map_err(|message| (workload.span(), message.to_string()))?;
        }
        Ok(())
    }
}

/// Settings in one line.
pub fn words(settings: &[Setting]) -> String {
    settings.iter().map(Setting::to_string).collect::<Vec<_>>().join(" ")
}

impl Setting {
    /// Puts the value where it belongs, and makes the tables that lead there.
    fn put(&self, table: &mut toml::Table) -> Result<(), String> {
        // A path has a last key; `FromStr` sees to that.
        let (key, tables) = self.path.split_last().expect("a setting names a key");
        let mut at = table;
        for name in tables {
            let below = at.entry(name).or_insert_with(|| toml::Table::new().into());
            at = below.as_table_mut().ok_or_else(|| format!("`{name}` of `{self}` is no table"))?;
        }
        let read = toml::from_str::<toml::Table>(&format!("value = {}", self.value));
        let value = read.ok().and_then(|mut table| table.remove("value"));
        at.insert(key.clone(), value.unwrap_or_else(|| self.value.as_str().into()));
        Ok(())
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.path.join("."), self.value)
    }
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Setting, String> {
        let wrong = || format!("`{text}` is no KEY=VALUE such as agents.count=5");
        let (key, value) = text.split_once('=').ok_or_else(wrong)?;
        let path: Vec<String> = key.trim().split('.').map(str::to_owned).collect();
        if path.iter().any(String::is_empty) {
            return Err(wrong());
        }
        Ok(Setting { path, value: value.trim().into() })
    }
}

impl TryFrom<String> for Setting {
    type Error = String;
    fn try_from(text: String) -> Result<Setting, String> {
        text.parse()
    }
}

impl From<Setting> for String {
    fn from(setting: Setting) -> String {
        setting.to_string()
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
