//! Three etcd servers with their defaults, and clients that speak its gRPC in plain text.
//!
//! A claim is what etcd's own elections do: a transaction that puts the key, bound to the claimer's
//! session, if there is no such key. The session is granted before the clock starts.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use portcullis::env::Env;
use portcullis::tokio_env::Tokio;
use portcullis_core::Address;
use tempfile::TempDir;

use super::h2::Http2;
use super::leash::Leash;
use super::side::Answer;

/// How long a session lives without being renewed, in seconds: longer than a run, so that etcd has
/// nothing to expire meanwhile.
const SESSION: u64 = 3_600;

/// Three servers.
pub struct Cluster {
    pub processes: Vec<u32>,
    addresses: Vec<Address>,
    _leashes: Vec<Leash>,
    _folder: TempDir,
}

impl Cluster {
    /// Starts them; they answer once they have found each other.
    pub fn start(program: &Path, folder: TempDir) -> Result<Cluster> {
        let ports = free_ports(6)?;
        let url = |port: &u16| format!("http://{}:{port}", Ipv4Addr::LOCALHOST);
        let (clients, peers) = ports.split_at(3);
        let members: Vec<String> =
            peers.iter().enumerate().map(|(at, port)| format!("m{at}={}", url(port))).collect();
        let (mut processes, mut leashes) = (Vec::new(), Vec::new());
        for (at, (client, peer)) in clients.iter().zip(peers).enumerate() {
            let home = folder.path().join(format!("m{at}"));
            let arguments = [
                ("--name", format!("m{at}")),
                ("--data-dir", home.display().to_string()),
                ("--listen-client-urls", url(client)),
                ("--advertise-client-urls", url(client)),
                ("--listen-peer-urls", url(peer)),
                ("--initial-advertise-peer-urls", url(peer)),
                ("--initial-cluster", members.join(",")),
                ("--log-level", "error".to_owned()),
            ];
            let arguments: Vec<String> =
                arguments.into_iter().flat_map(|(key, value)| [key.to_owned(), value]).collect();
            let log = folder.path().join(format!("m{at}.log"));
            let leash = Leash::start(program, &arguments, "KILL", &log)?;
            processes.push(leash.process);
            leashes.push(leash);
        }
        let address =
            |port| Address::new(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).to_string());
        let addresses = clients.iter().copied().map(address).collect();
        Ok(Cluster { processes, addresses, _leashes: leashes, _folder: folder })
    }

    /// Connects to one of the servers.
    pub async fn connect(&self, world: &Tokio, at: usize) -> Result<Session> {
        let stream = world.connect(&self.addresses[at % self.addresses.len()]).await?;
        Ok(Session { http2: Http2::start(stream), id: 0, renewals: None })
    }
}

/// Ports that nobody listens at. Somebody else may take one before etcd does, which then says so.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let held: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind(any)).collect::<Result<_, _>>()?;
    let ports = held.iter().map(|one| one.local_addr().map(|address| address.port()));
    ports.collect::<Result<_, _>>().context("a bound port has a number")
}

/// One connection with its session.
pub struct Session {
    http2: Http2,
    /// The session, which etcd calls a lease; 0 before it is granted.
    id: u64,
    /// The stream on which it is renewed, once it has been.
    renewals: Option<u32>,
}

impl Session {
    /// Gets a session.
    pub async fn grant(&mut self) -> Result<()> {
        let mut request = Vec::new();
        put_number(&mut request, 1, SESSION);
        let answer = self.http2.call("/etcdserverpb.Lease/LeaseGrant", &request).await?;
        self.id = number(&answer.context("no session was granted")?, 2);
        ensure!(self.id != 0, "a session has a number");
        Ok(())
    }

    /// Puts the key unless there is one.
    pub async fn claim(&mut self, lease: &str, holder: &str) -> Answer {
        const CREATE: u64 = 1;
        let mut absent = Vec::new();
        put_number(&mut absent, 2, CREATE);
        put(&mut absent, 3, lease.as_bytes());
        put_number(&mut absent, 5, 0); // the revision of a key that does not exist
        let mut entry = Vec::new();
        put(&mut entry, 1, lease.as_bytes());
        put(&mut entry, 2, holder.as_bytes());
        put_number(&mut entry, 3, self.id);
        let mut operation = Vec::new();
        put(&mut operation, 2, &entry);
        let mut transaction = Vec::new();
        put(&mut transaction, 1, &absent);
        put(&mut transaction, 2, &operation);
        match self.http2.call("/etcdserverpb.KV/Txn", &transaction).await {
            Ok(Some(answer)) if number(&answer, 2) == 1 => Answer::Granted,
            Ok(Some(_)) => Answer::Denied,
            Ok(None) => Answer::Refused { retry_after: None },
            Err(error) => Answer::Failed(error.to_string()),
        }
    }

    /// Keeps the session alive, and so all that is bound to it.
    pub async fn renew(&mut self) -> Answer {
        let stream = match self.renewals {
            Some(stream) => stream,
            None => self.http2.open("/etcdserverpb.Lease/LeaseKeepAlive"),
        };
        self.renewals = Some(stream);
        let mut request = Vec::new();
        put_number(&mut request, 1, self.id);
        match self.http2.exchange(stream, &request).await {
            Ok(answer) if number(&answer, 3) > 0 => Answer::Granted,
            Ok(_) => Answer::Failed("the session is over".into()),
            Err(error) => Answer::Failed(error.to_string()),
        }
    }
}

/// Protocol Buffers: a number.
fn put_number(message: &mut Vec<u8>, field: u8, value: u64) {
    message.push(field << 3);
    put_varint(message, value);
}

/// Protocol Buffers: bytes, or a message in the message.
fn put(message: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    message.push(field << 3 | 2);
    put_varint(message, bytes.len() as u64);
    message.extend(bytes);
}

fn put_varint(message: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

/// Protocol Buffers: the number in a field; 0 if it is not there, which is how 0 is written.
fn number(message: &[u8], field: u64) -> u64 {
    let mut rest = message;
    while let Some(tag) = varint(&mut rest) {
        let Some(value) = varint(&mut rest) else { break };
        match tag & 7 {
            0 if tag >> 3 == field => return value,
            0 => {}
            // Bytes, whose length was read.
            _ => rest = rest.get(value as usize..).unwrap_or_default(),
        }
    }
    0
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
