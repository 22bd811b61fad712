//! Error lines of the program under test, caught on their way to the log.
//!
//! Decides which lines mean a bug: `error!` from this project's own crates. What a dependency calls
//! an error (a peer that cannot be reached, say) is what a scenario does on purpose.

use std::fmt::{self, Write as _};
use std::sync::Mutex;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};

/// One run is one process, so one list serves it.
static ERRORS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Starts catching. Once a process; a second call changes nothing.
pub fn catch() {
    let subscriber = tracing_subscriber::registry().with(Errors);
    // It fails only when something catches already, which is then this.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// What was caught since the last call.
pub fn caught() -> Vec<String> {
    let mut errors = ERRORS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    std::mem::take(&mut *errors)
}

struct Errors;

impl<S: Subscriber> Layer<S> for Errors {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() == Level::ERROR && metadata.target().starts_with("portcullis")
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line(event.metadata().target().into());
        event.record(&mut line);
        let mut errors = ERRORS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        errors.push(line.0);
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = write!(self.0, " {field}={value:?}");
    }
}
