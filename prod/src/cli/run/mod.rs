//! `run`: one controller, until it is told to stop.

use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::{panic, process, thread};

use clap::Args;
use portcullis::config::{Config, ConfigError};
use portcullis::env::Env;
use portcullis::node::Node;
use portcullis::tokio_env::{Ports, Tokio, today};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::exit::{Exit, Failure};
use super::files;

mod notify;
mod ports;

use notify::Manager;
use ports::PortsFile;

#[derive(Args)]
#[group(skip)]
pub struct Arguments {
    /// The controller's configuration, in TOML
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Print each port when it is bound, as a line of JSON: {"api-port":"0.0.0.0:17070"}
    #[arg(long)]
    print_ports: bool,
    /// Write which ports are bound to this file as JSON, whole, at every change, and remove it on a
    /// clean stop [default: the configuration's ports-file]
    #[arg(long, value_name = "FILE")]
    ports_file: Option<PathBuf>,
    /// File that says at which address controller-api-port is to be bound: YAML as Juju's controller
    /// charm writes it, or TOML [default: the configuration's bind-address-file]
    #[arg(long, value_name = "FILE")]
    bind_address_file: Option<PathBuf>,
    /// Share ports with another process of the same user, which holds them.
    #[arg(long, hide = true)]
    ports_reserved: bool,
    /// Stop when standard input ends.
    #[arg(long, hide = true)]
    until_stdin_closes: bool,
}

impl Arguments {
    /// By this file, and as nothing else was said.
    pub fn of(config: PathBuf) -> Arguments {
        Arguments {
            config,
            print_ports: false,
            ports_file: None,
            bind_address_file: None,
            ports_reserved: false,
            until_stdin_closes: false,
        }
    }
}

/// Runs the controller until Ctrl-C, SIGTERM, or the end of whoever started it; at SIGHUP it reads
/// its configuration again.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let config = load(arguments).map_err(Failure::wrong)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::wrong)?;
    runtime.block_on(serve(arguments, &config))
}

fn load(arguments: &Arguments) -> Result<Config, ConfigError> {
    Config::load_with(&arguments.config, |config| {
        if let Some(file) = &arguments.bind_address_file {
            config.bind_address_file = Some(file.clone());
        }
    })
}

async fn serve(arguments: &Arguments, config: &Config) -> Result<(), Failure> {
    let mut signals = Signals::catch().map_err(Failure::wrong)?;
    let manager = Manager::find()?;
    let ports = if arguments.ports_reserved { Ports::Reserved } else { Ports::Own };
    let env = Tokio::start(config.data_dir.clone(), ports).map_err(Failure::wrong)?;
    let whole = config.node().map_err(Failure::wrong)?;
    // Before anything is bound or opened: with it nobody would believe this controller.
    whole.certificate.check(today()).map_err(|error| {
        let file = arguments.config.display();
        Failure::wrong(format!(
            "{error}; `portcullis cluster renew-certificate --config {file}` issues another"
        ))
    })?;
    let file = arguments.ports_file.as_ref().or(config.ports_file.as_ref());
    let file =
        file.map(|path| PortsFile::start(path, config.controller_id).map_err(Failure::at(path)));
    let file = file.transpose()?;
    // Every connection is one.
    let files = files::raise();
    let node = Node::start(env.clone(), whole).await.map_err(|error| {
        Failure::wrong(format!("data folder {}: {error}", config.data_dir.display()))
    })?;
    end_on_panic();
    info!(controller = config.controller_id, mode = %config.mode(), files, "started");
    let why = {
        let mut closed = pin!(closed(arguments.until_stdin_closes));
        let mut told = pin!(async {
            let print = async {
                match arguments.print_ports {
                    true => ports::print(&node).await,
                    false => std::future::pending().await,
                }
            };
            let write = async {
                match &file {
                    Some(file) => file.follow(&node).await,
                    None => std::future::pending().await,
                }
            };
            let sleep = async |wait| env.sleep_until(env.now() + wait).await;
            tokio::join!(print, write, manager.follow(&node), manager.watch(&node, sleep))
        });
        loop {
            tokio::select! {
                biased;
                _ = signals.interrupted.recv() => break Some("interrupted, stopping"),
                _ = signals.terminated.recv() => break Some("terminated, stopping"),
                () = &mut closed => break Some("let go of, stopping"),
                () = node.removed() => break None,
                _ = signals.hung_up.recv() => {
                    manager.reloading();
                    reload(arguments, config, &node).await;
                    manager.reloaded();
                }
                _ = &mut told => {}
            }
        }
    };
    manager.stopping();
    let Some(why) = why else {
        if let Some(file) = file {
            file.remove();
        }
        return Err(removed(config.controller_id));
    };
    info!("{why}");
    tokio::select! {
        biased;
        _ = signals.interrupted.recv() => warn!("interrupted again, stopping at once"),
        _ = signals.terminated.recv() => warn!("terminated again, stopping at once"),
        () = node.stop() => {}
    }
    if let Some(file) = file {
        file.remove();
    }
    Ok(())
}

/// The last word of a controller that was removed from its cluster.
fn removed(id: u64) -> Failure {
    let says = format!(
        "controller-{id} was removed from the cluster, for ever: give it an empty data folder and \
         have it join anew"
    );
    Failure::new(Exit::Removed, says)
}

/// What a process is told from outside.
struct Signals {
    interrupted: Signal,
    terminated: Signal,
    hung_up: Signal,
}

impl Signals {
    fn catch() -> io::Result<Signals> {
        Ok(Signals {
            interrupted: signal(SignalKind::interrupt())?,
            terminated: signal(SignalKind::terminate())?,
            hung_up: signal(SignalKind::hangup())?,
        })
    }
}

/// Reads the file again and goes on with what may change, or says what is wrong with it and goes on
/// as before.
async fn reload(arguments: &Arguments, running: &Config, node: &Node<Tokio>) {
    let read = load(arguments).map_err(|error| error.to_string());
    // How it accepts takes a restart, and the pace that comes with that by default does too.
    let by = |config: &Config| Config { accept: running.accept, ..config.clone() };
    let read = read.and_then(|config| match by(&config).live() {
        Ok(live) => Ok((config, live)),
        Err(error) => Err(error.to_string()),
    });
    match read {
        Err(error) => warn!("configuration not reloaded, the last one stays:\n{error}"),
        Ok((config, live)) => {
            for key in running.restart_keys(&config) {
                warn!(key, "changed in the configuration, and takes a restart");
            }
            node.reload(live).await;
            info!(mode = %config.mode(), "configuration reloaded");
        }
    }
}

/// From here on a panic, which is a broken invariant, ends the process: a controller that has lost a
/// task must not look alive. Whoever watches the process starts it again. (While the store is opened,
/// a panic of its library on damage is caught and reported.)
pub fn end_on_panic() {
    let tell = panic::take_hook();
    panic::set_hook(Box::new(move |what| {
        tell(what);
        process::abort();
    }));
}

/// Returns when standard input ends, or never if that is of no interest.
pub async fn closed(matters: bool) {
    if matters {
        let (ended, end) = oneshot::channel::<()>();
        thread::spawn(move || {
            // Whatever is written there is of no interest, and a broken pipe is an end too.
            let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
            drop(ended);
        });
        // The sender is only ever dropped, which is what is waited for.
        let _ = end.await;
    } else {
        std::future::pending().await
    }
}
