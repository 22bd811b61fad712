mod doors;
mod words;

use portcullis_core::addresses::Scope;
use portcullis_core::balancer::Policy;

use super::*;

const GOOD: &str = r#"controller-id = 1
controller-uuid = "11111111-2222-4333-8444-555555555555"
data-dir = "data"
api-port = 17070
controller-api-port = 17071
api-port-open-delay = "2s"

[tls]
ca = "ca.pem"
cert = "cert.pem"
key = "key.pem"

[[peer]]
id = 1
controller-address = "10.0.0.1:17071"
api-addresses = ["10.0.0.1:17070"]

[[peer]]
id = 2
controller-address = "[fd00::2]:17071"
api-addresses = ["controller-2:17070"]

[limits]
waiting-max = 8192

[[model]]
uuid = "deadbeef-0bad-400d-8000-4b1d0d06f00d"
name = "controller"

[[unit]]
name = "mysql/0"
model = "deadbeef-0bad-400d-8000-4b1d0d06f00d"
password-hash = "sha256$0102030405060708$HASH"
"#;

/// What is said about the good file after `from` in it has become `to`. Errors name the file as it
/// was given, so that the folder of the test does not show.
fn said(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from:?} is to be replaced");
    match load(&GOOD.replacen(from, to, 1)) {
        Ok(_) => "fine".to_owned(),
        Err(error) => error,
    }
}

fn load(text: &str) -> Result<Config, String> {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    for pem in ["ca.pem", "cert.pem", "key.pem"] {
        fs::write(folder.path().join(pem), "").expect("the folder can be written");
    }
    fs::create_dir(folder.path().join("data")).expect("the folder can be written");
    let file = folder.path().join("controller.toml");
    fs::write(&file, text.replace("HASH", &"00".repeat(32))).expect("the folder can be written");
    let prefix = format!("{}/", folder.path().display());
    Config::load(&file).map_err(|error| error.to_string().replace(&prefix, ""))
}

#[test]
fn a_good_file_is_read_with_jujus_defaults() {
    let config = load(GOOD).expect("it is good");
    assert_eq!((config.agent_ratelimit_max, config.agent_ratelimit_rate), (None, None));
    assert_eq!(config.limits, Limits { waiting_max: 8192, ..Limits::default() });
    assert!(config.data_dir.is_absolute() && config.data_dir.ends_with("data"));
    let controller = config.controller();
    assert_eq!(controller.node, NodeId(1));
    assert!(controller.listener.controller_door);
    assert_eq!(controller.queue.waiting_max, 8192);
}

#[test]
fn the_example_is_good_and_shows_the_defaults() {
    let config = load(EXAMPLE).expect("it is good");
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.raft, Raft::default());
    let bare = load(GOOD).expect("it is good");
    assert_eq!(config.api_port, bare.api_port);
    assert_eq!(config.accept, bare.accept);
    assert_eq!(config.pace(), bare.pace());
    assert_eq!(config.bind_address, bare.bind_address);
}

#[test]
fn a_controller_that_is_no_peer_is_refused() {
    insta::assert_snapshot!(said("controller-id = 1", "controller-id = 3"), @r#"
    controller.toml:1:17: controller-id: no [[peer]] has the id 3; this controller is one too
      |
    1 | controller-id = 3
      |                 ^
    "#);
}

#[test]
fn limits_have_bounds() {
    for (limit, says) in [
        ("message-max = 4095", "limits.message-max: must be 4096 to 67108864"),
        ("message-max = 67108865", "limits.message-max: must be 4096 to 67108864"),
        ("controller-connections-max = 13", "controller-connections-max: must be at least 14"),
        ("requests-per-connection-max = 0", "must be 1 to 65536"),
        ("items-per-call-max = 4097", "must be 1 to 4096"),
        ("watchers-per-connection-max = 0", "must be 1 to 65536"),
        ("answers-waiting-max = 0", "must be 1 to 65536"),
        ("patience = \"31s\"", "limits.patience: must not be above patience-max"),
        ("message-max = 4096", "fine"),
        ("controller-connections-max = 14", "fine"),
    ] {
        let said = said("waiting-max = 8192", limit);
        assert!(said.contains(says), "{limit}: {said}");
    }
}

#[test]
fn the_members_have_bounds() {
    for (key, expected) in [
        ("voters = 2", "members.voters: must be odd, and at most 7"),
        ("voters = 9", "members.voters: must be odd, and at most 7"),
        ("stand-bys = 8", "members.stand-bys: must be at most 7"),
        ("silent-max = \"3s\"", "members.silent-max: must be above members.steady-min"),
    ] {
        let said = said("[limits]", &format!("[members]\n{key}\n[limits]"));
        assert!(said.contains(expected), "{key}: {said}");
    }
}

#[test]
fn the_balance_has_bounds() {
    for (key, says) in [
        ("policy = \"best\"", "unknown variant `best`"),
        ("surplus = 0", "balance.surplus: must be above zero"),
        ("moves-rate = \"0s\"", "balance.moves-rate: must be above zero"),
        ("move-again-after = \"0s\"", "balance.move-again-after: must be above "),
        ("refuse-one-in = 1", "balance.refuse-one-in: must be above 1"),
        ("policy = \"redirect\"", "fine"),
    ] {
        let said = said("[limits]", &format!("[balance]\n{key}\n[limits]"));
        assert!(said.contains(says), "{key}: {said}");
    }
}

#[test]
fn the_surplus_is_sent_on_unless_told_otherwise() {
    let policy = |text: &str| load(text).expect("it is good").controller().balancer.policy;
    assert_eq!(policy(GOOD), Policy::Redirect);
    let none = format!("{GOOD}[balance]\npolicy = \"none\"\n");
    assert_eq!(policy(&none), Policy::None);
    assert_eq!(load(EXAMPLE).expect("it is good").balance, Balance::default());
}

#[test]
fn signed_units_are_named_like_applications() {
    let key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let units = |model: &str, rest: &str| {
        let model = format!("[[signed-units]]\nmodel = \"{model}\"\n");
        load(&format!("{GOOD}{model}{rest}"))
    };
    let here = "deadbeef-0bad-400d-8000-4b1d0d06f00d";
    let rest = |prefix: &str, count: u32, key: &str| {
        let counts = format!("applications = {count}\nunits = {count}\n");
        format!("prefix = \"{prefix}\"\n{counts}public-key = \"{key}\"\n")
    };
    let good = units(here, &rest("agent", 3, key)).expect("it is good");
    assert_eq!(good.restart_keys(&Config { signed: Vec::new(), ..good.clone() }), ["signed-units"]);
    let bad = units("x", &rest("agent-", 0, "00")).expect_err("all of it is wrong");
    for says in [
        "controller.toml:35:9: signed-units.model: no [[model]] has the uuid \"x\"",
        "controller.toml:36:10: signed-units.prefix: \"agent-\" and a number are no name",
        "controller.toml:37:16: signed-units.applications: must be 1 to 1000000",
        "controller.toml:38:9: signed-units.units: must be 1 to 1000",
        "controller.toml:39:14: signed-units.public-key: a key is 32 bytes in hex",
    ] {
        assert!(bad.contains(says), "{says} is not in\n{bad}");
    }
    let twice = format!("{}[[signed-units]]\nmodel = \"{here}\"\n", rest("agent", 3, key));
    let twice = units(here, &format!("{twice}{}", rest("agent", 3, key)));
    assert!(twice.is_err_and(|says| says.contains("agent is given more than once")));
}

#[test]
fn a_model_is_here_or_elsewhere() {
    let elsewhere = "[[moved-model]]\nuuid = \"deadbeef-0bad-400d-8000-4b1d0d06f00d\"\n\
                     api-addresses = []\nca = \"lost.pem\"\ncontroller-uuid = \"x\"\n";
    let error = load(&format!("{GOOD}{elsewhere}")).expect_err("much is wrong with it");
    for says in [
        "controller.toml:35:8: moved-model.uuid: deadbeef-0bad-400d-8000-4b1d0d06f00d is given more",
        "controller.toml:36:17: moved-model.api-addresses: users must be told at least one address",
        "controller.toml:37:6: moved-model.ca: there is no file lost.pem",
        "controller.toml:38:19: moved-model.controller-uuid: \"x\" is not a UUID",
    ] {
        assert!(error.contains(says), "{says} is not in\n{error}");
    }
    let placed = said("name = \"mysql/0\"", "name = \"mysql/0\"\nmachine = \"7\"");
    assert!(
        placed.contains("unit.machine: no [[machine]] of its model has the id \"7\""),
        "{placed}"
    );
}

#[test]
fn an_address_may_say_where_it_leads() {
    let long = "{ address = \"controller-2:17070\", space = \"mgmt\", scope = \"local-cloud\" }";
    let good = load(&GOOD.replacen("\"controller-2:17070\"", long, 1)).expect("it is good");
    let told = good.peers[1].api_addresses[0].host_port();
    assert_eq!((told.joined().as_str(), told.scope), ("controller-2:17070", Scope::LocalCloud));
    assert_eq!(told.space_name.as_deref(), Some("mgmt"));
    let says = |to: &str| said("\"controller-2:17070\"", to);
    let lines = [
        says("17070"),
        says("{ address = \"controller-2\" }"),
        says("{ address = \"c:1\", scope = \"near\" }"),
        says("{ address = \"c:1\", network = \"mgmt\" }"),
    ];
    insta::assert_snapshot!(lines.join("\n"), @r#"
    controller.toml:21:18: peer.api-addresses: invalid type: integer `17070`, expected "host:port" or { address = "host:port", space = "…", scope = "…" }
       |
    21 | api-addresses = [17070]
       |                  ^^^^^
    controller.toml:21:18: peer.api-addresses: "controller-2" is not host:port, such as "10.0.0.1:17070" or "[fd00::1]:17070"
       |
    21 | api-addresses = [{ address = "controller-2" }]
       |                  ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    controller.toml:21:18: peer.api-addresses: `scope` is public, local-cloud, local-fan, local-machine or link-local
       |
    21 | api-addresses = [{ address = "c:1", scope = "near" }]
       |                  ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    controller.toml:21:37: peer.api-addresses.network: unknown key; those known here are address, space, scope
       |
    21 | api-addresses = [{ address = "c:1", network = "mgmt" }]
       |                                     ^^^^^^^
    "#);
}

#[test]
fn what_takes_a_restart_is_named() {
    let good = load(GOOD).expect("it is good");
    let keys = |from: &str, to: &str| {
        let mut other = load(&GOOD.replacen(from, to, 1)).expect("it is good too");
        // Every load of the test has a folder of its own.
        (other.tls, other.data_dir) = (good.tls.clone(), good.data_dir.clone());
        good.restart_keys(&other)
    };
    let none: [&str; 0] = [];
    assert_eq!(keys("\"2s\"", "\"3s\""), none);
    assert_eq!(keys("\"controller-2:17070\"", "\"c:17070\""), none);
    assert_eq!(keys("17071\n", "17075\n"), none);
    assert_eq!(keys("name = \"controller\"", "name = \"other\""), none);
    assert_eq!(keys("waiting-max = 8192", "waiting-max = 9"), ["limits"]);
    assert_eq!(keys("10.0.0.1:17071", "10.0.0.9:17071"), none);
    assert_eq!(keys("mysql/0", "mysql/1"), ["user, unit, machine"]);
    assert_eq!(keys("api-port = 17070", "api-port = 17072"), ["api-port"]);
}
