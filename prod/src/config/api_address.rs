//! One address of a controller's API door, as a configuration gives it.

use std::fmt;

use portcullis_core::addresses::{HostPort, Scope};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::node::host_port;

/// Either the address alone, `"10.0.0.1:17070"`, or a table that also says in which network it is:
/// `{ address = "10.0.0.1:17070", space = "mgmt", scope = "local-cloud" }`.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiAddress {
    /// `host:port`.
    pub address: String,
    /// The operator's name for its network; see [`juju_mgmt_space`](super::Config::juju_mgmt_space).
    pub space: Option<String>,
    /// From where it can be reached; by default as the address shows by itself.
    pub scope: Option<Scope>,
}

impl ApiAddress {
    /// What agents and users are told.
    pub fn host_port(&self) -> HostPort {
        let plain = host_port(&self.address);
        let scope = self.scope.unwrap_or(plain.scope);
        HostPort { scope, space_name: self.space.clone(), ..plain }
    }
}

/// The long form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Table {
    address: String,
    space: Option<String>,
    scope: Option<Scope>,
}

impl<'de> Deserialize<'de> for ApiAddress {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<ApiAddress, D::Error> {
        from.deserialize_any(Forms)
    }
}

struct Forms;

impl<'de> Visitor<'de> for Forms {
    type Value = ApiAddress;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"host:port\" or { address = \"host:port\", space = \"…\", scope = \"…\" }")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<ApiAddress, E> {
        Ok(ApiAddress { address: text.to_owned(), space: None, scope: None })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ApiAddress, A::Error> {
        let Table { address, space, scope } = Table::deserialize(MapAccessDeserializer::new(map))?;
        if scope == Some(Scope::Unknown) {
            let says = "`scope` is public, local-cloud, local-fan, local-machine or link-local";
            return Err(A::Error::custom(says));
        }
        Ok(ApiAddress { address, space, scope })
    }
}
