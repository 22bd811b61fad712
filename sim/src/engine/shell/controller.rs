//! One process of a controller.

use std::sync::Arc;
use std::time::Duration;

use portcullis::node::{self, Node};
use portcullis::raft;
use portcullis_core::NodeId;
use tokio::sync::mpsc;

use super::workers::{self, Shared};
use super::{Host, ORDERS_EACH, Order, Play, locked};
use crate::history::{Event, Who};
use crate::members;
use crate::stage::Deed;

/// Where a process hears what its operator wants.
pub struct Ordered(mpsc::Receiver<Order>);

impl Play {
    /// Returns when a controller's process is to start: at once, unless it has yet to join.
    pub async fn wanted(&self, node: NodeId) -> Ordered {
        let (orders, mut ordered) = mpsc::channel(ORDERS_EACH * self.plan.steps.len().max(1));
        locked(&self.orders).insert(node, orders);
        let founds = members::founds(&self.plan, node);
        if !founds && !locked(&self.joined).contains(&node) {
            until_joined(&mut ordered).await;
            locked(&self.joined).insert(node);
        }
        Ordered(ordered)
    }

    /// Runs a controller on its host until that is killed. Fails only if it cannot start though its
    /// disk does not fail, which is a bug.
    pub async fn control<H: Host>(
        self: Arc<Play>,
        host: H,
        node: NodeId,
        Ordered(mut ordered): Ordered,
    ) -> Result<(), node::Error> {
        let (book, resource) = (self.book.clone(), self.resource.clone());
        let shared = Shared { host: host.clone(), book: book.clone(), resource };
        let running = match Node::start(host.clone(), self.node(node)).await {
            Ok(running) => running,
            Err(node::Error::Store(raft::Error::Io(_))) => return self.fails(node).await,
            Err(error) => return Err(error),
        };
        let runners = workers::start(&self.plan, &shared, node, &running);
        let stopped = tokio::select! {
            biased;
            stopped = until_stopped(&host, &running, &mut ordered) => stopped,
            _ = running.failed() => return self.fails(node).await,
        };
        if stopped {
            for runner in runners {
                runner.stop().await;
            }
            running.stop().await;
        }
        book.record(Who::World, Event::Did(&Deed::Left(node)));
        std::future::pending().await
    }
}

impl Play {
    /// A process ends because its disk failed: production's does at once, the engine sees to it here.
    async fn fails<T>(&self, node: NodeId) -> T {
        locked(&self.failed).push(node);
        self.failing.notify_one();
        std::future::pending().await
    }
}

/// Returns when a controller is to start that has joined.
async fn until_joined(ordered: &mut mpsc::Receiver<Order>) {
    loop {
        match ordered.recv().await {
            Some(Order::Start) => return,
            Some(Order::Stop | Order::Do(_) | Order::Have(_)) => {}
            None => std::future::pending().await,
        }
    }
}

/// Does what the operator of a controller orders, and returns when it is to stop: true if the
/// operator says so, false if it was removed.
async fn until_stopped<H: Host>(
    host: &H,
    running: &Node<H>,
    ordered: &mut mpsc::Receiver<Order>,
) -> bool {
    loop {
        let order = tokio::select! {
            biased;
            order = ordered.recv() => order,
            () = running.removed() => return false,
        };
        match order {
            Some(Order::Do(command)) => {
                // Until it is done, as an operator would.
                while running.change_members(command.clone()).await.is_err() {
                    host.sleep_until(host.now() + Duration::from_secs(1)).await;
                }
            }
            // One that is down is started by nobody.
            Some(Order::Have(joins)) => drop(joins.try_send(Order::Start)),
            Some(Order::Start) => {}
            Some(Order::Stop) => return true,
            None => std::future::pending().await,
        }
    }
}
