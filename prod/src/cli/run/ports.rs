//! Where the ports are that were bound, told to whoever started this process.
//!
//! Seed 000: a port that is opened to get a number, closed, and handed on as that number may be
//! somebody else's by the time it is used. So the process that binds it says which it got.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;

use portcullis::node::{At, Node, Ports};
use portcullis::tokio_env::Tokio;
use serde_json::{Value, json};
use tracing::warn;

/// The ports in the words of the configuration.
fn named(ports: &Ports) -> [(&'static str, Option<String>); 4] {
    let (port, socket) = match &ports.controller {
        Some(At::Port(address)) => (Some(address.to_string()), None),
        Some(At::Socket(path)) => (None, Some(path.display().to_string())),
        None => (None, None),
    };
    [
        ("controller-api-port", port),
        ("controller-socket", socket),
        ("api-port", ports.api.map(|address| address.to_string())),
        ("metrics-address", ports.metrics.map(|address| address.to_string())),
    ]
}

/// Prints each port when it is bound, as a JSON object in a line of its own, and never ends.
pub async fn print(node: &Node<Tokio>) {
    let mut ports = node.ports();
    let mut known = named(&Ports::default());
    loop {
        let bound = named(&ports.borrow_and_update());
        for ((key, at), (_, known)) in bound.iter().zip(&known) {
            if let Some(at) = at.as_ref().filter(|_| at != known) {
                // Whoever wanted to know may have gone; the controller serves all the same.
                let _ = writeln!(io::stdout(), "{}", json!({ *key: at }));
            }
        }
        known = bound;
        if ports.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The file that says which ports are bound, for as long as this lives.
pub struct PortsFile {
    path: PathBuf,
    controller: u64,
}

impl PortsFile {
    /// Writes that nothing is bound yet, so that nobody reads what an earlier process left there.
    pub fn start(path: &Path, controller: u64) -> io::Result<PortsFile> {
        let file = PortsFile { path: path.to_owned(), controller };
        file.write(&Ports::default())?;
        Ok(file)
    }

    /// Writes what is bound at every change, and never ends.
    pub async fn follow(&self, node: &Node<Tokio>) {
        let mut ports = node.ports();
        loop {
            let bound = ports.borrow_and_update().clone();
            if let Err(error) = self.write(&bound) {
                warn!(file = %self.path.display(), %error, "ports-file not written");
            }
            if ports.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Replaces the file as a whole: a reader finds the old one or the new one.
    fn write(&self, ports: &Ports) -> io::Result<()> {
        let mut said = json!({ "controller-id": self.controller, "process": process::id() });
        for (key, at) in named(ports) {
            said[key] = at.map_or(Value::Null, Value::String);
        }
        let mut next = self.path.clone().into_os_string();
        next.push(format!(".{}", process::id()));
        let next = PathBuf::from(next);
        let written = (|| {
            let mut file = File::create(&next)?;
            writeln!(file, "{said:#}")?;
            file.sync_all()?;
            fs::rename(&next, &self.path)
        })();
        if written.is_err() {
            // What there is of it is of no use, and the reason is told already.
            let _ = fs::remove_file(&next);
        }
        written
    }

    /// The process stops well: nothing is bound any more.
    pub fn remove(self) {
        if let Err(error) = fs::remove_file(&self.path) {
            warn!(file = %self.path.display(), %error, "ports-file not removed");
        }
    }
}
