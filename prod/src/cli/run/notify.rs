//! What the service manager is told: systemd's `sd_notify` protocol, datagrams of `KEY=value` lines.
//!
//! Without `NOTIFY_SOCKET` in the environment nobody is told anything.

use std::env;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::time::Duration;

use portcullis::node::{Node, Ports, Readiness};
use portcullis::tokio_env::{Tokio, monotonic};
use tracing::{info, warn};

use super::super::exit::Failure;

/// Longest time that a full socket of the service manager may hold this process up.
const TELL_WITHIN: Duration = Duration::from_secs(1);

/// The way to the service manager, if there is one.
pub struct Manager {
    socket: Option<UnixDatagram>,
    /// How often it wants to hear that this process is alive.
    watchdog: Option<Duration>,
}

impl Manager {
    /// Whoever the environment names; refuses an address that means nothing.
    pub fn find() -> Result<Manager, Failure> {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Ok(Manager { socket: None, watchdog: None });
        };
        let socket = dial(&name).map_err(|error| {
            Failure::wrong(format!("NOTIFY_SOCKET {}: {error}", name.to_string_lossy()))
        })?;
        Ok(Manager { socket: Some(socket), watchdog: watchdog()? })
    }

    fn tell(&self, lines: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(lines.as_bytes())
        {
            warn!(%error, "the service manager could not be told");
        }
    }

    /// The configuration is read again; [`Manager::reloaded`] must follow.
    pub fn reloading(&self) {
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", monotonic().as_micros()));
    }

    /// It has been read, or refused.
    pub fn reloaded(&self) {
        self.tell("READY=1");
    }

    /// The process stops.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=stopping: letting agents go, handing the lead over");
    }

    /// Says how the controller is, at every change, and ready once agents are let in for the first
    /// time. Never ends.
    pub async fn follow(&self, node: &Node<Tokio>) {
        let (mut ports, mut readiness) = (node.ports(), node.readiness());
        let mut ready = false;
        loop {
            let (bound, how) =
                (ports.borrow_and_update().clone(), readiness.borrow_and_update().clone());
            let mut lines = format!("STATUS={}", status(&bound, &how));
            if how.open && !ready {
                ready = true;
                lines.insert_str(0, "READY=1\n");
                info!("ready");
            }
            self.tell(&lines);
            tokio::select! {
                biased;
                changed = ports.changed() => if changed.is_err() { break },
                changed = readiness.changed() => if changed.is_err() { break },
            }
        }
        // The controller is gone, and whoever stopped it says so.
        std::future::pending().await
    }

    /// Says that the process is alive for as long as its machine answers, if anybody wants to know.
    /// Never ends.
    pub async fn watch(&self, node: &Node<Tokio>, sleep: impl AsyncFn(Duration)) {
        let Some(watchdog) = self.watchdog else { return std::future::pending().await };
        loop {
            // Who does not answer any more is not alive, whatever this task says.
            if node.status().await.is_some() {
                self.tell("WATCHDOG=1");
            }
            sleep(watchdog / 2).await;
        }
    }
}

/// One line on what is open and what is waited for.
fn status(ports: &Ports, readiness: &Readiness) -> String {
    let mut text = readiness.to_string();
    let api = ports.api.map(|address| address.to_string());
    let controller = ports.controller.as_ref().map(|at| at.to_string());
    for (key, at) in [("api-port", api), ("controller-api-port", controller)] {
        if let Some(at) = at {
            // Writing to a string does not fail.
            let _ = write!(text, "; {key} {at}");
        }
    }
    text
}

/// Connects to a path, or to an abstract name after `@`.
fn dial(name: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    match name.as_bytes() {
        [b'@', name @ ..] => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        [b'/', ..] => socket.connect(name)?,
        _ => {
            let says = "is neither a path from the root nor an abstract name after @";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, says));
        }
    }
    socket.set_write_timeout(Some(TELL_WITHIN))?;
    Ok(socket)
}

/// How often the service manager wants a sign of life of this process.
fn watchdog() -> Result<Option<Duration>, Failure> {
    let Some(every) = env::var_os("WATCHDOG_USEC") else { return Ok(None) };
    let meant = env::var("WATCHDOG_PID").ok();
    if meant.is_some_and(|process| process != process::id().to_string()) {
        return Ok(None);
    }
    let every = every.to_str().and_then(|every| every.parse().ok()).filter(|every| *every > 0);
    let says = "WATCHDOG_USEC is not a number of microseconds above zero";
    Ok(Some(Duration::from_micros(every.ok_or_else(|| Failure::wrong(says))?)))
}
