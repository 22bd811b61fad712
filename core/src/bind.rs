//! The address that a controller binds for the others: waited for, told apart, and followed.
//!
//! Seed 003: "The address is read from the controller configuration file populated by the
//! controller charm. If there is no address to use for binding, the worker will wait for one to be
//! written to the file before attempting to join the cluster." And: "The charm must be able to
//! determine a unique address in the local-cloud scope before it is shared with other units".
//!
//! ```text
//!            a unique address                another one, for `settle`
//!  Waiting ───────────────────▶ Bound ◀──────────────────────────────── Moving
//!     ▲ │ none, several,          │  another unique address               ▲ │ the old one again,
//!     └─┘ not readable            └───────────────────────────────────────┘ │ or none that is unique
//!                                 ▲                                          │
//!                                 └──────────────────────────────────────────┘
//! ```
//!
//! Whatever the file says later, an address that is bound is given up for another one only: a file
//! that is gone, half written or ambiguous takes nothing away, and is told of.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::mem;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Machine;
use crate::addresses::Scope;
use crate::mistake::Mistake;
use crate::time::{Time, Timeout};

/// Limits of the gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How long another address must stand in the file before a controller that is bound moves to
    /// it: whoever rewrites a file in steps must not send the cluster through each of them.
    pub settle: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config { settle: Duration::from_secs(2) }
    }
}

/// An address that the file offers this controller.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Candidate {
    /// An IP address or a host name, without a port.
    pub host: String,
    /// From where it can be reached.
    pub scope: Scope,
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Candidate { host, scope } = self;
        write!(f, "{host} ({scope})")
    }
}

/// Why the file gives no address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lack {
    /// There is no file.
    NoFile,
    /// The file cannot be read or understood; these are the reader's words, with the line and key.
    Unreadable { says: String },
    /// It has no address for this controller.
    NoAddress,
    /// It offers several, and not exactly one of them is in the local cloud. Somebody must choose.
    Ambiguous { candidates: Vec<Candidate> },
    /// What it offers cannot be reached by other controllers.
    Unusable { candidates: Vec<Candidate> },
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (says, candidates) = match self {
            Lack::NoFile => return f.write_str("there is no file yet"),
            Lack::Unreadable { says } => return f.write_str(says),
            Lack::NoAddress => return f.write_str("the file has no address for this controller"),
            Lack::Ambiguous { candidates } => {
                ("not exactly one of these is in the local cloud: ", candidates)
            }
            Lack::Unusable { candidates } => ("no other controller can reach ", candidates),
        };
        f.write_str(says)?;
        for (at, candidate) in candidates.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{candidate}")?;
        }
        Ok(())
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The file was read; it offers these to this controller.
    Read { candidates: Vec<Candidate> },
    /// It could not be.
    NotRead { lack: Lack },
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Input::Read { candidates } => {
                f.write_str("read:")?;
                candidates.iter().try_for_each(|candidate| write!(f, " {candidate}"))
            }
            Input::NotRead { lack } => write!(f, "not read: {lack}"),
        }
    }
}

/// What must be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Bind this address, in place of any other, and tell the other controllers.
    Bind { host: String },
    /// Tell the operator what the gate waits for, or what is wrong with the file although an
    /// address is bound. Once for each reason.
    Complain { lack: Lack },
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Output::Bind { host } => write!(f, "bind {host}"),
            Output::Complain { lack } => write!(f, "complain: {lack}"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Waiting,
    Bound { host: String },
    Moving { host: String, to: String, at: Time },
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Bind {
    config: Config,
    phase: Phase,
    /// What is wrong with the file, as told last.
    lack: Option<Lack>,
}

impl Bind {
    /// A gate that has not seen the file.
    pub fn new(config: Config) -> Bind {
        Bind { config, phase: Phase::Waiting, lack: None }
    }

    /// The address that is bound.
    pub fn bound(&self) -> Option<&str> {
        match &self.phase {
            Phase::Waiting => None,
            Phase::Bound { host } | Phase::Moving { host, .. } => Some(host),
        }
    }

    /// What is wrong with the file, if anything.
    pub fn lack(&self) -> Option<&Lack> {
        self.lack.as_ref()
    }

    fn offered(&mut self, now: Time, host: String, out: &mut Vec<Output>) {
        self.lack = None;
        self.phase = match mem::replace(&mut self.phase, Phase::Waiting) {
            Phase::Waiting => {
                out.push(Output::Bind { host: host.clone() });
                Phase::Bound { host }
            }
            Phase::Bound { host: bound } | Phase::Moving { host: bound, .. } if bound == host => {
                Phase::Bound { host }
            }
            Phase::Moving { host: bound, to, at } if to == host => {
                Phase::Moving { host: bound, to, at }
            }
            Phase::Bound { host: bound } | Phase::Moving { host: bound, .. } => {
                Phase::Moving { host: bound, to: host, at: now + self.config.settle }
            }
        };
    }

    fn lacking(&mut self, lack: Lack, out: &mut Vec<Output>) {
        self.phase = match mem::replace(&mut self.phase, Phase::Waiting) {
            Phase::Waiting => Phase::Waiting,
            Phase::Bound { host } | Phase::Moving { host, .. } => Phase::Bound { host },
        };
        if self.lack.as_ref() != Some(&lack) {
            self.lack = Some(lack.clone());
            out.push(Output::Complain { lack });
        }
    }
}

/// The one address to bind: the only usable one there is, or the only one in the local cloud. One
/// that is bound already stays good while it is among several, as for Juju's unchanged members.
fn unique(mut candidates: Vec<Candidate>, bound: Option<&str>) -> Result<String, Lack> {
    candidates.sort();
    candidates.dedup();
    if candidates.is_empty() {
        return Err(Lack::NoAddress);
    }
    let usable: Vec<&Candidate> =
        candidates.iter().filter(|candidate| candidate.scope != Scope::LinkLocal).collect();
    let near = |candidate: &&&Candidate| candidate.scope == Scope::LocalCloud;
    let near: Vec<&&Candidate> = usable.iter().filter(near).collect();
    match (&usable[..], &near[..]) {
        ([], _) => Err(Lack::Unusable { candidates }),
        ([only], _) => Ok(only.host.clone()),
        (_, [only]) => Ok(only.host.clone()),
        _ => match bound.filter(|bound| usable.iter().any(|candidate| candidate.host == *bound)) {
            Some(bound) => Ok(bound.into()),
            None if Mistake::AmbiguousBound.made() => Ok(usable[0].host.clone()),
            None => Err(Lack::Ambiguous { candidates }),
        },
    }
}

impl Machine for Bind {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Read { candidates } => match unique(candidates, self.bound()) {
                Ok(host) => self.offered(now, host, out),
                Err(lack) => self.lacking(lack, out),
            },
            Input::NotRead { lack } => self.lacking(lack, out),
        }
    }

    fn poll_timeout(&self) -> Option<Timeout> {
        match self.phase {
            Phase::Waiting | Phase::Bound { .. } => None,
            Phase::Moving { at, .. } => Some(Timeout { at, why: "move to the other address" }),
        }
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Vec<Output>) {
        match &self.phase {
            Phase::Moving { to, at, .. } if *at <= now => {
                let host = to.clone();
                out.push(Output::Bind { host: host.clone() });
                self.phase = Phase::Bound { host };
            }
            Phase::Waiting | Phase::Bound { .. } | Phase::Moving { .. } => {}
        }
    }
}
