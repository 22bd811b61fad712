//! How a controller stops: agents first, then the lead, then what is left.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use portcullis_core::NodeId;
use portcullis_core::controller::Input;
use tracing::{info, warn};

use super::members;
use super::serve::Serve;
use crate::env::Env;

/// Longest wait for another controller to take the lead over when this one stops.
const HAND_OVER_WITHIN: Duration = Duration::from_secs(5);
/// Longest time beyond `drain_max` until the machine has said that nothing is left.
const STOPPED_WITHIN: Duration = Duration::from_secs(1);
/// How often it is looked at whether agents are left.
const LEFT_LOOKED_AT: Duration = Duration::from_millis(50);
/// How often the heir of the lead is looked at while it takes over.
pub const HEIR_LOOKED_AT: Duration = Duration::from_millis(100);

/// Shuts the doors, lets agents go and asks under way end, hands the lead over, closes what connections
/// are left, and the log. Where the members are cared for (`members::start`), that hands over.
pub async fn stop<E: Env>(serve: Arc<Serve<E>>, cared_for: bool) {
    serve.stopping.cancel();
    info!("stopping: agents are sent away, asks under way may end");
    serve.tell(Input::Stopping).await;
    // The machine bounds this by its `drain_max`; whoever does not answer at all is not waited
    // for.
    let until = serve.env.now() + serve.limits.drain_max + STOPPED_WITHIN;
    tokio::select! {
        biased;
        () = serve.stopped.cancelled() => info!("nobody is served any more"),
        () = left_alone(&serve) => info!("every agent is gone"),
        () = serve.env.sleep_until(until) => warn!("some would not go in time"),
    }
    let until = serve.env.now() + HAND_OVER_WITHIN;
    let handed_over = async {
        match cared_for {
            true => members::step_back(&serve).await,
            false => hand_over(&serve).await,
        }
    };
    tokio::select! {
        biased;
        () = handed_over => {}
        () = serve.env.sleep_until(until) => warn!("nobody took over in time"),
    }
    serve.closing.cancel();
    if let Err(error) = serve.raft.shutdown().await {
        warn!(%error, "the log did not close well");
    }
    info!("stopped");
}

/// Returns once no agent is left: whom other controllers ask for is better off with the next leader.
async fn left_alone<E: Env>(serve: &Serve<E>) {
    while serve.status().await.and_then(|status| status.draining) != Some(0) {
        serve.env.sleep_until(serve.env.now() + LEFT_LOOKED_AT).await;
    }
}

/// If this controller leads, makes the voter that has most of the log lead instead. Gives up when
/// that one goes too, as it does when all stop together.
async fn hand_over<E: Env>(serve: &Serve<E>) {
    let mut metrics = serve.raft.metrics();
    let heir = {
        let metrics = metrics.borrow_watched();
        let matching = metrics.replication.iter().flatten();
        let voters: BTreeSet<u64> = metrics.membership_config.membership().voter_ids().collect();
        let others = matching.filter(|(node, _)| **node != metrics.id && voters.contains(*node));
        let reached = others.filter(|(node, _)| serve.peers.reaches(NodeId(**node)));
        reached.max_by_key(|(_, matched)| **matched).map(|(node, _)| *node)
    };
    let Some(heir) = heir else { return };
    if serve.raft.trigger().transfer_leader(heir).await.is_err() {
        return;
    }
    let taken_over = |leader: Option<u64>| leader == Some(heir);
    while !taken_over(metrics.borrow_watched().current_leader) && serve.peers.reaches(NodeId(heir))
    {
        let soon = serve.env.now() + HEIR_LOOKED_AT;
        tokio::select! {
            biased;
            changed = metrics.changed() => if changed.is_err() { return },
            () = serve.env.sleep_until(soon) => {}
        }
    }
}
