//! The turmoil engine: the production shell, whole, over a simulated network.
//!
//! Every controller has a host of its own, and all agents share one, for turmoil's cost is cubic in
//! hosts. One tick is a millisecond, and so is the finest time in its histories.
//!
//! What turmoil bends: a connection that lost something in a partition never recovers, so it ends
//! by the silence limits of both sides; a slowed link is slow at a constant rate, and stays
//! constant when it is slow no more; a memory limit and a slow disk have no effect: memory is only
//! modelled by the direct engine, and redb's writes are plain calls, which cannot wait for a
//! simulated time.

mod host;

use std::sync::Arc;
use std::time::Duration;

use portcullis_core::{NodeId, Seed, Time};
use turmoil::Sim;

use super::Ran;
use super::shell::{Play, Supervisor, name};
use crate::history::{Event, History, Who};
use crate::plan::Plan;
use crate::stage::{Deed, Place, Stage};
use host::Host;

const TICK: Duration = Duration::from_millis(1);

/// Executes a plan.
pub fn run(plan: &Plan, history: History) -> (Ran, History) {
    let play = Arc::new(Play::new(plan, history));
    let mut sim = turmoil::Builder::new()
        .simulation_duration(Duration::MAX)
        .tick_duration(TICK)
        .min_message_latency(plan.settings.network.latency_least)
        .max_message_latency(plan.settings.network.latency_most)
        .tcp_capacity(usize::from(u16::MAX))
        .rng_seed(Seed(plan.settings.seed).child("turmoil", 0).0)
        .build();
    for node in plan.controllers() {
        let play = play.clone();
        sim.host(node.to_string(), move || perform(play.clone(), node));
    }
    let agents = play.clone();
    sim.host(name(Place::Agents), move || agents_perform(agents.clone()));

    let mut stage = Stage::new(plan);
    let mut deeds = Vec::new();
    let mut supervisor = Supervisor::default();
    let mut now = Time(0);
    while now < plan.ends() {
        now = Time(0) + sim.elapsed();
        play.book.turn(now);
        stage.due(now, play.book.parts(), &mut deeds);
        for deed in deeds.drain(..) {
            play.book.record(Who::World, Event::Did(&deed));
            supervisor.saw(&deed);
            act(&play, &mut sim, deed);
        }
        for node in supervisor.ended(&play, now) {
            sim.crash(node.to_string());
        }
        for node in supervisor.due(now) {
            sim.bounce(node.to_string());
        }
        if now.0.is_multiple_of(1_000_000) && play.book.over() {
            break;
        }
        // A host's software returns an error only if it cannot start, which is a bug.
        if let Err(error) = sim.step() {
            tracing::error!(%error, "a host failed");
            break;
        }
    }
    drop(sim);
    let history = play.book.close().expect("nobody else closes it");
    (Ran { ended: now, draws: play.draws() }, history)
}

/// One process of a controller.
async fn perform(play: Arc<Play>, node: NodeId) -> turmoil::Result {
    let ordered = play.wanted(node).await;
    let life = turmoil::sim_elapsed().unwrap_or_default();
    let seed = play.seed_of(node, life);
    let host = Host::start(&play, Place::Controller(node), seed);
    host.scope(play.control(host.clone(), node, ordered)).await?;
    Ok(())
}

/// The agents' host.
async fn agents_perform(play: Arc<Play>) -> turmoil::Result {
    let seed = play.seed_of_agents();
    let host = Host::start(&play, Place::Agents, seed);
    host.scope(play.act(host.clone())).await?;
    Ok(())
}

/// Does a deed of the plan.
fn act(play: &Play, sim: &mut Sim<'_>, deed: Deed) {
    let network = &play.plan.settings.network;
    match deed {
        Deed::Crash(node) => {
            play.dies(node);
            sim.crash(node.to_string());
            play.died(node, Time(0) + sim.elapsed());
        }
        Deed::Restart(node) => sim.bounce(node.to_string()),
        Deed::Cut { from, to } => sim.partition_oneway(name(from), name(to)),
        Deed::Mend { from, to } => sim.repair_oneway(name(from), name(to)),
        Deed::Hold { from, to } => sim.hold(name(from), name(to)),
        Deed::Release { from, to } => sim.release(name(from), name(to)),
        Deed::Slow { from, to, by } => {
            sim.set_link_latency(name(from), name(to), network.latency_most + by);
        }
        // No plan for this engine has anybody lose itself or stand still.
        Deed::LoseItself(_) | Deed::FindItself(_) | Deed::Pause(_) | Deed::Resume(_) => {}
        Deed::Stop(_)
        | Deed::Remove(_)
        | Deed::Herd
        | Deed::RestartAgents
        | Deed::Claim(_)
        | Deed::ControllerPort { .. }
        | Deed::BindFile { .. }
        | Deed::ApiAddresses { .. }
        | Deed::Limit(_)
        | Deed::SlowDisk { .. }
        | Deed::FillDisk(_)
        | Deed::FreeDisk(_)
        | Deed::BreakDisk { .. }
        | Deed::Failed(_)
        | Deed::Drift { .. }
        | Deed::Settle
        | Deed::Join(_)
        | Deed::Left(_) => play.tell(deed),
    }
}
