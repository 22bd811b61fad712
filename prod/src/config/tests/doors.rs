//! The keys that say where the doors are, who comes through which, and how fast.

use super::{GOOD, Mode, load, said};
use crate::node::At;

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
fn without_a_controller_port_there_is_one_door() {
    let config = load(&GOOD.replace("controller-api-port = 17071\n", "")).expect("it is good");
    assert!(!config.controller().listener.controller_door);
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
