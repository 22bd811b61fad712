//! The log of a run: what its events say, and what the program under test says itself, in simulated
//! time and in the same columns.
//!
//! Decides which lines mean a bug: `error!` from this project's own crates. What a dependency calls
//! an error (a peer that cannot be reached, say) is what a scenario does on purpose.
//!
//! Who says something is known by the spans that it is said in: both network simulators have one
//! for each host, and [`of`] makes one for whoever shares a host with others.

mod filter;
mod line;

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::io::{ErrorKind, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portcullis_core::{NodeId, Time};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Metadata, Span, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use crate::history::Who;
pub use filter::Filter;
pub use line::{Line, Weight};

/// One run is one process, so one list serves it.
static ERRORS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// The field of a span that says whose it is, which is what simulators call it too.
const NAME: &str = "name";

/// Starts catching errors and, with a log, printing lines. Once a process; a second call changes
/// nothing.
pub fn catch(log: Option<Log>) {
    let subscriber = tracing_subscriber::registry().with(Catch { log });
    // It fails only when something catches already, which is then this.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// What was caught since the last call.
pub fn caught() -> Vec<String> {
    std::mem::take(&mut *locked(&ERRORS))
}

/// The span of what this one does, for whoever shares a host with others.
pub fn of(who: Who) -> Span {
    tracing::error_span!("who", name = %who)
}

/// A lock that is poisoned has lost a line at worst.
fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What asks an engine for the time.
type Clock = Box<dyn Fn() -> Time + Send>;

/// The same of an engine that its history may be behind; it has no time once it is over.
type ClockAhead = Box<dyn Fn() -> Option<Time> + Send>;

/// Where the lines of a run go, and which do. Clones share it.
#[derive(Clone)]
pub struct Log {
    filter: Arc<Filter>,
    sheet: Arc<Mutex<Sheet>>,
}

struct Sheet {
    now: Time,
    /// Where time goes on between the events of the history.
    clock: Option<Clock>,
    /// The time of an engine that may be ahead of the history, and what is said there at a time that
    /// the history has not come to, in order.
    ahead: Option<ClockAhead>,
    waiting: VecDeque<Line>,
    /// None once the reader has had enough, as `head` has, which ends nothing but the printing.
    to: Option<Box<dyn Write + Send>>,
}

impl Log {
    /// A log without a line.
    pub fn new(filter: Filter, to: Box<dyn Write + Send>) -> Log {
        let (clock, ahead, waiting) = (None, None, VecDeque::new());
        let sheet = Sheet { now: Time(0), clock, ahead, waiting, to: Some(to) };
        Log { filter: Arc::new(filter), sheet: Arc::new(Mutex::new(sheet)) }
    }

    /// Whether an event of the history is printed.
    pub fn wants(&self, who: Who, weight: Weight) -> bool {
        self.filter.admits(who, weight.level, weight.target)
    }

    /// It is this time from here on.
    pub fn turn(&self, now: Time) {
        let mut sheet = locked(&self.sheet);
        sheet.now = now;
        sheet.catch_up(now);
    }

    /// Whoever says something asks this for the time.
    pub fn ask(&self, clock: impl Fn() -> Time + Send + 'static) {
        locked(&self.sheet).clock = Some(Box::new(clock));
    }

    /// As [`ask`](Log::ask), of an engine whose history may be written by another thread: what is
    /// said there is printed once the history is past that time, wherever that thread is by then.
    /// Nothing may be said at a time before that of an event that was recorded.
    pub fn ask_ahead(&self, clock: impl Fn() -> Option<Time> + Send + 'static) {
        locked(&self.sheet).ahead = Some(Box::new(clock));
    }

    /// Prints what was said after the last event.
    pub fn end(&self) {
        locked(&self.sheet).catch_up(Time(u64::MAX));
    }

    /// Prints a line.
    pub fn print(&self, line: &Line) {
        locked(&self.sheet).print(line);
    }

    /// Prints what was said by the program under test.
    fn said(&self, who: Who, weight: Weight, text: String) {
        let mut sheet = locked(&self.sheet);
        if let Some(clock) = &sheet.ahead {
            let last = sheet.waiting.back().map_or(sheet.now, |line| line.at);
            let at = clock().unwrap_or(last).max(last);
            sheet.waiting.push_back(Line { at, who, weight, text });
            return;
        }
        if let Some(clock) = &sheet.clock {
            sheet.now = clock();
        }
        let line = Line { at: sheet.now, who, weight, text };
        sheet.print(&line);
    }
}

impl Sheet {
    /// Prints what was said before this time.
    fn catch_up(&mut self, now: Time) {
        while self.waiting.front().is_some_and(|line| line.at < now)
            && let Some(line) = self.waiting.pop_front()
        {
            self.print(&line);
        }
    }

    fn print(&mut self, line: &Line) {
        let Some(to) = &mut self.to else { return };
        if let Err(error) = writeln!(to, "{line}") {
            self.to = None;
            // Whoever reads through a pipe may have had enough; a full disk is another matter.
            if error.kind() != ErrorKind::BrokenPipe {
                eprintln!("the log ends at {}: it cannot be written: {error}", line.at);
            }
        }
    }
}

struct Catch {
    log: Option<Log>,
}

impl Catch {
    fn is_bug(metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR && metadata.target().starts_with("portcullis")
    }

    fn is_printed(&self, metadata: &Metadata<'_>) -> bool {
        let may = |log: &Log| log.filter.may_admit(*metadata.level(), metadata.target());
        self.log.as_ref().is_some_and(may)
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Catch {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        if metadata.is_span() {
            // Without a log nobody wants to know who says something.
            return self.log.is_some() && metadata.fields().field(NAME).is_some();
        }
        Catch::is_bug(metadata) || self.is_printed(metadata)
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut whose = Whose(None);
        attributes.record(&mut whose);
        if let (Some(span), Whose(Some(who))) = (context.span(id), whose) {
            span.extensions_mut().insert(who);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        let mut words = Words::default();
        event.record(&mut words);
        let text = words.text();
        if let Some(log) = &self.log {
            let of_span = |id: &Id| context.span(id)?.extensions().get::<Who>().copied();
            let scope = context.event_scope(event).into_iter().flatten();
            let who = scope.map(|span| span.id()).find_map(|id| of_span(&id));
            let who = who.unwrap_or(Who::World);
            let weight = Weight { level: *metadata.level(), target: metadata.target() };
            if log.wants(who, weight) {
                log.said(who, weight, text.clone());
            }
        }
        if Catch::is_bug(metadata) {
            locked(&ERRORS).push(format!("{}: {text}", metadata.target()));
        }
    }
}

/// Whose span it is, if it says so.
struct Whose(Option<Who>);

impl Visit for Whose {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() != NAME {
            return;
        }
        let number = |class: &str| value.strip_prefix(class)?.parse::<u32>().ok();
        self.0 = match (number("controller-"), number("agent-")) {
            (Some(node), _) => Some(Who::Controller(NodeId(node.into()))),
            (None, Some(agent)) => Some(Who::Agent(agent)),
            (None, None) => self.0,
        };
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, format!("{value:?}").trim_matches('"'));
    }
}

/// What an event says: its message, and then its fields.
#[derive(Default)]
struct Words {
    message: String,
    fields: String,
}

impl Words {
    fn text(&self) -> String {
        // One event is one line, whatever it says.
        format!("{}{}", self.message, self.fields).trim().replace('\n', "\\n")
    }
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}
