//! Watch: a run in the terminal as it goes on.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use portcullis_core::Time;

use super::arguments::{SEEDS, Scale, Which};
use super::files::{find, is_plan, load, one_plan};
use super::{carry_out, print};
use crate::history::History;
use crate::plan::Plan;
use crate::settings::Engine;
use crate::watch::{End, Keeper, Live, Rein, Speed, give_back};

/// The exit code of a process that was interrupted, as shells have it.
const INTERRUPTED: i32 = 130;

/// What is watched, and how fast.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// A scenario file, or a plan.
    path: PathBuf,
    /// This engine. Without it, the first that the scenario names.
    #[arg(long)]
    engine: Option<Engine>,
    /// Where the run's randomness starts.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(..SEEDS))]
    seed: u64,
    /// Seconds of the run in a second: 10x, 0.5x, or max. 10x on a terminal, and max elsewhere.
    #[arg(long)]
    speed: Option<Speed>,
}

/// Executes a plan while somebody looks on, and prints its page.
pub fn run(arguments: &Arguments, scale: &Scale) -> anyhow::Result<u8> {
    let Arguments { path, engine, seed, speed } = arguments;
    let first = || Ok::<_, anyhow::Error>(load(&find(path)?)?.engines.first().copied());
    let engine = if engine.is_some() || is_plan(path) { *engine } else { first()? };
    let plan = one_plan(path, &Which { engine, seed: *seed }, scale)?;
    Ok(show(&plan, *speed))
}

/// A screen needs a terminal; elsewhere a line each simulated second says how it goes, as fast as
/// can be unless a speed is given.
fn show(plan: &Plan, speed: Option<Speed>) -> u8 {
    let draws = std::io::stdout().is_terminal();
    let speed = speed.unwrap_or(if draws { Speed::PLEASANT } else { Speed::Max });
    // A panic is printed to whoever looks at the terminal as it was.
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        give_back();
        tell(panic);
    }));
    let rein = Rein::new(if speed == Speed::Max { Time(u64::MAX) } else { Time(0) });
    let keeper = Keeper::new(rein.clone(), speed, draws);
    let keeper = std::thread::spawn(move || {
        let end = keeper.keep();
        // The run stands where it may not go on, so nothing is lost that anybody waits for.
        match end {
            End::Over => {}
            End::Quit => std::process::exit(0),
            End::Interrupted => std::process::exit(INTERRUPTED),
        }
    });
    let history = History::new(plan).recorded(plan).live(Live::new(plan, rein.clone(), !draws));
    let outcome = carry_out(plan, history);
    rein.close(outcome.verdict().to_string());
    // It ends once somebody has looked at the end, or at once where nobody can.
    if keeper.join().is_err() {
        return 2;
    }
    print(&outcome.to_string());
    outcome.verdict().code()
}
