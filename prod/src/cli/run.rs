//! `run`: one controller, until it is told to stop.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::{panic, process, thread};

use clap::Args;
use portcullis::config::Config;
use portcullis::node::{self, Node};
use portcullis::tokio_env::{Ports, Tokio};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::exit::Failure;
use super::files;

#[derive(Args)]
#[group(skip)]
pub struct Arguments {
    /// The controller's configuration, in TOML
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Print each port when it is bound: its key, a space, and the address
    #[arg(long)]
    print_ports: bool,
    /// Share ports with another process of the same user, which holds them.
    #[arg(long, hide = true)]
    ports_reserved: bool,
    /// Stop when standard input ends.
    #[arg(long, hide = true)]
    until_stdin_closes: bool,
}

/// Runs the controller until Ctrl-C, SIGTERM, or the end of whoever started it; at SIGHUP it reads
/// its configuration again.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let config = Config::load(&arguments.config).map_err(Failure::wrong)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::wrong)?;
    runtime.block_on(serve(arguments, &config))
}

async fn serve(arguments: &Arguments, config: &Config) -> Result<(), Failure> {
    let mut interrupted = signal(SignalKind::interrupt()).map_err(Failure::wrong)?;
    let mut terminated = signal(SignalKind::terminate()).map_err(Failure::wrong)?;
    let mut hung_up = signal(SignalKind::hangup()).map_err(Failure::wrong)?;
    let ports = if arguments.ports_reserved { Ports::Reserved } else { Ports::Own };
    let env = Tokio::start(config.data_dir.clone(), ports).map_err(Failure::wrong)?;
    let whole = config.node().map_err(Failure::wrong)?;
    // Every connection is one.
    let files = files::raise();
    let node = Node::start(env, whole).await.map_err(|error| {
        Failure::wrong(format!("data folder {}: {error}", config.data_dir.display()))
    })?;
    end_on_panic();
    info!(controller = config.controller_id, files, "started");
    let mut closed = pin!(closed(arguments.until_stdin_closes));
    {
        let mut printed = pin!(print(arguments.print_ports, &node));
        loop {
            tokio::select! {
                biased;
                _ = interrupted.recv() => break info!("interrupted, stopping"),
                _ = terminated.recv() => break info!("terminated, stopping"),
                () = &mut closed => break info!("let go of, stopping"),
                () = node.removed() => {
                    return Err(Failure::wrong(
                        "this controller was removed from the cluster: it must be given an empty \
                         data folder and join anew",
                    ));
                }
                _ = hung_up.recv() => reload(&arguments.config, config, &node).await,
                () = &mut printed => {}
            }
        }
    }
    node.stop().await;
    Ok(())
}

/// Reads the file again and goes on with what may change, or says what is wrong with it and goes on
/// as before.
async fn reload(file: &Path, running: &Config, node: &Node<Tokio>) {
    let read = Config::load(file).map_err(|error| error.to_string());
    let read = read.and_then(|config| match config.live() {
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
            info!("configuration reloaded");
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
async fn closed(matters: bool) {
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

/// Prints each port when it is bound, if that is wanted, and never ends.
async fn print(wanted: bool, node: &Node<Tokio>) {
    let mut ports = node.ports();
    let mut known = node::Ports::default();
    loop {
        let bound = *ports.borrow_and_update();
        let doors = [
            ("controller-api-port", bound.controller, known.controller),
            ("api-port", bound.api, known.api),
            ("metrics-address", bound.metrics, known.metrics),
        ];
        for (key, bound, known) in doors {
            if let Some(address) = bound.filter(|_| wanted && bound != known) {
                // Whoever wanted to know may have gone; the controller serves all the same.
                let _ = writeln!(io::stdout(), "{key} {address}");
            }
        }
        known = bound;
        if ports.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
