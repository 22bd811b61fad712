//! Controller doors that are bound where a file says: one that comes late, is wrong, and moves.

use std::fs;
use std::io;
use std::path::PathBuf;

use portcullis::env::Env;
use portcullis_core::Address;
use rustix::process::Signal;
use serde_json::json;

use crate::processes::Processes;

const BOUND: &str = "api-port = API\ncontroller-api-port = CONTROLLER\n\
                     bind-address-file = \"controller.conf\"";

/// Controllers that wait for their files.
fn prepare(count: u64) -> Processes {
    let all = Processes::prepare(count);
    (1..=count).for_each(|id| all.write(id, BOUND));
    all
}

fn file(all: &Processes, id: u64) -> PathBuf {
    all.home(id).join("controller.conf")
}

/// Writes a controller's file in place, as whoever does not know better.
fn say(all: &Processes, id: u64, text: &str) {
    fs::write(file(all, id), text).expect("the folder can be written");
}

/// What the charm writes for controllers that are all at addresses of this machine: the last number
/// of each.
fn charmed(hosts: &[(u64, u8)]) -> String {
    let line = |(id, host): &(u64, u8)| format!("  controller/{id}: 127.0.0.{host}\n");
    format!("db-bind-addresses:\n{}", hosts.iter().map(line).collect::<String>())
}

/// Waits until the controller's door is at this address of this machine, and gives it.
async fn bound(all: &Processes, id: u64, host: u8) -> String {
    let at = || async {
        let at = all.told(id, "controller-api-port").await;
        at.starts_with(&format!("127.0.0.{host}:")).then_some(at)
    };
    all.until(id, "the door is where the file says", at).await
}

/// Waits until somebody who is in at the controller is told of these addresses, in any order.
async fn told(all: &Processes, id: u64, expected: &[String]) {
    let api = all.api(id);
    let line = all.until(id, "somebody comes in", || all.enter(&api, "unit-mysql-0")).await;
    let mut expected = expected.to_vec();
    expected.sort();
    let soon = Some(all.host.soon());
    let look = || async {
        let said = line.call("Uniter", 18, "APIAddresses", json!({}), soon).await.ok()?;
        let said = said["result"].as_array()?.iter().filter_map(|one| one.as_str());
        let mut said: Vec<String> = said.map(str::to_owned).collect();
        said.sort();
        (said == expected).then_some(())
    };
    all.until(id, &format!("told of {expected:?}"), look).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_waits_for_its_address_and_says_so() {
    let mut all = prepare(1);
    all.start(1);
    let health = all.health(1, 503, "controller.conf: there is no file yet").await;
    assert!(health.starts_with("starting\nwaits bind-address\n"), "{health}");
    let waits = |name: &'static str| all.figure(1, name);
    assert_eq!(waits("portcullis_condition{condition=\"bind-address\"}").await, Some(0.0));
    assert_eq!(waits("portcullis_bind_address_lack{reason=\"no-file\"}").await, Some(1.0));
    assert_eq!(waits("portcullis_door_open{door=\"controller\"}").await, Some(0.0));
    assert_eq!(all.log(1).matches("there is no file yet").count(), 1, "{}", all.log(1));
    all.signal(1, Signal::TERM);
    assert!(all.ended(1).await.success(), "{}", all.log(1));

    all.start(1);
    say(&all, 1, "db-bind-addresses:\n  controller/1: 127.0.0.");
    all.health(1, 503, "controller.conf:2:17: db-bind-addresses.controller/1: ").await;
    say(&all, 1, &charmed(&[(1, 2)]));
    let health = all.health(1, 200, "holds bind-address").await;
    assert!(!health.contains("\nbind-address "), "nothing is wrong with it any more: {health}");
    bound(&all, 1, 2).await;
    let api = all.api(1);
    all.until(1, "an agent comes in", || all.enter(&api, "unit-mysql-0")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_wrong_with_the_file_is_said_and_waited_out() {
    let mut all = prepare(1);
    all.start(1);
    let both = "db-bind-addresses: {controller/1: [127.0.0.2, 127.0.0.3]}";
    let wrong = [
        ("db-bind-addresses: {a/1: 127.0.0.1", "controller.conf:1:"),
        ("db-bind-addresses: {b/2: 127.0.0.1}", "the file has no address for this controller"),
        (both, "in the local cloud: 127.0.0.2 (local-machine), 127.0.0.3 (local-machine)"),
        ("db-bind-addresses: {controller/1: 169.254.0.9}", "can reach 169.254.0.9 (link-local)"),
    ];
    for (text, says) in wrong {
        say(&all, 1, text);
        all.health(1, 503, says).await;
    }
    say(&all, 1, &"#".repeat(100_000));
    all.health(1, 503, "it is longer than 65536 bytes").await;
    fs::remove_file(file(&all, 1)).expect("it is there");
    fs::create_dir(file(&all, 1)).expect("the folder can be written");
    all.health(1, 503, "it is a folder, not a file").await;
    fs::remove_dir(file(&all, 1)).expect("it is empty");
    all.health(1, 503, "there is no file yet").await;
    unreadable(&all).await;
    say(&all, 1, &charmed(&[(1, 1)]));
    all.health(1, 200, "running").await;
}

/// A file that may not be read is said so, and read once it may be: nothing else of it changes.
async fn unreadable(all: &Processes) {
    use std::os::unix::fs::PermissionsExt;

    let mode = |mode| {
        fs::set_permissions(file(all, 1), fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    say(all, 1, "db-bind-addresses: {controller/1: 169.254.0.8}");
    mode(0);
    // Root may read whatever there is.
    if fs::read(file(all, 1)).is_err() {
        all.health(1, 503, "controller.conf: cannot be read: Permission denied").await;
    }
    mode(0o600);
    all.health(1, 503, "can reach 169.254.0.8 (link-local)").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doors_move_while_everything_runs_and_nobody_is_cut() {
    let mut all = prepare(3);
    for id in 1..=3 {
        say(&all, id, &charmed(&[(id, 1)]));
        all.start(id);
    }
    let mut agents = Vec::new();
    for id in 1..=3 {
        all.health(id, 200, "running").await;
        let api = all.api(id);
        agents.push(all.until(id, "somebody in", || all.enter(&api, "unit-mysql-0")).await);
    }
    all.linked().await;
    let led = all.led().await;
    let (leader, other) = (led.0, led.0 % 3 + 1);
    for (id, host) in [(leader, 2), (other, 3)] {
        let former = bound(&all, id, 1).await;
        say(&all, id, &charmed(&[(id, host)]));
        bound(&all, id, host).await;
        let refused = || async {
            let dialled = all.host.connect(&Address::new(&former)).await;
            let refused = dialled.err()?.kind() == io::ErrorKind::ConnectionRefused;
            refused.then_some(())
        };
        all.until(id, "the former door is shut", refused).await;
    }
    // Each controller tells where the others are by what the log says.
    let host = |id| {
        if id == leader {
            2
        } else if id == other {
            3
        } else {
            1
        }
    };
    let at = |id| all.api(id).replace("127.0.0.1", &format!("127.0.0.{}", host(id)));
    let expected: Vec<String> = (1..=3).map(at).collect();
    for id in 1..=3 {
        told(&all, id, &expected).await;
    }
    all.linked().await;
    assert_eq!(all.led().await, led, "the leader stays");
    for agent in &agents {
        agent.ping(all.host.soon()).await.expect("nobody is cut");
    }

    fs::remove_file(file(&all, leader)).expect("it is there");
    let says = |says: &'static str| {
        let all = &all;
        move || async move { all.log(leader).contains(says).then_some(()) }
    };
    all.until(leader, "it says so", says("there is no file yet; the address stays")).await;
    say(&all, leader, "db-bind-add");
    all.until(leader, "it says so", says("controller.conf:1:1: expected mapping start")).await;
    say(&all, leader, &charmed(&[(leader, 2)]));
    let mended = || async {
        let (_, health) = all.page(leader, "/health").await?;
        (!health.contains("\nbind-address ")).then_some(())
    };
    all.until(leader, "nothing is wrong with the file", mended).await;
    let log = all.log(leader);
    assert_eq!(log.matches("there is no file yet; the address stays").count(), 1, "{log}");
    all.health(leader, 200, "holds bind-address").await;
    bound(&all, leader, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_moved_as_a_whole_finds_itself_by_the_file() {
    let mut all = prepare(3);
    for id in 1..=3 {
        say(&all, id, &charmed(&[(id, 1)]));
        all.start(id);
    }
    for id in 1..=3 {
        all.health(id, 200, "running").await;
    }
    for id in 1..=3 {
        all.signal(id, Signal::KILL);
    }
    for id in 1..=3 {
        all.ended(id).await;
        say(&all, id, &charmed(&[(1, 2), (2, 3), (3, 4)]));
    }
    // Neither the log nor the configuration knows of any of these.
    for id in 1..=3 {
        all.start(id);
    }
    for id in 1..=3 {
        bound(&all, id, id as u8 + 1).await;
        all.health(id, 200, "running").await;
    }
    all.linked().await;
    let at = |id: u64| all.api(id).replace("127.0.0.1", &format!("127.0.0.{}", id + 1));
    let expected: Vec<String> = (1..=3).map(at).collect();
    told(&all, 1, &expected).await;
}
