//! A deployment: the settings of real controllers, taken into a scenario.
//!
//! Decides which keys of a controller's configuration file a simulated one has too. What a scenario
//! is about, such as its agents, faults and costs, stays as it is; so `--config` asks of a story what
//! would have come of it with these settings.

use std::path::Path;

use portcullis::config::{Balance, Config, Mode};

use crate::scenario::Scenario;
use crate::settings::{self, ControllerDoor, Controllers};

/// A controller's configuration file, read and checked as the controller does.
pub struct Deployment(Config);

impl Deployment {
    /// Reads and checks a file, and the presence of those that it names.
    pub fn load(file: &Path) -> anyhow::Result<Deployment> {
        Ok(Deployment(Config::load(file)?))
    }

    /// Takes over what a simulated controller has too.
    pub fn settle(&self, scenario: &mut Scenario) {
        let Config { limits, members, .. } = &self.0;
        let mode = self.0.mode();
        scenario.controllers = Controllers {
            count: self.0.peers.len() as u64,
            controller_api_port: self.0.controller_api_port,
            controllers_first: mode.controllers_first(),
            controller_door: match mode {
                Mode::OneDoor
                | Mode::ControllersFirst
                | Mode::TwoDoors
                | Mode::TwoDoorsControllersFirst => ControllerDoor::Peers,
                Mode::OwnPort => ControllerDoor::Itself,
                Mode::OwnSocket => ControllerDoor::Socket,
            },
            api_port_open_delay: self.0.api_port_open_delay,
            accept: self.0.accept,
            agent_ratelimit_max: self.0.agent_ratelimit_max,
            agent_ratelimit_rate: self.0.agent_ratelimit_rate,
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
            self.0.balance.clone();
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
