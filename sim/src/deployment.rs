//! A deployment: the settings of real controllers, taken into a scenario.
//!
//! Decides which keys of a controller's configuration file a simulated one has too. What a scenario
//! is about, such as its agents, faults and costs, stays as it is; so `--config` asks of a story what
//! would have come of it with these settings.

use std::path::Path;

use anyhow::Context as _;
use portcullis::config::{Balance, Config, EXAMPLE, Mode};
use toml::{Table, Value};

use crate::scenario::Scenario;
use crate::settings::{self, ControllerDoor, Controllers};

/// Tables of the file that bear on how controllers behave.
const TABLES: [&str; 4] = ["limits", "balance", "members", "raft"];

/// Keys of these tables that simulated controllers have too; see [`Deployment::settle`].
const TAKEN: [&str; 17] = [
    "limits.lost-max",
    "limits.held-max",
    "limits.drain-max",
    "limits.connections-max",
    "limits.logins-min",
    "limits.logins-max",
    "limits.waiting-max",
    "limits.batch-max",
    "balance.policy",
    "balance.surplus",
    "balance.moves-rate",
    "balance.move-again-after",
    "balance.refuse-one-in",
    "members.voters",
    "members.stand-bys",
    "members.silent-max",
    "members.steady-min",
];

/// A controller's configuration file, read and checked as the controller does.
pub struct Deployment {
    config: Config,
    /// Keys that it has otherwise than by default, and that simulated controllers have not.
    beyond: Vec<String>,
}

impl Deployment {
    /// Reads and checks a file. What it names, such as keys of certificates, is on another host.
    pub fn load(file: &Path) -> anyhow::Result<Deployment> {
        // Its text says all that its source does.
        let config = Config::load_elsewhere(file);
        let config = config.map_err(|error| anyhow::Error::msg(error.to_string()))?;
        let text = std::fs::read_to_string(file);
        let text = text.with_context(|| format!("cannot read {}", file.display()))?;
        Ok(Deployment { config, beyond: beyond(&text)? })
    }

    /// What a verdict with these settings says nothing about, if there is anything.
    pub fn beyond(&self) -> Option<String> {
        let keys = self.beyond.join(", ");
        (!keys.is_empty()).then(|| format!("not simulated, so as by default: {keys}"))
    }

    /// The text of a scenario with these settings instead of its own. What is set on the command
    /// line comes after both.
    pub fn told(&self, file: &str, text: &str) -> anyhow::Result<String> {
        let mut scenario = Scenario::parse(file, text)?;
        self.settle(&mut scenario);
        let mut table: Table = toml::from_str(text)?;
        table.insert("controllers".into(), Value::try_from(&scenario.controllers)?);
        table.insert("balance".into(), Value::try_from(&scenario.balance)?);
        if let Some(members) = &scenario.members {
            table.insert("members".into(), Value::try_from(members)?);
        }
        Ok(table.to_string())
    }

    /// Takes over what a simulated controller has too.
    fn settle(&self, scenario: &mut Scenario) {
        let Config { limits, members, .. } = &self.config;
        let mode = self.config.mode();
        scenario.controllers = Controllers {
            count: self.config.peers.len() as u64,
            controller_api_port: self.config.controller_api_port,
            controllers_first: mode.controllers_first(),
            controller_door: match mode {
                Mode::OneDoor
                | Mode::ControllersFirst
                | Mode::TwoDoors
                | Mode::TwoDoorsControllersFirst => ControllerDoor::Peers,
                Mode::OwnPort => ControllerDoor::Itself,
                Mode::OwnSocket => ControllerDoor::Socket,
            },
            api_port_open_delay: self.config.api_port_open_delay,
            accept: self.config.accept,
            agent_ratelimit_max: self.config.agent_ratelimit_max,
            agent_ratelimit_rate: self.config.agent_ratelimit_rate,
            lost_max: limits.lost_max,
            held_max: limits.held_max,
            drain_max: limits.drain_max,
            connections_max: limits.connections_max,
            logins_min: limits.logins_min,
            logins_max: limits.logins_max,
            waiting_max: limits.waiting_max,
            batch_max: limits.batch_max,
            ..scenario.controllers.clone()
        };
        let Balance { policy, surplus, moves_rate, move_again_after, refuse_one_in } =
            self.config.balance.clone();
        scenario.balance =
            settings::Balance { policy, surplus, moves_rate, move_again_after, refuse_one_in };
        if let Some(wanted) = &mut scenario.members {
            wanted.voters = members.voters;
            wanted.stand_bys = members.stand_bys;
            wanted.silent_max = members.silent_max;
            wanted.steady_min = members.steady_min;
        }
    }
}

/// Keys that are not simulated, and otherwise than the example has them, which has the defaults.
fn beyond(text: &str) -> anyhow::Result<Vec<String>> {
    let (given, usual): (Table, Table) = (toml::from_str(text)?, toml::from_str(EXAMPLE)?);
    let keys = |name| given.get(name).and_then(Value::as_table).into_iter().flatten();
    let told = TABLES.iter().flat_map(|name| keys(*name).map(move |pair| (name, pair)));
    let other = told.filter(|(name, (key, value))| {
        usual.get(**name).and_then(|table| table.get(*key)) != Some(*value)
    });
    let names = other.map(|(name, (key, _))| format!("{name}.{key}"));
    Ok(names.filter(|key| !TAKEN.contains(&key.as_str())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_there() {
        let usual: Table = toml::from_str(EXAMPLE).expect("it is TOML");
        for key in TAKEN {
            let (table, key) = key.split_once('.').expect("it has a table");
            assert!(usual[table].get(key).is_some(), "{key}");
        }
    }

    #[test]
    fn what_is_not_simulated_is_named_where_it_is_no_default() {
        assert_eq!(beyond(EXAMPLE).expect("it is TOML"), Vec::<String>::new());
        let text = "[limits]\nwaiting-max = 9\npatience = \"9s\"\nflights-max = 4\n\
                    [raft]\nheartbeat = \"1s\"\n[tls]\nca = \"mine.pem\"\n";
        let named = beyond(text).expect("it is TOML");
        assert_eq!(named, ["limits.patience", "raft.heartbeat"]);
    }
}
