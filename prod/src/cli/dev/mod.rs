//! `dev`: a whole cluster on this machine, each controller a process of its own.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fmt};

use clap::Args;
use portcullis::config::PEERS_MAX;
use portcullis::tokio_env::{Ports, Tokio};
use portcullis_core::Door;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client_file::{self, Account};
use super::exit::Failure;

mod child;
mod cluster;
mod folder;

use child::{Child, Event};
use cluster::{Cluster, Settings};
use folder::Folder;
pub use folder::make as make_folder;

/// Most events of the controllers that wait to be printed.
const EVENTS_MAX: usize = 64;

#[derive(Args)]
#[group(skip)]
pub struct Arguments {
    /// Folder for everything the cluster keeps [default: ~/.local/state/portcullis/dev]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// How many controllers, when the folder is new
    #[arg(
        long,
        value_name = "N",
        default_value_t = 3,
        value_parser = clap::value_parser!(u64).range(1..=PEERS_MAX as u64)
    )]
    controllers: u64,
    /// How many agents each API door lets in at once before it paces them; 0 for as many as come
    ///
    /// Without it the doors are not paced, unless `--accept paced` asks for it: then 10 come in,
    /// and one every 250 ms after them, which is too slow for `load`.
    #[arg(long, value_name = "N")]
    agent_ratelimit_max: Option<u32>,
    /// What decides how fast the API doors let in [default: adaptive]
    #[arg(long, value_name = "MODE", value_parser = ["adaptive", "paced"])]
    accept: Option<String>,
    /// What is done about a controller that has more agents than its share [default: redirect]
    #[arg(long, value_name = "POLICY", value_parser = POLICIES)]
    balance: Option<String>,
    /// Least time from one agent that is moved to the next [default: 250ms]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    moves_rate: Option<Duration>,
    /// How long an agent stays at least before it is moved, above 1m [default: 2m]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    move_again_after: Option<Duration>,
}

/// What can be said after `--balance`: the policies of a configuration.
const POLICIES: [&str; 5] = ["none", "random-refusal", "shed", "redirect", "order"];

/// Runs the cluster until Ctrl-C or SIGTERM.
pub fn dev(arguments: &Arguments) -> Result<(), Failure> {
    let path = match &arguments.dir {
        Some(path) => path.clone(),
        None => client_file::default_folder()?,
    };
    let folder = Folder::open(&path)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(Failure::wrong)?;
    runtime.block_on(async {
        // Ports are reserved, and stay so, before anything else can take them.
        let settings = Settings {
            accept: arguments.accept.clone(),
            agent_ratelimit_max: arguments.agent_ratelimit_max,
            balance: arguments.balance.clone(),
            moves_rate: arguments.moves_rate,
            move_again_after: arguments.move_again_after,
        };
        let cluster = Cluster::prepare(&folder, arguments.controllers, settings)?;
        say(format_args!(
            "Starting {} controllers in {}",
            cluster.controllers.len(),
            path.display()
        ));
        let is_default = arguments.dir.is_none();
        run(&folder, &cluster, is_default).await
    })
}

async fn run(folder: &Folder, cluster: &Cluster, is_default: bool) -> Result<(), Failure> {
    let program = env::current_exe().map_err(Failure::wrong)?;
    let env =
        Tokio::start(folder.path().to_owned(), Ports::Own).map_err(Failure::at(folder.path()))?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(Failure::wrong)?;
    let mut terminated = signal(SignalKind::terminate()).map_err(Failure::wrong)?;
    let stop = CancellationToken::new();
    let kill = CancellationToken::new();
    let children = TaskTracker::new();
    let (events, mut happened) = mpsc::channel(EVENTS_MAX);
    for controller in &cluster.controllers {
        let child = Child {
            id: controller.id,
            program: program.clone(),
            config: controller.config.clone(),
            log: controller.log.clone(),
            env: env.clone(),
            stop: stop.clone(),
            kill: kill.clone(),
            events: events.clone(),
        };
        children.spawn(child.keep_running());
    }
    drop(events);
    children.close();

    let mut progress = Progress { open: BTreeMap::new(), ready: false };
    loop {
        tokio::select! {
            biased;
            _ = interrupted.recv() => end(&stop, &kill),
            _ = terminated.recv() => end(&stop, &kill),
            event = happened.recv() => match event {
                Some(event) => {
                    progress.say(&event, cluster);
                    if progress.is_ready_at_last(cluster) {
                        say(format_args!("{}", welcome(folder, cluster, is_default)));
                    }
                }
                // Every child has ended, which they do only when told to stop.
                None => break,
            },
        }
    }
    children.wait().await;
    say(format_args!("Stopped. Everything is kept in {}", folder.path().display()));
    Ok(())
}

/// Tells whoever runs the cluster; if they have stopped reading, it runs on all the same.
fn say(what: fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{what}");
}

/// Stops the controllers; asked again, kills those that have not stopped yet.
fn end(stop: &CancellationToken, kill: &CancellationToken) {
    if stop.is_cancelled() {
        kill.cancel();
    } else {
        say(format_args!("Stopping; once more to kill"));
        stop.cancel();
    }
}

/// Which doors are open, to say so once all are.
struct Progress {
    open: BTreeMap<(u64, Door), u32>,
    ready: bool,
}

impl Progress {
    fn say(&mut self, event: &Event, cluster: &Cluster) {
        match event {
            Event::Started { id, process } => {
                self.open.retain(|(of, _), _| of != id);
                say(format_args!("controller-{id} started as process {process}"));
            }
            Event::Opened { id, door, process, after } => {
                self.open.insert((*id, *door), *process);
                if self.ready {
                    let after = after.as_secs_f32();
                    say(format_args!("controller-{id} opened its {door} after {after:.1}s"));
                }
            }
            Event::Ended { id, how, wait } => {
                let log = cluster.log(*id).display();
                let wait = wait.as_secs_f32();
                say(format_args!(
                    "controller-{id} ended ({how}), starts again in {wait:.1}s; see {log}"
                ));
            }
            Event::Removed { id } => {
                self.open.retain(|(of, _), _| of != id);
                say(format_args!("controller-{id} was removed from the cluster, and has stopped"));
            }
        }
    }

    fn is_ready_at_last(&mut self, cluster: &Cluster) -> bool {
        let open = |id| self.open.contains_key(&(id, Door::Api));
        let ready = !self.ready && cluster.controllers.iter().all(|one| open(one.id));
        self.ready |= ready;
        ready
    }
}

/// What somebody who has never seen the program needs to go on.
fn welcome(folder: &Folder, cluster: &Cluster, is_default: bool) -> String {
    let mut lines = vec![String::new(), "All controllers are open:".to_owned()];
    for controller in &cluster.controllers {
        lines.push(format!(
            "  controller-{}  agents and users {}  controllers {}",
            controller.id, controller.api, controller.peers
        ));
    }
    lines.push(format!("Data, certificates and logs: {}", folder.path().display()));
    lines.push("Accounts:".to_owned());
    for Account { name, password, .. } in &cluster.accounts {
        lines.push(format!("  {name:<10} {}", password.as_deref().unwrap_or_default()));
    }
    let program = env::args().next().unwrap_or_else(|| "portcullis".to_owned());
    let client = match is_default {
        true => String::new(),
        false => format!(" --client {}", quoted(&folder.client_file())),
    };
    lines.push("Try, in another terminal:".to_owned());
    for command in ["lease claim mysql mysql/0 --for 60s", "lease list", "status"] {
        lines.push(format!("  {program} {command}{client}"));
    }
    lines.push("Ctrl-C stops everything.".to_owned());
    lines.join("\n")
}

/// The path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@".contains(c);
    match text.chars().all(plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}
