//! The classes of faults, and what each needs.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::settings::Engine;

/// A kind of fault. Each is drawn whole or not at all for a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// A controller dies, and starts again later.
    Crash,
    /// A controller dies, and starts again at once.
    Restart,
    /// A controller is told to stop, and starts again later.
    Stop,
    /// Controllers are stopped and started one after another, each once the one before is back, as by
    /// an upgrade.
    Redeploy,
    /// A controller is cut off from the other controllers, but not from the agents.
    Partition,
    /// The same in one direction alone.
    OneWay,
    /// Two controllers are cut off from each other; everybody else reaches both.
    Partial,
    /// A controller is cut off again and again, for a short time each.
    Flapping,
    /// Controllers are cut off one by one, and come back in another order.
    Swizzle,
    /// A controller is cut off from the agents.
    AgentsCut,
    /// What two sides send waits, and arrives late.
    Hold,
    /// Links become slow.
    SlowLink,
    /// A disk becomes slow.
    SlowDisk,
    /// A disk has no room.
    DiskFull,
    /// A write, or a sync, of a disk fails.
    IoError,
    /// A clock runs fast or slow, by no more than is borne.
    Clock,
    /// A controller cannot reach itself.
    LoseItself,
    /// A process stands still, and goes on later.
    Pause,
    /// A controller's API door is elsewhere, but for the first one's. Only where there is a table
    /// `addresses`.
    ApiAddresses,
    /// A file says that a controller door is to be elsewhere. Only where there are such files.
    BindFile,
    /// All agents drop their connections and return.
    Herd,
    /// All agents start again.
    RestartAgents,
}

/// Every class, in the order in which a seed is asked about them.
pub const CLASSES: [Class; 22] = [
    Class::Crash,
    Class::Restart,
    Class::Stop,
    Class::Redeploy,
    Class::Partition,
    Class::OneWay,
    Class::Partial,
    Class::Flapping,
    Class::Swizzle,
    Class::AgentsCut,
    Class::Hold,
    Class::SlowLink,
    Class::SlowDisk,
    Class::DiskFull,
    Class::IoError,
    Class::Clock,
    Class::LoseItself,
    Class::Pause,
    Class::ApiAddresses,
    Class::BindFile,
    Class::Herd,
    Class::RestartAgents,
];

impl Class {
    /// What a scenario calls it.
    pub fn name(self) -> &'static str {
        match self {
            Class::Crash => "crash",
            Class::Restart => "restart",
            Class::Stop => "stop",
            Class::Redeploy => "redeploy",
            Class::Partition => "partition",
            Class::OneWay => "one-way",
            Class::Partial => "partial",
            Class::Flapping => "flapping",
            Class::Swizzle => "swizzle",
            Class::AgentsCut => "agents-cut",
            Class::Hold => "hold",
            Class::SlowLink => "slow-link",
            Class::SlowDisk => "slow-disk",
            Class::DiskFull => "disk-full",
            Class::IoError => "io-error",
            Class::Clock => "clock",
            Class::LoseItself => "lose-itself",
            Class::Pause => "pause",
            Class::ApiAddresses => "api-addresses",
            Class::BindFile => "bind-file",
            Class::Herd => "herd",
            Class::RestartAgents => "restart-agents",
        }
    }

    /// What it needs.
    pub fn needs(self) -> Needs {
        match self {
            Class::ApiAddresses => Needs::Addresses,
            Class::BindFile => Needs::BindFiles,
            Class::Crash
            | Class::Restart
            | Class::Stop
            | Class::Redeploy
            | Class::Partition
            | Class::OneWay
            | Class::Partial
            | Class::Flapping
            | Class::Swizzle
            | Class::AgentsCut
            | Class::Hold
            | Class::SlowLink
            | Class::SlowDisk
            | Class::DiskFull
            | Class::IoError
            | Class::Clock
            | Class::LoseItself
            | Class::Pause
            | Class::Herd
            | Class::RestartAgents => Needs::Nothing,
        }
    }

    /// Whether the engine knows it.
    pub fn runs_on(self, engine: Engine) -> bool {
        match self {
            Class::SlowDisk | Class::ApiAddresses | Class::BindFile => engine == Engine::Direct,
            Class::LoseItself | Class::Pause => engine != Engine::Turmoil,
            Class::Crash
            | Class::Restart
            | Class::Stop
            | Class::Redeploy
            | Class::Partition
            | Class::OneWay
            | Class::Partial
            | Class::Flapping
            | Class::Swizzle
            | Class::AgentsCut
            | Class::Hold
            | Class::SlowLink
            | Class::DiskFull
            | Class::IoError
            | Class::Clock
            | Class::Herd
            | Class::RestartAgents => true,
        }
    }
}

/// What a class needs of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    Nothing,
    Addresses,
    BindFiles,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of the table in the README: a class, and on which engines it is.
    fn rows() -> Vec<(String, [bool; 3])> {
        let readme = include_str!("../../README.md");
        let section = readme.split("\n## ").find(|section| section.starts_with("Chaos\n"));
        let rows = section.expect("there is such a section").lines();
        let rows = rows.filter_map(|row| row.strip_prefix("| `"));
        let row = |row: &str| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let [class, _, direct, turmoil, madsim, ""] = cells[..] else {
                unreachable!("five columns: {row}")
            };
            let yes = |cell: &str| match cell {
                "yes" => true,
                "" => false,
                other => unreachable!("neither yes nor empty: {other}"),
            };
            (class.trim_end_matches('`').to_string(), [direct, turmoil, madsim].map(yes))
        };
        rows.map(row).collect()
    }

    #[test]
    fn the_table_says_what_runs_where() {
        let engines = [Engine::Direct, Engine::Turmoil, Engine::Madsim];
        let known =
            |class: &Class| (class.name().to_string(), engines.map(|engine| class.runs_on(engine)));
        assert_eq!(rows(), CLASSES.iter().map(known).collect::<Vec<_>>());
    }

    #[test]
    fn a_class_is_called_what_a_scenario_calls_it() {
        #[derive(Deserialize)]
        struct Table {
            class: Class,
        }
        for class in CLASSES {
            let text = format!("class = \"{}\"", class.name());
            assert_eq!(toml::from_str::<Table>(&text).map(|table| table.class), Ok(class));
        }
    }
}
