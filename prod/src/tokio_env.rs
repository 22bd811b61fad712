//! The real world: tokio's network and tasks, the machine's clock, entropy and files.
//!
//! The one file where the bans of `.clippy.toml` are lifted: it is what they point to.

use std::fs;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use openraft_rt_tokio::TokioRuntime;
use portcullis_core::{Address, Seed, Time};
use redb::backends::FileBackend;
use ring::rand::{SecureRandom, SystemRandom};
use rustix::net::sockopt;
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tracing::{debug, trace};

use crate::env::{Ends, Env, Fact, Look, Process};

mod files;
mod local;
mod stream;

pub use local::LOCAL_PATH_MAX;
pub use stream::{Listener, Stream};

/// Connections that wait in the kernel until the door accepts them. The kernel lowers it to
/// `net.core.somaxconn`, 4,096 by default.
const BACKLOG: u32 = 4_096;

/// Silence after which the kernel asks whether the other end is still there: below the 60 s after
/// which some clouds forget an idle connection.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(45);
/// Time between two such questions.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);
/// Questions without an answer, after which the connection is broken.
const KEEPALIVE_MAX: u32 = 4;
/// Longest time that sent bytes may stay unacknowledged, in milliseconds; the kernel's own patience
/// is about 15 minutes.
const UNACKNOWLEDGED_MAX: u32 = 60_000;

/// This machine, as one host with one data folder.
#[derive(Clone, Debug)]
pub struct Tokio {
    host: Arc<Host>,
}

#[derive(Debug)]
struct Host {
    started: Time,
    seed: Seed,
    folder: PathBuf,
    ports: Ports,
}

/// Whether the ports that the node binds are its alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// Nobody else may bind them.
    Own,
    /// Another process of the same user holds them with [`reserve`] so that nobody else gets them.
    Reserved,
}

impl Tokio {
    /// A host that starts at once, with entropy from the kernel. The data folder is made when a
    /// file of it is opened.
    pub fn start(folder: PathBuf, ports: Ports) -> io::Result<Tokio> {
        let mut bytes = [0; 8];
        SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| io::Error::other("the kernel has no entropy"))?;
        let started = uptime();
        let seed = Seed(u64::from_le_bytes(bytes));
        Ok(Tokio { host: Arc::new(Host { started, seed, folder, ports }) })
    }
}

/// Binds a port, or any if it is 0, and never listens: while it is held, only sockets of the same
/// user that share ports can bind it, and whoever connects is refused by the kernel.
///
/// A port that was opened, closed and handed on as a number may be somebody else's by the time it
/// is used (seed 000).
pub fn reserve(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = socket_for(address)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// The date by this machine's clock, for the validity of certificates and nothing else.
pub fn today() -> SystemTime {
    #[expect(clippy::disallowed_methods, reason = "certificates are valid by the calendar")]
    SystemTime::now()
}

/// Time since this machine was started, by a clock that all its processes share. On Linux it goes on
/// while the machine is suspended, for leases run out elsewhere meanwhile.
pub fn uptime() -> Time {
    #[cfg(target_os = "linux")]
    let clock = rustix::time::ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let clock = rustix::time::ClockId::Monotonic;
    let now = rustix::time::clock_gettime(clock);
    // It counts from the start of the machine: neither part is below zero.
    Time(0) + Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// The kernel's monotonic clock, by which service managers put in order what they are told.
pub fn monotonic() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    // It counts from the start of the machine: neither part is below zero.
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// What every connection is set to: nothing waits for more to send, since every message is written
/// whole; and an end that is gone without a word is found out.
fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_AFTER)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_EVERY)?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_MAX)?;
    Ok(sockopt::set_tcp_user_timeout(stream, UNACKNOWLEDGED_MAX)?)
}

/// The least memory that any control group around this process may have, if one is bounded.
fn group_memory() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let bound = |group: &Path| {
        let file = Path::new("/sys/fs/cgroup").join(group).join("memory.max");
        fs::read_to_string(file).ok()?.trim().parse::<u64>().ok()
    };
    Path::new(group).ancestors().filter_map(bound).min()
}

fn socket_for(address: SocketAddr) -> io::Result<TcpSocket> {
    match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }
}

impl Env for Tokio {
    type Runtime = TokioRuntime;
    type Stream = Stream;
    type Listener = Listener;
    type Disk = FileBackend;

    fn now(&self) -> Time {
        Time(0) + uptime().since(self.host.started)
    }

    async fn sleep_until(&self, at: Time) {
        // Tokio's timers count in milliseconds and may not be set beyond some years.
        let longest = Duration::from_secs(30 * 24 * 3600);
        #[expect(clippy::disallowed_methods, reason = "this is what Env::sleep_until stands for")]
        while at > self.now() {
            tokio::time::sleep(at.since(self.now()).min(longest)).await;
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        #[expect(clippy::disallowed_methods, reason = "this is what Env::spawn stands for")]
        tokio::spawn(task);
    }

    /// On a thread for such work: a password that is stretched for 100 ms holds nobody else up.
    async fn compute<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        tokio::task::spawn_blocking(work).await.expect("the work does not panic")
    }

    fn today(&self) -> Option<SystemTime> {
        Some(today())
    }

    fn seed(&self) -> Seed {
        self.host.seed
    }

    async fn bind(&self, address: SocketAddr) -> io::Result<(Listener, SocketAddr)> {
        let socket = socket_for(address)?;
        // A restarted controller must get its port back although old connections linger.
        socket.set_reuseaddr(true)?;
        socket.set_reuseport(self.host.ports == Ports::Reserved)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let bound = listener.local_addr()?;
        Ok((Listener::Port(listener), bound))
    }

    async fn accept(&self, listener: &mut Listener) -> io::Result<Stream> {
        match listener {
            Listener::Port(listener) => {
                let (stream, _) = listener.accept().await?;
                tune(&stream)?;
                Ok(Stream::Port(stream))
            }
            Listener::Local(listener) => Ok(Stream::Local(listener.accept().await?)),
        }
    }

    async fn connect(&self, address: &Address) -> io::Result<Stream> {
        #[expect(clippy::disallowed_methods, reason = "this is what Env::connect stands for")]
        let stream = TcpStream::connect(address.as_str()).await?;
        tune(&stream)?;
        Ok(Stream::Port(stream))
    }

    async fn bind_local(&self, path: &Path) -> io::Result<Listener> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        local::Local::bind(path, BACKLOG).map(Listener::Local)
    }

    async fn connect_local(&self, path: &Path) -> io::Result<Stream> {
        UnixStream::connect(path).await.map(Stream::Local)
    }

    fn ends(&self, stream: &Stream) -> Option<Ends> {
        match stream {
            Stream::Port(stream) => {
                let (from, to) = (stream.peer_addr().ok()?, stream.local_addr().ok()?);
                Some(Ends { from, to })
            }
            Stream::Local(_) => None,
        }
    }

    fn open(&self, file: &str) -> io::Result<FileBackend> {
        assert!(!file.contains('/'), "a file of the data folder is named plainly");
        fs::create_dir_all(&self.host.folder)?;
        let path = self.host.folder.join(file);
        let mut options = fs::OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(&path)?;
        // After a sync that failed, the kernel goes on showing pages that it may never have written,
        // and counts them as clean. What it forgets it reads from the disk again. No more than a plea:
        // a file system may refuse it.
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
        FileBackend::new(file).map_err(|error| {
            io::Error::other(format!("{} is in use or damaged: {error}", path.display()))
        })
    }

    fn look(&self, path: &Path) -> io::Result<Look> {
        files::look(path)
    }

    fn read(&self, path: &Path, most: u64) -> io::Result<(Look, String)> {
        files::read(path, most)
    }

    fn memory(&self) -> Option<(u64, u64)> {
        let kibibytes = |file: &str, key: &str| {
            let text = fs::read_to_string(file).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix(key))?;
            Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1_024)
        };
        let machine = kibibytes("/proc/meminfo", "MemTotal:")?;
        let limit = group_memory().unwrap_or(u64::MAX).min(machine);
        Some((kibibytes("/proc/self/status", "VmRSS:")?, limit))
    }

    fn process(&self) -> Option<Process> {
        let (memory, memory_max) = self.memory()?;
        let limits = fs::read_to_string("/proc/self/limits").ok()?;
        let files = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
        Some(Process {
            memory,
            memory_max,
            // Reading the folder opens one more.
            files: u64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok()? - 1,
            files_max: files.split_whitespace().next()?.parse().unwrap_or(u64::MAX),
        })
    }

    fn saw(&self, fact: Fact<'_>) {
        match fact {
            Fact::ControllerTold(_)
            | Fact::AgentTold(_)
            | Fact::FrontTold(_)
            | Fact::SingularTold { .. } => trace!("{fact}"),
            Fact::ControllerOrdered(_)
            | Fact::AgentOrdered(_)
            | Fact::FrontOrdered(_)
            | Fact::SingularOrdered { .. }
            | Fact::Applied { .. }
            | Fact::Cluster(_) => debug!("{fact}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(folder: &tempfile::TempDir, ports: Ports) -> Tokio {
        Tokio::start(folder.path().join("data"), ports).expect("a temporary folder can be written")
    }

    #[tokio::test]
    async fn time_passes_from_zero() {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let env = host(&folder, Ports::Own);
        let until = env.now() + Duration::from_millis(5);
        env.sleep_until(until).await;
        assert!(env.now() >= until);
        env.sleep_until(Time(0)).await;
    }

    #[test]
    fn a_process_uses_less_than_it_may() {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let process = || host(&folder, Ports::Own).process().expect("this is Linux");
        let Process { memory, memory_max, files, files_max } = process();
        assert!((1 << 20..memory_max).contains(&memory), "{memory} of {memory_max}");
        assert!((3..files_max).contains(&files), "{files} of {files_max}");
    }

    #[tokio::test]
    async fn two_hosts_share_no_seed() {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        assert_ne!(host(&folder, Ports::Own).seed(), host(&folder, Ports::Own).seed());
    }

    #[tokio::test]
    async fn a_connection_carries_bytes() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};

        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let env = host(&folder, Ports::Own);
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (mut listener, bound) = env.bind(any).await.expect("the kernel has a port");
        let address = Address::new(&bound.to_string());
        let (near, far) = tokio::join!(env.connect(&address), env.accept(&mut listener));
        let (mut near, mut far) = (near.expect("it listens"), far.expect("one has come"));
        for end in [&near, &far] {
            assert!(matches!(end, Stream::Port(stream) if stream.nodelay().expect("open")));
        }
        near.write_all(b"knock").await.expect("open");
        let mut heard = [0; 5];
        far.read_exact(&mut heard).await.expect("open");
        assert_eq!(&heard, b"knock");
    }

    #[tokio::test]
    async fn a_local_socket_is_its_users_alone_and_taken_over_only_when_left() {
        use std::os::unix::fs::PermissionsExt;
        use tokio::io::{AsyncReadExt, AsyncWriteExt};

        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let env = host(&folder, Ports::Own);
        let path = folder.path().join("data/controller.sock");
        let mut listener = env.bind_local(&path).await.expect("nobody has it");
        let mode = fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let taken = env.bind_local(&path).await.map(drop).expect_err("somebody listens");
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);

        // Whoever looks whether somebody listens is a connection too.
        drop(env.accept(&mut listener).await.expect("one has looked"));
        let (near, far) = tokio::join!(env.connect_local(&path), env.accept(&mut listener));
        let (mut near, mut far) = (near.expect("it listens"), far.expect("one has come"));
        assert_eq!(env.ends(&far), None);
        near.write_all(b"knock").await.expect("open");
        let mut heard = [0; 5];
        far.read_exact(&mut heard).await.expect("open");
        assert_eq!(&heard, b"knock");

        // What a killed process leaves behind is a file that nobody listens at.
        drop(listener);
        assert!(!path.exists(), "a listener that ends takes its file along");
        drop(std::os::unix::net::UnixListener::bind(&path).expect("nobody has it"));
        drop(env.bind_local(&path).await.expect("nobody listens any more"));
        fs::write(&path, "precious").expect("the folder can be written");
        env.bind_local(&path).await.map(drop).expect_err("a file that is no socket is left alone");
        assert_eq!(fs::read_to_string(&path).expect("it was left alone"), "precious");
    }

    #[tokio::test]
    async fn a_reserved_port_refuses_until_its_owner_listens() {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let held = reserve(SocketAddr::from(([127, 0, 0, 1], 0))).expect("the kernel has a port");
        let port = held.local_addr().expect("bound");
        let address = Address::new(&port.to_string());

        let stranger = host(&folder, Ports::Own);
        let refused = stranger.connect(&address).await.expect_err("nobody listens");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let taken = stranger.bind(port).await.expect_err("the port is held");
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);

        let owner = host(&folder, Ports::Reserved);
        let (mut listener, bound) = owner.bind(port).await.expect("the port is shared with it");
        assert_eq!(bound, port);
        // Every connection must reach the listener: one that is only bound gets none of them.
        for _ in 0..16 {
            let (near, far) = tokio::join!(stranger.connect(&address), owner.accept(&mut listener));
            near.expect("it listens");
            far.expect("one has come");
        }
    }

    #[tokio::test]
    async fn a_file_is_opened_once_at_a_time() {
        use redb::StorageBackend;

        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let env = host(&folder, Ports::Own);
        let disk = env.open("raft.redb").expect("it can be made");
        disk.set_len(4).and_then(|()| disk.write(0, b"kept")).expect("there is room");
        disk.close().expect("it is open");
        drop(disk);
        let disk = env.open("raft.redb").expect("nobody has it open");
        let mut kept = [0; 4];
        disk.read(0, &mut kept).expect("it was written");
        assert_eq!(&kept, b"kept");
    }
}
