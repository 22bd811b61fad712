//! Where controllers are by the configuration, and where they are by now.
//!
//! A file may say another address than the configuration (see [`bind_file`](crate::bind_file)); each
//! controller has the log say where it is. From then on whatever the configuration has at the
//! controller's former host is at that one.

use std::collections::BTreeMap;

use portcullis_core::addresses::{HostPort, moved};
use portcullis_core::members::{Members, Standing};
use portcullis_core::{Address, NodeId};

use super::Addresses;

/// What the configuration says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whereabouts {
    /// What agents and users are told, by controller.
    pub servers: BTreeMap<NodeId, Vec<HostPort>>,
    /// The host at which other controllers dial each of them.
    pub hosts: BTreeMap<NodeId, String>,
}

impl Whereabouts {
    /// By these addresses, best first.
    pub fn new(servers: BTreeMap<NodeId, Vec<HostPort>>, peers: &Addresses) -> Whereabouts {
        let mut whereabouts = Whereabouts { servers, hosts: BTreeMap::new() };
        whereabouts.dialled_at(peers);
        whereabouts
    }

    /// Other controllers are dialled there.
    pub fn dialled_at(&mut self, peers: &Addresses) {
        let first =
            |(node, all): (&NodeId, &Vec<Address>)| Some((*node, host(all.first()?)?.into()));
        self.hosts.extend(peers.iter().filter_map(first));
    }

    /// What agents and users are to be told by now, if a file says that this controller is at `own`.
    /// Whoever was removed is told of no more, and whoever joined is, by its own word.
    pub fn now(
        &self,
        members: &Members,
        me: NodeId,
        own: Option<&str>,
    ) -> BTreeMap<NodeId, Vec<HostPort>> {
        let mut servers = BTreeMap::new();
        for (node, configured) in &self.servers {
            let logged = members.get(*node).and_then(|member| host(&member.address));
            let to = if *node == me { own } else { logged };
            let told = match (self.hosts.get(node), to) {
                (Some(from), Some(to)) if from != to => moved(configured, from, to),
                (Some(_) | None, Some(_) | None) => configured.clone(),
            };
            if members.standing(*node) != Standing::Removed {
                servers.insert(*node, told);
            }
        }
        for (node, member) in members.iter() {
            let told = || member.api.iter().filter_map(host_port).collect();
            servers.entry(node).or_insert_with(told);
        }
        servers
    }
}

/// The host of a `host:port`; nothing if it is none.
pub fn host(address: &Address) -> Option<&str> {
    let (host, _) = address.as_str().rsplit_once(':')?;
    Some(host.trim_start_matches('[').trim_end_matches(']'))
}

/// An API address as agents are told of it; nothing if it is no `host:port`.
fn host_port(address: &Address) -> Option<HostPort> {
    let (host, port) = address.as_str().rsplit_once(':')?;
    Some(HostPort::new(host, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use portcullis_core::GlobalTime;
    use portcullis_core::members::{Command, Member, READS, Wanted};

    use super::*;

    const ONE: NodeId = NodeId(1);
    const TWO: NodeId = NodeId(2);

    fn member(address: &str) -> Member {
        let api = vec![Address::new("10.0.0.9:17070")];
        Member { address: Address::new(address), api, domain: "".into(), reads: READS }
    }

    fn apply(members: &mut Members, command: &Command) {
        members.apply(GlobalTime(0), command).expect("it may be so");
    }

    fn joined(servers: &BTreeMap<NodeId, Vec<HostPort>>, node: NodeId) -> Vec<String> {
        servers[&node].iter().map(HostPort::joined).collect()
    }

    #[test]
    fn a_controller_is_where_its_file_says_and_others_where_the_log_says() {
        let at = |host: &str| {
            let mgmt = HostPort { space_name: Some("mgmt".into()), ..HostPort::new(host, 17070) };
            vec![mgmt, HostPort::new("203.0.113.5", 443)]
        };
        let servers = BTreeMap::from([(ONE, at("10.0.0.1")), (TWO, at("10.0.0.2"))]);
        let peers = [(ONE, "10.0.0.1:17071"), (TWO, "10.0.0.2:17071")];
        let addresses = peers.map(|(node, address)| (node, vec![Address::new(address)]));
        let whereabouts = Whereabouts::new(servers.clone(), &BTreeMap::from(addresses));
        let mut members = Members::default();
        assert_eq!(whereabouts.now(&members, ONE, None), servers, "nothing has moved");

        let known = peers.map(|(node, address)| (node, member(address)));
        let found =
            Command::Found { members: known.into_iter().collect(), wanted: Wanted::default() };
        apply(&mut members, &found);
        assert_eq!(whereabouts.now(&members, ONE, Some("10.0.0.1")), servers);
        apply(&mut members, &Command::Update { node: ONE, member: member("10.0.0.8:17071") });
        apply(&mut members, &Command::Update { node: TWO, member: member("10.0.0.7:17071") });
        let now = whereabouts.now(&members, ONE, Some("10.0.0.6"));
        assert_eq!(joined(&now, ONE), ["10.0.0.6:17070", "203.0.113.5:443"], "the file knows best");
        assert_eq!(joined(&now, TWO), ["10.0.0.7:17070", "203.0.113.5:443"]);
        assert_eq!(now[&TWO][0].space_name.as_deref(), Some("mgmt"), "the network stays");
        apply(&mut members, &Command::Remove { node: TWO });
        assert!(!whereabouts.now(&members, ONE, None).contains_key(&TWO));
    }
}
