//! Workers of the embedding program that the API door waits for.
//!
//! Seed 000: "get all the workers stable before opening the flood-gates to the external agents".

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_core::Name;
use portcullis_core::controller::Input;
use tokio::sync::watch;

use super::Serve;
use crate::env::Env;

/// All workers, and whether each is stable.
pub type Workers = watch::Sender<BTreeMap<Name, bool>>;

/// One worker that the API door waits for. It is not stable from its first mention until it says
/// so, and when this is dropped it never is again.
#[derive(Debug)]
pub struct Worker {
    name: Name,
    workers: Workers,
}

impl Worker {
    /// Registers a worker that is not stable yet.
    pub(super) fn new(name: &str, workers: &Workers) -> Worker {
        let worker = Worker { name: Name::new(name), workers: workers.clone() };
        worker.set(false);
        worker
    }

    /// It does its work: agents may come in as far as it is concerned.
    pub fn stable(&self) {
        self.set(true);
    }

    /// It does not, for the time being.
    pub fn unstable(&self) {
        self.set(false);
    }

    fn set(&self, stable: bool) {
        self.workers
            .send_if_modified(|workers| workers.insert(self.name.clone(), stable) != Some(stable));
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.set(false);
    }
}

/// Tells the machine how each worker is, at every change.
pub async fn deliver<E: Env>(serve: Arc<Serve<E>>) {
    let mut changes = serve.workers.subscribe();
    let mut told = BTreeMap::new();
    loop {
        let workers = changes.borrow_and_update().clone();
        for (worker, stable) in &workers {
            if told.insert(worker.clone(), *stable) != Some(*stable) {
                let (worker, stable) = (worker.clone(), *stable);
                serve.tell(Input::Working { worker, stable }).await;
            }
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}
