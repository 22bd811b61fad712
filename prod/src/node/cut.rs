//! How a connection is ended from outside of its task, and with which words.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

use crate::rpc::Farewell;

/// What is said if nothing else is.
const CLOSED: &str = "closed by the controller";

/// Ends one connection; its clones are the same one.
#[derive(Clone, Debug)]
pub struct Cut {
    made: CancellationToken,
    farewell: Arc<OnceLock<Farewell>>,
}

impl Cut {
    /// A connection goes on until it is cut, or until everything closes.
    pub fn new(closing: &CancellationToken) -> Cut {
        Cut { made: closing.child_token(), farewell: Arc::default() }
    }

    /// Ends it. What was said first is what is said.
    pub fn make(&self, farewell: Farewell) {
        // There is something to say already.
        let _ = self.farewell.set(farewell);
        self.made.cancel();
    }

    /// Returns when it is to end, with what to say.
    pub async fn made(&self) -> Farewell {
        self.made.cancelled().await;
        let said = self.farewell.get().cloned();
        said.unwrap_or_else(|| Farewell::Closed(CLOSED.to_owned()))
    }
}
