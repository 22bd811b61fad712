//! The file of a controller that was bootstrapped or has joined, as a person could have written it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use clap::Args;
use portcullis::join::Peer;
use toml::{Table, Value};

use super::exit::Failure;

/// Its name in the folder.
pub const FILE: &str = "controller.toml";

/// Where a controller is.
#[derive(Args, Clone)]
#[group(skip)]
#[command(next_help_heading = "Where it is")]
pub struct Place {
    /// Address or name of this host, for controllers, agents and users; more than one for agents
    /// and users
    #[arg(long = "address", value_name = "HOST")]
    pub hosts: Vec<String>,
    /// Port of the API door, for agents and users
    #[arg(
        long,
        value_name = "PORT",
        default_value_t = 17070,
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    pub api_port: u16,
    /// Port of the door for controllers; 0: they come in where everybody does
    #[arg(long, value_name = "PORT", default_value_t = 17071)]
    pub controller_port: u16,
}

impl Place {
    /// The same, if no host was named, with this one.
    pub fn or(&self, host: IpAddr) -> Place {
        let mut place = self.clone();
        if place.hosts.is_empty() {
            place.hosts.push(host.to_string());
        }
        place
    }

    /// Refuses what could not stand in a configuration.
    pub fn check(&self) -> Result<(), Failure> {
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-_:".contains(c);
        let sound = |host: &&String| {
            let address = host.parse::<IpAddr>().is_ok();
            !host.is_empty() && host.chars().all(plain) && (address || !host.contains(':'))
        };
        if let Some(host) = self.hosts.iter().find(|host| !sound(host)) {
            return Err(Failure::wrong(format!(
                "--address {host:?} is neither an address nor a name of this host; ports are \
                 said by --api-port and --controller-port"
            )));
        }
        match self.api_port == self.controller_port {
            true => Err(Failure::wrong(format!(
                "--api-port and --controller-port are both {}; the two doors need a port each",
                self.api_port
            ))),
            false => Ok(()),
        }
    }

    /// Where the other controllers dial it.
    pub fn controller_address(&self) -> String {
        let port = if self.controller_port == 0 { self.api_port } else { self.controller_port };
        self.hosts.first().map(|host| at(host, port)).unwrap_or_default()
    }

    /// Where agents and users are told that it is.
    pub fn api_addresses(&self) -> Vec<String> {
        self.hosts.iter().map(|host| at(host, self.api_port)).collect()
    }

    /// What is bound: this host alone if it is named by nothing else, and everything otherwise.
    fn bind(&self) -> IpAddr {
        let addresses: Vec<Option<IpAddr>> =
            self.hosts.iter().map(|host| host.parse().ok()).collect();
        let six = addresses.iter().flatten().any(IpAddr::is_ipv6);
        let local = addresses.iter().all(|one| one.is_some_and(|one| one.is_loopback()));
        match (local, six) {
            (true, false) => Ipv4Addr::LOCALHOST.into(),
            (true, true) => Ipv6Addr::LOCALHOST.into(),
            (false, false) => Ipv4Addr::UNSPECIFIED.into(),
            (false, true) => Ipv6Addr::UNSPECIFIED.into(),
        }
    }
}

fn at(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Everything that a controller's file says.
pub struct Made<'a> {
    /// The command that writes it.
    pub by: &'a str,
    pub id: u64,
    pub cluster: &'a str,
    pub joined: bool,
    pub domain: &'a str,
    pub place: &'a Place,
    /// The other controllers.
    pub peers: &'a [Peer],
    /// What all files have in common.
    pub shared: &'a str,
}

impl Made<'_> {
    /// The file's text; refuses what all have in common if it is no TOML.
    pub fn text(&self) -> Result<String, String> {
        let Made { by, id, cluster, joined, domain, place, peers, shared } = self;
        let mut shared: Table = shared.parse().map_err(|error| format!("{error}"))?;
        if !domain.is_empty() {
            let members = shared.entry("members").or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(members) = members {
                members.insert("failure-domain".into(), Value::from(*domain));
            }
        }
        let is_table = |value: &Value| match value {
            Value::Table(_) => true,
            Value::Array(all) => all.iter().any(Value::is_table),
            Value::String(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_) => false,
        };
        let (tables, keys): (Table, Table) =
            shared.into_iter().partition(|(_, value)| is_table(value));
        let joined = if *joined { "joined = true\n" } else { "" };
        let mut text = format!(
            "# Written by `portcullis {by}`, and yours to change; `portcullis check-config \
             --example` has every key.\n\
             controller-id = {id}\ncontroller-uuid = {cluster:?}\n{joined}data-dir = \"data\"\n\
             bind-address = \"{}\"\napi-port = {}\ncontroller-api-port = {}\n{keys}\n\
             [tls]\nca = \"ca.pem\"\nca-key = \"ca.key\"\ncert = \"cert.pem\"\nkey = \"key.pem\"\n",
            place.bind(),
            place.api_port,
            place.controller_port,
        );
        let own = Peer {
            id: *id,
            controller_address: place.controller_address(),
            api_addresses: place.api_addresses(),
        };
        for Peer { id, controller_address, api_addresses } in [&own].into_iter().chain(*peers) {
            text.push_str(&format!(
                "\n[[peer]]\nid = {id}\ncontroller-address = {controller_address:?}\n\
                 api-addresses = {api_addresses:?}\n"
            ));
        }
        text.push('\n');
        text.push_str(&tables.to_string());
        Ok(text)
    }
}

/// What is in a folder, in order; nothing if there is none. What a crash left half written does not
/// count.
pub fn listed(folder: &Path) -> Result<Vec<String>, Failure> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Failure::at(folder)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(Failure::at(folder))?.file_name().to_string_lossy().into_owned();
        if !name.ends_with(".part") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// A folder is not empty: what is in it, and what to do.
pub fn in_use(folder: &Path, names: &[String]) -> Failure {
    /// Most names that are shown.
    const SHOWN: usize = 8;
    let more = match names.len() {
        0..=SHOWN => String::new(),
        all => format!(" and {} more", all - SHOWN),
    };
    Failure::wrong(format!(
        "{} is not empty: it has {}{more}; name another folder with --data-dir",
        folder.display(),
        names[..names.len().min(SHOWN)].join(", ")
    ))
}

/// How a controller in this folder is started.
pub fn start_line(folder: &Path) -> (PathBuf, String) {
    let file = folder.join(FILE);
    let line = format!("portcullis run --config {}", file.display());
    (file, line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(hosts: &[&str]) -> Place {
        let hosts = hosts.iter().map(|host| host.to_string()).collect();
        Place { hosts, api_port: 17070, controller_port: 17071 }
    }

    #[test]
    fn what_is_bound_follows_from_what_is_named() {
        let bound = |hosts: &[&str]| place(hosts).bind().to_string();
        assert_eq!(bound(&["127.0.0.1"]), "127.0.0.1");
        assert_eq!(bound(&["::1"]), "::1");
        assert_eq!(bound(&["10.0.0.1", "127.0.0.1"]), "0.0.0.0");
        assert_eq!(bound(&["a.example"]), "0.0.0.0");
        assert_eq!(bound(&["fd00::1"]), "::");
        let checked = |host: &str| place(&[host]).check().map_err(|failure| failure.says);
        assert_eq!(checked("fd00::1"), Ok(()));
        assert!(checked("10.0.0.1:17070").expect_err("a port").contains("--api-port"));
        assert!(checked("").is_err() && checked("a b").is_err() && checked("\"").is_err());
    }

    #[test]
    fn the_file_reads_as_if_a_person_had_written_it() {
        let peer = Peer {
            id: 1,
            controller_address: "10.0.0.1:17071".into(),
            api_addresses: vec!["10.0.0.1:17070".into()],
        };
        let made = Made {
            by: "join",
            id: 2,
            cluster: "11111111-2222-4333-8444-555555555555",
            joined: true,
            domain: "zone-b",
            place: &place(&["fd00::2", "b.example"]),
            peers: &[peer],
            shared: "api-port-open-delay = \"0s\"\n[[model]]\nuuid = \"u\"\nname = \"controller\"\n",
        };
        insta::assert_snapshot!(made.text().expect("it is TOML"), @r#"
        # Written by `portcullis join`, and yours to change; `portcullis check-config --example` has every key.
        controller-id = 2
        controller-uuid = "11111111-2222-4333-8444-555555555555"
        joined = true
        data-dir = "data"
        bind-address = "::"
        api-port = 17070
        controller-api-port = 17071
        api-port-open-delay = "0s"

        [tls]
        ca = "ca.pem"
        ca-key = "ca.key"
        cert = "cert.pem"
        key = "key.pem"

        [[peer]]
        id = 2
        controller-address = "[fd00::2]:17071"
        api-addresses = ["[fd00::2]:17070", "b.example:17070"]

        [[peer]]
        id = 1
        controller-address = "10.0.0.1:17071"
        api-addresses = ["10.0.0.1:17070"]

        [members]
        failure-domain = "zone-b"

        [[model]]
        name = "controller"
        uuid = "u"
        "#);
    }
}
