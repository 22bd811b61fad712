//! What of a configuration a running controller can go on with, and what takes a restart.

use std::collections::BTreeMap;

use portcullis_core::NodeId;
use portcullis_core::addresses::{HostPort, Scope};

use super::node::host_port;
use super::{ApiAddress, Config, MovedModel, Peer};
use crate::api::{Elsewhere, Model};
use crate::{node, tls};

impl Config {
    /// What may change while a controller runs. Reads the certificates of where models have moved.
    pub fn live(&self) -> Result<node::Live, tls::Error> {
        let servers = |peer: &Peer| peer.api_addresses.iter().map(ApiAddress::host_port).collect();
        let moved = |moved: &MovedModel| Ok((moved.uuid.clone(), self.elsewhere(moved)?));
        Ok(node::Live {
            peers: self.peers.iter().map(|peer| (NodeId(peer.id), self.addresses(peer))).collect(),
            doors: self.doors(),
            servers: self.peers.iter().map(|peer| (NodeId(peer.id), servers(peer))).collect(),
            space: self.juju_mgmt_space.clone(),
            models: self.models.iter().map(|model| self.model(model)).collect(),
            moved: self.moved.iter().map(moved).collect::<Result<_, tls::Error>>()?,
            pace: self.pace(),
            open_delay: self.api_port_open_delay,
        })
    }

    /// The keys that differ from those of a controller that runs by `self`, and that it cannot go
    /// on with before it is started again.
    pub fn restart_keys(&self, other: &Config) -> Vec<&'static str> {
        let peers =
            |config: &Config| -> Vec<u64> { config.peers.iter().map(|peer| peer.id).collect() };
        let logins = |config: &Config| -> Vec<(Option<String>, String, String)> {
            let logins = config.logins().into_iter();
            logins
                .map(|(_, model, tag, hash)| (model.map(String::from), tag, hash.into()))
                .collect()
        };
        let differ = [
            ("controller-id", self.controller_id != other.controller_id),
            ("controller-uuid", self.controller_uuid != other.controller_uuid),
            ("joined", self.joined != other.joined),
            ("data-dir", self.data_dir != other.data_dir),
            ("bind-address", self.bind_address != other.bind_address),
            ("bind-address-file", self.bind_address_file != other.bind_address_file),
            ("api-port", self.api_port != other.api_port),
            ("accept", self.accept != other.accept),
            ("proxy-protocol", self.proxy_protocol != other.proxy_protocol),
            ("ports-file", self.ports_file != other.ports_file),
            ("tls", self.tls != other.tls),
            ("peer", peers(self) != peers(other)),
            ("limits", self.limits != other.limits),
            ("balance", self.balance != other.balance),
            ("members", self.members != other.members),
            ("raft", self.raft != other.raft),
            ("signed-units", self.signed != other.signed),
            ("user, unit, machine", logins(self) != logins(other)),
        ];
        differ.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
    }

    fn model(&self, model: &super::Model) -> Model {
        let super::Model { uuid, name } = model.clone();
        let mut applications: BTreeMap<_, std::collections::BTreeSet<_>> = BTreeMap::new();
        for unit in self.units.iter().filter(|unit| unit.model == uuid) {
            if let (Some(machine), Some((application, _))) =
                (&unit.machine, unit.name.split_once('/'))
            {
                let here = applications.entry(format!("machine-{machine}")).or_default();
                here.insert(application.to_owned());
            }
        }
        Model { uuid, name, applications }
    }

    fn elsewhere(&self, moved: &MovedModel) -> Result<Elsewhere, tls::Error> {
        // libjuju goes to public addresses only, and it is to go to these.
        let public = |text: &String| HostPort { scope: Scope::Public, ..host_port(text) };
        let authority = tls::load_certificates(moved.ca.as_ref().unwrap_or(&self.tls.ca))?;
        Ok(Elsewhere {
            servers: moved.api_addresses.iter().map(|text| vec![public(text)]).collect(),
            authority: tls::to_pem(&authority),
            controller: moved.controller_uuid.clone(),
            consent: moved.consent,
        })
    }
}
