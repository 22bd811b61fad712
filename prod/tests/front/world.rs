//! Backends in this process, clients, and the front as it is shipped.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use portcullis::tls::{Authority, KeyKind, Validity};
use portcullis_core::NodeId;
use rustix::process::{Pid, Signal, kill_process};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Longer than anything takes that happens at all.
pub const LONG: Duration = Duration::from_secs(20);
/// Long enough for what must not happen, if it were to happen.
pub const SHORT: Duration = Duration::from_millis(400);
/// What backends say when their client has ended.
pub const BYE: &[u8] = b" bye";

/// A server that says its name, echoes, and says goodbye. It ends with its value, like a killed one.
pub struct Backend {
    pub address: SocketAddr,
    ended: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
    /// What connections began with, where a PROXY header is expected.
    pub headers: Receiver<Vec<u8>>,
}

impl Backend {
    pub fn start(name: u8) -> Backend {
        Backend::at("127.0.0.1:0".parse().expect("an address"), name, 0)
    }

    /// One that takes so many bytes off the beginning of each connection.
    pub fn at(address: SocketAddr, name: u8, header: usize) -> Backend {
        let listener = TcpListener::bind(address).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let ended = Arc::new(AtomicBool::new(false));
        let streams = Arc::new(Mutex::new(Vec::new()));
        let (taken, headers) = mpsc::channel();
        let (over, kept) = (ended.clone(), streams.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.expect("one has come");
                if over.load(Ordering::SeqCst) {
                    return;
                }
                kept.lock().expect("unpoisoned").push(stream.try_clone().expect("a file"));
                let taken = taken.clone();
                thread::spawn(move || serve(stream, name, header, &taken));
            }
        });
        Backend { address, ended, streams, headers }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the thread, which then closes the port; the second is refused once that is done.
        let _ = TcpStream::connect(self.address);
        for stream in self.streams.lock().expect("unpoisoned").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        while TcpStream::connect(self.address).is_ok() {
            thread::yield_now();
        }
    }
}

/// Whoever breaks off is the concern of the test.
fn serve(mut stream: TcpStream, name: u8, header: usize, taken: &Sender<Vec<u8>>) -> Option<()> {
    if header > 0 {
        let mut bytes = vec![0; header];
        let length = stream.read(&mut bytes).ok()?;
        bytes.truncate(length);
        taken.send(bytes).ok()?;
    }
    stream.write_all(&[name]).ok()?;
    let mut buffer = [0; 16 * 1024];
    loop {
        match stream.read(&mut buffer).ok()? {
            0 => {
                stream.write_all(BYE).ok()?;
                // The copy that is kept would hold it open.
                return stream.shutdown(Shutdown::Both).ok();
            }
            length => stream.write_all(&buffer[..length]).ok()?,
        }
    }
}

/// The `/health` of a backend, over TLS, as its operator sets it.
pub struct Health {
    pub address: SocketAddr,
    /// Status and body.
    pub answer: Arc<Mutex<(u16, &'static str)>>,
    pub asked: Arc<AtomicUsize>,
}

impl Health {
    pub fn start(status: u16, body: &'static str) -> Health {
        let authority = Authority::make(KeyKind::Ed25519, Validity::century()).expect("made");
        let certificate = authority.issue(NodeId(1), &[], Validity::century()).expect("issued");
        let tls = certificate.server().expect("they go together");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let answer = Arc::new(Mutex::new((status, body)));
        let asked = Arc::new(AtomicUsize::new(0));
        let (says, count) = (answer.clone(), asked.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (status, body) = *says.lock().expect("unpoisoned");
                respond(stream.expect("one has come"), &tls, status, body);
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Health { address, answer, asked }
    }

    /// Answers like this from here on, and waits until it has.
    pub fn say(&self, status: u16, body: &'static str, times: usize) {
        *self.answer.lock().expect("unpoisoned") = (status, body);
        let before = self.asked.load(Ordering::SeqCst);
        while self.asked.load(Ordering::SeqCst) <= before + times {
            thread::yield_now();
        }
    }
}

fn respond(stream: TcpStream, tls: &Arc<ServerConfig>, status: u16, body: &str) -> Option<()> {
    let session = ServerConnection::new(tls.clone()).expect("a configuration");
    let mut stream = BufReader::new(StreamOwned::new(session, stream));
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    assert_eq!(line, "GET /health HTTP/1.1\r\n");
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line).ok()?;
    }
    let length = body.len();
    let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.get_mut().write_all(head.as_bytes()).ok()
}

/// The front, as a process. It is killed with its value.
pub struct Front {
    child: Child,
    pub listen: SocketAddr,
    stdout: BufReader<ChildStdout>,
}

/// The address in a line of `--print-ports`.
fn said(line: &str, key: &str) -> SocketAddr {
    let line: serde_json::Value = serde_json::from_str(line).expect("it prints JSON");
    line[key].as_str().expect("it prints its port").parse().expect("an address")
}

impl Front {
    /// With a configuration of which this is all but the port.
    pub fn start(folder: &Path, config: &str) -> Front {
        configure(folder, config);
        let file = folder.join("front.toml").display().to_string();
        Front::run(
            Command::new(env!("CARGO_BIN_EXE_portcullis")).args(["front", "--config", &file]),
        )
    }

    pub fn run(command: &mut Command) -> Front {
        let command = command.args(["--print-ports", "--threads", "2"]).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program can be run");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("it prints text");
        Front { listen: said(&line, "listen"), child, stdout }
    }

    /// Where it shows its metrics, if its file asks for that. To be called once.
    pub fn metrics(&mut self) -> SocketAddr {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("it prints text");
        said(&line, "metrics-address")
    }

    pub fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(self.child.id().cast_signed()).expect("a process");
        kill_process(id, signal).expect("it runs");
    }

    /// Waits until it has ended by itself, and says how.
    pub fn ended(mut self) -> Option<i32> {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("it prints text");
        self.child.wait().expect("it is a child").code()
    }

    /// A connection that nobody may have accepted yet.
    pub fn knock(&self) -> Client {
        let stream = TcpStream::connect(self.listen).expect("it listens");
        stream.set_read_timeout(Some(LONG)).expect("open");
        Client { stream }
    }

    /// A connection that a backend has greeted, and the backend's name.
    pub fn enter(&self) -> (Client, u8) {
        let mut client = self.knock();
        let name = client.name();
        (client, name)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        // It may have ended before, as it should.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes the file that `SIGHUP` reads again.
pub fn configure(folder: &Path, config: &str) {
    let quick = "probe-every = \"100ms\"\nfill-rate = 0\n";
    let config = match config.contains("[limits]") {
        true => config.replace("[limits]\n", &format!("[limits]\n{quick}")),
        false => format!("{config}[limits]\n{quick}"),
    };
    let config = format!("listen = \"127.0.0.1:0\"\n{config}");
    std::fs::write(folder.join("front.toml"), config).expect("the folder can be written");
}

/// The table of each backend that can be connected to and tells nothing of itself.
pub fn plain(backends: &[&Backend]) -> String {
    let table = |backend: &&Backend| format!("[[backend]]\naddress = \"{}\"\n", backend.address);
    let tables: String = backends.iter().map(table).collect();
    format!("health = \"tcp\"\n{tables}")
}

/// One end of a connection through the front.
pub struct Client {
    pub stream: TcpStream,
}

impl Client {
    /// Who greets it.
    pub fn name(&mut self) -> u8 {
        let mut name = [0];
        self.stream.read_exact(&mut name).expect("a backend greets");
        name[0]
    }

    /// Whether nothing comes for a while: neither a greeting nor an end.
    pub fn hears_nothing(&mut self) -> bool {
        self.stream.set_read_timeout(Some(SHORT)).expect("open");
        let heard = self.stream.read(&mut [0]).map_err(|error| error.kind());
        self.stream.set_read_timeout(Some(LONG)).expect("open");
        matches!(heard, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }

    /// Sends bytes, and gets them back.
    pub fn echoes(&mut self, bytes: &[u8]) {
        let mut back = vec![0; bytes.len()];
        self.stream.write_all(bytes).expect("open");
        self.stream.read_exact(&mut back).expect("open");
        assert!(back == bytes, "other bytes come back");
    }

    /// Waits until it was ended from the other side, however rudely.
    pub fn is_ended(&mut self) {
        let ended = self.stream.read(&mut [0]).map_err(|error| error.kind());
        assert!(matches!(ended, Ok(0) | Err(ErrorKind::ConnectionReset)), "{ended:?}");
    }
}
