//! Processes that are stopped by their kernel and go on later, having noticed nothing.
//!
//! Whatever reaches a process meanwhile waits for it: what its machines are to be told, what arrives
//! over the network, timers, writes that are durable, and what its raft node has to say. The tasks of
//! that node cannot be stopped, but nothing of theirs comes out, and as each waits for what it has
//! asked for they stand still soon. When the process goes on it looks at the clock first, as
//! production's loop does, and then takes what has come in the order in which it came.

use portcullis_core::NodeId;
use portcullis_core::controller::Input;

use super::link::{Caller, Hop, Message};
use super::raft::{Life, Report};
use super::{Event, World};

/// What waits for a process that is paused.
pub enum Missed {
    Event(Event),
    Report(Report),
    Told(Input),
}

impl World<'_> {
    /// A process does nothing from now on.
    pub(super) fn pause(&mut self, node: NodeId) {
        let process = self.process(node);
        if process.machine.is_some() {
            process.missed.get_or_insert_default();
        }
    }

    /// A process goes on.
    pub(super) fn resume(&mut self, node: NodeId) {
        let Some(missed) = self.process(node).missed.take() else { return };
        let clock = |missed: &Missed| matches!(missed, Missed::Event(event) if event.is_timer());
        let (timers, others): (Vec<_>, Vec<_>) = missed.into_iter().partition(clock);
        for missed in timers.into_iter().chain(others) {
            match missed {
                Missed::Event(event) => self.happen(event),
                Missed::Report(report) => self.report(report),
                Missed::Told(input) => self.tell(node, input),
            }
            self.drain();
        }
    }

    /// A process that is paused is dead: what waited for it finds that out.
    pub(super) fn forget_missed(&mut self, node: NodeId) {
        for missed in self.process(node).missed.take().into_iter().flatten() {
            match missed {
                Missed::Event(event) => self.heap.push(self.now, event),
                Missed::Report(report) => self.report(report),
                Missed::Told(_) => {}
            }
        }
    }

    /// Keeps an event for later if it is for a process that is paused.
    pub(super) fn miss_event(&mut self, event: Event) -> Option<Event> {
        // To find out whose it is takes as long as a part of what is done with it.
        if self.processes.iter().all(|process| process.missed.is_none()) {
            return Some(event);
        }
        match self.concerned(&event) {
            Some(node) => self.miss(node, event, Missed::Event),
            None => Some(event),
        }
    }

    /// Keeps a report for later if it is of a process that is paused.
    pub(super) fn miss_report(&mut self, report: Report) -> Option<Report> {
        let node = report.life().node;
        self.miss(node, report, Missed::Report)
    }

    /// Keeps for later what the machine of a process that is paused is to be told.
    pub(super) fn miss_told(&mut self, node: NodeId, input: Input) -> Option<Input> {
        self.miss(node, input, Missed::Told)
    }

    fn miss<T>(&mut self, node: NodeId, it: T, missed: fn(T) -> Missed) -> Option<T> {
        match &mut self.process(node).missed {
            Some(waiting) => {
                waiting.push(missed(it));
                None
            }
            None => Some(it),
        }
    }

    /// Whose process something happens to; none if it is nobody's, or the kernel's.
    fn concerned(&mut self, event: &Event) -> Option<NodeId> {
        match event {
            Event::Arrives(id, Message::Up(_)) => {
                let link = self.links.get(*id)?;
                match link.hop {
                    Hop::None | Hop::Joined { .. } => Some(link.node),
                    Hop::Outside | Hop::Joining { .. } | Hop::Over => None,
                }
            }
            Event::Arrives(id, Message::Down(_)) => match self.links.get(*id)?.caller {
                Caller::Controller(node) => Some(node),
                Caller::Client(_) => None,
            },
            Event::Shaken(id) | Event::Checked(id) => Some(self.links.get(*id)?.node),
            Event::Letter(letter) => Some(letter.to),
            Event::Timer(node) => Some(*node),
            Event::Accepts(life)
            | Event::Durable(life, _)
            | Event::Call(life, _)
            | Event::Answerless(life, _)
            | Event::Roles(life)
            | Event::Striver(life, _)
            | Event::Step(life, ..)
            | Event::Write(life, _)
            | Event::Blind(life, _)
            | Event::Stopped(life)
            | Event::Look(life)
            | Event::Own(life) => {
                let Life { node, .. } = *life;
                self.process(node).lives(*life).then_some(node)
            }
            Event::Deed
            | Event::SlowLogin(..)
            | Event::Front(_)
            | Event::Silence(..)
            | Event::Revive(_)
            | Event::Operate(_)
            | Event::Written(_)
            | Event::Claim(_)
            | Event::TakeBack(..) => None,
        }
    }
}

impl Event {
    /// Whether it is the clock of one of a process's machines.
    fn is_timer(&self) -> bool {
        matches!(self, Event::Timer(_) | Event::Striver(..) | Event::Roles(_))
    }
}
