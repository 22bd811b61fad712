//! The file that says where the controller doors are to be bound, written by somebody else.
//!
//! Seed 003: "The controller charm propagates bind addresses to the dbaccessor worker by writing them
//! to the controller configuration file. Each controller unit shares its resolved bind address with
//! the other units". So the file may have the addresses of all: YAML as Juju's charm writes it,
//!
//! ```yaml
//! db-bind-addresses:
//!   controller/0: 10.0.0.1
//!   controller/1: 10.0.0.2
//! ```
//!
//! or, if its name ends in `.toml`, TOML, which can say from where an address can be reached:
//!
//! ```toml
//! [[bind-address]]
//! controller = 1              # this one, if left out
//! address = "10.0.0.1"
//! scope = "local-cloud"       # by default as the address shows by itself
//! ```
//!
//! A name in the YAML is a unit's, of any application, a machine's, or the number alone. Whatever
//! else is in it is somebody else's. Which address is taken is core's to decide.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use portcullis_core::NodeId;
use portcullis_core::addresses::Scope;
use portcullis_core::bind::{Candidate, Lack};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_saphyr::Spanned;

use crate::config;

/// The key of the YAML form.
const KEY: &str = "db-bind-addresses";

/// What the file offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offers {
    /// To this controller.
    pub own: Vec<Candidate>,
    /// To each of the others that is offered one address alone.
    pub others: BTreeMap<NodeId, IpAddr>,
}

/// Reads what the file has; refuses it as unreadable with file, line and key.
pub fn read(file: &Path, text: &str, node: NodeId) -> Result<Offers, Lack> {
    let offered = match file.extension().is_some_and(|ending| ending == "toml") {
        true => from_toml(text, node),
        false => from_yaml(text),
    };
    let offered = offered.map_err(|says| unreadable(file, &says))?;
    let mut offers = Offers::default();
    for (of, ip, scope) in &offered {
        if *of == node {
            offers.own.push(Candidate { host: ip.to_string(), scope: *scope });
        } else if offered.iter().all(|(other, one, _)| other != of || one == ip) {
            offers.others.insert(*of, *ip);
        }
    }
    Ok(offers)
}

/// A lack that names the file; `says` begins with the place in it, if there is one.
pub fn unreadable(file: &Path, says: &str) -> Lack {
    Lack::Unreadable { says: format!("{}:{says}", file.display()) }
}

/// An address, whose it is and from where it can be reached.
type Offered = (NodeId, IpAddr, Scope);

#[derive(Deserialize)]
struct Yaml {
    #[serde(rename = "db-bind-addresses", default)]
    addresses: Option<BTreeMap<String, Spanned<Value>>>,
}

/// One address, or several to choose from.
#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    One(String),
    Several(Vec<String>),
    Other(IgnoredAny),
}

fn from_yaml(text: &str) -> Result<Vec<Offered>, String> {
    // An empty file, as it is while it is written, is no map to the parser.
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let yaml: Yaml = serde_saphyr::from_str(text).map_err(|error| {
        let place = error.location().map(|at| format!("{}:{}:", at.line(), at.column()));
        let said = error.without_snippet().to_string();
        format!("{} {}", place.unwrap_or_default(), said.lines().next().unwrap_or_default())
    })?;
    let mut offered = Vec::new();
    for (name, Spanned { value, referenced, .. }) in yaml.addresses.unwrap_or_default() {
        let wrong = |says: &str| {
            format!("{}:{}: {KEY}.{name}: {says}", referenced.line(), referenced.column())
        };
        let node = named(&name)
            .ok_or_else(|| wrong("does not name a controller, such as controller/0 or 0 does"))?;
        let hosts = match value {
            Value::One(host) => vec![host],
            Value::Several(hosts) => hosts,
            Value::Other(_) => return Err(wrong("must be an IP address, or a list of them")),
        };
        for host in hosts {
            let ip = address(&host).map_err(|says| wrong(&says))?;
            offered.push((node, ip, Scope::of(&host)));
        }
    }
    Ok(offered)
}

/// Which controller is meant.
fn named(name: &str) -> Option<NodeId> {
    let number = name.rsplit_once('/').map_or(name, |(_, number)| number);
    number.strip_prefix("controller-").unwrap_or(number).parse().ok().map(NodeId)
}

fn address(host: &str) -> Result<IpAddr, String> {
    let ip: IpAddr = host.parse().map_err(|_| format!("{host:?} is not an IP address"))?;
    match ip.is_unspecified() {
        true => Err(format!("{host:?} is no address that others could dial")),
        false => Ok(ip),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Toml {
    #[serde(default)]
    bind_address: Vec<toml::Spanned<Entry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Entry {
    controller: Option<u64>,
    address: toml::Spanned<String>,
    scope: Option<Scope>,
}

fn from_toml(text: &str, node: NodeId) -> Result<Vec<Offered>, String> {
    let file: Toml = config::decode(text).map_err(|fault| {
        let config::Fault { line, column, key, says, .. } = fault;
        let key = if key.is_empty() { key } else { format!("{key}: ") };
        format!("{line}:{column}: {key}{says}")
    })?;
    let mut offered = Vec::new();
    for entry in file.bind_address {
        let Entry { controller, address: host, scope } = entry.into_inner();
        let (start, host) = (host.span().start, host.into_inner());
        let ip = address(&host).map_err(|says| {
            let line = text[..start].matches('\n').count() + 1;
            let column = text[..start].rsplit('\n').next().map_or(0, |line| line.chars().count());
            format!("{line}:{}: bind-address.address: {says}", column + 1)
        })?;
        let scope = scope.unwrap_or_else(|| Scope::of(&host));
        offered.push((controller.map_or(node, NodeId), ip, scope));
    }
    Ok(offered)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SELF: NodeId = NodeId(1);

    fn yaml(text: &str) -> Result<Offers, Lack> {
        read(Path::new("controller.conf"), text, SELF)
    }

    fn toml(text: &str) -> Result<Offers, Lack> {
        read(Path::new("bind.toml"), text, SELF)
    }

    fn hosts(offers: Result<Offers, Lack>) -> Vec<String> {
        let offers = offers.expect("it can be read");
        offers.own.iter().map(Candidate::to_string).collect()
    }

    fn says(offers: Result<Offers, Lack>) -> String {
        offers.expect_err("it cannot be read").to_string()
    }

    #[test]
    fn a_controller_finds_its_own_address_and_those_of_the_others() {
        let text = "# By the charm.\nlast-written: 7\ndb-bind-addresses:\n  controller/0: 10.0.0.9\n  \
                    controller/1: 10.0.0.1\n  2: fd00::2\nother: [1, 2]\n";
        let offers = yaml(text).expect("it can be read");
        assert_eq!(hosts(Ok(offers.clone())), ["10.0.0.1 (local-cloud)"]);
        let others = [(NodeId(0), "10.0.0.9"), (NodeId(2), "fd00::2")];
        let others = others.map(|(node, ip)| (node, ip.parse().expect("an address")));
        assert_eq!(offers.others, others.into_iter().collect());
    }

    #[test]
    fn several_are_candidates_and_none_is_none() {
        let text =
            "db-bind-addresses: {\"controller-1\": [10.0.0.1, 8.8.8.8], controller/1: 10.0.0.2}";
        let found = ["10.0.0.1 (local-cloud)", "8.8.8.8 (public)", "10.0.0.2 (local-cloud)"];
        assert_eq!(hosts(yaml(text)), found);
        for text in ["", "\n", "# nothing\n", "db-bind-addresses:\n", "other: 1\n"] {
            assert_eq!(yaml(text), Ok(Offers::default()), "{text:?}");
        }
        let two = "db-bind-addresses:\n  a/2: [10.0.0.1, 10.0.0.2]\n";
        assert_eq!(yaml(two), Ok(Offers::default()), "nobody is told of one of two");
    }

    #[test]
    fn what_is_wrong_is_said_with_file_line_and_key() {
        let wrong = [
            (
                "db-bind-addresses:\n  controller/1: 10.0.0.\n",
                ":2:17: db-bind-addresses.controller/1: ",
            ),
            (
                "db-bind-addresses:\n  controller/1: [10.0.0.1, here]\n",
                "\"here\" is not an IP address",
            ),
            ("db-bind-addresses:\n  controller/1: 0.0.0.0\n", "no address that others could dial"),
            ("db-bind-addresses:\n  controller/1: {a: b}\n", "must be an IP address"),
            (
                "db-bind-addresses:\n  someone: 10.0.0.1\n",
                "db-bind-addresses.someone: does not name",
            ),
            ("db-bind-addresses: 7\n", ":1:20: "),
            ("db-bind-addresses:\n  controller/1: [10.0.0.1\n", ":"),
            ("\tdb-bind", ":1:"),
        ];
        for (text, expected) in wrong {
            let said = says(yaml(text));
            assert!(said.starts_with("controller.conf:"), "{said}");
            assert!(said.contains(expected), "{text:?}: {said}");
            assert!(!said.contains('\n'), "one line: {said:?}");
        }
    }

    #[test]
    fn toml_says_scopes_and_whose_an_address_is() {
        let text = "[[bind-address]]\naddress = \"192.0.2.1\"\nscope = \"local-cloud\"\n\
                    [[bind-address]]\ncontroller = 3\naddress = \"10.0.0.3\"\n";
        let offers = toml(text).expect("it can be read");
        assert_eq!(hosts(Ok(offers.clone())), ["192.0.2.1 (local-cloud)"]);
        assert_eq!(offers.others.keys().collect::<Vec<_>>(), [&NodeId(3)]);
        assert_eq!(toml(""), Ok(Offers::default()));
        let wrong = [
            ("[[bind-address]]\naddress = \"x\"\n", "bind.toml:2:11: bind-address.address: \"x\""),
            (
                "[[bind-address]]\nadress = \"x\"\n",
                "bind.toml:2:1: bind-address.adress: unknown key",
            ),
            ("[[bind-add", "bind.toml:1:"),
        ];
        for (text, expected) in wrong {
            let said = says(toml(text));
            assert!(said.contains(expected), "{text:?}: {said}");
        }
    }
}
