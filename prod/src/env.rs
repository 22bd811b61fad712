//! What the world must offer a node: the one place where production and simulation differ.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::SystemTime;

use openraft::AsyncRuntime;
use portcullis_core::lease::{Applied, Entry};
use portcullis_core::{
    Address, NodeId, Seed, Time, agent, controller, front, members, roles, singular,
};
use tokio::io::{AsyncRead, AsyncWrite};

/// Network, time, tasks, randomness and disk of one host.
///
/// Carried as a value, so that every simulated host has its own. Everything else in this crate is
/// generic over it and names no clock, socket, file or source of randomness.
pub trait Env: Clone + Send + Sync + 'static {
    /// What openraft runs on.
    type Runtime: AsyncRuntime;
    /// One connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// A bound port that accepts connections.
    type Listener: Send + 'static;
    /// One file of the raft store.
    type Disk: redb::StorageBackend;

    /// Time since this host started.
    fn now(&self) -> Time;
    /// Returns at `at`, or at once if that has passed.
    fn sleep_until(&self, at: Time) -> impl Future<Output = ()> + Send;
    /// Runs a task of this host; it ends with the host.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);
    /// Does work that takes the processor for long; out of the way of the tasks where a host has
    /// threads.
    fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send {
        async { work() }
    }
    /// The date by this host's calendar, for the validity of certificates and nothing else; none
    /// where hosts have no calendar, and certificates are valid for ever.
    fn today(&self) -> Option<SystemTime> {
        None
    }
    /// The root of this host's randomness.
    fn seed(&self) -> Seed;
    /// Binds a port; port 0 lets the host choose. Says which it got.
    fn bind(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<(Self::Listener, SocketAddr)>> + Send;
    /// Lets one connection in.
    fn accept(
        &self,
        listener: &mut Self::Listener,
    ) -> impl Future<Output = io::Result<Self::Stream>> + Send;
    /// Opens a connection. Bounded by the caller.
    fn connect(&self, address: &Address) -> impl Future<Output = io::Result<Self::Stream>> + Send;
    /// Listens at a socket in the file system, which nobody but this host's own user can dial. A file
    /// that was left there is replaced if nobody listens. Refused by hosts without a file system.
    fn bind_local(&self, _: &Path) -> impl Future<Output = io::Result<Self::Listener>> + Send {
        async { Err(io::ErrorKind::Unsupported.into()) }
    }
    /// Opens a connection to such a socket. Bounded by the caller.
    fn connect_local(&self, _: &Path) -> impl Future<Output = io::Result<Self::Stream>> + Send {
        async { Err(io::ErrorKind::Unsupported.into()) }
    }
    /// The two ends of a connection that was let in; none where connections have no addresses.
    fn ends(&self, _: &Self::Stream) -> Option<Ends> {
        None
    }
    /// Opens, or creates, a file of the data folder by its plain name.
    fn open(&self, file: &str) -> io::Result<Self::Disk>;
    /// What a file of somebody else's looks like from outside, by its path. Refused by hosts without a
    /// file system. Quick, as a file of this machine is.
    fn look(&self, _: &Path) -> io::Result<Look> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// All of such a file, and what it looked like then. Refused if it is longer than `most` bytes,
    /// is no text, or is no file.
    fn read(&self, _: &Path, _most: u64) -> io::Result<(Look, String)> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Bytes of memory that the process of this host uses, and how many it may; none where it has no
    /// process of its own. Cheap enough to ask several times a second.
    fn memory(&self) -> Option<(u64, u64)> {
        None
    }
    /// What the process of this host uses; none where it has no process of its own. May take some
    /// milliseconds.
    fn process(&self) -> Option<Process> {
        None
    }
    /// Shows what a machine of this host was told or ordered to whoever watches: the log in
    /// production, the checks in simulation.
    fn saw(&self, fact: Fact<'_>);
}

/// The two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Who has dialled.
    pub from: SocketAddr,
    /// Which address was dialled.
    pub to: SocketAddr,
}

/// What a file looks like from outside: where this is the same, so is what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Which file of the file system it is.
    pub inode: u64,
    /// How many bytes it has.
    pub size: u64,
    /// When anything about it was changed last, in nanoseconds of the file system's own clock: what
    /// is in it, or who may read it.
    pub changed: i128,
}

/// What a process uses of what the machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Bytes of memory that are its own at present.
    pub memory: u64,
    /// Bytes of memory that it may have before the kernel ends it.
    pub memory_max: u64,
    /// Files, and so connections, that it has open.
    pub files: u64,
    /// Files that it may have open.
    pub files_max: u64,
}

/// Something that happened at a host, in the words of its machines.
#[derive(Clone, Copy, Debug)]
pub enum Fact<'a> {
    /// The controller was told this.
    ControllerTold(&'a controller::Input),
    /// The controller ordered this.
    ControllerOrdered(&'a controller::Output),
    /// The controller's copy of the lease table has applied this log entry.
    Applied { index: u64, entry: &'a Entry, applied: &'a Applied },
    /// Something about the cluster itself.
    Cluster(Affair<'a>),
    /// The client was told this.
    AgentTold(&'a agent::Input),
    /// The client ordered this.
    AgentOrdered(&'a agent::Output),
    /// The front was told this.
    FrontTold(&'a front::Input),
    /// The front ordered this.
    FrontOrdered(&'a front::Output),
    /// The flag of who is responsible by this lease was told this.
    SingularTold { lease: &'a str, input: &'a singular::Input },
    /// It ordered this.
    SingularOrdered { lease: &'a str, output: &'a singular::Output },
}

impl fmt::Display for Fact<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fact::ControllerTold(input) => write!(f, "< {input}"),
            Fact::ControllerOrdered(output) => write!(f, "> {output}"),
            Fact::Applied { index, entry, .. } => write!(f, "= applied {index}: {entry}"),
            Fact::Cluster(affair) => affair.fmt(f),
            Fact::AgentTold(input) => write!(f, "< {input}"),
            Fact::AgentOrdered(output) => write!(f, "> {output}"),
            Fact::FrontTold(input) => write!(f, "< {input}"),
            Fact::FrontOrdered(output) => write!(f, "> {output}"),
            Fact::SingularTold { lease, input } => write!(f, "< {lease}: {input}"),
            Fact::SingularOrdered { lease, output } => write!(f, "> {lease}: {output}"),
        }
    }
}

/// Something about the cluster itself: who belongs to it, and who has which role.
#[derive(Clone, Copy, Debug)]
pub enum Affair<'a> {
    /// The controller's copy of the table of members has applied this log entry.
    Applied { index: u64, command: &'a members::Command, outcome: &'a members::Outcome },
    /// By the log entry `index`, these have votes, and those have the log without one. While a
    /// change is under way, a majority of those who voted `before` must agree as well.
    Formed {
        index: u64,
        voters: &'a BTreeSet<NodeId>,
        before: Option<&'a BTreeSet<NodeId>>,
        learners: &'a BTreeSet<NodeId>,
    },
    /// The machine that gives out roles was told this.
    Told(&'a roles::Input),
    /// It ordered this.
    Ordered(&'a roles::Output),
}

impl fmt::Display for Affair<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Affair::Applied { index, command, outcome: Ok(done) } => {
                write!(f, "= applied {index}, {command}: {done}")
            }
            Affair::Applied { index, command, outcome: Err(refusal) } => {
                write!(f, "= applied {index}, {command}: {refusal}")
            }
            Affair::Formed { index, voters, before, learners } => {
                write!(f, "= applied {index}, voters{}", roles::Names(voters))?;
                if let Some(before) = before {
                    write!(f, " after{}", roles::Names(before))?;
                }
                write!(f, ", stand-bys{}", roles::Names(learners))
            }
            Affair::Told(input) => write!(f, "< roles: {input}"),
            Affair::Ordered(output) => write!(f, "> roles: {output}"),
        }
    }
}
