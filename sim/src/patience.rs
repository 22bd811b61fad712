//! How long agents wait before they try again, beside the bound that the law of their waits gives.
//!
//! Decides nothing: it tells a wait from the gap between two addresses of one round and from a
//! redirect that is followed at once, and counts how often an agent has failed without a steady
//! connection between. What a controller asked for is no part of a wait: the law comes on top.

use std::time::Duration;

use portcullis_core::agent::{Input, Output};
use portcullis_core::{Time, dialer};

use crate::history::{Event, Who};
use crate::plan::Plan;
use crate::settings::{Backoff, Home};

/// How much longer or shorter than the gap a pause may be that is one: the engines' timers are this
/// coarse, and clocks may differ.
const COARSE: Duration = Duration::from_millis(10);

/// One wait that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    pub waited: Duration,
    /// What the law draws it from, up to and including this.
    pub bound: Duration,
    /// How often the agent had failed before the failure that it waits after.
    pub failures: u32,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The round may go on with another address after the gap.
    Failed,
    /// A wait follows, at least as long as was asked.
    Lost { asked: Duration },
    /// Unless there were too many, it is followed at once.
    Redirected,
}

/// One agent.
#[derive(Clone, Copy, Debug, Default)]
struct One {
    ended: Option<(Time, End)>,
    failures: u32,
    /// Since when it is let in.
    inside: Option<Time>,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Patience {
    law: Backoff,
    dialer: dialer::Config,
    /// Whether the first dial of all comes after a wait.
    first_waits: bool,
    each: Vec<One>,
}

impl Patience {
    /// Nobody has dialled. The clients of workloads come and go on purpose, and do not count.
    pub fn new(plan: &Plan) -> Patience {
        let agents = &plan.settings.agents;
        Patience {
            law: agents.backoff.clone(),
            dialer: dialer::Config::default(),
            first_waits: agents.home == Home::Any,
            each: vec![One::default(); agents.count as usize],
        }
    }

    /// Takes note of one event, and says whether it ends a wait.
    pub fn note(&mut self, at: Time, who: Who, event: &Event<'_>) -> Option<Wait> {
        let Who::Agent(number) = who else { return None };
        match event {
            Event::AgentTold(input) => {
                self.told(at, number, input);
                None
            }
            Event::AgentOrdered(Output::Dial { .. }) => self.dials(at, number),
            Event::AgentOrdered(Output::Hangup) => {
                self.ends(at, number, End::Failed);
                None
            }
            Event::AgentOrdered(_)
            | Event::Did(_)
            | Event::Told(_)
            | Event::Ordered(_)
            | Event::Front(_)
            | Event::Applied { .. }
            | Event::Cluster(_)
            | Event::Singular(_)
            | Event::Memory(_)
            | Event::BacklogFull
            | Event::Killed(_)
            | Event::Error(_) => None,
        }
    }

    fn told(&mut self, at: Time, number: u32, input: &Input) {
        match input {
            Input::Started => {
                let failures = u32::from(self.first_waits);
                if let Some(one) = self.each.get_mut(number as usize) {
                    *one = One { failures, ..One::default() };
                }
            }
            Input::LoggedIn { .. } => {
                if let Some(one) = self.each.get_mut(number as usize) {
                    (one.ended, one.inside) = (None, Some(at));
                }
            }
            Input::Failed | Input::Disconnected => self.ends(at, number, End::Failed),
            Input::Refused { retry_after } => {
                self.ends(at, number, End::Lost { asked: *retry_after });
            }
            Input::Redirected { .. } => self.ends(at, number, End::Redirected),
            Input::Connected
            | Input::Stopped
            | Input::Told { .. }
            | Input::Ponged
            | Input::Answered { .. }
            | Input::Asked { .. } => {}
        }
    }

    /// An attempt or a connection is over; what is said of it again changes nothing.
    fn ends(&mut self, at: Time, number: u32, end: End) {
        let Some(one) = self.each.get_mut(number as usize) else { return };
        let since = one.inside.take();
        if since.is_some_and(|since| at.since(since) >= self.dialer.steady_after) {
            one.failures = 0;
        }
        let end = match end {
            End::Failed if since.is_some() => End::Lost { asked: Duration::ZERO },
            End::Failed | End::Lost { .. } | End::Redirected => end,
        };
        one.ended.get_or_insert((at, end));
    }

    fn dials(&mut self, at: Time, number: u32) -> Option<Wait> {
        let one = self.each.get_mut(number as usize)?;
        let (since, end) = one.ended.take()?;
        let (paused, gap) = (at.since(since), self.dialer.gap);
        let asked = match end {
            End::Failed if paused.abs_diff(gap) <= COARSE => return None,
            End::Redirected if paused <= COARSE => return None,
            End::Failed | End::Redirected => Duration::ZERO,
            End::Lost { asked } => asked,
        };
        let failures = one.failures;
        one.failures += 1;
        let waited = paused.saturating_sub(asked);
        Some(Wait { waited, bound: bound(&self.law, failures), failures })
    }
}

/// The bound of the wait after so many failures before it.
fn bound(law: &Backoff, failures: u32) -> Duration {
    let mut bound = law.first;
    for _ in 0..failures {
        if bound >= law.most {
            break;
        }
        bound = (bound * law.growth / 100).min(law.most);
    }
    bound
}

#[cfg(test)]
mod tests {
    use portcullis_core::Address;

    use super::*;
    use crate::check::tests::plan;

    fn told(patience: &mut Patience, at: u64, input: Input) {
        let wait = patience.note(Time(at * 1_000), Who::Agent(0), &Event::AgentTold(&input));
        assert_eq!(wait, None);
    }

    fn dials(patience: &mut Patience, at: u64) -> Option<(u64, u64)> {
        let dial = Output::Dial { address: Address::new("controller-1:17070") };
        let wait = patience.note(Time(at * 1_000), Who::Agent(0), &Event::AgentOrdered(&dial));
        wait.map(|wait| (wait.waited.as_millis() as u64, wait.bound.as_secs()))
    }

    #[test]
    fn gaps_and_redirects_are_no_waits() {
        let mut patience = Patience::new(&plan("[agents]\ncount = 1\nleases = 1\n"));
        told(&mut patience, 0, Input::Started);
        assert_eq!(dials(&mut patience, 1_000), None);
        told(&mut patience, 1_001, Input::Failed);
        assert_eq!(dials(&mut patience, 1_201), None);
        told(&mut patience, 1_300, Input::Failed);
        assert_eq!(dials(&mut patience, 3_300), Some((2_000, 6)));
        told(&mut patience, 3_400, Input::Redirected { to: Vec::new() });
        assert_eq!(dials(&mut patience, 3_400), None);
    }

    #[test]
    fn a_steady_connection_ends_the_row_of_failures() {
        let mut patience = Patience::new(&plan("[agents]\ncount = 1\nleases = 1\n"));
        told(&mut patience, 0, Input::Started);
        told(&mut patience, 0, Input::LoggedIn { addresses: Vec::new() });
        told(&mut patience, 59_000, Input::Disconnected);
        assert_eq!(dials(&mut patience, 60_000), Some((1_000, 6)));
        told(&mut patience, 60_000, Input::Refused { retry_after: Duration::from_secs(5) });
        assert_eq!(dials(&mut patience, 66_000), Some((1_000, 12)));
        told(&mut patience, 66_000, Input::LoggedIn { addresses: Vec::new() });
        told(&mut patience, 126_000, Input::Disconnected);
        assert_eq!(dials(&mut patience, 126_200), Some((200, 3)));
    }
}
