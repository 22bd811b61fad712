//! The hash that tells two runs apart.

use std::fmt;

use portcullis_core::{Time, agent};

use super::{Event, Who};

/// FNV-1a over words of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hash(u64);

impl Default for Hash {
    fn default() -> Hash {
        Hash(0xcbf2_9ce4_8422_2325)
    }
}

impl Hash {
    /// Folds bytes, eight at a time: the lines of a large run come to gigabytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        for byte in rest {
            self.word(u64::from(*byte));
        }
    }

    /// What it has come to.
    pub fn value(self) -> u64 {
        self.0
    }

    /// Folds an event: its line, but for an agent's only what tells it apart.
    pub fn event(&mut self, at: Time, who: Who, event: &Event<'_>, text: &str) {
        self.word(at.0);
        self.word(match who {
            Who::World => 0,
            Who::Controller(node) => node.0 << 1,
            Who::Front => u64::MAX - 1,
            Who::Agent(number) => u64::from(number) << 1 | 1,
        });
        match event {
            Event::AgentTold(input) => self.word(told(input)),
            Event::AgentOrdered(output) => self.word(ordered(output)),
            Event::Did(_)
            | Event::Told(_)
            | Event::Ordered(_)
            | Event::Front(_)
            | Event::Applied { .. }
            | Event::Memory(_)
            | Event::BacklogFull
            | Event::Cluster(_)
            | Event::Singular(_)
            | Event::Killed(_)
            | Event::Error(_) => self.bytes(text.as_bytes()),
        }
    }

    /// Folds a word in one step.
    pub fn word(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0000_0100_0000_01b3);
        self.0 ^= self.0 >> 29;
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A number for what an agent was told. What it leaves out, its controller was told in full.
fn told(input: &agent::Input) -> u64 {
    match input {
        agent::Input::Started => 1,
        agent::Input::Connected => 2,
        agent::Input::Failed => 3,
        agent::Input::LoggedIn { addresses } => 4 | (addresses.len() as u64) << 8,
        agent::Input::Refused { retry_after } => 5 | (retry_after.as_micros() as u64) << 8,
        agent::Input::Redirected { to } => 6 | (to.len() as u64) << 8,
        agent::Input::Disconnected => 7,
        agent::Input::Ponged => 8,
        agent::Input::Answered { serial, answer } => 9 | kind(answer) << 8 | serial << 16,
        agent::Input::Asked { token, .. } => 10 | token << 8,
        agent::Input::Stopped => 11,
        agent::Input::Told { addresses } => 12 | (addresses.len() as u64) << 8,
    }
}

/// A number for what an agent ordered.
fn ordered(output: &agent::Output) -> u64 {
    match output {
        agent::Output::Dial { address } => {
            let mut hash = Hash::default();
            hash.bytes(address.as_str().as_bytes());
            hash.0
        }
        agent::Output::Login => 33,
        agent::Output::Hangup => 34,
        agent::Output::Ping => 35,
        agent::Output::Send { serial, .. } => 36 | serial << 8,
        agent::Output::Answer { token, answer } => 37 | kind(answer) << 8 | token << 16,
        agent::Output::Lead { fence } => 38 | fence << 8,
        agent::Output::Follow => 39,
        agent::Output::Remember { addresses } => 40 | (addresses.len() as u64) << 8,
    }
}

fn kind(answer: &portcullis_core::queue::Answer) -> u64 {
    use portcullis_core::queue::Answer;
    match answer {
        Answer::Done { .. } => 0,
        Answer::Refused { .. } => 1,
        Answer::Released => 2,
        Answer::Overloaded { .. } => 3,
        Answer::NotLeader { .. } => 4,
        Answer::Expired => 5,
        Answer::Cancelled => 6,
        Answer::Unknown => 7,
    }
}
