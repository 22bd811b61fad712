//! The two sides that are measured, behind one face.

use std::fs;
use std::path::Path;
use std::process;
use std::time::Duration;

use anyhow::{Context, Result};
use portcullis::tokio_env::Tokio;
use serde::Serialize;
use tempfile::TempDir;

use super::{etcd, ours};

/// How long a lease is held unless it is renewed: Juju's leadership.
pub const LEASE: Duration = Duration::from_secs(60);

/// Where stores are: on the disk that the build is on, since a temporary file system keeps nothing.
const FOLDERS: &str = env!("CARGO_TARGET_TMPDIR");
/// What a folder of a cluster begins with; the process that made it follows.
const FOLDER: &str = "leases-";

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    Ours,
    Etcd,
}

/// What came of an ask.
#[derive(Debug)]
pub enum Answer {
    /// The asker has the lease.
    Granted,
    /// Somebody else has it, for certain.
    Denied,
    /// No room; come back after so many seconds, if that is said.
    Refused { retry_after: Option<f64> },
    /// Anything else: the asker does not know.
    Failed(String),
}

/// Three durable servers.
pub enum Cluster {
    Ours(ours::Cluster),
    Etcd(etcd::Cluster),
}

/// One connection to one of them, for one who claims.
pub enum Claimer {
    Ours(Box<ours::Agent>),
    Etcd(etcd::Session),
}

/// Removes what runs that were killed have left.
pub fn sweep() -> Result<()> {
    for entry in fs::read_dir(FOLDERS)? {
        let entry = entry?;
        let name = entry.file_name().into_string().unwrap_or_default();
        let maker = name.strip_prefix(FOLDER).and_then(|rest| rest.split('-').next());
        if maker.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

impl Side {
    /// How it is called.
    pub fn name(self) -> &'static str {
        match self {
            Side::Ours => "ours",
            Side::Etcd => "etcd",
        }
    }

    /// Starts three servers with an empty store each, which is lost with the cluster.
    pub fn start(self, program: &Path) -> Result<Cluster> {
        let folder = TempDir::with_prefix_in(format!("{FOLDER}{}-", process::id()), FOLDERS)?;
        let cluster = match self {
            Side::Ours => ours::Cluster::start(program, folder).map(Cluster::Ours),
            Side::Etcd => etcd::Cluster::start(program, folder).map(Cluster::Etcd),
        };
        cluster.with_context(|| format!("starting {}", program.display()))
    }
}

impl Cluster {
    /// The processes of the servers.
    pub fn processes(&self) -> &[u32] {
        match self {
            Cluster::Ours(cluster) => &cluster.processes,
            Cluster::Etcd(cluster) => &cluster.processes,
        }
    }

    /// Connects to one of the servers, and does what must be done before the first claim.
    pub async fn connect(&self, world: &Tokio, at: usize) -> Result<Claimer> {
        Ok(match self {
            Cluster::Ours(cluster) => {
                Claimer::Ours(Box::new(cluster.connect(world, at).await.context("connecting")?))
            }
            Cluster::Etcd(cluster) => {
                Claimer::Etcd(cluster.connect(world, at).await.context("connecting to etcd")?)
            }
        })
    }
}

impl Claimer {
    /// Gets ready to claim. On etcd that is a session, which is asked of the log.
    pub async fn prepare(&mut self) -> Result<()> {
        match self {
            Claimer::Ours(_) => Ok(()),
            Claimer::Etcd(session) => session.grant().await,
        }
    }

    /// Claims a lease that nobody has, or that somebody else has.
    pub async fn claim(&mut self, lease: &str, holder: &str) -> Answer {
        match self {
            Claimer::Ours(agent) => agent.claim(lease, holder).await,
            Claimer::Etcd(session) => session.claim(lease, holder).await,
        }
    }

    /// Extends a lease that it has claimed.
    pub async fn renew(&mut self, lease: &str, holder: &str) -> Answer {
        match self {
            Claimer::Ours(agent) => agent.renew(lease, holder).await,
            Claimer::Etcd(session) => session.renew().await,
        }
    }
}
