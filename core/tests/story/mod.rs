//! The runner of stories, and one file of stories a machine.
//!
//! A story tells a machine what happened at which time and lets every timeout fire in its order, as
//! the shell would. What comes of it is a transcript in the machines' own words: `<` is what the
//! machine was told, `>` what it ordered, `~` a timeout that fired.

mod addresses;
mod admission;
mod agent;
mod backoff;
mod balancer;
mod bind;
mod clock;
mod controller;
mod dialer;
mod forward;
mod front;
mod lease;
mod listener;
mod members;
mod pace;
mod queue;
mod readiness;
mod roles;
mod sessions;
mod singular;
mod tracker;
mod waits;

use std::fmt::{Display, Write};
use std::time::Duration;

use portcullis_core::lease::{Key, Operation};
use portcullis_core::{Address, AskId, ConnectionId, Machine, Time};

/// More timeouts at one instant than any story needs: a machine that asks again and again for the
/// time that already is would spin the shell.
const TIMEOUTS_AT_ONCE_MAX: u32 = 100;

/// One machine and what became of it so far.
pub struct Story<M> {
    machine: M,
    now: Time,
    transcript: String,
}

impl<M> Story<M>
where
    M: Machine,
    M::Input: Display,
    M::Output: Display,
{
    /// Begins at time zero.
    pub fn of(machine: M) -> Story<M> {
        Story { machine, now: Time(0), transcript: String::new() }
    }

    /// Goes on to a time, such as `1.5s`; what is due by then fires first, as in the shell.
    pub fn at(&mut self, text: &str) -> &mut Story<M> {
        self.run_until(text)
    }

    /// Lets time pass, firing every timeout that is due, in order.
    pub fn run_until(&mut self, text: &str) -> &mut Story<M> {
        self.run_to(time(text))
    }

    fn run_to(&mut self, end: Time) -> &mut Story<M> {
        assert!(end >= self.now, "a story goes forward");
        let mut at_once = 0;
        while let Some(timeout) = self.machine.poll_timeout().filter(|due| due.at <= end) {
            at_once = if timeout.at > self.now { 0 } else { at_once + 1 };
            assert!(at_once < TIMEOUTS_AT_ONCE_MAX, "the machine spins at {}", self.now);
            self.now = self.now.max(timeout.at);
            self.line('~', &timeout.why);
            let mut out = Vec::new();
            self.machine.handle_timeout(self.now, &mut out);
            self.orders(&out);
        }
        self.now = end;
        self
    }

    /// Lets so much time pass, as [`run_until`](Story::run_until) does.
    pub fn run_for(&mut self, text: &str) -> &mut Story<M> {
        let end = self.now + lasting(text);
        self.run_to(end)
    }

    /// Tells the machine what has happened.
    pub fn tell(&mut self, input: M::Input) -> &mut Story<M> {
        self.line('<', &input);
        let mut out = Vec::new();
        self.machine.handle(self.now, input, &mut out);
        self.orders(&out);
        self
    }

    /// Writes down what a question to the machine answers.
    pub fn ask(&mut self, question: &str, answer: impl Fn(&M) -> String) -> &mut Story<M> {
        let answer = answer(&self.machine);
        self.line('?', &format_args!("{question}: {answer}"));
        self
    }

    /// Compares the transcript with its snapshot, `machine/story`.
    pub fn reads(&self, name: &str) {
        snapshot(name, &self.transcript);
    }

    fn orders(&mut self, orders: &[M::Output]) {
        for order in orders {
            self.line('>', order);
        }
    }

    fn line(&mut self, sign: char, text: &dyn Display) {
        writeln!(self.transcript, "{} {sign} {text}", self.now).expect("a string takes any text");
    }
}

/// Compares text with the snapshot `snapshots/core/<machine>/<story>.snap`.
pub fn snapshot(name: &str, text: &str) {
    let (machine, story) = name.split_once('/').expect("a snapshot is named machine/story");
    let mut settings = insta::Settings::clone_current();
    settings
        .set_snapshot_path(format!("{}/../snapshots/core/{machine}", env!("CARGO_MANIFEST_DIR")));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(story, text));
}

/// A time or a duration as stories write it: `1.5s`, `200ms`, `3m`.
fn micros(text: &str) -> u64 {
    let units = [("ms", 1_000), ("s", 1_000_000), ("m", 60_000_000)];
    let (number, unit) = units
        .iter()
        .find_map(|(name, unit)| text.strip_suffix(name).map(|number| (number, unit)))
        .unwrap_or_else(|| panic!("{text} has no unit"));
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| text.parse::<u64>().unwrap_or_else(|_| panic!("{text} is no number"));
    digits(whole) * unit + digits(part) * unit / 10_u64.pow(part.len() as u32)
}

/// A time as stories write it.
pub fn time(text: &str) -> Time {
    Time(micros(text))
}

/// A duration as stories write it.
pub fn lasting(text: &str) -> Duration {
    Duration::from_micros(micros(text))
}

/// The ask of a connection.
pub fn ask(connection: u64, serial: u64) -> AskId {
    AskId { connection: ConnectionId(connection), serial }
}

/// The leadership lease of an application in the model of all stories.
pub fn key(lease: &str) -> Key {
    Key::new("application-leadership", "m", lease)
}

/// A claim for a minute.
pub fn claim(lease: &str, holder: &str) -> Operation {
    Operation::Claim { key: key(lease), holder: holder.into(), duration: lasting("60s") }
}

/// The addresses of three controllers.
pub fn three_addresses() -> Vec<Address> {
    ["a:17070", "b:17070", "c:17070"].map(Address::new).to_vec()
}
