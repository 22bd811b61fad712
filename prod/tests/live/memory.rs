//! Memory in use: the machine that shuts the door over it must hear of it.

use std::sync::atomic::Ordering;

use crate::world::Cluster;

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_told_when_it_has_changed_by_a_percent() {
    let cluster = Cluster::start(1, |_| {}).await;
    let host = &cluster.hosts[&1];
    // 905 bytes are no news after 900; 910 are.
    for used in [900, 905, 910, 200] {
        host.memory.store(used, Ordering::Relaxed);
        let seen = || async { (host.memory_seen.load(Ordering::Relaxed) == used).then_some(()) };
        host.until("somebody looks", seen).await;
    }
    let told = || async { (host.memory_told.lock().unwrap().last() == Some(&200)).then_some(()) };
    host.until("the machine is told", told).await;
    assert_eq!(*host.memory_told.lock().unwrap(), [100, 900, 910, 200]);
    cluster.stop().await;
}
