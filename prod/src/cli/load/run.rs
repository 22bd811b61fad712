//! A run from its first connection to its last count.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::try_join_all;
use portcullis::client::{self, Client};
use portcullis::env::Env;
use portcullis_core::dialer::Manner;
use portcullis_core::{Time, agent, backoff, dialer};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::super::client::Asking;
use super::super::exit::{Exit, Failure};
use super::holder::Holder;
use super::host::Host;
use super::ledger::{Event, Ledger};
use super::plan::{Job, Plan, Workload};
use super::report::Progress;

/// Most events that wait to be entered; who has another one waits.
const EVENTS_MAX: usize = 65_536;
/// Most events entered between two looks at the clock.
const EVENTS_AT_ONCE: usize = 1_024;
/// The claimer's waits of the seeds' tool after a failed connection: 1, 2, 4 and 8 s.
const BACKOFF: backoff::Config =
    backoff::Config { first: Duration::from_secs(1), most: Duration::from_secs(8), growth: 200 };
/// Longest time for one connection, which waits in the kernel's backlog while a door is paced.
const DIAL_WITHIN: Duration = Duration::from_secs(30);

/// How a run goes on.
#[derive(Clone, Copy, Debug)]
pub struct Course {
    /// How long to go on once all are connected.
    pub duration: Duration,
    /// How long to wait until all are.
    pub connect_within: Duration,
    /// Whether all start to claim at one moment, when all are connected.
    pub herd: bool,
    /// Most connections begun in a second, if it is bounded.
    pub pace: Option<u32>,
}

/// Everything that makes connections.
struct Maker {
    asking: Asking,
    plan: Arc<Plan>,
    course: Course,
    sources: Vec<IpAddr>,
    ledger: mpsc::Sender<Event>,
    go: CancellationToken,
    stop: CancellationToken,
    started: Time,
    /// Numbers the connections, for their seeds, sources and pace.
    made: AtomicU64,
}

/// Connects everybody, lets them ask, and counts; Ctrl-C ends it early, with what there is.
pub async fn run(
    asking: Asking,
    plan: Arc<Plan>,
    course: Course,
    sources: Vec<IpAddr>,
    progress: &mut Progress,
) -> Result<Ledger, Failure> {
    let interrupted = signal(SignalKind::interrupt()).map_err(Failure::wrong)?;
    let (events, mut happened) = mpsc::channel(EVENTS_MAX);
    let env = asking.env.clone();
    let maker = Maker {
        plan: plan.clone(),
        course,
        sources,
        ledger: events,
        go: CancellationToken::new(),
        stop: CancellationToken::new(),
        started: env.now(),
        made: AtomicU64::new(0),
        asking,
    };
    let counting = async {
        let mut ledger = Ledger::new(plan.leases());
        let mut batch = Vec::with_capacity(EVENTS_AT_ONCE);
        loop {
            tokio::select! {
                biased;
                () = env.sleep_until(progress.due()) => progress.show(env.now(), &ledger),
                count = happened.recv_many(&mut batch, EVENTS_AT_ONCE) => match count {
                    0 => return ledger,
                    _ => batch.drain(..).for_each(|event| ledger.enter(event)),
                },
            }
        }
    };
    let (ended, ledger) = tokio::join!(maker.conduct(interrupted), counting);
    ended.map(|()| ledger)
}

impl Maker {
    /// Runs everything but the counting. Whatever it has started ends with it.
    async fn conduct(self, mut interrupted: Signal) -> Result<(), Failure> {
        let _stop = self.stop.clone().drop_guard();
        if !self.course.herd {
            self.go.cancel();
        }
        let env = &self.asking.env;
        let all = try_join_all((0..self.plan.processes()).map(|process| self.process(process)));
        let until = self.started + self.course.connect_within;
        let interrupted_early = tokio::select! {
            biased;
            _ = interrupted.recv() => true,
            connected = all => connected.map(|_| false)?,
            () = env.sleep_until(until) => {
                eprintln!("not all are connected; going on with those that are");
                false
            }
        };
        self.tell(Event::Began { at: env.now() }).await;
        self.go.cancel();
        if !interrupted_early {
            tokio::select! {
                biased;
                _ = interrupted.recv() => {}
                () = env.sleep_until(env.now() + self.course.duration) => {}
            }
        }
        self.tell(Event::Ended { at: env.now() }).await;
        Ok(())
    }

    /// One process of the seeds' tool: it makes its connections one after another.
    async fn process(&self, process: u32) -> Result<(), Failure> {
        for job in self.plan.jobs(process, self.asking.env.seed()) {
            self.connect(job).await?;
        }
        Ok(())
    }

    async fn connect(&self, job: Job) -> Result<(), Failure> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let env = &self.asking.env;
        if let Some(pace) = self.course.pace {
            let micros = number.saturating_mul(1_000_000) / u64::from(pace);
            env.sleep_until(self.started + Duration::from_micros(micros)).await;
        }
        let host = Host {
            machine: env.clone(),
            seed: env.seed().child("connection", number),
            source: self.source(number),
        };
        let client = Client::start(&host, self.config(job.controller));
        let mut standing = client.standing();
        let settled = standing.wait_for(|standing| standing.line.is_some() || standing.refused);
        // It ends only when the client does, of which there is one right here.
        let standing = settled.await.map_err(Failure::wrong)?.clone();
        if standing.refused {
            let trouble = standing.trouble.unwrap_or_default();
            let says = format!("login as {} {trouble}", self.asking.pass.tag);
            return Err(Failure::new(Exit::Refused, says));
        }
        self.tell(Event::Connected { at: env.now() }).await;
        for seat in job.seats {
            let holder = Holder {
                host: host.clone(),
                client: client.clone(),
                plan: self.plan.clone(),
                seat,
                ledger: self.ledger.clone(),
                go: self.go.clone(),
                stop: self.stop.clone(),
            };
            match self.plan.workload {
                Workload::Contenders { .. } | Workload::Agents { .. } => {
                    env.spawn(holder.contend());
                }
                Workload::Claimers { .. } => env.spawn(holder.claim_on()),
            }
        }
        env.spawn(watch(client, self.ledger.clone(), host, self.stop.clone()));
        Ok(())
    }

    /// As the seeds' tool has it: unit `u` at controller `u`, until that one is lost.
    fn config(&self, controller: usize) -> client::Config {
        let addresses = &self.asking.addresses;
        client::Config {
            agent: agent::Config {
                dialer: dialer::Config {
                    manner: Manner::User,
                    dial_within: DIAL_WITHIN,
                    backoff: BACKOFF,
                    ..dialer::Config::default()
                },
                ..agent::Config::default()
            },
            addresses: vec![addresses[controller % addresses.len()].clone()],
            tls: self.asking.tls.clone(),
            pass: self.asking.pass.clone(),
            place: self.asking.place(),
            follows: None,
        }
    }

    fn source(&self, number: u64) -> Option<IpAddr> {
        let count = self.sources.len() as u64;
        number.checked_rem(count).map(|at| self.sources[at as usize])
    }

    async fn tell(&self, event: Event) {
        // Nobody listens any more only when all is over.
        let _ = self.ledger.send(event).await;
    }
}

/// Tells when the connection breaks and when there is another.
async fn watch(client: Client, ledger: mpsc::Sender<Event>, host: Host, stop: CancellationToken) {
    let mut standing = client.standing();
    let watching = async {
        loop {
            let there = standing.wait_for(|standing| standing.line.is_some()).await;
            let Some(line) = there.ok().and_then(|standing| standing.line.clone()) else { return };
            line.gone().await;
            // Nobody listens any more only when all is over.
            let _ = ledger.send(Event::Disconnected).await;
            drop(line);
            if standing.wait_for(|standing| standing.line.is_none()).await.is_err() {
                return;
            }
            if standing.wait_for(|standing| standing.line.is_some()).await.is_err() {
                return;
            }
            let _ = ledger.send(Event::Connected { at: host.now() }).await;
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = watching => {}
    }
}
