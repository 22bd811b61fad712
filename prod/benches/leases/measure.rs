//! One cell on one cluster: connect, warm up, measure.

use std::cell::Cell as Counter;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures_util::StreamExt;
use futures_util::stream::{self, FuturesUnordered};
use portcullis::env::Env;
use portcullis::tokio_env::Tokio;
use portcullis_core::backoff::{self, Backoff};
use portcullis_core::{Rng, Time};
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::spawn_local;

use super::cells::{Cell, UNITS, Work};
use super::leash::Used;
use super::side::{Answer, Claimer, Cluster};

/// Connections that are made at one time.
const CONNECTING: usize = 64;
/// How long claims run before they are counted.
const WARM: Duration = Duration::from_secs(1);
/// How long a cluster may take to answer its first claim.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long a herd may take; who has no answer by then is counted as never answered.
const HERD_WITHIN: Duration = Duration::from_secs(60);
/// How long connections have been idle when their memory is read.
const IDLE: Duration = Duration::from_secs(2);
/// How long to wait after an answer that settles nothing, unless the answer says so.
const BACKOFF: backoff::Config =
    backoff::Config { first: Duration::from_millis(25), most: Duration::from_secs(1), growth: 200 };

/// What came of a cell on one cluster.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Sample {
    /// Answers a second; of a herd, the contenders by the time until the last had its answer.
    pub rate: f64,
    /// Time from ask to answer, or from a herd's start to the definite answer, in milliseconds.
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
    /// Asks with a definite answer.
    pub answered: usize,
    /// Asks that were sent away for want of room.
    pub refused: u64,
    /// Asks that came to nothing otherwise, and contenders that never had an answer.
    pub failed: u64,
    /// The most memory that one server has had, in bytes.
    pub memory_max: u64,
    /// Memory of all servers for each connection that only stays, in bytes.
    pub memory_each: f64,
    /// Processor time of all servers for each answer, in microseconds.
    pub server_each: f64,
    /// Processor time of this process for each answer, in microseconds.
    pub generator_each: f64,
    /// Of the processor time of generator and servers, the generator's part.
    pub generator_share: f64,
    /// The first failure, in words.
    pub trouble: Option<String>,
}

/// What one claimer has counted.
#[derive(Default)]
struct Tally {
    latencies: Vec<Duration>,
    granted: u64,
    refused: u64,
    failed: u64,
    trouble: Option<String>,
}

/// Measures the cell.
pub async fn measure(world: &Tokio, cluster: &Cluster, cell: Cell, seconds: u64) -> Result<Sample> {
    ready(world, cluster).await?;
    let before = Used::together(cluster.processes())?;
    let mut claimers = connect(world, cluster, cell.connections).await?;
    match cell.work {
        Work::Idle => idle(world, cluster, claimers, before).await,
        Work::Claims | Work::Newcomers | Work::Contended => {
            run(world, cluster, cell.work, claimers, seconds).await
        }
        Work::Renewals => {
            for (number, claimer) in claimers.iter_mut().enumerate() {
                let answer = claimer.claim(&own(number), &holder(0)).await;
                ensure!(matches!(answer, Answer::Granted), "claiming what to renew: {answer:?}");
            }
            run(world, cluster, cell.work, claimers, seconds).await
        }
        Work::Herd => herd(world, cluster, claimers).await,
    }
}

/// Waits until every server answers claims.
async fn ready(world: &Tokio, cluster: &Cluster) -> Result<()> {
    let patience = world.now() + READY_WITHIN;
    let mut last = String::new();
    for at in 0..cluster.processes().len() {
        loop {
            ensure!(world.now() < patience, "server {at} answers no claims: {last}");
            match cluster.connect(world, at).await {
                Ok(mut claimer) => match first_claim(&mut claimer, at).await {
                    Ok(()) => break,
                    Err(error) => last = format!("{error:#}"),
                },
                Err(error) => last = format!("{error:#}"),
            }
            world.sleep_until(world.now() + BACKOFF.first).await;
        }
    }
    Ok(())
}

async fn first_claim(claimer: &mut Claimer, at: usize) -> Result<()> {
    claimer.prepare().await?;
    match claimer.claim(&format!("ready-{at}"), &holder(0)).await {
        Answer::Granted | Answer::Denied => Ok(()),
        Answer::Refused { .. } => bail!("refused"),
        Answer::Failed(what) => bail!(what),
    }
}

/// Connects so many, by turns to each of the servers.
async fn connect(world: &Tokio, cluster: &Cluster, count: usize) -> Result<Vec<Claimer>> {
    let each = (0..count).map(|at| async move {
        let mut claimer = cluster.connect(world, at).await?;
        claimer.prepare().await?;
        Ok(claimer)
    });
    let all: Vec<Result<Claimer>> = stream::iter(each).buffered(CONNECTING).collect().await;
    all.into_iter().collect()
}

/// The lease of a claimer that renews.
fn own(number: usize) -> String {
    format!("own-{number}")
}

fn holder(unit: usize) -> String {
    format!("unit/{unit}")
}

/// Everybody asks again as soon as there is an answer.
async fn run(
    world: &Tokio,
    cluster: &Cluster,
    work: Work,
    claimers: Vec<Claimer>,
    seconds: u64,
) -> Result<Sample> {
    let from = world.now() + WARM;
    let until = from + Duration::from_secs(seconds);
    let asked = Rc::new(Counter::new(0));
    let each: FuturesUnordered<_> = claimers
        .into_iter()
        .enumerate()
        .map(|(number, claimer)| {
            let asking = Asking { world: world.clone(), work, number, asked: asked.clone() };
            spawn_local(asking.go_on(claimer, from, until))
        })
        .collect();
    world.sleep_until(from).await;
    let (began, before) = (world.now(), used(cluster)?);
    world.sleep_until(until).await;
    let (ended, after) = (world.now(), used(cluster)?);
    let tallies: Vec<Tally> = each.map(|tally| tally.expect("no claimer panics")).collect().await;
    let granted: u64 = tallies.iter().map(|tally| tally.granted).sum();
    let mut sample = sample(tallies, ended.since(began), before, after);
    if work == Work::Contended && sample.refused + sample.failed == 0 {
        // Those who came last may have had nobody to lose to.
        let leases = asked.get().div_ceil(UNITS) as u64;
        ensure!(granted == leases, "{leases} contended leases were granted {granted} times");
    }
    sample.rate = sample.answered as f64 / ended.since(began).as_secs_f64();
    Ok(sample)
}

/// Of servers and generator, in this order.
fn used(cluster: &Cluster) -> Result<(Used, Used)> {
    Ok((Used::together(cluster.processes())?, Used::by(std::process::id())?))
}

/// One who asks again and again.
struct Asking {
    world: Tokio,
    work: Work,
    number: usize,
    /// How many claims all of them have asked for.
    asked: Rc<Counter<usize>>,
}

impl Asking {
    async fn go_on(self, mut claimer: Claimer, from: Time, until: Time) -> Tally {
        let mut tally = Tally::default();
        let mut rng = self.world.seed().child("claimer", self.number as u64).rng();
        let mut backoff = Backoff::new(BACKOFF);
        while self.world.now() < until {
            let asked = self.world.now();
            let answer = self.ask(&mut claimer).await;
            let answered = self.world.now();
            match settles(answer, &mut tally) {
                Ok(()) if (from..until).contains(&answered) => {
                    tally.latencies.push(answered.since(asked));
                }
                Ok(()) => {}
                Err(asked) => {
                    let wait = backoff.wait(asked, &mut rng);
                    self.world.sleep_until(answered + wait).await;
                    continue;
                }
            }
            backoff.reset();
        }
        tally
    }

    async fn ask(&self, claimer: &mut Claimer) -> Answer {
        let each = match self.work {
            Work::Contended => UNITS,
            Work::Claims | Work::Newcomers | Work::Renewals | Work::Herd | Work::Idle => 1,
        };
        if self.work == Work::Renewals {
            return claimer.renew(&own(self.number), &holder(0)).await;
        }
        if self.work == Work::Newcomers
            && let Err(error) = claimer.prepare().await
        {
            return Answer::Failed(error.to_string());
        }
        let number = self.asked.get();
        self.asked.set(number + 1);
        claimer.claim(&format!("lease-{}", number / each), &holder(number % each)).await
    }
}

/// Counts an answer; if it settles nothing, says how long the asker is to wait at least.
fn settles(answer: Answer, tally: &mut Tally) -> Result<(), Duration> {
    match answer {
        Answer::Granted => tally.granted += 1,
        Answer::Denied => {}
        Answer::Refused { retry_after } => {
            tally.refused += 1;
            let seconds = retry_after.unwrap_or_default();
            return Err(Duration::try_from_secs_f64(seconds).unwrap_or_default());
        }
        Answer::Failed(what) => {
            tally.failed += 1;
            tally.trouble.get_or_insert(what);
            return Err(Duration::ZERO);
        }
    }
    Ok(())
}

/// Everybody asks at one moment, until there is a definite answer.
async fn herd(world: &Tokio, cluster: &Cluster, claimers: Vec<Claimer>) -> Result<Sample> {
    let contenders = claimers.len();
    let leases = contenders.div_ceil(UNITS);
    let (go, gone) = watch::channel(None);
    let each: FuturesUnordered<_> = claimers
        .into_iter()
        .enumerate()
        .map(|(number, claimer)| {
            let (world, mut gone) = (world.clone(), gone.clone());
            let rng = world.seed().child("contender", number as u64).rng();
            spawn_local(async move {
                let started = gone.wait_for(Option::is_some).await.map(|time| *time);
                let started = started.ok().flatten().expect("the herd starts before it ends");
                let (lease, holder) =
                    (format!("lease-{}", number % leases), holder(number / leases));
                contend(&world, claimer, &lease, &holder, started, rng).await
            })
        })
        .collect();
    let before = used(cluster)?;
    let started = world.now();
    // All of them listen, or will.
    go.send_replace(Some(started));
    let tallies: Vec<Tally> = each.map(|tally| tally.expect("no contender panics")).collect().await;
    let after = used(cluster)?;
    let granted: u64 = tallies.iter().map(|tally| tally.granted).sum();
    let never = tallies.iter().filter(|tally| tally.latencies.is_empty()).count();
    let last = tallies.iter().flat_map(|tally| &tally.latencies).max().copied();
    let last = last.context("nobody was answered")?;
    let mut sample = sample(tallies, last, before, after);
    sample.failed += never as u64;
    ensure!(
        sample.refused + sample.failed > 0 || granted == leases as u64,
        "{leases} leases were granted {granted} times"
    );
    Ok(sample)
}

async fn contend(
    world: &Tokio,
    mut claimer: Claimer,
    lease: &str,
    holder: &str,
    started: Time,
    mut rng: Rng,
) -> Tally {
    let mut tally = Tally::default();
    let mut backoff = Backoff::new(BACKOFF);
    while world.now() < started + HERD_WITHIN {
        let answer = claimer.claim(lease, holder).await;
        let answered = world.now();
        match settles(answer, &mut tally) {
            Ok(()) => {
                tally.latencies.push(answered.since(started));
                break;
            }
            Err(asked) => world.sleep_until(answered + backoff.wait(asked, &mut rng)).await,
        }
    }
    tally
}

/// Everybody stays and says nothing.
async fn idle(
    world: &Tokio,
    cluster: &Cluster,
    claimers: Vec<Claimer>,
    before: Used,
) -> Result<Sample> {
    world.sleep_until(world.now() + IDLE).await;
    let after = Used::together(cluster.processes())?;
    let more = after.memory.saturating_sub(before.memory);
    Ok(Sample {
        memory_each: more as f64 / claimers.len() as f64,
        memory_max: after.memory_max,
        answered: claimers.len(),
        ..Sample::default()
    })
}

fn sample(
    tallies: Vec<Tally>,
    took: Duration,
    before: (Used, Used),
    after: (Used, Used),
) -> Sample {
    let refused = tallies.iter().map(|tally| tally.refused).sum();
    let failed = tallies.iter().map(|tally| tally.failed).sum();
    let trouble = tallies.iter().find_map(|tally| tally.trouble.clone());
    let mut latencies: Vec<Duration> =
        tallies.into_iter().flat_map(|tally| tally.latencies).collect();
    latencies.sort_unstable();
    let answered = latencies.len();
    let permille = |share: usize| {
        let at = (answered * share).div_ceil(1_000).saturating_sub(1);
        latencies.get(at).map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
    };
    let servers = (after.0.cpu - before.0.cpu).as_secs_f64();
    let generator = (after.1.cpu - before.1.cpu).as_secs_f64();
    let each = |seconds: f64| seconds * 1e6 / answered.max(1) as f64;
    Sample {
        rate: answered as f64 / took.as_secs_f64(),
        p50: permille(500),
        p99: permille(990),
        max: permille(1_000),
        answered,
        refused,
        failed,
        memory_max: after.0.memory_max,
        memory_each: 0.0,
        server_each: each(servers),
        generator_each: each(generator),
        generator_share: generator / (generator + servers).max(f64::MIN_POSITIVE),
        trouble,
    }
}
