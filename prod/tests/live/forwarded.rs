//! What is asked of one controller and decided by another.

use std::time::Duration;

use portcullis::env::Env;
use portcullis_core::controller::Request;
use portcullis_core::lease::{APPLICATION_LEADERSHIP, Key, Operation};
use portcullis_core::queue::Answer;
use serde_json::json;

use crate::world::{Cluster, MODEL};

fn key(lease: &str) -> Key {
    Key::new(APPLICATION_LEADERSHIP, MODEL, lease)
}

fn claim(lease: &str, duration: Duration) -> Request {
    Request::Apply(Operation::Claim { key: key(lease), holder: "x/0".into(), duration })
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_whose_client_goes_away_leaves_the_leaders_queue() {
    let mut cluster = Cluster::start(3, |config| {
        config.controller.queue.flights_max = 1;
        // An entry for the clock would take along what waits.
        config.controller.clock_interval = MINUTE;
    })
    .await;
    let leader = cluster.leader().await;
    let mut others = cluster.nodes.keys().copied().filter(|id| *id != leader).collect::<Vec<_>>();
    let gone = others.remove(0);
    let near = others.remove(0);
    // From here on the leader needs its own disk for a majority.
    cluster.nodes.remove(&gone).expect("it runs").stop().await;
    assert_eq!(cluster.leader().await, leader, "it stays");
    let (first, second) =
        (cluster.line(near, "user-admin").await, cluster.line(near, "user-admin").await);
    let third = cluster.line(near, "user-admin").await;
    let host = cluster.host.clone();
    let soon = host.soon();
    let waiting = |count: usize| {
        let node = &cluster.nodes[&leader];
        let look = move || async move { (node.status().await?.waiting == count).then_some(()) };
        host.until("as many wait at the leader", look)
    };
    let gate = cluster.hosts[&leader].gate.clone();
    gate.set(true);

    let (in_flight, hurried) = (claim("in-flight", MINUTE), claim("hurried", MINUTE));
    let (recalled, patience) = (claim("recalled", MINUTE), Duration::from_secs(20));
    let asked = first.ask(&in_flight, patience, soon);
    let flying = || async { (cluster.nodes[&leader].status().await?.in_flight > 0).then_some(()) };
    // Its patience travels with it: the leader gives it up by its own clock.
    let hasty = async {
        host.until("one is in flight", flying).await;
        third.ask(&hurried, Duration::from_secs(2), soon).await
    };
    let goes = async {
        host.until("one is in flight", flying).await;
        tokio::select! {
            biased;
            answer = second.ask(&recalled, patience, soon) => panic!("answered: {answer:?}"),
            () = waiting(2) => {}
        }
        drop(second);
        waiting(1).await;
        waiting(0).await;
        gate.set(false);
    };
    let (granted, expired, ()) = tokio::join!(asked, hasty, goes);
    assert!(matches!(granted, Ok(Answer::Done { .. })), "{granted:?}");
    assert_eq!(expired, Ok(Answer::Expired));
    let list = first.leases(None, Some(MODEL), None, soon).await.expect("a list");
    let held: Vec<&str> = list.leases.iter().map(|one| one.named.lease.as_str()).collect();
    assert_eq!(held, ["in-flight"], "what nobody waited for is not done later");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_stops_hands_over_and_waits_elsewhere_go_on() {
    // Whoever takes over sooner than this was not elected for the leader's silence.
    let silence = Duration::from_secs(4);
    let mut cluster = Cluster::start(3, |config| {
        config.raft.election = (silence, silence + Duration::from_secs(1));
    })
    .await;
    let leader = cluster.leader().await;
    let near = *cluster.nodes.keys().find(|id| **id != leader).expect("three run");
    let (holder, waiter) =
        (cluster.line(near, "user-admin").await, cluster.line(near, "unit-mysql-0").await);
    let (host, soon) = (cluster.host.clone(), cluster.host.soon());
    let claimed = holder.ask(&claim("mysql", MINUTE), MINUTE, soon).await;
    assert!(matches!(claimed, Ok(Answer::Done { .. })), "{claimed:?}");

    let wish = Request::Wait(key("mysql"));
    let wait = waiter.ask(&wish, MINUTE, soon);
    let change = async {
        let parked = || async { (cluster.nodes[&near].status().await?.parked == 1).then_some(()) };
        host.until("it is parked", parked).await;
        let stopped = cluster.nodes.remove(&leader).expect("it runs");
        let before = host.now();
        tokio::join!(stopped.stop(), async {
            let other = || async {
                let leads = cluster.nodes[&near].status().await?.leader?;
                (leads.0 != leader).then_some(())
            };
            host.until("another leads", other).await;
            let took = host.now().since(before);
            assert!(took < silence / 2, "elected after {took:?}, not handed over");
        });
        assert_eq!(cluster.nodes[&near].status().await.expect("it runs").parked, 1, "it waits on");
        let revoke = Operation::Revoke { key: key("mysql"), holder: "x/0".into() };
        holder.ask(&Request::Apply(revoke), MINUTE, soon).await
    };
    let (waited, revoked) = tokio::join!(wait, change);
    assert!(matches!(revoked, Ok(Answer::Done { .. })), "{revoked:?}");
    assert_eq!(waited, Ok(Answer::Released));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pinned_leadership_outlives_its_time() {
    let cluster = Cluster::start(3, |_| ()).await;
    let leader = cluster.leader().await;
    let mut others = cluster.nodes.keys().copied().filter(|id| *id != leader);
    let (near, far) = (others.next().expect("three run"), others.next().expect("three run"));
    let admin = cluster.line(far, "user-admin").await;
    let (machine, witness) =
        (cluster.line(near, "machine-1").await, cluster.line(far, "machine-2").await);
    let soon = cluster.host.soon();
    let call = |line, method| {
        let line: &portcullis::client::wire::Line = line;
        line.call("UpgradeSeries", 3, method, json!({}), Some(soon))
    };
    let named = Ok(json!({ "results": [{ "application-name": "mysql" }] }));
    assert_eq!(call(&machine, "PinMachineApplications").await, named);
    let pinned = call(&witness, "PinnedLeadership").await;
    assert_eq!(pinned, Ok(json!({ "result": { "mysql": ["machine-1"] } })), "seen everywhere");

    let second = Duration::from_secs(1);
    for lease in ["mysql", "other"] {
        let granted = admin.ask(&claim(lease, second), MINUTE, soon).await;
        assert!(matches!(granted, Ok(Answer::Done { .. })), "{granted:?}");
    }
    let other = admin.ask(&Request::Wait(key("other")), MINUTE, soon).await;
    assert_eq!(other, Ok(Answer::Released));
    let list = admin.leases(None, None, None, soon).await.expect("a list");
    assert_eq!(list.leases.len(), 1, "it was claimed no later");
    assert_eq!(list.leases[0].named.lease, "mysql");
    assert_eq!(call(&machine, "UnpinMachineApplications").await, named);
    let released = admin.ask(&Request::Wait(key("mysql")), MINUTE, soon).await;
    assert_eq!(released, Ok(Answer::Released), "its time was over long ago");
    cluster.stop().await;
}
