//! The pen of a run of many agents: it has the history written on a thread of its own.
//!
//! Decides nothing but where. Hashing, counting and checking take as long as a third of a run, and
//! the engine need not wait for them: it goes on while batches of events lie before the other
//! thread. There is one order of events, and whatever the engine asks of the history (whether the run
//! is over, who leads) waits until all before it is written, so no byte of a page depends on it: a
//! run ends with the event that it would have ended with. With few agents, or where a report wants
//! to be shown what no event tells, all stays on the engine's thread.
//!
//! ```text
//!   engine ── record ──▶ batch ── full ──▶ at most 16 batches ──▶ thread: History::record
//!          ── over?  ──▶ all that is left of it, and the history back ◀──┘
//! ```

use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread::JoinHandle;

use portcullis_core::lease::{Applied, Entry};
use portcullis_core::{NodeId, Time, agent, controller, front};

use crate::history::{Event, Fronted, History, Who};
use crate::plan::Plan;
use crate::report::Gauges;
use crate::settings::Bytes;
use crate::stage::Parts;

/// With fewer agents than this, a thread would cost as much as it saves.
const AGENTS_LEAST: u32 = 5_000;
/// Events of one batch: what a processor's own cache holds.
const BATCH: usize = 1_024;
/// Batches that wait for the other thread; with one more the engine waits.
const BATCHES_MAX: usize = 16;

/// See the module.
pub struct Scribe {
    /// None while the other thread has it.
    history: Option<Box<History>>,
    recorded: bool,
    desk: Option<Desk>,
}

/// The other thread, and what is on the way to it.
struct Desk {
    batch: Vec<Happening>,
    work: SyncSender<Work>,
    /// Emptied batches, to be filled again.
    spent: Receiver<Vec<Happening>>,
    back: Receiver<Box<History>>,
    thread: JoinHandle<()>,
}

/// What the other thread does, in this order.
enum Work {
    Take(Box<History>),
    Write(Vec<Happening>),
    GiveBack,
}

/// One event on its way.
struct Happening {
    at: Time,
    who: Who,
    what: What,
}

/// An [`Event`] that owns what it tells of.
enum What {
    Told(controller::Input),
    Ordered(controller::Output),
    AgentTold(agent::Input),
    AgentOrdered(agent::Output),
    FrontTold(front::Input),
    FrontOrdered(front::Output),
    Applied { index: u64, entry: Entry, applied: Applied },
    Memory(Bytes),
    BacklogFull,
    Killed(Bytes),
}

impl What {
    /// The event as its own; none for what is too rare to be worth it.
    fn of(event: &Event<'_>) -> Option<What> {
        Some(match event {
            Event::Told(input) => What::Told((*input).clone()),
            Event::Ordered(output) => What::Ordered((*output).clone()),
            Event::AgentTold(input) => What::AgentTold((*input).clone()),
            Event::AgentOrdered(output) => What::AgentOrdered((*output).clone()),
            Event::Front(Fronted::Told(input)) => What::FrontTold((*input).clone()),
            Event::Front(Fronted::Ordered(output)) => What::FrontOrdered((*output).clone()),
            Event::Applied { index, entry, applied } => What::Applied {
                index: *index,
                entry: (*entry).clone(),
                applied: (*applied).clone(),
            },
            Event::Memory(bytes) => What::Memory(*bytes),
            Event::BacklogFull => What::BacklogFull,
            Event::Killed(bytes) => What::Killed(*bytes),
            Event::Did(_) | Event::Cluster(_) | Event::Singular(_) | Event::Error(_) => {
                return None;
            }
        })
    }

    fn event(&self) -> Event<'_> {
        match self {
            What::Told(input) => Event::Told(input),
            What::Ordered(output) => Event::Ordered(output),
            What::AgentTold(input) => Event::AgentTold(input),
            What::AgentOrdered(output) => Event::AgentOrdered(output),
            What::FrontTold(input) => Event::Front(Fronted::Told(input)),
            What::FrontOrdered(output) => Event::Front(Fronted::Ordered(output)),
            What::Applied { index, entry, applied } => {
                Event::Applied { index: *index, entry, applied }
            }
            What::Memory(bytes) => Event::Memory(*bytes),
            What::BacklogFull => Event::BacklogFull,
            What::Killed(bytes) => Event::Killed(*bytes),
        }
    }
}

impl Scribe {
    /// Writes this history, wherever it is quicker.
    pub fn new(plan: &Plan, history: History) -> Scribe {
        let many = plan.settings.agents.count >= AGENTS_LEAST;
        let recorded = history.is_recorded();
        let desk = (many && !recorded).then(Desk::new);
        Scribe { history: Some(Box::new(history)), recorded, desk }
    }

    /// See [`History::record`].
    pub fn record(&mut self, at: Time, who: Who, event: Event<'_>) {
        let Some(desk) = &mut self.desk else { return self.here().record(at, who, event) };
        let Some(what) = What::of(&event) else { return self.here().record(at, who, event) };
        desk.batch.push(Happening { at, who, what });
        if desk.batch.len() >= BATCH {
            desk.pass_on(self.history.take());
        }
    }

    /// See [`History::over`].
    pub fn over(&mut self, now: Time) -> bool {
        self.here().over(now)
    }

    /// See [`History::leader`].
    pub fn leader(&mut self) -> Option<NodeId> {
        self.here().leader()
    }

    /// See [`History::parts`].
    pub fn parts(&mut self) -> Parts {
        self.here().parts()
    }

    /// See [`History::is_recorded`].
    pub fn is_recorded(&self) -> bool {
        self.recorded
    }

    /// See [`History::show`].
    pub fn show(&mut self, at: Time, node: NodeId, gauges: Gauges) {
        self.here().show(at, node, gauges);
    }

    /// The history with all that was recorded; the other thread ends.
    pub fn close(mut self) -> History {
        self.here();
        if let Some(Desk { work, thread, .. }) = self.desk {
            drop(work);
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
        *self.history.expect("it was taken back a moment ago")
    }

    /// Takes the history back once all is written.
    fn here(&mut self) -> &mut History {
        if let Some(desk) = &mut self.desk {
            if !desk.batch.is_empty() {
                desk.pass_on(self.history.take());
            }
            if self.history.is_none() {
                desk.give(Work::GiveBack);
                self.history = Some(desk.back.recv().expect(ALIVE));
            }
        }
        self.history.as_mut().expect("without another thread it is always here")
    }
}

/// A panic of the other thread ends the process, as any panic of a run does.
const ALIVE: &str = "the thread that writes the history lives as long as the run";

impl Desk {
    fn new() -> Desk {
        let (work, todo) = mpsc::sync_channel(BATCHES_MAX);
        let (empty, spent) = mpsc::channel();
        let (done, back) = mpsc::channel();
        let thread = std::thread::spawn(move || write(&todo, &empty, &done));
        Desk { batch: Vec::with_capacity(BATCH), work, spent, back, thread }
    }

    /// Hands the batch over, after the history if that is here.
    fn pass_on(&mut self, history: Option<Box<History>>) {
        if let Some(history) = history {
            self.give(Work::Take(history));
        }
        let next = self.spent.try_recv().unwrap_or_else(|_| Vec::with_capacity(BATCH));
        let full = std::mem::replace(&mut self.batch, next);
        self.give(Work::Write(full));
    }

    fn give(&self, work: Work) {
        self.work.send(work).expect(ALIVE);
    }
}

/// Writes until nobody has anything more to write.
fn write(todo: &Receiver<Work>, empty: &Sender<Vec<Happening>>, done: &Sender<Box<History>>) {
    let mut history: Option<Box<History>> = None;
    for work in todo {
        match work {
            Work::Take(taken) => history = Some(taken),
            Work::Write(mut batch) => {
                let history = history.as_mut().expect("it comes before what is written into it");
                for Happening { at, who, what } in &batch {
                    history.record(*at, *who, what.event());
                }
                batch.clear();
                // Whoever filled it may be gone.
                let _ = empty.send(batch);
            }
            Work::GiveBack => {
                let _ = history.take().map(|history| done.send(history));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portcullis_core::Address;

    use super::*;
    use crate::plan::Choice;
    use crate::scenario::Scenario;
    use crate::settings::Engine;
    use crate::stage::Deed;

    fn plan(agents: u32) -> Plan {
        let text = format!(
            "title = \"t\"\nwhy = \"w\"\nsource = \"s\"\nengines = [\"direct\"]\nacts = \"1s\"\n\
             settles-within = \"1s\"\n[controllers]\ncount = 1\n[agents]\ncount = {agents}\n\
             leases = 1\n"
        );
        let scenario = Scenario::parse("test", &text).expect("it is a scenario");
        let choice = Choice { engine: Engine::Direct, seed: 1, agents: None, intensity: 100 };
        Plan::draw("test", &scenario, &choice)
    }

    /// Some rounds of dials and logins, a deed in every one.
    fn tell(scribe: &mut Scribe, agents: u32) -> Vec<bool> {
        let mut over = Vec::new();
        let dial = agent::Output::Dial { address: Address::new("controller-1:17070") };
        let login = agent::Input::LoggedIn { addresses: vec![Address::new("elsewhere:1")] };
        for round in 0..3 {
            let at = Time(0) + Duration::from_millis(400 * round);
            scribe.record(at, Who::World, Event::Did(&Deed::Herd));
            for number in 0..agents {
                let who = Who::Agent(number);
                scribe.record(at, who, Event::AgentTold(&agent::Input::Started));
                scribe.record(at, who, Event::AgentOrdered(&dial));
                scribe.record(at, who, Event::AgentTold(&login));
            }
            scribe.record(at, Who::Controller(NodeId(1)), Event::BacklogFull);
            over.push(scribe.over(at));
        }
        // Twice the same leader: this breaks a check.
        let at = Time(2_000_000);
        for number in [0, 1] {
            let lead = agent::Output::Lead { fence: 1 };
            scribe.record(at, Who::Agent(number), Event::AgentOrdered(&lead));
        }
        over.push(scribe.over(at));
        over
    }

    #[test]
    fn a_history_is_the_same_on_a_thread_of_its_own() {
        let plan = plan(AGENTS_LEAST);
        let history = || History::new(&plan);
        let mut away = Scribe::new(&plan, history());
        let mut here = Scribe { history: Some(Box::new(history())), recorded: false, desk: None };
        assert!(away.desk.is_some(), "so many agents have a thread");
        let over = tell(&mut away, plan.settings.agents.count);
        assert_eq!(over, tell(&mut here, plan.settings.agents.count));
        assert_eq!(over.last(), Some(&true), "two leaders break a check");
        let end = Time(3_000_000);
        let (away, here) = (away.close().end(end), here.close().end(end));
        assert_eq!((away.events, away.hash), (here.events, here.hash));
        assert_eq!(away.lines, here.lines);
        assert_eq!(away.counts.to_string(), here.counts.to_string());
        let broke = |found: &crate::history::Found| {
            found.checks.iter().map(|check| check.broke.clone()).collect::<Vec<_>>()
        };
        assert_eq!(broke(&away), broke(&here));
    }
}
