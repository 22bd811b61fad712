//! What the machine is told of, as long as the controller runs: links, roles, the log, memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use portcullis_core::NodeId;
use portcullis_core::controller::Input;
use tokio::sync::watch;
use tracing::{info, warn};

use super::own;
use super::serve::Serve;
use crate::env::Env;
use crate::raft::{Role, Roles};

/// Time from one look at the memory in use to the next: a herd of 1,000 connections a second takes
/// a few MiB in it.
const MEMORY_EVERY: Duration = Duration::from_millis(250);
/// Time from one asking how far the leader has committed to the next: a controller that has caught up
/// is behind again only by `readiness::Config::behind_max` entries, which takes seconds.
const COMMITTED_EVERY: Duration = Duration::from_secs(5);
/// The same while the leader is not known, or has not answered: short, for agents wait for it.
const COMMITTED_AGAIN: Duration = Duration::from_millis(100);

/// Tells the machine of every link that is made whether there is a connection.
pub async fn linked<E: Env>(serve: Arc<Serve<E>>) {
    let mut changes = serve.peers.changes();
    let mut told: BTreeMap<NodeId, watch::Receiver<bool>> = BTreeMap::new();
    loop {
        changes.mark_unchanged();
        let now: BTreeMap<_, _> = serve.peers.all().map(|(to, link)| (to, link.watch())).collect();
        for (&to, up) in &now {
            if !told.get(&to).is_some_and(|known| known.same_channel(up)) {
                let told = reached(serve.clone(), to, up.clone());
                serve.env.spawn(serve.clone().until_closing(told));
            }
        }
        told = now;
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Tells the machine whether there is a connection to a controller, at every change, until its link
/// is dropped. It may have another one by then, and that one counts.
async fn reached<E: Env>(serve: Arc<Serve<E>>, to: NodeId, mut up: watch::Receiver<bool>) {
    loop {
        up.borrow_and_update();
        let dropped = up.has_changed().is_err();
        serve.tell(Input::Linked { to, up: serve.peers.reaches(to) }).await;
        if dropped {
            return;
        }
        // Dropped: once more.
        let _ = up.changed().await;
    }
}

/// Tells the machine who leads, at every change.
pub async fn roles<E: Env>(serve: Arc<Serve<E>>) {
    let mut roles = Roles::new(&serve.raft);
    while let Some(role) = roles.next().await {
        let input = match role {
            Role::Leader { term } => {
                info!(term, "leading");
                Input::Led { global: serve.leases.view().now() }
            }
            Role::Follower { leader } => {
                info!(leader = leader.map(|leader| leader.0), "following");
                Input::Followed { leader }
            }
        };
        serve.tell(input).await;
    }
}

/// Shows that the clock is moved here while this controller leads. The machine does it itself: every
/// entry of a leader carries the time, so there is no leading without moving the clock.
pub async fn tell_of_clock<E: Env>(serve: Arc<Serve<E>>) {
    let _responsible = own::leading(&serve, own::GLOBAL_CLOCK_UPDATER);
    std::future::pending().await
}

/// Tells the machine how far the leader's log is committed: at once when there is one, so that this
/// controller knows what it lacks, and from then on now and then.
pub async fn committed<E: Env>(serve: Arc<Serve<E>>) {
    loop {
        let leader = serve.raft.metrics().borrow_watched().current_leader;
        let wait = match leader {
            Some(leader) if leader == serve.node.0 => COMMITTED_EVERY,
            None => COMMITTED_AGAIN,
            Some(_) => match serve.read_index().await {
                Some(index) => {
                    serve.tell(Input::Committing { index }).await;
                    COMMITTED_EVERY
                }
                None => COMMITTED_AGAIN,
            },
        };
        serve.env.sleep_until(serve.env.now() + wait).await;
    }
}

/// Tells the machine how much memory there is in use, so that its door shuts before the kernel
/// kills (seed 001). A percent of the limit more or less is no news.
pub async fn memory<E: Env>(serve: Arc<Serve<E>>) {
    let mut told = 0;
    while let Some((used, limit)) = serve.env.memory() {
        if used.abs_diff(told) >= limit / 100 {
            told = used;
            serve.tell(Input::Memory { used, limit }).await;
        }
        serve.env.sleep_until(serve.env.now() + MEMORY_EVERY).await;
    }
}

/// Lets nobody be led before what was granted after the backup is over that this was restored from.
pub async fn keep_quiet<E: Env>(serve: Arc<Serve<E>>, quiet: Duration) {
    warn!(?quiet, "restored from a backup: nobody leads until every lease granted since is over");
    serve.env.sleep_until(serve.env.now() + quiet).await;
    if let Err(error) = serve.store.end_quiet().await {
        // The log fails with it, and that ends the node.
        warn!(%error, "it cannot be noted that the wait is over");
        return;
    }
    serve.raft.runtime_config().elect(true);
    info!("the wait after the restore is over");
}
