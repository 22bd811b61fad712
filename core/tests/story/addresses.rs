use std::fmt::Write;

use portcullis_core::addresses::{HostPort, Scope, for_agents, for_clients, to_dial};

use super::snapshot;

/// Addresses as stories write them: `host`, `host@scope` or `host@scope#space`.
fn server(text: &str) -> Vec<HostPort> {
    text.split_whitespace()
        .map(|word| {
            let (word, space) = word.split_once('#').map_or((word, None), |(a, b)| (a, Some(b)));
            let (host, scope) = word.split_once('@').map_or((word, None), |(a, b)| (a, Some(b)));
            let plain = HostPort::new(host, 17070);
            let scope = match scope {
                None => plain.scope,
                Some("public") => Scope::Public,
                Some("cloud") => Scope::LocalCloud,
                Some("fan") => Scope::LocalFan,
                Some("unknown") => Scope::Unknown,
                Some(other) => panic!("no scope is called {other}"),
            };
            HostPort { scope, space_name: space.map(str::to_owned), ..plain }
        })
        .collect()
}

fn words(addresses: &[HostPort]) -> String {
    let mut words = String::new();
    for address in addresses {
        write!(words, " {} {};", address.joined(), address.scope).expect("a string takes any text");
    }
    words
}

#[test]
fn the_nearest_first_and_nothing_useless() {
    let mut table = String::new();
    for addresses in [
        "8.8.8.8 10.0.0.1 fd00::1 252.0.0.1@fan juju.example",
        "fe80::1 169.254.1.1 10.0.0.1",
        "127.0.0.1 ::1",
        "127.0.0.1 10.0.0.1",
        "10.0.0.1 10.0.0.1@unknown",
        "fe80::1",
        "",
    ] {
        table += &format!("{addresses}\n   {}\n", words(&for_clients(&server(addresses))));
    }
    snapshot("addresses/the_nearest_first_and_nothing_useless", &table);
}

#[test]
fn a_space_keeps_agents_to_its_network() {
    let mut table = String::new();
    for (addresses, space) in [
        ("10.0.0.1#mgmt 10.1.0.1#data 8.8.8.8", Some("mgmt")),
        ("10.0.0.1#mgmt 10.1.0.1#data 8.8.8.8", None),
        // None of them is in it: this controller's own addresses all stay.
        ("10.1.0.1#data 8.8.8.8", Some("mgmt")),
        // The only one in it cannot be reached: it is no address at all.
        ("fe80::1#mgmt 10.1.0.1#data", Some("mgmt")),
        ("", Some("mgmt")),
    ] {
        let told = words(&for_agents(&server(addresses), space));
        table += &format!("{addresses}, agents in {space:?}\n   {told}\n");
    }
    snapshot("addresses/a_space_keeps_agents_to_its_network", &table);
}

#[test]
fn each_controller_is_met_soon() {
    let servers = [server("10.0.0.1 8.8.8.1"), server(""), server("10.0.0.2 8.8.8.2 fd00::2")];
    let order = to_dial(&servers).iter().map(|at| format!("{at}\n")).collect::<String>();
    snapshot("addresses/each_controller_is_met_soon", &order);
}
