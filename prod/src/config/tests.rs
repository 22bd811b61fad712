use std::path::Path;

use portcullis_core::addresses::Scope;
use portcullis_core::balancer::Policy;

use super::*;
use crate::node::At;

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
fn the_pace_is_what_is_asked_for_or_what_the_mode_has() {
    let pace = |lines: &str| {
        let config = load(&GOOD.replacen("[tls]", &format!("{lines}\n[tls]"), 1));
        let pace = config.expect("it is good").pace();
        (pace.burst, pace.interval.as_millis())
    };
    assert_eq!(pace(""), (0, 250));
    assert_eq!(pace("accept = \"paced\""), (10, 250));
    assert_eq!(pace("accept = \"paced\"\nagent-ratelimit-max = 0"), (0, 250));
    assert_eq!(pace("agent-ratelimit-max = 3"), (3, 250));
    assert_eq!(pace("agent-ratelimit-rate = \"1s\""), (10, 1_000));
    let said = said("[tls]", "accept = \"fast\"\n[tls]");
    assert!(said.contains("accept") && said.contains("adaptive"), "{said}");
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
fn without_a_controller_port_there_is_one_door() {
    let config = load(&GOOD.replace("controller-api-port = 17071\n", "")).expect("it is good");
    assert!(!config.controller().listener.controller_door);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Config::load(Path::new("/nowhere/controller.toml")).expect_err("it is not there");
    insta::assert_snapshot!(error, @r#"
    /nowhere/controller.toml: cannot be read: No such file or directory (os error 2)
    "#);
}

#[test]
fn an_unknown_key_is_refused_with_the_likely_one() {
    insta::assert_snapshot!(said("api-port = 17070", "api-prot = 17070"), @r#"
    controller.toml:4:1: api-prot: unknown key; did you mean `api-port`?
      |
    4 | api-prot = 17070
      | ^^^^^^^^
    "#);
}

#[test]
fn an_unknown_key_like_no_other_is_refused_with_all_known_ones() {
    insta::assert_snapshot!(said("name = \"controller\"", "zzz = 1"), @r#"
    controller.toml:28:1: model.zzz: unknown key; those known here are uuid, name
       |
    28 | zzz = 1
       | ^^^
    "#);
}

#[test]
fn a_bad_duration_is_refused() {
    insta::assert_snapshot!(said("\"2s\"", "\"2 sek\""), @r#"
    controller.toml:6:23: api-port-open-delay: "2 sek" is not a duration (unknown time unit "sek", supported units: ns, us/µs, ms, sec, min, hours, days, weeks, months, years (and few variations)); write a number and a unit, such as "250ms"
      |
    6 | api-port-open-delay = "2 sek"
      |                       ^^^^^^^
    "#);
}

#[test]
fn a_wrong_type_is_refused() {
    insta::assert_snapshot!(said("waiting-max = 8192", "waiting-max = \"many\""), @r#"
    controller.toml:24:15: limits.waiting-max: invalid type: string "many", expected a whole number, 0 or more
       |
    24 | waiting-max = "many"
       |               ^^^^^^
    "#);
    insta::assert_snapshot!(said("api-port = 17070", "api-port = 70000"), @r#"
    controller.toml:4:12: api-port: invalid value: integer `70000`, expected a port, 0 to 65535
      |
    4 | api-port = 70000
      |            ^^^^^
    "#);
}

#[test]
fn a_missing_key_is_refused() {
    insta::assert_snapshot!(said("cert = \"cert.pem\"\n", ""), @r#"
    controller.toml:8:1: tls: the key `cert` is missing
      |
    8 | [tls]
      | ^^^^^
    "#);
}

#[test]
fn text_that_is_no_toml_is_refused() {
    insta::assert_snapshot!(said("[tls]", "[tls"), @r#"
    controller.toml:8:5: unclosed table, expected `]`
      |
    8 | [tls
      |     ^
    "#);
    insta::assert_snapshot!(said("api-port = 17070", "data-dir = \"elsewhere\""), @r#"
    controller.toml:4:1: duplicate key
      |
    4 | data-dir = "elsewhere"
      | ^^^^^^^^
    "#);
}

#[test]
fn doors_that_share_a_port_are_refused() {
    insta::assert_snapshot!(said("api-port = 17071", "api-port = 17070"), @r#"
    controller.toml:5:23: controller-api-port: is 17070, as api-port is; the two doors need a port each
      |
    5 | controller-api-port = 17070
      |                       ^^^^^
    "#);
}

#[test]
fn fronts_that_say_who_dials_need_nets_and_a_door_beside_theirs() {
    let keys = "proxy-protocol = [\"10.0.0.0/33\"]\ncontroller-api-port = 17071";
    let wrong = said("controller-api-port = 17071", keys);
    assert!(wrong.starts_with("controller.toml:5:"), "{wrong}");
    assert!(wrong.contains("\"10.0.0.0/33\": an address has 32 bits"), "{wrong}");
    let wrong = said("controller-api-port = 17071", "proxy-protocol = [\"10.0.0.0/8\"]");
    let says = "controller.toml:5:18: proxy-protocol: needs a controller-api-port for peers";
    assert!(wrong.contains(says), "{wrong}");
}

#[test]
fn metrics_need_an_address_of_their_own() {
    let said = |address: &str| {
        said("api-port-open-delay = \"2s\"", &format!("metrics-address = {address:?}"))
    };
    insta::assert_snapshot!(said("127.0.0.1:17070"), @r#"
    controller.toml:6:19: metrics-address: has the port of a door; it needs one of its own
      |
    6 | metrics-address = "127.0.0.1:17070"
      |                   ^^^^^^^^^^^^^^^^^
    "#);
    insta::assert_snapshot!(said("localhost"), @r#"
    controller.toml:6:19: metrics-address: invalid socket address syntax
      |
    6 | metrics-address = "localhost"
      |                   ^^^^^^^^^^^
    "#);
}

#[test]
fn a_missing_file_is_refused() {
    insta::assert_snapshot!(said("\"key.pem\"", "\"lost.pem\""), @r#"
    controller.toml:11:7: tls.key: there is no file lost.pem
       |
    11 | key = "lost.pem"
       |       ^^^^^^^^^^
    "#);
}

#[test]
fn a_file_of_another_host_is_read_without_what_it_names() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let file = folder.path().join("controller.toml");
    fs::write(&file, EXAMPLE).expect("the folder can be written");
    assert!(Config::load(&file).is_err(), "its keys are not here");
    let config = Config::load_elsewhere(&file).expect("it is good");
    assert_eq!(config.peers.len(), 3);
    fs::write(&file, EXAMPLE.replace("batch-max = 1024", "batch-max = 0")).expect("it is ours");
    let error = Config::load_elsewhere(&file).expect_err("nothing could be proposed");
    assert!(error.to_string().contains("limits.batch-max"), "{error}");
}

#[test]
fn all_faults_of_meaning_are_said_at_once() {
    let text = GOOD
        .replace("id = 2", "id = 1")
        .replace("\"[fd00::2]:17071\"", "\"fd00::2\"")
        .replace("api-port-open-delay = \"2s\"", "agent-ratelimit-rate = \"61s\"")
        .replace("waiting-max = 8192", "waiting-max = 0")
        .replace("name = \"mysql/0\"", "name = \"mysql\"")
        .replace("model = \"deadbeef", "model = \"feedbeef")
        .replace("HASH", "secret");
    let error = load(&text).expect_err("much is wrong with it");
    insta::assert_snapshot!(error, @r#"
    controller.toml:6:24: agent-ratelimit-rate: must be above zero and at most 1min
      |
    6 | agent-ratelimit-rate = "61s"
      |                        ^^^^^
    controller.toml:19:6: peer.id: 1 is given more than once
       |
    19 | id = 1
       |      ^
    controller.toml:20:22: peer.controller-address: "fd00::2" is not host:port, such as "10.0.0.1:17070" or "[fd00::1]:17070"
       |
    20 | controller-address = "fd00::2"
       |                      ^^^^^^^^^
    controller.toml:24:15: limits.waiting-max: must be above zero
       |
    24 | waiting-max = 0
       |               ^
    controller.toml:31:8: unit.name: cannot name a user, a unit (such as mysql/0) or a machine (such as 0)
       |
    31 | name = "mysql"
       |        ^^^^^^^
    controller.toml:33:17: unit.password-hash: the hash must be 32 bytes in hex; `portcullis hash-password` makes one
       |
    33 | password-hash = "sha256$0102030405060708$secret"
       |                 ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    controller.toml:32:9: unit.model: no [[model]] has the uuid "feedbeef-0bad-400d-8000-4b1d0d06f00d"
       |
    32 | model = "feedbeef-0bad-400d-8000-4b1d0d06f00d"
       |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#);
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
fn a_file_may_say_where_the_controller_door_is() {
    let keys = "api-port = 17070\nbind-address-file = \"controller.conf\"\n";
    let good = load(&GOOD.replacen("api-port = 17070\n", keys, 1)).expect("it is good");
    assert!(good.bind_address_file.is_some_and(|file| file.ends_with("controller.conf")));
    let one_door = "bind-address-file = \"f\"\ncontroller-api-port = 0\n";
    let says = said("controller-api-port = 17071\n", one_door);
    assert!(says.contains("bind-address-file: needs a controller-api-port for peers"), "{says}");
    let one = "bind-address = \"10.0.0.1\"\nbind-address-file = \"f\"\napi-port = 17070\n";
    let says = said("api-port = 17070\n", one);
    assert!(says.contains("bind-address: must be \"0.0.0.0\" or \"::\" beside"), "{says}");
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

#[test]
fn the_way_to_start_up_follows_from_the_keys() {
    let of = |keys: &str| {
        let text = GOOD.replace("controller-api-port = 17071\n", &format!("{keys}\n"));
        load(&text).unwrap_or_else(|error| panic!("{keys}: {error}"))
    };
    let (port, own) = ("controller-api-port = 17071", "controller-door = \"self\"");
    let (first, socket) = ("controllers-first = true", "controller-socket = \"c.sock\"");
    for (keys, mode) in [
        (String::new(), Mode::OneDoor),
        (first.to_owned(), Mode::ControllersFirst),
        (port.to_owned(), Mode::TwoDoors),
        (format!("{port}\n{first}"), Mode::TwoDoorsControllersFirst),
        (format!("{port}\n{own}"), Mode::OwnPort),
        (socket.to_owned(), Mode::OwnSocket),
        (format!("{socket}\n{own}\n{first}"), Mode::OwnSocket),
    ] {
        let config = of(&keys);
        assert_eq!(config.mode(), mode, "{keys}");
        let doors = config.doors();
        assert_eq!(doors.controllers_first, mode.controllers_first(), "{keys}");
        let own = matches!(mode, Mode::OneDoor | Mode::ControllersFirst);
        assert_eq!(doors.controller.is_none(), own, "{keys}");
        // Every address is dialled, whatever comes first.
        let peer = &config.peers[1];
        assert_eq!(config.addresses(peer).len(), 2, "{keys}");
    }
    let own = of(&format!("{port}\n{own}")).doors().controller;
    assert_eq!(own, Some(At::Port("127.0.0.1:17071".parse().expect("an address"))));
    let socket = of(socket).doors().controller;
    assert!(matches!(socket, Some(At::Socket(path)) if path.ends_with("data/c.sock")));
}

#[test]
fn doors_that_contradict_themselves_are_refused() {
    let long = format!("controller-socket = \"/{}\"", "x".repeat(107));
    for (keys, says) in [
        (
            "controller-api-port = 17071\ncontroller-socket = \"c.sock\"",
            "controller.toml:6:21: controller-socket: is there beside controller-api-port 17071",
        ),
        (
            "controller-socket = \"c.sock\"\ncontroller-door = \"peers\"",
            "controller.toml:6:19: controller-door: is \"peers\", but no other controller can",
        ),
        (
            "controller-door = \"self\"",
            "controller.toml:5:19: controller-door: is \"self\", but there is neither",
        ),
        (
            "controller-api-port = 17071\ncontroller-door = \"self\"\ncontrollers-first = false",
            "controller.toml:7:21: controllers-first: is false, but the controller door is for",
        ),
        (
            "controller-socket = \"c.sock\"\ncontrollers-first = false",
            "controller.toml:6:21: controllers-first: is false, but",
        ),
        ("controller-door = \"all\"", "controller.toml:5:19: controller-door: unknown variant"),
        (&long, "controller.toml:5:21: controller-socket: /x"),
        (&long, "has 108 bytes, and the kernel takes 107; give a shorter path"),
        ("controller-socket = \"../ca.pem\"", "ca.pem is there and no socket; it is left alone"),
        ("ports-file = \"no/such/ports\"", "controller.toml:5:14: ports-file: there is no folder"),
        ("ports-file = \"..\"", "controller.toml:5:14: ports-file: "),
    ] {
        let said = said("controller-api-port = 17071", keys);
        assert!(said.contains(says), "{keys}:\n{said}");
    }
    for key in ["held-within", "lost-max", "drain-max"] {
        let said = said("waiting-max = 8192", &format!("{key} = \"0s\""));
        assert!(
            said.contains(&format!("controller.toml:24:{}: limits.{key}", key.len() + 4)),
            "{said}"
        );
    }
}
