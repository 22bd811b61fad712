//! One process of a herd: its agents, each with its own connection, and what they see.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use portcullis::api::Place;
use portcullis::client::wire::Pass;
use portcullis::client::{self, Client, Follows, Standing};
use portcullis::credentials::{Identity, Signer};
use portcullis::env::Env;
use portcullis_core::{Address, Time, agent};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::super::super::client::Asking;
use super::super::super::run::closed;
use super::super::holder::Holder;
use super::super::host::Host;
use super::super::ledger::{Counts, Event, Ledger};
use super::super::plan::{Plan, Seat};
use super::course::EVERY;
use super::told::{Ended, Told};

/// Most events that wait to be entered; who has another one waits.
const EVENTS_MAX: usize = 65_536;
/// Most events entered between two looks at the clock.
const EVENTS_AT_ONCE: usize = 1_024;

/// Everything that makes the agents of one process.
pub struct Part {
    pub asking: Asking,
    pub plan: Arc<Plan>,
    pub signer: Signer,
    /// How many agents other processes have before these, for what all share.
    pub before: u32,
    /// Where connections come from, if it is not the kernel that chooses.
    pub sources: Vec<IpAddr>,
    /// Most connections begun in a second, if it is bounded.
    pub pace: Option<u32>,
}

/// How one agent stands.
#[derive(Clone, Debug, Default, PartialEq)]
struct Stood {
    agent: usize,
    connected: bool,
    /// Which controller of the client file it is at.
    controller: Option<usize>,
    logins: u64,
    moves: u64,
    moved_at: Option<Time>,
    redirects: u64,
    refused: Option<String>,
}

/// How all of them stand.
struct Agents {
    all: Vec<Stood>,
    told: Told,
    /// The least time between two moves of one agent.
    apart: Option<Duration>,
}

/// Runs the agents until standard input closes, and tells on standard output how they stand.
pub async fn run(part: Part) {
    let env = part.asking.env.clone();
    let mut ledger = Ledger::new(part.plan.leases());
    let mut agents = Agents::new(part.plan.seats(), part.asking.addresses.len());
    let (events, mut happened) = mpsc::channel(EVENTS_MAX);
    let (standings, mut stood) = mpsc::channel(EVENTS_MAX);
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    let mut closed = pin!(closed(true));
    env.spawn(part.begin(events, standings, stop));
    let mut due = env.now() + EVERY;
    let (mut batch, mut news) = (Vec::new(), Vec::new());
    loop {
        tokio::select! {
            biased;
            () = env.sleep_until(due) => {
                due = env.now() + EVERY;
                if tell(&agents.told(&ledger)).is_err() {
                    // Whoever started this is gone.
                    return;
                }
            }
            () = &mut closed => {
                // It closes, too, when whoever started this is gone.
                let _ = tell(&agents.ended(&ledger));
                return;
            }
            count = happened.recv_many(&mut batch, EVENTS_AT_ONCE), if !happened.is_closed() => {
                debug_assert!(count == batch.len(), "what was received is there");
                batch.drain(..).for_each(|event| ledger.enter(event));
            }
            count = stood.recv_many(&mut news, EVENTS_AT_ONCE), if !stood.is_closed() => {
                debug_assert!(count == news.len(), "what was received is there");
                news.drain(..).for_each(|stood| agents.enter(stood));
            }
        }
    }
}

fn tell(told: &Told) -> io::Result<()> {
    let text = serde_json::to_string(told).map_err(io::Error::other)?;
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

impl Part {
    /// Begins all connections, as fast as the pace has it.
    async fn begin(
        self,
        events: mpsc::Sender<Event>,
        standings: mpsc::Sender<Stood>,
        stop: CancellationToken,
    ) {
        let env = &self.asking.env;
        let (started, addresses) = (env.now(), Arc::<[Address]>::from(&*self.asking.addresses));
        // All start with nobody held back: an agent claims as soon as it is let in.
        let go = CancellationToken::new();
        go.cancel();
        let jobs = self.plan.jobs(0, env.seed());
        let seats = jobs.into_iter().flat_map(|job| job.seats);
        for (agent, seat) in seats.enumerate() {
            if let Some(pace) = self.pace {
                let micros = (agent as u64).saturating_mul(1_000_000) / u64::from(pace);
                env.sleep_until(started + Duration::from_micros(micros)).await;
            }
            let number = u64::from(self.before) + agent as u64;
            let source = number.checked_rem(self.sources.len() as u64);
            let host = Host {
                machine: env.clone(),
                seed: env.seed().child("agent", number),
                source: source.map(|at| self.sources[at as usize]),
            };
            let client = Client::start(&host, self.config(seat));
            let holder = Holder {
                host,
                client,
                plan: self.plan.clone(),
                seat,
                ledger: events.clone(),
                go: go.clone(),
                stop: stop.clone(),
            };
            let watched = watch(agent, holder, standings.clone(), addresses.clone());
            let stop = stop.clone();
            env.spawn(async move {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = watched => {}
                }
            });
        }
    }

    /// An agent as Juju has it: addresses in random order, long waits that grow.
    fn config(&self, seat: Seat) -> client::Config {
        let (key, holder) = self.plan.contended(seat);
        let number = u64::from(seat.unit);
        let unit = Identity::Unit { application: key.lease().to_owned(), number };
        debug_assert_eq!(unit.to_string(), *holder, "units claim in their own name");
        let (model, tag) = (key.model().to_owned(), unit.tag());
        client::Config {
            agent: agent::Config::default(),
            follows: Follows::of(&tag),
            addresses: self.asking.addresses.clone(),
            tls: self.asking.tls.clone(),
            pass: Pass { password: self.signer.password(&model, &tag), tag },
            place: Place::Model(model),
        }
    }
}

/// Tells how an agent stands, as often as that changes; lets it claim once it is in.
async fn watch(
    agent: usize,
    holder: Holder,
    standings: mpsc::Sender<Stood>,
    addresses: Arc<[Address]>,
) {
    let mut standing = holder.client.standing();
    let machine = holder.host.machine.clone();
    let mut holder = Some(holder);
    let mut last = Stood { agent, ..Stood::default() };
    loop {
        let stood = Stood::of(agent, &standing.borrow_and_update(), &addresses);
        if stood.connected
            && let Some(holder) = holder.take()
        {
            machine.spawn(holder.contend());
        }
        if stood != last {
            last = stood.clone();
            // Nobody listens any more only when all is over.
            let _ = standings.send(stood).await;
        }
        if standing.changed().await.is_err() {
            return;
        }
    }
}

impl Stood {
    fn of(agent: usize, standing: &Standing, addresses: &[Address]) -> Stood {
        let Standing { line, address, logins, moves, moved_at, redirects, .. } = standing;
        let connected = line.is_some();
        let here = address.as_ref().filter(|_| connected);
        Stood {
            agent,
            connected,
            controller: here.and_then(|here| addresses.iter().position(|known| known == here)),
            logins: *logins,
            moves: *moves,
            moved_at: *moved_at,
            redirects: *redirects,
            refused: standing.trouble.clone().filter(|_| standing.refused),
        }
    }
}

impl Agents {
    fn new(count: u64, controllers: usize) -> Agents {
        let all = (0..count as usize).map(|agent| Stood { agent, ..Stood::default() });
        let told = Told { controllers: vec![0; controllers], ..Told::default() };
        Agents { all: all.collect(), told, apart: None }
    }

    fn enter(&mut self, stood: Stood) {
        let (told, last) = (&mut self.told, &self.all[stood.agent]);
        if let Some(controller) = last.controller {
            told.controllers[controller] -= 1;
        }
        if let Some(controller) = stood.controller {
            told.controllers[controller] += 1;
        }
        told.counts.connected += u64::from(stood.connected);
        told.counts.connected -= u64::from(last.connected);
        // Whoever is let in again had lost the connection before.
        told.counts.disconnected += stood.again() - last.again();
        told.moves += stood.moves - last.moves;
        told.redirects += stood.redirects - last.redirects;
        if stood.moves > last.moves
            && let (Some(before), Some(at)) = (last.moved_at, stood.moved_at)
        {
            let apart = at.since(before);
            self.apart = Some(self.apart.map_or(apart, |least| least.min(apart)));
        }
        if told.refused.is_none() {
            told.refused.clone_from(&stood.refused);
        }
        let agent = stood.agent;
        self.all[agent] = stood;
    }

    fn told(&self, ledger: &Ledger) -> Told {
        let mut told = self.told.clone();
        let (connected, disconnected) = (told.counts.connected, told.counts.disconnected);
        told.counts = Counts { connected, disconnected, ..ledger.counts };
        told.violations = ledger.windows.violations();
        told
    }

    fn ended(&self, ledger: &Ledger) -> Told {
        let count = |often: fn(&Stood) -> u64| {
            let mut counted = BTreeMap::new();
            self.all.iter().for_each(|stood| *counted.entry(often(stood)).or_default() += 1);
            counted
        };
        let ended = Ended {
            moves: count(|stood| stood.moves),
            reconnects: count(|stood| stood.again().saturating_sub(stood.moves)),
            moves_apart: self.apart.map(|apart| apart.as_secs_f64()),
            claims: ledger.claims.clone(),
            extensions: ledger.extensions.clone(),
            violated: ledger.windows.shown().iter().map(ToString::to_string).collect(),
        };
        Told { ended: Some(ended), ..self.told(ledger) }
    }
}

impl Stood {
    /// How often it was let in after the first time.
    fn again(&self) -> u64 {
        self.logins.saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stood(logins: u64, moves: u64, controller: Option<usize>) -> Stood {
        let connected = controller.is_some();
        let moved_at = (moves > 0).then_some(Time(moves * 70_000_000));
        Stood { connected, controller, logins, moves, moved_at, ..Stood::default() }
    }

    #[test]
    fn what_an_agent_went_through_is_counted_though_not_all_of_it_was_seen() {
        let mut agents = Agents::new(2, 3);
        for stood in [
            stood(1, 0, Some(0)),
            stood(1, 1, None),
            stood(2, 1, Some(2)),
            // Moved, connected, broken and connected again between two looks.
            stood(4, 2, Some(1)),
        ] {
            agents.enter(stood);
        }
        let told = agents.ended(&Ledger::new(1));
        assert_eq!(told.controllers, [0, 1, 0]);
        assert_eq!((told.counts.connected, told.counts.disconnected), (1, 3));
        let Ended { moves, reconnects, moves_apart, .. } = told.ended.expect("it has ended");
        assert_eq!(moves, [(0, 1), (2, 1)].into());
        assert_eq!(reconnects, [(0, 1), (1, 1)].into());
        assert_eq!(moves_apart, Some(70.0));
    }
}
