//! A controller that is told to stop: what is under way ends well, and then so does the process.

use std::time::Duration;

use futures_util::future::join_all;
use portcullis_core::controller::Request;
use portcullis_core::lease::{APPLICATION_LEADERSHIP, Key, Operation};
use portcullis_core::queue::Answer;
use rustix::process::Signal;

use crate::processes::Processes;
use crate::world::{Cluster, MODEL};

const TWO_DOORS: &str = "api-port = API\ncontroller-api-port = CONTROLLER";
const MINUTE: Duration = Duration::from_secs(60);

fn claim(lease: &str) -> Request {
    let key = Key::new(APPLICATION_LEADERSHIP, MODEL, lease);
    Request::Apply(Operation::Claim { key, holder: "mysql/0".into(), duration: MINUTE })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_flight_is_answered_before_anybody_goes() {
    let mut cluster = Cluster::start(1, |config| config.controller.drain_max = MINUTE).await;
    let (host, soon) = (cluster.host.clone(), cluster.host.soon());
    let line = cluster.line(1, "user-admin").await;
    let gate = cluster.hosts[&1].gate.clone();
    gate.set(true);
    let claims: Vec<Request> = (0..32).map(|number| claim(&format!("app{number}"))).collect();
    let answers = join_all(claims.iter().map(|claim| line.ask(claim, MINUTE, soon)));
    let node = cluster.nodes.remove(&1).expect("it runs");
    let stops = async {
        let asked = || async { (node.status().await?.asks == claims.len()).then_some(()) };
        host.until("all are under way", asked).await;
        let mut ports = node.ports();
        let shut = async {
            ports.wait_for(|ports| ports.api.is_none()).await.expect("it runs");
            // Nobody comes in any more, and everything that was asked for is still under way.
            gate.set(false);
        };
        tokio::join!(node.stop(), shut)
    };
    let (answers, _) = tokio::join!(answers, stops);
    for answer in answers {
        assert!(matches!(answer, Ok(Answer::Done { .. })), "{answer:?}");
    }
    line.gone().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_terminated_hands_over_and_exits_with_0() {
    let mut all = Processes::prepare(3);
    for id in 1..=3 {
        all.write(id, TWO_DOORS);
        all.start(id);
    }
    for id in 1..=3 {
        all.health(id, 200, "running").await;
    }
    all.linked().await;
    let (leader, _) = all.led().await;
    let api = all.api(leader);
    let line = all.until(leader, "a login", || all.enter(&api, "unit-mysql-0")).await;
    all.signal(leader, Signal::TERM);
    assert_eq!(all.ended(leader).await.code(), Some(0), "{}", all.log(leader));
    line.gone().await;
    let log = all.log(leader);
    assert!(log.contains("stopping: agents are sent away"), "{log}");
    assert!(!log.contains("WARN portcullis"), "it needs nobody's help: {log}");
    assert_ne!(all.led().await.0, leader, "somebody else leads");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_it_at_once() {
    let mut all = Processes::prepare(2);
    for id in 1..=2 {
        // Nobody takes the lead over from the one that is left alone, for 5 s at least.
        all.write(id, TWO_DOORS);
        all.start(id);
    }
    for id in 1..=2 {
        all.health(id, 200, "running").await;
    }
    all.linked().await;
    let (leader, _) = all.led().await;
    all.signal(3 - leader, Signal::STOP);
    all.signal(leader, Signal::TERM);
    let stopping = || async { all.log(leader).contains("terminated, stopping").then_some(()) };
    all.until(leader, "stopping", stopping).await;
    all.signal(leader, Signal::TERM);
    assert_eq!(all.ended(leader).await.code(), Some(0), "{}", all.log(leader));
}
