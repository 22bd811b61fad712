//! What must run once, within controllers (seed 003).

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
            let shown: Vec<_> = status.responsible.iter().map(|one| one.fence).collect();
            assert_eq!(shown, [fences.last().copied()]);
            one.release().await;
        }
        striving = others;
    }
    assert!(fences.is_sorted_by(|one, next| one < next), "{fences:?}");
    cluster.stop().await;
}
