//! The port: it lets in one connection for each permit.

use std::sync::Arc;
use std::time::Duration;

use portcullis_core::ConnectionId;
use portcullis_core::front::Input;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::Serve;
use super::counters::count;
use super::shell::Arrival;
use crate::env::Env;

/// Wait after a failed accept, such as for want of files, before it is tried again. The permit is
/// kept, and clients wait in the kernel's backlog.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// Orders under way: a permit, its withdrawal, and the end.
const ORDERS_MAX: usize = 4;

/// What the machine orders of the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Accept,
    Withdraw,
    Shut,
}

/// The port, to be ordered about.
pub struct Door {
    orders: mpsc::Sender<Order>,
}

impl Door {
    /// Serves a bound port on a task of its own.
    pub fn open<E: Env>(serve: Arc<Serve<E>>, listener: E::Listener) -> Door {
        let (orders, ordered) = mpsc::channel(ORDERS_MAX);
        serve.env.clone().spawn(run(serve, listener, ordered));
        Door { orders }
    }

    /// Lets exactly one connection in.
    pub fn permit(&self) {
        self.order(Order::Accept);
    }

    /// Takes the permit back, if nobody has come in by it yet.
    pub fn withdraw(&self) {
        self.order(Order::Withdraw);
    }

    /// Stops listening, and takes the permit back.
    pub fn shut(&self) {
        self.order(Order::Shut);
    }

    fn order(&self, order: Order) {
        // There is room: the machine orders nothing more before a withdrawal is answered.
        let _ = self.orders.try_send(order);
    }
}

async fn run<E: Env>(
    serve: Arc<Serve<E>>,
    mut listener: E::Listener,
    mut ordered: mpsc::Receiver<Order>,
) {
    let mut last = 0;
    while let Some(order) = ordered.recv().await {
        match order {
            // Somebody has come in before, which the machine knows by now.
            Order::Withdraw => continue,
            Order::Shut => return,
            Order::Accept => {}
        }
        let order = tokio::select! {
            biased;
            order = ordered.recv() => order,
            stream = accept(&serve, &mut listener) => {
                last += 1;
                count(&serve.counters.accepted);
                let connection = ConnectionId(last);
                serve.arrive(Arrival::Accepted { connection, stream }).await;
                continue;
            }
        };
        serve.tell(Input::Withdrawn).await;
        if order != Some(Order::Withdraw) {
            return;
        }
    }
}

async fn accept<E: Env>(serve: &Serve<E>, listener: &mut E::Listener) -> E::Stream {
    let mut failed = 0_u64;
    loop {
        match serve.env.accept(listener).await {
            Ok(stream) => {
                if failed > 0 {
                    info!(failed, "accepting again");
                }
                return stream;
            }
            Err(error) => {
                count(&serve.counters.accepts_failed);
                if failed == 0 {
                    warn!(%error, "accept failed, trying again; clients wait in the backlog");
                }
                failed += 1;
                serve.env.sleep_until(serve.env.now() + ACCEPT_AGAIN).await;
            }
        }
    }
}
