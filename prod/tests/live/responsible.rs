//! What must run once, within controllers (seed 003).

use portcullis::node::members::Membership;
use portcullis::node::{GLOBAL_CLOCK_UPDATER, RAFT_LEADERSHIP, ROLE_ADJUSTER};
use portcullis_core::lease::SINGULAR_CONTROLLER;

use crate::world::Cluster;

#[tokio::test(flavor = "multi_thread")]
async fn one_controller_is_responsible_and_another_once_it_has_left() {
    let cluster = Cluster::start(3, |_| {}).await;
    cluster.leader().await;
    let strive = |id: &u64| cluster.nodes[id].responsible(SINGULAR_CONTROLLER, "provisioner");
    let mut striving: Vec<_> = cluster.nodes.keys().map(|id| (*id, strive(id))).collect();
    let mut fences = Vec::new();
    while !striving.is_empty() {
        let raised = || async {
            let raised = striving.iter().filter_map(|(_, one)| *one.flag().borrow());
            raised.map(|flag| flag.fence).next_back()
        };
        fences.push(cluster.host.until("one is responsible", raised).await);
        let (responsible, others): (Vec<_>, Vec<_>) =
            striving.into_iter().partition(|(_, one)| one.flag().borrow().is_some());
        assert_eq!(responsible.len(), 1, "it must run once");
        for (id, one) in responsible {
            let line = cluster.line(id, "user-admin").await;
            let status = line.status(cluster.host.soon()).await.expect("it answers");
            let leased =
                status.responsible.iter().filter(|one| one.namespace == SINGULAR_CONTROLLER);
            let shown: Vec<_> = leased.map(|one| one.fence).collect();
            assert_eq!(shown, [fences.last().copied()]);
            one.release().await;
        }
        striving = others;
    }
    assert!(fences.is_sorted_by(|one, next| one < next), "{fences:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_where_the_leader_is_moves_with_it() {
    let mut cluster = Cluster::start(3, |config| {
        config.membership = Some(Membership::new(config.controller.node))
    })
    .await;
    let mut terms = Vec::new();
    while terms.len() < 2 {
        let leader = cluster.leader().await;
        let mut lines = Vec::new();
        for id in cluster.nodes.keys() {
            lines.push((*id, cluster.line(*id, "user-admin").await));
        }
        let shown = || async {
            let mut shown = Vec::new();
            for (id, line) in &lines {
                let status = line.status(cluster.host.soon()).await.ok()?;
                let led = status.responsible.into_iter();
                let led = led.filter(|one| one.namespace == RAFT_LEADERSHIP);
                shown.extend(led.filter_map(|one| Some((*id, one.lease, one.fence?))));
            }
            (shown.len() == 2).then_some(shown)
        };
        let shown = cluster.host.until("the leader runs both", shown).await;
        let term = shown[0].2;
        let each = [GLOBAL_CLOCK_UPDATER, ROLE_ADJUSTER];
        assert_eq!(shown, each.map(|name| (leader, name.to_owned(), term)));
        terms.push(term);
        if terms.len() == 1 {
            cluster.nodes.remove(&leader).expect("it runs").stop().await;
        }
    }
    assert!(terms[0] < terms[1], "{terms:?}");
    cluster.stop().await;
}
