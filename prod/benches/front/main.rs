//! Measures a front beside HAProxy and beside a node's own door; see the README here.

mod bytes;
#[expect(dead_code, reason = "the other benchmark uses more of it")]
#[path = "../leases/leash.rs"]
mod leash;
mod sides;
mod work;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use clap::Parser;
use portcullis::tokio_env::{Ports, Tokio};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use sides::{Node, Side};
use work::Figure;

#[derive(Parser)]
struct Options {
    /// Rounds; each measures every side once.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Seconds that handshakes, and bytes, are counted for.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Idle connections.
    #[arg(long, default_value_t = 4_000)]
    idle: usize,
    /// The program that is measured.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_portcullis"))]
    portcullis: PathBuf,
    #[arg(long, default_value = "/usr/sbin/haproxy")]
    haproxy: PathBuf,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).context("open files")?;
    let world = Tokio::start(env!("CARGO_TARGET_TMPDIR").into(), Ports::Own)?;
    // One thread: the generator is to leave the processors to those who are measured.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let bytes = bytes::serve()?;
    let mut sides = vec![Side::Node, Side::Front(&options.portcullis)];
    let version = Command::new(&options.haproxy).arg("-v").stdin(Stdio::null()).output();
    match version {
        Ok(version) => {
            let text = String::from_utf8_lossy(&version.stdout).into_owned();
            eprintln!("{}", text.lines().next().unwrap_or_default());
            sides.push(Side::Haproxy(&options.haproxy));
        }
        Err(error) => eprintln!("{}: {error}. SKIPPED", options.haproxy.display()),
    }
    let mut figures: BTreeMap<(Figure, &str), Vec<f64>> = BTreeMap::new();
    for round in 1..=options.rounds {
        // Memory that the last round has left would do for this one's connections.
        let node = Node::start(&options.portcullis)?;
        for side in &sides {
            let measured = runtime.block_on(async {
                let mut measured = work::handshakes(&world, side, &node, options.seconds).await?;
                if !matches!(side, Side::Node) {
                    measured.extend(work::bytes(&world, side, bytes, options.seconds).await?);
                    measured.extend(work::idle(&world, side, bytes, options.idle).await?);
                } else {
                    measured.extend(work::idle_agents(&world, &node, options.idle).await?);
                }
                anyhow::Ok(measured)
            });
            let measured = measured.with_context(|| side.name())?;
            for (figure, number) in measured {
                eprintln!("round {round}: {:<8} {figure}: {number:.1}", side.name());
                figures.entry((figure, side.name())).or_default().push(number);
            }
        }
    }
    print(figures);
    Ok(())
}

/// A row for each figure and side, with how it compares with HAProxy of the same run.
fn print(mut figures: BTreeMap<(Figure, &str), Vec<f64>>) {
    figures.values_mut().for_each(|numbers| numbers.sort_by(f64::total_cmp));
    let median = |numbers: &Vec<f64>| numbers[numbers.len() / 2];
    println!("{:<40} {:<8} {:>12} {:>10}  [least .. most]", "", "", "median", "of haproxy");
    for ((figure, side), numbers) in &figures {
        let (least, most) = (numbers[0], numbers[numbers.len() - 1]);
        let (name, is) = (figure.to_string(), median(numbers));
        let beside = figures.get(&(*figure, "haproxy")).map(median);
        let ratio = beside.map_or("-".into(), |beside| format!("{:.2}", is / beside));
        println!("{name:<40} {side:<8} {is:>12.1} {ratio:>10}  [{least:.1} .. {most:.1}]");
    }
}
