//! The ways in which controllers start up: each lets its own kind in first, and can be changed into
//! another while it runs.

use std::time::Duration;

use portcullis::env::Env;
use rustix::process::Signal;

use crate::processes::Processes;

const ONE_DOOR: &str = "api-port = API";
const CONTROLLERS_FIRST: &str = "api-port = API\ncontrollers-first = true";
const TWO_DOORS: &str = "api-port = API\ncontroller-api-port = CONTROLLER";
const OWN_PORT: &str =
    "api-port = API\ncontroller-api-port = CONTROLLER\ncontroller-door = \"self\"";
const OWN_SOCKET: &str = "api-port = API\ncontroller-socket = \"controller.sock\"";

/// Starts three controllers, and sees that an agent that comes to the first one before it could
/// serve anybody is let in later, and not before.
async fn starts(keys: &str) -> Processes {
    let mut all = Processes::prepare(3);
    (1..=3).for_each(|id| all.write(id, keys));
    all.start(1);
    // Alone it knows no leader, whatever it reaches.
    let waits = all.health(1, 503, "waits led").await;
    assert!(waits.starts_with("starting"), "{waits}");
    let api = all.api(1);
    {
        let early = all.enter(&api, "unit-mysql-0");
        let moment = all.host.sleep_until(all.host.now() + Duration::from_millis(300));
        tokio::select! {
            biased;
            // At a door that is not bound, nobody is even held.
            line = early => assert!(line.is_none(), "let in before anybody led"),
            () = moment => {}
        }
    }
    all.start(2);
    all.start(3);
    for id in 1..=3 {
        all.health(id, 200, "running").await;
        let api = all.api(id);
        all.until(id, "an agent comes in", || all.enter(&api, "unit-mysql-0")).await;
    }
    all.linked().await;
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn controllers_go_first_at_one_door() {
    starts(CONTROLLERS_FIRST).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn controllers_have_a_door_of_their_own() {
    starts(TWO_DOORS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_has_a_port_for_itself() {
    starts(OWN_PORT).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_has_a_socket_for_itself() {
    starts(OWN_SOCKET).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ways_are_changed_live_and_nobody_loses_the_lead() {
    let mut all = Processes::prepare(3);
    for id in 1..=3 {
        all.write(id, ONE_DOOR);
        all.start(id);
    }
    for id in 1..=3 {
        all.health(id, 200, "running").await;
    }
    all.linked().await;
    let led = all.led().await;
    let enter = async |id| {
        let api = all.api(id);
        all.until(id, "an agent", || all.enter(&api, "unit-mysql-0")).await
    };
    let line = enter(1).await;
    for keys in [TWO_DOORS, CONTROLLERS_FIRST, OWN_SOCKET, OWN_PORT, TWO_DOORS, ONE_DOOR] {
        for id in 1..=3 {
            all.write(id, keys);
            let reloads = all.log(id).matches("configuration reloaded").count();
            all.signal(id, Signal::HUP);
            let reloaded = || async {
                let count = all.log(id).matches("configuration reloaded").count();
                (count > reloads).then_some(())
            };
            all.until(id, "a reload", reloaded).await;
            let own = keys.contains("CONTROLLER") || keys.contains("controller-socket");
            let door = || async {
                let name = "portcullis_door_open{door=\"controller\"}";
                (all.figure(id, name).await? == f64::from(u8::from(own))).then_some(())
            };
            all.until(id, "the controller door", door).await;
            all.health(id, 200, "running").await;
        }
        all.linked().await;
        assert_eq!(all.led().await, led, "after {keys}");
        for id in 1..=3 {
            enter(id).await;
        }
    }
    line.ping(all.host.soon()).await.expect("the agent was never cut");
    let warned: Vec<_> = (1..=3).map(|id| all.log(id)).collect();
    assert!(warned.iter().all(|log| !log.contains("takes a restart")), "{warned:?}");
}
