//! Measures three durable controllers beside three durable etcd servers; see the README here.

mod cells;
mod etcd;
mod h2;
mod leash;
mod measure;
mod ours;
mod side;
mod table;

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use portcullis::tokio_env::{Ports, Tokio};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::LocalSet;

use cells::{Cell, Options};
use measure::{Sample, measure};
use side::Side;
use table::Table;

fn main() -> Result<()> {
    let options = Options::parse();
    let cells = options.cells();
    // A herd is 12,000 open files; the servers inherit the limit.
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).context("open files")?;
    side::sweep()?;
    let world = Tokio::start(env!("CARGO_TARGET_TMPDIR").into(), Ports::Own)?;
    let sides = sides(&options);
    let mut table = Table::default();
    let mut failed = 0;
    for round in 1..=options.rounds {
        for cell in &cells {
            for (side, program) in &sides {
                eprint!("round {round} of {}: {cell:<15} {} ", options.rounds, side.name());
                match once(&world, *side, program, *cell, options.seconds) {
                    Ok(sample) => {
                        eprintln!("{}", table::line(*cell, &sample));
                        table.add(*cell, *side, sample);
                    }
                    Err(error) => {
                        eprintln!("FAILED: {error:#}");
                        failed += 1;
                    }
                }
            }
        }
    }
    println!("{table}");
    table.save(&options.json).with_context(|| options.json.display().to_string())?;
    ensure!(failed == 0, "{failed} of the cells could not be measured");
    Ok(())
}

/// Who is measured, and says why if it is not everybody.
fn sides(options: &Options) -> Vec<(Side, &Path)> {
    let mut sides = vec![(Side::Ours, &*options.portcullis)];
    let version = Command::new(&options.etcd).arg("--version").stdin(Stdio::null()).output();
    match version {
        Ok(version) => {
            let text = String::from_utf8_lossy(&version.stdout).into_owned();
            eprintln!("{}", text.lines().next().unwrap_or_default());
            sides.push((Side::Etcd, &options.etcd));
        }
        Err(error) => eprintln!(
            "{}: {error}. SKIPPED: everything of etcd's, and so every ratio. It is Debian's \
             package etcd-server",
            options.etcd.display()
        ),
    }
    sides.retain(|(side, _)| options.only.is_none_or(|only| only == *side));
    sides
}

/// One cell on a cluster of its own, so that none inherits what another has left.
fn once(world: &Tokio, side: Side, program: &Path, cell: Cell, seconds: u64) -> Result<Sample> {
    // One thread: the generator is to leave the processors to the servers.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let cluster = side.start(program)?;
    let measured = LocalSet::new().block_on(&runtime, measure(world, &cluster, cell, seconds));
    // What is left of the connections goes with the runtime, before the servers do.
    drop(runtime);
    measured
}
