//! `portcullis front` as it is shipped, before real servers on loopback.

#[path = "front/nodes.rs"]
mod nodes;
#[path = "front/world.rs"]
mod world;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::Command;
use std::thread;

use portcullis::env::Ends;
use portcullis::front::proxy;
use rustix::process::Signal;
use world::{BYE, Backend, Front, Health, configure, plain};

/// How many of the connections each backend has, by name.
fn shares(names: &[u8]) -> [usize; 3] {
    [b'a', b'b', b'c'].map(|name| names.iter().filter(|other| **other == name).count())
}

#[test]
fn the_backend_with_the_fewest_gets_the_next() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let backends = [b'a', b'b', b'c'].map(Backend::start);
    let front = Front::start(folder.path(), &plain(&backends.each_ref()));
    // All three are probed at the start, but answer one after another.
    while front.enter().1 != b'c' {}
    while front.enter().1 != b'a' {}
    while front.enter().1 != b'b' {}
    let (clients, names): (Vec<_>, Vec<_>) = (0..12).map(|_| front.enter()).unzip();
    let even = shares(&names);
    assert!(even.iter().all(|share| (3..=5).contains(share)), "{even:?}");
    // Whoever had the b's leaves, and the next ones go there until it is even again.
    let (left, stayed): (Vec<_>, Vec<_>) =
        clients.into_iter().zip(names).partition(|(_, name)| *name == b'b');
    let count = left.len();
    for (mut client, _) in left {
        client.stream.shutdown(Shutdown::Write).expect("open");
        let mut rest = Vec::new();
        client.stream.read_to_end(&mut rest).expect("open");
        assert_eq!(rest, BYE);
    }
    let (clients, names): (Vec<_>, Vec<_>) = (1..count).map(|_| front.enter()).unzip();
    assert_eq!(shares(&names), [0, count - 1, 0]);
    drop((clients, stayed));
}

#[test]
fn a_killed_backend_gets_nobody_until_it_is_back() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let (a, b) = (Backend::start(b'a'), Backend::start(b'b'));
    let front = Front::start(folder.path(), &plain(&[&a, &b]));
    let mut with_b = loop {
        let (client, name) = front.enter();
        if name == b'b' {
            break client;
        }
    };
    let address = b.address;
    drop(b);
    with_b.is_ended();
    // Nobody is turned away: who is sent to b before it counts as down goes on to a.
    for _ in 0..20 {
        assert_eq!(front.enter().1, b'a');
    }
    let b = Backend::at(address, b'b', 0);
    let (_client, _) = loop {
        let (client, name) = front.enter();
        if name == b'b' {
            break (client, name);
        }
    };
    drop((a, b));
}

#[test]
fn clients_of_the_only_backend_wait_while_it_is_restarted() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let a = Backend::start(b'a');
    let front = Front::start(folder.path(), &plain(&[&a]));
    front.enter();
    let address = a.address;
    drop(a);
    let mut waiting: Vec<_> = (0..8).map(|_| front.knock()).collect();
    assert!(waiting.iter_mut().all(|client| client.hears_nothing()), "they are thrown out");
    let _a = Backend::at(address, b'a', 0);
    for client in &mut waiting {
        assert_eq!(client.name(), b'a');
    }
}

#[test]
fn nobody_is_let_in_before_a_backend_says_that_it_serves() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let a = Backend::start(b'a');
    let health = Health::start(503, "starting\n");
    let backend = format!("[[backend]]\naddress = \"{}\"\n", a.address);
    let probed = format!("health-address = \"{}\"\n", health.address);
    let front = Front::start(folder.path(), &[backend, probed].concat());
    let mut early = front.knock();
    assert!(early.hears_nothing(), "it is connected before the backend is ready");
    health.say(200, "running\n", 2);
    // The same connection: it has waited, and was not turned away.
    assert_eq!(early.name(), b'a');
    early.echoes(b"still here");
    health.say(503, "stopping\n", 2);
    let mut late = front.knock();
    assert!(late.hears_nothing(), "it is connected although the backend stops");
    early.echoes(b"as long as it lives");
}

#[test]
fn a_backend_that_has_more_from_elsewhere_gets_fewer() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let (a, b) = (Backend::start(b'a'), Backend::start(b'b'));
    let busy = Health::start(200, "running\nconnections 1000\n");
    let idle = Health::start(200, "running\nconnections 0\n");
    let table = |backend: &Backend, health: &Health| {
        let (to, at) = (backend.address, health.address);
        format!("[[backend]]\naddress = \"{to}\"\nhealth-address = \"{at}\"\n")
    };
    let config = [table(&a, &busy), table(&b, &idle)].concat();
    let front = Front::start(folder.path(), &config);
    busy.say(200, "running\nconnections 1000\n", 1);
    idle.say(200, "running\nconnections 0\n", 1);
    let (_clients, names): (Vec<_>, Vec<_>) = (0..10).map(|_| front.enter()).unzip();
    assert_eq!(shares(&names), [0, 10, 0]);
}

#[test]
fn a_removed_backend_keeps_its_connections_for_a_while() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let (a, b) = (Backend::start(b'a'), Backend::start(b'b'));
    let limits = "[limits]\ndrain = \"2s\"\n";
    let front = Front::start(folder.path(), &(plain(&[&a]) + limits));
    let (mut with_a, _) = front.enter();
    configure(folder.path(), &(plain(&[&b]) + limits));
    front.signal(Signal::HUP);
    while front.enter().1 != b'b' {}
    with_a.echoes(b"not cut off yet");
    with_a.is_ended();
    // A file that is wrong changes nothing.
    configure(folder.path(), "helath = 1\n");
    front.signal(Signal::HUP);
    assert_eq!(front.enter().1, b'b');
}

#[test]
fn stop_lets_connections_end() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let a = Backend::start(b'a');
    let front = Front::start(folder.path(), &plain(&[&a]));
    let (mut client, _) = front.enter();
    front.signal(Signal::TERM);
    while TcpStream::connect(front.listen).is_ok() {
        thread::yield_now();
    }
    client.echoes(b"one more");
    drop(client);
    assert_eq!(front.ended(), Some(0));
}

#[test]
fn stop_said_twice_is_in_a_hurry() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let a = Backend::start(b'a');
    let front = Front::start(folder.path(), &plain(&[&a]));
    let (mut client, _) = front.enter();
    front.signal(Signal::TERM);
    while TcpStream::connect(front.listen).is_ok() {
        thread::yield_now();
    }
    front.signal(Signal::INT);
    client.is_ended();
    assert_eq!(front.ended(), Some(0));
}

#[test]
fn the_backend_is_told_who_dials() {
    const LOCAL: usize = 16;
    const TCP4: usize = 28;
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let a = Backend::at(any, b'a', TCP4);
    let config = plain(&[&a]) + "proxy-protocol = true\n";
    let front = Front::start(folder.path(), &config);
    let (mut client, _) = front.enter();
    client.echoes(b"hello");
    let from = client.stream.local_addr().expect("open");
    let expected = proxy::header(Some(Ends { from, to: front.listen }));
    assert_eq!(expected.len(), TCP4);
    let probe = proxy::header(None);
    assert_eq!(probe.len(), LOCAL);
    // Each comes from a thread of its own, in any order.
    let (mut probed, mut dialled) = (false, false);
    while !(probed && dialled) {
        let header = a.headers.recv().expect("it serves");
        assert!(header == probe || header == expected, "{header:?}");
        probed |= header == probe;
        dialled |= header == expected;
    }
}

#[test]
fn one_side_may_end_before_the_other() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let a = Backend::start(b'a');
    let front = Front::start(folder.path(), &plain(&[&a]));
    let (mut client, _) = front.enter();
    client.stream.write_all(b"last words").expect("open");
    client.stream.shutdown(Shutdown::Write).expect("open");
    let mut rest = Vec::new();
    client.stream.read_to_end(&mut rest).expect("open");
    assert_eq!(rest, b"last words bye");
}

#[test]
fn a_thousand_talk_at_once() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let backends = [b'a', b'b', b'c'].map(Backend::start);
    let front = Front::start(folder.path(), &plain(&backends.each_ref()));
    while front.enter().1 != b'c' {}
    let mut clients: Vec<_> = (0..1_000).map(|_| front.enter()).collect();
    let names: Vec<_> = clients.iter().map(|(_, name)| *name).collect();
    let shares = shares(&names);
    assert!(shares.iter().all(|share| (320..350).contains(share)), "{shares:?}");
    for (number, (client, _)) in clients.iter_mut().enumerate() {
        let bytes: Vec<u8> = (0..20_000).map(|at| (at * 7 + number) as u8).collect();
        client.echoes(&bytes);
    }
}

#[test]
fn at_the_limit_of_files_clients_wait_outside() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let a = Backend::start(b'a');
    configure(folder.path(), &plain(&[&a]));
    // 96 files are kept for the front itself, so there are 12 connections.
    let script = "ulimit -n 120 && exec \"$0\" front --config \"$@\"";
    let front = Front::run(
        Command::new("sh")
            .args(["-c", script, env!("CARGO_BIN_EXE_portcullis")])
            .arg(folder.path().join("front.toml")),
    );
    let mut inside: Vec<_> = (0..12).map(|_| front.enter().0).collect();
    let mut outside: Vec<_> = (0..30).map(|_| front.knock()).collect();
    assert!(outside[0].hears_nothing(), "there is no room");
    for client in &mut inside {
        client.echoes(b"room for these");
    }
    // Nobody was dropped: as some leave, those outside come in.
    drop(inside);
    while !outside.is_empty() {
        let mut next: Vec<_> = outside.drain(..outside.len().min(12)).collect();
        for client in &mut next {
            assert_eq!(client.name(), b'a');
            client.echoes(b"room at last");
        }
    }
}

#[test]
fn a_front_says_what_its_file_means_or_what_is_wrong_with_it() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let check = |config: &str| {
        let file = folder.path().join("front.toml");
        std::fs::write(&file, config).expect("the folder can be written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        let output = command.args(["front", "--check", "--config"]).arg(&file).output();
        let output = output.expect("the program can be run");
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    let good = "listen = \"127.0.0.1:17070\"\nmetrics-address = \"127.0.0.1:17073\"\n\
                [[backend]]\naddress = \"10.0.0.1:17070\"\nhealth-address = \"10.0.0.1:17071\"\n\
                proxy-protocol = true\n[limits]\nconnections-max = 10\n";
    let (code, said) = check(good);
    assert_eq!(code, Some(0), "{said}");
    for part in [
        "listens on 127.0.0.1:17070, for 10 connections at once",
        "shows /metrics and /health on 127.0.0.1:17073",
        "backend 10.0.0.1:17070, asked for /health at 10.0.0.1:17071, told who dials",
    ] {
        assert!(said.contains(part), "{said}");
    }
    let wrong = [
        (good.replace("17073", "17070"), "front.toml:2:19: metrics-address: has the port of"),
        (good.replace("17073", "x"), "front.toml:2:19: metrics-address: invalid socket address"),
        (good.replace("= 10", "= 0"), "front.toml:8:19: limits.connections-max: must be above"),
        (good.replace(":17071", ""), "front.toml:5:18: backend.health-address: "),
        (good.replace("= true", "= 1"), "front.toml:6:18: "),
        (good.replace("[[backend]]\naddress", "[[backend]]\nadress"), "front.toml:4:1: "),
    ];
    for (config, says) in wrong {
        let (code, said) = check(&config);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(says), "{says}\n{said}");
    }
}
