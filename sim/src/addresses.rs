//! What a scenario says of where controllers are, and what is done about it.
//!
//! Without the table `addresses` every controller is where its name says, for ever. With it each has
//! hosts: its API door is at port 17070 of all of them, and agents find it at those that they were
//! told of and no others. Where files say at which host a controller door is bound, these are what
//! `bind-file` writes.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use portcullis_core::addresses::{HostPort, Scope};
use portcullis_core::bind::{Candidate, Input, Lack};
use portcullis_core::{Address, NodeId};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::plan::Plan;

/// Every controller's API port.
pub const API_PORT: u16 = 17_070;
/// Every controller's own.
const CONTROLLER_PORT: u16 = 17_022;

/// Direct: where controllers are, if they can be elsewhere. Without this table every one is where its
/// name says, for ever.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Addresses {
    /// Whether a file says where each controller door is bound. In the beginning it has the
    /// controller's first host.
    pub bind_files: bool,
    /// The controllers that have no such file in the beginning, by number.
    pub late: Vec<u64>,
    /// The space that agents are to reach controllers by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub juju_mgmt_space: Option<String>,
}

/// What somebody writes into a controller's file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Written {
    /// These hosts, for the controller to choose from.
    Hosts(Vec<String>),
    /// Nothing that can be read, as while it is written.
    Garbled,
    /// Not even the file.
    Gone,
}

/// The hosts of a controller, each with its space if it is in one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Hosts(pub Vec<(String, Option<String>)>);

impl Written {
    /// What a controller that looks at the file finds.
    pub fn offer(&self) -> Input {
        match self {
            Written::Hosts(hosts) => {
                let candidate =
                    |host: &String| Candidate { host: host.clone(), scope: Scope::of(host) };
                Input::Read { candidates: hosts.iter().map(candidate).collect() }
            }
            Written::Garbled => {
                Input::NotRead { lack: Lack::Unreadable { says: "it is garbled".into() } }
            }
            Written::Gone => Input::NotRead { lack: Lack::NoFile },
        }
    }
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Written::Hosts(hosts) => f.write_str(&hosts.join(" ")),
            Written::Garbled => f.write_str("garbled"),
            Written::Gone => f.write_str("gone"),
        }
    }
}

impl FromStr for Written {
    type Err = String;
    fn from_str(text: &str) -> Result<Written, String> {
        match text {
            "garbled" => Ok(Written::Garbled),
            "gone" => Ok(Written::Gone),
            hosts => {
                hosts.split_whitespace().map(host).collect::<Result<_, _>>().map(Written::Hosts)
            }
        }
    }
}

impl TryFrom<String> for Written {
    type Error = String;
    fn try_from(text: String) -> Result<Written, String> {
        text.parse()
    }
}

impl JsonSchema for Written {
    fn schema_name() -> Cow<'static, str> {
        "Written".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "Hosts with spaces between them, or `garbled`, or `gone`.",
            "pattern": r"[^ ]",
        })
    }
}

impl Hosts {
    /// The addresses of the API door.
    pub fn addresses(&self) -> Vec<HostPort> {
        let address = |(host, space): &(String, Option<String>)| HostPort {
            space_name: space.clone(),
            ..HostPort::new(host, API_PORT)
        };
        self.0.iter().map(address).collect()
    }
}

impl fmt::Display for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (host, space)) in self.0.iter().enumerate() {
            write!(f, "{}{host}", if at == 0 { "" } else { " " })?;
            space.iter().try_for_each(|space| write!(f, "@{space}"))?;
        }
        Ok(())
    }
}

impl FromStr for Hosts {
    type Err = String;
    fn from_str(text: &str) -> Result<Hosts, String> {
        let one = |word: &str| match word.split_once('@') {
            Some((address, space)) => Ok((host(address)?, Some(space.to_owned()))),
            None => Ok((host(word)?, None)),
        };
        let hosts: Vec<_> = text.split_whitespace().map(one).collect::<Result<_, String>>()?;
        if hosts.is_empty() { Err("a controller has a host".into()) } else { Ok(Hosts(hosts)) }
    }
}

impl TryFrom<String> for Hosts {
    type Error = String;
    fn try_from(text: String) -> Result<Hosts, String> {
        text.parse()
    }
}

impl JsonSchema for Hosts {
    fn schema_name() -> Cow<'static, str> {
        "Hosts".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "Hosts with spaces between them, each with its space if it is in one: `10.0.0.1@mgmt`.",
            "pattern": r"[^ ]",
        })
    }
}

fn host(text: &str) -> Result<String, String> {
    match text.parse::<std::net::IpAddr>() {
        Ok(ip) => Ok(ip.to_string()),
        Err(_) => Err(format!("`{text}` is no IP address")),
    }
}

/// The host that a controller has in the beginning.
pub fn home(node: NodeId) -> String {
    format!("10.0.0.{node}", node = node.0)
}

/// Where its API door is in the beginning.
pub fn at_home(node: NodeId) -> Vec<HostPort> {
    vec![HostPort::new(&home(node), API_PORT)]
}

/// Where others dial the controller door at a host.
pub fn controller_door(host: &str) -> Address {
    Address::from(HostPort::new(host, CONTROLLER_PORT).joined())
}

/// Whether a controller's file is there in the beginning.
pub fn has_file(plan: &Plan, node: NodeId) -> bool {
    let late = plan.settings.addresses.as_ref().map(|addresses| &addresses.late);
    late.is_some_and(|late| !late.contains(&node.0))
}
