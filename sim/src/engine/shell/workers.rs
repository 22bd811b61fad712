//! The workers that run on one controller alone: production's flag and runner, around a worker that
//! takes a step now and then and writes to something that all share.

use std::sync::{Arc, Mutex};

use portcullis::node::Node;
use portcullis::singular::{Responsible, Runner, runner};
use portcullis_core::NodeId;
use portcullis_core::lease::SINGULAR_CONTROLLER;

use super::{Book, Host, locked};
use crate::history::{Event, Who};
use crate::plan::Plan;
use crate::singular::{Resource, Single, THINKS, What, Worker, workers};

/// What every worker is given.
#[derive(Clone)]
pub struct Shared<H> {
    pub host: H,
    pub book: Book,
    pub resource: Arc<Mutex<Resource>>,
}

/// Strives to run every worker of the plan at a controller.
pub fn start<H: Host>(
    plan: &Plan,
    shared: &Shared<H>,
    node: NodeId,
    running: &Node<H>,
) -> Vec<Runner> {
    let Some(set) = plan.settings.singular.clone() else { return Vec::new() };
    let run = |worker: Worker| {
        let name = worker.to_string();
        let responsible = running.responsible(SINGULAR_CONTROLLER, &name);
        let (flag, shared, every) = (responsible.clone(), shared.clone(), set.step_every);
        Runner::start(
            &shared.host.clone(),
            responsible,
            runner::Config::new(&name),
            move |stop, fence| {
                let (flag, shared) = (flag.clone(), shared.clone());
                async move {
                    while holds(&flag, &shared.host, fence) && !stop.is_cancelled() {
                        let next = shared.host.now() + every;
                        step(&shared, node, worker, fence).await;
                        tokio::select! {
                            biased;
                            () = stop.cancelled() => {}
                            () = shared.host.sleep_until(next) => {}
                        }
                    }
                    stop.cancelled().await;
                    Ok(())
                }
            },
        )
    };
    workers(plan).map(run).collect()
}

/// Whether the flag is still up under this fence.
fn holds(flag: &Responsible, host: &impl Host, fence: u64) -> bool {
    flag.held(host.now()).is_some_and(|flag| flag.fence == fence)
}

/// One step of a worker: it begins, thinks, and writes.
async fn step<H: Host>(shared: &Shared<H>, node: NodeId, worker: Worker, fence: u64) {
    let single = |what| Event::Singular(Single { worker, what });
    shared.book.record(Who::Controller(node), single(What::Began { fence }));
    shared.host.sleep_until(shared.host.now() + THINKS).await;
    let taken = locked(&shared.resource).write(worker, fence);
    shared.book.record(Who::World, single(What::Wrote { by: node, fence, taken }));
}
