//! The loop that owns a machine: one task, one machine, everything else is messages.

use std::collections::VecDeque;

use portcullis_core::agent::{self, Agent};
use portcullis_core::controller::{self, Controller};
use portcullis_core::front::{self, Front};
use portcullis_core::roles::{self, Roles};
use portcullis_core::singular::{self, Singular};
use portcullis_core::{Machine, Time};
use tokio::sync::mpsc;

use crate::env::{Affair, Env, Fact};

/// What surrounds a machine: turns arrivals into inputs and outputs into deeds, and never waits.
/// Whatever is slow is given to a task, and answers later as an arrival.
pub trait Shell<M: Machine>: Send {
    /// What arrives in the inbox.
    type Arrival: Send;

    /// Takes an arrival in. `None` means that it was for the shell alone, or came too late.
    fn admit(&mut self, machine: &M, arrival: Self::Arrival) -> Option<M::Input>;

    /// Does what the machine, which is as it was after ordering it, orders. What is known at once is
    /// handed back as the next input.
    fn act(&mut self, machine: &M, now: Time, output: M::Output) -> Option<M::Input>;

    /// Looks at the machine once everything that it ordered is done. Cheap: called at every turn.
    fn done(&mut self, _: &M) {}
}

/// A machine whose inputs and outputs a host can show to those who watch it.
pub trait Observed: Machine {
    /// The fact that it was told this.
    fn told<'a>(&'a self, input: &'a Self::Input) -> Fact<'a>;
    /// The fact that it ordered this.
    fn ordered<'a>(&'a self, output: &'a Self::Output) -> Fact<'a>;
}

impl Observed for Controller {
    fn told<'a>(&'a self, input: &'a controller::Input) -> Fact<'a> {
        Fact::ControllerTold(input)
    }
    fn ordered<'a>(&'a self, output: &'a controller::Output) -> Fact<'a> {
        Fact::ControllerOrdered(output)
    }
}

impl Observed for Agent {
    fn told<'a>(&'a self, input: &'a agent::Input) -> Fact<'a> {
        Fact::AgentTold(input)
    }
    fn ordered<'a>(&'a self, output: &'a agent::Output) -> Fact<'a> {
        Fact::AgentOrdered(output)
    }
}

impl Observed for Roles {
    fn told<'a>(&'a self, input: &'a roles::Input) -> Fact<'a> {
        Fact::Cluster(Affair::Told(input))
    }
    fn ordered<'a>(&'a self, output: &'a roles::Output) -> Fact<'a> {
        Fact::Cluster(Affair::Ordered(output))
    }
}

impl Observed for Front {
    fn told<'a>(&'a self, input: &'a front::Input) -> Fact<'a> {
        Fact::FrontTold(input)
    }
    fn ordered<'a>(&'a self, output: &'a front::Output) -> Fact<'a> {
        Fact::FrontOrdered(output)
    }
}

impl Observed for Singular {
    fn told<'a>(&'a self, input: &'a singular::Input) -> Fact<'a> {
        Fact::SingularTold { lease: self.key().lease(), input }
    }
    fn ordered<'a>(&'a self, output: &'a singular::Output) -> Fact<'a> {
        Fact::SingularOrdered { lease: self.key().lease(), output }
    }
}

/// Drives a machine until everybody who could tell it anything is gone.
///
/// Time goes first: however full the inbox, a deadline is never starved. The machine is told what the
/// clock says, never the deadline it asked for.
pub async fn drive<E, M, S>(
    env: E,
    mut machine: M,
    mut shell: S,
    mut inbox: mpsc::Receiver<S::Arrival>,
) where
    E: Env,
    M: Observed + Send,
    M::Input: Send,
    M::Output: Send,
    S: Shell<M>,
{
    let mut out = Vec::new();
    let mut told = VecDeque::new();
    loop {
        match machine.poll_timeout() {
            Some(timeout) if timeout.at <= env.now() => machine.handle_timeout(env.now(), &mut out),
            timeout => {
                let due = async {
                    match timeout {
                        Some(timeout) => env.sleep_until(timeout.at).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    biased;
                    () = due => machine.handle_timeout(env.now(), &mut out),
                    arrival = inbox.recv() => match arrival {
                        Some(arrival) => told.extend(shell.admit(&machine, arrival)),
                        None => return,
                    },
                }
            }
        }
        loop {
            for output in out.drain(..) {
                env.saw(machine.ordered(&output));
                told.extend(shell.act(&machine, env.now(), output));
            }
            let Some(input) = told.pop_front() else { break };
            env.saw(machine.told(&input));
            machine.handle(env.now(), input, &mut out);
        }
        shell.done(&machine);
    }
}
